"""Check the columns of a data frame that a model uses; drop rows only on request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from popavg._checks import check_choice, listing, suggestion
from popavg.errors import DataError

__all__ = ["RESERVED_NAMES", "Missing", "MissingPolicy", "check_columns", "select", "take_complete"]

MissingPolicy = Literal["error", "drop"]

#: Names that dims, parameters or result columns already have.
RESERVED_NAMES = frozenset(
    {
        *("chain", "draw", "sample", "obs", "term", "row", "beta", "sigma", "Intercept"),
        *("estimate", "std_error", "lower", "upper", "ess_bulk", "ess_tail", "r_hat", "mcse"),
        *("target", "popavg"),
    }
)


@dataclass(frozen=True)
class Missing:
    """What was done about missing values.

    Attributes
    ----------
    policy : str
        ``"error"`` or ``"drop"``.
    rows : int
        Rows dropped.
    columns : dict of str to int
        Missing values in each column that had any.
    clusters : dict of str to int
        Clusters of each grouping factor that vanished with the dropped rows.
    """

    policy: MissingPolicy = "error"
    rows: int = 0
    columns: dict[str, int] = field(default_factory=dict)
    clusters: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.rows:
            return "no rows dropped"
        columns = ", ".join(f"{name!r} {count}" for name, count in self.columns.items())
        clusters = "".join(
            f"; {count} whole cluster{'s' * (count != 1)} of {name!r} vanished"
            for name, count in self.clusters.items()
        )
        rows = f"{self.rows} row{'s' * (self.rows != 1)}"
        return f"{rows} dropped for missing values ({columns}){clusters}"


def select(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the named columns in plain types, checked; the caller's frame is left alone.

    Parameters
    ----------
    frame : pandas.DataFrame
        The data as they came.
    columns : sequence of str
        The columns that a formula names.

    Returns
    -------
    pandas.DataFrame
        A copy with a new index 0, 1, …

    Raises
    ------
    DataError
        Not a frame, empty, duplicated column names, a missing column, a reserved name, infinite
        values, dates, or text and numbers mixed in one column.
    """
    if not isinstance(frame, pd.DataFrame):
        raise DataError(
            f"the data are of type {type(frame).__name__}",
            "a pandas.DataFrame with one row for each observation",
            "read a file with pandas.read_csv first",
        )
    twice = frame.columns[frame.columns.duplicated()].unique()
    if len(twice):
        raise DataError(f"the column names {listing(twice)} appear twice", remedy="rename them")
    if not len(frame):
        raise DataError("the data have no rows", "at least two clusters of rows")
    check_columns(frame, columns)
    selected = frame.loc[:, list(columns)].reset_index(drop=True)
    return pd.DataFrame({name: _plain(selected[name]) for name in selected.columns})


def check_columns(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Every column is there and has a usable name.

    Raises
    ------
    DataError
        A column is missing (the message lists what there is) or its name is reserved.
    """
    for name in columns:
        if name not in frame.columns:
            raise DataError(
                f"the column {name!r} is not in the data",
                listing(frame.columns),
                suggestion(name, frame.columns) or "check the spelling in the formula",
            )
        if name in RESERVED_NAMES or "/" in name:
            raise DataError(
                f"the column name {name!r} is reserved for the results",
                f"names without '/', other than {listing(sorted(RESERVED_NAMES), limit=30)}",
                f"rename it: data.rename(columns={{{name!r}: '{name.replace('/', '_')}_'}})",
            )


def take_complete(
    frame: pd.DataFrame, policy: MissingPolicy, factors: dict[str, tuple[str, ...]]
) -> tuple[pd.DataFrame, Missing]:
    """Refuse or drop rows with missing values.

    Parameters
    ----------
    frame : pandas.DataFrame
        From :func:`select`.
    policy : {"error", "drop"}
        What to do about rows with missing values.
    factors : dict of str to tuple of str
        Grouping factors and their columns, to count the clusters that vanish.

    Returns
    -------
    frame : pandas.DataFrame
        The complete rows.
    missing : Missing
        What was dropped.

    Raises
    ------
    DataError
        There are missing values and ``policy`` is ``"error"``, or no row is complete.
    """
    check_choice("missing", policy, ("error", "drop"))
    absent = frame.isna()
    counts = {str(name): int(count) for name, count in absent.sum().items() if count}
    if not counts:
        return frame, Missing(policy)
    rows = absent.any(axis=1)
    told = ", ".join(f"{name!r} {count}" for name, count in counts.items())
    if policy == "error":
        raise DataError(
            f"missing values in {int(rows.sum())} of {len(frame)} rows ({told})",
            "complete rows",
            "fill or remove them, or say missing='drop' to leave these rows out",
        )
    kept = frame.loc[~rows].reset_index(drop=True)
    if not len(kept):
        raise DataError(f"no row is complete ({told})", remedy="fill the missing values")
    vanished = {
        name: _n_clusters(frame, columns) - _n_clusters(kept, columns)
        for name, columns in factors.items()
    }
    vanished = {name: count for name, count in vanished.items() if count}
    return kept, Missing(policy, int(rows.sum()), counts, vanished)


def _n_clusters(frame: pd.DataFrame, columns: tuple[str, ...]) -> int:
    return len(frame.loc[:, list(columns)].dropna().drop_duplicates())


def _plain(column: pd.Series) -> pd.Series:
    """Lossless conversion to bool, int, float, str or categorical.

    Categories become ordered, since formulae sorts the levels of unordered ones by name: so the
    first category is the reference, as in pandas and R.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.remove_unused_categories().cat.as_ordered()
    if pd.api.types.is_bool_dtype(column) and not column.isna().any():
        return column.astype(bool)
    if pd.api.types.is_complex_dtype(column):
        raise DataError(f"the column {column.name!r} is complex", "numbers, text, categories")
    if pd.api.types.is_numeric_dtype(column):
        return _plain_number(column)
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        raise DataError(
            f"the column {column.name!r} holds dates",
            "numbers, text, categories",
            "convert it to a number, for instance days since a start",
        )
    return _plain_object(column)


def _plain_number(column: pd.Series) -> pd.Series:
    whole = pd.api.types.is_integer_dtype(column) and not column.isna().any()
    plain = column.astype(np.int64 if whole else np.float64)
    infinite = int(np.isinf(plain.to_numpy(dtype=float)).sum())
    if infinite:
        first = int(np.flatnonzero(np.isinf(plain.to_numpy(dtype=float)))[0])
        raise DataError(
            f"the column {column.name!r} has {infinite} infinite values, the first in row {first}",
            "finite numbers",
            "replace or remove these rows",
        )
    return plain


def _plain_object(column: pd.Series) -> pd.Series:
    values = column.dropna()
    kinds = {type(value) for value in values}
    if kinds <= {bool, np.bool_} and kinds:
        return column.astype(bool) if len(values) == len(column) else column.astype(object)
    if kinds <= {str, np.str_}:
        return column.astype(object)
    names = sorted(kind.__name__ for kind in kinds)
    raise DataError(
        f"the column {column.name!r} mixes values of type {listing(names)}",
        "one type in a column: numbers, text, booleans",
        "convert it with astype(str) or pandas.to_numeric",
    )
