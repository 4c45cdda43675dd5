"""Default priors, and the refusal of priors that don't fit."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from popavg.design import Design, family_of
from popavg.errors import DataError, SpecificationError
from popavg.links import get_link
from popavg.models.default_priors import default_priors, resolve_priors
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
    formula: str, link: str = "logit", user: Mapping[str, object] | None = None
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


def test_user_priors_may_be_text_by_name_and_by_family() -> None:
    user = {"beta": "Normal(0, 1)", "sd_g": "P(sd > 3) = 0.05", "sd_g[time]": "HalfNormal(2)"}
    priors = priors_of(SLOPES, user=user | {"corr_g": "LKJ(1)"})
    assert priors["dose"] == priors["time"] == Prior("Normal", 0, 1)
    assert priors["sd_g[Intercept]"].params["lam"] == pytest.approx(-np.log(0.05) / 3)
    assert priors["sd_g[time]"] == Prior("HalfNormal", 2)
    assert priors["corr_g"] == Prior("LKJ", 1)


def test_a_penalised_complexity_prior_of_a_coefficient_is_refused() -> None:
    with pytest.raises(SpecificationError, match=r"of 'time' is positive.*whole real line"):
        priors_of(SLOPES, user={"time": "P(time > 3) = 0.05"})


@pytest.mark.parametrize("own", [[("time", "Normal(0, 1)")], "Normal(0, 1)"])
def test_priors_are_a_mapping(own: object) -> None:
    with pytest.raises(SpecificationError, match=r"priors=\{'time': 'Normal\(0, 1\)'\}"):
        priors_of(SLOPES, user=own)


@pytest.mark.parametrize("wide", ["HalfCauchy(1e6)", "Uniform(0, 1e9)", "LogNormal(50, 1)"])
def test_a_standard_deviation_with_its_mass_at_infinity_is_refused(wide: str) -> None:
    words = r"'sd_g' has half of its mass above .*median below 1e\+03.*P\(sd > 3\) = 0.05"
    with pytest.raises(SpecificationError, match=words):
        priors_of("y ~ time + (1 | g)", user={"sd_g": wide})


def test_what_is_wide_depends_on_the_scale() -> None:
    frame = FRAME.assign(weight=1e8 * FRAME["weight"], time=1e-8 * FRAME["time"])
    wide = {"sd_g": "HalfNormal(1e9)", "sigma": "HalfNormal(1e9)"}
    for formula, link, user in (
        ("weight ~ dose + (1 | g)", "identity", wide),
        ("y ~ time + (0 + time | g)", "logit", {"sd_g": "HalfNormal(1e9)"}),
    ):
        family = family_of(formula, get_link(link))
        design = Design.build(formula, frame, family=family)
        assert resolve_priors(design, family, get_link(link), user)["sd_g"].name == "HalfNormal"


@pytest.mark.parametrize("improper", ["HalfFlat()", "Flat()"])
def test_improper_priors_are_refused(improper: str) -> None:
    with pytest.raises(SpecificationError, match=r"'sd_g' is improper.*HalfNormal or Exponential"):
        priors_of("y ~ time + (1 | g)", user={"sd_g": improper})
