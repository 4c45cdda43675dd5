"""What `variables` asks for, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from popavg.design import Design
from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools._changes import Contrast
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.variables import read_contrasts

MakeFit = Callable[..., xr.DataTree]


@pytest.fixture
def design(make_fit: MakeFit, frame: pd.DataFrame) -> Design:
    data = frame.assign(
        dose=pd.Categorical(frame["successes"] % 4, categories=[3, 0, 1, 2]),
        flag=frame["x"] > 0,
        treated=(frame["arm"] == "active").astype(int),
        low=np.where(frame["count"] == 0, 0.0, 2.0),
    )
    formula = "y ~ arm + x + dose + flag + treated:x + low + C(visit) + offset(w) + (value | g)"
    return Posterior.from_fit(make_fit(formula, data)).design


def labels(design: Design, variables: Any, **kwargs: Any) -> list[str]:
    return [contrast.label() for contrast in read_contrasts(design, variables, **kwargs)]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ("arm", ["placebo - active"]),
        ({"dose": None}, ["0 - 3", "1 - 3", "2 - 3"]),
        ({"dose": "reference"}, ["0 - 3", "1 - 3", "2 - 3"]),
        ({"dose": "sequential"}, ["0 - 3", "1 - 0", "2 - 1"]),
        ({"dose": "pairwise"}, ["0 - 3", "1 - 3", "2 - 3", "1 - 0", "2 - 0", "2 - 1"]),
        ({"dose": [1, 2]}, ["2 - 1"]),
        ({"dose": (2, 0, 3.0)}, ["0 - 2", "3 - 2"]),
        ({"arm": ["placebo", "active"]}, ["active - placebo"]),
        ({"arm": "all"}, ["placebo - active", "active - placebo"]),
        ("flag", ["True - False"]),
        ({"flag": [True, False]}, ["False - True"]),
        ("treated", ["1 - 0"]),
        ({"treated": "minmax"}, ["1 - 0"]),
        ({"treated": [1, 0]}, ["0 - 1"]),
        ("x", ["+1"]),
        ({"x": 5}, ["+5"]),
        ({"x": -0.5}, ["-0.5"]),
        ({"x": np.float64(2.0)}, ["+2"]),
        ({"x": "sd"}, ["(x+sd/2) - (x-sd/2)"]),
        ({"x": "2sd"}, ["(x+sd) - (x-sd)"]),
        ({"x": "iqr"}, ["Q3 - Q1"]),
        ({"x": "minmax"}, ["Max - Min"]),
        ({"x": [0, 1.5]}, ["1.5 - 0"]),
        ({"x": np.array([0.0, 1.0, 2.0])}, ["1 - 0", "2 - 0"]),
        ({"visit": "sequential"}, ["1 - 0", "2 - 1", "3 - 2", "4 - 3"]),
        (["arm", "x"], ["placebo - active", "+1"]),
        ({"x": 2, "arm": None}, ["+2", "placebo - active"]),
    ],
)
def test_labels(design: Design, variables: Any, expected: list[str]) -> None:
    assert labels(design, variables) == expected


def test_all_covariates_but_offsets_by_default(design: Design) -> None:
    found = read_contrasts(design)
    names = list(dict.fromkeys(contrast.variable for contrast in found))
    assert names == ["arm", "x", "dose", "flag", "treated", "low", "visit", "value"]
    assert labels(design, "w") == ["+1"]


@pytest.mark.parametrize(
    ("asked", "low", "high"),
    [
        (None, lambda x: x - 0.5, lambda x: x + 0.5),
        (5, lambda x: x - 2.5, lambda x: x + 2.5),
        (-2, lambda x: x + 1.0, lambda x: x - 1.0),
        ("sd", lambda x: x - x.std() / 2, lambda x: x + x.std() / 2),
        ("2sd", lambda x: x - x.std(), lambda x: x + x.std()),
        ("iqr", lambda x: 0 * x + x.quantile(0.25), lambda x: 0 * x + x.quantile(0.75)),
        ("minmax", lambda x: 0 * x + x.min(), lambda x: 0 * x + x.max()),
        ([3, -1.5], lambda x: 0 * x + 3.0, lambda x: 0 * x - 1.5),
    ],
)
def test_rows_at_both_ends(
    design: Design, asked: Any, low: Callable[..., Any], high: Callable[..., Any]
) -> None:
    (contrast,) = read_contrasts(design, {"x": asked})
    before = design.frame.copy()
    for sides, expected in ((contrast.low, low), (contrast.high, high)):
        rows = Contrast.rows(design.frame, sides)
        np.testing.assert_allclose(rows["x"], expected(design.frame["x"]), rtol=1e-14)
        pd.testing.assert_frame_equal(rows.drop(columns="x"), before.drop(columns="x"))
    pd.testing.assert_frame_equal(design.frame, before)


def test_spreads_are_those_of_the_fit_whatever_the_rows(design: Design) -> None:
    (contrast,) = read_contrasts(design, {"x": "sd"})
    rows = pd.DataFrame({"x": [10.0, 20.0]})
    moved = Contrast.rows(rows, contrast.high)["x"] - rows["x"]
    np.testing.assert_allclose(moved, design.frame["x"].std() / 2, rtol=1e-12)


def test_a_step_leaves_to_the_design_what_it_cannot_make(design: Design) -> None:
    (contrast,) = read_contrasts(design, "x")
    rows = pd.DataFrame({"arm": ["active"]})
    pd.testing.assert_frame_equal(Contrast.rows(rows, contrast.high), rows)
    text = pd.DataFrame({"x": ["1"]})
    pd.testing.assert_frame_equal(Contrast.rows(text, contrast.high), text)


def test_levels_become_values_of_the_fit(design: Design) -> None:
    (contrast,) = read_contrasts(design, {"dose": ["1", 2.0]})
    assert Contrast.rows(pd.DataFrame(index=range(2)), contrast.low)["dose"].to_list() == [1, 1]
    design.evaluate(Contrast.rows(design.frame, contrast.high))


def test_crossed_contrasts_change_both_at_once(design: Design) -> None:
    found = read_contrasts(design, {"dose": [3, 0, 1], "x": [0, 2, 4]}, cross=True)
    assert [contrast.label() for contrast in found] == [
        "0 - 3, 2 - 0",
        "0 - 3, 4 - 0",
        "1 - 3, 2 - 0",
        "1 - 3, 4 - 0",
    ]
    assert found[0].variable == "dose, x"
    assert found[0].label("{high} / {low}") == "0 / 3, 2 / 0"
    rows = Contrast.rows(design.frame, found[-1].high)
    assert (rows["dose"] == 1).all()
    assert (rows["x"] == 4).all()


@pytest.mark.parametrize(
    ("variables", "kwargs", "message"),
    [
        ("amr", {}, r"'amr' isn't a covariate.*Did you mean 'arm'\?"),
        ({"arm": 1, "ex": 2}, {}, "'ex' isn't a covariate"),
        ("y", {}, "'y' isn't a covariate"),
        (5, {}, r"variables=5\. Allowed: a covariate's name"),
        ([], {}, r"variables=\[\]"),
        ({}, {}, r"variables=\{\}"),
        (["x", "x"], {}, "'x' is named twice"),
        ({"arm": 5}, {}, "a change of 5 in 'arm', which is a category"),
        ({"arm": "sd"}, {}, "variables: 'arm'='sd' is unknown"),
        ({"arm": "sequental"}, {}, "Did you mean 'sequential'"),
        ({"arm": ["active", "active"]}, {}, "'arm' with itself: 'active'"),
        ({"arm": ["active"]}, {}, "1 values to compare for 'arm'"),
        ({"x": "pairwise"}, {}, "variables: 'x'='pairwise' is unknown. Allowed: 'sd'"),
        ({"x": 0}, {}, "'x' with itself: a step of 0"),
        ({"x": np.nan}, {}, "a change of nan in 'x', which is a number"),
        ({"x": True}, {}, "a change of True in 'x'"),
        ({"x": {"low": 1}}, {}, "which is a number"),
        ({"x": [1, 1.0]}, {}, "'x' with itself: '1'"),
        ({"x": ["a", "b"]}, {}, "values 'a', 'b' for 'x', which is a number"),
        ({"x": [0, np.inf]}, {}, "Allowed: finite numbers"),
        ({"low": "iqr"}, {}, "'low' with itself: Q1 and Q3, which are both 2"),
        ({"treated": 1}, {}, "'treated', which is 0 or 1 in all rows"),
        ({"treated": "sd"}, {}, r"variables=\{'treated': \[0, 1\]\}"),
        ("x", {"cross": True}, "cross=True with 1 covariates"),
        (["x", "arm", "flag"], {"cross": True}, "cross=True with 3 covariates"),
    ],
)
def test_refusals(design: Design, variables: Any, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecificationError, match=message) as caught:
        read_contrasts(design, variables, **kwargs)
    assert caught.value.allowed or caught.value.remedy


def test_levels_that_the_fit_has_not_seen(design: Design) -> None:
    with pytest.raises(DataError, match=r"'arm' has no level 'placbo'.*Did you mean 'placebo'"):
        read_contrasts(design, {"arm": ["active", "placbo"]})
    with pytest.raises(DataError, match=r"'visit' has no level '0\.5'"):
        read_contrasts(design, {"visit": [0, 0.5]})


def test_a_model_without_covariates_has_nothing_to_compare(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    design = Posterior.from_fit(make_fit("y ~ 1 + offset(w) + (1 | g)", frame)).design
    with pytest.raises(SpecificationError, match="no covariate to compare"):
        read_contrasts(design)
