"""Grids that a user spells out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools.datagrid import DataGrid, datagrid
from popavg.posterior_tools.predictions import predictions

MakeFit = Callable[..., xr.DataTree]
STAGES = ["late", "early", "middle"]


@pytest.fixture(scope="module")
def data(frame: pd.DataFrame) -> pd.DataFrame:
    stage = pd.Categorical([STAGES[i % 3] for i in range(len(frame))], STAGES)
    return frame.assign(stage=stage, flag=frame["x"] > 0)


@pytest.fixture(scope="module")
def fit(make_fit: MakeFit, data: pd.DataFrame) -> xr.DataTree:
    return make_fit("y ~ x * stage + flag + (1 + visit | g)", data, extra=("w",))


def test_all_combinations_the_first_runs_slowest(fit: xr.DataTree, data: pd.DataFrame) -> None:
    grid = datagrid(fit, x=[1.5, -1.0], stage=["middle", "late"])
    assert isinstance(grid, pd.DataFrame)
    assert list(grid.columns) == ["x", "stage", "flag", "visit"]
    assert list(zip(grid["x"], grid["stage"], strict=True)) == list(
        product([1.5, -1.0], ["middle", "late"])
    )
    assert (grid["visit"] == data["visit"].mean()).all()
    assert (grid["flag"] == data["flag"].mode()[0]).all()
    assert grid["stage"].cat.categories.to_list() == ["late", "middle"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (2, [2]),
        ((3, 1), [3, 1]),
        (np.array([0.5]), [0.5]),
        (pd.Series([4, 0]), [4, 0]),
        (np.max, [4]),
        (lambda column: column.quantile([0.25, 0.75]), [1.0, 3.0]),
        (lambda column: sorted(column.unique())[:2], [0, 1]),
    ],
)
def test_values_are_one_several_or_a_function(
    fit: xr.DataTree, given: object, expected: list[float]
) -> None:
    assert datagrid(fit, visit=given)["visit"].to_list() == expected


def test_a_text_is_one_value(fit: xr.DataTree) -> None:
    assert datagrid(fit, stage="early")["stage"].to_list() == ["early"]
    assert datagrid(fit, stage=lambda column: column.mode()[0])["stage"].to_list() == ["late"]


def test_the_balanced_grid_keeps_all_levels_of_the_others(fit: xr.DataTree) -> None:
    grid = datagrid(fit, grid_type="balanced", flag=True)
    assert grid["stage"].to_list() == STAGES
    assert grid["x"].nunique() == grid["visit"].nunique() == 1
    assert len(datagrid(fit, grid_type="balanced")) == 6
    assert len(datagrid(fit)) == 1


def test_the_counterfactual_grid_repeats_the_observed_rows(
    fit: xr.DataTree, data: pd.DataFrame
) -> None:
    grid = datagrid(fit, grid_type="counterfactual", stage=["early", "late"], visit=7)
    assert len(grid) == 2 * len(data)
    assert set(grid.columns) == {"x", "stage", "flag", "visit", "g", "w"}
    for i, stage in enumerate(["early", "late"]):
        part = grid.iloc[i * 60 : (i + 1) * 60].reset_index(drop=True)
        assert (part["stage"] == stage).all()
        assert (part["visit"] == 7).all()
        for name in ("x", "flag", "g", "w"):
            assert part[name].to_list() == data[name].to_list()
    assert len(datagrid(fit, grid_type="counterfactual")) == 60


def test_without_a_fit_it_waits_for_one() -> None:
    grid = datagrid(x=[1, 2], grid_type="balanced")
    assert isinstance(grid, DataGrid)
    assert grid == DataGrid({"x": [1, 2]}, "balanced")


def test_errors(fit: xr.DataTree) -> None:
    with pytest.raises(SpecificationError, match=r"'stgae' isn't a covariate.*mean 'stage'"):
        datagrid(fit, stgae="early")
    with pytest.raises(SpecificationError, match="'g' isn't a covariate"):
        datagrid(fit, g="c1")
    with pytest.raises(DataError, match="no values for 'visit'"):
        datagrid(fit, visit=[])
    for waiting in (datagrid(tim=3), datagrid(visit="x")):
        with pytest.raises((DataError, SpecificationError), match=r"'tim' isn't|'visit' is given"):
            predictions(fit, newdata=waiting)
    with pytest.raises(SpecificationError, match="grid_type='factual' is unknown"):
        datagrid(grid_type="factual")  # ty: ignore[invalid-argument-type]
    with pytest.raises(SpecificationError, match="function given for 'stage' can't be applied"):
        datagrid(fit, stage=np.mean)
    with pytest.raises(SpecificationError, match="isn't a fit"):
        datagrid(3)  # ty: ignore[invalid-argument-type]


def test_numbers_that_the_formula_encodes_are_levels(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    fit = make_fit("y ~ x + C(visit) + (1 | g)", frame)
    assert datagrid(fit)["visit"].isin(range(5)).all()
    assert datagrid(fit, grid_type="balanced")["visit"].to_list() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"visit": np.nan}, r"'visit' is given a missing value \(nan\)"),
        ({"visit": [0, None]}, r"'visit' is given a missing value \(None\)"),
        ({"stage": pd.NA}, r"'stage' is given a missing value"),
        ({"visit": np.inf}, "'visit' is given inf, but it is a number in the fit, from 0 to 4"),
        ({"visit": "third"}, "'visit' is given 'third', but it is a number"),
        ({"visit": ["0", "3"]}, "'visit' is given '0', .*Write 0"),
        ({"visit": True}, "'visit' is given True, but it is a number"),
        ({"visit": np.True_}, "'visit' is given .*True.*, but it is a number"),
        ({"visit": 1j}, "'visit' is given 1j"),
        ({"visit": pd.Timestamp("2020-01-01")}, "'visit' is given Timestamp"),
        ({"visit": [[0, 1], [2, 3]]}, "'visit' is given a value of type list"),
        ({"visit": lambda column: column.mean}, "'visit' is given a value of type method"),
        ({"stage": "erly"}, "'stage' has no level 'erly' in the fit.*Did you mean 'early'"),
        ({"stage": 3}, "'stage' has no level '3'"),
        ({"flag": "yes"}, "'flag' has no level 'yes'"),
    ],
)
def test_values_that_the_column_can_not_have(
    fit: xr.DataTree, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        datagrid(fit, **given)
    if not callable(next(iter(given.values()))):
        with pytest.raises(DataError, match=message):
            predictions(fit, over=given)


def test_indicators_and_booleans_take_each_others_values(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    data = frame.assign(treated=1 * (frame["arm"] == "active"), late=frame["visit"] > 2)
    fit = make_fit("y ~ treated + late + (1 | g)", data)
    assert datagrid(fit, treated=[False, True])["treated"].to_list() == [0, 1]
    whole = predictions(fit, newdata=datagrid(treated=1, late=[False, True])).draws
    np.testing.assert_array_equal(
        predictions(fit, newdata=datagrid(treated=True, late=[0, 1])).draws, whole
    )
