"""The picture of a mixed model: conditional curves, their population average, and the GEE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from popavg._checks import listing
from popavg.errors import SpecificationError
from popavg.models.gee import GEEResult, gee_from_design
from popavg.posterior_tools.curve_plot import plot_curve
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.grid import Varying
from popavg.posterior_tools.population_curve import PopulationCurve, population_curve
from popavg.posterior_tools.summaries import IntervalKind

if TYPE_CHECKING:
    from arviz_plots import PlotCollection

__all__ = ["gee_curve", "plot_population_curve"]


def plot_population_curve(
    fit: xr.DataTree,
    over: str | Mapping[str, Any],
    *,
    by: Varying = None,
    gee: str | GEEResult | None = "exchangeable",
    groups: str | None = None,
    n_curves: int = 20,
    seed: int | np.random.Generator = 0,
    ci_prob: float | None = None,
    ci_kind: IntervalKind | None = None,
    slopes: bool = False,
    backend: str | None = None,
    plot_collection: PlotCollection | None = None,
    visuals: Mapping[str, Mapping[str, Any] | bool] | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Draw grey curves of random clusters, the population average in bold, the GEE dashed.

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit` or :func:`popavg.load`.
    over : str or mapping
        The covariate along the x axis, ``"time"``, or with its values, ``{"time": [0, 6, 12]}``.
    by : str, sequence of str or mapping, optional
        Covariates that make panels.
    gee : {"exchangeable", "independence"} or GEEResult, optional
        The working correlation of a GEE that is fitted to the rows of the fit; a GEE of the same
        terms and link, such as one with ``working_correlation="ar1"``; or None for no GEE.
    groups : str, optional
        The GEE's clusters; by default the grouping factor in which all others are nested.
    n_curves : int
        How many random clusters.
    seed : int or numpy.random.Generator
        Where their effects come from.
    ci_prob, ci_kind : optional
        Level and kind of the credible band; ``arviz.rcParams`` by default.
    slopes : bool
        Mark the slopes β/4 of a typical cluster and β̃/4 of the population where they cross one
        half (logit only).
    backend : {"matplotlib", "bokeh", "plotly"}, optional
        By default ``arviz.rcParams["plot.backend"]``.
    plot_collection : arviz_plots.PlotCollection, optional
        Draw into this one, which has a plot for each value 0, 1, … of the dim ``panel``.
    visuals : mapping, optional
        Keywords for ``clusters``, ``band``, ``typical``, ``average``, ``reference`` (the GEE),
        ``conditional_slope``, ``population_slope``, or False to leave one out.
    **pc_kwargs
        For :meth:`arviz_plots.PlotCollection.wrap`: ``col_wrap``, ``figure_kwargs``, …

    Returns
    -------
    arviz_plots.PlotCollection
        ``.savefig("curve.png")`` writes it, ``.show()`` shows it.

    Raises
    ------
    SpecificationError
        ``over`` or ``by`` aren't covariates, a GEE of other terms, crossed grouping factors
        without ``groups``.
    EstimandError
        Slopes for a link other than the logit.
    SeparationError, ConvergenceError
        The GEE doesn't exist; ``gee=None`` draws the picture without it.

    Notes
    -----
    The grey curves have one shape and differ by their cluster alone; the population average is
    flatter (logit, probit), shifted (log) or the same (identity). Other covariates are held at
    their mean or most frequent level, which the picture says.

    Examples
    --------
    >>> import popavg as pa
    >>> fit = pa.load_example()
    >>> picture = pa.plot_population_curve(fit, "time", by="treatment", backend="none")
    >>> sorted(set(picture.viz.children) & {"clusters", "band", "average", "reference"})
    ['average', 'band', 'clusters', 'reference']
    """
    curve = population_curve(
        fit,
        over,
        by=by,
        n_curves=n_curves,
        seed=seed,
        ci_prob=ci_prob,
        ci_kind=ci_kind,
        slopes=slopes,
    )
    reference, label = None, "GEE"
    if gee is not None:
        posterior = Posterior.from_fit(fit)
        result = gee if isinstance(gee, GEEResult) else _fit_gee(posterior, gee, groups)
        reference = gee_curve(curve, posterior, result)
        label = f"GEE ({result.working_correlation})"
    return plot_curve(
        curve,
        reference=reference,
        reference_label=label,
        slopes=slopes,
        backend=backend,
        plot_collection=plot_collection,
        visuals=visuals,
        **pc_kwargs,
    )


def gee_curve(curve: PopulationCurve, posterior: Posterior, gee: GEEResult) -> pd.DataFrame:
    """The mean of a GEE at the points of a curve.

    Parameters
    ----------
    curve : PopulationCurve
        Where to predict.
    posterior : Posterior
        The fit that the curve is of.
    gee : GEEResult
        A GEE with the same terms and link, in any order.

    Returns
    -------
    pandas.DataFrame
        The curve's rows with the column ``mean``.

    Raises
    ------
    SpecificationError
        The GEE has other terms or another link.
    """
    matrices = posterior.design.evaluate(curve.rows)
    if sorted(gee.terms) != sorted(matrices.terms):
        raise SpecificationError(
            f"the GEE has the terms {listing(gee.terms)}",
            listing(matrices.terms),
            "fit the GEE with the fixed effects of the mixed model",
        )
    if gee.link.name != posterior.link.name:
        raise SpecificationError(
            f"the GEE has the {gee.link.name} link", f"the fit's {posterior.link.name} link"
        )
    columns = [matrices.terms.index(term) for term in gee.terms]
    return curve.rows.assign(mean=gee.predict(matrices.X[:, columns], matrices.offset))


def _fit_gee(posterior: Posterior, working_correlation: str, groups: str | None) -> GEEResult:
    return gee_from_design(
        posterior.design,
        groups,
        link=posterior.link,
        family=posterior.family,
        working_correlation=working_correlation,
    )
