"""The result of asking how much clusters differ: tables, words, a figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

import pandas as pd

from popavg.posterior_tools._cluster_curves import ClusterCurves
from popavg.posterior_tools.estimates import Estimates
from popavg.posterior_tools.heterogeneity_words import heterogeneity_words

__all__ = ["Heterogeneity"]


@dataclass(frozen=True, repr=False, eq=False)
class Heterogeneity:
    """How much the clusters of the population differ, from :func:`popavg.heterogeneity`.

    Attributes
    ----------
    group : str
        The grouping factor whose clusters are meant.
    probability : Estimates
        For each row the mean over clusters and quantiles over clusters of the conditional
        probability (log and identity link: of the conditional mean).
    effect : Estimates or None
        The same of the difference between two values of a covariate.
    share : Estimates or None
        Share of the clusters in which that difference exceeds each threshold.
    summary : Estimates
        Median odds ratio (logit; log link: median rate ratio), intra-cluster correlation on the
        latent and on the probability (response) scale.
    pairs : Estimates
        Odds ratio and correlation between two rows of one cluster.
    curves : ClusterCurves
        What :meth:`plot` draws.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.heterogeneity import heterogeneity
    >>> clusters = heterogeneity(pa.load_example())
    >>> clusters.summary.to_frame()["quantity"].tolist()[0]
    'median odds ratio'
    """

    group: str
    probability: Estimates
    effect: Estimates | None
    share: Estimates | None
    summary: Estimates
    pairs: Estimates
    curves: ClusterCurves = field(repr=False)

    @property
    def parts(self) -> dict[str, Estimates]:
        """The tables that there are, by name."""
        names = ("probability", "effect", "share", "summary", "pairs")
        found = {name: getattr(self, name) for name in names}
        return {name: part for name, part in found.items() if part is not None}

    @property
    def words(self) -> tuple[str, ...]:
        """Sentences that say what the numbers of the first row mean."""
        if any(part.is_lazy for part in self.parts.values()):
            return ("Nothing is computed yet: call compute() for numbers.",)
        return heterogeneity_words(self)

    def compute(self) -> Heterogeneity:
        """The same with all draws in memory, for results of a posterior on dask.

        Returns
        -------
        Heterogeneity
            With numbers.
        """
        return replace(self, **{name: part.compute() for name, part in self.parts.items()})

    def to_frame(self, ci_prob: float | None = None, ci_kind: Any = None) -> pd.DataFrame:
        """All tables, one below the other; the column ``part`` says which.

        Parameters
        ----------
        ci_prob : float, optional
            Level of the credible intervals; ``arviz.rcParams["stats.ci_prob"]`` by default.
        ci_kind : {"eti", "hdi"}, optional
            Equal-tailed or highest-density.

        Returns
        -------
        pandas.DataFrame
            The columns of :meth:`Estimates.to_frame` after those that name the rows.
        """
        frames = []
        for name, part in self.parts.items():
            frame = part.to_frame(ci_prob, ci_kind)
            frame.insert(0, "part", name)
            frames.append(frame)
        whole = pd.concat(frames, ignore_index=True)
        numbers = [name for name in frames[0].columns if name not in self._label_columns]
        labels = [name for name in whole.columns if name not in numbers]
        return whole.loc[:, [*labels, *numbers]]

    def plot(
        self,
        *,
        ci_prob: float | None = None,
        backend: str | None = None,
        visuals: Mapping[str, Mapping[str, Any] | bool] | None = None,
        **pc_kwargs: Any,
    ) -> Any:
        """Draw the clusters in order of their probability, and of their effect.

        Parameters
        ----------
        ci_prob : float, optional
            Level of the credible band; ``arviz.rcParams["stats.ci_prob"]`` by default.
        backend : {"matplotlib", "bokeh", "plotly"}, optional
            By default ``arviz.rcParams["plot.backend"]``.
        visuals : mapping, optional
            Keywords for ``band``, ``clusters``, ``mean``, ``threshold``, or False to leave one
            out.
        **pc_kwargs
            For :meth:`arviz_plots.PlotCollection.wrap`.

        Returns
        -------
        arviz_plots.PlotCollection
            One panel for each row, then one for each effect.
        """
        from popavg.posterior_tools.heterogeneity_plot import plot_heterogeneity

        return plot_heterogeneity(
            self.curves, self.group, ci_prob=ci_prob, backend=backend, visuals=visuals, **pc_kwargs
        )

    @property
    def _label_columns(self) -> set[str]:
        return {"part", *(str(name) for part in self.parts.values() for name in part.labels)}

    def __repr__(self) -> str:
        tables = [repr(part) for part in self.parts.values()]
        return "\n\n".join([*tables, "\n".join(self.words)])

    def _repr_html_(self) -> str:
        tables = [part._repr_html_() for part in self.parts.values()]
        return "".join([*tables, *(f"<p>{escape(sentence)}</p>" for sentence in self.words)])
