"""Groups on request of an integrated fit: prior, predictive draws, log-likelihood by cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from popavg.bridge import BridgeDistribution
from popavg.bridge_logit import BridgeLogit
from popavg.priors import Prior
from popavg.workflows.further_groups import Wanted, further_groups, public
from popavg.workflows.problem import Problem, problem_of_formula

MakeFit = Callable[..., xr.DataTree]


@pytest.fixture(scope="module")
def problem(frame: pd.DataFrame) -> Problem:
    return problem_of_formula(
        "y ~ 1 + (1 | g)",
        frame,
        "logit",
        priors=None,
        parametrization="noncentered",
        missing="error",
        keep=(),
    )


@pytest.fixture
def posterior(make_fit: MakeFit, frame: pd.DataFrame) -> xr.Dataset:
    return make_fit("y ~ 1 + (1 | g)", frame, shape=(2, 500))["posterior"].to_dataset()


def test_only_what_is_wanted(problem: Problem, posterior: xr.Dataset) -> None:
    assert further_groups(problem, posterior, Wanted(), 1, integrated=True) == {}


def test_the_log_likelihood_is_by_cluster(
    problem: Problem, posterior: xr.Dataset, frame: pd.DataFrame
) -> None:
    """A cluster's rows by plain quadrature over its effect."""
    some = posterior.isel(draw=slice(2))
    found = further_groups(problem, some, Wanted(log_likelihood=True), 1, integrated=True)
    (values,) = found["log_likelihood"].data_vars.values()
    assert values.dims == ("chain", "draw", "g")
    z = np.linspace(-9, 9, 4001)
    for cluster in ("c0", "c7"):
        y = frame.loc[frame["g"] == cluster, "y"].to_numpy()
        eta = float(some["beta"][1, 1, 0]) + float(some["sd_g"][1, 1, 0]) * z
        logs = (y[:, None] * eta - np.logaddexp(0.0, eta)).sum(axis=0) - 0.5 * z**2
        expected = np.log(np.exp(logs).sum() * (z[1] - z[0]) / np.sqrt(2 * np.pi))
        assert float(values.sel(g=cluster)[1, 1]) == pytest.approx(expected, abs=1e-8)


def test_predictive_draws_follow_the_clusters(
    problem: Problem, posterior: xr.Dataset, frame: pd.DataFrame
) -> None:
    found = further_groups(problem, posterior, Wanted(posterior_predictive=True), 1,
                           integrated=True)  # fmt: skip
    drawn = found["posterior_predictive"]["y"]
    assert drawn.shape == (2, 500, 60)
    assert set(np.unique(drawn)) <= {0, 1}
    share = frame.groupby("g")["y"].mean()
    means = pd.Series(drawn.mean(("chain", "draw")).to_numpy()).groupby(frame["g"]).mean()
    assert np.corrcoef(share, means)[0, 1] > 0.9


def test_prior_draws_come_with_their_predictions(problem: Problem, posterior: xr.Dataset) -> None:
    found = further_groups(problem, posterior, Wanted(prior=True), 1, integrated=True)
    assert {"prior", "prior_predictive"} <= set(found)
    again = further_groups(problem, posterior, Wanted(prior=True), 1, integrated=True)
    xr.testing.assert_equal(found["prior"], again["prior"])


def test_new_clusters_of_a_bridge_model(
    problem: Problem, make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    """A prior that is nearly a point: outcomes of two rows together by a sum over percentiles."""
    bridge = replace(
        problem,
        link=BridgeLogit(),
        priors={"Intercept": Prior("Normal", 0.5, 1e-4), "sd_g": Prior("LogNormal", 1.0986, 1e-4)},
    )
    shape = {"shape": (1, 2500), "spread": 0.0, "sd": {"g": [3.0]}, "beta": [0.5]}
    posterior = make_fit("y ~ 1 + (1 | g)", frame, BridgeLogit(), **shape)["posterior"].to_dataset()
    wanted = Wanted(prior=True, posterior_predictive=True, log_likelihood=True)
    found = further_groups(bridge, posterior, wanted, 1, integrated=True)
    y = found["prior_predictive"]["y"].to_numpy()[0]
    u = BridgeDistribution(sd=3.0).quantile((np.arange(20_000) + 0.5) / 20_000)
    p = 1 / (1 + np.exp(-0.5 - u))
    assert y.mean() == pytest.approx(p.mean(), abs=0.01)
    pairs = y.reshape(-1, 12, 5)
    assert (pairs[..., 0] * pairs[..., 1]).mean() == pytest.approx((p**2).mean(), abs=0.01)
    assert found["prior"]["phi_g"].to_numpy() == pytest.approx(0.5175, abs=1e-3)
    assert found["log_likelihood"]["y"].dims == ("chain", "draw", "g")
    given = found["posterior_predictive"]["y"].mean(("chain", "draw")).to_numpy().reshape(12, 5)
    share = frame["y"].to_numpy().reshape(12, 5).mean(axis=1)
    assert np.corrcoef(given.mean(axis=1), share)[0, 1] > 0.9


def test_the_samplers_own_variables_are_left_out() -> None:
    group = xr.Dataset({"beta": ("x", [1.0]), "_z": ("x", [2.0])})
    assert list(public(group).data_vars) == ["beta"]
