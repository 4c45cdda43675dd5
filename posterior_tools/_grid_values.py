"""Values that a user gives a covariate of a grid, checked against the data of the fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from popavg._checks import listing, suggestion
from popavg.errors import DataError
from popavg.labels import label_values

__all__ = ["given_values"]


def given_values(training: pd.Series, given: Any, *, levels: Sequence[Any] | None) -> list[Any]:
    """The values one by one.

    Parameters
    ----------
    training : pandas.Series
        The covariate in the data of the fit.
    given : object
        One value or several.
    levels : sequence, optional
        The levels of a category; None for a number.

    Raises
    ------
    DataError
        No value, a missing one, what isn't a number or not finite, a level that the fit hasn't
        seen.
    """
    name = str(training.name)
    scalar = isinstance(given, str) or not np.iterable(given)
    values = [given] if scalar else list(given)
    if not values:
        raise DataError(f"no values for {name!r}", "at least one value")
    for value in values:
        if not pd.api.types.is_scalar(value):
            raise DataError(
                f"{name!r} is given a value of type {type(value).__name__}",
                "single values, or one list of them",
            )
        if pd.isna(value):
            raise DataError(
                f"{name!r} is given a missing value ({value})",
                "values that are known",
                "leave it out, or leave out the covariate to hold it at a typical value",
            )
    if levels is None:
        _check_numbers(training, values)
    else:
        _check_levels(name, values, levels)
    return values


def _check_numbers(training: pd.Series, values: Sequence[Any]) -> None:
    is_indicator = set(training) <= {0, 1}
    for value in values:
        is_number = isinstance(value, Real) and (is_indicator or not isinstance(value, bool))
        if isinstance(value, np.bool_):
            is_number = is_indicator
        if not is_number or not math.isfinite(value):
            raise DataError(
                f"{str(training.name)!r} is given {value!r}, but it is a number in the fit, "
                f"from {training.min():.4g} to {training.max():.4g}",
                "finite numbers",
                _as_number(value),
            )


def _as_number(value: Any) -> str:
    try:
        return f"write {float(value):g}" if isinstance(value, str) else ""
    except ValueError:
        return ""


def _check_levels(name: str, values: Sequence[Any], levels: Sequence[Any]) -> None:
    known = label_values(levels)
    for label, value in zip(label_values(values), values, strict=True):
        if label not in known and value not in levels:  # 1 for True
            raise DataError(
                f"{name!r} has no level {label!r} in the fit",
                listing(known),
                suggestion(label, known),
            )
