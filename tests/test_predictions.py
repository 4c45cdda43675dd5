"""Curves and standardised means against naive loops over the draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from arviz_base import rc_context
from scipy.integrate import quad
from scipy.special import expit

from popavg.errors import DataError, EstimandError, SpecificationError
from popavg.posterior_tools import draws
from popavg.posterior_tools.example import load_example
from popavg.posterior_tools.predictions import predictions
from popavg.posterior_tools.summaries import COLUMNS

MakeFit = Callable[..., xr.DataTree]


@pytest.fixture
def fit(make_fit: MakeFit, frame: pd.DataFrame) -> xr.DataTree:
    return make_fit("y ~ arm * x + visit + (1 | g)", frame, sd={"g": [1.4]}, u=True, shape=(2, 3))


def naive_mean(fit: xr.DataTree, target: str, row: dict[str, object]) -> np.ndarray:
    """One row, one draw at a time, from the formula written out."""
    post = fit["posterior"].to_dataset()
    out = np.zeros((post.sizes["chain"], post.sizes["draw"]))
    for chain, draw in np.ndindex(out.shape):
        one = post.isel(chain=chain, draw=draw)
        beta = {str(term): float(one["beta"].sel(term=term)) for term in post["term"].to_numpy()}
        placebo = float(row["arm"] == "placebo")
        eta = beta["Intercept"] + beta["arm[placebo]"] * placebo + beta["x"] * row["x"]
        eta += beta["arm[placebo]:x"] * placebo * row["x"] + beta["visit"] * row["visit"]
        sd = float(one["sd_g"].sel(effect_g="Intercept"))
        if target == "typical":
            out[chain, draw] = expit(eta)
        elif target == "sampled":
            out[chain, draw] = np.mean([expit(eta + u) for u in one["u_g"].to_numpy().ravel()])
        else:
            density = lambda z, eta=eta, sd=sd: (  # noqa: E731
                expit(eta + sd * z) * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
            )
            out[chain, draw] = quad(density, -12, 12, epsabs=1e-13)[0]
    return out


@pytest.mark.parametrize("target", ["population", "typical", "sampled"])
def test_a_grid_is_the_loop_over_its_cells(
    fit: xr.DataTree, frame: pd.DataFrame, target: str
) -> None:
    curve = predictions(fit, over={"visit": [0, 4]}, by="arm", target=target)
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


@pytest.mark.parametrize("target", ["population", "typical", "sampled"])
def test_standardised_means_are_averaged_draw_by_draw(
    fit: xr.DataTree, frame: pd.DataFrame, target: str
) -> None:
    curve = predictions(
        fit, over={"visit": [1]}, by="arm", newdata=frame[["x", "visit", "arm"]], target=target
    )
    observed = predictions(fit, over={"visit": [1]}, by="arm", newdata="observed", target=target)
    np.testing.assert_array_equal(curve.draws, observed.draws)
    table = curve.to_frame()
    assert list(table.columns) == ["visit", "arm", "target", *COLUMNS]
    assert "Averaged over 60 rows, draw by draw" in repr(curve)
    for i, arm in enumerate(["active", "placebo"]):
        rows = [{"arm": arm, "visit": 1, "x": x} for x in frame["x"]]
        expected = np.mean([naive_mean(fit, target, row) for row in rows], axis=0)
        np.testing.assert_allclose(curve.draws[:, :, i], expected, rtol=1e-9)
        low, high = np.quantile(expected, [0.05, 0.95])
        shown = curve.to_frame(ci_prob=0.9, ci_kind="eti").iloc[i]
        assert (shown["lower"], shown["upper"]) == pytest.approx((low, high))


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


def test_chains_and_draws_keep_their_coordinates(fit: xr.DataTree) -> None:
    later = fit.copy()
    later["posterior"] = xr.DataTree(fit["posterior"].to_dataset().assign_coords(draw=[10, 20, 30]))
    assert predictions(later, over="visit").draws["draw"].to_numpy().tolist() == [10, 20, 30]


def test_level_and_kind_come_from_arviz(fit: xr.DataTree) -> None:
    curve = predictions(fit, over="arm")
    with rc_context({"stats.ci_prob": 0.5, "stats.ci_kind": "hdi"}):
        pd.testing.assert_frame_equal(curve.to_frame(), curve.to_frame(0.5, "hdi"))


@pytest.mark.parametrize("target", ["population", "typical", "sampled"])
def test_the_order_of_the_rows_does_not_matter(
    make_fit: MakeFit, frame: pd.DataFrame, target: str
) -> None:
    formula = "y ~ arm + x + (1 | h/g)"
    shuffled = frame.sample(frac=1.0, random_state=4)
    one, other = (make_fit(formula, data, u=True) for data in (frame, shuffled))
    for kwargs in ({}, {"newdata": "observed"}):
        a, b = (predictions(f, over="arm", target=target, **kwargs) for f in (one, other))
        np.testing.assert_allclose(a.draws, b.draws, rtol=1e-12)


@pytest.mark.parametrize("target", ["population", "sampled"])
def test_the_size_of_the_blocks_does_not_matter(
    fit: xr.DataTree, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {"over": "visit", "by": "arm", "newdata": "observed", "target": target}
    whole = [predictions(fit, target=target), predictions(fit, **calls)]
    monkeypatch.setattr(draws, "BLOCK", 7)
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
    for kwargs in ({"over": "x"}, {"over": {"x": [0.3]}, "newdata": "observed"}):
        first = predictions(one, by={"arm": ["active", "placebo"]}, **kwargs)
        second = predictions(other, by={"arm": ["active", "placebo"]}, **kwargs)
        np.testing.assert_allclose(first.draws, second.draws, rtol=1e-12)


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
    np.testing.assert_array_equal(estimates.draws[..., 0], estimates.draws[..., 1])


def test_the_example_says_what_it_is() -> None:
    text = repr(predictions(load_example(), over={"time": [0, 6]}, target="typical"))
    assert "target 'typical': a typical cluster (random effects at zero)" in text
    with pytest.raises(EstimandError, match="no draws 'u_patient'"):
        predictions(load_example(), target="sampled")


def test_errors(fit: xr.DataTree, frame: pd.DataFrame) -> None:
    with pytest.raises(SpecificationError, match=r"target='popuation' is unknown.*'population'"):
        predictions(fit, target="popuation")  # ty: ignore[invalid-argument-type]
    with pytest.raises(SpecificationError, match="'vist' isn't a covariate"):
        predictions(fit, over="vist")
    with pytest.raises(SpecificationError, match="'arm' is in 'over' and in 'by'"):
        predictions(fit, over="arm", by="arm")
    with pytest.raises(SpecificationError, match="newdata='median'"):
        predictions(fit, newdata="median")  # ty: ignore[invalid-argument-type]
    with pytest.raises(DataError, match="newdata has no rows"):
        predictions(fit, newdata=frame.iloc[:0])
    with pytest.raises(DataError, match=r"'arm' has the level 'surgery'.*hasn't seen"):
        predictions(fit, newdata=frame.assign(arm="surgery"))
    with pytest.raises(DataError, match=r"'arm' has the level 'surgery'"):
        predictions(fit, over={"arm": ["surgery"]})
    with pytest.raises(DataError, match="the new rows lack the column 'x'"):
        predictions(fit, newdata=frame.drop(columns="x"))
    with pytest.raises(DataError, match=r"column 'target'.*Rename it"):
        predictions(fit, newdata=frame.assign(target=1))
    with pytest.raises(DataError, match="'estimate' has a name that the results use"):
        predictions(fit, newdata=frame.assign(estimate=1))
    with pytest.raises(SpecificationError, match="isn't a fit made by popavg"):
        predictions(frame)  # ty: ignore[invalid-argument-type]
