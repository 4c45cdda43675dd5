"""Draw what is known about each standard deviation: prior, likelihood and posterior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from types import ModuleType
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from arviz_plots.visuals import fill_between_y, line
from arviz_stats.base import array_stats
from numpy.typing import NDArray

from popavg.posterior_tools._plotting import (
    COLOURS,
    add_legend,
    backend_module,
    figure_settings,
    visual_style,
)
from popavg.posterior_tools.check_result import SDView

__all__ = ["plot_check"]

type Floats = NDArray[np.float64]

#: Styles of the visuals, in the order in which they are drawn.
STYLES: dict[str, dict[str, Any]] = {
    "posterior": {"color": COLOURS["blue"], "alpha": 0.35},
    "prior": {"color": COLOURS["dark grey"], "width": 2.0, "linestyle": "C1"},
    "likelihood": {"color": COLOURS["vermilion"], "width": 2.6},
}

_LABELS = {
    "posterior": "posterior density",
    "prior": "prior density",
    "likelihood": "profile likelihood",
}
_POINTS = 401
#: Values of a standard deviation that may label the axis.
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def plot_check(
    views: Sequence[SDView],
    *,
    backend: str | None = None,
    visuals: Mapping[str, Mapping[str, Any] | bool] | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Draw the likelihood in the logarithm of each standard deviation, with prior and posterior.

    Parameters
    ----------
    views : sequence of SDView
        Of a :class:`popavg.posterior_tools.check_result.Check`; at least one.
    backend : {"matplotlib", "bokeh", "plotly"}, optional
        By default ``arviz.rcParams["plot.backend"]``.
    visuals : mapping, optional
        Keywords for ``posterior``, ``prior``, ``likelihood``, or False to leave one out.
    **pc_kwargs
        For :meth:`arviz_plots.PlotCollection.wrap`: ``col_wrap``, ``figure_kwargs``, …

    Returns
    -------
    arviz_plots.PlotCollection
        One panel for each standard deviation.

    Raises
    ------
    SpecificationError
        An unknown backend or visual.

    Notes
    -----
    Densities are those of the logarithm, each scaled to a largest value of 1; the likelihood is
    exp(ℓ − max ℓ). Where the posterior lies on the likelihood the data speak, where it lies on the
    prior the prior does.

    Examples
    --------
    >>> import numpy as np
    >>> import popavg as pa
    >>> from popavg.posterior_tools.check_plot import plot_check
    >>> from popavg.posterior_tools.check_result import SDView
    >>> prior = pa.Prior("HalfNormal", 1)
    >>> figure = plot_check([SDView("sd_g", prior.draw(500, seed=1), prior)], backend="none")
    >>> sorted(figure.viz.children)
    ['legend', 'posterior', 'prior']
    """
    name, module = backend_module(backend)
    styles = visual_style(STYLES, visuals)
    data = _dataset(views)
    styles = {key: style for key, style in styles.items() if bool(data[key].notnull().any())}
    collection = _collection(data, name, pc_kwargs)
    for visual, style in styles.items():
        _draw(collection, visual, data, style)
    _dress(collection, views, data, module)
    add_legend(collection, _legend(styles))
    return collection


def _dataset(views: Sequence[SDView]) -> xr.Dataset:
    """Curves over the logarithm, dims panel and x; NaN where there is none."""
    columns = [_curves(view) for view in views]
    variables = {
        name: (("panel", "x"), np.stack([column[name] for column in columns]))
        for name in ("log_sd", *STYLES)
    }
    data = xr.Dataset(variables, coords={"panel": range(len(views)), "x": range(_POINTS)})
    return data.set_coords("log_sd")


def _curves(view: SDView) -> dict[str, Floats]:
    x = np.linspace(*_range(view), _POINTS)
    prior = likelihood = np.full(_POINTS, np.nan)
    if view.prior is not None:
        density = view.prior.log_density(np.exp(x)) + x
        prior = np.exp(density - density.max())
    if view.profile is not None:
        inside = (x >= np.log(view.profile.sd[0])) & (x <= np.log(view.profile.sd[-1]))
        likelihood = np.full(_POINTS, np.nan)
        likelihood[inside] = np.exp(view.profile.curve(np.exp(x[inside])))
    positive = view.draws[view.draws > 0]
    grid, heights, _ = array_stats.kde(np.log(positive), circular=False)
    posterior = np.interp(x, grid, heights, left=0.0, right=0.0)
    return {
        "log_sd": x,
        "posterior": posterior / posterior.max(),
        "prior": prior,
        "likelihood": likelihood,
    }


def _range(view: SDView) -> tuple[float, float]:
    """Where anything is to be seen, in the logarithm."""
    ends = [np.quantile(view.draws[view.draws > 0], [0.001, 0.999])]
    if view.prior is not None:
        ends.append(view.prior.quantile([0.03, 0.97]))
    if view.profile is not None:
        within = view.profile.sd[view.profile.log_likelihood > view.profile.top - 8.0]
        ends.append(within[[0, -1]] if len(within) else view.profile.sd[[0, -1]])
    pairs = np.log(np.maximum(np.array(ends), 1e-6))
    return float(pairs.min() - 0.1), float(pairs.max() + 0.1)


def _collection(data: xr.Dataset, backend: str, pc_kwargs: dict[str, Any]) -> PlotCollection:
    n_panels = data.sizes["panel"]
    options: dict[str, Any] = {"cols": ["panel"], "col_wrap": 2, **pc_kwargs}
    n_cols = min(n_panels, options["col_wrap"])
    n_rows = -(-n_panels // n_cols)
    size = ((6.4 if n_cols == 1 else 4.8) * n_cols, 3.8 * n_rows + 0.6)
    figure = figure_settings(backend, size, **options.pop("figure_kwargs", {}))
    return PlotCollection.wrap(data, backend=backend, figure_kwargs=figure, **options)


def _draw(
    collection: PlotCollection, visual: str, data: xr.Dataset, style: Mapping[str, Any]
) -> None:
    common: dict[str, Any] = {"ignore_aes": "all", **style}
    if visual == "posterior":
        top = data[visual]
        bounds = {"x": data["log_sd"], "y_bottom": xr.zeros_like(top), "y_top": top}
        collection.map(fill_between_y, visual, data=data[[visual]], **bounds, **common)
        return
    collection.map(line, visual, data=data[[visual]], xname="log_sd", **common)


def _dress(
    collection: PlotCollection, views: Sequence[SDView], data: xr.Dataset, module: ModuleType
) -> None:
    """Limits, labels and ticks: standard deviations at equal distances of their logarithms."""
    for i, view in enumerate(views):
        target = collection.get_target(None, {"panel": i})
        low, high = (float(data["log_sd"].isel(panel=i, x=end)) for end in (0, -1))
        ticks = [tick for tick in _TICKS if low <= np.log(tick) <= high]
        module.xlim((low, high), target)
        module.ylim((-0.02, 1.06), target)
        module.xticks([float(np.log(tick)) for tick in ticks], [f"{t:g}" for t in ticks], target)
        module.xlabel(fill(f"{view.name} (logarithmic)", 40), target)
        module.ylabel("relative to its largest value", target)


def _legend(styles: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    swatches = {"posterior": {"width": 7, "color": COLOURS["light blue"]}}
    return [(_LABELS[name], {**style, **swatches.get(name, {})}) for name, style in styles.items()]
