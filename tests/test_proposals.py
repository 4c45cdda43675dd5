"""Mixtures of t distributions against SciPy's, and what they are fitted to."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from popavg.workflows.proposals import StudentMixture, fit_mixture, student

ROOTS = np.array([[[1.0, 0.0], [0.5, 2.0]], [[0.3, 0.0], [-0.1, 0.2]]])
MIXTURE = StudentMixture(
    np.array([0.7, 0.3]), np.array([[0.0, 1.0], [4.0, -2.0]]), ROOTS, np.array([3.0, 10.0])
)


def test_density_is_scipys() -> None:
    points = np.random.default_rng(1).normal(size=(50, 2)) * 5
    parts = [
        weight * stats.multivariate_t(mean, np.dot(root, root.T), df=df).pdf(points)
        for weight, mean, root, df in zip(
            MIXTURE.weights, MIXTURE.means, MIXTURE.roots, MIXTURE.freedom, strict=True
        )
    ]
    np.testing.assert_allclose(MIXTURE.log_density(points), np.log(sum(parts)), rtol=1e-12)


def test_draws_have_the_density() -> None:
    """Weights against another density average to 1."""
    other = student(np.array([1.0, 0.0]), 4.0 * np.eye(2), 3.0)
    points = other.draw(200_000, np.random.default_rng(2))
    weights = np.exp(MIXTURE.log_density(points) - other.log_density(points))
    assert weights.mean() == pytest.approx(1.0, abs=0.02)
    own = MIXTURE.draw(200_000, np.random.default_rng(3))
    assert (own[:, 0] > 3).mean() == pytest.approx((weights * (points[:, 0] > 3)).mean(), abs=0.01)


def test_share_of_another() -> None:
    other = student(np.zeros(2), np.eye(2), 5.0)
    mixed = MIXTURE.beside(other, 0.2)
    points = np.ones((1, 2))
    wanted = 0.8 * np.exp(MIXTURE.log_density(points)) + 0.2 * np.exp(other.log_density(points))
    np.testing.assert_allclose(np.exp(mixed.log_density(points)), wanted)


def test_fit_finds_normal_and_two_parts() -> None:
    rng = np.random.default_rng(4)
    normal = rng.normal(size=(4000, 2)) @ ROOTS[0].T + [3.0, 1e6]
    one = fit_mixture(normal, np.zeros(4000))
    assert len(one.weights) == 1
    np.testing.assert_allclose(one.means[0], [3.0, 1e6], rtol=1e-6, atol=0.1)
    two = fit_mixture(MIXTURE.draw(4000, rng), np.zeros(4000))
    assert len(two.weights) > 1


def test_fit_uses_the_weights() -> None:
    points = np.random.default_rng(5).normal(size=(20_000, 1))
    shifted = fit_mixture(points, 1.0 * points[:, 0])  # e^x N(x; 0, 1) is N(x; 1, 1)
    assert float(shifted.weights @ shifted.means[:, 0]) == pytest.approx(1.0, abs=0.05)
