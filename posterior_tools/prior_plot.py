"""Draw prior curves of the population mean: some draws in grey, their average, their band."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from arviz_plots.visuals import fill_between_y, line, multiple_lines

from popavg.errors import SpecificationError
from popavg.posterior_tools._plotting import (
    COLOURS,
    add_legend,
    backend_module,
    figure_settings,
    visual_style,
)
from popavg.posterior_tools._prior_facts import PriorFacts
from popavg.posterior_tools.curve_visuals import draw_bars
from popavg.posterior_tools.summaries import IntervalKind, interval_settings, intervals

__all__ = ["plot_prior"]

#: Styles of the visuals, in the order in which they are drawn.
STYLES: dict[str, dict[str, Any]] = {
    "band": {"color": COLOURS["blue"], "alpha": 0.2},
    "draws": {"color": COLOURS["grey"], "width": 0.9},
    "average": {"color": COLOURS["blue"], "width": 3.2},
}
#: Parts that a histogram is divided into.
BINS = 25


def plot_prior(
    check: PriorFacts,
    *,
    n_curves: int = 50,
    ci_prob: float | None = None,
    ci_kind: IntervalKind | None = None,
    backend: str | None = None,
    visuals: Mapping[str, Mapping[str, Any] | bool] | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Draw what :meth:`popavg.posterior_tools.prior_check_result.PriorCheck.plot` says.

    Parameters
    ----------
    check : PriorCheck
        Prior draws of curves.
    n_curves, ci_prob, ci_kind, backend, visuals, **pc_kwargs : optional
        As for the method.

    Returns
    -------
    arviz_plots.PlotCollection
        What was drawn is in ``viz``, under the names of the visuals.

    Raises
    ------
    SpecificationError
        An unknown backend or visual, a negative number of curves.

    Examples
    --------
    >>> import popavg as pa
    >>> check = pa.prior_check("resp ~ age + (1 | id)", pa.load_dataset("ohio"), link="logit")
    >>> figure = check.plot(backend="none")
    >>> figure.viz["draws"].dataset.sizes["panel"]
    1
    """
    if n_curves < 0:
        raise SpecificationError(f"n_curves={n_curves}", "0 or more")
    name, _ = backend_module(backend)
    styles = visual_style(STYLES, visuals)
    prob, _ = interval_settings(ci_prob, ci_kind)
    if check.axis is None:
        return _histogram(check, name, styles, pc_kwargs)
    data = _curves(check, n_curves, ci_prob, ci_kind)
    collection = _collection(data, name, pc_kwargs)
    is_category = check.axis.is_category
    common: dict[str, Any] = {"ignore_aes": "all"}
    if "band" in styles:
        bounds = {"y_bottom": data["lower"], "y_top": data["upper"]}
        collection.map(
            draw_bars if is_category else fill_between_y, "band", data=data[["average"]],
            **bounds, **({} if is_category else {"x": data["x"]}), **common, **styles["band"],
        )  # fmt: skip
    if "draws" in styles and data.sizes["curve"]:
        collection.map(
            multiple_lines, "draws", data=data[["draws"]], x_dim="x", **common, **styles["draws"]
        )
    if "average" in styles:
        collection.map(
            line, "average", data=data[["average"]], xname="x", **common, **styles["average"]
        )
    _dress(collection, check)
    labels = {
        "draws": f"{data.sizes['curve']} draws of the prior" if data.sizes["curve"] else None,
        "average": "their average (all draws)",
        "band": f"{100 * prob:g} % of the draws",
    }
    swatches = {
        "draws": {"width": 1.6},
        "band": {"width": 7, "color": COLOURS["light blue"]},
    }
    entries = [
        (label, {**styles[visual], **swatches.get(visual, {})})
        for visual, label in labels.items()
        if label and visual in styles
    ]
    add_legend(collection, entries)
    return collection


def _curves(
    check: PriorFacts, n_curves: int, ci_prob: float | None, ci_kind: IntervalKind | None
) -> xr.Dataset:
    assert check.axis is not None
    x = check.axis.positions
    values = check.curves.draws.to_numpy()
    flat = values.reshape(-1, len(check.panels), len(x))
    shown = np.unique(np.linspace(0, len(flat) - 1, min(n_curves, len(flat))).astype(int))
    table = intervals(values, ci_prob=ci_prob, ci_kind=ci_kind, point_estimate="mean")
    dims = ("panel", "x")
    variables: dict[str, Any] = {
        name: (dims, table[column].to_numpy().reshape(-1, len(x)))
        for name, column in {"average": "estimate", "lower": "lower", "upper": "upper"}.items()
    }
    variables["draws"] = (("panel", "curve", "x"), np.moveaxis(flat[shown], 0, 1))
    return xr.Dataset(variables, coords={"panel": range(len(check.panels)), "x": x})


def _collection(data: xr.Dataset, backend: str, pc_kwargs: dict[str, Any]) -> PlotCollection:
    options: dict[str, Any] = {"cols": ["panel"], "col_wrap": 3, **pc_kwargs}
    n_cols = min(data.sizes["panel"], options["col_wrap"])
    n_rows = -(-data.sizes["panel"] // n_cols)
    width = {1: 6.4, 2: 4.4}.get(n_cols, 3.7)
    size = (width * n_cols, (4.3 if n_cols == 1 else 3.5) * n_rows + 0.6)
    given = {"sharey": True, **options.pop("figure_kwargs", {})}
    figure = figure_settings(backend, size, **given)
    return PlotCollection.wrap(data, backend=backend, figure_kwargs=figure, **options)


def _dress(collection: PlotCollection, check: PriorFacts) -> None:
    assert check.axis is not None
    _, module = backend_module(collection.backend)
    n_cols = int(collection.viz["col_index"].max()) + 1
    for i, label in enumerate(check.panels):
        target = collection.get_target(None, {"panel": i})
        if check.is_probability:
            module.ylim((-0.02, 1.02), target)
        if label:
            module.title(fill(label, 40), target)
        if int(collection.viz["col_index"].isel(panel=i)) == 0:
            module.ylabel(fill(check.curves.title, 34), target)
        if i + n_cols >= len(check.panels):
            module.xlabel(check.axis.name, target)
        if check.axis.is_category:
            names = [str(value) for value in check.axis.values]
            module.xticks(check.axis.positions, names, target)
    collection.add_title("Priors alone", size=11 if collection.backend == "matplotlib" else 14)


def _histogram(
    check: PriorFacts, backend: str, styles: dict[str, dict[str, Any]], pc_kwargs: dict[str, Any]
) -> PlotCollection:
    """The mean's distribution: its draws as the outline of a histogram, and its density."""
    limits = (0.0, 1.0) if check.is_probability else None
    heights, edges = np.histogram(check.values, BINS, range=limits, density=True)
    x = np.repeat(edges, 2)
    y = np.concatenate([[0.0], np.repeat(heights, 2), [0.0]])
    outline = xr.Dataset({"draws": (("panel", "x"), y[None])}, coords={"panel": [0], "x": x})
    collection = _collection(outline, backend, pc_kwargs)
    _, module = backend_module(backend)
    entries = []
    if "draws" in styles:
        collection.map(line, "draws", xname="x", ignore_aes="all", **styles["draws"])
        entries.append((f"{len(check.values):,} draws of the prior", styles["draws"]))
    if "average" in styles and check.shape is not None:
        dims, coords = ("panel", "x"), {"panel": [0], "x": check.shape.probability}
        curve = xr.Dataset({"average": (dims, check.shape.density[None])}, coords=coords)
        collection.map(
            line, "average", data=curve, xname="x", ignore_aes="all", **styles["average"]
        )
        entries.append(("its density", styles["average"]))
    target = collection.get_target(None, {"panel": 0})
    module.xlabel(fill(check.average.title, 50), target)
    module.ylabel("prior density", target)
    collection.add_title("Priors alone", size=11 if backend == "matplotlib" else 14)
    if entries:
        add_legend(collection, entries)
    return collection
