"""Draws of the priors without PyMC are those of the PyMC model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pymc as pm
import pytest

import popavg as pa
from popavg.bridge_logit import BridgeLogit
from popavg.design import Design, family_of
from popavg.models.default_priors import resolve_priors
from popavg.models.prior_draws import correlation_draws, prior_draws

FORMULA = "value ~ arm + x + (1 + x | g) + (1 | r) + (0 + w | r)"


def built(formula: str, frame: pd.DataFrame, link: str, user: dict[str, str]) -> tuple:
    chosen = pa.get_link(link)
    family = family_of(formula, chosen)
    design = Design.build(formula, frame, family=family)
    return design, resolve_priors(design, family, chosen, user)


def test_names_and_dims_are_those_of_a_fit(frame: pd.DataFrame) -> None:
    design, priors = built(FORMULA, frame, "identity", {})
    found = prior_draws(design, pa.get_link("identity"), priors, draws=20, seed=3)
    assert {str(name): found[name].dims[2:] for name in found.data_vars} == {
        "beta": ("term",),
        "sd_g": ("effect_g",),
        "corr_g": ("effect_g", "effect_g_other"),
        "sd_r": ("effect_r",),
        "corr_r": ("effect_r", "effect_r_other"),
        "sigma": (),
    }
    assert found.sizes["chain"] == 1
    assert found.sizes["draw"] == 20
    assert found["term"].to_numpy().tolist() == list(design.matrices.terms)
    np.testing.assert_array_equal(found["corr_r"][0, 0], np.eye(2))
    xr_again = prior_draws(design, pa.get_link("identity"), priors, draws=20, seed=3)
    assert found.equals(xr_again)


def test_the_attenuation_of_a_bridge_model(frame: pd.DataFrame) -> None:
    design, priors = built("y ~ x + (1 | g)", frame, "logit", {})
    found = prior_draws(design, BridgeLogit(), priors, draws=20, seed=3)
    assert found["phi_g"].dims == ("chain", "draw", "effect_g")
    np.testing.assert_allclose(found["phi_g"], (1 + 3 * found["sd_g"] ** 2 / np.pi**2) ** -0.5)


def test_distributions_are_pymcs(frame: pd.DataFrame) -> None:
    user = {"Intercept": "Normal(2, 1)", "beta": "Normal(0, 1)", "corr_g": "LKJ(3)"}
    user |= {"sd_g": "P(sd > 3) = 0.05"}
    formula = "y ~ arm + x + (1 + x | g)"
    design, priors = built(formula, frame, "logit", user)
    found = prior_draws(design, pa.get_link("logit"), priors, draws=4000, seed=1)
    with pa.models.glmm(formula, frame, link="logit", priors=user):
        names = ["beta", "sd_g", "corr_g"]
        other = pm.sample_prior_predictive(4000, random_seed=2, var_names=names)["prior"]
    for name in names:
        ours = found[name].to_numpy()[0].reshape(4000, -1)
        theirs = other[name].to_numpy()[0].reshape(4000, -1)
        for a, b in zip(ours.T, theirs.T, strict=True):
            gap = np.abs(np.quantile(a, [0.1, 0.5, 0.9]) - np.quantile(b, [0.1, 0.5, 0.9]))
            assert (gap <= 0.08 * max(np.ptp(np.quantile(b, [0.1, 0.9])), 1e-9)).all(), name


def test_the_intercept_is_at_the_means(frame: pd.DataFrame) -> None:
    design, priors = built("y ~ arm + x + (1 | g)", frame.assign(x=frame["x"] + 50), "logit", {})
    beta = prior_draws(design, pa.get_link("logit"), priors, draws=500, seed=1)["beta"].to_numpy()[
        0
    ]
    at_means = beta @ design.matrices.X.mean(axis=0)
    np.testing.assert_allclose(
        at_means, priors["Intercept"].draw(500, seed=np.random.default_rng(1)), atol=1e-10
    )


def test_standard_deviations_can_be_limited(frame: pd.DataFrame) -> None:
    design, priors = built("y ~ 1 + (1 | g)", frame, "logit", {"sd_g": "HalfCauchy(20)"})
    found = prior_draws(
        design, pa.get_link("logit"), priors, draws=500, seed=1, largest={"sd_g": 100.0}
    )
    assert float(found["sd_g"].max()) == 100.0
    assert float((found["sd_g"] == 100.0).mean()) == pytest.approx(0.126, abs=0.05)


@pytest.mark.parametrize(("size", "eta"), [(2, 0.7), (3, 1.0), (4, 2.0)])
def test_correlations_have_the_lkj_margins(size: int, eta: float) -> None:
    found = correlation_draws(size, eta, 6000, np.random.default_rng(8))
    assert np.linalg.eigvalsh(found).min() > 0
    np.testing.assert_allclose(found, found.mT)
    shape = eta + size / 2 - 1
    expected = 1 / (2 * shape + 1)  # variance of 2 Beta(a, a) − 1
    for i, j in zip(*np.tril_indices(size, -1), strict=True):
        assert found[:, i, j].var() == pytest.approx(expected, rel=0.08)
        assert found[:, i, j].mean() == pytest.approx(0.0, abs=0.04)
