"""Sorting, merging and counting must not lose or invent outcomes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import gammaln

from popavg.bridge_logit import BridgeLogit
from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools import clustered_outcomes
from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes


def entries(outcomes: ClusteredOutcomes, cluster: int) -> list[tuple[int, float, float]]:
    data, i = outcomes.data, outcomes.inverse[cluster]
    span = range(data.starts[i], data.starts[i + 1])
    return [(int(data.row[j]), float(data.y[j]), float(data.n[j])) for j in span]


def test_every_cluster_keeps_its_own_rows() -> None:
    rng = np.random.default_rng(1)
    cluster, row = rng.integers(0, 40, 300), rng.integers(0, 3, 300)
    y = rng.integers(0, 2, 300)
    outcomes = ClusteredOutcomes.build(y, cluster, row=row, Z=np.ones((3, 1)), link="logit")
    assert outcomes.n_clusters == 40
    assert outcomes.multiplicity.sum() == 40
    assert outcomes.weights @ outcomes.data.n == 300
    for c in range(40):
        expected = [
            (r, float(y[mine].sum()), float(mine.sum()))
            for r in range(3)
            if (mine := (cluster == c) & (row == r)).any()
        ]
        assert entries(outcomes, c) == expected


def test_equal_clusters_are_kept_once_whatever_their_rows_order() -> None:
    outcomes = ClusteredOutcomes.build(
        [1, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2], row=[0, 1, 1, 0, 0, 1], Z=np.ones((2, 1)),
        link="probit",
    )  # fmt: skip
    assert outcomes.multiplicity.tolist() == [2.0, 1.0]
    assert outcomes.inverse[0] == outcomes.inverse[1] != outcomes.inverse[2]


def test_clusters_whose_keys_collide_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustered_outcomes, "_mix", np.zeros_like)
    outcomes = ClusteredOutcomes.build(
        [1, 0, 1, 0], [0, 1, 2, 3], row=[0] * 4, Z=[[1.0]], link="logit"
    )
    assert [entries(outcomes, c)[0][1] for c in range(4)] == [1.0, 0.0, 1.0, 0.0]


def test_constants_belong_to_the_rows_as_they_came() -> None:
    outcomes = ClusteredOutcomes.build(
        [2, 1, 3], [0, 0, 1], row=[0, 0, 0], Z=[[1.0]], link="logit", family="binomial",
        trials=[4, 2, 6],
    )  # fmt: skip
    assert outcomes.multiplicity.tolist() == [2.0]  # 3 of 6, either way
    np.testing.assert_allclose(np.exp(outcomes.constant), [6.0 * 2.0, 20.0])
    counts = ClusteredOutcomes.build([3, 4], [0, 0], row=[0, 0], Z=[[1.0]], link="log",
                                     family="poisson")  # fmt: skip
    np.testing.assert_allclose(counts.constant, -gammaln([4.0, 5.0]).sum())


def test_gaussian_values_keep_their_sum_of_squares() -> None:
    y = 1e6 + np.array([1.0, 2.0, 4.0])
    outcomes = ClusteredOutcomes.build(
        y, [0, 0, 0], row=[0, 0, 1], Z=[[1.0], [1.0]], link="identity", family="gaussian"
    )
    np.testing.assert_allclose(outcomes.within, [0.5])
    assert entries(outcomes, 0) == [(0, 1e6 + 1.5, 2.0), (1, 1e6 + 4.0, 1.0)]


def test_clusters_without_rows_are_kept() -> None:
    outcomes = ClusteredOutcomes.build([1], [1], row=[0], Z=[[1.0]], link="logit", n_clusters=4)
    assert outcomes.n_clusters == 4
    assert [len(entries(outcomes, c)) for c in range(4)] == [0, 1, 0, 0]


def test_pieces_cover_all_clusters_in_order() -> None:
    n = 30_000
    outcomes = ClusteredOutcomes.build(
        np.arange(n) % 2, np.arange(n) // 3, row=np.arange(n), Z=np.ones((n, 1)), link="logit"
    )
    assert len(outcomes.pieces) > 4
    covered = [i for first, last in outcomes.pieces for i in range(first, last)]
    assert covered == list(range(len(outcomes.multiplicity)))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"y": [0, 2]}, DataError, "outcome in row 1 is 2"),
        ({"y": [0.5, 1]}, DataError, "outcome in row 0 is 0.5"),
        ({"y": [np.nan, 1]}, DataError, "outcome in row 0 is nan"),
        ({"cluster": [0, -1]}, DataError, "1 rows have no cluster"),
        ({"cluster": [0, 1, 2]}, DataError, "different shapes"),
        ({"row": [0, 5]}, DataError, "positions in Z, 0 to 1"),
        ({"Z": np.ones((2, 3))}, SpecificationError, "one or two random effects"),
        ({"Z": [[np.inf], [1.0]]}, DataError, "aren't finite"),
        ({"Z": [[2.0], [1.0]], "link": BridgeLogit()}, SpecificationError, "other.*intercept"),
        ({"Z": np.ones((2, 2)), "link": BridgeLogit()}, SpecificationError, "other.*intercept"),
        ({"link": "log"}, SpecificationError, "doesn't go with bernoulli"),
        ({"family": "binomial", "trials": [1, 0]}, DataError, "1 out of 0"),
        ({"family": "poisson", "link": "log", "y": [1, -1]}, DataError, "whole numbers from 0"),
        ({"family": "gaussian", "link": "identity", "y": [1, np.inf]}, DataError, "numbers"),
    ],
)
def test_what_does_not_fit_is_refused(
    change: dict[str, object], error: type[Exception], message: str
) -> None:
    arguments = {"y": [0, 1], "cluster": [0, 1], "row": [0, 1], "Z": np.ones((2, 1))}
    arguments |= {"link": "logit"} | change
    with pytest.raises(error, match=message):
        ClusteredOutcomes.build(**arguments)  # ty: ignore[invalid-argument-type]


def test_a_logits_trials_one_by_one() -> None:
    """Padded to eights within each cluster, whose entries the padding has too."""
    rng = np.random.default_rng(4)
    n = np.array([1, 3, 9, 1, 2, 5, 8, 1, 400, 300])
    cluster = np.array([0, 0, 1, 2, 2, 2, 3, 5, 6, 6])  # 4 is empty; 1 and 6 are for other rules
    outcomes = ClusteredOutcomes.build(
        rng.binomial(n, 0.5), cluster, row=np.arange(10), Z=np.ones((10, 1)), link="logit",
        family="binomial", trials=n,
    )  # fmt: skip
    data, trials = outcomes.data, outcomes.data.trials
    sizes = np.add.reduceat(np.append(data.n, 0), data.starts[:-1]) * (np.diff(data.starts) > 0)
    few = np.array([sizes[i] <= 512 and (data.n[a:b] <= 8).all() for i, (a, b) in
                    enumerate(pairwise(data.starts))])  # fmt: skip
    assert few.tolist().count(False) == 2
    np.testing.assert_array_equal(trials.size, np.where(few, sizes, 0))
    for i, (a, b) in enumerate(pairwise(trials.starts)):
        assert b - a == -(-trials.size[i] // 8) * 8
        first, last = data.starts[i], data.starts[i + 1]
        assert (trials.counts[a:b] == (np.arange(b - a) < trials.size[i])).all()
        assert ((first <= trials.entry[a:b]) & (trials.entry[a:b] < last)).all()
        real = slice(a, a + trials.size[i])
        entries = np.arange(first, last)
        np.testing.assert_array_equal(
            np.bincount(trials.entry[real] - first, minlength=last - first),
            data.n[entries] if few[i] else np.zeros(last - first),
        )
        assert trials.successes[a:b].sum() == trials.total[i] == (data.y[entries].sum() * few[i])
        np.testing.assert_array_equal(trials.row[real], data.row[trials.entry[real]])
