"""Slopes: derivatives of the mean response in numeric covariates, draw by draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from popavg.posterior_tools._asked_rows import averaged_rows, choose_rows
from popavg.posterior_tools._asked_slopes import SLOPES, AskedSlopes, Slope
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.estimates import Estimates
from popavg.posterior_tools.grid import Varying
from popavg.posterior_tools.hypotheses import Hypothesis, apply_hypothesis
from popavg.posterior_tools.newdata import NewData
from popavg.posterior_tools.targets import Scale, Target

__all__ = ["SLOPES", "Slope", "avg_slopes", "slopes"]


def slopes(
    fit: xr.DataTree,
    variables: str | Sequence[str] | None = None,
    *,
    newdata: NewData = None,
    over: Varying = None,
    by: Varying = None,
    slope: Slope = "dydx",
    target: Target = "population",
    scale: Scale = "response",
    weights: str | ArrayLike | None = None,
    hypothesis: Hypothesis = None,
    seed: int | np.random.Generator | None = 0,
    progress: bool = True,
) -> Estimates:
    """Slope of the mean response in numeric covariates, row by row.

    A slope is the change for one unit of the covariate if the curve went on as it goes at this
    point. For what changes in steps (categories, counts of few values), and for changes that
    bend the curve, :func:`popavg.comparisons` between chosen values says more.

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit` or :func:`popavg.load`.
    variables : str or sequence of str, optional
        Numeric covariates; by default all that have a slope, and a note names the others.
    newdata : pandas.DataFrame, DataGrid, "observed", "mean" or "balanced", optional
        The rows: by default the observed ones, with ``over`` the other covariates held at their
        mean or most frequent level (``"mean"``). See :func:`popavg.predictions`.
    over : str, sequence of str or mapping, optional
        Covariates that are set, ``{"time": [0, 6, 12]}``: one slope at each value. With observed
        rows or a frame they are set in every row, and the slopes averaged over the rows.
    by : str, sequence of str or mapping, optional
        Columns whose values make groups of rows that are averaged. With ``newdata="mean"`` each
        level gets a row of its own; a mapping says which: ``{"age": [20, 40]}``.
    slope : {"dydx", "eyex", "eydx", "dyex"}
        ``"dydx"``: ∂y/∂x. ``"eyex"``: the elasticity x/y · ∂y/∂x. ``"eydx"``: 1/y · ∂y/∂x.
        ``"dyex"``: x · ∂y/∂x. The factors are each row's own, draw by draw, before averaging.
    target : {"population", "typical", "sampled", "new"}
        Whose mean; see :func:`popavg.predictions`.
    scale : {"response", "link"}
        Of the mean y itself, or of g(y).
    weights : str, array_like, optional
        How much each row counts in averages: a column, numbers in the order of the rows (a Series
        must have newdata's index), or ``"cluster"`` for every cluster once in each average.
    hypothesis : str, array_like, optional
        Contrasts of the slopes; see :func:`popavg.posterior_tools.hypotheses.apply_hypothesis`.
    seed : int, numpy.random.Generator or None
        For ``target="new"``; None: another cluster at every call.
    progress : bool
        Show a bar from two seconds on.

    Returns
    -------
    Estimates
        One estimand for each row (or group) and covariate, in units of y per unit of ``variable``.

    Raises
    ------
    SpecificationError
        Not a fit; an unknown covariate, slope, target or scale; weights where nothing is averaged.
    EstimandError
        A covariate without slope: a category, or one that acts in steps; a target that the fit
        can't give; ``"eyex"`` or ``"eydx"`` of a mean that isn't above 0 in every draw.
    DataError
        Rows that don't fit the model, or at which the slope is infinite (``sqrt(x)`` at 0).

    See Also
    --------
    popavg.avg_slopes : Averaged over rows.
    popavg.comparisons : Differences between chosen values.

    Notes
    -----
    Exact derivatives, no differences: with η = x'β and v = z'Σz the population mean π̄(η, v) has
    ∂π̄/∂x = ∂π̄/∂η ∂η/∂x + ½ ∂²π̄/∂η² ∂v/∂x, since it solves the heat equation. The second part
    is there where the covariate has a random slope: the spread of the clusters changes along x,
    and with it their mean. Transforms (``log``, ``poly``, ``bs``, ``scale``, ``I``) and
    interactions are differentiated in the formula
    (:func:`popavg.design_derivative.derivative`).

    The names follow marginaleffects (Arel-Bundock, Greifer & Heiss 2024, Journal of Statistical
    Software 111(9)). It gives contrasts for categories here; this function refuses them, since
    they aren't slopes.

    Examples
    --------
    >>> import popavg as pa
    >>> found = pa.slopes(pa.load_example(), "time", over={"time": [0, 6]}, by="treatment")
    >>> found.title, len(found)
    ('slope of the probability of y in time', 4)
    """
    posterior, of = Posterior.from_fit(fit), (target, scale)
    asked = AskedSlopes.build(posterior, variables, slope, of, seed=seed, progress=progress)
    rows = choose_rows(posterior, newdata, over=over, by=by, weights=weights)
    return apply_hypothesis(asked.estimates(rows), hypothesis)


def avg_slopes(
    fit: xr.DataTree,
    variables: str | Sequence[str] | None = None,
    *,
    newdata: NewData = None,
    over: Varying = None,
    by: Varying = None,
    slope: Slope = "dydx",
    target: Target = "population",
    scale: Scale = "response",
    weights: str | ArrayLike | None = None,
    hypothesis: Hypothesis = None,
    seed: int | np.random.Generator | None = 0,
    progress: bool = True,
) -> Estimates:
    """Average slope of the mean response in numeric covariates.

    The average over rows of each row's own slope; :func:`popavg.slopes` gives those, and with
    ``newdata="mean"`` the slope at average covariates, which is another number.

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit` or :func:`popavg.load`.
    variables : str or sequence of str, optional
        Numeric covariates; by default all that have a slope, and a note names the others.
    newdata : pandas.DataFrame, DataGrid, "observed", "mean" or "balanced", optional
        The rows to average over, ``"observed"`` by default.
    over : str, sequence of str or mapping, optional
        Covariates that are set in every row before averaging, to each value in turn:
        ``{"treatment": ["placebo", "active"]}`` gives the slope if all had had the one and if
        all had had the other.
    by : str, sequence of str or mapping, optional
        Columns whose own values make groups of rows: one average for each.
    slope : {"dydx", "eyex", "eydx", "dyex"}
        ∂y/∂x, x/y · ∂y/∂x, 1/y · ∂y/∂x or x · ∂y/∂x, in every row before averaging.
    target : {"population", "typical", "sampled", "new"}
        Whose mean; see :func:`popavg.predictions`.
    scale : {"response", "link"}
        Of the mean y itself, or of g(y).
    weights : str, array_like, optional
        How much each row counts: a column, numbers, or ``"cluster"``.
    hypothesis : str, array_like, optional
        Contrasts of the averages, such as ``"pairwise"``; see
        :func:`popavg.posterior_tools.hypotheses.apply_hypothesis`.
    seed : int, numpy.random.Generator or None
        For ``target="new"``; None: another cluster at every call.
    progress : bool
        Show a bar from two seconds on.

    Returns
    -------
    Estimates
        One estimand for each group and covariate, in units of y per unit of ``variable``.

    Raises
    ------
    SpecificationError
        Not a fit; an unknown covariate, slope, target or scale; a ``by`` that isn't a column.
    EstimandError
        As :func:`popavg.slopes`.
    DataError
        Rows that don't fit the model, or at which the slope is infinite; weights that are
        negative, missing or all 0.

    See Also
    --------
    popavg.slopes : Row by row.
    popavg.avg_comparisons : Differences between chosen values.

    Notes
    -----
    Averages are taken draw by draw, then summarised. Formulas: :func:`popavg.slopes`.

    Examples
    --------
    >>> import popavg as pa
    >>> found = pa.avg_slopes(pa.load_example(), "time", by="treatment", weights="cluster")
    >>> found.labels.columns.to_list()
    ['variable', 'slope', 'treatment', 'target']
    """
    posterior, of = Posterior.from_fit(fit), (target, scale)
    asked = AskedSlopes.build(posterior, variables, slope, of, seed=seed, progress=progress)
    rows = averaged_rows(posterior, newdata, over=over, by=by, weights=weights)
    return apply_hypothesis(asked.estimates(rows), hypothesis)
