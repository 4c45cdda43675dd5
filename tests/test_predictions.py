"""Predictions and their averages against naive loops over draws, and against marginaleffects."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from arviz_base import rc_context
from scipy.integrate import quad
from scipy.special import expit, log_expit, logit

from popavg.datasets import load_dataset
from popavg.errors import DataError, EstimandError, SpecificationError
from popavg.posterior_tools import _asked_rows, draw_block
from popavg.posterior_tools.comparisons import avg_comparisons, comparisons
from popavg.posterior_tools.datagrid import datagrid
from popavg.posterior_tools.draw_block import DrawBlock
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.estimates import Estimates
from popavg.posterior_tools.example import load_example
from popavg.posterior_tools.predictions import avg_predictions, predictions
from popavg.posterior_tools.slopes import avg_slopes, slopes
from popavg.posterior_tools.summaries import COLUMNS

pytestmark = pytest.mark.usefixtures("read_once")

MakeFit = Callable[..., xr.DataTree]
TARGETS = ("population", "typical", "sampled", "new")
SEED = 8


@pytest.fixture
def fit(make_fit: MakeFit, frame: pd.DataFrame) -> xr.DataTree:
    return make_fit(
        "y ~ arm * x + visit + (1 | g)",
        frame,
        sd={"g": [1.4]},
        u=True,
        shape=(2, 3),
        extra=("w", "h"),
    )


def naive_mean(fit: xr.DataTree, target: str, row: dict[str, Any]) -> np.ndarray:
    """One row, one draw at a time, from the formula written out."""
    post = fit["posterior"].to_dataset()
    b = {str(t): post["beta"].sel(term=t).to_numpy() for t in post["term"].to_numpy()}
    sds, us = post["sd_g"].to_numpy()[..., 0], post["u_g"].to_numpy()[..., 0]
    out = np.zeros(sds.shape)
    z = np.random.default_rng(SEED).standard_normal(sds.size).reshape(sds.shape)
    placebo = float(row["arm"] == "placebo")
    for i in np.ndindex(out.shape):
        eta = b["Intercept"][i] + b["arm[placebo]"][i] * placebo + b["x"][i] * row["x"]
        eta += b["arm[placebo]:x"][i] * placebo * row["x"] + b["visit"][i] * row["visit"]
        if target == "typical":
            out[i] = expit(eta)
        elif target == "sampled":
            out[i] = np.mean([expit(eta + u) for u in us[i]])
        elif target == "new":
            out[i] = expit(eta + sds[i] * z[i])
        else:
            density = lambda t, eta=eta, sd=sds[i]: (  # noqa: E731
                expit(eta + sd * t) * np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
            )
            out[i] = quad(density, -12, 12, epsabs=1e-13)[0]
    return out


def naive_average(
    fit: xr.DataTree, target: str, rows: pd.DataFrame, weights: np.ndarray
) -> np.ndarray:
    means = [naive_mean(fit, target, row) for row in rows.to_dict("records")]
    return sum(w * m for w, m in zip(weights, means, strict=True)) / weights.sum()


@pytest.mark.parametrize("target", TARGETS)
def test_a_grid_is_the_loop_over_its_cells(
    fit: xr.DataTree, frame: pd.DataFrame, target: str
) -> None:
    curve = predictions(fit, over={"visit": [0, 4]}, by="arm", target=target, seed=SEED)
    table = curve.to_frame(ci_prob=0.9)
    assert list(table.columns) == ["visit", "arm", "x", "target", *COLUMNS]
    assert table["arm"].to_list() == ["active", "active", "placebo", "placebo"]
    assert table["visit"].to_list() == [0, 4, 0, 4]
    assert table["x"].to_list() == pytest.approx([frame["x"].mean()] * 4)
    assert (table["target"] == target).all()
    for i, row in table.iterrows():
        expected = naive_mean(fit, target, row.to_dict())
        np.testing.assert_allclose(curve.draws[:, :, i], expected, rtol=1e-9)
        assert row["estimate"] == pytest.approx(expected.mean(), rel=1e-9)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weights", [None, "w", "cluster", "numbers"])
def test_averages_of_groups_are_the_weighted_double_loop(
    fit: xr.DataTree, frame: pd.DataFrame, target: str, weights: str | None
) -> None:
    """Unequal clusters, so that each cluster counting once isn't each row counting once."""
    rows = frame.iloc[:17]
    numbers = np.linspace(0.0, 2.0, len(rows))
    sizes = rows.groupby(["arm", "g"])["g"].transform("size").to_numpy()
    known = {None: np.ones(17), "w": rows["w"].to_numpy(), "cluster": 1 / sizes}
    by_hand = known.get(weights, numbers)
    given = numbers if weights == "numbers" else weights
    found = avg_predictions(
        fit, newdata=rows, by="arm", target=target, weights=given, seed=SEED, progress=False
    )
    assert found.labels["arm"].to_list() == ["active", "placebo"]
    for i, arm in enumerate(["active", "placebo"]):
        chosen = (rows["arm"] == arm).to_numpy()
        expected = naive_average(fit, target, rows[chosen], by_hand[chosen])
        np.testing.assert_allclose(found.draws[:, :, i], expected, rtol=1e-9)
    counting = {None: "each row counting once", "w": "weighted by w"}
    counting["cluster"] = "each cluster of 'g' counting once"
    counting["numbers"] = "the given numbers"
    assert counting[weights] in repr(found)


@pytest.mark.parametrize("target", TARGETS)
def test_over_sets_and_by_groups(fit: xr.DataTree, frame: pd.DataFrame, target: str) -> None:
    rows = frame.iloc[::4]
    calls: dict[str, Any] = {"over": {"visit": [3, 1]}, "by": "arm", "target": target}
    found = avg_predictions(fit, newdata=rows, seed=SEED, **calls)
    table = found.to_frame()
    assert list(table.columns) == ["visit", "arm", "target", *COLUMNS]
    assert table["visit"].to_list() == [3, 1, 3, 1]
    assert table["arm"].to_list() == ["active", "active", "placebo", "placebo"]
    for i, (arm, visit) in enumerate(product(["active", "placebo"], [3, 1])):
        group = rows[rows["arm"] == arm].assign(visit=visit)
        expected = naive_average(fit, target, group, np.ones(len(group)))
        np.testing.assert_allclose(found.draws[:, :, i], expected, rtol=1e-9)
        low, high = np.quantile(expected, [0.05, 0.95])
        shown = found.to_frame(ci_prob=0.9, ci_kind="eti").iloc[i]
        assert (shown["lower"], shown["upper"]) == pytest.approx((low, high))
    same = predictions(fit, newdata=rows, seed=SEED, **calls)
    np.testing.assert_array_equal(same.draws, found.draws)
    both = avg_predictions(
        fit, newdata=rows, over={"arm": ["placebo"], "visit": [1]}, target=target, seed=SEED
    )
    everyone = rows.assign(arm="placebo", visit=1)
    expected = naive_average(fit, target, everyone, np.ones(len(rows)))
    np.testing.assert_allclose(both.draws[..., 0], expected, rtol=1e-9)
    assert "Averaged over 15 rows of newdata, draw by draw, each row counting once." in both.notes


def test_the_observed_rows_are_averaged_by_default(fit: xr.DataTree, frame: pd.DataFrame) -> None:
    by_name = avg_predictions(fit, newdata="observed", by="arm")
    assert "Averaged over the 60 observed rows, draw by draw" in repr(by_name)
    for other in (avg_predictions(fit, by="arm"), predictions(fit, by="arm")):
        np.testing.assert_array_equal(by_name.draws, other.draws)
    kept = avg_predictions(fit, by="h", weights="w")
    rows = avg_predictions(fit, newdata=frame, by="h", weights=frame["w"])
    np.testing.assert_array_equal(kept.draws, rows.draws)
    whole = avg_predictions(fit)
    np.testing.assert_allclose(whole.draws[..., 0], predictions(fit).draws.mean("row"), rtol=1e-12)
    assert list(whole.labels.columns) == ["target"]


def test_cells_without_rows_are_refused_and_named(fit: xr.DataTree, frame: pd.DataFrame) -> None:
    rows = frame[(frame["arm"] == "active") | (frame["visit"] > 2)]
    words = "3 of 10 cells of by='arm', 'visit' have no rows: 'arm placebo, visit 0'"
    with pytest.raises(DataError, match=words):
        avg_predictions(fit, newdata=rows, by=["arm", "visit"])
    cell = rows["arm"] + rows["visit"].astype(str)
    assert len(avg_predictions(fit, newdata=rows.assign(cell=cell), by="cell")) == 7


def test_each_cluster_counts_once_at_each_visit(fit: xr.DataTree, frame: pd.DataFrame) -> None:
    """Dropout: at a visit with one row for each cluster that is left, the plain mean of these."""
    left = 1 + np.arange(12) % 5
    rows = frame[frame["visit"] < left[frame["g"].str[1:].astype(int)]]
    rows = pd.concat([rows, rows[(rows["visit"] == 0) & (rows["g"] < "c3")]])  # measured twice
    found = avg_predictions(fit, newdata=rows, by="visit", weights="cluster")
    plain = avg_predictions(fit, newdata=rows, by="visit")
    np.testing.assert_allclose(found.draws[..., 1:], plain.draws[..., 1:], rtol=1e-13)
    assert not np.allclose(found.draws[..., 0], plain.draws[..., 0])
    for i, visit in enumerate(found.labels["visit"]):
        per_cluster = []
        for _, own in rows[rows["visit"] == visit].groupby("g"):
            means = [naive_mean(fit, "population", row) for row in own.to_dict("records")]
            per_cluster.append(sum(means) / len(means))
        expected = sum(per_cluster) / len(per_cluster)
        np.testing.assert_allclose(found.draws[:, :, i], expected, rtol=1e-9)
    contrast = avg_comparisons(fit, "arm", newdata=rows, by="visit", weights="cluster")
    same = avg_comparisons(fit, "arm", newdata=rows, by="visit")
    np.testing.assert_allclose(contrast.draws[..., 1:], same.draws[..., 1:], rtol=1e-12)


def test_a_series_of_weights_must_stand_as_the_rows_do(
    fit: xr.DataTree, frame: pd.DataFrame
) -> None:
    turned = frame[::-1]
    by_name = avg_predictions(fit, newdata=turned, weights="w")
    for given in (turned["w"], turned["w"].to_numpy(), turned["w"].to_list()):
        found = avg_predictions(fit, newdata=turned, weights=given)
        np.testing.assert_array_equal(found.draws, by_name.draws)
    for verb in (avg_predictions, avg_comparisons, avg_slopes):
        with pytest.raises(DataError, match="Series whose index isn't that of the rows"):
            verb(fit, newdata=turned, weights=frame["w"])
    with pytest.raises(DataError, match="Series whose index isn't that of the rows"):
        avg_predictions(fit, weights=turned["w"])


def test_averages_are_called_so(fit: xr.DataTree) -> None:
    assert predictions(fit).title == "probability of y"
    titles = {avg_predictions(fit).title, predictions(fit, by="arm").title}
    assert titles == {"average probability of y"}


@pytest.mark.parametrize("name", ["target", "hypothesis", "estimate", "lower"])
def test_names_that_results_use_are_refused_before_anything_is_computed(
    fit: xr.DataTree, frame: pd.DataFrame, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DrawBlock, "predictor", None)
    rows = frame.assign(**{name: 1})
    message = f"the rows have the column '{name}', a name that the results use.*Rename it"
    for verb in (predictions, comparisons, slopes):
        with pytest.raises(DataError, match=message):
            verb(fit, newdata=rows)


def test_without_a_seed_one_cluster_is_drawn_at_each_call(
    fit: xr.DataTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_asked_rows, "MOST_ROWS", 1)
    call: dict[str, Any] = {"target": "new", "scale": "link", "seed": None}
    found = predictions(fit, newdata="observed", over={"visit": [0, 1]}, **call).draws
    slope = fit["posterior"]["beta"].sel(term="visit")
    np.testing.assert_allclose(found[..., 1] - found[..., 0], slope, rtol=1e-10)
    assert not np.allclose(found, predictions(fit, over={"visit": [0, 1]}, **call).draws)
    for seed in ("x", -1, 1.5, [1, 2]):
        for verb in (predictions, avg_comparisons, avg_slopes):
            with pytest.raises(SpecificationError, match=r"seed=.*a whole number from 0.*seed=1"):
                verb(fit, seed=seed)  # ty: ignore[invalid-argument-type]


def test_one_new_cluster_is_shared_by_rows_versions_and_batches(
    fit: xr.DataTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Differences of logits within a draw are those of the coefficients: the u is the same."""
    call: dict[str, Any] = {"over": {"visit": [0, 1, 4]}, "target": "new", "scale": "link"}
    for seed in (3, np.random.default_rng(3)):
        found = predictions(fit, newdata="observed", seed=seed, **call).draws
        slope = fit["posterior"]["beta"].sel(term="visit")
        np.testing.assert_allclose(found[..., 1] - found[..., 0], slope, rtol=1e-10)
        monkeypatch.setattr(_asked_rows, "MOST_ROWS", 1)
    one = predictions(fit, target="new", seed=1).draws
    np.testing.assert_array_equal(one, predictions(fit, target="new", seed=1).draws)
    assert not np.allclose(one, predictions(fit, target="new", seed=2).draws)


def test_rows_of_new_data_keep_their_order_and_columns(fit: xr.DataTree) -> None:
    rows = pd.DataFrame(
        {"visit": [3, 0, 3], "x": [1.0, -1.0, 1.0], "arm": "placebo"}, index=[9] * 3
    )
    estimates = predictions(fit, newdata=rows)
    table = estimates.to_frame()
    assert list(table.columns[:4]) == ["visit", "x", "arm", "target"]
    assert table["visit"].to_list() == [3, 0, 3]
    np.testing.assert_array_equal(estimates.draws[..., 0], estimates.draws[..., 2])
    for i in range(2):
        expected = naive_mean(fit, "population", rows.iloc[i].to_dict())
        np.testing.assert_allclose(estimates.draws[:, :, i], expected, rtol=1e-9)


def test_without_anything_the_observed_rows_are_predicted(
    fit: xr.DataTree, frame: pd.DataFrame
) -> None:
    table = predictions(fit).to_frame()
    assert len(table) == len(frame)
    assert table["g"].to_list() == frame["g"].to_list()
    assert len(predictions(fit, newdata="mean")) == 1


def test_the_mean_grid_has_a_row_for_each_level_of_by(fit: xr.DataTree) -> None:
    rows = predictions(fit, newdata="mean", by="arm")
    assert list(rows.labels.columns) == ["arm", "x", "visit", "target"]
    np.testing.assert_array_equal(rows.draws, predictions(fit, over="arm").draws)
    chosen = predictions(fit, newdata="mean", by={"visit": [2, 0]})
    assert chosen.labels["visit"].to_list() == [2, 0]
    averages = avg_predictions(fit, newdata="mean", by="arm")
    np.testing.assert_allclose(averages.draws, rows.draws, rtol=1e-14)


def test_the_balanced_grid_counts_levels_once(fit: xr.DataTree) -> None:
    found = predictions(fit, newdata="balanced")
    assert found.labels["arm"].to_list() == ["active", "placebo"]
    average = avg_predictions(fit, newdata="balanced").draws[..., 0]
    np.testing.assert_allclose(average, found.draws.mean("row"), rtol=1e-13)


@pytest.mark.parametrize("target", TARGETS)
def test_grids_are_frames(fit: xr.DataTree, frame: pd.DataFrame, target: str) -> None:
    waiting = datagrid(visit=[0, 2], x=np.median)
    frame_now = datagrid(fit, visit=[0, 2], x=np.median)
    assert isinstance(frame_now, pd.DataFrame)
    one, other = (predictions(fit, newdata=n, target=target) for n in (waiting, frame_now))
    np.testing.assert_array_equal(one.draws, other.draws)
    pd.testing.assert_frame_equal(one.labels, other.labels)
    versions = datagrid(visit=[0, 2], grid_type="counterfactual")
    given = avg_predictions(fit, newdata=versions, by="visit", target=target)
    set_over = avg_predictions(fit, over={"visit": [0, 2]}, target=target)
    np.testing.assert_allclose(given.draws, set_over.draws, rtol=1e-12)
    weighted = avg_predictions(fit, newdata=versions, by="visit", weights="cluster")
    assert len(weighted) == 2


def test_chains_and_draws_keep_their_coordinates(fit: xr.DataTree) -> None:
    later = fit.copy()
    later["posterior"] = xr.DataTree(fit["posterior"].to_dataset().assign_coords(draw=[10, 20, 30]))
    for found in (predictions(later, over="visit"), avg_predictions(later, hypothesis="b0 = 0.5")):
        assert found.draws["draw"].to_numpy().tolist() == [10, 20, 30]


def test_level_and_kind_come_from_arviz(fit: xr.DataTree) -> None:
    curve = predictions(fit, over="arm")
    with rc_context({"stats.ci_prob": 0.5, "stats.ci_kind": "hdi"}):
        pd.testing.assert_frame_equal(curve.to_frame(), curve.to_frame(0.5, "hdi"))


@pytest.mark.parametrize("target", TARGETS)
def test_the_order_of_the_rows_does_not_matter(
    make_fit: MakeFit, frame: pd.DataFrame, target: str
) -> None:
    formula = "y ~ arm + x + (1 | h/g)"
    shuffled = frame.sample(frac=1.0, random_state=4)
    one, other = (make_fit(formula, data, u=True) for data in (frame, shuffled))
    calls: list[dict[str, Any]] = [{"over": "arm"}, {"over": "arm", "newdata": "observed"}]
    for call in [*calls, {"by": "arm", "weights": "cluster"}]:
        a, b = (predictions(f, target=target, **call) for f in (one, other))
        np.testing.assert_allclose(a.draws, b.draws, rtol=1e-12)


@pytest.mark.parametrize("target", ["population", "sampled"])
def test_the_size_of_blocks_and_batches_does_not_matter(
    fit: xr.DataTree, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: dict[str, Any] = {"over": "visit", "by": "arm", "newdata": "observed", "target": target}
    whole = [predictions(fit, target=target), predictions(fit, **calls)]
    monkeypatch.setattr(draw_block, "BLOCK", 7)
    monkeypatch.setattr(_asked_rows, "MOST_ROWS", 130)
    parts = [predictions(fit, target=target), predictions(fit, **calls)]
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a.draws, b.draws, rtol=1e-13)


def test_the_reference_level_does_not_matter(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    """The same curve through coefficients of the other coding."""
    data = {
        first: frame.assign(arm=pd.Categorical(frame["arm"], categories=[first, second]))
        for first, second in (("placebo", "active"), ("active", "placebo"))
    }
    one = make_fit("y ~ arm * x + (1 | g)", data["placebo"])
    post = one["posterior"].to_dataset()
    a, b, c, d = (post["beta"].isel(term=i).to_numpy() for i in range(4))
    assert post["term"].to_numpy().tolist() == ["Intercept", "arm[active]", "x", "arm[active]:x"]
    other = make_fit("y ~ arm * x + (1 | g)", data["active"])
    recoded = other["posterior"].to_dataset()
    recoded["beta"] = recoded["beta"].copy(data=np.stack([a + b, -b, c + d, -d], axis=-1))
    recoded["sd_g"] = post["sd_g"]
    other["posterior"] = xr.DataTree(recoded)
    levels = {"arm": ["active", "placebo"]}
    calls: list[dict[str, Any]] = [
        {"over": "x", "by": levels},
        {"over": {"x": [0.3], **levels}, "newdata": "observed"},
    ]
    for call in calls:
        first, second = (predictions(f, **call) for f in (one, other))
        np.testing.assert_allclose(first.draws, second.draws, rtol=1e-12)
    first, second = (avg_predictions(f, by="arm") for f in (one, other))
    assert first.labels["arm"].to_list() == ["placebo", "active"]
    np.testing.assert_allclose(first.draws[..., ::-1], second.draws, rtol=1e-12)


def test_standardising_keeps_the_type_of_every_value(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    """Whole-number levels beside fractional numbers: a row of both must not turn 1 into 1.0."""
    data = frame.assign(level=pd.Categorical(frame["visit"] % 3), flag=frame["x"] > 0)
    fit = make_fit("y ~ level + value + flag + (1 | g)", data)
    numbers = {"level": [0, 1, 2], "value": [0.5]}
    for varying in (numbers, {**numbers, "flag": [True, False]}):
        rows = data.assign(flag=True) if "flag" not in varying else data
        curve = predictions(fit, over=varying, newdata=rows)
        grid = predictions(fit, over={**varying, "flag": varying.get("flag", [True])})
        np.testing.assert_allclose(curve.draws, grid.draws, rtol=1e-12)


def test_a_model_of_trials_predicts_one_trial(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("p(successes, trials) ~ arm + (1 | g)", frame)
    estimates = predictions(fit, over="arm")
    assert ((estimates.draws > 0) & (estimates.draws < 1)).all()
    assert estimates.title == "probability of successes out of trials"
    assert predictions(make_fit("count ~ arm + (1 | g)", frame, "log")).title == "mean of count"


def test_an_offset_is_a_covariate_that_is_held(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("count ~ arm + offset(x) + (1 | g)", frame, "log")
    table = predictions(fit, over="arm").to_frame()
    assert table["x"].to_list() == pytest.approx([frame["x"].mean()] * 2)
    shifted = predictions(fit, over={"x": [0.0, 1.0]}).draws
    np.testing.assert_allclose(shifted[..., 1], np.e * shifted[..., 0], rtol=1e-12)


def test_without_covariates_there_is_one_number(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ 1 + (1 | g)", frame)
    estimates = predictions(fit)
    assert len(estimates) == len(frame)
    assert len(predictions(fit, newdata=frame.iloc[:2])) == 2
    assert len(predictions(fit, newdata="mean")) == len(predictions(fit, newdata="balanced")) == 1
    np.testing.assert_array_equal(estimates.draws[..., 0], estimates.draws[..., 1])


@pytest.mark.parametrize("target", TARGETS)
def test_the_link_scale_is_g_of_the_mean(fit: xr.DataTree, target: str) -> None:
    call: dict[str, Any] = {"over": {"x": [-1.0, 0.5]}, "target": target}
    response, link = (predictions(fit, scale=s, **call) for s in ("response", "link"))
    np.testing.assert_allclose(link.draws, logit(response.draws), rtol=1e-9)
    assert link.title == "logit of the probability of y"


@pytest.mark.parametrize("target", ["typical", "sampled", "new"])
def test_the_link_scale_stays_exact_where_the_mean_is_1_to_the_last_digit(
    make_fit: MakeFit, frame: pd.DataFrame, target: str
) -> None:
    fit = make_fit("y ~ x + (1 | g)", frame, beta=[0.0, 1.0], spread=0.0, u=True, shape=(1, 4))
    far = predictions(fit, newdata=pd.DataFrame({"x": [-60.0, 60.0]}), target=target, scale="link")
    u = fit["posterior"]["u_g"].to_numpy()[..., 0]
    z = np.random.default_rng(0).standard_normal((4, 1)).reshape(1, 4)
    for i, x in enumerate([-60.0, 60.0]):
        if target == "sampled":
            logs = log_expit(x + u), log_expit(-x - u)
            mean, rest = (np.log(np.mean(np.exp(part - part.max()), axis=-1)) for part in logs)
            expected = mean + logs[0].max() - rest - logs[1].max()
        else:
            expected = np.full((1, 4), x) + (z if target == "new" else 0.0)
        np.testing.assert_allclose(far.draws[..., i], expected, rtol=1e-12)


def test_the_link_scale_of_the_population_in_the_tails(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    """Far out, E expit(η + σZ) ≈ exp(η + σ²/2), so that its logit is η + σ²/2."""
    fit = make_fit("y ~ x + (1 | g)", frame, beta=[0.0, 1.0], spread=0.0, shape=(1, 2))
    far = predictions(fit, newdata=pd.DataFrame({"x": [-60.0, 60.0]}), scale="link")
    np.testing.assert_allclose(far.draws[0, 0], [-59.5, 59.5], rtol=1e-12)


def test_draws_on_dask_stay_there(fit: xr.DataTree) -> None:
    lazy = fit.copy()
    lazy["posterior"] = xr.DataTree(fit["posterior"].to_dataset().chunk({"chain": 1, "draw": 2}))
    calls: list[dict[str, Any]] = [
        {},
        {"over": "visit", "by": "arm"},
        {"over": "visit", "by": "arm", "newdata": "observed", "hypothesis": "pairwise"},
        {"by": "arm", "hypothesis": "b1 / b0 = 1", "weights": "cluster"},
        {"by": "arm", "target": "new", "hypothesis": [1.0, -1.0]},
        {"by": "arm", "target": "sampled", "hypothesis": "ratio ~ reference"},
    ]
    for call in calls:
        found, expected = predictions(lazy, **call), predictions(fit, **call)
        assert found.is_lazy
        assert not found.compute().is_lazy
        np.testing.assert_allclose(found.compute().draws, expected.draws, rtol=1e-13)
        pd.testing.assert_frame_equal(found.labels, expected.labels)


def test_the_example_says_what_it_is() -> None:
    text = repr(predictions(load_example(), over={"time": [0, 6]}, target="typical"))
    assert "target 'typical': a typical cluster (random effects at zero)" in text
    with pytest.raises(EstimandError, match="no draws 'u_patient'"):
        predictions(load_example(), target="sampled")


def test_errors(fit: xr.DataTree, frame: pd.DataFrame) -> None:
    with pytest.raises(SpecificationError, match=r"target='popuation' is unknown.*'population'"):
        predictions(fit, target="popuation")  # ty: ignore[invalid-argument-type]
    with pytest.raises(SpecificationError, match="scale='log' is unknown"):
        predictions(fit, scale="log")  # ty: ignore[invalid-argument-type]
    with pytest.raises(SpecificationError, match="'vist' isn't a covariate"):
        predictions(fit, over="vist")
    with pytest.raises(SpecificationError, match=r"by='amr' isn't a column.*mean 'arm'"):
        predictions(fit, by="amr")
    with pytest.raises(SpecificationError, match=r"by='r' isn't a column.*keep=\['r'\]"):
        avg_predictions(fit, by="r")
    for newdata in (None, "observed"):
        with pytest.raises(SpecificationError, match="'arm' is in 'over' and in 'by'"):
            predictions(fit, over="arm", by="arm", newdata=newdata)
    with pytest.raises(SpecificationError, match=r"by= with values.*with over="):
        avg_predictions(fit, by={"arm": ["active"]})
    with pytest.raises(SpecificationError, match="newdata='median'"):
        predictions(fit, newdata="median")  # ty: ignore[invalid-argument-type]
    with pytest.raises(DataError, match="newdata has no rows"):
        predictions(fit, newdata=frame.iloc[:0])
    with pytest.raises(DataError, match=r"'arm' has the level 'surgery'.*hasn't seen"):
        predictions(fit, newdata=frame.assign(arm="surgery"))
    with pytest.raises(DataError, match=r"'arm' has the level 'plcebo'.*Did you mean 'placebo'\?"):
        predictions(fit, newdata=frame.assign(arm="plcebo"))
    with pytest.raises(DataError, match=r"'arm' has no level 'surgery' in the fit"):
        predictions(fit, over={"arm": ["surgery"]})
    with pytest.raises(DataError, match="the new rows lack the column 'x'"):
        predictions(fit, newdata=frame.drop(columns="x"))
    with pytest.raises(DataError, match=r"column 'target'.*Rename it"):
        predictions(fit, newdata=frame.assign(target=1))
    with pytest.raises(DataError, match="column 'estimate', a name that the results use"):
        predictions(fit, newdata=frame.assign(estimate=1))
    with pytest.raises(SpecificationError, match="isn't a fit made by popavg"):
        predictions(frame)  # ty: ignore[invalid-argument-type]


def test_weights_need_an_average(fit: xr.DataTree) -> None:
    for call in ({}, {"over": "visit"}, {"newdata": "mean"}):
        with pytest.raises(SpecificationError, match="weights for rows that aren't averaged"):
            predictions(fit, weights="cluster", **call)


@pytest.fixture(scope="module")
def known(reference: Path) -> dict[str, Any]:
    return json.loads((reference / "marginaleffects.json").read_text())


@pytest.fixture(scope="module")
def plain(known: dict[str, Any], make_fit: MakeFit) -> xr.DataTree:
    """A model without clusters, all draws at the maximum-likelihood estimate."""
    terms = ("Intercept", "trt[T.drug]", "trt[T.drug+]", "week", "trt[T.drug]:week")
    order = [*terms, "trt[T.drug+]:week", "hilo[T.high]"]
    fit = make_fit(
        known["formula"],
        load_dataset("bacteria"),
        beta=[known["beta"][term] for term in order],
        spread=0.0,
        shape=(1, 4),
        extra=("wv",),
    )
    terms_here = fit["posterior"]["term"].to_numpy().tolist()
    assert [name.replace("[", "[T.") for name in terms_here] == order
    return fit


def as_here(kwargs: dict[str, Any]) -> dict[str, Any]:
    """A call of marginaleffects in this package's words: ``variables`` is ``over``."""
    given = dict(kwargs)
    if isinstance(given.get("newdata"), dict):
        given["newdata"] = datagrid(**given["newdata"])
    if "variables" in given:
        given["over"] = given.pop("variables")
        by = [given["by"]] if isinstance(given["by"], str) else given["by"]
        given["by"] = [name for name in by if name not in given["over"]]
    if "wts" in given:
        given["weights"] = given.pop("wts")
    return given


def in_order(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Rows sorted by what names them, levels as text."""
    text = {name: table[name].astype(str) for name in columns if name != "week"}
    return table.assign(**text).sort_values(columns) if columns else table


def test_all_calls_of_marginaleffects_are_reproduced(
    known: dict[str, Any], plain: xr.DataTree
) -> None:
    verbs = {"predictions": predictions, "avg_predictions": avg_predictions}
    assert known["versions"]["marginaleffects"] == "0.6.0"
    assert len(known["calls"]) > 20
    for name, call in known["calls"].items():
        if name == "by two columns":  # marginaleffects leaves empty cells out; we refuse them
            continue
        found = verbs[call["function"]](plain, **as_here(call["kwargs"])).to_frame()
        expected = pd.DataFrame(call["found"])
        shared = [c for c in ("trt", "week", "hilo") if c in expected and c in found]
        ours, theirs = ((t if name == "rows" else in_order(t, shared)) for t in (found, expected))
        for column in shared:
            assert ours[column].to_list() == pytest.approx(theirs[column].to_list()), name
        np.testing.assert_allclose(
            ours["estimate"], theirs["estimate"], rtol=1e-9, atol=1e-12, err_msg=name
        )


def test_cells_that_occur_are_those_of_marginaleffects(
    known: dict[str, Any], plain: xr.DataTree
) -> None:
    """The drugs' names tell the compliance apart already: 2 of 6 cells are empty."""
    call = known["calls"]["by two columns"]
    with pytest.raises(DataError, match="2 of 6 cells of by='trt', 'hilo' have no rows"):
        avg_predictions(plain, **as_here(call["kwargs"]))
    rows = Posterior.from_fit(plain).design.frame
    cell = rows["trt"].astype(str) + ", " + rows["hilo"].astype(str)
    found = avg_predictions(plain, newdata=rows.assign(cell=cell), by="cell").to_frame()
    expected = {f"{c['trt']}, {c['hilo']}": c["estimate"] for c in call["found"]}
    assert dict(zip(found["cell"], found["estimate"], strict=True)) == pytest.approx(expected)


def test_groups_of_rows_are_not_predictions_for_their_clusters(fit: xr.DataTree) -> None:
    found = avg_predictions(fit, by="g", target="sampled")
    assert any("'g' only groups the rows" in note for note in found.notes)
    assert not any("only groups" in note for note in avg_predictions(fit, by="arm").notes)


def extrapolated(estimates: Estimates) -> list[str]:
    return [note for note in estimates.notes if note.startswith("Extrapolated")]


def test_what_lies_beyond_the_data_is_said(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ arm + x + visit + (1 | g)", frame)
    low, high = frame["x"].min(), frame["x"].max()
    (note,) = extrapolated(predictions(fit, over={"x": [low, high + 1]}))
    assert note == (
        f"Extrapolated: 'x' goes from {low:.4g} to {high + 1:.4g}, in the data of the fit from "
        f"{low:.4g} to {high:.4g}."
    )
    for found in (
        predictions(fit, newdata=datagrid(x=high + 1)),
        avg_predictions(fit, over={"x": [low - 1]}),
        predictions(fit, newdata=frame.assign(x=high + 1)),
        predictions(fit, newdata="mean", by={"x": [high + 1]}),
    ):
        assert len(extrapolated(found)) == 1
    both = predictions(fit, newdata=datagrid(x=high + 1, visit=-1))
    assert "'x' goes to" in extrapolated(both)[0]
    assert "; 'visit' goes to -1, in the data of the fit from 0 to 4." in extrapolated(both)[0]


def test_what_lies_within_the_data_needs_no_word(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ arm + x + C(visit) + (1 | g)", frame)
    low, high = frame["x"].min(), frame["x"].max()
    for found in (
        predictions(fit),
        predictions(fit, over="x"),
        predictions(fit, over={"x": [low, high]}, by="arm"),
        avg_predictions(fit, newdata=frame.assign(x=high + 1), over={"x": [low]}),
        predictions(fit, newdata=datagrid(x=high * (1 + 1e-12), visit=4)),
    ):
        assert not extrapolated(found)
