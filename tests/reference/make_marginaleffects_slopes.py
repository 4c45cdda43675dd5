"""Slopes of GLMs by marginaleffects: python tests/reference/make_marginaleffects_slopes.py.

Needs an environment of its own, since it breaks with polars 2, such as

    pip install marginaleffects==0.6.0 "polars<2" statsmodels==0.15.0

marginaleffects differentiates numerically, by differences over ``eps``.
"""

import json
import platform
from importlib.metadata import version
from pathlib import Path

import marginaleffects
import numpy as np  # noqa: F401  (the formulas say np.log)
import pandas as pd
import statsmodels.api as sm
import statsmodels.formula.api as smf

DATA = Path(__file__).resolve().parents[2] / "src" / "popavg" / "data"
#: Data set, statsmodels' formula, popavg's, family, covariates, column to group and to weight by.
MODELS = {
    "toenail": (
        "toenail",
        "y ~ treatment * time + I(time**2)",
        sm.families.Binomial(sm.families.links.Logit()),
        ["time"],
        "treatment",
        "visit",
    ),
    "contraception": (
        "contraception",
        "y ~ age + I(age**2) + livch * urban",
        sm.families.Binomial(sm.families.links.Probit()),
        ["age"],
        "livch",
        None,
    ),
    "contraception, cloglog": (
        "contraception",
        "y ~ age * urban + livch",
        sm.families.Binomial(sm.families.links.CLogLog()),
        ["age"],
        "urban",
        None,
    ),
    "epil": (
        "epil",
        "y ~ trt * np.log(base) + age + I(age**2)",
        sm.families.Poisson(),
        ["base", "age"],
        "trt",
        "age",
    ),
    "epil, Gaussian": (
        "epil",
        "y ~ trt * base + np.log(age)",
        sm.families.Gaussian(),
        ["base", "age"],
        "trt",
        "age",
    ),
}
SLOPES = ("dydx", "eyex", "eydx", "dyex")
#: Every so many rows the first `HEAD` times: the rows of the row-wise calls.
STEP, HEAD = 37, 6
#: Of the difference; marginaleffects' default is 1e-4.
EPS = 1e-4


def numbers(found: object, keys: list[str]) -> list[dict]:
    frame = found.data.to_pandas()
    return frame[[*keys, "estimate"]].to_dict("records")


def run(name: str) -> dict:
    dataset, formula, family, variables, by, weights = MODELS[name]
    data = pd.read_csv(DATA / f"{dataset}.csv")
    texts = data.select_dtypes(exclude="number")
    data = data.assign(**{column: texts[column].astype("category") for column in texts})
    model = smf.glm(formula, data, family=family).fit(tol=1e-14, maxiter=200)
    rows = data.iloc[: STEP * HEAD : STEP]
    found: dict = {
        "dataset": dataset,
        "formula": formula.replace("np.", ""),
        "link": type(family.link).__name__.lower(),
        "by": by,
        "weights": weights,
        "coef": model.params.to_dict(),
        "slopes": {},
    }
    for slope in SLOPES:
        if slope[:2] == "ey" and isinstance(family, sm.families.Gaussian):
            continue
        call = {"variables": variables, "slope": slope, "eps": EPS, "vcov": False}
        grouped = marginaleffects.avg_slopes(model, by=by, **call)
        kept = {
            "rows": numbers(marginaleffects.slopes(model, newdata=rows, **call), ["term"]),
            "average": numbers(marginaleffects.avg_slopes(model, **call), ["term"]),
            "by": numbers(grouped, ["term", by]),
        }
        if weights is not None:
            weighted = marginaleffects.avg_slopes(model, wts=weights, **call)
            kept["weighted"] = numbers(weighted, ["term"])
        found["slopes"][slope] = kept
    return found


if __name__ == "__main__":
    packages = ("marginaleffects", "polars", "statsmodels", "numpy", "pandas")
    versions = {"python": platform.python_version()} | {name: version(name) for name in packages}
    answer = {"versions": versions, "step": STEP, "head": HEAD, "eps": EPS}
    answer |= {"models": {name: run(name) for name in MODELS}}
    target = Path(__file__).with_name("marginaleffects_slopes.json")
    target.write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")
