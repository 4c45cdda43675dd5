"""Draws of clusters' effects against their exact conditional distribution."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray
from scipy import special, stats

from popavg.bridge import BridgeDistribution
from popavg.bridge_logit import BridgeLogit
from popavg.errors import ConvergenceError, SpecificationError
from popavg.posterior_tools import cluster_effects
from popavg.posterior_tools._bridge_draws import _intervals
from popavg.posterior_tools._bridge_lines import (
    FIRST,
    find_grid,
    first_grid,
    log_likelihood_at,
    make_grid,
)
from popavg.posterior_tools._bridge_nodes import shape_of
from popavg.posterior_tools._integrated_kernels import Data
from popavg.posterior_tools.cluster_effects import draw_effects
from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes

type Floats = NDArray[np.float64]

DRAWS = 8_000
SMALLEST_P = 1e-3


def log_row(link: str, y: float, v: Floats) -> Floats:
    if link == "log":
        return y * v - np.exp(v)
    if link == "logit":
        return y * v - np.logaddexp(0.0, v)
    if link == "probit":
        return special.log_ndtr((2 * y - 1) * v)
    hazard = np.exp(v)
    return np.log(-np.expm1(-np.maximum(hazard, 1e-300))) if y else -hazard


def one_cluster(link: str, y: Floats) -> ClusteredOutcomes:
    return ClusteredOutcomes.build(
        y, np.zeros(len(y), int), row=np.arange(len(y)), Z=np.ones((len(y), 1)), link=link,
        family="poisson" if link == "log" else "bernoulli",
    )  # fmt: skip


def drawn(outcomes: ClusteredOutcomes, eta: Floats, root: Floats, count: int = DRAWS) -> Floats:
    eta, root = np.tile(eta, (count, 1)), np.tile(root, (count, 1, 1))
    return draw_effects(outcomes, eta, root, seed=np.arange(count))


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "log"])
@pytest.mark.parametrize(
    ("tau", "n", "ones"), [(0.1, 3, 1), (1.0, 7, 2), (7.0, 7, 0), (7.0, 7, 3), (7.0, 60, 20)]
)
def test_one_effect(link: str, tau: float, n: int, ones: int) -> None:
    rng = np.random.default_rng(n + ones)
    eta, y = rng.normal(-0.5, 1.0, n), (np.arange(n) < ones).astype(float)
    u = drawn(one_cluster(link, y), eta, np.array([[tau]]))[:, 0, 0]
    z = np.linspace(*(u.mean() + np.array([-11, 11]) * u.std()), 8001) / tau
    z = np.concatenate([np.linspace(-9.5, z[0], 2001)[:-1], z]) if z[0] > -9.5 else z
    v = sum((log_row(link, a, b + tau * z) for a, b in zip(y, eta, strict=True)), -0.5 * z * z)
    f = np.exp(v - v.max())
    mass = np.concatenate([[0.0], np.cumsum(0.5 * (f[1:] + f[:-1]) * np.diff(z))])
    assert stats.kstest(u / tau, lambda x: np.interp(x, z, mass / mass[-1])).pvalue > SMALLEST_P


def test_two_effects() -> None:
    x, y = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 0.0, 1.0, 0.0])
    Z, root = np.column_stack([np.ones(4), x]), np.array([[3.0, 0.0], [-0.5, 0.8]])
    outcomes = ClusteredOutcomes.build(y, np.zeros(4, int), row=np.arange(4), Z=Z, link="logit")
    eta = -0.5 + 0.1 * x
    u = drawn(outcomes, eta, root, 2500)[:, 0]
    z = np.linspace(-8.0, 8.0, 801)
    first, second = np.meshgrid(z, z, indexing="ij")
    v = -0.5 * (first**2 + second**2)
    for a, e, (s, t) in zip(y, eta, Z @ root, strict=True):
        v = v + log_row("logit", a, e + s * first + t * second)
    mass = np.exp(v - special.logsumexp(v)).ravel()
    grid = np.stack([root[0, 0] * first, root[1, 0] * first + root[1, 1] * second]).reshape(2, -1)
    for direction in ([1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -2.0]):
        line = direction @ grid
        order = np.argsort(line)
        below, at = np.cumsum(mass[order]), line[order]
        p = stats.kstest(u @ direction, lambda s, a=at, b=below: np.interp(s, a, b)).pvalue
        assert p > SMALLEST_P, direction


@pytest.mark.parametrize(
    ("sd", "n", "ones", "trials"),
    [(0.1, 3, 1, 1), (1.0, 7, 2, 1), (8.0, 7, 0, 1), (8.0, 7, 3, 1), (4.0, 60, 20, 1),
     (0.3, 5, 5, 1), (2.0, 3, 2, 10_000)],
)  # fmt: skip
def test_a_bridge_intercept(sd: float, n: int, ones: int, trials: int) -> None:
    """Against the conditional distribution function, added up on a grid of percentiles."""
    rng = np.random.default_rng(n + ones)
    eta = rng.normal(-0.5, 1.0, n)
    y = np.where(np.arange(n) < ones, np.ceil(0.8 * trials), 0.0)
    outcomes = ClusteredOutcomes.build(
        y, np.zeros(n, int), row=np.arange(n), Z=np.ones((n, 1)), link=BridgeLogit(),
        family="binomial", trials=np.full(n, trials),
    )  # fmt: skip
    u = drawn(outcomes, eta, np.array([[sd]]))[:, 0, 0]
    known = BridgeDistribution(sd=sd)
    low, high = known.to_normal([u.min(), u.max()])
    z = np.linspace(low - 0.1 * (high - low), high + 0.1 * (high - low), 8001)
    at = known.from_normal(z)
    rows = zip(y, eta, strict=True)
    v = sum((a * (b + at) - trials * np.logaddexp(0.0, b + at) for a, b in rows), -0.5 * z * z)
    f = np.exp(v - v.max())
    mass = np.concatenate([[0.0], np.cumsum(0.5 * (f[1:] + f[:-1]))])
    assert stats.kstest(u, lambda x: np.interp(x, at, mass / mass[-1])).pvalue > SMALLEST_P
    np.testing.assert_array_equal(draw_effects(outcomes, eta, [[0.0]], seed=1), 0.0)


@njit
def excess(data: Data, eta: Floats, sd: float) -> float:
    """By how much a cluster's log-likelihood is above its bounds at most, between the nodes."""
    shape, grid = shape_of(sd), make_grid(FIRST)
    first = first_grid(shape)
    _, _, low, high = find_grid(grid, shape, (data, eta, 0), first, 26.0)
    between, bound, mass = np.ones(FIRST), np.empty(FIRST), np.empty(FIRST)
    _intervals(first, between, (low, high), bound, mass)
    worst = -np.inf
    for k in range(low, high):
        width = first.effect[k + 1] - first.effect[k]
        for part in range(21):
            u = first.effect[k] + width * part / 20
            worst = max(worst, log_likelihood_at(u, data, eta, 0) - bound[k])
    return worst


@pytest.mark.parametrize("ones", [0, 2, 4])
@pytest.mark.parametrize("sd", [0.3, 2.0, 8.0])
def test_the_bounds_of_a_bridge_intercept(sd: float, ones: int) -> None:
    """Above the likelihood everywhere, the interval of its mode included."""
    y, eta = (np.arange(4) < ones).astype(float), np.array([0.3, -1.0, 0.4, 0.1])
    data = one_cluster("logit", y).data
    assert -0.1 < excess(data, eta, sd) <= 1e-9


@pytest.mark.parametrize("effects", [1, 2])
def test_gaussian(effects: int) -> None:
    rng = np.random.default_rng(4)
    Z = np.column_stack([np.ones(3), [0.0, 1.0, -1.0]])[:, :effects]
    y, eta = rng.normal(size=3), np.zeros(3)
    outcomes = ClusteredOutcomes.build(
        y, np.zeros(3, int), row=np.arange(3), Z=Z, link="identity", family="gaussian"
    )
    root = np.array([[1.3, 0.0], [0.4, 0.7]])[:effects, :effects]
    count = 20_000
    u = draw_effects(
        outcomes, np.tile(eta, (count, 1)), np.tile(root, (count, 1, 1)), seed=np.arange(count),
        sigma=0.8,
    )[:, 0]  # fmt: skip
    covariance = np.linalg.inv(np.linalg.inv(root @ root.T) + Z.T @ Z / 0.64)
    mean = covariance @ Z.T @ y / 0.64
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), (u - mean).T)
    for part in whitened:
        assert stats.kstest(part, "norm").pvalue > SMALLEST_P
    np.testing.assert_allclose(np.corrcoef(whitened), np.eye(effects), atol=0.03)


def test_alike_clusters_are_drawn_apart_and_independently() -> None:
    outcomes = ClusteredOutcomes.build(
        [1] * 3, [0, 1, 2], row=[0] * 3, Z=[[1.0]], link="logit", n_clusters=4
    )
    u = drawn(outcomes, np.zeros(1), np.ones((1, 1)))[:, :, 0]
    assert u.shape == (DRAWS, 4)
    np.testing.assert_allclose(np.corrcoef(u.T), np.eye(4), atol=0.05)
    assert stats.kstest(u[:, 3], "norm").pvalue > SMALLEST_P  # a cluster without rows: the prior
    assert stats.ks_2samp(u[:, 0], u[:, 1]).pvalue > SMALLEST_P
    assert stats.kstest(u[:, 0], "norm").pvalue < 1e-10


def test_without_variance_there_are_no_effects() -> None:
    outcomes = one_cluster("logit", np.array([1.0, 0.0]))
    np.testing.assert_array_equal(draw_effects(outcomes, np.zeros(2), [[0.0]], seed=1), 0.0)


def test_the_same_seed_gives_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = one_cluster("cloglog", np.array([1.0, 0.0]))
    first = drawn(outcomes, np.zeros(2), np.ones((1, 1)), 50)
    monkeypatch.setattr(cluster_effects, "cpus", lambda: 1)
    np.testing.assert_array_equal(drawn(outcomes, np.zeros(2), np.ones((1, 1)), 50), first)
    assert len(np.unique(first)) == 50
    one = draw_effects(outcomes, np.zeros(2), np.ones((1, 1)), seed=7)
    np.testing.assert_array_equal(one, first[7])


def test_large_clusters_and_roots() -> None:
    y = np.r_[np.ones(3), np.zeros(4997)]
    u = draw_effects(one_cluster("logit", y), np.zeros(5000), [[200.0]], seed=1)
    assert special.logit(3 / 5000) == pytest.approx(u[0, 0], abs=4.0)


@pytest.mark.parametrize("seed", [[1, 2], 1.5])
def test_seeds_are_checked(seed: object) -> None:
    with pytest.raises(SpecificationError, match="seed has the shape"):
        draw_effects(one_cluster("logit", np.ones(1)), [0.0], [[1.0]], seed=seed)  # ty: ignore[invalid-argument-type]


def test_what_cannot_be_computed_is_an_error() -> None:
    with pytest.raises(ConvergenceError, match="some clusters' effects"):
        draw_effects(one_cluster("log", np.zeros(1)), [1e200], [[1.0]], seed=1)


def joint_statistics(
    root: Floats, *, wrong: float = 1.0, steps: int = 12, bridge: bool = False
) -> Floats:
    """z-scores of moments of u after alternating y given u with u given y (Geweke 2004).

    What is alternated leaves the joint distribution of both as it is: u stays N(0, Σ) if the step
    is right. ``wrong`` multiplies the root that the step is given.
    """
    clusters, rows, rng = 4_000, 4, np.random.default_rng(11)
    x = np.linspace(-1.0, 1.0, rows)
    Z = np.column_stack([np.ones(rows), x])[:, : len(root)]
    row, cluster = np.tile(np.arange(rows), clusters), np.repeat(np.arange(clusters), rows)
    u = rng.standard_normal((clusters, len(root))) @ root.T
    known, link = BridgeDistribution(sd=root[0, 0]), BridgeLogit() if bridge else "logit"
    if bridge:
        u = known.draw(u.shape, seed=rng)
    for step in range(steps):
        y = rng.random((clusters, rows)) < special.expit(0.8 * x - 0.3 + u @ Z.T)
        outcomes = ClusteredOutcomes.build(
            y.ravel().astype(float), cluster, row=row, Z=Z, link=link
        )
        u = draw_effects(outcomes, 0.8 * x - 0.3, wrong * root, seed=step)
    whitened = known.to_normal(u.T) if bridge else np.linalg.solve(root, u.T)
    moments = [whitened, whitened**2 - 1.0, whitened**4 - 3.0]
    if len(root) == 2:
        moments.append((whitened[0] * whitened[1])[None])
    table = np.concatenate(moments)
    return table.mean(axis=1) / (table.std(axis=1) / np.sqrt(clusters))


@pytest.mark.parametrize("root", [[[0.5]], [[3.0]], [[1.5, 0.0], [-0.6, 0.8]]])
def test_jointly_with_the_outcomes(root: list[list[float]]) -> None:
    found = joint_statistics(np.array(root))
    assert np.abs(found).max() < 4.0
    assert np.abs(joint_statistics(np.array(root), wrong=1.15)).max() > 6.0


@pytest.mark.parametrize("sd", [0.5, 3.0])
def test_a_bridge_intercept_jointly_with_the_outcomes(sd: float) -> None:
    root = np.array([[sd]])
    assert np.abs(joint_statistics(root, bridge=True)).max() < 4.0
    assert np.abs(joint_statistics(root, wrong=1.15, bridge=True)).max() > 6.0
