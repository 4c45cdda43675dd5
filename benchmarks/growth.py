"""Time and memory of a whole fit as the data grow: clusters of 10 rows, one random intercept.

    python benchmarks/growth.py                # 1,000 to 1,000,000 rows: several minutes
    python benchmarks/growth.py 1000 10000

Every size runs in a process of its own (``pa.fit``, ``method="auto"``, 4 × 1,000 draws), once with
a covariate that differs in every row, once with few distinct patterns. Seconds are wall-clock
without compiling: a small fit comes first. Memory is the process's peak above that after this fit.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
import warnings

import numpy as np
import pandas as pd

SIZES = (1_000, 10_000, 100_000, 1_000_000)
FORMULA = "y ~ treatment + x + (1 | g)"


def simulate(rows: int, distinct: bool) -> pd.DataFrame:
    """Clusters of 10 rows; half of them are treated."""
    rng = np.random.default_rng(rows)
    cluster = np.repeat(np.arange(rows // 10), 10)
    treatment = (cluster % 2).astype(float)
    x = rng.normal(size=rows) if distinct else np.tile(np.linspace(-1.0, 1.0, 10), rows // 10)
    eta = -1.0 + 0.5 * treatment + 0.7 * x + 1.5 * rng.normal(size=rows // 10)[cluster]
    y = (rng.random(rows) < 1.0 / (1.0 + np.exp(-eta))).astype(int)
    return pd.DataFrame({"y": y, "treatment": treatment, "x": x, "g": cluster})


def measure(rows: int, distinct: bool) -> dict[str, float | str]:
    """One fit in this process."""
    import popavg as pa

    warnings.simplefilter("ignore")
    pa.fit(FORMULA, simulate(500, distinct), link="logit", seed=1, method="auto", progress=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    data = simulate(rows, distinct)
    start, cpu = time.perf_counter(), time.process_time()
    fit = pa.fit(FORMULA, data, link="logit", seed=1, method="auto", progress=False)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sampler = json.loads(fit.attrs["popavg"])["sampler"]
    return {
        "seconds": seconds,
        "cpu": cpu,
        "memory": (peak - before) / 1024,
        "method": sampler["method"],
        "slope": float(fit["posterior"]["beta"].sel(term="x").mean()),
    }


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(int(sys.argv[2]), sys.argv[3] == "distinct")))
        return
    for kind in ("distinct", "few patterns"):
        print(f"{kind}: rows, seconds, CPU seconds, MiB above the start, method, slope of x (0.7)")
        for rows in [int(size) for size in sys.argv[1:]] or SIZES:
            command = [sys.executable, __file__, "--one", str(rows), kind.split()[0]]
            answer = subprocess.run(command, check=True, capture_output=True, text=True)
            one = json.loads(answer.stdout.splitlines()[-1])
            print(
                f"  {rows:>9,} {one['seconds']:8.2f} {one['cpu']:8.2f} {one['memory']:7.0f}"
                f"  {one['method']:<10} {one['slope']:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
