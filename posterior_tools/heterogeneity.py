"""How much clusters differ: in their probabilities, in an effect, in how alike their rows are."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from popavg._checks import brief, listing
from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools._cluster_answers import Arms, ClusterTask, contrast_labels
from popavg.posterior_tools._cluster_curves import ClusterCurves
from popavg.posterior_tools._cluster_questions import shared_factors
from popavg.posterior_tools.datagrid import DataGrid
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.heterogeneity_result import Heterogeneity
from popavg.posterior_tools.newdata import NewData, read_rows
from popavg.posterior_tools.outcome import outcome_words
from popavg.posterior_tools.unique_rows import stack_designs
from popavg.posterior_tools.variables import Contrast, Variables, read_contrasts

__all__ = ["heterogeneity"]

#: Columns of the labels.
_RESERVED = ("quantity", "variable", "contrast", "pair")
#: Draws that the figure's band is made of.
_N_CURVES = 400


def heterogeneity(
    fit: xr.DataTree,
    variables: Variables = None,
    *,
    newdata: NewData = "mean",
    quantiles: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95),
    threshold: float | Sequence[float] | None = None,
    group: str | None = None,
    pair: pd.DataFrame | DataGrid | None = None,
    progress: bool = True,
) -> Heterogeneity:
    """How much the clusters of the population differ, and how alike the rows of one are.

    A population average hides whether all clusters are near it. This shows the distribution over
    clusters behind it; for the average itself use :func:`popavg.predictions`.

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit` or :func:`popavg.load`.
    variables : str, sequence of str or mapping, optional
        The effect to look at, as in ``pa.comparisons``: ``"treatment"``, ``{"time": [0, 6]}``;
        always a difference on the response scale. Without it there is no effect in the result.
    newdata : pandas.DataFrame, DataGrid, "mean", "balanced", "observed" or None
        The rows to ask about, each on its own. ``"mean"``: one row, numbers at their mean,
        categories at their most frequent level. ``"balanced"``: one row for each combination of
        the categories' levels, numbers at their mean. ``"observed"`` or None: every row of the
        fit; rows that repeat are computed once, but all of them are in the result.
    quantiles : sequence of float
        Shares of the clusters, between 0 and 1.
    threshold : float or sequence of float, optional
        Sizes of the effect of which the result says how many clusters exceed them; 0 by default.
        Needs ``variables``.
    group : str, optional
        The grouping factor whose clusters are meant; by default the outermost one. What varies
        inside its clusters (nested or crossed factors) is averaged over.
    pair : pandas.DataFrame or DataGrid, optional
        Two rows of one cluster, for their odds ratio and correlation, such as
        ``pa.datagrid(time=[0, 6])``; by default two rows like each row of ``newdata``.
    progress : bool
        Show a bar from two seconds on.

    Returns
    -------
    Heterogeneity
        With ``probability``, ``effect``, ``share``, ``summary`` and ``pairs``.

    Raises
    ------
    EstimandError
        A model without random effects.
    SpecificationError
        An unknown covariate or grouping factor, quantiles outside (0, 1), a threshold that isn't
        finite or is given without ``variables``, crossed factors none of which is named.
    DataError
        Rows that don't fit the model, a level that it hasn't seen, a ``pair`` of other than two
        rows.

    Notes
    -----
    Clusters are those of the population, by the distribution of u, not the fitted ones. With
    t = z'u, v its variance and w that of the other random effects, a cluster's mean is m(η + t)
    with m(x) = E g⁻¹(x + N(0, w)), and its effect m(η₁ + t₁) - m(η₀ + t₀). Quantiles, shares and
    correlations are computed in every draw by deterministic integrals, see
    :mod:`popavg.posterior_tools.effect_distribution` and
    :mod:`popavg.posterior_tools.cluster_correlation`, then summarised.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.heterogeneity import heterogeneity
    >>> clusters = heterogeneity(pa.load_example(), "treatment", newdata=pa.datagrid(time=6))
    >>> clusters.probability.to_frame()["quantity"].tolist()[:3]
    ['mean', '5 % quantile', '25 % quantile']
    """
    posterior = Posterior.from_fit(fit)
    cluster, shared = shared_factors(posterior.design.matrices.groups, group)
    rows = read_rows(posterior, newdata)
    taken = [name for name in rows.shown if name in _RESERVED]
    if taken:
        raise DataError(
            f"newdata has the column {listing(taken)}, a name that the results use",
            remedy="rename it",
        )
    thresholds = _thresholds(threshold, variables)
    task = ClusterTask(
        posterior,
        rows,
        posterior.design.evaluate(rows.frame),
        cluster,
        shared,
        _levels(quantiles),
        progress,
    )
    contrasts = () if variables is None else read_contrasts(posterior.design, variables)
    arms = _arms(task, contrasts)
    effect, share = task.effects(contrasts, arms, thresholds) if arms else (None, None)
    probability = task.probability()
    summary, pairs = task.summary_and_pairs(pair)
    curves = _curves(task, contrasts, arms, thresholds)
    return Heterogeneity(cluster, probability, effect, share, summary, pairs, curves)


def _levels(quantiles: Sequence[float]) -> tuple[float, ...]:
    given = [quantiles] if isinstance(quantiles, Real) else list(quantiles)
    usable = [isinstance(q, Real) and 0.0 < float(q) < 1.0 for q in given]
    if not given or not all(usable):
        raise SpecificationError(
            f"quantiles={brief(quantiles)}", "shares of the clusters between 0 and 1, both excluded"
        )
    return tuple(float(q) for q in given)


def _thresholds(
    threshold: float | Sequence[float] | None, variables: Variables
) -> tuple[float, ...]:
    if threshold is None:
        return (0.0,)
    given = [threshold] if isinstance(threshold, Real) else list(np.atleast_1d(threshold))
    usable = [isinstance(c, Real) and bool(np.isfinite(c)) for c in given]
    if not given or not all(usable):
        raise SpecificationError(
            f"threshold={brief(threshold)}", "finite numbers, differences on the response scale"
        )
    if variables is None:
        raise SpecificationError(
            f"threshold={threshold!r} without 'variables': there is no effect to compare it with",
            "a threshold for the effect of a covariate",
            "name the covariate, such as variables='treatment' or variables={'time': [0, 6]}, or "
            "leave the threshold out",
        )
    return tuple(float(c) for c in given)


def _arms(task: ClusterTask, contrasts: Sequence[Contrast]) -> Arms | None:
    """The rows at both ends of every contrast, contrast by contrast."""
    if not contrasts:
        return None
    design, frame = task.posterior.design, task.rows.frame
    low = [design.evaluate(Contrast.rows(frame, contrast.low)) for contrast in contrasts]
    high = [design.evaluate(Contrast.rows(frame, contrast.high)) for contrast in contrasts]
    return stack_designs(low), stack_designs(high)


def _curves(
    task: ClusterTask,
    contrasts: Sequence[Contrast],
    arms: Arms | None,
    thresholds: tuple[float, ...],
) -> ClusterCurves:
    """What the figure needs: some draws, and the questions."""
    step = max(1, task.posterior.n_draws // _N_CURVES)
    words = outcome_words(task.posterior)
    names = _row_names(task.rows.labels)
    effects = _row_names(contrast_labels(task.rows, contrasts)) if contrasts else []
    return ClusterCurves(
        task.posterior,
        step,
        task.matrices,
        arms,
        task.shared,
        (words, f"difference in the {words}"),
        (tuple(names), tuple(effects)),
        thresholds,
    )


def _row_names(labels: pd.DataFrame) -> list[str]:
    """What a row's panel is called: the columns that differ between rows, or all of them."""
    varying = [name for name in labels if labels[name].nunique() > 1] or list(labels.columns)
    shown = [name for name in varying if name not in ("variable", "contrast")]
    found = []
    for row in labels.to_dict("records"):
        contrast = [row["contrast"]] if "contrast" in row else []
        found.append(", ".join([*contrast, *(f"{name} = {_word(row[name])}" for name in shown)]))
    return found


def _word(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
