"""Seconds, k̂ and effective draws per CPU second of the importance route on four data sets.

    python benchmarks/importance.py            # half a minute

Medians of three runs in one process after one that compiles; ``benchmarks/inference.py`` has the
other routes beside it. Effective draws are the smaller of (Σw)²/Σw² and the draws returned.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np

import popavg as pa
from popavg.design import Design, family_of
from popavg.links import get_link
from popavg.models.default_priors import resolve_priors
from popavg.workflows.importance import importance_sample
from popavg.workflows.loo import loo_clusters

MODELS = {
    "toenail": "outcome ~ treatment * time + (1 | patient)",
    "ohio": "resp ~ age * smoke + (1 | id)",
    "respiratory": "status ~ month + treatment * gender + age + baseline + (1 | subject)",
    "contraception": "use ~ urban + age + livch + (1 | district)",
}


@dataclass(frozen=True)
class Run:
    """One data set's numbers."""

    seconds: float
    cpu_seconds: float
    evaluations: float
    ess: float
    khat: float

    @property
    def ess_per_cpu_second(self) -> float:
        return self.ess / self.cpu_seconds


def measure(name: str, *, runs: int = 3, draws: int = 1000, chains: int = 4) -> Run:
    """Medians over the runs."""
    data, link, formula = pa.load_dataset(name), get_link("logit"), MODELS[name]
    family = family_of(formula, link)
    found = []
    for seed in range(-1, runs):
        cpu = time.process_time()
        design = Design.build(formula, data, family=family)
        priors = resolve_priors(design, family, link)
        result = importance_sample(
            design, link, family, priors, draws=draws, chains=chains, seed=seed + 1, progress=False
        )
        cpu = time.process_time() - cpu
        if not result.accepted:
            raise RuntimeError(f"{name}: {result.why}")
        ess = min(result.ess, draws * chains)
        evaluations = result.facts["evaluations"]
        found.append((result.seconds, cpu, evaluations, ess, result.khat))
    return Run(*(statistics.median(column) for column in zip(*found[1:], strict=True)))


def main() -> None:
    print(f"{'':15}{'seconds':>9}{'CPU s':>8}{'evaluations':>13}{'ESS/CPU s':>11}{'k̂':>8}")
    for name in MODELS:
        run = measure(name)
        print(
            f"{name:15}{run.seconds:9.2f}{run.cpu_seconds:8.2f}{run.evaluations:13.0f}"
            f"{run.ess_per_cpu_second:11.0f}{run.khat:8.2f}"
        )
    fit = pa.load_example()
    begin = time.perf_counter()
    loo = loo_clusters(fit, progress=False)
    largest = float(np.max(loo.pareto_k.to_numpy()))
    seconds = time.perf_counter() - begin
    print(f"toenail, left out cluster by cluster: {seconds:.1f} s, largest k̂ {largest:.2f}")


if __name__ == "__main__":
    main()
