"""Make marginaleffects_comparisons.json: python tests/reference/make_marginaleffects_comparisons.py

Needs marginaleffects 0.6.1 (Python), statsmodels, pandas and polars below 2, in an environment of
their own. The numbers are comparisons of generalized linear models without random effects, at
their maximum-likelihood estimates; data, coefficients and calls stand beside them.
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

PACKAGES = ("marginaleffects", "statsmodels", "polars", "pandas", "numpy")
FORMULAS = {
    "logit": "y ~ arm * x + treat + flag",
    "probit": "y ~ arm + x + treat",
    "log": "count ~ arm * x + treat",
}
FAMILIES = {
    "logit": sm.families.Binomial(),
    "probit": sm.families.Binomial(sm.families.links.Probit()),
    "log": sm.families.Poisson(),
}
HYPOTHESIS = "difference ~ pairwise"
EVERY_LINK: list[tuple[str, dict[str, Any]]] = [
    ("avg_comparisons", {"variables": {"arm": "reference"}}),
    ("avg_comparisons", {"variables": {"arm": "sequential"}}),
    ("avg_comparisons", {"variables": {"arm": "pairwise"}}),
    ("avg_comparisons", {"variables": {"arm": "all"}}),
    ("avg_comparisons", {"variables": {"arm": ["a", "c"]}}),
    ("avg_comparisons", {"variables": {"x": 5}}),
    ("avg_comparisons", {"variables": {"x": "sd"}}),
    ("avg_comparisons", {"variables": {"x": "2sd"}}),
    ("avg_comparisons", {"variables": {"x": "iqr"}}),
    ("avg_comparisons", {"variables": {"x": "minmax"}}),
    ("avg_comparisons", {"variables": {"x": [-0.5, 1.5]}}),
    ("avg_comparisons", {"variables": ["treat", "x"], "comparison": "ratio"}),
    ("avg_comparisons", {"variables": "treat", "comparison": "lnratio", "by": "site"}),
    ("avg_comparisons", {"variables": "treat", "by": "arm", "wts": "w"}),
    ("avg_comparisons", {"variables": "treat", "comparison": "ratio", "wts": "w"}),
    ("avg_comparisons", {"variables": {"treat": "reference", "x": 2}, "cross": True}),
    ("avg_comparisons", {"variables": "arm", "comparison": "ratio", "hypothesis": HYPOTHESIS}),
    ("comparisons", {"variables": "treat"}),
    ("comparisons", {"variables": {"x": 2}, "comparison": "ratio"}),
    ("comparisons", {"variables": {"treat": "reference", "x": "iqr"}, "cross": True}),
    ("comparisons", {"variables": "treat", "by": "site", "comparison": "ratio"}),
]
PROBABILITY: list[tuple[str, dict[str, Any]]] = [
    ("avg_comparisons", {"variables": "arm", "comparison": "lnor"}),
    ("avg_comparisons", {"variables": "treat", "comparison": "lnor", "by": "site", "wts": "w"}),
    ("comparisons", {"variables": "treat", "comparison": "lnor"}),
]


def make_data() -> pd.DataFrame:
    rng = np.random.default_rng(20)
    n = 40
    frame = pd.DataFrame(
        {
            "arm": np.array(["a", "b", "c"])[np.arange(n) % 3],
            "treat": np.array(["off", "on"])[rng.permutation(n) % 2],
            "flag": rng.integers(0, 2, n),
            "site": np.array(["n", "s"])[rng.permutation(n) % 2],
            "x": rng.normal(size=n).round(2),
            "w": rng.uniform(0.5, 2.0, n).round(2),
        }
    )
    eta = 0.4 * (frame["treat"] == "on") + 0.5 * frame["x"] - 0.3 * (frame["arm"] == "c")
    frame["y"] = (rng.uniform(size=n) < 1.0 / (1.0 + np.exp(-eta))).astype(int)
    frame["count"] = rng.poisson(np.exp(0.5 + 0.5 * eta))
    return frame


def run(model: Any, function: str, kwargs: dict[str, Any]) -> list[dict[str, Any]]:
    found = getattr(marginaleffects, function)(model, vcov=False, **kwargs)
    names = ("term", "contrast", "contrast_treat", "contrast_x", "arm", "site", "estimate")
    grouped = {kwargs.get("by"), "term", "contrast", "contrast_treat", "contrast_x", "estimate"}
    kept = [name for name in names if name in found.columns and name in grouped]
    kept += ["hypothesis"] if "hypothesis" in found.columns else []
    return found.select(kept).to_dicts()


def main() -> None:
    data = make_data()
    coded = data.assign(**{name: pd.Categorical(data[name]) for name in ("arm", "treat", "site")})
    links = {}
    for link, formula in FORMULAS.items():
        model = smf.glm(formula, coded, family=FAMILIES[link]).fit(tol=1e-14, maxiter=100)
        calls = EVERY_LINK + (PROBABILITY if link != "log" else [])
        links[link] = {
            "formula": formula,
            "beta": dict(model.params),
            "calls": [
                {"function": name, "kwargs": kwargs, "found": run(model, name, kwargs)}
                for name, kwargs in calls
            ],
        }
    made = {
        "versions": {name: version(name) for name in PACKAGES},
        "data": data.to_dict("list"),
        "links": links,
    }
    target = Path(__file__).with_name("marginaleffects_comparisons.json")
    target.write_text(json.dumps(made, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
