"""Groups of rows and their weighted averages, against loops."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools.cells import make_cells


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc")), min_size=1, max_size=12))
def test_cells_are_all_combinations_in_order(rows: list[tuple[int, str]]) -> None:
    frame = pd.DataFrame(rows, columns=["n", "letter"])
    expected = sorted({(letter, n) for n, letter in rows})
    n_all = len({n for n, _ in rows}) * len({letter for _, letter in rows})
    if n_all > len(expected):
        with pytest.raises(DataError, match=f"^{n_all - len(expected)} of {n_all} cells of by="):
            make_cells(frame, ["letter", "n"])
        return
    cells = make_cells(frame, ["letter", "n"])
    assert list(cells.labels.itertuples(index=False, name=None)) == expected
    assert [expected[code] for code in cells.codes] == [(letter, n) for n, letter in rows]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0.1, 3.0)), min_size=1, max_size=9))
def test_averages_are_the_loop_over_rows(rows: list[tuple[str, float]]) -> None:
    frame = pd.DataFrame(rows, columns=["g", "w"])
    values = np.arange(len(rows)) ** 1.5
    cells = make_cells(frame, "g")
    found = cells.averaging(frame["w"].to_numpy()) @ values
    for level, average in zip(cells.labels["g"], found, strict=True):
        chosen = [i for i, (g, _) in enumerate(rows) if g == level]
        total = sum(rows[i][1] for i in chosen)
        assert average == pytest.approx(sum(rows[i][1] * values[i] for i in chosen) / total)


def test_levels_stand_in_the_order_of_a_category_and_keep_their_type() -> None:
    column = pd.Categorical(["low", "high", "low"], ["low", "high"], ordered=True)
    cells = make_cells(pd.DataFrame({"dose": column, "flag": [True, False, True]}), ["dose"])
    assert cells.labels["dose"].dtype == column.dtype
    assert cells.labels["dose"].to_list() == ["low", "high"]
    assert cells.codes.tolist() == [0, 1, 0]
    by_flag = make_cells(pd.DataFrame({"flag": [True, False]}), "flag").labels["flag"]
    assert by_flag.dtype == bool


def test_without_columns_all_rows_are_one_cell() -> None:
    for by in (None, []):
        cells = make_cells(pd.DataFrame({"x": [1, 2]}), by)
        assert cells.labels.shape == (1, 0)
        assert cells.codes.tolist() == [0, 0]


def test_a_name_twice_counts_once() -> None:
    assert make_cells(pd.DataFrame({"x": [2, 1]}), ["x", "x"]).labels.columns.to_list() == ["x"]


def test_a_level_without_rows_is_an_empty_cell() -> None:
    column = pd.Categorical(["low", "high"], ["low", "middle", "high"])
    with pytest.raises(DataError, match=r"1 of 3 cells of by='dose' have no rows: 'dose middle'\."):
        make_cells(pd.DataFrame({"dose": column}), "dose")


def test_many_empty_cells_are_counted_not_listed() -> None:
    frame = pd.DataFrame({"a": range(3000), "b": range(3000)})
    with pytest.raises(
        DataError,
        match=r"8,997,000 of 9,000,000 cells.*'a 0, b 1', 'a 0, b 2', 'a 0, b 3' and 8,996,997 more"
        r".*Allowed: levels and combinations that occur.*into one column",
    ):
        make_cells(frame, ["a", "b"])


def test_rows_may_be_shuffled() -> None:
    frame = pd.DataFrame(list(product("ab", [1, 2])) * 2, columns=["g", "n"])
    values, weights = np.arange(8.0), np.linspace(1, 2, 8)
    order = np.random.default_rng(1).permutation(8)
    found = [
        make_cells(frame.iloc[rows], ["g", "n"]).averaging(weights[rows]) @ values[rows]
        for rows in (np.arange(8), order)
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-14)


def test_errors() -> None:
    frame = pd.DataFrame({"arm": ["a", None], "x": [1.0, 2.0]})
    with pytest.raises(SpecificationError, match=r"by='amr' isn't a column.*mean 'arm'"):
        make_cells(frame, "amr")
    with pytest.raises(DataError, match="missing values in 'arm', given as 'by'"):
        make_cells(frame, "arm")
    with pytest.raises(DataError, match=r"weights of all rows in 1 of 2 cells are 0: 'x 2\.0'"):
        make_cells(frame, "x").averaging(np.array([1.0, 0.0]))
