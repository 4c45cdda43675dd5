"""Questions to draws: blocks, dask, interruption, answers that aren't finite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import popavg as pa
from popavg.errors import DataError, PopavgError
from popavg.posterior_tools import draw_block
from popavg.posterior_tools.draw_block import DrawBlock
from popavg.posterior_tools.draws import Need, Posterior
from popavg.posterior_tools.evaluation import evaluate
from popavg.posterior_tools.row_question import ask_rows
from popavg.posterior_tools.targets import TARGETS, Target, TargetMean

MakeFit = Callable[..., xr.DataTree]
RHO = np.array([[1.0, 0.4], [0.4, 1.0]])


@dataclass(frozen=True)
class First:
    """The first coefficient, or what ``change`` makes of it."""

    change: Callable[[np.ndarray], np.ndarray] = np.asarray
    n_estimands: int = 1
    cells: int = 1
    needs: tuple[Need, ...] = ()

    def __call__(self, block: DrawBlock) -> np.ndarray:
        return np.asarray(self.change(block.beta[:, :1]))


@pytest.fixture
def fit(make_fit: MakeFit, frame: pd.DataFrame) -> xr.DataTree:
    formula = "y ~ x + arm + (1 + x | g) + (1 | r)"
    return make_fit(formula, frame, corr={"g": RHO}, u=True, shape=(3, 40))


def chunked(fit: xr.DataTree, **chunks: int) -> xr.DataTree:
    lazy = fit.copy()
    lazy["posterior"] = xr.DataTree(fit["posterior"].to_dataset().chunk(chunks))
    return lazy


def answers(fit: xr.DataTree, target: Target) -> xr.DataArray:
    posterior = Posterior.from_fit(fit)
    mean = TargetMean.build(posterior, target)
    return evaluate(posterior, ask_rows(mean, [posterior.design.matrices]), seed=5)


def test_answers_carry_chains_draws_and_labels(fit: xr.DataTree) -> None:
    found = evaluate(Posterior.from_fit(fit), First(), dim="term", labels=["a"], name="first")
    assert found.dims == ("chain", "draw", "term")
    assert found.name == "first"
    assert found["term"].to_numpy().tolist() == ["a"]
    np.testing.assert_array_equal(found[..., 0], fit["posterior"]["beta"][..., 0])
    np.testing.assert_array_equal(found["draw"], fit["posterior"]["draw"])


@pytest.mark.parametrize("target", TARGETS)
def test_blocks_do_not_change_the_answers(
    fit: xr.DataTree, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = answers(fit, target)
    monkeypatch.setattr(draw_block, "BLOCK", 300)
    np.testing.assert_allclose(answers(fit, target), whole, rtol=1e-13)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("chunks", [{"chain": 1, "draw": 17}, {"chain": 2, "draw": 40, "g": 5}])
def test_dask_gives_the_same_answers_block_by_block(
    fit: xr.DataTree, target: Target, chunks: dict[str, int]
) -> None:
    lazy = answers(chunked(fit, **chunks), target)
    assert lazy.chunks is not None
    assert lazy.chunks[0][0] == chunks["chain"]
    assert lazy.chunks[1][0] == chunks["draw"]
    np.testing.assert_allclose(lazy.compute(), answers(fit, target), rtol=1e-13)


def test_a_zarr_store_is_read_block_by_block(fit: xr.DataTree, tmp_path: Path) -> None:
    fit["posterior"].to_dataset().chunk(draw=10).to_zarr(
        tmp_path / "draws.zarr", consolidated=False
    )
    lazy = fit.copy()
    lazy["posterior"] = xr.DataTree(xr.open_zarr(tmp_path / "draws.zarr", consolidated=False))
    found = answers(lazy, "population")
    assert len(found.chunks[1]) == 4
    np.testing.assert_allclose(found.compute(), answers(fit, "population"), rtol=1e-13)


def test_lazy_draws_are_checked_where_they_are_read(fit: xr.DataTree) -> None:
    broken = fit.copy()
    data = fit["posterior"].to_dataset().copy(deep=True)
    data["sd_g"][1, 7, 0] = np.nan
    broken["posterior"] = xr.DataTree(data)
    with pytest.raises(DataError, match="1 of 120 draws of 'sd_g' are NaN or infinite"):
        Posterior.from_fit(broken)
    lazy = answers(chunked(broken, chain=1, draw=20), "population")
    words = (
        r"1 of 20 draws of 'sd_g' in the block that begins at chain 1, draw 0, are NaN or "
        r"infinite, first chain 1, draw 7"
    )
    with pytest.raises(DataError, match=words):
        lazy.compute()


@pytest.mark.parametrize("name", ["sd_g", "corr_g"])
def test_impossible_lazy_draws(fit: xr.DataTree, name: str) -> None:
    data = fit["posterior"].to_dataset().copy(deep=True)
    data[name][2, 3] = -1.0
    broken = fit.copy()
    broken["posterior"] = xr.DataTree(data)
    lazy = answers(chunked(broken, chain=1, draw=20), "population")
    with pytest.raises(DataError, match=f"1 of 20 draws of '{name}'"):
        lazy.compute()


def test_answers_that_are_not_finite_are_refused_and_counted(fit: xr.DataTree) -> None:
    last = fit["posterior"]["beta"].to_numpy()[2, 37:, 0]
    question = First(lambda beta: np.where(np.isin(beta, last), np.inf, beta))
    with pytest.raises(DataError, match=r"no finite answer, first chain 2, draw 37\."):
        evaluate(Posterior.from_fit(fit), question)
    found = evaluate(Posterior.from_fit(fit), question, finite=False)
    assert int(np.isinf(found).sum()) == 3


def test_effects_on_dask_that_nobody_asks_for_are_not_read(fit: xr.DataTree) -> None:
    mixed = fit.copy()
    data = fit["posterior"].to_dataset()
    mixed["posterior"] = xr.DataTree(data.assign(u_g=data["u_g"].chunk(draw=10)))
    found = answers(mixed, "population")
    assert found.chunks is None
    np.testing.assert_array_equal(found, answers(fit, "population"))
    assert answers(mixed, "sampled").chunks is not None


def test_draws_come_in_pieces_that_a_bar_can_count(fit: xr.DataTree) -> None:
    sizes: list[int] = []

    def note(beta: np.ndarray) -> np.ndarray:
        sizes.append(len(beta))
        return beta

    evaluate(Posterior.from_fit(fit), First(note))
    assert sizes == [4] * 30


def test_an_interruption_comes_through(fit: xr.DataTree) -> None:
    def stop(beta: np.ndarray) -> np.ndarray:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(Posterior.from_fit(fit), First(stop))


def test_what_overflows_is_refused_without_a_warning(fit: xr.DataTree) -> None:
    def overflow(beta: np.ndarray) -> np.ndarray:
        return np.exp(1e4 * np.abs(beta)) ** 2

    posterior = Posterior.from_fit(fit)
    with pytest.raises(DataError, match="draws looked at together have no finite answer"):
        evaluate(posterior, First(overflow))
    assert np.isinf(evaluate(posterior, First(overflow), finite=False)).any()


@pytest.mark.parametrize("name", ["beta", "sd_g"])
@pytest.mark.parametrize("size", [1e3, 1e200])
def test_verbs_refuse_overflow_under_the_log_link(
    make_fit: MakeFit, frame: pd.DataFrame, name: str, size: float
) -> None:
    fit = make_fit("count ~ x + (1 + x | g)", frame, "log", corr={"g": RHO})
    data = fit["posterior"].to_dataset()
    data[name] = data[name].where(data["draw"] != 2, size)
    fit["posterior"] = xr.DataTree(data)
    for verb in (
        pa.avg_predictions,
        pa.avg_comparisons,
        lambda fit: pa.avg_comparisons(fit, "x", comparison="ratio"),
        pa.avg_slopes,
        lambda fit: pa.avg_slopes(fit, "x", slope="eyex"),
        lambda fit: pa.heterogeneity(fit, "x"),
    ):
        with pytest.raises(PopavgError):
            verb(fit)
