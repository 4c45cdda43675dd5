"""The comparison's tables and its renderings."""

from __future__ import annotations

import pandas as pd
import pytest

from popavg.errors import SpecificationError
from popavg.posterior_tools.comparison import INTERVALS, MODELS, Comparison


def test_long_tables_repeat_the_agreement(comparison: Comparison) -> None:
    table = comparison.to_frame()
    assert list(table.columns) == [
        *("term", "model", "estimate", "std_error", "lower", "upper", "interval"),
        *("attenuation", "attenuation_lower", "attenuation_upper", "distance"),
    ]
    assert table["term"].to_list() == [term for term in comparison.terms for _ in MODELS]
    assert table["model"].to_list() == list(MODELS) * len(comparison.terms)
    assert table.groupby("term")["distance"].nunique().eq(1).all()
    assert dict(zip(table["model"], table["interval"], strict=True)) == INTERVALS


def test_wide_tables_have_a_row_for_each_term(comparison: Comparison) -> None:
    table = comparison.to_frame("wide")
    long = comparison.to_frame().set_index(["term", "model"])
    assert table["term"].to_list() == comparison.terms
    for model in MODELS:
        for column, shown in (("estimate", "estimate"), ("std_error", "SE")):
            expected = [long.loc[(term, model), column] for term in comparison.terms]
            assert table[f"{model} {shown}"].to_list() == expected
    pd.testing.assert_series_equal(table["distance"], comparison.agreement["distance"])


def test_an_unknown_layout(comparison: Comparison) -> None:
    with pytest.raises(SpecificationError, match=r"layout='tall' is unknown.*'long', 'wide'"):
        comparison.to_frame("tall")  # ty: ignore[invalid-argument-type]


def test_the_renderings_are_those_of_text_and_html(comparison: Comparison) -> None:
    from popavg.posterior_tools.comparison_html import render_html
    from popavg.posterior_tools.comparison_text import render_text

    assert repr(comparison) == render_text(comparison)
    assert comparison._repr_html_() == render_html(comparison)
