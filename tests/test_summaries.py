"""Summaries of draws against ArviZ's own and against NumPy."""

from __future__ import annotations

import arviz_stats
import numpy as np
import pytest
import xarray as xr
from arviz_base import rc_context
from hypothesis import given
from hypothesis import strategies as st

from popavg.errors import SpecificationError
from popavg.posterior_tools import summaries
from popavg.posterior_tools.summaries import (
    COLUMNS,
    decimals,
    interval_settings,
    intervals,
    summarise,
)

DRAWS = np.random.default_rng(3).gamma(2.0, size=(4, 200, 3)).cumsum(axis=2)


@pytest.mark.parametrize("kind", ["eti", "hdi"])
@pytest.mark.parametrize("point", ["mean", "median"])
def test_every_column_equals_arviz(kind: str, point: str) -> None:
    table = summarise(DRAWS, ci_prob=0.8, ci_kind=kind, point_estimate=point)
    array = xr.DataArray(DRAWS, dims=("chain", "draw", "k"), name="m")
    interval = getattr(arviz_stats, kind)(array, prob=0.8)
    expected = {
        "estimate": getattr(array, point)(("chain", "draw")),
        "std_error": array.std(("chain", "draw"), ddof=1),
        "lower": interval.sel(ci_bound="lower"),
        "upper": interval.sel(ci_bound="upper"),
        "ess_bulk": arviz_stats.ess(array, method="bulk"),
        "ess_tail": arviz_stats.ess(array, method="tail", prob=(0.05, 0.95)),
        "r_hat": arviz_stats.rhat(array),
        "mcse": arviz_stats.mcse(array, method=point),
    }
    assert list(table.columns) == list(COLUMNS) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(table[name], values, rtol=1e-12, err_msg=name)


def test_equals_the_table_of_az_summary() -> None:
    table = summarise(DRAWS[..., :1], ci_prob=0.9, ci_kind="eti", point_estimate="mean")
    tree = xr.DataTree.from_dict(
        {"posterior": xr.Dataset({"m": (("chain", "draw"), DRAWS[..., 0])})}
    )
    summary = arviz_stats.summary(tree, ci_prob=0.9, ci_kind="eti", round_to="none")
    # Not ess_tail: az.summary takes its quantiles from rcParams' level (11 % and 89 %),
    # we those of Vehtari et al. (2021), 5 % and 95 %, whatever the level.
    mine = table[["estimate", "std_error", "lower", "upper", "ess_bulk", "r_hat", "mcse"]]
    theirs = summary[["mean", "sd", "eti90_lb", "eti90_ub", "ess_bulk", "r_hat", "mcse_mean"]]
    np.testing.assert_allclose(mine.to_numpy(), theirs.to_numpy(dtype=float), rtol=1e-12)


def test_defaults_come_from_arviz() -> None:
    settings = {"stats.ci_prob": 0.5, "stats.ci_kind": "hdi", "stats.point_estimate": "median"}
    with rc_context(settings):
        table = summarise(DRAWS)
        assert interval_settings(None, None) == (0.5, "hdi")
        assert interval_settings(0.9, "eti") == (0.9, "eti")
    expected = summarise(DRAWS, ci_prob=0.5, ci_kind="hdi", point_estimate="median")
    np.testing.assert_array_equal(table, expected)
    assert not np.allclose(table["lower"], summarise(DRAWS, ci_prob=0.5, ci_kind="eti")["lower"])


@pytest.mark.parametrize("prob", [0.0, 1.0, 95, -0.1, float("nan")])
def test_an_impossible_level_is_refused(prob: float) -> None:
    with pytest.raises(SpecificationError, match=r"ci_prob=.*Allowed: a level between 0 and 1"):
        summarise(DRAWS, ci_prob=prob)


def test_an_unknown_kind_or_point_estimate_is_refused() -> None:
    with pytest.raises(SpecificationError, match=r"ci_kind='etti' is unknown.*mean 'eti'"):
        summarise(DRAWS, ci_kind="etti")  # ty: ignore[invalid-argument-type]
    with (
        rc_context({"stats.point_estimate": "mode"}),
        pytest.raises(SpecificationError, match="point_estimate='mode' is unknown"),
    ):
        summarise(DRAWS)


def test_constant_draws_have_no_r_hat_and_no_error() -> None:
    row = summarise(np.full((4, 50, 1), 2.5)).iloc[0]
    assert (row["estimate"], row["std_error"], row["lower"], row["upper"]) == (2.5, 0.0, 2.5, 2.5)
    assert row["mcse"] == 0.0
    assert np.isnan(row["r_hat"])


@pytest.mark.parametrize("shape", [(1, 1, 2), (1, 3, 2), (4, 1, 2), (1, 50, 2)])
def test_few_draws_give_numbers_where_there_are_any(shape: tuple[int, int, int]) -> None:
    table = summarise(np.random.default_rng(1).normal(size=shape))
    assert np.isfinite(table[["estimate", "lower", "upper"]]).all(axis=None)
    assert table["r_hat"].isna().all()


def test_what_is_not_a_number_stays_so() -> None:
    draws = DRAWS.copy()
    draws[0, 0, 1] = np.nan
    table = summarise(draws)
    assert table.isna().all(axis=1).tolist() == [False, True, False]


@given(st.floats(1e-12, 1e6))
def test_decimals_show_two_digits_of_the_spread(spread: float) -> None:
    places = decimals(spread)
    assert places >= 3
    assert float(f"{spread:.{places}f}") == pytest.approx(spread, rel=0.051 if spread < 0.1 else 1)


@pytest.mark.parametrize("spread", [0.0, float("nan"), float("inf")])
def test_decimals_without_a_spread(spread: float) -> None:
    assert decimals(spread) == 3


@pytest.mark.parametrize("kind", ["eti", "hdi"])
@pytest.mark.parametrize("point", ["mean", "median", None])
def test_intervals_alone_are_those_of_the_whole_summary(kind: str, point: str | None) -> None:
    chosen = {"ci_prob": 0.7, "ci_kind": kind, "point_estimate": point}
    alone = intervals(DRAWS, **chosen)
    whole = summarise(DRAWS, **chosen)
    np.testing.assert_array_equal(alone, whole[["estimate", "lower", "upper"]])
    with pytest.raises(SpecificationError, match="point_estimate='mode' is unknown"):
        intervals(DRAWS, point_estimate="mode")


def test_squares_that_overflow_do_not_warn() -> None:
    draws = 1e200 * np.random.default_rng(1).random((4, 50, 1))
    assert summarise(draws, ci_prob=0.9)["std_error"].item() == np.inf


def test_equal_draws_are_summarised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that repeat: the same numbers, without computing them again."""
    asked = []

    def counted(draws: np.ndarray, *rest: object) -> object:
        asked.append(draws.shape[-1])
        return each(draws, *rest)

    each = summaries._summary
    monkeypatch.setattr(summaries, "_summary", counted)
    order = [2, 0, 2, 1, 1, 0]
    found = summarise(DRAWS[..., order], ci_prob=0.9)
    assert asked == [3]
    expected = summarise(DRAWS, ci_prob=0.9).iloc[order].reset_index(drop=True)
    assert found.equals(expected)


def test_many_estimands_are_summarised_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the parts a bar can move; how large they are changes no digit."""
    whole = summarise(DRAWS, ci_prob=0.9)
    told = []

    def watched(parts: range, total: int, describe: str) -> range:
        told.append((len(parts), total, describe))
        return parts

    monkeypatch.setattr(summaries, "track", watched)
    monkeypatch.setattr(summaries, "_TOGETHER", 2)
    assert summarise(DRAWS, ci_prob=0.9).equals(whole)
    assert told == [(2, 2, "summaries")]
