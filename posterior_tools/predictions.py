"""Mean responses of rows, of curves over a covariate, and their averages, draw by draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from popavg.posterior_tools._asked import Asked
from popavg.posterior_tools._asked_rows import (
    AskedRows,
    averaged_rows,
    check_names,
    choose_rows,
    fixed_seed,
)
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.estimates import Estimates
from popavg.posterior_tools.grid import Varying
from popavg.posterior_tools.hypotheses import Hypothesis, apply_hypothesis
from popavg.posterior_tools.newdata import NewData
from popavg.posterior_tools.outcome import outcome_words
from popavg.posterior_tools.row_question import ask_rows
from popavg.posterior_tools.targets import Scale, Target, TargetMean

__all__ = ["AskedMeans", "avg_predictions", "predictions"]


def predictions(
    fit: xr.DataTree,
    *,
    newdata: NewData = None,
    over: Varying = None,
    by: Varying = None,
    target: Target = "population",
    scale: Scale = "response",
    weights: str | ArrayLike | None = None,
    hypothesis: Hypothesis = None,
    seed: int | np.random.Generator | None = 0,
    progress: bool = True,
) -> Estimates:
    """Mean response of rows, of a curve over a covariate, or of groups of rows.

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit` or :func:`popavg.load`.
    newdata : pandas.DataFrame, DataGrid, "observed", "mean" or "balanced", optional
        The rows. ``"observed"``: those of the fit. ``"mean"``: covariates at their mean or most
        frequent level, which the result shows. ``"balanced"``: all levels of the categories,
        numbers at their mean. By default ``"mean"`` with ``over``, else ``"observed"``.
    over : str, sequence of str or mapping, optional
        Covariates along a curve, ``"time"`` or ``{"time": [0, 6, 12]}``: set in every row. With
        ``newdata="mean"`` each value gives one row, else the rows are averaged with each value
        in turn (standardisation).
    by : str, sequence of str or mapping, optional
        Columns whose values make groups of rows that are averaged. With ``newdata="mean"`` each
        level gets a row of its own; a mapping says which: ``{"age": [20, 40]}``.
    target : {"population", "typical", "sampled", "new"}
        ``"population"`` integrates over the random effects' distribution: the mean of the
        population of clusters. ``"typical"`` sets them to zero, ``"sampled"`` averages over the
        clusters of the data set, ``"new"`` draws one cluster for each draw, the same for all
        rows. The result says which it is.
    scale : {"response", "link"}
        A probability or mean, or the link function of it (log odds); rows are averaged on this
        scale.
    weights : str, array_like or "cluster", optional
        How much each row counts in an average: a column, numbers in the order of the rows (a
        Series must have newdata's index), or ``"cluster"``, with which each cluster counts once
        in every average, however many rows it has there.
    hypothesis : str, array_like or pandas.DataFrame, optional
        Contrasts of the estimates, ``"pairwise"``, ``"reference"``, ``"b1 - b0 = 0"``, weights;
        see :func:`popavg.posterior_tools.hypotheses.apply_hypothesis`.
    seed : int, numpy.random.Generator or None
        Where the new cluster's effects come from; None: another one at every call.
    progress : bool
        Show a bar from two seconds on.

    Returns
    -------
    Estimates
        One estimand for each row, cell or contrast: a probability for logit, probit and cloglog,
        with ``p(successes, trials)`` that of one trial. Over dask-backed draws nothing is
        computed before it is asked for.

    Raises
    ------
    SpecificationError
        Not a fit; an unknown target, scale, covariate or hypothesis; weights without averages.
    DataError
        Rows that don't fit the model: a missing column, an unseen level; impossible weights.
    EstimandError
        ``target="sampled"`` for a fit without draws of the clusters' effects.

    See Also
    --------
    popavg.avg_predictions : Always averages.
    popavg.datagrid : Rows with chosen values.

    Notes
    -----
    π̄(x, z) = E g⁻¹(x'β + t), Var t = v = z'Σz, for each draw of (β, Σ), see
    :func:`popavg.marginal_mean`; then averaged over rows, then contrasted, then summarised.

    Examples
    --------
    >>> import popavg as pa
    >>> fit = pa.load_example()
    >>> curve = pa.predictions(fit, over={"time": [0, 6]}, by="treatment")
    >>> curve.to_frame()[["time", "treatment"]].to_string(header=False, index=False).split()[:2]
    ['0', 'itraconazole']
    """
    posterior = Posterior.from_fit(fit)
    asked = AskedMeans.build(posterior, target, scale, seed=seed, progress=progress)
    rows = choose_rows(posterior, newdata, over=over, by=by, weights=weights)
    return apply_hypothesis(asked.estimates(rows), hypothesis)


def avg_predictions(
    fit: xr.DataTree,
    *,
    newdata: NewData = None,
    over: Varying = None,
    by: Varying = None,
    target: Target = "population",
    scale: Scale = "response",
    weights: str | ArrayLike | None = None,
    hypothesis: Hypothesis = None,
    seed: int | np.random.Generator | None = 0,
    progress: bool = True,
) -> Estimates:
    """Mean response averaged over rows, draw by draw.

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit` or :func:`popavg.load`.
    newdata : pandas.DataFrame, DataGrid, "observed", "mean" or "balanced", optional
        The rows to average over; ``"observed"`` by default.
    over : str, sequence of str or mapping, optional
        Covariates that are set in every row before averaging, to each value in turn:
        ``{"treatment": ["placebo", "active"]}`` gives the mean if all had had the one and if all
        had had the other (g-computation).
    by : str, sequence of str or mapping, optional
        Columns whose own values make groups of rows: one average for each.
    target, scale, weights, hypothesis, seed, progress : optional
        As :func:`popavg.predictions`.

    Returns
    -------
    Estimates
        One estimand for each value of ``over`` and group of ``by``, or contrast of these.

    Raises
    ------
    SpecificationError, DataError, EstimandError
        As :func:`popavg.predictions`.

    See Also
    --------
    popavg.predictions : One estimand for each row.

    Notes
    -----
    For each draw Σ_i w_i π̄_i / Σ_i w_i; intervals are those of the averages, never averages of
    intervals. A combination of levels of ``by`` that no row has is refused: it has no mean.

    Examples
    --------
    >>> import popavg as pa
    >>> fit = pa.load_example()
    >>> means = pa.avg_predictions(fit, by="treatment", weights="cluster")
    >>> means.labels["treatment"].to_list()
    ['itraconazole', 'terbinafine']
    """
    posterior = Posterior.from_fit(fit)
    asked = AskedMeans.build(posterior, target, scale, seed=seed, progress=progress)
    rows = averaged_rows(posterior, newdata, over=over, by=by, weights=weights)
    return apply_hypothesis(asked.estimates(rows), hypothesis)


@dataclass(frozen=True, eq=False, kw_only=True)
class AskedMeans(Asked):
    """Means of rows, or of their averages."""

    @classmethod
    def build(
        cls,
        posterior: Posterior,
        target: Target,
        scale: Scale,
        *,
        seed: int | np.random.Generator | None,
        progress: bool,
    ) -> AskedMeans:
        """Check what was asked.

        Raises
        ------
        SpecificationError
            An unknown target or scale, or no seed.
        EstimandError
            A target that the fit can't give.
        """
        mean = TargetMean.build(posterior, target, scale)
        return cls(posterior=posterior, mean=mean, seed=fixed_seed(seed), progress=progress)

    def estimates(self, rows: AskedRows) -> Estimates:
        """The means of rows or of their averages, with what they are.

        Raises
        ------
        DataError
            Rows that don't fit the model, or a column with a name that the result uses.
        """
        check_names(rows)
        target = self.mean.target
        draws = rows.answers(self._answer)
        average = "average " if rows.averaging is not None else ""
        title = average + outcome_words(self.posterior, self.mean.scale)
        labels = rows.labels.reset_index(drop=True).assign(target=target)
        return Estimates(draws, labels, title, target, self.notes(rows))

    def _answer(self, frame: pd.DataFrame, averaging: csr_array | None) -> xr.DataArray:
        design = self.posterior.design.evaluate(frame)
        return self.ask(ask_rows(self.mean, [design], averaging=averaging), "mean")
