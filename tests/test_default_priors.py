"""Default priors, and the refusal of priors that don't fit."""

import numpy as np
import pandas as pd
import pytest

from popavg.design import Design, family_of
from popavg.errors import DataError, SpecificationError
from popavg.links import get_link
from popavg.models.default_priors import check_prior, default_priors, resolve_priors
from popavg.priors import Prior

RNG = np.random.default_rng(3)
N = 60
FRAME = pd.DataFrame(
    {
        "y": np.tile([0, 1, 1], N // 3),
        "count": RNG.poisson(4.0, N),
        "weight": RNG.normal(50.0, 7.0, N),
        "dose": np.tile([0.0, 10.0], N // 2),
        "time": RNG.normal(3.0, 2.0, N),
        "log_days": RNG.normal(1.0, 0.3, N),
        "g": np.repeat(np.arange(N // 4), 4),
    }
)
SLOPES = "y ~ dose + time + (1 + time | g)"


def priors_of(
    formula: str, link: str = "logit", user: dict[str, Prior] | None = None
) -> dict[str, Prior]:
    family = family_of(formula, get_link(link))
    design = Design.build(formula, FRAME, family=family)
    return resolve_priors(design, family, get_link(link), user)


def test_binary_defaults_in_order() -> None:
    sd = FRAME["time"].std(ddof=0)
    assert priors_of(SLOPES) == {
        "Intercept": Prior("StudentT", nu=3, mu=0.0, sigma=2.5),
        "dose": Prior("Normal", mu=0, sigma=0.25),
        "time": Prior("Normal", mu=0, sigma=2.5 / (2 * sd)),
        "sd_g[Intercept]": Prior("HalfStudentT", nu=3, sigma=2.5),
        "sd_g[time]": Prior("HalfStudentT", nu=3, sigma=2.5 / (2 * sd)),
        "corr_g": Prior("LKJ", eta=2),
    }
    assert list(priors_of(SLOPES))[:3] == ["Intercept", "dose", "time"]


@pytest.mark.parametrize(("link", "ratio"), [("probit", 3**0.5 / np.pi), ("cloglog", 0.5**0.5)])
def test_other_links_are_as_wide_in_probability_as_the_logit(link: str, ratio: float) -> None:
    logit, other = priors_of(SLOPES), priors_of(SLOPES, link)
    for name, prior in logit.items():
        if name != "corr_g":
            assert other[name].params["sigma"] == pytest.approx(ratio * prior.params["sigma"])


def test_one_effect_has_no_brackets_and_no_correlation() -> None:
    assert list(priors_of("y ~ 1 + (1 | g)")) == ["Intercept", "sd_g"]


def test_uncorrelated_effects_have_no_correlation_prior() -> None:
    assert "corr_g" not in priors_of("y ~ time + (1 | g) + (0 + time | g)")


def test_counts_are_located_at_the_log_of_the_rate() -> None:
    prior = priors_of("count ~ time + offset(log_days) + (1 | g)", "log")["Intercept"]
    expected = np.log(FRAME["count"].sum() / np.exp(FRAME["log_days"]).sum())
    assert prior.params == {"nu": 3, "mu": pytest.approx(expected, abs=1e-12), "sigma": 2.5}


def test_an_offset_moves_the_location_of_a_probability() -> None:
    prior = priors_of("y ~ time + offset(log_days) + (1 | g)")["Intercept"]
    assert prior.params["mu"] == pytest.approx(-FRAME["log_days"].mean(), abs=1e-12)


def test_gaussian_is_scaled_by_the_response() -> None:
    priors = priors_of("weight ~ dose + (1 | g)", "identity")
    mean, sd = FRAME["weight"].mean(), FRAME["weight"].std(ddof=0)
    assert priors["Intercept"].params == pytest.approx({"nu": 3, "mu": mean, "sigma": 2.5 * sd})
    assert priors["dose"].params == pytest.approx({"mu": 0, "sigma": 0.25 * sd})
    assert priors["sd_g"].params == pytest.approx({"nu": 3, "sigma": 2.5 * sd})
    assert priors["sigma"].params == pytest.approx({"nu": 3, "sigma": 2.5 * sd})


def test_gaussian_that_the_offset_explains_is_refused() -> None:
    frame = FRAME.assign(weight=FRAME["time"])
    family = family_of("weight ~ dose", get_link("identity"))
    design = Design.build("weight ~ dose + offset(time)", frame, family=family)
    with pytest.raises(DataError, match="doesn't vary once the offset"):
        default_priors(design, family, get_link("identity"))


def test_user_priors_replace_by_name_special_before_general() -> None:
    wide, narrow = Prior("Normal", mu=0, sigma=9), Prior("Cauchy", alpha=0, beta=1)
    half, gamma = Prior("HalfNormal", sigma=1), Prior("Gamma", alpha=2, beta=1)
    user = {"time": narrow, "beta": wide, "sd_g[time]": gamma, "sd_g": half}
    priors = priors_of(SLOPES, user=user | {"corr_g": Prior("LKJ", eta=4)})
    assert priors["dose"] == wide
    assert priors["time"] == narrow
    assert priors["sd_g[Intercept]"] == half
    assert priors["sd_g[time]"] == gamma
    assert priors["corr_g"] == Prior("LKJ", eta=4)
    assert priors["Intercept"].name == "StudentT"


def test_unknown_name_lists_the_names() -> None:
    with pytest.raises(SpecificationError, match=r"'sd_h'.*'sd_g'.*[Dd]id you mean 'sd_g'"):
        priors_of("y ~ time + (1 | g)", user={"sd_h": Prior("Exponential", lam=1)})


def test_the_intercept_of_a_model_without_one_is_unknown() -> None:
    with pytest.raises(SpecificationError, match="names no parameter"):
        priors_of("y ~ 0 + time + (1 | g)", user={"Intercept": Prior("Normal", mu=0, sigma=1)})


ACCEPTED = [
    ("real", Prior("StudentT", nu=7, mu=0, sigma=2.5)),
    ("real", Prior("Normal", mu=0, tau=1)),
    ("real", Prior("Cauchy", alpha=0, beta=2.5)),
    ("positive", Prior("Exponential", lam=1)),
    ("positive", Prior("Gamma", alpha=2, beta=0.1)),
    ("positive", Prior("Uniform", lower=0, upper=0.5)),
    ("positive", Prior("TruncatedNormal", mu=0, sigma=1, lower=0)),
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
    ("real", Prior("Flat"), "no proper density"),
    ("real", Prior("Normla", mu=0), "PyMC doesn't know.*[Dd]id you mean 'Normal'"),
    ("real", Prior("Model"), "PyMC doesn't know"),
    ("real", Prior("Normal", mu=0, scale=1), "unknown parameter 'scale'.*'mu', 'sigma', 'tau'"),
    ("real", Prior("Normal", mu=0, sigma=-1), "refused by PyMC: sigma > 0"),
    ("real", Prior("Normal", sigma=1, tau=1), "refused by PyMC"),
    ("positive", Prior("Gamma"), "refused by PyMC"),
    ("correlation", Prior("Normal", mu=0, sigma=1), 'pa.Prior."LKJ", eta=2'),
    ("correlation", Prior("LKJ", eta=0), "eta above 0"),
    ("correlation", Prior("LKJ", n=2), "eta above 0"),
]


@pytest.mark.parametrize(("support", "prior", "message"), REFUSED, ids=str)
def test_priors_that_dont_fit_are_refused(support: str, prior: Prior, message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        check_prior("parameter", prior, support)
