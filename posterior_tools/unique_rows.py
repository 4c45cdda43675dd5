"""Rows of a design that repeat are computed once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from popavg.design import DesignMatrices

__all__ = ["distinct_rows"]


def distinct_rows(
    matrices: DesignMatrices,
) -> tuple[DesignMatrices, NDArray[np.intp], NDArray[np.intp]]:
    """The different rows of a design, as far as means are concerned.

    Parameters
    ----------
    matrices : DesignMatrices
        A design; which cluster a row belongs to doesn't matter.

    Returns
    -------
    matrices : DesignMatrices
        The distinct rows.
    inverse : numpy.ndarray of int, shape (rows,)
        Position of each row among them.
    counts : numpy.ndarray of int
        How often each occurs.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.design import DesignMatrices
    >>> matrices = DesignMatrices(("x",), np.array([[1.0], [2.0], [1.0]]), np.zeros(3), ())
    >>> distinct_rows(matrices)[1].tolist()
    [0, 1, 0]
    """
    columns = [matrices.X, matrices.offset[:, None], *(group.Z for group in matrices.groups)]
    _, first, inverse, counts = np.unique(
        np.column_stack(columns),
        axis=0,
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    return take_rows(matrices, first), inverse.reshape(-1), counts


def take_rows(matrices: DesignMatrices, rows: NDArray[np.intp]) -> DesignMatrices:
    """Some rows of a design, in the given order."""
    groups = tuple(
        replace(group, index=group.index[rows], Z=group.Z[rows]) for group in matrices.groups
    )
    return DesignMatrices(matrices.terms, matrices.X[rows], matrices.offset[rows], groups)
