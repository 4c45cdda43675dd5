"""The density that priors imply for a probability: where it has peaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from popavg.links import Link
from popavg.posterior_tools._inverse_average import inverse_average, log_slope

__all__ = ["PriorShape", "peaks_and_valleys", "prior_shape", "shape_of"]

type Floats = NDArray[np.float64]

#: Probabilities at which the density is computed.
GRID = np.linspace(0.01, 0.99, 99)
#: Part by which a valley must lie below the lower of the peaks beside it.
DEPTH = 0.02
#: Standard errors of their difference by which it must lie below them too.
CLEAR = 4.0
#: Standard deviation from which the link's own tolerance may be taken as normal.
LARGE_SD = 20.0
#: Means of the links' tolerance distributions: Euler's constant for the cloglog.
_SHIFT = {"cloglog": -0.5772156649015329}


@dataclass(frozen=True, eq=False)
class PriorShape:
    """The density of a population-averaged probability.

    Attributes
    ----------
    probability, density : numpy.ndarray, shape (points,)
        From 0.01 to 0.99.
    peaks : tuple of float
        The probabilities of its peaks, which may be the ends.
    valleys : tuple of float
        The probabilities of the valleys between them.
    """

    probability: Floats
    density: Floats
    peaks: tuple[float, ...]
    valleys: tuple[float, ...]

    @property
    def is_bimodal(self) -> bool:
        """Whether there are two peaks or more."""
        return len(self.peaks) > 1


def prior_shape(
    log_density: Callable[[Floats], Floats], shift: Floats, variance: Floats, link: Link
) -> PriorShape:
    """The density of π̄ = E g⁻¹(α + s + √v Z) with α integrated, s and v averaged over draws.

    Parameters
    ----------
    log_density : callable
        Log density of α on the link scale.
    shift, variance : numpy.ndarray, shape (draws,)
        Draws of the rest of the linear predictor and of the random effects' variance.
    link : Link
        One whose mean is a probability.

    Returns
    -------
    PriorShape

    Notes
    -----
    f(p) = E_{s,v} f_α(η(p, v) − s) ∂η/∂p, where η(·, v) inverts the population average: no
    smoothing of draws, so that a shallow valley isn't lost in their noise. A valley counts from a
    depth of 2 % on: N(0, σ²) on the logit without random effects has two peaks for σ² > 2, and
    the depth from σ² ≈ 2.3 on. It must also be four standard errors deep: where s varies much
    more than α every draw adds a narrow peak of its own. The link's tolerance is taken as normal
    beside clusters' standard deviations above 20.

    Examples
    --------
    >>> import numpy as np
    >>> import popavg as pa
    >>> from popavg.posterior_tools.prior_shape import prior_shape
    >>> wide, zero = pa.Prior("Normal", 0, 3), np.zeros(1)
    >>> prior_shape(wide.log_density, zero, zero, pa.get_link("logit")).is_bimodal
    True
    """
    # Where the average has a closed form nothing need be taken as normal.
    large = (np.sqrt(variance) > LARGE_SD) & (link.marginal_predictor(0.0, 1.0) is None)
    density = np.zeros((len(variance), len(GRID)))
    for of_draws, chosen in ((_density, ~large), (_density_large, large)):
        if chosen.any():
            density[chosen] = of_draws(log_density, shift[chosen], variance[chosen], link)
    mean = density.mean(axis=0)
    error = np.sqrt(density.var(axis=0) / max(len(density) - 1, 1))
    return PriorShape(GRID, mean, *peaks_and_valleys(GRID, mean, error))


def _density(
    log_density: Callable[[Floats], Floats], shift: Floats, variance: Floats, link: Link
) -> Floats:
    """Density on the grid, draw by draw."""
    v, predictor = variance[:, None], np.asarray(link.link(GRID))[None]
    eta = np.broadcast_to(inverse_average(predictor, v, link), (len(v), len(GRID)))
    return np.exp(log_density(eta - shift[:, None]) - log_slope(eta, v, link))


def _density_large(
    log_density: Callable[[Floats], Floats], shift: Floats, variance: Floats, link: Link
) -> Floats:
    """The same with a normal tolerance: p = Φ((η − shift)/w), so that ∂η/∂p = w/φ(z)."""
    width, z = np.sqrt(variance[:, None] + link.tolerance_sd**2), ndtri(GRID)
    eta = z * width + _SHIFT.get(link.name, 0.0)
    log_rate = np.log(width) + 0.5 * z**2 + 0.5 * np.log(2 * np.pi)
    return np.exp(log_density(eta - shift[:, None]) + log_rate)


def shape_of(log_density: Callable[[Floats], Floats]) -> PriorShape:
    """The density of a probability that has a prior of its own.

    Parameters
    ----------
    log_density : callable
        Log density of the probability.

    Returns
    -------
    PriorShape

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.prior_shape import shape_of
    >>> shape_of(pa.Prior("Beta", 3, 9).log_density).peaks
    (0.2,)
    """
    density = np.exp(log_density(GRID))
    return PriorShape(GRID, density, *peaks_and_valleys(GRID, density))


def peaks_and_valleys(
    points: Floats, density: Floats, error: Floats | None = None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Where a density is highest between valleys, and lowest between peaks.

    Parameters
    ----------
    points, density : numpy.ndarray, shape (points,)
        A density; its ends may be peaks.
    error : numpy.ndarray, shape (points,), optional
        The density's standard errors, where draws made it.

    Returns
    -------
    tuple of two tuples of float
        Peaks and valleys, one peak more than valleys. A valley lies at least 2 % below the peaks on
        both sides, and four standard errors.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.posterior_tools.prior_shape import peaks_and_valleys
    >>> peaks_and_valleys(np.arange(4.0), np.array([1.0, 0.5, 2.0, 0.0]))
    ((0.0, 2.0), (1.0,))
    """
    noise = np.zeros_like(density) if error is None else error

    def below(low: int, high: int) -> bool:
        clear = CLEAR * np.hypot(noise[low], noise[high])
        return bool(density[low] < density[high] - max(DEPTH * density[high], clear))

    peaks, valleys = [], []
    highest = lowest = 0
    rising = True
    for i, height in enumerate(density):
        if rising:
            highest = i if height > density[highest] else highest
            if below(i, highest):
                peaks.append(highest)
                lowest, rising = i, False
        else:
            lowest = i if height < density[lowest] else lowest
            if below(lowest, i):
                valleys.append(lowest)
                highest, rising = i, True
    if rising:
        peaks.append(highest)
    return tuple(float(points[i]) for i in peaks), tuple(float(points[i]) for i in valleys)
