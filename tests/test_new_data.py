"""New data in the types and levels of the data of the fit."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from popavg.errors import DataError
from popavg.frames import select
from popavg.new_data import like_training


def like(new: Any, training: Any) -> pd.Series:
    frames = [pd.DataFrame({"x": values}) for values in (new, training)]
    column, known = (select(frame, ["x"])["x"] for frame in frames)
    return like_training(column, known)


@pytest.mark.parametrize(
    ("new", "training", "result"),
    [
        ([1, 2], [0.5, 1.5], [1, 2]),
        ([1.5, 2], [1, 2], [1.5, 2]),
        ([True, False], [1, 2], [True, False]),
        (pd.array([1, 2], dtype="Int64"), [1, 2], [1, 2]),
        ([0, 1], [True, False], [False, True]),
        ([1.0, 0.0], [True, False], [True, False]),
        (["b"], ["a", "b"], ["b"]),
        (pd.Categorical(["b", "b"], categories=["b", "c"]), ["a", "b"], ["b", "b"]),
        (["b", "a"], pd.Categorical(["a", "b"], categories=["b", "a"]), ["b", "a"]),
        ([2.0, 1.0], pd.Categorical([1, 2], categories=[2, 1]), [2, 1]),
        (["2", "1"], pd.Categorical([1, 2], categories=[2, 1]), [2, 1]),
        ([1], ["1", "2"], ["1"]),
    ],
    ids=str,
)
def test_values_are_kept(new: Any, training: Any, result: list[Any]) -> None:
    assert like(new, training).tolist() == result


def test_categories_keep_the_order_of_the_fit() -> None:
    training = pd.Categorical(["a", "b", "c"], categories=["c", "a", "b"])
    new = pd.Categorical(["a", "b"], categories=["b", "a"])
    assert like(new, training).cat.categories.tolist() == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("new", "training", "message"),
    [
        (["a", "b"], [1, 2], "'x' holds text or categories. Allowed: numbers.*pandas.to_numeric"),
        (pd.Categorical([1, 2]), [1, 2], "'x' holds text or categories"),
        ([0, 2], [True, False], "'x' holds values other than True and False"),
        (["yes"], [True, False], r"other than True and False.*data\['x'\] == 'yes'"),
        (["a", "q"], ["a", "b"], "'x' has the level 'q', which the fit hasn't seen.*'a', 'b'"),
        (["r", "q"], ["a", "b"], "'x' has the levels 'q', 'r', which the fit hasn't seen"),
        ([1, 3], pd.Categorical([1, 2]), "the level '3'.* Allowed: '1', '2'. Leave these rows"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(new: Any, training: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        like(new, training)
