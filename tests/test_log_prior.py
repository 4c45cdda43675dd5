"""Prior densities of draws, held against SciPy's."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from scipy import stats

import popavg as pa
from popavg.errors import SpecificationError
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.log_prior import fit_priors, log_prior
from popavg.specification import ATTRIBUTE

MakeFit = Callable[..., xr.DataTree]
PRIORS = {
    "Intercept": "StudentT(3, 1, 2.5)",
    "arm[placebo]": "Normal(0, 2)",
    "x": "Normal(0, 1)",
    "sd_g[Intercept]": "HalfNormal(1)",
    "sd_g[x]": "Exponential(2)",
    "corr_g": "LKJ(3)",
}


def with_priors(fit: xr.DataTree, priors: dict[str, str]) -> xr.DataTree:
    stored = json.loads(fit.attrs[ATTRIBUTE])
    stored["priors"] = {n: pa.Prior.parse(text).to_dict() for n, text in priors.items()}
    fit.attrs[ATTRIBUTE] = json.dumps(stored)
    return fit


def test_each_parameter_has_its_density(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    corr = {"g": [[1.0, -0.4], [-0.4, 1.0]]}
    fit = with_priors(make_fit("y ~ arm + x + (1 + x | g)", frame, corr=corr), PRIORS)
    posterior = Posterior.from_fit(fit)
    found = log_prior(posterior)
    assert set(found.data_vars) == set(PRIORS)
    beta = fit["posterior"]["beta"].to_numpy()
    at_means = beta @ posterior.design.matrices.X.mean(axis=0)
    assert_allclose(found["Intercept"], stats.t(3, 1, 2.5).logpdf(at_means))
    assert_allclose(found["arm[placebo]"], stats.norm(0, 2).logpdf(beta[..., 1]))
    assert_allclose(found["x"], stats.norm.logpdf(beta[..., 2]))
    sd = fit["posterior"]["sd_g"].to_numpy()
    assert_allclose(found["sd_g[Intercept]"], stats.halfnorm.logpdf(sd[..., 0]))
    assert_allclose(found["sd_g[x]"], stats.expon(scale=0.5).logpdf(sd[..., 1]))
    assert_allclose(found["corr_g"], 2.0 * np.log(1.0 - 0.4**2))


def test_residual_standard_deviation() -> None:
    rng = np.random.default_rng(1)
    sigma = rng.random(20) + 0.5
    X, g = np.column_stack([np.ones(6), np.arange(6)]), np.repeat([0, 1, 2], 2)
    fit = pa.from_arrays(
        rng.normal(size=(20, 2)), sigma**2, X, groups=g, link="identity", sigma=sigma
    )
    priors = {"Intercept": "Normal(0, 1)", "x1": "Normal(0, 1)"}
    priors |= {"sd_group": "HalfNormal(1)", "sigma": "Exponential(1)"}
    found = log_prior(Posterior.from_fit(with_priors(fit, priors)))
    assert_allclose(found["sigma"].to_numpy().ravel(), -sigma)


def test_a_baseline_in_the_place_of_the_intercept(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    """Its density is that of the population mean at the average row."""
    fit = make_fit("y ~ arm + x + (1 | g)", frame, "probit")
    priors = {"baseline": "Beta(2, 5)", "arm[placebo]": "Normal(0, 1)", "x": "Normal(0, 1)"}
    found = log_prior(Posterior.from_fit(with_priors(fit, priors | {"sd_g": "HalfNormal(1)"})))
    assert set(found.data_vars) == {*priors, "sd_g"}
    mean = pa.predictions(fit, newdata="mean").draws[..., 0]
    assert_allclose(found["baseline"], stats.beta(2, 5).logpdf(mean), rtol=1e-9)


def test_a_fit_from_elsewhere_has_none() -> None:
    with pytest.raises(SpecificationError, match=r"doesn't record the priors of 'Intercept'"):
        fit_priors(Posterior.from_fit(pa.load_example()))
