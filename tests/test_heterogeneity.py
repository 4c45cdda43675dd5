"""Differences between clusters against simulated clusters, draw by draw."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from scipy import special, stats

import popavg as pa
from popavg.errors import DataError, EstimandError, SpecificationError
from popavg.families import FAMILIES
from popavg.links import get_link
from popavg.posterior_tools.heterogeneity import heterogeneity

MakeFit = Callable[..., xr.DataTree]
LEVELS = (0.1, 0.5, 0.9)
N = 40_000
RESPONSES = {
    "bernoulli": "y",
    "binomial": "p(successes, trials)",
    "poisson": "count",
    "gaussian": "value",
}


def with_sigma(fit: xr.DataTree, sigma: float = 1.5) -> xr.DataTree:
    """The fit with a residual standard deviation, which the factory leaves out."""
    data = fit["posterior"].to_dataset()
    shape = (data.sizes["chain"], data.sizes["draw"])
    changed = fit.copy()
    changed["posterior"] = xr.DataTree(
        data.assign(sigma=(("chain", "draw"), np.full(shape, sigma)))
    )
    return changed


def draws_of(estimates: pa.Estimates, **labels: Any) -> np.ndarray:
    """The draws of one quantity, shape (chains, draws)."""
    chosen = np.ones(len(estimates.labels), dtype=bool)
    for name, value in labels.items():
        chosen &= (estimates.labels[name] == value).to_numpy()
    assert chosen.sum() == 1, (labels, estimates.labels)
    return estimates.draws.to_numpy()[:, :, int(np.flatnonzero(chosen)[0])]


def naive(fit: xr.DataTree, rows: list[dict[str, Any]], factors: list[str]) -> list[np.ndarray]:
    """Means of rows in N simulated clusters of every draw, (chains, draws, N), of `y ~ x + arm`."""
    post, rng = fit["posterior"].to_dataset(), np.random.default_rng(4)
    link = get_link(pa.posterior_tools.draws.read_specification(fit).link)
    shape = (post.sizes["chain"], post.sizes["draw"])
    out = [np.zeros((*shape, N)) for _ in rows]
    for chain, draw in np.ndindex(shape):
        one = post.isel(chain=chain, draw=draw)
        u = {}
        for factor in factors:
            sd = one[f"sd_{factor}"].to_numpy()
            corr = one[f"corr_{factor}"].to_numpy() if f"corr_{factor}" in one else np.eye(len(sd))
            u[factor] = rng.multivariate_normal(np.zeros(len(sd)), corr * np.outer(sd, sd), N)
        for row, values in zip(rows, out, strict=True):
            eta = sum(
                float(one["beta"].sel(term=term))
                * {"Intercept": 1.0, "x": row["x"], "arm[placebo]": row["arm"] == "placebo"}[term]
                for term in post["term"].to_numpy()
            )
            for factor in factors:
                effects = one[f"effect_{factor}"].to_numpy()
                z = [{"Intercept": 1.0, "x": row["x"]}[effect] for effect in effects]
                eta = eta + u[factor] @ np.array(z)
            values[chain, draw] = link.inverse(eta)
    return out


def close(values: np.ndarray, simulated: np.ndarray, error: float) -> None:
    """Quantiles by how many simulated clusters are below them: no density is needed."""
    assert_allclose(values, simulated, atol=error)


SIMULATION = 4.5 * 0.5 / math.sqrt(N)


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
@pytest.mark.parametrize("effects", ["1", "1 + x"])
def test_simulated_clusters(
    make_fit: MakeFit, frame: pd.DataFrame, link: str, effects: str
) -> None:
    slope = effects != "1"
    fit = make_fit(
        f"y ~ x + arm + ({effects} | g)",
        frame,
        link,
        sd={"g": [1.2, 0.6][: 1 + slope]},
        corr={"g": [[1, -0.4], [-0.4, 1]]} if slope else None,
        shape=(1, 3),
    )
    rows = pd.DataFrame({"x": [0.5], "arm": ["active"]})
    result = heterogeneity(fit, {"x": [0, 2]}, newdata=rows, quantiles=LEVELS, threshold=[0.0, 0.1])
    here, low, high = naive(fit, [{"x": x, "arm": "active"} for x in (0.5, 0.0, 2.0)], ["g"])
    for level in LEVELS:
        name = f"{100 * level:g} % quantile"
        quantile = draws_of(result.probability, quantity=name)
        close((here <= quantile[..., None]).mean(axis=2), level, SIMULATION)
        quantile = draws_of(result.effect, quantity=name)
        close((high - low <= quantile[..., None]).mean(axis=2), level, SIMULATION)
    for c in (0.0, 0.1):
        share = draws_of(result.share, quantity=f"share above {c:g}")
        close(share, (high - low > c).mean(axis=2), SIMULATION)
    close(draws_of(result.probability, quantity="mean"), here.mean(axis=2), SIMULATION)
    close(draws_of(result.effect, quantity="mean"), (high - low).mean(axis=2), 2 * SIMULATION)
    p = here.mean(axis=2)
    expected = here.var(axis=2) / (p * (1 - p))
    got = draws_of(result.summary, quantity="correlation, probability scale")
    close(got, expected, 0.02)
    close(draws_of(result.pairs, quantity="correlation"), got, 1e-12)


def test_nested_factors_are_averaged_over_or_not(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    """``h/g``: a herd's probability averages over its cows, a cow's has both effects."""
    fit = make_fit(
        "y ~ x + arm + (1 | h/g)", frame, sd={"h": [0.8], "h:g": [1.5]}, shape=(1, 3), seed=3
    )
    post = fit["posterior"].to_dataset()
    v_h, v_g = (post[f"sd_{name}"].to_numpy()[..., 0] ** 2 for name in ("h", "h:g"))
    rows = pd.DataFrame({"x": [0.0], "arm": ["active"]})
    outer = heterogeneity(fit, newdata=rows, quantiles=LEVELS)
    inner = heterogeneity(fit, newdata=rows, quantiles=LEVELS, group="h:g")
    assert (outer.group, inner.group) == ("h", "h:g")
    eta = post["beta"].sel(term="Intercept").to_numpy()
    for level in LEVELS:
        name, z = f"{100 * level:g} % quantile", special.ndtri(level)
        herd = pa.marginal_mean(eta + np.sqrt(v_h) * z, np.sqrt(v_g), "logit")
        assert_allclose(draws_of(outer.probability, quantity=name), herd, rtol=1e-9)
        cow = special.expit(eta + np.sqrt(v_h + v_g) * z)
        assert_allclose(draws_of(inner.probability, quantity=name), cow, rtol=1e-9)
    for result, v in ((outer, v_h), (inner, v_h + v_g)):
        latent = draws_of(result.summary, quantity="correlation, latent scale")
        assert_allclose(latent, v / (v_h + v_g + math.pi**2 / 3), rtol=1e-12)
        ratio = draws_of(result.summary, quantity="median odds ratio")
        assert_allclose(ratio, np.exp(np.sqrt(2 * v) * special.ndtri(0.75)), rtol=1e-12)
        mean = draws_of(result.probability, quantity="mean")
        assert_allclose(mean, pa.marginal_mean(eta, np.sqrt(v_h + v_g), "logit"), rtol=1e-9)


def test_probit_closed_forms(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    """Two rows given: P(both) is a bivariate normal probability."""
    fit = make_fit(
        "y ~ x + arm + (1 + x | g)", frame, "probit", corr={"g": [[1, 0.3], [0.3, 1]]}, shape=(1, 4)
    )
    pair = pd.DataFrame({"x": [-1.0, 0.7], "arm": ["active", "placebo"]})
    result = heterogeneity(fit, pair=pair)
    assert result.pairs.labels["pair"].iloc[0] == "x -1.0 and 0.7, arm active and placebo"
    post = fit["posterior"].to_dataset()
    for draw in range(4):
        one = post.isel(chain=0, draw=draw)
        beta, sd = one["beta"].to_numpy(), one["sd_g"].to_numpy()
        sigma = np.array([[1, 0.3], [0.3, 1]]) * np.outer(sd, sd)
        X = np.array([[1, -1.0, 0], [1, 0.7, 1]])
        columns = {str(t): i for i, t in enumerate(post["term"].to_numpy())}
        ordered = X[:, [("Intercept", "x", "arm[placebo]").index(t) for t in columns]]
        z = X[:, :2]
        cov = z @ sigma @ z.T + np.eye(2)
        scale = np.sqrt(np.diag(cov))
        h = ordered @ beta / scale
        both = stats.multivariate_normal([0, 0], cov / np.outer(scale, scale)).cdf(h)
        p = special.ndtr(h)
        odds = both * (1 - p[0] - p[1] + both) / ((p[0] - both) * (p[1] - both))
        r = (both - p[0] * p[1]) / np.sqrt(np.prod(p * (1 - p)))
        assert draws_of(result.pairs, quantity="odds ratio")[0, draw] == pytest.approx(
            odds, rel=1e-5
        )
        assert draws_of(result.pairs, quantity="correlation")[0, draw] == pytest.approx(r, abs=1e-6)


@pytest.mark.parametrize(("family", "link"), [(f, k) for f in FAMILIES for k in FAMILIES[f].links])
def test_every_family_and_link(
    make_fit: MakeFit, frame: pd.DataFrame, family: str, link: str
) -> None:
    fit = make_fit(f"{RESPONSES[family]} ~ arm + x + (1 | g)", frame, link, shape=(1, 2))
    if family == "gaussian":
        with pytest.raises(DataError, match="no draws 'sigma'"):
            heterogeneity(fit)
        fit = with_sigma(fit)
    result = heterogeneity(fit, "arm", newdata=pa.datagrid(x=[0.0, 1.0]))
    names = set(result.summary.labels["quantity"])
    assert ("median odds ratio" in names) == (link == "logit")
    assert ("median rate ratio" in names) == (link == "log")
    assert ("correlation, latent scale" in names) == get_link(link).is_probability
    assert ("odds ratio" in set(result.pairs.labels["quantity"])) == get_link(link).is_probability
    for part in result.parts.values():
        assert np.isfinite(part.draws).all()
    if family == "gaussian":
        v = fit["posterior"].to_dataset()["sd_g"].to_numpy()[..., 0] ** 2
        r = result.summary.draws.to_numpy()
        assert_allclose(r[..., 0], v / (v + 1.5**2))
        assert_allclose(r[..., 0], r[..., 1])


def test_without_variance_the_clusters_are_equal(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ arm + (1 | g)", frame, sd={"g": [0.0]}, shape=(1, 3))
    result = heterogeneity(fit, "arm")
    frames = result.probability.to_frame()
    assert_allclose(frames["estimate"], frames["estimate"].iloc[0], rtol=1e-12)
    effects = result.effect.to_frame()
    assert_allclose(effects["estimate"], effects["estimate"].iloc[0], rtol=1e-12)
    assert_allclose(draws_of(result.summary, quantity="median odds ratio"), 1.0)
    for name in ("correlation, latent scale", "correlation, probability scale"):
        assert_allclose(draws_of(result.summary, quantity=name), 0.0, atol=1e-13)
    assert_allclose(draws_of(result.pairs, quantity="odds ratio"), 1.0, rtol=1e-12)


def test_rows_and_coding_do_not_matter(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    shuffled = frame.sample(frac=1.0, random_state=4)
    rows = pd.DataFrame({"x": [0.2, -1.0], "arm": ["active", "placebo"]})
    results = [
        heterogeneity(make_fit("y ~ arm + x + (1 + x | g)", data), "x", newdata=rows)
        for data in (frame, shuffled)
    ]
    for name, part in results[0].parts.items():
        assert_allclose(part.draws, results[1].parts[name].draws, rtol=1e-7, atol=1e-9)
    backwards = heterogeneity(
        make_fit("y ~ arm + x + (1 + x | g)", frame), "x", newdata=rows.iloc[::-1]
    )
    half = len(backwards.probability) // 2
    assert_allclose(
        backwards.probability.draws.to_numpy()[..., half:],
        results[0].probability.draws.to_numpy()[..., :half],
    )


def test_the_reference_level_only_changes_the_sign(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ arm + x + (1 | g)", frame)
    there = heterogeneity(fit, {"arm": ["active", "placebo"]}, quantiles=LEVELS)
    back = heterogeneity(fit, {"arm": ["placebo", "active"]}, quantiles=LEVELS)
    forward, backward = there.effect.draws.to_numpy(), back.effect.draws.to_numpy()
    assert_allclose(forward[..., 0], -backward[..., 0], rtol=1e-12)
    assert_allclose(forward[..., 1:], -backward[..., :0:-1], atol=1e-10)
    assert_allclose(there.share.draws, 1 - back.share.draws)


def test_the_size_of_the_blocks_does_not_matter(
    make_fit: MakeFit, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = make_fit("y ~ arm + x + (1 + x | h) + (1 | h:g)", frame)
    whole = heterogeneity(fit, "x")
    monkeypatch.setattr("popavg.posterior_tools.draw_block.BLOCK", 50)
    parts = heterogeneity(fit, "x")
    for name, part in whole.parts.items():
        assert_allclose(part.draws, parts.parts[name].draws, rtol=1e-7, atol=1e-9)


def test_several_contrasts_and_rows(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ arm + x + (1 | g)", frame)
    rows = pa.datagrid(x=[0.0, 1.0])
    both = heterogeneity(fit, ["arm", "x"], newdata=rows, quantiles=[0.5], threshold=[0, 0.1])
    labels = both.effect.labels
    assert labels["contrast"].to_list() == ["placebo - active"] * 4 + ["+1"] * 4
    assert labels["quantity"].to_list() == ["mean", "50 % quantile"] * 4
    assert len(both.share) == 8
    alone = heterogeneity(fit, "x", newdata=rows, quantiles=[0.5], threshold=0.1)
    assert_allclose(both.effect.draws.to_numpy()[..., 4:], alone.effect.draws)
    assert_allclose(both.share.draws.to_numpy()[..., 5::2], alone.share.draws)


def test_bad_input(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ arm + x + (1 | g)", frame)
    for quantiles in ([0.5, 1.0], [0.0], [], [float("nan")], ["low"]):
        with pytest.raises(SpecificationError, match=r"quantiles=.*between 0 and 1"):
            heterogeneity(fit, quantiles=quantiles)
    for threshold in (float("nan"), [0.0, float("inf")], []):
        with pytest.raises(SpecificationError, match=r"threshold=.*finite numbers"):
            heterogeneity(fit, "arm", threshold=threshold)
    with pytest.raises(SpecificationError, match=r"'amr' isn't a covariate.*Did you mean 'arm'"):
        heterogeneity(fit, "amr")
    with pytest.raises(DataError, match="'arm' has no level 'surgery'"):
        heterogeneity(fit, {"arm": ["active", "surgery"]})
    with pytest.raises(SpecificationError, match=r"group='herd' isn't a grouping factor.*'g'"):
        heterogeneity(fit, group="herd")
    with pytest.raises(SpecificationError, match="newdata='median'"):
        heterogeneity(fit, newdata="median")  # ty: ignore[invalid-argument-type]
    rows = pd.DataFrame({"x": [0.0, 1.0, 2.0], "arm": "active"})
    for pair in (rows, pa.datagrid(x=[0.0, 1.0, 2.0])):
        with pytest.raises(DataError, match=r"pair has 3 rows.*two rows of one cluster"):
            heterogeneity(fit, pair=pair)
    with pytest.raises(DataError, match=r"pair has 0 rows"):
        heterogeneity(fit, pair=rows.iloc[:0])
    with pytest.raises(DataError, match=r"pair is of type str\..*pair=pa\.datagrid"):
        heterogeneity(fit, pair="both")  # ty: ignore[invalid-argument-type]
    with pytest.raises(SpecificationError, match=r"threshold=0.1 without 'variables'.*variables="):
        heterogeneity(fit, threshold=0.1)
    with pytest.raises(DataError, match=r"column 'quantity'.*Rename it"):
        heterogeneity(fit, newdata=rows.assign(quantity=1))
    with pytest.raises(DataError, match="lack the column 'x'"):
        heterogeneity(fit, newdata=rows.drop(columns="x"))
    with pytest.raises(SpecificationError, match="isn't a fit made by popavg"):
        heterogeneity(frame)  # ty: ignore[invalid-argument-type]


def test_models_whose_clusters_are_not_clear(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    crossed = make_fit("y ~ x + (1 | g) + (1 | r)", frame)
    with pytest.raises(SpecificationError, match=r"aren't nested in one of them.*group='g'"):
        heterogeneity(crossed)
    assert heterogeneity(crossed, group="r").group == "r"
    with pytest.raises(EstimandError, match="a model without random effects"):
        heterogeneity(make_fit("y ~ x", frame))


def test_a_pair_may_be_a_grid(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ arm + x + (1 + x | g)", frame)
    pair = pd.DataFrame({"arm": "active", "x": [0.0, 1.0]})
    by_hand = heterogeneity(fit, pair=pair)
    grid = heterogeneity(fit, pair=pa.datagrid(arm="active", x=[0.0, 1.0]))
    assert grid.pairs.labels["pair"].unique().tolist() == ["x 0.0 and 1.0"]
    assert_allclose(grid.pairs.draws, by_hand.pairs.draws)


@pytest.mark.parametrize("link", ["logit", "cloglog"])
def test_two_rows_alike_are_the_default_pair(
    make_fit: MakeFit, frame: pd.DataFrame, link: str
) -> None:
    fit = make_fit("y ~ arm + x + (1 + x | g)", frame, link)
    rows = pd.DataFrame({"arm": ["active", "active"], "x": [0.4, 0.4]})
    alike = heterogeneity(fit, newdata=rows.iloc[:1])
    given = heterogeneity(fit, newdata=rows.iloc[:1], pair=rows)
    assert alike.pairs.labels["quantity"].tolist() == ["odds ratio", "correlation"]
    assert given.summary.labels.equals(alike.summary.labels)
    assert_allclose(given.summary.draws, alike.summary.draws, rtol=1e-12)
    assert_allclose(given.pairs.draws, alike.pairs.draws, rtol=1e-10)


def test_rows_that_repeat_are_computed_once(
    make_fit: MakeFit, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    from popavg.posterior_tools import _cluster_answers

    fit = make_fit("y ~ arm + x + (1 + x | g)", frame)
    rows = pd.DataFrame({"arm": ["active", "placebo"], "x": [0.4, -1.0]})
    apart = heterogeneity(fit, "x", newdata=rows, threshold=[0.0, 0.1])
    asked: list[int] = []
    evaluate = _cluster_answers.evaluate

    def counted(posterior: Any, question: Any, **kwargs: Any) -> xr.DataArray:
        asked.append(question.n_estimands)
        return evaluate(posterior, question, **kwargs)

    monkeypatch.setattr(_cluster_answers, "evaluate", counted)
    order = [1, 0, 0, 1, 0]
    many = heterogeneity(fit, "x", newdata=rows.iloc[order], threshold=[0.0, 0.1])
    assert sorted(asked) == sorted([2 * (6 + 2), 2 * 6, 2 * 4])
    for name, part in apart.parts.items():
        size = len(part) // 2
        expected = np.concatenate(
            [part.draws.to_numpy()[..., size * i : size * (i + 1)] for i in order], axis=2
        )
        assert_allclose(many.parts[name].draws, expected, rtol=1e-7, atol=1e-9)
        assert (
            many.parts[name].labels["x"].tolist()[:: len(part) // 2]
            == rows["x"].iloc[order].tolist()
        )


def test_rows_beyond_the_data_are_told(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ arm + x + (1 | g)", frame)
    far = heterogeneity(fit, {"x": [0, 99]}, newdata=pa.datagrid(x=50))
    assert far.probability.notes[0].startswith("Extrapolated: 'x' goes to 50")
    assert far.effect.notes[0].startswith("Extrapolated: 'x' goes from 0 to 99")
    assert heterogeneity(fit, "x").probability.notes == ()
