"""The test of uniform ranks against enumeration and simulation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import binom

from popavg.errors import SpecificationError
from popavg.posterior_tools.rank_uniformity import rank_band, rank_counts, uniformity_p_value


def statistic(ranks: tuple[int, ...], draws: int) -> float:
    """Naively: twice the smallest tail of all counts."""
    found = []
    for i in range(1, draws + 1):
        count, z = sum(rank < i for rank in ranks), i / (draws + 1)
        found += [binom.cdf(count, len(ranks), z), binom.sf(count - 1, len(ranks), z)]
    return 2 * min(found)


@pytest.mark.parametrize(("runs", "draws"), [(4, 3), (5, 2), (3, 5), (2, 9), (1, 4)])
def test_p_value_is_that_of_all_possible_ranks(runs: int, draws: int) -> None:
    possible = list(product(range(draws + 1), repeat=runs))
    values = np.array([statistic(ranks, draws) for ranks in possible])
    for at in range(0, len(possible), 7):
        expected = np.mean(values <= values[at] * (1 + 1e-9))
        assert uniformity_p_value(possible[at], draws) == pytest.approx(expected, rel=1e-10)


def test_p_value_of_uniform_ranks_is_uniform() -> None:
    rng = np.random.default_rng(3)
    found = np.array([uniformity_p_value(rng.integers(0, 50, 60), 49) for _ in range(600)])
    for level in (0.05, 0.3, 0.7):
        assert abs(np.mean(found <= level) - level) < 4 * np.sqrt(level * (1 - level) / 600)


def test_tiny_p_value_keeps_its_digits() -> None:
    # Only all ranks at this end, or all at the other, are as improbable.
    assert uniformity_p_value([99] * 100, 99) == pytest.approx(2 * 100.0**-100, rel=1e-9)


@pytest.mark.parametrize("prob", [0.5, 0.95, 0.999])
def test_counts_leave_the_band_where_the_p_value_is_small(prob: float) -> None:
    rng, seen = np.random.default_rng(5), set()
    lower, upper = rank_band(80, 20, prob)
    for shift in np.linspace(0, 0.9, 60):
        ranks = np.floor(21 * rng.beta(1, 1 + shift, 80)).astype(int)
        counts = rank_counts(ranks, 20)
        inside = bool(((counts >= lower) & (counts <= upper)).all())
        assert inside == (uniformity_p_value(ranks, 20) > 1 - prob)
        seen.add(inside)
    assert seen == {True, False}


def test_band_holds_as_often_as_it_says_and_not_much_more() -> None:
    rng = np.random.default_rng(7)
    lower, upper = rank_band(200, 99, 0.9)
    counts = np.array([rank_counts(rng.integers(0, 100, 200), 99) for _ in range(4000)])
    inside = ((counts >= lower) & (counts <= upper)).all(axis=1).mean()
    assert 0.9 - 0.015 < inside < 0.9 + 0.02


def test_counts() -> None:
    ranks = np.array([0, 0, 3, 5, 5, 2])
    assert rank_counts(ranks, 5).tolist() == [int((ranks < i).sum()) for i in range(1, 6)]
    assert np.isnan(uniformity_p_value([], 5))


def test_impossible_ranks_are_refused() -> None:
    with pytest.raises(SpecificationError, match="whole numbers from 0 to 9"):
        rank_counts([3, 10], 9)
    with pytest.raises(SpecificationError, match="between 0 and 1"):
        rank_band(10, 9, 1.0)
