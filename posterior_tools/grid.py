"""Grids of covariate values: some vary, the others are held at typical values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from popavg._checks import listing, suggestion
from popavg.design import Design
from popavg.errors import DataError, SpecificationError

__all__ = ["Varying", "cells", "held_values", "varying_values"]

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
        A covariate is given no values.
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


def held_values(design: Design, names: Sequence[str]) -> dict[str, Any]:
    """Mean of numeric covariates, most frequent value of the others.

    Used for the covariates of a grid that don't vary; the result of a prediction shows them.
    """
    return {name: _typical(design.frame[name]) for name in names}


def _items(varying: Varying) -> list[tuple[str, Any]]:
    if varying is None:
        return []
    if isinstance(varying, str):
        return [(varying, None)]
    if isinstance(varying, Mapping):
        return list(varying.items())
    if not isinstance(varying, Sequence) or not all(isinstance(name, str) for name in varying):
        raise SpecificationError(
            f"covariates given as {varying!r}",
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
        scalar = isinstance(given, str) or not np.iterable(given)
        values = [given] if scalar else list(given)
        if not values:
            raise DataError(f"no values for {name!r}", "at least one value")
        return values
    if isinstance(column.dtype, pd.CategoricalDtype):
        return list(column.cat.categories)
    distinct = sorted(set(column))
    if column.dtype.kind not in "if" or len(distinct) <= FEW_VALUES:
        return distinct
    if along:
        return list(np.linspace(column.min(), column.max(), N_POINTS))
    centre, spread = float(column.mean()), float(column.std())
    return [centre - spread, centre, centre + spread]


def _typical(column: pd.Series) -> Any:
    numeric = not isinstance(column.dtype, pd.CategoricalDtype) and column.dtype.kind in "if"
    return float(column.mean()) if numeric else column.mode().iloc[0]
