"""What is to be fitted, from a formula and from a model."""

from __future__ import annotations

import pandas as pd
import pytest

import popavg as pa
from popavg.errors import DataError, FormulaError, SpecificationError
from popavg.workflows.problem import problem_of_formula, problem_of_model, read_design

FORMULA = "y ~ x + (1 | g)"


def read(formula: str, data: pd.DataFrame | None, link: str | None) -> object:
    return read_design(formula, data, link, missing="error", keep=["visit"])


def test_a_formula_gets_its_data_and_priors(frame: pd.DataFrame) -> None:
    found = problem_of_formula(
        FORMULA,
        frame,
        "logit",
        priors={"x": "Normal(0, 3)"},
        parametrization="noncentered",
        missing="error",
        keep=["visit"],
    )
    assert found.design.matrices.terms == ("Intercept", "x")
    assert "visit" in found.design.frame
    assert str(found.priors["x"]) == "Normal(mu=0, sigma=3)"
    assert {"Intercept", "sd_g"} <= set(found.priors)
    assert found.model is None


@pytest.mark.parametrize("likelihood", ["latent", "integrated"])
def test_a_model_is_built_with_either_likelihood(frame: pd.DataFrame, likelihood: str) -> None:
    found = problem_of_formula(
        FORMULA,
        frame,
        "logit",
        priors=None,
        parametrization="centered",
        missing="error",
        keep=(),
    )
    names = set(found.build(likelihood).named_vars)  # ty: ignore[invalid-argument-type]
    assert {"beta", "sd_g"} <= names
    assert ("u_g" in names) == (likelihood == "latent")


def test_a_model_stays_the_users(frame: pd.DataFrame) -> None:
    model = pa.models.logit_glmm(FORMULA, frame)
    found = problem_of_model(model)
    assert found.build("integrated") is model
    assert found.link.name == "logit"


def test_what_is_missing_is_named(frame: pd.DataFrame) -> None:
    with pytest.raises(SpecificationError, match="no link was given"):
        read(FORMULA, frame, None)
    with pytest.raises(SpecificationError, match="no data were given"):
        read(FORMULA, None, "logit")
    with pytest.raises(FormulaError, match="no grouping term"):
        read("y ~ x", frame, "logit")
    with pytest.raises(DataError, match="'z'"):
        read("y ~ z + (1 | g)", frame, "logit")
