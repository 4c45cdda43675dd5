"""What a verb's numbers are, in words."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
import xarray as xr

from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.outcome import averaging_note, outcome_words, target_note
from popavg.posterior_tools.targets import MEANINGS, TARGETS

MakeFit = Callable[..., xr.DataTree]


@pytest.mark.parametrize(
    ("response", "link", "on_response", "on_link"),
    [
        ("y", "probit", "probability of y", "probit of the probability of y"),
        ("count", "log", "mean of count", "log of the mean of count"),
        ("value", "identity", "mean of value", "mean of value"),
    ],
)
def test_the_outcome(
    make_fit: MakeFit,
    frame: pd.DataFrame,
    response: str,
    link: str,
    *,
    on_response: str,
    on_link: str,
) -> None:
    posterior = Posterior.from_fit(make_fit(f"{response} ~ x + (1 | g)", frame, link))
    assert outcome_words(posterior) == on_response
    assert outcome_words(posterior, "link") == on_link


def test_each_target_is_named() -> None:
    for target in TARGETS:
        assert target_note(target) == f"target '{target}': {MEANINGS[target]}."


def test_how_rows_count() -> None:
    given = (None, "cluster", "w", [1.0])
    said = [averaging_note("the rows", weights, clusters="herd") for weights in given]
    assert said == [
        f"Averaged over the rows, draw by draw, {counting}."
        for counting in (
            "each row counting once",
            "each cluster of 'herd' counting once",
            "weighted by w",
            "weighted by the given numbers",
        )
    ]
