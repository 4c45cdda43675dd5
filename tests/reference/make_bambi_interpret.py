"""Predictions and slopes of typical clusters by Bambi's own `interpret`: bambi_interpret.json.

``python tests/reference/make_bambi_interpret.py`` (about a minute, nothing is sampled): the stored
draws of make_bambi.py, their clusters' effects set to 0, for Bambi predicts a given cluster.
"""

from __future__ import annotations

import json
import runpy
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xarray as xr

HERE = Path(__file__).resolve().parent
RECIPE = runpy.run_path(str(HERE / "make_bambi.py"))
#: Of finite differences: Bambi's slopes have an error of about this times the second derivative.
EPS = 1e-6
LEVELS = ["placebo", "active", "high"]

#: Model, function, keywords.
CALLS: list[dict[str, Any]] = [
    {
        "model": "slopes",
        "function": "predictions",
        "kwargs": {"conditional": {"time": [0.0, 3.0, 6.0], "treatment": LEVELS}},
    },
    {
        "model": "slopes",
        "function": "predictions",
        "kwargs": {"conditional": {"treatment": LEVELS, "dose": [0.0, 5.0]}},
    },
    {"model": "slopes", "function": "predictions", "kwargs": {"average_by": "treatment"}},
    {"model": "nested", "function": "predictions", "kwargs": {"conditional": {"visit": [0, 1, 2]}}},
    {
        "model": "counts",
        "function": "predictions",
        "kwargs": {"conditional": {"dose": [1.0, 4.0], "n": [3, 6]}},
    },
    {
        "model": "coded",
        "function": "predictions",
        "kwargs": {"conditional": {"time": [1.0, 4.0], "treatment": LEVELS}},
    },
    {
        "model": "slopes",
        "function": "slopes",
        "kwargs": {"wrt": {"time": 2.0}, "conditional": {"treatment": LEVELS}},
    },
    {
        "model": "slopes",
        "function": "slopes",
        "kwargs": {"wrt": {"dose": 4.0}, "conditional": {"time": [0.0, 5.0]}, "slope": "eyex"},
    },
    {
        "model": "slopes",
        "function": "slopes",
        "kwargs": {"wrt": {"time": 3.0}, "conditional": {"treatment": LEVELS}, "slope": "eydx"},
    },
    {
        "model": "slopes",
        "function": "slopes",
        "kwargs": {"wrt": {"time": 3.0}, "conditional": {"dose": [1.0, 3.0]}, "slope": "dyex"},
    },
    {
        "model": "counts",
        "function": "slopes",
        "kwargs": {"wrt": {"dose": 2.0}, "conditional": {"n": [3, 6]}},
    },
    {
        "model": "coded",
        "function": "slopes",
        "kwargs": {"wrt": {"time": 2.0}, "conditional": {"treatment": LEVELS}},
    },
    {
        "model": "slopes",
        "function": "slopes",
        "kwargs": {"wrt": "time", "average_by": "treatment"},
    },
]


def typical(name: str) -> xr.DataTree:
    """The stored draws with all clusters at 0, without the means that were stored beside them."""
    with xr.open_datatree(HERE / "bambi_draws.nc") as stored:
        tree = stored[name].copy(deep=True).load()
    posterior = tree["posterior"].to_dataset().drop_vars(["p", "mu"], errors="ignore")
    for effect in list(posterior.data_vars):
        if "|" in str(effect) and not str(effect).endswith("_sigma"):
            posterior[effect] = 0.0 * posterior[effect]
    return xr.DataTree.from_dict(
        {"posterior": posterior, "observed_data": tree["observed_data"].to_dataset()}
    )


def main() -> None:
    """Ask Bambi, and store the rows that it shows."""
    import bambi

    found = []
    for call in CALLS:
        kwargs = dict(call["kwargs"])
        if call["function"] == "slopes":
            kwargs["eps"] = EPS
        model, draws = RECIPE["model"](call["model"]), typical(call["model"])
        ask = getattr(bambi.interpret, call["function"])
        summary = ask(model, draws, use_hdi=False, prob=0.9, **kwargs).summary
        summary = summary.rename(columns={"lower_5.0%": "lower", "upper_95.0%": "upper"})
        records = json.loads(summary.to_json(orient="records", double_precision=15))
        found.append({**call, "found": records})
    versions = {name: version(name) for name in ("bambi", "formulae", "pymc", "pandas")}
    text = json.dumps({"versions": versions, "calls": found}, indent=1, ensure_ascii=False)
    (HERE / "bambi_interpret.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
