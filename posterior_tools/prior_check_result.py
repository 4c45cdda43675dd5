"""The result of asking what priors imply: words, tables, a figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popavg.links import Link, get_link
from popavg.posterior_tools.along import Along
from popavg.posterior_tools.draws import read_specification
from popavg.posterior_tools.estimates import Estimates
from popavg.posterior_tools.prior_shape import PriorShape
from popavg.posterior_tools.prior_words import prior_words
from popavg.posterior_tools.summaries import IntervalKind, interval_settings, intervals
from popavg.priors import Prior

__all__ = ["RARE", "PriorCheck"]

type Floats = NDArray[np.float64]

#: Probabilities below this and above one minus this are counted apart.
RARE = 0.01


@dataclass(frozen=True, repr=False, eq=False)
class PriorCheck:
    """What the priors of a model imply, from :func:`popavg.prior_check`.

    Attributes
    ----------
    curves : Estimates
        Prior draws of the population mean along ``over``, by ``by``; a single estimand for a
        model without covariates. With the log link the logarithm of the mean.
    average : Estimates
        The same at the average row: numbers at their mean, categories at their most frequent
        level.
    spread : Estimates
        Largest minus smallest population mean over the rows of the data, on the scale of the
        curves.
    deviations : Estimates
        The random effects' standard deviations.
    shape : PriorShape or None
        Density of ``average``; None where that is no probability, or doesn't vary.
    priors : dict of str to Prior
        Every parameter's prior, defaults included.
    row : dict
        The average row's covariates.
    axis : Along or None
        The covariate along the curves.
    panels : tuple of str
        A heading for each curve's panel.
    tree : xarray.DataTree
        The prior draws as a fit, which every function of a fit takes.

    Examples
    --------
    >>> import popavg as pa
    >>> check = pa.prior_check("resp ~ age + (1 | id)", pa.load_dataset("ohio"), link="logit")
    >>> check.to_frame()["quantity"].to_list()[:2]
    ['probability at the average row', 'range over the rows']
    """

    curves: Estimates
    average: Estimates
    spread: Estimates
    deviations: Estimates
    shape: PriorShape | None
    priors: Mapping[str, Prior]
    row: Mapping[str, Any]
    axis: Along | None
    panels: tuple[str, ...]
    tree: xr.DataTree = field(repr=False)

    @property
    def link(self) -> Link:
        """The model's link."""
        return get_link(read_specification(self.tree).link)

    @property
    def is_probability(self) -> bool:
        """Whether the mean is a probability."""
        return self.link.is_probability

    @property
    def is_log(self) -> bool:
        """Whether curves are on the scale of the log link, where no mean leaves the floats."""
        return self.link.name == "log"

    @property
    def values(self) -> Floats:
        """Draws of the mean at the average row, on the scale of the curves, shape (draws,)."""
        return self.average.draws.to_numpy().ravel()

    @property
    def share_below(self) -> float:
        """Share of the draws with a probability below 0.01."""
        return float((self.values < RARE).mean())

    @property
    def share_above(self) -> float:
        """Share of the draws with a probability above 0.99."""
        return float((self.values > 1 - RARE).mean())

    @property
    def words(self) -> tuple[str, ...]:
        """Sentences that say what the priors imply, and what to do where that is odd."""
        return prior_words(self)

    def to_frame(
        self, ci_prob: float | None = None, ci_kind: IntervalKind | None = None
    ) -> pd.DataFrame:
        """The numbers of the words; for those of the curves see ``curves.to_frame()``.

        Parameters
        ----------
        ci_prob : float, optional
            Level of the prior intervals; ``arviz.rcParams["stats.ci_prob"]`` by default.
        ci_kind : {"eti", "hdi"}, optional
            Equal-tailed or highest-density.

        Returns
        -------
        pandas.DataFrame
            ``quantity``, ``estimate`` (the prior median, or a share), ``lower`` and ``upper``.
            With the log link the geometric mean's place is taken by the mean itself, and the
            range is a ratio.
        """
        kind = "probability" if self.is_probability else "mean"
        parts = [
            (f"{kind} at the average row", self.average),
            ("ratio over the rows" if self.is_log else "range over the rows", self.spread),
        ]
        rows = [(name, *self.interval(part, ci_prob, ci_kind)) for name, part in parts]
        if self.is_probability:
            blank = (np.nan, np.nan)
            rows.append((f"share below {RARE}", self.share_below, *blank))
            rows.append((f"share above {1 - RARE}", self.share_above, *blank))
        table = intervals(
            self.deviations.draws.to_numpy(), ci_prob=ci_prob, ci_kind=ci_kind,
            point_estimate="median",
        )  # fmt: skip
        names = self.deviations.labels["parameter"]
        rows += [(name, *numbers) for name, numbers in zip(names, table.to_numpy(), strict=True)]
        return pd.DataFrame(rows, columns=["quantity", "estimate", "lower", "upper"])

    def interval(
        self, part: Estimates, ci_prob: float | None = None, ci_kind: IntervalKind | None = None
    ) -> tuple[float, float, float]:
        """Median and interval of a single estimand, with the log link of its exponential.

        Parameters
        ----------
        part : Estimates
            ``average`` or ``spread``.
        ci_prob, ci_kind : optional
            As :meth:`to_frame`.

        Returns
        -------
        tuple of three floats
            Infinite where a mean leaves the floating-point numbers.
        """
        table = intervals(
            part.draws.to_numpy(), ci_prob=ci_prob, ci_kind=ci_kind, point_estimate="median"
        )
        numbers = table.to_numpy()[0]
        if self.is_log:
            with np.errstate(over="ignore"):
                numbers = np.exp(numbers)
        median, lower, upper = (float(number) for number in numbers)
        return median, lower, upper

    def plot(
        self,
        *,
        n_curves: int = 50,
        ci_prob: float | None = None,
        ci_kind: IntervalKind | None = None,
        backend: str | None = None,
        visuals: Mapping[str, Mapping[str, Any] | bool] | None = None,
        **pc_kwargs: Any,
    ) -> Any:
        """Draw curves of the prior in grey, their average and their band.

        Parameters
        ----------
        n_curves : int
            How many draws to show; they are spread evenly over all.
        ci_prob, ci_kind : optional
            Level and kind of the band; ``arviz.rcParams`` by default.
        backend : {"matplotlib", "bokeh", "plotly"}, optional
            By default ``arviz.rcParams["plot.backend"]``.
        visuals : mapping, optional
            Keywords for ``draws``, ``band``, ``average``, or False to leave one out.
        **pc_kwargs
            For :meth:`arviz_plots.PlotCollection.wrap`.

        Returns
        -------
        arviz_plots.PlotCollection
            A panel for each value of ``by``. For a model without covariates a histogram of the
            mean.
        """
        from popavg.posterior_tools.prior_plot import plot_prior

        return plot_prior(
            self, n_curves=n_curves, ci_prob=ci_prob, ci_kind=ci_kind, backend=backend,
            visuals=visuals, **pc_kwargs,
        )  # fmt: skip

    def __repr__(self) -> str:
        names = [f"  {name}: {prior}" for name, prior in self.priors.items()]
        table = self.to_frame().to_string(index=False, float_format=lambda x: f"{x:.3g}")
        return "\n".join([self._caption(), *names, "", table, "", *self.words])

    def _repr_html_(self) -> str:
        names = "".join(f"<li>{escape(f'{n}: {prior}')}</li>" for n, prior in self.priors.items())
        table = self.to_frame().to_html(
            index=False, border=0, float_format=lambda x: f"{x:.3g}", na_rep=""
        )
        words = "".join(f"<p>{escape(sentence)}</p>" for sentence in self.words)
        return f"<p>{escape(self._caption())}</p><ul>{names}</ul>{table}{words}"

    def _caption(self) -> str:
        prob, kind = interval_settings(None, None)
        size = len(self.values)
        return f"What the priors imply ({size:,} prior draws; {100 * prob:g} % intervals, {kind})"
