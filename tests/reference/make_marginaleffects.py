"""Make marginaleffects.json: python tests/reference/make_marginaleffects.py

Needs marginaleffects 0.6.0 (Python), statsmodels 0.15.0, pandas, pyarrow and polars below 2, in an
environment of their own; popavg isn't needed. The numbers are predictions of a logistic regression
of the bacteria data without random effects, at its maximum-likelihood estimate. Every call stands
beside its numbers, by name: ``function(model, **kwargs)``, ``newdata`` a word or the arguments of
``datagrid``.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import marginaleffects
import numpy as np
import pandas as pd
import statsmodels.api as sm
import statsmodels.formula.api as smf
from marginaleffects.datagrid import datagrid

PACKAGES = ("marginaleffects", "statsmodels", "polars", "pandas", "numpy")
DATA = Path(__file__).parents[2] / "src" / "popavg" / "data" / "bacteria.csv"
FORMULA = "y ~ trt * week + hilo"
LEVELS = {"trt": ["placebo", "drug", "drug+"], "hilo": ["low", "high"]}
BY_TREATMENT = {"by": "trt"}

CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "rows": ("predictions", {}),
    "mean": ("predictions", {"newdata": "mean"}),
    "balanced": ("predictions", {"newdata": "balanced"}),
    "grid": ("predictions", {"newdata": {"trt": ["drug", "placebo"], "week": [0, 6]}}),
    "counterfactual grid": (
        "avg_predictions",
        {"newdata": {"week": [0, 6], "grid_type": "counterfactual"}, "by": "week"},
    ),
    "average": ("avg_predictions", {}),
    "average by treatment": ("avg_predictions", BY_TREATMENT),
    "predictions by treatment": ("predictions", BY_TREATMENT),
    "weighted by treatment": ("avg_predictions", {**BY_TREATMENT, "wts": "wv"}),
    "by two columns": ("avg_predictions", {"by": ["trt", "hilo"]}),
    "all at each week": ("avg_predictions", {"variables": {"week": [0, 6]}, "by": "week"}),
    "all at each week by treatment": (
        "avg_predictions",
        {"variables": {"week": [0, 6]}, "by": ["week", "trt"]},
    ),
    "pairwise": ("avg_predictions", {**BY_TREATMENT, "hypothesis": "difference ~ pairwise"}),
    "revpairwise": ("avg_predictions", {**BY_TREATMENT, "hypothesis": "difference ~ revpairwise"}),
    "ratio to reference": ("avg_predictions", {**BY_TREATMENT, "hypothesis": "ratio ~ reference"}),
    "ratio pairwise": ("avg_predictions", {**BY_TREATMENT, "hypothesis": "ratio ~ pairwise"}),
    "sequential": ("avg_predictions", {**BY_TREATMENT, "hypothesis": "difference ~ sequential"}),
    "revsequential": ("avg_predictions", {**BY_TREATMENT, "hypothesis": "ratio ~ revsequential"}),
    "an equation": ("avg_predictions", {**BY_TREATMENT, "hypothesis": "b2 - b0 = 0"}),
    "another equation": ("avg_predictions", {**BY_TREATMENT, "hypothesis": "b1 / b0 = 1"}),
    "two equations": ("avg_predictions", {**BY_TREATMENT, "hypothesis": ["b1 = b0", "b2 = 2*b1"]}),
    "weights": ("avg_predictions", {**BY_TREATMENT, "hypothesis": [[1, 0.5], [-1, 0.5], [0, -1]]}),
}


def run(model: Any, function: str, kwargs: dict[str, Any]) -> list[dict[str, Any]]:
    given = dict(kwargs)
    if isinstance(given.get("newdata"), dict):
        given["newdata"] = datagrid(model, **given["newdata"])
    if isinstance(given.get("hypothesis"), list) and isinstance(given["hypothesis"][0], list):
        given["hypothesis"] = np.array(given["hypothesis"])
    found = getattr(marginaleffects, function)(model, vcov=False, **given)
    wanted = ("term", "trt", "week", "hilo", "estimate")
    return found.select([name for name in wanted if name in found.columns]).to_dicts()


def main() -> None:
    data = pd.read_csv(DATA, comment="#")
    coded = data.assign(**{k: pd.Categorical(data[k], levels) for k, levels in LEVELS.items()})
    model = smf.glm(FORMULA, coded, family=sm.families.Binomial()).fit(tol=1e-14, maxiter=100)
    calls = {
        name: {"function": function, "kwargs": kwargs, "found": run(model, function, kwargs)}
        for name, (function, kwargs) in CALLS.items()
    }
    made = {
        "versions": {name: version(name) for name in PACKAGES},
        "formula": FORMULA,
        "beta": dict(model.params),
        "calls": calls,
    }
    target = Path(__file__).with_name("marginaleffects.json")
    target.write_text(json.dumps(made, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
