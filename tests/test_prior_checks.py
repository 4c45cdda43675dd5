"""The refusal of priors that don't fit their parameter."""

from __future__ import annotations

import pytest

from popavg.errors import SpecificationError
from popavg.prior_checks import TOO_WIDE, check_prior, check_tail
from popavg.priors import Prior

ACCEPTED = [
    ("real", Prior("StudentT", nu=7, mu=0, sigma=2.5)),
    ("real", Prior("Normal", mu=0, tau=1)),
    ("real", Prior("Cauchy", alpha=0, beta=2.5)),
    ("positive", Prior("Exponential", lam=1)),
    ("positive", Prior("Gamma", alpha=2, beta=0.1)),
    ("positive", Prior("Uniform", lower=0, upper=0.5)),
    ("positive", Prior("TruncatedNormal", mu=0, sigma=1, lower=0)),
    ("probability", Prior("Beta", alpha=2, beta=8)),
    ("probability", Prior("Uniform", lower=0.1, upper=0.5)),
    ("correlation", Prior("LKJ", eta=1)),
]


@pytest.mark.parametrize(("support", "prior"), ACCEPTED, ids=str)
def test_fitting_priors_are_accepted(support: str, prior: Prior) -> None:
    check_prior("parameter", prior, support)


REFUSED = [
    ("positive", Prior("Normal", mu=0, sigma=1), "is real.*positive numbers"),
    ("positive", Prior("Uniform", lower=-1, upper=1), "is bounded"),
    ("positive", Prior("LKJ", eta=2), "correlation matrices"),
    ("real", Prior("HalfNormal", sigma=1), "is positive.*whole real line"),
    ("real", Prior("Uniform", lower=-1, upper=1), "is bounded.*whole real line"),
    ("real", Prior("Beta", alpha=1, beta=1), "is positive"),
    ("real", Prior("VonMises", mu=0, kappa=1), "on a circle"),
    ("real", Prior("Poisson", mu=2), "is discrete"),
    ("real", Prior("DiracDelta", c=0.0), "no proper density"),
    ("real", Prior("Flat"), "improper"),
    ("real", Prior("Normla", mu=0), "isn't known.*[Dd]id you mean 'Normal'"),
    ("probability", Prior("HalfNormal", sigma=1), "is positive.*between 0 and 1"),
    ("probability", Prior("Normal", mu=0, sigma=1), "is real.*as Beta"),
    ("real", Prior("Model"), "isn't known"),
    ("real", Prior("Normal", mu=0, scale=1), "unknown parameter 'scale'.*'mu', 'sigma', 'tau'"),
    ("real", Prior("Normal", mu=0, sigma=-1), "isn't a distribution: sigma > 0"),
    ("real", Prior("Normal", sigma=1, tau=1), "isn't a distribution"),
    ("positive", Prior("Gamma"), "isn't a distribution"),
    ("correlation", Prior("Normal", mu=0, sigma=1), 'pa.Prior."LKJ", eta=2'),
    ("correlation", Prior("LKJ", eta=0), "eta above 0"),
    ("correlation", Prior("LKJ", n=2), "eta above 0"),
]


@pytest.mark.parametrize(("support", "prior", "message"), REFUSED, ids=str)
def test_priors_that_dont_fit_are_refused(support: str, prior: Prior, message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        check_prior("parameter", prior, support)


def test_the_tail_is_refused_from_the_limit_on() -> None:
    default = Prior("HalfStudentT", nu=3, sigma=2.5)
    check_tail("sd_g", Prior("HalfCauchy", beta=0.999 * TOO_WIDE * 2.5), default)
    with pytest.raises(SpecificationError, match="as good as at infinity"):
        check_tail("sd_g", Prior("HalfCauchy", beta=1.001 * TOO_WIDE * 2.5), default)
