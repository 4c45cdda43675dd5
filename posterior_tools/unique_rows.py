"""Rows of a design that repeat are computed once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from popavg.design import DesignMatrices
from popavg.posterior_tools.projection import unique_rows

__all__ = ["distinct_rows", "take_rows"]


def distinct_rows(
    matrices: DesignMatrices,
) -> tuple[DesignMatrices, NDArray[np.intp], NDArray[np.intp]]:
    """The different rows of a design, as far as means are concerned.

    The labelled shell of :func:`popavg.posterior_tools.projection.unique_rows`.

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
    >>> from popavg.posterior_tools.unique_rows import distinct_rows
    >>> matrices = DesignMatrices(("x",), np.array([[1.0], [2.0], [1.0]]), np.zeros(3), ())
    >>> distinct_rows(matrices)[1].tolist()
    [0, 1, 0]
    """
    columns = (matrices.X, matrices.offset, *(group.Z for group in matrices.groups))
    first, inverse, counts = unique_rows(*columns)
    return take_rows(matrices, first), inverse, counts


def take_rows(matrices: DesignMatrices, rows: NDArray[np.intp]) -> DesignMatrices:
    """Some rows of a design, in the given order.

    Parameters
    ----------
    matrices : DesignMatrices
        A design.
    rows : numpy.ndarray of int
        Positions of the rows to take.

    Returns
    -------
    DesignMatrices
        These rows, groups included.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.design import DesignMatrices
    >>> from popavg.posterior_tools.unique_rows import take_rows
    >>> matrices = DesignMatrices(("x",), np.array([[1.0], [2.0]]), np.zeros(2), ())
    >>> take_rows(matrices, np.array([1])).X.tolist()
    [[2.0]]
    """
    groups = tuple(
        replace(group, index=group.index[rows], Z=group.Z[rows]) for group in matrices.groups
    )
    return DesignMatrices(matrices.terms, matrices.X[rows], matrices.offset[rows], groups)
