"""How much clusters differ: in their probabilities, in an effect, in how alike their rows are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from popavg._checks import listing
from popavg.design import DesignMatrices
from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools._cluster_curves import ClusterCurves
from popavg.posterior_tools._cluster_questions import (
    ClusterEffects,
    ClusterLikeness,
    ClusterMeans,
    PairLikeness,
    PairMoments,
    quantities,
    shared_factors,
)
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.estimates import Estimates
from popavg.posterior_tools.evaluation import evaluate
from popavg.posterior_tools.heterogeneity_result import Heterogeneity
from popavg.posterior_tools.newdata import NewData, Rows, read_rows
from popavg.posterior_tools.outcome import outcome_words
from popavg.posterior_tools.unique_rows import stack_designs
from popavg.posterior_tools.variables import Contrast, Variables, read_contrasts

__all__ = ["heterogeneity"]

#: Columns of the labels.
_RESERVED = ("quantity", "variable", "contrast", "pair")
#: Draws that the figure's band is made of.
_N_CURVES = 400


@dataclass(frozen=True, eq=False)
class _Task:
    """What all parts of the result share."""

    posterior: Posterior
    rows: Rows
    matrices: DesignMatrices
    group: str
    shared: tuple[str, ...]
    levels: tuple[float, ...]
    thresholds: tuple[float, ...]
    progress: bool

    def ask(self, question: Any, name: str) -> xr.DataArray:
        return evaluate(self.posterior, question, name=name, progress=self.progress)


def heterogeneity(
    fit: xr.DataTree,
    variables: Variables = None,
    *,
    newdata: NewData = "mean",
    quantiles: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95),
    threshold: float | Sequence[float] = 0.0,
    group: str | None = None,
    pair: pd.DataFrame | None = None,
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
        fit, which takes as many times as long as there are rows and says the same of equal ones.
    quantiles : sequence of float
        Shares of the clusters, between 0 and 1.
    threshold : float or sequence of float
        Sizes of the effect of which the result says how many clusters exceed them.
    group : str, optional
        The grouping factor whose clusters are meant; by default the outermost one. What varies
        inside its clusters (nested or crossed factors) is averaged over.
    pair : pandas.DataFrame, optional
        Two rows of one cluster, for their odds ratio and correlation; by default two rows like
        each row of ``newdata``.
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
        finite, crossed factors none of which is named.
    DataError
        Rows that don't fit the model, a level that it hasn't seen, a ``pair`` of other than two
        rows.

    Notes
    -----
    Clusters are those of the population, u ~ N(0, Σ), not the fitted ones. With t = z'u, v its
    variance and w that of the other random effects, a cluster's mean is m(η + t) with
    m(x) = E g⁻¹(x + N(0, w)), and its effect m(η₁ + t₁) - m(η₀ + t₀). Quantiles, shares and
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
    task = _Task(
        posterior,
        rows,
        posterior.design.evaluate(rows.frame),
        cluster,
        shared,
        _levels(quantiles),
        _thresholds(threshold),
        progress,
    )
    contrasts = () if variables is None else read_contrasts(posterior.design, variables)
    arms = _arms(task, contrasts)
    effect, share = _effects(task, contrasts, arms) if arms else (None, None)
    return Heterogeneity(
        cluster,
        _probability(task),
        effect,
        share,
        _summary(task),
        _pairs(task, pair),
        _curves(task, contrasts, arms),
    )


def _levels(quantiles: Sequence[float]) -> tuple[float, ...]:
    given = [quantiles] if isinstance(quantiles, Real) else list(quantiles)
    usable = [isinstance(q, Real) and 0.0 < float(q) < 1.0 for q in given]
    if not given or not all(usable):
        raise SpecificationError(
            f"quantiles={quantiles!r}", "shares of the clusters between 0 and 1, both excluded"
        )
    return tuple(float(q) for q in given)


def _thresholds(threshold: float | Sequence[float]) -> tuple[float, ...]:
    given = [threshold] if isinstance(threshold, Real) else list(np.atleast_1d(threshold))
    usable = [isinstance(c, Real) and bool(np.isfinite(c)) for c in given]
    if not given or not all(usable):
        raise SpecificationError(
            f"threshold={threshold!r}", "finite numbers, differences on the response scale"
        )
    return tuple(float(c) for c in given)


def _arms(
    task: _Task, contrasts: Sequence[Contrast]
) -> tuple[DesignMatrices, DesignMatrices] | None:
    """The rows at both ends of every contrast, contrast by contrast."""
    if not contrasts:
        return None
    design, frame = task.posterior.design, task.rows.frame
    low = [design.evaluate(Contrast.rows(frame, contrast.low)) for contrast in contrasts]
    high = [design.evaluate(Contrast.rows(frame, contrast.high)) for contrast in contrasts]
    return stack_designs(low), stack_designs(high)


def _repeated(labels: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Every row once for each name."""
    many = labels.loc[labels.index.repeat(len(names))].reset_index(drop=True)
    return many.assign(quantity=list(names) * len(labels))


def _quantile_names(levels: Sequence[float]) -> list[str]:
    return [f"{100 * level:g} % quantile" for level in levels]


def _probability(task: _Task) -> Estimates:
    values = task.ask(ClusterMeans(task.matrices, task.shared, task.levels), "mean")
    labels = _repeated(task.rows.labels, ["mean", *_quantile_names(task.levels)])
    title = f"{outcome_words(task.posterior)} over the clusters of {task.group!r}"
    return Estimates(values, labels, title)


def _effects(
    task: _Task, contrasts: Sequence[Contrast], arms: tuple[DesignMatrices, DesignMatrices]
) -> tuple[Estimates, Estimates]:
    values = task.ask(ClusterEffects(*arms, task.shared, task.levels, task.thresholds), "effect")
    names = ["mean", *_quantile_names(task.levels)]
    shares = [f"share above {c:g}" for c in task.thresholds]
    labels = _repeated(_contrast_labels(task.rows, contrasts), [*names, *shares])
    is_share = labels["quantity"].isin(shares).to_numpy()
    outcome = outcome_words(task.posterior)
    titles = (
        f"difference in the {outcome} over the clusters of {task.group!r}",
        f"share of the clusters of {task.group!r} whose difference in the {outcome} is above",
    )
    parts = []
    for chosen, title in ((~is_share, titles[0]), (is_share, titles[1])):
        at = np.flatnonzero(chosen)
        part = labels.iloc[at].reset_index(drop=True)
        parts.append(Estimates(values.isel({values.dims[2]: at}), part, title))
    return parts[0], parts[1]


def _contrast_labels(rows: Rows, contrasts: Sequence[Contrast]) -> pd.DataFrame:
    parts = []
    for contrast in contrasts:
        moved = {change.variable for change in contrast.changes if not change.is_step}
        kept = rows.labels.drop(columns=[name for name in rows.shown if name in moved])
        parts.append(kept.assign(variable=contrast.variable, contrast=contrast.label()))
    return pd.concat(parts, ignore_index=True)


def _summary(task: _Task) -> Estimates:
    link = task.posterior.link
    if link.name == "identity":
        values, names = _normal_correlation(task, task.matrices, task.matrices), ["correlation"]
    else:
        names = list(quantities(link))
        values = task.ask(ClusterLikeness(task.matrices, task.shared, link), "likeness")
    title = f"how much the clusters of {task.group!r} differ"
    return Estimates(values, _repeated(task.rows.labels, names), title)


def _pairs(task: _Task, pair: pd.DataFrame | None) -> Estimates:
    link = task.posterior.link
    if pair is None:
        labels, first = task.rows.labels, task.matrices
        second, words = first, "two rows alike"
    else:
        if not isinstance(pair, pd.DataFrame) or len(pair) != 2:
            came = f"{len(pair)} rows" if isinstance(pair, pd.DataFrame) else repr(pair)
            raise DataError(f"pair={came}", "a DataFrame of two rows of one cluster")
        frame = pair.reset_index(drop=True)
        labels = pd.DataFrame({"pair": [_pair_words(frame)]})
        first, second = (task.posterior.design.evaluate(frame.iloc[[i]]) for i in (0, 1))
        words = "two rows"
    if link.name == "identity":
        values, names = _normal_correlation(task, first, second), ["correlation"]
    else:
        question = PairLikeness(first, second, task.shared, link)
        values, names = task.ask(question, "likeness"), list(question.names)
    title = f"{words} of one cluster of {task.group!r}, clusters averaged over"
    return Estimates(values, _repeated(labels, names), title)


def _pair_words(frame: pd.DataFrame) -> str:
    differ = [name for name in frame.columns if frame[name].iloc[0] != frame[name].iloc[1]]
    words = [f"{name} {frame[name].iloc[0]} and {frame[name].iloc[1]}" for name in differ]
    return ", ".join(words) or "two rows alike"


def _normal_correlation(task: _Task, first: DesignMatrices, second: DesignMatrices) -> xr.DataArray:
    """Identity link: the residual variance is a parameter of its own."""
    moments = task.ask(PairMoments(first, second, task.shared), "correlation")
    if "sigma" not in task.posterior.data:
        raise DataError(
            "the fit has no draws 'sigma' of the residual standard deviation",
            "a fit of a Gaussian response with them",
        )
    residual = task.posterior.data["sigma"].transpose("chain", "draw").variable ** 2
    covariance, one, two = (
        moments.isel({moments.dims[2]: slice(k * first.n_rows, (k + 1) * first.n_rows)})
        for k in range(3)
    )
    spread = (one.variable + residual) * (two.variable + residual)
    return covariance.copy(data=(covariance.variable / np.sqrt(spread)).data)


def _curves(
    task: _Task,
    contrasts: Sequence[Contrast],
    arms: tuple[DesignMatrices, DesignMatrices] | None,
) -> ClusterCurves:
    """What the figure needs: some draws, and the questions."""
    step = max(1, task.posterior.n_draws // _N_CURVES)
    words = outcome_words(task.posterior)
    names = _row_names(task.rows.labels)
    effects = _row_names(_contrast_labels(task.rows, contrasts)) if contrasts else []
    return ClusterCurves(
        task.posterior,
        step,
        task.matrices,
        arms,
        task.shared,
        (words, f"difference in the {words}"),
        (tuple(names), tuple(effects)),
        task.thresholds,
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
