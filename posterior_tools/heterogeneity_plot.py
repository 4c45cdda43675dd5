"""Draw how much clusters differ: the clusters of the population in order of their probability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import fill
from types import ModuleType
from typing import Any

import numpy as np
import xarray as xr
from arviz_base import rcParams
from arviz_plots import PlotCollection
from arviz_plots.visuals import fill_between_y, line
from numpy.typing import NDArray

from popavg.errors import SpecificationError
from popavg.posterior_tools._cluster_curves import ClusterCurves
from popavg.posterior_tools._cluster_questions import ClusterEffects, ClusterMeans
from popavg.posterior_tools._plotting import (
    COLOURS,
    add_legend,
    backend_module,
    figure_settings,
    visual_style,
)
from popavg.posterior_tools.summaries import interval_settings

__all__ = ["plot_heterogeneity"]

type Floats = NDArray[np.float64]

#: Styles of the visuals, in the order in which they are drawn.
STYLES: dict[str, dict[str, Any]] = {
    "band": {"color": COLOURS["blue"], "alpha": 0.3},
    "threshold": {"color": COLOURS["dark grey"], "width": 1.2, "linestyle": "C2"},
    "mean": {"color": COLOURS["vermilion"], "width": 2.0, "linestyle": "C1"},
    "clusters": {"color": COLOURS["blue"], "width": 2.8},
}

#: Shares of the clusters along the axis: of rows, of effects (which take longer).
ENDS = np.array([0.005, 0.01, 0.015])
MEAN_LEVELS = np.concatenate([ENDS, np.linspace(0.02, 0.98, 97), 1.0 - ENDS[::-1]])
EFFECT_LEVELS = np.concatenate([ENDS[::2], np.linspace(0.04, 0.96, 24), 1.0 - ENDS[::-2]])


@dataclass(frozen=True, eq=False)
class _Panel:
    """One panel's quantiles over clusters (draws, levels) and means (draws)."""

    title: str
    outcome: str
    levels: Floats
    quantiles: Floats
    mean: Floats
    is_effect: bool


def plot_heterogeneity(
    curves: ClusterCurves,
    group: str,
    *,
    ci_prob: float | None = None,
    backend: str | None = None,
    visuals: Mapping[str, Mapping[str, Any] | bool] | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Draw the clusters in order of their probability and of their effect, with a band.

    Parameters
    ----------
    curves : ClusterCurves
        Of a :class:`popavg.posterior_tools.heterogeneity_result.Heterogeneity`.
    group : str
        The grouping factor whose clusters are meant.
    ci_prob : float, optional
        Level of the equal-tailed band; ``arviz.rcParams["stats.ci_prob"]`` by default.
    backend : {"matplotlib", "bokeh", "plotly"}, optional
        By default ``arviz.rcParams["plot.backend"]``.
    visuals : mapping, optional
        Keywords for ``band``, ``clusters``, ``mean``, ``threshold``, or False to leave one out.
    **pc_kwargs
        For :meth:`arviz_plots.PlotCollection.wrap`: ``col_wrap``, ``figure_kwargs``, …

    Returns
    -------
    arviz_plots.PlotCollection
        One panel for each row, then one for each effect.

    Raises
    ------
    SpecificationError
        An unknown backend or visual, more panels than ``arviz.rcParams["plot.max_subplots"]``.

    Notes
    -----
    At x % the curve is the value that x % of the clusters stay below: the posterior median of
    that quantile, in the band of its credible intervals. At most about 800 draws are used, a
    quarter of them for effects with a random slope where other factors are averaged over.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.heterogeneity import heterogeneity
    >>> from popavg.posterior_tools.heterogeneity_plot import plot_heterogeneity
    >>> clusters = heterogeneity(pa.load_example(), "treatment")
    >>> figure = plot_heterogeneity(clusters.curves, "patient", backend="none")
    >>> sorted(figure.viz["clusters"].dataset.sizes.items())
    [('panel', 2)]
    """
    name, module = backend_module(backend)
    styles = visual_style(STYLES, visuals)
    prob, _ = interval_settings(ci_prob, None)
    _check_number(curves)
    panels = _panels(curves)
    data = _dataset(panels, curves.thresholds, prob)
    collection = _collection(data, name, pc_kwargs)
    for visual, style in styles.items():
        _draw(collection, visual, data, style)
    _dress(collection, panels, module, group)
    add_legend(collection, _legend(styles, prob, with_effect=curves.arms is not None))
    return collection


def _check_number(curves: ClusterCurves) -> None:
    n_panels, limit = sum(map(len, curves.names)), rcParams["plot.max_subplots"]
    if limit is not None and n_panels > limit:
        raise SpecificationError(
            f"the result has {n_panels} rows and effects, each a panel",
            f"at most {limit} (arviz.rcParams['plot.max_subplots'])",
            "ask about fewer rows: newdata='mean', or a frame of some",
        )


def _panels(curves: ClusterCurves) -> list[_Panel]:
    """Quantiles of every row and effect."""
    block = curves.posterior.block(slice(None, None, curves.step))
    questions: list[tuple[Floats, Any]] = [
        (MEAN_LEVELS, ClusterMeans(curves.matrices, curves.shared, tuple(MEAN_LEVELS)))
    ]
    if curves.arms is not None:
        question = ClusterEffects(*curves.arms, curves.shared, tuple(EFFECT_LEVELS))
        questions.append((EFFECT_LEVELS, question))
    panels = []
    for i, (levels, question) in enumerate(questions):
        drawn = block.take(slice(None, None, 4)) if i == 1 and _takes_long(curves) else block
        answers = np.concatenate([question(part) for part in drawn.pieces(question.cells)])
        shaped = answers.reshape(len(answers), -1, len(levels) + 1)
        panels += [
            _Panel(title, curves.outcomes[i], levels, shaped[:, k, 1:], shaped[:, k, 0], i == 1)
            for k, title in enumerate(curves.names[i])
        ]
    return panels


def _takes_long(curves: ClusterCurves) -> bool:
    """A random slope on what changes, beside a factor that is averaged over."""
    if curves.arms is None or len(curves.shared) == len(curves.matrices.groups):
        return False
    pairs = zip(curves.arms[0].groups, curves.arms[1].groups, strict=True)
    return any(not np.array_equal(low.Z, high.Z) for low, high in pairs)


def _dataset(panels: list[_Panel], thresholds: tuple[float, ...], prob: float) -> xr.Dataset:
    """What is drawn, dims panel and x; the fewer levels of effects are spread out linearly."""
    x = MEAN_LEVELS
    tails = [0.5 - prob / 2, 0.5, 0.5 + prob / 2]
    found: dict[str, list[Floats]] = {name: [] for name in ("lower", "clusters", "upper", "mean")}
    for panel in panels:
        numbers = np.quantile(panel.quantiles, tails, axis=0)
        for name, values in zip(("lower", "clusters", "upper"), numbers, strict=True):
            found[name].append(np.interp(x, panel.levels, values))
        found["mean"].append(np.full(len(x), np.median(panel.mean)))
    variables: dict[str, Any] = {name: (("panel", "x"), found[name]) for name in found}
    lines = [
        [np.full(len(x), c if panel.is_effect else np.nan) for c in thresholds] for panel in panels
    ]
    variables["threshold"] = (("panel", "line", "x"), lines)
    return xr.Dataset(variables, coords={"panel": range(len(panels)), "x": 100 * x})


def _collection(data: xr.Dataset, backend: str, pc_kwargs: dict[str, Any]) -> PlotCollection:
    n_panels = data.sizes["panel"]
    options: dict[str, Any] = {
        "cols": ["panel"],
        "col_wrap": 2 if n_panels in (2, 4) else 3,
        **pc_kwargs,
    }
    n_cols = min(n_panels, options["col_wrap"])
    n_rows = -(-n_panels // n_cols)
    width = {1: 6.4, 2: 4.6}.get(n_cols, 3.8)
    size = (width * n_cols, (4.2 if n_cols < 3 else 3.5) * n_rows + 0.6)
    figure = figure_settings(backend, size, **options.pop("figure_kwargs", {}))
    return PlotCollection.wrap(data, backend=backend, figure_kwargs=figure, **options)


def _draw(
    collection: PlotCollection, visual: str, data: xr.Dataset, style: Mapping[str, Any]
) -> None:
    common: dict[str, Any] = {"ignore_aes": "all", **style}
    if visual == "band":
        bounds = {"x": data["x"], "y_bottom": data["lower"], "y_top": data["upper"]}
        collection.map(fill_between_y, visual, data=data[["clusters"]], **bounds, **common)
        return
    if visual != "threshold":
        collection.map(line, visual, data=data[[visual]], xname="x", **common)
        return
    if data["threshold"].isnull().all():
        return
    for k in range(data.sizes["line"]):
        name = visual if k == 0 else f"{visual}_{k}"
        collection.map(line, name, data=data[[visual]].isel(line=k), xname="x", **common)


def _dress(
    collection: PlotCollection, panels: list[_Panel], module: ModuleType, group: str
) -> None:
    """Limits, labels and headings."""
    for i, panel in enumerate(panels):
        target = collection.get_target(None, {"panel": i})
        module.xlim((-1.0, 101.0), target)
        if panel.outcome.startswith("probability"):
            module.ylim((-0.02, 1.02), target)
        if panel.title:
            module.title(fill(panel.title, 40), target)
        module.ylabel(fill(panel.outcome, 36), target)
        module.xlabel(fill(f"clusters of {group!r} in order, per cent", 40), target)


def _legend(
    styles: Mapping[str, Mapping[str, Any]], prob: float, *, with_effect: bool
) -> list[tuple[str, dict[str, Any]]]:
    labels = {
        "clusters": "clusters of the population",
        "band": f"{100 * prob:g} % credible band",
        "mean": "mean over the clusters",
        "threshold": "threshold" if with_effect else None,
    }
    swatches = {"band": {"width": 7, "color": COLOURS["light blue"]}}
    return [
        (label, {**styles[name], **swatches.get(name, {})})
        for name, label in labels.items()
        if label and name in styles
    ]
