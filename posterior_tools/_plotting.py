"""What the figures share: backends, sizes, colours, legends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import arviz_plots
import numpy as np
import xarray as xr
from arviz_base import rcParams

from popavg._checks import check_choice
from popavg.errors import SpecificationError

__all__ = ["BACKENDS", "COLOURS", "add_legend", "backend_module", "figure_settings", "visual_style"]

BACKENDS = ("matplotlib", "bokeh", "plotly", "none")

#: Okabe and Ito's colours, told apart by colour-blind readers, and greys.
COLOURS = {
    "blue": "#0072B2",
    "dark blue": "#003D61",
    "light blue": "#A9CCE3",
    "vermilion": "#D55E00",
    "green": "#009E73",
    "black": "#262626",
    "grey": "#B4B8BC",
    "dark grey": "#6B7075",
}

#: Dots per inch of the backends that measure in dots.
DOTS = 92

#: Width of a letter of a legend in inches, and of a line with its margins in letters.
LETTER, SWATCH = 0.08, 8


def backend_module(backend: str | None) -> tuple[str, ModuleType]:
    """A plotting backend of arviz-plots; ``arviz.rcParams["plot.backend"]`` by default.

    Raises
    ------
    SpecificationError
        It is unknown or not installed.
    """
    name = check_choice("backend", backend or rcParams["plot.backend"], BACKENDS)
    try:
        return name, import_module(f"arviz_plots.backend.{name}")
    except ImportError as error:
        raise SpecificationError(
            f"backend={name!r} isn't installed ({error})",
            "matplotlib, which comes with popavg",
            "run: pip install 'popavg[plots]'",
        ) from error


def figure_settings(backend: str, size: tuple[float, float], **given: Any) -> dict[str, Any]:
    """Keywords of the backend's plotting grid: a size in inches, overridden by ``given``."""
    settings: dict[str, Any] = {"figsize": size, "figsize_units": "inches"}
    if backend == "matplotlib":
        settings["layout"] = "constrained"
    else:
        settings["figsize"] = (size[0] * DOTS, size[1] * DOTS)
        settings["figsize_units"] = "dots"
    if backend == "bokeh":
        settings["toolbar_location"] = None
    return settings | given


def visual_style(
    defaults: Mapping[str, Mapping[str, Any]],
    visuals: Mapping[str, Mapping[str, Any] | bool] | None,
) -> dict[str, dict[str, Any]]:
    """Styles of the visuals that are drawn; ``False`` leaves one out.

    Raises
    ------
    SpecificationError
        A name isn't one of the visuals.
    """
    chosen = dict(visuals or {})
    for name in chosen:
        check_choice("visuals", name, tuple(defaults))
    styles: dict[str, dict[str, Any]] = {}
    for name, default in defaults.items():
        given = chosen.get(name, True)
        if isinstance(given, Mapping):
            styles[name] = {**default, **given}
        elif given:
            styles[name] = dict(default)
    return styles


def add_legend(
    collection: arviz_plots.PlotCollection,
    entries: Sequence[tuple[str, Mapping[str, Any]]],
) -> None:
    """One legend of lines: below the panels; in bokeh, which has none for a figure, beside one.

    Parameters
    ----------
    collection : arviz_plots.PlotCollection
        Where to draw it; keeps it as ``viz["legend"]``.
    entries : sequence of (label, style)
        Colour, width and linestyle of each line.
    """
    _, module = backend_module(collection.backend)
    labels = [label for label, _ in entries]
    keys = ("color", "width", "linestyle")
    styles = [{key: style[key] for key in keys if key in style} for _, style in entries]
    if collection.backend == "bokeh":
        target = collection.iget_target(0, -1)
        target.width += 60 + 7 * max(map(len, labels))
    drawn = module.legend(
        collection,
        styles,
        labels,
        update_visuals=False,
        **_legend_place(collection, labels),
    )
    collection.viz["legend"] = xr.DataTree(xr.Dataset({"lines": xr.DataArray(_scalar(drawn))}))


def _legend_place(collection: arviz_plots.PlotCollection, labels: Sequence[str]) -> dict[str, Any]:
    backend = collection.backend
    if backend == "matplotlib":
        columns = _columns(labels, collection.viz["figure"].item().get_figwidth())
        return {"loc": "outside lower center", "ncols": columns, "frameon": False}
    if backend == "plotly":
        place = {"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.2, "yanchor": "top"}
        return {f"legend_{key}": value for key, value in place.items()}
    if backend == "bokeh":
        return {"side": "right", "margin": 10, "border_line_color": None}
    return {}


def _columns(labels: Sequence[str], width: float) -> int:
    """All entries in a row where they fit into this many inches, else three or two."""
    inches = [LETTER * (len(label) + SWATCH) for label in labels]
    if sum(inches) <= width:
        return len(labels)
    return 3 if 3 * max(inches) <= width else 2


def _scalar(value: object) -> Any:
    box = np.empty((), dtype=object)
    box[()] = value
    return box
