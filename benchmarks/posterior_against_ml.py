"""Posterior means against exact maximum likelihood, for every data set and link.

Prints, for the default priors and for priors four times as wide, z = (posterior mean - ML estimate)
/ posterior SD: of the clusters' standard deviation, and the largest absolute one of the conditional
and of the population-averaged (least-squares) coefficients. A star: the fit warned. The ML
estimates come from ``tests/reference/exact_ml.json``: a dense quadrature, independent of popavg.

    python benchmarks/posterior_against_ml.py [DATASET ...]
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np

import popavg as pa
from popavg.models.record import model_record

REFERENCE = Path(__file__).parents[1] / "tests" / "reference" / "exact_ml.json"


def main(names: list[str]) -> None:
    reference = json.loads(REFERENCE.read_text(encoding="utf-8"))["datasets"]
    heading = f"{'sd':>6} {'conditional':>14} {'averaged':>7}"
    print(f"{'data set':<14} {'link':<8} {'priors':<8} {heading}")
    for name in names or list(reference):
        for link, exact in reference[name]["links"].items():
            for width in (1, 4):
                print(row(name, link, exact | {"formula": reference[name]["formula"]}, width))


def row(name: str, link: str, exact: dict, width: int) -> str:
    data, formula = pa.load_dataset(name), exact["formula"]
    model = pa.models.glmm(formula, data, link=link)
    if width > 1:
        wider = {k: widened(p, width) for k, p in model_record(model).priors.items()}
        model = pa.models.glmm(formula, data, link=link, priors=wider)
    begin = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", pa.errors.FitWarning)
        fit = pa.fit(model, seed=1, draws=2000, progress=False)
    seconds = time.perf_counter() - begin
    posterior = fit["posterior"]
    beta = posterior["beta"].to_numpy().reshape(-1, posterior["beta"].shape[-1])
    group = next(v for v in posterior.data_vars if str(v).startswith("sd_"))
    sd = posterior[group].to_numpy().ravel()
    z = (beta.mean(axis=0) - np.array(exact["coef"])) / beta.std(axis=0)
    z_sd = (sd.mean() - exact["sd"]) / sd.std()
    kind = "default" if width == 1 else f"{width} x"
    flag = " *" if any(issubclass(w.category, pa.errors.FitWarning) for w in caught) else ""
    averaged = pa.population_coefficients(fit, "least_squares").draws.to_numpy()
    averaged = averaged.reshape(-1, len(z))
    z_averaged = (averaged.mean(axis=0) - np.array(exact["marginal_coef"])) / averaged.std(axis=0)
    largest = f"{np.abs(z).max():.2f} {np.abs(z_averaged).max():>14.2f}"
    return f"{name:<14} {link:<8} {kind:<8} {z_sd:+6.2f} {largest:>22} {seconds:>6.0f} s{flag}"


def widened(prior: pa.Prior, width: int) -> pa.Prior:
    params = prior.to_dict()["params"]
    if "sigma" not in params:
        return prior
    return pa.Prior(prior.name, **{**params, "sigma": width * params["sigma"]})


if __name__ == "__main__":
    main(sys.argv[1:])
