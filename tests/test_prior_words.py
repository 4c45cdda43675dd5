"""What priors imply, in sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import popavg as pa
from popavg.posterior_tools.prior_check_result import PriorCheck

FORMULA = "y ~ arm + x + (1 | g)"
NO_CLUSTERS = {"sd_g": "HalfNormal(1e-6)"}


def check(frame: pd.DataFrame, formula: str = FORMULA, **options: Any) -> PriorCheck:
    return pa.prior_check(formula, frame, **{"link": "logit", "draws": 200, **options})


@pytest.mark.parametrize(
    ("width", "words"),
    [(1.3, "has one peak, near 0.5"), (1.7, "is bimodal: it has peaks near"), (6, "towards 0 and")],
)
def test_words_say_when_a_normal_prior_on_the_logit_is_bimodal(
    frame: pd.DataFrame, width: float, words: str
) -> None:
    """N(0, σ²) on the logit with σ² > 2 has two peaks in p."""
    priors = {"Intercept": f"Normal(0, {width})", **NO_CLUSTERS}
    found = check(frame, "y ~ 1 + (1 | g)", priors=priors)
    assert words in found.words[1]
    assert ("say so and look again" in " ".join(found.words)) == (width > 2**0.5)


def test_extreme_priors_are_told_with_advice_on_the_links_scale(frame: pd.DataFrame) -> None:
    found = check(frame, link="probit", priors={"Intercept": "Normal(0, 20)"})
    assert found.share_below + found.share_above > 0.4
    assert "'Intercept': 'Normal(0, 0.83)'" in found.words[-1]
    assert "P(sd > 1.7) = 0.05" in found.words[-1]


def test_counts_and_values_are_told_as_means(frame: pd.DataFrame) -> None:
    counts = check(frame, "count ~ x + (1 | g)", link="log")
    assert counts.shape is None
    assert "population-averaged mean of count" in counts.words[0]
    assert "divided by the smallest" in counts.words[1]
    median = counts.to_frame().set_index("quantity")["estimate"]["mean at the average row"]
    assert median == pytest.approx(np.exp(np.quantile(counts.values, 0.5)), rel=1e-12)
    values = check(frame, "value ~ x + (1 | g)", link="identity")
    assert "minus the smallest" in values.words[1]
    assert "share below 0.01" not in set(values.to_frame()["quantity"])
