"""The working correlations' inverses against dense algebra, AR(1)'s moment equation by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popavg.errors import ConvergenceError, SpecificationError
from popavg.models.working_correlation import make_structure, solve_ar1
from popavg.posterior_tools.working_correlation import WORKING_CORRELATIONS, ClusterLayout

GROUPS = [0, 0, 0, 0, 1, 1, 2, 3, 3, 3]
TIME = [0.0, 1.0, 4.0, 6.0, 2.0, 3.0, 0.0, 1.0, 2.0, 5.0]


@pytest.mark.parametrize(
    ("name", "alpha"),
    [("independence", None), ("exchangeable", 0.4), ("exchangeable", -0.3), ("ar1", 0.6),
     ("ar1", -0.6), ("ar1", 0.0)],
)  # fmt: skip
def test_solves_as_the_dense_inverse(name: str, alpha: float | None) -> None:
    rng = np.random.default_rng(2)
    layout = ClusterLayout.build(GROUPS, time=TIME)
    structure = make_structure(name, layout, alpha)
    sd = rng.uniform(0.5, 2.0, size=10)
    structure.initialize(SimpleNamespace(stdev=sd))
    for index, (start, n) in enumerate(zip(layout.starts, layout.sizes, strict=True)):
        rows = slice(start, start + n)
        distance = np.abs(np.subtract.outer(TIME[rows], TIME[rows]))
        powers = np.power(alpha or 0.0, distance)
        same = np.where(distance == 0.0, 1.0, alpha or 0.0)
        R = {"independence": np.eye(n), "exchangeable": same, "ar1": powers}[name]
        V = R * np.outer(sd[rows], sd[rows])
        D, r = rng.normal(size=(n, 3)), rng.normal(size=n)
        found = structure.covariance_matrix_solve(np.zeros(n), index, np.zeros(n), (D, r))
        np.testing.assert_allclose(found[0], np.linalg.solve(V, D), rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(found[1], np.linalg.solve(V, r), rtol=1e-11, atol=1e-13)


def test_every_working_correlation_is_here() -> None:
    layout = ClusterLayout.build(GROUPS, time=TIME)
    classes = {type(make_structure(name, layout, None)) for name in WORKING_CORRELATIONS}
    assert len(classes) == len(WORKING_CORRELATIONS)


@given(
    alpha=st.floats(-0.95, 0.95).filter(lambda a: abs(a) > 1e-3),
    weights=st.lists(st.floats(1.0, 100.0), min_size=1, max_size=5),
)
def test_finds_the_correlation_that_fits(alpha: float, weights: list[float]) -> None:
    distances = np.arange(1.0, len(weights) + 1.0)
    products = np.array(weights) * alpha**distances
    found = solve_ar1(distances, products, np.array(weights))
    assert found == pytest.approx(alpha, abs=1e-9)


@given(alpha=st.floats(0.2, 0.95), unit=st.sampled_from([0.01, 0.5, 1.0, 7.0, 30.5]))
def test_any_unit_of_time(alpha: float, unit: float) -> None:
    steps, weights = np.array([1.0, 1.37, 4.2]), np.array([3.0, 2.0, 5.0])
    found = solve_ar1(unit * steps, weights * alpha**steps, weights)
    assert found**unit == pytest.approx(alpha, rel=1e-7)


def test_least_squares_and_moment_equation_at_noisy_products() -> None:
    distances, weights = np.array([1.0, 2.0, 3.0]), np.array([30.0, 20.0, 10.0])
    products = np.array([12.0, 9.0, 0.5])
    alpha = solve_ar1(distances, products, weights)
    equation = sum(
        d * alpha ** (d - 1) * (s - n * alpha**d)
        for d, s, n in zip(distances, products, weights, strict=True)
    )
    assert equation == pytest.approx(0.0, abs=1e-9)
    trial = np.linspace(-0.999, 0.999, 20001)
    squares = sum(
        n * (s / n - trial**d) ** 2 for d, s, n in zip(distances, products, weights, strict=True)
    )
    assert alpha == pytest.approx(float(trial[np.argmin(squares)]), abs=2e-4)


def test_negative_correlation_at_odd_distances_only() -> None:
    weights = np.array([10.0, 10.0])
    odd = np.array([3.0, 6.0])
    assert solve_ar1(odd, weights * (-0.5) ** (odd / 3), weights) == pytest.approx(
        -(0.5 ** (1 / 3))
    )
    with pytest.raises(ConvergenceError, match="moment equation has no solution"):
        solve_ar1(np.array([2.0]), np.array([-5.0]), np.array([10.0]))


@pytest.mark.parametrize(
    ("name", "alpha", "message"),
    [
        ("independence", 0.2, "has none"),
        ("exchangeable", 1.0, "< alpha < 1"),
        ("exchangeable", -0.34, "-0.333333 < alpha < 1"),
        ("ar1", 1.0, "-1 < alpha < 1"),
    ],
)
def test_alpha_must_be_a_correlation(name: str, alpha: float, message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        make_structure(name, ClusterLayout.build(GROUPS, time=TIME), alpha)
