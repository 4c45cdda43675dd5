"""Draw a verb's curves: a line with its band along a number, points along a category."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from types import ModuleType
from typing import Any

import numpy as np
import xarray as xr
from arviz_base import rcParams
from arviz_plots import PlotCollection
from arviz_plots.plot_collection import backend_from_object
from arviz_plots.visuals import fill_between_y, line

from popavg._checks import listing
from popavg.errors import SpecificationError
from popavg.posterior_tools._plotting import (
    COLOURS,
    add_legend,
    backend_module,
    figure_settings,
    visual_style,
)
from popavg.posterior_tools._verb_curves import VerbCurves

__all__ = ["STYLES", "draw_curves"]

#: Told apart by colour-blind readers (Okabe and Ito).
PALETTE = (
    *(COLOURS[name] for name in ("blue", "vermilion", "green")),
    *("#CC79A7", "#E69F00", "#56B4E9", COLOURS["black"]),
)
#: Styles of the visuals, in the order in which they are drawn.
STYLES: dict[str, dict[str, Any]] = {
    "null": {"color": COLOURS["dark grey"], "width": 1.0, "linestyle": "C1"},
    "band": {"alpha": 0.22},
    "line": {"width": 2.6},
    "interval": {"width": 6, "alpha": 0.35},
    "point": {},
}
Limits = tuple[float, float]


def draw_curves(
    curves: VerbCurves,
    *,
    interval: str,
    null: float | None = None,
    within: Limits | None = None,
    backend: str | None = None,
    visuals: Mapping[str, Mapping[str, Any] | bool] | None = None,
    pc_kwargs: Mapping[str, Any],
) -> PlotCollection:
    """Panels side by side; ``null`` is a line to compare with, ``within`` bounds the y axis.

    Panels in different units have y axes of their own.
    """
    name, module = backend_module(backend)
    styles = visual_style(STYLES, visuals)
    colours = _colours(curves)
    collection = _collection(curves, name, colours, dict(pc_kwargs))
    x = _x_limits(curves)
    if null is not None and "null" in styles:
        collection.map(
            _draw_null,
            "null",
            data=curves.data[["estimate"]],
            ends=x,
            height=null,
            ignore_aes="all",
            **styles["null"],
        )
    _draw_along(collection, curves, styles)
    heights = {unit: _y_limits(curves, unit, null, within) for unit in curves.units}
    _dress(collection, curves, module, limits=(x, heights))
    add_legend(collection, _legend(curves, styles, colours, interval=interval))
    return collection


def _colours(curves: VerbCurves) -> list[str]:
    n_levels = len(curves.levels)
    if n_levels > len(PALETTE):
        raise SpecificationError(
            f"{n_levels} levels to be told apart by colour: {listing(curves.levels, 3)}",
            f"at most {len(PALETTE)} levels of the first covariate in by=",
            "choose some, by={'age': [20, 40]}, or name another covariate first: the ones after "
            "the first make panels",
        )
    return list(PALETTE[:n_levels])


def _collection(
    curves: VerbCurves, backend: str, colours: list[str], options: dict[str, Any]
) -> PlotCollection:
    n_panels, limit = len(curves.panels), rcParams["plot.max_subplots"]
    if limit is not None and n_panels > limit:
        raise SpecificationError(
            f"{n_panels} panels: {listing(curves.panels, 3)}",
            f"at most {limit} (arviz.rcParams['plot.max_subplots'])",
            "name fewer covariates or values in by=, such as by={'age': [20, 40, 60]}",
        )
    options = {"cols": ["panel"], "col_wrap": 2 if n_panels == 4 else 3, **options}
    n_cols = min(n_panels, options["col_wrap"])
    n_rows = -(-n_panels // n_cols)
    width = {1: 6.4, 2: 4.4}.get(n_cols, 3.7)
    size = (width * n_cols, (4.3 if n_cols == 1 else 3.5) * n_rows + 0.6)
    given = {"sharey": curves.shares_axis, **options.pop("figure_kwargs", {})}
    return PlotCollection.wrap(
        curves.data[["estimate"]],
        backend=backend,
        aes={"color": ["level"]},
        color=colours,
        figure_kwargs=figure_settings(backend, size, **given),
        **options,
    )


def _draw_along(
    collection: PlotCollection, curves: VerbCurves, styles: dict[str, dict[str, Any]]
) -> None:
    data = curves.data
    estimate = data[["estimate"]]
    bounds = {"y_bottom": data["lower"], "y_top": data["upper"]}
    if curves.ticks is None:
        if "band" in styles:
            collection.map(
                fill_between_y, "band", data=estimate, x=data["x"], **bounds, **styles["band"]
            )
        if "line" in styles:
            collection.map(line, "line", data=estimate, xname="x", **styles["line"])
        return
    if "interval" in styles:
        collection.map(
            _draw_intervals,
            "interval",
            data=estimate,
            where=data["where"],
            **bounds,
            **styles["interval"],
        )
    if "point" in styles:
        collection.map(_draw_points, "point", data=estimate, where=data["where"], **styles["point"])


def _draw_null(da: xr.DataArray, target: Any, *, ends: Limits, height: float, **style: Any) -> Any:
    _, module = _module_of(target)
    return module.line(np.array(ends), np.array([height, height]), target, **style)


def _draw_intervals(
    da: xr.DataArray,
    target: Any,
    *,
    where: xr.DataArray,
    y_bottom: xr.DataArray,
    y_top: xr.DataArray,
    **style: Any,
) -> Any:
    _, module = _module_of(target)
    ends = y_bottom.to_numpy(), y_top.to_numpy()
    return module.ciliney(where.to_numpy(), *ends, target, **style)


def _draw_points(da: xr.DataArray, target: Any, *, where: xr.DataArray, **style: Any) -> Any:
    name, module = _module_of(target)
    size = 8 if name == "bokeh" else 42
    return module.scatter(where.to_numpy(), da.to_numpy(), target, **{"size": size, **style})


def _module_of(target: Any) -> tuple[str, ModuleType]:
    return backend_module(backend_from_object(target, return_module=False))


def _x_limits(curves: VerbCurves) -> Limits:
    x = curves.axis.positions
    margin = 0.5 if curves.ticks is not None else 0.02 * (x[-1] - x[0])
    return float(x[0] - margin), float(x[-1] + margin)


def _y_limits(curves: VerbCurves, unit: str, null: float | None, within: Limits | None) -> Limits:
    """Around all that is drawn in a unit; a probability from 0, to 1 where it passes one half."""
    panels = curves.data.isel(panel=[i for i, own in enumerate(curves.units) if own == unit])
    drawn = [panels[name].to_numpy().ravel() for name in ("lower", "upper", "estimate")]
    everything = np.concatenate([*drawn, [] if null is None else [null]])
    low, high = float(np.nanmin(everything)), float(np.nanmax(everything))
    if within is not None:
        low, high = within[0], within[1] if high > 0.5 * within[1] else high
    narrow = within is not None and curves.ticks is None  # bars are as wide beyond their ends
    margin = (0.02 if narrow else 0.05) * (high - low) or 0.5
    return low - margin, high + margin


def _dress(
    collection: PlotCollection,
    curves: VerbCurves,
    module: ModuleType,
    *,
    limits: tuple[Limits, Mapping[str, Limits]],
) -> None:
    """Limits, labels and headings."""
    cols = collection.viz["col_index"]
    n_cols = int(cols.max()) + 1
    for i, heading in enumerate(curves.panels):
        target = collection.get_target(None, {"panel": i})
        module.xlim(limits[0], target)
        module.ylim(limits[1][curves.units[i]], target)
        if heading:
            module.title(fill(heading, 40), target)
        if int(cols.isel(panel=i)) == 0 or not curves.shares_axis:
            lines = curves.titles[i].split("\n")
            module.ylabel("\n".join(fill(part, 38) for part in lines), target)
        if i + n_cols >= len(curves.panels):
            module.xlabel(curves.axis.name, target)
        if curves.ticks is not None:
            room = 70 // min(n_cols + 1, 4)
            tilted = {"rotation": 30} if sum(map(len, curves.ticks)) > room else {}
            module.xticks(curves.axis.positions, curves.ticks, target, **tilted)
    is_matplotlib = collection.backend == "matplotlib"
    letters = 60 if n_cols == 1 else 90
    collection.add_title(fill(curves.subtitle, letters), size=11 if is_matplotlib else 14)


def _legend(
    curves: VerbCurves,
    styles: dict[str, dict[str, Any]],
    colours: list[str],
    *,
    interval: str,
) -> list[tuple[str, dict[str, Any]]]:
    """A colour for each level, then the band."""
    centre, around = ("line", "band") if curves.ticks is None else ("point", "interval")
    lone = f"posterior {rcParams['stats.point_estimate']}"
    entries = [
        (level or lone, {"width": 2.6, "color": styles[centre].get("color", colour)})
        for level, colour in zip(curves.levels, colours, strict=True)
        if centre in styles
    ]
    if around in styles:
        lone_colour = COLOURS["light blue"] if len(colours) == 1 else COLOURS["grey"]
        entries.append((interval, {"width": 7, "color": lone_colour}))
    return entries
