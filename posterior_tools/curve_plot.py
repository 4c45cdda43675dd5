"""Draw the population curve: grey curves of random clusters, their average bold, the GEE dashed."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from arviz_base import rcParams
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
from popavg.posterior_tools.curve_visuals import (
    Frame,
    Pairs,
    draw_bars,
    draw_points,
    draw_reference,
    draw_tangent,
)
from popavg.posterior_tools.population_curve import PopulationCurve

__all__ = ["plot_curve"]

#: Styles of the visuals, in the order in which they are drawn.
STYLES: dict[str, dict[str, Any]] = {
    "clusters": {"color": COLOURS["grey"], "width": 0.9},
    "band": {"color": COLOURS["blue"], "alpha": 0.3},
    "typical": {"color": COLOURS["dark grey"], "width": 1.8, "linestyle": "C2"},
    "average": {"color": COLOURS["blue"], "width": 3.2},
    "reference": {"color": COLOURS["vermilion"], "width": 2.2, "linestyle": "C1"},
    "conditional_slope": {"color": COLOURS["black"], "width": 2.4},
    "population_slope": {"color": COLOURS["dark blue"], "width": 2.4},
}


def plot_curve(
    curve: PopulationCurve,
    *,
    reference: pd.DataFrame | None = None,
    reference_label: str = "GEE",
    slopes: bool = False,
    backend: str | None = None,
    plot_collection: PlotCollection | None = None,
    visuals: Mapping[str, Mapping[str, Any] | bool] | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Draw conditional curves, their population average with its band, and a reference.

    Parameters
    ----------
    curve : PopulationCurve
        From :func:`popavg.posterior_tools.population_curve.population_curve`.
    reference : pandas.DataFrame, optional
        Another model's population mean, columns ``over``, ``by`` and ``mean``.
    reference_label : str
        Its name in the legend.
    slopes : bool
        Mark β/4 and β̃/4 where the curves cross one half; the curve must have them.
    backend : {"matplotlib", "bokeh", "plotly"}, optional
        By default ``arviz.rcParams["plot.backend"]``.
    plot_collection : arviz_plots.PlotCollection, optional
        Draw into this one, which has a plot for each value 0, 1, … of the dim ``panel``.
    visuals : mapping, optional
        Keywords for ``clusters``, ``band``, ``typical``, ``average``, ``reference``,
        ``conditional_slope``, ``population_slope``, or False to leave one out.
    **pc_kwargs
        For :meth:`arviz_plots.PlotCollection.wrap`: ``col_wrap``, ``figure_kwargs``, …

    Returns
    -------
    arviz_plots.PlotCollection
        What was drawn is in ``viz``, under the names of the visuals.

    Raises
    ------
    SpecificationError
        An unknown backend or visual, more panels than ``arviz.rcParams["plot.max_subplots"]``,
        slopes that the curve doesn't have.
    DataError
        A reference that lacks columns or panels.

    Notes
    -----
    Probabilities are drawn on [0, 1], or from 0 where all curves are below one half. Means without
    an upper bound are drawn up to three times the highest point of the band, so that a few extreme
    clusters don't flatten everything else. Along a category the reference stands a little to the
    right of its level.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.curve_plot import plot_curve
    >>> from popavg.posterior_tools.population_curve import population_curve
    >>> curve = population_curve(pa.load_example(), "time", by="treatment")
    >>> figure = plot_curve(curve, backend="none")
    >>> sorted(figure.viz["average"].dataset.sizes.items())
    [('panel', 2)]
    """
    if slopes and curve.conditional_crossings is None:
        raise SpecificationError(
            "slopes=True, but the curve was computed without them",
            remedy="call population_curve(…, slopes=True)",
        )
    name, module = backend_module(plot_collection.backend if plot_collection else backend)
    pairs = None if reference is None else curve.align(reference)
    styles = visual_style(STYLES, visuals)
    data = _dataset(curve)
    collection = plot_collection or _collection(curve, data, name, pc_kwargs)
    frame = _frame(curve, pairs)
    _draw_curves(collection, curve, data, styles, typical=slopes)
    if pairs is not None and "reference" in styles:
        collection.map(
            draw_reference,
            "reference",
            data=data[["average"]],
            subset_info=True,
            pairs=pairs,
            marked=curve.ticks is not None,
            ignore_aes="all",
            **styles["reference"],
        )
    if slopes:
        _draw_slopes(collection, curve, data, styles=styles, frame=frame)
    _dress(collection, curve, module, frame)
    add_legend(collection, _legend(curve, styles, reference_label if pairs else None, slopes))
    return collection


def _dataset(curve: PopulationCurve) -> xr.Dataset:
    dims = ("panel", "x")
    names = ("average", "lower", "upper", "typical")
    variables: dict[str, Any] = {name: (dims, getattr(curve, name)) for name in names}
    variables["conditional"] = (("panel", "cluster", "x"), curve.conditional)
    return xr.Dataset(variables, coords={"panel": range(len(curve.panels)), "x": curve.x})


def _collection(
    curve: PopulationCurve, data: xr.Dataset, backend: str, pc_kwargs: dict[str, Any]
) -> PlotCollection:
    """Panels in rows of at most three, four of them in a square."""
    n_panels, limit = len(curve.panels), rcParams["plot.max_subplots"]
    if limit is not None and n_panels > limit:
        raise SpecificationError(
            f"by={', '.join(curve.by)} makes {n_panels} panels",
            f"at most {limit} (arviz.rcParams['plot.max_subplots'])",
            "name fewer covariates or values in by=, such as by={'age': [20, 40, 60]}",
        )
    options: dict[str, Any] = {
        "cols": ["panel"],
        "col_wrap": 2 if n_panels == 4 else 3,
        **pc_kwargs,
    }
    n_cols = min(n_panels, options["col_wrap"])
    n_rows = -(-n_panels // n_cols)
    width = {1: 6.4, 2: 4.4}.get(n_cols, 3.7)
    size = (width * n_cols, (4.3 if n_cols == 1 else 3.5) * n_rows + 0.6)
    given = {"sharey": True, **options.pop("figure_kwargs", {})}
    figure = figure_settings(backend, size, **given)
    return PlotCollection.wrap(data, backend=backend, figure_kwargs=figure, **options)


def _frame(curve: PopulationCurve, pairs: Pairs | None) -> Frame:
    """Limits of both axes, with a margin."""
    means = [curve.lower, curve.upper, *(mean for _, mean in pairs or ())]
    everything = np.concatenate([np.ravel(part) for part in [*means, curve.conditional]])
    span = curve.x[-1] - curve.x[0]
    margin = 0.35 if curve.ticks is not None else 0.02 * span
    x = (curve.x[0] - margin, curve.x[-1] + margin)
    if curve.is_probability:
        top = 1.0 if everything.max() > 0.5 else float(everything.max())
        return Frame(x, (-0.02 * top, 1.02 * top))
    inner = np.concatenate([np.ravel(part) for part in means])
    low, high = float(inner.min()), float(inner.max())
    reach = max(2 * (high - low), 2 * max(abs(low), abs(high)))
    bottom, top = max(everything.min(), low - reach), min(everything.max(), high + reach)
    pad = 0.03 * (top - bottom)
    return Frame(x, (float(bottom - pad), float(top + pad)))


def _draw_curves(
    collection: PlotCollection,
    curve: PopulationCurve,
    data: xr.Dataset,
    styles: dict[str, dict[str, Any]],
    *,
    typical: bool,
) -> None:
    common: dict[str, Any] = {"ignore_aes": "all"}
    if "clusters" in styles and curve.conditional.shape[1]:
        collection.map(
            multiple_lines,
            "clusters",
            data=data[["conditional"]],
            x_dim="x",
            **common,
            **styles["clusters"],
        )
    if "band" in styles:
        bounds = {"y_bottom": data["lower"], "y_top": data["upper"]}
        if curve.ticks is None:
            bounds["x"] = data["x"]
        collection.map(
            fill_between_y if curve.ticks is None else draw_bars,
            "band",
            data=data[["average"]],
            **bounds,
            **common,
            **styles["band"],
        )
    if typical and "typical" in styles:
        collection.map(
            line, "typical", data=data[["typical"]], xname="x", **common, **styles["typical"]
        )
    if "average" in styles:
        style = styles["average"]
        collection.map(line, "average", data=data[["average"]], xname="x", **common, **style)
        if curve.ticks is not None:
            collection.map(
                draw_points,
                "average_points",
                data=data[["average"]],
                color=style["color"],
                **common,
            )


def _draw_slopes(
    collection: PlotCollection,
    curve: PopulationCurve,
    data: xr.Dataset,
    *,
    styles: dict[str, dict[str, Any]],
    frame: Frame,
) -> None:
    """Tangents where the curves cross one half, and their slopes in words."""
    for name, words, height in (
        ("conditional", ("one cluster", "β/4"), 0.97),
        ("population", ("population", "β̃/4"), 0.85),
    ):
        if f"{name}_slope" in styles:
            collection.map(
                draw_tangent,
                f"{name}_slope",
                data=data[["average"]],
                subset_info=True,
                crossings=getattr(curve, f"{name}_crossings"),
                words=words,
                height=height,
                frame=frame,
                over=curve.over,
                ignore_aes="all",
                **styles[f"{name}_slope"],
            )


def _dress(
    collection: PlotCollection, curve: PopulationCurve, module: ModuleType, frame: Frame
) -> None:
    """Limits, labels and headings."""
    cols = collection.viz["col_index"]
    n_cols = int(cols.max()) + 1
    for i, label in enumerate(curve.panel_labels):
        target = collection.get_target(None, {"panel": i})
        module.xlim(frame.x, target)
        module.ylim(frame.y, target)
        if label:
            module.title(fill(label, 40), target)
        if int(cols.isel(panel=i)) == 0:
            module.ylabel(fill(curve.title, 34), target)
        if i + n_cols >= len(curve.panels):
            module.xlabel(curve.over, target)
        if curve.ticks is not None:
            room = 70 // min(n_cols + 1, 4)
            tilted = {"rotation": 30} if sum(map(len, curve.ticks)) > room else {}
            module.xticks(curve.x, list(curve.ticks), target, **tilted)
    held = ", ".join(f"{name} = {_words(value)}" for name, value in curve.held.items())
    if held:
        collection.add_title(f"at {held}", size=11 if collection.backend == "matplotlib" else 14)


def _legend(
    curve: PopulationCurve,
    styles: dict[str, dict[str, Any]],
    reference: str | None,
    slopes: bool,
) -> list[tuple[str, dict[str, Any]]]:
    n_curves = curve.conditional.shape[1]
    labels = {
        "clusters": f"{n_curves} random clusters" if n_curves else None,
        "typical": "typical cluster" if slopes else None,
        "average": "population average",
        "band": f"{100 * curve.ci_prob:g} % credible {'interval' if curve.ticks else 'band'}",
        "reference": reference,
    }
    swatches = {
        "clusters": {"width": 1.6},
        "band": {"width": 7, "color": COLOURS["light blue"]},
    }
    return [
        (label, {**styles[name], **swatches.get(name, {})})
        for name, label in labels.items()
        if label and name in styles
    ]


def _words(value: Any) -> str:
    return f"{round(value, 10) + 0.0:.3g}" if isinstance(value, float) else str(value)
