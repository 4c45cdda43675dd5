"""New data in the types and levels of the data of the fit."""

from __future__ import annotations

import numpy as np
import pandas as pd

from popavg._checks import listing, suggestion
from popavg.errors import DataError
from popavg.labels import label_values, positions

__all__ = ["like_training"]


def like_training(column: pd.Series, training: pd.Series) -> pd.Series:
    """The column with the training column's type and levels.

    Parameters
    ----------
    column : pandas.Series
        A complete column of new data, from :func:`popavg.frames.select`.
    training : pandas.Series
        The same column in the data of the fit.

    Returns
    -------
    pandas.Series
        Numbers for numbers; for booleans, text and categories the training column's own values.

    Raises
    ------
    DataError
        Text where numbers are needed, numbers other than 0 and 1 where booleans are, or a level
        that the fit hasn't seen; the message names it.
    """
    if pd.api.types.is_bool_dtype(training):
        return _boolean(column)
    if pd.api.types.is_numeric_dtype(training):
        return _number(column)
    if isinstance(training.dtype, pd.CategoricalDtype):
        levels = training.cat.categories
    else:
        levels = pd.Index(sorted(set(training)), dtype=object)
    known = label_values(levels)
    codes = positions(column, known)
    unseen = sorted(set(label_values(column[codes < 0].unique())))
    if unseen:
        raise DataError(
            f"the column {column.name!r} has the level{'s' * (len(unseen) > 1)} {listing(unseen)}, "
            "which the fit hasn't seen",
            listing(known),
            suggestion(unseen[0], known)
            or "leave these rows out, or fit again with data that have them",
        )
    if isinstance(training.dtype, pd.CategoricalDtype):
        restored = pd.Categorical.from_codes(codes, dtype=training.dtype)
    else:
        restored = levels.to_numpy()[codes]
    return pd.Series(restored, index=column.index, name=column.name)


def _number(column: pd.Series) -> pd.Series:
    if not pd.api.types.is_numeric_dtype(column):
        raise DataError(
            f"the column {column.name!r} holds text or categories",
            "numbers, as in the data of the fit",
            f"convert it: pandas.to_numeric(data[{column.name!r}])",
        )
    return column


def _boolean(column: pd.Series) -> pd.Series:
    if pd.api.types.is_numeric_dtype(column) and np.isin(column.to_numpy(), (0, 1)).all():
        return column.astype(bool)
    raise DataError(
        f"the column {column.name!r} holds values other than True and False",
        "booleans, as in the data of the fit",
        f"convert it, for instance data[{column.name!r}] == 'yes'",
    )
