"""Tables and print-outs of what priors imply."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

import popavg as pa
from popavg.posterior_tools.prior_check_result import PriorCheck

FORMULA = "y ~ arm + x + (1 | g)"


def check(frame: pd.DataFrame, formula: str = FORMULA, **options: Any) -> PriorCheck:
    return pa.prior_check(formula, frame, **{"link": "logit", "draws": 200, **options})


def test_the_table_has_the_numbers_of_the_words(frame: pd.DataFrame) -> None:
    found = check(frame)
    table = found.to_frame(ci_prob=0.5).set_index("quantity")
    values = found.values
    row = table.loc["probability at the average row"]
    np.testing.assert_allclose(row, np.quantile(values, [0.5, 0.25, 0.75]), atol=1e-12)
    assert table.loc["share below 0.01", "estimate"] == (values < 0.01).mean()
    assert table.loc["share above 0.99", "estimate"] == (values > 0.99).mean()
    assert f"{100 * found.share_below:.2g} %" in found.words[0] or found.share_below == 0
    assert "sd_g" in table.index
    assert "arm = " in found.words[0]
    assert "x = " in found.words[0]


def test_prints_itself(frame: pd.DataFrame) -> None:
    found = check(frame)
    text, html = repr(found), found._repr_html_()
    for part in ("What the priors imply (200 prior draws", "sd_g: HalfStudentT", *found.words):
        assert part in text
    assert "<li>sd_g: HalfStudentT(nu=3, sigma=2.5)</li>" in html
