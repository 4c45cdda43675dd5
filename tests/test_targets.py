"""Means of each target against simulation, dense quadrature and naive loops."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import expit, ndtr

from popavg.errors import EstimandError
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.targets import population_predictor, target_mean

MakeFit = Callable[..., xr.DataTree]
ALL = slice(None)
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


def fit_of(make_fit: MakeFit, frame: pd.DataFrame, name: str, link: str, **kwargs: object):  # noqa: ANN201
    response = {"log": "count", "identity": "value"}.get(link, "y")
    formula = FORMULAS[name].replace("y ~", f"{response} ~")
    corr = {"g": RHO} if "(1 + x | g)" in formula else {}
    sd = {"g": [1.5, 0.7] if "x |" in formula else [1.5], "r": [0.8], "h": [1.2], "h:g": [0.6]}
    return Posterior.from_fit(make_fit(formula, frame, link, corr=corr, sd=sd, **kwargs))


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "log", "identity"])
@pytest.mark.parametrize("name", FORMULAS)
def test_population_mean_is_that_of_simulated_clusters(
    make_fit: MakeFit, frame: pd.DataFrame, name: str, link: str
) -> None:
    """All effects of all factors are drawn, nothing is reduced to one dimension."""
    posterior = fit_of(make_fit, frame, name, link, shape=(1, 1))
    rows = posterior.design.evaluate(pd.DataFrame({"x": [-1.3, 0.4, 1.7]}))
    rng, n = np.random.default_rng(2024), 400_000
    eta = np.tile(posterior.beta[0] @ rows.X.T, (n, 1))
    for group in rows.groups:
        covariance = posterior.covariance(group.name)[0]
        u = rng.multivariate_normal(np.zeros(len(covariance)), covariance, size=n)
        eta += u @ group.Z.T
    values = INVERSE[link](eta)
    error = values.std(axis=0) / np.sqrt(n)
    mean = target_mean(posterior, rows, "population", ALL)[0]
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
    mean = target_mean(posterior, rows, "population", ALL)
    np.testing.assert_allclose(mean, expected, rtol=1e-7)


@pytest.mark.parametrize("link", ["logit", "cloglog", "log", "identity"])
@pytest.mark.parametrize("name", FORMULAS)
def test_sampled_mean_is_the_loop_over_the_combinations_that_occur(
    make_fit: MakeFit, frame: pd.DataFrame, name: str, link: str
) -> None:
    posterior = fit_of(make_fit, frame, name, link, u=True, shape=(2, 2))
    post, design = posterior.data, posterior.design
    rows = design.evaluate(pd.DataFrame({"x": [-1.0, 0.5]}))
    mean = target_mean(posterior, rows, "sampled", ALL)
    labels = {
        "g": frame["g"].to_list(),
        "r": frame["r"].to_list(),
        "h": frame["h"].to_list(),
        "h:g": [f"{h}:{g}" for h, g in zip(frame["h"], frame["g"], strict=True)],
    }
    names = [group.name for group in design.matrices.groups]
    occurring = set(zip(*(labels[group] for group in names), strict=True))
    for draw, (chain, step) in enumerate(product(range(2), range(2))):
        for row, x in enumerate([-1.0, 0.5]):
            beta = post["beta"].isel(chain=chain, draw=step)
            total = 0.0
            for combination in occurring:
                eta = float(beta.sel(term="Intercept")) + x * float(beta.sel(term="x"))
                for group, label in zip(names, combination, strict=True):
                    u = post[f"u_{group}"].isel(chain=chain, draw=step).sel({group: label})
                    for effect in u[f"effect_{group}"].to_numpy():
                        z = 1.0 if effect == "Intercept" else x
                        eta += z * float(u.sel({f"effect_{group}": effect}))
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
        typical = target_mean(posterior, rows, "typical", ALL)
        np.testing.assert_allclose(typical, INVERSE[link](posterior.predictor(rows, ALL)))
        population = target_mean(posterior, rows, "population", ALL)
        np.testing.assert_allclose(population, typical, rtol=1e-12)


def test_under_the_identity_link_population_and_typical_coincide(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    posterior = fit_of(make_fit, frame, "crossed", "identity")
    rows = posterior.design.matrices
    population = target_mean(posterior, rows, "population", ALL)
    np.testing.assert_array_equal(population, target_mean(posterior, rows, "typical", ALL))


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "log"])
def test_the_predictor_is_the_link_of_the_mean(
    make_fit: MakeFit, frame: pd.DataFrame, link: str
) -> None:
    posterior = fit_of(make_fit, frame, "slopes", link)
    rows = posterior.design.matrices
    predictor = population_predictor(posterior, rows, slice(2, 5))
    mean = target_mean(posterior, rows, "population", slice(2, 5))
    np.testing.assert_allclose(posterior.link.inverse(predictor), mean, rtol=1e-11)
    v = posterior.variance(rows, slice(2, 5))
    again = population_predictor(posterior, rows, slice(2, 5), variance=v)
    np.testing.assert_array_equal(again, predictor)


def test_sampled_clusters_need_their_own_effects(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    posterior = Posterior.from_fit(make_fit("y ~ x + (1 | g)", frame))
    with pytest.raises(EstimandError, match=r"no draws 'u_g'.*Allowed: the targets 'population'"):
        target_mean(posterior, posterior.design.matrices, "sampled", ALL)


def test_a_model_without_clusters_has_no_sampled_ones(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    posterior = Posterior.from_fit(make_fit("y ~ x", frame))
    with pytest.raises(EstimandError, match="without random effects: it has no clusters"):
        target_mean(posterior, posterior.design.matrices, "sampled", ALL)
