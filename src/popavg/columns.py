"""A frame's columns as plain arrays and back, with their levels and types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["describe", "from_arrays", "to_arrays"]


def describe(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Type, and for categories levels and order, of every column; JSON can hold it."""
    return {str(name): _describe(frame[name]) for name in frame.columns}


def to_arrays(frame: pd.DataFrame) -> dict[str, NDArray[Any]]:
    """Columns as arrays that netCDF and Zarr can store: numbers, or text."""
    return {str(name): _array(frame[name]) for name in frame.columns}


def from_arrays(
    arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Mapping[str, Any]]
) -> pd.DataFrame:
    """The frame that :func:`describe` and :func:`to_arrays` were given."""
    return pd.DataFrame(
        {name: _restore(arrays[name], column) for name, column in description.items()}
    )


def _describe(column: pd.Series) -> dict[str, Any]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = column.cat.categories.tolist()
        return {"type": "category", "levels": levels, "ordered": bool(column.cat.ordered)}
    kinds = {"b": "bool", "i": "int", "f": "float"}
    return {"type": kinds.get(column.dtype.kind, "text")}


def _array(column: pd.Series) -> NDArray[Any]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy(dtype=np.int64)
    if column.dtype.kind in "ifb":
        return column.to_numpy()
    return column.to_numpy(dtype=object).astype(str)


def _restore(array: NDArray[Any], description: Mapping[str, Any]) -> pd.Series:
    match description["type"]:
        case "category":
            levels = description["levels"]
            kind = object if all(isinstance(level, str) for level in levels) else None
            dtype = pd.CategoricalDtype(pd.Index(levels, dtype=kind), description["ordered"])
            return pd.Series(pd.Categorical.from_codes(np.asarray(array, dtype=int), dtype=dtype))
        case "text":
            return pd.Series(np.asarray(array, dtype=object), dtype=object)
        case kind:
            kinds = {"bool": np.bool_, "int": np.int64, "float": np.float64}
            return pd.Series(np.asarray(array).astype(kinds[kind]))
