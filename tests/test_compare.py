"""The comparison of a fit with a GEE and a GLM, against a naive twin on statsmodels alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import xarray as xr
from arviz_base import rc_context
from numpy.typing import NDArray
from scipy.optimize import root
from scipy.special import expit
from scipy.stats import norm

import popavg as pa
from popavg.bridge import attenuation_of_sd
from popavg.bridge_logit import BridgeLogit
from popavg.errors import EstimandError, SeparationError, SpecificationError
from popavg.models import gee as gee_module
from popavg.models.gee import time_as_numbers
from popavg.posterior_tools.coefficients import population_coefficients
from popavg.posterior_tools.comparison import MODELS, Comparison
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.projection_design import numeric_time
from popavg.workflows import compare
from popavg.workflows.compare import compare_gee

Floats = NDArray[np.float64]
MakeFit = Callable[..., xr.DataTree]
Vectorised = Callable[[Floats], Floats]
FAMILIES = {
    "logit": sm.families.Binomial(),
    "probit": sm.families.Binomial(sm.families.links.Probit()),
    "log": sm.families.Poisson(),
    "identity": sm.families.Gaussian(),
}


class ExchangeableAt(sm.cov_struct.Exchangeable):
    """statsmodels' exchangeable structure, held at a correlation."""

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.dep_params = alpha

    def update(self, params: Floats) -> None:
        """Leave it there."""


@pytest.fixture
def fit(make_fit: MakeFit, frame: pd.DataFrame) -> xr.DataTree:
    return make_fit("y ~ arm + x + (1 | g)", frame, shape=(2, 50), extra=("visit",))


INVERSE: dict[str, tuple[Vectorised, Vectorised, Vectorised]] = {
    # mean, its derivative, its variance function, of the predictor
    "logit": (expit, lambda e: expit(e) * expit(-e), lambda e: expit(e) * expit(-e)),
    "probit": (norm.cdf, norm.pdf, lambda e: norm.cdf(e) * norm.cdf(-e)),
    "log": (np.exp, np.exp, np.exp),
    "identity": (lambda e: e, np.ones_like, np.ones_like),
}
NODES, STEP = np.linspace(-9.0, 9.0, 1201, retstep=True)


def naive_population_coefficients(
    fit: xr.DataTree, X: Floats, clusters: list[str], *, link: str, alpha: float
) -> Floats:
    """The root of the GEE's estimating equation at the population means, draw by draw."""
    mean, derivative, variance = INVERSE[link]
    beta = fit["posterior"]["beta"].to_numpy().reshape(-1, X.shape[1])
    sd = fit["posterior"]["sd_g"].to_numpy().ravel()
    out = np.zeros_like(beta)
    for s in range(len(beta)):
        population = np.zeros(len(X))
        for j in range(len(X)):
            curve = mean(X[j] @ beta[s] + sd[s] * NODES)
            population[j] = np.sum(curve * norm.pdf(NODES)) * STEP

        def score(b: Floats, population: Floats = population) -> Floats:
            total = np.zeros(len(b))
            for name in sorted(set(clusters)):
                rows = [j for j in range(len(X)) if clusters[j] == name]
                R = np.full((len(rows), len(rows)), alpha)
                np.fill_diagonal(R, 1.0)
                eta = X[rows] @ b
                D = derivative(eta)[:, None] * X[rows]
                root_of_A = np.diag(np.sqrt(variance(eta)))
                V = root_of_A @ R @ root_of_A
                total += D.T @ np.linalg.solve(V, population[rows] - mean(eta))
            return total

        found = root(score, beta[s], tol=1e-12)
        assert np.abs(score(found.x)).max() < 1e-8
        out[s] = found.x
    return out


@pytest.mark.parametrize("structure", ["exchangeable", "independence"])
@pytest.mark.parametrize("link", FAMILIES)
def test_the_table_is_that_of_a_naive_twin(
    make_fit: MakeFit, frame: pd.DataFrame, link: str, structure: str
) -> None:
    response = {"log": "count", "identity": "value"}.get(link, "y")
    fit = make_fit(f"{response} ~ arm + x + (1 | g)", frame, link, shape=(2, 3))
    chosen = {} if structure == "exchangeable" else {"working_correlation": structure}
    table = compare_gee(fit, ci_prob=0.8, ci_kind="eti", **chosen)
    long = table.to_frame().set_index(["term", "model"])
    X = np.column_stack([np.ones(60), frame["arm"] == "placebo", frame["x"]]).astype(float)
    y, clusters = frame[response].to_numpy(), frame["g"].tolist()
    glm = sm.GLM(y, X, family=FAMILIES[link]).fit()
    alpha = 0.0 if table.facts["alpha"] is None else table.facts["alpha"]
    assert (alpha == 0.0) == (structure == "independence")
    held = ExchangeableAt(alpha)
    gee = sm.GEE(y, X, groups=clusters, family=FAMILIES[link], cov_struct=held).fit(ctol=1e-10)
    beta = fit["posterior"]["beta"].to_numpy().reshape(-1, 3)
    own = naive_population_coefficients(fit, X, clusters, link=link, alpha=alpha)
    z = norm.ppf(0.9)
    for i, term in enumerate(["Intercept", "arm[placebo]", "x"]):
        rows = {
            "GLM": (glm.params[i], glm.bse[i]),
            "conditional": (beta[:, i].mean(), beta[:, i].std(ddof=1)),
            "population-averaged": (own[:, i].mean(), own[:, i].std(ddof=1)),
            "GEE": (gee.params[i], gee.bse[i]),
        }
        limits = {
            "GLM": (glm.params[i] - z * glm.bse[i], glm.params[i] + z * glm.bse[i]),
            "conditional": np.quantile(beta[:, i], [0.1, 0.9]),
            "population-averaged": np.quantile(own[:, i], [0.1, 0.9]),
            "GEE": (gee.params[i] - z * gee.bse[i], gee.params[i] + z * gee.bse[i]),
        }
        for model in MODELS:
            found = long.loc[(term, model)]
            expected = (*rows[model], *limits[model])
            np.testing.assert_allclose(
                found[["estimate", "std_error", "lower", "upper"]].to_numpy(dtype=float),
                np.array(expected, dtype=float),
                rtol=1e-5,
                atol=1e-7,
                err_msg=f"{term} {model}",
            )
        agreement = long.loc[(term, "GEE")]
        distance = (own[:, i].mean() - gee.params[i]) / gee.bse[i]
        assert agreement["distance"] == pytest.approx(distance, abs=1e-4)
        names = ["attenuation", "attenuation_lower", "attenuation_upper"]
        found = agreement[names].to_numpy(dtype=float)
        if link == "log" and term == "Intercept":
            assert np.isnan(found).all()
        else:
            ratio = np.quantile(own[:, i] / beta[:, i], [0.5, 0.1, 0.9])
            np.testing.assert_allclose(found, ratio, rtol=1e-6)


def test_the_projection_uses_the_correlation_of_the_gee(fit: xr.DataTree) -> None:
    for name, arguments in (("exchangeable", {}), ("ar1", {"time": "visit"})):
        table = compare_gee(fit, working_correlation=name, **arguments)
        alpha = table.facts["alpha"]
        own = population_coefficients(
            fit, working_correlation=name, alpha=alpha, groups="g", **arguments
        )
        shown = table.estimates.query("model == 'population-averaged'")["estimate"]
        np.testing.assert_allclose(shown, own.to_frame()["estimate"], rtol=1e-12)
        assert own.misfit is not None
        assert table.misfit["largest"] == pytest.approx(float(own.misfit.draws[..., 0].mean()))
        assert table.facts["method"] == own.how
    fixed = compare_gee(fit, alpha=0.25)
    assert fixed.facts["alpha"] == 0.25
    assert fixed.facts["method"] == "projection, exchangeable, α = 0.25"


@pytest.mark.parametrize("method", ["least_squares", "attenuation"])
def test_other_methods(fit: xr.DataTree, method: str) -> None:
    table = compare_gee(fit, method=method)
    own = population_coefficients(fit, method).to_frame()["estimate"]
    shown = table.estimates.query("model == 'population-averaged'")["estimate"]
    np.testing.assert_allclose(shown, own, rtol=1e-12)


def test_all_intervals_have_one_level(fit: xr.DataTree) -> None:
    with rc_context({"stats.ci_prob": 0.7, "stats.ci_kind": "hdi"}):
        table = compare_gee(fit)
    assert table.facts["ci_prob"] == 0.7
    explicit = compare_gee(fit, ci_prob=0.7, ci_kind="hdi")
    pd.testing.assert_frame_equal(table.estimates, explicit.estimates)
    assert table.facts["random_effects"] == explicit.facts["random_effects"]
    assert "Intervals: 70 %" in repr(table)


def test_the_fit_is_read_once(fit: xr.DataTree, monkeypatch: pytest.MonkeyPatch) -> None:
    reads, designs = [], []
    read, solve = Posterior.from_fit, gee_module.fit_gee_arrays
    monkeypatch.setattr(compare.Posterior, "from_fit", lambda f: reads.append(f) or read(f))
    monkeypatch.setattr(
        gee_module, "fit_gee_arrays", lambda X, *a, **k: designs.append(X) or solve(X, *a, **k)
    )
    compare_gee(fit)
    assert len(reads) == len(designs) == 1


def test_the_order_of_the_rows_does_not_matter(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    one, other = (
        compare_gee(make_fit("y ~ arm + x + (1 | g)", data))
        for data in (frame, frame.sample(frac=1.0, random_state=8))
    )
    pd.testing.assert_frame_equal(one.to_frame(), other.to_frame(), rtol=1e-6, atol=1e-7)
    assert one.words == other.words


def test_words_and_facts_use_the_names_of_the_data(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    data = frame.assign(
        sick=np.where(frame["y"] == 1, "yes", "no"), x=frame["x"].where(frame.index != 3)
    )
    fit = make_fit("sick['yes'] ~ arm + x + (1 | g)", data, missing="drop")
    table = compare_gee(fit)
    text = repr(table)
    assert table.facts["rows_dropped"] == 1
    assert table.facts["n_rows"] == 59
    assert "1 row dropped for missing values ('x' 1)" in text.replace("\n", " ")
    assert "the odds of sick = 'yes'" in " ".join(text.split())
    assert "the student asks about one 'g'" in text
    assert "can't both be exactly true" in " ".join(text.split())
    assert "Standard deviation of 'Intercept' over 12 clusters of 'g'" in text
    assert "clusters of 'g'" in table.words[-1]


def test_without_covariates(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    table = compare_gee(make_fit("y ~ 1 + (1 | g)", frame))
    assert table.terms == ["Intercept"]
    assert not any("student" in words for words in table.words)


def test_trials_and_several_factors(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    trials = compare_gee(make_fit("p(successes, trials) ~ x + (1 | g)", frame))
    assert trials.facts["family"] == "binomial"
    nested = make_fit("y ~ x + (1 | h/g)", frame)
    for groups, clusters in (("h", 4), ("h:g", 12)):
        table = compare_gee(nested, groups=groups)
        assert (table.facts["groups"], table.facts["n_clusters"]) == (groups, clusters)
        assert len(table.facts["random_effects"]) == 2


def test_clusters_that_are_no_factor_of_the_model(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    """Herds that were kept in the fit: the GEE's clusters, the projection's too."""
    fit = make_fit("y ~ x + (1 | g)", frame, extra=("h",))
    table = compare_gee(fit, groups="h")
    assert (table.facts["groups"], table.facts["n_clusters"]) == ("h", 4)
    own = population_coefficients(
        fit, working_correlation="exchangeable", alpha=table.facts["alpha"], groups="h"
    )
    shown = table.estimates.query("model == 'population-averaged'")["estimate"]
    np.testing.assert_allclose(shown, own.to_frame()["estimate"], rtol=1e-12)


def test_times_are_numbered_as_the_gee_numbers_them(frame: pd.DataFrame) -> None:
    columns = [
        frame["visit"],
        frame["arm"],
        frame["x"],
        frame["r"].astype(pd.CategoricalDtype(["eve", "dan", "cat", "bob", "ann"], ordered=True)),
    ]
    for column in columns:
        np.testing.assert_array_equal(numeric_time(column), time_as_numbers(column)[0])


def test_the_example_agrees_with_its_gee() -> None:
    table = compare_gee(pa.load_example())
    assert table.agreement["distance"].abs().max() < 0.6
    assert table.agreement["attenuation"].between(0.3, 0.5).all()
    assert 0.4 < table.facts["alpha"] < 0.45
    assert table.facts["concordant_share"] == pytest.approx(179 / 294)


def test_errors(make_fit: MakeFit, fit: xr.DataTree, frame: pd.DataFrame) -> None:
    with pytest.raises(EstimandError, match=r"no random effects.*\+ \(1 \| cluster\)"):
        compare_gee(make_fit("y ~ x", frame))
    with pytest.raises(SpecificationError, match=r"2 grouping factors.*'g', 'r'.*groups="):
        compare_gee(make_fit("y ~ x + (1 | g) + (1 | r)", frame))
    with pytest.raises(SpecificationError, match="groups='ward' isn't a column"):
        compare_gee(fit, groups="ward")
    with pytest.raises(SpecificationError, match="time='week' isn't a column"):
        compare_gee(fit, working_correlation="ar1", time="week")
    with pytest.raises(SpecificationError, match="method='hedeker' is unknown"):
        compare_gee(fit, method="hedeker")  # ty: ignore[invalid-argument-type]
    with pytest.raises(SpecificationError, match="'unstructured' is unknown"):
        compare_gee(fit, working_correlation="unstructured")  # ty: ignore[invalid-argument-type]
    with pytest.raises(SpecificationError, match="ci_prob=95"):
        compare_gee(fit, ci_prob=95)
    with pytest.raises(EstimandError, match="the logit link has no closed form"):
        compare_gee(fit, method="exact")
    with pytest.raises(SpecificationError, match="isn't a fit made by popavg"):
        compare_gee(frame)  # ty: ignore[invalid-argument-type]
    separated = frame.assign(y=(frame["x"] > 0).astype(int))
    with pytest.raises(SeparationError):
        compare_gee(make_fit("y ~ x + (1 | g)", separated))


def test_normal_beside_bridge(make_fit: MakeFit, fit: xr.DataTree, frame: pd.DataFrame) -> None:
    """Each fit's columns are those that it has alone; attenuation and distance are the first's."""
    formula, beta = "y ~ arm + x + (1 | g)", [0.3, -0.4, 0.8]
    bridge = make_fit(formula, frame, BridgeLogit(), beta=beta, sd={"g": [2.0]}, shape=(2, 50))
    both, alone, other = (
        compare_gee(bridge, others={"normal": fit}),
        compare_gee(bridge),
        compare_gee(fit),
    )
    assert both.models == (
        *("GLM", "conditional", "conditional (normal)"),
        *("population-averaged", "population-averaged (normal)", "GEE"),
    )
    numbers = ["term", "estimate", "std_error", "lower", "upper", "interval"]

    def rows(comparison: Comparison, model: str) -> pd.DataFrame:
        table = comparison.estimates
        return table.loc[table["model"] == model, numbers].reset_index(drop=True)

    for model in MODELS:
        pd.testing.assert_frame_equal(rows(both, model), rows(alone, model))
    for model in ("conditional", "population-averaged"):
        pd.testing.assert_frame_equal(rows(both, f"{model} (normal)"), rows(other, model))
    pd.testing.assert_frame_equal(both.agreement, alone.agreement)
    phi = attenuation_of_sd(bridge["posterior"]["sd_g"].to_numpy())
    product = (phi * bridge["posterior"]["beta"].to_numpy()).mean(axis=(0, 1))
    np.testing.assert_allclose(rows(both, "population-averaged")["estimate"], product, rtol=1e-8)
    assert both.to_frame("wide")["conditional (normal) estimate"].notna().all()
    gap = rows(both, "conditional (normal)")["estimate"] - rows(both, "conditional")["estimate"]
    largest = (gap.abs() / rows(both, "conditional")["std_error"]).max()
    assert f"conditional coefficients are up to {largest:.2f} away" in both.words[-1]
    assert "'normal' (normal random effects)" in both.words[-1]
    assert both.facts["random_effects"][1].startswith("normal: Standard deviation of 'Intercept'")
    text = repr(both)
    assert "GLMM, normal" in text
    assert all(f"{value:.3f} " in text for value in both.estimates["estimate"])
    html = both._repr_html_()
    assert html.count("<th") - html.count("<thead") == 9
    assert sorted(both.plot(backend="none").viz.children) == ["estimates", "intervals", "zero"]


def test_others_must_be_of_the_same_rows(
    make_fit: MakeFit, fit: xr.DataTree, frame: pd.DataFrame
) -> None:
    formula = "y ~ arm + x + (1 | g)"
    turned = frame.assign(y=1 - frame["y"])
    for other, words in (
        (make_fit(formula, frame, "probit"), "'b' has the probit link.*'logit'"),
        (make_fit("y ~ x + (1 | g)", frame), "'b' has the terms 'Intercept', 'x'"),
        (make_fit(formula, turned), "'b' is of other rows.*the same data"),
        (make_fit(formula, frame.iloc[:50]), "'b' is of other rows"),
    ):
        with pytest.raises(SpecificationError, match=words):
            compare_gee(fit, others={"b": other})
    with pytest.raises(
        SpecificationError, match=r"others of type .*Write others=\{'bridge': fit\}"
    ):
        compare_gee(fit, others=[fit])  # ty: ignore[invalid-argument-type]
    with pytest.raises(SpecificationError, match="named ' '"):
        compare_gee(fit, others={" ": fit})


def test_a_fit_without_an_outcome_says_what_it_lacks(tmp_path: Path) -> None:
    """What needs the posterior alone works; a GEE, and a report with one, need the data."""
    rng = np.random.default_rng(1)
    X = np.column_stack([np.ones(40), rng.normal(size=40)])
    arrays = {"beta": rng.normal(size=(9, 2)), "cov": rng.random(9) + 1, "X": X, "link": "logit"}
    groups = np.repeat(np.arange(8), 5)
    fit = pa.from_arrays(**arrays, groups=groups)
    pa.save(fit, tmp_path / "fit.nc")
    for each in (fit, pa.load(tmp_path / "fit.nc")):
        with pytest.raises(EstimandError, match=r"no outcome.*pa.from_arrays\(…, y=…\)"):
            pa.compare_gee(each)
        with pytest.raises(EstimandError, match="the fit has no outcome"):
            pa.report(each, tmp_path / "report.html")
    y = np.arange(40) % 2
    assert pa.compare_gee(pa.from_arrays(**arrays, groups=groups, y=y))


def test_how_it_was_drawn(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ x + (1 | g)", frame, "logit")
    assert pa.compare_gee(fit).facts["drawn"] == []
    told = json.loads(fit.attrs["popavg"])
    sampler = {"method": "nuts", "why": "as asked for", "chains": 4, "draws": 250}
    fit = fit.assign()
    fit.attrs["popavg"] = json.dumps({**told, "sampler": sampler})
    words = "4 chains of 250 draws, NUTS on the integrated likelihood, as asked for."
    assert pa.compare_gee(fit, others={"again": fit}).facts["drawn"] == [
        f"GLMM: {words}",
        f"GLMM, again: {words}",
    ]
