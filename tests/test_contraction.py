"""Contraction is 0 where the posterior is the prior, 1 at a point, and knows no scale."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import popavg as pa
from popavg.errors import DataError
from popavg.posterior_tools.contraction import contraction, percentiles

PRIORS = {
    "HalfCauchy(2.5)": stats.halfcauchy(scale=2.5),
    "Exponential(1)": stats.expon(),
    "HalfNormal(2)": stats.halfnorm(scale=2),
    "StudentT(3, 0, 2.5)": stats.t(3, scale=2.5),
}


@pytest.mark.parametrize("text", PRIORS)
def test_percentiles_are_the_distribution_function(text: str) -> None:
    known = PRIORS[text]
    values = known.ppf([1e-6, 0.01, 0.3, 0.5, 0.9, 0.999])
    assert_allclose(percentiles(values, pa.Prior.parse(text)), known.cdf(values), atol=1e-4)


@pytest.mark.parametrize("text", PRIORS)
def test_nothing_learned_is_zero(text: str) -> None:
    found = contraction(PRIORS[text].ppf((np.arange(4000) + 0.5) / 4000), pa.Prior.parse(text))
    assert found.value == pytest.approx(0.0, abs=1e-3)
    assert found.place == pytest.approx(0.5, abs=1e-3)
    assert_allclose(found.prior, found.posterior, rtol=5e-3)


def test_a_point_is_one() -> None:
    assert contraction([2.0, 2.0], pa.Prior("HalfNormal", 1)).value == 1.0


def test_the_scale_of_the_parameter_does_not_matter() -> None:
    logs = np.random.default_rng(1).normal(0.5, 0.3, 500)
    on_log = contraction(logs, pa.Prior("Normal", 0, 1))
    itself = contraction(np.exp(logs), pa.Prior("LogNormal", 0, 1))
    assert on_log.value == pytest.approx(itself.value, abs=1e-4)
    uniform = stats.norm.cdf(logs)
    assert itself.value == pytest.approx(1.0 - 12.0 * uniform.var(), abs=1e-4)


def test_close_to_zero_is_learned_though_its_logarithm_is_as_wide_as_the_prior() -> None:
    small = 0.05 * pa.Prior("HalfNormal", 1).draw(2000, seed=1)
    prior = pa.Prior("HalfNormal", 1)
    assert np.log(small).var() == pytest.approx(np.log(prior.draw(2000, seed=2)).var(), rel=0.1)
    assert contraction(small, prior).value > 0.98


def test_both_tails_of_the_prior_are_less_than_nothing() -> None:
    assert contraction([0.001, 50.0], pa.Prior("HalfNormal", 1)).value == pytest.approx(-2, abs=0.1)


@pytest.mark.parametrize("draws", [[], [1.0, np.nan]])
def test_errors(draws: list[float]) -> None:
    with pytest.raises(DataError, match="finite posterior draws"):
        contraction(draws, pa.Prior("HalfNormal", 1))
