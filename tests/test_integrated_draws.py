"""Draws of a fit in blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import popavg.posterior_tools.integrated_draws as module
from popavg.errors import SpecificationError
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.integrated_draws import IntegratedDraws


def test_blocks_are_all_draws(
    make_fit: Callable[..., xr.DataTree], frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    corr = {"g": [[1, 0.4], [0.4, 1]]}
    posterior = Posterior.from_fit(make_fit("y ~ x + (1 + x | g)", frame, corr=corr))
    draws = IntegratedDraws.read(posterior)
    monkeypatch.setattr(module, "_MOST_AT_ONCE", 5)
    blocks = list(draws.blocks("", progress=False))
    assert [len(eta) for _, eta, _, _ in blocks] == [5, 5, 2]
    eta = np.concatenate([eta for _, eta, _, _ in blocks])
    np.testing.assert_array_equal(eta, draws.integrated.predictor(posterior.beta))
    covariance = np.concatenate([root @ root.mT for _, _, root, _ in blocks])
    np.testing.assert_allclose(covariance, posterior.covariance("g"), rtol=1e-12)


def test_added_by_hand(make_fit: Callable[..., xr.DataTree], frame: pd.DataFrame) -> None:
    posterior = Posterior.from_fit(make_fit("y ~ x + (1 | g)", frame))
    specification = replace(posterior.specification, sampler={"added_by_user": ["extra"]})
    with pytest.raises(SpecificationError, match=r"added by hand \(extra\)"):
        IntegratedDraws.read(replace(posterior, specification=specification))


@pytest.mark.parametrize(("effects", "words"), [(True, "'u_g'.* already"), (False, "latent")])
def test_what_to_do_with_two_factors(
    effects: bool, words: str, make_fit: Callable[..., xr.DataTree], frame: pd.DataFrame
) -> None:
    posterior = Posterior.from_fit(make_fit("y ~ x + (1 | g) + (1 | r)", frame, u=effects))
    with pytest.raises(SpecificationError, match=words):
        IntegratedDraws.read(posterior)
