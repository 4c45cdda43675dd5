"""A data frame is checked and put into plain types; the user's own is left alone."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from popavg.errors import DataError, SpecificationError
from popavg.frames import RESERVED_NAMES, Missing, check_frame, select, take_complete


def one(values: Any, dtype: Any = None) -> pd.Series:
    return select(pd.DataFrame({"x": pd.Series(values, dtype=dtype)}), ["x"])["x"]


@pytest.mark.parametrize(
    ("values", "dtype", "kind"),
    [
        ([1, 2], np.int8, "int64"),
        ([1, 2], np.uint64, "int64"),
        ([1, 2], "Int64", "int64"),
        ([1, 2], "int64[pyarrow]", "int64"),
        ([1, 2], object, "int64"),
        ([1, 2.5], object, "float64"),
        ([1.5, 2], np.float32, "float64"),
        ([1.5, 2], "Float64", "float64"),
        ([1.5, 2], "double[pyarrow]", "float64"),
        ([True, False], bool, "bool"),
        ([True, False], "boolean", "bool"),
        ([True, False], "bool[pyarrow]", "bool"),
        ([True, False], object, "bool"),
        (["a", "ö b"], object, "object"),
        (["a", "ö b"], "str", "object"),
        (["a", "ö b"], "string", "object"),
        (["a", "ö b"], "string[pyarrow]", "object"),
    ],
)
def test_plain_types_hold_the_same_values(values: list[Any], dtype: Any, kind: str) -> None:
    plain = one(values, dtype)
    assert str(plain.dtype) == kind
    assert plain.tolist() == values


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        *(([1, None], "Int64"), ([1.0, None], float), ([True, None], "boolean")),
        *((["a", None], "str"), (["a", None], object), ([None, None], object)),
        (["a", None], "category"),
    ],
)
def test_missing_values_stay_missing(values: list[Any], dtype: Any) -> None:
    assert one(values, dtype).isna().tolist() == [value is None for value in values]


def test_the_first_category_is_first_though_not_in_the_alphabet() -> None:
    column = one(pd.Categorical(["a", "b"], categories=["b", "never", "a"]))
    assert column.cat.categories.tolist() == ["b", "a"]
    assert column.cat.ordered


def test_intervals_become_text() -> None:
    column = one(pd.cut(pd.Series([1, 5, 9]), [0, 3, 10]))
    assert column.cat.categories.tolist() == ["(0, 3]", "(3, 10]"]
    assert column.tolist() == ["(0, 3]", "(3, 10]", "(3, 10]"]


def test_categories_that_read_alike_are_refused() -> None:
    column = pd.Categorical.from_codes([0, 1], categories=pd.Index([1, "1"], dtype=object))
    with pytest.raises(DataError, match="different categories of 'x' have the same label: '1'"):
        one(column)


def test_the_users_frame_is_left_alone() -> None:
    frame = pd.DataFrame({"x": [1, 2], "g": pd.Categorical(["b", "a"])}, index=[7, 7])
    before = frame.copy(deep=True)
    plain = select(frame, ["x", "g"])
    plain.loc[:, "x"] = 0
    pd.testing.assert_frame_equal(frame, before)
    assert plain.index.tolist() == [0, 1]


def test_no_columns_leave_the_number_of_rows() -> None:
    assert len(select(pd.DataFrame({"x": [1, 2]}), [])) == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2j], "holds complex numbers"),
        ([1.0, np.inf], r"has 1 infinite value, the first in row 1 \(counted from 0\)"),
        ([-np.inf, np.inf], "has 2 infinite values, the first in row 0"),
        (pd.to_datetime(["2020-01-01", "2020-01-02"]), "holds dates or times.*days since"),
        (pd.to_timedelta([1, 2], "s"), "holds dates or times"),
        (pd.period_range("2020", periods=2), "holds dates or times"),
        ([date(2020, 1, 1), date(2020, 1, 2)], "holds dates or times"),
        ([timedelta(1), timedelta(2)], "holds dates or times"),
        ([1, "a"], "holds a mix of values of type 'int', 'str'.*pandas.to_numeric"),
        ([True, 3], "holds a mix of values of type 'bool', 'int'"),
        ([[1], [2]], "holds values of type 'list'"),
        ([Decimal(1), Decimal(2)], "holds values of type 'Decimal'"),
        ([10**30, 1], "holds whole numbers above"),
        (np.array([2**64 - 1, 1], dtype=np.uint64), "whole numbers above"),
        (["a\0b", "c"], "text with a NUL character"),
        (pd.Categorical(["a\0b", "c"]), "text with a NUL character"),
    ],
    ids=str,
)
def test_what_a_model_can_not_use(values: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"the column 'x' .*(?:{message})"):
        one(values)


def test_a_missing_column_is_named_and_one_suggested() -> None:
    frame = pd.DataFrame({"time": [1.0], "treatment": ["a"]})
    message = "'tiem' is not in the data. Allowed: 'time', 'treatment'. Did you mean 'time'"
    with pytest.raises(DataError, match=message):
        select(frame, ["tiem"])
    with pytest.raises(DataError, match=r"'zzz' is not in the data.*Check the spelling"):
        select(frame, ["zzz"])


@pytest.mark.parametrize("name", ["a/b", "50 %", " x", "x "])
def test_names_that_files_cannot_hold(name: str) -> None:
    with pytest.raises(DataError, match=r"can't be stored in a fit.*Rename it: data\.rename"):
        select(pd.DataFrame({name: [1.0]}), [name])


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_reserved_names(name: str) -> None:
    message = f"the column name '{name}' is reserved.*rename"
    with pytest.raises(DataError, match=f"(?i){message}"):
        select(pd.DataFrame({name: [1.0]}), [name])


def test_columns_that_are_not_used_may_be_called_anything() -> None:
    frame = pd.DataFrame({"x": [1.0], "draw": [2j], 3: [None], "a/b": [pd.Timestamp(0)]})
    assert select(frame, ["x"]).columns.tolist() == ["x"]


@pytest.mark.parametrize("other", [None, {"x": [1]}, np.zeros((2, 2)), pd.Series([1]), "data.csv"])
def test_other_containers(other: Any) -> None:
    message = f"the data are of type {type(other).__name__}. Allowed: a pandas.DataFrame"
    with pytest.raises(DataError, match=message):
        select(other, ["x"])


def test_empty_and_doubled() -> None:
    with pytest.raises(DataError, match="the data have no rows"):
        select(pd.DataFrame({"x": []}), ["x"])
    twice = pd.DataFrame([[1, 2, 3]], columns=["x", "x", "y"])
    with pytest.raises(DataError, match="the column name 'x' appears more than once"):
        select(twice, ["y"])
    four = pd.DataFrame([[1, 2, 3, 4]], columns=["x", "x", "y", "y"])
    with pytest.raises(DataError, match="the column names 'x', 'y' appear more than once"):
        check_frame(four)
    with pytest.raises(DataError, match="column names have 2 levels"):
        check_frame(pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])))


FACTORS = {"g": ("g",), "g:h": ("g", "h")}


def gappy() -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "x": [1.0, None, 3.0, None],
            "n": pd.array([1, 2, None, 4], dtype="Int64"),
            "b": pd.array([True, False, True, None], dtype="boolean"),
            "g": ["u", "u", "v", "w"],
            "h": ["1", "2", "1", "1"],
        }
    )
    return select(frame, list(frame))


def test_missing_values_are_an_error_that_counts_them() -> None:
    message = r"missing values in 3 of 4 rows \('x' 2, 'n' 1, 'b' 1\).*missing='drop'"
    with pytest.raises(DataError, match=message):
        take_complete(gappy(), "error", FACTORS)


def test_dropping_says_what_was_dropped() -> None:
    kept, missing = take_complete(gappy(), "drop", FACTORS)
    assert kept["x"].tolist() == [1.0]
    assert kept.dtypes.astype(str).tolist() == ["float64", "int64", "bool", "object", "object"]
    assert missing == Missing("drop", 3, {"x": 2, "n": 1, "b": 1}, {"g": 2, "g:h": 3})
    assert str(missing) == (
        "3 rows dropped for missing values ('x' 2, 'n' 1, 'b' 1); 2 whole clusters of 'g' "
        "vanished; 3 whole clusters of 'g:h' vanished"
    )


def test_one_of_each_is_in_the_singular() -> None:
    text = str(Missing("drop", 1, {"x": 1}, {"g": 1}))
    assert text == "1 row dropped for missing values ('x' 1); 1 whole cluster of 'g' vanished"
    assert str(Missing()) == "no rows dropped"


def test_missing_clusters_are_missing_values() -> None:
    frame = select(pd.DataFrame({"g": ["a", None, "b"], "x": [1, 2, 3]}), ["g", "x"])
    _, missing = take_complete(frame, "drop", {"g": ("g",)})
    assert (missing.rows, missing.clusters) == (1, {})


def test_dropping_leaves_no_empty_category() -> None:
    frame = select(pd.DataFrame({"c": pd.Categorical(["a", "b"]), "x": [None, 1.0]}), ["c", "x"])
    kept, _ = take_complete(frame, "drop", {})
    assert kept["c"].cat.categories.tolist() == ["b"]


def test_no_complete_row() -> None:
    frame = select(pd.DataFrame({"x": [None, 1.0], "z": [1.0, None]}), ["x", "z"])
    with pytest.raises(DataError, match=r"no row is complete \(missing values: 'x' 1, 'z' 1\)"):
        take_complete(frame, "drop", {})


def test_complete_rows_come_back_as_they_are() -> None:
    frame = select(pd.DataFrame({"x": [1, 2]}), ["x"])
    kept, missing = take_complete(frame, "error", {})
    assert kept is frame
    assert missing == Missing("error")


def test_another_policy() -> None:
    with pytest.raises(SpecificationError, match=r"missing='impute' is unknown.*'error', 'drop'"):
        take_complete(gappy(), "impute", {})  # ty: ignore[invalid-argument-type]
