"""What the comparison's picture holds, on every backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from arviz_base import rc_context

from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools import comparison
from popavg.posterior_tools.comparison_plot import MODELS, plot_comparison

BACKENDS = ["matplotlib", "bokeh", "plotly"]


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def make_comparison(terms: tuple[str, ...] = ("Intercept", "time")) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = [(term, model, *np.sort(rng.normal(-2, 1, 3))) for term in terms for model in MODELS]
    frame = pd.DataFrame(rows, columns=["term", "model", "lower", "estimate", "upper"])
    return frame.sample(frac=1, random_state=2)


def drawn(collection: Any, name: str, term: str, model: str) -> Any:
    return collection.viz[name]["estimate"].sel(term=term, model=model).item()


def xy(visual: Any, backend: str) -> tuple[np.ndarray, np.ndarray]:
    if backend == "bokeh":
        data = visual.data_source.data
        return np.asarray(data["x"]), np.asarray(data["y"])
    if backend == "plotly":
        return np.asarray(visual.x), np.asarray(visual.y)
    points = visual.get_offsets() if hasattr(visual, "get_offsets") else visual.get_xydata()
    return tuple(np.asarray(points).T)


@pytest.mark.parametrize("backend", BACKENDS)
def test_points_and_intervals_are_the_numbers(backend: str) -> None:
    pytest.importorskip(backend)
    frame = make_comparison()
    collection = plot_comparison(frame, ci_prob=0.9, backend=backend)
    for row in frame.itertuples():
        x, y = xy(drawn(collection, "estimates", row.term, row.model), backend)
        assert (x, y) == (pytest.approx([row.estimate]), -list(MODELS).index(row.model))
        x, y = xy(drawn(collection, "intervals", row.term, row.model), backend)
        np.testing.assert_allclose(x, [row.lower, row.upper])


def test_every_model_has_its_name_colour_and_marker() -> None:
    collection = plot_comparison(make_comparison(), ci_prob=0.9, backend="matplotlib")
    ax = collection.get_target(None, {"term": "Intercept"})
    assert [label.get_text() for label in ax.get_yticklabels()] == list(MODELS)
    points = [drawn(collection, "estimates", "time", model) for model in MODELS]
    assert len({tuple(point.get_facecolor()[0]) for point in points}) == 4
    assert len({point.get_paths()[0].vertices.tobytes() for point in points}) == 4
    figure = collection.viz["figure"].item()
    assert figure.get_suptitle() == "90 % intervals: credible (GLMM), confidence (GLM, GEE)"


def test_terms_have_axes_of_their_own_with_zero() -> None:
    frame = make_comparison()
    frame.loc[frame["term"] == "time", ["lower", "estimate", "upper"]] *= 0.01
    collection = plot_comparison(frame, backend="matplotlib", x_label="log odds")
    limits = [collection.get_target(None, {"term": t}).get_xlim() for t in ("Intercept", "time")]
    for (low, high), term in zip(limits, ("Intercept", "time"), strict=True):
        assert low < frame.loc[frame["term"] == term, "lower"].min()
        assert high > 0
    assert limits[0][0] < 20 * limits[1][0]
    last = frame["term"].unique()[-1]
    assert collection.get_target(None, {"term": last}).get_xlabel() == "log odds"


@pytest.mark.parametrize(("n", "shape"), [(1, (1, 1)), (3, (3, 1)), (4, (2, 2)), (5, (3, 2))])
def test_many_terms_stand_in_two_columns(n: int, shape: tuple[int, int]) -> None:
    terms = tuple(f"x{i}" for i in range(n))
    frame = make_comparison(terms)
    collection = plot_comparison(frame, backend="matplotlib")
    order = list(dict.fromkeys(frame["term"]))
    axes = [collection.get_target(None, {"term": term}) for term in order]
    assert (axes[0].get_gridspec().nrows, axes[0].get_gridspec().ncols) == shape
    assert [ax.get_title() for ax in axes] == order


def test_nothing_overlaps_or_is_cut_off() -> None:
    for n in (1, 4):
        terms = ("treatment[terbinafine]:time", "a", "b", "c")[:n]
        figure = plot_comparison(make_comparison(terms), backend="matplotlib").viz["figure"].item()
        figure.canvas.draw()
        boxes = [figure._suptitle.get_window_extent()]
        for ax in figure.axes:
            boxes += [ax.get_window_extent(), ax.title.get_window_extent()]
        overlaps = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
        assert not overlaps
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_the_models_are_those_of_the_comparison() -> None:
    assert tuple(MODELS) == comparison.MODELS


def test_a_model_may_lack_a_term() -> None:
    frame = make_comparison()
    kept = frame[(frame["term"] != "time") | (frame["model"] != "GLM")]
    collection = plot_comparison(kept, backend="matplotlib")
    assert drawn(collection, "estimates", "time", "GLM") is None
    assert drawn(collection, "estimates", "Intercept", "GLM") is not None


def test_a_comparison_without_glm() -> None:
    frame = make_comparison()
    collection = plot_comparison(frame[frame["model"] != "GLM"], backend="matplotlib")
    labels = collection.get_target(None, {"term": "time"}).get_yticklabels()
    assert [label.get_text() for label in labels] == list(MODELS)[1:]


@pytest.mark.parametrize("backend", ["bokeh", "plotly"])
def test_html_is_written(backend: str, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    file = tmp_path / "comparison.html"
    options = {"title": "comparison", "resources": "cdn"} if backend == "bokeh" else {}
    plot_comparison(make_comparison(), backend=backend).savefig(file, **options)
    assert "population-averaged" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.drop(columns="upper"), "no column 'upper'"),
        (lambda f: f.assign(model="GLMM"), "the models 'GLMM'"),
        (lambda f: f.assign(lower=np.nan), "missing or infinite"),
        (lambda f: pd.concat([f, f]), "occur twice"),
    ],
)
def test_wrong_frames(spoil: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        plot_comparison(spoil(make_comparison()))


def test_too_many_terms() -> None:
    with (
        rc_context({"plot.max_subplots": 3}),
        pytest.raises(SpecificationError, match="4 terms"),
    ):
        plot_comparison(make_comparison(("a", "b", "c", "d")))
