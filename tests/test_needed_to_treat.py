"""Numbers needed to treat: the difference's interval turned over, in one piece or two."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from arviz_base import rc_context

from popavg.errors import EstimandError, SpecificationError
from popavg.posterior_tools.needed_to_treat import NeededToTreat
from popavg.posterior_tools.summaries import summarise


def number(*differences: object, point_estimate: str | None = None) -> NeededToTreat:
    """One estimand for each array of 1,000 draws in 4 chains."""
    values = np.stack([np.broadcast_to(d, 1000).reshape(4, 250) for d in differences], axis=-1)
    draws = xr.DataArray(values, dims=("chain", "draw", "contrast"))
    labels = pd.DataFrame({"k": range(len(differences))})
    return NeededToTreat.of_differences(
        draws, labels=labels, title="made up", point_estimate=point_estimate
    )


def normal(mean: float, sd: float) -> np.ndarray:
    return np.random.default_rng(8).permutation(mean + sd * np.linspace(-1.0, 1.0, 1000))


@pytest.mark.parametrize("prob", [0.5, 0.9])
@pytest.mark.parametrize("point", ["mean", "median"])
def test_all_numbers_are_those_of_the_difference(prob: float, point: str) -> None:
    rd = normal(0.1, 0.03) ** 2 / 0.1
    row = number(rd, point_estimate=point).to_frame(ci_prob=prob).iloc[0]
    own = summarise(rd.reshape(4, 250, 1), ci_prob=prob, ci_kind="eti").iloc[0]
    assert row["estimate"] == pytest.approx(1 / getattr(np, point)(rd))
    low, high = np.quantile(rd, [(1 - prob) / 2, (1 + prob) / 2])
    assert (row["lower"], row["upper"]) == pytest.approx((1 / high, 1 / low), rel=1e-12)
    for name in ("ess_bulk", "ess_tail", "r_hat"):
        assert row[name] == pytest.approx(own[name])
    assert not row["two_pieces"]
    assert np.isnan(row["below"])
    assert np.isnan(row["above"])


def test_columns() -> None:
    table = number(normal(0.1, 0.02)).to_frame()
    ends = ["lower", "upper", "two_pieces", "below", "above", "interval"]
    assert list(table.columns) == ["k", "estimate", *ends, "ess_bulk", "ess_tail", "r_hat"]


def test_an_interval_in_two_pieces() -> None:
    """A 90 % interval of RD from -0.05 to 0.10: up to -20 and from 10 (Altman 1998)."""
    row = number(normal(0.025, 0.075 / 0.9)).to_frame(ci_prob=0.9).iloc[0]
    assert row["two_pieces"]
    assert (row["below"], row["above"]) == pytest.approx((-20.0, 10.0))
    assert (row["lower"], row["upper"]) == (-np.inf, np.inf)
    assert row["interval"] == "one more per 10.0 to ∞ to one fewer per 20.0"
    assert row["estimate"] == pytest.approx(40.0)
    inside = [1 / rd for rd in (-0.05, -0.01, 0.01, 0.1)]
    assert all(x <= row["below"] + 1e-9 or x >= row["above"] - 1e-9 for x in inside)


def test_intervals_in_one_piece_on_either_side() -> None:
    table = number(normal(0.15, 0.05 / 0.9), normal(-0.15, 0.05 / 0.9)).to_frame(ci_prob=0.9)
    assert table["interval"].to_list() == ["one more per 5.0 to 10.0", "one fewer per 5.0 to 10.0"]
    np.testing.assert_allclose(table["lower"], [5.0, -10.0])
    np.testing.assert_allclose(table["upper"], [10.0, -5.0])
    np.testing.assert_allclose(table["estimate"], [1 / 0.15, -1 / 0.15])


def test_swapping_the_sides_turns_the_words_round() -> None:
    rd = normal(0.01, 0.05)
    table = number(rd, -rd).to_frame(ci_prob=0.9)
    np.testing.assert_allclose(table["below"][1], -table["above"][0])
    np.testing.assert_allclose(table["above"][1], -table["below"][0])
    np.testing.assert_allclose(table["estimate"][1], -table["estimate"][0])


def test_no_difference_at_all_is_infinity() -> None:
    half = np.where(np.arange(1000) % 2, 0.02, 0.0)
    made = number(0.0, half, -half)
    table = made.to_frame(ci_prob=0.5)
    assert table["estimate"][0] == np.inf
    assert table["interval"].to_list() == [
        "∞ (no difference)",
        "one more per 50.0 to ∞",
        "one fewer per 50.0 to ∞",
    ]
    np.testing.assert_allclose(table["lower"], [np.inf, 50.0, -np.inf])
    np.testing.assert_allclose(table["upper"], [np.inf, np.inf, -50.0])
    assert not table["two_pieces"].any()
    assert np.isinf(made.draws[..., 0]).all()
    np.testing.assert_array_equal(made.difference[..., 1].to_numpy().ravel(), half)


def test_draws_are_one_over_the_difference() -> None:
    rd = normal(0.02, 0.05)
    made = number(rd)
    np.testing.assert_allclose(made.draws.to_numpy().ravel(), 1 / rd, rtol=1e-15)
    np.testing.assert_allclose(made.difference.to_numpy().ravel(), rd, rtol=1e-14)
    assert made.draws.dims == ("chain", "draw", "contrast")


def test_large_numbers_are_whole() -> None:
    table = number(normal(1 / 2000, 1e-9)).to_frame()
    assert table["interval"][0] == "one more per 2,000 to 2,000"


def test_lazy_draws_stay_lazy() -> None:
    rd = xr.DataArray(
        np.zeros((2, 4, 1)) + np.array([0.0, 0.5]).reshape(2, 1, 1),
        dims=("chain", "draw", "contrast"),
    )
    labels = pd.DataFrame(index=range(1))
    made = NeededToTreat.of_differences(rd.chunk(draw=2), labels=labels, title="made up")
    assert made.draws.chunks is not None
    np.testing.assert_array_equal(made.draws[:, 0, 0].to_numpy(), [np.inf, 2.0])


def test_what_turning_over_does_not_keep_is_refused() -> None:
    made = number(normal(0.1, 0.02))
    with pytest.raises(SpecificationError, match=r"ci_kind='hdi'.*comparison='difference'"):
        made.to_frame(ci_kind="hdi")
    with pytest.raises(EstimandError, match=r"have no forest plot.*Plot the risk"):
        made.plot()
    with rc_context({"stats.ci_kind": "hdi"}):
        assert "eti of the difference turned over" in repr(made)
    pd.testing.assert_frame_equal(made.to_frame(ci_kind="eti"), made.to_frame())


def test_it_shows_words_in_html_and_text() -> None:
    made = number(normal(0.025, 0.075))
    assert "∞ to one fewer per" in repr(made)
    assert "∞ to one fewer per" in made._repr_html_()
