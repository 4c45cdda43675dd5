"""What the population curve's picture shows: conditional curves and their average, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.design import DesignMatrices
from popavg.errors import DataError, SpecificationError
from popavg.mixing import NORMAL
from popavg.posterior_tools.along import along
from popavg.posterior_tools.crossings import Crossing, check_slopes, crossings
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.grid import Varying, held_values, varying_values
from popavg.posterior_tools.predictions import predictions
from popavg.posterior_tools.summaries import IntervalKind, interval_settings, intervals

__all__ = ["PopulationCurve", "population_curve"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PopulationCurve:
    """Conditional curves of random clusters and the population average, ready to be drawn.

    Attributes
    ----------
    over : str
        The covariate along the x axis.
    by : tuple of str
        The covariates that make panels.
    x : numpy.ndarray, shape (points,)
        Values of ``over``; positions 0, 1, … where it is a category.
    ticks : tuple of str or None
        Labels of the positions of a category.
    panels : pandas.DataFrame
        One row for each panel: the values of ``by``; a single row without columns if there is
        no ``by``.
    rows : pandas.DataFrame
        All covariates of each point, panel after panel: rows to predict with other models.
    conditional : numpy.ndarray, shape (panels, clusters, points)
        Mean curves of random clusters at the posterior mean of β and Σ; the same clusters in
        every panel. No clusters for a model without random effects.
    typical : numpy.ndarray, shape (panels, points)
        The curve of a cluster whose effects are zero, at the posterior mean of β.
    average, lower, upper : numpy.ndarray, shape (panels, points)
        Population mean and its credible band, from all draws.
    title : str
        What the y axis shows.
    is_probability : bool
        Whether that is a probability.
    ci_prob, ci_kind : float, str
        Level and kind of the band.
    held : dict
        Values of the covariates that don't vary.
    conditional_crossings, population_crossings : tuple of (Crossing or None), or None
        For each panel where the typical cluster's curve and the marginal model g⁻¹(Xβ̃) cross one
        half; None in a panel where they don't. None altogether if not asked for.
    """

    over: str
    by: tuple[str, ...]
    x: Floats
    ticks: tuple[str, ...] | None
    panels: pd.DataFrame
    rows: pd.DataFrame
    conditional: Floats
    typical: Floats
    average: Floats
    lower: Floats
    upper: Floats
    title: str
    is_probability: bool
    ci_prob: float
    ci_kind: str
    held: dict[str, Any]
    conditional_crossings: tuple[Crossing | None, ...] | None = None
    population_crossings: tuple[Crossing | None, ...] | None = None

    @property
    def panel_labels(self) -> list[str]:
        """A heading for each panel, ``"treatment: placebo"``; empty without ``by``."""
        pairs = [zip(self.by, row, strict=True) for row in self.panels.to_numpy(dtype=object)]
        return [", ".join(f"{name}: {_label(value)}" for name, value in row) for row in pairs]

    def to_frame(self) -> pd.DataFrame:
        """The population average as a tidy table.

        Returns
        -------
        pandas.DataFrame
            Covariates, then ``estimate, lower, upper`` of the population and ``typical``, the
            curve of the typical cluster.
        """
        curves = {"estimate": self.average, "lower": self.lower, "upper": self.upper}
        curves["typical"] = self.typical
        return self.rows.assign(**{name: values.ravel() for name, values in curves.items()})

    def align(self, reference: pd.DataFrame) -> list[tuple[Floats, Floats]]:
        """Another model's curve, panel by panel.

        Parameters
        ----------
        reference : pandas.DataFrame
            Columns ``over``, all of ``by``, and ``mean``; rows in any order.

        Returns
        -------
        list of (x, mean)
            One pair of arrays for each panel, in the order of x.

        Raises
        ------
        DataError
            A column is missing, a value isn't finite, a level of ``over`` is unknown, or a panel
            has no rows.
        """
        _check_reference(reference, (self.over, *self.by, "mean"))
        return [self._panel_of(reference, i) for i in range(len(self.panels))]

    def _panel_of(self, reference: pd.DataFrame, panel: int) -> tuple[Floats, Floats]:
        chosen = np.ones(len(reference), dtype=bool)
        for name in self.by:
            value = self.panels[name].iloc[panel]
            chosen &= (reference[name].astype(object) == value).to_numpy(dtype=bool)
        if not chosen.any():
            raise DataError(
                f"the reference has no rows for the panel {self.panel_labels[panel]!r}",
                remedy="give the reference's mean at every combination of 'by'",
            )
        mean = reference["mean"].to_numpy(dtype=float)[chosen]
        x = self._positions(reference.loc[chosen, self.over])
        order = np.argsort(x, kind="stable")
        return x[order], mean[order]

    def _positions(self, column: pd.Series) -> Floats:
        if self.ticks is None:
            return column.to_numpy(dtype=float)
        unknown = sorted({_label(value) for value in column} - set(self.ticks))
        if unknown:
            raise DataError(f"{self.over!r} has the levels {listing(unknown)}", listing(self.ticks))
        return np.array([self.ticks.index(_label(value)) for value in column], dtype=float)


def population_curve(
    fit: xr.DataTree,
    over: str | Mapping[str, Any],
    *,
    by: Varying = None,
    n_curves: int = 20,
    seed: int | np.random.Generator = 0,
    ci_prob: float | None = None,
    ci_kind: IntervalKind | None = None,
    slopes: bool = False,
) -> PopulationCurve:
    """Curves of random clusters and the average over the population of clusters.

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit` or :func:`popavg.load`.
    over : str or mapping
        The covariate along the x axis, ``"time"``, or with its values, ``{"time": [0, 6, 12]}``.
        By default 50 points from its smallest to its largest value; the levels of a category, or
        of a number with two values.
    by : str, sequence of str or mapping, optional
        Covariates that make separate curves.
    n_curves : int
        How many random clusters.
    seed : int or numpy.random.Generator
        Where their effects come from.
    ci_prob, ci_kind : optional
        Level and kind of the credible band; ``arviz.rcParams`` by default.
    slopes : bool
        Also find where the curves cross one half and their slopes β/4 and β̃/4 there (logit
        only). Computes :func:`popavg.population_coefficients`.

    Returns
    -------
    PopulationCurve
        Means on the response scale: probabilities for logit, probit and cloglog.

    Raises
    ------
    SpecificationError
        Not a fit, ``over`` isn't one covariate of the model, fewer than no curves.
    EstimandError
        Slopes for a link other than the logit, or along a category.

    Notes
    -----
    The conditional curves are g⁻¹(x'β + z'u), u drawn at the posterior means of β and Σ:
    they have one shape and differ by their cluster alone. The average is integrated over u draw by
    draw, so that its band holds all of the posterior's uncertainty about the population mean.
    Covariates that don't vary are held at their mean or most frequent level.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.population_curve import population_curve
    >>> curve = population_curve(pa.load_example(), "time", by="treatment")
    >>> curve.conditional.shape, curve.panel_labels
    ((2, 20, 50), ['treatment: itraconazole', 'treatment: terbinafine'])
    """
    prob, kind = interval_settings(ci_prob, ci_kind)
    if n_curves < 0:
        raise SpecificationError(f"n_curves={n_curves}", "0 or more")
    posterior = Posterior.from_fit(fit)
    axis = along(posterior.design, over)
    name, values, is_category = axis.name, axis.values, axis.is_category
    if slopes:
        check_slopes(posterior, name, is_category)
    apart = varying_values(posterior.design, None, by)
    estimates = predictions(fit, over={name: values}, by=apart or None)
    rows = estimates.labels.drop(columns="target")
    x = np.arange(len(values), dtype=float) if is_category else np.array(values, dtype=float)
    matrices = posterior.design.evaluate(rows)
    rng = np.random.default_rng(seed)
    conditional, typical = _conditional_curves(
        posterior, matrices, n_curves, rng, n_points=len(values)
    )
    crossed = crossings(fit, posterior, matrices, x) if slopes else (None, None)
    held = [column for column in rows.columns if column not in (name, *apart)]
    return PopulationCurve(
        over=name,
        by=tuple(apart),
        x=x,
        ticks=tuple(_label(value) for value in values) if is_category else None,
        panels=rows.loc[:: len(values), list(apart)].reset_index(drop=True),
        rows=rows,
        conditional=conditional,
        typical=typical,
        **_averages(
            intervals(estimates.draws.to_numpy(), ci_prob=ci_prob, ci_kind=ci_kind), len(values)
        ),
        title=estimates.title,
        is_probability=posterior.link.is_probability,
        ci_prob=prob,
        ci_kind=kind,
        held=held_values(posterior.design, held),
        conditional_crossings=crossed[0],
        population_crossings=crossed[1],
    )


def _conditional_curves(
    posterior: Posterior,
    matrices: DesignMatrices,
    n_curves: int,
    rng: np.random.Generator,
    *,
    n_points: int,
) -> tuple[Floats, Floats]:
    """Curves of random clusters (panels, clusters, points) and of the typical one."""
    eta = matrices.X @ posterior.beta.mean(axis=0) + matrices.offset
    shifted = eta + _shifts(posterior, matrices, n_curves, rng)
    typical = posterior.link.inverse(eta).reshape(-1, n_points)
    curves = posterior.link.inverse(shifted).reshape(len(shifted), *typical.shape)
    return np.moveaxis(curves, 0, 1), typical


def _shifts(
    posterior: Posterior, matrices: DesignMatrices, n_curves: int, rng: np.random.Generator
) -> Floats:
    """Values of z'u of random clusters, shape (clusters, rows), at the posterior mean of Σ."""
    mixing = posterior.link.mixing
    total = np.zeros((n_curves if matrices.groups else 0, matrices.n_rows))
    for group in matrices.groups:
        root = _root_of_mean(posterior.covariance_root(group.name))
        scores = rng.standard_normal((n_curves, len(root)))
        normal = mixing.name == NORMAL.name
        u = scores @ root if normal else mixing.effect(scores, root[0, 0])
        total += u @ group.Z.T
    return total


def _root_of_mean(roots: Floats) -> Floats:
    """The symmetric root of the mean of RR' over draws.

    From the singular values of all R, one below the other: nothing under a square root that
    rounding could make negative, also where the mean is singular.
    """
    stacked = roots.mT.reshape(-1, roots.shape[-1]) / np.sqrt(len(roots))
    _, scale, vectors = np.linalg.svd(stacked, full_matrices=False)
    return vectors.T * scale @ vectors


def _averages(table: pd.DataFrame, n_points: int) -> dict[str, Floats]:
    names = {"average": "estimate", "lower": "lower", "upper": "upper"}
    return {
        to: table[column].to_numpy(dtype=float).reshape(-1, n_points)
        for to, column in names.items()
    }


def _check_reference(reference: pd.DataFrame, columns: tuple[str, ...]) -> None:
    absent = [name for name in columns if name not in reference.columns]
    if absent:
        raise DataError(f"the reference has no column {listing(absent)}", listing(columns))
    if not np.isfinite(reference["mean"].to_numpy(dtype=float)).all():
        raise DataError("the reference's 'mean' has missing or infinite values", "finite numbers")


def _label(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
