"""The integrated posterior against PyMC's own density and against differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytest

from popavg.bridge_logit import BridgeLogit
from popavg.design import Design, family_of
from popavg.errors import ConvergenceError
from popavg.links import get_link
from popavg.models.build import build_model
from popavg.models.default_priors import resolve_priors
from popavg.posterior_tools.integrated_likelihood import log_likelihood, value_and_gradient
from popavg.priors import Prior
from popavg.workflows import integrated_posterior
from popavg.workflows.integrated_posterior import IntegratedPosterior, bent

MODELS = {
    "one": ("y ~ x + arm + (1 | g)", "logit"),
    "two": ("y ~ x + (1 + x | g)", "probit"),
    "apart": ("y ~ x + (1 | g) + (0 + x | g)", "cloglog"),
    "only": ("y ~ 1 + (1 | g)", "logit"),
    "none": ("y ~ 0 + x + (1 | g)", "logit"),
    "count": ("count ~ x + (1 | g)", "log"),
    "value": ("value ~ x + (1 + x | g)", "identity"),
    "trials": ("p(successes, trials) ~ x + (1 | g)", "logit"),
    "bridge": ("y ~ x + arm + (1 | g)", BridgeLogit()),
}


def build(name: str, frame: pd.DataFrame, **priors: object) -> IntegratedPosterior:
    formula, link = MODELS[name]
    chosen = get_link(link)
    family = family_of(formula, chosen)
    design = Design.build(formula, frame, family=family)
    complete = resolve_priors(design, family, chosen, priors)
    return IntegratedPosterior(design, chosen, family, complete)


def points_of(target: IntegratedPosterior, count: int) -> np.ndarray:
    return target.start() + 0.4 * np.random.default_rng(7).normal(size=(count, target.size))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("is_bent", [False, True])
def test_gradient(name: str, is_bent: bool, frame: pd.DataFrame) -> None:
    target = build(name, frame)
    if is_bent:
        target = target.bent_at(target.start())[0]
    points = points_of(target, 2)
    found = target.values_and_gradients(points)
    for k, (point, value, gradient) in enumerate(zip(points, *found, strict=True)):
        alone = target.values_and_gradients(points[k : k + 1])
        assert alone[0][0] == pytest.approx(value, rel=1e-13)
        np.testing.assert_allclose(alone[1][0], gradient, rtol=1e-12, atol=1e-14)
        assert value == pytest.approx(float(target.log_density(point[None])[0]), abs=1e-9)
        steps = 1e-5 * np.eye(target.size)
        differences = target.log_density(point + steps) - target.log_density(point - steps)
        np.testing.assert_allclose(gradient, differences / 2e-5, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["one", "two", "value", "bridge"])
def test_priors_are_the_latent_models(name: str, frame: pd.DataFrame) -> None:
    """Same log prior as PyMC's compiled density, Jacobians included, up to a constant."""
    formula, link = MODELS[name]
    target, chosen = build(name, frame), get_link(link)
    family = family_of(formula, chosen)
    design = Design.build(formula, frame, family=family)
    model = build_model(design, link=chosen, family=family)
    priors = [rv for rv in model.free_RVs if not rv.name.startswith("_z_")]
    density = model.compile_logp(vars=priors, jacobian=True)
    points = points_of(target, 6)
    found = target.parameters(points)
    theirs = []
    for i, point in enumerate(points):
        values = {key: np.zeros(value.shape) for key, value in model.initial_point().items()}
        for key in values:
            if key.startswith("_intercept"):
                values[key] = found.centred[i, 0]
            elif key.startswith("_slopes"):
                spread = np.abs(design.matrices.X - design.matrices.X.mean(0)).max(0)[1:]
                values[key] = found.centred[i, 1:] * spread
            elif key.startswith("sd_g"):
                values[key] = np.log(found.sd[i])
            elif key.startswith("_partial"):
                values[key] = 2 * np.atleast_1d(np.arctanh(found.correlation[i]))
            elif key.startswith("sigma"):
                values[key] = np.log(found.sigma[i])
        theirs.append(float(density(values)))
        assert np.isfinite(point).all()
    gap = target.log_prior(points) - np.array(theirs)
    np.testing.assert_allclose(gap, gap[0], atol=1e-9)
    assert np.ptp(theirs) > 0.5


def test_density_is_prior_plus_likelihood(frame: pd.DataFrame) -> None:
    target = build("one", frame)
    points = points_of(target, 3)
    eta, root, _ = target.arguments(points)
    beta = target.parameters(points).beta
    np.testing.assert_allclose(target.integrated.predictor(beta), eta, atol=1e-12)
    likelihood = log_likelihood(target.integrated.outcomes, eta, root).sum(axis=1)
    np.testing.assert_allclose(target.log_density(points), target.log_prior(points) + likelihood)


def test_scales_of_covariates_do_not_matter(frame: pd.DataFrame) -> None:
    points = points_of(build("one", frame), 3)
    plain = build("one", frame).log_density(points)
    for scaled in (frame.assign(x=frame["x"] * 1e8), frame.assign(x=frame["x"] + 1e8)):
        got = build("one", scaled).log_density(points)
        np.testing.assert_allclose(got - got[0], plain - plain[0], atol=1e-6)


def test_bend_is_a_change_of_variables() -> None:
    x = np.linspace(-6, 8, 200)
    g, first, second = bent(x)
    step = 1e-5
    np.testing.assert_allclose((bent(x + step)[0] - bent(x - step)[0]) / (2 * step), first)
    slope = (bent(x + step)[1] - bent(x - step)[1]) / (2 * step)
    np.testing.assert_allclose(slope, second, atol=1e-9)
    assert (first >= 1).all()
    np.testing.assert_allclose(g[-1], 8.0)


def test_bent_density_integrates_to_the_same(frame: pd.DataFrame) -> None:
    """The ratio of the two densities is the Jacobian d log sd/dx."""
    target = build("one", frame)
    other, moved = target.bent_at(target.start())
    moved = moved + np.array([[0, 0, 0, x] for x in (-3.0, 0.0, 2.0)])
    same = moved.copy()
    same[:, 3] = np.log(other.parameters(moved).sd[:, 0])
    gap = other.log_density(moved) - target.log_density(same)
    np.testing.assert_allclose(gap, np.log(bent(moved[:, 3])[1]), atol=1e-10)


def test_without_a_cluster(frame: pd.DataFrame) -> None:
    target = build("one", frame)
    points = points_of(target, 2)
    eta, root, _ = target.arguments(points)
    own = log_likelihood(target.integrated.outcomes, eta, root)[:, 4]
    gap = target.log_density(points) - target.without(4).log_density(points)
    np.testing.assert_allclose(gap, own, atol=1e-10)


def test_impossible_points(frame: pd.DataFrame) -> None:
    target = build("one", frame, sd_g=Prior("HalfNormal", sigma=1.0))
    points = np.repeat(target.start()[None], 4, axis=0)
    points[0, 3], points[1, 3], points[2, 0] = 2000.0, -2000.0, np.inf
    found = target.log_density(points)
    assert np.isneginf(found[:3]).all()
    assert np.isfinite(found[3])
    values, gradients = target.values_and_gradients(points)
    np.testing.assert_array_equal(np.isfinite(values), [False, False, False, True])
    assert not gradients[:3].any()
    assert gradients[3].all()
    assert values[3] == pytest.approx(found[3], abs=1e-9)
    assert np.isneginf(target.log_density(points, floor=1e3)).all()


def test_names_and_dataset(frame: pd.DataFrame) -> None:
    target = build("value", frame)
    assert target.names[-2:] == ("atanh corr_g", "log sigma")
    made = target.dataset(points_of(target, 6), (2, 3))
    assert made["beta"].dims == ("chain", "draw", "term")
    assert made["corr_g"].dims == ("chain", "draw", "effect_g", "effect_g_other")
    assert made["sigma"].dims == ("chain", "draw")
    assert list(made["effect_g"].to_numpy()) == ["Intercept", "x"]


def test_the_model_builds_in_pymc_with_the_same_coordinates(frame: pd.DataFrame) -> None:
    formula, link = MODELS["two"]
    chosen = get_link(link)
    family = family_of(formula, chosen)
    design = Design.build(formula, frame, family=family)
    model = build_model(design, link=chosen, family=family)
    made = build("two", frame).dataset(points_of(build("two", frame), 4), (2, 2))
    drawn = pm.sample_prior_predictive(2, model=model, random_seed=1)["prior"]
    for name in ("beta", "sd_g", "corr_g"):
        assert made[name].dims == drawn[name].dims
        for dim in made[name].dims[2:]:
            np.testing.assert_array_equal(made[dim], drawn[str(dim)])


def test_a_point_that_cannot_be_integrated_leaves_the_others(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = build("one", frame)
    points = points_of(target, 3)
    expected = target.values_and_gradients(points)
    refused = target.arguments(points)[1][1]

    def picky(outcomes: Any, eta: Any, root: Any, **options: Any) -> Any:
        if (root == refused).any():
            raise ConvergenceError("this one", "the others")
        return value_and_gradient(outcomes, eta, root, **options)

    monkeypatch.setattr(integrated_posterior, "value_and_gradient", picky)
    values, gradients = target.values_and_gradients(points)
    assert values[1] == -np.inf
    assert not gradients[1].any()
    for k in (0, 2):
        assert values[k] == expected[0][k]
        np.testing.assert_allclose(gradients[k], expected[1][k], rtol=1e-12, atol=1e-14)
