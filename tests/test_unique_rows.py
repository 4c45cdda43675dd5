"""Rows that repeat are computed once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from popavg.design import DesignMatrices
from popavg.grouping import GroupDesign
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.unique_rows import distinct_rows, take_rows


def matrices_of(X: np.ndarray, Z: np.ndarray, offset: np.ndarray) -> DesignMatrices:
    index = np.arange(len(X)) % 3
    group = GroupDesign("g", ("Intercept",), ("a", "b", "c"), index, Z, ((0,),))
    return DesignMatrices(("x",), X, offset, (group,))


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=20))
def test_inverse_rebuilds_every_row_and_counts_add_up(rows: list[tuple[int, int, int]]) -> None:
    table = np.array(rows, dtype=float)
    whole = matrices_of(table[:, :1], table[:, 1:2], table[:, 2])
    distinct, inverse, counts = distinct_rows(whole)
    again = take_rows(distinct, inverse)
    assert distinct.n_rows == len(set(rows))
    assert counts.tolist() == np.bincount(inverse).tolist()
    np.testing.assert_array_equal(again.X, whole.X)
    np.testing.assert_array_equal(again.offset, whole.offset)
    np.testing.assert_array_equal(again.groups[0].Z, whole.groups[0].Z)


def test_rows_that_differ_in_random_slopes_or_offset_alone_are_kept_apart() -> None:
    whole = matrices_of(np.ones((3, 1)), np.array([[1.0], [2.0], [1.0]]), np.array([0.0, 0.0, 5.0]))
    assert distinct_rows(whole)[0].n_rows == 3


def test_the_cluster_of_a_row_does_not_matter(
    make_fit: Callable[..., xr.DataTree], frame: pd.DataFrame
) -> None:
    posterior = Posterior.from_fit(make_fit("y ~ arm + (1 | g)", frame))
    assert distinct_rows(posterior.design.matrices)[0].n_rows == 2


def test_taken_rows_keep_their_clusters() -> None:
    whole = matrices_of(np.arange(4.0)[:, None], np.ones((4, 1)), np.zeros(4))
    taken = take_rows(whole, np.array([3, 1]))
    assert taken.X.ravel().tolist() == [3.0, 1.0]
    assert taken.groups[0].index.tolist() == [0, 1]
