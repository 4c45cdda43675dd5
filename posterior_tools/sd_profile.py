"""The likelihood as a function of one standard deviation: how far the data alone pin it down."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicHermiteSpline

from popavg.errors import ConvergenceError, DataError
from popavg.posterior_tools._sd_climb import Climb, Start
from popavg.posterior_tools.integrated_design import IntegratedDesign
from popavg.posterior_tools.progress import track

__all__ = ["SDProfile", "Start", "profile_grid", "sd_profile"]

type Floats = NDArray[np.float64]

#: Half the 95 % quantile of χ² with one degree of freedom.
DROP = 1.9207


@dataclass(frozen=True, eq=False)
class SDProfile:
    """The profile log-likelihood of a standard deviation.

    Attributes
    ----------
    name : str
        The parameter: ``"sd_patient"``.
    sd : numpy.ndarray, shape (points,)
        Standard deviations, ascending.
    log_likelihood : numpy.ndarray, shape (points,)
        At each of them, all other parameters at their conditional maximum.
    slope : numpy.ndarray, shape (points,)
        Its derivative in the logarithm of the standard deviation.
    at_zero : float
        At a standard deviation of 0.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.posterior_tools.sd_profile import SDProfile
    >>> x = np.linspace(-3, 3, 31)
    >>> profile = SDProfile("sd_g", np.exp(x), -2 * x**2, -4 * x, -18.0)
    >>> round(profile.best, 3), [round(end, 2) for end in profile.interval]
    (1.0, [0.38, 2.66])
    """

    name: str
    sd: Floats
    log_likelihood: Floats
    slope: Floats
    at_zero: float

    @property
    def top(self) -> float:
        """The largest log-likelihood."""
        return max(self._peak()[1], self.at_zero)

    @property
    def best(self) -> float:
        """Where it is largest: the maximum likelihood estimate, or an end of what was looked at."""
        where, value = self._peak()
        return 0.0 if self.at_zero >= value else where

    @property
    def interval(self) -> tuple[float, float]:
        """Standard deviations whose log-likelihood is within 1.92 of the largest.

        A 95 % likelihood interval; it begins at 0 where 0 is within, and ends at ∞ where the last
        point is.
        """
        level = self.top - DROP
        crossings = np.exp(self._curve.solve(level, extrapolate=False))
        crossings = crossings[np.isfinite(crossings)]
        if not crossings.size:
            return 0.0, np.inf if self.log_likelihood[-1] >= level else float(self.sd[0])
        first_inside = self.log_likelihood[0] >= level
        lower = float(self.sd[0] if first_inside else crossings.min())
        lower = 0.0 if self.at_zero >= level else lower
        return lower, np.inf if self.log_likelihood[-1] >= level else float(crossings.max())

    def to_frame(self) -> pd.DataFrame:
        """One row for each point, 0 first: ``sd``, ``log_likelihood`` relative to the largest.

        Returns
        -------
        pandas.DataFrame
        """
        values = np.append(self.at_zero, self.log_likelihood) - self.top
        return pd.DataFrame({"sd": np.append(0.0, self.sd), "log_likelihood": values})

    def curve(self, sd: ArrayLike) -> Floats:
        """Log-likelihood between the points, relative to the largest.

        Parameters
        ----------
        sd : array_like
            Standard deviations between the first and the last point.

        Returns
        -------
        numpy.ndarray
            In the shape of ``sd``.
        """
        return self._curve(np.log(np.asarray(sd, dtype=np.float64))) - self.top

    @cached_property
    def _curve(self) -> CubicHermiteSpline:
        return CubicHermiteSpline(np.log(self.sd), self.log_likelihood, self.slope)

    def _peak(self) -> tuple[float, float]:
        still = self._curve.derivative().roots(extrapolate=False)
        places = np.concatenate([np.log(self.sd), still[np.isfinite(still)]])
        values = self._curve(places)
        return float(np.exp(places[values.argmax()])), float(values.max())


def sd_profile(
    integrated: IntegratedDesign,
    start: Start,
    grid: ArrayLike,
    *,
    effect: int = 0,
    name: str = "sd",
    progress: bool = False,
) -> SDProfile:
    """Profile log-likelihood of one standard deviation.

    Parameters
    ----------
    integrated : IntegratedDesign
        Distinct rows and outcomes of a model with one grouping factor.
    start : Start
        Near which the maximum is looked for; a posterior's means do.
    grid : array_like, shape (points,)
        Standard deviations, positive, ascending.
    effect : int
        Which of the random effects' standard deviations.
    name : str
        What it is called.
    progress : bool
        Show a bar where it takes longer than two seconds.

    Returns
    -------
    SDProfile

    Raises
    ------
    DataError
        A grid of fewer than two points, not positive or not ascending.
    ConvergenceError
        The likelihood can't be computed at any point.

    Notes
    -----
    A true profile: at every point the coefficients, and where there are, the other standard
    deviation, the correlation and the residual standard deviation, are at their conditional
    maximum, found by BFGS from the neighbouring point in units of the posterior's covariance.
    Under the logit and probit coefficients grow with the standard deviation, so that a slice at
    the posterior means would look far more certain than the data are. A point where the integral
    can't be computed is left out.

    Examples
    --------
    >>> import numpy as np
    >>> import popavg as pa
    >>> from popavg.posterior_tools.draws import Posterior
    >>> from popavg.posterior_tools.integrated_design import IntegratedDesign
    >>> from popavg.posterior_tools.sd_profile import Start, sd_profile
    >>> posterior = Posterior.from_fit(pa.load_example())
    >>> integrated = IntegratedDesign.build(posterior.design, posterior.link, posterior.family)
    >>> start = Start(posterior.beta.mean(axis=0), np.cov(posterior.beta.T), np.array([4.0]))
    >>> profile = sd_profile(integrated, start, np.geomspace(2, 8, 15), name="sd_patient")
    >>> abs(profile.best - 4.007) < 0.02  # maximum likelihood by lme4, 100 nodes
    True
    """
    points = np.asarray(grid, dtype=np.float64)
    if points.ndim != 1 or len(points) < 2 or points[0] <= 0 or (np.diff(points) <= 0).any():
        raise DataError("not a grid of standard deviations", "positive numbers, ascending")
    climb = Climb(integrated, start, effect)
    nearest = np.argmin(
        np.abs(np.log(points) - np.log(np.clip(start.sd[effect], *points[[0, -1]])))
    )
    middle = int(nearest)
    values, slopes = np.full((2, len(points)), np.nan)
    values[middle], slopes[middle], found = climb.at(points[middle], climb.begin)
    order = [*range(middle + 1, len(points)), *range(middle - 1, -1, -1)]
    here, before = found, points[middle]
    for i in track(order, len(order), "likelihood", progress=progress):
        if i == middle - 1:  # back to the start, and downwards
            here, before = found, points[middle]
        guess = climb.scaled(here, before, points[i])
        values[i], slopes[i], here = climb.at(points[i], guess)
        before = points[i]
    if middle == 0:
        here, before = found, points[0]
    at_zero, _, _ = climb.at(0.0, climb.scaled(here, before, 0.0))
    good = np.isfinite(values)
    if good.sum() < 2 or not np.isfinite(at_zero):
        raise ConvergenceError(
            f"the likelihood can't be computed at these values of {name}",
            remedy="check the scales of the covariates",
        )
    return SDProfile(name, points[good], values[good], slopes[good], at_zero)


def profile_grid(draws: ArrayLike, lower: float, upper: float) -> Floats:
    """Standard deviations to profile at: close together where the posterior is, out to both ends.

    Parameters
    ----------
    draws : array_like
        Posterior draws of the standard deviation.
    lower, upper : float
        How far to go at least.

    Returns
    -------
    numpy.ndarray, shape (points,)
        Ascending; about 25.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.posterior_tools.sd_profile import profile_grid
    >>> grid = profile_grid(np.linspace(1.0, 2.0, 100), 0.1, 10.0)
    >>> len(grid), [round(float(grid[i]), 3) for i in (0, -1)]
    (25, [0.1, 10.0])
    """
    values = np.asarray(draws, dtype=np.float64).ravel()
    positive = values[values > 0]
    ends = np.quantile(positive, [0.005, 0.995]) if positive.size else np.array([lower, upper])
    inner = np.clip(ends, lower, None) * [1.0 / 1.05, 1.05]
    low, high = min(lower, inner[0] / 2), max(upper, inner[1] * 2)
    parts = (
        np.geomspace(low, inner[0], 6)[:-1],
        np.geomspace(*inner, 15),
        np.geomspace(inner[1], high, 6)[1:],
    )
    return np.concatenate(parts)
