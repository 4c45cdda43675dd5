"""The pieces of the population curve's picture that arviz-plots doesn't have."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots.plot_collection import backend_from_object
from numpy.typing import NDArray

from popavg.posterior_tools._plotting import backend_module
from popavg.posterior_tools.crossings import Crossing

__all__ = ["Frame", "Pairs", "draw_bars", "draw_points", "draw_reference", "draw_tangent"]

#: How far the reference stands to the right of a category, so that it doesn't hide the average.
NUDGE = 0.07

#: From the words' place at the top of a panel to that at its bottom, as a part of its height.
TO_BOTTOM = 0.72

Pairs = list[tuple[NDArray[np.float64], NDArray[np.float64]]]


@dataclass(frozen=True)
class Frame:
    """Limits that all panels share.

    Attributes
    ----------
    x, y : tuple of two floats
        From left to right, from bottom to top.
    """

    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, across: float, up: float) -> tuple[float, float]:
        """The point at these fractions of the panel."""
        (left, right), (bottom, top) = self.x, self.y
        return left + across * (right - left), bottom + up * (top - bottom)


def draw_bars(
    da: xr.DataArray, target: Any, *, y_bottom: xr.DataArray, y_top: xr.DataArray, **style: Any
) -> Any:
    """Credible intervals of categories as thick bars."""
    _, module = _module_of(target)
    ends = y_bottom.to_numpy(), y_top.to_numpy()
    return module.ciliney(da["x"].to_numpy(), *ends, target, **{"width": 7, **style})


def draw_points(da: xr.DataArray, target: Any, **style: Any) -> Any:
    """Population averages of categories as points."""
    name, module = _module_of(target)
    size = 6 if name == "bokeh" else 30
    return module.scatter(da["x"].to_numpy(), da.to_numpy(), target, size=size, **style)


def draw_reference(
    da: xr.DataArray,
    target: Any,
    *,
    pairs: Pairs,
    marked: bool,
    sel: dict[str, Any],
    var_name: str,
    isel: dict[str, Any],
    **style: Any,
) -> Any:
    """The reference's curve in the panel ``sel["panel"]``, ``marked`` with points in categories."""
    name, module = _module_of(target)
    x, mean = pairs[int(sel.get("panel", 0))]
    if marked:
        x = x + NUDGE
        look = {"facecolor": "B0", "edgecolor": style["color"], "width": 1.6, "marker": "C5"}
        module.scatter(x, mean, target, size=7 if name == "bokeh" else 40, **look)
    return module.line(x, mean, target, **style)


def draw_tangent(
    da: xr.DataArray,
    target: Any,
    *,
    crossings: tuple[Crossing | None, ...],
    words: tuple[str, str],
    height: float,
    frame: Frame,
    over: str,
    sel: dict[str, Any],
    var_name: str,
    isel: dict[str, Any],
    **style: Any,
) -> Any:
    """A short tangent at one half and its slope in two lines, or that there is none."""
    name, module = _module_of(target)
    crossing = crossings[int(sel.get("panel", 0))]
    falls = float(da[-1]) < float(da[0])
    side, near = (0.98, float(da[-1])) if falls else (0.02, float(da[0]))
    is_free = near < frame.at(0.0, 0.6)[1]
    x, y = frame.at(side, height if is_free else height - TO_BOTTOM)
    if crossing is None:
        text = f"{words[0]}: doesn't\ncross one half here"
    else:
        slope = f"{crossing.slope:+.2g}".replace("-", "−")
        text = f"{words[0]}: {words[1]} = {slope}\nper unit of {over}"
    module.text(
        x,
        y,
        text,
        target,
        color=style["color"],
        size=8 if name == "matplotlib" else 11,
        vertical_align="top",
        horizontal_align="right" if falls else "left",
    )
    if crossing is None:
        return None
    reach = min(0.16 / max(abs(crossing.slope), 1e-12), 0.14 * (frame.x[1] - frame.x[0]))
    ends = np.array([-reach, reach])
    module.scatter(crossing.x, 0.5, target, color=style["color"], size=7 if name == "bokeh" else 40)
    return module.line(crossing.x + ends, 0.5 + crossing.slope * ends, target, **style)


def _module_of(target: Any) -> tuple[str, ModuleType]:
    return backend_module(backend_from_object(target, return_module=False))
