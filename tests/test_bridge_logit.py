"""Everything that is computed from draws of a model with bridge-distributed intercepts.

The twins integrate over the intercept by a sum with its density; none uses that the mean is
logistic.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import kstest

import popavg as pa
from popavg.bridge import BridgeDistribution, attenuation_of_sd
from popavg.bridge_logit import BridgeLogit, mixed_link, require_intercept
from popavg.design import Design, family_of
from popavg.errors import EstimandError, SpecificationError
from popavg.links import Logit
from popavg.posterior_tools import _bridge_pairs, closed_forms
from popavg.posterior_tools.averages import AVERAGES, population_average
from popavg.posterior_tools.cluster_correlation import (
    median_odds_ratio,
    pair_correlation,
    pair_odds_ratio,
)
from popavg.posterior_tools.cluster_log_likelihood import cluster_log_likelihood
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.effect_distribution import EffectDistribution
from popavg.posterior_tools.joint import joint_mean
from popavg.posterior_tools.population_curve import population_curve
from popavg.posterior_tools.prior_shape import prior_shape
from popavg.posterior_tools.sensitivity import sensitivity
from popavg.posterior_tools.targets import TARGETS, Target
from popavg.posterior_tools.tree import specify
from popavg.specification import Specification

Floats = NDArray[np.float64]
MakeFit = Callable[..., xr.DataTree]
LINK = BridgeLogit()
FORMULA = "y ~ arm + x + (1 | g)"
SD = {"g": [2.0]}


@pytest.fixture(scope="module")
def fit(make_fit: MakeFit, frame: pd.DataFrame) -> xr.DataTree:
    return make_fit(FORMULA, frame, LINK, sd=SD, u=True, shape=(2, 5), extra=("visit", "h"))


def nodes(sd: float) -> tuple[Floats, Floats]:
    """Points and weights of the sum over the intercept."""
    known = BridgeDistribution(sd=sd)
    step = min(0.1, 0.15 * float(known.complement / known.phi))
    u = np.arange(-60 / known.phi, 60 / known.phi, step)
    return u, known.density(u) * step


def draws_of(fit: xr.DataTree) -> tuple[Floats, Floats, Floats]:
    """β (draws, terms), sd and φ (draws,)."""
    posterior = fit["posterior"]
    beta = posterior["beta"].to_numpy().reshape(-1, posterior.sizes["term"])
    sd = posterior["sd_g"].to_numpy().ravel()
    return beta, sd, np.asarray(attenuation_of_sd(sd))


def flat(estimates: Any) -> Floats:
    values = estimates.draws.to_numpy()
    return values.reshape(-1, values.shape[2])


# --- the link and what a fit remembers ---


def test_as_a_link_it_is_the_logit() -> None:
    eta = np.array([-800.0, -2.0, 0.0, 0.3, 40.0])
    for method in ("inverse", "complement", "log_inverse", "log_complement", "second_derivative"):
        assert_array_equal(getattr(LINK, method)(eta), getattr(Logit(), method)(eta))
    assert (LINK.name, LINK.mixing.name, pa.get_link(LINK)) == ("logit", "bridge", LINK)
    assert Logit().marginal_predictor(1.0, 1.0) is None
    assert_allclose(LINK.marginal_predictor(eta, 0.0), eta)


@pytest.mark.parametrize("what", AVERAGES)
def test_population_averages(what: Any) -> None:
    """Mean, link, slope and curvature, a few cells and many."""
    eta, sd = np.array([-6.0, -1.0, 0.0, 2.5]), np.array([0.4, 1.5, 5.0])[:, None]
    expected = np.zeros((3, 4))
    for i, one in enumerate(sd[:, 0]):
        u, weights = nodes(one)
        p = expit(eta[:, None] + u)
        of = {"mean": p, "link": p, "slope": p * (1 - p), "curvature": p * (1 - p) * (1 - 2 * p)}
        value = of[what] @ weights
        expected[i] = logit(value) if what == "link" else value
    assert_allclose(population_average(eta, sd, LINK, what), expected, rtol=1e-9, atol=1e-11)
    many = population_average(np.tile(eta, 500), sd, LINK, what)
    assert_allclose(many, np.tile(expected, 500), rtol=1e-9, atol=1e-11)
    assert_allclose(population_average(eta, 0.0, LINK, "mean"), expit(eta), rtol=1e-15)


def test_the_specification_remembers(fit: xr.DataTree, frame: pd.DataFrame) -> None:
    specification = Posterior.from_fit(fit).specification
    assert (specification.link, specification.mixing) == ("logit", "bridge")
    assert Specification.from_json(specification.to_json()) == specification
    fields = json.loads(specification.to_json())
    del fields["groups"][0]["distribution"]  # a fit of an earlier version
    old = Specification.from_json(json.dumps(fields))
    assert old.mixing == "normal"
    assert isinstance(Posterior.from_fit(fit).link, BridgeLogit)
    assert Specification.from_json(json.dumps({**fields, "groups": []})).mixing == "normal"


def test_only_for_one_random_intercept_of_a_logit(frame: pd.DataFrame) -> None:
    assert isinstance(mixed_link("logit", "bridge"), BridgeLogit)
    assert mixed_link("cloglog", "normal").name == "cloglog"
    with pytest.raises(SpecificationError, match="bridge distribution and link='probit'"):
        mixed_link("probit", "bridge")
    for formula, words in (
        ("y ~ x + (1 + x | g)", r"\(Intercept \+ x \| g\)"),
        ("y ~ x + (1 | g) + (1 | r)", r"'\(Intercept \| g\)', '\(Intercept \| r\)'"),
        ("y ~ x + (0 + x | g)", r"\(x \| g\)"),
        ("y ~ x", "no random effects"),
    ):
        design = Design.build(formula, frame, family=family_of(formula, LINK))
        with pytest.raises(SpecificationError, match=f"{words}.*one random intercept.*normal"):
            specify(design, LINK, family_of(formula, LINK))
    require_intercept(Logit(), [])
    require_intercept(LINK, [SimpleNamespace(name="g", effects=("Intercept",))])  # ty: ignore


# --- means and coefficients ---


def test_population_means_and_slopes(fit: xr.DataTree, frame: pd.DataFrame) -> None:
    beta, sd, _ = draws_of(fit)
    rows = pd.DataFrame({"arm": ["active", "placebo"], "x": [0.5, -2.0]})
    X = np.array([[1.0, 0.0, 0.5], [1.0, 1.0, -2.0]])
    means, slopes = (np.zeros((len(beta), 2)) for _ in range(2))
    for s in range(len(beta)):
        u, weights = nodes(sd[s])
        for i in range(2):
            p = expit(X[i] @ beta[s] + u)
            means[s, i] = p @ weights
            slopes[s, i] = (p * (1 - p)) @ weights * beta[s, 2]
    assert_allclose(flat(pa.predictions(fit, newdata=rows)), means, rtol=1e-9)
    assert_allclose(flat(pa.predictions(fit, newdata=rows, scale="link")), logit(means), rtol=1e-8)
    assert_allclose(flat(pa.slopes(fit, "x", newdata=rows)), slopes, rtol=1e-9)


def test_other_targets(fit: xr.DataTree) -> None:
    beta, sd, _ = draws_of(fit)
    rows = pd.DataFrame({"arm": ["placebo"], "x": [0.5]})
    eta = beta @ [1.0, 1.0, 0.5]
    u = fit["posterior"]["u_g"].to_numpy().reshape(len(beta), -1)
    asked = {"newdata": rows}
    assert_allclose(flat(pa.predictions(fit, target="typical", **asked))[:, 0], expit(eta))
    sampled = expit(eta[:, None] + u).mean(axis=1)
    assert_allclose(flat(pa.predictions(fit, target="sampled", **asked))[:, 0], sampled)
    new = flat(pa.predictions(fit, target="new", scale="link", **asked))[:, 0]
    scores = [BridgeDistribution(sd=s).to_normal(d) for s, d in zip(sd, new - eta, strict=True)]
    normal = Posterior.from_fit(fit).noise(0)["g"][:, 0]
    assert_allclose(scores, normal, rtol=1e-10)


def test_a_new_cluster_on_dask(fit: xr.DataTree) -> None:
    pytest.importorskip("dask")
    groups = {name: child.to_dataset() for name, child in fit.children.items()}
    groups["posterior"] = groups["posterior"].chunk({"chain": 1, "draw": 2})
    lazy = xr.DataTree.from_dict(groups)
    lazy.attrs.update(fit.attrs)
    for target in ("new", "population"):
        asked: dict[str, Any] = {"over": {"x": [0.0, 1.0]}, "target": target}
        found = flat(pa.predictions(lazy, **asked))
        assert_allclose(found, flat(pa.predictions(fit, **asked)), rtol=1e-12)


def test_draws_of_new_clusters_have_the_distribution(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    many = make_fit(FORMULA, frame, LINK, sd=SD, shape=(4, 1000), spread=0.0)
    block = Posterior.from_fit(many).block(needs=("new",), seed=3)
    shares = BridgeDistribution(sd=2.0).cdf(block.new["g"][:, 0])
    assert np.histogram(shares, 10, (0.0, 1.0))[0].min() > 330  # 400 of 4,000, sd 19


METHODS = ("exact", "projection", "least_squares")


@pytest.mark.parametrize("method", METHODS)
def test_every_definition_gives_phi_beta(fit: xr.DataTree, method: Any) -> None:
    beta, _, phi = draws_of(fit)
    found = pa.population_coefficients(fit, method)
    assert_allclose(flat(found), phi[:, None] * beta, rtol=1e-8, atol=1e-12)
    assert found.attenuation is not None
    assert found.misfit is not None
    assert_allclose(flat(found.attenuation), np.tile(phi[:, None], 3), rtol=1e-8)
    assert flat(found.misfit).max() < 1e-12
    exchangeable = {"working_correlation": "exchangeable", "alpha": 0.3}
    if method == "projection":
        found = pa.population_coefficients(fit, method, **exchangeable)
        assert_allclose(flat(found), phi[:, None] * beta, rtol=1e-8, atol=1e-12)


def test_an_offset_is_attenuated_too(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ x + offset(w) + (1 | g)", frame, LINK, sd=SD, shape=(1, 3))
    with pytest.raises(EstimandError, match="the offset is attenuated too"):
        pa.population_coefficients(fit, "exact")
    assert np.isfinite(pa.population_coefficients(fit).draws).all()


def test_the_approximation_for_normal_effects_is_refused(fit: xr.DataTree) -> None:
    with pytest.raises(EstimandError, match=r"Zeger.*bridge distribution.*method='exact'"):
        pa.population_coefficients(fit, "attenuation")
    with pytest.raises(EstimandError, match="bridge distribution"):
        closed_forms.attenuation([[1.0]], [[4.0]], [[1.0]], LINK)
    assert closed_forms.exact([[1.0]], [[np.pi**2]], [[1.0]], LINK) == pytest.approx(0.5)


# --- two rows of one cluster ---


@pytest.mark.parametrize("sd", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("etas", [(0.0, 0.0), (-2.0, 1.5), (-9.0, -7.0), (25.0, -1.0)])
def test_joint_probabilities(sd: float, etas: tuple[float, float]) -> None:
    u, weights = nodes(sd)
    one, two = (expit(eta + u) for eta in etas)
    not_one, not_two = (expit(-eta - u) for eta in etas)
    products = (one * two, one * not_two, not_one * two, not_one * not_two)
    p_11, p_10, p_01, p_00 = (product @ weights for product in products)
    same = {"variance_1": sd**2, "variance_2": sd**2, "covariance": sd**2, "link": LINK}
    assert_allclose(joint_mean(*etas, **same), p_11, rtol=1e-9)
    logs = _bridge_pairs.pair_logs(*(np.array(eta) for eta in etas), np.array(sd))
    assert_allclose(np.exp(logs), [p_11, p_10, p_01, p_00], rtol=1e-9)
    assert_allclose(pair_odds_ratio(*etas, **same), p_11 * p_00 / (p_10 * p_01), rtol=1e-8)
    spread = (p_11 + p_10) * (p_01 + p_00) * (p_11 + p_01) * (p_10 + p_00)
    correlation = (p_11 * p_00 - p_10 * p_01) / np.sqrt(spread)
    assert_allclose(pair_correlation(*etas, **same), correlation, rtol=1e-7, atol=1e-11)
    assert_allclose(
        _bridge_pairs.correlation_of_pair(np.array(etas[0] - etas[1]), np.array(sd)),
        correlation,
        rtol=1e-7,
        atol=1e-11,
    )


def test_rows_alike_are_correlated_by_one_minus_phi() -> None:
    sd, eta = np.array([0.0, 0.2, 1.0, 5.0]), np.array([-6.0, 0.0, 2.0])[:, None]
    same = dict.fromkeys(("variance_1", "variance_2", "covariance"), sd**2)
    found = pair_correlation(eta, eta, **same, link=LINK)
    assert_allclose(found, np.tile(1 - attenuation_of_sd(sd), (3, 1)), rtol=1e-10, atol=1e-13)


def test_rows_of_other_clusters_are_refused() -> None:
    for other in ({"covariance": 0.5}, {"variance_2": 2.0, "covariance": 1.0}):
        given = {"variance_1": 1.0, "variance_2": 1.0, "covariance": 1.0, **other}
        with pytest.raises(EstimandError, match=r"one and the same.*two rows of one cluster"):
            joint_mean(0.0, 0.0, **given, link=LINK)


@pytest.mark.parametrize("sd", [1e-6, 0.3, 1.0, 4.0, 50.0])
def test_median_odds_ratio(sd: float) -> None:
    """The median of |u_1 - u_2|: half of all pairs are nearer, by a sum over the percentiles."""
    distance = _bridge_pairs.median_distance(np.array([[sd]]))[0, 0]
    known = BridgeDistribution(sd=sd)
    z = np.linspace(-10.0, 10.0, 4001)
    mass = np.exp(-0.5 * z**2) / np.exp(-0.5 * z**2).sum()
    u = known.from_normal(z)
    share = (known.cdf(u + distance) - known.cdf(u - distance)) @ mass
    assert_allclose(share, 0.5, rtol=1e-9)
    assert_allclose(median_odds_ratio(sd**2, LINK), np.exp(distance), rtol=1e-12)
    assert median_odds_ratio(0.0, LINK) == 1.0


CLUSTERED = [(None, "exchangeable"), ("h", "exchangeable"), (None, "ar1")]


@pytest.mark.parametrize("response", ["y", "p(successes, trials)"])
@pytest.mark.parametrize(("groups", "structure"), CLUSTERED)
def test_implied_alpha(
    make_fit: MakeFit,
    frame: pd.DataFrame,
    *,
    groups: str | None,
    structure: Any,
    response: str,
) -> None:
    """Against loops over all pairs; rows of one GEE cluster may be of several of the model's."""
    formula = f"{response} ~ arm + x + (1 | g)"
    fit = make_fit(formula, frame, LINK, sd=SD, shape=(1, 2), extra=("visit", "h"))
    time = "visit" if structure == "ar1" else None
    found = pa.population_coefficients(
        fit, working_correlation=structure, alpha="implied", groups=groups, time=time
    )
    assert found.alpha is not None
    beta, sd, phi = draws_of(fit)
    X = np.column_stack([np.ones(60), frame["arm"] == "placebo", frame["x"]]).astype(float)
    n = frame["trials"].to_numpy(dtype=float) if response != "y" else np.ones(60)
    cluster = frame[groups or "g"].to_numpy()
    for s in range(2):
        assert_allclose(flat(found)[s], phi[s] * beta[s], rtol=1e-8)
        u, weights = nodes(sd[s])
        curves = expit((X @ beta[s])[:, None] + u)
        mean = curves @ weights
        spread = np.sqrt(mean * (1 - mean))
        within = mean - curves**2 @ weights
        between = curves**2 @ weights - mean**2
        scale = (n * (within / n + between) / spread**2).sum() / n.sum()
        top, bottom, equation = 0.0, 0.0, 0.0
        alpha = float(flat(found.alpha)[s, 0])
        for j in range(60):
            for k in range(j):
                if cluster[j] != cluster[k]:
                    continue
                same = frame["g"][j] == frame["g"][k]
                covariance = same * ((curves[j] * curves[k]) @ weights - mean[j] * mean[k])
                product = covariance / (spread[j] * spread[k]) / scale
                top, bottom = top + n[j] * n[k] * product, bottom + n[j] * n[k]
                d = abs(frame["visit"][j] - frame["visit"][k])
                if structure == "ar1":
                    equation += n[j] * n[k] * d * alpha ** (d - 1) * (product - alpha**d)
        if structure == "ar1":
            assert abs(equation) < 1e-8 * bottom
        else:
            assert_allclose(alpha, top / bottom, rtol=1e-8)


# --- clusters of the population ---


def test_heterogeneity(fit: xr.DataTree) -> None:
    """Quantiles over clusters from the percentiles of the intercept, shares by counting."""
    beta, sd, phi = draws_of(fit)
    rows = pd.DataFrame({"arm": ["active"], "x": [0.5]})
    found = pa.heterogeneity(fit, "arm", newdata=rows, quantiles=(0.1, 0.5, 0.9), threshold=0.03)
    low, high = beta @ [1.0, 0.0, 0.5], beta @ [1.0, 1.0, 0.5]
    assert found.effect is not None
    assert found.share is not None
    sign = 1.0 if "placebo - active" in found.effect.labels["contrast"][0] else -1.0
    p = (np.arange(200_000) + 0.5) / 200_000
    for s in range(len(beta)):
        known = BridgeDistribution(sd=sd[s])
        places = expit(low[s] + known.quantile([0.1, 0.5, 0.9]))
        mean = expit(phi[s] * low[s])
        assert_allclose(flat(found.probability)[s], [mean, *places], rtol=1e-9)
        u = known.quantile(p)
        effects = sign * (expit(high[s] + u) - expit(low[s] + u))
        expected = [effects.mean(), *np.quantile(effects, [0.1, 0.5, 0.9])]
        assert_allclose(flat(found.effect)[s], expected, atol=2e-5)
        assert_allclose(flat(found.share)[s, 0], np.mean(effects > 0.03), atol=2e-5)
        summary = flat(found.summary)[s]
        assert_allclose(summary[1], 1 - phi[s] ** 2, rtol=1e-9)
        assert_allclose(summary[2], 1 - phi[s], rtol=1e-9)
    names = ["median odds ratio", "correlation, latent scale", "correlation, probability scale"]
    assert found.summary.labels["quantity"].to_list() == names
    assert "N(0" not in found.words[0]


def test_effects_of_two_different_intercepts_are_refused() -> None:
    given = {"variance_0": 1.0, "variance_1": 4.0, "covariance": 2.0, "link": LINK}
    with pytest.raises(EstimandError, match="bridge distribution"):
        EffectDistribution(0.0, 1.0, **given).quantiles([0.5])


def test_curves_of_random_clusters(fit: xr.DataTree) -> None:
    curve = population_curve(fit, "x", by="arm", n_curves=4, seed=6)
    beta, sd, _ = draws_of(fit)
    scores = np.random.default_rng(6).standard_normal(4)
    u = BridgeDistribution(sd=np.sqrt(np.mean(sd**2))).from_normal(scores)
    eta = beta.mean(axis=0) @ [1.0, 0.0, curve.x[3]]
    assert_allclose(curve.conditional[0, :, 3], expit(eta + u), rtol=1e-10)


def test_the_shape_that_priors_imply() -> None:
    """A fixed intercept's density carried to the probability, at large standard deviations too."""
    prior, sd = pa.Prior("Normal", 0, 3), np.array([30.0])
    found = prior_shape(prior.log_density, np.zeros(1), sd**2, LINK)
    phi = attenuation_of_sd(sd)
    p = found.probability
    exact = np.exp(prior.log_density(logit(p) / phi)) / (phi * p * (1 - p))
    assert_allclose(found.density, exact, rtol=1e-10)


# --- the integrated likelihood ---


def test_the_likelihood_by_cluster(fit: xr.DataTree, frame: pd.DataFrame) -> None:
    beta, sd, _ = draws_of(fit)
    found = cluster_log_likelihood(fit, progress=False)
    assert found.dims == ("chain", "draw", "g")
    for s in (0, 7):
        u, weights = nodes(sd[s])
        for name, rows in frame.groupby("g"):
            density = weights
            for y, arm, x in zip(rows["y"], rows["arm"], rows["x"], strict=True):
                p = expit(beta[s] @ [1.0, arm == "placebo", x] + u)
                density = density * (p if y else 1 - p)
            own = float(found.sel(g=name).to_numpy().ravel()[s])
            assert_allclose(own, np.log(density.sum()), rtol=1e-8)


def test_clusters_effects(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    """1,000 draws of one and the same parameters: each cluster's density on a grid."""
    same = {"beta": [0.2, 0.8], "sd": {"g": [2.5]}, "spread": 0.0, "shape": (2, 500)}
    fit = make_fit("y ~ x + (1 | g)", frame, LINK, **same)
    drawn = pa.add_cluster_effects(fit, seed=3, progress=False)["posterior"]["u_g"]
    assert drawn.dims == ("chain", "draw", "g", "effect_g")
    u, weights = nodes(2.5)
    p_values = []
    for name, rows in frame.groupby("g"):
        density = weights
        for x, y in zip(rows["x"], rows["y"], strict=True):
            p = expit(0.2 + 0.8 * x + u)
            density = density * (p if y else 1 - p)
        below = (np.cumsum(density) - 0.5 * density) / density.sum()
        values = drawn.sel(g=name).to_numpy().ravel()
        p_values.append(kstest(values, lambda v, b=below: np.interp(v, u, b)).pvalue)
    assert min(p_values) > 1e-3
    assert kstest(p_values, "uniform").pvalue > 1e-3


def test_leave_one_out_and_checks(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit(FORMULA, frame, LINK, sd=SD, shape=(2, 60))
    loo = pa.loo_clusters(fit, refit=False, progress=False)
    assert loo.n_data_points == 12
    names = ("Intercept", "arm[placebo]", "x", "sd_g")
    priors = {name: pa.Prior("StudentT", 3, 0, 2.5).to_dict() for name in names}
    known = xr.DataTree.from_dict({name: c.to_dataset() for name, c in fit.children.items()})
    specification = json.loads(fit.attrs["popavg"])
    known.attrs["popavg"] = json.dumps({**specification, "priors": priors})
    found = sensitivity(known, progress=False)
    assert found.notes == ()
    assert np.isfinite(found.table["likelihood"]).all()
    text = " ".join(str(pa.check(known, progress=False)).split())
    assert "likelihood of sd_g: maximum at" in text
    assert "Not computed" not in text


# --- every verb and target has an answer ---

VERBS: dict[str, dict[str, Any]] = {
    "predictions": {"over": {"x": [0.0, 0.5]}},
    "avg_predictions": {"by": "arm"},
    "comparisons": {"variables": "arm"},
    "avg_comparisons": {"variables": "x", "comparison": "odds_ratio"},
    "slopes": {"variables": "x"},
    "avg_slopes": {"variables": "x"},
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb(fit: xr.DataTree, verb: str, target: Target) -> None:
    found = getattr(pa, verb)(fit, target=target, **VERBS[verb])
    assert np.isfinite(found.draws).all()
    assert found.target == target


def test_an_odds_ratio_of_the_population_is_one_number(fit: xr.DataTree) -> None:
    """What makes the marginal model exact: the same odds ratio everywhere, exp(φβ)."""
    beta, _, phi = draws_of(fit)
    rows = pd.DataFrame({"arm": ["active"] * 3, "x": [-3.0, 0.0, 4.0]})
    found = pa.comparisons(fit, {"arm": ("active", "placebo")}, newdata=rows, comparison="lnor")
    assert_allclose(flat(found), np.tile((phi * beta[:, 1])[:, None], 3), rtol=1e-9)
