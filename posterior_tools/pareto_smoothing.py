"""Importance weights whose largest ones are smoothed by a generalised Pareto distribution."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from popavg.errors import DataError

__all__ = ["khat_threshold", "pareto_smoothed"]

type Floats = NDArray[np.float64]

#: Fewest weights that a tail is fitted to.
_SHORTEST_TAIL = 5


def khat_threshold(n_draws: int) -> float:
    """Largest k̂ at which estimates from this many draws can be relied on.

    Parameters
    ----------
    n_draws : int
        Number of weighted draws.

    Returns
    -------
    float
        min(1 − 1/log₁₀ S, 0.7).

    Notes
    -----
    Vehtari, Simpson, Gelman, Yao & Gabry (2024, JMLR 25:72), section 3.2.4.

    Examples
    --------
    >>> from popavg.posterior_tools.pareto_smoothing import khat_threshold
    >>> round(khat_threshold(1000), 3), khat_threshold(10_000)
    (0.667, 0.7)
    """
    return float(min(1.0 - 1.0 / np.log10(n_draws), 0.7)) if n_draws > 10 else 0.0


def pareto_smoothed(log_ratios: ArrayLike) -> tuple[Floats, float]:
    """Normalised log weights, smoothed, and the shape k̂ of their tail.

    Parameters
    ----------
    log_ratios : array_like, shape (draws,)
        Log density minus log proposal density, up to a constant; −∞ for a weight of zero.

    Returns
    -------
    log_weights : numpy.ndarray, shape (draws,)
        Their exponentials add up to 1.
    khat : float
        Pareto shape of the largest weights: above :func:`khat_threshold` the estimates can't be
        relied on. NaN where the largest weights are all equal, ∞ with too few draws for a tail.

    Raises
    ------
    DataError
        NaN, +∞, or no weight above zero.

    Notes
    -----
    Vehtari, Simpson, Gelman, Yao & Gabry (2024): the M = min(S/5, 3√S) largest weights are
    replaced by quantiles of the distribution that Zhang & Stephens' (2009) estimator fits to
    them, none above the largest that came. ArviZ has the same for many arrays at once;
    importing it takes longer than a fit.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.posterior_tools.pareto_smoothing import pareto_smoothed
    >>> weights, khat = pareto_smoothed(np.random.default_rng(1).exponential(0.5, 4000))
    >>> bool(0.3 < khat < 0.7), float(np.exp(weights).sum().round(12))
    (True, 1.0)
    """
    ratios = np.array(log_ratios, dtype=np.float64)
    if np.isnan(ratios).any() or not np.isfinite(ratios.max(initial=-np.inf)):
        raise DataError("log ratios that are NaN, +∞, or none above −∞ came", "numbers or −∞")
    ratios -= ratios.max()
    size = int(min(0.2 * len(ratios), 3.0 * np.sqrt(len(ratios))))
    if size < _SHORTEST_TAIL:  # no tail to fit
        return ratios - logsumexp(ratios), np.inf
    order = np.argsort(ratios, kind="stable")
    tail, cutoff = order[-size:], max(ratios[order[-size - 1]], np.log(np.finfo(float).tiny))
    tail = tail[ratios[tail] > cutoff]
    khat = np.inf if len(tail) else np.nan
    if len(tail) >= _SHORTEST_TAIL:
        above = np.exp(ratios[tail]) - np.exp(cutoff)
        khat, scale = _fit_pareto(above)
        if np.isfinite(khat):
            p = (np.arange(len(tail)) + 0.5) / len(tail)
            smooth = np.log(np.exp(cutoff) + scale * _pareto_quantile(p, khat))
            ratios[tail] = np.minimum(smooth, 0.0)
    return ratios - logsumexp(ratios), khat


def _pareto_quantile(p: Floats, k: float) -> Floats:
    """Quantiles of the generalised Pareto distribution with shape k and scale 1."""
    spent = -np.log1p(-p)
    return spent if k == 0 else np.expm1(k * spent) / k


def _fit_pareto(x: Floats) -> tuple[float, float]:
    """Shape and scale of sorted exceedances by Zhang & Stephens, shrunk as PSIS has it."""
    n = len(x)
    grid = 30 + int(np.sqrt(n))
    quarter = x[int(n / 4 + 0.5) - 1]
    if quarter <= x[0]:
        return np.nan, np.nan
    b = 1.0 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))
    b = b / (3.0 * quarter) + 1.0 / x[-1]
    k = np.log1p(-b[:, None] * x).mean(axis=1)
    profile = n * (np.log(-b / k) - k - 1.0)
    weight = np.exp(profile - logsumexp(profile))
    b_mean = float((b * weight).sum() / weight.sum())
    shape = float(np.log1p(-b_mean * x).mean())
    scale = -shape / b_mean
    shrunk = (n * shape + 5.0) / (n + 10.0)
    return (shrunk, scale) if np.isfinite(shrunk) else (np.inf, np.nan)
