"""The sentences say what the numbers are."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import xarray as xr

from popavg.posterior_tools.heterogeneity import heterogeneity
from popavg.posterior_tools.heterogeneity_words import heterogeneity_words

MakeFit = Callable[..., xr.DataTree]


def words(fit: xr.DataTree, **kwargs: object) -> str:
    return " ".join(heterogeneity_words(heterogeneity(fit, **kwargs)))


def test_numbers_of_the_tables_are_in_the_sentences(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ arm + x + (1 + x | g)", frame)
    result = heterogeneity(fit, "x", quantiles=[0.05, 0.5, 0.9], threshold=[0.0, 0.1])
    text = " ".join(heterogeneity_words(result))
    table = result.to_frame().set_index(["part", "quantity"])["estimate"]
    low, high = table["probability", "5 % quantile"], table["probability", "90 % quantile"]
    assert f"In 5 % of the clusters of 'g' the probability is below {low:.3g}" in text
    assert f"in 10 % it is above {high:.3g}" in text
    assert f"its mean over all of them is {table['probability', 'mean']:.3g}." in text
    assert f"below {table['effect', '5 % quantile']:.3g}" in text
    assert f"It exceeds 0.1 in {100 * table['share', 'share above 0.1']:.3g} % of them" in text
    assert f"odds {table['summary', 'median odds ratio']:.3g} times those of the other" in text
    assert f"{table['summary', 'correlation, latent scale']:.3g} of the variance" in text
    assert f"are {table['pairs', 'odds ratio']:.3g} times what they are" in text


def test_one_sign_for_all_clusters_is_said_to_be_a_probability(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    text = words(make_fit("y ~ arm + (1 | g)", frame), variables="arm")
    assert "either all of them or none have an effect above 0" in text
    assert "posterior probability" in text


def test_what_does_not_exist_is_said(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    assert "no median odds ratio" in words(make_fit("y ~ arm + (1 | g)", frame, "probit"))
    log = words(make_fit("count ~ arm + (1 | g)", frame, "log"))
    assert "Median rate ratio" in log
    assert "log link has no residual" in log
    assert "the odds of the event" not in log
    assert "no median odds ratio" not in log


def test_a_single_quantile(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    text = words(make_fit("y ~ arm + (1 | g)", frame), quantiles=0.5)
    assert "In 50 % of the clusters of 'g' the probability is below" in text
    assert "it is above" not in text
