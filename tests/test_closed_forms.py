"""Closed forms: where they hold, and refusals in words where they don't."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from popavg.errors import DataError, EstimandError
from popavg.links import LINKS
from popavg.posterior_tools.closed_forms import attenuation, exact

Floats = NDArray[np.float64]

X = np.column_stack([np.ones(5), [0.0, 0.0, 1.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0, 2.5]])
BETA = np.array([[-0.5, 0.4, 0.3], [0.2, -0.6, 0.5], [30.0, -12.0, 7.0]])
VARIANCE = np.array([[0.0], [2.0], [17.0]])
SLOPES = 1.0 + X[:, 2] ** 2 * np.ones((3, 1))
CLOSED = ("identity", "log", "probit")


def test_every_link_is_closed_or_refused() -> None:
    assert set(LINKS) == {*CLOSED, "logit", "cloglog"}, "say whether the new link is closed"


@pytest.mark.parametrize("method", [exact, attenuation])
@pytest.mark.parametrize("shape", [(3, 1), (3, 5)])
def test_closed_forms_of_a_random_intercept(
    method: Callable[..., Floats], shape: tuple[int, int]
) -> None:
    v = np.broadcast_to(VARIANCE, shape)
    np.testing.assert_allclose(
        method(BETA, v, X, "probit"), BETA / np.sqrt(1.0 + VARIANCE), rtol=1e-12
    )
    np.testing.assert_allclose(method(BETA, v, X, "identity"), BETA, rtol=0)
    shifted = BETA + VARIANCE / 2 * np.array([1.0, 0.0, 0.0])
    np.testing.assert_allclose(method(BETA, v, X, "log"), shifted, rtol=1e-12, atol=1e-13)


def test_sd_zero_changes_nothing() -> None:
    for link in CLOSED:
        np.testing.assert_array_equal(exact(BETA, np.zeros((3, 1)), X, link), BETA)
    np.testing.assert_array_equal(attenuation(BETA, np.zeros((3, 1)), X, "logit"), BETA)


def test_zeger_on_toenail() -> None:
    """Project reference toenail.exact.json, logit: coef, sd and zeger_attenuated."""
    beta = [[-1.6182852198712583, -0.1607718643111084, -0.39100164815554855]]
    expected = [[-0.6322332364990175, -0.06281050760599499, -0.1527569024633981]]
    found = attenuation(beta, [[4.006585304016351**2]], X, "logit")
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_log_slopes_in_the_span_are_exact() -> None:
    squared = np.column_stack([X, X[:, 2] ** 2])
    beta = np.column_stack([BETA, [0.1, 0.2, 0.3]])
    expected = beta + np.array([0.5, 0.0, 0.0, 0.5])
    np.testing.assert_allclose(
        exact(beta, SLOPES, squared, "log"), expected, rtol=1e-11, atol=1e-13
    )


def test_an_offset_is_no_matter_to_the_log_link() -> None:
    offset = np.linspace(-1.0, 2.0, 5)
    with_offset = exact(BETA, VARIANCE, X, "log", offset=offset)
    np.testing.assert_allclose(with_offset, exact(BETA, VARIANCE, X, "log"), rtol=1e-12)


@pytest.mark.parametrize("link", ["logit", "cloglog"])
def test_no_closed_form(link: str) -> None:
    with pytest.raises(EstimandError, match=rf"{link} link has no closed form.*'projection'"):
        exact(BETA, VARIANCE, X, link)


def test_attenuation_refuses_cloglog() -> None:
    with pytest.raises(EstimandError, match="cloglog link has no closed form"):
        attenuation(BETA, VARIANCE, X, "cloglog")


@pytest.mark.parametrize(("method", "link"), [(exact, "probit"), (exact, "log")])
def test_random_slopes_are_refused(method: Callable[..., Floats], link: str) -> None:
    with pytest.raises(EstimandError, match=r"in 3 of 3 draws.*\(random slopes\).*'projection'"):
        method(BETA, SLOPES, X, link)


def test_attenuation_refuses_random_slopes_and_offsets() -> None:
    with pytest.raises(EstimandError, match="random slopes"):
        attenuation(BETA, SLOPES, X, "logit")
    for method, link in ((attenuation, "logit"), (exact, "probit")):
        with pytest.raises(EstimandError, match=r"in 2 of 3 .* together: the offset is attenuated"):
            method(BETA, VARIANCE, X, link, offset=np.linspace(-1.0, 2.0, 5))


def test_the_log_link_needs_an_intercept() -> None:
    with pytest.raises(EstimandError, match="no Intercept column"):
        exact(BETA[:, 1:], VARIANCE, X[:, 1:], "log")


def test_bad_shapes() -> None:
    with pytest.raises(DataError, match="variances of shape"):
        exact(BETA, VARIANCE[:2], X, "probit")
    with pytest.raises(DataError, match="negative"):
        exact(BETA, -VARIANCE, X, "probit")
    with pytest.raises(DataError, match="beta of shape"):
        exact(BETA[:, :2], VARIANCE, X, "probit")
    with pytest.raises(DataError, match="linear combinations"):
        exact(BETA, VARIANCE, X[:, [0, 0, 1]], "probit")
