from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import nutpie
import pandas as pd
import pymc as pm
import pytest
import xarray as xr

import popavg as pa
from popavg.errors import DataError, FitWarning, FormulaError, SpecificationError
from popavg.posterior_tools.draws import read_specification

pytestmark = pytest.mark.slow

QUICK = {"draws": 150, "tune": 200, "chains": 2, "seed": 3, "progress": False}
CBPP = "p(incidence, size) ~ period + (1 | herd)"


def quick_fit(formula: str, data: pd.DataFrame, **options: object) -> xr.DataTree:
    """A short fit whose verdict isn't the question."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        return pa.fit(formula, data, **{**QUICK, **options})


@pytest.fixture(scope="module")
def cbpp_fit() -> xr.DataTree:
    return pa.fit(
        CBPP,
        pa.load_dataset("cbpp"),
        link="logit",
        method="latent",
        seed=1,
        cores=2,
        prior=True,
        posterior_predictive=True,
        log_likelihood=True,
        progress=False,
    )


def test_the_fit_holds_draws_design_and_specification(cbpp_fit: xr.DataTree) -> None:
    posterior = cbpp_fit["posterior"]
    assert posterior["beta"].dims == ("chain", "draw", "term")
    assert posterior["term"].to_numpy().tolist() == [
        "Intercept",
        "period[2]",
        "period[3]",
        "period[4]",
    ]
    assert posterior["sd_herd"].dims == ("chain", "draw", "effect_herd")
    assert posterior["u_herd"].dims == ("chain", "draw", "herd", "effect_herd")
    assert dict(posterior.sizes)["chain"] == 4
    assert not [name for name in posterior.variables if str(name).startswith("_")]
    assert {"constant_data", "observed_data", "training_data", "sample_stats"} <= set(
        cbpp_fit.children
    )
    specification = read_specification(cbpp_fit)
    assert specification.sampler["seed"] == 1
    assert specification.sampler["verdict"] == []
    prior = pa.Prior.from_dict(specification.priors["sd_herd"])
    assert str(prior) == "HalfStudentT(nu=3, sigma=2.5)"
    assert specification.sampler["added_by_user"] == []
    assert {"pymc", "nutpie", "popavg"} <= set(specification.versions)


def test_further_groups_come_on_request(cbpp_fit: xr.DataTree) -> None:
    for name in ("prior", "prior_predictive", "posterior_predictive", "log_likelihood"):
        assert name in cbpp_fit.children
    assert cbpp_fit["log_likelihood"]["y"].dims == ("chain", "draw", "obs")
    predictive = cbpp_fit["posterior_predictive"]["y"]
    trials = pa.load_dataset("cbpp")["size"].to_numpy()
    assert (predictive.to_numpy() <= trials).all()
    share = float(predictive.mean()) / trials.mean()
    observed = pa.load_dataset("cbpp")["incidence"].sum() / trials.sum()
    assert share == pytest.approx(observed, abs=0.03)


def test_the_log_likelihood_is_the_binomial_of_each_row(cbpp_fit: xr.DataTree) -> None:
    from scipy.special import expit
    from scipy.stats import binom

    posterior, data = cbpp_fit["posterior"], cbpp_fit["constant_data"]
    beta = posterior["beta"].isel(chain=1, draw=7).to_numpy()
    u = posterior["u_herd"].isel(chain=1, draw=7).to_numpy()[:, 0]
    eta = data["X"].to_numpy() @ beta + u[data["index_herd"].to_numpy()]
    y = cbpp_fit["observed_data"]["y"].to_numpy()
    expected = binom.logpmf(y, data["trials"].to_numpy(), expit(eta))
    found = cbpp_fit["log_likelihood"]["y"].isel(chain=1, draw=7).to_numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_arviz_takes_the_fit(cbpp_fit: xr.DataTree) -> None:
    summary = az.summary(cbpp_fit, var_names=["beta", "sd_herd"])
    assert len(summary) == 5
    assert az.rhat(cbpp_fit)["beta"].max() < 1.05
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # rows of one herd: Pareto k above 0.7
        assert az.loo(cbpp_fit).elpd < 0


@pytest.fixture(scope="module")
def integrated_fit() -> xr.DataTree:
    """By the method that suits the model, with all further groups."""
    return pa.fit(
        CBPP,
        pa.load_dataset("cbpp"),
        link="logit",
        method="auto",
        seed=1,
        prior=True,
        posterior_predictive=True,
        log_likelihood=True,
        progress=False,
    )


def test_auto_integrates_the_effects_out(integrated_fit: xr.DataTree) -> None:
    posterior = integrated_fit["posterior"].to_dataset()
    assert set(posterior.data_vars) == {"beta", "sd_herd"}
    assert posterior["beta"].dims == ("chain", "draw", "term")
    assert dict(posterior.sizes) == {"chain": 4, "draw": 1000, "term": 4, "effect_herd": 1}
    specification = read_specification(integrated_fit)
    told = specification.sampler
    assert told["method"] == "importance"
    assert "k̂" in told["why"]
    assert told["pareto_k"] < 0.7
    assert told["seed"] == 1
    assert told["verdict"] == []
    assert "pymc" not in specification.versions
    assert {"lp", "khat"} <= set(integrated_fit["sample_stats"].data_vars)


def test_its_predictive_draws_are_those_of_a_latent_fit(
    integrated_fit: xr.DataTree, cbpp_fit: xr.DataTree
) -> None:
    """Mean and variance of every row's replicates: the clusters' own effects are in them."""
    for name, tolerance in (("posterior_predictive", 0.15), ("prior_predictive", 0.22)):
        one, other = (fit[name]["y"] for fit in (integrated_fit, cbpp_fit))
        assert one.dims == other.dims
        assert one.dtype == other.dtype
        spread = other.std(("chain", "draw")).to_numpy()
        for moment in ("mean", "std"):
            a, b = (getattr(y, moment)(("chain", "draw")).to_numpy() for y in (one, other))
            assert np.max(np.abs(a - b) / spread) < tolerance
    prior = integrated_fit["prior"].to_dataset()
    assert set(prior.data_vars) == {"beta", "sd_herd"}
    assert prior["beta"].dims == ("chain", "draw", "term")


def test_its_log_likelihood_is_the_clusters(integrated_fit: xr.DataTree) -> None:
    from scipy.integrate import quad
    from scipy.special import expit
    from scipy.stats import binom, norm

    found = integrated_fit["log_likelihood"]["y"]
    data = integrated_fit["constant_data"]
    assert found.dims == ("chain", "draw", "herd")
    assert found["herd"].to_numpy().tolist() == [str(i) for i in range(1, 16)]
    draw = {"chain": 2, "draw": 11}
    beta = integrated_fit["posterior"]["beta"].isel(draw).to_numpy()
    sd = float(integrated_fit["posterior"]["sd_herd"].isel(draw)[0])
    eta, index = data["X"].to_numpy() @ beta, data["index_herd"].to_numpy()
    y, n = integrated_fit["observed_data"]["y"].to_numpy(), data["trials"].to_numpy()
    for cluster in (0, 7, 14):
        rows = index == cluster

        def density(u: float, rows: np.ndarray = rows) -> float:
            return norm.pdf(u, 0, sd) * binom.pmf(y[rows], n[rows], expit(eta[rows] + u)).prod()

        expected = np.log(quad(density, -9 * sd, 9 * sd, limit=200)[0])
        assert float(found.isel(draw)[cluster]) == pytest.approx(expected, rel=1e-6)


def test_arviz_leaves_out_clusters(integrated_fit: xr.DataTree) -> None:
    found = az.loo(integrated_fit, pointwise=True)
    assert found.elpd_i.dims == ("herd",)
    assert float(found.pareto_k.max()) < 0.7


def test_what_was_done_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    quick_fit(CBPP, pa.load_dataset("cbpp"), link="logit", method="auto", progress=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Priors")
    assert lines[-1].startswith("Method: importance (independent draws by importance sampling)")


@pytest.fixture(scope="module")
def short_fit() -> tuple[xr.DataTree, list[str]]:
    """A latent fit of few draws, one chain after the other, and what it warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = pa.fit(CBPP, pa.load_dataset("cbpp"), link="logit", method="latent", cores=1, **QUICK)
    assert {warning.category for warning in caught} == {FitWarning}
    return fit, [str(warning.message) for warning in caught]


def test_a_bad_fit_warns_in_words_and_keeps_the_words(
    short_fit: tuple[xr.DataTree, list[str]],
) -> None:
    fit, words = short_fit
    assert "effective draws" in " ".join(words)
    assert read_specification(fit).sampler["verdict"]


@pytest.mark.parametrize("method", ["importance", "latent"])
def test_the_same_seed_gives_the_same_draws_on_any_number_of_cores(
    method: str, short_fit: tuple[xr.DataTree, list[str]]
) -> None:
    one, data = short_fit[0], pa.load_dataset("cbpp")
    if method == "importance":
        one = quick_fit(CBPP, data, link="logit", cores=1, method=method)
    two = quick_fit(CBPP, data, link="logit", cores=2, method=method)
    xr.testing.assert_identical(
        one["posterior"].to_dataset().drop_attrs(), two["posterior"].to_dataset().drop_attrs()
    )


_NO_PYMC = """
import sys, popavg as pa
pa.fit({formula!r}, pa.load_dataset("cbpp"), link="logit", method="auto", seed=3,
       draws=400, chains=1, progress=False)
loaded = [name for name in ("pymc", "pytensor", "nutpie", "statsmodels") if name in sys.modules]
assert not loaded, loaded
"""


def test_importance_sampling_needs_no_pymc() -> None:
    command = [sys.executable, "-c", _NO_PYMC.format(formula=CBPP)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)


def test_ctrl_c_keeps_whole_draws(
    monkeypatch: pytest.MonkeyPatch, interrupt_when: Callable[..., None]
) -> None:
    """As soon as every chain has draws; they are of different length then."""
    original, drawing = nutpie.sample, threading.Event()

    def told(chains: list[Any]) -> None:
        if not any(chain.tuning for chain in chains) and all(chain.started for chain in chains):
            drawing.set()

    def sample(*arguments: Any, **options: Any) -> Any:
        return original(*arguments, progress_callback=told, progress_rate=50, **options)

    monkeypatch.setattr(nutpie, "sample", sample)
    interrupt_when(drawing.is_set)
    with pytest.warns(FitWarning) as caught:
        fit = pa.fit(
            "resp ~ age + (1 | id)", pa.load_dataset("ohio"), link="logit", method="latent",
            draws=1_000_000, tune=100, chains=2, seed=1, progress=False,
        )  # fmt: skip
    shape, sampler = fit["posterior"]["beta"].shape, read_specification(fit).sampler
    assert np.isfinite(fit["posterior"]["beta"].to_numpy()).all()
    assert shape[0] == 2
    assert 0 < shape[1] < 1_000_000
    assert sampler["interrupted"] is True
    assert sampler["draws"] == shape[1]
    assert any("Interrupted:" in str(warning.message) for warning in caught)


def test_a_model_with_additions_of_the_user_is_fitted() -> None:
    model = pa.models.glmm(CBPP, pa.load_dataset("cbpp"), link="logit")
    with model:
        pm.Deterministic("doubled", 2 * model["sd_herd"][0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        fit = pa.fit(model, **QUICK)
    assert read_specification(fit).sampler["added_by_user"] == ["doubled"]
    posterior = fit["posterior"]
    np.testing.assert_allclose(
        posterior["doubled"].to_numpy(), 2 * posterior["sd_herd"].to_numpy()[..., 0]
    )
    assert len(pa.population_coefficients(fit)) == 4


@pytest.fixture(scope="module")
def slopes_fit() -> xr.DataTree:
    rng = np.random.default_rng(5)
    school = np.repeat(np.arange(12), 20)
    pupil = np.tile(np.repeat(np.arange(5), 4), 12)
    x = rng.normal(size=240)
    eta = 0.4 * x + rng.normal(0, 0.7, 12)[school] + x * rng.normal(0, 0.5, 12)[school]
    y = rng.random(240) < 1 / (1 + np.exp(-eta))
    frame = pd.DataFrame({"done": y, "x": x, "school": school, "pupil": pupil})
    formula = "done ~ x + (1 + x | school) + (1 | school:pupil)"
    return quick_fit(
        formula, frame, link="logit", parametrization="centered", posterior_predictive=True
    )


def test_slopes_and_nested_factors_have_named_effects(slopes_fit: xr.DataTree) -> None:
    posterior = slopes_fit["posterior"]
    assert posterior["corr_school"].dims == (
        "chain",
        "draw",
        "effect_school",
        "effect_school_other",
    )
    assert posterior["effect_school"].to_numpy().tolist() == ["Intercept", "x"]
    assert posterior["sd_school:pupil"].sizes["effect_school:pupil"] == 1
    assert posterior["u_school:pupil"].sizes["school:pupil"] == 60
    diagonal = np.diagonal(posterior["corr_school"].to_numpy(), axis1=-2, axis2=-1)
    np.testing.assert_allclose(diagonal, 1.0, rtol=1e-12)
    assert read_specification(slopes_fit).event == "True"


def test_slopes_go_through_saving_and_prediction(slopes_fit: xr.DataTree, tmp_path: Path) -> None:
    for name in ("fit.nc", "fit.zarr"):
        loaded = pa.load(pa.save(slopes_fit, tmp_path / name))
        before = pa.predictions(slopes_fit, over={"x": [-1.0, 0.0, 1.0]}, target="sampled")
        after = pa.predictions(loaded, over={"x": [-1.0, 0.0, 1.0]}, target="sampled")
        np.testing.assert_array_equal(before.draws.to_numpy(), after.draws.to_numpy())
    assert pa.compare_gee(slopes_fit, groups="school").terms == ["Intercept", "x"]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((CBPP, "cbpp"), {}, SpecificationError, "no link was given"),
        ((CBPP, "cbpp"), {"link": "logti"}, SpecificationError, "Did you mean 'logit'"),
        (("resp ~ age", "ohio"), {"link": "logit"}, FormulaError, "no grouping term"),
        ((CBPP, None), {"link": "logit"}, SpecificationError, "no data were given"),
        ((CBPP, "cbpp"), {"link": "logit", "draws": 0}, SpecificationError, "draws=0"),
        ((CBPP, "cbpp"), {"link": "logit", "keep": ["when"]}, DataError, "'when' is not in the"),
        ((CBPP, "cbpp"), {"link": "logit", "method": "mcmc"}, SpecificationError, "'mcmc' is unkn"),
        ((CBPP, "cbpp"), {"link": "logit", "seed": -1}, SpecificationError, "seed=-1"),
        ((CBPP, "cbpp"), {"link": "logit", "target_accept": 1.0}, SpecificationError, "target_acc"),
    ],
)
def test_bad_input_is_told(
    arguments: tuple[str, str | None], options: dict, error: type[Exception], message: str
) -> None:
    formula, name = arguments
    data = None if name is None else pa.load_dataset(name)
    with pytest.raises(error, match=message):
        pa.fit(formula, data, progress=False, **options)


def test_a_model_comes_alone_and_from_a_builder() -> None:
    model = pa.models.glmm(CBPP, pa.load_dataset("cbpp"), link="logit")
    with pytest.raises(SpecificationError, match="link given together with a model"):
        pa.fit(model, link="logit", progress=False)
    with pm.Model() as foreign:
        pm.Normal("x")
    with pytest.raises(SpecificationError, match=r"popavg\.models"):
        pa.fit(foreign, progress=False)


def test_priors_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    data, own = pa.load_dataset("cbpp"), {"sd_herd": pa.Prior("Exponential", lam=1)}
    quick_fit(CBPP, data, link="logit", priors=own, progress=True)
    printed = capsys.readouterr().out
    assert "sd_herd" in printed
    assert "Exponential(lam=1)" in printed
    assert "period[2]" in printed


def test_random_slopes_far_from_zero_are_warned_of_before_drawing(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[object] = []
    monkeypatch.setattr("popavg.workflows.fitting.run", lambda *given: drawn.append(given))
    far = frame.assign(year=frame["x"] + 2000.0)
    with pytest.warns(
        FitWarning, match=r"at year = 0, far from the data.*center\(year\)"
    ) as caught:
        pa.fit("y ~ year + (1 + year | g)", far, link="logit", progress=False)
    assert len(caught) == len(drawn) == 1
    assert caught[0].filename == __file__
    for formula in ("y ~ year + (1 | g)", "y ~ year + (1 + center(year) | g)"):
        pa.fit(formula, far, link="logit", progress=False)
    assert len(drawn) == 3


def test_nothing_is_printed_or_made_before_a_refusal(
    frame: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = pa.models.glmm("y ~ x + (1 | g)", frame, link="logit")
    with pytest.raises(SpecificationError, match="parametrization given together with a model"):
        pa.fit(model, parametrization="centered")
    crossed = "y ~ x + (1 | g) + (1 | r)"
    with pytest.raises(SpecificationError, match="2 grouping factors"):
        pa.fit(crossed, frame, link="logit", method="importance", store=tmp_path / "run.zarr")
    with pytest.raises(SpecificationError, match="method='none'"):
        pa.fit("y ~ x + (1 | g)", frame, link="logit", method="none")  # ty: ignore
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().out == ""
