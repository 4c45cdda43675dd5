"""Figures of the verbs: what is drawn where, in all backends, and the words beside it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from arviz_base import rc_context
from arviz_plots import PlotCollection
from matplotlib.colors import to_hex

from popavg.errors import SpecificationError
from popavg.posterior_tools._verb_figure import PALETTE
from popavg.posterior_tools.comparisons import comparisons
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.plot_verbs import plot_comparisons, plot_predictions, plot_slopes
from popavg.posterior_tools.predictions import predictions
from popavg.posterior_tools.slopes import slopes

MakeFit = Callable[..., xr.DataTree]


@pytest.fixture(scope="module")
def fit(make_fit: MakeFit, frame: pd.DataFrame) -> xr.DataTree:
    return make_fit("y ~ arm * x + visit + h + (1 | g)", frame, shape=(2, 20))


def panels(figure: PlotCollection) -> list[Any]:
    plots = figure.viz["plot"]
    return list(np.ravel(plots.to_numpy() if "panel" in plots.dims else [plots.item()]))


def lines(axes: Any, colour: str | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
    found = [line for line in axes.get_lines() if len(line.get_xdata()) > 2]
    return [
        (np.asarray(line.get_xdata()), np.asarray(line.get_ydata()))
        for line in found
        if colour is None or to_hex(line.get_color()) == colour.lower()
    ]


@pytest.fixture(autouse=True)
def closed_figures() -> Any:
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def test_lines_and_bands_are_the_summaries(fit: xr.DataTree) -> None:
    figure = plot_predictions(fit, "x", by=["arm", "visit"], ci_prob=0.8, backend="matplotlib")
    assert len(panels(figure)) == 5
    observed = fit["training_data"]["x"].to_numpy()
    axis = np.linspace(observed.min(), observed.max(), 50)
    numbers = predictions(fit, over={"x": list(axis)}, by=["arm", "visit"]).to_frame(0.8)
    for visit, axes in enumerate(panels(figure)):
        for arm, colour in zip(("active", "placebo"), PALETTE, strict=False):
            chosen = numbers[(numbers["visit"] == visit) & (numbers["arm"] == arm)]
            ((x, y),) = lines(axes, colour)
            np.testing.assert_allclose(x, axis)
            np.testing.assert_allclose(y, chosen["estimate"])
            bands = [
                band.get_paths()[0].vertices
                for band in axes.collections
                if to_hex(band.get_facecolor()[0]) == colour.lower()
            ]
            (corners,) = bands
            for bound in ("lower", "upper"):
                assert np.isin(np.round(chosen[bound], 12), np.round(corners[:, 1], 12)).all()
        assert axes.get_title() == f"visit: {visit}"


def test_the_words_name_outcome_target_level_and_values(fit: xr.DataTree) -> None:
    figure = plot_predictions(fit, "x", by="arm", target="typical", backend="matplotlib")
    (axes,) = panels(figure)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "probability of y")
    title = axes.figure.get_suptitle().replace("\n", " ")
    assert re.fullmatch(r"target: typical; at visit = 2, h = h\d", title)
    legend = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert legend == ["arm: active", "arm: placebo", "89 % credible band"]
    assert axes.get_ylim()[0] <= 0.0
    averaged = plot_predictions(
        fit, "arm", newdata="observed", weights="cluster", scale="link", backend="matplotlib"
    )
    (axes,) = panels(averaged)
    title = axes.figure.get_suptitle().replace("\n", " ")
    assert "averaged over the 60 observed rows, draw by draw, each cluster of 'g' counting" in title
    assert axes.get_ylabel() == "average logit of the probability of y"
    legend = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert legend == ["posterior mean", "89 % credible interval"]


def test_a_curve_beyond_the_data_says_so(fit: xr.DataTree) -> None:
    figure = plot_predictions(fit, {"x": [0.0, 50.0]}, by="arm", backend="matplotlib")
    title = panels(figure)[0].figure.get_suptitle().replace("\n", " ")
    assert "; extrapolated: 'x' goes from 0 to 50, in the data of the fit from" in title


def test_levels_of_a_category_are_points_with_intervals(fit: xr.DataTree) -> None:
    with rc_context({"stats.ci_prob": 0.5}):
        figure = plot_predictions(fit, "h", by="arm", backend="matplotlib")
        numbers = predictions(fit, over="h", by="arm").to_frame()
    (axes,) = panels(figure)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["h0", "h1", "h2", "h3"]
    points = [np.asarray(collection.get_offsets()) for collection in axes.collections]
    for level, arm in enumerate(("active", "placebo")):
        chosen = numbers[numbers["arm"] == arm]
        np.testing.assert_allclose(points[level][:, 1], chosen["estimate"])
        colour = PALETTE[level].lower()
        bars = [bar for bar in axes.get_lines() if to_hex(bar.get_color()) == colour]
        ends = [bar.get_ydata() for bar in bars]
        np.testing.assert_allclose(ends, chosen[["lower", "upper"]])
        np.testing.assert_allclose([bar.get_xdata()[0] for bar in bars], points[level][:, 0])
    assert (points[0][:, 0] < points[1][:, 0]).all()


def test_comparisons_are_drawn_beside_no_difference(fit: xr.DataTree) -> None:
    axis = [-1.0, 0.0, 1.0]
    figure = plot_comparisons(fit, "arm", {"x": axis}, backend="matplotlib")
    (axes,) = panels(figure)
    expected = comparisons(fit, "arm", over={"x": axis}).to_frame()["estimate"]
    ((_, y),) = lines(axes)
    np.testing.assert_allclose(y, expected)
    assert axes.get_ylabel() == "difference in the probability of y\narm: placebo - active"
    (null,) = [line for line in axes.get_lines() if len(line.get_xdata()) == 2]
    assert list(null.get_ydata()) == [0.0, 0.0]
    assert "arm =" not in axes.figure.get_suptitle()
    ratio = plot_comparisons(
        fit, ["arm", "visit"], {"x": axis}, comparison="ratio", backend="matplotlib"
    )
    headings = [axes.get_title() for axes in panels(ratio)]
    assert headings == ["arm: placebo / active", "visit: +1"]
    for axes in panels(ratio):
        (null,) = [line for line in axes.get_lines() if len(line.get_xdata()) == 2]
        assert list(null.get_ydata()) == [1.0, 1.0]
    own = plot_comparisons(fit, "arm", "h", comparison=np.maximum, backend="none")
    assert "null" not in own.viz


@pytest.mark.parametrize("change", [1, -1, "sd", "2sd"])
def test_where_a_step_starts_is_said(fit: xr.DataTree, frame: pd.DataFrame, change: Any) -> None:
    figure = plot_comparisons(fit, {"x": change}, "h", backend="matplotlib")
    (axes,) = panels(figure)
    assert f"x = {frame['x'].mean():.4g}" in axes.figure.get_suptitle().replace("\n", " ")
    between = plot_comparisons(fit, {"x": [-1, 1]}, "h", backend="matplotlib")
    (axes,) = panels(between)
    assert "x =" not in axes.figure.get_suptitle()
    both = plot_comparisons(fit, {"x": [-1, 1], "visit": change if change != "sd" else 1}, "h")
    (axes, _) = panels(both)
    title = axes.figure.get_suptitle().replace("\n", " ")
    assert "where it isn't compared" in title
    assert "visit = 2" in title


def test_the_fit_is_read_once(fit: xr.DataTree, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[xr.DataTree] = []
    whole = Posterior.from_fit.__func__  # ty: ignore[unresolved-attribute]

    def count(cls: type[Posterior], tree: xr.DataTree) -> Posterior:
        read.append(tree)
        return whole(cls, tree)

    monkeypatch.setattr(Posterior, "from_fit", classmethod(count))
    plot_predictions(fit, "x", backend="none")
    plot_comparisons(fit, "arm", "x", backend="none")
    plot_slopes(fit, "x", "x", backend="none")
    assert len(read) == 3


def test_slopes_along_their_own_covariate(fit: xr.DataTree) -> None:
    axis = [-1.0, 0.0, 1.0]
    figure = plot_slopes(fit, "x", {"x": axis}, by="arm", backend="matplotlib")
    (axes,) = panels(figure)
    numbers = slopes(fit, "x", over={"x": axis}, by="arm").to_frame()
    for arm, colour in zip(("active", "placebo"), PALETTE, strict=False):
        ((_, y),) = lines(axes, colour)
        np.testing.assert_allclose(y, numbers.loc[numbers["arm"] == arm, "estimate"])
    assert axes.get_ylabel() == "slope of the probability of y in x"
    several = plot_slopes(fit, ["x", "visit"], "arm", backend="matplotlib")
    assert [axes.get_title() for axes in panels(several)] == ["x", "visit"]


def test_covariates_in_different_units_have_axes_of_their_own(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    data = frame.assign(visit=1000.0 * frame["visit"])
    beta = [0.2, 0.5, 0.7, -0.9, 0.0003]
    wide = make_fit("y ~ arm * x + visit + (1 | g)", data, beta=beta, spread=1e-4)
    figure = plot_slopes(wide, ["x", "visit"], {"x": [-1.0, 0.0, 1.0]}, by="arm")
    table = slopes(wide, ["x", "visit"], over={"x": [-1.0, 0.0, 1.0]}, by="arm").to_frame()
    for name, axes in zip(("x", "visit"), panels(figure), strict=True):
        assert axes.get_ylabel().replace("\n", " ") == f"slope of the probability of y in {name}"
        own = table[table["variable"] == name]
        low, high = axes.get_ylim()
        values = [0.0, *own["lower"], *own["upper"]]
        margin = 0.05 * (max(values) - min(values))
        assert (low, high) == pytest.approx((min(values) - margin, max(values) + margin))
    compared = plot_comparisons(wide, {"arm": "reference", "visit": 1}, {"x": [-1.0, 1.0]})
    first, second = panels(compared)
    assert first.get_ylim() != second.get_ylim()
    assert {first.get_ylabel(), second.get_ylabel()} == {"difference in the probability of y"}
    same = plot_comparisons(wide, {"visit": [0, 1000, 4000]}, {"x": [-1.0, 1.0]})
    first, second = panels(same)
    assert first.get_ylim() == second.get_ylim()
    assert second.get_ylabel() == ""


@pytest.mark.parametrize("backend", ["matplotlib", "bokeh", "plotly", "none"])
@pytest.mark.parametrize("over", ["x", "h"])
def test_every_backend_draws_every_verb(fit: xr.DataTree, backend: str, over: str) -> None:
    along = {"line", "band"} if over == "x" else {"point", "interval"}
    figures = [
        plot_predictions(fit, over, by="arm", backend=backend),
        plot_comparisons(fit, "visit", over, by="arm", backend=backend),
        plot_slopes(fit, "visit", over, by="arm", backend=backend),
    ]
    for i, figure in enumerate(figures):
        drawn = set(figure.viz.children)
        assert along <= drawn
        assert ("null" in drawn) == (i > 0)
        assert "legend" in drawn


def test_visuals_are_styled_or_left_out(fit: xr.DataTree) -> None:
    figure = plot_slopes(
        fit,
        "x",
        "x",
        backend="matplotlib",
        visuals={"null": False, "band": False, "line": {"color": "#123456"}},
    )
    assert not {"null", "band"} & set(figure.viz.children)
    (axes,) = panels(figure)
    assert len(lines(axes, "#123456")) == 1
    assert [t.get_text() for t in axes.figure.legends[0].get_texts()] == ["posterior mean"]
    with pytest.raises(SpecificationError, match="visuals='lines' is unknown"):
        plot_slopes(fit, "x", "x", visuals={"lines": False})


def test_draws_on_dask_are_computed(fit: xr.DataTree) -> None:
    lazy = fit.copy()
    lazy["posterior"] = xr.DataTree(fit["posterior"].to_dataset().chunk({"draw": 10}))
    assert "line" in plot_predictions(lazy, "x", backend="none").viz


def test_errors(fit: xr.DataTree, make_fit: MakeFit, frame: pd.DataFrame) -> None:
    with pytest.raises(SpecificationError, match="names 2 covariates"):
        plot_predictions(fit, {"x": None, "visit": None})
    with pytest.raises(SpecificationError, match="'arm' is in 'over' and in 'by'"):
        plot_predictions(fit, "arm", by="arm")
    with pytest.raises(SpecificationError, match=r"needed to treat.*comparison='difference'"):
        plot_comparisons(fit, "arm", "x", comparison="nnt")
    with pytest.raises(SpecificationError, match="backend='gnuplot' is unknown"):
        plot_predictions(fit, "x", backend="gnuplot")
    many = make_fit("y ~ x + visit + g + (1 | h)", frame)
    with pytest.raises(SpecificationError, match=r"12 levels to be told apart.*at most 7"):
        plot_predictions(many, {"x": [0, 1]}, by="g")
    with (
        rc_context({"plot.max_subplots": 4}),
        pytest.raises(SpecificationError, match=r"12 panels.*plot.max_subplots"),
    ):
        plot_predictions(many, {"x": [0, 1]}, by=["visit", "g"])


def test_keywords_that_no_figure_has(fit: xr.DataTree) -> None:
    """Found before anything is computed."""
    with pytest.raises(SpecificationError, match=r"has no 'wieghts'.*Did you mean 'weights'"):
        plot_predictions(fit, "x", wieghts="w")
    for draw in (plot_comparisons, plot_slopes):
        with pytest.raises(SpecificationError, match=r"no 'hypothesis'.*pa\.(comparisons|slopes),"):
            draw(fit, "x", "visit", hypothesis="pairwise")


def test_bars_of_categories_end_within_the_figure(fit: xr.DataTree) -> None:
    (axes,) = panels(plot_predictions(fit, "h", backend="matplotlib"))
    upper = predictions(fit, over="h").to_frame()["upper"].max()
    low, high = axes.get_ylim()
    assert high - max(upper, 0.0) > 0.02 * (high - low)
