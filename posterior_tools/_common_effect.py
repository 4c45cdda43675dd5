"""Effects of two rows that share their random effect: g^-1(eta_1 + t) - g^-1(eta_0 + t)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.optimize import elementwise

from popavg.links import Link
from popavg.posterior_tools.averages import population_average

__all__ = ["common_quantiles", "common_share"]

type Floats = NDArray[np.float64]

#: Beyond so many standard deviations of the random effect there are no clusters.
_FAR = 38.0
_TOLERANCES = {"xatol": 1e-13, "xrtol": 1e-13, "fatol": 0.0, "frtol": 0.0}


def common_quantiles(
    low: Floats, high: Floats, *, sd: Floats, rest: Floats, q: Floats, link: Link
) -> Floats:
    """Quantiles over t of the mean at ``high + t`` minus that at ``low + t``.

    All arrays have one flat shape; low < high, sd > 0. The random effect t has the link's mixing
    distribution, the means are averages over a remainder of variance ``rest``.

    Notes
    -----
    The slope of the mean is log-concave in t, so that the effect rises up to one point and falls
    after it: the clusters with the smallest effects are those outside an interval (a, b) with
    Phi(b) - Phi(a) = 1 - q, in standard normal scores of t, whose ends have the same effect, which
    is the quantile.
    """
    if not link.is_probability:
        return _effect(sd * special.ndtri(q), low, high, rest, link=link)
    at = link.mixing.effect
    peak = link.mixing.score(_peak(low, high, rest, link), sd)
    below = special.ndtr(peak)
    start = np.maximum(special.ndtri(np.maximum(below - (1.0 - q), 0.0)), -_FAR)
    end = np.clip(peak, start, special.ndtri(q))

    def partner(a: Floats, q: Floats) -> Floats:
        return np.minimum(-special.ndtri(np.maximum(q - special.ndtr(a), 0.0)), _FAR)

    def excess(a: Floats, *cell: Floats) -> Floats:
        *rows, sd, q = cell
        ends = at(a, sd), at(partner(a, q), sd)
        return _effect(ends[0], *rows, link=link) - _effect(ends[1], *rows, link=link)

    cells = (low, high, rest, sd, q)
    at_start, at_end = excess(start, *cells), excess(end, *cells)
    inside = (at_start < 0.0) & (at_end > 0.0)
    a = np.where(at_start >= 0.0, start, end)
    if inside.any():
        chosen = tuple(cell[inside] for cell in cells)
        bracket = (start[inside], end[inside])
        a[inside] = elementwise.find_root(excess, bracket, args=chosen, tolerances=_TOLERANCES).x
    # Of the two ends the one that is nearer to 0, where the share determines it well.
    b = partner(a, q)
    end = at(np.where(np.abs(a) <= np.abs(b), a, b), sd)
    return _effect(end, low, high, rest, link=link)


def common_share(
    low: Floats, high: Floats, *, sd: Floats, rest: Floats, threshold: Floats, link: Link
) -> Floats:
    """Share of clusters whose effect exceeds a threshold; arguments as for the quantiles."""
    if not link.is_probability:
        with np.errstate(divide="ignore"):
            log_threshold = np.log(np.maximum(threshold, 0.0))
        rise = np.log(_effect(np.zeros_like(low), low, high, rest, link=link))
        return special.ndtr((rise - log_threshold) / sd)
    peak = _peak(low, high, rest, link)
    cells = (low, high, rest, threshold)

    def excess(t: Floats, *cell: Floats) -> Floats:
        *rows, threshold = cell
        return _effect(t, *rows, link=link) - threshold

    share = np.where(threshold < 0.0, 1.0, 0.0)
    share[threshold == 0.0] = 1.0
    some = (threshold > 0.0) & (excess(peak, *cells) > 0.0)
    if not some.any():
        return share
    chosen, top = tuple(cell[some] for cell in cells), peak[some]
    ends = []
    for direction in (-1.0, 1.0):
        far = top + direction * _bound(low[some], high[some], rest[some], threshold[some])
        bracket = (np.minimum(top, far), np.maximum(top, far))
        found = elementwise.find_root(excess, bracket, args=chosen, tolerances=_TOLERANCES)
        end = np.where(found.success, found.x, direction * np.inf)
        ends.append(link.mixing.score(end, sd[some]))
    upper = np.where(ends[0] > 0.0, -ends[0], ends[1])
    lower = np.where(ends[0] > 0.0, -ends[1], ends[0])
    share[some] = special.ndtr(upper) - special.ndtr(lower)
    return share


def _effect(t: Floats, low: Floats, high: Floats, rest: Floats, *, link: Link) -> Floats:
    if not rest.any():
        return link.inverse(high + t) - link.inverse(low + t)
    sd = np.sqrt(rest)
    return population_average(high + t, sd, link) - population_average(low + t, sd, link)


def _bound(low: Floats, high: Floats, rest: Floats, threshold: Floats) -> Floats:
    """So far from the peak the effect is certainly below the threshold."""
    return (
        np.abs(high - low) + 2.0 * (np.log(4.0) - np.log(threshold)) + 10.0 + 10.0 * np.sqrt(rest)
    )


def _peak(low: Floats, high: Floats, rest: Floats, link: Link) -> Floats:
    """The t at which the effect is largest."""
    if link.name in ("logit", "probit"):
        return -0.5 * (low + high)
    plain = np.log(high - low) - low - np.log(np.expm1(np.minimum(high - low, 700.0)))
    if not rest.any():
        return plain
    sd = np.sqrt(rest)

    def fall(t: Floats, low: Floats, high: Floats, sd: Floats) -> Floats:
        slopes = [population_average(eta + t, sd, link, "slope") for eta in (low, high)]
        return slopes[0] - slopes[1]

    reach = 3.0 + sd + rest
    bracket = (plain - reach, plain + reach)
    found = elementwise.find_root(fall, bracket, args=(low, high, sd), tolerances=_TOLERANCES)
    return np.where(found.success, found.x, plain)
