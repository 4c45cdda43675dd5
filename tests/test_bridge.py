"""The bridge distribution against 50-digit arithmetic, quadrature and Wang & Louis' identities."""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy import special, stats

from popavg.bridge import BridgeDistribution, attenuation_of_sd, sd_of_attenuation
from popavg.errors import DataError, SpecificationError

Floats = NDArray[np.float64]

#: Standard deviations and attenuations from a spike to the logistic distribution's shape.
PARAMETERS = [
    *(("sd", sd) for sd in (1e-8, 1e-4, 0.01, 0.3, 1.0, 4.0, 20.0, 1e3, 1e6)),
    *(("phi", phi) for phi in (1e-6, 0.01, 0.3, 0.5, 0.9, 0.999, 1 - 1e-9)),
]
#: Points in units of 1/phi: the tail is told up to |phi u| = 700.
PLACES = [0.0, 1e-12, 1e-6, 1e-3, 0.1, 1.0, 5.0, 30.0, 39.9, 40.1, 100.0, 700.0]
SHARES = [1e-300, 1e-20, 1e-5, 0.01, 0.24, 0.26, 0.4999, 0.5 + 1e-9, 0.74, 0.9, 1 - 1e-10]

every_parameter = pytest.mark.parametrize(("name", "value"), PARAMETERS)


def exact_phi(name: str, value: float) -> mp.mpf:
    """The attenuation in all digits."""
    return mp.mpf(value) if name == "phi" else 1 / mp.sqrt(1 + 3 * mp.mpf(value) ** 2 / mp.pi**2)


def exact_tail(phi: mp.mpf, u: mp.mpf) -> mp.mpf:
    """Probability above u > 0, Wang & Louis' F rearranged."""
    return mp.atan2(mp.sin(phi * mp.pi), mp.exp(phi * u) + mp.cos(phi * mp.pi)) / (mp.pi * phi)


def exact_quantile(phi: mp.mpf, p: mp.mpf) -> mp.mpf:
    return mp.log(mp.sin(phi * mp.pi * p) / mp.sin(phi * mp.pi * (1 - p))) / phi


def expectation(of: Callable[[Floats], Floats], sd: float) -> Floats:
    """E of(u) by the trapezoid rule with the density as it stands in the paper."""
    phi = 1 / np.sqrt(1 + 3 * sd**2 / np.pi**2)
    step = min(0.1, 0.15 * (1 - phi) / phi)  # the strip without poles is π(1 − φ)/φ wide
    u = np.arange(-60 / phi, 60 / phi, step)
    density = np.sin(phi * np.pi) / (2 * np.pi * (np.cosh(phi * u) + np.cos(phi * np.pi)))
    return of(u) @ density * step


@every_parameter
def test_density_and_tails_in_all_digits(name: str, value: float) -> None:
    bridge = BridgeDistribution(**{name: value})
    with mp.workdps(50):
        phi = exact_phi(name, value)
        for place in PLACES:
            u = place / float(bridge.phi)
            at = mp.mpf(u)
            denominator = 2 * mp.pi * (mp.cosh(phi * at) + mp.cos(phi * mp.pi))
            log_density = float(mp.log(mp.sin(phi * mp.pi) / denominator))
            tail = exact_tail(phi, at)
            assert_allclose(bridge.log_density(u), log_density, rtol=1e-14, atol=1e-14)
            assert bridge.log_density(-u) == bridge.log_density(u)
            assert_allclose(bridge.density(u), np.exp(log_density), rtol=1e-12)
            # exp(−φu) knows φu to its last digit only
            assert_allclose(bridge.survival(u), float(tail), rtol=1e-15 * (4 + place))
            assert_allclose(bridge.cdf(-u), bridge.survival(u), rtol=0)
            assert_allclose(bridge.cdf(u), float(1 - tail), rtol=1e-15)
            assert_allclose(bridge.log_survival(u), float(mp.log(tail)), rtol=1e-14)
            below = float(mp.log1p(-tail))
            assert_allclose(bridge.log_survival(-u), below, rtol=1e-15 * (4 + place))


@every_parameter
def test_quantiles_in_all_digits(name: str, value: float) -> None:
    bridge = BridgeDistribution(**{name: value})
    with mp.workdps(400):
        phi = exact_phi(name, value)
        for p in SHARES:
            found, exact = bridge.quantile(p), float(exact_quantile(phi, mp.mpf(p)))
            assert_allclose(found, exact, rtol=5e-15)
            assert_allclose(bridge.cdf(found), p, rtol=1e-15 * (10 + abs(np.log(p))))
        for z in (-20.0, -5.0, -1.0, -1e-3, 1e-9, 0.5, 3.0):
            tail = mp.ncdf(-abs(mp.mpf(z)))
            exact = float(-mp.sign(z) * exact_quantile(phi, tail))
            assert_allclose(bridge.from_normal(z), exact, rtol=5e-15)
            assert_allclose(bridge.to_normal(exact), z, rtol=1e-13, atol=1e-15)
    assert bridge.quantile(0.5) == bridge.from_normal(0.0) == 0.0
    assert_array_equal(bridge.quantile([0.0, 1.0]), [-np.inf, np.inf])


@pytest.mark.parametrize("sd", [0.05, 0.3, 1.0, 2.5, 7.0, 20.0])
def test_the_population_mean_of_a_logit_is_logistic(sd: float) -> None:
    """What the distribution is for: exact to 1e-10, in both tails."""
    phi = attenuation_of_sd(sd)
    for eta in (-12.0, -3.0, -0.7, 0.0, 0.4, 5.0):
        mean = expectation(lambda u, eta=eta: special.expit(eta + u), sd)
        assert_allclose(mean, special.expit(phi * eta), rtol=1e-10)


@pytest.mark.parametrize("sd", [0.3, 1.0, 4.0])
def test_mass_moments_and_characteristic_function(sd: float) -> None:
    bridge = BridgeDistribution(sd=sd)
    assert_allclose(expectation(np.ones_like, sd), 1.0, rtol=1e-11)
    assert_allclose(expectation(np.square, sd), bridge.variance, rtol=1e-11)
    fourth = expectation(lambda u: u**4, sd) / bridge.variance**2 - 3.0
    assert_allclose(bridge.excess_kurtosis, fourth, rtol=1e-10)
    phi = bridge.phi
    stated = 1.2 * (phi**-4 - 1) / (phi**-2 - 1) ** 2
    assert_allclose(bridge.excess_kurtosis, stated, rtol=1e-12)
    for t in (0.2, 1.0, 2.5):
        found = expectation(lambda u, t=t: np.cos(t * u), sd)
        exact = np.sinh(np.pi * t) / (phi * np.sinh(np.pi * t / phi))
        assert_allclose(found, exact, rtol=1e-9, atol=1e-13)


def test_both_parameters_say_the_same() -> None:
    sd = np.array([0.01, 0.5, 1.0, 4.0, 100.0])
    by_sd, by_phi = BridgeDistribution(sd=sd), BridgeDistribution(phi=attenuation_of_sd(sd))
    assert_allclose(by_phi.sd, sd, rtol=1e-11)
    assert_allclose(sd_of_attenuation(attenuation_of_sd(sd)), sd, rtol=1e-11)
    assert_allclose(by_sd.complement, by_phi.complement, rtol=1e-11)
    assert_allclose(by_sd.variance, np.pi**2 * (by_sd.phi**-2 - 1) / 3, rtol=1e-10)
    points = np.array([-30.0, -1.0, 0.0, 0.1, 4.0])
    assert_allclose(by_sd.log_density(points), by_phi.log_density(points), rtol=1e-10)


def test_limits() -> None:
    """A spike with the logistic's tails as sd falls to 0, the logistic's shape as it grows."""
    small = BridgeDistribution(sd=1e-6)
    assert_allclose(np.diff(small.log_density([20.0, 21.0])), -1.0, rtol=1e-6)
    assert small.quantile(0.75) < 1e-11 < small.sd
    wide = BridgeDistribution(sd=1e7)
    logistic = stats.logistic(scale=1.0 / wide.phi)
    points = wide.sd * np.array([-3.0, -0.5, 0.0, 1.0])
    assert_allclose(wide.cdf(points), logistic.cdf(points), rtol=1e-6)
    assert_allclose(wide.excess_kurtosis, 1.2, rtol=1e-12)


def test_a_standard_deviation_of_zero_is_a_point_mass() -> None:
    point = BridgeDistribution(sd=0.0)
    assert point.phi == 1.0
    assert point.variance == 0.0
    assert point.excess_kurtosis == np.inf
    assert_array_equal(point.log_density([-1.0, 0.0, 1.0]), [-np.inf, np.inf, -np.inf])
    assert_array_equal(point.cdf([-1.0, 0.0, 1.0]), [0.0, 0.5, 1.0])
    assert_array_equal(np.abs(point.quantile([0.0, 0.3, 1.0])), 0.0)
    assert_array_equal(np.abs(point.from_normal([-40.0, 2.0])), 0.0)
    assert_array_equal(BridgeDistribution(phi=1.0).cdf([-1.0, 1.0]), [0.0, 1.0])


def test_draws_have_the_distribution() -> None:
    for sd in (0.2, 1.0, 4.0):
        bridge = BridgeDistribution(sd=sd)
        draws = bridge.draw(4000, seed=5)
        assert stats.kstest(draws, bridge.cdf).pvalue > 0.01
        assert_array_equal(draws, bridge.draw(4000, seed=np.random.default_rng(5)))
    normal = stats.kstest(BridgeDistribution(sd=1.0).draw(4000, seed=5), "norm")
    assert normal.pvalue < 1e-6  # the test can tell


def test_shapes() -> None:
    bridge = BridgeDistribution(sd=np.array([[0.5], [2.0]]))
    points = np.linspace(-3.0, 3.0, 5)
    for method in ("log_density", "density", "cdf", "survival", "log_survival", "to_normal"):
        together = getattr(bridge, method)(points)
        assert together.shape == (2, 5)
        for row, sd in zip(together, (0.5, 2.0), strict=True):
            alone = getattr(BridgeDistribution(sd=sd), method)
            assert_array_equal(row, alone(points))
            assert np.ndim(alone(0.3)) == 0
    assert bridge.quantile([0.1, 0.6]).shape == bridge.draw((2, 3), seed=1)[:, :2].shape
    assert bridge.draw(seed=1).shape == (2, 1)
    assert "sd=" in repr(bridge)


@given(z=st.floats(-300.0, 300.0), log_sd=st.floats(-12.0, 12.0))
def test_there_and_back(z: float, log_sd: float) -> None:
    bridge = BridgeDistribution(sd=np.exp(log_sd))
    u = bridge.from_normal(z)
    assert np.isfinite(u)
    assert_allclose(bridge.to_normal(u), z, rtol=1e-11, atol=1e-11)
    assert bridge.from_normal(-z) == -u


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({}, SpecificationError, "without a parameter"),
        ({"phi": 0.5, "sd": 1.0}, SpecificationError, "exactly one of phi and sd"),
        ({"phi": 0.0}, DataError, "above 0 up to 1"),
        ({"phi": 1.2}, DataError, "above 0 up to 1"),
        ({"phi": [0.5, np.nan]}, DataError, "above 0 up to 1"),
        ({"sd": -1.0}, DataError, "finite numbers from 0"),
        ({"sd": np.inf}, DataError, "finite numbers from 0"),
    ],
)
def test_refusals(given: dict[str, object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        BridgeDistribution(**given)  # ty: ignore[invalid-argument-type]


def test_a_quantile_of_no_probability() -> None:
    with pytest.raises(DataError, match="probabilities from 0 to 1"):
        BridgeDistribution(sd=1.0).quantile([0.5, 1.5])
