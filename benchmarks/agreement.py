"""Whether importance sampling, NUTS and the latent model draw from the same posterior.

    python benchmarks/agreement.py                  # every data set with one factor: half an hour
    python benchmarks/agreement.py toenail ohio

Each route draws until its smallest effective sample size is above 4,000. The largest difference
of posterior means of coefficients, log standard deviations and their squares, in Monte-Carlo
standard errors; over so many numbers 3 is common and 4.5 is a bug. Beside it the largest difference
in posterior standard deviations. The last column is what a standard deviation 3 % too large would
look like.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import NDArray

import popavg as pa

type Columns = dict[str, NDArray[np.float64]]

#: Draws of each of four chains at first.
DRAWS = {"importance": 2_500, "nuts": 2_500, "latent": 4_000}
ENOUGH = 4_000
MOST = 64_000
AXES: dict[str, Any] = {"chain_axis": 0, "draw_axis": 1}


def columns(posterior: xr.Dataset) -> Columns:
    """Parameters and the squares of what they differ from their means by."""
    found: Columns = {}
    for name, values in posterior.data_vars.items():
        if not str(name).startswith(("beta", "sd_")):
            continue
        table = values.transpose("chain", "draw", ...).to_numpy()
        table = np.log(table) if str(name).startswith("sd_") else table
        for k in range(table.shape[2]):
            found[f"{name} {k}"] = table[..., k]
    return found


def with_squares(found: Columns, centre: dict[str, float]) -> Columns:
    return found | {f"{n} squared": (v - centre[n]) ** 2 for n, v in found.items()}


def distance(one: Columns, other: Columns) -> tuple[float, float]:
    """Largest difference of means in standard errors of both, and in posterior SDs."""
    centre = {name: float(values.mean()) for name, values in other.items()}
    far, shift = 0.0, 0.0
    a, b = with_squares(one, centre), with_squares(other, centre)
    for name, values in a.items():
        errors = [array_stats.mcse(v, method="mean", **AXES) for v in (values, b[name])]
        gap = abs(float(values.mean() - b[name].mean()))
        far = max(far, gap / float(np.hypot(*errors)))
        if not name.endswith("squared"):
            shift = max(shift, gap / float(b[name].std()))
    return far, shift


def draw(name: str, link: str, method: str) -> tuple[Columns, float]:
    """A posterior with enough effective draws, and how many they are."""
    data = pa.load_dataset(name)
    draws = DRAWS[method]
    while True:
        fit = pa.fit(
            data.attrs["formula"], data, link=link, method=method, draws=draws, tune=1_500, seed=3,
            target_accept=0.9, missing="drop", progress=False,
        )  # fmt: skip
        found = columns(fit["posterior"].to_dataset())
        both = [
            min(array_stats.ess(v, method=kind, **AXES) for v in found.values())
            for kind in ("bulk", "mean")
        ]
        ess = float(min(both))
        if ess > ENOUGH or draws >= MOST:
            return found, ess
        draws = min(MOST, int(1.3 * draws * ENOUGH / ess))


def main() -> None:
    warnings.simplefilter("ignore")
    names = sys.argv[1:] or list(pa.list_datasets()["name"])
    print(f"{'data':<14} {'pair':<22} {'ESS':>15}  {'errors':>6} {'SDs':>7} {'if 3 % off':>10}")
    for name in names:
        link = pa.load_dataset(name).attrs["link"]
        drawn = {method: draw(name, link, method) for method in DRAWS}
        for one, other in (("importance", "latent"), ("nuts", "latent"), ("importance", "nuts")):
            (a, first), (b, second) = drawn[one], drawn[other]
            far, shift = distance(a, b)
            wrong = {n: v + np.log(1.03) if n.startswith("sd_") else v for n, v in a.items()}
            print(
                f"{name:<14} {one + ' - ' + other:<22} {first:7.0f} {second:7.0f}"
                f"  {far:6.2f} {shift:7.4f} {distance(wrong, b)[0]:10.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
