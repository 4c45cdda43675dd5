"""Blocks of draws as plain arrays: views, pieces, variances and their slopes."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from popavg.design import DesignMatrices
from popavg.grouping import GroupDesign
from popavg.links import get_link
from popavg.posterior_tools import draw_block
from popavg.posterior_tools.draw_block import DrawBlock
from popavg.posterior_tools.draws import Posterior

MakeFit = Callable[..., xr.DataTree]
RHO = np.array([[1.0, -0.6], [-0.6, 1.0]])


@pytest.fixture
def posterior(make_fit: MakeFit, frame: pd.DataFrame) -> Posterior:
    fit = make_fit("y ~ x + (1 + x | g) + (1 | r)", frame, corr={"g": RHO}, u=True)
    return Posterior.from_fit(fit)


@given(st.integers(0, 10_000), st.integers(1, 50))
def test_pieces_cover_every_draw_once(cells: int, n_draws: int) -> None:
    block = DrawBlock(get_link("logit"), np.arange(float(n_draws))[:, None])
    old = draw_block.BLOCK
    try:
        draw_block.BLOCK = 7
        pieces = list(block.pieces(cells))
    finally:
        draw_block.BLOCK = old
    np.testing.assert_array_equal(np.concatenate([p.beta for p in pieces]), block.beta)
    assert all(p.n_draws * cells <= 7 or p.n_draws == 1 for p in pieces)


def test_taking_draws_takes_all_that_belongs_to_them(posterior: Posterior) -> None:
    whole = posterior.block(needs=["effects", "new"], seed=3)
    part = whole.take(slice(2, 5))
    again = posterior.block(slice(2, 5), needs=["effects", "new"], seed=3)
    np.testing.assert_array_equal(part.beta, again.beta)
    for name in ("roots", "effects", "new"):
        for group in ("g", "r"):
            np.testing.assert_array_equal(getattr(part, name)[group], getattr(again, name)[group])
    assert np.shares_memory(part.beta, whole.beta)


def test_a_block_goes_to_another_process(posterior: Posterior) -> None:
    block = posterior.block(needs=["effects"])
    back = pickle.loads(pickle.dumps(block))
    np.testing.assert_array_equal(back.effects["g"], block.effects["g"])
    assert back.link.name == "logit"


def test_nothing_is_read_that_nobody_asked_for(posterior: Posterior) -> None:
    block = posterior.block()
    assert not block.effects
    assert not block.new


def test_variance_slope_is_the_limit_of_differences(posterior: Posterior) -> None:
    x, h = np.linspace(-2, 2, 5), 1e-5
    rows, up, down = (
        posterior.design.evaluate(pd.DataFrame({"x": x + step})) for step in (0.0, h, -h)
    )
    groups = tuple(
        GroupDesign(g.name, g.effects, g.levels, g.index, (u.Z - d.Z) / (2 * h), g.blocks)
        for g, u, d in zip(rows.groups, up.groups, down.groups, strict=True)
    )
    tangent = DesignMatrices(rows.terms, (up.X - down.X) / (2 * h), np.zeros(5), groups)
    block = posterior.block()
    expected = (block.variance(up) - block.variance(down)) / (2 * h)
    np.testing.assert_allclose(block.variance_slope(rows, tangent), expected, rtol=1e-8, atol=1e-9)


def test_intercepts_alone_have_a_variance_without_slope(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    posterior = Posterior.from_fit(make_fit("y ~ x + (1 | g)", frame))
    rows = posterior.design.matrices
    flat = DesignMatrices(
        rows.terms,
        rows.X,
        rows.offset,
        tuple(
            GroupDesign(g.name, g.effects, g.levels, g.index, np.zeros_like(g.Z), g.blocks)
            for g in rows.groups
        ),
    )
    slope = posterior.block().variance_slope(rows, flat)
    assert slope.shape == (12, 1)
    assert not slope.any()
