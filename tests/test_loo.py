"""Leave-one-cluster-out against refits of every cluster."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import arviz_stats
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import popavg as pa
import popavg.workflows.loo as module
from popavg.design import Design, family_of
from popavg.errors import FitWarning, SpecificationError
from popavg.links import get_link
from popavg.models.default_priors import resolve_priors
from popavg.posterior_tools.cluster_log_likelihood import cluster_log_likelihood
from popavg.posterior_tools.tree import fit_tree, specify
from popavg.workflows.importance import importance_sample


def sampled(formula: str, data: pd.DataFrame) -> xr.DataTree:
    """A fit by importance sampling, packed by hand."""
    link = get_link("logit")
    family = family_of(formula, link)
    design = Design.build(formula, data, family=family)
    priors = resolve_priors(design, family, link)
    found = importance_sample(design, link, family, priors, seed=1, progress=False)
    stored = {name: prior.to_dict() for name, prior in priors.items()}
    specification = replace(specify(design, link, family), priors=stored)
    return fit_tree(design, specification, {"posterior": found.posterior})


@pytest.fixture(scope="module")
def fit(frame: pd.DataFrame) -> xr.DataTree:
    return sampled("y ~ x + (1 | g)", frame)


@pytest.fixture(scope="module")
def left_out(fit: xr.DataTree) -> np.ndarray:
    """log p(y_i | y_-i) of every cluster, by a posterior without it."""
    target = module._target(fit)[0]
    assert target is not None
    rng = np.random.default_rng(5)
    return np.array([module._predictive(target, i, rng) for i in range(12)])


def test_equal_to_refits(fit: xr.DataTree, left_out: np.ndarray) -> None:
    loo = pa.loo_clusters(fit, progress=False)
    assert loo.n_data_points == 12
    assert (loo.pareto_k < loo.good_k).all()
    np.testing.assert_allclose(loo.elpd_i, left_out, atol=0.04)
    assert loo.elpd == pytest.approx(left_out.sum(), abs=0.25)
    within = cluster_log_likelihood(fit, progress=False)
    lppd = np.log(np.exp(within.to_numpy()).mean(axis=(0, 1)))
    assert (np.abs(lppd - left_out) > 0.04).any()  # the statistic sees clusters that weren't


def test_refits_where_weights_fail(
    fit: xr.DataTree, left_out: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = arviz_stats.loo

    def strict(*args: object, **kwargs: object) -> object:
        loo = whole(*args, **kwargs)
        k, elpd = loo.pareto_k.copy(), loo.elpd_i.copy()
        k[[2, 7]], elpd[[2, 7]] = 0.9, 55.0
        loo.pareto_k, loo.elpd_i, loo.warning = k, elpd, True
        return loo

    monkeypatch.setattr(arviz_stats, "loo", strict)
    loo = pa.loo_clusters(fit, progress=False)
    np.testing.assert_allclose(loo.elpd_i, left_out, atol=0.04)
    assert loo.elpd == pytest.approx(left_out.sum(), abs=0.25)
    assert loo.se == pytest.approx(np.sqrt(12 * left_out.var()), rel=0.02)
    assert not loo.warning
    assert (loo.pareto_k < loo.good_k).all()
    with pytest.warns(FitWarning, match=r"for 2 clusters \(.*wasn't drawn from"):
        kept = pa.loo_clusters(fit, refit=False, progress=False)
    assert kept.warning
    unknown = xr.DataTree.from_dict({n: c.to_dataset() for n, c in fit.children.items()})
    without = replace(module.Posterior.from_fit(fit).specification, priors={})
    unknown.attrs["popavg"] = without.to_json()
    with pytest.warns(FitWarning, match="doesn't know its priors"):
        pa.loo_clusters(unknown, progress=False)


def test_compare_takes_it(fit: xr.DataTree, frame: pd.DataFrame) -> None:
    other = sampled("y ~ 1 + (1 | g)", frame)
    loos = {"x": pa.loo_clusters(fit), "none": pa.loo_clusters(other)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        table = arviz_stats.compare(loos)
    assert set(table.index) == {"x", "none"}


def test_several_factors(make_fit: Callable[..., xr.DataTree], frame: pd.DataFrame) -> None:
    with pytest.raises(SpecificationError, match="2 grouping factors"):
        pa.loo_clusters(make_fit("y ~ x + (1 | g) + (1 | r)", frame))
