"""Two rows of one cluster, and two clusters, under a bridge-distributed random intercept.

Notes
-----
With a_k = φη_k, d = η_1 − η_2 and 1/((1 + At)(1 + Bt)) = (A/(1 + At) − B/(1 + Bt))/(A − B), every
joint probability of two rows that share the intercept is a sum of two single ones, which are
logistic. What doesn't cancel is, with w = sinh((1 − φ)d/2)/sinh(d/2), v = sinh(φd/2)/sinh(d/2):

    p_11 = expit(a_1) expit(a_2) (1 + w exp(−(a_1 + a_2)/2)),
    p_00 = expit(−a_1) expit(−a_2) (1 + w exp((a_1 + a_2)/2)),
    p_10 = expit(−a_1) expit(−a_2) v exp((a_1 + a_2 + d)/2),

so that the correlation of the two outcomes is w: 1 − φ for rows alike, whatever their probability.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.optimize import elementwise

from popavg.bridge import BridgeDistribution
from popavg.errors import EstimandError

__all__ = ["correlation_of_pair", "median_distance", "pair_logs", "shared_deviation"]

type Floats = NDArray[np.float64]

#: A covariance may differ from both variances by so much (relative) and count as shared.
_SAME = 1e-9
#: Standard normal scores and their masses: the trapezoid rule, whose step makes no difference.
_SCORES = np.linspace(-8.5, 8.5, 273)
_MASSES = np.exp(-0.5 * _SCORES**2) / np.exp(-0.5 * _SCORES**2).sum()
_TOLERANCES = {"xatol": 0.0, "xrtol": 1e-12, "fatol": 0.0, "frtol": 0.0}


def shared_deviation(variance_1: Floats, variance_2: Floats, covariance: Floats) -> Floats:
    """Standard deviation of the intercept that two rows share, in the arguments' common shape.

    Raises
    ------
    EstimandError
        Rows that don't have one and the same intercept.
    """
    v_1, v_2, shared = np.broadcast_arrays(variance_1, variance_2, covariance)
    room = _SAME * np.maximum(v_1, v_2)
    if (np.abs(v_1 - v_2) > room).any() or (np.abs(shared - v_1) > room).any():
        raise EstimandError(
            "two rows whose random intercepts with the bridge distribution aren't one and the same",
            "two rows of one cluster",
            "rows of different clusters are independent: multiply their means",
        )
    return np.sqrt(v_1)


def pair_logs(eta_1: Floats, eta_2: Floats, sd: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Logarithms of the probabilities of (1, 1), (1, 0), (0, 1), (0, 0); arrays that broadcast."""
    bridge = BridgeDistribution(sd=sd)
    a_1, a_2, half = bridge.phi * eta_1, bridge.phi * eta_2, 0.5 * (eta_1 - eta_2)
    middle = 0.5 * (a_1 + a_2)
    alike, apart = _log_ratio(half, bridge.complement), _log_ratio(half, bridge.phi)
    none = special.log_expit(-a_1) + special.log_expit(-a_2)
    both = special.log_expit(a_1) + special.log_expit(a_2)
    return (
        both + np.logaddexp(0.0, alike - middle),
        none + middle + half + apart,
        none + middle - half + apart,
        none + np.logaddexp(0.0, alike + middle),
    )


def correlation_of_pair(difference: Floats, sd: Floats) -> Floats:
    """Correlation of two outcomes of a cluster whose predictors differ by so much."""
    return np.exp(_log_ratio(0.5 * difference, BridgeDistribution(sd=sd).complement))


def median_distance(sd: Floats) -> Floats:
    """Median of |u_1 − u_2| for the intercepts of two clusters, in the shape of ``sd``.

    Notes
    -----
    The m with E F(u + m) = 3/4, the average over standard normal scores of u: as smooth for a
    spike as for a bell. Error below 1e-10, relative.
    """
    values, inverse = np.unique(sd, return_inverse=True)
    found = np.zeros_like(values)
    some = values > 0.0
    if some.any():
        found[some] = _solved(values[some])
    return found[inverse].reshape(np.shape(sd))


def _solved(sd: Floats) -> Floats:
    bridge = BridgeDistribution(sd=sd[:, None])
    u, quartile = bridge.from_normal(_SCORES), bridge.quantile(0.75)[:, 0]
    # Of independent symmetric variables the difference is wider than each, and not thrice as wide.
    bracket = (quartile, 3.0 * quartile)
    rows = np.arange(len(sd), dtype=np.float64)

    def excess(m: Floats, row: Floats) -> Floats:
        at = row.astype(int)
        return _share_below(sd[at], u[at], m) - 0.75

    return elementwise.find_root(excess, bracket, args=(rows,), tolerances=_TOLERANCES).x


def _share_below(sd: Floats, u: Floats, m: Floats) -> Floats:
    return BridgeDistribution(sd=sd[:, None]).cdf(u + m[:, None]) @ _MASSES


def _log_ratio(half: Floats, share: Floats) -> Floats:
    """Logarithm of sinh(share·half)/sinh(half): that of ``share`` at half = 0."""
    size = np.maximum(np.abs(half), 1e-300)
    with np.errstate(divide="ignore"):
        ratio = np.log(np.expm1(-2.0 * share * size) / np.expm1(-2.0 * size))
    return ratio - (1.0 - share) * size
