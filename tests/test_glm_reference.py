"""The naive GLM against R's glm."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import popavg as pa
from popavg.design import Design, family_of
from popavg.errors import ConvergenceError, DataError, SeparationError, SpecificationError
from popavg.families import Bernoulli, Gaussian
from popavg.links import get_link
from popavg.models.glm_reference import (
    GLMReference,
    fit_glm_reference,
    orthonormal_basis,
    wald_frame,
)

# R 4.2.2 glm(), from the same runs as the GEE's; made by reference/make_gee.py.
REFERENCE = json.loads((Path(__file__).parent / "reference" / "gee.json").read_text())
FORMULAS = {
    "toenail": "y ~ treatment * time",
    "ohio": "resp ~ age * smoke",
    "respiratory": "nstat ~ centre + treatment + gender + baseline + age",
    "bacteria": "y ~ trt + week_gt2",
    "contraception": "y ~ age + age2 + urban + livch",
    "cbpp": "p(incidence, size) ~ period",
    "epil": "y ~ lbase * trt + lage + V4",
}
CASES = [(name, link) for name, found in REFERENCE.items() for link in found["links"]]


def fit(name: str, link: str) -> GLMReference:
    family = family_of(FORMULAS[name], get_link(link))
    design = Design.build(FORMULAS[name], pa.load_dataset(name), family=family)
    return fit_glm_reference(
        design.matrices.X, design.response.y, link=get_link(link), family=family,
        terms=design.matrices.terms, trials=design.response.trials,
    )  # fmt: skip


@pytest.mark.parametrize(("name", "link"), CASES)
def test_equals_r(name: str, link: str) -> None:
    """R's glm stops at a relative change of the deviance of 1e-8; hence its 1e-7."""
    result = fit(name, link)
    renamed = {"urban[urban]": "urbanY"}
    keys = [renamed.get(t, t.replace("[", "").replace("]", "")) for t in result.terms]
    run = REFERENCE[name]["links"][link]
    theirs = dict(zip(REFERENCE[name]["terms"], run["glm"]["coef"], strict=True))
    errors = dict(zip(REFERENCE[name]["terms"], run["glm"]["se"], strict=True))
    tight = dict(zip(REFERENCE[name]["terms"], run["independence"]["coef"], strict=True))
    std_error = np.sqrt(np.diag(result.covariance))
    np.testing.assert_allclose(result.coefficients, [theirs[k] for k in keys], rtol=0, atol=2e-7)
    np.testing.assert_allclose(std_error, [errors[k] for k in keys], rtol=2e-7)
    np.testing.assert_allclose(result.coefficients, [tight[k] for k in keys], rtol=0, atol=1e-10)
    assert result.scale == 1.0


def test_gaussian_is_least_squares() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([np.ones(30), rng.normal(size=30)])
    y = X @ [3.0, -1.0] + rng.normal(size=30)
    result = fit_glm_reference(
        X, y, link=get_link("identity"), family=Gaussian(), terms=("Intercept", "x")
    )
    beta = np.linalg.lstsq(X, y)[0]
    variance = np.sum((y - X @ beta) ** 2) / 28
    np.testing.assert_allclose(result.coefficients, beta, rtol=1e-12)
    np.testing.assert_allclose(result.covariance, variance * np.linalg.inv(X.T @ X), rtol=1e-10)
    assert result.scale == pytest.approx(variance)
    np.testing.assert_allclose(result.predict(X), X @ beta)


def test_offset_shifts_the_intercept() -> None:
    y, X = np.array([0.0, 1, 1, 0, 1]), np.ones((5, 1))
    more = {"link": get_link("logit"), "family": Bernoulli(), "terms": ("Intercept",)}
    plain = fit_glm_reference(X, y, **more)
    moved = fit_glm_reference(X, y, offset=np.full(5, 0.7), **more)
    assert moved.coefficients[0] == pytest.approx(plain.coefficients[0] - 0.7)
    np.testing.assert_allclose(moved.predict(X, np.full(5, 0.7)), plain.predict(X))


def test_frame() -> None:
    frame = fit("toenail", "logit").to_frame(ci_prob=0.9)
    assert list(frame) == ["term", "estimate", "std_error", "lower", "upper"]
    np.testing.assert_allclose(
        frame["upper"] - frame["estimate"], 1.6448536269514722 * frame["std_error"]
    )


@pytest.mark.parametrize("ci_prob", [0.0, 1.0, 95.0])
def test_level_of_intervals(ci_prob: float) -> None:
    with pytest.raises(SpecificationError, match=r"ci_prob=.*between 0 and 1"):
        wald_frame(("x",), np.zeros(1), np.eye(1), ci_prob)


def test_units_do_not_matter() -> None:
    X = np.column_stack([np.ones(6), 1e8 + 1e3 * np.arange(6.0)])
    Q, T = orthonormal_basis(X, ("Intercept", "x"))
    np.testing.assert_allclose(Q.T @ Q, 6 * np.eye(2), atol=1e-9)
    np.testing.assert_allclose(X @ T, Q, rtol=1e-6, atol=1e-6)


def test_errors() -> None:
    y = np.array([0.0, 1, 0, 0, 1, 1])
    X = np.column_stack([np.ones(6), [1.0, 2, 3, 4, 5, 7]])
    more = {"link": get_link("probit"), "family": Bernoulli()}
    terms = ("Intercept", "x")
    with pytest.raises(DataError, match=r"'twice'.*combinations"):
        fit_glm_reference(
            np.column_stack([X, 2 * X[:, 1]]), y, terms=(*terms, "twice"), **more
        )  # fmt: skip
    with pytest.raises(SeparationError, match="'x' predicts"):
        fit_glm_reference(X, (X[:, 1] > 3.5).astype(float), terms=terms, **more)
    with pytest.raises(ConvergenceError, match="in 1 iterations"):
        fit_glm_reference(X, y, terms=terms, maxiter=1, **more)
