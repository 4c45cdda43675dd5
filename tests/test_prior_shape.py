"""The density of a probability and its peaks."""

from __future__ import annotations

import numpy as np
import pytest

from popavg.links import get_link
from popavg.posterior_tools.averages import population_average
from popavg.posterior_tools.prior_shape import GRID, peaks_and_valleys, prior_shape
from popavg.priors import Prior

LINKS = ("logit", "probit", "cloglog")
ZERO = np.zeros(1)


def test_without_random_effects_it_is_the_logit_normal_density() -> None:
    found = prior_shape(Prior("Normal", 0.5, 1.2).log_density, ZERO, ZERO, get_link("logit"))
    expected = np.exp(Prior("LogitNormal", 0.5, 1.2).log_density(GRID))
    np.testing.assert_allclose(found.density, expected, rtol=1e-10)


@pytest.mark.parametrize(("variance", "bimodal"), [(1.0, False), (1.9, False), (2.4, True)])
def test_a_normal_prior_on_the_logit_is_bimodal_from_variance_two_on(
    variance: float, bimodal: bool
) -> None:
    prior = Prior("Normal", 0, variance**0.5)
    found = prior_shape(prior.log_density, ZERO, ZERO, get_link("logit"))
    assert found.is_bimodal is bimodal
    assert len(found.valleys) == len(found.peaks) - 1
    if bimodal:
        assert found.peaks[0] == pytest.approx(1 - found.peaks[1])
        assert found.valleys == (pytest.approx(0.5),)


@pytest.mark.parametrize("link", LINKS)
def test_it_is_the_density_of_the_draws(link: str) -> None:
    """Against a histogram of population averages of draws."""
    rng, chosen = np.random.default_rng(5), get_link(link)
    prior, n = Prior("Normal", -0.3, 1.5), 200_000
    shift, variance = rng.normal(0, 0.5, 40), rng.exponential(3.0, 40)
    found = prior_shape(prior.log_density, shift, variance, chosen)
    which = rng.integers(0, 40, n)
    eta = prior.draw(n, seed=rng) + shift[which]
    p = population_average(eta, np.sqrt(variance[which]), chosen)
    heights, _ = np.histogram(p, np.linspace(0.005, 0.995, 100))
    np.testing.assert_allclose(found.density, heights / n / 0.01, atol=0.07)


@pytest.mark.parametrize("link", LINKS)
def test_large_standard_deviations_continue_small_ones(link: str) -> None:
    prior, chosen = Prior("Normal", 0, 10), get_link(link)
    below, above = (
        prior_shape(prior.log_density, ZERO, np.array([sd**2]), chosen).density
        for sd in (19.9999, 20.0001)
    )
    np.testing.assert_allclose(below, above, rtol=2e-2)


def test_peaks_at_ends_and_within() -> None:
    x = np.linspace(0, 1, 101)
    flat = np.ones_like(x)
    assert peaks_and_valleys(x, flat) == ((0.0,), ())
    assert peaks_and_valleys(x, x) == ((1.0,), ())
    assert peaks_and_valleys(x, 1 - x) == ((0.0,), ())
    wave = 2 + np.cos(4 * np.pi * x)
    peaks, valleys = peaks_and_valleys(x, wave)
    assert peaks == pytest.approx((0.0, 0.5, 1.0))
    assert valleys == pytest.approx((0.25, 0.75))
    ripple = 1 + 0.005 * np.sin(60 * x)
    assert len(peaks_and_valleys(x, ripple)[0]) == 1


def test_noise_of_draws_makes_no_peaks() -> None:
    """A flat density of which every draw shows a narrow part: its peaks are the draws'."""
    rng, link = np.random.default_rng(8), get_link("logit")
    prior, variance = Prior("Normal", 0, 1), np.full(500, 400.0)
    found = prior_shape(prior.log_density, rng.normal(0, 20, 500), variance, link)
    assert len(found.peaks) == 1
    assert len(peaks_and_valleys(GRID, found.density)[0]) > 3
