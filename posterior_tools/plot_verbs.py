"""Figures of predictions, comparisons and slopes along a covariate."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from inspect import signature
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from popavg._checks import listing, suggestion
from popavg.errors import SpecificationError
from popavg.posterior_tools._asked_contrasts import AskedContrasts, OwnComparison
from popavg.posterior_tools._asked_rows import choose_rows
from popavg.posterior_tools._asked_slopes import AskedSlopes, Slope
from popavg.posterior_tools._compared_rows import RowRequest
from popavg.posterior_tools.along import Along, along
from popavg.posterior_tools.contrasts import ComparisonName
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.estimates import Estimates
from popavg.posterior_tools.grid import Varying, names_of
from popavg.posterior_tools.newdata import NewData
from popavg.posterior_tools.predictions import AskedMeans
from popavg.posterior_tools.summaries import IntervalKind, interval_settings
from popavg.posterior_tools.targets import Scale, Target
from popavg.posterior_tools.variables import Variables, read_contrasts

if TYPE_CHECKING:
    from arviz_plots import PlotCollection

__all__ = ["plot_comparisons", "plot_predictions", "plot_slopes"]

#: Comparisons that are 1, not 0, where nothing differs.
_RATIOS = ("ratio", "odds_ratio")
#: Keywords of :meth:`arviz_plots.PlotCollection.wrap` that aren't chosen here.
_FOR_PLOTS = ("cols", "col_wrap", "figure_kwargs")


class _Look(TypedDict):
    """How a figure is drawn: the keywords that the three verbs share."""

    ci_prob: float | None
    ci_kind: IntervalKind | None
    backend: str | None
    visuals: Mapping[str, Mapping[str, Any] | bool] | None


def plot_predictions(
    fit: xr.DataTree,
    over: str | Mapping[str, Any],
    *,
    by: Varying = None,
    newdata: NewData = None,
    target: Target = "population",
    scale: Scale = "response",
    weights: str | ArrayLike | None = None,
    seed: int | np.random.Generator | None = 0,
    progress: bool = True,
    ci_prob: float | None = None,
    ci_kind: IntervalKind | None = None,
    backend: str | None = None,
    visuals: Mapping[str, Mapping[str, Any] | bool] | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Draw mean responses along a covariate, with credible bands.

    For the population average beside curves of single clusters and a GEE see
    :func:`popavg.plot_population_curve`.

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit` or :func:`popavg.load`.
    over : str or mapping
        The covariate along the x axis, ``"time"``, or with its values, ``{"time": [0, 6, 12]}``:
        a line with a band along a number, points with intervals along a category.
    by : str, sequence of str or mapping, optional
        Covariates that make separate curves: colours for the first, panels for the others.
    newdata : pandas.DataFrame, DataGrid, "observed", "mean" or "balanced", optional
        As :func:`popavg.predictions`: by default the other covariates are held at their mean or
        most frequent level, which the figure says; with other rows these are averaged over.
    target, scale, weights, seed, progress : optional
        As :func:`popavg.predictions`.
    ci_prob, ci_kind : optional
        Level and kind of the credible band; ``arviz.rcParams`` by default.
    backend : {"matplotlib", "bokeh", "plotly"}, optional
        By default ``arviz.rcParams["plot.backend"]``.
    visuals : mapping, optional
        Keywords for ``line`` and ``band``, along a category ``point`` and ``interval``, or False
        to leave one out.
    **pc_kwargs
        For :meth:`arviz_plots.PlotCollection.wrap`: ``col_wrap``, ``figure_kwargs``.

    Returns
    -------
    arviz_plots.PlotCollection
        ``.savefig("figure.png")`` writes it, ``.show()`` shows it.

    Raises
    ------
    SpecificationError
        ``over`` isn't one covariate, too many levels for colours or panels, an unknown backend or
        keyword.
    DataError, EstimandError
        As :func:`popavg.predictions`.

    See Also
    --------
    popavg.predictions : The numbers.

    Notes
    -----
    The band is pointwise: each of its intervals holds the mean at one value of the covariate.

    Examples
    --------
    >>> import popavg as pa
    >>> figure = pa.plot_predictions(pa.load_example(), "time", by="treatment", backend="none")
    >>> sorted(set(figure.viz.children) & {"band", "line"})
    ['band', 'line']
    """
    _check_keywords(plot_predictions, pc_kwargs)
    posterior = Posterior.from_fit(fit)
    axis = along(posterior.design, over)
    asked = AskedMeans.build(posterior, target, scale, seed=seed, progress=progress)
    along_it = {axis.name: axis.values}
    rows = choose_rows(posterior, newdata, over=along_it, by=by, weights=weights)
    bounded = posterior.link.is_probability and scale == "response"
    look: _Look = {"ci_prob": ci_prob, "ci_kind": ci_kind, "backend": backend, "visuals": visuals}
    within = (0.0, 1.0) if bounded else None
    estimates = asked.estimates(rows)
    return _figure(estimates, axis, by, look=look, within=within, pc_kwargs=pc_kwargs)


def plot_comparisons(
    fit: xr.DataTree,
    variables: Variables,
    over: str | Mapping[str, Any],
    *,
    by: Varying = None,
    newdata: NewData = None,
    comparison: ComparisonName | OwnComparison = "difference",
    cross: bool = False,
    target: Target = "population",
    scale: Scale = "response",
    weights: str | ArrayLike | None = None,
    seed: int | np.random.Generator | None = 0,
    progress: bool = True,
    ci_prob: float | None = None,
    ci_kind: IntervalKind | None = None,
    backend: str | None = None,
    visuals: Mapping[str, Mapping[str, Any] | bool] | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Draw contrasts of mean responses along another covariate, with credible bands.

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit` or :func:`popavg.load`.
    variables : str, sequence or mapping
        What is compared, as :func:`popavg.comparisons`; several contrasts make panels, those of
        different covariates with y axes of their own.
    over : str or mapping
        The covariate along the x axis.
    by : str, sequence of str or mapping, optional
        Covariates that make separate curves: colours for the first, panels for the others.
    newdata, comparison, cross, target, scale, weights, seed, progress : optional
        As :func:`popavg.comparisons`; of the comparisons all but ``"nnt"``, whose intervals go
        through infinity.
    ci_prob, ci_kind, backend, visuals : optional
        As :func:`popavg.plot_predictions`; ``visuals`` also has ``null``, the line at which
        nothing differs.
    **pc_kwargs
        For :meth:`arviz_plots.PlotCollection.wrap`.

    Returns
    -------
    arviz_plots.PlotCollection
        ``.savefig("figure.png")`` writes it, ``.show()`` shows it.

    Raises
    ------
    SpecificationError, EstimandError, DataError
        As :func:`popavg.comparisons` and :func:`popavg.plot_predictions`.

    See Also
    --------
    popavg.comparisons : The numbers.

    Examples
    --------
    >>> import popavg as pa
    >>> figure = pa.plot_comparisons(pa.load_example(), "treatment", "time", backend="none")
    >>> sorted(set(figure.viz.children) & {"band", "line", "null"})
    ['band', 'line', 'null']
    """
    _check_keywords(plot_comparisons, pc_kwargs)
    if comparison == "nnt":
        raise SpecificationError(
            "a figure of numbers needed to treat, whose intervals go through infinity",
            "comparison='difference', whose inverse they are",
            "draw the difference; pa.comparisons(…, comparison='nnt') gives the numbers",
        )
    posterior, of = Posterior.from_fit(fit), (target, scale)
    axis = along(posterior.design, over)
    contrasts = read_contrasts(posterior.design, variables, cross=cross)
    asked = AskedContrasts.build(posterior, contrasts, comparison, of, seed=seed, progress=progress)
    rows = RowRequest(newdata, {axis.name: axis.values}, by, weights, average=False)
    changes = [change for contrast in contrasts for change in contrast.changes]
    compared = {change.variable for change in changes if not change.is_step}
    null = 1.0 if comparison in _RATIOS else None if callable(comparison) else 0.0
    look: _Look = {"ci_prob": ci_prob, "ci_kind": ci_kind, "backend": backend, "visuals": visuals}
    return _figure(
        asked.estimates(rows),
        axis,
        by,
        look=look,
        null=null,
        compared=compared,
        pc_kwargs=pc_kwargs,
    )


def plot_slopes(
    fit: xr.DataTree,
    variables: str | list[str],
    over: str | Mapping[str, Any],
    *,
    by: Varying = None,
    newdata: NewData = None,
    slope: Slope = "dydx",
    target: Target = "population",
    scale: Scale = "response",
    weights: str | ArrayLike | None = None,
    seed: int | np.random.Generator | None = 0,
    progress: bool = True,
    ci_prob: float | None = None,
    ci_kind: IntervalKind | None = None,
    backend: str | None = None,
    visuals: Mapping[str, Mapping[str, Any] | bool] | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Draw slopes of the mean response along a covariate, with credible bands.

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit` or :func:`popavg.load`.
    variables : str or list of str
        Numeric covariates whose slopes are drawn; several make panels, each with a y axis of its
        own, since slopes are in units of their covariates.
    over : str or mapping
        The covariate along the x axis, which may be the same one.
    by : str, sequence of str or mapping, optional
        Covariates that make separate curves: colours for the first, panels for the others.
    newdata, slope, target, scale, weights, seed, progress : optional
        As :func:`popavg.slopes`.
    ci_prob, ci_kind, backend, visuals : optional
        As :func:`popavg.plot_predictions`; ``visuals`` also has ``null``, the line at 0.
    **pc_kwargs
        For :meth:`arviz_plots.PlotCollection.wrap`.

    Returns
    -------
    arviz_plots.PlotCollection
        ``.savefig("figure.png")`` writes it, ``.show()`` shows it.

    Raises
    ------
    SpecificationError, EstimandError, DataError
        As :func:`popavg.slopes` and :func:`popavg.plot_predictions`.

    See Also
    --------
    popavg.slopes : The numbers.

    Examples
    --------
    >>> import popavg as pa
    >>> figure = pa.plot_slopes(pa.load_example(), "time", "time", by="treatment", backend="none")
    >>> sorted(set(figure.viz.children) & {"band", "line", "null"})
    ['band', 'line', 'null']
    """
    _check_keywords(plot_slopes, pc_kwargs)
    posterior, of = Posterior.from_fit(fit), (target, scale)
    axis = along(posterior.design, over)
    asked = AskedSlopes.build(posterior, variables, slope, of, seed=seed, progress=progress)
    along_it = {axis.name: axis.values}
    rows = choose_rows(posterior, newdata, over=along_it, by=by, weights=weights)
    look: _Look = {"ci_prob": ci_prob, "ci_kind": ci_kind, "backend": backend, "visuals": visuals}
    titles = {name: asked.title(rows, [name]) for name in asked.variables}
    estimates = asked.estimates(rows)
    return _figure(estimates, axis, by, look=look, null=0.0, titles=titles, pc_kwargs=pc_kwargs)


def _check_keywords(verb: FunctionType, given: Mapping[str, Any]) -> None:
    unknown = [name for name in given if name not in _FOR_PLOTS]
    if unknown:
        own = [*list(signature(verb).parameters)[1:-1], *_FOR_PLOTS]
        raise SpecificationError(
            f"{verb.__name__} has no {listing(unknown)}",
            listing(own, len(own)),
            suggestion(unknown[0], own)
            or "numbers that no figure shows come from the verb itself, pa."
            f"{verb.__name__.removeprefix('plot_')}, and its .plot()",
        )


def _figure(
    estimates: Estimates,
    axis: Along,
    by: Varying,
    *,
    look: _Look,
    null: float | None = None,
    within: tuple[float, float] | None = None,
    compared: Collection[str] = (),
    titles: Mapping[str, str] | None = None,
    pc_kwargs: Mapping[str, Any],
) -> PlotCollection:
    from popavg.posterior_tools._verb_curves import read_curves
    from popavg.posterior_tools._verb_figure import draw_curves

    prob, kind = interval_settings(look["ci_prob"], look["ci_kind"])
    curves = read_curves(
        estimates,
        axis,
        names_of(by),
        compared=compared,
        titles=titles,
        ci_prob=prob,
        ci_kind=kind,
    )
    interval = f"{100 * prob:g} % credible {'interval' if axis.is_category else 'band'}"
    return draw_curves(
        curves,
        interval=interval,
        null=null,
        within=within,
        backend=look["backend"],
        visuals=look["visuals"],
        pc_kwargs=pc_kwargs,
    )
