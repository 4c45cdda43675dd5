"""Tables of the linear predictor whose population average is given, one for each variance.

Notes
-----
At equal steps of eta the link g of the average, its slope, and the logarithm of the average's slope
are known from the averages' own tables. Between two neighbours eta is taken as the cubic polynomial
in g with these values and slopes (Hermite), then the logarithm as that in eta: errors of h^4 / 384
times the fourth derivative. Tests hold both against Newton's method and the integral: below 1e-7
and 1e-6 for variances up to 100, of the logarithm 1e-5 for the cloglog and variances below 0.1.
Beyond the tables both are straight lines where their slopes have reached their limits, as in the
tails of exponential decay; else Newton's method inverts.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from popavg.links import Link
from popavg.posterior_tools._inverse_average import inverse_average, log_slope
from popavg.posterior_tools.averages import population_average

__all__ = ["InverseTable"]

type Floats = NDArray[np.float64]

#: Predictors from -_WIDTH to _WIDTH, inside the averages' own tables.
_WIDTH, _NODES = 38.0, 609
_STEP = 2.0 * _WIDTH / (_NODES - 1)
#: Cloglog: the table ends where the complement of the average is exp(-_TAIL).
_TAIL = 40.0
#: So near to straight lines that they may be continued.
_STRAIGHT = 1e-7
_compiled = njit(cache=True, nogil=True, error_model="numpy")


class InverseTable:
    """Inverses of a link's population averages for some variances, many predictors each.

    Parameters
    ----------
    variances : numpy.ndarray
        Those that will be asked for.
    link : Link
        The link.
    """

    def __init__(self, variances: Floats, link: Link) -> None:
        self.link = link
        self.variances = np.unique(variances)
        eta = np.linspace(-_WIDTH, _WIDTH, _NODES)[None, :]
        variance = self.variances[:, None]
        far = eta > (_largest(variance) if link.name == "cloglog" else np.inf)
        eta = np.where(far, 0.0, eta)
        values = np.asarray(population_average(eta, np.sqrt(variance), link, "link"))
        curvature = population_average(eta, np.sqrt(variance), link, "curvature")
        logs = log_slope(eta, variance, link)
        with np.errstate(invalid="ignore", over="ignore", under="ignore", divide="ignore"):
            rates = np.exp(link.log_derivative(values) - logs)
            bends = curvature / np.exp(logs)
        self._table = np.where(far, np.nan, values), rates, logs, bends

    @classmethod
    def worth(cls, variances: Floats, link: Link) -> bool:
        """Whether averages over these variances have no closed inverse."""
        return bool(variances.any()) and link.marginal_predictor(0.0, 1.0) is None

    def __call__(self, predictor: Floats, variance: Floats) -> tuple[Floats, Floats]:
        """The eta of each predictor, and the logarithm of the average's slope there.

        Predictors (cells, nodes), variances (cells, 1), all of them in the table.

        Raises
        ------
        ConvergenceError
            As :func:`popavg.posterior_tools._inverse_average.inverse_average`.
        """
        rows = np.searchsorted(self.variances, variance[:, 0])
        eta, logs = np.empty(predictor.shape), np.empty(predictor.shape)
        _look_up(np.ascontiguousarray(predictor), rows, self._table, (eta, logs))
        outside = np.isnan(eta) | np.isnan(logs)
        if outside.any():
            spread = np.broadcast_to(variance, eta.shape)[outside]
            eta[outside] = inverse_average(predictor[outside], spread, self.link)
            logs[outside] = log_slope(eta[outside], spread, self.link)
        return eta, logs


def _largest(variance: Floats) -> Floats:
    """Cloglog: the eta at which the average's complement is as small as exp(-_TAIL).

    By the largest term of the average: exp(x) + variance exp(2 x) / 2, x = eta - variance exp(x).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        root = (np.sqrt(1.0 + 2.0 * _TAIL * variance) - 1.0) / variance
    root = np.where(variance > 1e-9, root, _TAIL)
    return np.log(root) + variance * root


@_compiled
def _look_up(
    predictor: Floats,
    rows: NDArray[np.intp],
    table: tuple[Floats, Floats, Floats, Floats],
    out: tuple[Floats, Floats],
) -> None:
    """Fill eta and the logarithms; NaN where a neighbour isn't finite or isn't there."""
    all_values, all_rates, all_logs, all_bends = table
    eta, slopes = out
    last = _NODES - 1
    for i in range(predictor.shape[0]):
        values, rates = all_values[rows[i]], all_rates[rows[i]]
        logs, bends = all_logs[rows[i]], all_bends[rows[i]]
        low = 0
        for j in range(predictor.shape[1]):
            x = predictor[i, j]
            if x < values[0] or x > values[last]:
                end, edge = (0, -_WIDTH) if x < values[0] else (last, _WIDTH)
                straight = abs(rates[end] - 1.0) + abs(abs(bends[end]) - 1.0) < _STRAIGHT
                eta[i, j] = edge + (x - values[end]) if straight else math.nan
                slopes[i, j] = logs[end] + bends[end] * (eta[i, j] - edge)
                continue
            # Predictors come in order: mostly the same interval.
            if not (values[low] <= x and x <= values[low + 1]):
                low, high = 0, last
                while high - low > 1:
                    middle = (low + high) // 2
                    if values[middle] <= x:
                        low = middle
                    else:
                        high = middle
            width = values[low + 1] - values[low]
            u = (x - values[low]) / width
            place = _cubic(0.0, _STEP, (rates[low] * width, rates[low + 1] * width), u)
            eta[i, j] = low * _STEP - _WIDTH + place
            ends = bends[low] * _STEP, bends[low + 1] * _STEP
            slopes[i, j] = _cubic(logs[low], logs[low + 1], ends, place / _STEP)


@njit(inline="always", error_model="numpy")
def _cubic(first: float, last: float, slopes: tuple[float, float], u: float) -> float:
    """Hermite's polynomial at u in [0, 1]; NaN where something isn't finite."""
    v = 1.0 - u
    bend = u * v * (v * slopes[0] - u * slopes[1])
    value = first + (last - first) * u * u * (3.0 - 2.0 * u) + bend
    return value if math.isfinite(value) else math.nan
