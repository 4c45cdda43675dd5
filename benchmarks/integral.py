"""Cost of the population average beside `scipy.special.expit` of the same X @ beta.

The toenail data's 1,908 rows and 4,000 draws of a random-intercept model (those in
``tests/reference``, repeated with some noise). Every repetition runs all candidates one after the
other, each making its own result array; the tables show the median over the repetitions, with the
smallest and the largest, and end with what may be asked of it. On one core the time is the
process's own (`time.process_time`), so that a busy machine disturbs it little; two cores and first
calls are by the clock and want a quiet one.

    python benchmarks/integral.py
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numba
import numpy as np
import pandas as pd
import scipy
from scipy.special import expit

import popavg as pa
from popavg.posterior_tools.averages import population_average

DRAWS = Path(__file__).parents[1] / "tests" / "reference" / "brms_toenail_draws.csv"
REPETITIONS = 9

FIRST_CALL = """
import time
begin = time.perf_counter()
import numpy as np
from popavg.posterior_tools.averages import population_average
eta = np.random.default_rng(1).normal(-2.0, 2.5, (4000, 1908))
sd = np.random.default_rng(2).normal(4.0, 0.4, (4000, {columns}))
made = time.perf_counter()
population_average(eta, sd, "{link}", "{what}")
print(made - begin, time.perf_counter() - made)
"""


def main() -> None:
    cores = sorted(os.sched_getaffinity(0))
    print(
        f"{platform.processor() or platform.machine()}, {len(cores)} cores, "
        f"Python {platform.python_version()}, NumPy {np.__version__}, SciPy {scipy.__version__}, "
        f"numba {numba.__version__}; {REPETITIONS} interleaved repetitions"
    )
    eta, sd = predictors(4000)
    os.sched_setaffinity(0, cores[:1])
    one_core(eta, sd)
    linear(eta, sd)
    os.sched_setaffinity(0, cores)
    if len(cores) > 1:
        two_cores(eta, sd, cores[:2])
    first_calls()


def predictors(draws: int) -> tuple[np.ndarray, np.ndarray]:
    """X @ beta (draws, 1908) and the standard deviation of each draw (draws, 1)."""
    frame, posterior = pa.load_dataset("toenail"), pd.read_csv(DRAWS)
    treated = (frame["treatment"] == "terbinafine").to_numpy(dtype=float)
    month = frame["time"].to_numpy()
    design = np.column_stack([np.ones(len(frame)), treated, month, treated * month])
    table = posterior.filter(regex="^(b_|sd_)").to_numpy()
    generator = np.random.default_rng(20240501)
    chosen = table[generator.integers(len(table), size=draws)]
    chosen += 0.1 * table.std(axis=0) * generator.standard_normal(chosen.shape)
    return chosen[:, :4] @ design.T, chosen[:, 4:]


def timed(
    candidates: dict[str, Callable[[], object]], clock: Callable[[], float] = time.process_time
) -> dict[str, np.ndarray]:
    """Seconds of each candidate, (repetitions,); one run beforehand isn't counted."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for repetition in range(REPETITIONS + 1):
        for name, candidate in candidates.items():
            begin = clock()
            result = candidate()
            spent = clock() - begin
            del result
            if repetition:
                seconds[name].append(spent)
    return {name: np.array(values) for name, values in seconds.items()}


def row(name: str, ratios: np.ndarray, target: str = "") -> None:
    low, middle, high = np.quantile(ratios, [0.0, 0.5, 1.0])
    print(f"{name:<52} {middle:6.2f}  ({low:.2f} to {high:.2f})  {target}")


def one_core(eta: np.ndarray, sd: np.ndarray) -> None:
    varying = np.exp(np.random.default_rng(3).normal(0.0, 0.3, eta.shape)) * sd
    candidates: dict[str, Callable[[], object]] = {"expit": partial(expit, eta)}
    targets = {}
    for link in ("logit", "cloglog"):
        for what in ("mean", "link", "slope", "curvature"):
            for kind, spread, most in (("by draw", sd, 1.0), ("by cell", varying, 6.0)):
                name = f"{link} {what}, v {kind}"
                candidates[name] = partial(population_average, eta, spread, link, what)
                targets[name] = f"at most {most:.1f}" if what == "mean" else ""
    for scale in ("mean", "link"):
        name = f"marginal_mean: logit {scale}, v by draw"
        candidates[name] = partial(pa.marginal_mean, eta, sd, "logit", scale)
        targets[name] = "at most 1.0" if scale == "mean" else ""
    candidates["probit mean (closed form)"] = partial(population_average, eta, sd, "probit")
    seconds = timed(candidates)
    base = seconds.pop("expit")
    print(f"\none core, {eta.shape}: expit takes {1e3 * np.median(base):.1f} ms; ratios to it")
    for name, spent in seconds.items():
        row(name, spent / base, targets.get(name, ""))


def linear(eta: np.ndarray, sd: np.ndarray) -> None:
    candidates: dict[str, Callable[[], object]] = {}
    for draws, rows in ((40, 1908), (400, 1908), (4000, 1908), (4000, 19), (4000, 190)):
        part = np.ascontiguousarray(eta[:draws, :rows])
        candidates[f"{draws} draws x {rows} rows"] = partial(
            population_average, part, sd[:draws], "logit"
        )
    print("\none core, v by draw: nanoseconds per cell")
    for name, spent in timed(candidates).items():
        draws, rows = (int(word) for word in name.split() if word.isdigit())
        row(name, 1e9 * spent / (draws * rows))


def two_cores(eta: np.ndarray, sd: np.ndarray, cores: list[int]) -> None:
    """Beside what the second core of this machine gives to a copy and to expit."""
    varying, out = np.repeat(sd, eta.shape[1], axis=1), np.empty_like(eta)
    print("\ntwo cores: times as fast as one; work: of both cores / of one")

    def controlled(call: Callable[[np.ndarray, np.ndarray], object]) -> Callable[[int], object]:
        def on(count: int) -> object:
            pairs = zip(np.array_split(eta, count), np.array_split(out, count), strict=True)
            with ThreadPoolExecutor(count) as pool:
                return list(pool.map(lambda pair: call(*pair), pairs))

        return on

    def ours(spread: np.ndarray) -> Callable[[int], object]:
        return lambda _: population_average(eta, spread, "logit")

    candidates = {
        "logit mean, v by draw": ours(sd),
        "logit mean, v by cell": ours(varying),
        "the machine: a copy of eta": controlled(lambda part, place: np.copyto(place, part)),
        "the machine: expit of eta into an array": controlled(lambda p, o: expit(p, out=o)),
    }
    for name, candidate in candidates.items():

        def on(count: int, candidate: Callable[[int], object] = candidate) -> object:
            os.sched_setaffinity(0, cores[:count])
            return candidate(count)

        both: dict[str, Callable[[], object]] = {"one": partial(on, 1), "two": partial(on, 2)}
        seconds, work = timed(both, time.perf_counter), timed(both)
        target = "" if "machine" in name else "at least 1.7"
        row(name, seconds["one"] / seconds["two"], target)
        row("  work", work["two"] / work["one"])
        if not target:
            continue
        assert np.array_equal(on(1), on(2)), "the number of cores changed the numbers"


def first_calls() -> None:
    print("\nfirst call in a fresh process, compiled kernels on disk: seconds, imports beside")
    for link, what, columns in (
        ("logit", "mean", 1),
        ("logit", "slope", 1),
        ("logit", "mean", 1908),
        ("cloglog", "mean", 1),
    ):
        code = FIRST_CALL.format(link=link, what=what, columns=columns)
        spent, imports = [], []
        for _ in range(3):
            run = [sys.executable, "-c", code]
            words = subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()
            imports.append(float(words[0]))
            spent.append(float(words[1]))
        note = f"less than 3; and {np.median(imports):.2f} to import and to make the data"
        row(f"{link} {what}, v by {'draw' if columns == 1 else 'cell'}", np.array(spent), note)


if __name__ == "__main__":
    main()
