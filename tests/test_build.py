from __future__ import annotations

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from scipy import stats

import popavg as pa
from popavg.design import Design, family_of
from popavg.errors import SpecificationError
from popavg.families import get_family
from popavg.models.build import build_model


def small_design(formula: str = "y ~ x + (1 | g)") -> Design:
    frame = pd.DataFrame(
        {"y": [0, 1, 1, 0, 1, 0], "x": [0.0, 300.0, 100.0, 50.0, 200.0, 120.0], "g": list("aabbcc")}
    )
    return Design.build(formula, frame, family=family_of(formula, pa.get_link("logit")))


def evaluate(model: pm.Model, names: list[str], point: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Deterministic variables at a point of what is sampled."""
    outputs = model.replace_rvs_by_values([model[name] for name in names])
    function = model.compile_fn(
        outputs, inputs=model.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
    )
    return function(point)


def test_coefficients_are_those_of_the_columns_as_they_came() -> None:
    """β_0 + β_1 x is the predictor although x is centred inside."""
    design = small_design()
    model = build_model(design, link=pa.get_link("logit"), family=get_family("bernoulli"))
    point = model.initial_point() | {"_slopes_scaled__": np.array([2.0])}
    beta, u = evaluate(model, ["beta", "u_g"], point)
    scale = np.abs(design.matrices.X[:, 1] - design.matrices.X[:, 1].mean()).max()
    assert beta[1] == pytest.approx(2.0 / scale)
    assert u.shape == (3, 1)


def test_the_scaled_slopes_keep_their_prior() -> None:
    """The density of the slope, not of what is sampled: the constant derivative is counted."""
    model = build_model(small_design(), link=pa.get_link("logit"), family=get_family("bernoulli"))
    slopes = model["_slopes"]
    sigma = 2.5 / (2 * small_design().frame["x"].std(ddof=0))
    for sampled in (-1.0, 0.5):
        point = model.initial_point() | {"_slopes_scaled__": np.array([sampled])}
        logp = model.compile_logp(vars=[slopes], jacobian=False, mode="FAST_COMPILE")(point)
        x = small_design().frame["x"]
        slope = sampled / np.abs(x - x.mean()).max()
        assert float(logp) == pytest.approx(stats.norm(0, sigma).logpdf(slope), rel=1e-6)


def test_chains_start_where_the_predictor_is_moderate() -> None:
    """One unit off in what is sampled moves no row's predictor by more than one."""
    model = build_model(small_design(), link=pa.get_link("logit"), family=get_family("bernoulli"))
    point = model.initial_point() | {"_slopes_scaled__": np.array([1.0])}
    (beta,) = evaluate(model, ["beta"], point)
    x = small_design().frame["x"].to_numpy()
    assert np.abs(beta[1] * (x - x.mean())).max() == pytest.approx(1.0)


def test_an_unknown_parametrization_is_told() -> None:
    with pytest.raises(SpecificationError, match="parametrization='half' is unknown"):
        build_model(
            small_design(),
            link=pa.get_link("logit"),
            family=get_family("bernoulli"),
            parametrization="half",
        )
