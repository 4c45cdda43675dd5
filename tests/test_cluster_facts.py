"""Counts of clusters, held against loops and against shares known from elsewhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import popavg as pa
from popavg.errors import DataError
from popavg.posterior_tools.cluster_facts import cluster_facts


@pytest.mark.parametrize(
    ("name", "columns", "expected"),
    [("toenail", ("patient", "y"), (179, 294)), ("ohio", ("id", "resp"), (373, 537))],
)
def test_known_shares(name: str, columns: tuple[str, str], expected: tuple[int, int]) -> None:
    cluster, outcome = columns
    data = pa.load_dataset(name)
    found = cluster_facts(cluster, pd.factorize(data[cluster])[0], data[outcome])
    assert (found.concordant, found.n_clusters) == expected
    assert found.concordant_share == expected[0] / expected[1]


@pytest.mark.parametrize("seed", range(5))
def test_loops_agree(seed: int) -> None:
    rng = np.random.default_rng(seed)
    index = rng.integers(0, 9, 25)
    trials = rng.integers(1, 3, 25)
    y = rng.binomial(trials, 0.5)
    found = cluster_facts("g", index, y, trials=trials)
    rows = {g: np.flatnonzero(index == g) for g in sorted(set(index))}
    sizes = [len(where) for where in rows.values()]
    assert found.n_clusters == len(rows)
    assert (found.smallest, found.largest) == (min(sizes), max(sizes))
    assert found.median == np.median(sizes)
    assert found.one_row == sizes.count(1)
    assert found.one_unit == sum(trials[where].sum() == 1 for where in rows.values())
    equal = [y[where].sum() in (0, trials[where].sum()) for where in rows.values()]
    assert found.concordant == sum(equal)


def test_counts_and_values_are_never_concordant() -> None:
    found = cluster_facts("g", [0, 0, 1], [0, 0, 5], binary=False)
    assert found.concordant is None
    assert found.concordant_share is None


def test_clusters_without_rows_do_not_count() -> None:
    assert cluster_facts("g", [0, 0, 3], [0, 1, 1]).n_clusters == 2


@pytest.mark.parametrize(
    ("index", "y", "words"),
    [([], [], "at least one row"), ([0, 1], [0], "one of each"), ([0, -1], [0, 1], "no cluster")],
)
def test_errors(index: list[int], y: list[int], words: str) -> None:
    with pytest.raises(DataError, match=words):
        cluster_facts("g", index, y)
