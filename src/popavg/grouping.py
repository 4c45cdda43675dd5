"""Grouping factors: which cluster each row is in, and the design of the random effects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.errors import DataError, FormulaError, SpecificationError
from popavg.fixed_effects import FixedEffects
from popavg.formula import GroupTerm
from popavg.labels import labels, positions

__all__ = ["GroupDesign", "Grouping", "check_labels", "outermost"]


@dataclass(frozen=True, eq=False)
class GroupDesign:
    """The random effects' design of one grouping factor.

    Attributes
    ----------
    name : str
        The factor, ``"patient"`` or ``"herd:cow"``.
    effects : tuple of str
        Columns of ``Z``: ``("Intercept", "time")``.
    levels : tuple of str
        The clusters (combinations) that occur in the training data.
    index : numpy.ndarray of int, shape (rows,)
        Position in ``levels`` of each row's cluster; -1 where it isn't named or known.
    Z : numpy.ndarray, shape (rows, effects)
        What the effects are multiplied by.
    blocks : tuple of tuple of int
        Effects that are correlated with each other.
    """

    name: str
    effects: tuple[str, ...]
    levels: tuple[str, ...]
    index: NDArray[np.intp]
    Z: NDArray[np.float64]
    blocks: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class Grouping:
    """A grouping factor that remembers its levels and its effects' design."""

    name: str
    factor: tuple[str, ...]
    effects: tuple[str, ...]
    levels: tuple[str, ...]
    blocks: tuple[tuple[int, ...], ...]
    parts: tuple[FixedEffects, ...]

    @classmethod
    def build_all(cls, terms: Sequence[GroupTerm], frame: pd.DataFrame) -> tuple[Grouping, ...]:
        """One grouping for each factor, in the formula's order."""
        by_factor: dict[tuple[str, ...], list[GroupTerm]] = {}
        for term in terms:
            by_factor.setdefault(term.factor, []).append(term)
        return tuple(cls._build(factor, group, frame) for factor, group in by_factor.items())

    @classmethod
    def _build(
        cls, factor: tuple[str, ...], terms: Sequence[GroupTerm], frame: pd.DataFrame
    ) -> Grouping:
        name = terms[0].name
        for column in factor:
            check_labels(frame[column], "the clusters' column ")
        parts = tuple(FixedEffects.build(term.effects, frame) for term in terms)
        effects = tuple(effect for part in parts for effect in part.terms)
        _check_effects(name, effects)
        ends = np.cumsum([len(part.terms) for part in parts])
        blocks = tuple(
            tuple(range(end - len(part.terms), end)) for end, part in zip(ends, parts, strict=True)
        )
        return cls(name, factor, effects, _levels(name, factor, frame), blocks, parts)

    @property
    def effect_columns(self) -> tuple[str, ...]:
        """Columns of the data that the effects need."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.columns))

    def evaluate(self, frame: pd.DataFrame) -> GroupDesign:
        """The effects' design at the rows of a frame."""
        Z = np.column_stack([part.evaluate(frame)[0] for part in self.parts])
        index = self._index(frame)
        return GroupDesign(self.name, self.effects, self.levels, index, Z, self.blocks)

    def derivative(self, frame: pd.DataFrame, variable: str) -> NDArray[np.float64]:
        """Derivative of ``Z`` in a numeric column, shape (rows, effects)."""
        return np.column_stack([part.derivative(frame, variable)[0] for part in self.parts])

    def _index(self, frame: pd.DataFrame) -> NDArray[np.intp]:
        if any(name not in frame.columns for name in self.factor):
            return np.full(len(frame), -1, dtype=np.intp)
        if len(self.factor) == 1:
            return positions(frame[self.factor[0]], self.levels)
        return positions(_joined(self.factor, frame), self.levels)


def check_labels(column: pd.Series, argument: str) -> None:
    """The column's values can be names of clusters.

    Raises
    ------
    DataError
        Fractional numbers: a measurement, not a label.
    """
    if pd.api.types.is_float_dtype(column):
        fractional = column[column % 1 != 0]
        if len(fractional):
            raise DataError(
                f"{argument}{str(column.name)!r} holds fractional numbers such as "
                f"{fractional.iloc[0]:g}: a measurement, not a label of clusters",
                "a column of whole numbers, text or categories",
                "name the clusters' column, or convert labels with "
                f"data[{str(column.name)!r}].astype(str)",
            )


def _check_effects(name: str, effects: tuple[str, ...]) -> None:
    twice = sorted({effect for effect in effects if effects.count(effect) > 1})
    if twice:
        raise FormulaError(
            f"the effect{'s' * (len(twice) > 1)} {listing(twice)} of {name!r} "
            f"appear{'s' * (len(twice) == 1)} in two grouping terms",
            "each effect once for each factor",
            f"'(x | {name})' has an intercept too: write '(1 + x | {name})' for correlated "
            f"effects, '(1 | {name}) + (0 + x | {name})' for uncorrelated ones",
        )


def _levels(name: str, factor: tuple[str, ...], frame: pd.DataFrame) -> tuple[str, ...]:
    """Labels of the combinations that occur, in the order of the columns' own values."""
    combinations = frame.loc[:, list(factor)].drop_duplicates().sort_values(list(factor))
    found = tuple(_joined(factor, combinations))
    if len(set(found)) < len(found):
        twice = [label for label, count in Counter(found).items() if count > 1]
        raise DataError(
            f"different clusters of {name!r} have the same label: {listing(twice, 5)}",
            "labels that differ as text",
            f"rename the values of {listing(factor)} that hold ':'",
        )
    return found


def _joined(factor: tuple[str, ...], frame: pd.DataFrame) -> pd.Series:
    """The cluster's label of every row: the labels of its columns, joined by ':'."""
    columns = [labels(frame[name]) for name in factor]
    return pd.Series([":".join(parts) for parts in zip(*columns, strict=True)], dtype=object)


def outermost(groups: Sequence[GroupDesign]) -> str:
    """The grouping factor in which all others are nested: the clusters of a GEE.

    Parameters
    ----------
    groups : sequence of GroupDesign
        The grouping factors of one design.

    Returns
    -------
    str
        Its name.

    Raises
    ------
    SpecificationError
        There is none: no factor at all, or crossed ones.
    """
    for outer in groups:
        pairs = [np.unique(np.column_stack([g.index, outer.index]), axis=0) for g in groups]
        if all(len(p) == len(g.levels) for p, g in zip(pairs, groups, strict=True)):
            return outer.name
    raise SpecificationError(
        f"the formula has {len(groups)} grouping factors"
        + (", none of which holds all others" if groups else ""),
        listing(group.name for group in groups) or "a column of the data",
        "name the clusters with groups=",
    )
