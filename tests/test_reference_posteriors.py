"""Fits of the package's data sets against exact maximum likelihood (tests/reference)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import popavg as pa

pytestmark = pytest.mark.slow

EXACT = json.loads((Path(__file__).parent / "reference" / "exact_ml.json").read_text("utf-8"))

#: Where the data dominate the prior. For the others (15 to 111 clusters) see docs/validation.md.
DOMINATED = [
    ("toenail", "logit"),
    ("toenail", "probit"),
    ("ohio", "logit"),
    ("ohio", "cloglog"),
    ("contraception", "cloglog"),
]


@pytest.mark.parametrize(("name", "link"), DOMINATED)
def test_posterior_means_are_near_maximum_likelihood(name: str, link: str) -> None:
    data_set = EXACT["datasets"][name]
    exact = data_set["links"][link]
    fit = pa.fit(data_set["formula"], pa.load_dataset(name), link=link, seed=2, progress=False)
    draws = fit["posterior"]["beta"].to_numpy().reshape(-1, len(exact["coef"]))
    z = (draws.mean(axis=0) - np.array(exact["coef"])) / draws.std(axis=0)
    assert np.abs(z).max() < 0.25
    np.testing.assert_allclose(draws.std(axis=0), exact["se"], rtol=0.15)
    check_population_coefficients(fit, exact["marginal_coef"])


def check_population_coefficients(fit: xr.DataTree, exact: list[float]) -> None:
    draws = (
        pa.population_coefficients(fit, "least_squares").draws.to_numpy().reshape(-1, len(exact))
    )
    assert (np.abs(draws.mean(axis=0) - np.array(exact)) / draws.std(axis=0)).max() < 0.25
