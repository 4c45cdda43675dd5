"""The builder of bridge models: its density against loops, its fit, what it refuses."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from arviz_stats.base import array_stats
from numpy.testing import assert_allclose
from pytensor.compile.mode import Mode
from scipy import special, stats

import popavg as pa
from popavg.bridge import BridgeDistribution, attenuation_of_sd
from popavg.bridge_logit import BridgeLogit
from popavg.design import Design, family_of
from popavg.errors import FitWarning, FormulaError, SpecificationError
from popavg.models.baseline import Baseline, baseline_support
from popavg.models.bridge_glmm import bridge_logit_glmm
from popavg.models.glmm import glmm, logit_glmm
from popavg.models.record import model_record
from popavg.posterior_tools.cluster_log_likelihood import cluster_log_likelihood
from popavg.posterior_tools.draws import Posterior
from popavg.workflows.methods import METHODS

PYTHON = Mode(linker="py", optimizer="merge")
FORMULA = "y ~ arm + x + (1 | g)"
LINK = BridgeLogit()


def at_a_point(model: pm.Model) -> tuple[float, dict[str, Any]]:
    """Log density at a random point, on the variables' own scales, and all variables there."""
    rng = np.random.default_rng(2)
    point = {name: rng.normal(size=np.shape(v)) for name, v in model.initial_point(0).items()}
    named = [*model.free_RVs, *model.deterministics]
    outputs = [model.logp(jacobian=False), *model.replace_rvs_by_values(named)]
    logp, *values = model.compile_fn(outputs, inputs=model.value_vars, mode=PYTHON)(point)
    return float(logp), dict(zip([v.name for v in named], values, strict=True))


@pytest.mark.parametrize("response", ["y", "p(successes, trials)"])
@pytest.mark.parametrize("parametrization", ["noncentered", "centered"])
def test_density_by_loops(frame: pd.DataFrame, parametrization: Any, response: str) -> None:
    formula = FORMULA.replace("y ~", f"{response} ~")
    model = bridge_logit_glmm(formula, frame, parametrization=parametrization)
    logp, values = at_a_point(model)
    sd = float(values["sd_g"][0])
    known = BridgeDistribution(sd=sd)
    assert_allclose(values["phi_g"], [attenuation_of_sd(sd)], rtol=1e-12)
    levels = sorted(frame["g"].unique(), key=list(model.coords["g"]).index)
    total, u = 0.0, values["u_g"][:, 0]
    if parametrization == "centered":
        total += known.log_density(u).sum()
    else:
        z = values["_z_g"][:, 0]
        total += stats.norm.logpdf(z).sum()
        assert_allclose(u, known.from_normal(z), rtol=1e-9)
    beta, row = values["beta"], np.zeros(len(frame))
    for i in range(len(frame)):
        x = [1.0, frame["arm"][i] == "placebo", frame["x"][i]]
        eta = float(np.dot(x, beta)) + u[levels.index(frame["g"][i])]
        n = 1 if response == "y" else frame["trials"][i]
        k = frame["y"][i] if response == "y" else frame["successes"][i]
        row[i] = np.log(special.comb(n, k)) + k * special.log_expit(eta)
        row[i] += (n - k) * special.log_expit(-eta)
    priors = model_record(model).priors
    means = [1.0, (frame["arm"] == "placebo").mean(), frame["x"].mean()]
    total += priors["Intercept"].log_density(np.dot(means, beta))
    total += sum(priors[t].log_density(beta[k]) for t, k in (("arm[placebo]", 1), ("x", 2)))
    total += priors["sd_g"].log_density(sd)
    assert_allclose(logp, total + row.sum(), rtol=1e-10)


def test_names_dims_and_priors_are_those_of_normal_effects(frame: pd.DataFrame) -> None:
    bridge, normal = bridge_logit_glmm(FORMULA, frame), logit_glmm(FORMULA, frame)
    assert set(bridge.named_vars) - set(normal.named_vars) == {"phi_g"}
    assert set(normal.named_vars) <= set(bridge.named_vars)
    assert bridge.named_vars_to_dims["phi_g"] == ("effect_g",)
    for name in ("beta", "sd_g", "u_g", "y"):
        assert bridge.named_vars_to_dims[name] == normal.named_vars_to_dims[name]
    assert model_record(bridge).priors == model_record(normal).priors
    assert model_record(bridge).link.mixing.name == "bridge"
    own = bridge_logit_glmm(FORMULA, frame, priors={"sd_g": "P(sd > 3) = 0.05"})
    assert str(model_record(own).priors["sd_g"]) == "Exponential(lam=0.9986)"


def test_prior_draws(frame: pd.DataFrame) -> None:
    """Effects divided by nothing: their percentiles are uniform whatever the sd."""
    with bridge_logit_glmm(FORMULA, frame, priors={"sd_g": "HalfNormal(2)"}):
        drawn = pm.sample_prior_predictive(400, random_seed=1)
    prior = drawn["prior"]
    sd, u = prior["sd_g"].to_numpy()[0], prior["u_g"].to_numpy()[0, :, :, 0]
    shares = BridgeDistribution(sd=sd).cdf(u)
    assert stats.kstest(shares[:, 0], "uniform").pvalue > 0.01
    assert stats.kstest(shares.ravel(), "uniform").pvalue > 0.01
    assert drawn["prior_predictive"]["y"].dims == ("chain", "draw", "obs")


def test_a_prior_on_the_baseline(frame: pd.DataFrame) -> None:
    """The population mean at the average row has its prior, whatever the standard deviation."""
    model = bridge_logit_glmm(FORMULA, frame, priors={"baseline": "Beta(2, 8)"})
    baseline, beta, sd = pm.draw(
        [model["_baseline"], model["beta"], model["sd_g"]], 300, random_seed=3
    )
    row = np.array([1.0, 0.0 if frame["arm"].mode()[0] == "active" else 1.0, frame["x"].mean()])
    mean = special.expit(attenuation_of_sd(sd[:, 0]) * (beta @ row))
    assert_allclose(mean, baseline, rtol=1e-6)
    with pytest.raises(SpecificationError, match="no closed form"):
        logit_glmm(FORMULA, frame, priors={"baseline": "Beta(2, 8)"})


@pytest.mark.parametrize(
    ("formula", "options", "words"),
    [
        ("y ~ x + (1 + x | g)", {}, "one random intercept.*popavg.models.logit_glmm"),
        ("y ~ x + (1 | g) + (1 | r)", {}, "one random intercept"),
        ("y ~ x + (1 | h/g)", {}, "one random intercept"),
        (
            FORMULA,
            {"likelihood": "integrated", "parametrization": "centered"},
            "no random effects are sampled",
        ),
        (FORMULA, {"priors": {"phi_g": "Beta(2, 2)"}}, "names no parameter.*'sd_g'"),
    ],
)
def test_refusals(frame: pd.DataFrame, formula: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecificationError, match=words):
        bridge_logit_glmm(formula, frame, **options)


def test_other_formulas(frame: pd.DataFrame) -> None:
    with pytest.raises(FormulaError):
        bridge_logit_glmm("y ~ x", frame)


def test_the_baseline_in_arithmetic(frame: pd.DataFrame) -> None:
    """Both ways, the density's derivatives, and its prior through the engine of predictions."""
    design = Design.build(FORMULA, frame, family=family_of(FORMULA, LINK))
    found = Baseline.build(design, LINK, pa.Prior("Beta", 2, 8))
    eta, v, h = np.array([-3.0, 0.2, 1.5]), np.array([0.1, 1.0, 9.0]), 1e-6
    assert_allclose(found.predictor(found.mean(eta, v), v), eta, rtol=1e-12)
    rate = (found.mean(eta + h, v) - found.mean(eta - h, v)) / (2 * h)
    expected = found.prior.log_density(found.mean(eta, v)) + np.log(rate)
    assert_allclose(found.log_density(eta, v), expected, rtol=1e-7)
    in_eta, in_v = found.log_density_gradient(eta, v)
    rise = found.log_density(eta + h, v) - found.log_density(eta - h, v)
    assert_allclose(in_eta, rise / (2 * h), rtol=1e-5)
    rise = found.log_density(eta, v + h) - found.log_density(eta, v - h)
    assert_allclose(in_v, rise / (2 * h), rtol=1e-5, atol=1e-8)
    assert baseline_support(LINK) == "probability"
    checked = pa.prior_check(FORMULA, frame, link=LINK, priors={"baseline": "Beta(2, 8)"})
    assert stats.kstest(checked.values, stats.beta(2, 8).cdf).pvalue > 0.01


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    """60 clusters of five outcomes whose intercepts have the bridge distribution, sd 2."""
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(60), 5)
    x = rng.normal(size=300).round(2)
    u = BridgeDistribution(sd=2.0).draw(60, seed=rng)
    y = (rng.random(300) < special.expit(-0.5 + x + u[g])).astype(int)
    return pd.DataFrame({"y": y, "x": x, "g": g})


def fitted(data: pd.DataFrame, method: Any) -> xr.DataTree:
    likelihood = "latent" if method == "latent" else "integrated"
    model = bridge_logit_glmm("y ~ x + (1 | g)", data, likelihood=likelihood)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        return pa.fit(
            model, method=method, seed=3, draws=1500, tune=500, chains=2, progress=False,
            log_likelihood=method == "latent",
        )  # fmt: skip


@pytest.fixture(scope="module")
def fit(data: pd.DataFrame) -> xr.DataTree:
    return fitted(data, "latent")


def test_the_fit_is_of_a_bridge_model(fit: xr.DataTree, tmp_path: Path) -> None:
    posterior = fit["posterior"]
    assert posterior["phi_g"].dims == ("chain", "draw", "effect_g")
    assert_allclose(posterior["phi_g"], attenuation_of_sd(posterior["sd_g"]), rtol=1e-10)
    assert posterior["u_g"].dims == ("chain", "draw", "g", "effect_g")
    assert not [name for name in posterior.data_vars if str(name).startswith("_")]
    specification = Posterior.from_fit(fit).specification
    assert specification.mixing == "bridge"
    assert specification.sampler["method"] == "latent"
    assert 0.8 < float(posterior["sd_g"].mean()) < 4.0
    loaded = pa.load(pa.save(fit, tmp_path / "fit.nc"))
    exact = pa.population_coefficients(loaded, "exact")
    product = posterior["phi_g"].to_numpy() * posterior["beta"].to_numpy()
    assert_allclose(exact.draws, product, rtol=1e-9, atol=1e-12)


def test_the_comparison_says_that_both_models_are_exact(fit: xr.DataTree) -> None:
    comparison = pa.compare_gee(fit, method="exact")
    text = " ".join(str(comparison).split())
    assert "both models are exactly true at once: β̃ = φβ" in text
    assert "Here that holds." in text
    assert "(bridge distribution, φ = 0." in text
    assert comparison.misfit["largest"] < 1e-12


def test_by_importance(data: pd.DataFrame) -> None:
    """From the formula or from the model, with the names of the latent fit; and what it is for."""
    options: dict[str, Any] = {"seed": 1, "draws": 500, "chains": 2, "progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        fit = pa.fit("y ~ x + (1 | g)", data, link=LINK, log_likelihood=True, **options)
        model = bridge_logit_glmm("y ~ x + (1 | g)", data, likelihood="integrated")
        other = pa.fit(model, method="importance", **options)
    assert Posterior.from_fit(fit).specification.sampler["method"] == "importance"
    posterior = fit["posterior"]
    assert set(posterior.data_vars) == {"beta", "sd_g", "phi_g"}
    assert posterior["phi_g"].dims == ("chain", "draw", "effect_g")
    assert_allclose(posterior["phi_g"], attenuation_of_sd(posterior["sd_g"]), rtol=1e-12)
    xr.testing.assert_equal(other["posterior"].to_dataset(), posterior.to_dataset())
    values = cluster_log_likelihood(fit, progress=False)
    assert_allclose(fit["log_likelihood"]["y"], values, atol=1e-9)
    loo = pa.loo_clusters(fit, progress=False)
    assert (loo.pareto_k < loo.good_k).all()
    assert "likelihood of sd_g: maximum at" in str(pa.check(fit, progress=False))


@pytest.fixture(scope="module")
def posteriors(data: pd.DataFrame, fit: xr.DataTree) -> dict[str, xr.Dataset]:
    """The same model drawn from in three ways, with the clusters' effects."""
    found = {"latent": fit["posterior"].to_dataset()}
    for method in sorted({*METHODS} - {"auto", "latent"}):
        drawn = pa.add_cluster_effects(fitted(data, method), seed=1, progress=False)
        found[method] = drawn["posterior"].to_dataset()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("method", ["importance", "nuts"])
def test_all_methods_have_the_same_posterior(
    posteriors: dict[str, xr.Dataset], method: str
) -> None:
    """Means of parameters, effects and their squares, in Monte-Carlo standard errors."""
    one, other = posteriors[method], posteriors["latent"]
    assert set(one.data_vars) == set(other.data_vars)
    distances = []
    for name in other.data_vars:
        assert one[name].dims == other[name].dims
        for power in (1, 2):
            values = [(p[name] ** power).to_numpy() for p in (one, other)]
            errors = [array_stats.mcse(v, chain_axis=0, draw_axis=1) for v in values]
            gap = values[0].mean(axis=(0, 1)) - values[1].mean(axis=(0, 1))
            distances.append(np.ravel(gap / np.hypot(*errors)))
    z = np.concatenate(distances)
    assert np.abs(z).max() < 4.5
    assert 0.5 < z.std() < 1.5


def test_the_integrated_density_by_loops(frame: pd.DataFrame) -> None:
    """Each cluster's integral by a sum with the bridge density."""
    model = bridge_logit_glmm(FORMULA, frame, likelihood="integrated")
    latent = bridge_logit_glmm(FORMULA, frame)
    assert set(latent.named_vars) - set(model.named_vars) == {"u_g", "_z_g"}
    assert model.named_vars_to_dims["phi_g"] == ("effect_g",)
    _, values = at_a_point(model)
    rng = np.random.default_rng(2)
    point = {name: rng.normal(size=np.shape(v)) for name, v in model.initial_point(0).items()}
    likelihood = model.logp(vars=model.observed_RVs)
    found = model.compile_fn(
        [likelihood], inputs=model.value_vars, mode=PYTHON, on_unused_input="ignore"
    )(point)[0]
    known = BridgeDistribution(sd=float(values["sd_g"][0]))
    assert_allclose(values["phi_g"], [known.phi], rtol=1e-12)
    t, width = np.linspace(-12.0, 12.0, 12_001), 0.3 * float(known.complement)
    u, total = width * np.sinh(t), 0.0
    for _, rows in frame.groupby("g"):
        density = known.density(u) * width * np.cosh(t) * (t[1] - t[0])
        for y, arm, x in zip(rows["y"], rows["arm"], rows["x"], strict=True):
            p = special.expit(values["beta"] @ [1.0, arm == "placebo", x] + u)
            density = density * (p if y else 1 - p)
        total += np.log(density.sum())
    assert_allclose(found, total, rtol=1e-8)


def test_predictive_draws_of_an_integrated_model(frame: pd.DataFrame) -> None:
    """Of new clusters: every row's mean is logistic, rows of a cluster go together."""
    close = {"Intercept": "Normal(0.5, 0.0001)", "x": "Normal(0, 0.0001)"}
    close |= {"sd_g": "LogNormal(1.0986, 0.0001)"}
    model = bridge_logit_glmm("y ~ x + (1 | g)", frame, priors=close, likelihood="integrated")
    y = pm.draw(model["y"], draws=1000, random_seed=1, mode=PYTHON)
    known = BridgeDistribution(sd=3.0)
    assert_allclose(y.mean(), special.expit(0.5 * known.phi), atol=0.02)
    u = known.from_normal(stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000))
    both = np.mean(special.expit(0.5 + u) ** 2)
    assert_allclose(np.mean(y[:, 0] * y[:, 1]), both, atol=0.05)
    apart = special.expit(0.5 * known.phi) ** 2
    assert_allclose(np.mean(y[:, 0] * y[:, 7]), apart, atol=0.05)
    assert both - apart > 0.11


def test_the_signature_is_that_of_glmm() -> None:
    own, general = (inspect.signature(f).parameters for f in (bridge_logit_glmm, glmm))
    assert list(own) == [name for name in general if name not in ("link", "family")]
    assert all(own[name].default == general[name].default for name in own)
