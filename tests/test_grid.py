"""Grids of covariate values."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popavg.design import Design
from popavg.errors import DataError, SpecificationError
from popavg.families import family_for
from popavg.links import get_link
from popavg.posterior_tools.grid import N_POINTS, cells, held_values, varying_values


@pytest.fixture
def design(frame: pd.DataFrame) -> Design:
    data = frame.assign(dose=frame["value"], flag=frame["x"] > 0)
    data["stage"] = pd.Categorical(frame["r"].str[0], categories=["e", "d", "c", "b", "a"])
    family = family_for(get_link("logit"), trials=False)
    return Design.build("y ~ dose + arm + flag + stage + (1 + visit | g)", data, family=family)


def test_numbers_run_from_the_smallest_to_the_largest(design: Design) -> None:
    values = varying_values(design, "dose", None)["dose"]
    assert len(values) == N_POINTS
    assert values[0] == design.frame["dose"].min()
    assert values[-1] == design.frame["dose"].max()


def test_few_values_levels_and_booleans_are_taken_as_they_are(design: Design) -> None:
    values = varying_values(design, ["visit", "arm"], ["flag", "stage"])
    assert list(values) == ["visit", "arm", "flag", "stage"]
    assert values["visit"] == [0, 1, 2, 3, 4]
    assert values["arm"] == ["active", "placebo"]
    assert values["flag"] == [False, True]
    assert values["stage"] == ["e", "d", "c", "b", "a"]


def test_many_values_make_three_curves(design: Design) -> None:
    dose = design.frame["dose"]
    expected = [dose.mean() - dose.std(), dose.mean(), dose.mean() + dose.std()]
    assert varying_values(design, "visit", "dose")["dose"] == pytest.approx(expected)


@pytest.mark.parametrize("given_values", [[2, 0], (2, 0), np.array([2, 0]), pd.Series([2, 0])])
def test_given_values_are_kept_in_their_order(design: Design, given_values: object) -> None:
    assert varying_values(design, {"visit": given_values}, None)["visit"] == [2, 0]


@pytest.mark.parametrize(("given_value", "kept"), [(6, [6]), ("placebo", ["placebo"])])
def test_one_value_needs_no_list(design: Design, given_value: object, kept: list[object]) -> None:
    name = "arm" if isinstance(given_value, str) else "visit"
    assert varying_values(design, {name: given_value}, None)[name] == kept


def test_what_cannot_vary(design: Design) -> None:
    with pytest.raises(SpecificationError, match=r"'dos' isn't a covariate.*Did you mean 'dose'"):
        varying_values(design, "dos", None)
    with pytest.raises(SpecificationError, match="'g' isn't a covariate of the model"):
        varying_values(design, "visit", "g")
    with pytest.raises(SpecificationError, match=r"'arm' is in 'over' and in 'by'"):
        varying_values(design, ["visit", "arm"], "arm")
    with pytest.raises(DataError, match="no values for 'visit'"):
        varying_values(design, {"visit": []}, None)
    with pytest.raises(SpecificationError, match="covariates given as 3"):
        varying_values(design, 3, None)  # ty: ignore[invalid-argument-type]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_all_combinations_the_first_runs_fastest(sizes: list[int]) -> None:
    varying = {f"v{i}": list(range(size)) for i, size in enumerate(sizes)}
    table = cells(varying)
    assert list(table.columns) == list(varying)
    expected = [tuple(reversed(row)) for row in product(*reversed(list(varying.values())))]
    assert list(table.itertuples(index=False, name=None)) == expected


def test_others_are_held_at_their_mean_or_most_frequent_value(design: Design) -> None:
    held = held_values(design, ["dose", "arm", "flag", "stage"])
    frame = design.frame
    assert held["dose"] == pytest.approx(frame["dose"].mean())
    for name in ("arm", "flag", "stage"):
        assert (frame[name] == held[name]).sum() == frame[name].value_counts().max()
