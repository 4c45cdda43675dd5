"""The PyMC distribution against the arrays' bridge distribution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pymc.logprob.utils import ParameterValueError
from pytensor.compile.mode import Mode
from scipy import stats

from popavg.bridge import BridgeDistribution
from popavg.errors import SpecificationError
from popavg.models.bridge import Bridge, attenuation, bridge_from_normal

PYTHON = Mode(linker="py", optimizer="merge")
SDS = [1e-4, 0.3, 1.0, 4.0, 1e3]
#: In units of 1/phi.
PLACES = np.array([-900.0, -50.0, -39.9, -1.0, -1e-3, 0.0, 0.2, 3.0, 41.0, 700.0])


def function(of: Any) -> Any:
    """Value and both derivatives of a function of a number and the standard deviation."""
    value, sd = pt.dscalar("value"), pt.dscalar("sd")
    out = of(value, sd)
    return pytensor.function([value, sd], [out, *pt.grad(out, [value, sd])], mode=PYTHON)


@pytest.mark.parametrize("sd", SDS)
def test_densities_are_those_of_the_arrays(sd: float) -> None:
    known, rv = BridgeDistribution(sd=sd), Bridge.dist(sd=sd)
    points = PLACES / known.phi

    def of(variable: Any) -> Any:
        return variable.eval(mode=PYTHON)

    assert_allclose(of(pm.logp(rv, points)), known.log_density(points), rtol=1e-13)
    below, above = known.log_survival(-points), known.log_survival(points)
    assert_allclose(of(pm.logcdf(rv, points)), below, rtol=1e-12)
    assert_allclose(of(pm.logccdf(rv, points)), above, rtol=1e-12)
    shares = np.array([1e-12, 0.1, 0.5, 0.6, 1.0])
    assert_allclose(of(pm.icdf(rv, shares)), known.quantile(shares), atol=1e-10 * sd, rtol=1e-9)
    scores = np.array([-60.0, -5.0, -0.1, 0.0, 1.0, 20.0])
    found = of(bridge_from_normal(scores, sd))
    assert_allclose(found, known.from_normal(scores), rtol=1e-9, atol=1e-14 + 1e-13 * sd)
    phi, complement = (of(part) for part in attenuation(sd))
    assert_allclose([phi, complement], [known.phi, known.complement], rtol=1e-14)


#: Of a number and the standard deviation: the graph, the arrays' function, the numbers.
GRADIENTS: dict[str, tuple[Any, Any, list[float]]] = {
    "logp": (
        lambda u, sd: pm.logp(Bridge.dist(sd=sd), u),
        lambda u, sd: BridgeDistribution(sd=sd).log_density(u),
        [-300.0, -2.0, 0.0, 1e-3, 0.5, 40.0],
    ),
    "logcdf": (
        lambda u, sd: pm.logcdf(Bridge.dist(sd=sd), u),
        lambda u, sd: BridgeDistribution(sd=sd).log_survival(-np.asarray(u)),
        [-300.0, -2.0, 0.0, 0.5, 10.0],
    ),
    "from_normal": (
        bridge_from_normal,
        lambda z, sd: BridgeDistribution(sd=sd).from_normal(z),
        [-60.0, -3.0, -0.4, 0.0, 1e-3, 2.0, 30.0],
    ),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name: str) -> None:
    graph, known, numbers = GRADIENTS[name]
    compiled = function(graph)
    for sd in (0.3, 1.0, 4.0):
        for number in numbers:
            value, in_number, in_sd = compiled(number, sd)
            h = 1e-5
            assert_allclose(value, known(number, sd), rtol=1e-12, atol=1e-14)
            rise = (known(number + h, sd) - known(number - h, sd)) / (2 * h)
            assert_allclose(in_number, rise, rtol=2e-6, atol=1e-8)
            rise = (known(number, sd + h) - known(number, sd - h)) / (2 * h)
            assert_allclose(in_sd, rise, rtol=2e-6, atol=1e-8)


def test_parameters() -> None:
    known = BridgeDistribution(phi=0.4)
    by_phi, by_sd = Bridge.dist(phi=0.4), Bridge.dist(sd=known.sd)
    for rv in (by_phi, by_sd):
        assert_allclose(pm.logp(rv, 1.3).eval(mode=PYTHON), known.log_density(1.3), rtol=1e-13)
    for given in ({}, {"phi": 0.4, "sd": 1.0}):
        with pytest.raises(SpecificationError, match="exactly one of phi and sd"):
            Bridge.dist(**given)
    for given in ({"sd": -1.0}, {"sd": 0.0}, {"phi": 1.5}):
        with pytest.raises(ParameterValueError, match="sd > 0"):
            pm.logp(Bridge.dist(**given), 0.0).eval(mode=PYTHON)


def test_draws_and_shapes() -> None:
    draws = pm.draw(Bridge.dist(sd=2.0, shape=4000), random_seed=3)
    assert stats.kstest(draws, BridgeDistribution(sd=2.0).cdf).pvalue > 0.01
    sds = np.array([0.3, 4.0])
    both = pm.draw(Bridge.dist(sd=sds), 3000, random_seed=3)
    assert both.shape == (3000, 2)
    for column, sd in zip(both.T, sds, strict=True):
        assert stats.kstest(column, BridgeDistribution(sd=sd).cdf).pvalue > 0.01
    with pm.Model(coords={"g": range(3)}) as model:
        sd = pm.HalfNormal("sd", 1.0)
        Bridge("u", sd=sd, dims="g")
        Bridge("v", phi=[0.3, 0.9])
        drawn = pm.sample_prior_predictive(50, random_seed=1)
    assert drawn["prior"]["u"].dims == ("chain", "draw", "g")
    assert drawn["prior"]["v"].shape == (1, 50, 2)
    start = model.initial_point(0)
    assert_array_equal(start["u"], np.zeros(3))
    assert_array_equal(start["v"], np.zeros(2))


@pytest.mark.parametrize("sampler", ["nutpie", "pymc"])
def test_samplers_return_the_distribution(sampler: str) -> None:
    """A heavy-tailed distribution with a normal observation: the posterior by a sum over a grid."""
    with pm.Model():
        u = Bridge("u", sd=2.0)
        pm.Normal("y", u, 1.5, observed=2.5)
        options: dict[str, Any] = {"progressbar": False, "random_seed": 4, "cores": 1}
        tree = pm.sample(600, tune=400, chains=4, nuts_sampler=sampler, **options)
    grid = np.linspace(-20.0, 20.0, 4001)
    known = BridgeDistribution(sd=2.0)
    weights = np.exp(known.log_density(grid) + stats.norm.logpdf(2.5, grid, 1.5))
    weights /= weights.sum()
    mean = weights @ grid
    sd = np.sqrt(weights @ (grid - mean) ** 2)
    draws = tree["posterior"]["u"].to_numpy()
    error = sd / np.sqrt(0.2 * draws.size)
    assert abs(draws.mean() - mean) < 4 * error
    assert abs(draws.std() - sd) < 4 * error
