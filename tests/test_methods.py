"""The choice of a method, and that all of them draw from the same posterior."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from arviz_stats.base import array_stats

import popavg as pa
from popavg.errors import ConvergenceError, FitWarning, SpecificationError
from popavg.models.glmm import glmm
from popavg.posterior_tools.draws import read_specification
from popavg.workflows import importance, methods
from popavg.workflows.methods import METHODS, Drawn, draw, why_not_integrated
from popavg.workflows.problem import problem_of_formula, problem_of_model
from popavg.workflows.sampling import Sampler

QUIET = Sampler(draws=4, chains=2, progress=False)
INTERCEPT = "y ~ x + (1 | g)"


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Nothing is drawn: what would have been is noted."""
    noted: dict[str, Any] = {"accepted": True}

    def sample(model: Any, sampler: Sampler, seed: int, *, few: bool = False) -> Any:
        noted["sampled"] = {variable.name for variable in model.unobserved_RVs}
        noted["few"] = few
        tree = xr.DataTree.from_dict({"posterior": xr.Dataset(), "sample_stats": xr.Dataset()})
        return tree, (sampler.draws,) * sampler.chains

    def importance_sample(*_: Any, **options: Any) -> Any:
        noted["importance"] = options
        told = "k̂ is good." if noted["accepted"] else "k̂ = 0.90, above 0.70"
        empty = xr.Dataset()
        return SimpleNamespace(
            posterior=empty, sample_stats=empty, khat=0.9, accepted=noted["accepted"], why=told
        )

    monkeypatch.setattr(methods, "sample", sample)
    monkeypatch.setattr(importance, "importance_sample", importance_sample)
    return noted


def drawn_from(formula: str, frame: pd.DataFrame, method: Any, **options: Any) -> Drawn:
    problem = problem_of_formula(
        formula, frame, "logit", priors=None, missing="error", keep=(),
        **{"parametrization": "noncentered", **options},
    )  # fmt: skip
    return draw(problem, QUIET, 7, method=method)


def test_one_factor_is_drawn_by_importance(called: dict[str, Any], frame: pd.DataFrame) -> None:
    drawn = drawn_from(INTERCEPT, frame, "auto")
    assert drawn.method == "importance"
    assert called["importance"] == {"draws": 4, "chains": 2, "seed": 7, "progress": False}
    assert str(drawn) == (
        "Method: importance (independent draws by importance sampling), whose check accepts them: "
        "k̂ is good."
    )
    assert "sampled" not in called


def test_a_refusal_goes_on_to_nuts(called: dict[str, Any], frame: pd.DataFrame) -> None:
    called["accepted"] = False
    drawn = drawn_from("y ~ x + (1 + x | g)", frame, "auto")
    assert drawn.method == "nuts"
    assert drawn.why == "because importance sampling was refused: k̂ = 0.90, above 0.70"
    assert "u_g" not in called["sampled"]
    assert called["few"]
    with pytest.raises(ConvergenceError, match=r"refused: k̂ = 0\.90.*method='nuts'"):
        drawn_from(INTERCEPT, frame, "importance")


@pytest.mark.parametrize("method", ["auto", "importance", "nuts"])
def test_a_parametrization_that_means_nothing_is_refused(
    method: str, called: dict[str, Any], frame: pd.DataFrame
) -> None:
    with pytest.raises(SpecificationError, match=r"parametrization='centered' with method='"):
        drawn_from(INTERCEPT, frame, method, parametrization="centered")
    assert set(called) == {"accepted"}
    assert drawn_from(INTERCEPT, frame, "latent", parametrization="centered").method == "latent"
    crossed = "y ~ x + (1 | g) + (1 | r)"
    assert drawn_from(crossed, frame, "auto", parametrization="centered").method == "latent"


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        ("y ~ x + (1 | g) + (1 | r)", "2 grouping factors ('g', 'r')"),
        ("y ~ x + (1 + x + visit | g)", "'g' has 3 random effects"),
    ],
)
def test_other_models_are_latent(
    called: dict[str, Any], frame: pd.DataFrame, formula: str, reason: str
) -> None:
    drawn = drawn_from(formula, frame, "auto")
    assert drawn.method == "latent"
    assert reason in drawn.why
    assert "u_g" in called["sampled"]
    assert not called["few"]
    for method in ("importance", "nuts"):
        with pytest.raises(SpecificationError, match=r"method=.latent"):
            drawn_from(formula, frame, method)


def test_a_prior_on_the_baseline_is_left_to_nuts(
    called: dict[str, Any], frame: pd.DataFrame
) -> None:
    problem = problem_of_formula(
        INTERCEPT, frame, "probit", priors={"baseline": pa.Prior("Beta", 2, 8)}, missing="error",
        keep=(), parametrization="noncentered",
    )  # fmt: skip
    drawn = draw(problem, QUIET, 7, method="auto")
    assert (drawn.method, "baseline" in drawn.why) == ("nuts", True)
    assert "_baseline" in called["sampled"]
    with pytest.raises(SpecificationError, match=r"baseline.*'Intercept'"):
        draw(problem, QUIET, 7, method="importance")


def test_what_is_asked_for_is_done(called: dict[str, Any], frame: pd.DataFrame) -> None:
    for method in METHODS[1:]:
        drawn = drawn_from(INTERCEPT, frame, method)
        told = ": k̂ is good" if method == "importance" else ""
        assert (drawn.method, drawn.why) == (method, "as asked for" + told)
    assert drawn.facts["parametrization"] == "noncentered"
    with pytest.raises(SpecificationError, match=r"method='nut' is unknown.*'nuts'"):
        drawn_from(INTERCEPT, frame, "nut")


def test_a_model_is_drawn_from_as_it_was_built(called: dict[str, Any], frame: pd.DataFrame) -> None:
    for likelihood, method in (("integrated", "nuts"), ("latent", "latent")):
        problem = problem_of_model(glmm(INTERCEPT, frame, link="logit", likelihood=likelihood))
        assert draw(problem, QUIET, 1, method="auto").method == method
        other = "latent" if method == "nuts" else "nuts"
        with pytest.raises(SpecificationError, match=f"likelihood='{likelihood}'.*'{method}'"):
            draw(problem, QUIET, 1, method=other)
    with pytest.raises(SpecificationError, match="Build the model with likelihood='integrated'"):
        draw(problem, QUIET, 1, method="importance")


def test_an_integrated_model_is_drawn_from_by_importance_too(
    called: dict[str, Any], frame: pd.DataFrame
) -> None:
    """Where it is as the builder made it, and has no prior on the baseline."""
    model = glmm(INTERCEPT, frame, link="logit", likelihood="integrated")
    drawn = draw(problem_of_model(model), QUIET, 7, method="importance")
    assert (drawn.method, drawn.why) == ("importance", "as asked for: k̂ is good")
    assert called["importance"]["seed"] == 7
    with model:
        pm.Potential("close", -(model["sd_g"][0] ** 2))
    with pytest.raises(SpecificationError, match=r"added to \(close\).*method='nuts'"):
        draw(problem_of_model(model), QUIET, 7, method="importance")
    baseline = {"baseline": pa.Prior("Beta", 2, 8)}
    model = glmm(INTERCEPT, frame, link="probit", priors=baseline, likelihood="integrated")
    with pytest.raises(SpecificationError, match=r"baseline.*'Intercept'"):
        draw(problem_of_model(model), QUIET, 7, method="importance")


def test_why_a_model_isnt_integrated(frame: pd.DataFrame) -> None:
    crossed = problem_of_model(glmm("y ~ (1 | g) + (1 | r)", frame, link="logit"))
    assert "2 grouping factors" in str(why_not_integrated(crossed))
    assert why_not_integrated(problem_of_model(glmm(INTERCEPT, frame, link="logit"))) is None


CBPP = "p(incidence, size) ~ period + (1 | herd)"


@pytest.fixture(scope="module")
def posteriors() -> dict[str, xr.Dataset]:
    """The same model by the three methods; the posterior of the standard deviation is skewed."""
    data, found = pa.load_dataset("cbpp"), {}
    for method in METHODS[1:]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FitWarning)
            fit = pa.fit(
                CBPP, data, link="logit", method=method, draws=1500, tune=700, seed=4,
                progress=False, target_accept=0.9,
            )  # fmt: skip
        assert read_specification(fit).sampler["method"] == method
        found[method] = fit["posterior"].to_dataset()
    return found


def columns(posterior: xr.Dataset) -> dict[str, Any]:
    """Parameters, and their squares: means of these tell spreads apart."""
    beta, sd = posterior["beta"].to_numpy(), posterior["sd_herd"].to_numpy()[..., 0]
    plain = {f"beta {k}": beta[..., k] for k in range(beta.shape[2])} | {"sd": np.log(sd)}
    return plain | {f"{name} squared": values**2 for name, values in plain.items()}


def largest_distance(one: xr.Dataset, other: xr.Dataset) -> float:
    """Largest difference of means in Monte-Carlo standard errors."""
    distances = []
    for name, a in columns(one).items():
        b = columns(other)[name]
        errors = [array_stats.mcse(v, chain_axis=0, draw_axis=1, method="mean") for v in (a, b)]
        distances.append(abs(a.mean() - b.mean()) / np.hypot(*errors))
    return float(max(distances))


@pytest.mark.slow
def test_all_methods_have_the_same_posterior(posteriors: dict[str, xr.Dataset]) -> None:
    latent = posteriors["latent"]
    for method in ("importance", "nuts"):
        posterior = posteriors[method]
        assert set(posterior.data_vars) == set(latent.data_vars) - {"u_herd"}
        for name in posterior.data_vars:
            assert posterior[name].dims == latent[name].dims
            assert posterior[name].shape == latent[name].shape
        for name in ("term", "effect_herd"):
            np.testing.assert_array_equal(posterior[name], latent[name])
        assert largest_distance(posterior, latent) < 4.0
    assert largest_distance(posteriors["importance"], posteriors["nuts"]) < 4.0


@pytest.mark.slow
@pytest.mark.parametrize("bug", ["variance", "sign", "scale", "intercept"])
def test_the_comparison_finds_bugs(posteriors: dict[str, xr.Dataset], bug: str) -> None:
    """What a mixed-up parameter would look like."""
    wrong = posteriors["nuts"].copy(deep=True)
    if bug == "variance":
        wrong["sd_herd"] = wrong["sd_herd"] ** 2
    elif bug == "sign":
        wrong["beta"] = -wrong["beta"]
    elif bug == "scale":
        wrong["sd_herd"] = 1.1 * wrong["sd_herd"]
    else:
        wrong["beta"][..., 0] += 0.05  # a tenth of a standard deviation or so
    assert largest_distance(wrong, posteriors["latent"]) > 4.0


@pytest.mark.slow
def test_a_users_prior_and_term_are_part_of_an_integrated_fit() -> None:
    """A potential that holds the standard deviation near 2 is seen in the posterior."""
    model = glmm(CBPP, pa.load_dataset("cbpp"), link="logit", likelihood="integrated")
    with model:
        pm.Potential("close", -0.5 * ((model["sd_herd"][0] - 2.0) / 0.05) ** 2)
        pm.Deterministic("variance", model["sd_herd"] ** 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        fit = pa.fit(
            model, draws=200, tune=300, chains=2, seed=1, progress=False, log_likelihood=True
        )
    told = read_specification(fit).sampler
    assert (told["method"], told["why"]) == ("nuts", "which is how the model was built")
    assert told["added_by_user"] == ["close", "variance"]
    posterior = fit["posterior"]
    assert float(posterior["sd_herd"].mean()) == pytest.approx(1.95, abs=0.06)
    np.testing.assert_allclose(posterior["variance"], posterior["sd_herd"] ** 2)
    assert fit["log_likelihood"]["y"].dims == ("chain", "draw", "herd")
