"""Population curves: the mean response over a covariate, draw by draw."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popavg._checks import check_choice
from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.estimates import Estimates
from popavg.posterior_tools.grid import Varying, cells, held_values, varying_values
from popavg.posterior_tools.targets import MEANINGS, TARGETS, Target, target_mean
from popavg.posterior_tools.unique_rows import distinct_rows

__all__ = ["predictions"]


def predictions(
    fit: xr.DataTree,
    *,
    over: Varying = None,
    by: Varying = None,
    newdata: pd.DataFrame | Literal["mean", "observed"] | None = None,
    target: Target = "population",
) -> Estimates:
    """Mean response of a population, a typical cluster or the sampled clusters.

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit` or :func:`popavg.load`.
    over : str, sequence of str or mapping, optional
        Covariates along the curve, ``"time"`` or ``{"time": [0, 6, 12]}``.
    by : str, sequence of str or mapping, optional
        Covariates that make separate curves, ``"treatment"``.
    newdata : pandas.DataFrame, "mean" or "observed", optional
        With ``over`` or ``by``: ``"mean"`` (default) holds the other covariates at their mean or
        most frequent level, which the result shows; ``"observed"`` or a frame sets ``over`` and
        ``by`` in every one of these rows and averages over them (standardisation). Without them:
        the rows to predict, by default the observed ones.
    target : {"population", "typical", "sampled"}
        ``"population"`` integrates over the random effects' distribution: the mean of the
        population of clusters. ``"typical"`` sets them to zero, ``"sampled"`` averages over the
        clusters of the data set. The result says which it is.

    Returns
    -------
    Estimates
        One estimand for each row or cell, on the response scale (a probability for logit,
        probit and cloglog; with ``p(successes, trials)`` that of one trial).

    Raises
    ------
    SpecificationError
        Not a fit, an unknown target or covariate.
    DataError
        Rows that don't fit the model: a missing column, an unseen level.
    EstimandError
        ``target="sampled"`` for a fit without draws of the clusters' effects.

    Notes
    -----
    π̄(x, z) = E_{t~N(0, v)} g⁻¹(x'β + t), v = z'Σz, for each draw of (β, Σ); see
    :func:`popavg.marginal_mean`.

    Examples
    --------
    >>> import popavg as pa
    >>> fit = pa.load_example()
    >>> curve = pa.predictions(fit, over={"time": [0, 6]}, by="treatment")
    >>> curve.to_frame()[["time", "treatment"]].to_string(header=False, index=False).split()[:2]
    ['0', 'itraconazole']
    """
    check_choice("target", target, TARGETS)
    posterior = Posterior.from_fit(fit)
    varying = varying_values(posterior.design, over, by)
    if not varying:
        frame = _rows(posterior, newdata)
        return _estimates(posterior, frame, _mean(posterior, frame, target), target)
    grid = cells(varying)
    if newdata is None or (isinstance(newdata, str) and newdata == "mean"):
        others = [name for name in posterior.design.predictors if name not in varying]
        frame = grid.assign(**held_values(posterior.design, others))
        return _estimates(posterior, frame, _mean(posterior, frame, target), target)
    rows = _rows(posterior, newdata)
    values = [_standardised(posterior, rows, cell, target) for cell in grid.to_dict("records")]
    return _estimates(posterior, grid, np.column_stack(values), target, n_rows=len(rows))


def _rows(posterior: Posterior, newdata: pd.DataFrame | str | None) -> pd.DataFrame:
    if isinstance(newdata, pd.DataFrame):
        if not len(newdata):
            raise DataError("newdata has no rows", "at least one row to predict")
        return newdata.reset_index(drop=True)
    if newdata is None or newdata == "observed":
        names = (*posterior.design.predictors, *_factor_columns(posterior))
        return posterior.design.frame.loc[:, list(dict.fromkeys(names))]
    if newdata == "mean":
        return pd.DataFrame([held_values(posterior.design, posterior.design.predictors)])
    raise SpecificationError(f"newdata={newdata!r}", "a DataFrame, 'mean' or 'observed'")


def _factor_columns(posterior: Posterior) -> tuple[str, ...]:
    return tuple(name for grouping in posterior.design.groupings for name in grouping.factor)


def _mean(posterior: Posterior, frame: pd.DataFrame, target: Target) -> NDArray[np.float64]:
    """Draws × rows; rows that repeat are computed once."""
    matrices, inverse, _ = distinct_rows(posterior.design.evaluate(frame))
    parts = [
        target_mean(posterior, matrices, target, block)
        for block in posterior.blocks(matrices.n_rows)
    ]
    return np.concatenate(parts)[:, inverse]


def _standardised(
    posterior: Posterior, rows: pd.DataFrame, cell: Mapping[Hashable, Any], target: Target
) -> NDArray[np.float64]:
    """Mean over the rows, each with the cell's values, draw by draw."""
    frame = rows.assign(**{str(name): value for name, value in cell.items()})
    matrices, _, counts = distinct_rows(posterior.design.evaluate(frame))
    weights = counts / counts.sum()
    parts = [
        target_mean(posterior, matrices, target, block) @ weights
        for block in posterior.blocks(matrices.n_rows)
    ]
    return np.concatenate(parts)


def _estimates(
    posterior: Posterior,
    labels: pd.DataFrame,
    values: NDArray[np.float64],
    target: Target,
    *,
    n_rows: int | None = None,
) -> Estimates:
    if "target" in labels.columns:
        raise DataError(
            "newdata has a column 'target', a name that the results use", remedy="rename it"
        )
    response = posterior.specification.response
    is_probability = posterior.link.is_probability
    title = f"probability of {response}" if is_probability else f"mean of {response}"
    notes = [f"target '{target}': {MEANINGS[target]}."]
    if n_rows is not None:
        notes.append(f"Averaged over {n_rows} rows, draw by draw (standardised).")
    draws = posterior.labelled(values, "row", None, "mean")
    return Estimates(draws, labels.assign(target=target), title, target, tuple(notes))
