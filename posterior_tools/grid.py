"""Grids of covariate values: some vary, the others are held at typical values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from popavg._checks import brief, listing, suggestion
from popavg.design import Design
from popavg.errors import SpecificationError
from popavg.formula_terms import read_terms
from popavg.posterior_tools._grid_values import given_values

__all__ = [
    "Varying",
    "cells",
    "checked_values",
    "encoded",
    "held_values",
    "in_training_order",
    "is_category",
    "levels_of",
    "names_of",
    "varying_values",
]

#: A covariate's name, several names, or names with the values to take.
type Varying = str | Sequence[str] | Mapping[str, Any] | None

#: A numeric covariate with at most this many values takes these; else it is spread out.
FEW_VALUES = 10
N_POINTS = 50


def varying_values(design: Design, over: Varying, by: Varying) -> dict[str, list[Any]]:
    """Values of every covariate that varies, ``over`` first.

    Parameters
    ----------
    design : Design
        The fit's design.
    over : str, sequence or mapping
        Covariates along the curve: all values where there are at most ten, else 50 points from
        the smallest to the largest; all levels of a category.
    by : str, sequence or mapping
        Covariates that make separate curves: all levels; for numbers with more than ten values
        the mean and one standard deviation to both sides.

    Raises
    ------
    SpecificationError
        A name isn't a covariate of the model, or is in both.
    DataError
        A covariate is given no values, missing ones, or values that the fit's column can't have.
    """
    along = {name: _values(design, name, given, True) for name, given in _items(over)}
    apart = {name: _values(design, name, given, False) for name, given in _items(by)}
    both = sorted(set(along) & set(apart))
    if both:
        raise SpecificationError(
            f"{listing(both)} is in 'over' and in 'by'", "each covariate in one of them"
        )
    return along | apart


def cells(varying: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """All combinations; the first covariate runs fastest."""
    names = list(varying)
    rows = [tuple(reversed(row)) for row in product(*(varying[n] for n in reversed(names)))]
    return pd.DataFrame(rows, columns=names)


def names_of(varying: Varying) -> list[str]:
    """Names of covariates, however they are given.

    Raises
    ------
    SpecificationError
        Neither a name, names nor a mapping.
    """
    return [name for name, _ in _items(varying)]


def levels_of(design: Design, name: str) -> list[Any]:
    """Values that a covariate takes in a grid unless told otherwise.

    Parameters
    ----------
    design : Design
        The fit's design.
    name : str
        A covariate.

    Returns
    -------
    list
        All levels of a category, all values of a number with at most ten, else the mean and one
        standard deviation to both sides.

    Raises
    ------
    SpecificationError
        It isn't a covariate of the model.
    """
    return _values(design, name, None, False)


def in_training_order(column: pd.Series, training: pd.Series) -> pd.Series:
    """A column whose categories stand in the order of the fit's, as far as they occur.

    Parameters
    ----------
    column : pandas.Series
        Of a grid or of new data.
    training : pandas.Series
        The same column of the fit.

    Returns
    -------
    pandas.Series
        Unchanged where the fit's column has no categories, or a value isn't among them.
    """
    if not isinstance(training.dtype, pd.CategoricalDtype):
        return column
    present = set(column)
    levels = [level for level in training.cat.categories if level in present]
    if len(levels) < len(present):
        return column
    return column.astype(object).astype(pd.CategoricalDtype(levels, ordered=True))


def held_values(design: Design, names: Sequence[str]) -> dict[str, Any]:
    """Mean of numeric covariates, most frequent value of the others.

    Used for the covariates of a grid that don't vary; the result of a prediction shows them.
    """
    return {name: _typical(design, name) for name in names}


def checked_values(design: Design, name: str, given: Any) -> list[Any]:
    """Values that a covariate is given, one by one.

    Parameters
    ----------
    design : Design
        The fit's design.
    name : str
        A covariate of the model.
    given : object
        One value or several.

    Raises
    ------
    DataError
        No value, a missing one, what isn't a number or not finite, a level that the fit hasn't
        seen.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.draws import Posterior
    >>> from popavg.posterior_tools.grid import checked_values
    >>> checked_values(Posterior.from_fit(pa.load_example()).design, "time", [0, 6])
    [0, 6]
    """
    column = design.frame[name]
    levels = None
    if is_category(design, name):
        is_coded = isinstance(column.dtype, pd.CategoricalDtype)
        levels = list(column.cat.categories) if is_coded else sorted(set(column))
    return given_values(column, given, levels=levels)


def is_category(design: Design, name: str) -> bool:
    """Whether a covariate's values are levels: text, booleans, categories, and ``C(number)``."""
    dtype = design.frame[name].dtype
    if isinstance(dtype, pd.CategoricalDtype) or dtype.kind not in "if":
        return True
    return name in encoded(design)


def encoded(design: Design) -> set[str]:
    """Columns that stand in ``C()``, ``T()`` or ``S()``: categories, whatever their type."""
    parts = [design.fixed, *(part for group in design.groupings for part in group.parts)]
    return {name for part in parts for name in _encoded_in(part.text)}


@cache
def _encoded_in(text: str) -> tuple[str, ...]:
    return read_terms(text).encoded


def _items(varying: Varying) -> list[tuple[str, Any]]:
    if varying is None:
        return []
    if isinstance(varying, str):
        return [(varying, None)]
    if isinstance(varying, Mapping):
        return list(varying.items())
    if not isinstance(varying, Sequence) or not all(isinstance(name, str) for name in varying):
        raise SpecificationError(
            f"covariates given as {brief(varying)}",
            "a name, a list of names, or a mapping from names to values",
            "write for instance over={'time': [0, 6, 12]}",
        )
    return [(name, None) for name in varying]


def _values(design: Design, name: str, given: Any, along: bool) -> list[Any]:
    if name not in design.predictors:
        raise SpecificationError(
            f"{name!r} isn't a covariate of the model",
            listing(design.predictors),
            suggestion(name, design.predictors),
        )
    column = design.frame[name]
    if given is not None:
        return checked_values(design, name, given)
    if isinstance(column.dtype, pd.CategoricalDtype):
        return list(column.cat.categories)
    distinct = sorted(set(column))
    if len(distinct) <= FEW_VALUES or is_category(design, name):
        return distinct
    if along:
        return list(np.linspace(column.min(), column.max(), N_POINTS))
    centre, spread = float(column.mean()), float(column.std())
    return [centre - spread, centre, centre + spread]


def _typical(design: Design, name: str) -> Any:
    column = design.frame[name]
    return column.mode().iloc[0] if is_category(design, name) else float(column.mean())
