"""Densities without location and scale: log density, its derivative, quantile.

Every function takes an array and the shapes; points outside the support are the caller's concern.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log, pi, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["STANDARD", "Standard", "half"]

type Floats = NDArray[np.float64]

_LOG_ROOT_2PI = 0.5 * log(2 * pi)


@dataclass(frozen=True)
class Standard:
    """One density, shapes as further arguments.

    Attributes
    ----------
    log_density, score, quantile : callable
        Of points (the first two) and of probabilities.
    lower, upper : float
        Ends of the support.
    """

    log_density: Callable[..., Floats]
    score: Callable[..., Floats]
    quantile: Callable[..., Floats]
    lower: float = -inf
    upper: float = inf


def half(whole: Standard) -> Standard:
    """The density of the absolute value, for one that is symmetric around 0."""
    return Standard(
        lambda z, *shapes: log(2) + whole.log_density(z, *shapes),
        whole.score,
        lambda p, *shapes: -whole.quantile(0.5 * (1 - p), *shapes),
        lower=0.0,
    )


def _normal(z: Floats) -> Floats:
    return -0.5 * z**2 - _LOG_ROOT_2PI


def _mills(t: Floats) -> Floats:
    """φ(t)/Φ(t)."""
    return np.exp(_normal(t) - special.log_ndtr(t))


def _student(z: Floats, nu: float) -> Floats:
    constant = special.gammaln(0.5 * (nu + 1)) - special.gammaln(0.5 * nu) - 0.5 * log(nu * pi)
    return constant - 0.5 * (nu + 1) * np.log1p(z**2 / nu)


def _laplace_quantile(p: Floats, kappa: float) -> Floats:
    below = kappa**2 / (1 + kappa**2)
    left = kappa * np.log(p / below)
    return np.where(p < below, left, -np.log((1 - p) * (1 + kappa**2)) / kappa)


def _skew_student(z: Floats, a: float, b: float) -> Floats:
    ratio = z / np.sqrt(a + b + z**2)
    constant = (a + b - 1) * log(2) + special.betaln(a, b) + 0.5 * log(a + b)
    return (a + 0.5) * np.log1p(ratio) + (b + 0.5) * np.log1p(-ratio) - constant


def _skew_student_score(z: Floats, a: float, b: float) -> Floats:
    root = np.sqrt(a + b + z**2)
    ratio = z / root
    return ((a + 0.5) / (1 + ratio) - (b + 0.5) / (1 - ratio)) * (a + b) / root**3


def _skew_student_quantile(p: Floats, a: float, b: float) -> Floats:
    q = special.betaincinv(a, b, p)
    return (2 * q - 1) * sqrt(a + b) / (2 * np.sqrt(q * (1 - q)))


def _truncated(z: Floats, a: float, b: float) -> Floats:
    return _normal(z) - _log_mass(a, b)


def _log_mass(a: float, b: float) -> float:
    """log(Φ(b) − Φ(a)), in the tail where both are."""
    low, high = (-b, -a) if a > 0 else (a, b)
    upper = special.log_ndtr(high)
    return float(upper + np.log1p(-np.exp(special.log_ndtr(low) - upper)))


def _truncated_quantile(p: Floats, a: float, b: float) -> Floats:
    if a > 0:
        return -_truncated_quantile(1 - p, -b, -a)
    lower, mass = special.log_ndtr(a), _log_mass(a, b)
    with np.errstate(divide="ignore"):
        return special.ndtri_exp(np.logaddexp(lower, np.log(p) + mass))


def _beta(z: Floats, a: float, b: float) -> Floats:
    return special.xlogy(a - 1, z) + special.xlog1py(b - 1, -z) - special.betaln(a, b)


def _logit_normal(z: Floats, mu: float, sigma: float) -> Floats:
    scaled = (special.logit(z) - mu) / sigma
    return _normal(scaled) - log(sigma) - np.log(z) - np.log1p(-z)


def _logit_normal_score(z: Floats, mu: float, sigma: float) -> Floats:
    return ((mu - special.logit(z)) / sigma**2 - 1 + 2 * z) / (z * (1 - z))


def _scipy_quantile(name: str, p: Floats, *shapes: float) -> Floats:
    """For the few that have no inverse in closed form."""
    import scipy.stats

    return getattr(scipy.stats, name).ppf(p, *shapes)


NORMAL = Standard(_normal, lambda z: -z, special.ndtri)
STUDENT = Standard(
    _student, lambda z, nu: -(nu + 1) * z / (nu + z**2), lambda p, nu: special.stdtrit(nu, p)
)
CAUCHY = Standard(
    lambda z: -log(pi) - np.log1p(z**2),
    lambda z: -2 * z / (1 + z**2),
    lambda p: np.where(p < 0.5, -1, 1) / np.tan(pi * np.minimum(p, 1 - p)),
)

STANDARD: dict[str, Standard] = {
    "normal": NORMAL,
    "student": STUDENT,
    "cauchy": CAUCHY,
    "logistic": Standard(
        lambda z: -np.abs(z) - 2 * np.log1p(np.exp(-np.abs(z))),
        lambda z: -np.tanh(0.5 * z),
        special.logit,
    ),
    "asymmetric laplace": Standard(
        lambda z, kappa: -z * np.sign(z) * kappa ** np.sign(z) - log(kappa + 1 / kappa),
        lambda z, kappa: -np.sign(z) * kappa ** np.sign(z),
        _laplace_quantile,
    ),
    "gumbel": Standard(
        lambda z: -z - np.exp(-z), lambda z: np.expm1(-z), lambda p: -np.log(-np.log(p))
    ),
    "moyal": Standard(
        lambda z: -0.5 * (z + np.exp(-z)) - _LOG_ROOT_2PI,
        lambda z: 0.5 * np.expm1(-z),
        lambda p: -2 * np.log(sqrt(2) * special.erfcinv(p)),
    ),
    "skew normal": Standard(
        lambda z, alpha: log(2) + _normal(z) + special.log_ndtr(alpha * z),
        lambda z, alpha: alpha * _mills(alpha * z) - z,
        lambda p, alpha: _scipy_quantile("skewnorm", p, alpha),
    ),
    "skew student": Standard(_skew_student, _skew_student_score, _skew_student_quantile),
    "ex-gaussian": Standard(
        lambda z, k: special.log_ndtr(z - 1 / k) - log(k) - z / k + 0.5 / k**2,
        lambda z, k: _mills(z - 1 / k) - 1 / k,
        lambda p, k: _scipy_quantile("exponnorm", p, k),
    ),
    "half normal": half(NORMAL),
    "half student": half(STUDENT),
    "half cauchy": half(CAUCHY),
    "exponential": Standard(lambda z: -z, lambda z: -np.ones_like(z), lambda p: -np.log1p(-p), 0.0),
    "gamma": Standard(
        lambda z, a: special.xlogy(a - 1, z) - z - special.gammaln(a),
        lambda z, a: (a - 1) / z - 1,
        lambda p, a: special.gammaincinv(a, p),
        0.0,
    ),
    "inverse gamma": Standard(
        lambda z, a: -(a + 1) * np.log(z) - 1 / z - special.gammaln(a),
        lambda z, a: (1 / z - (a + 1)) / z,
        lambda p, a: 1 / special.gammainccinv(a, p),
        0.0,
    ),
    "log-normal": Standard(
        lambda z, s: _normal(np.log(z) / s) - log(s) - np.log(z),
        lambda z, s: -(1 + np.log(z) / s**2) / z,
        lambda p, s: np.exp(s * special.ndtri(p)),
        0.0,
    ),
    "weibull": Standard(
        lambda z, a: log(a) + special.xlogy(a - 1, z) - z**a,
        lambda z, a: (a - 1 - a * z**a) / z,
        lambda p, a: (-np.log1p(-p)) ** (1 / a),
        0.0,
    ),
    "pareto": Standard(
        lambda z, a: log(a) - (a + 1) * np.log(z),
        lambda z, a: -(a + 1) / z,
        lambda p, a: np.exp(-np.log1p(-p) / a),
        1.0,
    ),
    "rice": Standard(
        lambda z, b: np.log(z) - 0.5 * (z - b) ** 2 + np.log(special.i0e(z * b)),
        lambda z, b: 1 / z - z + b * special.i1e(z * b) / special.i0e(z * b),
        lambda p, b: _scipy_quantile("rice", p, b),
        0.0,
    ),
    "wald": Standard(
        lambda z, k: 0.5 * log(k) - _LOG_ROOT_2PI - 1.5 * np.log(z) - 0.5 * k * (z - 1) ** 2 / z,
        lambda z, k: -1.5 / z - 0.5 * k * (1 - 1 / z**2),
        lambda p, k: k * _scipy_quantile("invgauss", p, 1 / k),
        0.0,
    ),
    "beta": Standard(
        _beta,
        lambda z, a, b: (a - 1) / z - (b - 1) / (1 - z),
        lambda p, a, b: special.betaincinv(a, b, p),
        0.0,
        1.0,
    ),
    "kumaraswamy": Standard(
        lambda z, a, b: log(a * b) + special.xlogy(a - 1, z) + special.xlog1py(b - 1, -(z**a)),
        lambda z, a, b: (a - 1) / z - (b - 1) * a * z ** (a - 1) / (1 - z**a),
        lambda p, a, b: (-np.expm1(np.log1p(-p) / b)) ** (1 / a),
        0.0,
        1.0,
    ),
    "logit-normal": Standard(
        _logit_normal,
        _logit_normal_score,
        lambda p, mu, sigma: special.expit(mu + sigma * special.ndtri(p)),
        0.0,
        1.0,
    ),
    "uniform": Standard(np.zeros_like, np.zeros_like, lambda p: p, 0.0, 1.0),
    "triangular": Standard(
        lambda z, c: np.log(np.where(z < c, 2 * z / (c or 1.0), 2 * (1 - z) / ((1 - c) or 1.0))),
        lambda z, c: np.where(z < c, 1 / z, -1 / (1 - z)),
        lambda p, c: np.where(p < c, np.sqrt(p * c), 1 - np.sqrt((1 - p) * (1 - c))),
        0.0,
        1.0,
    ),
    "truncated normal": Standard(_truncated, lambda z, a, b: -z, _truncated_quantile),
}
