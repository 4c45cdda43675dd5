"""Profile likelihoods against known maxima and against a naive maximisation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from scipy.special import expit, logsumexp
from scipy.stats import multivariate_normal

import popavg as pa
from popavg.design import Design, family_of
from popavg.errors import DataError
from popavg.posterior_tools.integrated_design import IntegratedDesign
from popavg.posterior_tools.sd_profile import SDProfile, Start, profile_grid, sd_profile


def integrated(formula: str, data: pd.DataFrame, link: str = "logit") -> IntegratedDesign:
    chosen = pa.get_link(link)
    family = family_of(formula, chosen)
    return IntegratedDesign.build(Design.build(formula, data, family=family), chosen, family)


def start(terms: int, sd: list[float], **more: float) -> Start:
    return Start(np.zeros(terms), np.eye(terms), np.array(sd), **more)


def test_the_maximum_is_the_exact_one(reference: Path) -> None:
    known = json.loads((reference / "exact_ml.json").read_text())["datasets"]["toenail"]
    known = known["links"]["logit"]
    model = integrated("y ~ treatment * time + (1 | patient)", pa.load_dataset("toenail"))
    begin = Start(np.array(known["coef"]), np.eye(4) / 10, np.array([3.5]))
    found = sd_profile(model, begin, profile_grid([3.4, 4.6], 1.0, 10.0))
    assert found.best == pytest.approx(known["sd"], abs=1e-4)
    assert found.top == pytest.approx(known["logLik"], abs=1e-6)
    lower, upper = found.interval
    assert_allclose(found.curve([lower, upper]), -1.9207, atol=1e-6)
    assert lower < found.best < upper


def test_the_crossover_trial(crossover: pd.DataFrame) -> None:
    """τ² = 24.4, and far from sure."""
    model = integrated("normal ~ treatment + period + (1 | patient)", crossover)
    found = sd_profile(model, start(3, [2.0]), profile_grid([2.0, 8.0], 0.1, 40.0))
    assert found.best**2 == pytest.approx(24.4, abs=0.05)
    lower, upper = found.interval
    assert 2.0 < lower < 3.0
    assert 10.0 < upper < 13.0


def test_naive_maximum_and_slope(frame: pd.DataFrame) -> None:
    model = integrated("y ~ x + (1 | g)", frame)
    x, y = frame["x"].to_numpy(), frame["y"].to_numpy()
    clusters = [np.flatnonzero(frame["g"] == g) for g in sorted(set(frame["g"]))]
    z = np.linspace(-8, 8, 401)
    log_weight = -(z**2) / 2 - np.log(np.sqrt(2 * np.pi) / (z[1] - z[0]))

    def negative(beta: np.ndarray, sd: float) -> float:
        total = 0.0
        for rows in clusters:
            eta = beta[0] + beta[1] * x[rows, None] + sd * z
            p = expit(np.where(y[rows, None] == 1, eta, -eta))
            total += logsumexp(np.log(p).sum(axis=0) + log_weight)
        return -total

    grid = np.array([0.4, 0.9, 1.5])
    found = sd_profile(model, start(2, [1.0]), grid)
    expected = [-minimize(negative, np.zeros(2), args=(sd,)).fun for sd in grid]
    assert_allclose(found.log_likelihood, expected, atol=1e-7)
    assert found.at_zero == pytest.approx(-minimize(negative, np.zeros(2), args=(0.0,)).fun)
    near = sd_profile(model, start(2, [0.9]), 0.9 * np.exp([-1e-3, 1e-3]))
    numeric = np.diff(near.log_likelihood)[0] / 2e-3
    assert found.slope[1] == pytest.approx(numeric, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("formula", ["(1 + x | g)", "(1 | g) + (0 + x | g)"])
def test_two_effects_have_one_maximum(formula: str) -> None:
    """The largest value over either standard deviation is the largest of all."""
    rng, g = np.random.default_rng(3), np.repeat(np.arange(40), 8)
    x = np.tile(np.linspace(-1, 1, 8), 40)
    u, slope = rng.normal(size=40), rng.normal(0, 2, 40)
    p = expit(u[g] + (0.5 + slope[g]) * x)
    data = pd.DataFrame({"y": (rng.random(320) < p).astype(int), "x": x, "g": g})
    model = integrated(f"y ~ x + {formula}", data)
    rho = {"correlation": 0.0} if "1 + x" in formula else {}
    grid = np.geomspace(0.2, 10.0, 15)
    first, second = (sd_profile(model, start(2, [1.0, 1.0], **rho), grid, effect=k) for k in (0, 1))
    assert first.top == pytest.approx(second.top, abs=2e-3)
    assert (first.best > 0.5, second.best > 1.0) == (True, True)


def test_gaussian_outcomes(frame: pd.DataFrame) -> None:
    model = integrated("value ~ 1 + (1 | g)", frame, "identity")
    found = sd_profile(model, start(1, [0.5], sigma=1.0), np.array([0.3, 0.6]))
    y = frame["value"].to_numpy()
    same = frame["g"].to_numpy()[:, None] == frame["g"].to_numpy()

    def negative(p: np.ndarray, sd: float) -> float:
        cov = np.exp(2 * p[1]) * np.eye(60) + sd**2 * same
        return -multivariate_normal.logpdf(y, np.full(60, p[0]), cov)

    expected = [-minimize(negative, np.zeros(2), args=(sd,)).fun for sd in (0.3, 0.6)]
    assert_allclose(found.log_likelihood, expected, atol=1e-6)


def test_concordant_clusters_have_no_upper_end() -> None:
    g = np.repeat(np.arange(30), 2)
    data = pd.DataFrame({"y": (g % 2), "x": np.tile([0, 1], 30), "g": g})
    found = sd_profile(integrated("y ~ x + (1 | g)", data), start(2, [2.0]),
                       np.geomspace(0.1, 50, 15))  # fmt: skip
    assert found.interval[1] == np.inf
    assert found.interval[0] > 1.0


def test_no_difference_between_clusters_ends_at_zero() -> None:
    g = np.repeat(np.arange(30), 4)
    data = pd.DataFrame({"y": np.tile([0, 1, 1, 0], 30), "g": g})
    found = sd_profile(integrated("y ~ 1 + (1 | g)", data), start(1, [0.5]),
                       np.geomspace(0.05, 5, 12))  # fmt: skip
    assert found.best == 0.0
    assert found.interval[0] == 0.0
    assert found.interval[1] < 1.0
    table = found.to_frame()
    assert table["sd"].iloc[0] == 0.0
    assert table["log_likelihood"].max() == pytest.approx(0.0, abs=1e-9)


def test_all_below_the_first_point() -> None:
    sd = np.array([1.0, 2.0])
    assert SDProfile("sd_g", sd, np.array([-9.0, -99.0]), np.zeros(2), 0.0).interval == (0.0, 1.0)


def test_the_grid_holds_posterior_and_ends() -> None:
    grid = profile_grid(np.linspace(2, 3, 50), 0.02, 30.0)
    assert (np.diff(grid) > 0).all()
    assert grid[0] == pytest.approx(0.02)
    assert grid[-1] == pytest.approx(30.0)
    assert ((grid > 1.9) & (grid < 3.2)).sum() >= 15
    wide = profile_grid([0.001, 500.0], 0.02, 30.0)
    assert (np.diff(wide) > 0).all()
    assert wide[-1] > 500.0


@pytest.mark.parametrize("grid", [[1.0], [2.0, 1.0], [0.0, 1.0]])
def test_errors(frame: pd.DataFrame, grid: list[float]) -> None:
    with pytest.raises(DataError, match="positive numbers, ascending"):
        sd_profile(integrated("y ~ 1 + (1 | g)", frame), start(1, [1.0]), grid)
