"""Read a table of data from a file."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pandas as pd

from popavg._checks import listing
from popavg.errors import DataError

__all__ = ["read_table"]

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t", ".tab": "\t"}
_PARQUET = (".parquet", ".pq")


class _Rows(Protocol):
    """What :func:`csv.reader` gives."""

    @property
    def line_num(self) -> int: ...

    def __iter__(self) -> Iterator[list[str]]: ...


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    r"""Read CSV, TSV or Parquet, the kind told by the file's ending.

    Parameters
    ----------
    path : path-like
        A file with one row for each observation and, for text files, a line of column names.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    DataError
        No such file, another ending, not a table of that kind, a column name twice, or lines with
        different numbers of fields.

    Notes
    -----
    Empty fields and pandas' usual words for them (``NA``, ``NaN``, ``null``, ``None``, …) are
    missing values.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from popavg.workflows.reading import read_table
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "data.csv"
    >>> _ = path.write_text("y,g\n1,a\n0,b\n")
    >>> read_table(path).shape
    (2, 2)
    """
    file = Path(path)
    if not os.path.isfile(file):
        kind = "is a folder" if os.path.isdir(file) else "doesn't exist"
        raise DataError(f"the file {str(file)!r} {kind}", remedy="check the path")
    suffix = file.suffix.lower()
    if suffix in _PARQUET:
        return _parquet(file)
    if suffix not in _SEPARATORS:
        raise DataError(
            f"the file {str(file)!r} ends in {suffix!r}",
            listing([*_SEPARATORS, *_PARQUET]),
            "save it as CSV with a line of column names",
        )
    return _text(file, _SEPARATORS[suffix])


def _parquet(file: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(file)
    except Exception as error:
        raise _unreadable(file, "Parquet file", error) from error
    named = [name for name in frame.index.names if name is not None]
    return frame.reset_index() if named else frame


def _text(file: Path, separator: str) -> pd.DataFrame:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(stream, delimiter=separator)
            names = next(rows, [])
            _check_names(names, file, separator)
            _check_lengths(rows, len(names), file)
        return pd.read_csv(
            file, sep=separator, encoding="utf-8-sig", low_memory=False, index_col=False
        )
    except DataError:
        raise
    except Exception as error:
        raise _unreadable(file, "text table in UTF-8", error) from error


def _check_names(names: list[str], file: Path, separator: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"the column names {listing(twice)} appear twice in {str(file)!r}", remedy="rename them"
        )
    if len(names) == 1 and any(sign in names[0] for sign in ";\t,|"):
        raise DataError(
            f"{str(file)!r} has one column called {names[0][:60]!r}",
            f"columns separated by {separator!r}",
            "save the file again with that separator",
        )


def _check_lengths(rows: _Rows, length: int, file: Path) -> None:
    """Refuse rows that are longer or shorter than the first: pandas would fill or shift them."""
    for row in rows:
        if row and len(row) != length:
            raise DataError(
                f"line {rows.line_num} of {str(file)!r} has {len(row)} fields, the column names "
                f"are {length}",
                "the same number in every line",
                "quote fields that hold the separator, and remove titles and notes",
            )


def _unreadable(file: Path, kind: str, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:200]
    return DataError(
        f"{str(file)!r} isn't a readable {kind} ({reason})",
        "CSV, TSV or Parquet",
        "open it and save it again as CSV in UTF-8",
    )
