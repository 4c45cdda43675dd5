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

CLUSTERS = 9_000
DRAWS = 2_500  # a chain; the clusters' own effects alone are 4 × 2,500 × 9,000 numbers, 720 MB
LIMIT = 480 * 2**20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with (
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
    u = 1.5 * da.random.default_rng(3).standard_normal(
        (4, DRAWS, CLUSTERS, 1), chunks=(1, 125, CLUSTERS, 1)
    )
    assert u.nbytes > 1.4 * LIMIT
    draws = small["posterior"].to_dataset().chunk(chain=1, draw=125)
    draws = draws.assign_coords(g=[str(i) for i in range(CLUSTERS)])
    small["posterior"] = xr.DataTree(draws.assign(u_g=(("chain", "draw", "g", "effect_g"), u)))
    return small


VERBS: dict[str, Callable[[xr.DataTree], pa.Estimates]] = {
    "sampled": lambda fit: pa.predictions(fit, over={"x": [0.0, 1.0]}, target="sampled"),
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
