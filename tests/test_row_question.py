"""Means, averages and contrasts of rows against loops over the rows."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.sparse import csr_array

import popavg as pa
from popavg.design import DesignMatrices
from popavg.errors import DataError, EstimandError
from popavg.posterior_tools import draw_block
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.evaluation import evaluate
from popavg.posterior_tools.row_question import RowQuestion, ask_rows
from popavg.posterior_tools.targets import SCALES, TARGETS, Scale, Target, TargetMean

MakeFit = Callable[..., xr.DataTree]


@pytest.fixture
def posterior(make_fit: MakeFit, frame: pd.DataFrame) -> Posterior:
    return Posterior.from_fit(make_fit("y ~ arm + visit + (1 + visit | g)", frame, u=True))


def versions(posterior: Posterior) -> list[DesignMatrices]:
    frame = posterior.design.frame
    return [posterior.design.evaluate(frame.assign(arm=arm)) for arm in ("placebo", "active")]


def averaging(n_rows: int, seed: int = 3) -> csr_array:
    """Three cells of unequal weights; the columns of a row aren't in order."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(n_rows)
    weights = rng.uniform(0.5, 2.0, n_rows)
    codes = np.arange(n_rows) % 3
    total = np.bincount(codes, weights)
    return csr_array((weights / total[codes], (codes, order)), shape=(3, n_rows))


def subtract(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    return high - low


def together(*arms: np.ndarray) -> np.ndarray:
    return np.sum([k * arm for k, arm in enumerate(arms, 1)], axis=0)


def answers(posterior: Posterior, question: RowQuestion) -> np.ndarray:
    return evaluate(posterior, question, seed=4).to_numpy().reshape(posterior.n_draws, -1)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("scale", SCALES)
def test_rows_averages_and_contrasts_are_loops(
    posterior: Posterior, target: Target, scale: Scale
) -> None:
    mean = TargetMean.build(posterior, target, scale)
    block = posterior.block(needs=mean.needs, seed=4)
    designs = versions(posterior)
    high, low = (mean.values(block, design) for design in designs)
    matrix = averaging(designs[0].n_rows)
    np.testing.assert_allclose(answers(posterior, ask_rows(mean, designs[:1])), high, rtol=1e-13)
    rows = answers(posterior, ask_rows(mean, designs, combine=subtract))
    np.testing.assert_allclose(rows, high - low, rtol=1e-10, atol=1e-13)
    found = answers(posterior, ask_rows(mean, designs, averaging=matrix, combine=subtract))
    dense = matrix.toarray()
    for draw, cell in np.ndindex(found.shape):
        expected = sum(
            dense[cell, row] * (high[draw, row] - low[draw, row]) for row in range(len(high[0]))
        )
        assert found[draw, cell] == pytest.approx(expected, rel=1e-10, abs=1e-13)


def test_every_version_is_averaged_with_the_same_unchanged_weights(posterior: Posterior) -> None:
    """Collapsing repeated rows works in place; the caller's matrix must not feel it."""
    designs = versions(posterior)
    matrix = averaging(designs[0].n_rows)
    before = matrix.toarray()
    mean = TargetMean.build(posterior, "typical")
    same = ask_rows(mean, [designs[0]] * 3, averaging=matrix, combine=together)
    np.testing.assert_array_equal(matrix.toarray(), before)
    once = answers(posterior, ask_rows(mean, designs[:1], averaging=matrix))
    np.testing.assert_allclose(answers(posterior, same), 6.0 * once, rtol=1e-13)
    for arm in same.arms:
        assert arm.averaging is not None
        np.testing.assert_allclose(arm.averaging.sum(axis=1), 1.0, rtol=1e-14)


def test_rows_that_repeat_are_computed_once(posterior: Posterior) -> None:
    designs = versions(posterior)
    question = ask_rows(TargetMean.build(posterior, "population"), designs)
    assert question.matrices.n_rows == 10  # two arms × five visits, of 2 × 60 rows
    assert question.n_estimands == 60
    assert question.cells == 60
    assert question.needs == ()
    sampled = ask_rows(TargetMean.build(posterior, "sampled"), designs)
    assert sampled.needs == ("effects",)


def test_complements_are_accurate_where_means_round_to_1(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    fit = make_fit("y ~ arm + (1 | g)", frame, beta=[45.0, 1.0], spread=0.0)
    posterior = Posterior.from_fit(fit)
    mean = TargetMean.build(posterior, "typical", "link")
    design = posterior.design.matrices
    matrix = csr_array(np.full((1, design.n_rows), 1.0 / design.n_rows))
    seen: list[tuple[np.ndarray, ...]] = []

    def keep(*parts: np.ndarray) -> np.ndarray:
        seen.append(parts)
        return parts[-1]

    question = ask_rows(mean, [design, design], averaging=matrix, combine=keep, complements=True)
    found = answers(posterior, question)
    expected = 0.5 * (np.exp(-45.0) + np.exp(-46.0))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert {len(parts) for parts in seen} == {4}
    np.testing.assert_allclose(seen[0][0], 1.0, rtol=1e-15)
    assert question.cells == 4  # two distinct rows, mean and complement


def test_slopes_and_relative_slopes_are_averaged_like_means(posterior: Posterior) -> None:
    design, frame = posterior.design, posterior.design.frame
    matrices, tangent = design.matrices, design.derivative(frame, "visit")
    mean = TargetMean.build(posterior, "population")
    block = posterior.block()
    slopes, means = mean.slopes(block, matrices, tangent), mean.values(block, matrices)
    matrix = averaging(matrices.n_rows)
    for relative, expected in ((False, slopes), (True, slopes / means)):
        asked = ask_rows(mean, [matrices], averaging=matrix, tangent=tangent, relative=relative)
        np.testing.assert_allclose(
            answers(posterior, asked), expected @ matrix.toarray().T, rtol=1e-10
        )


def test_relative_slopes_of_means_that_are_not_positive(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    fit = make_fit("value ~ visit + (1 | g)", frame, "identity", beta=[-0.5, 1.0], spread=0.0)
    posterior = Posterior.from_fit(fit)
    tangent = posterior.design.derivative(posterior.design.frame, "visit")
    mean = TargetMean.build(posterior, "typical")
    question = ask_rows(mean, [posterior.design.matrices], tangent=tangent, relative=True)
    with pytest.raises(EstimandError, match="isn't above 0 in some draws, at 1 of 5 distinct"):
        question(posterior.block())


def test_a_combination_may_answer_several_times_about_each_cell(posterior: Posterior) -> None:
    def twice(high: np.ndarray, low: np.ndarray) -> np.ndarray:
        return np.hstack([high - low, low])

    designs = versions(posterior)
    mean = TargetMean.build(posterior, "typical")
    matrix = averaging(designs[0].n_rows)
    question = ask_rows(mean, designs, averaging=matrix, combine=twice, per_cell=2)
    assert question.n_estimands == 6
    found = answers(posterior, question)
    low = answers(posterior, ask_rows(mean, designs[1:], averaging=matrix))
    np.testing.assert_allclose(found[:, 3:], low, rtol=1e-13)


@pytest.mark.parametrize("target", TARGETS)
def test_blocks_and_pickling_change_nothing(
    posterior: Posterior, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    designs = versions(posterior)
    mean = TargetMean.build(posterior, target)
    matrix = averaging(designs[0].n_rows)
    question = ask_rows(mean, designs, averaging=matrix, combine=subtract)
    whole = answers(posterior, question)
    again = answers(posterior, pickle.loads(pickle.dumps(question)))
    np.testing.assert_array_equal(again, whole)
    monkeypatch.setattr(draw_block, "BLOCK", 20)
    np.testing.assert_allclose(answers(posterior, question), whole, rtol=1e-12, atol=1e-15)


@pytest.mark.filterwarnings("error")
def test_a_contrast_with_an_infinite_mean_is_not_zero(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    """1 / inf is 0: finite, and wrong."""
    fit = make_fit("count ~ visit + (1 | g)", frame, "log", beta=[0.0, -1.0], spread=0.0)
    low_is_infinite = {"visit": [-1e3, 0]}
    for comparison in ("ratio", "difference", "lnratio", lambda high, low: high / low):
        with pytest.raises((DataError, EstimandError)):
            pa.avg_comparisons(fit, low_is_infinite, comparison=comparison)
