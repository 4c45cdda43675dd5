r"""Effects of two rows with different random effects: m_a(eta_a + t_a) - m_b(eta_b + t_b).

Notes
-----
Given t_b the effect rises with t_a, so that P(effect <= c) is an integral over t_b alone, of a
normal distribution function. It is taken over x with p_b = (1 - |c|) g^-1(x), plus |c| for c < 0
(log link: without the factor): in x the integrand is analytic and vanishes at both ends, so that
the trapezoid rule converges exponentially, at a rate set by the standard deviation r of t_a given
t_b: with a step of 0.8 r its error is 1e-12 (cloglog 1e-5). Where that takes more than 4,097 nodes,
t_a as good as follows from t_b: then five values of t_a given t_b (Gauss-Hermite), and for each the
share of a piecewise linear curve of 4,097 nodes in t_b. Its error is 1e-6, but up to 1e-2 where the
threshold is as good as the largest or smallest effect: there the curve is flat, a small t_a - t_b
decides on the share of many clusters, and five values of it are too few (8e-3 is the worst seen).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.optimize import elementwise

from popavg.errors import ConvergenceError
from popavg.links import Link
from popavg.posterior_tools._inverse_average import inverse_average, log_slope
from popavg.posterior_tools._inverse_table import InverseTable
from popavg.posterior_tools.averages import population_average
from popavg.posterior_tools.integral import marginal_logs

__all__ = ["Conditioned", "joint_quantiles", "joint_share"]

type Floats = NDArray[np.float64]
type Inverse = Callable[[Floats, Floats], tuple[Floats, Floats]]

#: Half of the range of t_b in standard deviations; where the ends of x are cut off.
_RANGE, _TAIL = 8.5, 32.0
_STEP = 0.8
_FEWEST, _MOST = 129, 4097
_HERMITE = np.polynomial.hermite_e.hermegauss(5)
#: Differences of probabilities from here on are as good as 1.
_LARGEST = 1.0 - 1e-12
#: Numbers of one temporary array.
_BLOCK = 1 << 18
_TOLERANCES = {"xatol": 1e-15, "xrtol": 1e-9, "fatol": 1e-8, "frtol": 0.0}


@dataclass(frozen=True, eq=False)
class Conditioned:
    """Rows a and b, flat arrays of one shape: t_b ~ N(0, sd^2), t_a | t_b ~ N(slope t_b, r^2).

    ``rest_a`` and ``rest_b`` are variances that the means are averaged over.
    """

    eta_a: Floats
    eta_b: Floats
    rest_a: Floats
    rest_b: Floats
    sd: Floats
    slope: Floats
    r: Floats

    def columns(self, cells: NDArray[np.intp]) -> Conditioned:
        """Some of the cells, with an axis for the nodes."""
        return Conditioned(*(getattr(self, f.name)[cells][:, None] for f in fields(self)))

    def part(self, cells: NDArray[np.intp] | slice) -> Conditioned:
        """Some of the cells."""
        return Conditioned(*(getattr(self, f.name)[cells] for f in fields(self)))


def joint_quantiles(effect: Conditioned, q: Floats, link: Link) -> Floats:
    """Quantiles of the effect over the clusters; ``q`` is flat like the cells."""
    cells, inverse = np.arange(len(q)), _inverse(effect, link)

    def excess(c: Floats, cell: NDArray[np.intp], q: Floats) -> Floats:
        return 1.0 - _joint_share(effect.columns(cell), c, link, inverse) - q

    ends = _bracket(effect, link)
    _check_found(np.isfinite(ends).all(axis=0))
    found = elementwise.find_root(excess, ends, args=(cells, q), tolerances=_TOLERANCES)
    _check_found(found.success)
    return found.x


def _check_found(success: NDArray[np.bool_]) -> None:
    if not success.all():
        raise ConvergenceError(
            f"{(~success).sum()} of {len(success)} quantiles of the effect couldn't be found",
            remedy="look for draws with very large coefficients or standard deviations",
        )


def _bracket(effect: Conditioned, link: Link) -> tuple[Floats, Floats]:
    if link.is_probability:
        end = np.full(effect.sd.shape, _LARGEST)
        return -end, end
    reach = 10.0 * effect.sd, 10.0 * np.hypot(effect.slope * effect.sd, effect.r)
    low = link.inverse(effect.eta_b + 0.5 * effect.rest_b + reach[0])
    return -low, link.inverse(effect.eta_a + 0.5 * effect.rest_a + reach[1])


def joint_share(effect: Conditioned, threshold: Floats, link: Link) -> Floats:
    """Share of the clusters whose effect exceeds ``threshold``, flat like the cells."""
    everything = effect.columns(np.arange(len(threshold)))
    return _joint_share(everything, threshold, link, _inverse(effect, link))


def _inverse(effect: Conditioned, link: Link) -> Inverse:
    """What inverts the averages over the remainders: tables, unless there is a closed form."""
    variances = np.concatenate([effect.rest_a, effect.rest_b])
    if InverseTable.worth(variances, link):
        return InverseTable(variances, link)

    def exact(predictor: Floats, variance: Floats) -> tuple[Floats, Floats]:
        eta = inverse_average(predictor, variance, link)
        return eta, log_slope(eta, variance, link)

    return exact


def _joint_share(effect: Conditioned, threshold: Floats, link: Link, inverse: Inverse) -> Floats:
    # Beyond the largest difference of two probabilities there is nothing to integrate.
    below = (threshold > 0.0).astype(np.float64)
    inside = np.flatnonzero((np.abs(threshold) < _LARGEST) | (not link.is_probability))
    for part in np.array_split(inside, -(-len(inside) * _FEWEST // _BLOCK) or 1):
        if part.size:
            rows, c = effect.part(part), threshold[part][:, None]
            below[part] = _shares_below(rows, c, link, inverse)
    return np.clip(1.0 - below, 0.0, 1.0)


def _shares_below(effect: Conditioned, c: Floats, link: Link, inverse: Inverse) -> Floats:
    """P(effect <= c); cells of about equal difficulty together."""
    start, end = _ends(effect, c, link)
    needed = ((end - start) * _stretch(effect) / (_STEP * np.minimum(effect.r, effect.sd))).ravel()
    rounds = np.ceil(2.0 * np.log2(np.maximum((needed + 1.0) / _FEWEST, 1.0)))
    lengths = np.ceil(_FEWEST * 2.0 ** (0.5 * rounds))
    sharp = effect.r.ravel() < effect.sd.ravel()
    sharp &= lengths > _MOST
    lengths = np.where(sharp, 0, np.minimum(lengths, _MOST)).astype(np.intp)
    below = np.empty(len(c))
    for length in np.unique(lengths):
        same = np.flatnonzero(lengths == length)
        for part in np.array_split(same, -(-len(same) * int(length or _MOST) // _BLOCK)):
            rows = effect.part(part)
            if length == 0:
                below[part] = _piecewise(rows, c[part], link)
            else:
                x = np.linspace(start[part, 0], end[part, 0], int(length), axis=1)
                below[part] = _integral(rows, c[part], x, (link, inverse))
    return below


def _piecewise(effect: Conditioned, c: Floats, link: Link) -> Floats:
    """P(effect <= c) where r is small beside sd."""
    z = np.linspace(-_RANGE, _RANGE, _MOST)
    mass = np.diff(special.ndtr(z))
    t_b = effect.sd * z
    mean_b = population_average(effect.eta_b + t_b, np.sqrt(effect.rest_b), link)
    below = np.zeros(len(c))
    for node, weight in zip(*_HERMITE, strict=True):
        t_a = effect.slope * t_b + effect.r * node
        curve = population_average(effect.eta_a + t_a, np.sqrt(effect.rest_a), link) - mean_b
        low = np.minimum(curve[:, 1:], curve[:, :-1])
        rise = np.abs(np.diff(curve, axis=1))
        part = np.clip((c - low) / np.where(rise > 0.0, rise, 1.0), 0.0, 1.0)
        part = np.where(rise > 0.0, part, (c >= low).astype(np.float64))
        below += weight / math.sqrt(2 * math.pi) * (part @ mass)
    return below


def _integral(effect: Conditioned, c: Floats, x: Floats, how: tuple[Link, Inverse]) -> Floats:
    """P(effect <= c), by nodes x of shape (cells, nodes)."""
    link, inverse = how
    g_a, g_b, log_du = _predictors(c, x, link)
    eta_b, log_rise = inverse(g_b, effect.rest_b)
    t_a = inverse(g_a, effect.rest_a)[0] - effect.eta_a
    t_b = eta_b - effect.eta_b
    step = x[:, 1:2] - x[:, :1]
    r = np.maximum(effect.r, step * _stretch(effect))
    log_weight = log_du - log_rise - 0.5 * (t_b / effect.sd) ** 2
    weight = np.exp(log_weight) * step / (effect.sd * math.sqrt(2 * math.pi))
    inside = (special.ndtr((t_a - effect.slope * t_b) / r) * weight).sum(axis=1)
    if not link.is_probability:
        return inside
    with np.errstate(divide="ignore"):
        edge = link.link_from_logs(np.log1p(-np.abs(c)), np.log(np.abs(c)))
    certain = c > 0.0
    edge = np.where(certain, edge, 0.0)
    beyond = special.ndtr((effect.eta_b - inverse(edge, effect.rest_b)[0]) / effect.sd)
    return inside + np.where(certain, beyond, 0.0)[:, 0]


def _stretch(effect: Conditioned) -> Floats:
    """How much faster than x the predictors of averages may change."""
    return np.sqrt(1.0 + np.maximum(effect.rest_a, effect.rest_b))


def _predictors(c: Floats, x: Floats, link: Link) -> tuple[Floats, Floats, Floats]:
    """g(p_a), g(p_b) with p_a = p_b + c, and the logarithm of dp/dx."""
    with np.errstate(divide="ignore"):
        log_size = np.log(np.abs(c))
    if link.is_probability:
        room, mean, rest = np.log1p(-np.abs(c)), link.log_inverse(x), link.log_complement(x)
        lower = link.link_from_logs(room + mean, np.logaddexp(rest, log_size + mean))
        upper = link.link_from_logs(np.logaddexp(mean, log_size + rest), room + rest)
        log_du = room + link.log_derivative(x)
    else:
        lower, upper, log_du = x, np.logaddexp(x, log_size), x
    rising = c >= 0.0
    return np.where(rising, upper, lower), np.where(rising, lower, upper), log_du


def _ends(effect: Conditioned, c: Floats, link: Link) -> tuple[Floats, Floats]:
    """The x at which t_b is at the ends of its range, or p_a as good as at the end of its own."""
    size, falling = np.abs(c), c < 0.0
    ends = []
    with np.errstate(divide="ignore", invalid="ignore"):
        cut = np.log(size) - _TAIL
        for side in (-1.0, 1.0):
            eta = effect.eta_b + side * _RANGE * effect.sd
            if not link.is_probability:
                mean = population_average(eta, np.sqrt(effect.rest_b), link)
                x = np.log(np.maximum(np.where(falling, mean - size, mean), 0.0))
                ends.append(np.maximum(x, np.where(falling, cut, -np.inf)))
                continue
            log_mean, log_rest = marginal_logs(eta, np.sqrt(effect.rest_b), link)
            room = np.log1p(-size)
            mean = np.where(falling, np.log(np.maximum(np.exp(log_mean) - size, 0.0)), log_mean)
            rest = np.where(c > 0.0, np.log(np.maximum(np.exp(log_rest) - size, 0.0)), log_rest)
            x = link.link_from_logs(mean - room, rest - room)
            last = link.link_from_logs(cut, np.log1p(-np.exp(cut)))
            first = link.link_from_logs(np.log1p(-np.exp(cut)), cut)
            x = np.where(falling & ~(x > last), last, x)
            ends.append(np.where((c > 0.0) & ~(x < first), first, x))
    return ends[0], ends[1]
