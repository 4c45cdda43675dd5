"""Milliseconds of one value and gradient of the integrated likelihood, accuracy, growth.

    python benchmarks/integrated_likelihood.py            # a minute or two
    python benchmarks/integrated_likelihood.py --rows 1000000

The naive rule beside it is what one writes by hand: 51 nodes on [-6, 6], the softplus of every row
at every node, in a compiled loop and in NumPy. Times are medians (and quartiles) of one process
that takes the versions in turn.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray

import popavg as pa
from popavg.design import Design, family_of
from popavg.links import get_link
from popavg.posterior_tools.cluster_effects import draw_effects
from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes
from popavg.posterior_tools.integrated_likelihood import (
    log_likelihood,
    quadrature_error,
    value_and_gradient,
)

type Floats = NDArray[np.float64]

EXACT = Path(__file__).parent.parent / "tests" / "reference" / "exact_ml.json"
NODES = np.linspace(-6.0, 6.0, 51)
WEIGHTS = np.log(NODES[1] - NODES[0]) - 0.5 * NODES**2 - 0.5 * math.log(2 * math.pi)


@njit(nogil=True)
def naive_numba(
    starts: NDArray[np.int64], y: Floats, parameters: tuple[Floats, float], out: Floats
) -> float:
    eta, tau = parameters
    total = 0.0
    log_f, p = np.empty(51), np.empty((51, 10_000))
    for i in range(starts.size - 1):
        for k in range(51):
            log_f[k] = WEIGHTS[k]
            for j in range(starts[i], starts[i + 1]):
                v = eta[j] + tau * NODES[k]
                e = math.exp(-abs(v))
                log_f[k] += y[j] * v - max(v, 0.0) - math.log1p(e)
                p[k, j - starts[i]] = (1.0 if v > 0.0 else e) / (1.0 + e)
        top = log_f.max()
        mass = np.exp(log_f - top)
        size = mass.sum()
        total += top + math.log(size)
        for j in range(starts[i], starts[i + 1]):
            out[j] = 0.0
            for k in range(51):
                out[j] += mass[k] / size * (y[j] - p[k, j - starts[i]])
    return total


def naive_numpy(starts: NDArray[np.int64], y: Floats, eta: Floats, tau: float) -> float:
    v = eta[:, None] + tau * NODES
    rows = y[:, None] * v - np.logaddexp(0.0, v)
    log_f = np.add.reduceat(rows, starts[:-1], axis=0) + WEIGHTS
    top = log_f.max(axis=1, keepdims=True)
    mass = np.exp(log_f - top)
    size = mass.sum(axis=1, keepdims=True)
    residual = y[:, None] - 1.0 / (1.0 + np.exp(-v))
    np.sum(np.repeat(mass / size, np.diff(starts), axis=0) * residual, axis=1)
    return float((top + np.log(size)).sum())


def in_turn(calls: dict[str, Callable[[], object]], repeats: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for name, call in calls.items():
        call()
        del name
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - start))
    for name, found in times.items():
        low, middle, high = statistics.quantiles(found, n=4)
        print(f"  {name:42s} {middle:9.3f} ms  ({low:.3f} to {high:.3f}, least {min(found):.3f})")


def outcomes_of(
    name: str, link: str, slope: bool = False
) -> tuple[ClusteredOutcomes, Floats, float, float]:
    known = json.loads(EXACT.read_text())["datasets"][name]
    family = family_of(known["formula"], get_link(link))
    design = Design.build(known["formula"], pa.load_dataset(name), family=family)
    X, row = np.unique(design.matrices.X, axis=0, return_inverse=True)
    Z = np.ones((len(X), 1))
    if slope:
        urban = [term.startswith("urban") for term in design.matrices.terms].index(True)
        Z = np.column_stack([Z, X[:, urban]])
    outcomes = ClusteredOutcomes.build(
        design.response.y, design.matrices.groups[0].index, row=row.ravel(), Z=Z, link=link,
        family=family, trials=design.response.trials,
    )  # fmt: skip
    exact = known["links"][link]
    return outcomes, X @ np.array(exact["coef"]), exact["sd"], exact["logLik"]


def toenail(repeats: int) -> None:
    outcomes, eta, sd, exact = outcomes_of("toenail", "logit")
    data, root = outcomes.data, np.array([[sd]])
    rows = np.repeat(np.arange(len(data.starts) - 1), np.diff(data.starts))
    print(f"toenail at the ML estimate: {len(data.row)} entries, {rows[-1] + 1} distinct clusters")
    out, at, starts = np.empty(len(data.row)), eta[data.row], data.starts
    in_turn(
        {
            "value and gradient": lambda: value_and_gradient(outcomes, eta, root),
            "value": lambda: log_likelihood(outcomes, eta, root),
            "naive, numba, value and gradient": lambda: naive_numba(starts, data.y, (at, sd), out),
            "naive, NumPy, value and gradient": lambda: naive_numpy(starts, data.y, at, sd),
        },
        repeats,
    )
    error = value_and_gradient(outcomes, eta, root).value - exact
    naive = naive_numba(starts, data.y, (at, sd), out)
    if (outcomes.multiplicity == 1).all():
        print(f"  error of the total {error:.1e}, naive {naive - exact:.1e}")
    else:
        print(f"  error of the total {error:.1e}")
    print(f"  estimate of it {quadrature_error(outcomes, eta, root).total:.1e}")
    draws = 200
    start = time.perf_counter()
    draw_effects(
        outcomes, np.tile(eta, (draws, 1)), np.tile(root, (draws, 1, 1)), seed=np.arange(draws)
    )
    start = time.perf_counter()
    draw_effects(
        outcomes, np.tile(eta, (draws, 1)), np.tile(root, (draws, 1, 1)), seed=np.arange(draws)
    )
    print(f"  {1e3 * (time.perf_counter() - start) / draws:.3f} ms a draw of all clusters' effects")


def others(repeats: int) -> None:
    print("other links and data, value and gradient")
    calls: dict[str, Callable[[], object]] = {}
    cases = [("toenail", "probit"), ("toenail", "cloglog"), ("ohio", "logit"), ("epil", "log")]
    for name, link in [*cases, ("contraception", "logit")]:
        outcomes, eta, sd, _ = outcomes_of(name, link)
        root = np.array([[sd]])
        calls[f"{name} {link}"] = lambda o=outcomes, e=eta, r=root: value_and_gradient(o, e, r)
    outcomes, eta, _, _ = outcomes_of("contraception", "logit", slope=True)
    root = np.array([[0.6, 0.0], [-0.6, 0.4]])
    calls["contraception logit, intercept and slope"] = lambda: value_and_gradient(
        outcomes, eta, root
    )
    in_turn(calls, max(repeats // 5, 3))


def growth(largest: int) -> None:
    print("growth: clusters of 10 rows that all differ, tau = 2, two cores where there are")
    rows = 1000
    while rows <= largest:
        rng = np.random.default_rng(rows)
        cluster = np.arange(rows) // 10
        eta = rng.normal(-1.0, 1.0, rows)
        v = eta + 2.0 * rng.normal(size=rows // 10)[cluster]
        y = (rng.random(rows) < 1.0 / (1.0 + np.exp(-v))).astype(float)
        start = time.perf_counter()
        outcomes = ClusteredOutcomes.build(
            y, cluster, row=np.arange(rows), Z=np.ones((rows, 1)), link="logit"
        )
        built = time.perf_counter() - start
        times = []
        for _ in range(5):
            start = time.perf_counter()
            value_and_gradient(outcomes, eta, [[2.0]])
            times.append(time.perf_counter() - start)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        error = quadrature_error(outcomes, eta, [[2.0]]).total
        print(
            f"  {rows:>9,} rows: built in {built:.2f} s, value and gradient "
            f"{1e3 * statistics.median(times):.2f} ms, error {error:.0e}, peak {memory:.0f} MiB"
        )
        rows *= 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000, help="largest number of rows")
    parser.add_argument("--repeats", type=int, default=200)
    arguments = parser.parse_args()
    toenail(arguments.repeats)
    others(arguments.repeats)
    growth(arguments.rows)


if __name__ == "__main__":
    main()
