"""Log-likelihood by cluster against naive sums."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import expit

from popavg.posterior_tools.cluster_log_likelihood import cluster_log_likelihood


def test_naive_sums(make_fit: Callable[..., xr.DataTree], frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ x + (1 | g)", frame, beta=[0.3, -0.5], sd={"g": [2.0]}, spread=0.2)
    found = cluster_log_likelihood(fit, progress=False)
    assert found.dims == ("chain", "draw", "g")
    assert found.name == "y"
    z = np.linspace(-9, 9, 2001)
    for chain, draw in [(0, 0), (1, 4)]:
        here = fit["posterior"].to_dataset().isel(chain=chain, draw=draw)
        intercept, slope = here["beta"].to_numpy()
        tau = float(here["sd_g"][0])
        for name, rows in frame.groupby("g"):
            density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
            for x, y in zip(rows["x"], rows["y"], strict=True):
                p = expit(intercept + slope * x + tau * z)
                density = density * (p if y else 1 - p)
            exact = np.log(density.sum() * (z[1] - z[0]))
            got = float(found.sel(g=name).isel(chain=chain, draw=draw))
            np.testing.assert_allclose(got, exact, rtol=1e-10)


def test_coordinates_are_the_fits(
    make_fit: Callable[..., xr.DataTree], frame: pd.DataFrame
) -> None:
    fit = make_fit("p(successes, trials) ~ x + (1 | g)", frame, shape=(3, 2))
    found = cluster_log_likelihood(fit, progress=False)
    for name in ("chain", "draw"):
        np.testing.assert_array_equal(found[name], fit["posterior"][name])
    assert sorted(found["g"].to_numpy()) == sorted(set(frame["g"]))
