"""Separation: found where it is, named, and not seen where it isn't."""

from __future__ import annotations

import numpy as np
import pytest

import popavg as pa
from popavg.errors import SeparationError
from popavg.models.separation import check_separation

X = np.column_stack([np.ones(8), [0.0, 0, 0, 0, 1, 1, 1, 1], [1.0, 2, 3, 4, 1, 2, 3, 4]])
TERMS = ("Intercept", "drug", "dose")


def check(y: list[float], trials: list[float] | None = None, *, counts: bool = False) -> None:
    n = None if trials is None else np.array(trials)
    check_separation(X, np.array(y), n, TERMS, counts=counts)


def test_overlap_passes() -> None:
    check([0, 1, 0, 1, 1, 0, 1, 0])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, 0, 0, 0, 1, 1, 1, 1], r"^complete separation: 'drug' predicts"),
        ([0, 1, 0, 1, 1, 1, 1, 1], r"^quasi-complete separation: 'drug' .*some"),
        ([0, 0, 1, 1, 0, 0, 1, 1], r"^complete separation: .*'dose'"),
        ([0, 0, 1, 1, 0, 1, 1, 1], r"^quasi-complete separation: 'dose'"),
    ],
)
def test_separation_is_named(y: list[float], message: str) -> None:
    with pytest.raises(SeparationError, match=message) as caught:
        check(y)
    assert "Intercept" not in str(caught.value)
    assert "Bayesian fit, whose prior" in str(caught.value)


@pytest.mark.parametrize(("value", "words"), [(0.0, "not an event"), (1.0, "an event")])
def test_a_constant_outcome(value: float, words: str) -> None:
    with pytest.raises(SeparationError, match=f"outcome is {words} in every row"):
        check([value] * 8)


def test_trials_overlap_unless_all_or_none() -> None:
    check([1, 2, 0, 5, 1, 2, 3, 4], [5.0] * 8)
    with pytest.raises(SeparationError, match="'drug'"):
        check([1, 2, 0, 3, 5, 5, 5, 5], [5.0] * 8)
    with pytest.raises(SeparationError, match="an event in every row"):
        check([2, 3, 4, 5, 6, 7, 8, 9], [2.0, 3, 4, 5, 6, 7, 8, 9])


def test_counts_are_separated_by_zeros() -> None:
    check([1, 4, 0, 2, 0, 3, 0, 1], counts=True)
    check([1, 4, 3, 2, 1, 3, 2, 1], counts=True)
    with pytest.raises(SeparationError, match="'drug' predicts counts of zero perfectly for some"):
        check([1, 4, 0, 2, 0, 0, 0, 0], counts=True)
    with pytest.raises(SeparationError, match="the outcome is zero in every row"):
        check([0] * 8, counts=True)


def test_all_counts_positive_is_no_separation() -> None:
    check_separation(np.ones((4, 1)), np.full(4, 2.0), None, ("Intercept",), counts=True)


def test_design_without_intercept() -> None:
    y = np.array([0.0, 1, 0, 1, 1, 1, 1, 1])
    cells = np.column_stack([1.0 - X[:, 1], X[:, 1]])
    with pytest.raises(SeparationError, match=r"'b' predicts"):
        check_separation(cells, y, None, ("a", "b"))


@pytest.mark.parametrize("shift", [0.0, 2000.0])
@pytest.mark.parametrize("separated", [False, True])
def test_many_rows(separated: bool, shift: float) -> None:
    """The rows that matter aren't among those that the programme starts with."""
    rng = np.random.default_rng(8)
    n = 20000
    design = np.column_stack([np.ones(n), shift + rng.normal(size=n), rng.normal(size=n)])
    y = (design[:, 1] - shift + 0.5 * design[:, 2] > 0.1).astype(float)
    if separated:
        with pytest.raises(SeparationError, match="'x', 'z'"):
            check_separation(design, y, None, ("Intercept", "x", "z"))
    else:
        rows = np.argsort(np.abs(design[:, 1] - shift + 0.5 * design[:, 2] - 0.1))[:12]
        y[rows] = 1.0 - y[rows]
        check_separation(design, y, None, ("Intercept", "x", "z"))


def test_rare_level_among_many_rows() -> None:
    rng = np.random.default_rng(9)
    level = np.zeros(20000)
    level[[3, 7, 11]] = 1.0
    design = np.column_stack([np.ones(20000), rng.normal(size=20000), level])
    y = (rng.random(20000) < 0.4).astype(float)
    y[[3, 7, 11]] = [0.0, 1.0, 1.0]
    check_separation(design, y, None, ("Intercept", "x", "rare"))
    y[3] = 1.0
    with pytest.raises(SeparationError, match="'rare' predicts"):
        check_separation(design, y, None, ("Intercept", "x", "rare"))


def test_is_an_error_of_popavg() -> None:
    assert issubclass(SeparationError, pa.errors.PopavgError)
