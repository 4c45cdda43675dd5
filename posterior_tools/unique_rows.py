"""Rows of a design that repeat are computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from popavg.design import DesignMatrices
from popavg.posterior_tools.projection import unique_rows

__all__ = ["distinct_rows", "stack_designs", "stacked_rows", "take_rows"]


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


def stack_designs(designs: Sequence[DesignMatrices]) -> DesignMatrices:
    """Several designs, one below the other.

    Parameters
    ----------
    designs : sequence of DesignMatrices
        With the same terms and groups.

    Returns
    -------
    DesignMatrices
        All rows, in order.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.design import DesignMatrices
    >>> from popavg.posterior_tools.unique_rows import stack_designs
    >>> one = DesignMatrices(("x",), np.array([[1.0]]), np.zeros(1), ())
    >>> stack_designs([one, one]).n_rows
    2
    """
    if len(designs) == 1:
        return designs[0]
    groups = tuple(
        replace(
            group,
            index=np.concatenate([design.groups[i].index for design in designs]),
            Z=np.concatenate([design.groups[i].Z for design in designs]),
        )
        for i, group in enumerate(designs[0].groups)
    )
    X, offset = ([getattr(design, name) for design in designs] for name in ("X", "offset"))
    return DesignMatrices(designs[0].terms, np.concatenate(X), np.concatenate(offset), groups)


def stacked_rows(
    designs: Sequence[DesignMatrices], *, beside: DesignMatrices | None = None
) -> tuple[DesignMatrices, NDArray[np.intp], list[NDArray[np.intp]]]:
    """The distinct rows of several designs together.

    Parameters
    ----------
    designs : sequence of DesignMatrices
        Versions of the same rows.
    beside : DesignMatrices, optional
        With as many rows as ``designs`` together: rows that differ here count as different too.

    Returns
    -------
    matrices : DesignMatrices
        The distinct rows.
    first : numpy.ndarray of int
        Where each occurs first in the stacked rows.
    indices : list of numpy.ndarray of int, shape (rows,)
        For each design the distinct row that each of its rows is.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.design import DesignMatrices
    >>> from popavg.posterior_tools.unique_rows import stacked_rows
    >>> one = DesignMatrices(("x",), np.array([[1.0], [2.0]]), np.zeros(2), ())
    >>> other = DesignMatrices(("x",), np.array([[2.0], [2.0]]), np.zeros(2), ())
    >>> [index.tolist() for index in stacked_rows([one, other])[2]]
    [[0, 1], [1, 1]]
    """
    stacked = stack_designs(designs)
    columns = [stacked.X, stacked.offset, *(group.Z for group in stacked.groups)]
    if beside is not None:
        columns += [beside.X, beside.offset, *(group.Z for group in beside.groups)]
    first, inverse, _ = unique_rows(*columns)
    borders = np.cumsum([design.n_rows for design in designs])[:-1]
    return take_rows(stacked, first), first, np.split(inverse, borders)
