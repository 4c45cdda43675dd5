"""Verdicts about clusters at their thresholds, in the data's own names."""

from __future__ import annotations

import numpy as np
import pytest

from popavg.posterior_tools.cluster_facts import ClusterFacts, cluster_facts
from popavg.posterior_tools.data_findings import (
    cluster_findings,
    separation_finding,
    slope_findings,
)
from popavg.posterior_tools.findings import Finding


def facts(n: int = 50, rows: int = 4, concordant: int = 10, one: int = 0) -> ClusterFacts:
    return ClusterFacts("herd", n, n * rows, rows, rows, rows, one, one, concordant)


def found(data: ClusterFacts, family: str = "bernoulli") -> dict[str, Finding]:
    return {finding.name: finding for finding in cluster_findings(data, family=family)}


@pytest.mark.parametrize(
    ("n", "verdict"), [(1, "problem"), (9, "problem"), (10, "look"), (39, "look"), (40, "fine")]
)
def test_few_clusters(n: int, verdict: str) -> None:
    finding = found(facts(n, concordant=0))["clusters of 'herd'"]
    assert (finding.verdict, finding.value, finding.number) == (verdict, n, str(n))
    assert "sd_herd" in finding.meaning


@pytest.mark.parametrize(
    ("concordant", "verdict"), [(0, "fine"), (40, "fine"), (41, "look"), (50, "problem")]
)
def test_concordant_clusters(concordant: int, verdict: str) -> None:
    finding = found(facts(concordant=concordant))["clusters of 'herd' with all outcomes equal"]
    assert finding.verdict == verdict
    assert finding.number == f"{concordant} of 50 ({2 * concordant} %)"
    assert ("Hessian is not positive definite" in finding.meaning) == (verdict == "problem")


@pytest.mark.parametrize(
    ("family", "rows", "verdict"),
    [("bernoulli", 2, "look"), ("bernoulli", 3, "fine"), ("binomial", 2, "fine"),
     ("bernoulli", 1, "problem"), ("gaussian", 1, "problem"), ("poisson", 1, "fine")],
)  # fmt: skip
def test_rows_per_cluster(family: str, rows: int, verdict: str) -> None:
    finding = found(facts(rows=rows), family)["rows per cluster of 'herd'"]
    assert finding.verdict == verdict


@pytest.mark.parametrize(("one", "verdict"), [(0, "fine"), (25, "fine"), (26, "look")])
def test_clusters_with_one_row(one: int, verdict: str) -> None:
    finding = found(facts(one=one))["clusters of 'herd' with one row"]
    assert finding.verdict == verdict
    assert ("only 24 others do" in finding.meaning) == (verdict == "look")


def test_one_row_each_says_nothing_of_agreement() -> None:
    data = cluster_facts("herd", np.arange(50), np.arange(50) % 2)
    names = found(data)
    assert "clusters of 'herd' with all outcomes equal" not in names
    assert names["clusters of 'herd' with one row"].verdict == "problem"
    assert "no others" in names["clusters of 'herd' with one row"].meaning
    counts = found(cluster_facts("herd", np.arange(50), np.arange(50), binary=False), "poisson")
    assert counts["clusters of 'herd' with one row"].verdict == "fine"
    assert "overdispersion" in counts["clusters of 'herd' with one row"].meaning


def test_separation() -> None:
    assert separation_finding(None, "y").verdict == "fine"
    words = "complete separation: 'drug' predicts the outcome perfectly, so …"
    finding = separation_finding(words, "y")
    assert finding.verdict == "problem"
    assert finding.meaning.startswith("Complete separation: 'drug'")
    assert "prior" in finding.advice


def test_all_say_what_to_do() -> None:
    for data in (facts(), facts(5, 2, 5), facts(30, 1, 30, 30)):
        for finding in cluster_findings(data, family="bernoulli"):
            assert finding.advice.endswith(".")
            assert finding.meaning.endswith(".")
            assert finding.part == "before"


def test_slopes_whose_zero_is_far_away() -> None:
    one = np.ones(4)

    def told(column: list[float], names: tuple[str, str] = ("Intercept", "x")) -> list[str]:
        return [f.verdict for f in slope_findings("g", names, np.column_stack([one, column]))]

    assert told([0, 1, 2, 3]) == []
    assert told([4, 5, 6, 7]) == ["look"]
    assert told([-7, -6, -5, -4]) == ["look"]
    assert told([2.9, 4, 5, 6]) == []
    assert told([1001, 1004, 1002, 1003]) == ["look"]
    assert told([1001, 1004, 1002, 1003], ("z", "x")) == []
