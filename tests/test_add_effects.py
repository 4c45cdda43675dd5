"""Clusters' effects drawn for a fit, against their densities on a grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import expit

import popavg as pa
from popavg.errors import SpecificationError
from popavg.posterior_tools.draws import Posterior

MakeFit = Callable[..., xr.DataTree]


@pytest.fixture(scope="module")
def one_point(make_fit: MakeFit, frame: pd.DataFrame) -> tuple[xr.DataTree, xr.DataTree]:
    """4,000 draws of one and the same parameters, and the same with effects."""
    kwargs = {"beta": [0.2, 0.8], "sd": {"g": [1.5]}, "spread": 0.0, "shape": (4, 1000)}
    fit = make_fit("y ~ x + (1 | g)", frame, **kwargs)
    return fit, pa.add_cluster_effects(fit, seed=3, progress=False)


def test_distribution_of_every_cluster(
    one_point: tuple[xr.DataTree, xr.DataTree], frame: pd.DataFrame
) -> None:
    grid = np.linspace(-8, 8, 4001)
    drawn = one_point[1]["posterior"]["u_g"]
    for name, rows in frame.groupby("g"):
        density = np.exp(-0.5 * (grid / 1.5) ** 2)
        for x, y in zip(rows["x"], rows["y"], strict=True):
            p = expit(0.2 + 0.8 * x + grid)
            density = density * (p if y else 1 - p)
        exact = np.cumsum(density) / density.sum()
        values = np.sort(drawn.sel(g=name).to_numpy().ravel())
        empirical = (np.arange(len(values)) + 0.5) / len(values)
        distance = np.abs(np.interp(values, grid, exact) - empirical).max()
        assert distance * np.sqrt(len(values)) < 2.2  # Kolmogorov: p = 1e-4


def test_new_fit_with_the_latent_names(one_point: tuple[xr.DataTree, xr.DataTree]) -> None:
    fit, made = one_point
    assert "u_g" not in fit["posterior"]
    assert made["posterior"]["u_g"].dims == ("chain", "draw", "g", "effect_g")
    assert list(made["posterior"]["effect_g"].to_numpy()) == ["Intercept"]
    posterior = Posterior.from_fit(made)
    assert tuple(made["posterior"]["g"].to_numpy()) == posterior.design.matrices.groups[0].levels
    assert made.attrs == fit.attrs
    xr.testing.assert_identical(
        made["posterior"].to_dataset()[["beta", "sd_g"]],
        fit["posterior"].to_dataset()[["beta", "sd_g"]],
    )


def test_seed(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ x + (1 + x | g)", frame, corr={"g": [[1, 0.5], [0.5, 1]]})
    one, same, other = (pa.add_cluster_effects(fit, seed=s, progress=False) for s in (1, 1, 2))
    u = [tree["posterior"]["u_g"] for tree in (one, same, other)]
    xr.testing.assert_identical(u[0], u[1])
    assert (u[0] != u[2]).all()


def test_correlated_effects(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    """Mean over the prior of x'u by self-normalised weighting of draws of N(0, Σ)."""
    corr, sd = np.array([[1, -0.7], [-0.7, 1]]), np.array([1.0, 2.0])
    fit = make_fit(
        "y ~ x + (1 + x | g)", frame, beta=[0.1, 0.4], sd={"g": sd}, corr={"g": corr}, spread=0.0,
        shape=(2, 1500),
    )  # fmt: skip
    drawn = pa.add_cluster_effects(fit, progress=False)["posterior"]["u_g"].mean(("chain", "draw"))
    rng = np.random.default_rng(1)
    u = rng.normal(size=(200_000, 2)) @ np.linalg.cholesky(corr * np.outer(sd, sd)).T
    for name, rows in frame.groupby("g"):
        weight = np.ones(len(u))
        for x, y in zip(rows["x"], rows["y"], strict=True):
            p = expit(0.1 + 0.4 * x + u @ [1, x])
            weight *= p if y else 1 - p
        exact = weight @ u / weight.sum()
        np.testing.assert_allclose(drawn.sel(g=name), exact, atol=0.15)


def test_sampled_target_then_works(one_point: tuple[xr.DataTree, xr.DataTree]) -> None:
    found = pa.avg_predictions(one_point[1], target="sampled", progress=False)
    assert 0.0 < float(found.draws.mean()) < 1.0


@pytest.mark.parametrize(
    ("formula", "link"), [("value ~ x + (1 + x | g)", "identity"), ("count ~ x + (1 | g)", "log")]
)
def test_other_families(make_fit: MakeFit, frame: pd.DataFrame, formula: str, link: str) -> None:
    fit = make_fit(formula, frame, link)
    if link == "identity":
        data = fit["posterior"].to_dataset()
        fit["posterior"] = xr.DataTree(data.assign(sigma=(("chain", "draw"), np.ones((2, 6)))))
    made = pa.add_cluster_effects(fit, progress=False)
    assert np.isfinite(made["posterior"]["u_g"]).all()


def test_several_factors(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    with pytest.raises(SpecificationError, match="2 grouping factors"):
        pa.add_cluster_effects(make_fit("y ~ x + (1 | g) + (1 | r)", frame))
