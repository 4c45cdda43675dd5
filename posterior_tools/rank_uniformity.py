"""Whether ranks are uniform: an exact test, and bands for their distribution function."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, bdtrc, gammaln

from popavg.errors import SpecificationError

__all__ = ["rank_band", "rank_counts", "uniformity_p_value"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

#: Two tail probabilities that are the same but for rounding.
_ROUNDING = 1e-9
#: Halvings of the interval in which the band's level lies, on the logarithmic scale.
_HALVINGS = 20


def rank_counts(ranks: ArrayLike, draws: int) -> Ints:
    """How many ranks are below each whole number.

    Parameters
    ----------
    ranks : array_like of int, shape (runs,)
        Numbers of draws below the true value, from 0 to ``draws``.
    draws : int
        Draws that each true value was ranked among.

    Returns
    -------
    numpy.ndarray of int, shape (draws,)
        Ranks below 1, …, ``draws``. Over the number of runs they are the ranks' distribution
        function at i/(``draws`` + 1), which is what is expected there.

    Raises
    ------
    SpecificationError
        Ranks outside of 0 to ``draws``.

    Examples
    --------
    >>> from popavg.posterior_tools.rank_uniformity import rank_counts
    >>> rank_counts([0, 2, 3, 3], draws=3)
    array([1, 1, 2])
    """
    values = np.asarray(ranks, dtype=np.int64)
    if values.ndim != 1 or draws < 1 or ((values < 0) | (values > draws)).any():
        raise SpecificationError(
            f"ranks of shape {values.shape} among {draws} draws", f"whole numbers from 0 to {draws}"
        )
    return np.cumsum(np.bincount(values, minlength=draws + 1))[:-1]


def uniformity_p_value(ranks: ArrayLike, draws: int) -> float:
    """Probability of ranks that look less uniform than these, where they are uniform.

    Parameters
    ----------
    ranks : array_like of int, shape (runs,)
        Numbers of draws below the true value, from 0 to ``draws``.
    draws : int
        Draws that each true value was ranked among.

    Returns
    -------
    float
        Exact, also where it is tiny; NaN where there are no ranks.

    Raises
    ------
    SpecificationError
        Ranks outside of 0 to ``draws``.

    See Also
    --------
    rank_band : The same test as a band.

    Notes
    -----
    The statistic of Säilynoja, Bürkner & Vehtari (2022, Statistics and Computing 32:32): with R_i
    of n ranks below i and z_i = i/(draws + 1), R_i is Binomial(n, z_i), and
    γ = 2 min_i min{P(R_i or less), P(R_i or more)}. Its distribution is exact, without simulation:
    R_1, R_2, … is a Markov chain (their Algorithm 2), whose chance to reach a place as improbable
    as γ is added up from step to step. It assumes nothing but independent runs.

    Examples
    --------
    >>> from popavg.posterior_tools.rank_uniformity import uniformity_p_value
    >>> round(uniformity_p_value([0, 1, 2, 3], draws=3), 3)
    1.0
    >>> round(uniformity_p_value([3, 3, 3, 3], draws=3), 4)  # twice 1/4 to the fourth
    0.0078
    """
    counts = rank_counts(ranks, draws)
    runs = np.asarray(ranks).size
    if not runs:
        return np.nan
    gamma = _tails(runs, draws)[np.arange(draws), counts].min()
    return min(1.0, _exit_probability(runs, draws, float(gamma)))


def rank_band(runs: int, draws: int, prob: float) -> tuple[Ints, Ints]:
    """Where the counts of ranks are with at least this probability, all of them at once.

    Parameters
    ----------
    runs : int
        Number of ranks.
    draws : int
        Draws that each true value was ranked among.
    prob : float
        Probability that uniform ranks have every count within.

    Returns
    -------
    lower : numpy.ndarray of int, shape (draws,)
        Lower ends of the band, for :func:`rank_counts`; both ends belong to it.
    upper : numpy.ndarray of int, shape (draws,)
        Upper ends.

    Raises
    ------
    SpecificationError
        No ranks, or a probability outside of 0 to 1.

    Notes
    -----
    The largest γ of :func:`uniformity_p_value` whose p-value is at most 1 − ``prob``: counts leave
    the band where, and only where, their p-value is that small.

    Examples
    --------
    >>> from popavg.posterior_tools.rank_uniformity import rank_band
    >>> lower, upper = rank_band(100, 3, 0.95)
    >>> lower, upper
    (array([15, 39, 65]), array([35, 61, 85]))
    """
    if runs < 1 or draws < 1 or not 0 < prob < 1:
        raise SpecificationError(
            f"a band of probability {prob:g} for {runs} ranks among {draws} draws",
            "at least one rank and one draw, a probability between 0 and 1",
        )
    inside = _tails(runs, draws) > _level(runs, draws, prob) * (1 + _ROUNDING)
    return inside.argmax(axis=1), runs - inside[:, ::-1].argmax(axis=1)


@lru_cache(maxsize=64)
def _level(runs: int, draws: int, prob: float) -> float:
    """The largest γ whose p-value is at most 1 − ``prob``; by Bonferroni it is a share of that."""
    low, high = np.log((1.0 - prob) / draws), np.log(1.0 - prob)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _exit_probability(runs, draws, float(np.exp(middle))) <= 1.0 - prob:
            low = middle
        else:
            high = middle
    return float(np.exp(low))


@lru_cache(maxsize=16)
def _tails(runs: int, draws: int) -> Floats:
    """Twice the smaller tail of Binomial(runs, z_i) at r, shape (draws, runs + 1)."""
    z = (np.arange(1, draws + 1) / (draws + 1))[:, None]
    r = np.arange(runs + 1)
    upper = np.concatenate([np.ones((draws, 1)), bdtrc(r[:-1], runs, z)], axis=1)
    return 2.0 * np.minimum(bdtr(r, runs, z), upper)


def _exit_probability(runs: int, draws: int, gamma: float) -> float:
    """Chance that some R_i is at a place whose tails are γ or less."""
    inside = _tails(runs, draws) > gamma * (1 + _ROUNDING)
    if not inside.any(axis=1).all():
        return 1.0
    firsts, lasts = inside.argmax(axis=1), runs - inside[:, ::-1].argmax(axis=1)
    r, chance, left = np.zeros(1, dtype=np.int64), np.ones(1), 0.0
    log_factorial = gammaln(np.arange(runs + 1) + 1.0)
    for i, (first, last) in enumerate(zip(firsts.tolist(), lasts.tolist(), strict=True)):
        share, rest = 1.0 / (draws + 1 - i), runs - r
        below = np.where(first > r, bdtr(np.maximum(first - r - 1, 0), rest, share), 0.0)
        above = np.where(last < runs, bdtrc(np.minimum(last - r, rest), rest, share), 0.0)
        above = np.where(last < r, 1.0, above)
        left += float(chance @ (below + above))
        s = np.arange(first, last + 1)
        steps, others = s[None] - r[:, None], (runs - s)[None]
        possible = np.maximum(steps, 0)
        log_chance = log_factorial[rest][:, None] - log_factorial[possible] - log_factorial[others]
        log_chance += possible * np.log(share) + others * np.log1p(-share)
        chance = chance @ np.where(steps >= 0, np.exp(log_chance), 0.0)
        r = s
    return left
