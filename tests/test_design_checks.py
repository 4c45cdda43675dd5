"""Checks of a design before a model is built on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popavg.design_checks import check_clusters, check_constant, check_finite, check_rank
from popavg.errors import DataError
from popavg.formula import Formula
from popavg.grouping import GroupDesign

RNG = np.random.default_rng(7)
N = 30
X, Z = RNG.normal(size=(2, N))
ONE = np.ones(N)


def rank(**columns: Any) -> None:
    check_rank(tuple(columns), np.column_stack(list(columns.values())).astype(float))


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("y ~ x", {"x": [2.5, 2.5]}, "the covariate 'x' is 2.5 in every row.*take 'x' out"),
        ("y ~ x", {"x": [True, True]}, "'x' is True in every row"),
        ("y ~ c", {"c": ["one", "one"]}, "the covariate 'c' is one in every row"),
        ("y ~ C(x)*z", {"x": [1, 1], "z": [1, 2]}, "'x' is 1 in every row"),
        ("y ~ z + (x | g)", {"z": [1, 2], "x": [0, 0]}, "'x' is 0 in every row"),
    ],
)
def test_constant_covariates(text: str, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"(?i){message}"):
        check_constant(Formula.parse(text), pd.DataFrame(columns))


def test_offsets_responses_and_clusters_may_be_constant() -> None:
    frame = pd.DataFrame({"y": [1, 1], "d": [2, 2], "x": [1, 2], "g": [1, 1]})
    check_constant(Formula.parse("y ~ x + offset(log(d)) + (1 | g)"), frame)


def test_infinite_terms_are_named() -> None:
    X = np.array([[1, 0.0], [1, -np.inf], [1, np.nan]])
    message = r"the term 'log\(x\)' is infinite or undefined in 2 rows, the first is row 1"
    with pytest.raises(DataError, match=message):
        check_finite(("Intercept", "log(x)"), X, np.zeros(3))
    with pytest.raises(DataError, match="the term 'offset' is infinite or undefined in 1 row,"):
        check_finite(("Intercept",), X[:, :1], np.array([0, np.inf, 0]))
    check_finite(("Intercept",), X[:, :1], np.zeros(3))


def test_infinite_effects_are_named() -> None:
    group = clusters([0, 1, 1], ("A", "B"))
    check_finite((), np.empty((3, 0)), np.zeros(3), (group,))
    infinite = replace(group, Z=np.array([[1.0], [np.inf], [1.0]]))
    message = "the effect 'Intercept' of 'ward' is infinite or undefined in 1 row, the first is row"
    with pytest.raises(DataError, match=f"{message} 1"):
        check_finite((), np.empty((3, 0)), np.zeros(3), (group, infinite))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"Intercept": ONE, "x": X, "twice": 2 * X + 3}, "the term 'twice' can be computed from"),
        ({"Intercept": ONE, "x": X, "z": Z, "s": X - Z}, r"'s' can be computed from 'x', 'z' \(th"),
        ({"Intercept": ONE, "x": X, "c": 5 * ONE}, "the term 'c' has the same value in every row"),
        ({"x": X, "zero": 0 * X}, "the term 'zero' is 0 in every row"),
        ({"x": X, "z": Z, "s": X - Z}, r"\(the design has 3 columns, but rank 2\)"),
        ({"x": X, "a": X, "b": -X}, "'a' can be computed from 'x'; the term 'b' can be computed"),
        ({"Intercept": ONE, "x": 1e-9 * X, "t": 1e9 * X}, "'t' can be computed from 'x'"),
        ({"Intercept": ONE, "a": X > 0, "b": X <= 0}, "'b' can be computed from 'a'"),
        ({"a": X > 0, "b": X <= 0, "c": ONE}, "'c' can be computed from 'a', 'b'"),
    ],
    ids=str,
)
def test_dependent_columns_and_what_they_repeat_are_named(columns: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        rank(**columns)


def test_more_columns_than_rows() -> None:
    with pytest.raises(DataError, match="rank 2"):
        rank(a=[1, 0], b=[0, 1], c=[1, 1])


@pytest.mark.parametrize(
    "columns",
    [
        {"Intercept": ONE},
        {"Intercept": ONE, "x": X, "z": Z},
        {"Intercept": ONE, "ns": 1.7e18 + 1e9 * np.arange(N)},
        {"Intercept": ONE, "id": 1e12 + (np.arange(N) % 2)},
        {"Intercept": ONE, "year": 2000 + np.arange(N), "square": (2000.0 + np.arange(N)) ** 2},
        {"Intercept": ONE, "tiny": 1e-200 * X, "huge": 1e200 * Z},
        {"x": X, "nearly": X + 1e-7 * Z},
    ],
    ids=str,
)
def test_unusual_but_independent_columns_pass(columns: Any) -> None:
    rank(**columns)


@given(
    st.integers(1, 5),
    st.integers(0, 5),
    st.integers(0, 2**32 - 1),
    st.floats(-8, 8),
)
def test_the_rank_is_found_whatever_the_scale(n: int, extra: int, seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    free = rng.normal(size=(N, n)) * 10.0 ** (scale * rng.random(n))
    mixed = free / np.linalg.norm(free, axis=0) @ rng.normal(size=(n, extra))
    terms = tuple(f"t{i}" for i in range(n + extra))
    design = np.column_stack([free, mixed])
    if not extra:
        check_rank(terms, design)
        return
    with pytest.raises(DataError, match=f"has {n + extra} columns, but rank {n}"):
        check_rank(terms, design)


def clusters(index: list[int], levels: tuple[str, ...]) -> GroupDesign:
    Z = np.ones((len(index), 1))
    return GroupDesign("ward", ("Intercept",), levels, np.array(index), Z, ((0,),))


def test_one_cluster() -> None:
    message = "the grouping factor 'ward' has one cluster, 'A'. Allowed: at least two clusters"
    with pytest.raises(DataError, match=message):
        check_clusters(clusters([0, 0], ("A",)), "bernoulli")


@pytest.mark.parametrize("family", ["bernoulli", "gaussian"])
def test_a_cluster_in_every_row(family: str) -> None:
    with pytest.raises(
        DataError, match=r"every row is a cluster of its own in 'ward'.*models\.glm"
    ):
        check_clusters(clusters([0, 1], ("A", "B")), family)


@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_a_cluster_in_every_row_can_be_overdispersion(family: str) -> None:
    check_clusters(clusters([0, 1], ("A", "B")), family)


def test_clusters_with_rows() -> None:
    check_clusters(clusters([0, 1, 1], ("A", "B")), "bernoulli")
