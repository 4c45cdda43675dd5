"""The rows that a verb is asked about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools.datagrid import DataGrid
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.newdata import read_rows

MakeFit = Callable[..., xr.DataTree]


@pytest.fixture(scope="module")
def posterior(make_fit: MakeFit, frame: pd.DataFrame) -> Posterior:
    data = frame.assign(flag=frame["x"] > 0)
    data["stage"] = pd.Categorical(frame["r"].str[0], categories=["e", "d", "c", "b", "a"])
    fit = make_fit("y ~ value + stage + flag + (1 + visit | g)", data, extra=("w",))
    return Posterior.from_fit(fit)


@pytest.mark.parametrize("newdata", [None, "observed"])
def test_the_observed_rows_are_those_of_the_fit(posterior: Posterior, newdata: Any) -> None:
    rows = read_rows(posterior, newdata)
    assert rows.frame is posterior.design.frame
    assert rows.shown == ("value", "stage", "flag", "visit", "g")
    assert list(rows.labels.columns) == list(rows.shown)
    assert rows.label == "the 60 observed rows"


def test_the_mean_is_one_row_or_one_for_each_level(posterior: Posterior) -> None:
    frame = posterior.design.frame
    rows = read_rows(posterior, "mean")
    assert len(rows.frame) == 1
    row = rows.frame.iloc[0]
    assert row["value"] == pytest.approx(frame["value"].mean())
    assert row["visit"] == pytest.approx(2.0)
    for name in ("stage", "flag"):
        assert (frame[name] == row[name]).sum() == frame[name].value_counts().max()
    levels = read_rows(posterior, "mean", grid=["stage"]).frame
    assert levels["stage"].to_list() == ["e", "d", "c", "b", "a"]
    assert levels["stage"].cat.categories.to_list() == ["e", "d", "c", "b", "a"]
    chosen = read_rows(posterior, "mean", grid={"stage": ["a", "e"], "visit": [3]}).frame
    assert chosen[["stage", "visit"]].to_numpy().tolist() == [["a", 3], ["e", 3]]
    assert chosen["stage"].cat.categories.to_list() == ["e", "a"]


def test_the_balanced_grid_has_every_combination_of_levels_once(posterior: Posterior) -> None:
    rows = read_rows(posterior, "balanced")
    assert len(rows.frame) == 10
    assert not rows.frame.duplicated(["stage", "flag"]).any()
    assert rows.frame["value"].nunique() == 1
    assert len(read_rows(posterior, "balanced", grid="visit").frame) == 50
    assert rows.label == "a balanced grid of 10 rows, numbers at their mean"


def test_frames_and_grids_are_numbered_and_ordered_as_the_fit(posterior: Posterior) -> None:
    given = pd.DataFrame(
        {"value": 0.0, "stage": ["a", "d"], "flag": True, "visit": 1, "note": "n"}, index=[9, 9]
    )
    rows = read_rows(posterior, given)
    assert rows.frame.index.tolist() == [0, 1]
    assert rows.shown == tuple(given.columns)
    assert rows.frame["stage"].cat.categories.to_list() == ["d", "a"]
    assert given["stage"].dtype.kind == "O" or str(given["stage"].dtype) == "str"
    assert rows.label == "2 rows of newdata"
    unseen = read_rows(posterior, given.assign(stage=["a", "z"])).frame
    assert unseen["stage"].to_list() == ["a", "z"]
    grid = read_rows(posterior, DataGrid({"visit": [0, 1]}))
    assert grid.frame["visit"].to_list() == [0, 1]
    assert grid.label == "a grid of 2 rows"
    assert read_rows(posterior, given.iloc[:1]).label == "1 row of newdata"
    assert read_rows(posterior, DataGrid()).label == "a grid of 1 row"


def test_errors(posterior: Posterior, frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="newdata has no rows"):
        read_rows(posterior, frame.iloc[:0])
    for wrong in ("median", 3, np.zeros(3)):
        with pytest.raises(SpecificationError, match=r"newdata=.*'balanced'"):
            read_rows(posterior, wrong)
    with pytest.raises(SpecificationError, match=r"newdata='balnced'.*Did you mean 'balanced'"):
        read_rows(posterior, "balnced")  # ty: ignore[invalid-argument-type]
    for large in (xr.DataTree(xr.Dataset({"x": np.zeros(99)})), xr.Dataset(), frame["x"]):
        with pytest.raises(SpecificationError, match=r"newdata=<\w+>\. Allowed.*") as caught:
            read_rows(posterior, large)
        assert len(str(caught.value)) < 200
    with pytest.raises(SpecificationError, match="'stge' isn't a covariate"):
        read_rows(posterior, "mean", grid="stge")
    twice = pd.concat([frame, frame[["x"]]], axis=1)
    with pytest.raises(DataError, match="'x' appears more than once"):
        read_rows(posterior, twice)


def test_a_frames_own_index_is_remembered(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    posterior = Posterior.from_fit(make_fit("y ~ arm + (1 | g)", frame))
    rows = read_rows(posterior, frame.iloc[[7, 3]])
    assert rows.index is not None
    assert rows.index.to_list() == [7, 3]
    assert rows.frame.index.to_list() == [0, 1]
    assert read_rows(posterior, "observed").index is None
