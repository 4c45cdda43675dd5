"""The joint mean of two rows: brute-force integrals, closed forms, limits, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import special
from scipy.integrate import dblquad

from popavg.errors import DataError, SpecificationError
from popavg.links import LINKS, Link, get_link
from popavg.posterior_tools import joint
from popavg.posterior_tools.integral import marginal_mean
from popavg.posterior_tools.joint import joint_mean

PROBABILITIES = [name for name, link in LINKS.items() if link.is_probability]
every_link = pytest.mark.parametrize("name", LINKS)
every_probability = pytest.mark.parametrize("name", PROBABILITIES)
etas = st.floats(-30.0, 30.0)
sds = st.floats(0.0, 10.0)
correlations = st.floats(-1.0, 1.0)
pairs, pairs_of_sds = st.tuples(etas, etas), st.tuples(sds, sds)


def call(eta: tuple[float, float], sd: tuple[float, float], rho: float, link: str) -> float:
    """The function under test, by standard deviations and a correlation."""
    v = {"variance_1": sd[0] ** 2, "variance_2": sd[1] ** 2}
    return float(joint_mean(*eta, **v, covariance=rho * sd[0] * sd[1], link=link))


def naive(eta: tuple[float, float], sd: tuple[float, float], rho: float, link: Link) -> float:
    """A plain double sum over independent z and w: t_2 = s_2 z, t_1 = s_1 (rho z + ... w)."""
    z = np.linspace(-14.0, 14.0, 1201)
    weight = np.exp(-z * z / 2) * (z[1] - z[0]) / math.sqrt(2 * math.pi)
    total = 0.0
    for k, one in enumerate(z):
        rest = math.sqrt(max(0.0, 1.0 - rho * rho)) * z
        inner = float(link.inverse(eta[0] + sd[0] * (rho * one + rest)) @ weight)
        total += weight[k] * inner * float(link.inverse(eta[1] + sd[1] * one))
    return total


@every_probability
@pytest.mark.parametrize("rho", [-1.0, -0.7, 0.0, 0.3, 0.99, 1.0])
@pytest.mark.parametrize(
    ("eta", "sd"),
    [((0.3, -1.2), (0.5, 1.5)), ((-6.0, -4.0), (2.0, 0.2)), ((-9.0, 3.0), (10.0, 10.0))],
)
def test_a_plain_double_sum(
    name: str, rho: float, eta: tuple[float, float], sd: tuple[float, float]
) -> None:
    expected = naive(eta, sd, rho, get_link(name))
    assert call(eta, sd, rho, name) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", ["logit", "cloglog"])
def test_an_adaptive_double_integral(name: str) -> None:
    link, (s_1, s_2, rho) = get_link(name), (1.1, 0.7, -0.4)
    root = math.sqrt(1 - rho * rho)

    def integrand(w: float, z: float) -> float:
        first = link.inverse(0.4 + s_1 * (rho * z + root * w))
        return float(first * link.inverse(-0.8 + s_2 * z)) * math.exp(-(z * z + w * w) / 2)

    total, _ = dblquad(integrand, -9, 9, -9, 9, epsabs=1e-9, epsrel=1e-9)
    expected = total / (2 * math.pi)
    assert call((0.4, -0.8), (s_1, s_2), rho, name) == pytest.approx(expected, rel=1e-8)


@given(pairs, pairs_of_sds, correlations)
def test_probit_is_the_bivariate_normal_distribution(
    eta: tuple[float, float], sd: tuple[float, float], rho: float
) -> None:
    """By Owen's T function (Owen 1956, Annals of Mathematical Statistics 27:1075)."""
    (eta_1, eta_2), (sd_1, sd_2) = eta, sd
    h, k = eta_1 / math.hypot(1, sd_1), eta_2 / math.hypot(1, sd_2)
    r = rho * sd_1 * sd_2 / math.hypot(1, sd_1) / math.hypot(1, sd_2)
    if h == 0.0 or k == 0.0:
        h, k = h + 1e-12, k + 1e-12
    root = math.sqrt(1 - r * r)
    expected = 0.5 * (special.ndtr(h) + special.ndtr(k)) - (0.5 if h * k < 0 else 0.0)
    expected -= special.owens_t(h, (k / h - r) / root) + special.owens_t(k, (h / k - r) / root)
    assert call(eta, sd, rho, "probit") == pytest.approx(expected, abs=2e-12)


@pytest.mark.parametrize("sd", [0.3, 3.0, 10.0])
def test_probit_at_zero_is_the_arcsine(sd: float) -> None:
    for rho in (-1.0, -0.5, 0.0, 0.5, 1.0):
        r = rho * sd * sd / (1 + sd * sd)
        expected = 0.25 + math.asin(r) / (2 * math.pi)
        assert call((0.0, 0.0), (sd, sd), rho, "probit") == pytest.approx(expected, rel=1e-12)


def test_identity_and_log_by_their_closed_forms() -> None:
    draws = np.random.default_rng(3).multivariate_normal([0, 0], [[0.5, 0.2], [0.2, 0.3]], 400_000)
    for name, eta in (("identity", (1.0, -2.0)), ("log", (0.2, -0.4))):
        link = get_link(name)
        product = link.inverse(eta[0] + draws[:, 0]) * link.inverse(eta[1] + draws[:, 1])
        error = product.std() / math.sqrt(len(product))
        got = joint_mean(*eta, variance_1=0.5, variance_2=0.3, covariance=0.2, link=name)
        assert got == pytest.approx(product.mean(), abs=4 * error)
    assert call((1.0, -2.0), (3.0, 2.0), 0.5, "identity") == pytest.approx(-2.0 + 3.0)
    assert call((1.0, -2.0), (3.0, 2.0), 0.5, "log") == pytest.approx(math.exp(-1 + 6.5 + 3.0))


@every_link
@given(eta=pairs, sd=pairs_of_sds)
def test_without_covariance_it_is_the_product(
    name: str, eta: tuple[float, float], sd: tuple[float, float]
) -> None:
    expected = np.prod(marginal_mean(eta, sd, name))
    assert call(eta, sd, 0.0, name) == pytest.approx(expected, rel=1e-12)


@every_probability
@given(eta=pairs, sd=sds, rho=correlations)
def test_two_events_together_lie_between_the_bounds_of_their_margins(
    name: str, eta: tuple[float, float], sd: float, rho: float
) -> None:
    """Fréchet's bounds; with a second event that is certain nothing but the first one's margin."""
    both = call(eta, (sd, 2.0), rho, name)
    first, second = (float(m) for m in marginal_mean(eta, (sd, 2.0), name))
    assert max(0.0, first + second - 1) - 1e-12 <= both <= min(first, second) * (1 + 1e-12)
    if rho >= 0:
        assert both >= first * second * (1 - 1e-11)
    certain = call((eta[0], 40.0), (sd, 0.5), rho, name)
    assert certain == pytest.approx(first, rel=1e-9)


@given(pairs, pairs_of_sds, correlations)
def test_logit_is_symmetric(eta: tuple[float, float], sd: tuple[float, float], rho: float) -> None:
    """P(1, 1) + P(1, 0) = P(1), by the other sign of the second row."""
    both = call(eta, sd, rho, "logit")
    swapped = call(eta[::-1], sd[::-1], rho, "logit")
    only = call((eta[0], -eta[1]), sd, -rho, "logit")
    assert both == pytest.approx(swapped, rel=1e-12)
    assert both + only == pytest.approx(float(marginal_mean(eta[0], sd[0], "logit")), rel=1e-11)


@pytest.mark.parametrize("t", [0.04, 1.0, 16.0, 100.0])
def test_pirjols_identity_in_the_mean_of_squares(t: float) -> None:
    """h² = h - h', and h(x)h(-x) = h': E h(η+τZ)² from the slope of an exact value.

    E h(-t + τZ) = exp(-t/2) / 2 (Pirjol 2013, J. Comput. Appl. Math. 237:460); its slope in η by
    a central difference of the marginal mean.
    """
    tau, step = math.sqrt(t), 1e-3
    means = marginal_mean(-t + step * np.array([-2, -1, 1, 2]), tau, "logit")
    slope = float(means @ [1, -8, 8, -1]) / (12 * step)
    expected = 0.5 * math.exp(-t / 2) - slope
    assert call((-t, -t), (tau, tau), 1.0, "logit") == pytest.approx(expected, rel=1e-9)


@every_probability
def test_rare_events_keep_their_digits(name: str) -> None:
    """Far below, all three links of a probability are g^-1 of a lognormal, or normal, tail."""
    got = call((-45.0, -50.0), (1.0, 2.0), 0.5, name)
    if name == "probit":
        assert 0.0 < got < 1e-100
        return
    assert got == pytest.approx(math.exp(-95 + (1 + 4) / 2 + 1.0), rel=1e-9)


@every_link
def test_shapes_broadcast_and_blocks_do_not_matter(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(5)
    eta_1, eta_2 = rng.normal(size=(4, 1, 3)), rng.normal(size=(5, 1))
    v_1, v_2 = rng.uniform(0, 9, (4, 1, 1)), rng.uniform(0, 4, (4, 5, 3))
    cov = 0.6 * np.sqrt(v_1 * v_2)
    settings = {"variance_1": v_1, "variance_2": v_2, "covariance": cov, "link": name}
    whole = joint_mean(eta_1, eta_2, **settings)
    assert whole.shape == (4, 5, 3)
    monkeypatch.setattr(joint, "_BLOCK", 100)
    assert_allclose(joint_mean(eta_1, eta_2, **settings), whole, rtol=1e-13)
    one = joint_mean(
        eta_1[2, 0, 1],
        eta_2[3, 0],
        variance_1=v_1[2, 0, 0],
        variance_2=v_2[2, 3, 1],
        covariance=cov[2, 3, 1],
        link=LINKS[name],
    )
    assert np.ndim(one) == 0
    assert_allclose(one, whole[2, 3, 1], rtol=1e-13)
    empty = joint_mean([], 0.0, variance_1=1, variance_2=1, covariance=0, link=name)
    assert empty.shape == (0,)


def test_refusals() -> None:
    good = {"variance_1": 1.0, "variance_2": 4.0, "covariance": 2.0, "link": "logit"}
    assert np.isfinite(joint_mean(0, 0, **good))
    rounding = joint_mean(0, 0, **{**good, "covariance": 2.0 * (1 + 1e-12)})
    assert rounding == pytest.approx(joint_mean(0, 0, **good), rel=1e-9)
    with pytest.raises(DataError, match=r"1 of 1 values of covariance.*at most sqrt"):
        joint_mean(0, 0, **{**good, "covariance": 2.01})
    with pytest.raises(DataError, match=r"covariance.*at most sqrt"):
        joint_mean(0, 0, **{**good, "covariance": -2.01})
    with pytest.raises(DataError, match=r"covariance.*at most sqrt"):
        joint_mean(0, 0, **{**good, "variance_1": 0.0, "covariance": 1e-3})
    with pytest.raises(DataError, match=r"1 of 2 values of variance_1.*variances from 0"):
        joint_mean(0, 0, **{**good, "variance_1": [1.0, -1.0]})
    with pytest.raises(DataError, match=r"1 of 1 values of eta_2.*finite"):
        joint_mean(0, np.nan, **good)
    with pytest.raises(DataError, match="eta_1 isn't a number"):
        joint_mean("high", 0, **good)
    with pytest.raises(DataError, match=r"don't broadcast: eta_1 \(2,\), eta_2 \(3,\)"):
        joint_mean([0, 0], [0, 0, 0], **good)
    with pytest.raises(SpecificationError, match="link='logti' is unknown"):
        joint_mean(0, 0, **{**good, "link": "logti"})


def test_every_link_has_a_formula_or_a_step() -> None:
    assert {"identity", "log", *joint._STEPS} == set(LINKS)
    for name in joint._STEPS:
        assert LINKS[name].is_probability


def test_the_rule_has_fewer_nodes_for_less_dependence() -> None:
    one = np.ones((2, 1))
    for name in PROBABILITIES:
        link = get_link(name)
        lengths = [int(joint._lengths(a * one, 0 * one, link)[0]) for a in (0.0, 0.1, 1.0, 10.0)]
        assert lengths == sorted(lengths)
        assert lengths[0] == 1
