"""How much each row counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.weights import row_weights

MakeFit = Callable[..., xr.DataTree]


@pytest.fixture(scope="module")
def posterior(make_fit: MakeFit, frame: pd.DataFrame) -> Posterior:
    return Posterior.from_fit(make_fit("y ~ x + (1 | h/g)", frame, extra=("w",)))


def test_rows_count_once_by_default(posterior: Posterior, frame: pd.DataFrame) -> None:
    np.testing.assert_array_equal(row_weights(posterior, frame, None), np.ones(60))


def test_a_column_or_numbers(posterior: Posterior, frame: pd.DataFrame) -> None:
    for given in ("w", frame["w"], frame["w"].to_list()):
        np.testing.assert_array_equal(row_weights(posterior, frame, given), frame["w"])


def test_each_outermost_cluster_counts_once_in_the_rows_given(
    posterior: Posterior, frame: pd.DataFrame
) -> None:
    rows = frame.iloc[[0, 1, 2, 20, 59]]
    weights = row_weights(posterior, rows, "cluster")
    by_hand = [1 / (rows["h"] == herd).sum() for herd in rows["h"]]
    np.testing.assert_allclose(weights, by_hand)
    assert pd.Series(weights).groupby(rows["h"].to_numpy()).sum().to_list() == [1.0, 1.0, 1.0]


def test_a_column_called_cluster_that_is_the_clusters(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    data = frame.rename(columns={"g": "cluster"})
    own = Posterior.from_fit(make_fit("y ~ x + (1 | cluster)", data))
    np.testing.assert_allclose(row_weights(own, data, "cluster"), np.full(60, 0.2))
    other = Posterior.from_fit(make_fit("y ~ x + (1 | g)", frame))
    with pytest.raises(SpecificationError, match=r"weights='cluster' is ambiguous.*Rename"):
        row_weights(other, frame.assign(cluster=1.0), "cluster")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("v", r"weights 'v' aren't a column.*keep=\['v'\]"),
        ("arm", r"the weights 'arm': .* not numbers"),
        ([1.0, 2.0], r"the shape \(2,\). Allowed: one for each of 60 rows"),
        (1.0, r"the shape \(\)"),
        (np.r_[-1.0, np.ones(59)], r"the weights are negative in row 0 \(counted.*count to 0"),
        (
            np.r_[1.0, -1.0, np.nan, -np.inf, np.inf, np.nan, np.ones(54)],
            "negative in 2 rows, first in row 1, NaN in 2 rows, first in row 2, infinite in row 4",
        ),
        (pd.Series([None, *[1.0] * 59], dtype="Float64"), "the weights are NaN in row 0"),
        (np.zeros(60), "the weights are all 0"),
        (object(), "values of type object, not numbers"),
        (["1"] * 60, "the weights: text, not numbers"),
        (np.full(60, 1j), "complex numbers, not numbers"),
        (np.full(60, np.datetime64("2020-01-01")), "dates, not numbers"),
        (pd.Series(["1"] * 60), "values of type str, not numbers"),
        ([[1], [2, 3]], "the weights can't be put into one array"),
    ],
)
def test_impossible_weights(
    posterior: Posterior, frame: pd.DataFrame, given: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        row_weights(posterior, frame, given)


def test_missing_weights_in_a_column(posterior: Posterior, frame: pd.DataFrame) -> None:
    column = frame["w"].where(frame["w"] > 1.0)
    n, first = column.isna().sum(), int(np.argmax(column.isna()))
    with pytest.raises(DataError, match=f"weights 'w' are NaN in {n} rows, first in row {first} "):
        row_weights(posterior, frame.assign(w=column), "w")


def test_each_cluster_counts_once_in_every_cell(posterior: Posterior, frame: pd.DataFrame) -> None:
    """A loop over the rows; cells that cut through clusters."""
    rows = frame.iloc[[0, 1, 2, 6, 20, 21, 59]]
    cells = np.array([0, 0, 1, 1, 0, 1, 1])
    weights = row_weights(posterior, rows, "cluster", cells=cells)
    herds = rows["h"].to_list()
    for i in range(len(rows)):
        same = [k for k in range(len(rows)) if herds[k] == herds[i] and cells[k] == cells[i]]
        assert weights[i] == pytest.approx(1 / len(same))
    assert weights.sum() == pytest.approx(5.0)  # herds in cells: 2 and 3


def test_a_series_has_the_index_of_the_rows(posterior: Posterior, frame: pd.DataFrame) -> None:
    turned = frame[::-1]
    np.testing.assert_array_equal(row_weights(posterior, turned, turned["w"]), turned["w"])
    numbered = turned.reset_index(drop=True)
    found = row_weights(posterior, numbered, turned["w"], index=turned.index)
    np.testing.assert_array_equal(found, turned["w"])
    for index in (None, turned.index):
        with pytest.raises(DataError, match=r"Series whose index isn't.*list.*weights\.to_numpy"):
            row_weights(posterior, turned, frame["w"], index=index)
    np.testing.assert_array_equal(row_weights(posterior, turned, list(frame["w"])), frame["w"])


def test_rows_without_clusters(posterior: Posterior, frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"clusters 'h' aren't in the rows.*give the weights"):
        row_weights(posterior, frame.drop(columns="h"), "cluster")


def test_crossed_factors_have_no_clusters_of_their_own(
    make_fit: Callable[..., xr.DataTree], frame: pd.DataFrame
) -> None:
    posterior = Posterior.from_fit(make_fit("y ~ x + (1 | g) + (1 | r)", frame))
    with pytest.raises(SpecificationError, match=r"factors 'g', 'r'.*data\.groupby\('g'\)"):
        row_weights(posterior, posterior.design.frame, "cluster")
    found = row_weights(posterior, posterior.design.frame, "cluster", groups="r")
    sizes = posterior.design.frame.groupby("r")["r"].transform("size")
    np.testing.assert_allclose(found, 1.0 / sizes)
