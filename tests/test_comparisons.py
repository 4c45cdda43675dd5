"""Contrasts against naive loops, closed forms, marginaleffects, and facts about collapsibility."""

from __future__ import annotations

import json
import math
import runpy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import expit, logit
from scipy.stats import norm

import popavg as pa
from popavg.errors import DataError, EstimandError, SpecificationError
from popavg.posterior_tools import _asked_rows, draw_block
from popavg.posterior_tools.comparisons import avg_comparisons, comparisons
from popavg.posterior_tools.contrasts import COMPARISONS, read_comparison
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.needed_to_treat import NeededToTreat
from popavg.posterior_tools.summaries import COLUMNS
from popavg.posterior_tools.targets import TARGETS

pytestmark = pytest.mark.usefixtures("read_once")

MakeFit = Callable[..., xr.DataTree]
Row = dict[str, Any]
RHO = [[1.0, 0.5], [0.5, 1.0]]

#: For one pair of probabilities.
SCALAR: dict[str, Callable[[float, float], float]] = {
    "difference": lambda a, b: a - b,
    "ratio": lambda a, b: a / b,
    "lnratio": lambda a, b: math.log(a / b),
    "odds_ratio": lambda a, b: (a / (1 - a)) / (b / (1 - b)),
    "lnor": lambda a, b: math.log((a / (1 - a)) / (b / (1 - b))),
    "nnt": lambda a, b: 1 / (a - b),
}


@pytest.fixture
def fit(make_fit: MakeFit, frame: pd.DataFrame) -> xr.DataTree:
    """Slopes that vary, so that the variance of the random effects depends on the row."""
    formula = "y ~ arm * x + visit + (1 + x | g)"
    sd, corr = {"g": [1.4, 0.6]}, {"g": RHO}
    return make_fit(formula, frame, sd=sd, corr=corr, u=True, shape=(2, 3), extra=("w", "h"))


@pytest.fixture
def rows(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[::9].reset_index(drop=True)[["arm", "x", "visit", "g", "w"]]


def naive_means(fit: xr.DataTree, target: str, row: Row) -> np.ndarray:
    """One row, one draw at a time, from the formula written out."""
    post = fit["posterior"].to_dataset()
    names = [str(term) for term in post["term"].to_numpy()]
    betas, sds, effects = (post[name].to_numpy() for name in ("beta", "sd_g", "u_g"))
    one_cluster = Posterior.from_fit(fit).block(needs=("new",), seed=7).new["g"].reshape(2, 3, 2)
    out = np.zeros((2, 3))
    for chain, draw in np.ndindex(out.shape):
        beta = dict(zip(names, betas[chain, draw], strict=True))
        placebo = float(row["arm"] == "placebo")
        eta = beta["Intercept"] + beta["arm[placebo]"] * placebo + beta["x"] * row["x"]
        eta += beta["arm[placebo]:x"] * placebo * row["x"] + beta["visit"] * row["visit"]
        (a, b), z = sds[chain, draw], row["x"]
        sd = math.sqrt(a**2 + 2 * RHO[0][1] * a * b * z + (b * z) ** 2)
        if target == "typical":
            out[chain, draw] = expit(eta)
        elif target == "sampled":
            out[chain, draw] = np.mean([expit(eta + u + s * z) for u, s in effects[chain, draw]])
        elif target == "new":
            u, s = one_cluster[chain, draw]
            out[chain, draw] = expit(eta + u + s * z)
        else:
            t = np.linspace(-12.0, 12.0, 2001)  # the trapezoid rule, 1e-14 for such integrands
            out[chain, draw] = np.sum(expit(eta + sd * t) * norm.pdf(t)) * (t[1] - t[0])
    return out


def chunked(fit: xr.DataTree) -> xr.DataTree:
    lazy = fit.copy()
    lazy["posterior"] = xr.DataTree(fit["posterior"].to_dataset().chunk(chain=1, draw=2))
    return lazy


def naive(function: Callable[[float, float], float], high: Any, low: Any) -> np.ndarray:
    return np.vectorize(function)(high, low)


@pytest.mark.parametrize("target", TARGETS)
def test_every_comparison_of_rows_is_its_loop(
    fit: xr.DataTree, rows: pd.DataFrame, target: str
) -> None:
    records = rows.to_dict("records")
    high = [naive_means(fit, target, {**row, "arm": "placebo"}) for row in records]
    low = [naive_means(fit, target, {**row, "arm": "active"}) for row in records]
    for name, function in SCALAR.items():
        found = comparisons(fit, "arm", newdata=rows, comparison=name, target=target, seed=7)
        assert len(found) == len(rows)
        for i in range(len(rows)):
            expected = naive(function, high[i], low[i])
            np.testing.assert_allclose(found.draws[:, :, i], expected, rtol=1e-7)


@pytest.mark.parametrize("target", TARGETS)
def test_every_comparison_of_averages_is_its_loop(
    fit: xr.DataTree, rows: pd.DataFrame, target: str
) -> None:
    """Averages first, weighted, within groups; the comparison of the averages after that."""
    half = rows.assign(late=rows["g"] > "c5")
    averages = np.zeros((2, 2, 2, 3))  # late, side, chain, draw
    for row in half.to_dict("records"):
        for k, step in enumerate((1.0, -1.0)):
            moved = naive_means(fit, target, {**row, "x": row["x"] + step})
            averages[int(row["late"]), k] += row["w"] * moved
    for late in (0, 1):
        averages[late] /= half.loc[half["late"] == late, "w"].sum()
    for name, function in SCALAR.items():
        found = avg_comparisons(
            fit,
            {"x": 2},
            newdata=half,
            by="late",
            comparison=name,
            target=target,
            weights="w",
            seed=7,
        )
        assert found.labels["late"].to_list() == [False, True]
        for late in (0, 1):
            expected = naive(function, *averages[late])
            np.testing.assert_allclose(found.draws[:, :, late], expected, rtol=1e-7)


@pytest.mark.parametrize("target", TARGETS)
def test_the_link_scale_compares_links_of_means(
    fit: xr.DataTree, rows: pd.DataFrame, target: str
) -> None:
    found = comparisons(fit, "arm", newdata=rows, scale="link", target=target, seed=7)
    lnor = comparisons(fit, "arm", newdata=rows, comparison="lnor", target=target, seed=7)
    np.testing.assert_allclose(found.draws, lnor.draws, rtol=1e-9)
    assert found.title == "difference in the logit of the probability of y"
    average = avg_comparisons(fit, "arm", newdata=rows, scale="link", target=target, seed=7)
    np.testing.assert_allclose(average.draws[..., 0], found.draws.mean("row"), rtol=1e-9)


def test_labels_titles_and_notes(fit: xr.DataTree, rows: pd.DataFrame) -> None:
    found = comparisons(fit, ["arm", "x"], newdata=rows)
    table = found.to_frame(ci_prob=0.9)
    assert list(table.columns) == ["variable", "contrast", *rows.columns, "target", *COLUMNS]
    n = len(rows)
    assert table["variable"].to_list() == ["arm"] * n + ["x"] * n
    assert table["contrast"].to_list() == ["placebo - active"] * n + ["+1"] * n
    assert table["g"].to_list() == 2 * rows["g"].to_list()
    assert found.title == "difference in the probability of y"
    assert found.draws.name == "difference"
    assert found.draws.dims == ("chain", "draw", "row")
    assert "Steps of 'x' are centred at each row's own value." in found.notes
    average = avg_comparisons(fit, "arm", by=["visit", "arm"], comparison="ratio")
    assert list(average.labels.columns) == ["variable", "contrast", "visit", "arm", "target"]
    assert average.labels["contrast"].unique().tolist() == ["placebo / active"]
    assert "Averaged over the 60 observed rows, draw by draw, each row counting once." in (
        average.notes
    )
    assert not any("centred" in note for note in average.notes)


def test_the_effect_on_the_treated_and_the_untreated(fit: xr.DataTree, frame: pd.DataFrame) -> None:
    both = avg_comparisons(fit, "arm", by="arm")
    for i, arm in enumerate(both.labels["arm"]):
        own = avg_comparisons(fit, "arm", newdata=frame[frame["arm"] == arm])
        np.testing.assert_allclose(both.draws[..., i], own.draws[..., 0], rtol=1e-12)


def test_without_anything_all_covariates_of_the_observed_rows(
    fit: xr.DataTree, frame: pd.DataFrame
) -> None:
    found = comparisons(fit)
    assert found.labels["variable"].unique().tolist() == ["arm", "x", "visit"]
    assert len(found) == 3 * len(frame)
    assert found.labels["g"].to_list() == 3 * frame["g"].to_list()
    average = avg_comparisons(fit)
    stacked = found.draws.to_numpy().reshape(2, 3, 3, len(frame)).mean(axis=-1)
    np.testing.assert_allclose(average.draws, stacked, rtol=1e-12)


def test_over_sets_and_by_groups(fit: xr.DataTree, frame: pd.DataFrame) -> None:
    grid = comparisons(fit, "arm", over={"visit": [4, 0]})
    assert list(grid.labels.columns) == ["variable", "contrast", "visit", "x", "target"]
    assert grid.labels["visit"].to_list() == [4, 0]
    assert grid.labels["x"].to_list() == pytest.approx([frame["x"].mean()] * 2)
    for i, visit in enumerate((4, 0)):
        row = pd.DataFrame({"arm": ["active"], "x": frame["x"].mean(), "visit": visit})
        own = comparisons(fit, "arm", newdata=row)
        np.testing.assert_allclose(grid.draws[..., i], own.draws[..., 0], rtol=1e-12)
    observed = comparisons(
        fit, "arm", over={"visit": [4, 0]}, by="arm", newdata="observed", weights="cluster"
    )
    cells = list(zip(observed.labels["visit"], observed.labels["arm"], strict=True))
    assert cells == [(4, "active"), (0, "active"), (4, "placebo"), (0, "placebo")]
    for i, (visit, arm) in enumerate(cells):
        moved = frame[frame["arm"] == arm].assign(visit=visit)
        own = avg_comparisons(fit, "arm", newdata=moved, weights="cluster")
        np.testing.assert_allclose(observed.draws[..., i], own.draws[..., 0], rtol=1e-12)


def test_typical_rows_and_balanced_grids(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ arm + x + r + (1 | g)", frame)
    alone = comparisons(fit, "arm", newdata="mean")
    assert list(alone.labels.columns) == ["variable", "contrast", "x", "r", "target"]
    assert len(alone) == 1
    by = comparisons(fit, "arm", newdata="mean", by="r")
    assert by.labels["r"].to_list() == ["ann", "bob", "cat", "dan", "eve"]
    assert len(avg_comparisons(fit, "arm", newdata="mean", by="r")) == 5
    balanced = comparisons(fit, "arm", newdata="balanced")
    assert balanced.labels["r"].to_list() == ["ann", "bob", "cat", "dan", "eve"]
    assert "arm" not in balanced.labels.columns
    np.testing.assert_allclose(balanced.draws, by.draws, rtol=1e-12)
    average = avg_comparisons(fit, "arm", newdata="balanced")
    np.testing.assert_allclose(average.draws[..., 0], by.draws.mean("row"), rtol=1e-12)
    both = comparisons(fit, ["arm", "x"], newdata="balanced")
    assert len(both) == 2 * 10
    assert "arm" in both.labels.columns  # the contrast of x depends on it
    assert len(comparisons(fit, "x", newdata="mean")) == 1
    assert len(comparisons(make_fit("y ~ arm + (1 | g)", frame), "arm", newdata="mean")) == 1
    datagrid = comparisons(fit, "arm", newdata=pa.datagrid(x=[0.0, 1.0]))
    assert datagrid.labels["x"].to_list() == [0.0, 1.0]


def test_crossed_contrasts_move_both_covariates(fit: xr.DataTree, rows: pd.DataFrame) -> None:
    found = comparisons(
        fit, {"arm": None, "x": [0, 1.5]}, cross=True, newdata=rows, comparison="ratio"
    )
    assert found.labels["contrast"].unique().tolist() == ["placebo / active, 1.5 / 0"]
    assert found.labels["variable"].unique().tolist() == ["arm, x"]
    for i, row in enumerate(rows.to_dict("records")):
        high = naive_means(fit, "population", {**row, "arm": "placebo", "x": 1.5})
        low = naive_means(fit, "population", {**row, "arm": "active", "x": 0.0})
        np.testing.assert_allclose(found.draws[:, :, i], high / low, rtol=1e-8)


def test_a_function_of_ones_own_in_both_verbs(fit: xr.DataTree, rows: pd.DataFrame) -> None:
    def lift(high: np.ndarray, low: np.ndarray) -> np.ndarray:
        return (high - low) / low

    for verb in (comparisons, avg_comparisons):
        ratio = verb(fit, "arm", newdata=rows, comparison="ratio")
        found = verb(fit, "arm", newdata=rows, comparison=lift)
        np.testing.assert_allclose(found.draws, ratio.draws - 1, rtol=1e-10, atol=1e-14)
        assert found.labels["contrast"].unique().tolist() == ["lift(placebo, active)"]
        assert found.title == "lift of the probability of y"
    unnamed = avg_comparisons(fit, "arm", newdata=rows, comparison=lambda high, low: high / low)
    whole = avg_comparisons(fit, "arm", newdata=rows, comparison="ratio")
    np.testing.assert_array_equal(unnamed.draws, whole.draws)
    with pytest.raises(SpecificationError, match="'custom' turned two arrays of shape"):
        comparisons(fit, "arm", newdata=rows, comparison=lambda high, low: high.mean(axis=1))


def test_a_function_may_be_called_like_one_of_ours(fit: xr.DataTree) -> None:
    def nnt(high: np.ndarray, low: np.ndarray) -> np.ndarray:
        return 100 * (high - low)

    found = avg_comparisons(fit, "arm", comparison=nnt)
    assert type(found) is pa.Estimates
    expected = 100 * avg_comparisons(fit, "arm").draws
    np.testing.assert_allclose(found.draws, expected, rtol=1e-12)


def test_functions_travel_to_other_processes() -> None:
    kind = read_comparison(lambda high, low: high - 2 * low, pa.get_link("log"), "response")
    again = cloudpickle.loads(cloudpickle.dumps(kind))
    np.testing.assert_array_equal(again(np.ones((1, 2)), np.ones((1, 2))), [[-1.0, -1.0]])


def test_hypotheses_are_about_the_comparisons(fit: xr.DataTree) -> None:
    plain = comparisons(fit, "arm", over={"visit": [0, 4]})
    found = comparisons(fit, "arm", over={"visit": [0, 4]}, hypothesis="b1 - b0 = 0")
    expected = plain.draws[..., 1] - plain.draws[..., 0]
    np.testing.assert_allclose(found.draws[..., 0], expected, rtol=1e-12)
    average = avg_comparisons(fit, "arm", by="visit", hypothesis="reference")
    assert len(average) == 4


# --- Needed to treat ---------------------------------------------------------------------------


def test_the_number_needed_to_treat_is_the_difference_turned_over(fit: xr.DataTree) -> None:
    difference = avg_comparisons(fit, "arm", by="visit")
    number = avg_comparisons(fit, "arm", by="visit", comparison="nnt")
    assert isinstance(number, NeededToTreat)
    np.testing.assert_allclose(number.draws, 1 / difference.draws, rtol=1e-14)
    own, table = number.to_frame(ci_prob=0.8), difference.to_frame(ci_prob=0.8, ci_kind="eti")
    np.testing.assert_allclose(own["estimate"], 1 / table["estimate"], rtol=1e-12)
    crosses = (table["lower"] < 0) & (table["upper"] > 0)
    assert own["two_pieces"].to_list() == crosses.to_list()
    assert number.labels.drop(columns="target").equals(difference.labels.drop(columns="target"))
    assert "one more event (y)" in " ".join(number.notes)
    assert number.title == "number needed to treat: 1 / difference in the probability of y"
    with pytest.raises(SpecificationError, match="hypothesis about numbers needed to treat"):
        avg_comparisons(fit, "arm", comparison="nnt", hypothesis="pairwise")


def test_the_event_is_named(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    data = frame.assign(state=np.where(frame["y"] == 1, "ill", "well"))
    number = avg_comparisons(make_fit("state['ill'] ~ arm + (1 | g)", data), comparison="nnt")
    assert "one more event (state = 'ill')" in " ".join(number.notes)


# --- Closed forms and facts --------------------------------------------------------------------


def test_probit_has_a_closed_form(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ arm + x + (1 | g)", frame, "probit", sd={"g": [1.7]})
    post = fit["posterior"].to_dataset()
    found = comparisons(fit, "arm", newdata=frame.iloc[:6])
    average = avg_comparisons(fit, "arm", newdata=frame.iloc[:6], comparison="lnor")
    beta, sd = post["beta"].to_numpy(), post["sd_g"].to_numpy()
    sides = np.zeros((2, 2, 6, 6))
    for i, x in enumerate(frame["x"].iloc[:6]):
        for k, placebo in enumerate((1.0, 0.0)):
            eta = beta[..., 0] + beta[..., 1] * placebo + beta[..., 2] * x
            sides[k, ..., i] = norm.cdf(eta / np.sqrt(1 + sd[..., 0] ** 2))
    np.testing.assert_allclose(found.draws, sides[0] - sides[1], rtol=1e-10)
    high, low = sides.mean(axis=-1)
    np.testing.assert_allclose(average.draws[..., 0], logit(high) - logit(low), rtol=1e-10)


@pytest.mark.parametrize("target", ["population", "typical"])
def test_a_log_link_has_one_ratio_for_every_row_and_target(
    make_fit: MakeFit, frame: pd.DataFrame, target: str
) -> None:
    fit = make_fit("count ~ arm + x + (1 | g)", frame, "log")
    expected = np.exp(fit["posterior"]["beta"][..., 1].to_numpy())
    for verb in (comparisons, avg_comparisons):
        found = verb(fit, "arm", comparison="ratio", target=target)
        assert found.title == "ratio of the mean of count"
        wanted = np.broadcast_to(expected[..., None], found.draws.shape)
        np.testing.assert_allclose(found.draws, wanted, rtol=1e-12)


@pytest.mark.parametrize("shift", [-45.0, 0.0, 45.0])
def test_the_odds_ratio_of_a_typical_cluster_is_exact_in_both_tails(
    make_fit: MakeFit, frame: pd.DataFrame, shift: float
) -> None:
    fit = make_fit("y ~ arm + (1 | g)", frame, beta=[shift, 1.3], spread=0.01)
    expected = fit["posterior"]["beta"][..., 1].to_numpy()
    for verb in (comparisons, avg_comparisons):
        found = verb(fit, "arm", comparison="lnor", target="typical")
        wanted = np.broadcast_to(expected[..., None], found.draws.shape)
        np.testing.assert_allclose(found.draws, wanted, rtol=1e-10)


def test_the_risk_difference_is_g_computation_over_simulated_clusters(
    fit: xr.DataTree, frame: pd.DataFrame
) -> None:
    """Every row with and without treatment, in 20,000 clusters of its own."""
    found = avg_comparisons(fit, "arm").draws[0, 0].item()
    posterior = Posterior.from_fit(fit)
    one, design = posterior.block(slice(0, 1)), posterior.design
    u = np.random.default_rng(5).standard_normal((20_000, 2)) @ one.roots["g"][0].T
    u = np.concatenate([u, -u])
    risks = []
    for arm in ("placebo", "active"):
        matrices = design.evaluate(frame.assign(arm=arm))
        eta = one.predictor(matrices)[0] + u @ matrices.groups[0].Z.T
        risks.append(expit(eta).mean())
    assert found == pytest.approx(risks[0] - risks[1], abs=2e-4)


def test_odds_ratios_do_not_collapse_but_risk_differences_do(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    """Two strata with the odds ratio 9, together 5.44: risks .9 and .5, and .5 and .1."""
    strata = pd.DataFrame({"treated": [0, 1, 0, 1], "stratum": ["a", "a", "b", "b"]})
    data = pd.concat([strata] * 6, ignore_index=True).assign(y=[0, 1, 1, 0] * 6)
    ninefold = math.log(9.0)
    fit = make_fit("y ~ treated + stratum", data, beta=[0.0, ninefold, -ninefold], spread=0.0)
    apart = avg_comparisons(fit, "treated", by="stratum", comparison="odds_ratio")
    np.testing.assert_allclose(apart.draws, 9.0, rtol=1e-12)
    together = avg_comparisons(fit, "treated", comparison="odds_ratio")
    np.testing.assert_allclose(together.draws, (0.7 / 0.3) / (0.3 / 0.7), rtol=1e-12)
    assert round(together.draws.mean().item(), 2) == 5.44
    difference = avg_comparisons(fit, "treated", by="stratum").draws.mean("row")
    np.testing.assert_allclose(avg_comparisons(fit, "treated").draws[..., 0], difference)
    np.testing.assert_allclose(difference, 0.4, rtol=1e-12)


def test_the_odds_ratio_of_averages_is_not_the_average_odds_ratio(fit: xr.DataTree) -> None:
    rows = comparisons(fit, "arm", comparison="odds_ratio").draws.mean("row")
    average = avg_comparisons(fit, "arm", comparison="odds_ratio").draws[..., 0]
    assert (np.abs(rows / average - 1) > 1e-3).all()


def test_without_random_effects_the_targets_agree(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ arm + x", frame)
    found = [avg_comparisons(fit, "arm", target=target) for target in ("population", "typical")]
    np.testing.assert_allclose(found[0].draws, found[1].draws, rtol=1e-12)
    with pytest.raises(EstimandError, match="no clusters"):
        avg_comparisons(fit, "arm", target="sampled")


# --- marginaleffects ---------------------------------------------------------------------------

REFERENCE = json.loads(
    (Path(__file__).parent / "reference" / "marginaleffects_comparisons.json").read_text()
)
CALLS = [
    pytest.param(link, call, id=f"{link}-{call['function']}-{json.dumps(call['kwargs'])}")
    for link, part in REFERENCE["links"].items()
    for call in part["calls"]
]
NAMES = {"difference ~ pairwise": "pairwise"}


@pytest.fixture(scope="module")
def glm(make_fit: MakeFit) -> Callable[[str], xr.DataTree]:
    data = pd.DataFrame(REFERENCE["data"])

    @cache
    def made(link: str) -> xr.DataTree:
        part = REFERENCE["links"][link]
        beta = {name.replace("[T.", "["): value for name, value in part["beta"].items()}
        extra = {"extra": ("w", "site"), "shape": (1, 2), "spread": 0.0}
        terms = make_fit(part["formula"], data, link, **extra)["posterior"]["term"].to_numpy()
        return make_fit(part["formula"], data, link, beta=[beta[t] for t in terms], **extra)

    return made


@pytest.mark.parametrize(("link", "call"), CALLS)
def test_the_same_calls_give_the_numbers_of_marginaleffects(
    glm: Callable[[str], xr.DataTree], link: str, call: dict[str, Any]
) -> None:
    kwargs = {{"wts": "weights"}.get(name, name): value for name, value in call["kwargs"].items()}
    if "hypothesis" in kwargs:
        kwargs["hypothesis"] = NAMES[kwargs["hypothesis"]]
    variables = kwargs.pop("variables")
    found = getattr(pa, call["function"])(glm(link), variables, **kwargs)
    estimates = found.draws[0, 0].to_numpy()
    assert len(estimates) == len(call["found"])
    np.testing.assert_allclose(
        estimates, [row["estimate"] for row in call["found"]], rtol=1e-9, atol=1e-12
    )
    if "hypothesis" in kwargs:
        return
    for own, theirs in zip(found.labels.to_dict("records"), call["found"], strict=True):
        crossed = [theirs[f"contrast_{name}"] for name in ("treat", "x") if "cross" in kwargs]
        assert own["contrast"] == (", ".join(crossed) or theirs["contrast"])
        assert all(own[name] == theirs[name] for name in ("site", "arm") if name in theirs)


# --- Bambi -------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")  # Bambi's own, with pandas 3
@pytest.mark.parametrize(
    ("contrast", "theirs", "own"),
    [
        ({"treatment": ["placebo", "active"]}, "diff", "difference"),
        ({"time": [0, 5]},) + 2 * ("ratio",),
    ],
)
def test_typical_clusters_agree_with_bambi(
    reference: Path, contrast: dict[str, Any], theirs: str, own: str
) -> None:
    """Bambi predicts each row's own cluster, so its draws of the clusters' effects are set to 0."""
    bambi = pytest.importorskip("bambi")
    model = runpy.run_path(str(reference / "make_bambi.py"))["model"]("slopes")
    with xr.open_datatree(reference / "bambi_draws.nc") as stored:
        tree = stored["slopes"].copy(deep=True).load()
    fit = pa.from_bambi(model, tree)
    posterior = tree["posterior"].to_dataset().drop_vars(["p"])
    for name in ("1|patient", "time|patient"):
        posterior[name] = 0.0 * posterior[name]
    typical = xr.DataTree.from_dict(
        {"posterior": posterior, "observed_data": tree["observed_data"].to_dataset()}
    )
    options = {"comparison": theirs, "use_hdi": False, "prob": 0.9}
    expected = bambi.interpret.comparisons(model, typical, contrast, **options).summary
    found = comparisons(fit, contrast, comparison=own, target="typical")
    table = found.to_frame(ci_prob=0.9, ci_kind="eti")
    for ours, column in (
        ("estimate", "estimate"),
        ("lower", "lower_5.0%"),
        ("upper", "upper_95.0%"),
    ):
        np.testing.assert_allclose(table[ours], expected[column], rtol=1e-10, atol=1e-13)


# --- Invariances -------------------------------------------------------------------------------


def test_swapping_the_levels_turns_every_comparison_round(fit: xr.DataTree) -> None:
    one, other = {"arm": ["active", "placebo"]}, {"arm": ["placebo", "active"]}
    turned: dict[str, Callable[[Any], Any]] = {
        "ratio": lambda x: 1 / x,
        "odds_ratio": lambda x: 1 / x,
    }
    for name in COMPARISONS:
        for verb in (comparisons, avg_comparisons):
            a, b = (verb(fit, pair, comparison=name).draws for pair in (one, other))
            turn = turned.get(name, lambda x: -x)
            np.testing.assert_allclose(b, turn(a), rtol=1e-9)


@pytest.mark.parametrize("target", TARGETS)
def test_the_order_of_the_rows_does_not_matter(
    make_fit: MakeFit, frame: pd.DataFrame, target: str
) -> None:
    shuffled = frame.sample(frac=1.0, random_state=4)
    one, other = (make_fit("y ~ arm + x + (1 | g)", data, u=True) for data in (frame, shuffled))
    a, b = (avg_comparisons(f, target=target, comparison="lnor").draws for f in (one, other))
    np.testing.assert_allclose(a, b, rtol=1e-11)


def test_the_coding_of_the_levels_does_not_matter(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    orders = (["placebo", "active"], ["active", "placebo"])
    data = [frame.assign(arm=pd.Categorical(frame["arm"], categories=order)) for order in orders]
    one = make_fit("y ~ arm * x + (1 | g)", data[0])
    post = one["posterior"].to_dataset()
    a, b, c, d = (post["beta"].isel(term=i).to_numpy() for i in range(4))
    other = make_fit("y ~ arm * x + (1 | g)", data[1])
    recoded = other["posterior"].to_dataset()
    recoded["beta"] = recoded["beta"].copy(data=np.stack([a + b, -b, c + d, -d], axis=-1))
    recoded["sd_g"] = post["sd_g"]
    other["posterior"] = xr.DataTree(recoded)
    for variables in ({"arm": ["placebo", "active"]}, {"x": "sd"}):
        for verb in (comparisons, avg_comparisons):
            found = [verb(fit, variables, comparison="ratio").draws for fit in (one, other)]
            np.testing.assert_allclose(*found, rtol=1e-10)


@pytest.mark.parametrize("target", TARGETS)
def test_the_size_of_the_blocks_does_not_matter(
    fit: xr.DataTree, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask() -> list[xr.DataArray]:
        options = {"target": target, "progress": False}
        return [
            comparisons(fit, **options).draws,
            avg_comparisons(fit, comparison="odds_ratio", by="arm", **options).draws,
            avg_comparisons(fit, comparison=lambda a, b: a * b, weights="w", **options).draws,
        ]

    whole = ask()
    monkeypatch.setattr(draw_block, "BLOCK", 50)
    for a, b in zip(whole, ask(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("comparison", ["difference", "lnor", "nnt", lambda a, b: a - 2 * b])
def test_dask_gives_the_same_numbers_and_waits(fit: xr.DataTree, comparison: Any) -> None:
    lazy = chunked(fit)
    hypothesis = None if comparison == "nnt" else "reference"
    asked = {"comparison": comparison, "by": "visit", "target": "new", "hypothesis": hypothesis}
    found, expected = (avg_comparisons(f, "arm", **asked) for f in (lazy, fit))
    assert found.draws.chunks is not None
    np.testing.assert_allclose(found.draws, expected.draws, rtol=1e-12)
    np.testing.assert_allclose(
        found.to_frame()["estimate"], expected.to_frame()["estimate"], rtol=1e-10
    )


@pytest.mark.parametrize("lazy", [False, True])
def test_versions_in_batches_give_the_same_numbers(
    fit: xr.DataTree, lazy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with a generator as seed: one new cluster in all batches and contrasts."""

    def ask() -> xr.DataArray:
        return avg_comparisons(
            chunked(fit) if lazy else fit,
            {"arm": "all", "x": 1},
            over={"visit": [4, 2, 0]},
            by="h",
            target="new",
            seed=np.random.default_rng(3),
        ).draws

    whole = ask()
    monkeypatch.setattr(_asked_rows, "MOST_ROWS", 130)
    np.testing.assert_allclose(ask(), whole, rtol=1e-12)
    assert whole.shape == (2, 3, 3 * 3 * 4)


def test_the_seed_matters_for_a_new_cluster(fit: xr.DataTree) -> None:
    a, b, c = (avg_comparisons(fit, target="new", seed=seed).draws for seed in (3, 3, 4))
    np.testing.assert_array_equal(a, b)
    assert (a != c).all()


def test_a_step_of_a_whole_number_may_leave_its_values(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    fit = make_fit("value ~ visit + (1 | g)", frame, "identity")
    slope = fit["posterior"]["beta"][..., 1].to_numpy()
    for step in (1, 3, -0.5):
        found = avg_comparisons(fit, {"visit": step}).draws[..., 0]
        np.testing.assert_allclose(found, step * slope, rtol=1e-9)


# --- Refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"variables": "amr"}, SpecificationError, r"'amr' isn't a covariate.*mean 'arm'"),
        ({"variables": {"arm": ["active", "gone"]}}, DataError, "'arm' has no level 'gone'"),
        ({"variables": {"arm": 2}}, SpecificationError, "which is a category"),
        ({"variables": {"x": [1, 1]}}, SpecificationError, "'x' with itself"),
        ({"comparison": "rato"}, SpecificationError, "mean 'ratio'"),
        ({"target": "mean"}, SpecificationError, "target='mean' is unknown"),
        ({"scale": "log"}, SpecificationError, "scale='log' is unknown"),
        ({"scale": "link", "comparison": "ratio"}, EstimandError, "on the link scale"),
        ({"variables": ["arm", "x", "visit"], "cross": True}, SpecificationError, "with 3 cov"),
        ({"variables": None, "cross": True}, SpecificationError, "with 3 covariates"),
        ({"newdata": "median"}, SpecificationError, "newdata='median'"),
        ({"by": "site"}, SpecificationError, "'site'"),
        ({"weights": "wgt", "by": "arm"}, DataError, "'wgt' aren't a column"),
        ({"hypothesis": "pairwize"}, SpecificationError, "pairwize"),
    ],
)
def test_bad_arguments(
    fit: xr.DataTree, kwargs: dict[str, Any], error: type[Exception], message: str
) -> None:
    asked = {"variables": "arm", **kwargs}
    for verb in (comparisons, avg_comparisons):
        with pytest.raises(error, match=message) as caught:
            verb(fit, **asked)
        assert caught.value.allowed or caught.value.remedy


def test_arguments_that_contradict_each_other(fit: xr.DataTree, frame: pd.DataFrame) -> None:
    with pytest.raises(SpecificationError, match="'arm' is in 'over' and in 'variables'"):
        comparisons(fit, "arm", over="arm")
    with pytest.raises(SpecificationError, match="'visit' is in 'over' and in 'by'"):
        comparisons(fit, "arm", over="visit", by="visit", newdata="observed")
    with pytest.raises(SpecificationError, match=r"aren't averaged.*avg_ form"):
        comparisons(fit, "arm", weights="w")
    with pytest.raises(SpecificationError, match="by= with values"):
        comparisons(fit, "arm", by={"visit": [0, 1]}, newdata="observed")
    with pytest.raises(SpecificationError, match="isn't a fit made by popavg"):
        comparisons(frame)  # ty: ignore[invalid-argument-type]
    for name in ("variable", "contrast", "target", "hypothesis"):
        with pytest.raises(DataError, match=f"column '{name}', a name that the results use"):
            comparisons(fit, "arm", newdata=frame.assign(**{name: 1}))


def test_rows_that_do_not_fit(fit: xr.DataTree, frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="lack the column 'x'"):
        comparisons(fit, "x", newdata=frame[["arm", "visit"]])
    with pytest.raises(DataError, match=r"'arm' has the level 'gone'.*Leave these rows out"):
        comparisons(fit, "x", newdata=frame.assign(arm="gone"))
    with pytest.raises(DataError, match="'x' holds text"):
        comparisons(fit, "x", newdata=frame.assign(x="1"))
    with pytest.raises(DataError, match="newdata has no rows"):
        comparisons(fit, "arm", newdata=frame.iloc[:0])
    without = frame.drop(columns="arm")
    found = avg_comparisons(fit, "arm", newdata=without)
    np.testing.assert_allclose(found.draws, avg_comparisons(fit, "arm").draws, rtol=1e-12)


def test_steps_out_of_a_splines_range(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ arm + bs(x, df=4) + (1 | g)", frame)
    message = r"extrapolate, half a step of 'x' away.*variables=\{'x': \[low, high\]\}"
    with pytest.raises(DataError, match=message):
        avg_comparisons(fit, "x")
    assert len(avg_comparisons(fit, {"x": "minmax"})) == 1
    with pytest.raises(DataError, match=r"doesn't extrapolate\. Allowed"):
        avg_comparisons(fit, {"x": [0, 9]})


def test_ratios_by_nothing_and_odds_of_no_probability(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    gaussian = make_fit("value ~ arm + (1 | g)", frame, "identity", beta=[-1.0, 0.5])
    with pytest.raises(EstimandError, match="divided by is 0 or negative in some draws"):
        comparisons(gaussian, "arm", comparison="ratio")
    poisson = make_fit("count ~ arm + (1 | g)", frame, "log")
    for name in ("odds_ratio", "lnor", "nnt"):
        with pytest.raises(EstimandError, match="needs a probability, and the mean of the log"):
            avg_comparisons(poisson, "arm", comparison=name)
    tiny = make_fit("y ~ arm + (1 | g)", frame, beta=[-900.0, 1.0])
    with pytest.raises(EstimandError, match="is 0 or negative"):
        comparisons(tiny, "arm", comparison="ratio", target="typical")


def test_a_function_that_is_not_finite_is_named(fit: xr.DataTree) -> None:
    """Not the predictors, which are all right; and NumPy's warnings don't get out."""

    def relative(high: np.ndarray, low: np.ndarray) -> np.ndarray:
        return (high - low) / (low - low)

    def undefined(high: np.ndarray, low: np.ndarray) -> np.ndarray:
        return np.where(high > np.median(high), high, np.nan)

    message = r"comparison 'relative' gives -?inf in some draws.*finite number.*what the function"
    with pytest.raises(EstimandError, match=message):
        comparisons(fit, "arm", comparison=relative)
    with pytest.raises(EstimandError, match="comparison 'undefined' gives nan in some draws"):
        avg_comparisons(fit, "arm", comparison=undefined)
    lazy = avg_comparisons(chunked(fit), "arm", comparison=relative)
    with pytest.raises(EstimandError, match="the comparison 'relative' gives"):
        lazy.compute()


def test_the_example_from_the_command_line_of_a_reader() -> None:
    text = repr(pa.avg_comparisons(pa.load_example(), "treatment", comparison="nnt"))
    assert "one more per" in text
    assert "target 'population'" in text
    assert "1,908 observed rows" in text


def test_values_beyond_the_data_and_effects_that_only_vary(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    fit = make_fit("y ~ arm + x + (1 + visit | g)", frame, corr={"g": [[1, 0.2], [0.2, 1]]})
    far = pa.avg_comparisons(fit, {"x": [0, 99]})
    assert any(note.startswith("Extrapolated: 'x' goes from 0 to 99") for note in far.notes)
    for within in ({"x": [0, 1]}, "x", {"x": "minmax"}, "arm"):
        notes = pa.avg_comparisons(fit, within).notes
        assert not any(note.startswith("Extrapolated") for note in notes)
        assert not any("no fixed effect" in note for note in notes)
    told = "'visit' has random effects but no fixed effect"
    for varying in ({"visit": [0, 1]}, "visit", None):
        notes = pa.avg_comparisons(fit, varying).notes
        assert sum(note.startswith(told) for note in notes) == 1
