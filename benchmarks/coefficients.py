"""All population-averaged coefficients of the toenail data, as ratios to ``expit(X @ beta)``.

4,000 draws × 1,908 rows on one core, compiled kernels loaded: the whole call of
``pa.population_coefficients``, from reading the fit to the labelled result, and beside it what is
left once the fit has been read. CPU seconds: medians, the smallest and the largest of all
repetitions; on a machine that does other work the ratio of the minima is the steadier one.

    python benchmarks/coefficients.py [REPETITIONS] [DRAWS.csv]

The draws are the 400 of ``tests/reference/brms_toenail_draws.csv``, ten times over: every draw is
computed on its own, so that repeated ones save nothing. A file with all 4,000 can be named instead.
"""

# The core is chosen before threads are made:
# ruff: noqa: E402

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import numba
import numpy as np
import pandas as pd
import scipy
import xarray as xr
from scipy.special import expit

import popavg as pa
from popavg.design import Design, family_of
from popavg.links import get_link
from popavg.posterior_tools.coefficients import coefficients_of
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.projection_design import WorkingStructure
from popavg.posterior_tools.tree import fit_tree, specify

DRAWS = Path(__file__).parents[1] / "tests" / "reference" / "brms_toenail_draws.csv"
N_DRAWS = 4000
FORMULA = "y ~ treatment * time + (1 | patient)"

#: CPU seconds of brmsmargins' marginal coefficients with its default of 100 Monte-Carlo draws, from
#: 4,000 draws of the same fit in R 4.2.2 (brms 2.18.0). A constant, quoted from the study that this
#: project was planned on, on other hardware; not measured here. The posterior SD of its intercept
#: is 1.52 times the exact one.
BRMSMARGINS_CPU_SECONDS = 38.0

LIMITS: dict[str, tuple[float, str, dict[str, Any]]] = {
    "least squares": (1.5, "least_squares", {}),
    "projection, independence": (6.0, "projection", {}),
    "projection, exchangeable": (
        12.0, "projection", {"working_correlation": "exchangeable", "alpha": 0.42},
    ),
    "projection, ar1": (
        np.nan, "projection", {"working_correlation": "ar1", "alpha": 0.69, "time": "visit"},
    ),
}  # fmt: skip


def read_fit(path: Path) -> xr.DataTree:
    table = pd.read_csv(path)
    table = pd.concat([table] * -(-N_DRAWS // len(table)), ignore_index=True)[:N_DRAWS]
    link, data = get_link("logit"), pa.load_dataset("toenail")
    family = family_of(FORMULA, link)
    design = Design.build(FORMULA, data, family=family, extra=("visit",))
    terms = list(design.matrices.terms)
    beta = table.filter(like="b_").to_numpy().reshape(4, -1, len(terms))
    sd = table.filter(like="sd_").to_numpy().reshape(4, -1, 1)
    dims = ("chain", "draw")
    posterior = xr.Dataset(
        {"beta": ((*dims, "term"), beta), "sd_patient": ((*dims, "effect_patient"), sd)},
        coords={
            "chain": range(4),
            "draw": range(beta.shape[1]),
            "term": terms,
            "effect_patient": ["Intercept"],
        },
    )
    return fit_tree(design, specify(design, link, family), {"posterior": posterior})


def timed(work: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """CPU seconds of each, taken in turns, so that a busy machine is busy for all of them."""
    for one in work.values():
        one()
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repetitions):
        for name, one in work.items():
            begin = time.process_time()
            one()
            seconds[name].append(time.process_time() - begin)
    return seconds


def main(repetitions: int, path: Path) -> None:
    fit = read_fit(path)
    posterior = Posterior.from_fit(fit)
    X, beta = posterior.design.matrices.X, posterior.beta
    work: dict[str, Callable[[], object]] = {"expit": lambda: expit(X @ beta.T)}
    for name, (_, method, arguments) in LIMITS.items():
        structure = WorkingStructure(
            arguments.get("working_correlation", "independence"),
            arguments.get("alpha"),
            None,
            arguments.get("time"),
        )
        work[name] = lambda m=method, a=arguments: pa.population_coefficients(fit, m, **a)
        work[f"{name} after reading"] = lambda m=method, s=structure: coefficients_of(
            posterior, m, s
        )
    seconds = timed(work, repetitions)
    unit, least = statistics.median(seconds["expit"]), min(seconds["expit"])
    versions = f"NumPy {np.__version__}, SciPy {scipy.__version__}, numba {numba.__version__}"
    print(f"Python {platform.python_version()}, {versions}; {platform.processor()}, one core")
    print(f"{len(beta):,} draws × {len(X):,} rows, {repetitions} repetitions")
    heading = f"{'limit':>6} {'ratio':>6} {'of minima':>10} {'after reading':>14}"
    print(f"{'':<28} {heading} {'CPU s (range)':>22}")
    print(f"{'expit(X @ beta.T)':<28} {'':>39} {spread(seconds['expit']):>22}")
    for name, (limit, _, _) in LIMITS.items():
        ratio, after = (
            statistics.median(seconds[key]) / unit for key in (name, f"{name} after reading")
        )
        allowed = "" if np.isnan(limit) else f"{limit:.1f}"
        numbers = f"{allowed:>6} {ratio:6.2f} {min(seconds[name]) / least:10.2f} {after:14.2f}"
        print(f"{name:<28} {numbers} {spread(seconds[name]):>22}")
    quoted = f"{BRMSMARGINS_CPU_SECONDS:.0f} CPU s"
    print(f"{'brmsmargins, 100 MC draws':<28} {'':>39} {quoted:>22} (quoted; R, another machine)")


def spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.3f} ({min(seconds):.3f}–{max(seconds):.3f})"


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 7,
        Path(sys.argv[2]) if len(sys.argv) > 2 else DRAWS,
    )
