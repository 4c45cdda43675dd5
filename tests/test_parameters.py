from __future__ import annotations

import numpy as np
import pymc as pm
import pytest

import popavg as pa
from popavg.models.parameters import Scaled, prior_scalar, prior_vector


def test_one_distribution_makes_one_vector_others_are_stacked() -> None:
    normal, student = pa.Prior("Normal", mu=0, sigma=1), pa.Prior("StudentT", nu=7, mu=0, sigma=1)
    with pm.Model(coords={"k": ["a", "b"]}) as model:
        prior_vector("_v", [normal, normal], dims="k")
        prior_vector("_w", [normal, student], dims="k")
        prior_scalar("s", student)
    assert [variable.name for variable in model.free_RVs] == ["_v", "_w_0", "_w_1", "s"]
    assert [variable.name for variable in model.deterministics] == ["_w"]


def test_scaling_goes_there_and_back_and_counts_its_derivative() -> None:
    transform = Scaled([2.0, 50.0])
    value = np.array([0.3, -4.0])
    np.testing.assert_allclose(transform.forward(value), [0.6, -200.0])
    np.testing.assert_allclose(transform.backward(transform.forward(value)), value)
    np.testing.assert_allclose(transform.log_jac_det(value).eval(), -np.log([2.0, 50.0]))


def test_a_scaled_prior_is_the_same_prior() -> None:
    prior = pa.Prior("Normal", mu=1, sigma=3)
    with pm.Model() as model:
        prior_scalar("s", prior, scale=40.0)
    logp = model.compile_logp(mode="FAST_COMPILE")({"s_scaled__": np.array(80.0)})
    expected = pm.logp(pm.Normal.dist(1.0, 3.0), 2.0).eval() - np.log(40.0)
    assert float(logp) == pytest.approx(float(expected), rel=1e-6)
