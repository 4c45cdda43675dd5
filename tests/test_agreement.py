"""What another program computed must follow from the draws."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from popavg.design import Design, family_of
from popavg.errors import DataError
from popavg.links import get_link
from popavg.posterior_tools.agreement import check_agreement, given_values, linear_predictor
from popavg.posterior_tools.foreign import ForeignParameters, uncentred

SHAPE = (2, 5)


def made(
    frame: pd.DataFrame, formula: str = "y ~ x + arm + (1 + x | g) + (1 | h)", link: str = "logit"
) -> tuple[Design, ForeignParameters]:
    rng = np.random.default_rng(8)
    design = Design.build(formula, frame, family=family_of(formula, get_link(link)))
    groups = design.matrices.groups
    return design, ForeignParameters(
        0.5 * rng.normal(size=(*SHAPE, len(design.matrices.terms))),
        {g.name: np.ones((*SHAPE, len(g.effects))) for g in groups},
        {},
        {g.name: rng.normal(size=(*SHAPE, len(g.levels), len(g.effects))) for g in groups},
        np.exp(rng.normal(size=SHAPE)),
    )


def naive(design: Design, parameters: ForeignParameters) -> np.ndarray:
    """By four loops."""
    matrices = design.matrices
    eta = np.zeros((*SHAPE, matrices.n_rows))
    for c in range(SHAPE[0]):
        for d in range(SHAPE[1]):
            for i in range(matrices.n_rows):
                eta[c, d, i] = parameters.beta[c, d] @ matrices.X[i] + matrices.offset[i]
                for g in matrices.groups:
                    eta[c, d, i] += parameters.effects[g.name][c, d, g.index[i]] @ g.Z[i]
    return eta.reshape(-1, matrices.n_rows)


def check(
    design: Design, parameters: ForeignParameters, link: str = "logit", **kwargs: Any
) -> None:
    chosen = get_link(link)
    family = family_of(design.formula, chosen)
    check_agreement(parameters, design, link=chosen, family=family, **kwargs)


def test_the_predictor_has_all_its_parts(frame: pd.DataFrame) -> None:
    design, parameters = made(frame, "count ~ x + offset(w) + (1 + x | g) + (1 | h)", "log")
    expected = naive(design, parameters)
    found = linear_predictor(parameters, design, slice(3, 7))
    np.testing.assert_allclose(found, expected[3:7], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("formula", "link"),
    [
        ("y ~ x + (1 | g)", "logit"),
        ("y ~ x + (1 | g)", "cloglog"),
        ("p(successes, trials) ~ x + (1 | g)", "probit"),
        ("count ~ x + (1 | g)", "log"),
        ("value ~ x + (1 | g)", "identity"),
    ],
)
def test_log_likelihoods_are_those_of_scipy(frame: pd.DataFrame, formula: str, link: str) -> None:
    design, parameters = made(frame, formula, link)
    eta = naive(design, parameters)
    mean, y, trials = get_link(link).inverse(eta), design.response.y, design.response.trials
    sigma = parameters.sigma.reshape(-1, 1) if parameters.sigma is not None else 1.0
    expected = {
        "log": lambda: stats.poisson.logpmf(y, mean),
        "identity": lambda: stats.norm.logpdf(y, mean, sigma),
    }.get(link, lambda: stats.binom.logpmf(y, 1 if trials is None else trials, mean))()
    if link != "identity":
        parameters = replace(parameters, sigma=None)
    check(design, parameters, link, eta=eta, log_likelihood=expected, tolerance=1e-9)
    wrong = expected.copy()
    wrong[6, 4] += 0.01
    message = "log-likelihood that was given: the largest difference is 0.01, in row 4 .* draw 2 of"
    with pytest.raises(DataError, match=message):
        check(design, parameters, link, log_likelihood=wrong)


def test_a_centred_intercept_is_recognised(frame: pd.DataFrame) -> None:
    design, parameters = made(frame)
    centred = replace(parameters, beta=2 * parameters.beta - uncentred(parameters.beta, design))
    with pytest.raises(DataError, match=r"what centring the columns takes.*say centred=True"):
        check(design, centred, eta=naive(design, parameters))


def test_a_shift_of_all_rows(frame: pd.DataFrame) -> None:
    design, parameters = made(frame)
    with pytest.raises(DataError, match=r"difference is 0.3, .*in all rows: another intercept or"):
        check(design, parameters, eta=naive(design, parameters) + 0.3)


def test_another_order_of_the_clusters(frame: pd.DataFrame) -> None:
    design, parameters = made(frame, "y ~ x + (1 | g)")
    shuffled = replace(parameters, effects={"g": parameters.effects["g"][:, :, ::-1]})
    with pytest.raises(DataError, match=r"same in all rows of a cluster of 'g'.* another order"):
        check(design, shuffled, eta=naive(design, parameters))


def test_another_reference_level(frame: pd.DataFrame) -> None:
    design, parameters = made(frame)
    beta = parameters.beta.copy()
    beta[..., -1] *= -1.0
    with pytest.raises(DataError, match=r"lies in the terms 'arm\[placebo\]': another reference"):
        check(design, replace(parameters, beta=beta), eta=naive(design, parameters))


def test_what_cannot_be_told(frame: pd.DataFrame) -> None:
    design, parameters = made(frame)
    eta = naive(design, parameters)
    with pytest.raises(DataError, match="clusters' effects, or in several terms"):
        check(design, parameters, eta=eta[:, ::-1])
    check(design, parameters, eta=eta + 5e-5)
    with pytest.raises(DataError, match=r"1e-05.*no number of this fit could be trusted"):
        check(design, parameters, eta=eta + 1e-5, tolerance=1e-7)


def test_without_effects_or_sigma_there_is_nothing_to_compute(frame: pd.DataFrame) -> None:
    design, parameters = made(frame)
    eta = naive(design, parameters)
    with pytest.raises(DataError, match="no draws of the effects of 'g', 'h'"):
        check(design, replace(parameters, effects={}), eta=eta)
    design, parameters = made(frame, "value ~ x", "identity")
    with pytest.raises(DataError, match="needs the residual standard deviation"):
        check(design, replace(parameters, sigma=None), "identity", log_likelihood=eta)


def test_shapes_of_what_is_given(frame: pd.DataFrame) -> None:
    design, parameters = made(frame)
    eta = naive(design, parameters)
    for values in (eta, eta.reshape(*SHAPE, -1), eta.tolist()):
        found = given_values(values, None, design, what="eta")
        np.testing.assert_array_equal(found, eta)
    assert given_values(None, None, design, what="eta") is None
    with pytest.raises(DataError, match=r"eta has the shape \(1, 10, 59\).*number for each draw"):
        given_values(eta[:, 1:], None, design, what="eta")
    with pytest.raises(DataError, match="10 of 10 draws of 'eta' are NaN"):
        given_values(eta * np.nan, None, design, what="eta")
    with pytest.raises(DataError, match="has 9 draws, the parameters 10"):
        check(design, parameters, eta=eta[1:])
