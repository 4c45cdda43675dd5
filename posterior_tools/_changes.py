"""Changes of covariates: from where to where, one or several at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

__all__ = ["Change", "Contrast", "Side"]


@dataclass(frozen=True)
class Side:
    """One end of a change: a value that every row gets, or a step from each row's own value."""

    label: str
    value: Any = None
    step: float | None = None

    def values(self, column: pd.Series | None) -> Any:
        """What the column becomes; a column that can't make the step comes back as it is."""
        if self.step is None:
            return self.value
        if column is None or not pd.api.types.is_numeric_dtype(column):
            return column
        return column + self.step


@dataclass(frozen=True)
class Change:
    """One covariate's change.

    Attributes
    ----------
    variable : str
        The covariate.
    low, high : Side
        From where to where.
    short : str
        How the change is called whatever is made of it, ``"+5"``; empty where both ends are named.
    """

    variable: str
    low: Side
    high: Side
    short: str = ""

    def label(self, template: str) -> str:
        """The change in words, ``template`` being ``"{high} - {low}"`` or alike."""
        return self.short or template.format(high=self.high.label, low=self.low.label)

    @property
    def is_step(self) -> bool:
        """Whether it starts from each row's own value."""
        return self.low.step is not None


@dataclass(frozen=True)
class Contrast:
    """One change, or several at once."""

    changes: tuple[Change, ...]

    @property
    def variable(self) -> str:
        """The covariates that change."""
        return ", ".join(change.variable for change in self.changes)

    @property
    def low(self) -> tuple[tuple[str, Side], ...]:
        """Where the covariates start."""
        return tuple((change.variable, change.low) for change in self.changes)

    @property
    def high(self) -> tuple[tuple[str, Side], ...]:
        """Where they arrive."""
        return tuple((change.variable, change.high) for change in self.changes)

    def label(self, template: str = "{high} - {low}") -> str:
        """All changes in words."""
        return ", ".join(change.label(template) for change in self.changes)

    @staticmethod
    def rows(frame: pd.DataFrame, sides: Iterable[tuple[str, Side]]) -> pd.DataFrame:
        """The rows with the covariates at one end of the change.

        Parameters
        ----------
        frame : pandas.DataFrame
            Rows; left unchanged. Whether they fit the model is for the design to say.
        sides : iterable of (str, Side)
            :attr:`low` or :attr:`high`.
        """
        found = {name: side.values(frame.get(name)) for name, side in sides}
        return frame.assign(
            **{name: values for name, values in found.items() if values is not None}
        )
