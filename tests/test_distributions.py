"""Every distribution's density, derivative and quantile agree with each other."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from scipy.integrate import quad

from popavg._standard_densities import STANDARD
from popavg.distributions import DISTRIBUTIONS, Density

#: Parameters that exercise every form of every distribution.
CASES: dict[str, list[dict[str, float]]] = {
    "Normal": [{}, {"mu": 1, "sigma": 2}, {"mu": -1, "tau": 4}],
    "StudentT": [{"nu": 3, "mu": 1, "sigma": 2.5}, {"nu": 7, "lam": 0.5}],
    "Cauchy": [{"alpha": -1, "beta": 2.5}],
    "Logistic": [{}, {"mu": 1, "s": 0.5}],
    "Laplace": [{"mu": 0.5, "b": 2}],
    "AsymmetricLaplace": [{"kappa": 2, "mu": 1, "b": 3}, {"q": 0.3, "mu": 0, "b": 1}],
    "Gumbel": [{"mu": 1, "beta": 2}],
    "Moyal": [{}, {"mu": 1, "sigma": 2}],
    "SkewNormal": [{"alpha": -3, "mu": 1, "sigma": 2}, {"alpha": 2, "tau": 4}],
    "SkewStudentT": [{"a": 2, "b": 5, "mu": 1, "sigma": 2}, {"a": 3, "b": 1.5, "lam": 4}],
    "ExGaussian": [{"mu": 1, "sigma": 2, "nu": 3}],
    "HalfNormal": [{}, {"sigma": 2}, {"tau": 4}],
    "HalfStudentT": [{"nu": 3, "sigma": 2.5}, {"nu": 4, "lam": 2}],
    "HalfCauchy": [{"beta": 2.5}],
    "Exponential": [{}, {"lam": 2}, {"scale": 3}],
    "Gamma": [{"alpha": 2.5, "beta": 0.5}, {"mu": 2, "sigma": 1}],
    "ChiSquared": [{"nu": 5}],
    "InverseGamma": [{"alpha": 3, "beta": 2}, {"mu": 2, "sigma": 1}, {"alpha": 3}],
    "LogNormal": [{}, {"mu": 0.5, "sigma": 0.7}, {"mu": -1, "tau": 2}],
    "Weibull": [{"alpha": 1.7, "beta": 2}],
    "Pareto": [{"alpha": 3, "m": 0.5}],
    "Rice": [{"nu": 2, "sigma": 1.5}, {"b": 1.2, "sigma": 2}],
    "Wald": [{"mu": 2, "lam": 3}, {"mu": 2, "phi": 1.5, "alpha": 0.5}, {"lam": 3, "phi": 2}],
    "Beta": [{"alpha": 2, "beta": 8}, {"mu": 0.3, "sigma": 0.1}, {"mu": 0.3, "nu": 6}],
    "Kumaraswamy": [{"a": 2, "b": 3}],
    "LogitNormal": [{}, {"mu": -1, "sigma": 1.5}, {"mu": 0.5, "tau": 2}],
    "Uniform": [{}, {"lower": 0, "upper": 5}],
    "Triangular": [{}, {"lower": 1, "upper": 4, "c": 2}],
    "TruncatedNormal": [
        {"mu": 1, "sigma": 2, "lower": 0},
        {"mu": 0, "tau": 4, "lower": 1, "upper": 2},
        {"mu": 0, "sigma": 1, "upper": -1},
        {},
    ],
    "LKJ": [{"eta": 2}, {"eta": 0.8}],
}
PAIRS = [(name, params) for name, many in CASES.items() for params in many]
#: None at the tip of a triangle or of a Laplace density, which has two slopes.
P = np.array([1e-3, 0.02, 0.2, 0.52, 0.77, 0.97, 1 - 1e-3])


def density(name: str, params: dict[str, float]) -> Density:
    return DISTRIBUTIONS[name].density(params)


def test_every_distribution_and_form_has_a_case() -> None:
    assert set(CASES) == set(DISTRIBUTIONS)
    assert {DISTRIBUTIONS[name].standard for name in CASES} <= set(STANDARD)
    for name, family in DISTRIBUTIONS.items():
        for form in family.forms:
            assert any(set(given) <= set(form) for given in CASES[name]), (name, form)


@pytest.mark.parametrize(("name", "params"), PAIRS, ids=str)
def test_the_mass_below_a_quantile_is_its_probability(name: str, params: dict[str, float]) -> None:
    found = density(name, params)
    lower, upper = found.support
    points = found.quantile(P)
    assert (np.diff(points) > 0).all()

    def mass(left: float, right: float) -> float:
        return quad(lambda x: np.exp(found.log_density(x)), left, right, epsabs=1e-11, limit=200)[0]

    parts = [mass(a, b) for a, b in zip([lower, *points], [*points, upper], strict=True)]
    np.testing.assert_allclose(parts, np.diff([0, *P, 1]), atol=1e-7)


@pytest.mark.parametrize(("name", "params"), PAIRS, ids=str)
def test_the_gradient_is_the_slope_of_the_log_density(name: str, params: dict[str, float]) -> None:
    found = density(name, params)
    x = found.quantile(P)
    h = 1e-4 * (found.quantile(P + 5e-4) - found.quantile(P - 5e-4))
    differences = [found.log_density(x + k * h) - found.log_density(x - k * h) for k in (1, 2)]
    slope = (8 * differences[0] - differences[1]) / (12 * h)
    scale = np.abs(found.log_density(x)).max() * 1e-15 / h
    gap = np.abs(found.log_density_gradient(x) - slope)
    assert (gap <= 1e-6 * (1 + np.abs(slope)) + 20 * scale).all()


@pytest.mark.parametrize(("name", "params"), PAIRS, ids=str)
def test_nothing_lies_outside_the_support(name: str, params: dict[str, float]) -> None:
    found = density(name, params)
    for end, step in zip(found.support, (-1.0, 1.0), strict=True):
        if np.isfinite(end):
            assert found.log_density(end + step) == -inf
            assert found.log_density_gradient(end + step) == 0.0
    np.testing.assert_array_equal(found.quantile([0.0, 1.0]), found.support)


def test_shapes_are_kept_and_nan_stays_nan() -> None:
    found = density("Gamma", {"alpha": 2, "beta": 1})
    assert found.log_density(np.ones((2, 3))).shape == (2, 3)
    assert found.log_density(1.0).shape == ()
    assert np.isnan(found.log_density(np.nan))


def test_far_tails_are_finite() -> None:
    far = density("TruncatedNormal", {"mu": 0, "sigma": 1, "lower": 30, "upper": 31})
    assert np.isfinite(far.log_density(30.5))
    assert 30 < far.quantile(0.5) < 30.1
    assert density("StudentT", {"nu": 3}).log_density(1e100) == pytest.approx(-919.8377, abs=1e-3)
    assert density("SkewNormal", {"alpha": 5}).log_density(-40.0) < -2e4


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("Normal", {"sigma": -1}, "sigma > 0"),
        ("Normal", {"sigma": 1, "tau": 1}, r"\(mu, sigma\) or \(mu, tau\)"),
        ("Gamma", {}, r"\(alpha, beta\) or \(mu, sigma\)"),
        ("Gamma", {"alpha": 1}, r"\(alpha, beta\)"),
        ("Beta", {"mu": 0.5, "sigma": 0.6}, "sigma² < mu"),
        ("Beta", {"mu": 1.5, "nu": 3}, "mu < 1"),
        ("Uniform", {"lower": 2, "upper": 1}, "lower < upper"),
        ("Triangular", {"lower": 0, "upper": 1, "c": 2}, "lower <= c <= upper"),
        ("TruncatedNormal", {"lower": 2, "upper": 1}, "lower < upper"),
        ("Wald", {"mu": 1, "lam": 1, "alpha": -1}, "alpha >= 0"),
        ("Rice", {"nu": -1}, "nu >= 0"),
        ("AsymmetricLaplace", {"q": 1, "mu": 0, "b": 1}, "q < 1"),
    ],
)
def test_impossible_parameters_say_what_is_needed(
    name: str, params: dict[str, float], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        density(name, params)
