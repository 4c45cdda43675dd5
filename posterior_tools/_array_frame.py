"""Design matrices as a frame with a formula, so that new rows can be given by their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from popavg._checks import listing
from popavg.errors import DataError, SpecificationError
from popavg.labels import written
from popavg.posterior_tools._numbers import as_floats

__all__ = ["ArrayFrame", "Factor", "read_arrays"]

type Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Factor:
    """One grouping factor as it was given.

    Attributes
    ----------
    scale : array_like
        Covariances or standard deviations.
    is_sd : bool
        Which of them.
    Z : array_like, DataFrame or None
        The effects' design.
    codes : array_like or None
        Each row's cluster.
    """

    scale: Any
    is_sd: bool
    Z: Any = None
    codes: Any = None


@dataclass(frozen=True, eq=False)
class ArrayFrame:
    """A frame and the formula that makes the matrices from it.

    Attributes
    ----------
    data : pandas.DataFrame
        Columns of the matrices, clusters, outcome.
    formula : str
        One-sided where there is no outcome.
    terms : tuple of str
        The name of each column of X, in X's order.
    effects : dict of str to tuple of str
        The name of each column of Z, in its order.
    """

    data: pd.DataFrame
    formula: str
    terms: tuple[str, ...]
    effects: Mapping[str, tuple[str, ...]]


def read_arrays(X: Any, factors: Mapping[str, Factor], outcome: Mapping[str, Any]) -> ArrayFrame:
    """Put matrices, clusters and outcome into one frame.

    Parameters
    ----------
    X : array_like or DataFrame, shape (rows, terms)
        Fixed effects' design.
    factors : dict of str to Factor
        Grouping factors.
    outcome : dict
        ``y``, ``trials`` and ``offset``, each may be None.

    Raises
    ------
    DataError, SpecificationError
        Shapes that don't fit, NaN or infinite numbers, names twice, an outcome without clusters.
    """
    names, values = _columns("X", X, "x")
    n_rows = len(values)
    terms = tuple(
        "Intercept" if is_one(column) else name
        for name, column in zip(names, values.T, strict=True)
    )
    _check_once("X", terms)
    columns: dict[str, Any] = {
        name: column for name, column in zip(terms, values.T, strict=True) if name != "Intercept"
    }
    parts = [_intercept(terms), *(written(name) for name in terms if name != "Intercept")]
    effects = {}
    for i, (name, factor) in enumerate(factors.items()):
        effects[name] = ("Intercept",)
        if factor.Z is not None:
            labels, matrix = _columns(f"Z of {name!r}", factor.Z, f"z_{name}_" if i else "z")
            if len(matrix) != n_rows:
                raise DataError(f"Z of {name!r} has {len(matrix)} rows", f"{n_rows}, as X has")
            effects[name] = _effects(name, labels, matrix, columns)
        parts += _group_terms(name, factor, effects[name])
    for name, factor in factors.items():
        if name in columns:
            raise SpecificationError(
                f"the grouping factor {name!r} has the name of a column", "a name of its own"
            )
        columns[name] = _codes(name, factor, n_rows, has_outcome=outcome["y"] is not None)
    left, offset = _outcome(outcome, columns, n_rows)
    parts += [f"offset({offset})"] if offset else []
    return ArrayFrame(pd.DataFrame(columns), f"{left}~ {' + '.join(parts)}", terms, effects)


def is_one(column: ArrayLike) -> bool:
    """Whether it is the intercept's column."""
    return bool(np.equal(column, 1.0).all())


def vector(name: str, values: Any, n_rows: int) -> Floats:
    """A finite number for each row.

    Raises
    ------
    DataError
        Another length, or NaN or infinite numbers.
    """
    array = as_floats(values, name)
    if array.shape != (n_rows,):
        raise DataError(f"{name} has the shape {array.shape}", f"({n_rows},), one for each row")
    if not np.isfinite(array).all():
        raise DataError(
            f"{name} is NaN or infinite in {int((~np.isfinite(array)).sum())} rows",
            "finite numbers",
        )
    return array


def _columns(argument: str, matrix: Any, letter: str) -> tuple[list[str], Floats]:
    """Names and numbers of a matrix."""
    values = as_floats(matrix, argument)
    if values.ndim == 1 and argument != "X":
        values = values[:, None]
    if values.ndim != 2 or not values.size:
        raise DataError(
            f"{argument} has the shape {values.shape}", "(rows, columns), at least one of each"
        )
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        raise DataError(
            f"{argument} has {len(bad)} NaN or infinite numbers, the first in row {bad[0][0]}, "
            f"column {bad[0][1]} (counted from 0)",
            "finite numbers",
        )
    if isinstance(matrix, pd.DataFrame):
        return [str(name) for name in matrix.columns], values
    return [f"{letter}{i}" for i in range(values.shape[1])], values


def _check_once(argument: str, names: tuple[str, ...]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{argument} has several columns {listing(twice)}",
            "columns with names of their own, one of them ones",
            "rename or drop one",
        )


def _intercept(terms: tuple[str, ...]) -> str:
    return "1" if "Intercept" in terms else "0"


def _effects(
    name: str, labels: Sequence[str], matrix: Floats, columns: dict[str, Any]
) -> tuple[str, ...]:
    """Names of the effects' columns; those that are new are added to the frame's columns."""
    found = []
    for label, column in zip(labels, matrix.T, strict=True):
        if is_one(column):
            found.append("Intercept")
            continue
        same = [known for known, other in columns.items() if np.array_equal(other, column)]
        chosen = label if label in same or not same else same[0]
        if chosen in columns and chosen not in same:
            raise DataError(
                f"the column {label!r} of Z isn't the one of X",
                "the same numbers under the same name",
                "rename it",
            )
        columns.setdefault(chosen, column)
        found.append(chosen)
    _check_once(f"Z of {name!r}", tuple(found))
    return tuple(found)


def _group_terms(name: str, factor: Factor, effects: tuple[str, ...]) -> list[str]:
    """One block of correlated effects where there are covariances, else a block for each."""
    blocks = [(effect,) for effect in effects] if factor.is_sd else [effects]
    parts = []
    for block in blocks:
        columns = [written(effect) for effect in block if effect != "Intercept"]
        parts.append(f"({' + '.join([_intercept(block), *columns])} | {written(name)})")
    return parts


def _codes(name: str, factor: Factor, n_rows: int, *, has_outcome: bool) -> NDArray[Any]:
    if factor.codes is None:
        if has_outcome:
            raise SpecificationError(
                f"y is given, but not which cluster of {name!r} each row is in",
                "groups= beside y: what is fitted to the outcome needs the clusters",
                "give groups, or leave out y",
            )
        return np.arange(n_rows)
    codes = np.asarray(factor.codes)
    if codes.shape != (n_rows,):
        raise DataError(
            f"groups of {name!r} have the shape {codes.shape}", f"({n_rows},), one for each row"
        )
    return codes


def _outcome(
    outcome: Mapping[str, Any], columns: dict[str, Any], n_rows: int
) -> tuple[str, str | None]:
    """Left side of the formula, and the column of the offset."""
    given = {name: value for name, value in outcome.items() if value is not None}
    if "trials" in given and "y" not in given:
        raise SpecificationError(
            "trials without y", "the number of successes beside them", "give y, or leave out trials"
        )
    names = {}
    for name, value in given.items():
        names[name] = name if name not in columns and name != "offset" else f"{name}_"
        if names[name] in columns:
            raise SpecificationError(
                f"the matrices have columns {name!r} and {names[name]!r}", "another name"
            )
        columns[names[name]] = vector(name, value, n_rows)
    left = f"p({names['y']}, {names['trials']}) " if "trials" in names else ""
    left = f"{names['y']} " if "y" in names and not left else left
    return left, names.get("offset")
