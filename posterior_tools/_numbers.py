"""Numbers that a user gives, as floats: text, dates and complex numbers aren't converted."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popavg.errors import DataError

__all__ = ["as_floats"]


def as_floats(values: Any, what: str) -> NDArray[np.float64]:
    """The numbers in an array, a frame, a list of lists.

    Parameters
    ----------
    values : array_like
        What was given.
    what : str
        What it is, for messages: ``"beta"``, ``"the draws of 'b'"``.

    Raises
    ------
    DataError
        Text, dates, complex numbers, lists of different lengths.
    """
    try:
        array = np.asarray(values.to_numpy() if isinstance(values, xr.DataArray) else values)
    except ValueError:
        raise DataError(
            f"{what} can't be put into one array: its parts have different lengths",
            "rows of the same length",
        ) from None
    is_object = array.dtype.kind == "O"
    if array.dtype.kind not in "biufO" or (
        is_object and any(isinstance(value, (str, bytes, complex)) for value in array.ravel())
    ):
        raise _not_numbers(what, array)
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError):
        raise _not_numbers(what, array) from None


def _not_numbers(what: str, array: NDArray[Any]) -> DataError:
    kinds = {"U": "text", "S": "bytes", "T": "text", "c": "complex numbers", "M": "dates"}
    found = kinds.get(array.dtype.kind, f"values of type {array.dtype}")
    if array.dtype.kind == "O":
        others = (type(value).__name__ for value in array.ravel() if not isinstance(value, Real))
        found = f"values of type {next(others, 'object')}"
    return DataError(
        f"{what}: {found}, not numbers",
        "real numbers",
        "convert with astype(float), if numbers are meant",
    )
