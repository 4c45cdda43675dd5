"""The specification that travels in a fit's file."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popavg.errors import StorageError
from popavg.frames import Missing
from popavg.specification import GroupSpecification, Specification

SPECIFICATION = Specification(
    formula="y ~ x + (1 + x | ward)",
    link="logit",
    family="bernoulli",
    response="y = 'yes'",
    event="yes",
    terms=("Intercept", "x"),
    groups=(GroupSpecification("ward", ("Intercept", "x"), 12, ((0, 1),)),),
    columns={"x": {"type": "float"}, "c": {"type": "category", "levels": ["b", "a"]}},
    missing=Missing("drop", 2, {"x": 2}, {"ward": 1}),
    priors={"beta": "Normal(0, 2.5)"},
    sampler={"seed": 1, "chains": 4, "interrupted": False, "verdict": None},
    versions={"popavg": "0.1.0"},
)
WORDS = st.text(max_size=8)
GROUPS = st.builds(
    GroupSpecification,
    name=WORDS,
    effects=st.lists(WORDS, max_size=3).map(tuple),
    n_clusters=st.integers(2, 10**6),
    blocks=st.lists(st.lists(st.integers(0, 5), max_size=3).map(tuple), max_size=3).map(tuple),
)
COUNTS = st.dictionaries(WORDS, st.integers(0, 10**9), max_size=3)
SPECIFICATIONS = st.builds(
    Specification,
    formula=WORDS,
    link=WORDS,
    family=WORDS,
    response=WORDS,
    event=st.none() | WORDS,
    terms=st.lists(WORDS, max_size=4).map(tuple),
    groups=st.lists(GROUPS, max_size=3).map(tuple),
    columns=st.dictionaries(WORDS, st.dictionaries(WORDS, WORDS | st.lists(WORDS)), max_size=3),
    missing=st.builds(
        Missing, policy=st.sampled_from(["error", "drop"]), columns=COUNTS, clusters=COUNTS
    ),
    priors=st.dictionaries(WORDS, WORDS, max_size=3),
    sampler=st.dictionaries(WORDS, st.none() | st.booleans() | st.integers() | WORDS, max_size=3),
    versions=st.dictionaries(WORDS, WORDS, max_size=3),
)


@given(SPECIFICATIONS)
def test_any_specification_comes_back_through_json(specification: Specification) -> None:
    assert Specification.from_json(specification.to_json()) == specification


def test_the_group_names() -> None:
    assert SPECIFICATION.group_names == ("ward",)


def test_numpy_numbers_are_written_as_plain_ones() -> None:
    sampler: dict[str, Any] = {"seed": np.int64(3), "step": np.float64(0.5), "on": np.bool_(True)}
    back = Specification.from_json(replace(SPECIFICATION, sampler=sampler).to_json())
    assert back.sampler == {"seed": 3, "step": 0.5, "on": True}


def test_what_json_can_not_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="can't hold a ndarray"):
        replace(SPECIFICATION, sampler={"x": np.zeros(2)}).to_json()


def _without(name: str) -> str:
    return json.dumps({key: v for key, v in asdict(SPECIFICATION).items() if key != name})


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "3", "null", "[]", "{}", '"text"', '{"formula": "y ~ x"}'),
        *(_without(name) for name in ("formula", "terms", "groups", "missing", "link")),
        json.dumps(asdict(SPECIFICATION) | {"terms": 3}),
        json.dumps(asdict(SPECIFICATION) | {"groups": [3]}),
        json.dumps(asdict(SPECIFICATION) | {"missing": None}),
        json.dumps(asdict(SPECIFICATION) | {"from_a_later_version": 1}),
    ],
)
def test_anything_else_is_a_storage_error(text: str) -> None:
    message = "the fit's specification can't be read.*Allowed: a fit made by popavg. Fit again"
    with pytest.raises(StorageError, match=message):
        Specification.from_json(text)
