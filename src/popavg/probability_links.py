"""Links of a probability: logit, probit, cloglog; accurate in both tails, nothing clamped."""

from __future__ import annotations

import math
from typing import override

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from popavg.link import Floats, Link, exp, floats, probability

__all__ = ["Cloglog", "Logit", "Probit"]

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class Logit(Link):
    """The logistic link: mean = 1 / (1 + exp(-eta)).

    Examples
    --------
    >>> import popavg as pa
    >>> float(pa.links.Logit().inverse(0.0))
    0.5
    """

    name = "logit"
    tolerance_sd = math.pi / math.sqrt(3)

    @override
    def link(self, mean: ArrayLike) -> Floats:
        return special.logit(probability(mean))

    @override
    def inverse(self, eta: ArrayLike) -> Floats:
        return special.expit(floats(eta))

    @override
    def complement(self, eta: ArrayLike) -> Floats:
        return special.expit(-floats(eta))

    @override
    def log_inverse(self, eta: ArrayLike) -> Floats:
        return special.log_expit(floats(eta))

    @override
    def log_complement(self, eta: ArrayLike) -> Floats:
        return special.log_expit(-floats(eta))

    @override
    def log_derivative(self, eta: ArrayLike) -> Floats:
        return self.log_inverse(eta) + self.log_complement(eta)

    @override
    def derivative(self, eta: ArrayLike) -> Floats:
        return self.inverse(eta) * self.complement(eta)

    @override
    def second_derivative(self, eta: ArrayLike) -> Floats:
        return -self.derivative(eta) * np.tanh(0.5 * floats(eta))

    @override
    def link_from_logs(self, log_mean: ArrayLike, log_complement: ArrayLike) -> Floats:
        return floats(log_mean)[()] - floats(log_complement)[()]

    @override
    def marginal_predictor(self, eta: ArrayLike, variance: ArrayLike) -> Floats | None:
        return None


class Probit(Link):
    """The normal link: mean = Phi(eta).

    Examples
    --------
    >>> import popavg as pa
    >>> float(pa.links.Probit().marginal_predictor(1.0, 3.0))
    0.5
    """

    name = "probit"

    @override
    def link(self, mean: ArrayLike) -> Floats:
        return special.ndtri(probability(mean))

    @override
    def inverse(self, eta: ArrayLike) -> Floats:
        return special.ndtr(floats(eta))

    @override
    def complement(self, eta: ArrayLike) -> Floats:
        return special.ndtr(-floats(eta))

    @override
    def log_inverse(self, eta: ArrayLike) -> Floats:
        return special.log_ndtr(floats(eta))

    @override
    def log_complement(self, eta: ArrayLike) -> Floats:
        return special.log_ndtr(-floats(eta))

    @override
    def log_derivative(self, eta: ArrayLike) -> Floats:
        return -0.5 * np.square(floats(eta)) - _LOG_SQRT_2PI

    @override
    def second_derivative(self, eta: ArrayLike) -> Floats:
        return -floats(eta) * self.derivative(eta)

    @override
    def link_from_logs(self, log_mean: ArrayLike, log_complement: ArrayLike) -> Floats:
        log_mean, log_complement = floats(log_mean), floats(log_complement)
        smaller = special.ndtri_exp(np.minimum(log_mean, log_complement))
        return np.where(log_mean <= log_complement, smaller, -smaller)[()]

    @override
    def marginal_predictor(self, eta: ArrayLike, variance: ArrayLike) -> Floats:
        return floats(eta) / np.sqrt(1.0 + floats(variance))


class Cloglog(Link):
    """The complementary log-log link: mean = 1 - exp(-exp(eta)).

    Examples
    --------
    >>> import popavg as pa
    >>> float(pa.links.Cloglog().log_complement(0.0))
    -1.0
    """

    name = "cloglog"
    tolerance_sd = math.pi / math.sqrt(6)

    @override
    def link(self, mean: ArrayLike) -> Floats:
        with np.errstate(divide="ignore"):
            return np.log(-np.log1p(-probability(mean)))

    @override
    def inverse(self, eta: ArrayLike) -> Floats:
        return -np.expm1(-exp(eta))

    @override
    def complement(self, eta: ArrayLike) -> Floats:
        return np.exp(-exp(eta))

    @override
    def log_inverse(self, eta: ArrayLike) -> Floats:
        eta, hazard = floats(eta), exp(eta)
        with np.errstate(divide="ignore"):
            return np.select(
                [eta < -20.0, hazard < math.log(2)],
                [eta - 0.5 * hazard, np.log(-np.expm1(-hazard))],
                np.log1p(-np.exp(-hazard)),
            )[()]

    @override
    def log_complement(self, eta: ArrayLike) -> Floats:
        return -exp(eta)

    @override
    def log_derivative(self, eta: ArrayLike) -> Floats:
        return floats(eta) - exp(eta)

    @override
    def second_derivative(self, eta: ArrayLike) -> Floats:
        slope = self.derivative(eta)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.where(slope == 0.0, 0.0, -slope * np.expm1(floats(eta)))[()]

    @override
    def link_from_logs(self, log_mean: ArrayLike, log_complement: ArrayLike) -> Floats:
        log_mean, log_complement = floats(log_mean), floats(log_complement)
        with np.errstate(divide="ignore"):
            return np.where(
                log_mean < -20.0,
                log_mean + 0.5 * np.exp(log_mean),
                np.log(-log_complement),
            )[()]

    @override
    def marginal_predictor(self, eta: ArrayLike, variance: ArrayLike) -> None:
        return None
