"""Contrasts of means: each row with and without, or averages of all rows with and without."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from popavg.posterior_tools._asked_contrasts import AskedContrasts, OwnComparison
from popavg.posterior_tools._compared_rows import RowRequest
from popavg.posterior_tools.contrasts import ComparisonName
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.estimates import Estimates
from popavg.posterior_tools.grid import Varying
from popavg.posterior_tools.hypotheses import Hypothesis, apply_hypothesis
from popavg.posterior_tools.newdata import NewData
from popavg.posterior_tools.targets import Scale, Target
from popavg.posterior_tools.variables import Variables, read_contrasts

__all__ = ["OwnComparison", "avg_comparisons", "comparisons"]


def comparisons(
    fit: xr.DataTree,
    variables: Variables = None,
    *,
    newdata: NewData = None,
    over: Varying = None,
    by: Varying = None,
    comparison: ComparisonName | OwnComparison = "difference",
    cross: bool = False,
    target: Target = "population",
    scale: Scale = "response",
    weights: str | ArrayLike | None = None,
    hypothesis: Hypothesis = None,
    seed: int | np.random.Generator | None = 0,
    progress: bool = True,
) -> Estimates:
    """Contrasts of the mean response between two values of a covariate, row by row.

    For one number over all rows (an average treatment effect) use :func:`popavg.avg_comparisons`;
    for the rate of change in a number use :func:`popavg.slopes`.

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit` or :func:`popavg.load`.
    variables : str, sequence of str or mapping, optional
        What is compared; all covariates by default. ``"treatment"``: each level with the first.
        ``{"treatment": "pairwise"}``, also ``"sequential"``, ``"all"`` or a list of levels, all
        compared with its first. Numbers: ``"age"`` or ``{"age": 5}`` for a step, centred at each
        row's own value; ``"sd"``, ``"2sd"``, ``"iqr"``, ``"minmax"`` over the rows of the fit; or
        ``{"age": [40, 60]}``.
    newdata : pandas.DataFrame, DataGrid, "observed", "mean" or "balanced", optional
        The rows. ``"observed"`` by default, ``"mean"`` (typical values) with ``over``.
    over : str, sequence of str or mapping, optional
        Other covariates that are **set** in every row, ``{"time": [0, 6, 12]}``. With
        ``newdata="observed"`` or a frame: averages over the rows at each of their values.
    by : str, sequence of str or mapping, optional
        Columns that **group** the rows by their own values: averages within each group. With
        ``newdata="mean"`` each of their values (a mapping's values) gets a row of its own.
    comparison : str or callable
        ``"difference"``, ``"ratio"``, ``"lnratio"``, ``"odds_ratio"``, ``"lnor"`` (log odds
        ratio), ``"nnt"`` (number needed to treat), or a function of the high and the low mean,
        arrays of shape (draws, estimands), that returns one of this shape.
    cross : bool
        Change two covariates at the same time, instead of one after the other.
    target : {"population", "typical", "sampled", "new"}
        Whose means are compared; the result says which. ``"population"`` integrates over the
        random effects' distribution, ``"typical"`` sets them to zero, ``"sampled"`` averages over
        the clusters of the data set, ``"new"`` is one new cluster, the same on both sides.
    scale : {"response", "link"}
        ``"link"`` compares g of the means; averages are then averages of these.
    weights : str or array_like, optional
        How much each row counts in an average: a column, numbers in the order of the rows (a
        Series must have newdata's index), or ``"cluster"`` for every cluster once in each average.
    hypothesis : str, sequence or array_like, optional
        Contrasts of the comparisons with each other: ``"pairwise"``, ``"reference"``,
        ``"b1 - b0 = 0"``, weights.
    seed : int, numpy.random.Generator or None
        Of the effects of a new cluster; used by ``target="new"`` alone. None: another one at
        every call.
    progress : bool
        Show a bar where it takes longer than two seconds.

    Returns
    -------
    Estimates
        One estimand for each contrast and row (or cell); columns ``variable`` and ``contrast``,
        then the row's covariates, ``target``. For ``comparison="nnt"`` a
        :class:`popavg.posterior_tools.needed_to_treat.NeededToTreat`, whose intervals go through
        infinity where the risk difference may be zero.

    Raises
    ------
    SpecificationError
        Not a fit; an unknown covariate, comparison or target; a contrast with itself; ``cross``
        with other than two covariates; ``over`` that names a compared covariate; weights without
        an average; a function whose answer has another shape.
    EstimandError
        An odds ratio of means that aren't probabilities, a ratio on the link scale or by a mean
        that isn't positive; ``target="sampled"`` without draws of the clusters' effects.
    DataError
        Rows that don't fit the model, a level that it hasn't seen.

    See Also
    --------
    popavg.avg_comparisons : Averages over all rows.

    Notes
    -----
    With m(x) the target's mean, for each draw and row: f(m(x_high), m(x_low)). Where rows are
    averaged, f is applied to the two averages, so that a risk ratio is the ratio of the average
    risks; names and rules are those of marginaleffects (Arel-Bundock, Greifer & Heiss 2024,
    Journal of Statistical Software 111(9)). Odds come from means and complements that are each
    accurate in relative terms.

    Examples
    --------
    >>> import popavg as pa
    >>> fit = pa.load_example()
    >>> found = pa.comparisons(fit, "treatment", over={"time": [0, 12]}, comparison="odds_ratio")
    >>> found.labels["contrast"].to_list()
    ['odds(terbinafine) / odds(itraconazole)', 'odds(terbinafine) / odds(itraconazole)']
    """
    posterior, of = Posterior.from_fit(fit), (target, scale)
    contrasts = read_contrasts(posterior.design, variables, cross=cross)
    asked = AskedContrasts.build(posterior, contrasts, comparison, of, seed=seed, progress=progress)
    asked.check_hypothesis(hypothesis)
    rows = RowRequest(newdata, over, by, weights, average=False)
    return apply_hypothesis(asked.estimates(rows), hypothesis)


def avg_comparisons(
    fit: xr.DataTree,
    variables: Variables = None,
    *,
    newdata: NewData = None,
    over: Varying = None,
    by: Varying = None,
    comparison: ComparisonName | OwnComparison = "difference",
    cross: bool = False,
    target: Target = "population",
    scale: Scale = "response",
    weights: str | ArrayLike | None = None,
    hypothesis: Hypothesis = None,
    seed: int | np.random.Generator | None = 0,
    progress: bool = True,
) -> Estimates:
    """Contrasts of average means: every row with and without, averaged, then compared.

    The average treatment effect by standardisation (g-computation). For contrasts of single rows
    or of typical ones use :func:`popavg.comparisons`.

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit` or :func:`popavg.load`.
    variables : str, sequence of str or mapping, optional
        What is compared, see :func:`popavg.comparisons`; all covariates by default.
    newdata : pandas.DataFrame, DataGrid, "observed", "mean" or "balanced", optional
        The rows that are averaged over, by default those of the fit. Where some dropped out, the
        rows of the intended design.
    over : str, sequence of str or mapping, optional
        Other covariates that are set in every row before averaging, to each value in turn.
    by : str, sequence of str or mapping, optional
        Columns that group the rows: one average within each group of rows with the same values.
        ``by="treatment"`` with ``variables="treatment"`` gives the effect on the treated and on
        the untreated.
    comparison : str or callable
        ``"difference"``, ``"ratio"``, ``"lnratio"``, ``"odds_ratio"``, ``"lnor"``, ``"nnt"``, or a
        function of two arrays.
    cross : bool
        Change two covariates at the same time.
    target, scale, weights, hypothesis, seed, progress : optional
        As :func:`popavg.comparisons`.

    Returns
    -------
    Estimates
        One estimand for each contrast, in each group.

    Raises
    ------
    SpecificationError, EstimandError, DataError
        As :func:`popavg.comparisons`.

    See Also
    --------
    popavg.comparisons : Row by row.

    Notes
    -----
    For each draw f(Σ w_i m(x_i, high) / Σ w_i, Σ w_i m(x_i, low) / Σ w_i). The random effects are
    integrated out (``target``) and the covariates averaged over (``newdata``): two switches. The
    odds ratio of averages isn't an average of the rows' odds ratios: two strata whose odds ratios
    are both 9 can have 5.44 together. Risk differences are averages of the rows' differences. With
    ``weights="cluster"`` every cluster counts once (Kahan et al. 2023, International Journal of
    Epidemiology 52:107).

    Examples
    --------
    >>> import popavg as pa
    >>> fit = pa.load_example()
    >>> risk = pa.avg_comparisons(fit, "treatment")
    >>> risk.to_frame()[["contrast", "estimate"]].round(3).values.tolist()
    [['terbinafine - itraconazole', -0.034]]
    >>> pa.avg_comparisons(fit, "treatment", comparison="nnt").to_frame(0.9)["interval"].item()
    'one more per ...'
    """
    posterior, of = Posterior.from_fit(fit), (target, scale)
    contrasts = read_contrasts(posterior.design, variables, cross=cross)
    asked = AskedContrasts.build(posterior, contrasts, comparison, of, seed=seed, progress=progress)
    asked.check_hypothesis(hypothesis)
    rows = RowRequest(newdata, over, by, weights, average=True)
    return apply_hypothesis(asked.estimates(rows), hypothesis)
