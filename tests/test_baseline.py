"""A prior on the population mean at the average row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from scipy.stats import kstest

import popavg as pa
from popavg.design import Design, family_of
from popavg.errors import SpecificationError
from popavg.models.baseline import Baseline, baseline_of, baseline_support, check_baseline
from popavg.models.default_priors import resolve_priors

FORMULA = "y ~ arm + x + offset(w) + (1 | g) + (1 | r)"
CASES = [
    ("probit", FORMULA, "Beta(2, 8)"),
    ("log", FORMULA.replace("y ~", "count ~"), "Gamma(4, 2)"),
    ("identity", FORMULA.replace("y ~", "value ~"), "Normal(1, 2)"),
]


def baseline_and_priors(
    frame: pd.DataFrame, link: str, formula: str, prior: str
) -> tuple[Design, Baseline, dict[str, pa.Prior]]:
    chosen = pa.get_link(link)
    family = family_of(formula, chosen)
    design = Design.build(formula, frame, family=family)
    priors = resolve_priors(design, family, chosen, {"baseline": prior})
    found = baseline_of(design, chosen, priors)
    assert found is not None
    return design, found, priors


@pytest.mark.parametrize(("link", "formula", "prior"), CASES)
def test_the_prior_is_that_of_the_prediction_at_the_average_row(
    frame: pd.DataFrame, link: str, formula: str, prior: str
) -> None:
    """Through the NumPy draws and the engine of the predictions."""
    found = pa.prior_check(
        formula, frame, link=link, priors={"baseline": prior, "sd_g": "HalfNormal(1)"}, draws=400
    )
    values = np.exp(found.values) if link == "log" else found.values
    rank = np.searchsorted(np.sort(values), values) / len(values)
    expected = pa.Prior.parse(prior)
    assert kstest(values, lambda x: _cdf(expected, x)).pvalue > 1e-3
    assert np.ptp(rank) > 0.9


def _cdf(prior: pa.Prior, x: np.ndarray) -> np.ndarray:
    p = np.linspace(0, 1, 2001)[1:-1]
    return np.interp(x, prior.quantile(p), p)


@pytest.mark.parametrize(("link", "formula", "prior"), CASES)
def test_the_model_and_the_arithmetic_agree(
    frame: pd.DataFrame, link: str, formula: str, prior: str
) -> None:
    """Draws of PyMC's prior: the mean at the average row is what was drawn for it."""
    design, baseline, _ = baseline_and_priors(frame, link, formula, prior)
    with pa.models.glmm(formula, frame, link=link, priors={"baseline": prior}):
        names = ["_baseline", "beta", "sd_g", "sd_r"]
        drawn = pm.sample_prior_predictive(50, random_seed=1, var_names=names)["prior"]
    beta = drawn["beta"].to_numpy()[0]
    variance = sum(drawn[name].to_numpy()[0, :, 0] ** 2 for name in ("sd_g", "sd_r"))
    predictor = beta @ baseline.columns + baseline.offset
    row = pd.DataFrame({name: [value] for name, value in baseline.row.items()})
    np.testing.assert_array_equal(design.evaluate(row).X[0], baseline.columns)
    np.testing.assert_allclose(
        baseline.predictor(drawn["_baseline"].to_numpy()[0], variance), predictor, rtol=1e-8
    )
    mean = baseline.mean(predictor, variance)
    np.testing.assert_allclose(mean, drawn["_baseline"].to_numpy()[0], rtol=1e-8)


@pytest.mark.parametrize(("link", "formula", "prior"), CASES)
def test_the_density_counts_the_change_of_variables(
    frame: pd.DataFrame, link: str, formula: str, prior: str
) -> None:
    _, baseline, _ = baseline_and_priors(frame, link, formula, prior)
    eta, v, h = np.array([-1.3, 0.1, 0.6]), np.array([0.5, 2.0, 4.0]), 1e-5
    rate = (baseline.mean(eta + h, v) - baseline.mean(eta - h, v)) / (2 * h)
    expected = pa.Prior.parse(prior).log_density(baseline.mean(eta, v)) + np.log(rate)
    np.testing.assert_allclose(baseline.log_density(eta, v), expected, rtol=1e-7)
    in_eta, in_v = baseline.log_density_gradient(eta, v)
    for found, step in ((in_eta, (h, 0.0)), (in_v, (0.0, h))):
        above = baseline.log_density(eta + step[0], v + step[1])
        below = baseline.log_density(eta - step[0], v - step[1])
        np.testing.assert_allclose(found, (above - below) / (2 * h), rtol=1e-6, atol=1e-7)


def test_names_of_the_posterior_stay(frame: pd.DataFrame) -> None:
    own = pa.models.glmm(FORMULA, frame, link="probit", priors={"baseline": "Beta(2, 8)"})
    usual = pa.models.glmm(FORMULA, frame, link="probit")

    def public(model: pm.Model) -> set[str]:
        return {name for name in model.named_vars if not name.startswith("_")}

    assert public(own) == public(usual)
    assert "_baseline" in own.named_vars
    assert "_intercept" not in own.named_vars


def test_without_random_effects_and_without_covariates(frame: pd.DataFrame) -> None:
    with pa.models.glm("y ~ 1", frame, link="probit", priors={"baseline": "Beta(2, 8)"}) as model:
        drawn = pm.draw([model["_baseline"], model["beta"]], 3, random_seed=1)
    np.testing.assert_allclose(pa.get_link("probit").inverse(drawn[1][:, 0]), drawn[0])


def test_the_prior_stands_in_the_intercepts_place(frame: pd.DataFrame) -> None:
    _, _, priors = baseline_and_priors(frame, *CASES[0])
    assert next(iter(priors)) == "baseline"
    assert "Intercept" not in priors
    assert baseline_support(pa.get_link("log")) == "positive"


def test_a_covariate_called_baseline_is_a_covariate(frame: pd.DataFrame) -> None:
    data = frame.rename(columns={"x": "baseline"})
    chosen = pa.get_link("probit")
    formula = "y ~ baseline + (1 | g)"
    family = family_of(formula, chosen)
    design = Design.build(formula, data, family=family)
    priors = resolve_priors(design, family, chosen, {"baseline": "Normal(0, 1)"})
    assert set(priors) == {"Intercept", "baseline", "sd_g"}
    assert baseline_of(design, chosen, priors) is None


@pytest.mark.parametrize(
    ("link", "formula", "priors", "words"),
    [
        ("logit", "y ~ x + (1 | g)", {}, "'probit', 'log', 'identity'.*pa.prior_check"),
        ("cloglog", "y ~ x + (1 | g)", {}, "no closed form"),
        ("probit", "y ~ x + (1 + x | g)", {}, "'g' aren't random intercepts.*pa.prior_check"),
        ("probit", "y ~ 0 + x + (1 | g)", {}, "without an intercept"),
        ("probit", "y ~ x + (1 | g)", {"Intercept": "Normal(0, 1)"}, "one of them"),
        ("probit", "y ~ x + (1 | g)", {"baseline": "Normal(0, 1)"}, "as Beta"),
        ("log", "count ~ x + (1 | g)", {"baseline": "Normal(0, 1)"}, "positive numbers"),
    ],
)
def test_refused_in_words(
    frame: pd.DataFrame, *, link: str, formula: str, priors: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecificationError, match=words):
        pa.prior_check(formula, frame, link=link, priors={"baseline": "Beta(2, 8)", **priors})


def test_the_check_is_for_designs(frame: pd.DataFrame) -> None:
    design, _, _ = baseline_and_priors(frame, *CASES[0])
    check_baseline(design, pa.get_link("probit"))
    with pytest.raises(SpecificationError, match="logit link"):
        check_baseline(design, pa.get_link("logit"))
