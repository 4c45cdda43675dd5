"""A posterior on dask that is larger than its workers' memory goes through the verbs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import popavg as pa

MakeFit = Callable[..., xr.DataTree]

CLUSTERS = 15_000
DRAWS = 2_600  # a chain; the clusters' own effects alone are 4 × 2,600 × 15,000 numbers, 1.25 GB
LIMIT = 580 * 2**20  # of each worker; 340 MiB are the packages that it imports

#: A worker that comes near its limit is killed, which is an error; paused, it would wait for ever.
MEMORY = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    dask = pytest.importorskip("dask")
    distributed = pytest.importorskip("distributed")
    with (
        dask.config.set(MEMORY),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit=LIMIT, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        yield cluster


@pytest.fixture(scope="module")
def large(make_fit: MakeFit) -> xr.DataTree:
    """A fit whose draws are made when they are read."""
    import dask.array as da

    frame = pd.DataFrame({"y": np.tile([0, 1], CLUSTERS), "g": np.repeat(np.arange(CLUSTERS), 2)})
    frame["x"] = np.tile([0.0, 0.5, 1.0], 2 * CLUSTERS // 3)
    small = make_fit("y ~ x + (1 | g)", frame, shape=(4, DRAWS), u=False)
    of_draw, of_cluster = (
        da.random.default_rng(seed).standard_normal(shape, chunks=chunks)
        for seed, shape, chunks in (
            (3, (4, DRAWS, 1, 1), (1, 125, 1, 1)),
            (4, (1, 1, CLUSTERS, 1), (1, 1, CLUSTERS, 1)),
        )
    )
    u = of_draw + of_cluster  # quicker than random numbers for each
    assert u.nbytes > 2 * LIMIT
    draws = small["posterior"].to_dataset().chunk(chain=1, draw=125)
    draws = draws.assign_coords(g=[str(i) for i in range(CLUSTERS)])
    small["posterior"] = xr.DataTree(draws.assign(u_g=(("chain", "draw", "g", "effect_g"), u)))
    return small


VERBS: dict[str, Callable[[xr.DataTree], pa.Estimates]] = {
    "sampled": lambda fit: pa.predictions(fit, over={"x": [1.0]}, target="sampled"),
    "population": lambda fit: pa.avg_comparisons(fit, "x"),
    "slope": lambda fit: pa.avg_slopes(fit, "x", newdata="mean", hypothesis=[2.0]),
}


@pytest.mark.parametrize("verb", VERBS)
def test_two_workers_read_it_block_by_block(cluster: Any, large: xr.DataTree, verb: str) -> None:
    workers = set(cluster.scheduler_info["workers"])
    assert len(workers) == 2
    lazy = VERBS[verb](large)
    assert lazy.draws.chunks is not None
    found = lazy.compute()
    assert found.draws.chunks is None
    some = large.copy()
    some["posterior"] = xr.DataTree(large["posterior"].to_dataset().isel(draw=slice(125)).load())
    expected = VERBS[verb](some).draws
    part = found.draws.isel(draw=slice(125))
    np.testing.assert_allclose(part, expected, rtol=1e-12)
    frame = found.to_frame()
    assert np.isfinite(frame[["estimate", "lower", "upper", "ess_bulk"]]).all(axis=None)
    assert set(cluster.scheduler_info["workers"]) == workers  # none was killed and made anew


EVERY: dict[str, Callable[[xr.DataTree], Any]] = {
    "predictions": lambda fit: pa.predictions(fit, target="sampled"),
    "avg_predictions": lambda fit: pa.avg_predictions(fit, by="arm", hypothesis="pairwise"),
    "comparisons": lambda fit: pa.comparisons(fit, "arm", comparison="ratio"),
    "avg_comparisons": lambda fit: pa.avg_comparisons(fit, comparison=lambda hi, lo: hi / lo),
    "nnt": lambda fit: pa.avg_comparisons(fit, "arm", comparison="nnt"),
    "slopes": lambda fit: pa.slopes(fit, "x", target="new", seed=2),
    "avg_slopes": lambda fit: pa.avg_slopes(fit, "x", slope="eyex"),
    "heterogeneity": lambda fit: pa.heterogeneity(fit, "arm").probability,
    "coefficients": lambda fit: pa.population_coefficients(
        fit, working_correlation="exchangeable", alpha="implied"
    ),
    "least squares": lambda fit: pa.population_coefficients(fit, "least_squares").attenuation,
}


@pytest.mark.parametrize("verb", EVERY)
def test_every_verb_takes_draws_on_dask(make_fit: MakeFit, frame: pd.DataFrame, verb: str) -> None:
    fit = make_fit("y ~ x + arm + (1 | g)", frame, u=True, shape=(2, 30))
    lazy = fit.copy()
    lazy["posterior"] = xr.DataTree(fit["posterior"].to_dataset().chunk(chain=1, draw=7))
    found, expected = EVERY[verb](lazy), EVERY[verb](fit)
    np.testing.assert_allclose(found.compute().draws, expected.draws, rtol=1e-12)
    numbers = ["estimate", "lower", "upper"]
    frames = found.to_frame(), expected.to_frame()
    pd.testing.assert_frame_equal(*(f[[*expected.labels, *numbers]] for f in frames), rtol=1e-8)
