"""Fits of the package's data sets against exact maximum likelihood (tests/reference)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import popavg as pa

pytestmark = pytest.mark.slow

EXACT = json.loads((Path(__file__).parent / "reference" / "exact_ml.json").read_text("utf-8"))

#: Where the data dominate the prior. In bacteria (50 clusters), cbpp (15) and, for probit and
#: cloglog, respiratory (111) the posterior of the SD is skewed: benchmarks/posterior_against_ml.py.
DOMINATED = [
    ("toenail", "logit"),
    ("toenail", "probit"),
    ("ohio", "logit"),
    ("ohio", "cloglog"),
    ("respiratory", "logit"),
    ("contraception", "probit"),
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
    population = pa.population_coefficients(fit, "least_squares")
    mean, sd = (
        getattr(population.draws, what)(("chain", "draw")).to_numpy() for what in ("mean", "std")
    )
    assert (np.abs(mean - np.array(exact["marginal_coef"])) / sd).max() < 0.25
