"""How alike rows are: published numbers, closed forms, simulation, limits, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import special

from popavg.errors import DataError, EstimandError
from popavg.links import LINKS, get_link
from popavg.posterior_tools.cluster_correlation import (
    latent_correlation,
    median_odds_ratio,
    pair_correlation,
    pair_odds_ratio,
)

PROBABILITIES = [name for name, link in LINKS.items() if link.is_probability]
ALIKE = {"variance_1": 1.7, "variance_2": 1.7, "covariance": 1.7}


@pytest.mark.parametrize(
    ("variance", "expected"), [(0.0, 1.0), (0.25, 1.61), (0.5, 1.96), (1.0, 2.60), (2.0, 3.85)]
)
def test_larsen_and_merlos_median_odds_ratio(variance: float, expected: float) -> None:
    """exp(0.95 sqrt(v)) in Larsen & Merlo 2005; exp(0.6745 sqrt(2 v)) in Merlo et al. 2006."""
    assert median_odds_ratio(variance, "logit") == pytest.approx(expected, abs=0.01)
    assert median_odds_ratio(variance, "log") == median_odds_ratio(variance, "logit")


def test_the_median_odds_ratio_is_the_median_over_pairs_of_clusters() -> None:
    u = np.random.default_rng(5).normal(0.0, 1.3, (400_000, 2))
    ratio = np.exp(np.abs(u[:, 0] - u[:, 1]))
    assert median_odds_ratio(1.3**2, "logit") == pytest.approx(np.median(ratio), rel=0.01)
    with pytest.raises(EstimandError, match="median odds ratio for the probit link"):
        median_odds_ratio(1.0, "probit")


def test_latent_correlations() -> None:
    assert latent_correlation(1.0, 1.0, "probit") == 0.5
    assert latent_correlation(2.0, 3.0, "logit") == pytest.approx(2 / (3 + math.pi**2 / 3))
    assert latent_correlation(2.0, 3.0, "cloglog") == pytest.approx(2 / (3 + math.pi**2 / 6))
    assert latent_correlation(2.0, 3.0, "identity", residual=5.0) == 0.25
    assert latent_correlation(0.0, 0.0, "logit") == 0.0
    for name in ("log", "identity"):
        with pytest.raises(EstimandError, match=f"latent scale of the {name} link"):
            latent_correlation(1.0, 1.0, name)
    with pytest.raises(DataError, match="shared isn't finite and positive"):
        latent_correlation(-1.0, 1.0, "logit")


@given(st.floats(-1, 1), st.floats(0.01, 5))
def test_probit_at_one_half_is_the_arcsine(rho: float, sd: float) -> None:
    """Sheppard: P(both) = 1/4 + arcsin(r) / 2π, r the latent correlation of the two rows."""
    v = sd * sd
    given_pair = {"variance_1": v, "variance_2": v, "covariance": rho * v, "link": "probit"}
    r = rho * v / (1 + v)
    both = 0.25 + math.asin(r) / (2 * math.pi)
    expected = (both / (0.5 - both)) ** 2
    assert pair_odds_ratio(0, 0, **given_pair) == pytest.approx(expected, rel=1e-10)
    got = pair_correlation(0, 0, **given_pair)
    assert got == pytest.approx(2 / math.pi * math.asin(r), abs=1e-12)


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("eta", [(0.4, 0.4), (-1.0, 0.7)])
def test_simulated_rows(name: str, eta: tuple[float, float]) -> None:
    """Responses of two rows in each of 400,000 clusters."""
    rng, link = np.random.default_rng(11), get_link(name)
    v = {"variance_1": 0.6, "variance_2": 0.9, "covariance": 0.5}
    t = rng.multivariate_normal([0, 0], [[0.6, 0.5], [0.5, 0.9]], 400_000)
    mean = [link.inverse(eta[k] + t[:, k]) for k in (0, 1)]
    residual = 1.3 if name == "identity" else None
    if link.is_probability:
        y = [(rng.uniform(size=len(m)) < m).astype(float) for m in mean]
        table = [np.mean((y[0] == a) & (y[1] == b)) for a, b in ((1, 1), (1, 0), (0, 1), (0, 0))]
        ratio = table[0] * table[3] / (table[1] * table[2])
        got = pair_odds_ratio(*eta, **v, link=name)
        error = math.sqrt(sum(1 / (len(t) * p) for p in table))
        assert math.log(got) == pytest.approx(math.log(ratio), abs=4.5 * error)
    elif name == "log":
        y = [rng.poisson(m) for m in mean]
    else:
        y = [m + rng.normal(0, math.sqrt(1.3), len(m)) for m in mean]
    expected = np.corrcoef(*y)[0, 1]
    got = pair_correlation(*eta, **v, link=name, residual=residual)
    assert got == pytest.approx(expected, abs=0.02 if name == "log" else 0.008)


@pytest.mark.parametrize("name", PROBABILITIES)
def test_the_variance_of_the_clusters_probabilities(name: str) -> None:
    """Two rows alike: Var(p) / (p (1 - p)), by a plain sum over clusters."""
    z = np.linspace(-10, 10, 4001)
    weight = np.exp(-z * z / 2)
    weight /= weight.sum()
    p = get_link(name).inverse(-0.8 + math.sqrt(1.7) * z)
    mean = weight @ p
    expected = (weight @ (p - mean) ** 2) / (mean * (1 - mean))
    assert pair_correlation(-0.8, -0.8, **ALIKE, link=name) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", PROBABILITIES)
def test_rows_that_share_nothing(name: str) -> None:
    nothing = {"variance_1": 2.0, "variance_2": 1.0, "covariance": 0.0, "link": name}
    assert pair_odds_ratio(0.3, -0.5, **nothing) == pytest.approx(1.0, abs=1e-12)
    assert pair_correlation(0.3, -0.5, **nothing) == pytest.approx(0.0, abs=1e-13)


@pytest.mark.parametrize("eta", [-12.0, 12.0])
def test_rare_events_keep_their_digits(eta: float) -> None:
    """Logit far out: p ≈ exp(η + t), Var(p) / E p ≈ exp(η + v / 2) (exp(v) - 1)."""
    expected = math.exp(-12 + 0.05) * math.expm1(0.1)
    alike = {"variance_1": 0.1, "variance_2": 0.1, "covariance": 0.1}
    got = pair_correlation(eta, eta, **alike, link="logit")
    assert got == pytest.approx(expected, rel=1e-4)
    assert pair_odds_ratio(eta, eta, **alike, link="logit") == pytest.approx(
        math.exp(0.1), rel=1e-4
    )


def dense(
    eta: tuple[float, float], v: tuple[float, float], covariance: float, name: str
) -> tuple[float, float]:
    """Log odds ratio and correlation by plain sums of logarithms over one or two normals."""
    link, z = get_link(name), np.linspace(-60, 60, 24_001)
    if v[0] == v[1] == covariance:
        t, weight = [math.sqrt(covariance) * z] * 2, -0.5 * z * z
    else:
        near = np.linspace(-11, 11, 441)
        grid = np.meshgrid(near, near, indexing="ij")
        root = np.linalg.cholesky([[v[0], covariance], [covariance, v[1]]])
        t = [root[0, 0] * grid[0], root[1, 0] * grid[0] + root[1, 1] * grid[1]]
        weight = -0.5 * (grid[0] ** 2 + grid[1] ** 2)
    weight = weight - special.logsumexp(weight)
    either = [
        (link.log_complement(e + s), link.log_inverse(e + s)) for e, s in zip(eta, t, strict=True)
    ]
    pairs = ((1, 1), (1, 0), (0, 1), (0, 0))
    logs = {(a, b): special.logsumexp(weight + either[0][a] + either[1][b]) for a, b in pairs}
    single = sum(special.logsumexp(weight + part) for row in either for part in row)
    agree, differ = logs[1, 1] + logs[0, 0], logs[1, 0] + logs[0, 1]
    return agree - differ, math.exp(agree - single / 2) - math.exp(differ - single / 2)


@pytest.mark.parametrize("name", PROBABILITIES)
@pytest.mark.parametrize("eta", [(4, 4), (6.5, 6.5), (-9, -9), (-6, 6), (3, -5), (2, 5)])
@pytest.mark.parametrize("v", [0.1, 2.0])
def test_both_tails_keep_their_digits(name: str, eta: tuple[float, float], v: float) -> None:
    """No probability is what the others leave of 1."""
    given_pair = {"variance_1": v, "variance_2": v, "covariance": v, "link": name}
    log_ratio, r = dense(eta, (v, v), v, name)
    assert math.log(pair_odds_ratio(*eta, **given_pair)) == pytest.approx(log_ratio, rel=1e-10)
    assert pair_correlation(*eta, **given_pair) == pytest.approx(r, rel=1e-8)


@pytest.mark.parametrize("name", PROBABILITIES)
@pytest.mark.parametrize("share", [0.5, -0.7])
def test_tails_where_rows_share_a_part(name: str, share: float) -> None:
    given_pair = {"variance_1": 0.3, "variance_2": 0.6, "covariance": share * math.sqrt(0.18)}
    for eta in ((2.5, 2.0), (-4.0, -3.0), (-2.0, 2.5)):
        log_ratio, r = dense(eta, (0.3, 0.6), given_pair["covariance"], name)
        got = math.log(pair_odds_ratio(*eta, **given_pair, link=name))
        assert got == pytest.approx(log_ratio, rel=1e-7)
        assert pair_correlation(*eta, **given_pair, link=name) == pytest.approx(r, rel=1e-6)


def test_the_upper_tail_of_the_cloglog_beyond_the_smallest_number() -> None:
    """P(0, 0) = 1e-475, which a product of probabilities would lose."""
    alike = {"variance_1": 1e-4, "variance_2": 1e-4, "covariance": 1e-4}
    log_ratio, _ = dense((7, 7), (1e-4, 1e-4), 1e-4, "cloglog")
    got = pair_odds_ratio(7, 7, **alike, link="cloglog")
    assert math.log(got) == pytest.approx(log_ratio, rel=1e-9)
    assert pair_odds_ratio(4, 4, **dict.fromkeys(alike, 0.1), link="cloglog") == pytest.approx(
        301_514, abs=0.5
    )


def test_shapes_and_refusals() -> None:
    shape = np.zeros((4, 3))
    assert pair_odds_ratio(shape, shape, **ALIKE, link="logit").shape == (4, 3)
    assert_allclose(pair_correlation(shape, shape, **ALIKE, link="log").shape, (4, 3))
    with pytest.raises(EstimandError, match="odds ratio of two rows for the log link"):
        pair_odds_ratio(0, 0, **ALIKE, link="log")
    with pytest.raises(EstimandError, match="without a residual variance"):
        pair_correlation(0, 0, **ALIKE, link="identity")
    with pytest.raises(DataError, match="residual isn't finite and positive"):
        pair_correlation(0, 0, **ALIKE, link="identity", residual=-1)
