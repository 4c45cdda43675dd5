"""Simulation-based calibration of each route: 500 data sets of a small design.

    python benchmarks/calibration.py importance nuts latent --store calibration-runs
    python benchmarks/calibration.py --store calibration-runs --picture docs/calibration.png

The first call goes on from where an earlier one was stopped, or killed; the second draws what is
there. 30 clusters of 4 rows, a covariate of the clusters and one of the rows, logit, default
priors; the routes get the same data sets. Verdicts and times are printed.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

import popavg as pa
from popavg.posterior_tools.calibration_plot import plot_calibration
from popavg.workflows.methods import Method

FORMULA = "y ~ arm + visit + (1 | patient)"
ROUTES: tuple[Method, ...] = ("importance", "nuts", "latent")


def design(clusters: int = 30, size: int = 4) -> pd.DataFrame:
    """Half of the clusters in each arm; outcomes that aren't used."""
    patient = np.repeat(np.arange(clusters), size)
    return pd.DataFrame(
        {
            "y": np.arange(clusters * size) % 2,
            "arm": np.array(["placebo", "treated"])[patient % 2],
            "visit": np.tile(np.arange(size), clusters),
            "patient": [f"p{number:02}" for number in patient],
        }
    )


def calibrated(route: Method, runs: int, jobs: int, store: Path) -> pa.Calibration:
    """All runs of a route, those that are stored read."""
    begin = time.perf_counter()
    store.mkdir(exist_ok=True)
    found = pa.calibrate(
        FORMULA, design(), link="logit", method=route, runs=runs, jobs=jobs, seed=2026,
        store=store / route,
    )  # fmt: skip
    seconds = found.run_table["seconds"]
    print(found, end="\n\n")
    print(
        f"{route}: {len(found.runs)} runs, median {seconds.median():.2f} s each, "
        f"{seconds.sum() / 60:.1f} min in all; this call {time.perf_counter() - begin:.0f} s\n"
    )
    return found


def main() -> None:
    """Read the command line, run, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("routes", nargs="*", metavar="route", help=", ".join(ROUTES))
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--store", type=Path, default=Path("calibration-runs"))
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    routes = given.routes or [name for name in ROUTES if (given.store / name).exists()]
    if not routes or set(routes) - set(ROUTES):
        parser.error(f"no route to calibrate: name some of {', '.join(ROUTES)}")
    found = {name: calibrated(name, given.runs, given.jobs, given.store) for name in routes}
    if given.picture is not None:
        plot_calibration(found).savefig(given.picture)


if __name__ == "__main__":
    main()
