"""Every comparison against its scalar formula; which links and scales allow it."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest

from popavg.errors import EstimandError, SpecificationError
from popavg.links import LINKS, get_link
from popavg.posterior_tools.contrasts import COMPARISONS, ComparisonName, Paired, read_comparison
from popavg.posterior_tools.targets import SCALES

HIGH, LOW = np.array([[0.7, 0.2], [0.5, 0.9]]), np.array([[0.3, 0.4], [0.5, 0.1]])

#: Written out for one pair of means.
SCALAR: dict[str, Callable[[float, float], float]] = {
    "difference": lambda a, b: a - b,
    "ratio": lambda a, b: a / b,
    "lnratio": lambda a, b: math.log(a / b),
    "odds_ratio": lambda a, b: (a / (1 - a)) / (b / (1 - b)),
    "lnor": lambda a, b: math.log((a / (1 - a)) / (b / (1 - b))),
    "nnt": lambda a, b: a - b,
}


def test_names_say_the_same_everywhere() -> None:
    assert set(get_args(ComparisonName)) == set(COMPARISONS) == set(SCALAR)
    assert all(name == kind.name for name, kind in COMPARISONS.items())


@pytest.mark.parametrize("name", COMPARISONS)
def test_every_comparison_is_its_formula(name: str) -> None:
    kind = COMPARISONS[name]
    means = (HIGH, LOW, 1 - HIGH, 1 - LOW) if kind.complements else (HIGH, LOW)
    found = kind(*means)
    for i, j in np.ndindex(HIGH.shape):
        assert found[i, j] == pytest.approx(SCALAR[name](HIGH[i, j], LOW[i, j]), rel=1e-13)
    assert pickle.loads(pickle.dumps(kind))(*means) == pytest.approx(found, rel=0, abs=0)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("name", COMPARISONS)
def test_what_links_and_scales_allow(name: ComparisonName, link: str, scale: str) -> None:
    of_probability = LINKS[link].is_probability or name in ("difference", "ratio", "lnratio")
    allowed = name == "difference" or (of_probability and scale == "response")
    if allowed:
        assert read_comparison(name, get_link(link), scale).name == name
        return
    with pytest.raises(EstimandError, match=f"comparison='{name}'") as caught:
        read_comparison(name, get_link(link), scale)
    assert "difference" in caught.value.allowed


def test_the_odds_of_a_probability_next_to_1_are_those_of_its_complement() -> None:
    tiny = np.array([[1e-30]])
    found = COMPARISONS["odds_ratio"](1 - tiny, 1 - tiny, tiny, 3 * tiny)
    assert found.item() == pytest.approx(3.0, rel=1e-14)
    assert COMPARISONS["lnor"](tiny, tiny, 1 - tiny, 1 - tiny).item() == 0.0


@pytest.mark.parametrize(
    ("name", "means", "message"),
    [
        ("ratio", (HIGH, LOW - LOW[0, 0]), "divided by is 0 or negative in some draws"),
        ("ratio", (HIGH, -LOW), "divided by is 0 or negative"),
        ("lnratio", (HIGH - 0.2, LOW), "logarithm is taken is 0 or negative in some draws"),
        ("lnor", (HIGH, 0 * LOW, 1 - HIGH, 1 - LOW), "the probability whose odds"),
        ("odds_ratio", (HIGH, LOW, 0 * HIGH, 1 - LOW), "one minus the probability whose odds"),
    ],
)
def test_ratios_of_nothing(name: str, means: tuple[np.ndarray, ...], message: str) -> None:
    with pytest.raises(EstimandError, match=message + ".*comparison='difference'"):
        COMPARISONS[name](*means)


@pytest.mark.parametrize("name", COMPARISONS)
def test_pairs_of_versions_side_by_side(name: str) -> None:
    kind = COMPARISONS[name]
    means = [HIGH, LOW, (HIGH + LOW) / 2]
    both = means + [1 - mean for mean in means] if kind.complements else means
    pairs = ((0, 1), (2, 1), (1, 0))
    found = pickle.loads(pickle.dumps(Paired(kind, pairs, 3)))(*both)
    assert found.shape == (2, 6)
    for k, (high, low) in enumerate(pairs):
        for i, j in np.ndindex(2, 2):
            expected = SCALAR[name](means[high][i, j], means[low][i, j])
            assert found[i, 2 * k + j] == pytest.approx(expected, rel=1e-12, abs=1e-15)


def lift(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    return (high - low) / low


def test_a_function_of_ones_own() -> None:
    for link, scale in (("logit", "response"), ("identity", "link")):
        kind = read_comparison(lift, get_link(link), scale)
        np.testing.assert_array_equal(kind(HIGH, LOW), (HIGH - LOW) / LOW)
        assert kind.name == "lift"
        assert kind.template.format(high="b", low="a") == "lift(b, a)"
        assert kind.title.format(outcome="mean of y") == "lift of the mean of y"
    unnamed = read_comparison(lambda high, low: high > low, get_link("logit"), "response")
    assert unnamed.name == "custom"
    assert unnamed(HIGH, LOW).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert unnamed(HIGH, LOW).dtype == np.float64


def test_a_function_of_ones_own_gets_copies() -> None:
    def greedy(high: np.ndarray, low: np.ndarray) -> np.ndarray:
        high -= low
        return high

    before = HIGH.copy()
    found = read_comparison(greedy, get_link("logit"), "response")(HIGH, LOW)
    np.testing.assert_array_equal(HIGH, before)
    np.testing.assert_array_equal(found, HIGH - LOW)


@pytest.mark.parametrize(
    "function",
    [
        lambda high, low: (high - low).mean(axis=1),
        lambda high, low: 1.0,
        lambda high, low: None,
        lambda high, low: (high - low).astype(str),
        lambda high, low: (high - low) * 1j,
        lambda high, low: np.hstack([high, low]),
    ],
)
def test_a_function_of_another_shape_or_type(function: Callable[..., object]) -> None:
    kind = read_comparison(function, get_link("logit"), "response")  # ty: ignore
    with pytest.raises(SpecificationError, match=r"turned two arrays of shape \(2, 2\) into"):
        kind(HIGH, LOW)


def test_unknown_names() -> None:
    with pytest.raises(SpecificationError, match=r"'odds_rato' is unknown.*mean 'odds_ratio'"):
        read_comparison("odds_rato", get_link("logit"), "response")  # ty: ignore
    with pytest.raises(SpecificationError, match=r"comparison=3 is unknown.*or a function"):
        read_comparison(3, get_link("logit"), "response")  # ty: ignore
