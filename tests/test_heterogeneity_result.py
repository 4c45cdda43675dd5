"""Tables and representations of differences between clusters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import popavg as pa
from popavg.posterior_tools.heterogeneity import heterogeneity
from popavg.posterior_tools.heterogeneity_result import Heterogeneity
from popavg.posterior_tools.summaries import COLUMNS, summarise

MakeFit = Callable[..., xr.DataTree]


@pytest.fixture
def result(make_fit: MakeFit, frame: pd.DataFrame) -> Heterogeneity:
    fit = make_fit("y ~ arm + x + (1 + x | g)", frame)
    return heterogeneity(fit, "x", quantiles=[0.1, 0.9], threshold=0.05)


def test_one_table_of_all(result: Heterogeneity) -> None:
    table = result.to_frame(ci_prob=0.5)
    assert list(table.columns) == [
        *("part", "arm", "x", "quantity", "variable", "contrast"),
        *COLUMNS,
    ]
    assert table["part"].unique().tolist() == list(result.parts)
    assert len(table) == sum(map(len, result.parts.values()))
    one = result.share.to_frame(ci_prob=0.5)
    whole = table[table["part"] == "share"]
    assert whole["lower"].tolist() == one["lower"].tolist()


def test_without_an_effect_there_is_no_table_of_it(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    result = heterogeneity(make_fit("y ~ arm + (1 | g)", frame))
    assert result.effect is None
    assert result.share is None
    assert list(result.parts) == ["probability", "summary", "pairs"]
    assert "difference in" not in repr(result)


def test_it_says_what_it_is(result: Heterogeneity) -> None:
    text, html = repr(result), result._repr_html_()
    for shown in (text, html):
        assert "10 % quantile" in shown
        assert "median odds ratio" in shown
    assert "over the clusters of 'g'" in text
    assert html.count("<table") == 5
    assert all(sentence in text for sentence in result.words)
    assert isinstance(result, pa.Heterogeneity)


def test_many_rows_are_printed_without_being_summarised(
    make_fit: MakeFit, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    from popavg.posterior_tools import estimates

    fit = make_fit("y ~ arm + x + (1 + x | g)", frame)
    result = heterogeneity(fit, "x", newdata="observed", threshold=0.05)
    summarised: list[int] = []

    def counted(draws: np.ndarray, **kwargs: Any) -> pd.DataFrame:
        summarised.append(draws.shape[2])
        return summarise(draws, **kwargs)

    monkeypatch.setattr(estimates, "summarise", counted)
    text = repr(result)
    assert max(summarised) == 20
    assert f"{6 * len(frame) - 20} of {6 * len(frame)} rows aren't shown" in text
    assert result.words[1] in text


def test_a_lazy_posterior_stays_lazy(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ arm + x + (1 + x | g)", frame)
    known = heterogeneity(fit, "x")
    lazy = fit.copy()
    lazy["posterior"] = xr.DataTree(fit["posterior"].to_dataset().chunk({"draw": 2}))
    waiting = heterogeneity(lazy, "x")
    assert waiting.probability.is_lazy
    assert waiting.words == ("Nothing is computed yet: call compute() for numbers.",)
    assert "Not computed yet" in repr(waiting)
    computed = waiting.compute()
    assert not computed.effect.is_lazy
    pd.testing.assert_frame_equal(computed.to_frame(), known.to_frame())
