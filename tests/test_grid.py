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
from popavg.posterior_tools.grid import (
    N_POINTS,
    cells,
    held_values,
    in_training_order,
    is_category,
    levels_of,
    names_of,
    varying_values,
)


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


@pytest.mark.parametrize("name", ["dose", "arm", "flag", "stage", "visit"])
def test_levels_are_those_that_separate_curves_take(design: Design, name: str) -> None:
    assert levels_of(design, name) == varying_values(design, None, name)[name]


def test_levels_of_what_is_no_covariate(design: Design) -> None:
    with pytest.raises(SpecificationError, match="'g' isn't a covariate"):
        levels_of(design, "g")


@pytest.mark.parametrize("given_names", ["a", ["a"], ("a",), {"a": [1]}])
def test_names_however_they_are_given(given_names: object) -> None:
    assert names_of(given_names) == ["a"]  # ty: ignore[invalid-argument-type]
    assert names_of(None) == []


def test_categories_stand_in_the_order_of_the_fit(design: Design) -> None:
    training = design.frame["stage"]
    column = pd.Series(["a", "e", "a"])
    ordered = in_training_order(column, training)
    assert ordered.to_list() == column.to_list()
    assert ordered.cat.categories.to_list() == ["e", "a"]
    foreign = pd.Categorical(["a", "e", "a"], ["x", "a", "e"])
    assert in_training_order(pd.Series(foreign), training).cat.categories.to_list() == ["e", "a"]
    for other in (pd.Series(["a", "unseen"]), pd.Series(["a", None])):
        assert in_training_order(other, training) is other
    number = pd.Series([1.0])
    assert in_training_order(number, design.frame["dose"]) is number


def test_numbers_that_the_formula_encodes_are_levels(frame: pd.DataFrame) -> None:
    """Held at their most frequent value: a mean of codes isn't a level."""
    data = frame.assign(code=np.arange(len(frame)) % 12, n=frame["visit"])
    data.loc[:4, "code"] = 7
    family = family_for(get_link("logit"), trials=False)
    design = Design.build("y ~ x + n + C(code) + (1 | g)", data, family=family)
    assert [name for name in ("x", "n", "code") if is_category(design, name)] == ["code"]
    assert held_values(design, ["code", "n"]) == {"code": 7, "n": pytest.approx(2.0)}
    for along in (None, "code"):
        apart = None if along else "code"
        assert varying_values(design, along, apart)["code"] == list(range(12))
