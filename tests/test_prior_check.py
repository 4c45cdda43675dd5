"""What priors imply: numbers against a slow twin, words, tables, figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

import popavg as pa
from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.prior_check_result import PriorCheck

FORMULA = "y ~ arm + x + (1 | g)"
NO_CLUSTERS = {"sd_g": "HalfNormal(1e-6)"}


def check(frame: pd.DataFrame, formula: str = FORMULA, **options: Any) -> PriorCheck:
    return pa.prior_check(formula, frame, **{"link": "logit", "draws": 200, **options})


def test_numbers_are_those_of_the_draws(frame: pd.DataFrame) -> None:
    """Naive twin: loops over draws and rows, Gauss-Hermite in place of the engine."""
    found = check(frame, draws=20, seed=4)
    posterior = Posterior.from_fit(found.tree)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    means = []
    X = posterior.design.matrices.X
    row = pd.DataFrame([found.row])
    average = posterior.design.evaluate(row).X[0]
    sd = found.tree["posterior"]["sd_g"].to_numpy().ravel()
    keep = sd < 4.0  # where 80 nodes do
    for beta, tau in zip(posterior.beta[keep], sd[keep], strict=True):
        p = [weights @ expit(x @ beta + tau * nodes) for x in (*X, average)]
        means.append((p[-1], max(p[:-1]) - min(p[:-1])))
    at_average, spread = np.array(means).T
    np.testing.assert_allclose(found.values[keep], at_average, atol=1e-5)
    np.testing.assert_allclose(found.spread.draws.to_numpy().ravel()[keep], spread, atol=2e-5)


def test_random_slopes_take_every_rows_variance(frame: pd.DataFrame) -> None:
    found = check(frame, "y ~ x + (1 + x | g)", link="probit", draws=30)
    every = pa.predictions(found.tree, newdata="observed").draws.to_numpy()[0]
    spread = found.spread.draws.to_numpy().ravel()
    np.testing.assert_allclose(spread, np.ptp(every, axis=1), atol=1e-9)


def test_same_seed_same_draws_and_any_generator(frame: pd.DataFrame) -> None:
    first, same = check(frame, seed=1), check(frame, seed=np.random.default_rng(1))
    np.testing.assert_array_equal(first.values, same.values)
    assert not np.array_equal(first.values, check(frame, seed=2).values)


def test_the_tree_is_marked_and_every_verb_takes_it(frame: pd.DataFrame) -> None:
    found = check(frame)
    specification = Posterior.from_fit(found.tree).specification
    assert specification.sampler["method"] == "prior"
    assert specification.priors["x"] == found.priors["x"].to_dict()
    effect = pa.avg_comparisons(found.tree, variables="arm")
    assert effect.draws.sizes["draw"] == 200


def test_curves_along_and_by(frame: pd.DataFrame) -> None:
    found = check(frame, over={"x": [-1, 0, 1]}, by="arm")
    assert found.axis is not None
    assert found.axis.name == "x"
    assert found.curves.labels[["x", "arm"]].shape == (6, 2)
    assert found.panels == ("arm: active", "arm: placebo")
    assert any("draws of the priors" in note for note in found.curves.notes)
    assert check(frame, by="x").axis.name == "arm"  # ty: ignore[unresolved-attribute]


def test_without_an_intercept_another_coefficient_is_integrated(frame: pd.DataFrame) -> None:
    found = check(frame, "y ~ 0 + arm + (1 | g)", priors={"beta": "Normal(0, 6)", **NO_CLUSTERS})
    assert found.shape is not None
    expected = np.exp(pa.Prior("LogitNormal", 0, 6).log_density(found.shape.probability))
    np.testing.assert_allclose(found.shape.density, expected, rtol=1e-6)


def test_heavy_tails_of_standard_deviations_are_cut(frame: pd.DataFrame) -> None:
    found = check(frame, "y ~ 1 + (1 | g)", priors={"sd_g": "HalfCauchy(300)"})
    assert found.tree["posterior"]["sd_g"].max() == 1000.0
    assert np.isfinite(found.values).all()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"draws": 5}, SpecificationError, "from 10 on"),
        ({"draws": 50.0}, SpecificationError, "whole number"),
        ({"over": "z"}, SpecificationError, "'z' isn't a covariate"),
        ({"over": "x", "by": "x"}, SpecificationError, "both 'x'"),
        ({"by": ["arm", "x"]}, SpecificationError, "by names all covariates"),
        ({"priors": {"sd_g": "HalfFlat()"}}, SpecificationError, "improper"),
        ({"priors": {"x": "Normal"}}, SpecificationError, "can't be read"),
        ({"formula": "nope ~ x + (1 | g)"}, DataError, "nope"),
    ],
)
def test_bad_input(
    frame: pd.DataFrame, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        check(frame, **options)
