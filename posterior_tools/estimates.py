"""The one result type for everything computed from draws."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools.summaries import (
    COLUMNS,
    IntervalKind,
    PointEstimate,
    interval_settings,
    summarise,
)

__all__ = ["Estimates"]

#: Rows of a printed table, of an HTML table; those between the first and the last are left out.
_PRINTED, _IN_HTML = 20, 60


@dataclass(frozen=True, repr=False)
class Estimates:
    """Draws of estimands, with what each of them speaks of.

    Averages are taken draw by draw, then summarised; intervals are never averaged.

    Attributes
    ----------
    draws : xarray.DataArray
        Dims ``chain``, ``draw`` and one dim of estimands; draws **of the estimand itself**. On
        dask where the fit is: see :meth:`compute`.
    labels : pandas.DataFrame
        One row for each estimand: the covariates or the term it belongs to.
    title : str
        What these numbers are, in words.
    target : str
        Which population they speak of: ``"population"``, ``"typical"``, ``"sampled"`` or
        ``"new"``.
    notes : tuple of str
        Sentences that a reader needs.
    point_estimate : {"mean", "median"}, optional
        What ``estimate`` is; ``arviz.rcParams["stats.point_estimate"]`` by default.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> import popavg as pa
    >>> rng = np.random.default_rng(1)
    >>> draws = xr.DataArray(rng.normal(size=(4, 250, 1)), dims=("chain", "draw", "term"))
    >>> estimates = pa.Estimates(draws, pd.DataFrame({"term": ["Intercept"]}), "an example")
    >>> list(estimates.to_frame(ci_prob=0.9).columns[:4])
    ['term', 'estimate', 'std_error', 'lower']
    """

    draws: xr.DataArray
    labels: pd.DataFrame
    title: str
    target: str = "population"
    notes: tuple[str, ...] = ()
    point_estimate: PointEstimate | None = None

    def __post_init__(self) -> None:
        dims = self.draws.dims
        if len(dims) != 3 or dims[:2] != ("chain", "draw"):
            raise SpecificationError(f"draws have the dims {dims}", "(chain, draw, estimands)")
        if len(self.labels) != self.draws.shape[2]:
            raise SpecificationError(
                f"{len(self.labels)} labels for {self.draws.shape[2]} estimands", "one each"
            )
        taken = [str(name) for name in self.labels.columns if name in COLUMNS]
        if taken:
            raise DataError(
                f"the column {listing(taken)} has a name that the results use",
                f"names other than {listing(COLUMNS)}",
                "rename it",
            )

    @property
    def dim(self) -> Hashable:
        """The dim of the estimands."""
        return self.draws.dims[2]

    @property
    def is_lazy(self) -> bool:
        """Whether the draws are on dask and not computed yet."""
        return self.draws.chunks is not None

    def compute(self) -> Estimates:
        """The same with the draws in memory.

        Returns
        -------
        Estimates
            Itself where the draws are in memory already.
        """
        return replace(self, draws=self.draws.compute()) if self.is_lazy else self

    def take(self, positions: Sequence[int] | NDArray[np.intp] | slice) -> Self:
        """Some of the estimands.

        Parameters
        ----------
        positions : sequence of int or slice
            Which rows of ``labels``, counted from 0.

        Returns
        -------
        Estimates
            Of the same type; everything else as it is.

        Examples
        --------
        >>> import popavg as pa
        >>> means = pa.avg_predictions(pa.load_example(), by="treatment")
        >>> means.take([1]).labels["treatment"].item()
        'terbinafine'
        """
        labels = self.labels.iloc[positions].reset_index(drop=True)
        return replace(self, draws=self.draws.isel({self.dim: positions}), labels=labels)

    def to_frame(
        self, ci_prob: float | None = None, ci_kind: IntervalKind | None = None
    ) -> pd.DataFrame:
        """Tidy summary, one row for each estimand.

        Parameters
        ----------
        ci_prob : float, optional
            Level of the credible interval; ``arviz.rcParams["stats.ci_prob"]`` by default.
        ci_kind : {"eti", "hdi"}, optional
            Equal-tailed or highest-density; ``arviz.rcParams["stats.ci_kind"]`` by default.

        Returns
        -------
        pandas.DataFrame
            The labels, then ``estimate, std_error, lower, upper, ess_bulk, ess_tail, r_hat,
            mcse``.

        Notes
        -----
        Draws on dask are computed for this and not kept; call :meth:`compute` first to keep them.
        """
        values = self.draws.to_numpy().astype(float)
        numbers = summarise(
            values, ci_prob=ci_prob, ci_kind=ci_kind, point_estimate=self.point_estimate
        )
        return pd.concat([self.labels.reset_index(drop=True), numbers], axis=1)

    def to_datatree(self) -> xr.DataTree:
        """The draws as the posterior of a tree that every ``az.*`` function takes.

        Estimands whose dim has no coordinate are named by their labels.
        """
        name = "estimand" if self.draws.name is None else self.draws.name
        data = self.draws.rename(name).to_dataset()
        if self.dim not in data.coords:
            data = data.assign_coords({self.dim: self._names()})
        attributes = {"title": self.title, "target": self.target}
        return xr.DataTree.from_dict({"posterior": data.assign_attrs(attributes)})

    def plot(self, **kwargs: Any) -> Any:
        """Forest plot of the estimands on arviz-plots.

        Parameters
        ----------
        **kwargs
            For ``arviz_plots.plot_forest``: ``backend``, ``figure_kwargs`` and so on.

        Returns
        -------
        arviz_plots.PlotCollection
            Estimands from top to bottom; the axis says what they are and of which population.
        """
        from popavg.posterior_tools._forest import plot_estimates

        label = f"{self.title}\n(target: {self.target})"
        return plot_estimates(self.compute().to_datatree(), str(self.dim), label, **kwargs)

    def _names(self) -> list[str]:
        """A name for each estimand from the labels that vary, numbered where they repeat."""
        varying = [name for name in self.labels if self.labels[name].nunique() > 1]
        rows = self.labels[varying].itertuples(index=False, name=None)
        names = [", ".join(_named(n, v) for n, v in zip(varying, row, strict=True)) for row in rows]
        if len(set(names)) == len(names):
            return names
        return [f"{i} {name}".strip() for i, name in enumerate(names)]

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        table = self._shown(_PRINTED).to_string(index=False)
        sentences = (*self._left_out(_PRINTED), *self.notes, *self._how_to_compute())
        return "\n".join([self._caption(), "", table, *sentences])

    def _repr_html_(self) -> str:
        table = self._shown(_IN_HTML).to_html(index=False, border=0)
        sentences = (*self._left_out(_IN_HTML), *self.notes, *self._how_to_compute())
        notes = "".join(f"<p>{escape(note)}</p>" for note in sentences)
        return f"<p>{escape(self._caption())}</p>{table}{notes}"

    def _shown(self, most: int) -> pd.DataFrame:
        """The table to print, of which no more is computed; of lazy draws the labels alone."""
        n, half = len(self), most // 2
        cut = n > most
        part = self.take([*range(half), *range(n - half, n)]) if cut else self
        table = _rounded(part.labels if part.is_lazy else part.to_frame())
        if not cut:
            return table
        gap = pd.DataFrame([["..."] * table.shape[1]], columns=table.columns)
        words = table.astype(object)
        return pd.concat([words.iloc[:half], gap, words.iloc[half:]], ignore_index=True)

    def _left_out(self, most: int) -> tuple[str, ...]:
        n = len(self)
        if n <= most:
            return ()
        return (f"{n - most:,} of {n:,} rows aren't shown; .to_frame() has all of them.",)

    def _how_to_compute(self) -> tuple[str, ...]:
        return ("Not computed yet: call .compute() or .to_frame().",) if self.is_lazy else ()

    def _caption(self) -> str:
        prob, kind = interval_settings(None, None)
        n_chains, n_draws = self.draws.shape[:2]
        return (
            f"{self.title} (target: {self.target}; {100 * prob:g} % credible intervals, {kind}; "
            f"{n_chains} × {n_draws} draws)"
        )


def _named(name: Hashable, value: Any) -> str:
    """A label with the column's name where the value doesn't speak for itself."""
    shown = f"{value:.4g}" if isinstance(value, float) else str(value)
    return shown if name in ("hypothesis", "contrast", "term") else f"{name} {shown}"


def _rounded(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers to four significant digits, effective sizes to whole numbers."""
    shown = frame.copy()
    for name in shown.columns:
        if name in ("ess_bulk", "ess_tail"):
            shown[name] = [f"{value:.0f}" for value in shown[name]]
        elif shown[name].dtype.kind == "f":
            shown[name] = [f"{value:.4g}" for value in np.asarray(shown[name])]
    return shown
