from __future__ import annotations

import pandas as pd
import pytest

from popavg.errors import DataError
from popavg.posterior_tools.times import numeric_time, time_levels


def test_numbers_stay_numbers() -> None:
    assert numeric_time(pd.Series([0.5, 3.0, 1.0])).tolist() == [0.5, 3.0, 1.0]


def test_categories_count_in_their_order_and_text_by_the_alphabet() -> None:
    weeks = pd.Series(pd.Categorical(["late", "early"], categories=["early", "late"]))
    assert numeric_time(weeks).tolist() == [1.0, 0.0]
    assert time_levels(weeks) == ["early", "late"]
    assert numeric_time(pd.Series(["b", "a", "b"])).tolist() == [1.0, 0.0, 1.0]


def test_levels_of_the_fit_number_the_rows_of_another_design() -> None:
    assert numeric_time(pd.Series(["late"]), ["early", "mid", "late"]).tolist() == [2.0]
    with pytest.raises(DataError, match="'never'"):
        numeric_time(pd.Series(["never"]), ["early", "late"])


def test_what_is_no_time_is_told() -> None:
    for column in (pd.Series([True, False], name="t"), pd.Series([1.0, None], name="t")):
        with pytest.raises(DataError, match="the time 't' holds booleans or missing values"):
            numeric_time(column)
