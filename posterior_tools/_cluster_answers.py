"""What is asked about the differences between clusters, as labelled estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popavg.design import DesignMatrices
from popavg.errors import DataError
from popavg.posterior_tools._changes import Contrast
from popavg.posterior_tools._cluster_questions import (
    ClusterEffects,
    ClusterLikeness,
    ClusterMeans,
    PairLikeness,
    PairMoments,
    quantities,
)
from popavg.posterior_tools._row_notes import contrast_notes, extrapolation_notes
from popavg.posterior_tools.datagrid import DataGrid
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.estimates import Estimates
from popavg.posterior_tools.evaluation import evaluate
from popavg.posterior_tools.newdata import Rows, read_rows
from popavg.posterior_tools.outcome import outcome_words
from popavg.posterior_tools.unique_rows import stacked_rows, take_rows

__all__ = ["Arms", "ClusterTask", "contrast_labels"]

#: The rows at the low and at the high end of every contrast, contrast by contrast.
type Arms = tuple[DesignMatrices, DesignMatrices]


@dataclass(frozen=True, eq=False)
class ClusterTask:
    """What all parts of the result share; rows that repeat are computed once."""

    posterior: Posterior
    rows: Rows
    matrices: DesignMatrices
    group: str
    shared: tuple[str, ...]
    levels: tuple[float, ...]
    progress: bool

    def probability(self) -> Estimates:
        """Mean and quantiles over clusters of the conditional mean."""
        matrices, _, (index,) = stacked_rows([self.matrices])
        names = ["mean", *_quantile_names(self.levels)]
        question = ClusterMeans(matrices, self.shared, self.levels)
        values = self._ask(question, "mean", index, len(names))
        title = f"{outcome_words(self.posterior)} over the clusters of {self.group!r}"
        notes = extrapolation_notes(self.posterior.design, self.rows.frame)
        return Estimates(values, _repeated(self.rows.labels, names), title, notes=notes)

    def effects(
        self, contrasts: Sequence[Contrast], arms: Arms, thresholds: tuple[float, ...]
    ) -> tuple[Estimates, Estimates]:
        """Mean and quantiles of the effect, and the shares above thresholds."""
        low, first, (index,) = stacked_rows([arms[0]], beside=arms[1])
        high = take_rows(arms[1], first)
        names = ["mean", *_quantile_names(self.levels)]
        shares = [f"share above {c:g}" for c in thresholds]
        question = ClusterEffects(low, high, self.shared, self.levels, thresholds)
        values = self._ask(question, "effect", index, len(names) + len(shares))
        labels = _repeated(contrast_labels(self.rows, contrasts), [*names, *shares])
        notes = contrast_notes(self.posterior.design, contrasts)
        is_share = labels["quantity"].isin(shares).to_numpy()
        outcome = outcome_words(self.posterior)
        title = (
            f"share of the clusters of {self.group!r} whose difference in the {outcome} is above"
        )
        words = f"difference in the {outcome} over the clusters of {self.group!r}"
        whole = Estimates(values, labels, words, notes=notes)
        share = Estimates(values, labels, title)
        return whole.take(np.flatnonzero(~is_share)), share.take(np.flatnonzero(is_share))

    def summary_and_pairs(
        self, pair: pd.DataFrame | DataGrid | None
    ) -> tuple[Estimates, Estimates]:
        """How alike rows of a cluster are, and two of them: rows alike unless two are given."""
        title = f"how much the clusters of {self.group!r} differ"
        if self.posterior.link.name == "identity":
            names, pairs = ["correlation"], ["correlation"]
            values = self._normal_correlation(self.matrices, self.matrices)
        else:
            matrices, _, (index,) = stacked_rows([self.matrices])
            link = self.posterior.link
            question = ClusterLikeness(matrices, self.shared, link, pairs=pair is None)
            names, pairs = list(quantities(link)), list(question.names)
            values = self._ask(question, "likeness", index, len(pairs))
        labels = _repeated(self.rows.labels, pairs)
        own = labels["quantity"].isin(names).to_numpy()
        summary = Estimates(values, labels, title).take(np.flatnonzero(own))
        if pair is not None:
            return summary, self._given_pair(pair)
        wanted = labels["quantity"].isin(["odds ratio", names[-1]]).to_numpy()
        likeness = labels.replace({"quantity": {names[-1]: "correlation"}})
        alike = f"two rows alike of one cluster of {self.group!r}, clusters averaged over"
        return summary, Estimates(values, likeness, alike).take(np.flatnonzero(wanted))

    def _given_pair(self, pair: pd.DataFrame | DataGrid) -> Estimates:
        frame = _pair_frame(self.posterior, pair)
        first, second = (self.posterior.design.evaluate(frame.iloc[[i]]) for i in (0, 1))
        link = self.posterior.link
        if link.name == "identity":
            values, names = self._normal_correlation(first, second), ["correlation"]
        else:
            question = PairLikeness(first, second, self.shared, link)
            names = list(question.names)
            values = self._ask(question, "likeness", np.zeros(1, dtype=np.intp), len(names))
        labels = pd.DataFrame({"pair": [_pair_words(frame)]})
        title = f"two rows of one cluster of {self.group!r}, clusters averaged over"
        return Estimates(values, _repeated(labels, names), title)

    def _normal_correlation(self, first: DesignMatrices, second: DesignMatrices) -> xr.DataArray:
        """Identity link: the residual variance is a parameter of its own."""
        question = PairMoments(first, second, self.shared)
        moments = evaluate(self.posterior, question, name="correlation", progress=self.progress)
        if "sigma" not in self.posterior.data:
            raise DataError(
                "the fit has no draws 'sigma' of the residual standard deviation",
                "a fit of a Gaussian response with them",
            )
        residual = self.posterior.data["sigma"].transpose("chain", "draw").variable ** 2
        covariance, one, two = (
            moments.isel({moments.dims[2]: slice(k * first.n_rows, (k + 1) * first.n_rows)})
            for k in range(3)
        )
        spread = (one.variable + residual) * (two.variable + residual)
        return covariance.copy(data=(covariance.variable / np.sqrt(spread)).data)

    def _ask(self, question: Any, name: str, index: NDArray[np.intp], per_row: int) -> xr.DataArray:
        """Answers about distinct rows, given to every row that is one of them."""
        values = evaluate(self.posterior, question, name=name, progress=self.progress)
        if np.array_equal(index * per_row, np.arange(0, values.shape[2], per_row)):
            return values
        positions = (index[:, None] * per_row + np.arange(per_row)).ravel()
        return values.isel({values.dims[2]: positions})


def contrast_labels(rows: Rows, contrasts: Sequence[Contrast]) -> pd.DataFrame:
    """The rows once for each contrast, without the covariates that it sets."""
    parts = []
    for contrast in contrasts:
        moved = {change.variable for change in contrast.changes if not change.is_step}
        kept = rows.labels.drop(columns=[name for name in rows.shown if name in moved])
        parts.append(kept.assign(variable=contrast.variable, contrast=contrast.label()))
    return pd.concat(parts, ignore_index=True)


def _repeated(labels: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Every row once for each name."""
    many = labels.loc[labels.index.repeat(len(names))].reset_index(drop=True)
    return many.assign(quantity=list(names) * len(labels))


def _quantile_names(levels: Sequence[float]) -> list[str]:
    return [f"{100 * level:g} % quantile" for level in levels]


def _pair_frame(posterior: Posterior, pair: object) -> pd.DataFrame:
    if not isinstance(pair, (pd.DataFrame, DataGrid)):
        raise DataError(
            f"pair is of type {type(pair).__name__}",
            "a DataFrame or pa.datagrid(…) of two rows of one cluster",
            "write for instance pair=pa.datagrid(time=[0, 6])",
        )
    if isinstance(pair, pd.DataFrame) and not len(pair):
        n_rows = 0
    else:
        frame = read_rows(posterior, pair).frame
        n_rows = len(frame)
        if n_rows == 2:
            return frame
    raise DataError(
        f"pair has {n_rows} rows",
        "two rows of one cluster",
        "write for instance pair=pa.datagrid(time=[0, 6])",
    )


def _pair_words(frame: pd.DataFrame) -> str:
    differ = [name for name in frame.columns if frame[name].iloc[0] != frame[name].iloc[1]]
    words = [f"{name} {frame[name].iloc[0]} and {frame[name].iloc[1]}" for name in differ]
    return ", ".join(words) or "two rows alike"
