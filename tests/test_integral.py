"""The population average: reference numbers, exact identities, closed forms, limits, refusals."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special

from popavg.errors import DataError, SpecificationError
from popavg.links import LINKS, Link, Logit
from popavg.posterior_tools import quadrature
from popavg.posterior_tools.integral import SCALES, marginal_logs, marginal_mean

REFERENCE = Path(__file__).parent / "reference"
TABLE = json.loads((REFERENCE / "logistic_normal.json").read_text())["points"]
POINTS = json.loads((REFERENCE / "integral_points.json").read_text())["points"]
PROBABILITIES = [name for name, link in LINKS.items() if link.is_probability]
CLOSED = [name for name, link in LINKS.items() if link.marginal_predictor(0.0, 1.0) is not None]

every_link = pytest.mark.parametrize("name", LINKS)
every_probability = pytest.mark.parametrize("name", PROBABILITIES)
every_integral = pytest.mark.parametrize("name", quadrature.QUADRATURES)
etas = st.floats(-40.0, 40.0)
sds = st.floats(0.0, 20.0)


def naive_mean(eta: float, sd: float, link: Link) -> float:
    """E g^-1(eta + sd Z) by a plain sum over a dense grid, one term at a time."""
    step, total = 0.002, 0.0
    for k in range(-6000, 6001):
        z = k * step
        total += float(link.inverse(eta + sd * z)) * math.exp(-z * z / 2) * step
    return total / math.sqrt(2 * math.pi)


def test_every_link_can_be_averaged() -> None:
    assert set(CLOSED) | set(quadrature.QUADRATURES) == set(LINKS)
    assert set(CLOSED).isdisjoint(quadrature.QUADRATURES)
    assert set(TABLE) == set(PROBABILITIES)
    assert set(POINTS) == set(quadrature.QUADRATURES)


@every_probability
def test_table_of_20_digits(name: str) -> None:
    eta, sd, p, q, predictor = np.array(TABLE[name], dtype=float).T
    assert_allclose(marginal_mean(eta, sd, name), p, rtol=1e-12)
    complement = np.exp(marginal_mean(eta, sd, name, scale="log_complement"))
    assert_allclose(complement, q, rtol=1e-12, atol=1e-300)
    assert_allclose(marginal_mean(eta, sd, name, scale="link"), predictor, rtol=0, atol=1e-12)


@every_integral
def test_own_points_over_the_corners(name: str) -> None:
    """Absolute errors of the logs are relative errors of the mean and of its complement."""
    eta, sd, *logs = np.array(POINTS[name], dtype=float).T
    for found, expected in zip(marginal_logs(eta, sd, name), logs, strict=True):
        representable = expected > -745.0
        assert_allclose(found[representable], expected[representable], rtol=0, atol=1e-12)
        assert_allclose(found, expected, rtol=2e-13)


@pytest.mark.parametrize("sd", [0.05, 0.4, 1.0, 1.7, 2.5, 4.0, 6.0])
def test_pirjol_identities(sd: float) -> None:
    """Pirjol 2013, J. Comput. Appl. Math. 237:460: exact at eta = -k sd^2."""
    t = sd**2
    exact = [
        0.5 * math.exp(-t / 2),
        math.exp(-3 * t / 2) - 0.5 * math.exp(-2 * t),
        0.5 * math.exp(-9 * t / 2) - math.exp(-4 * t) + math.exp(-5 * t / 2),
    ]
    found = marginal_mean([-t, -2 * t, -3 * t], sd, "logit")
    assert_allclose(found, exact, rtol=1e-12)


@given(st.floats(-30.0, 30.0), st.floats(0.05, 5.0))
def test_pirjol_recurrence(z: float, sd: float) -> None:
    """phi(z + t) = exp(-z - t/2) (1 - phi(z)) for phi(z) = E expit(-z + sd Z), in logs."""
    t = sd**2
    left = marginal_mean(-z - t, sd, "logit", scale="log")
    right = -z - t / 2 + marginal_mean(-z, sd, "logit", scale="log_complement")
    assert_allclose(left, right, rtol=1e-13, atol=1e-12)


@every_link
@pytest.mark.parametrize(("eta", "sd"), [(-1.3, 0.4), (0.0, 1.0), (0.9, 2.5), (2.0, 4.0)])
def test_naive_twin(name: str, eta: float, sd: float) -> None:
    link = LINKS[name]
    assert_allclose(marginal_mean(eta, sd, link), naive_mean(eta, sd, link), rtol=1e-11, atol=1e-15)


@given(etas, sds)
def test_logit_symmetry(eta: float, sd: float) -> None:
    turned = marginal_logs(eta, sd, "logit")[::-1]
    assert_allclose(marginal_logs(-eta, sd, "logit"), turned, rtol=1e-14)
    assert_allclose(marginal_mean(0.0, sd, "logit", scale="link"), 0.0, atol=1e-14)


@every_probability
@given(st.tuples(etas, etas), sds)
def test_monotone_in_eta(name: str, pair: tuple[float, float], sd: float) -> None:
    low, high = sorted(pair)
    slack = 1e-12 * (1 + abs(high))
    below = marginal_mean(low, sd, name, scale="link")
    assert below <= marginal_mean(high, sd, name, scale="link") + slack


@every_probability
@given(etas, sds)
def test_bounds_and_sum(name: str, eta: float, sd: float) -> None:
    log_mean, log_complement = marginal_logs(eta, sd, name)
    assert log_mean <= 0.0
    assert log_complement <= 0.0
    assert_allclose(np.exp(log_mean) + np.exp(log_complement), 1.0, rtol=1e-14)


@given(st.floats(-40.0, 40.0), st.floats(0.0, 6.0))
def test_logit_bounds(z: float, sd: float) -> None:
    """Pirjol's bounds: the average lies between expit(-z - t/2) and expit(-z + t/2)."""
    found = marginal_mean(-z, sd, "logit", scale="link")
    assert -z - sd**2 / 2 - 1e-12 <= found <= -z + sd**2 / 2 + 1e-12


@every_link
@given(st.floats(-40.0, 3.0))
def test_no_spread_is_the_link_itself(name: str, eta: float) -> None:
    link = LINKS[name]
    assert marginal_mean(eta, 0.0, name) == pytest.approx(link.inverse(eta), rel=1e-15)
    assert_allclose(marginal_mean(eta, 1e-9, name, scale="link"), eta, rtol=1e-14, atol=1e-14)


@every_integral
def test_the_step_from_no_spread_is_smooth(name: str) -> None:
    eta = np.linspace(-40, 6, 93)
    exact, near = marginal_logs(eta, 0.0, name), marginal_logs(eta, 1e-12, name)
    assert_allclose(near, exact, rtol=1e-14)


@every_integral
def test_continuous_where_the_kernel_changes_its_centre(name: str) -> None:
    sd = np.array([0.3, 1.0, 3.0, 8.0])
    at = marginal_logs(-(sd**2), sd, name)
    assert_allclose(marginal_logs(-(sd**2) * (1 + 1e-15), sd, name), at, rtol=1e-13)
    low, high = marginal_logs(0.0, sd, name), marginal_logs(5e-324, sd, name)
    assert_allclose(low, high, rtol=1e-13)


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_take_the_shortcut(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("the quadrature was used")

    monkeypatch.setattr(quadrature, "integrate", forbidden)
    assert np.isfinite(marginal_mean(0.3, 1.0, name))
    with pytest.raises(AssertionError, match="quadrature was used"):
        marginal_mean(0.3, 1.0, "logit")


@given(etas, sds)
def test_probit_closed_form(eta: float, sd: float) -> None:
    predictor = eta / math.sqrt(1 + sd**2)
    assert_allclose(marginal_mean(eta, sd, "probit"), special.ndtr(predictor), rtol=1e-13)
    assert_allclose(marginal_mean(eta, sd, "probit", scale="link"), predictor, rtol=1e-15)


def test_log_and_identity_closed_forms() -> None:
    assert marginal_mean(1.0, 2.0, "log", scale="link") == 3.0
    assert marginal_mean(1.0, 2.0, "log", scale="log") == 3.0
    assert marginal_mean(1.0, 2.0, "log") == math.exp(3.0)
    assert marginal_mean(1.0, 100.0, "log") == math.inf
    assert marginal_mean(1.0, 2.0, "identity") == 1.0
    assert marginal_mean(1.0, 2.0, "identity", scale="link") == 1.0


@every_probability
def test_scales_agree(name: str) -> None:
    eta, sd = np.array([-3.0, 0.2, 1.5])[:, None], np.array([0.0, 0.7, 4.0])
    mean = marginal_mean(eta, sd, name)
    assert_allclose(marginal_mean(eta, sd, name, scale="log"), np.log(mean), rtol=1e-12)
    assert_allclose(
        marginal_mean(eta, sd, name, scale="log_complement"), np.log1p(-mean), rtol=1e-12
    )
    link_scale = marginal_mean(eta, sd, name, scale="link")
    assert_allclose(link_scale, LINKS[name].link(mean), rtol=1e-12)
    log_mean, log_complement = marginal_logs(eta, sd, name)
    assert_array_equal(log_mean, marginal_mean(eta, sd, name, scale="log"))
    assert_array_equal(log_complement, marginal_mean(eta, sd, name, scale="log_complement"))


@every_integral
def test_far_beyond(name: str) -> None:
    """exp(eta + sd^2 / 2) in the left tail, also where it underflows."""
    assert_allclose(marginal_mean(-3000.0, 2.0, name, scale="log"), -2998.0, rtol=1e-14)
    assert_allclose(marginal_mean(-3000.0, 2.0, name, scale="link"), -2998.0, rtol=1e-14)
    assert marginal_mean(-3000.0, 2.0, name) == 0.0
    assert marginal_mean(3000.0, 2.0, name) == 1.0
    log_mean, log_complement = marginal_logs(1.0, 1e4, name)
    assert_allclose([log_mean, log_complement], math.log(0.5), atol=1e-3)


@every_link
def test_shapes_and_scalars(name: str) -> None:
    assert isinstance(marginal_mean(0, 1, name), np.float64)
    assert marginal_mean(np.zeros((4, 1)), np.ones(3), name).shape == (4, 3)
    assert marginal_mean(np.zeros((4, 0)), 1.0, name).shape == (4, 0)
    assert marginal_mean([0.0, 1.0], [0.0, 0.0], name).shape == (2,)


def test_inputs_are_left_alone() -> None:
    eta, sd = np.linspace(-1, 1, 5), np.array([0.0, 1.0, 0.0, 2.0, 3.0])
    before = eta.copy(), sd.copy()
    marginal_mean(eta, sd, "logit")
    assert_array_equal((eta, sd), before)


@pytest.mark.parametrize(
    ("eta", "sd", "message"),
    [
        ([0.0, 1.0], [1.0, -0.5], r"1 of 2 values of sd .* first at sd\[1\]: -0\.5\. Allowed: 0"),
        ([[0.0, np.nan]], 1.0, r"1 of 2 values of eta .* first at eta\[0, 1\]: nan"),
        (np.inf, 1.0, r"1 of 1 values of eta can't be used: inf"),
        (0.0, [np.nan, 1.0, np.inf], r"2 of 3 values of sd .* first at sd\[0\]: nan"),
        ([0.0, 1.0], [1.0, 1.0, 1.0], r"shape \(2,\) and sd has shape \(3,\)"),
        (0.0, 2e4, r"sd can't be used: 20000\. Allowed: 0 to 10,000"),
    ],
)
def test_bad_numbers(eta: Any, sd: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        marginal_mean(eta, sd, "logit")


@every_link
def test_negative_sd_is_refused_for_every_link(name: str) -> None:
    with pytest.raises(DataError, match="values of sd"):
        marginal_mean(0.0, -1.0, name)


@pytest.mark.parametrize("name", ["log", "identity"])
def test_no_complement_without_probability(name: str) -> None:
    with pytest.raises(SpecificationError, match="isn't a probability"):
        marginal_mean(0.0, 1.0, name, scale="log_complement")
    with pytest.raises(SpecificationError, match="isn't a probability"):
        marginal_logs(0.0, 1.0, name)


def test_no_logarithm_of_the_identity_link() -> None:
    with pytest.raises(SpecificationError, match="may be negative"):
        marginal_mean(0.0, 1.0, "identity", scale="log")


def test_unknown_scale_and_link() -> None:
    unknown: Any = "logit"
    with pytest.raises(SpecificationError, match="scale='logit' is unknown"):
        marginal_mean(0.0, 1.0, "logit", scale=unknown)
    with pytest.raises(SpecificationError, match="link='logitt' is unknown"):
        marginal_mean(0.0, 1.0, "logitt")
    assert SCALES == ("mean", "log", "log_complement", "link")


def test_a_link_without_an_integral_is_refused() -> None:
    class Other(Logit):
        name = "other"

    with pytest.raises(SpecificationError, match="neither a closed form nor a quadrature"):
        marginal_mean(0.0, 1.0, Other())
