"""Effective draws per CPU second: importance sampling, NUTS and the latent model, in one run.

4 chains of 1,000 + 1,000 draws. CPU seconds of sampling with its warm-up, of all threads;
compilation apart (of importance sampling: the first call in this process, less a later one). The
smallest effective number of draws (bulk and tail) of coefficients and standard deviations. Medians
over the repetitions, with the smallest and largest; the ratios are to the latent model.

    python benchmarks/inference.py [REPETITIONS] [DATA SET ...]

What is compiled for the first time on a machine takes longer: with NUMBA_CACHE_DIR and
PYTENSOR_FLAGS=base_compiledir=… in an empty folder the first repetition shows it.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import xarray as xr
from arviz_stats.base import array_stats

import popavg as pa
from popavg.workflows.importance import importance_sample
from popavg.workflows.problem import Problem, problem_of_formula
from popavg.workflows.sampling import Sampler, compile_model, sample_compiled

FORMULAS = {
    "toenail": "y ~ treatment * time + (1 | patient)",
    "ohio": "resp ~ age + (1 | id)",
    "respiratory": "status ~ baseline + treatment * month + (1 | subject)",
    "contraception": "y ~ age + urban + (1 | district)",
}
SAMPLER = Sampler(draws=1000, tune=1000, chains=4, progress=False)


class Measured(NamedTuple):
    """CPU seconds of compiling and of sampling, effective draws, steps a draw."""

    compiling: float
    sampling: float
    bulk: float
    tail: float
    steps: float

    @property
    def rate(self) -> float:
        """Effective draws per CPU second of sampling."""
        return self.bulk / self.sampling


def cpu[T](function: Callable[[], T]) -> tuple[float, T]:
    begin = time.process_time()
    found = function()
    return time.process_time() - begin, found


def smallest(posterior: xr.Dataset) -> tuple[float, float]:
    bulk, tail = [], []
    for name in posterior.data_vars:
        if not str(name).startswith(("beta", "sd_")):
            continue
        values = posterior[name].transpose("chain", "draw", ...).to_numpy()
        for column in values.reshape(*values.shape[:2], -1).transpose(2, 0, 1):
            axes = {"chain_axis": 0, "draw_axis": 1}
            bulk.append(array_stats.ess(column, method="bulk", **axes))
            tail.append(array_stats.ess(column, method="tail", prob=0.9, **axes))
    return float(min(bulk)), float(min(tail))


def by_nuts(problem: Problem, method: str, seed: int) -> Measured:
    model = problem.build("integrated" if method == "nuts" else "latent")
    compiling, compiled = cpu(lambda: compile_model(model))
    few = method == "nuts"
    sampling, tree = cpu(lambda: sample_compiled(compiled, SAMPLER, seed, few=few))
    steps = float(tree["sample_stats"]["n_steps"].mean())
    return Measured(compiling, sampling, *smallest(tree["posterior"].to_dataset()), steps)


def by_importance(problem: Problem, seed: int) -> Measured:
    def draw(seed: int) -> xr.Dataset:
        return importance_sample(
            problem.design, problem.link, problem.family, problem.priors, draws=1000, chains=4,
            seed=seed, progress=False,
        ).posterior  # fmt: skip

    first, _ = cpu(lambda: draw(seed))
    sampling, posterior = cpu(lambda: draw(seed))
    return Measured(max(first - sampling, 0.0), sampling, *smallest(posterior), 0.0)


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    warnings.simplefilter("ignore")
    for name in sys.argv[2:] or list(FORMULAS):
        problem = problem_of_formula(
            FORMULAS[name], pa.load_dataset(name), "logit", priors=None,
            parametrization="noncentered", missing="drop", keep=(),
        )  # fmt: skip
        found: dict[str, list[Measured]] = {"latent": [], "nuts": [], "importance": []}
        for seed in range(repetitions):
            for method in ("latent", "nuts"):
                found[method].append(by_nuts(problem, method, seed))
            found["importance"].append(by_importance(problem, seed))
        latent = statistics.median(one.rate for one in found["latent"])
        for method, runs in found.items():
            rates = sorted(one.rate for one in runs)
            middle = statistics.median(rates)
            one = runs[-1]
            print(
                f"{name:<14} {method:<11} {middle:9.1f} per CPU-s [{rates[0]:.1f}, {rates[-1]:.1f}]"
                f"  {middle / latent:7.1f} x;  ESS bulk {one.bulk:.0f} tail {one.tail:.0f},"
                f" {one.sampling:.2f} CPU-s, {one.steps:.1f} steps a draw,"
                f" compiling {runs[0].compiling:.1f} first, {one.compiling:.1f} CPU-s last",
                flush=True,
            )


if __name__ == "__main__":
    main()
