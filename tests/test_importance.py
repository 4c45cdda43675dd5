"""Importance sampling against posteriors computed on a dense grid."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from functools import cache

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.integrate import cumulative_trapezoid, trapezoid
from scipy.special import expit

import popavg.workflows.importance as module
from popavg.design import Design, family_of
from popavg.errors import SpecificationError
from popavg.links import get_link
from popavg.models.default_priors import resolve_priors
from popavg.priors import Prior
from popavg.workflows.importance import (
    ImportanceResult,
    importance_sample,
    resample,
    weighted_draws,
)
from popavg.workflows.integrated_posterior import IntegratedPosterior, bent

Floats = NDArray[np.float64]

#: Kolmogorov's distance times √n that 1 in 10,000 samples from the right distribution exceeds.
LARGEST_DISTANCE = 2.23


def arguments(
    formula: str,
    data: pd.DataFrame,
    link: str = "logit",
    priors: Mapping[str, object] | None = None,
) -> tuple:
    chosen = get_link(link)
    family = family_of(formula, chosen)
    design = Design.build(formula, data, family=family)
    return design, chosen, family, resolve_priors(design, family, chosen, priors)


@cache
def clustered(clusters: int = 12, size: int = 4, sd: float = 1.0, seed: int = 2) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(clusters), size)
    x = rng.normal(size=len(g))
    y = rng.random(len(g)) < expit(0.5 + 0.5 * x + sd * rng.normal(size=clusters)[g])
    return pd.DataFrame({"y": y.astype(int), "x": x, "g": [f"c{i}" for i in g]})


@cache
def exact() -> tuple[Floats, Floats, Floats, Floats]:
    """Grids of the intercept and the sd and their distribution functions, naively.

    Model ``y ~ 1 + (1 | g)``, Student-t(3, 0, 2.5) and half-Student-t(3, 2.5) priors.
    """
    sums = clustered().groupby("g")["y"].sum().to_numpy()
    a, s = np.linspace(-7, 8, 151), 30 * np.linspace(0.01, 1, 400) ** 2
    z = np.linspace(-7, 7, 101)
    weight = stats.norm.pdf(z) * (z[1] - z[0])
    log_posterior = np.add.outer(stats.t.logpdf(a / 2.5, 3), stats.t.logpdf(s / 2.5, 3))
    for i, start in enumerate(a):
        p = expit(start + s[:, None] * z)
        for y, count in zip(*np.unique(sums, return_counts=True), strict=True):
            log_posterior[i] += count * np.log((p**y * (1 - p) ** (4 - y)) @ weight)
    density = np.exp(log_posterior - log_posterior.max())
    in_a = cumulative_trapezoid(trapezoid(density, s, axis=1), a, initial=0.0)
    in_s = cumulative_trapezoid(trapezoid(density, a, axis=0), s, initial=0.0)
    return a, in_a / in_a[-1], s, in_s / in_s[-1]


def distances(result: ImportanceResult) -> tuple[float, float]:
    """Kolmogorov's distances × √n of intercept and sd from the exact posterior."""
    a, in_a, s, in_s = exact()
    found = []
    for name, grid, below in (("beta", a, in_a), ("sd_g", s, in_s)):
        values = np.sort(result.posterior[name].to_numpy().ravel())
        empirical = (np.arange(len(values)) + 0.5) / len(values)
        distance = np.abs(np.interp(values, grid, below) - empirical).max()
        found.append(float(distance * np.sqrt(len(values))))
    return found[0], found[1]


def drawn() -> ImportanceResult:
    return importance_sample(*arguments("y ~ 1 + (1 | g)", clustered()), seed=1, progress=False)


@pytest.fixture(scope="module")
def result() -> ImportanceResult:
    return drawn()


def test_posterior_is_the_exact_one(result: ImportanceResult) -> None:
    assert result.accepted, result.why
    assert max(distances(result)) < LARGEST_DISTANCE


def test_statistic_sees_that_weights_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    def equal(log_weights: Floats, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
        return rng.choice(len(log_weights), size=count)

    monkeypatch.setattr(module, "resample", equal)
    assert max(distances(drawn())) > LARGEST_DISTANCE


def test_statistic_sees_that_the_jacobian_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = IntegratedPosterior.log_density

    def lacking(self: IntegratedPosterior, points: Floats, *, floor: float = -np.inf) -> Floats:
        slope = 1.0 if self._bend is None else bent(points[:, 1])[1]
        return whole(self, points, floor=floor) - np.log(slope)

    monkeypatch.setattr(IntegratedPosterior, "log_density", lacking)
    assert max(distances(drawn())) > LARGEST_DISTANCE


def test_statistic_sees_another_prior() -> None:
    priors = {"sd_g": Prior("HalfNormal", sigma=1.5)}
    given = arguments("y ~ 1 + (1 | g)", clustered(), priors=priors)
    other = importance_sample(*given, seed=1, progress=False)
    assert max(distances(other)) > LARGEST_DISTANCE


def test_names_and_statistics(result: ImportanceResult) -> None:
    assert result.posterior["beta"].dims == ("chain", "draw", "term")
    assert result.posterior["sd_g"].dims == ("chain", "draw", "effect_g")
    assert dict(result.posterior.sizes) == {"chain": 4, "draw": 1000, "term": 1, "effect_g": 1}
    for name in ("lp", "log_weight", "khat"):
        assert result.sample_stats[name].dims == ("chain", "draw")
        assert np.isfinite(result.sample_stats[name]).all()
    assert result.ess >= 4000
    assert result.facts["evaluations"] > result.facts["weighted_draws"] > 4000
    assert result.facts["distinct"] > 0.8
    assert "k̂" in result.why


def test_draws_are_in_random_order(result: ImportanceResult) -> None:
    sd = result.posterior["sd_g"].to_numpy()[..., 0]
    correlation = np.corrcoef(sd[:, 1:].ravel(), sd[:, :-1].ravel())[0, 1]
    assert abs(correlation) < 0.06
    chains = stats.kruskal(*sd).pvalue
    assert chains > 1e-4


def test_seed() -> None:
    given = arguments("y ~ x + (1 | g)", clustered())
    one, same, other = (
        importance_sample(*given, draws=50, seed=s, progress=False) for s in (1, 1, 2)
    )
    assert one.posterior.identical(same.posterior)
    assert not one.posterior.equals(other.posterior)


@pytest.mark.parametrize("uneven", [0.1, 1.5])
def test_resampling_keeps_the_weights(uneven: float) -> None:
    rng = np.random.default_rng(1)
    logs = uneven * rng.normal(size=300)
    logs -= np.logaddexp.reduce(logs)
    wanted = 1000 * np.exp(logs)
    counts = np.bincount(resample(logs, 1000, rng), minlength=300)
    assert (np.abs(counts - wanted) < 1).all()
    many = [np.bincount(resample(logs, 1000, rng), minlength=300) for _ in range(400)]
    np.testing.assert_allclose(np.mean(many, axis=0), wanted, atol=0.12)


def test_refusal_above_the_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proposal much too narrow, and no adaptation."""
    monkeypatch.setattr(module, "WIDER", 0.1)
    monkeypatch.setattr(module, "FIRST_FREEDOM", 1000.0)
    monkeypatch.setattr(module, "fit_mixture", lambda *_: module.student(*_CENTRE))
    refused = drawn()
    assert not refused.accepted
    assert refused.khat > 0.7
    assert "too uneven: k̂ =" in refused.why
    assert not refused.posterior.data_vars
    assert not refused.sample_stats.data_vars


_CENTRE = (np.array([0.5, 0.5]), 0.1 * np.eye(2), 1000.0)


def test_refusal_without_a_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    def flat(self: IntegratedPosterior, points: Floats) -> tuple[Floats, Floats]:
        return points[:, 0], np.tile(np.eye(points.shape[1])[0], (len(points), 1))

    monkeypatch.setattr(IntegratedPosterior, "values_and_gradients", flat)
    refused = drawn()
    assert not refused.accepted
    assert "no mode" in refused.why


def test_refusal_where_integrals_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = IntegratedPosterior.log_density

    def failing(self: IntegratedPosterior, points: Floats, *, floor: float = -np.inf) -> Floats:
        density = whole(self, points, floor=floor)
        return np.where(np.arange(len(density)) % 50 == 7, np.nan, density)

    monkeypatch.setattr(IntegratedPosterior, "log_density", failing)
    refused = drawn()
    assert not refused.accepted
    assert "the integral failed at" in refused.why


HARD = {
    "no variation": (clustered(40, 6, 0.0, 5), "y ~ x + (1 | g)", "logit"),
    "one row for most": (
        clustered(60, 1, 1.0, 6).assign(g=[f"c{i // 2 if i < 6 else i}" for i in range(60)]),
        "y ~ x + (1 | g)",
        "logit",
    ),
    "separated": (
        clustered(20, 4, 1.0, 7).assign(y=lambda d: (d["x"] > 0).astype(int)),
        "y ~ x + (1 | g)",
        "logit",
    ),
    "concordant": (
        clustered(30, 4, 1.0, 8).assign(y=lambda d: d.groupby("g")["x"].transform("first") > 0),
        "y ~ 1 + (1 | g)",
        "probit",
    ),
    "two clusters": (clustered(2, 20, 1.0, 9), "y ~ x + (1 | g)", "cloglog"),
    "1e8": (
        clustered(20, 4, 1.0, 7).assign(v=lambda d: 1e8 + 1e6 * d["x"] ** 2),
        "v ~ x + (1 | g)",
        "identity",
    ),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_data_end_in_draws(name: str) -> None:
    data, formula, link = HARD[name]
    data = data.assign(y=data["y"].astype(int))
    found = importance_sample(*arguments(formula, data, link), draws=250, seed=3, progress=False)
    assert found.accepted, found.why
    assert all(np.isfinite(values).all() for values in found.posterior.values())
    assert found.facts["failed"] == 0


def test_scales_of_covariates_do_not_matter() -> None:
    data = clustered()
    plain, moved, scaled = (
        importance_sample(
            *arguments("y ~ x + (1 | g)", data.assign(x=x)), draws=100, seed=4, progress=False
        ).posterior
        for x in (data["x"], data["x"] + 1e8, data["x"] * 1e-8)
    )
    np.testing.assert_allclose(moved["sd_g"], plain["sd_g"], rtol=1e-5)
    np.testing.assert_allclose(moved["beta"][..., 1], plain["beta"][..., 1], atol=1e-6)
    np.testing.assert_allclose(scaled["beta"][..., 1], 1e8 * plain["beta"][..., 1], atol=100)


def test_weighted_means_are_the_resampled_ones() -> None:
    target = IntegratedPosterior(*arguments("y ~ x + (1 | g)", clustered()))
    found = weighted_draws(target, 2000, rng=np.random.default_rng(1), progress=False)
    assert found.why == ""
    assert found.ess >= 2000
    assert np.exp(found.log_weights).sum() == pytest.approx(1.0)
    density = found.target.log_density(found.points[:20])
    np.testing.assert_allclose(found.log_density[:20], density)


def test_several_factors() -> None:
    data = clustered().assign(h=lambda d: np.arange(len(d)) % 3)
    with pytest.raises(SpecificationError, match="2 grouping factors"):
        importance_sample(*arguments("y ~ x + (1 | g) + (1 | h)", data))


def test_neither_pymc_nor_arviz_is_imported() -> None:
    code = (
        "import sys, popavg.workflows.importance, popavg.models.default_priors;"
        "print([m for m in ('pymc', 'pytensor', 'arviz_stats', 'nutpie') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
