"""Times of a working correlation as numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.errors import DataError

__all__ = ["numeric_time", "time_levels"]

type Floats = NDArray[np.float64]


def numeric_time(column: pd.Series, levels: Sequence[object] | None = None) -> Floats:
    """Times as numbers: categories and text by the number of their level.

    Parameters
    ----------
    column : pandas.Series
        Numbers, text or categories.
    levels : sequence, optional
        Levels of text or categories in order, by default the column's own (text: alphabetical).

    Returns
    -------
    numpy.ndarray of float, shape (rows,)

    Raises
    ------
    DataError
        Booleans, missing values, or a level that isn't among ``levels``.

    Examples
    --------
    >>> import pandas as pd
    >>> from popavg.posterior_tools.times import numeric_time
    >>> numeric_time(pd.Series(["week 2", "week 1"])).tolist()
    [1.0, 0.0]
    """
    if column.isna().any() or pd.api.types.is_bool_dtype(column):
        raise DataError(
            f"the time {column.name!r} holds booleans or missing values",
            "numbers, text or ordered categories",
        )
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=float)
    order = [str(level) for level in (time_levels(column) if levels is None else levels)]
    codes = pd.Index(order).get_indexer(pd.Index(column.astype(str)))
    if (codes < 0).any():
        unknown = sorted(set(column.astype(str)) - set(order))
        raise DataError(f"the time {column.name!r} has {listing(unknown)}", listing(order))
    return codes.astype(float)


def time_levels(column: pd.Series) -> list[object]:
    """Levels of text (alphabetical) or categories (in their order)."""
    categorical = isinstance(column.dtype, pd.CategoricalDtype)
    return list(column.cat.categories) if categorical else sorted(set(column.astype(str)))
