"""Working correlations of an estimating equation, as operators that whiten clusters' rows."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from popavg._checks import check_choice
from popavg.errors import DataError, SpecificationError

__all__ = [
    "AR1",
    "WORKING_CORRELATIONS",
    "ClusterLayout",
    "Exchangeable",
    "Independence",
    "WorkingCorrelation",
    "make_working_correlation",
]

Floats = NDArray[np.float64]
WORKING_CORRELATIONS: tuple[str, ...] = ("independence", "exchangeable", "ar1")


@dataclass(frozen=True, eq=False)
class ClusterLayout:
    """Where the clusters stand once the rows are sorted by cluster, and by time within it.

    Attributes
    ----------
    order : ndarray of int, shape (rows,)
        ``rows[order]`` is sorted; the order of rows that tie is kept.
    starts : ndarray of int, shape (clusters,)
        First sorted row of each cluster.
    sizes : ndarray of int, shape (clusters,)
        Rows of each cluster.
    gaps : ndarray of float, shape (rows,), or None
        Time since the sorted row before, in the units of ``time``; 0 on the first row of a
        cluster. None where no time was given.

    Examples
    --------
    >>> from popavg.posterior_tools.working_correlation import ClusterLayout
    >>> layout = ClusterLayout.build([7, 2, 7], time=[3.0, 0.0, 1.0])
    >>> layout.order.tolist(), layout.sizes.tolist(), layout.gaps.tolist()
    ([1, 2, 0], [1, 2], [0.0, 0.0, 2.0])
    """

    order: NDArray[np.intp]
    starts: NDArray[np.intp]
    sizes: NDArray[np.intp]
    gaps: Floats | None = None

    @classmethod
    def build(cls, codes: ArrayLike, *, time: ArrayLike | None = None) -> ClusterLayout:
        """Read the clusters off one integer a row.

        Parameters
        ----------
        codes : array_like of int, shape (rows,)
            The cluster of each row; any integers.
        time : array_like of float, shape (rows,), optional
            When each row was observed; the units are those in which ``alpha`` of `AR1` is the
            correlation one unit apart.

        Returns
        -------
        ClusterLayout
            The sorted layout.

        Raises
        ------
        DataError
            No rows, codes that aren't integers, a time that isn't finite, or two rows of one
            cluster at the same time.

        Examples
        --------
        >>> from popavg.posterior_tools.working_correlation import ClusterLayout
        >>> ClusterLayout.build([1, 1, 2]).starts.tolist()
        [0, 2]
        """
        cluster = np.asarray(codes)
        if cluster.ndim != 1 or cluster.size == 0 or cluster.dtype.kind not in "iu":
            raise DataError(
                f"cluster codes of shape {cluster.shape} and type {cluster.dtype}",
                "one integer for each row, at least one row",
            )
        when = None if time is None else _check_time(time, cluster.size)
        keys = (cluster,) if when is None else (when, cluster)
        order = np.lexsort(keys)
        first = np.r_[True, np.diff(cluster[order]) != 0]
        starts = np.flatnonzero(first)
        sizes = np.diff(np.r_[starts, cluster.size])
        gaps = None if when is None else _gaps(when[order], first, cluster[order])
        return cls(order=order, starts=starts, sizes=sizes, gaps=gaps)


def _check_time(time: ArrayLike, n_rows: int) -> Floats:
    when = np.asarray(time, dtype=np.float64)
    if when.shape != (n_rows,) or not np.isfinite(when).all():
        raise DataError(f"times of shape {when.shape}", f"{n_rows} finite times, one for each row")
    return when


def _gaps(when: Floats, first: NDArray[np.bool_], cluster: NDArray[np.integer]) -> Floats:
    gaps = np.where(first, 0.0, np.diff(when, prepend=when[0]))
    twice = np.flatnonzero(~first & (gaps == 0.0))
    if twice.size:
        raise DataError(
            f"cluster {cluster[twice[0]]} has more than one row at time {when[twice[0]]:g}"
            f" ({twice.size} such rows in all)",
            "one row for each cluster and time",
            "name a time column that tells the rows of a cluster apart, or use another working"
            " correlation",
        )
    return gaps


class WorkingCorrelation(Protocol):
    """What the projection asks of a working correlation R."""

    def check(self, layout: ClusterLayout) -> None:
        """Raise where R isn't positive definite for some cluster."""
        ...

    def whiten(self, rows: Floats, layout: ClusterLayout) -> Floats:
        """Apply W_i with W_i'W_i = R_i^{-1} to each cluster's rows (last but one axis, sorted)."""
        ...


@dataclass(frozen=True)
class Independence:
    """R = I: rows of a cluster are treated as uncorrelated.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.posterior_tools.working_correlation import ClusterLayout, Independence
    >>> Independence().whiten(np.ones((2, 1)), ClusterLayout.build([0, 0])).ravel().tolist()
    [1.0, 1.0]
    """

    def check(self, layout: ClusterLayout) -> None:
        """Accept every layout."""

    def whiten(self, rows: Floats, layout: ClusterLayout) -> Floats:
        """Return the rows as they are.

        Parameters
        ----------
        rows : ndarray, shape (..., rows, columns)
            Sorted as ``layout.order`` says.
        layout : ClusterLayout
            The clusters.

        Returns
        -------
        ndarray, shape (..., rows, columns)
            ``rows`` itself.
        """
        return rows


@dataclass(frozen=True)
class Exchangeable:
    """R_jk = alpha for every two rows of a cluster.

    Attributes
    ----------
    alpha : float
        The correlation, in (-1/(largest cluster - 1), 1).

    Notes
    -----
    The symmetric root of R_i^{-1} = (I - alpha/(1 + (n_i - 1) alpha) 11')/(1 - alpha): it only
    shrinks a cluster's mean, so it costs one pass over the rows whatever the cluster sizes.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.posterior_tools.working_correlation import ClusterLayout, Exchangeable
    >>> r = np.array([[1.0], [-1.0]])  # contrasts within a cluster have variance 1 - alpha
    >>> Exchangeable(0.75).whiten(r, ClusterLayout.build([0, 0])).ravel().tolist()
    [2.0, -2.0]
    """

    alpha: float

    def check(self, layout: ClusterLayout) -> None:
        """Check that every R_i is positive definite.

        Raises
        ------
        SpecificationError
            ``alpha`` is outside its range for the largest cluster.
        """
        largest = int(layout.sizes.max())
        lowest = -1.0 / max(largest - 1, 1)
        if not lowest < self.alpha < 1.0:
            raise SpecificationError(
                f"alpha={self.alpha!r} isn't an exchangeable correlation of {largest} rows",
                f"{lowest:.6g} < alpha < 1",
            )

    def whiten(self, rows: Floats, layout: ClusterLayout) -> Floats:
        """Return (r - k_i mean_i(r))/sqrt(1 - alpha) for each cluster i.

        Parameters
        ----------
        rows : ndarray, shape (..., rows, columns)
            Sorted as ``layout.order`` says.
        layout : ClusterLayout
            The clusters.

        Returns
        -------
        ndarray, shape (..., rows, columns)
            The whitened rows, k_i = 1 - sqrt((1 - alpha)/(1 + (n_i - 1) alpha)).
        """
        size = layout.sizes.astype(np.float64)
        k = 1.0 - np.sqrt((1.0 - self.alpha) / (1.0 + (size - 1.0) * self.alpha))
        shrunk = np.add.reduceat(rows, layout.starts, axis=-2) * (k / size)[:, None]
        return (rows - np.repeat(shrunk, layout.sizes, axis=-2)) / np.sqrt(1.0 - self.alpha)


@dataclass(frozen=True)
class AR1:
    """R_jk = alpha ** |t_j - t_k|: the correlation decays with the time between two rows.

    Attributes
    ----------
    alpha : float
        The correlation of rows one unit of time apart, in (-1, 1); not negative unless every
        gap is a whole number.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.posterior_tools.working_correlation import AR1, ClusterLayout
    >>> layout = ClusterLayout.build([0, 0], time=[0.0, 1.0])
    >>> AR1(0.6).whiten(np.array([[1.0], [1.0]]), layout).ravel().round(12).tolist()
    [1.0, 0.5]
    """

    alpha: float

    def check(self, layout: ClusterLayout) -> None:
        """Check that times are known and every R_i is positive definite.

        Raises
        ------
        SpecificationError
            No times, or ``alpha`` outside its range for these gaps.
        """
        gaps = _known_gaps(layout)
        whole = bool((gaps == np.rint(gaps)).all())
        if not (-1.0 if whole else 0.0) <= self.alpha < 1.0 or self.alpha == -1.0:
            raise SpecificationError(
                f"alpha={self.alpha!r} isn't an AR(1) correlation"
                + ("" if whole else " of rows at times that aren't whole numbers apart"),
                "-1 < alpha < 1" if whole else "0 <= alpha < 1",
            )

    def whiten(self, rows: Floats, layout: ClusterLayout) -> Floats:
        """Return each row's innovation (r_j - rho_j r_{j-1})/sqrt(1 - rho_j^2).

        Parameters
        ----------
        rows : ndarray, shape (..., rows, columns)
            Sorted as ``layout.order`` says.
        layout : ClusterLayout
            The clusters, with gaps d_j.

        Returns
        -------
        ndarray, shape (..., rows, columns)
            The whitened rows, rho_j = alpha ** d_j; the first of a cluster is kept.

        Raises
        ------
        SpecificationError
            The layout has no times.
        """
        rho = np.power(self.alpha, _known_gaps(layout))
        rho[layout.starts] = 0.0
        white = rows.copy()
        white[..., 1:, :] -= rho[1:, None] * rows[..., :-1, :]
        white /= np.sqrt((1.0 - rho) * (1.0 + rho))[:, None]
        return white


def _known_gaps(layout: ClusterLayout) -> Floats:
    if layout.gaps is None:
        raise SpecificationError(
            "working correlation 'ar1' without a time for each row", remedy="name the time column"
        )
    return layout.gaps


def make_working_correlation(
    name: str, alpha: float | None, layout: ClusterLayout
) -> WorkingCorrelation:
    """Build the working correlation called ``name`` and check it against the clusters.

    Parameters
    ----------
    name : {"independence", "exchangeable", "ar1"}
        Which.
    alpha : float or None
        Its correlation; None for independence, which has none.
    layout : ClusterLayout
        The clusters it will be used with.

    Returns
    -------
    WorkingCorrelation
        A checked `Independence`, `Exchangeable` or `AR1`.

    Raises
    ------
    SpecificationError
        An unknown name, an ``alpha`` that is missing, superfluous or outside its range, or
        ``"ar1"`` without times.

    Examples
    --------
    >>> from popavg.posterior_tools.working_correlation import (
    ...     ClusterLayout,
    ...     make_working_correlation,
    ... )
    >>> make_working_correlation("exchangeable", 0.4, ClusterLayout.build([1, 1, 2]))
    Exchangeable(alpha=0.4)
    """
    check_choice("working_correlation", name, WORKING_CORRELATIONS)
    if name == "independence":
        if alpha is not None:
            raise SpecificationError(
                f"alpha={alpha!r} with working correlation 'independence', which has none",
                remedy="leave alpha out, or choose 'exchangeable' or 'ar1'",
            )
        return Independence()
    if not isinstance(alpha, Real) or not np.isfinite(alpha):
        raise SpecificationError(f"alpha={alpha!r} with working correlation {name!r}", "a number")
    made = Exchangeable(float(alpha)) if name == "exchangeable" else AR1(float(alpha))
    made.check(layout)
    return made
