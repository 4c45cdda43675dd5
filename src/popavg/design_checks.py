"""Checks of a design before a model is built on it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import qr

from popavg._checks import listing
from popavg.errors import DataError
from popavg.formula import Formula
from popavg.formula_tokens import columns_of, matching, scan
from popavg.grouping import GroupDesign

__all__ = ["check_clusters", "check_constant", "check_finite", "check_rank"]

_RANK_TOLERANCE = 1e-10


def check_constant(formula: Formula, frame: pd.DataFrame) -> None:
    """Every covariate varies.

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
    terms: tuple[str, ...], X: NDArray[np.float64], offset: NDArray[np.float64]
) -> None:
    """Every number of the design is finite.

    Raises
    ------
    DataError
        A term gives infinite or undefined values, such as ``log(0)``.
    """
    for label, values in [*zip(terms, X.T, strict=True), ("offset", offset)]:
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise DataError(
                f"the term {label!r} is infinite or undefined in {len(bad)} rows, "
                f"the first is row {bad[0]}",
                "finite values",
                "check the function and its column (log of 0?)",
            )


def check_rank(terms: tuple[str, ...], X: NDArray[np.float64]) -> None:
    """No column of the design is a linear combination of the others.

    Raises
    ------
    DataError
        Some are; the message names them.
    """
    size = np.abs(X).max(axis=0)
    scaled = X / np.where(size > 0, size, 1)
    scaled = scaled / np.maximum(np.linalg.norm(scaled, axis=0), 1e-300)
    triangle, order = qr(scaled, mode="r", pivoting=True)
    diagonal = np.abs(np.diag(triangle))
    rank = int((diagonal > _RANK_TOLERANCE * max(diagonal[0], 1e-300)).sum())
    if rank < len(terms):
        dependent = [terms[i] for i in sorted(order[rank:])]
        raise DataError(
            f"the term{'s' * (len(dependent) > 1)} {listing(dependent)} "
            "can be computed from the other terms (the design has rank "
            f"{rank}, but {len(terms)} columns)",
            "linearly independent columns",
            "take these terms, or the ones that they repeat, out of the formula",
        )


def check_clusters(group: GroupDesign, family: str) -> None:
    """There are clusters, and they have more than one row.

    Raises
    ------
    DataError
        A single cluster; or every row its own cluster, where the variance of the clusters then
        can't be told from the rows' own variation.
    """
    n_rows, n_clusters = len(group.index), len(group.levels)
    if n_clusters < 2:
        raise DataError(
            f"the grouping factor {group.name!r} has one cluster, {group.levels[0]!r}",
            "at least two clusters",
            "check the column, or use popavg.models.glm for data without clusters",
        )
    if n_clusters == n_rows and family in ("bernoulli", "gaussian"):
        raise DataError(
            f"every row is a cluster of its own in {group.name!r}",
            "clusters with several rows: they tell how alike the rows of one cluster are",
            "check the column, or use popavg.models.glm for data without clusters",
        )


def _covariates(formula: Formula) -> tuple[str, ...]:
    """Columns that enter terms; those in an offset may be constant."""
    parts = (formula.fixed, *(term.effects for term in formula.group_terms))
    names: dict[str, None] = {}
    for part in parts:
        tokens = scan(f"y ~ {part}")[2:]
        i = 0
        while i < len(tokens):
            called = i + 1 < len(tokens) and tokens[i + 1].kind == "LEFT_PAREN"
            if tokens[i].lexeme == "offset" and called:
                end = matching(tokens, i + 1)
                tokens[i : end + 1] = []
            else:
                i += 1
        names |= dict.fromkeys(columns_of(tokens))
    return tuple(names)
