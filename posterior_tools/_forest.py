"""The forest plot of a result's estimands."""

from __future__ import annotations

from textwrap import fill
from typing import Any

import arviz_plots
import numpy as np
import xarray as xr

from popavg.posterior_tools._plotting import COLOURS, LETTER, backend_module, figure_settings

__all__ = ["plot_estimates"]

#: What arviz-plots draws, in this package's colours.
_STYLES: dict[str, dict[str, Any]] = {
    "twig": {"color": COLOURS["blue"]},
    "trunk": {"color": COLOURS["blue"]},
    "point_estimate": {"color": COLOURS["blue"]},
}
#: Letters of a name's line, inches of the panel and of a line of names.
_LETTERS, _WIDTH, _LINE = 44, 5.0, 0.24


def plot_estimates(
    tree: xr.DataTree,
    dim: str,
    label: str,
    *,
    backend: str | None = None,
    visuals: dict[str, Any] | None = None,
    **kwargs: Any,
) -> arviz_plots.PlotCollection:
    """``arviz_plots.plot_forest`` of one variable along one dim, its x axis labelled."""
    name, module = backend_module(backend)
    data = tree["posterior"].to_dataset()
    names = [_wrapped(str(value)) for value in data[dim].to_numpy()]
    wrapped = xr.DataTree.from_dict({"posterior": data.assign_coords({dim: names})})
    options: Any = {"combined": True, "backend": name, "labels": [dim], **kwargs}
    if "plot_collection" not in options:
        options["figure_kwargs"] = _figure(name, names) | options.get("figure_kwargs", {})
    options["visuals"] = {**_STYLES, "ticklabels": False, **(visuals or {})}
    collection = arviz_plots.plot_forest(wrapped, **options)
    if name != "none":
        module.xlabel(label, collection.get_target(None, {"column": "forest"}))
        names_panel = collection.get_target(None, {"column": "labels"})
        module.xlim((0.0, 1.0), names_panel)
        module.remove_axis(names_panel, axis="both")
    return collection


def _figure(backend: str, names: list[str]) -> dict[str, Any]:
    """Room for the longest name, and a height that grows with the lines of all names."""
    lines = [line for name in names for line in name.split("\n")]
    names_width = max(1.0, LETTER * max(map(len, lines), default=1))
    height = (2.6 if backend == "plotly" else 1.0) + _LINE * max(len(lines), 1.4 * len(names))
    figure = figure_settings(backend, (names_width + _WIDTH, height))
    return {**figure, "width_ratios": np.array([names_width, _WIDTH])}


def _wrapped(name: str) -> str:
    """A long contrast in a line for each side."""
    sides = name.replace(" − ", " −\n").split("\n") if len(name) > _LETTERS else [name]
    return "\n".join(fill(side, _LETTERS) for side in sides)
