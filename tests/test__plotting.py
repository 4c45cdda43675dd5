"""What the figures share."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest
from arviz_base import rc_context

from popavg.errors import SpecificationError
from popavg.posterior_tools import _plotting


def test_the_backend_is_arviz_own_by_default() -> None:
    with rc_context({"plot.backend": "none"}):
        assert _plotting.backend_module(None)[0] == "none"


def test_a_backend_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(_plotting, "import_module", missing)
    with pytest.raises(SpecificationError, match=r"isn't installed.*pip install 'popavg\[plots\]'"):
        _plotting.backend_module("bokeh")
    assert importlib.import_module("arviz_plots.backend.none")


def test_figure_settings() -> None:
    assert _plotting.figure_settings("matplotlib", (4, 3), sharey=True) == {
        "figsize": (4, 3),
        "figsize_units": "inches",
        "layout": "constrained",
        "sharey": True,
    }
    plotly = _plotting.figure_settings("plotly", (4, 3), figsize=(100, 50))
    assert plotly == {"figsize": (100, 50), "figsize_units": "dots"}


def test_visual_style() -> None:
    defaults = {"line": {"color": "red", "width": 1}, "band": {"color": "blue"}}
    assert _plotting.visual_style(defaults, None) == defaults
    assert _plotting.visual_style(defaults, {"line": {"width": 2}, "band": False}) == {
        "line": {"color": "red", "width": 2}
    }
    with pytest.raises(SpecificationError, match="visuals='bnad' is unknown"):
        _plotting.visual_style(defaults, {"bnad": False})


def test_columns_of_a_legend() -> None:
    labels = ["20 random clusters", "typical cluster", "population average", "GEE (exchangeable)"]
    assert [_plotting._columns(labels, width) for width in (9.0, 7.0, 6.0)] == [4, 3, 2]
