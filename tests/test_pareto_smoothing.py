"""Pareto smoothing against ArviZ's, and on weights it must not smooth."""

from __future__ import annotations

import numpy as np
import pytest
from arviz_stats.base import array_stats

from popavg.errors import DataError
from popavg.posterior_tools.pareto_smoothing import khat_threshold, pareto_smoothed


@pytest.mark.parametrize("size", [60, 225, 1000, 4001])
@pytest.mark.parametrize("scale", [0.2, 0.8, 2.0])
def test_same_as_arviz(size: int, scale: float) -> None:
    ratios = scale * np.random.default_rng(size).exponential(size=size) - 700.0
    weights, khat = pareto_smoothed(ratios)
    theirs, their_khat = array_stats.psislw(-ratios)
    np.testing.assert_allclose(weights, theirs, rtol=0, atol=1e-12)
    assert khat == pytest.approx(float(their_khat), abs=1e-12)


def test_shape_of_the_tail_is_found() -> None:
    # exp(k E), E exponential, has a Pareto tail of shape k
    for k in (0.3, 0.9):
        ratios = k * np.random.default_rng(5).exponential(size=100_000)
        assert pareto_smoothed(ratios)[1] == pytest.approx(k, abs=0.1)


def test_weights_of_zero_and_equal_weights() -> None:
    ratios = np.r_[np.full(900, -np.inf), np.zeros(100)]
    weights, khat = pareto_smoothed(ratios)
    assert np.isneginf(weights[:900]).all()
    assert not khat > khat_threshold(1000)
    np.testing.assert_allclose(np.exp(weights[900:]), 0.01)


def test_too_few_draws_have_no_tail() -> None:
    weights, khat = pareto_smoothed(np.arange(10.0))
    assert khat == np.inf
    assert np.exp(weights).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [[np.nan, 0.0], [np.inf, 0.0], [-np.inf, -np.inf], []])
def test_what_is_no_ratio(bad: list[float]) -> None:
    with pytest.raises(DataError, match="log ratios"):
        pareto_smoothed(bad)


def test_threshold() -> None:
    assert khat_threshold(100) == pytest.approx(0.5)
    assert khat_threshold(10**6) == 0.7
    assert khat_threshold(5) == 0.0
