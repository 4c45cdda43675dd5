"""Working correlations: each whitener against the explicit inverse of its matrix."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools.working_correlation import (
    AR1,
    WORKING_CORRELATIONS,
    ClusterLayout,
    Exchangeable,
    Independence,
    WorkingCorrelation,
    make_working_correlation,
)

CODES = np.array([5, 2, 2, 9, 5, 2, 2, 5])
TIME = np.array([2.0, 0.5, 3.0, 1.0, 0.0, 1.0, 7.0, 1.5])


def explicit_matrix(
    correlation: WorkingCorrelation, codes: NDArray[np.intp], time: NDArray[np.float64]
) -> NDArray[np.float64]:
    """R over all rows, entry by entry: zero between clusters."""
    n = len(codes)
    matrix = np.zeros((n, n))
    for j in range(n):
        for k in range(n):
            if j == k:
                matrix[j, k] = 1.0
            elif codes[j] == codes[k] and isinstance(correlation, Exchangeable):
                matrix[j, k] = correlation.alpha
            elif codes[j] == codes[k] and isinstance(correlation, AR1):
                matrix[j, k] = correlation.alpha ** abs(time[j] - time[k])
    return matrix


@pytest.mark.parametrize(
    "correlation",
    [Independence(), Exchangeable(0.4), Exchangeable(-0.3), Exchangeable(0.0), AR1(0.6), AR1(0.0)],
)
def test_whitening_is_a_root_of_the_inverse(correlation: WorkingCorrelation) -> None:
    layout = ClusterLayout.build(CODES, time=TIME)
    root = correlation.whiten(np.eye(len(CODES))[layout.order], layout)
    inverse = np.linalg.inv(explicit_matrix(correlation, CODES, TIME))
    np.testing.assert_allclose(root.T @ root, inverse, rtol=1e-12, atol=1e-14)


def test_negative_ar1_over_whole_gaps() -> None:
    time = np.array([2.0, 0.0, 3.0, 1.0, 0.0, 1.0, 7.0, 1.0])
    layout = ClusterLayout.build(CODES, time=time)
    correlation = make_working_correlation("ar1", -0.5, layout)
    root = correlation.whiten(np.eye(len(CODES))[layout.order], layout)
    inverse = np.linalg.inv(explicit_matrix(correlation, CODES, time))
    np.testing.assert_allclose(root.T @ root, inverse, rtol=1e-12, atol=1e-14)


def test_whitening_broadcasts_over_leading_axes() -> None:
    layout = ClusterLayout.build(CODES, time=TIME)
    rows = np.random.default_rng(1).normal(size=(3, len(CODES), 2))
    for correlation in (Independence(), Exchangeable(0.3), AR1(0.3)):
        stacked = correlation.whiten(rows, layout)
        for draw in range(3):
            np.testing.assert_array_equal(stacked[draw], correlation.whiten(rows[draw], layout))


def test_whitening_leaves_its_input_alone() -> None:
    layout = ClusterLayout.build(CODES, time=TIME)
    rows = np.ones((len(CODES), 1))
    for correlation in (Exchangeable(0.3), AR1(0.3)):
        correlation.whiten(rows, layout)
    assert (rows == 1.0).all()


def test_layout_sorts_by_cluster_then_time() -> None:
    layout = ClusterLayout.build(CODES, time=TIME)
    assert layout.order.tolist() == [1, 5, 2, 6, 4, 7, 0, 3]
    assert layout.starts.tolist() == [0, 4, 7]
    assert layout.sizes.tolist() == [4, 3, 1]
    assert layout.gaps is not None
    assert layout.gaps.tolist() == [0.0, 0.5, 2.0, 4.0, 0.0, 1.5, 0.5, 0.0]


def test_layout_without_time_keeps_the_order_within_clusters() -> None:
    layout = ClusterLayout.build(CODES)
    assert layout.order.tolist() == [1, 2, 5, 6, 0, 4, 7, 3]
    assert layout.gaps is None


@pytest.mark.parametrize("name", WORKING_CORRELATIONS)
def test_every_name_is_made(name: str) -> None:
    alpha = None if name == "independence" else 0.25
    layout = ClusterLayout.build(CODES, time=TIME)
    made = make_working_correlation(name, alpha, layout)
    assert type(made).__name__.lower() == name


@pytest.mark.parametrize("name", ["unstructured", "nested", "exchangable"])
def test_unknown_names_are_answered_by_a_list(name: str) -> None:
    with pytest.raises(SpecificationError, match="'independence', 'exchangeable', 'ar1'"):
        make_working_correlation(name, 0.1, ClusterLayout.build(CODES))


@pytest.mark.parametrize("alpha", [-1 / 3, -0.5, 1.0, 1.2])
def test_exchangeable_range_follows_the_largest_cluster(alpha: float) -> None:
    with pytest.raises(SpecificationError, match=r"of 4 rows\. Allowed: -0\.333333 < alpha"):
        make_working_correlation("exchangeable", alpha, ClusterLayout.build(CODES))


def test_clusters_of_one_row_take_any_correlation() -> None:
    layout = ClusterLayout.build([3, 1, 2])
    made = make_working_correlation("exchangeable", 0.9, layout)
    np.testing.assert_allclose(made.whiten(np.ones((3, 1)), layout), 1.0, rtol=1e-15)


def test_ar1_needs_times_and_its_range() -> None:
    with pytest.raises(SpecificationError, match="Name the time column"):
        make_working_correlation("ar1", 0.5, ClusterLayout.build(CODES))
    with pytest.raises(SpecificationError, match="Name the time column"):
        AR1(0.5).whiten(np.ones((len(CODES), 1)), ClusterLayout.build(CODES))
    layout = ClusterLayout.build(CODES, time=TIME)
    with pytest.raises(SpecificationError, match=r"aren't whole numbers apart.*0 <= alpha < 1"):
        make_working_correlation("ar1", -0.2, layout)
    whole = ClusterLayout.build([1, 1], time=[0, 1])
    for alpha in (-1.0, 1.0):
        with pytest.raises(SpecificationError, match="-1 < alpha < 1"):
            make_working_correlation("ar1", alpha, whole)


def test_alpha_missing_or_superfluous() -> None:
    layout = ClusterLayout.build(CODES, time=TIME)
    with pytest.raises(SpecificationError, match="Leave alpha out"):
        make_working_correlation("independence", 0.2, layout)
    for alpha in (None, float("nan")):
        with pytest.raises(SpecificationError, match="a number"):
            make_working_correlation("exchangeable", alpha, layout)


def test_bad_layouts() -> None:
    with pytest.raises(DataError, match="cluster 4 has more than one row at time 1"):
        ClusterLayout.build([4, 4, 2], time=[1.0, 1.0, 1.0])
    with pytest.raises(DataError, match="3 finite times"):
        ClusterLayout.build([4, 4, 2], time=[1.0, np.nan, 1.0])
    for codes in ([], [0.5, 1.0], [[1, 2]]):
        with pytest.raises(DataError, match="one integer for each row"):
            ClusterLayout.build(codes)
