"""Means of rows, their averages and contrasts, as one question to every draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from popavg.design import DesignMatrices
from popavg.errors import EstimandError
from popavg.posterior_tools.draw_block import DrawBlock
from popavg.posterior_tools.draws import Need
from popavg.posterior_tools.targets import TargetMean
from popavg.posterior_tools.unique_rows import stacked_rows, take_rows

__all__ = ["Arm", "RowQuestion", "ask_rows"]

Floats = NDArray[np.float64]
#: What is made of the arms, each of shape (draws, estimands).
type Combine = Callable[..., Floats]


@dataclass(frozen=True, eq=False)
class Arm:
    """One version of the rows (as observed, all treated, …), as functionals of distinct rows.

    Attributes
    ----------
    index : numpy.ndarray of int, shape (rows,)
        The distinct row that each row is.
    averaging : scipy.sparse.csr_array, shape (cells, distinct rows), or None
        Averages of rows; None where every row is an estimand.
    """

    index: NDArray[np.intp]
    averaging: csr_array | None = None

    def __call__(self, values: Floats) -> Floats:
        """From distinct rows to estimands, shape (draws, estimands)."""
        if self.averaging is None:
            return values[:, self.index]
        return (self.averaging @ values.T).T


@dataclass(frozen=True, eq=False)
class RowQuestion:
    """What every draw is asked about some rows: see :func:`ask_rows`."""

    mean: TargetMean
    matrices: DesignMatrices
    arms: tuple[Arm, ...]
    combine: Combine | None = None
    tangent: DesignMatrices | None = None
    relative: bool = False
    complements: bool = False
    per_cell: int = 1

    @property
    def n_estimands(self) -> int:
        """Cells, or rows where nothing is averaged; as often as ``combine`` answers about each."""
        first = self.arms[0]
        cells = len(first.index) if first.averaging is None else first.averaging.shape[0]
        return self.per_cell * cells

    @property
    def cells(self) -> int:
        """Numbers that a draw needs."""
        return max(self.matrices.n_rows * (1 + self.complements) * self.mean.cost, self.n_estimands)

    @property
    def needs(self) -> tuple[Need, ...]:
        """What the target asks of a draw."""
        return self.mean.needs

    def __call__(self, block: DrawBlock) -> Floats:
        """Answers of some draws, shape (draws, estimands)."""
        if self.tangent is None:
            values = self.mean.values(block, self.matrices)
        else:
            values = self.mean.slopes(block, self.matrices, self.tangent)
            if self.relative:
                values = values / _positive(self.mean.values(block, self.matrices))
        parts = [values]
        if self.complements:
            parts = [block.link.inverse(values), block.link.complement(values)]
        answers = [arm(part) for part in parts for arm in self.arms]
        if self.combine is None:
            return answers[0]
        found = self.combine(*answers)
        infinite = [~np.isfinite(answer).all(axis=1) for answer in answers]
        if np.any(infinite):  # a finite contrast of an infinite mean is none: 1 / inf is 0
            found = np.where(np.any(infinite, axis=0)[:, None], np.nan, found)
        return found


def ask_rows(
    mean: TargetMean,
    designs: Sequence[DesignMatrices],
    *,
    averaging: csr_array | None = None,
    combine: Combine | None = None,
    tangent: DesignMatrices | None = None,
    relative: bool = False,
    complements: bool = False,
    per_cell: int = 1,
) -> RowQuestion:
    """Ask about one or several versions of the same rows; rows that repeat are computed once.

    Parameters
    ----------
    mean : TargetMean
        Whose mean, on which scale.
    designs : sequence of DesignMatrices
        The versions, with equally many rows: one for predictions and slopes, two for a contrast,
        more for several contrasts.
    averaging : scipy.sparse.csr_array, shape (cells, rows), optional
        Averages to take of the rows of every version, draw by draw.
    combine : callable, optional
        From the versions' (averaged) means, each of shape (draws, estimands), to the estimands.
        Applied after averaging, within each draw.
    tangent : DesignMatrices, optional
        The rows' derivatives with respect to a covariate: slopes are asked instead of means.
    relative : bool
        Divide each row's slope by its mean, which must be above 0, before averages are taken.
    complements : bool
        ``combine`` gets the versions' probabilities and after them one minus these, both accurate
        in relative terms, since they are made from ``mean`` on the **link** scale.
    per_cell : int
        How many numbers ``combine`` makes of each row or cell.

    Returns
    -------
    RowQuestion
        For :func:`popavg.posterior_tools.evaluation.evaluate`.
    """
    matrices, first, indices = stacked_rows(designs, beside=tangent)
    averages = [
        None if averaging is None else _collapsed(averaging, index, matrices.n_rows)
        for index in indices
    ]
    arms = tuple(Arm(index, average) for index, average in zip(indices, averages, strict=True))
    rates = None if tangent is None else take_rows(tangent, first)
    return RowQuestion(mean, matrices, arms, combine, rates, relative, complements, per_cell)


def _positive(means: Floats) -> Floats:
    """Means that something can be relative to."""
    bad = ~(means > 0.0)
    if bad.any():
        raise EstimandError(
            "relative slopes divide by the mean, which isn't above 0 in some draws, at "
            f"{bad.any(axis=0).sum()} of {means.shape[1]} distinct rows",
            "a mean above 0 in every draw, such as a probability or a mean count",
            "use slope='dydx' or 'dyex', or scale='response'",
        )
    return means


def _collapsed(averaging: csr_array, index: NDArray[np.intp], n_distinct: int) -> csr_array:
    """The averaging matrix over distinct rows."""
    columns = index[averaging.indices]
    shape = (averaging.shape[0], n_distinct)
    # A copy: sum_duplicates works in place, and every arm starts from the same matrix.
    found = csr_array((averaging.data, columns, averaging.indptr), shape=shape, copy=True)
    found.sum_duplicates()
    return found
