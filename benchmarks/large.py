"""Averages of 76,538 rows × 15,000 draws: memory, time beside a loop over expit, growth.

    python benchmarks/large.py            # everything, some minutes
    python benchmarks/large.py --small    # a tenth of the draws

Each verb runs in a process of its own on one core, so that its peak memory is its own; seconds are
of the processor, so that other work on the machine counts as little as can be. The loop over expit
is what one writes by hand to average over the rows while ignoring the random effects; it takes the
same blocks of draws.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import expit

import popavg as pa
from popavg.design import Design, family_of
from popavg.links import get_link
from popavg.posterior_tools.draw_block import BLOCK
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.tree import fit_tree, specify

FORMULA = "y ~ arm * x + z + (1 | g)"
BETA = np.array([-1.0, 0.5, -0.3, 0.2, -0.1])


def make_fit(n_rows: int, n_draws: int) -> xr.DataTree:
    """A posterior around known values over rows of which no two are equal."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame(
        {
            "y": rng.integers(0, 2, n_rows),
            "arm": rng.choice(["placebo", "active"], n_rows),
            "x": rng.normal(size=n_rows),
            "z": rng.normal(size=n_rows),
            "g": np.arange(n_rows) // 7,
        }
    )
    link = get_link("logit")
    family = family_of(FORMULA, link)
    design = Design.build(FORMULA, frame, family=family)
    specification = specify(design, link, family)
    effects = list(specification.groups[0].effects)
    shape = (4, n_draws // 4)
    posterior = xr.Dataset(
        {
            "beta": (("chain", "draw", "term"), rng.normal(BETA, 0.05, (*shape, 5))),
            "sd_g": (
                ("chain", "draw", "effect_g"),
                np.exp(rng.normal(0.5, 0.05, (*shape, len(effects)))),
            ),
        },
        coords={"term": list(design.matrices.terms), "effect_g": effects},
    )
    return fit_tree(design, specification, {"posterior": posterior})


VERBS: dict[str, Callable[[xr.DataTree], pa.Estimates]] = {
    "avg_predictions(by='arm')": lambda fit: pa.avg_predictions(fit, by="arm"),
    "avg_comparisons('arm')": lambda fit: pa.avg_comparisons(fit, "arm"),
    "avg_slopes('x')": lambda fit: pa.avg_slopes(fit, "x"),
}


def by_hand(fit: xr.DataTree, verb: str) -> np.ndarray:
    """The same averages without the random effects: a loop over expit."""
    posterior = Posterior.from_fit(fit)
    design, beta = posterior.design, posterior.beta
    everybody, slopes = [np.arange(len(design.frame))], None
    if verb.startswith("avg_predictions"):
        designs = [design.matrices.X]
        everybody = [np.flatnonzero(design.frame["arm"] == arm) for arm in ("active", "placebo")]
    elif verb.startswith("avg_slopes"):
        designs, slopes = [design.matrices.X], design.derivative(design.frame, "x").X
    else:
        levels = ("placebo", "active")
        designs = [design.evaluate(design.frame.assign(arm=level)).X for level in levels]
    size = max(1, BLOCK // len(design.frame))
    answers = []
    for start in range(0, len(beta), size):
        part = beta[start : start + size]
        means = [expit(part @ X.T) for X in designs]
        if slopes is not None:
            means = [m * (1 - m) * (part @ slopes.T) for m in means]
        answers.append(
            np.stack([m[:, rows].mean(axis=1) for m in means for rows in everybody], axis=1)
        )
    return np.concatenate(answers)


def measure(verb: str, n_rows: int, n_draws: int) -> dict[str, float]:
    """Seconds and peak memory above the inputs, of the verb and of the loop, in this process."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core for both
    fit = make_fit(n_rows, n_draws)
    VERBS[verb](make_fit(200, 40))  # compiled code is loaded
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = {"verb": [], "loop": []}
    peak = None
    for _ in range(3):
        start = time.process_time()
        VERBS[verb](fit)
        times["verb"].append(time.process_time() - start)
        if peak is None:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        if n_rows * n_draws > 3e8:
            break
    start = time.process_time()
    by_hand(fit, verb)
    times["loop"].append(time.process_time() - start)
    return {
        "seconds": statistics.median(times["verb"]),
        "loop": statistics.median(times["loop"]),
        "peak_mib": (peak or 0) / 1024,
    }


def fresh(verb: str, n_rows: int, n_draws: int) -> dict[str, float]:
    """`measure` in a process of its own."""
    call = [sys.executable, __file__, "--one", verb, str(n_rows), str(n_draws)]
    done = subprocess.run(call, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--one", nargs=3)
    given = parser.parse_args()
    if given.one:
        verb, n_rows, n_draws = given.one
        print(json.dumps(measure(verb, int(n_rows), int(n_draws))))
        return
    print(f"Python {platform.python_version()}, numpy {np.__version__}, one core, CPU seconds")
    n_draws = 1_500 if given.small else 15_000
    print(f"\n76,538 rows × {n_draws:,} draws, each verb in a fresh process\n")
    print("| verb | s | loop over expit, s | ratio | peak above the inputs, MiB |")
    print("|---|---:|---:|---:|---:|")
    for verb in VERBS:
        found = fresh(verb, 76_538, n_draws)
        ratio = found["seconds"] / found["loop"]
        print(
            f"| `{verb}` | {found['seconds']:.1f} | {found['loop']:.1f} | {ratio:.2f} "
            f"| {found['peak_mib']:.0f} |"
        )
    print("\nGrowth of `avg_comparisons('arm')`\n")
    print("| rows | draws | s | ns a cell |\n|---:|---:|---:|---:|")
    sizes = [(rows, 400) for rows in (500, 5_000, 50_000, 500_000)]
    sizes += [(5_000, draws) for draws in (100, 1_000, 10_000, 100_000)]
    for n_rows, n in sizes:
        seconds = fresh("avg_comparisons('arm')", n_rows, n)["seconds"]
        print(f"| {n_rows:,} | {n:,} | {seconds:.3f} | {1e9 * seconds / (2 * n_rows * n):.1f} |")


if __name__ == "__main__":
    main()
