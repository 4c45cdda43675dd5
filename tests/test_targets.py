"""Means of each target against simulation, dense quadrature and naive loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import expit, ndtr

from popavg.design import DesignMatrices
from popavg.errors import EstimandError, SpecificationError
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.targets import SCALES, TARGETS, Scale, Target, TargetMean

MakeFit = Callable[..., xr.DataTree]
RHO = np.array([[1.0, 0.7], [0.7, 1.0]])
INVERSE = {
    "logit": expit,
    "probit": ndtr,
    "cloglog": lambda eta: -np.expm1(-np.exp(eta)),
    "log": np.exp,
    "identity": lambda eta: eta,
}
FORMULAS = {
    "slopes": "y ~ x + (1 + x | g)",
    "uncorrelated": "y ~ x + (1 | g) + (0 + x | g)",
    "nested": "y ~ x + (1 | h/g)",
    "crossed": "y ~ x + (1 + x | g) + (1 | r)",
}


#: Read once: reading a fit takes longer than most of what is asked of it here.
POSTERIORS: dict[tuple[Any, ...], Posterior] = {}


def fit_of(
    make_fit: MakeFit, frame: pd.DataFrame, name: str, link: str, **options: Any
) -> Posterior:
    key = (name, link, *sorted(options.items()))
    if key not in POSTERIORS:
        POSTERIORS[key] = made(make_fit, frame, name, link, **options)
    return POSTERIORS[key]


def made(make_fit: MakeFit, frame: pd.DataFrame, name: str, link: str, **kwargs: Any) -> Posterior:
    response = {"log": "count", "identity": "value"}.get(link, "y")
    formula = FORMULAS[name].replace("y ~", f"{response} ~")
    corr = {"g": RHO} if "(1 + x | g)" in formula else {}
    sd = {"g": [1.5, 0.7] if "x |" in formula else [1.5], "r": [0.8], "h": [1.2], "h:g": [0.6]}
    return Posterior.from_fit(make_fit(formula, frame, link, corr=corr, sd=sd, **kwargs))


def mean_of(
    posterior: Posterior, rows: DesignMatrices, target: Target, scale: Scale = "response"
) -> np.ndarray:
    mean = TargetMean.build(posterior, target, scale)
    return mean.values(posterior.block(needs=mean.needs, seed=7), rows)


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "log", "identity"])
@pytest.mark.parametrize("name", FORMULAS)
def test_population_mean_is_that_of_simulated_clusters(
    make_fit: MakeFit, frame: pd.DataFrame, name: str, link: str
) -> None:
    """All effects of all factors are drawn, nothing is reduced to one dimension."""
    posterior = fit_of(make_fit, frame, name, link, shape=(1, 1))
    rows = posterior.design.evaluate(pd.DataFrame({"x": [-1.3, 0.4, 1.7]}))
    rng, n = np.random.default_rng(2024), 100_000
    eta = np.tile(posterior.beta[0] @ rows.X.T, (n, 1))
    for group in rows.groups:
        covariance = posterior.covariance(group.name)[0]
        u = rng.multivariate_normal(np.zeros(len(covariance)), covariance, size=n)
        eta += u @ group.Z.T
    values = INVERSE[link](eta)
    error = values.std(axis=0) / np.sqrt(n)
    mean = mean_of(posterior, rows, "population")[0]
    assert (np.abs(mean - values.mean(axis=0)) < 4 * error).all()


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
def test_population_mean_is_the_tensor_quadrature_over_two_effects(
    make_fit: MakeFit, frame: pd.DataFrame, link: str
) -> None:
    posterior = fit_of(make_fit, frame, "slopes", link, shape=(1, 3))
    rows = posterior.design.evaluate(pd.DataFrame({"x": np.linspace(-2, 2, 5)}))
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / weights.sum()
    expected = np.zeros((3, 5))
    for draw in range(3):
        root = np.linalg.cholesky(posterior.covariance("g")[draw])
        for (a, first), (b, second) in product(zip(nodes, weights, strict=True), repeat=2):
            shift = rows.groups[0].Z @ root @ np.array([a, b])
            mean = INVERSE[link](posterior.beta[draw] @ rows.X.T + shift)
            expected[draw] += first * second * mean
    mean = mean_of(posterior, rows, "population")
    np.testing.assert_allclose(mean, expected, rtol=1e-7)


@pytest.mark.parametrize("link", ["logit", "cloglog", "log", "identity"])
@pytest.mark.parametrize("name", FORMULAS)
def test_sampled_mean_is_the_loop_over_the_combinations_that_occur(
    make_fit: MakeFit, frame: pd.DataFrame, name: str, link: str
) -> None:
    posterior = fit_of(make_fit, frame, name, link, u=True, shape=(2, 2))
    post, design = posterior.data, posterior.design
    rows = design.evaluate(pd.DataFrame({"x": [-1.0, 0.5]}))
    mean = mean_of(posterior, rows, "sampled")
    labels = {
        "g": frame["g"].to_list(),
        "r": frame["r"].to_list(),
        "h": frame["h"].to_list(),
        "h:g": [f"{h}:{g}" for h, g in zip(frame["h"], frame["g"], strict=True)],
    }
    names = [group.name for group in design.matrices.groups]
    occurring = set(zip(*(labels[group] for group in names), strict=True))
    for draw, (chain, step) in enumerate(product(range(2), range(2))):
        at = {"chain": chain, "draw": step}
        beta = post["beta"].isel(at).to_series()
        u = {group: post[f"u_{group}"].isel(at).to_pandas() for group in names}
        for row, x in enumerate([-1.0, 0.5]):
            total = 0.0
            for combination in occurring:
                eta = beta["Intercept"] + x * beta["x"]
                for group, label in zip(names, combination, strict=True):
                    for effect, value in u[group].loc[label].items():
                        eta += (1.0 if effect == "Intercept" else x) * value
                total += float(INVERSE[link](eta))
            assert mean[draw, row] == pytest.approx(total / len(occurring), rel=1e-12)


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "log", "identity"])
def test_without_variance_the_population_is_the_typical_cluster(
    make_fit: MakeFit, frame: pd.DataFrame, link: str
) -> None:
    response = {"log": "count", "identity": "value"}.get(link, "y")
    for formula in (f"{response} ~ x + (1 | g)", f"{response} ~ x"):
        posterior = Posterior.from_fit(make_fit(formula, frame, link, sd={"g": [0.0]}))
        rows = posterior.design.matrices
        typical = mean_of(posterior, rows, "typical")
        np.testing.assert_allclose(typical, INVERSE[link](posterior.block().predictor(rows)))
        population = mean_of(posterior, rows, "population")
        np.testing.assert_allclose(population, typical, rtol=1e-12)


def test_under_the_identity_link_population_and_typical_coincide(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    posterior = fit_of(make_fit, frame, "crossed", "identity")
    rows = posterior.design.matrices
    population = mean_of(posterior, rows, "population")
    np.testing.assert_array_equal(population, mean_of(posterior, rows, "typical"))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("link", INVERSE)
def test_the_link_scale_is_the_link_of_the_mean(
    make_fit: MakeFit, frame: pd.DataFrame, link: str, target: Target
) -> None:
    posterior = fit_of(make_fit, frame, "slopes", link, u=True)
    rows = posterior.design.matrices
    mean = mean_of(posterior, rows, target)
    predictor = mean_of(posterior, rows, target, "link")
    np.testing.assert_allclose(posterior.link.inverse(predictor), mean, rtol=1e-10)


def test_the_link_scale_keeps_its_digits_where_the_mean_rounds_to_one(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    posterior = fit_of(make_fit, frame, "slopes", "logit", u=True, spread=0.0)
    far = posterior.design.evaluate(pd.DataFrame({"x": [200.0]}))
    eta = float(posterior.block().predictor(far)[0, 0])
    assert eta > 40
    assert mean_of(posterior, far, "typical")[0, 0] == 1.0
    assert mean_of(posterior, far, "typical", "link")[0, 0] == eta
    u = posterior.effects("g")[0] @ far.groups[0].Z[0]
    complement = np.mean(expit(-(eta + u)))
    expected = np.log1p(-complement) - np.log(complement)
    assert mean_of(posterior, far, "sampled", "link")[0, 0] == pytest.approx(expected, rel=1e-12)
    farther = posterior.design.evaluate(pd.DataFrame({"x": [1e5]}))
    assert np.isfinite(mean_of(posterior, farther, "sampled", "link")).all()


@pytest.mark.parametrize("asked", list(product(TARGETS, SCALES)))
@pytest.mark.parametrize("model", list(product(FORMULAS, INVERSE)))
def test_slopes_are_the_limit_of_differences(
    make_fit: MakeFit, frame: pd.DataFrame, model: tuple[str, str], asked: tuple[Target, Scale]
) -> None:
    posterior = fit_of(make_fit, frame, *model, u=True, shape=(1, 3))
    x, h = np.linspace(-1.5, 1.5, 4), 1e-4
    rows, up, down = (
        posterior.design.evaluate(pd.DataFrame({"x": x + step})) for step in (0.0, h, -h)
    )
    mean = TargetMean.build(posterior, *asked)
    block = posterior.block(needs=mean.needs, seed=7)
    slopes = mean.slopes(block, rows, tangent_in_x(rows))
    expected = (mean.values(block, up) - mean.values(block, down)) / (2 * h)
    np.testing.assert_allclose(slopes, expected, rtol=2e-6, atol=2e-7)


def tangent_in_x(rows: DesignMatrices) -> DesignMatrices:
    """Derivative of a design whose columns are an intercept and x."""
    groups = tuple(
        replace(group, Z=np.tile([float(e == "x") for e in group.effects], (rows.n_rows, 1)))
        for group in rows.groups
    )
    X = np.tile([float(term == "x") for term in rows.terms], (rows.n_rows, 1))
    return DesignMatrices(rows.terms, X, np.zeros(rows.n_rows), groups)


@pytest.mark.parametrize("name", ["slopes", "crossed"])
def test_a_new_cluster_is_one_for_all_rows_of_a_draw(
    make_fit: MakeFit, frame: pd.DataFrame, name: str
) -> None:
    posterior = fit_of(make_fit, frame, name, "logit", shape=(2, 5000), spread=0.0)
    rows = posterior.design.evaluate(pd.DataFrame({"x": [0.0, 0.0, 1.0]}))
    predictor = mean_of(posterior, rows, "new", "link")
    np.testing.assert_array_equal(predictor[:, 0], predictor[:, 1])
    block = posterior.block()
    variance = np.broadcast_to(block.variance(rows), predictor.shape)[0]
    error = variance * np.sqrt(2 / len(predictor))
    shift = predictor - block.predictor(rows)
    assert (np.abs(shift.var(axis=0) - variance) < 5 * error).all()
    assert (np.abs(shift.mean(axis=0)) < 5 * np.sqrt(variance / len(predictor))).all()


def test_a_new_cluster_is_the_same_with_the_same_seed(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    posterior = fit_of(make_fit, frame, "slopes", "logit")
    one, same, other = (posterior.block(needs=["new"], seed=seed).new["g"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.equal(one, other).any()
    half = posterior.block(slice(3, 6), needs=["new"], seed=1).new["g"]
    np.testing.assert_array_equal(half, one[3:6])


def test_sampled_clusters_need_their_own_effects(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    posterior = Posterior.from_fit(make_fit("y ~ x + (1 | g)", frame))
    with pytest.raises(EstimandError, match=r"no draws 'u_g'.*Allowed: the targets 'population'"):
        TargetMean.build(posterior, "sampled")


@pytest.mark.parametrize("target", ["sampled", "new"])
def test_a_model_without_clusters_has_neither_sampled_nor_new_ones(
    make_fit: MakeFit, frame: pd.DataFrame, target: Target
) -> None:
    posterior = Posterior.from_fit(make_fit("y ~ x", frame))
    with pytest.raises(EstimandError, match="without random effects: it has no clusters"):
        TargetMean.build(posterior, target)


@pytest.mark.parametrize(("target", "scale"), [("marginal", "response"), ("typical", "log")])
def test_unknown_targets_and_scales(
    make_fit: MakeFit, frame: pd.DataFrame, target: str, scale: str
) -> None:
    posterior = Posterior.from_fit(make_fit("y ~ x + (1 | g)", frame))
    with pytest.raises(SpecificationError, match="is unknown"):
        TargetMean.build(posterior, target, scale)  # ty: ignore[invalid-argument-type]
