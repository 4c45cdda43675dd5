"""Working correlations of a GEE for statsmodels, estimated as geepack does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from statsmodels.genmod.cov_struct import CovStruct

from popavg.errors import ConvergenceError, SpecificationError
from popavg.posterior_tools.working_correlation import AR1, ClusterLayout, Exchangeable

if TYPE_CHECKING:
    from popavg.models.estimating_equations import GeepackGEE

__all__ = [
    "AR1Structure",
    "ExchangeableStructure",
    "IndependenceStructure",
    "make_structure",
    "solve_ar1",
]

Floats = NDArray[np.float64]
_SMALLEST_GAP_TO_ONE = 1e-7


class IndependenceStructure(CovStruct):
    """R = I.

    Parameters
    ----------
    layout : ClusterLayout
        The clusters of the sorted rows.

    Notes
    -----
    Unlike statsmodels' structures, these take the standard deviations sqrt(v_j / w_j) from the
    model, so that trials w enter the working variance V_j = phi v(mu_j) / w_j, the bread and the
    meat alike.

    Examples
    --------
    >>> from popavg.models.working_correlation import IndependenceStructure
    >>> from popavg.posterior_tools.working_correlation import ClusterLayout
    >>> IndependenceStructure(ClusterLayout.build([0, 0, 1])).alpha is None
    True
    """

    model: GeepackGEE

    def __init__(self, layout: ClusterLayout) -> None:
        super().__init__()
        self.layout = layout
        self.alpha: float | None = None

    def update(self, params: Floats) -> None:
        """Leave R as it is."""

    def covariance_matrix_solve(
        self, expval: Floats, index: int, stdev: Floats, rhs: Sequence[Floats]
    ) -> list[Floats]:
        """Return V_i^{-1} x for each right-hand side x of cluster ``index``.

        Parameters
        ----------
        expval : ndarray, shape (rows of the cluster,)
            statsmodels' means; not used.
        index : int
            The cluster.
        stdev : ndarray, shape (rows of the cluster,)
            statsmodels' standard deviations, which don't know the weights; not used.
        rhs : sequence of ndarray, shape (rows of the cluster,) or (rows of the cluster, columns)
            Right-hand sides.

        Returns
        -------
        list of ndarray
            The solutions, without the scale phi.
        """
        start = self.layout.starts[index]
        rows = slice(start, start + self.layout.sizes[index])
        sd = self.model.stdev[rows, None]
        solved = (self._solve(x.reshape(len(x), -1) / sd, rows) / sd for x in rhs)
        return [y.reshape(x.shape) for y, x in zip(solved, rhs, strict=True)]

    def _solve(self, rows: Floats, where: slice) -> Floats:
        """R_i^{-1} rows."""
        return rows


class ExchangeableStructure(IndependenceStructure):
    """R_jk = alpha, estimated from all pairs of a cluster's rows.

    Parameters
    ----------
    layout : ClusterLayout
        The clusters of the sorted rows.
    alpha : float, optional
        Holds the correlation at this value.

    Notes
    -----
    alpha = sum_i sum_{j<k} w_j w_k r_j r_k / (phi sum_i sum_{j<k} w_j w_k), with Pearson residuals
    r without weights and no correction for the number of coefficients, as geepack has it.

    Examples
    --------
    >>> from popavg.models.working_correlation import ExchangeableStructure
    >>> from popavg.posterior_tools.working_correlation import ClusterLayout
    >>> ExchangeableStructure(ClusterLayout.build([0, 0, 1]), alpha=0.3).alpha
    0.3
    """

    def __init__(self, layout: ClusterLayout, alpha: float | None = None) -> None:
        super().__init__(layout)
        self.held = alpha is not None
        if alpha is not None:
            Exchangeable(alpha).check(layout)
        self.alpha = 0.0 if alpha is None else alpha

    def update(self, params: Floats) -> None:
        """Estimate alpha from the model's residuals.

        Raises
        ------
        ConvergenceError
            The estimate makes a cluster's R indefinite.
        """
        if self.held:
            return
        weights, weighted = self.model.prior_weights, self.model.prior_weights * self.model.pearson
        products = self._pairs(weighted) / self.model.estimate_scale()
        self.alpha = products / self._pairs(weights)
        try:
            Exchangeable(self.alpha).check(self.layout)
        except SpecificationError as error:
            raise _outside(self.alpha, error.allowed, "exchangeable") from error

    def _pairs(self, values: Floats) -> float:
        """Sum of x_j x_k over the pairs j < k of every cluster."""
        starts = self.layout.starts
        sums = np.add.reduceat(values, starts)
        return float(np.sum(sums**2 - np.add.reduceat(values**2, starts)) / 2.0)

    def _solve(self, rows: Floats, where: slice) -> Floats:
        alpha = self.alpha or 0.0
        shared = alpha / (1.0 + (len(rows) - 1) * alpha)
        return (rows - shared * rows.sum(axis=0)) / (1.0 - alpha)


class AR1Structure(IndependenceStructure):
    """R_jk = alpha ** abs(t_j - t_k), estimated from all pairs of a cluster's rows.

    Parameters
    ----------
    layout : ClusterLayout
        The clusters of the sorted rows, with the gaps between their times.
    alpha : float, optional
        Holds the correlation one unit of time apart at this value.

    Notes
    -----
    R_i^{-1} is tridiagonal whatever the gaps, so a solve costs one pass over the rows; the moment
    estimator looks at every pair of a cluster (memory grows with the sum of n_i^2).

    Examples
    --------
    >>> from popavg.models.working_correlation import AR1Structure
    >>> from popavg.posterior_tools.working_correlation import ClusterLayout
    >>> AR1Structure(ClusterLayout.build([0, 0, 1, 1], time=[0, 1, 0, 2]), alpha=0.3).alpha
    0.3
    """

    def __init__(self, layout: ClusterLayout, alpha: float | None = None) -> None:
        super().__init__(layout)
        AR1(0.0 if alpha is None else alpha).check(layout)
        self.held = alpha is not None
        self.alpha = 0.0
        self._set(0.0 if alpha is None else alpha)
        if not self.held:
            self._first, self._second, distance = _pairs_of_rows(layout)
            self._distances, self._group = np.unique(distance, return_inverse=True)

    def _set(self, alpha: float) -> None:
        gaps = self.layout.gaps if self.layout.gaps is not None else np.zeros(0)
        self.alpha, self._rho = alpha, np.power(alpha, gaps)
        self._rho[self.layout.starts] = 0.0

    def update(self, params: Floats) -> None:
        """Estimate alpha from the model's residuals; see `solve_ar1`."""
        if self.held:
            return
        weights, weighted = self.model.prior_weights, self.model.prior_weights * self.model.pearson
        products = self._by_distance(weighted) / self.model.estimate_scale()
        self._set(solve_ar1(self._distances, products, self._by_distance(weights)))

    def _by_distance(self, values: Floats) -> Floats:
        return np.bincount(self._group, values[self._first] * values[self._second])

    def _solve(self, rows: Floats, where: slice) -> Floats:
        rho = self._rho[where, None]
        innovations = rows.copy()
        innovations[1:] -= rho[1:] * rows[:-1]
        innovations /= (1.0 - rho) * (1.0 + rho)
        innovations[:-1] -= rho[1:] * innovations[1:]
        return innovations


def _pairs_of_rows(layout: ClusterLayout) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Both rows of every pair within a cluster, and the time between them."""
    by_size = {n: np.triu_indices(n, 1) for n in np.unique(layout.sizes)}
    spans = list(zip(layout.starts, layout.sizes, strict=True))
    first = np.concatenate([start + by_size[n][0] for start, n in spans])
    second = np.concatenate([start + by_size[n][1] for start, n in spans])
    gaps = layout.gaps if layout.gaps is not None else np.zeros(0)
    elapsed = np.concatenate([np.cumsum(gaps[start : start + n]) for start, n in spans])
    return first, second, np.round(elapsed[second] - elapsed[first], 10)


def solve_ar1(distances: Floats, products: Floats, weights: Floats) -> float:
    """Solve geepack's moment equation of an AR(1) correlation.

    Parameters
    ----------
    distances : ndarray, shape (distances,)
        The times d > 0 that occur between two rows of a cluster.
    products : ndarray, shape (distances,)
        S_d, the sum of w_j w_k r_j r_k / phi over the pairs of rows d apart.
    weights : ndarray, shape (distances,)
        N_d, the sum of w_j w_k over them.

    Returns
    -------
    float
        alpha, the correlation one unit of time apart.

    Raises
    ------
    ConvergenceError
        The equation has no solution in the range where R is a correlation.

    Notes
    -----
    sum_d d alpha^{d-1} (S_d - N_d alpha^d) = 0: of its roots, the one that minimises
    sum_d N_d (S_d / N_d - alpha^d)^2. Distances are counted in units of the smallest (of their
    greatest common divisor, where they are whole), so that the unit of time doesn't matter.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.models.working_correlation import solve_ar1
    >>> alpha = solve_ar1(np.array([1.0, 2.0]), np.array([5.0, 2.5]), np.array([10.0, 10.0]))
    >>> round(alpha, 12)
    0.5
    """
    whole = bool((distances == np.rint(distances)).all())
    unit = float(np.gcd.reduce(distances.astype(np.int64))) if whole else float(distances.min())
    steps = distances / unit

    def loss(rho: Floats) -> Floats:
        powers = np.power(rho[:, None], steps)
        return (powers * (0.5 * weights * powers - products)).sum(axis=1)

    def equation(rho: float) -> float:
        return float(np.sum(steps * rho ** (steps - 1.0) * (products - weights * rho**steps)))

    span = np.cos(np.linspace(np.pi, 0.0, 801))
    grid = span if whole else 0.5 * (1.0 + span)
    grid[-1] = 1.0 - _SMALLEST_GAP_TO_ONE
    grid[0] = -grid[-1] if whole else 0.0
    low, high = _bracket(loss, grid)
    if not equation(low) > 0.0 > equation(high):
        raise _no_ar1(whole)
    rho = float(brentq(equation, low, high, xtol=1e-15, rtol=1e-15))
    if rho < 0.0 and unit % 2 == 0.0:
        raise _no_ar1(whole)
    return float(np.copysign(abs(rho) ** (1.0 / unit), rho))


def _bracket(loss: Callable[[Floats], Floats], grid: Floats) -> tuple[float, float]:
    """The neighbours of the grid's lowest point, on ever finer grids."""
    for _ in range(3):
        lowest = int(np.argmin(loss(grid)))
        low, high = grid[max(lowest - 1, 0)], grid[min(lowest + 1, len(grid) - 1)]
        grid = np.linspace(low, high, 41)
    return float(low), float(high)


def _no_ar1(whole: bool) -> ConvergenceError:
    return ConvergenceError(
        "no AR(1) correlation fits the residuals: the moment equation has no solution",
        "-1 < alpha < 1" if whole else "0 < alpha < 1, as times aren't whole numbers apart",
        "use working_correlation='exchangeable', hold the correlation with alpha=, or give the"
        " time as the number of the visit (1, 2, 3, …)",
    )


def _outside(alpha: float, allowed: str, name: str) -> ConvergenceError:
    return ConvergenceError(
        f"the estimated {name} correlation alpha={alpha:.6g} is outside its valid range",
        allowed,
        "use working_correlation='independence', or hold the correlation with alpha=",
    )


def make_structure(name: str, layout: ClusterLayout, alpha: float | None) -> IndependenceStructure:
    """Build the working correlation called ``name``.

    Parameters
    ----------
    name : {"independence", "exchangeable", "ar1"}
        Which.
    layout : ClusterLayout
        The clusters.
    alpha : float or None
        Holds the correlation at this value.

    Returns
    -------
    IndependenceStructure
        A new structure; each fit needs its own.

    Raises
    ------
    SpecificationError
        ``alpha`` outside its range or given for independence, or AR(1) without times.

    Examples
    --------
    >>> from popavg.models.working_correlation import make_structure
    >>> from popavg.posterior_tools.working_correlation import ClusterLayout
    >>> type(make_structure("independence", ClusterLayout.build([0, 0, 1]), None)).__name__
    'IndependenceStructure'
    """
    if name == "exchangeable":
        return ExchangeableStructure(layout, alpha)
    if name == "ar1":
        return AR1Structure(layout, alpha)
    if alpha is not None:
        raise SpecificationError(
            f"alpha={alpha!r} with working_correlation='independence', which has none",
            remedy="leave alpha out, or choose 'exchangeable' or 'ar1'",
        )
    return IndependenceStructure(layout)
