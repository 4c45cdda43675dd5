"""The linear predictor whose population average is given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from popavg.errors import ConvergenceError
from popavg.links import Link
from popavg.posterior_tools.averages import population_average

__all__ = ["inverse_average", "log_slope"]

type Floats = NDArray[np.float64]

_STEPS = 60
#: The logistic-normal average has about the slope of its link divided by sqrt(1 + this variance).
_ATTENUATION = 0.346


def inverse_average(predictor: Floats, variance: Floats, link: Link) -> Floats:
    """The eta with E g^-1(eta + N(0, variance)) = g^-1(predictor); arrays that broadcast.

    Raises
    ------
    ConvergenceError
        Newton's method on the link scale didn't arrive.
    """
    if not variance.any():
        return predictor + np.zeros_like(variance)
    shift, unit = (link.marginal_predictor(eta, variance) for eta in (0.0, 1.0))
    if shift is not None and unit is not None:
        return (predictor - shift) / (unit - shift)
    predictor, variance = np.broadcast_arrays(predictor, variance)
    sd = np.sqrt(variance)
    eta = predictor * np.sqrt(1.0 + _ATTENUATION * variance)
    for _ in range(_STEPS):
        now = population_average(eta, sd, link, "link")
        slope = log_slope(eta, variance, link) - link.log_derivative(now)
        step = np.clip((now - predictor) * np.exp(-np.clip(slope, -30.0, 30.0)), -5.0, 5.0)
        eta = eta - step
        # Newton's method squares its error: the next step would be below 1e-10.
        if np.abs(step).max(initial=0.0) < 1e-5:
            return eta
    raise ConvergenceError("a population average couldn't be inverted")


def log_slope(eta: Floats, variance: Floats, link: Link) -> Floats:
    """Logarithm of the slope of the population average."""
    if not variance.any():
        return link.log_derivative(eta)
    with np.errstate(divide="ignore"):
        return np.log(population_average(eta, np.sqrt(variance), link, "slope"))
