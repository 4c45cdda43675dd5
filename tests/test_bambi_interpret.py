"""Predictions and slopes of typical clusters against those of Bambi's `interpret`, stored."""

from __future__ import annotations

import json
import runpy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import popavg as pa

pytest.importorskip("bambi")
REFERENCE = Path(__file__).resolve().parent / "reference"
STORED = json.loads((REFERENCE / "bambi_interpret.json").read_text(encoding="utf-8"))
RECIPE = runpy.run_path(str(REFERENCE / "make_bambi_interpret.py"))
COLUMNS = ["estimate", "lower", "upper"]
OWN = {*COLUMNS, "term", "estimate_type", "value"}

# Bambi 0.21 itself calls pandas 3 in a way that pandas 4 will change.
pytestmark = pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")


@cache
def fit(name: str) -> xr.DataTree:
    """The fit with the clusters' own effects, which the target leaves out by itself."""
    with xr.open_datatree(REFERENCE / "bambi_draws.nc") as stored:
        draws = stored[name].copy(deep=True).load()
    return pa.from_bambi(RECIPE["RECIPE"]["model"](name), draws)


def asked(call: dict[str, Any]) -> pa.Estimates:
    """The same question here, of the rows that Bambi shows."""
    kwargs, model = call["kwargs"], fit(call["model"])
    wrt, kind = kwargs.get("wrt"), {"slope": kwargs.get("slope", "dydx")}
    if "average_by" in kwargs and wrt is None:
        return pa.avg_predictions(model, by=kwargs["average_by"], target="typical")
    shown = pd.DataFrame(call["found"])
    rows = shown.drop(columns=list(OWN & set(shown)))
    if wrt is None:
        return pa.predictions(model, newdata=rows, target="typical")
    if "average_by" in kwargs:
        at, by = {wrt: call["found"][0]["value"]}, kwargs["average_by"]
        return pa.avg_slopes(model, wrt, over=at, by=by, newdata="observed", target="typical")
    ((name, value),) = wrt.items()
    return pa.slopes(model, name, newdata=rows.assign(**{name: value}), target="typical", **kind)


def test_the_file_has_what_the_recipe_asks() -> None:
    kept = [{key: call[key] for key in call if key != "found"} for call in STORED["calls"]]
    assert kept == RECIPE["CALLS"]
    assert {call["model"] for call in kept} == set(RECIPE["RECIPE"]["MODELS"])


@pytest.mark.parametrize("number", range(len(STORED["calls"])))
def test_bambi_says_the_same(number: int) -> None:
    call = STORED["calls"][number]
    found = asked(call).to_frame(ci_prob=0.9, ci_kind="eti")
    expected, columns = pd.DataFrame(call["found"]), COLUMNS
    if "average_by" in call["kwargs"]:
        by, columns = call["kwargs"]["average_by"], ["estimate"]
        found = found.set_index(found[by].astype(str)).loc[expected[by]]
    # Its slopes are differences over 1e-6.
    tolerance = 2e-6 if call["function"] == "slopes" else 1e-11
    np.testing.assert_allclose(found[columns], expected[columns], rtol=tolerance, atol=tolerance)


def test_bambis_intervals_of_averages_are_averages_of_interval_ends() -> None:
    """That isn't an interval of the average: of averages only the estimates are compared."""
    call = next(c for c in STORED["calls"] if c["kwargs"] == {"average_by": "treatment"})
    expected = pd.DataFrame(call["found"]).set_index("treatment")
    rows = pa.predictions(fit(call["model"]), target="typical").to_frame(ci_prob=0.9, ci_kind="eti")
    ends = rows.groupby(rows["treatment"].astype(str))[["lower", "upper"]].mean()
    np.testing.assert_allclose(ends.loc[expected.index], expected[["lower", "upper"]], rtol=1e-10)
    ours = asked(call).to_frame(ci_prob=0.9, ci_kind="eti")
    assert (ours["upper"] - ours["lower"]).max() < 0.99 * (ends["upper"] - ends["lower"]).max()
