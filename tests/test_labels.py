"""Labels of clusters and levels don't depend on how a column is stored."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from popavg.labels import label_values, labels, positions, written


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1, 2, 1]),
        pd.Series([1.0, 2.0, 1.0]),
        pd.Series(["1", "2", "1"]),
        pd.Series(["1", "2", "1"], dtype=object),
        pd.Series(pd.Categorical([1, 2, 1], categories=[3, 2, 1])),
        pd.Series(pd.Categorical(["1", "2", "1"])),
    ],
)
def test_the_same_labels_from_every_type(column: pd.Series) -> None:
    assert labels(column).tolist() == ["1", "2", "1"]
    assert positions(column, ["2", "1"]).tolist() == [1, 0, 1]
    assert positions(column, ["2"]).tolist() == [-1, 0, -1]


def test_floats_that_differ_have_labels_that_differ() -> None:
    values = [0.1 + 0.2, 0.3, -0.0, 1e16, 1234567890123456.0, 1234567890123457.0]
    assert label_values(values) == [
        "0.30000000000000004",
        *("0.3", "0", "10000000000000000", "1234567890123456", "1234567890123457"),
    ]


def test_booleans_and_numpy_numbers() -> None:
    assert label_values([True, np.bool_(False), np.int64(3), np.float64(3)]) == [
        *("True", "False", "3", "3")
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("x", "x"), ("x.1", "x.1"), ("größe", "größe"), ("_x", "`_x`"), ("1x", "`1x`")),
        *(("my x", "`my x`"), ("True", "`True`"), ("a:b", "`a:b`"), ("", "``")),
    ],
)
def test_names_as_formulas_write_them(name: str, text: str) -> None:
    assert written(name) == text
