"""The result type: labels, tables, trees, renderings."""

from __future__ import annotations

from typing import Any

import arviz_stats
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from arviz_base import rc_context
from hypothesis import given
from hypothesis import strategies as st

from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools.estimates import Estimates
from popavg.posterior_tools.summaries import COLUMNS, summarise


def estimates_of(shape: tuple[int, int, int] = (4, 100, 2), **kwargs: object) -> Estimates:
    draws = xr.DataArray(
        np.random.default_rng(5).normal(size=shape),
        dims=("chain", "draw", "term"),
        coords={"term": [f"t{i}" for i in range(shape[2])]},
    )
    labels = pd.DataFrame({"term": draws["term"].to_numpy()})
    return Estimates(draws, labels, "title", **kwargs)  # ty: ignore[invalid-argument-type]


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 5))
def test_a_row_for_each_estimand_labels_first(chains: int, draws: int, estimands: int) -> None:
    estimates = estimates_of((chains, draws, estimands))
    table = estimates.to_frame()
    assert list(table.columns) == ["term", *COLUMNS]
    assert table["term"].to_list() == [f"t{i}" for i in range(estimands)]
    assert len(estimates) == estimands


def test_level_and_kind_are_arguments_or_arviz_settings() -> None:
    estimates = estimates_of()
    draws = estimates.draws.to_numpy()
    table = estimates.to_frame(ci_prob=0.5, ci_kind="hdi")
    expected = summarise(draws, ci_prob=0.5, ci_kind="hdi")
    pd.testing.assert_frame_equal(table[list(COLUMNS)], expected)
    with rc_context({"stats.ci_prob": 0.5, "stats.ci_kind": "hdi"}):
        pd.testing.assert_frame_equal(estimates.to_frame(), table)
        assert "50 % credible intervals, hdi" in repr(estimates)


def test_a_point_estimate_of_its_own_beats_the_setting() -> None:
    estimates = estimates_of(point_estimate="median")
    np.testing.assert_array_equal(
        estimates.to_frame()["estimate"], np.median(estimates.draws, axis=(0, 1))
    )


def test_the_tree_goes_into_arviz() -> None:
    estimates = estimates_of(target="typical")
    tree = estimates.to_datatree()
    assert tree["posterior"].attrs == {"title": "title", "target": "typical"}
    r_hat = arviz_stats.summary(tree, round_to="none")["r_hat"].to_numpy(dtype=float)
    np.testing.assert_allclose(r_hat, estimates.to_frame()["r_hat"], rtol=1e-12)


@pytest.mark.parametrize("backend", ["matplotlib", "bokeh", "plotly", "none"])
def test_the_forest_plot_is_drawn(backend: str) -> None:
    figure = estimates_of().plot(backend=backend, visuals={"twig": False})
    assert {"trunk", "point_estimate"} <= set(figure.viz.children)
    assert "twig" not in figure.viz


def test_the_forest_plot_says_what_it_shows() -> None:
    draws = xr.DataArray(np.zeros((2, 4, 2)), dims=("chain", "draw", "row"))
    draws[..., 1] = np.arange(8).reshape(2, 4)
    long = "arm placebo at the end of the study − arm active at the start of the study"
    estimates = Estimates(draws, pd.DataFrame({"hypothesis": ["short", long]}), "risk", "new")
    figure = estimates.plot(backend="matplotlib")
    axes = figure.get_target(None, {"column": "forest"})
    assert axes.get_xlabel() == "risk\n(target: new)"
    names = [text.get_text() for text in figure.get_target(None, {"column": "labels"}).texts]
    assert names == ["short", long.replace(" − ", " −\n")]


def test_draws_on_dask_are_computed_when_asked_for() -> None:
    known = estimates_of()
    lazy = Estimates(known.draws.chunk({"draw": 7}), known.labels, "title", notes=("a note",))
    assert lazy.is_lazy
    assert not known.is_lazy
    for text in (repr(lazy), lazy._repr_html_()):
        assert "Not computed yet: call .compute() or .to_frame()." in text
        assert "estimate" not in text
        assert "t1" in text
        assert "a note" in text
    assert lazy.is_lazy
    pd.testing.assert_frame_equal(lazy.to_frame(), known.to_frame())
    computed = lazy.compute()
    assert not computed.is_lazy
    assert computed.notes == ("a note",)
    assert "Not computed" not in repr(computed)
    assert known.compute() is known
    assert {"trunk"} <= set(lazy.plot(backend="none").viz.children)


def test_estimands_without_a_coordinate_are_named_by_what_varies() -> None:
    draws = xr.DataArray(np.zeros((2, 4, 2)), dims=("chain", "draw", "row"))
    for times, names in (
        ((0, 6), ["time 0", "time 6"]),
        ((0.5, 1 / 3), ["time 0.5", "time 0.3333"]),
        ((6, 6), ["0", "1"]),
    ):
        labels = pd.DataFrame({"time": times, "target": "population"})
        posterior = Estimates(draws, labels, "t").to_datatree()["posterior"]
        assert posterior["row"].to_numpy().tolist() == names
    labels = pd.DataFrame({"a": ["x", "x"], "b": [1, 1]})
    repeated = pd.concat([labels, pd.DataFrame({"a": ["y"], "b": [1]})])
    wider = xr.DataArray(np.zeros((2, 4, 3)), dims=("chain", "draw", "row"))
    posterior = Estimates(wider, repeated, "t").to_datatree()["posterior"]
    assert posterior["row"].to_numpy().tolist() == ["0 a x", "1 a x", "2 a y"]


def test_labels_of_any_index_are_taken_in_order() -> None:
    draws = xr.DataArray(np.zeros((2, 4, 2)), dims=("chain", "draw", "row"))
    labels = pd.DataFrame({"x": ["a", "b"]}, index=[7, 3])
    assert Estimates(draws, labels, "t").to_frame()["x"].to_list() == ["a", "b"]


def test_renderings_hold_title_target_notes_and_escape_names() -> None:
    draws = xr.DataArray(np.zeros((2, 4, 1)), dims=("chain", "draw", "row"))
    labels = pd.DataFrame({"<b>é": ["<script>alert('x')</script> & \"q\""]})
    estimates = Estimates(draws, labels, "P(<i>)", "typical", ("a note with <script>",))
    text, html = repr(estimates), estimates._repr_html_()
    assert "target: typical" in text
    assert "2 × 4 draws" in text
    assert "<b>é" in text
    assert "a note with <script>" in text
    assert "<script>" not in html
    assert "<b>é" not in html
    assert "<i>" not in html
    assert "&lt;script&gt;alert" in html


def test_wrong_dims_are_refused() -> None:
    draws = xr.DataArray(np.zeros((2, 4, 1)), dims=("draw", "chain", "row"))
    with pytest.raises(SpecificationError, match=r"the dims \('draw', 'chain', 'row'\)"):
        Estimates(draws, pd.DataFrame({"x": [1]}), "t")


def test_a_label_for_each_estimand() -> None:
    draws = xr.DataArray(np.zeros((2, 4, 1)), dims=("chain", "draw", "row"))
    with pytest.raises(SpecificationError, match="2 labels for 1 estimands"):
        Estimates(draws, pd.DataFrame({"x": [1, 2]}), "t")


def test_labels_may_not_hide_results() -> None:
    draws = xr.DataArray(np.zeros((2, 4, 1)), dims=("chain", "draw", "row"))
    with pytest.raises(DataError, match="'r_hat' has a name that the results use"):
        Estimates(draws, pd.DataFrame({"r_hat": [1]}), "t")


def many(n: int) -> Estimates:
    rng = np.random.default_rng(5)
    draws = xr.DataArray(rng.normal(size=(2, 50, n)), dims=("chain", "draw", "row"))
    labels = pd.DataFrame({"arm": pd.Categorical(["a", "b"] * (n // 2)), "k": range(n)})
    return Estimates(draws, labels, "t")


def test_some_estimands() -> None:
    estimates = many(6)
    part = estimates.take([4, 1])
    assert part.labels["k"].tolist() == [4, 1]
    assert part.labels.index.tolist() == [0, 1]
    np.testing.assert_array_equal(part.draws, estimates.draws.to_numpy()[..., [4, 1]])
    assert part.title == estimates.title
    assert len(estimates.take(slice(2))) == 2


def test_only_the_rows_that_are_shown_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counted(draws: np.ndarray, **kwargs: Any) -> pd.DataFrame:
        sizes.append(draws.shape[2])
        return summarise(draws, **kwargs)

    monkeypatch.setattr("popavg.posterior_tools.estimates.summarise", counted)
    text, html = repr(many(2_000)), many(2_000)._repr_html_()
    assert sizes == [20, 60]
    assert "1,980 of 2,000 rows aren't shown; .to_frame() has all of them." in text
    assert "1,940 of 2,000 rows aren&#x27;t shown" in html
    rows = [line.split() for line in text.splitlines()[2:24]]
    assert [row[1] for row in rows[1:]] == [
        *map(str, range(10)),
        "...",
        *map(str, range(1_990, 2_000)),
    ]
    whole = many(2_000).to_frame()
    assert rows[1][2] == f"{whole['estimate'].iloc[0]:.4g}"
    assert rows[-1][2] == f"{whole['estimate'].iloc[-1]:.4g}"
    assert "aren't shown" not in repr(many(20))
