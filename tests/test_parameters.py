from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode

import popavg as pa
from popavg.distributions import DISTRIBUTIONS
from popavg.models.parameters import Scaled, prior_scalar, prior_vector


def test_one_distribution_makes_one_vector_others_are_stacked() -> None:
    normal, student = pa.Prior("Normal", mu=0, sigma=1), pa.Prior("StudentT", nu=7, mu=0, sigma=1)
    with pm.Model(coords={"k": ["a", "b"]}) as model:
        prior_vector("_v", [normal, normal], dims="k")
        prior_vector("_w", [normal, student], dims="k")
        prior_scalar("s", student)
    assert [variable.name for variable in model.free_RVs] == ["_v", "_w_0", "_w_1", "s"]
    assert [variable.name for variable in model.deterministics] == ["_w"]


def test_scaling_goes_there_and_back_and_counts_its_derivative() -> None:
    transform = Scaled([2.0, 50.0])
    value = np.array([0.3, -4.0])
    np.testing.assert_allclose(transform.forward(value), [0.6, -200.0])
    np.testing.assert_allclose(transform.backward(transform.forward(value)), value)
    np.testing.assert_allclose(transform.log_jac_det(value).eval(), -np.log([2.0, 50.0]))


def test_a_scaled_prior_is_the_same_prior() -> None:
    prior = pa.Prior("Normal", mu=1, sigma=3)
    with pm.Model() as model:
        prior_scalar("s", prior, scale=40.0)
    logp = model.compile_logp(mode="FAST_COMPILE")({"s_scaled__": np.array(80.0)})
    expected = pm.logp(pm.Normal.dist(1.0, 3.0), 2.0).eval() - np.log(40.0)
    assert float(logp) == pytest.approx(float(expected), rel=1e-6)


#: Each with the parameters of every form.
DENSITIES = [
    "Normal(1, 2)", "Normal(mu=1, tau=4)", "StudentT(3, 1, 2.5)", "StudentT(nu=4, mu=1, lam=2)",
    "Cauchy(1, 2)", "Logistic(1, 2)", "Laplace(1, 2)", "AsymmetricLaplace(2, 1, 3)",
    "AsymmetricLaplace(q=0.3, mu=1, b=3)", "Gumbel(1, 2)", "Moyal(1, 2)",
    "SkewNormal(alpha=-3, mu=1, sigma=2)", "SkewNormal(alpha=2, mu=1, tau=4)",
    "SkewStudentT(a=2, b=5, mu=1, sigma=2)", "SkewStudentT(a=2, b=5, mu=1, lam=4)",
    "ExGaussian(1, 2, 3)", "HalfNormal(2)", "HalfNormal(tau=4)", "HalfStudentT(3, 2.5)",
    "HalfStudentT(nu=3, lam=2)", "HalfCauchy(2)", "Exponential(2)", "Exponential(scale=3)",
    "Gamma(2, 3)", "Gamma(mu=2, sigma=1)", "ChiSquared(5)", "InverseGamma(3, 2)",
    "InverseGamma(mu=2, sigma=1)", "InverseGamma(alpha=3)", "LogNormal(0.5, 0.7)",
    "LogNormal(mu=0.5, tau=2)", "Weibull(1.7, 2)", "Pareto(3, 0.5)", "Rice(2, 1.5)",
    "Rice(b=1.2, sigma=2)", "Rice(nu=1)", "Wald(2, 3)", "Wald(2, 3, 0.5)", "Wald(mu=2, phi=1.5)",
    "Wald(lam=3, phi=2)", "Beta(2, 8)", "Beta(mu=0.3, sigma=0.1)", "Beta(mu=0.3, nu=6)",
    "Kumaraswamy(2, 3)", "LogitNormal(-1, 1.5)", "LogitNormal(mu=0.5, tau=2)", "Uniform(1, 4)",
    "Triangular(lower=1, upper=4, c=2)", "TruncatedNormal(1, 2, 0.5)",
    "TruncatedNormal(mu=0, tau=4, lower=1, upper=2)", "TruncatedNormal(0, 1, upper=-1)",
    "Normal()", "Logistic()", "Moyal()", "HalfNormal()", "Exponential()", "LogNormal()",
    "LogitNormal()", "Uniform()", "Triangular()", "TruncatedNormal()", "StudentT(nu=3)",
    "HalfStudentT(nu=3)", "ExGaussian(nu=1)", "SkewNormal()", "SkewStudentT(a=1, b=2)",
]  # fmt: skip
#: PyMC computes constants such as log 2 in single precision.
SINGLE = {"ChiSquared", "ExGaussian", "HalfCauchy", "HalfStudentT", "SkewNormal", "SkewStudentT",
          "TruncatedNormal"}  # fmt: skip
PYTHON = Mode(linker="py", optimizer="merge")
QUANTILES = np.array([1e-3, 0.1, 0.45, 0.77, 0.999])


def test_every_distribution_is_held_against_pymc() -> None:
    assert {text.partition("(")[0] for text in DENSITIES} == set(DISTRIBUTIONS) - {"LKJ"}


@pytest.mark.parametrize("text", DENSITIES)
def test_the_density_is_pymcs(text: str) -> None:
    prior = pa.Prior.parse(text)
    points = prior.quantile(QUANTILES)
    params = {key: np.float64(value) for key, value in prior.params.items()}
    logp = pm.logp(getattr(pm, prior.name).dist(**params), points)
    expected = logp.eval(mode=PYTHON)
    tolerance = 2e-7 if prior.name in SINGLE else 1e-11
    np.testing.assert_allclose(prior.log_density(points), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("text", DENSITIES)
def test_the_gradient_is_pymcs(text: str) -> None:
    prior = pa.Prior.parse(text)
    points = prior.quantile(QUANTILES)
    params = {key: np.float64(value) for key, value in prior.params.items()}
    value = pt.dvector()
    logp = pm.logp(getattr(pm, prior.name).dist(**params), value).sum()
    found = pytensor.grad(logp, value).eval({value: points}, mode=PYTHON)
    np.testing.assert_allclose(
        prior.log_density_gradient(points), found, rtol=1e-6, atol=1e-7 * np.abs(found).max()
    )


def test_the_density_of_a_correlation_is_that_of_two_effects() -> None:
    prior, rho = pa.Prior("LKJ", 2), np.array([-0.9, 0.1, 0.6])
    half = pm.Beta.dist(np.float64(2.0), np.float64(2.0))
    expected = pm.logp(half, (rho + 1) / 2).eval(mode=PYTHON) - np.log(2)
    np.testing.assert_allclose(prior.log_density(rho), expected, rtol=1e-12)
