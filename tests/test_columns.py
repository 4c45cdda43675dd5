"""A frame's columns as arrays that files can hold, and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popavg.columns import describe, from_arrays, to_arrays
from popavg.frames import select

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
COLUMNS = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.lists(TEXT, min_size=3, max_size=3),
    st.lists(TEXT, min_size=3, max_size=3).map(pd.Categorical),
    st.lists(st.integers(-5, 5), min_size=3, max_size=3).map(pd.Categorical),
    st.lists(st.booleans(), min_size=3, max_size=3).map(pd.Categorical),
)
NAMES = TEXT.filter(lambda name: not set(name) & {"/", "%"} and name == name.strip())


@given(st.dictionaries(NAMES, COLUMNS, min_size=1, max_size=4))
def test_a_frame_comes_back_through_arrays_and_json(columns: dict[str, Any]) -> None:
    frame = pd.DataFrame(columns)
    data = select(frame, [name for name in frame if _is_usable(name)])
    arrays = to_arrays(data)
    description = json.loads(json.dumps(describe(data)))
    pd.testing.assert_frame_equal(from_arrays(arrays, description), data)
    stored = {name: values.astype(object) for name, values in arrays.items()}
    pd.testing.assert_frame_equal(from_arrays(stored, description), data)


def _is_usable(name: str) -> bool:
    from popavg.frames import RESERVED_NAMES

    return name not in RESERVED_NAMES


def test_arrays_are_numbers_or_text() -> None:
    frame = pd.DataFrame(
        {
            "b": [True, False],
            "i": [1, 2],
            "f": [0.5, 1.5],
            "t": ["é", "long text"],
            "c": pd.Categorical(["x", "y"], categories=["y", "x"]),
        }
    )
    arrays = to_arrays(select(frame, list(frame)))
    assert {name: array.dtype.kind for name, array in arrays.items()} == {
        "b": "b",
        "i": "i",
        "f": "f",
        "t": "U",
        "c": "i",
    }
    assert arrays["c"].tolist() == [1, 0]


def test_the_description_of_each_type() -> None:
    frame = pd.DataFrame({"x": [1], "c": pd.Categorical([2], categories=[3, 2])})
    assert describe(select(frame, ["x", "c"])) == {
        "x": {"type": "int"},
        "c": {"type": "category", "levels": [2], "ordered": True},
    }


@pytest.mark.parametrize("levels", [["b", "a"], [2, 1], [2.5, 1.0], [True, False]])
def test_the_order_of_categories_is_kept(levels: list[Any]) -> None:
    column = pd.Categorical([levels[1], levels[0]], categories=levels)
    data = select(pd.DataFrame({"c": column}), ["c"])
    back = from_arrays(to_arrays(data), describe(data))
    assert back["c"].cat.categories.tolist() == levels
    assert back["c"].cat.ordered


def test_codes_read_as_float_from_a_file_are_codes() -> None:
    data = select(pd.DataFrame({"c": pd.Categorical(["a", "b"])}), ["c"])
    back = from_arrays({"c": np.array([0.0, 1.0])}, describe(data))
    pd.testing.assert_frame_equal(back, data)
