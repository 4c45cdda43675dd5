"""Effects over clusters: simulated clusters, closed forms, symmetries, limits, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import special
from scipy.optimize import brentq

from popavg.errors import DataError, SpecificationError
from popavg.links import LINKS, get_link
from popavg.posterior_tools import _joint_effect
from popavg.posterior_tools._inverse_average import inverse_average, log_slope
from popavg.posterior_tools._inverse_table import InverseTable
from popavg.posterior_tools.effect_distribution import EffectDistribution
from popavg.posterior_tools.integral import marginal_mean

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
THRESHOLDS = (-0.1, 0.02, 0.15)
#: Variance of row 0, of row 1, covariance: one random effect; a slope; none at row 0; ...
SHAPES = {
    "common": (2.0, 2.0, 2.0),
    "slope": (0.5, 1.5, 0.6),
    "less at row 1": (1.5, 0.5, 0.6),
    "only at row 1": (0.0, 0.7, 0.0),
    "only at row 0": (0.7, 0.0, 0.0),
    "opposite": (1.0, 0.5, -0.7),
    "multiple": (0.3, 1.2, 0.6),
}
PROBABILITIES = [name for name, link in LINKS.items() if link.is_probability]
every_link = pytest.mark.parametrize("name", LINKS)


def effect(
    eta: tuple[float, float], shape: tuple[float, float, float], link: str, rest: float = 0.0
) -> EffectDistribution:
    return EffectDistribution(
        *eta,
        variance_0=shape[0],
        variance_1=shape[1],
        covariance=shape[2],
        link=link,
        rest_0=rest,
        rest_1=rest,
    )


def simulated(
    eta: tuple[float, float], shape: tuple[float, float, float], name: str, rest: float
) -> np.ndarray:
    """Effects of 100,000 clusters."""
    sigma = np.array([[shape[0], shape[2]], [shape[2], shape[1]]])
    rng, link = np.random.default_rng(7), get_link(name)
    t = rng.multivariate_normal([0.0, 0.0], sigma, 100_000, method="eigh")
    if rest == 0.0:
        return link.inverse(eta[1] + t[:, 1]) - link.inverse(eta[0] + t[:, 0])
    sd = math.sqrt(rest)
    return marginal_mean(eta[1] + t[:, 1], sd, link) - marginal_mean(eta[0] + t[:, 0], sd, link)


@every_link
@pytest.mark.parametrize("kind", SHAPES)
def test_simulated_clusters(name: str, kind: str) -> None:
    shape = tuple(v / 4 for v in SHAPES[kind]) if name == "log" else SHAPES[kind]
    for eta in ((-0.4, 0.5), (0.3, -1.0)):
        clusters = simulated(eta, shape, name, 0.0)
        n, asked = len(clusters), effect(eta, shape, name)
        share = asked.share_above(THRESHOLDS)
        error = np.sqrt(np.maximum(share * (1 - share), 1e-4) / n)
        found = (clusters[:, None] > THRESHOLDS).mean(axis=0)
        if not (name == "identity" and kind == "common"):
            assert np.all(np.abs(found - share) < 4.5 * error)
        # A quantile's simulation error, by the simulated quantiles a few errors to both sides.
        wide = 4.5 * np.sqrt(np.multiply(LEVELS, np.subtract(1, LEVELS)) / n)
        low = np.quantile(clusters, np.subtract(LEVELS, wide))
        high = np.quantile(clusters, np.add(LEVELS, wide))
        quantiles = asked.quantiles(LEVELS)
        assert np.all((low - 1e-4 < quantiles) & (quantiles < high + 1e-4))


@pytest.mark.parametrize("name", ["logit", "cloglog", "probit"])
@pytest.mark.parametrize("kind", ["common", "slope"])
def test_simulated_clusters_with_an_inner_factor(name: str, kind: str) -> None:
    eta, rest = (-0.4, 0.5), 0.8
    clusters = simulated(eta, SHAPES[kind], name, rest)
    asked = effect(eta, SHAPES[kind], name, rest)
    share = asked.share_above(THRESHOLDS)
    error = np.sqrt(np.maximum(share * (1 - share), 1e-4) / len(clusters))
    assert np.all(np.abs((clusters[:, None] > THRESHOLDS).mean(axis=0) - share) < 4.5 * error)
    reached = (clusters[:, None] <= asked.quantiles(LEVELS)).mean(axis=0)
    assert_allclose(reached, LEVELS, atol=4.5 * 0.5 / math.sqrt(len(clusters)))


@pytest.mark.parametrize("name", PROBABILITIES)
@given(eta_0=st.floats(-6, 6), difference=st.floats(0.05, 5), sd=st.floats(0.05, 6))
def test_one_random_effect_by_its_two_roots(
    name: str, eta_0: float, difference: float, sd: float
) -> None:
    """Half of the largest effect: P(a < t < b), its roots by Brent's method."""
    link, eta_1 = get_link(name), eta_0 + difference

    def at(t: float) -> float:
        return float(link.inverse(eta_1 + t) - link.inverse(eta_0 + t))

    grid = np.linspace(-15, 15, 6001) - eta_0
    values = link.inverse(eta_1 + grid) - link.inverse(eta_0 + grid)
    top = float(grid[np.argmax(values)])
    c = 0.5 * at(top)
    a, b = (brentq(lambda t: at(t) - c, *ends, xtol=1e-14) for ends in ((-60, top), (top, 60)))
    expected = special.ndtr(b / sd) - special.ndtr(a / sd)
    one = effect((eta_0, eta_1), (sd * sd,) * 3, name)
    assert one.share_above(c) == pytest.approx(expected, abs=1e-10)
    if 0.001 < expected < 0.999:
        assert one.quantiles(1 - expected) == pytest.approx(c, abs=1e-9)


@every_link
@pytest.mark.parametrize("kind", ["common", "slope", "less at row 1", "opposite"])
def test_quantiles_and_shares_agree(name: str, kind: str) -> None:
    asked = effect((-0.4, 0.5), SHAPES[kind], name)
    quantiles = asked.quantiles(LEVELS)
    if name == "identity" and kind == "common":
        assert_allclose(quantiles, 0.9)
        return
    assert np.all(np.diff(quantiles) > 0)
    assert_allclose(asked.share_above(quantiles), np.subtract(1, LEVELS), atol=1e-7)


@every_link
@pytest.mark.parametrize("kind", SHAPES)
def test_the_other_direction_has_the_other_sign(name: str, kind: str) -> None:
    v_0, v_1, covariance = SHAPES[kind]
    there = effect((-0.4, 0.5), (v_0, v_1, covariance), name)
    back = effect((0.5, -0.4), (v_1, v_0, covariance), name)
    assert_allclose(there.quantiles(LEVELS), -back.quantiles(LEVELS)[::-1], atol=1e-6, rtol=1e-6)
    shares = 1 - back.share_above(np.negative(THRESHOLDS))
    assert_allclose(there.share_above(THRESHOLDS), shares, atol=1e-6)


@pytest.mark.parametrize("rest", [0.0, 0.8])
def test_probit_by_its_closed_average(rest: float) -> None:
    """An inner factor is the same as smaller coefficients and variances."""
    eta, shape, shrink = np.array([-0.4, 0.9]), np.array(SHAPES["slope"]), 1 / (1 + rest)
    inner = effect((-0.4, 0.9), SHAPES["slope"], "probit", rest)
    smaller = effect(tuple(eta * math.sqrt(shrink)), tuple(shape * shrink), "probit")
    assert_allclose(inner.quantiles(LEVELS), smaller.quantiles(LEVELS), atol=1e-8)
    assert_allclose(inner.share_above(THRESHOLDS), smaller.share_above(THRESHOLDS), atol=1e-9)


@pytest.mark.parametrize("name", [*PROBABILITIES, "log"])
def test_a_slope_that_vanishes_is_one_random_effect(name: str) -> None:
    """The two ways of computing meet."""
    common = effect((-0.4, 0.5), (0.5, 0.5, 0.5), name)
    almost = effect((-0.4, 0.5), (0.5, 0.5 + 1e-4, 0.5), name)
    assert_allclose(almost.quantiles(LEVELS), common.quantiles(LEVELS), atol=2e-3)
    assert_allclose(almost.share_above([0.1]), common.share_above([0.1]), atol=2e-3)


@every_link
def test_without_random_effects_all_clusters_are_equal(name: str) -> None:
    link = get_link(name)
    difference = float(link.inverse(0.5) - link.inverse(-0.4))
    none = effect((-0.4, 0.5), (0.0, 0.0, 0.0), name)
    assert_allclose(none.quantiles(LEVELS), difference)
    assert none.share_above([difference - 1e-9, difference + 1e-9]).tolist() == [1.0, 0.0]
    tiny = effect((-0.4, 0.5), (1e-12, 1e-12, 1e-12), name)
    assert_allclose(tiny.quantiles(LEVELS), difference, atol=1e-5)


@every_link
def test_no_difference_is_no_effect(name: str) -> None:
    nothing = effect((0.3, 0.3), SHAPES["common"], name)
    assert_allclose(nothing.quantiles(LEVELS), 0.0)
    assert nothing.share_above([-0.01, 0.0, 0.01]).tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("name", PROBABILITIES)
def test_without_a_slope_the_sign_is_the_same_in_all_clusters(name: str) -> None:
    assert effect((-1.0, 0.2), SHAPES["common"], name).share_above(0.0) == 1.0
    assert effect((0.2, -1.0), SHAPES["common"], name).share_above(0.0) == 0.0


def test_the_rule_converges() -> None:
    """Half the step and more nodes change nothing."""
    rng = np.random.default_rng(2)
    n = 60
    cells = _joint_effect.Conditioned(
        *rng.normal(size=(2, n)),
        *np.zeros((2, n)),
        sd=rng.uniform(0.2, 3, n),
        slope=rng.uniform(0.3, 1.2, n),
        r=rng.uniform(0.1, 3, n),
    )
    thresholds = rng.uniform(-0.4, 0.4, n)
    for name in PROBABILITIES:
        share = _joint_effect.joint_share(cells, thresholds, LINKS[name])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_joint_effect, "_STEP", 0.35)
            patch.setattr(_joint_effect, "_FEWEST", 701)
            finer = _joint_effect.joint_share(cells, thresholds, LINKS[name])
        assert_allclose(share, finer, atol=1e-5 if name == "cloglog" else 1e-10)


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("variance", [0.0, 0.3, 9.0])
def test_an_average_is_inverted(name: str, variance: float) -> None:
    if name == "identity":
        return
    link, eta = get_link(name), np.array([-12.0, -2.0, 0.0, 1.5, 3.0])
    predictor = marginal_mean(eta, math.sqrt(variance), link, scale="link")
    back = inverse_average(np.asarray(predictor), np.full(5, variance), link)
    assert_allclose(back, eta, atol=1e-6)


@pytest.mark.parametrize("name", ["logit", "cloglog"])
@pytest.mark.parametrize("variance", [1e-6, 0.01, 0.1, 0.7, 3.0, 9.0, 30.0, 100.0])
def test_tables_of_inverses(name: str, variance: float) -> None:
    """Also where they end: the tails go on as straight lines, or are inverted one by one."""
    link, v, rng = get_link(name), np.array([[variance]]), np.random.default_rng(3)
    tails = np.linspace(-55, -15, 20), np.linspace(15, 55, 20) if name == "logit" else [4.0]
    predictor = np.concatenate([*tails, rng.uniform(-15, 15 if name == "logit" else 2.5, 3000)])
    found, slope = InverseTable(np.array([0.2, variance, 5.0]), link)(predictor[None], v)
    exact = inverse_average(predictor[None], v, link)
    assert_allclose(found, exact, rtol=1e-9, atol=5e-8)
    # Of the slope the weights of single nodes are made.
    assert_allclose(
        slope, log_slope(exact, v, link), rtol=1e-9, atol=1e-6 if variance >= 0.1 else 1e-5
    )


@pytest.mark.parametrize("name", ["logit", "cloglog"])
def test_tables_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantiles and shares by inverting every node: the same, and the tables were used."""
    eta = np.array([[-5.0, 0.3], [-0.4, 0.5], [1.0, 0.2]]).T
    shape = {"variance_0": 0.5, "variance_1": 1.5, "covariance": 0.6}
    rest = {"rest_0": [0.3, 1.0, 4.0], "rest_1": [0.3, 1.3, 4.0]}
    asked = EffectDistribution(*eta, **shape, **rest, link=name)
    levels = [0.1, 0.9]
    tabled = asked.quantiles(levels), asked.share_above(THRESHOLDS)
    used = []
    monkeypatch.setattr(InverseTable, "worth", lambda *_: used.append(1))
    assert_allclose(tabled[0], asked.quantiles(levels), atol=1e-6)
    assert_allclose(tabled[1], asked.share_above(THRESHOLDS), atol=1e-6)
    assert len(used) == 2


@pytest.mark.parametrize("name", PROBABILITIES)
def test_no_difference_of_probabilities_exceeds_one(name: str) -> None:
    share = effect((-0.4, 0.5), SHAPES["slope"], name, 0.4).share_above([-1.0, -2.0, 1.0, 7.0])
    assert share.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_shapes_and_refusals() -> None:
    many = EffectDistribution(
        np.zeros((3, 2)),
        np.ones((3, 2)),
        variance_0=1.0,
        variance_1=1.0,
        covariance=1.0,
        link="logit",
    )
    assert many.quantiles(LEVELS).shape == (3, 2, 5)
    assert many.share_above(0.1).shape == (3, 2, 1)
    with pytest.raises(SpecificationError, match=r"quantiles outside \(0, 1\)"):
        many.quantiles([0.5, 1.0])
    with pytest.raises(DataError, match="impossible values of covariance"):
        effect((0, 1), (1.0, 1.0, 1.1), "logit").quantiles(0.5)
    with pytest.raises(DataError, match="impossible values of variance_0"):
        effect((0, 1), (-1.0, 1.0, 0.0), "logit").quantiles(0.5)
    with pytest.raises(DataError, match="impossible values of eta_0"):
        effect((math.nan, 1), (1.0, 1.0, 0.0), "logit").share_above(0.5)
