"""Cells of rows to average over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from popavg._checks import listing, suggestion
from popavg.errors import DataError, SpecificationError

__all__ = ["Cells", "make_cells"]


@dataclass(frozen=True, eq=False)
class Cells:
    """Which rows are averaged together.

    Attributes
    ----------
    labels : pandas.DataFrame
        One row for each cell: the values of the columns that make it; a single row without
        columns where all rows are averaged.
    codes : numpy.ndarray of int, shape (rows,)
        The cell of each row.
    """

    labels: pd.DataFrame
    codes: NDArray[np.intp]

    def averaging(self, weights: NDArray[np.float64]) -> csr_array:
        """The matrix that takes rows to weighted averages, shape (cells, rows).

        Raises
        ------
        DataError
            The rows of a cell have weights that are all zero.
        """
        total = np.bincount(self.codes, weights, len(self.labels))
        if not total.all():
            without = self.labels[total == 0.0].to_dict("records")
            empty = [", ".join(f"{name} {value}" for name, value in row.items()) for row in without]
            raise DataError(
                f"the weights of all rows in {len(empty)} of {len(total)} cells are 0: "
                f"{listing(empty, 3)}",
                "at least one row with a weight above 0 in every cell",
            )
        columns = np.arange(len(self.codes))
        shape = (len(total), len(self.codes))
        return csr_array((weights / total[self.codes], (self.codes, columns)), shape=shape)


def make_cells(frame: pd.DataFrame, by: str | Sequence[str] | None) -> Cells:
    """Rows with the same values of ``by`` make a cell; all rows make one without ``by``.

    Parameters
    ----------
    frame : pandas.DataFrame
        The rows.
    by : str or sequence of str, optional
        Columns.

    Returns
    -------
    Cells
        In the order of the columns' levels or values, the first column slowest.

    Raises
    ------
    SpecificationError
        A name that isn't a column of the rows.
    DataError
        Missing values, or combinations of levels that no row has: they have no mean.

    Examples
    --------
    >>> import pandas as pd
    >>> from popavg.posterior_tools.cells import make_cells
    >>> make_cells(pd.DataFrame({"arm": ["b", "a", "b"]}), "arm").codes.tolist()
    [1, 0, 1]
    """
    names = [] if by is None else [by] if isinstance(by, str) else list(dict.fromkeys(by))
    if not names:
        return Cells(pd.DataFrame(index=range(1)), np.zeros(len(frame), dtype=np.intp))
    for name in names:
        if name not in frame.columns:
            raise SpecificationError(
                f"by={name!r} isn't a column of the rows",
                listing(frame.columns),
                suggestion(str(name), [str(column) for column in frame.columns])
                or f"fit with keep=[{name!r}] to have it in the fit",
            )
    if frame[names].isna().any(axis=None):
        raise DataError(f"missing values in {listing(names)}, given as 'by'", "complete columns")
    coded = [_codes(frame[name]) for name in names]
    sizes = [len(levels) for _, levels in coded]
    combined = np.ravel_multi_index([codes for codes, _ in coded], sizes)
    occurring, codes = np.unique(combined, return_inverse=True)
    _check_all_occur(frame[names], coded, occurring)
    return Cells(_labels(frame[names], coded, occurring), codes.astype(np.intp))


def _check_all_occur(
    frame: pd.DataFrame,
    coded: Sequence[tuple[NDArray[np.intp], Sequence[object]]],
    occurring: NDArray[np.intp],
) -> None:
    n_all = prod(len(levels) for _, levels in coded)
    if n_all == len(occurring):
        return
    first = np.arange(min(n_all, len(occurring) + 3))
    absent = first[~np.isin(first, occurring)][:3]
    rows = _labels(frame, coded, absent).to_dict("records")
    words = [", ".join(f"{name} {value}" for name, value in row.items()) for row in rows]
    n_empty = n_all - len(occurring)
    raise DataError(
        f"{n_empty:,} of {n_all:,} cells of by={listing(frame.columns)} have no rows: "
        + listing(words)
        + (f" and {n_empty - len(words):,} more" if n_empty > len(words) else ""),
        "levels and combinations that occur among the rows",
        "leave out a column of 'by', leave levels without rows out of newdata's category, or put "
        "the combinations that occur into one column and name that",
    )


def _labels(
    frame: pd.DataFrame,
    coded: Sequence[tuple[NDArray[np.intp], Sequence[object]]],
    cells: NDArray[np.intp],
) -> pd.DataFrame:
    """The values that make some cells, in the types of the rows' columns."""
    positions = np.unravel_index(cells, [len(levels) for _, levels in coded])
    names = frame.columns
    columns = {
        name: pd.Series([levels[i] for i in chosen]).astype(frame[name].dtype)
        for name, (_, levels), chosen in zip(names, coded, positions, strict=True)
    }
    return pd.DataFrame(columns)


def _codes(column: pd.Series) -> tuple[NDArray[np.intp], list[object]]:
    """Positions among the levels of a category (also those without rows), or sorted values."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy().astype(np.intp), list(column.cat.categories)
    codes, levels = pd.factorize(column, sort=True)
    return codes.astype(np.intp), list(levels)
