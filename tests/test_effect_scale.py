"""Standard deviations against the draws of the clusters' effects, in exact posteriors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import popavg as pa
from popavg.design import Design, family_of
from popavg.errors import DataError
from popavg.links import get_link
from popavg.posterior_tools.effect_scale import check_effect_scales
from popavg.posterior_tools.foreign import ForeignParameters

SHAPE = (4, 250)
PRIOR_SD = 2.0


def exact_draws(
    clusters: int, sd: float, noise: float, seed: int, *, shape: tuple[int, int] = SHAPE
) -> tuple[np.ndarray, np.ndarray]:
    """Independent draws of sd and u, one observation of noise for each u, half-normal prior.

    sd from a grid of its marginal posterior, u from its normal distribution given sd.
    """
    rng = np.random.default_rng(seed)
    y = rng.normal(0.0, np.hypot(sd, noise), clusters)
    grid = np.linspace(1e-3, 15.0, 15_000)
    total = grid**2 + noise**2
    log_p = -0.5 * clusters * np.log(total) - 0.5 * (y @ y) / total - 0.5 * (grid / PRIOR_SD) ** 2
    p = np.exp(log_p - log_p.max())
    drawn = rng.choice(grid, shape, p=p / p.sum())
    share = drawn**2 / (drawn**2 + noise**2)
    normal = rng.normal(size=(*shape, clusters))
    u = y * share[..., None] + normal * (noise * np.sqrt(share))[..., None]
    return drawn, u


def design(clusters: int, formula: str = "y ~ 1 + (1 | g)") -> Design:
    g = np.repeat(np.arange(clusters), 2)
    frame = pd.DataFrame({"y": np.arange(len(g)) % 2, "g": g, "x": np.arange(len(g)) % 3})
    return Design.build(formula, frame, family=family_of(formula, get_link("logit")))


def check(sd: np.ndarray, u: np.ndarray, *, transform: Callable[[Any], Any] = lambda x: x) -> None:
    found = ForeignParameters(
        np.zeros((*sd.shape, 1)), {"g": transform(sd)[..., None]}, {}, {"g": u[..., None]}
    )
    check_effect_scales(found, design(u.shape[2]))


@pytest.mark.parametrize("clusters", [10, 30])
@pytest.mark.parametrize("sd", [0.1, 0.5, 3.0])
@pytest.mark.parametrize("noise", [0.1, 1.0, 5.0])
def test_posteriors_pass_whatever_the_shrinkage(clusters: int, sd: float, noise: float) -> None:
    """E Σ (u / sd)² = J - 1 + E sd² / prior sd²: exactly, for the half-normal prior."""
    for seed in range(8):
        drawn, u = exact_draws(clusters, sd, noise, seed)
        squares = ((u / drawn[..., None]) ** 2).sum(axis=2)
        expected = clusters - 1 + (drawn / PRIOR_SD) ** 2
        error = (squares - expected).std() / np.sqrt(squares.size)
        assert abs((squares - expected).mean()) < 4.5 * error
        check(drawn, u)
        check(drawn[:, :6], u[:, :6])


def test_a_narrow_prior_that_contradicts_the_data_passes() -> None:
    """Half-normal(0.4) where the effects have sd 1: J = 20 effects that are known exactly."""
    rng = np.random.default_rng(3)
    u = rng.normal(size=20)
    u /= np.sqrt((u**2).mean())
    grid = np.linspace(0.2, 3.0, 4000)
    log_p = -20 * np.log(grid) - 10 / grid**2 - 0.5 * (grid / 0.4) ** 2
    p = np.exp(log_p - log_p.max())
    drawn = rng.choice(grid, SHAPE, p=p / p.sum())
    check(drawn, np.broadcast_to(u, (*SHAPE, 20)))


WRONG = {
    "variances": lambda sd: sd**2,
    "precisions": lambda sd: sd**-2,
    "logarithms of standard deviations": np.log,
    "square roots of standard deviations": np.sqrt,
}


@pytest.mark.parametrize("reading", WRONG)
def test_other_numbers_are_named(reading: str) -> None:
    drawn, u = exact_draws(40, 5.0, 0.5, 2)
    with pytest.raises(DataError, match=rf"'Intercept' \| 'g' don't fit .* if they were {reading}"):
        check(drawn, u, transform=WRONG[reading])


@pytest.mark.parametrize("sd", [0.3, 0.5, 2.0, 4.0])
def test_variances_of_either_size(sd: float) -> None:
    drawn, u = exact_draws(40, sd, 0.1 * sd, 5)
    with pytest.raises(DataError, match="would fit if they were variances"):
        check(drawn, u, transform=np.square)


def test_standardised_effects_and_what_fits_nothing() -> None:
    drawn, u = exact_draws(40, 3.0, 0.3, 2)
    with pytest.raises(DataError, match="right, but the effects standardised"):
        check(drawn, u / drawn[..., None])
    with pytest.raises(DataError, match="nor are they variances, logarithms or precisions"):
        check(drawn, u + 40.0)


def test_a_posterior_that_reaches_zero_hides_nothing() -> None:
    """Single draws whose variances are near 0 don't make the mean of the others uncertain."""
    drawn, u = exact_draws(40, 0.5, 0.6, 1)
    drawn[0, 0], u[0, 0] = 1e-4, 1e-4 * u[0, 1]
    check(drawn, u)
    with pytest.raises(DataError, match="don't fit the draws"):
        check(drawn, u, transform=np.square)


def test_what_cannot_be_told() -> None:
    """Few clusters, a fixed scale, effects of 0 throughout."""
    drawn, u = exact_draws(9, 4.0, 0.4, 1)
    check(drawn, u, transform=np.square)
    drawn, u = exact_draws(40, 4.0, 0.4, 1)
    check(np.full_like(drawn, 99.0), u)
    check(drawn, 0.0 * u)


@pytest.mark.parametrize("second", [1.0, 3.0])
def test_each_effect_is_held_against_its_own(second: float) -> None:
    pairs = [exact_draws(40, sd, 0.3, 1) for sd in (1.0, second)]
    sd, u = (np.stack([pair[i] for pair in pairs], axis=-1) for i in (0, 1))
    sd[..., 1] **= 2
    found = ForeignParameters(np.zeros((*SHAPE, 1)), {"g": sd}, {}, {"g": u})
    built = design(40, "y ~ 1 + (1 | g) + (0 + x | g)")
    if second == 1.0:
        check_effect_scales(found, built)
        return
    with pytest.raises(DataError, match=r"deviations of 'x' \| 'g' don't fit"):
        check_effect_scales(found, built)


@pytest.mark.parametrize("key", ["sd_g", "var_g"])
def test_variances_named_sd_are_refused_although_eta_is_right(key: str) -> None:
    """The predictor that is given holds u, so that it can't see the scale."""
    drawn, u = exact_draws(40, 2.0, 0.5, 4, shape=(2, 100))
    rows = pd.DataFrame({"g": np.repeat(np.arange(40), 3), "y": np.arange(120) % 2})
    beta = np.random.default_rng(1).normal(size=(2, 100, 1))
    draws = {"b": beta, "tau": drawn**2, "u": u}
    names = {"beta": "b", key: "tau", "u_g": "u"}
    eta = beta + np.repeat(u, 3, axis=2)

    def read() -> Any:
        return pa.from_draws(draws, "y ~ 1 + (1 | g)", rows, link="logit", names=names, eta=eta)

    if key == "var_g":
        assert np.allclose(read()["posterior"]["sd_g"].to_numpy()[..., 0], drawn)
        return
    with pytest.raises(DataError, match=r"would fit if they were variances"):
        read()
