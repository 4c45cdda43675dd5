"""What the population curve's picture holds, on every backend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from arviz_base import rc_context
from arviz_plots import PlotCollection

from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools.crossings import Crossing
from popavg.posterior_tools.curve_plot import plot_curve
from popavg.posterior_tools.curve_visuals import NUDGE
from popavg.posterior_tools.example import load_example
from popavg.posterior_tools.population_curve import PopulationCurve, population_curve

BACKENDS = ["matplotlib", "bokeh", "plotly"]


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def curve() -> PopulationCurve:
    return population_curve(load_example(), "time", by="treatment", n_curves=7)


@pytest.fixture(scope="module")
def reference(curve: PopulationCurve) -> pd.DataFrame:
    return curve.rows.assign(mean=0.9 * curve.average.ravel())


def panels_of(curve: PopulationCurve, n: int) -> PopulationCurve:
    """The same curve in n panels."""
    which = [i % 2 for i in range(n)]
    arrays = {
        name: getattr(curve, name)[which]
        for name in ("conditional", "typical", "average", "lower", "upper")
    }
    names = pd.DataFrame({"treatment": [f"arm {i}" for i in range(n)]})
    return replace(curve, panels=names, **arrays)


def drawn(collection: PlotCollection, name: str, panel: int = 0) -> Any:
    dataset = collection.viz[name].dataset
    array = dataset[next(iter(dataset.data_vars))]
    return (array.sel(panel=panel) if "panel" in array.dims else array).item()


def line_data(visual: Any, backend: str) -> tuple[np.ndarray, np.ndarray]:
    if backend == "matplotlib":
        return tuple(np.asarray(visual.get_xydata()).T)
    if backend == "bokeh":
        data = visual.data_source.data
        return np.asarray(data["x"]), np.asarray(data["y"])
    return np.asarray(visual.x), np.asarray(visual.y)


def many_lines(visual: Any, backend: str) -> list[np.ndarray]:
    if backend == "matplotlib":
        return [segment[:, 1] for segment in visual.get_segments()]
    if backend == "bokeh":
        return list(visual.data_source.data["ys" if "ys" in visual.data_source.data else "y"])
    y = np.asarray(visual.y)
    return np.split(y[~np.isnan(y)], np.isnan(y).sum())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("panel", [0, 1])
def test_the_lines_are_the_curves(
    curve: PopulationCurve, reference: pd.DataFrame, backend: str, panel: int
) -> None:
    pytest.importorskip(backend)
    collection = plot_curve(curve, reference=reference, backend=backend)
    clusters = many_lines(drawn(collection, "clusters", panel), backend)
    np.testing.assert_allclose(clusters, curve.conditional[panel])
    x, y = line_data(drawn(collection, "average", panel), backend)
    np.testing.assert_array_equal(x, curve.x)
    np.testing.assert_array_equal(y, curve.average[panel])
    x, y = line_data(drawn(collection, "reference", panel), backend)
    np.testing.assert_array_equal(y, 0.9 * curve.average[panel])


def test_the_band_has_the_credible_limits(curve: PopulationCurve) -> None:
    collection = plot_curve(curve, backend="matplotlib")
    vertices = drawn(collection, "band", 1).get_paths()[0].vertices
    for x, low, high in zip(curve.x, curve.lower[1], curve.upper[1], strict=True):
        at_x = vertices[np.isclose(vertices[:, 0], x), 1]
        assert (at_x.min(), at_x.max()) == pytest.approx((low, high))


def test_the_band_in_bokeh_and_plotly(curve: PopulationCurve) -> None:
    pytest.importorskip("bokeh")
    data = drawn(plot_curve(curve, backend="bokeh"), "band").data_source.data
    np.testing.assert_array_equal(data["y1"], curve.lower[0])
    np.testing.assert_array_equal(data["y2"], curve.upper[0])
    pytest.importorskip("plotly")
    np.testing.assert_array_equal(
        drawn(plot_curve(curve, backend="plotly"), "band").y, curve.upper[0]
    )


def test_the_legend_names_all(curve: PopulationCurve, reference: pd.DataFrame) -> None:
    collection = plot_curve(
        curve, reference=reference, reference_label="GEE (ar1)", backend="matplotlib"
    )
    legend = collection.viz["figure"].item().legends[0]
    assert [text.get_text() for text in legend.get_texts()] == [
        "7 random clusters",
        "population average",
        "89 % credible band",
        "GEE (ar1)",
    ]
    handles = legend.legend_handles
    assert [handle.get_linestyle() for handle in handles] == ["-", "-", "-", "--"]


@pytest.mark.parametrize("backend", ["bokeh", "plotly"])
def test_html_is_written(curve: PopulationCurve, backend: str, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    file = tmp_path / "curve.html"
    options = {"title": "curve", "resources": "cdn"} if backend == "bokeh" else {}
    plot_curve(curve, backend=backend).savefig(file, **options)
    assert "random clusters" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(("n", "shape"), [(1, (1, 1)), (2, (1, 2)), (3, (1, 3)), (4, (2, 2)),
                                          (5, (2, 3))])  # fmt: skip
def test_panels_stand_in_rows(curve: PopulationCurve, n: int, shape: tuple[int, int]) -> None:
    collection = plot_curve(panels_of(curve, n), backend="matplotlib")
    axes = [collection.get_target(None, {"panel": i}) for i in range(n)]
    grid = axes[0].get_gridspec()
    assert (grid.nrows, grid.ncols) == shape
    assert [ax.get_title() for ax in axes] == [f"treatment: arm {i}" for i in range(n)]
    assert [bool(ax.get_ylabel()) for ax in axes] == [i % shape[1] == 0 for i in range(n)]
    assert [bool(ax.get_xlabel()) for ax in axes] == [i + shape[1] >= n for i in range(n)]
    assert len({ax.get_ylim() for ax in axes}) == len({ax.get_xlim() for ax in axes}) == 1


@pytest.mark.parametrize("n", [1, 2, 4])
def test_no_text_overlaps(curve: PopulationCurve, n: int) -> None:
    crossings = (Crossing(6.0, -0.1),) * n
    several = replace(
        panels_of(curve, n), conditional_crossings=crossings, population_crossings=crossings
    )
    reference = pd.concat(
        [curve.rows.iloc[:50].assign(treatment=f"arm {i}", mean=0.2) for i in range(n)]
    )
    label = "GEE (exchangeable)"
    collection = plot_curve(
        several, reference=reference, reference_label=label, slopes=True, backend="matplotlib"
    )
    figure = collection.viz["figure"].item()
    figure.canvas.draw()
    boxes = [figure.legends[0].get_window_extent()]
    for ax in figure.axes:
        boxes += [ax.get_window_extent(), ax.title.get_window_extent()]
        boxes += [label.get_window_extent() for label in (ax.xaxis.label, ax.yaxis.label)
                  if label.get_text()]  # fmt: skip
    assert not [
        (i, j) for i, a in enumerate(boxes) for j, b in enumerate(boxes[:i]) if a.overlaps(b)
    ]
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_probabilities_are_drawn_from_zero_to_one(curve: PopulationCurve) -> None:
    ax = plot_curve(curve, backend="matplotlib").get_target(None, {"panel": 0})
    assert ax.get_ylim() == pytest.approx((-0.02, 1.02))
    assert ax.get_ylabel() == "probability of y"
    low = replace(curve, conditional=0.2 * curve.conditional, average=0.2 * curve.average,
                  lower=0.2 * curve.lower, upper=0.2 * curve.upper)  # fmt: skip
    ax = plot_curve(low, backend="matplotlib").get_target(None, {"panel": 0})
    assert 0.15 < ax.get_ylim()[1] < 0.5


def test_extreme_clusters_do_not_flatten_means_without_bound(curve: PopulationCurve) -> None:
    wild = replace(curve, is_probability=False, conditional=1e6 * curve.conditional)
    ax = plot_curve(wild, backend="matplotlib").get_target(None, {"panel": 0})
    assert 2 * curve.upper.max() < ax.get_ylim()[1] < 4 * curve.upper.max()


def test_held_covariates_are_said(curve: PopulationCurve) -> None:
    held = replace(curve, held={"age": -1e-16, "sex": "female"})
    figure = plot_curve(held, backend="matplotlib").viz["figure"].item()
    assert figure.get_suptitle() == "at age = 0, sex = female"
    assert plot_curve(curve, backend="matplotlib").viz["figure"].item().get_suptitle() == ""


def with_crossings(curve: PopulationCurve) -> PopulationCurve:
    return replace(
        curve,
        conditional_crossings=(Crossing(6.0, -0.1), None),
        population_crossings=(Crossing(5.0, -0.04), None),
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_slopes_are_tangents_at_one_half(curve: PopulationCurve, backend: str) -> None:
    pytest.importorskip(backend)
    collection = plot_curve(with_crossings(curve), slopes=True, backend=backend)
    for name, centre, slope in (("conditional", 6.0, -0.1), ("population", 5.0, -0.04)):
        x, y = line_data(drawn(collection, f"{name}_slope"), backend)
        assert x.mean() == pytest.approx(centre)
        assert y.mean() == pytest.approx(0.5)
        assert np.diff(y) / np.diff(x) == pytest.approx(slope)
        assert drawn(collection, f"{name}_slope", 1) is None
    _, y = line_data(drawn(collection, "typical"), backend)
    np.testing.assert_array_equal(y, curve.typical[0])


def test_slopes_are_written_in_the_panels(curve: PopulationCurve) -> None:
    collection = plot_curve(with_crossings(curve), slopes=True, backend="matplotlib")
    texts = [
        [text.get_text() for text in collection.get_target(None, {"panel": i}).texts]
        for i in range(2)
    ]
    assert texts[0] == [
        "one cluster: β/4 = −0.1\nper unit of time",
        "population: β̃/4 = −0.04\nper unit of time",
    ]
    assert texts[1][0] == "one cluster: doesn't\ncross one half here"


def categorical(curve: PopulationCurve) -> PopulationCurve:
    arrays = {
        name: getattr(curve, name)[..., :3]
        for name in ("conditional", "typical", "average", "lower", "upper")
    }
    return replace(curve, over="dose", x=np.arange(3.0), ticks=("no", "low", "high"), **arrays)


@pytest.mark.parametrize("backend", BACKENDS)
def test_categories_have_points_and_bars(curve: PopulationCurve, backend: str) -> None:
    pytest.importorskip(backend)
    doses = categorical(curve)
    rows = [(d, t) for t in doses.panels["treatment"] for d in ("high", "no", "low")]
    reference = pd.DataFrame(rows, columns=["dose", "treatment"]).assign(mean=0.5)
    collection = plot_curve(doses, reference=reference, backend=backend)
    x, y = (
        line_data(drawn(collection, "average_points"), backend)
        if backend != "matplotlib"
        else (np.asarray(drawn(collection, "average_points").get_offsets()).T)
    )
    np.testing.assert_array_equal(y, doses.average[0])
    x, _ = line_data(drawn(collection, "reference"), backend)
    np.testing.assert_allclose(x, np.arange(3) + NUDGE)
    if backend == "matplotlib":
        ax = collection.get_target(None, {"panel": 0})
        assert [label.get_text() for label in ax.get_xticklabels()] == ["no", "low", "high"]


def test_visuals_can_be_changed_and_left_out(curve: PopulationCurve) -> None:
    collection = plot_curve(
        curve, backend="matplotlib", visuals={"clusters": False, "average": {"color": "black"}}
    )
    assert "clusters" not in collection.viz.children
    assert drawn(collection, "average").get_color() == "black"
    legend = collection.viz["figure"].item().legends[0]
    assert legend.get_texts()[0].get_text() == "population average"


def test_no_clusters_no_grey_lines(curve: PopulationCurve) -> None:
    none = replace(curve, conditional=curve.conditional[:, :0])
    collection = plot_curve(none, backend="matplotlib")
    assert "clusters" not in collection.viz.children


def test_a_plot_collection_can_be_given(curve: PopulationCurve) -> None:
    first = plot_curve(curve, backend="matplotlib", visuals={"clusters": False})
    empty = PlotCollection.wrap(first.data, cols=["panel"], backend="matplotlib")
    assert plot_curve(curve, plot_collection=empty) is empty
    assert len(plt.get_fignums()) == 2


def test_the_backend_comes_from_arviz(curve: PopulationCurve) -> None:
    with rc_context({"plot.backend": "none"}):
        assert plot_curve(curve).backend == "none"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "ggplot"}, "backend='ggplot' is unknown"),
        ({"visuals": {"gee": False}}, "visuals='gee' is unknown"),
        ({"slopes": True}, "computed without them"),
    ],
)
def test_wrong_options(curve: PopulationCurve, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        plot_curve(curve, **options)
    assert not plt.get_fignums()


def test_too_many_panels(curve: PopulationCurve) -> None:
    with (
        rc_context({"plot.max_subplots": 3}),
        pytest.raises(SpecificationError, match="by=treatment makes 4 panels"),
    ):
        plot_curve(panels_of(curve, 4))


def test_a_reference_without_a_panel(curve: PopulationCurve, reference: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="no rows for the panel"):
        plot_curve(curve, reference=reference.iloc[:50], backend="matplotlib")
