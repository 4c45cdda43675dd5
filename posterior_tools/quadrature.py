r"""Numba kernels of the integral E g^-1(eta + sd Z), Z ~ N(0, 1), for links without closed form.

Each kernel computes the logarithm of the smaller of the mean and its complement by the trapezoid
rule and the other by ``log1p``, so that both are accurate in their own right.

Notes
-----
The integrand g^-1(eta + sd z) phi(z) is log-concave, and at least as concentrated as a normal
density about its mode. It is divided by its largest possible value, whose logarithm is known in
closed form, and summed outward from there until the terms vanish: nothing overflows or underflows.

The trapezoid rule converges exponentially: its error is exp(-2 pi a / h) times the size of the
integrand on the line Im z = a (Trefethen & Weideman 2014, SIAM Review 56:385). The Gaussian grows
by exp(a^2 / 2) there, and g^-1 keeps its size up to a = strip / sd: pi / sd, where the logistic
function has its pole, and just under pi / 2 / sd for the cloglog. `_step` takes the h that makes
this error exp(-36).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["LARGEST_SD", "QUADRATURES", "cpus", "integrate"]

type Floats = NDArray[np.float64]
type Kernel = Callable[[Floats, Floats, Floats, Floats], None]

LARGEST_SD = 1e4
"""Largest sd the kernels take: the number of nodes grows in proportion to it."""

_DIGITS = 36.0
_REACH = math.sqrt(2 * _DIGITS)
_LOGIT_STRIP = math.pi
_CLOGLOG_STRIP = 1.4
_VANISHED = 1e-18
_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_SMALLEST_PARALLEL = 16_384
_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _step(strip: float, sd: float) -> float:
    """Step in z for an integrand that keeps its size up to Im z = strip / sd."""
    reach = _REACH if _REACH * sd <= strip else strip / sd
    return 2 * math.pi * reach / (_DIGITS + 0.5 * reach * reach)


@_compiled
def _logistic_half(step: float, tilt: float, offset: float, rate: float) -> float:
    """Sum over t = step, 2 step, … of exp(-t (t/2 + tilt)) / (1 + exp(offset + rate t))."""
    total, k = 0.0, 1
    while True:
        t = k * step
        term = math.exp(-t * (0.5 * t + tilt)) / (1.0 + math.exp(offset + rate * t))
        total += term
        if term < _VANISHED * (1.0 + total):
            return total
        k += 1


@_compiled
def _logit_lower(eta: float, sd: float) -> float:
    """Log of E expit(eta + sd Z) for eta <= 0.

    expit(x) is within a factor 2 of min(1, exp(x)), and the largest value of
    min(1, exp(eta + sd z)) phi(z) is at z = min(sd, -eta / sd).
    """
    step = _step(_LOGIT_STRIP, sd)
    if -eta >= sd * sd:
        centre = eta + sd * sd
        total = 1.0 / (1.0 + math.exp(centre))
        total += _logistic_half(step, 0.0, centre, sd)
        total += _logistic_half(-step, 0.0, centre, sd)
        log_peak = eta + 0.5 * sd * sd
    else:
        z = -eta / sd
        total = 0.5
        total += _logistic_half(step, z, 0.0, -sd)
        total += _logistic_half(-step, z - sd, 0.0, sd)
        log_peak = -0.5 * z * z
    return log_peak + math.log(step * total) - _LOG_SQRT_2PI


@_compiled
def _hazard_ratio(x: float) -> float:
    """(1 - exp(-exp(x))) / exp(x)."""
    hazard = math.exp(x)
    return 1.0 if hazard < 1e-17 else -math.expm1(-hazard) / hazard


@_compiled
def _gumbel_half(step: float, tilt: float, offset: float, sd: float) -> float:
    """Sum over t = step, … of exp(-t (t/2 + tilt)) `_hazard_ratio`(offset + sd t)."""
    total, k = 0.0, 1
    while True:
        t = k * step
        term = math.exp(-t * (0.5 * t + tilt)) * _hazard_ratio(offset + sd * t)
        total += term
        if term < _VANISHED * (1.0 + total):
            return total
        k += 1


@_compiled
def _gumbel_upper_half(step: float, tilt: float, sd: float) -> float:
    """Sum over t = step, 2 step, … of exp(-t (t/2 + tilt)) (1 - exp(-exp(sd t)))."""
    total, k = 0.0, 1
    while True:
        t = k * step
        term = -math.exp(-t * (0.5 * t + tilt)) * math.expm1(-math.exp(sd * t))
        total += term
        if term < _VANISHED * (1.0 + total):
            return total
        k += 1


@_compiled
def _cloglog_lower(eta: float, sd: float) -> float:
    """Log of E[1 - exp(-exp(eta + sd Z))] for eta <= 0; the peak is that of `_logit_lower`."""
    step = _step(_CLOGLOG_STRIP, sd)
    if -eta >= sd * sd:
        centre = eta + sd * sd
        total = _hazard_ratio(centre)
        total += _gumbel_half(step, 0.0, centre, sd)
        total += _gumbel_half(-step, 0.0, centre, sd)
        log_peak = eta + 0.5 * sd * sd
    else:
        z = -eta / sd
        total = _hazard_ratio(0.0)
        total += _gumbel_upper_half(step, z, sd)
        total += _gumbel_half(-step, z - sd, 0.0, sd)
        log_peak = -0.5 * z * z
    return log_peak + math.log(step * total) - _LOG_SQRT_2PI


@_compiled
def _lambert(eta: float, sd: float) -> float:
    """W(sd^2 exp(eta)): Newton from below on w + log w, then once on w exp(w)."""
    log_argument = eta + 2.0 * math.log(sd)
    if log_argument < -40.0:
        return math.exp(log_argument)
    if log_argument > 2.0:
        w = log_argument - math.log(log_argument)
    else:
        w = math.exp(log_argument) / (1.0 + math.exp(log_argument))
    for _ in range(6):
        w *= (1.0 + log_argument - math.log(w)) / (1.0 + w)
    if eta < 600.0:
        w -= (w - sd * sd * math.exp(eta) * math.exp(-w)) / (1.0 + w)
    return w


@_compiled
def _expm1_excess(u: float) -> float:
    """exp(u) - 1 - u."""
    if abs(u) > 0.1:
        return math.expm1(u) - u
    series = 1.0
    for k in range(11, 2, -1):
        series = 1.0 + series * u / k
    return 0.5 * u * u * series


@_compiled
def _survival_half(step: float, hazard: float, sd: float) -> float:
    """Sum over t = step, 2 step, … of exp(-hazard (exp(sd t) - 1 - sd t) - t^2 / 2)."""
    total, k = 0.0, 1
    while True:
        t = k * step
        term = math.exp(-hazard * _expm1_excess(sd * t) - 0.5 * t * t)
        total += term
        if term < _VANISHED * (1.0 + total):
            return total
        k += 1


@_compiled
def _cloglog_upper(eta: float, sd: float) -> float:
    """Log of E exp(-exp(eta + sd Z)) for eta > 0.

    The mode is z = -w / sd with w = W(sd^2 exp(eta)), the hazard there exp(eta - w) = w / sd^2.
    On the line Im z = a the peak is higher by at most a factor cos(sd a)^(-hazard).
    """
    w = _lambert(eta, sd)
    hazard = w / (sd * sd) if w > 1.0 else math.exp(eta) * math.exp(-w)
    if hazard == math.inf:
        return -math.inf
    narrowed = _REACH / math.sqrt(1.0 + w)
    reach = narrowed if narrowed * sd <= _CLOGLOG_STRIP else _CLOGLOG_STRIP / sd
    growth = -0.5 * hazard * math.log1p(-(math.sin(sd * reach) ** 2)) + 0.5 * reach * reach
    step = 2 * math.pi * reach / (_DIGITS + growth)
    total = 1.0 + _survival_half(step, hazard, sd) + _survival_half(-step, hazard, sd)
    return -hazard * (1.0 + 0.5 * w) + math.log(step * total) - _LOG_SQRT_2PI


@_compiled
def _logit_logs(eta: Floats, sd: Floats, log_mean: Floats, log_complement: Floats) -> None:
    """Fill both logs for the logit; flat arrays of one size, sd > 0."""
    for i in range(eta.size):
        smaller = _logit_lower(-abs(eta[i]), sd[i])
        larger = math.log1p(-math.exp(smaller))
        log_mean[i] = smaller if eta[i] <= 0.0 else larger
        log_complement[i] = larger if eta[i] <= 0.0 else smaller


@_compiled
def _cloglog_logs(eta: Floats, sd: Floats, log_mean: Floats, log_complement: Floats) -> None:
    """Fill both logs for the cloglog; flat arrays of one size, sd > 0."""
    for i in range(eta.size):
        if eta[i] <= 0.0:
            log_mean[i] = _cloglog_lower(eta[i], sd[i])
            log_complement[i] = math.log1p(-math.exp(log_mean[i]))
        else:
            log_complement[i] = _cloglog_upper(eta[i], sd[i])
            log_mean[i] = math.log1p(-math.exp(log_complement[i]))


QUADRATURES: dict[str, Kernel] = {"logit": _logit_logs, "cloglog": _cloglog_logs}


def cpus() -> int:
    """Number of processors that this process may use.

    Returns
    -------
    int
        Fewer than the machine has where an affinity mask or a container says so.

    Examples
    --------
    >>> from popavg.posterior_tools.quadrature import cpus
    >>> cpus() >= 1
    True
    """
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def integrate(name: str, eta: Floats, sd: Floats) -> tuple[Floats, Floats]:
    """Logarithms of the marginal mean and of its complement, element by element.

    Parameters
    ----------
    name : str
        A link in `QUADRATURES`.
    eta, sd : ndarray
        Linear predictors and standard deviations, of one shape; 0 < sd <= `LARGEST_SD`.

    Returns
    -------
    log_mean : ndarray
        In the shape of ``eta``.
    log_complement : ndarray
        Likewise.

    Notes
    -----
    Large arrays are shared among one thread per core; the kernels release the interpreter's lock.
    Every element is computed on its own, so the numbers don't depend on how many threads there
    are.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.posterior_tools.quadrature import integrate
    >>> log_mean, log_complement = integrate("logit", np.zeros(1), np.ones(1))
    >>> bool(np.isclose(log_mean[0], np.log(0.5), rtol=1e-14))
    True
    """
    arrays = [np.ascontiguousarray(array).ravel() for array in (eta, sd)]
    arrays += [np.empty(eta.size), np.empty(eta.size)]
    kernel = QUADRATURES[name]
    if eta.size < _SMALLEST_PARALLEL:
        kernel(*arrays)
    else:
        pieces = zip(*(np.array_split(array, eta.size // 4096) for array in arrays), strict=True)
        with ThreadPoolExecutor(cpus()) as pool:
            list(pool.map(lambda piece: kernel(*piece), pieces))
    return arrays[2].reshape(eta.shape), arrays[3].reshape(eta.shape)
