"""Draw a comparison: for each term the GLM, both numbers of the GLMM, and the GEE."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from arviz_base import rcParams
from arviz_plots import PlotCollection
from arviz_plots.plot_collection import backend_from_object

from popavg._checks import listing
from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools._plotting import COLOURS, backend_module, figure_settings
from popavg.posterior_tools.comparison import apart
from popavg.posterior_tools.summaries import interval_settings

__all__ = ["MODELS", "plot_comparison"]

#: Models from top to bottom, each with its colour and its marker (arviz-plots' names).
MODELS: dict[str, tuple[str, str]] = {
    "GLM": (COLOURS["green"], "C5"),
    "conditional": (COLOURS["black"], "C2"),
    "population-averaged": (COLOURS["blue"], "C0"),
    "GEE": (COLOURS["vermilion"], "C4"),
}

#: Colours of other fits that are set beside.
_OTHERS = {"conditional": COLOURS["dark grey"], "population-averaged": COLOURS["light blue"]}

_NUMBERS = ("estimate", "lower", "upper")


def plot_comparison(
    frame: pd.DataFrame,
    *,
    ci_prob: float | None = None,
    x_label: str = "coefficient",
    backend: str | None = None,
    plot_collection: PlotCollection | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Draw estimates and intervals of several models, a panel for each term.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns ``term``, ``model`` (``"GLM"``, ``"conditional"``, ``"population-averaged"`` or
        ``"GEE"``; of other fits ``"conditional (name)"``), ``estimate``, ``lower``, ``upper``; one
        row for each term and model. A model that lacks a term has no row there.
    ci_prob : float, optional
        Level of the intervals, for the heading; ``arviz.rcParams["stats.ci_prob"]`` by default.
    x_label : str
        What the numbers are.
    backend : {"matplotlib", "bokeh", "plotly"}, optional
        By default ``arviz.rcParams["plot.backend"]``.
    plot_collection : arviz_plots.PlotCollection, optional
        Draw into this one, faceted by ``term``, with colour, marker and y mapped to ``model``.
    **pc_kwargs
        For :meth:`arviz_plots.PlotCollection.wrap`: ``col_wrap``, ``figure_kwargs``, …

    Returns
    -------
    arviz_plots.PlotCollection
        With the visuals ``zero``, ``intervals`` and ``estimates``.

    Raises
    ------
    DataError
        A column is missing, a model is unknown, a term and model occur twice, or a number isn't
        finite.
    SpecificationError
        An unknown backend, or more terms than ``arviz.rcParams["plot.max_subplots"]``.

    Notes
    -----
    Every term has its own x axis, which includes zero: coefficients of one model often differ by
    orders of magnitude. What is compared are the models within a panel.

    Examples
    --------
    >>> import pandas as pd
    >>> from popavg.posterior_tools.comparison_plot import plot_comparison
    >>> frame = pd.DataFrame(
    ...     {
    ...         "term": ["time", "time"],
    ...         "model": ["population-averaged", "GEE"],
    ...         "estimate": [-0.18, -0.17],
    ...         "lower": [-0.22, -0.21],
    ...         "upper": [-0.14, -0.13],
    ...     }
    ... )
    >>> sorted(plot_comparison(frame, ci_prob=0.89, backend="none").viz.children)
    ['estimates', 'intervals', 'zero']
    """
    prob, _ = interval_settings(ci_prob, None)
    data = _dataset(frame)
    name, module = backend_module(plot_collection.backend if plot_collection else backend)
    collection = plot_collection or _collection(data, name, pc_kwargs)
    collection.map(_zero, "zero", data=data[["estimate"]].isel(model=0), ignore_aes="all")
    bounds = {"lower": data["lower"], "upper": data["upper"]}
    estimates = data[["estimate"]]
    collection.map(_interval, "intervals", data=estimates, ignore_aes={"marker"}, **bounds)
    collection.map(_point, "estimates", data=estimates)
    _dress(collection, data, module, x_label)
    heading = f"{100 * prob:g} % intervals: {_kinds(data)}"
    collection.add_title(heading, size=11 if name == "matplotlib" else 14)
    return collection


def _dataset(frame: pd.DataFrame) -> xr.Dataset:
    """Numbers with the dims term and model, NaN where a model lacks a term."""
    absent = [name for name in ("term", "model", *_NUMBERS) if name not in frame.columns]
    if absent:
        raise DataError(f"the comparison has no column {listing(absent)}", "a tidy comparison")
    unknown = sorted(m for m in set(frame["model"].astype(str)) if apart(m)[0] not in MODELS)
    if unknown:
        raise DataError(f"the comparison holds the models {listing(unknown)}", listing(MODELS))
    if not np.isfinite(frame[list(_NUMBERS)].to_numpy(dtype=float)).all():
        raise DataError(
            "the comparison holds numbers that are missing or infinite",
            "finite numbers",
            "leave out the rows of models that have no estimate",
        )
    plain = frame.astype({"term": object, "model": object})
    if plain.duplicated(["term", "model"]).any():
        raise DataError("a term and model occur twice in the comparison", "one row each")
    terms = list(dict.fromkeys(plain["term"]))
    present = list(dict.fromkeys(plain["model"]))
    models = [model for kind in MODELS for model in present if apart(model)[0] == kind]
    variables = {
        name: (
            ("term", "model"),
            plain.pivot(index="term", columns="model", values=name)
            .reindex(index=terms, columns=models)
            .to_numpy(dtype=float),
        )
        for name in _NUMBERS
    }
    return xr.Dataset(variables, coords={"term": terms, "model": models})


def _collection(data: xr.Dataset, backend: str, pc_kwargs: dict[str, Any]) -> PlotCollection:
    """Panels in one column up to three terms, else in two."""
    n_terms, limit = data.sizes["term"], rcParams["plot.max_subplots"]
    if limit is not None and n_terms > limit:
        raise SpecificationError(
            f"{n_terms} terms",
            f"at most {limit} (arviz.rcParams['plot.max_subplots'])",
            "draw a part of the comparison's frame",
        )
    models = [str(model) for model in data["model"].to_numpy()]
    looks = _looks(models)
    options: dict[str, Any] = {
        "cols": ["term"],
        "col_wrap": 1 if n_terms <= 3 else 2,
        "aes": {"color": ["model"], "marker": ["model"], "y": ["model"]},
        "color": [color for color, _ in looks],
        "marker": [marker for _, marker in looks],
        "y": [float(-i) for i in range(len(models))],
        **pc_kwargs,
    }
    n_cols = min(n_terms, options["col_wrap"])
    n_rows = -(-n_terms // n_cols)
    size = (1.8 + 4.4 * n_cols, 0.9 + (0.75 + 0.24 * len(models)) * n_rows)
    given = {"sharey": True, **options.pop("figure_kwargs", {})}
    figure = figure_settings(backend, size, **given)
    return PlotCollection.wrap(data, backend=backend, figure_kwargs=figure, **options)


def _looks(models: list[str]) -> list[tuple[str, str]]:
    """Colour and marker of each model: other fits are paler."""
    looks = []
    for kind, name in map(apart, models):
        color, marker = MODELS[kind]
        looks.append((_OTHERS.get(kind, color) if name else color, marker))
    return looks


def _zero(da: xr.DataArray, target: Any) -> Any:
    style = {"color": COLOURS["grey"], "width": 1.0, "linestyle": "C1"}
    return _module_of(target).vline(0.0, target, **style)


def _interval(
    da: xr.DataArray,
    target: Any,
    *,
    lower: xr.DataArray,
    upper: xr.DataArray,
    y: float,
    color: str,
) -> Any:
    ends = np.array([float(lower), float(upper)])
    return _module_of(target).line(ends, np.array([y, y]), target, color=color, width=2.4)


def _point(da: xr.DataArray, target: Any, *, y: float, color: str, marker: str) -> Any:
    size = 9 if backend_from_object(target, return_module=False) == "bokeh" else 58
    look = {"facecolor": color, "edgecolor": "B0", "width": 0.8}
    return _module_of(target).scatter(float(da), y, target, size=size, marker=marker, **look)


def _dress(collection: PlotCollection, data: xr.Dataset, module: ModuleType, x_label: str) -> None:
    """Names of models and terms; room around the intervals."""
    models = [str(model) for model in data["model"].to_numpy()]
    places = [-float(i) for i in range(len(models))]
    cols = collection.viz["col_index"]
    n_cols = int(cols.max()) + 1
    terms = data["term"].to_numpy()
    for i, term in enumerate(terms):
        target = collection.get_target(None, {"term": term})
        panel = data.sel(term=term)
        low = min(0.0, float(panel["lower"].min()))
        high = max(0.0, float(panel["upper"].max()))
        pad = 0.05 * (high - low) or 1.0
        module.xlim((low - pad, high + pad), target)
        module.ylim((places[-1] - 0.6, 0.6), target)
        module.title(str(term), target)
        if int(cols.sel(term=term)) == 0:
            module.yticks(places, models, target)
        if i + n_cols >= len(terms):
            module.xlabel(x_label, target)


def _kinds(data: xr.Dataset) -> str:
    """Whose intervals are credible and whose are confidence intervals."""
    models = [str(model) for model in data["model"].to_numpy()]
    frequentist = [model for model in models if model in ("GLM", "GEE")]
    bayesian = ["GLMM"] if len(frequentist) < len(models) else []
    kinds = {"credible": bayesian, "confidence": frequentist}
    return ", ".join(f"{kind} ({', '.join(of)})" for kind, of in kinds.items() if of)


def _module_of(target: Any) -> ModuleType:
    return backend_module(backend_from_object(target, return_module=False))[1]
