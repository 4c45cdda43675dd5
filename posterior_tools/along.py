"""The values of one covariate along the x axis of a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.design import Design
from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools.grid import N_POINTS, is_category, varying_values

__all__ = ["Along", "along"]


@dataclass(frozen=True)
class Along:
    """A covariate along the x axis.

    Attributes
    ----------
    name : str
        The covariate.
    values : list
        Its values, in the order in which they stand.
    is_category : bool
        Whether they are levels, which have no distances.
    """

    name: str
    values: list[Any]
    is_category: bool

    @property
    def positions(self) -> NDArray[np.float64]:
        """Where the values stand: at themselves, or at 0, 1, … where they are levels."""
        numbers = range(len(self.values)) if self.is_category else self.values
        return np.array(numbers, dtype=float)


def along(design: Design, over: str | Mapping[str, Any]) -> Along:
    """Read the covariate along the x axis.

    Parameters
    ----------
    design : Design
        The fit's design.
    over : str or mapping
        Its name, or with its values, ``{"time": [0, 6, 12]}``. By default 50 points from its
        smallest to its largest value; the levels of a category, or of a number with two values.

    Returns
    -------
    Along

    Raises
    ------
    SpecificationError
        Not one covariate of the model.
    DataError
        Values that aren't numbers, or fewer than two of them.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.along import along
    >>> from popavg.posterior_tools.draws import Posterior
    >>> along(Posterior.from_fit(pa.load_example()).design, "treatment").is_category
    True
    """
    names = [over] if isinstance(over, str) else list(over)
    if len(names) != 1:
        raise SpecificationError(
            f"'over' names {len(names)} covariates: {listing(names)}",
            "one covariate along the x axis",
            "put the others into by=",
        )
    values = varying_values(design, over, None)[names[0]]
    column = design.frame[names[0]]
    distinct = sorted(set(column))
    if is_category(design, names[0]):
        numeric = isinstance(over, str) and column.dtype.kind in "if"
        return Along(names[0], distinct if numeric else values, True)
    if isinstance(over, str):
        if len(distinct) == 2:
            return Along(names[0], distinct, True)
        return Along(names[0], list(np.linspace(column.min(), column.max(), N_POINTS)), False)
    return Along(names[0], _numbers(names[0], values), False)


def _numbers(name: str, values: Sequence[Any]) -> list[float]:
    numbers = sorted({float(value) for value in values})
    if len(numbers) < 2:
        raise DataError(f"one value of {name!r}", "at least two values along a curve")
    return numbers
