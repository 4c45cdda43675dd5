"""Check the columns of a data frame that a model uses; drop rows only on request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from typing import Literal

import numpy as np
import pandas as pd

from popavg._checks import check_choice, listing, suggestion
from popavg.errors import DataError

__all__ = [
    "RESERVED_NAMES",
    "Missing",
    "MissingPolicy",
    "check_columns",
    "check_frame",
    "select",
    "take_complete",
]

_NUMBERS = (int, float, np.integer, np.floating)
_LARGEST = int(np.iinfo(np.int64).max)
_DATES = "convert it to a number, for instance days since a start"

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
    check_frame(frame)
    check_columns(frame, columns)
    selected = frame.loc[:, list(columns)].reset_index(drop=True)
    plain = {name: _plain(selected[name]) for name in selected.columns}
    return pd.DataFrame(plain, index=selected.index)


def check_frame(frame: pd.DataFrame) -> None:
    """The data are a frame with rows and with one column for each name.

    Raises
    ------
    DataError
        They aren't.
    """
    if not isinstance(frame, pd.DataFrame):
        raise DataError(
            f"the data are of type {type(frame).__name__}",
            "a pandas.DataFrame with one row for each observation",
            "read a file with pandas.read_csv first",
        )
    if frame.columns.nlevels > 1:
        raise DataError(
            f"the data's column names have {frame.columns.nlevels} levels",
            "one name for each column",
            "flatten them: data.columns = ['_'.join(map(str, name)) for name in data.columns]",
        )
    twice = frame.columns[frame.columns.duplicated()].unique()
    if len(twice):
        more = len(twice) > 1
        raise DataError(
            f"the column name{'s' * more} {listing(twice)} appear{'s' * (not more)} more than once",
            "one name for each column",
            "rename or drop the repeated columns",
        )
    if not len(frame):
        raise DataError(
            "the data have no rows",
            "at least one row, and two clusters for a fit",
            "check how the data were read or filtered",
        )


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
        if name in RESERVED_NAMES:
            raise DataError(
                f"the column name {name!r} is reserved for the results",
                f"names other than {listing(sorted(RESERVED_NAMES), limit=30)}",
                f"rename it: data.rename(columns={{{name!r}: '{name}_'}})",
            )
        if set(name) & {"/", "%"} or name != name.strip():
            raise DataError(
                f"the column name {name!r} can't be stored in a fit",
                "names without '/', '%' and spaces at their ends",
                f"rename it: data.rename(columns={{{name!r}: {_storable(name)!r}}})",
            )


def _storable(name: str) -> str:
    return name.replace("/", "_").replace("%", "percent").strip()


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
            f"missing values in {rows.sum():,} of {len(frame):,} rows ({told})",
            "complete rows",
            "fill or remove them, or say missing='drop' to leave these rows out",
        )
    if rows.all():
        raise DataError(
            f"no row is complete (missing values: {told})",
            "at least one complete row",
            "fill the missing values, or leave columns without values out of the formula",
        )
    kept = frame.loc[~rows].reset_index(drop=True)
    kept = pd.DataFrame({name: _plain(kept[name]) for name in kept.columns}, index=kept.index)
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
    first category is the reference, as in pandas and R. Missing values stay missing.
    """
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype) or str(dtype).startswith("dictionary"):
        return _plain_category(column.astype("category"))
    if pd.api.types.is_bool_dtype(column):
        return column.astype(object if column.isna().any() else bool)
    if pd.api.types.is_complex_dtype(column):
        raise _refused_type(column, "complex numbers", "split it into real columns")
    if pd.api.types.is_numeric_dtype(column):
        return _plain_number(column)
    if dtype.kind in "mM" or isinstance(dtype, pd.PeriodDtype):
        raise _refused_type(column, "dates or times", _DATES)
    return _plain_object(column)


def _plain_category(column: pd.Series) -> pd.Series:
    categories = column.cat.remove_unused_categories().cat.as_ordered()
    levels = categories.cat.categories
    if pd.api.types.is_integer_dtype(levels) or pd.api.types.is_bool_dtype(levels):
        kinds = {int: np.int64, bool: bool}
        plain = levels.astype(kinds[bool if pd.api.types.is_bool_dtype(levels) else int])
    elif pd.api.types.is_float_dtype(levels):
        plain = levels.astype(np.float64)
    else:
        plain = pd.Index([str(level) for level in levels], dtype=object)
    if plain.has_duplicates:
        twice = plain[plain.duplicated()].unique()
        raise DataError(
            f"different categories of {column.name!r} have the same label: {listing(twice, 5)}",
            "categories that differ as text",
            f"rename them with data[{column.name!r}].cat.rename_categories()",
        )
    _check_text(column.name, plain)
    return categories.cat.rename_categories(plain)


def _plain_number(column: pd.Series) -> pd.Series:
    if pd.api.types.is_integer_dtype(column):
        return _plain_whole(column)
    plain = column.astype(np.float64)
    infinite = np.flatnonzero(np.isinf(plain.to_numpy()))
    if len(infinite):
        raise DataError(
            f"the column {column.name!r} has {len(infinite):,} infinite "
            f"value{'s' * (len(infinite) != 1)}, the first in row {infinite[0]} (counted from 0)",
            "finite numbers",
            "replace these values or remove their rows",
        )
    return plain


def _plain_whole(column: pd.Series) -> pd.Series:
    if pd.api.types.is_unsigned_integer_dtype(column) and int(column.max()) > _LARGEST:
        raise _refused_type(column, f"whole numbers above {_LARGEST}", "convert it to text")
    return column.astype("Int64" if column.isna().any() else np.int64)


def _plain_object(column: pd.Series) -> pd.Series:
    values = column.astype(object).dropna()
    kinds = set(map(type, values.to_numpy()))
    if kinds and kinds <= {bool, np.bool_}:
        return column.astype(bool) if len(values) == len(column) else column.astype(object)
    if kinds <= {str, np.str_}:
        _check_text(column.name, values.unique())
        return column.astype(object)
    if all(issubclass(kind, _NUMBERS) and not issubclass(kind, bool) for kind in kinds):
        if max(map(abs, values)) > _LARGEST and not kinds <= {float, np.float64}:
            raise _refused_type(column, f"whole numbers above {_LARGEST}", "convert it to text")
        return _plain_number(pd.to_numeric(column))
    if len(kinds) == 1 and issubclass(next(iter(kinds)), (date, time, timedelta)):
        raise _refused_type(column, "dates or times", _DATES)
    names = listing(sorted(kind.__name__ for kind in kinds))
    what = f"values of type {names}" if len(kinds) == 1 else f"a mix of values of type {names}"
    raise _refused_type(column, what, "convert it with astype(str) or pandas.to_numeric")


def _refused_type(column: pd.Series, what: str, remedy: str) -> DataError:
    allowed = "one type in a column: numbers, text, booleans or categories"
    return DataError(f"the column {column.name!r} holds {what}", allowed, remedy)


def _check_text(name: object, values: Iterable[object]) -> None:
    """Files end a text at its first NUL, so two levels could become one."""
    if any("\0" in value for value in values if isinstance(value, str)):
        raise DataError(
            f"the column {name!r} has text with a NUL character",
            "text without the character '\\0'",
            "remove it with .str.replace('\\0', '')",
        )
