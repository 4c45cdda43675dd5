r"""Numba kernels of E (g^-1)'(eta + sd Z) and E (g^-1)''(eta + sd Z) for logit and cloglog.

Notes
-----
(g^-1)' is a density on the link's scale, log-concave as well, so that the trapezoid rule of
`quadrature` serves it too: the integrand is divided by its largest value and summed outward from
there. The second derivative is (g^-1)' times a bounded factor and shares the nodes; its error is
relative to the slope.

Far right of the cloglog both come from the complement C(eta, sd) = E exp(-exp(eta + sd Z)): tilting
the normal density gives E (g^-1)' = exp(eta + sd^2 / 2) C(eta + sd^2, sd) and
E exp(2 x - exp(x)) = exp(2 eta + 2 sd^2) C(eta + 2 sd^2, sd).
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit
from numpy.typing import NDArray

from popavg.posterior_tools.quadrature import _cloglog_upper, _step, cpus

__all__ = ["moments"]

type Floats = NDArray[np.float64]

_LOGIT_STRIP = math.pi
_CLOGLOG_STRIP = 1.4
_VANISHED = 1e-18
_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_LARGEST_TILT = 6.0
_SMALLEST_PARALLEL = 4096
_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _logistic_tail(step: float, centre: float, rate: float) -> tuple[float, float]:
    """Sums over t = step, 2 step, … of exp(-t^2 / 2) d^2 and the same times 2 d - 1.

    d = 1 / (1 + exp(x)) at x = centre + rate t, so that expit'(x) = exp(x) d^2.
    """
    slope, curvature, k = 0.0, 0.0, 1
    while True:
        t = k * step
        d = 1.0 / (1.0 + math.exp(centre + rate * t))
        term = math.exp(-0.5 * t * t) * d * d
        slope += term
        curvature += term * (2.0 * d - 1.0)
        if term < _VANISHED * (1.0 + slope):
            return slope, curvature
        k += 1


@_compiled
def _logistic_flank(step: float, tilt: float, rate: float) -> tuple[float, float]:
    """Sums over t = step, … of exp(-t (t/2 + tilt)) d^2 and times 2 d - 1, d = expit(rate t)."""
    slope, curvature, k = 0.0, 0.0, 1
    while True:
        t = k * step
        d = 1.0 / (1.0 + math.exp(-rate * t))
        term = math.exp(-t * (0.5 * t + tilt)) * d * d
        slope += term
        curvature += term * (2.0 * d - 1.0)
        if term < _VANISHED * (1.0 + slope):
            return slope, curvature
        k += 1


@_compiled
def _logit_moments(eta: float, sd: float) -> tuple[float, float]:
    """Slope and curvature for eta <= 0; the peak is that of ``quadrature._logit_lower``."""
    step = _step(_LOGIT_STRIP, sd)
    if -eta >= sd * sd:
        centre = eta + sd * sd
        d = 1.0 / (1.0 + math.exp(centre))
        slope, curvature = d * d, d * d * (2.0 * d - 1.0)
        right = _logistic_tail(step, centre, sd)
        left = _logistic_tail(step, centre, -sd)
        log_peak = eta + 0.5 * sd * sd
    else:
        z = -eta / sd
        slope, curvature = 0.25, 0.0
        up = _logistic_flank(step, z + sd, sd)
        right = (up[0], -up[1])
        left = _logistic_flank(step, sd - z, sd)
        log_peak = -0.5 * z * z
    factor = math.exp(log_peak + math.log(step) - _LOG_SQRT_2PI)
    return factor * (slope + right[0] + left[0]), factor * (curvature + right[1] + left[1])


@_compiled
def _gumbel_flank(step: float, tilt: float, centre: float, rate: float) -> tuple[float, float]:
    """Sums over t = step, … of exp(-t (t/2 + tilt) - e^x) and times 1 - e^x, x = centre + rate t.

    The factor exp(x) of the density is part of the tilt.
    """
    slope, curvature, k = 0.0, 0.0, 1
    while True:
        t = k * step
        hazard = math.exp(centre + rate * t)
        term = math.exp(-t * (0.5 * t + tilt) - hazard)
        slope += term
        if term > 0.0:
            curvature += term * (1.0 - hazard)
        if term < _VANISHED * (1e-3 + slope):
            return slope, curvature
        k += 1


@_compiled
def _cloglog_moments(eta: float, sd: float) -> tuple[float, float]:
    """Slope and curvature: by their own sums, or far right by the tilted complement."""
    variance = sd * sd
    if eta > 0.0 and (sd <= _LARGEST_TILT or eta > variance):
        slope = math.exp(eta + 0.5 * variance + _cloglog_upper(eta + variance, sd))
        second = math.exp(2.0 * (eta + variance) + _cloglog_upper(eta + 2.0 * variance, sd))
        return slope, slope - second
    step = _step(_CLOGLOG_STRIP, sd)
    if -eta >= variance:
        centre, z, log_peak = eta + variance, sd, eta + 0.5 * variance
    else:
        centre, z, log_peak = 0.0, -eta / sd, -0.5 * eta / variance * eta
    hazard = math.exp(centre)
    term = math.exp(-hazard)
    right = _gumbel_flank(step, z - sd, centre, sd)
    left = _gumbel_flank(step, sd - z, centre, -sd)
    factor = math.exp(log_peak + math.log(step) - _LOG_SQRT_2PI)
    slope = factor * (term + right[0] + left[0])
    return slope, factor * (term * (1.0 - hazard) + right[1] + left[1])


@_compiled
def _fill_logit(eta: Floats, sd: Floats, slope: Floats, curvature: Floats) -> None:
    for i in range(eta.size):
        slope[i], bend = _logit_moments(-abs(eta[i]), sd[i])
        curvature[i] = bend if eta[i] <= 0.0 else -bend


@_compiled
def _fill_cloglog(eta: Floats, sd: Floats, slope: Floats, curvature: Floats) -> None:
    for i in range(eta.size):
        slope[i], curvature[i] = _cloglog_moments(eta[i], sd[i])


_KERNELS = {"logit": _fill_logit, "cloglog": _fill_cloglog}


def moments(name: str, eta: Floats, sd: Floats) -> tuple[Floats, Floats]:
    """Slope and curvature of the population average, element by element; 0 < sd."""
    arrays = [np.ascontiguousarray(array).ravel() for array in (eta, sd)]
    arrays += [np.empty(eta.size), np.empty(eta.size)]
    kernel = _KERNELS[name]
    if eta.size < _SMALLEST_PARALLEL:
        kernel(*arrays)
    else:
        pieces = zip(*(np.array_split(array, eta.size // 1024) for array in arrays), strict=True)
        with ThreadPoolExecutor(cpus()) as pool:
            list(pool.map(lambda piece: kernel(*piece), pieces))
    return arrays[2].reshape(eta.shape), arrays[3].reshape(eta.shape)
