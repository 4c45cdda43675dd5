"""Links: both tails against mpmath, derivatives, round trips, completeness."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp as _mp
from numpy.testing import assert_allclose, assert_array_equal

from popavg.errors import DataError, SpecificationError
from popavg.links import LINKS, Link, get_link
from popavg.mixing import NORMAL

mp: Any = _mp
ETA = np.array([-700.0, -40.0, -20.1, -19.9, -8.0, -1.3, -0.4, -0.3, -1e-9, 0.0, 0.7, 3.0, 6.5])
ETAS = {
    "logit": np.r_[ETA, 8.0, 40.0, 700.0],
    "probit": np.r_[ETA[1:], 8.0, 37.0],
    "cloglog": ETA,
    "log": np.r_[ETA, 40.0, 700.0],
    "identity": np.r_[ETA, 40.0, 700.0],
}
EXACT: dict[str, Callable] = {
    "logit": lambda x: 1 / (1 + mp.exp(-x)),
    "probit": mp.ncdf,
    "cloglog": lambda x: 1 - mp.exp(-mp.exp(x)),
    "log": mp.exp,
    "identity": lambda x: x,
}
TOLERANCE = {
    "logit": lambda: mp.pi / mp.sqrt(3),
    "probit": lambda: mp.mpf(1),
    "cloglog": lambda: mp.pi / mp.sqrt(6),
    "log": lambda: mp.mpf(1),
    "identity": lambda: mp.mpf(1),
}
PROBABILITIES = [name for name, link in LINKS.items() if link.is_probability]
RTOL = 2e-13
"""exp(-700) can't be better than 700 times the float's precision."""

every_link = pytest.mark.parametrize("name", LINKS)
every_probability = pytest.mark.parametrize("name", PROBABILITIES)


@pytest.fixture(autouse=True)
def _digits() -> Iterator[None]:
    """Enough digits for 1 - mean at eta = 700."""
    with mp.workdps(1400):
        yield


def exactly(name: str, of: Callable, etas: np.ndarray) -> np.ndarray:
    """of(mean) as floats."""
    return np.array([float(of(EXACT[name](mp.mpf(eta)))) for eta in etas])


def subclasses(cls: type) -> set[type]:
    """All concrete classes below this one that popavg defines."""
    found = set()
    for sub in cls.__subclasses__():
        found |= {sub} | subclasses(sub)
    return {sub for sub in found if sub.__module__.startswith("popavg")}


def test_every_link_is_listed_and_tested() -> None:
    named = {link for link in subclasses(Link) if link.mixing is NORMAL}
    assert {type(link) for link in LINKS.values()} == named
    assert list(LINKS) == ["logit", "probit", "cloglog", "log", "identity"]
    assert set(LINKS) == set(ETAS) == set(EXACT) == set(TOLERANCE)


@every_link
def test_inverse(name: str) -> None:
    etas = ETAS[name]
    assert_allclose(LINKS[name].inverse(etas), exactly(name, lambda m: m, etas), rtol=RTOL)


@every_probability
def test_complement_in_both_tails(name: str) -> None:
    etas = ETAS[name]
    assert_allclose(LINKS[name].complement(etas), exactly(name, lambda m: 1 - m, etas), rtol=RTOL)


@pytest.mark.parametrize("name", [*PROBABILITIES, "log"])
def test_log_inverse(name: str) -> None:
    etas = ETAS[name]
    assert_allclose(LINKS[name].log_inverse(etas), exactly(name, mp.log, etas), rtol=RTOL)


@every_probability
def test_log_complement(name: str) -> None:
    etas = ETAS[name]
    expected = exactly(name, lambda m: mp.log(1 - m), etas)
    assert_allclose(LINKS[name].log_complement(etas), expected, rtol=RTOL)


@every_link
def test_derivatives_against_mpmath(name: str) -> None:
    etas = ETAS[name]
    etas = etas[(np.abs(etas) < 41)]
    link = LINKS[name]
    first = np.array([slope(name, eta, 1) for eta in etas])
    second = np.array([slope(name, eta, 2) for eta in etas])
    assert_allclose(link.derivative(etas), first, rtol=RTOL)
    assert_allclose(link.second_derivative(etas), second, rtol=RTOL, atol=1e-300)
    assert_allclose(np.exp(link.log_derivative(etas)), first, rtol=RTOL)


def slope(name: str, eta: float, order: int) -> float:
    """Central difference with a step of 1e-400."""
    x, h = mp.mpf(float(eta)), mp.mpf(10) ** -400
    left, middle, right = (EXACT[name](x + k * h) for k in (-1, 0, 1))
    return float((right - left) / (2 * h) if order == 1 else (right - 2 * middle + left) / h**2)


@every_probability
def test_link_from_logs_in_both_tails(name: str) -> None:
    link, etas = LINKS[name], ETAS[name]
    back = link.link_from_logs(link.log_inverse(etas), link.log_complement(etas))
    assert_allclose(back, etas, rtol=1e-13, atol=1e-15)


def test_link_from_logs_of_the_log_link_is_the_log() -> None:
    assert LINKS["log"].link_from_logs(-800.0, 0.0) == -800.0


@every_link
@given(st.floats(-6.0, 2.0))
def test_round_trip(name: str, eta: float) -> None:
    link = LINKS[name]
    assert_allclose(link.link(link.inverse(eta)), eta, rtol=1e-9, atol=1e-12)


@every_link
@given(st.floats(-700.0, 700.0), st.floats(-700.0, 700.0))
def test_inverse_is_monotone(name: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert LINKS[name].inverse(low) <= LINKS[name].inverse(high)


@every_link
def test_ends_of_the_range(name: str) -> None:
    link = LINKS[name]
    if link.is_probability:
        assert_array_equal(link.link([0.0, 1.0]), [-np.inf, np.inf])
        assert_allclose(link.log_complement(-1000.0), 0.0, atol=1e-300)
        assert_allclose(link.inverse([-1000.0, 1000.0]), [0.0, 1.0], atol=0)
        assert_allclose(link.derivative([-1000.0, 1000.0]), 0.0, atol=0)
        assert_allclose(link.second_derivative([-1000.0, 1000.0]), 0.0, atol=0)


@every_probability
def test_mean_outside_the_range_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"1 of 3 means .* first 1\.5\. Allowed: 0 to 1"):
        LINKS[name].link([0.2, 1.5, 1.0])


def test_negative_mean_of_the_log_link_is_refused() -> None:
    with pytest.raises(DataError, match="first -1"):
        LINKS["log"].link(-1.0)


@pytest.mark.parametrize("name", ["log", "identity"])
@pytest.mark.parametrize("method", ["complement", "log_complement"])
def test_no_complement_without_probability(name: str, method: str) -> None:
    with pytest.raises(SpecificationError, match=f"{name} link isn't a probability.*'logit'"):
        getattr(LINKS[name], method)(0.0)


def test_no_logarithm_of_the_identity_link() -> None:
    with pytest.raises(SpecificationError, match="may be negative"):
        LINKS["identity"].log_inverse(1.0)
    with pytest.raises(SpecificationError, match="may be negative"):
        LINKS["identity"].link_from_logs(0.0, 0.0)


@every_link
def test_tolerance_sd(name: str) -> None:
    assert math.isclose(LINKS[name].tolerance_sd, float(TOLERANCE[name]()), rel_tol=1e-15)


@every_link
def test_marginal_predictor_against_a_dense_sum(name: str) -> None:
    link = LINKS[name]
    eta, variance = 0.7, 2.25
    predictor = link.marginal_predictor(eta, variance)
    if predictor is None:
        assert name in ("logit", "cloglog")
        return
    z = np.linspace(-12, 12, 4001)
    density = np.exp(-0.5 * z**2) * (z[1] - z[0]) / np.sqrt(2 * np.pi)
    naive = np.sum(link.inverse(eta + math.sqrt(variance) * z) * density)
    assert_allclose(link.inverse(predictor), naive, rtol=1e-12)


@every_link
def test_shapes_and_scalars(name: str) -> None:
    link = LINKS[name]
    methods = ["inverse", "derivative", "second_derivative", "log_derivative"]
    if link.is_probability:
        methods += ["complement", "log_inverse", "log_complement"]
    for method in methods:
        assert np.ndim(getattr(link, method)(1)) == 0
        assert isinstance(getattr(link, method)(1), np.float64)
        assert getattr(link, method)(np.zeros((2, 0, 3))).shape == (2, 0, 3)
    assert isinstance(link.link(0.5), np.float64)


@every_link
def test_get_link(name: str) -> None:
    assert get_link(name) is LINKS[name]
    assert get_link(LINKS[name]) is LINKS[name]
    assert hash(get_link(name)) == hash(LINKS[name])
    assert repr(get_link(name)) == f"{name.capitalize()}()"


@pytest.mark.parametrize("wrong", ["logits", "", None, 3, ["logit"]])
def test_unknown_link(wrong: Any) -> None:
    with pytest.raises(SpecificationError, match="Allowed: 'logit', 'probit', 'cloglog', 'log'"):
        get_link(wrong)


def test_unknown_link_suggests() -> None:
    with pytest.raises(SpecificationError, match="Did you mean 'probit'"):
        get_link("probitt")
