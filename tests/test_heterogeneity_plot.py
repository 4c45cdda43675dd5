"""The figure of differences between clusters."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from arviz_base import rc_context
from numpy.testing import assert_allclose

import popavg as pa
from popavg.errors import SpecificationError
from popavg.posterior_tools.heterogeneity import heterogeneity
from popavg.posterior_tools.heterogeneity_plot import MEAN_LEVELS, plot_heterogeneity
from popavg.posterior_tools.heterogeneity_result import Heterogeneity

MakeFit = Callable[..., xr.DataTree]


@pytest.fixture
def result(make_fit: MakeFit, frame: pd.DataFrame) -> Heterogeneity:
    fit = make_fit("y ~ arm + x + (1 + x | g)", frame, shape=(2, 20))
    return heterogeneity(fit, "x", quantiles=[0.1, 0.5], threshold=[0.0, 0.1])


def test_levels_are_shares_in_order() -> None:
    assert np.all(np.diff(MEAN_LEVELS) > 0)
    assert_allclose(MEAN_LEVELS + MEAN_LEVELS[::-1], 1.0)


def test_curves_are_the_quantiles_of_the_tables(result: Heterogeneity) -> None:
    figure = result.plot(backend="matplotlib", ci_prob=0.8)
    axes = [figure.get_target(None, {"panel": i}) for i in (0, 1)]
    assert axes[0].get_ylabel().replace("\n", " ") == "probability of y"
    assert axes[1].get_title().startswith("+1")
    assert axes[0].get_xlabel() == "clusters of 'g' in order, per cent"
    for axis, table in zip(axes, (result.probability, result.effect), strict=True):
        (curve,) = [drawn for drawn in axis.lines if drawn.get_linewidth() == 2.8]
        x, y = curve.get_data()
        for k, level in ((1, 10.0), (2, 50.0)):
            expected = np.median(table.draws.to_numpy()[..., k])
            assert np.interp(level, x, y) == pytest.approx(expected, abs=2e-3)
        mean = np.median(table.draws.to_numpy()[..., 0])
        assert any(np.allclose(drawn.get_ydata(), mean) for drawn in axis.lines)
    labels = [text.get_text() for text in figure.viz["figure"].item().legends[0].get_texts()]
    assert sorted(labels) == [
        "80 % credible band",
        "clusters of the population",
        "mean over the clusters",
        "threshold",
    ]
    plt.close("all")


def test_visuals_can_be_left_out(result: Heterogeneity) -> None:
    figure = result.plot(backend="none", visuals={"mean": False, "clusters": {"width": 1}})
    assert "mean" not in figure.viz.children
    assert {"band", "clusters", "threshold", "threshold_1"} <= set(figure.viz.children)
    with pytest.raises(SpecificationError, match="visuals='median' is unknown"):
        result.plot(backend="none", visuals={"median": False})


@pytest.mark.parametrize("backend", ["bokeh", "plotly"])
def test_other_backends(result: Heterogeneity, backend: str) -> None:
    pytest.importorskip(backend)
    figure = result.plot(backend=backend)
    assert figure.backend == backend


def test_without_an_effect_there_is_no_threshold(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("count ~ arm + x + (1 | g)", frame, "log")
    many = heterogeneity(fit, newdata=pa.datagrid(x=[-1, 0, 1]))
    figure = plot_heterogeneity(many.curves, "g", backend="none")
    assert "threshold" not in figure.viz.children
    assert figure.viz["clusters"].dataset.sizes["panel"] == 3
    with (
        rc_context({"plot.max_subplots": 2}),
        pytest.raises(SpecificationError, match="3 rows and effects, each a panel"),
    ):
        many.plot(backend="none")
