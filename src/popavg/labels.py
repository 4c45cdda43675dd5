"""The labels by which clusters and levels are known, whatever type their column has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["label_values", "labels", "positions", "written"]


def label_values(values: Iterable[Any]) -> list[str]:
    """Text for each value; whole numbers alike whether they are stored as 1 or as 1.0."""
    return [_label(value) for value in values]


def labels(column: pd.Series) -> NDArray[np.object_]:
    """The label of every row, shape (rows,)."""
    codes, values = _factorized(column)
    return np.array(label_values(values), dtype=object)[codes]


def positions(column: pd.Series, known: Sequence[str]) -> NDArray[np.intp]:
    """Where in ``known`` the label of every row stands, -1 where nowhere; shape (rows,)."""
    codes, values = _factorized(column)
    return pd.Index(known, dtype=object).get_indexer(label_values(values)).astype(np.intp)[codes]


def written(name: str) -> str:
    """A column's name as a formula writes it: in backquotes where it needs them."""
    plain = name[:1].isalpha() and all(char.isalnum() or char in "._" for char in name)
    return name if plain and name not in ("True", "False", "None") else f"`{name}`"


def _factorized(column: pd.Series) -> tuple[NDArray[np.intp], Sequence[Any]]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy(dtype=np.intp), list(column.cat.categories)
    codes, values = pd.factorize(column)
    return codes, list(values)


def _label(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    return str(value)
