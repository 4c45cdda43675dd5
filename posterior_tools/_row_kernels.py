"""Numba kernels of rows: means, and residuals over standard deviations, of every link.

Probabilities enter as mean and complement, each with its own digits, and the residual is the
difference of the lesser ones, so that both tails keep their digits.

A function compiled in another module keeps what it compiled of these: after a change here its
cache is out of date until that module changes too.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from popavg.posterior_tools._integrated_math import exp

__all__ = ["KINDS", "means", "standardise"]

type Floats = NDArray[np.float64]
type Pair = tuple[Floats, Floats]

#: Number of each kind of row, by the names of its link and its variance function.
KINDS: dict[tuple[str, str], int] = {
    ("logit", "bernoulli"): 0,
    ("probit", "bernoulli"): 1,
    ("cloglog", "bernoulli"): 2,
    ("log", "poisson"): 3,
    ("identity", "gaussian"): 4,
}
_LOGIT, _PROBIT, _CLOGLOG, _LOG = 0, 1, 2, 3

_ROOT_2PI = math.sqrt(2 * math.pi)
_compiled = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


@_compiled
def _logit_means(eta: Floats, mean: Floats, complement: Floats) -> None:
    for r in range(eta.size):
        q = exp(-0.5 * abs(eta[r]))
        q *= q
        greater = 1.0 / (1.0 + q)
        mean[r] = q * greater if eta[r] < 0.0 else greater
        complement[r] = greater if eta[r] < 0.0 else q * greater


@_compiled
def _logit_rows(eta: Floats, known: Pair, out: Pair) -> None:
    (mean, complement), (d, e) = known, out
    for r in range(eta.size):
        t = exp(-0.5 * abs(eta[r]))
        q = t * t
        greater = 1.0 / (1.0 + q)
        lesser, sd = q * greater, t * greater
        d[r] = sd
        e[r] = (mean[r] - lesser if eta[r] < 0.0 else lesser - complement[r]) / sd


@_compiled
def _lower_normal(z: float) -> tuple[float, float]:
    """Roots of the normal density and tail beyond z >= 0, whose squares may underflow."""
    root = math.exp(-min(0.25 * z * z, 700.0)) / math.sqrt(_ROOT_2PI)
    if z < 20.0:
        return root, math.sqrt(0.5 * math.erfc(z / math.sqrt(2.0)))
    fraction = z
    for k in range(20, 0, -1):  # the continued fraction of Mills' ratio
        fraction = z + k / fraction
    return root, root / math.sqrt(fraction)


@_compiled
def _probit_rows(eta: Floats, known: Pair, out: Pair) -> None:
    (mean, complement), (d, e) = known, out
    for r in range(eta.size):
        root_density, root_tail = _lower_normal(abs(eta[r]))
        lesser = root_tail * root_tail
        root_other = math.sqrt(1.0 - lesser)
        d[r] = root_density * (root_density / root_tail) / root_other
        gap = mean[r] - lesser if eta[r] < 0.0 else lesser - complement[r]
        e[r] = gap / root_tail / root_other


@_compiled
def _cloglog_rows(eta: Floats, known: Pair, out: Pair) -> None:
    (mean, complement), (d, e) = known, out
    for r in range(eta.size):
        hazard = math.exp(eta[r])
        root_complement = math.exp(-0.5 * min(hazard, 1400.0))
        other, event = root_complement * root_complement, -math.expm1(-hazard)
        low = event < other
        root_mean = math.exp(0.5 * max(eta[r], -1400.0)) if eta[r] < -40.0 else math.sqrt(event)
        d[r] = hazard / root_mean * root_complement if eta[r] >= -40.0 else root_mean
        gap = mean[r] - event if low else other - complement[r]
        e[r] = gap / root_mean / root_complement


@_compiled
def means(kind: int, eta: Floats, mean: Floats, complement: Floats) -> None:
    """Means; of probabilities also complements."""
    if kind == _LOGIT:
        _logit_means(eta, mean, complement)
    elif kind == _PROBIT:
        for r in range(eta.size):
            mean[r] = 0.5 * math.erfc(-eta[r] / math.sqrt(2.0))
            complement[r] = 0.5 * math.erfc(eta[r] / math.sqrt(2.0))
    elif kind == _CLOGLOG:
        for r in range(eta.size):
            hazard = math.exp(eta[r])
            mean[r], complement[r] = -math.expm1(-hazard), math.exp(-hazard)
    elif kind == _LOG:
        for r in range(eta.size):
            mean[r] = math.exp(eta[r])
    else:
        for r in range(eta.size):
            mean[r] = eta[r]


@_compiled
def standardise(kind: int, eta: Floats, known: Pair, out: Pair) -> None:
    """(d mu/d eta)/sqrt(V) and (pi - mu)/sqrt(V) of every row; pi by its means."""
    mean, (d, e) = known[0], out
    if kind == _LOGIT:
        _logit_rows(eta, known, out)
    elif kind == _PROBIT:
        _probit_rows(eta, known, out)
    elif kind == _CLOGLOG:
        _cloglog_rows(eta, known, out)
    elif kind == _LOG:
        for r in range(eta.size):
            d[r] = math.exp(0.5 * eta[r])
            e[r] = (mean[r] - math.exp(eta[r])) / d[r]
    else:
        for r in range(eta.size):
            d[r], e[r] = 1.0, mean[r] - eta[r]
