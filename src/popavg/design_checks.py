"""Checks of a design before a model is built on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import qr

from popavg._checks import listing
from popavg.errors import DataError
from popavg.formula import Formula
from popavg.formula_terms import read_terms
from popavg.grouping import GroupDesign

__all__ = ["check_clusters", "check_constant", "check_finite", "check_rank"]

#: Columns are scaled to length 1: what is left of a column after the others.
_RANK_TOLERANCE = 1e-10
#: Spread of a column, relative to its values, that rounding alone would give it.
_ROUNDING = 8 * float(np.finfo(float).eps)
_SQRT_EPSILON = float(np.sqrt(np.finfo(float).eps))


def check_constant(formula: Formula, frame: pd.DataFrame) -> None:
    """Every covariate varies; what is only added as an offset need not.

    Raises
    ------
    DataError
        One has the same value in every row.
    """
    for name in _covariates(formula):
        if frame[name].nunique() == 1:
            raise DataError(
                f"the covariate {name!r} is {frame[name].iloc[0]!s} in every row",
                "covariates with at least two values",
                f"take {name!r} out of the formula",
            )


def check_finite(
    terms: tuple[str, ...],
    X: NDArray[np.float64],
    offset: NDArray[np.float64],
    groups: Sequence[GroupDesign] = (),
) -> None:
    """Every number of the design is finite, those that random effects are multiplied by too.

    Raises
    ------
    DataError
        A term gives infinite or undefined values, such as ``log(0)``.
    """
    columns = [(f"the term {label!r}", X[:, i]) for i, label in enumerate(terms)]
    columns.append(("the term 'offset'", offset))
    for group in groups:
        for i, effect in enumerate(group.effects):
            columns.append((f"the effect {effect!r} of {group.name!r}", group.Z[:, i]))
    for label, values in columns:
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise DataError(
                f"{label} is infinite or undefined in {len(bad)} "
                f"row{'s' * (len(bad) != 1)}, the first is row {bad[0]}",
                "finite values",
                "check the function and its column: a log of 0, a division by 0, a polynomial of "
                "more degrees than the column has values?",
            )


def check_rank(terms: tuple[str, ...], X: NDArray[np.float64]) -> None:
    """No column of the design is a linear combination of the others.

    Raises
    ------
    DataError
        Some are; the message names them.
    """
    varying = X - X.mean(axis=0) if terms[0] == "Intercept" else X.copy()
    if terms[0] == "Intercept":
        varying[:, 0] = 1
    spread = np.abs(varying).max(axis=0)
    empty = spread <= _ROUNDING * np.abs(X).max(axis=0)
    varying /= np.where(empty, 1, spread)
    varying /= np.linalg.norm(varying, axis=0) + empty
    triangle = qr(varying, mode="r", overwrite_a=True)[0][: len(terms)]
    triangle[:, empty] = 0
    kept, repeated = _independent(triangle)
    if repeated:
        told = [_dependence(triangle, kept, column, terms) for column in repeated]
        raise DataError(
            f"{'; '.join(told[:5])} (the design has {len(terms)} columns, but rank {len(kept)})",
            "linearly independent columns",
            f"take {listing([terms[i] for i in repeated])} out of the formula, or what it repeats",
        )


def check_clusters(
    group: GroupDesign, family: str, trials: NDArray[np.float64] | None = None
) -> None:
    """There are clusters, and they have more than one row.

    Raises
    ------
    DataError
        A single cluster; or every row its own cluster, where the variance of the clusters then
        can't be told from the rows' own variation: not so of counts, and of several trials.
    """
    n_rows, n_clusters = len(group.index), len(group.levels)
    if n_clusters < 2:
        raise DataError(
            f"the grouping factor {group.name!r} has one cluster, {group.levels[0]!r}",
            "at least two clusters",
            "check the column, or use popavg.models.glm for data without clusters",
        )
    single = family in ("bernoulli", "gaussian") or (trials is not None and trials.max() <= 1)
    if n_clusters == n_rows and single:
        raise DataError(
            f"every row is a cluster of its own in {group.name!r}",
            "clusters with several rows: they tell how alike the rows of one cluster are",
            "check the column, or use popavg.models.glm for data without clusters",
        )


def _covariates(formula: Formula) -> tuple[str, ...]:
    """Columns that enter terms other than offsets."""
    parts = [formula.fixed, *(term.effects for term in formula.group_terms)]
    names = [
        name
        for terms in map(read_terms, parts)
        for name in terms.columns
        if name not in terms.constant
    ]
    return tuple(dict.fromkeys(names))


def _independent(triangle: NDArray[np.float64]) -> tuple[list[int], list[int]]:
    """Columns in their order, parted into those that bring something new and the others."""
    if _rank(triangle) == triangle.shape[1]:
        return list(range(triangle.shape[1])), []
    kept: list[int] = []
    repeated: list[int] = []
    for column in range(triangle.shape[1]):
        is_new = _rank(triangle[:, [*kept, column]]) > len(kept)
        (kept if is_new else repeated).append(column)
    return kept, repeated


def _rank(matrix: NDArray[np.float64]) -> int:
    diagonal = np.abs(np.diag(qr(matrix, mode="r", pivoting=True)[0]))
    return int((diagonal > _RANK_TOLERANCE).sum())


def _dependence(
    triangle: NDArray[np.float64], kept: list[int], column: int, terms: tuple[str, ...]
) -> str:
    """What a repeated column is made of, in words."""
    before = [i for i in kept if i < column]
    if not before or not triangle[:, column].any():
        same = "has the same value" if terms[0] == "Intercept" else "is 0"
        return f"the term {terms[column]!r} {same} in every row"
    weights = np.linalg.lstsq(triangle[:, before], triangle[:, column])[0]
    used = [terms[i] for i, w in zip(before, weights, strict=True) if abs(w) > _SQRT_EPSILON]
    return f"the term {terms[column]!r} can be computed from {listing(used)}"
