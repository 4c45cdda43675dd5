"""The figure of a check: densities of the logarithm, and the likelihood, each scaled to 1."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

import popavg as pa
from popavg.errors import SpecificationError
from popavg.posterior_tools.check_plot import plot_check
from popavg.posterior_tools.check_result import SDView
from popavg.posterior_tools.sd_profile import SDProfile


@pytest.fixture
def views() -> list[SDView]:
    prior = pa.Prior("HalfNormal", 2)
    x = np.linspace(-2, 3, 30)
    profile = SDProfile("sd_g", np.exp(x), -8 * (x - 0.5) ** 2, -16 * (x - 0.5), -99.0)
    draws = np.exp(np.random.default_rng(1).normal(0.4, 0.2, 1000))
    return [SDView("sd_g[Intercept]", draws, prior, profile), SDView("sd_g[x]", draws)]


def test_curves_have_their_largest_value_where_they_should(views: list[SDView]) -> None:
    figure = plot_check(views, backend="matplotlib")
    axis = figure.get_target(None, {"panel": 0})
    prior, likelihood = (line.get_data() for line in axis.lines)
    # d/dx (x - exp(2x)/8) = 0 at exp(x) = 2
    assert np.exp(prior[0][prior[1].argmax()]) == pytest.approx(2.0, rel=0.02)
    assert likelihood[0][np.nanargmax(likelihood[1])] == pytest.approx(0.5, abs=0.02)
    assert np.nanmax(likelihood[1]) == pytest.approx(1.0, abs=1e-3)
    labels = [text.get_text() for text in axis.get_xticklabels()]
    assert {"0.5", "1", "2"} <= set(labels)
    assert np.allclose(np.exp(axis.get_xticks()), [float(label) for label in labels])
    assert axis.get_xlabel() == "sd_g[Intercept] (logarithmic)"
    (band,) = axis.collections
    top = band.get_paths()[0].vertices
    assert top[top[:, 1].argmax(), 0] == pytest.approx(0.4, abs=0.08)
    plt.close("all")


def test_the_second_panel_has_only_draws(views: list[SDView]) -> None:
    figure = plot_check(views, backend="matplotlib")
    axis = figure.get_target(None, {"panel": 1})
    assert all(np.isnan(line.get_ydata()).all() for line in axis.lines)
    plt.close("all")


def test_visuals_can_be_left_out(views: list[SDView]) -> None:
    figure = plot_check(views, backend="none", visuals={"prior": False})
    assert sorted(figure.viz.children) == ["legend", "likelihood", "posterior"]
    with pytest.raises(SpecificationError, match="visuals='curve' is unknown"):
        plot_check(views, backend="none", visuals={"curve": False})


@pytest.mark.parametrize("backend", ["bokeh", "plotly"])
def test_other_backends(views: list[SDView], backend: str) -> None:
    pytest.importorskip(backend)
    assert plot_check(views, backend=backend).backend == backend
