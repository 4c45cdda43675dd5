"""Fit small models with Bambi and store their draws: bambi_data.csv and bambi_draws.nc.

``python tests/reference/make_bambi.py`` (one to two minutes, most of it compilation).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

HERE = Path(__file__).resolve().parent
DATA, DRAWS = HERE / "bambi_data.csv", HERE / "bambi_draws.nc"

#: Name, formula, family: what differs between Bambi's and popavg's conventions is in them.
MODELS = {
    "slopes": ("outcome ~ treatment * time + scale(dose) + (1 + time | patient)", "bernoulli"),
    "nested": ("p(s, n) ~ C(visit) + time:treatment + (1 | h/g)", "binomial"),
    "coded": ("w ~ 0 + treatment + poly(time, 2) + (treatment | patient)", "gaussian"),
    "counts": ("s ~ dose + offset(log(n)) + (0 + time | patient)", "poisson"),
}


def simulate() -> pd.DataFrame:
    """160 rows: 20 patients (10, 11, …), also 5 groups in each of 4 herds, 8 times."""
    rng = np.random.default_rng(3)
    patient = np.repeat(np.arange(20), 8)
    time = np.tile(np.arange(8.0), 20)
    treatment = np.array(["placebo", "active", "high"])[patient % 3]
    u, s = rng.normal(size=20), 0.2 * rng.normal(size=20)
    eta = -0.5 + 0.2 * time + 0.5 * (treatment == "active") + u[patient] + s[patient] * time
    trials = rng.integers(3, 7, 160)
    probability = 1 / (1 + np.exp(-eta))
    return pd.DataFrame(
        {
            "patient": 119 - patient,
            "h": [f"h{i // 5}" for i in patient],
            "g": [f"c{i % 5}" for i in patient],
            "time": time,
            "visit": (time % 3).astype(int),
            "treatment": treatment,
            "dose": rng.normal(3.0, 2.0, 160).round(2),
            "outcome": np.where(rng.random(160) < probability, "bad", "good"),
            "n": trials,
            "s": rng.binomial(trials, probability),
            "w": (eta + rng.normal(size=160)).round(3),
        }
    )


def read_data() -> pd.DataFrame:
    """The stored data; the categories in an order that isn't the alphabet's."""
    order = pd.CategoricalDtype(["placebo", "high", "active"])
    return pd.read_csv(DATA).astype({"treatment": order})


def model(name: str) -> Any:
    """Bambi's model, not compiled."""
    import bambi

    formula, family = MODELS[name]
    return bambi.Model(formula, read_data(), family=family)


def main() -> None:
    """Sample all models, 2 chains of 12 draws, with the means of every row."""
    simulate().to_csv(DATA, index=False)
    groups = {}
    for name in MODELS:
        idata = model(name).fit(
            draws=12,
            tune=300,
            chains=2,
            cores=2,
            random_seed=5,
            progressbar=False,
            include_response_params=True,
        )
        for group in ("posterior", "observed_data"):
            groups[f"{name}/{group}"] = idata[group].to_dataset()
    xr.DataTree.from_dict(groups).to_netcdf(DRAWS)


if __name__ == "__main__":
    main()
