"""The observed variable of each family and link, accurate in both tails."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.tensor.variable import TensorVariable

from popavg.design import Design
from popavg.families import Family
from popavg.links import Link

__all__ = ["LOG_PROBABILITIES", "observe", "response_drawer"]

type LogProbability = Callable[[TensorVariable], TensorVariable]

#: Above this the mean of a count can't be drawn as a 64-bit integer.
LARGEST_LOG_MEAN = 43.0


def observe(
    design: Design,
    predictor: TensorVariable,
    *,
    link: Link,
    family: Family,
    sigma: TensorVariable | None = None,
) -> TensorVariable:
    """Add the observed response ``y`` (dim ``obs``) to the model whose context is open.

    Parameters
    ----------
    design : popavg.design.Design
        Holds the response.
    predictor : TensorVariable, shape (obs,)
        The linear predictor η.
    link : popavg.links.Link
        The link.
    family : popavg.families.Family
        The distribution.
    sigma : TensorVariable, optional
        Residual standard deviation; Gaussian only.

    Returns
    -------
    TensorVariable
        The observed random variable.

    Notes
    -----
    Probabilities never pass through p: log p and log(1 − p) are functions of η, so that the
    density and its gradient are right where p rounds to 0 or 1. For the symmetric links one
    evaluation gives both, ``log p(y) = log g⁻¹((2y − 1) η)``; that and the missing checks of a
    Bernoulli's parameter make an evaluation cheaper than that of :class:`pymc.Bernoulli`.

    In predictive draws of counts a log mean above 43 is taken as 43: larger counts don't fit a
    64-bit integer. The density has no such limit.
    """
    response = design.response
    if family.name == "gaussian":
        return pm.Normal("y", mu=predictor, sigma=sigma, observed=response.y, dims="obs")
    y = response.y.astype(np.int64)
    parameters = (predictor, *_trials(design, family))
    if family.name == "poisson":
        draw, logp = _draw_poisson, _log_poisson
    elif family.name == "binomial":
        draw, logp = _draw_binomial(link), _log_binomial(link)
    else:
        draw, logp = _draw_bernoulli(link), _log_bernoulli(link)
    observed = pm.CustomDist(
        "y",
        *parameters,
        dist=draw,
        logp=logp,
        class_name=f"{family.name.capitalize()}{link.name.capitalize()}",
        observed=y,
        dims="obs",
    )
    return cast(TensorVariable, observed)


def response_drawer(
    design: Design, *, link: Link, family: Family
) -> Callable[[TensorVariable, TensorVariable | None], TensorVariable]:
    """A function of the predictor (and sigma) that gives a draw of the response as a variable.

    Parameters
    ----------
    design : popavg.design.Design
        Holds the trials.
    link : popavg.links.Link
        The link.
    family : popavg.families.Family
        The distribution.

    Returns
    -------
    callable
        ``(predictor, sigma) -> response``, without a name and outside of any model.
    """
    if family.name == "gaussian":
        return lambda predictor, sigma: pm.Normal.dist(mu=predictor, sigma=sigma)
    draws: dict[str, Callable[[], Callable[..., TensorVariable]]] = {
        "poisson": lambda: _draw_poisson,
        "binomial": lambda: _draw_binomial(link),
        "bernoulli": lambda: _draw_bernoulli(link),
    }
    draw, trials = draws[family.name](), _trials(design, family)
    return lambda predictor, _: draw(predictor, *trials, size=None)


def _trials(design: Design, family: Family) -> tuple[NDArray[np.int64], ...]:
    if family.name != "binomial":
        return ()
    return (np.asarray(design.response.trials, dtype=np.int64),)


def _log_logit(eta: TensorVariable) -> TensorVariable:
    return -pt.softplus(-eta)


def _log_probit(eta: TensorVariable) -> TensorVariable:
    """Log Φ(η) = log(erfcx(t)/2) − t² below 0, log1p(−exp(−t²) erfcx(t)/2) above; t = |η|/√2."""
    negative = pt.lt(eta, 0)
    t = pt.switch(negative, -eta, eta) / np.sqrt(2.0)
    tail = pt.erfcx(t) / 2
    return pt.switch(negative, pt.log(tail) - t**2, pt.log1p(-pt.exp(-(t**2)) * tail))


def _log_cloglog(eta: TensorVariable) -> TensorVariable:
    return pt.log1mexp(-pt.exp(eta))


def _log_complement_cloglog(eta: TensorVariable) -> TensorVariable:
    return -pt.exp(eta)


#: For each link of a probability: log p, log(1 − p) as functions of η.
LOG_PROBABILITIES: dict[str, tuple[LogProbability, LogProbability]] = {
    "logit": (_log_logit, lambda eta: _log_logit(-eta)),
    "probit": (_log_probit, lambda eta: _log_probit(-eta)),
    "cloglog": (_log_cloglog, _log_complement_cloglog),
}

_SYMMETRIC = ("logit", "probit")


def _log_bernoulli(link: Link) -> Callable[..., TensorVariable]:
    log_p, log_q = LOG_PROBABILITIES[link.name]

    def symmetric(value: TensorVariable, eta: TensorVariable) -> TensorVariable:
        return log_p((2 * value - 1) * eta)

    def general(value: TensorVariable, eta: TensorVariable) -> TensorVariable:
        return pt.switch(pt.eq(value, 1), log_p(eta), log_q(eta))

    return symmetric if link.name in _SYMMETRIC else general


def _draw_bernoulli(link: Link) -> Callable[..., TensorVariable]:
    def draw(eta: TensorVariable, size: TensorVariable) -> TensorVariable:
        return pm.Bernoulli.dist(p=_probability(link, eta), size=size)

    return draw


def _log_binomial(link: Link) -> Callable[..., TensorVariable]:
    log_p, log_q = LOG_PROBABILITIES[link.name]

    def logp(value: TensorVariable, eta: TensorVariable, trials: TensorVariable) -> TensorVariable:
        ways = pt.gammaln(trials + 1.0) - pt.gammaln(value + 1.0)
        ways -= pt.gammaln(trials - value + 1.0)
        return ways + value * log_p(eta) + (trials - value) * log_q(eta)

    return logp


def _draw_binomial(link: Link) -> Callable[..., TensorVariable]:
    def draw(eta: TensorVariable, trials: TensorVariable, size: TensorVariable) -> TensorVariable:
        return pm.Binomial.dist(n=trials, p=_probability(link, eta), size=size)

    return draw


def _log_poisson(value: TensorVariable, eta: TensorVariable) -> TensorVariable:
    return value * eta - pt.exp(eta) - pt.gammaln(value + 1.0)


def _draw_poisson(eta: TensorVariable, size: TensorVariable) -> TensorVariable:
    return pm.Poisson.dist(mu=pt.exp(pt.minimum(eta, LARGEST_LOG_MEAN)), size=size)


def _probability(link: Link, eta: TensorVariable) -> TensorVariable:
    return pt.exp(LOG_PROBABILITIES[link.name][0](eta))
