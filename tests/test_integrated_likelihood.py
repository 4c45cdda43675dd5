"""The integrated likelihood against dense quadrature, closed forms and exact references."""

# ruff: noqa: PLR0917  (a row's numbers in the order of the formula)

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray
from scipy import special, stats

import popavg as pa
from popavg.bridge import BridgeDistribution, attenuation_of_sd
from popavg.bridge_logit import BridgeLogit
from popavg.design import Design, family_of
from popavg.links import get_link
from popavg.posterior_tools import _integrated_rules
from popavg.posterior_tools._integrated_kernels import make_work
from popavg.posterior_tools._integrated_line import find_mode
from popavg.posterior_tools._integrated_links import Logit, Rows
from popavg.posterior_tools._integrated_math import exp, log, mills
from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes
from popavg.posterior_tools.integrated_likelihood import (
    log_likelihood,
    quadrature_error,
    total_log_likelihood,
    value_and_gradient,
)
from popavg.posterior_tools.integrated_parameters import Parameters

type Floats = NDArray[np.float64]

EXACT = json.loads((Path(__file__).parent / "reference" / "exact_ml.json").read_text())["datasets"]
FAMILIES = {"logit": "binomial", "probit": "binomial", "cloglog": "binomial", "log": "poisson"}
TAUS = (0.01, 0.1, 1.0, 4.0, 7.0)


def log_row(link: str, y: float, n: float, v: Floats) -> Floats:
    """Log-density of one row without its constant."""
    if link == "logit":
        return y * v - n * np.logaddexp(0.0, v)
    if link == "log":
        return y * v - n * np.exp(np.minimum(v, 600.0))
    if link == "probit":
        success, failure = special.log_ndtr(v), special.log_ndtr(-v)
    else:
        hazard = np.exp(np.minimum(v, 600.0))
        small = np.maximum(hazard, 1e-300)
        success = np.where(hazard < 1e-8, v - hazard / 2, np.log(-np.expm1(-small)))
        failure = -hazard
    return (y * success if y else 0.0) + ((n - y) * failure if n > y else 0.0)


def dense(link: str, y: Floats, n: Floats, eta: Floats, tau: float, *, nodes: int = 6001) -> float:
    """Trapezoid rule of many nodes where the integrand is above exp(-45) of its largest value."""

    def f(z: Floats) -> Floats:
        parts = zip(y, n, eta, strict=True)
        return sum((log_row(link, a, b, c + tau * z) for a, b, c in parts), -0.5 * z * z)

    low, high = -900.0, 900.0
    for _ in range(9):
        z = np.linspace(low, high, 201)
        v = f(z)
        near = np.flatnonzero(v > v.max() - 45.0)
        low, high = z[max(near[0] - 1, 0)], z[min(near[-1] + 1, 200)]
    z = np.linspace(low, high, nodes)
    v = f(z)
    return float(special.logsumexp(v) + np.log(z[1] - z[0]) - 0.5 * np.log(2 * np.pi))


def cluster_of(link: str, y: Floats, n: Floats | None = None, **more: object) -> ClusteredOutcomes:
    """One cluster of rows that all differ."""
    trials = None if link == "log" else (np.ones(len(y)) if n is None else n)
    return ClusteredOutcomes.build(
        y, np.zeros(len(y), int), row=np.arange(len(y)), Z=more.get("Z", np.ones((len(y), 1))),
        link=link, family=FAMILIES[link], trials=trials,
    )  # fmt: skip


def reference(name: str, link: str) -> tuple[ClusteredOutcomes, Floats, Floats, float]:
    """A data set's outcomes, its distinct X, the exact estimate and log-likelihood."""
    known = EXACT[name]
    family = family_of(known["formula"], get_link(link))
    design = Design.build(known["formula"], pa.load_dataset(name), family=family)
    X, row = np.unique(design.matrices.X, axis=0, return_inverse=True)
    group = design.matrices.groups[0]
    outcomes = ClusteredOutcomes.build(
        design.response.y, group.index, row=row.ravel(), Z=np.ones((len(X), 1)), link=link,
        family=family, trials=design.response.trials,
    )  # fmt: skip
    exact = known["links"][link]
    return outcomes, X, np.array([*exact["coef"], exact["sd"]]), exact["logLik"]


@pytest.mark.parametrize(
    ("name", "link"), [(name, link) for name in EXACT for link in EXACT[name]["links"]]
)
def test_exact_maximum_likelihood(name: str, link: str) -> None:
    outcomes, X, estimate, value = reference(name, link)
    eta, root = X @ estimate[:-1], estimate[-1:, None]
    found = value_and_gradient(outcomes, eta, root)
    assert found.value == pytest.approx(value, abs=2e-8)
    assert log_likelihood(outcomes, eta, root).sum() == pytest.approx(value, abs=2e-8)
    np.testing.assert_allclose(X.T @ found.eta, 0.0, atol=2e-6)  # the estimate's own precision
    np.testing.assert_allclose(found.root, 0.0, atol=2e-6)
    assert quadrature_error(outcomes, eta, root).total < 2e-8


@pytest.mark.parametrize("link", FAMILIES)
@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("n", [1, 2, 7, 50, 500])
def test_clusters_against_dense_quadrature(link: str, tau: float, n: int) -> None:
    rng = np.random.default_rng(n)
    eta = rng.normal(-1.0, 1.2, n)
    mixed = (rng.random(n) < special.expit(eta + tau * rng.normal())).astype(float)
    for y in (np.zeros(n), np.ones(n), mixed):
        outcomes = cluster_of(link, y)
        value = log_likelihood(outcomes, eta, [[tau]])[0] - outcomes.constant[0]
        truth = dense(link, y, np.ones(n), eta, tau)
        assert value == pytest.approx(truth, abs=1e-9)
        error = quadrature_error(outcomes, eta, [[tau]])
        assert abs(value - truth) < 2 * error.total + 1e-11
        assert error.clusters.shape == (1,)


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
@pytest.mark.parametrize("tau", [0.1, 1.0, 7.0])
@pytest.mark.parametrize("successes", [(0, 0), (10, 3), (1000, 250), (10**6, 123_456)])
def test_trials(link: str, tau: float, successes: tuple[int, int]) -> None:
    for n, y in ((max(successes[0], 1), successes[1]), (max(successes[0], 1), 0)):
        trials, y = np.array([n, 5.0]), np.array([y, 5.0])
        outcomes = cluster_of(link, y, trials)
        eta = np.array([-1.5, 0.5])
        value = log_likelihood(outcomes, eta, [[tau]])[0] - outcomes.constant[0]
        assert value == pytest.approx(dense(link, y, trials, eta, tau), abs=1e-9, rel=1e-14)


@pytest.mark.parametrize("link", FAMILIES)
@pytest.mark.parametrize("tau", [1.0, 7.0])
def test_far_predictors(link: str, tau: float) -> None:
    for eta, y in ((700.0, 0.0), (-700.0, 1.0), (-700.0, 0.0), (700.0, 1.0), (-30.0, 1.0)):
        outcomes = cluster_of(link, np.array([y, 0.0]))
        predictors = np.array([eta, 0.3])
        value = log_likelihood(outcomes, predictors, [[tau]])[0]
        truth = dense(link, np.array([y, 0.0]), np.ones(2), predictors, tau)
        value -= outcomes.constant[0]
        assert value == pytest.approx(truth, abs=1e-9, rel=1e-13)
        gradient = value_and_gradient(outcomes, predictors, [[tau]])
        assert np.isfinite(gradient.eta).all()
        assert np.isfinite(gradient.root).all()


def test_predictors_of_1e8() -> None:
    outcomes = cluster_of("logit", np.array([1.0, 0.0, 0.0]))
    found = value_and_gradient(outcomes, [1e8, -1e8, 0.0], [[2.0]])
    assert found.value == pytest.approx(np.log(0.5), abs=1e-9)
    misfit = value_and_gradient(outcomes, [-1e8, -1e8, -1e8], [[2.0]])
    assert misfit.value == pytest.approx(-1e8 + 2.0, rel=1e-15)  # E exp(2 z)
    np.testing.assert_allclose(misfit.eta, [1.0, 0.0, 0.0], atol=1e-12)


@pytest.mark.parametrize("tau", [300.0, 1e4])
def test_huge_root(tau: float) -> None:
    outcomes = cluster_of("logit", np.ones(3))
    found = log_likelihood(outcomes, [0.0, 1.0, 2.0], [[tau]])[0]
    exact = mpmath.quad(
        lambda z: mpmath.npdf(z) / mpmath.fprod(1 + mpmath.exp(-e - tau * z) for e in (0, 1, 2)),
        [-9, *(k / tau for k in (-20, -5, 0, 5, 20, 40)), 9],
    )
    assert found == pytest.approx(float(mpmath.log(exact)), abs=1e-9)


def test_ten_thousand_rows() -> None:
    rng = np.random.default_rng(3)
    eta = rng.normal(size=10_000)
    y = (rng.random(10_000) < special.expit(eta + 1.0)).astype(float)
    value = log_likelihood(cluster_of("logit", y), eta, [[1.0]])[0]
    assert value == pytest.approx(dense("logit", y, np.ones(10_000), eta, 1.0, nodes=501), abs=1e-8)


@pytest.mark.parametrize("link", FAMILIES)
def test_without_variance_it_is_the_conditional_likelihood(link: str) -> None:
    y, eta = np.array([1.0, 0.0, 1.0]), np.array([-1.0, 0.5, 2.0])
    outcomes = cluster_of(link, y)
    parts = zip(y, eta, strict=True)
    conditional = sum(float(log_row(link, a, 1.0, np.array(c))) for a, c in parts)
    for tau in (0.0, 1e-12):
        value = log_likelihood(outcomes, eta, [[tau]])[0] - outcomes.constant[0]
        assert value == pytest.approx(conditional, abs=1e-11)
        assert value_and_gradient(outcomes, eta, [[tau]]).root[0, 0] == pytest.approx(0, abs=1e-10)
    assert log_likelihood(outcomes, eta, [[-1.5]]) == pytest.approx(
        log_likelihood(outcomes, eta, [[1.5]]), abs=1e-10
    )


def gradient_by_mpmath(tau: mpmath.mpf, eta: list[float], y: list[int]) -> mpmath.mpf:
    def integrand(z: mpmath.mpf) -> mpmath.mpf:
        rows = zip(y, eta, strict=True)
        return mpmath.npdf(z) * mpmath.fprod(
            1 / (1 + mpmath.exp((1 - 2 * a) * (e + tau * z))) for a, e in rows
        )

    return mpmath.log(mpmath.quad(integrand, mpmath.linspace(-8, 8, 9)))


@pytest.mark.parametrize("tau", [0.1, 4.0])
def test_gradient_against_mpmath(tau: float) -> None:
    eta, y = [-1.0, 0.3, 1.2], [0, 1, 0]
    found = value_and_gradient(cluster_of("logit", np.array(y, float)), eta, [[tau]])
    with mpmath.workdps(22):
        in_root = mpmath.diff(lambda t: gradient_by_mpmath(t, eta, y), tau)
        in_eta = mpmath.diff(lambda e: gradient_by_mpmath(tau, [e, *eta[1:]], y), eta[0])
    assert found.root[0, 0] == pytest.approx(float(in_root), rel=1e-8)
    assert found.eta[0] == pytest.approx(float(in_eta), rel=1e-8)


def central(f: object, x: Floats, step: float = 2e-3) -> Floats:
    """Central differences, error of order step⁶."""
    weights = {1: 45 / 60, 2: -9 / 60, 3: 1 / 60}
    flat = x.ravel()
    out = np.zeros(flat.size)
    for i in range(flat.size):
        for k, w in weights.items():
            move = np.zeros(flat.size)
            move[i] = k * step
            up, down = (flat + move).reshape(x.shape), (flat - move).reshape(x.shape)
            out[i] += w * (f(up) - f(down)) / step  # ty: ignore[call-non-callable]
    return out.reshape(x.shape)


def two_effects(link: str, seed: int = 1) -> tuple[ClusteredOutcomes, Floats, Floats, Floats]:
    """Clusters with an intercept and a slope, one of them all zero: outcomes, eta, Z, cluster."""
    rng = np.random.default_rng(seed)
    x = np.array([0.0, 1.0, -1.0, 2.0])
    Z = np.column_stack([np.ones(4), x])
    cluster = np.repeat(np.arange(4), 4)
    y = rng.poisson(1.5, 16) if link == "log" else rng.integers(0, 2, 16)
    y[:4] = 0
    outcomes = ClusteredOutcomes.build(
        y, cluster, row=np.tile(np.arange(4), 4), Z=Z, link=link,
        family="poisson" if link == "log" else "bernoulli",
    )  # fmt: skip
    return outcomes, -0.5 + 0.6 * x, Z, y.reshape(4, 4).astype(float)


def dense_plane(link: str, y: Floats, eta: Floats, slopes: Floats) -> float:
    z = np.linspace(-9.0, 9.0, 901)
    first, second = np.meshgrid(z, z, indexing="ij")
    v = -0.5 * (first**2 + second**2) - np.log(2 * np.pi)
    for a, e, (s, t) in zip(y, eta, slopes, strict=True):
        v = v + log_row(link, a, 1.0, e + s * first + t * second)
    return float(special.logsumexp(v) + 2 * np.log(z[1] - z[0]))


@pytest.mark.parametrize("link", FAMILIES)
@pytest.mark.parametrize("scale", [0.05, 1.0, 4.0])
def test_intercept_and_slope(link: str, scale: float) -> None:
    outcomes, eta, Z, y = two_effects(link)
    root = scale * np.array([[1.0, 0.0], [-0.5, 0.6]])
    truth = [dense_plane(link, row, eta, Z @ root) for row in y]
    value = log_likelihood(outcomes, eta, root) - outcomes.constant
    np.testing.assert_allclose(value, truth, atol=1e-9)
    assert quadrature_error(outcomes, eta, root).total < 1e-9
    found = value_and_gradient(outcomes, eta, root)
    assert found.value == pytest.approx(log_likelihood(outcomes, eta, root).sum(), abs=1e-11)
    numeric = central(lambda e: log_likelihood(outcomes, e, root).sum(), eta)
    np.testing.assert_allclose(found.eta, numeric, rtol=1e-8, atol=1e-8)
    numeric = central(lambda r: log_likelihood(outcomes, eta, np.tril(r)).sum(), root)
    np.testing.assert_allclose(found.root, np.tril(numeric), rtol=1e-8, atol=1e-8)


def test_steep_planes_are_the_same_by_both_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of the toenail data with random slopes in months: predictors beyond 70."""
    outcomes, eta, *_ = two_effects("logit")
    root = np.array([[6.0, 0.0], [-0.5, 5.0]])
    left_out, general = [], _integrated_rules.integrate_planes

    def noted(*arguments: object) -> None:
        left_out.append(np.isnan(arguments[4].error).sum())  # ty: ignore[unresolved-attribute]
        general(*arguments)

    monkeypatch.setattr(_integrated_rules, "integrate_planes", noted)
    fast = value_and_gradient(outcomes, eta, root)
    assert not left_out
    monkeypatch.setattr(_integrated_rules, "integrate_logit_planes", None)
    slow = value_and_gradient(outcomes, eta, root)
    assert left_out == [4]
    assert fast.value == pytest.approx(slow.value, abs=1e-8)
    np.testing.assert_allclose(fast.eta, slow.eta, atol=1e-8)
    np.testing.assert_allclose(fast.root, slow.root, atol=1e-8)


def test_uncorrelated_and_degenerate_effects() -> None:
    outcomes, eta, Z, y = two_effects("logit")
    root = np.diag([2.0, 0.0])  # no variance of the slope: a random intercept
    one = ClusteredOutcomes.build(
        y.ravel(), np.repeat(np.arange(4), 4), row=np.tile(np.arange(4), 4), Z=Z[:, :1],
        link="logit",
    )  # fmt: skip
    np.testing.assert_allclose(
        log_likelihood(outcomes, eta, root), log_likelihood(one, eta, [[2.0]]), atol=1e-10
    )
    np.testing.assert_allclose(
        log_likelihood(outcomes, eta, np.diag([0.0, 1.5])),
        log_likelihood(
            ClusteredOutcomes.build(
                y.ravel(), np.repeat(np.arange(4), 4), row=np.tile(np.arange(4), 4), Z=Z[:, 1:],
                link="logit",
            ),
            eta,
            [[1.5]],
        ),
        atol=1e-10,
    )  # fmt: skip


@pytest.mark.parametrize("effects", [1, 2])
def test_gaussian_is_the_multivariate_normal(effects: int) -> None:
    rng = np.random.default_rng(5)
    x = np.array([0.0, 1.0, -1.0])
    row = np.tile([0, 1, 1, 2], 3)
    Z = np.column_stack([np.ones(3), x])[:, :effects]
    y, cluster = rng.normal(size=12), np.repeat(np.arange(3), 4)
    outcomes = ClusteredOutcomes.build(y, cluster, row=row, Z=Z, link="identity", family="gaussian")
    eta, root = 0.3 - 0.5 * x, np.array([[1.3, 0.0], [0.4, 0.7]])[:effects, :effects]
    W = Z[row[:4]] @ root
    normal = stats.multivariate_normal(eta[row[:4]], 0.64 * np.eye(4) + W @ W.T)
    found = log_likelihood(outcomes, eta, root, sigma=0.8)
    np.testing.assert_allclose(found, normal.logpdf(y.reshape(3, 4)), rtol=1e-13)
    gradient = value_and_gradient(outcomes, eta, root, sigma=0.8)

    def total(e: Floats, r: Floats, s: float) -> float:
        return float(log_likelihood(outcomes, e, np.tril(r), sigma=s).sum())

    np.testing.assert_allclose(gradient.eta, central(lambda e: total(e, root, 0.8), eta), rtol=1e-8)
    numeric = central(lambda r: total(eta, r, 0.8), root)
    np.testing.assert_allclose(gradient.root, np.tril(numeric), rtol=1e-8)
    numeric = central(lambda s: total(eta, root, s[0]), np.array([0.8]))
    assert gradient.sigma == pytest.approx(numeric[0], rel=1e-8)
    assert quadrature_error(outcomes, eta, root, sigma=0.8).total == 0.0


def test_order_recoding_and_duplication() -> None:
    rng = np.random.default_rng(6)
    cluster, row = rng.integers(0, 30, 200), rng.integers(0, 12, 200)
    y, eta = rng.integers(0, 2, 200), rng.normal(size=12)
    Z = np.ones((12, 1))
    first = ClusteredOutcomes.build(y, cluster, row=row, Z=Z, link="logit")
    base = log_likelihood(first, eta, [[2.0]])
    order, names = rng.permutation(200), rng.permutation(30)
    moved = ClusteredOutcomes.build(
        y[order], names[cluster[order]], row=row[order], Z=Z, link="logit"
    )
    np.testing.assert_allclose(log_likelihood(moved, eta, [[2.0]])[names], base, rtol=1e-13)
    twice = ClusteredOutcomes.build(
        np.tile(y, 2), np.concatenate([cluster, cluster + 30]), row=np.tile(row, 2), Z=Z,
        link="logit",
    )  # fmt: skip
    assert len(twice.multiplicity) == len(first.multiplicity)
    once, both = (value_and_gradient(o, eta, [[2.0]]) for o in (first, twice))
    assert both.value == pytest.approx(2 * once.value, rel=1e-13)
    np.testing.assert_allclose(both.eta, 2 * once.eta, rtol=1e-12)
    spread = ClusteredOutcomes.build(
        y, cluster, row=np.arange(200), Z=np.ones((200, 1)), link="logit"
    )
    np.testing.assert_allclose(log_likelihood(spread, eta[row], [[2.0]]), base, atol=1e-10)
    flipped = ClusteredOutcomes.build(1 - y, cluster, row=row, Z=Z, link="logit")
    np.testing.assert_allclose(log_likelihood(flipped, -eta, [[2.0]]), base, atol=1e-10)


def test_a_rule_that_is_too_coarse_is_seen_and_mended() -> None:
    """The forecast of the step is spoilt: what the harmonics say must mend it."""
    outcomes, eta = cluster_of("cloglog", np.array([0.0, 1.0, 1.0])), np.array([-1.0, 0.0, 2.0])
    parameters = Parameters.read(outcomes, eta, [[4.0]], None)
    truth = dense("cloglog", np.array([0.0, 1.0, 1.0]), np.ones(3), eta, 4.0)
    for coarser in (1.5, 2.0, 3.0):
        found = parameters.integrate(0, finer=coarser)
        assert found.value[0] == pytest.approx(truth, abs=1e-9)
        assert found.error[0] < 2e-9


def bridge_nodes(sd: float, end: float = 800.0) -> tuple[Floats, Floats]:
    """u and the logarithms of its density times du, on a grid that is dense about 0."""
    known = BridgeDistribution(sd=sd)
    width = 0.3 * min(float(known.complement), 1.0)
    t = np.linspace(*(np.array([-1, 1]) * np.arcsinh(end / known.phi / width)), 8_001)
    u = width * np.sinh(t)
    return u, known.log_density(u) + np.log(width * np.cosh(t) * (t[1] - t[0]))


def bridge_cluster(y: Floats, n: Floats) -> ClusteredOutcomes:
    return ClusteredOutcomes.build(
        y, np.zeros(len(y), int), row=np.arange(len(y)), Z=np.ones((len(y), 1)), link=BridgeLogit(),
        family="binomial", trials=n,
    )  # fmt: skip


@pytest.mark.parametrize("sd", [0.05, 0.4, 1.5, 4.4, 8.0])
@pytest.mark.parametrize("n", [1, 2, 7, 30, 200])
def test_a_bridge_intercept_against_dense_quadrature(sd: float, n: int) -> None:
    rng = np.random.default_rng(n)
    u, log_weight = bridge_nodes(sd)
    for shift in (-4.0, 0.0, 1.0):
        eta = shift + rng.normal(size=n)
        effect = BridgeDistribution(sd=sd).draw(seed=rng)
        mixed = (rng.random(n) < special.expit(eta + effect)).astype(float)
        for y in (np.zeros(n), np.ones(n), mixed):
            rows = sum(log_row("logit", a, 1.0, e + u) for a, e in zip(y, eta, strict=True))
            truth = float(special.logsumexp(rows + log_weight))
            outcomes = bridge_cluster(y, np.ones(n))
            assert log_likelihood(outcomes, eta, [[sd]])[0] == pytest.approx(truth, abs=1e-8)
            assert quadrature_error(outcomes, eta, [[sd]]).total < 1e-8


@pytest.mark.parametrize("sd", [0.02, 0.3, 2.0, 8.0, 60.0])
def test_a_bridge_intercept_in_closed_form(sd: float) -> None:
    """One row of one trial is Bernoulli with expit(φη), and u has no part in η's scale."""
    phi = float(attenuation_of_sd(sd))
    for y in (0.0, 1.0):
        outcomes = bridge_cluster(np.array([y]), np.ones(1))
        for eta in (-12.0, -3.0, 0.0, 0.7, 5.0):
            sign = 2 * y - 1
            found = value_and_gradient(outcomes, [eta], [[sd]])
            assert found.value == pytest.approx(special.log_expit(sign * phi * eta), abs=2e-9)
            slope = sign * special.expit(-sign * phi * eta)
            assert found.eta[0] == pytest.approx(phi * slope, abs=2e-9)
            by_sd = -(phi**3) * 3.0 * sd / np.pi**2 * eta * slope
            assert found.root[0, 0] == pytest.approx(by_sd, abs=2e-7)


def bridge_by_mpmath(sd: mpmath.mpf, eta: list[float], y: list[int]) -> mpmath.mpf:
    phi = 1 / mpmath.sqrt(1 + 3 * mpmath.mpf(sd) ** 2 / mpmath.pi**2)

    def integrand(u: mpmath.mpf) -> mpmath.mpf:
        density = mpmath.sin(phi * mpmath.pi) / (2 * mpmath.pi)
        density /= mpmath.cosh(phi * u) + mpmath.cos(phi * mpmath.pi)
        rows = zip(y, eta, strict=True)
        return density * mpmath.fprod(1 / (1 + mpmath.exp((1 - 2 * a) * (e + u))) for a, e in rows)

    ends = [0, *(mpmath.mpf(4) ** k for k in range(-4, 5))]
    return mpmath.log(mpmath.quad(integrand, [*(-x for x in reversed(ends)), *ends[1:]]))


@pytest.mark.parametrize("sd", [0.1, 4.0])
def test_a_bridge_intercepts_gradient_against_mpmath(sd: float) -> None:
    eta, y = [-1.0, 0.3, 1.2], [0, 1, 0]
    outcomes = bridge_cluster(np.array(y, float), np.ones(3))
    found = value_and_gradient(outcomes, eta, [[sd]])
    with mpmath.workdps(22):
        value = bridge_by_mpmath(sd, eta, y)
        in_sd = mpmath.diff(lambda s: bridge_by_mpmath(s, eta, y), sd)
        in_eta = mpmath.diff(lambda e: bridge_by_mpmath(sd, [e, *eta[1:]], y), eta[0])
    assert found.value == pytest.approx(float(value), abs=1e-10)
    assert found.root[0, 0] == pytest.approx(float(in_sd), abs=1e-9)
    assert found.eta[0] == pytest.approx(float(in_eta), abs=1e-9)


@pytest.mark.parametrize("sd", [0.3, 2.0, 8.0])
@pytest.mark.parametrize("n", [1.0, 400.0, 1e5])
def test_a_bridge_intercept_where_nodes_of_its_own_are_needed(sd: float, n: float) -> None:
    """Far predictors, and more trials than nodes are shared by: value, gradient, agreement."""
    y, trials = np.round(n * np.array([0.0, 0.2, 1.0])), np.full(3, n)
    outcomes = bridge_cluster(y, trials)
    parameters = Parameters.read(outcomes, np.zeros(3), [[sd]], None)
    u, log_weight = bridge_nodes(sd, 80.0)
    for eta in (np.array([0.2, -0.5, 1.0]), np.array([25.0, -30.0, 2.0])):
        value = log_likelihood(outcomes, eta, [[sd]])[0] - outcomes.constant[0]
        if n < 1e4:  # the grid is too wide for narrow integrands
            parts = zip(y, eta, strict=True)
            rows = sum(log_row("logit", a, n, e + u) for a, e in parts)
            truth = float(special.logsumexp(rows + log_weight))
            assert value == pytest.approx(truth, abs=1e-8, rel=1e-13)
        found = value_and_gradient(outcomes, eta, [[sd]])
        numeric = central(lambda e: log_likelihood(outcomes, e, [[sd]])[0], eta, 1e-3)
        np.testing.assert_allclose(found.eta, numeric, rtol=1e-6, atol=1e-5)
        numeric = central(
            lambda s, e=eta: log_likelihood(outcomes, e, s)[0], np.array([[sd]]), 1e-3
        )
        np.testing.assert_allclose(found.root, numeric, rtol=1e-5, atol=1e-5)
    fine = parameters.integrate(0, finer=0.25, wider=10.0)
    assert parameters.integrate(0).value[0] == pytest.approx(fine.value[0], abs=1e-8, rel=1e-13)


def test_a_bridge_intercept_without_variance_and_without_rows() -> None:
    y, eta = np.array([1.0, 0.0, 1.0]), np.array([-1.0, 0.5, 2.0])
    outcomes = ClusteredOutcomes.build(
        y, [0, 0, 0], row=[0, 1, 2], Z=np.ones((3, 1)), link=BridgeLogit(), n_clusters=2
    )
    conditional = float(special.log_expit((2 * y - 1) * eta).sum())
    for sd in (0.0, 1e-9):
        found = log_likelihood(outcomes, eta, [[sd]])
        np.testing.assert_allclose(found, [conditional, 0.0], atol=1e-9)
        assert value_and_gradient(outcomes, eta, [[sd]]).root[0, 0] == pytest.approx(0, abs=1e-7)
    np.testing.assert_allclose(
        log_likelihood(outcomes, eta, [[-1.5]]), log_likelihood(outcomes, eta, [[1.5]]), atol=1e-12
    )
    slope = [value_and_gradient(outcomes, eta, [[s]]).root[0, 0] for s in (-1.5, 1.5)]
    assert slope[0] == pytest.approx(-slope[1], abs=1e-12)


def test_shared_nodes_are_left_where_they_are_too_far_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A surprising cluster under a narrow distribution: a harmonic tells, other nodes serve."""
    y, eta, sd = np.ones(7), np.full(7, -3.0), 0.1
    outcomes, own = bridge_cluster(y, np.ones(7)), []
    general = _integrated_rules.integrate_bridge_lines

    def noted(*arguments: object) -> None:
        own.append(np.isnan(arguments[4].error).sum())  # ty: ignore[unresolved-attribute]
        general(*arguments)

    monkeypatch.setattr(_integrated_rules, "integrate_bridge_lines", noted)
    u, log_weight = bridge_nodes(sd)
    truth = special.logsumexp(7 * special.log_expit(u - 3.0) + log_weight)
    assert log_likelihood(outcomes, eta, [[sd]])[0] == pytest.approx(truth, abs=1e-8)
    assert own == [1]


@njit
def apply(which: int, x: Floats) -> Floats:
    out = np.empty(x.size)
    for i in range(x.size):
        out[i] = exp(x[i]) if which == 0 else log(x[i]) if which == 1 else mills(x[i])
    return out


def test_elementary_functions() -> None:
    x = np.concatenate([-np.geomspace(1e-300, 700.0, 200), np.linspace(-5.0, 700.0, 200)])
    np.testing.assert_allclose(apply(0, x), np.exp(x), rtol=4e-16)
    x = np.concatenate([np.geomspace(1e-300, 1e300, 300), 1 + np.geomspace(1e-16, 1.0, 50)])
    np.testing.assert_allclose(apply(1, x), np.log(x), rtol=4e-16)
    x = np.concatenate([np.linspace(0.0, 12.0, 200), np.geomspace(12.0, 1e9, 50)])
    exact = 0.5 * special.erfcx(x / np.sqrt(2.0))
    np.testing.assert_allclose(apply(2, x), exact, rtol=1e-15)


def test_totals_of_many_draws() -> None:
    rng = np.random.default_rng(8)
    cluster = np.repeat(np.arange(12), 5)
    outcomes = ClusteredOutcomes.build(
        rng.integers(0, 4, 60), cluster, row=np.arange(60), Z=np.ones((60, 1)), link="probit",
        family="binomial", trials=np.full(60, 3),
    )  # fmt: skip
    eta, root = rng.normal(size=(9, 60)), rng.uniform(0.1, 4.0, (9, 1, 1))
    clusters = log_likelihood(outcomes, eta, root)
    total = total_log_likelihood(outcomes, eta, root)
    np.testing.assert_allclose(total, clusters.sum(axis=1), rtol=1e-13)


@njit
def mode_of(y: Floats, eta: Floats, tau: float) -> tuple[float, float]:
    rows = Rows(y.size - 1, y, np.ones(y.size), eta, np.full(y.size, tau), np.ones((y.size, 1)))
    rows.n[y.size - 1] = 0.0
    rows.slope[y.size - 1] = 0.0
    work = make_work(y.size, 1, 1)
    z, slope, _ = find_mode(Logit(), rows, work, 0.0)
    return z, slope


def test_newtons_steps_that_go_to_and_fro() -> None:
    """From 0 they end in a cycle of two points, unless they are halved."""
    eta = np.array([-1.7497, -2.1337, -2.5177, -2.8743, -4.1086, -5.3566, -6.3715, 0.0])
    y = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    z, _ = mode_of(y, eta, 4.30433)
    at = np.linspace(0.0, 4.0, 40_001)
    density = -0.5 * at**2 - np.logaddexp(0.0, -(eta[:7, None] + 4.30433 * at)).sum(axis=0)
    assert z == pytest.approx(at[density.argmax()], abs=0.25)


SCRIPT = """
import sys
import numpy as np
from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes
from popavg.posterior_tools.integrated_likelihood import value_and_gradient

rng = np.random.default_rng(5)
Z = np.column_stack([np.ones(350), rng.normal(size=350)])
for q, root in ((1, [[2.0]]), (2, [[1.5, 0.0], [-0.4, 0.7]])):
    outcomes = ClusteredOutcomes.build(
        rng.integers(0, 2, 350), np.arange(350) // 7, row=np.arange(350), Z=Z[:, :q], link="logit"
    )
    for _ in range(20):
        found = value_and_gradient(outcomes, np.round(rng.normal(size=350), 6), root)
        sys.stdout.write(float(found.value).hex() + found.eta.tobytes().hex())
        sys.stdout.write(found.root.tobytes().hex())
"""


@pytest.mark.slow
def test_kernels_from_the_cache_give_the_same_bits(tmp_path: Path) -> None:
    settings = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    cold, warm = (
        subprocess.run(
            [sys.executable, "-c", SCRIPT], env=settings, check=True, capture_output=True
        ).stdout
        for _ in range(2)
    )
    assert len(cold) > 10_000
    assert cold == warm
