"""Population-averaged coefficients of a mixed model, draw by draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from popavg._checks import check_choice
from popavg.errors import SpecificationError
from popavg.posterior_tools import closed_forms, projection
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.estimates import Estimates
from popavg.posterior_tools.projection_design import ProjectionDesign, WorkingStructure
from popavg.posterior_tools.targets import population_predictor

__all__ = [
    "METHODS",
    "Method",
    "PopulationCoefficients",
    "coefficients_of",
    "population_coefficients",
]

Method = Literal["projection", "least_squares", "exact", "attenuation"]
METHODS: tuple[Method, ...] = ("projection", "least_squares", "exact", "attenuation")

_HOW: dict[Method, str] = {
    "projection": "projection, {}",
    "least_squares": "least squares on the link scale",
    "exact": "closed form",
    "attenuation": "Zeger-Liang-Albert approximation",
}

#: Misfit (largest difference of probabilities) above which a reader is told.
NOTICEABLE_MISFIT = 0.02


@dataclass(frozen=True, repr=False)
class PopulationCoefficients(Estimates):
    """Draws of β̃, with what tells how far to trust it.

    Attributes
    ----------
    attenuation : Estimates
        β̃/β of every term, draw by draw; summarised by its median, since a ratio whose
        denominator may be zero has no mean.
    misfit : Estimates
        Largest and root-mean-square difference between the population mean and the marginal
        model g⁻¹(Xβ̃), on the response scale.
    method : str
        How β̃ is defined.
    how : str
        The same in words, with the working correlation.
    """

    attenuation: Estimates | None = None
    misfit: Estimates | None = None
    method: str = "projection"
    how: str = ""


def population_coefficients(
    fit: xr.DataTree,
    method: Method = "projection",
    *,
    design: pd.DataFrame | Literal["observed"] = "observed",
    weights: str | ArrayLike | None = None,
    working_correlation: Literal["independence", "exchangeable", "ar1"] = "independence",
    alpha: float | None = None,
    groups: str | None = None,
    time: str | None = None,
) -> PopulationCoefficients:
    """Coefficients β̃ of the population mean, g(E[Y | x]) ≈ x'β̃, for every draw.

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit` or :func:`popavg.load`.
    method : {"projection", "least_squares", "exact", "attenuation"}
        ``"projection"`` solves the GEE's estimating equation with the model's population mean in
        place of the data: what a GEE converges to if the model is true; use it to compare with a
        GEE. ``"least_squares"`` regresses g(π̄) on the design (Hedeker et al. 2018), as
        GLMMadaptive and brmsmargins do. ``"exact"`` is the closed form of probit, log and
        identity links. ``"attenuation"`` is the approximation of Zeger, Liang & Albert (1988),
        for teaching.
    design : "observed" or pandas.DataFrame
        Rows to project over. Under dropout the observed rows re-import the missingness; give the
        intended design instead.
    weights : str or array_like, optional
        A weight for every row of the design. Over the observed rows ``"projection"`` multiplies
        it by the trials of ``p(successes, trials)``, as the GEE does; a row of a design of its
        own counts as one trial.
    working_correlation, alpha, groups, time : optional
        Of the estimating equation: see :func:`popavg.gee`. ``alpha`` must be given for
        ``"exchangeable"`` and ``"ar1"``; ``groups`` where the model has crossed factors.

    Returns
    -------
    PopulationCoefficients
        Draws with dims (chain, draw, term), with ``attenuation`` and ``misfit``.

    Raises
    ------
    EstimandError
        ``"exact"`` or ``"attenuation"`` where there is no such formula; the message says why.
    SpecificationError
        An unknown method, or a working correlation that isn't fully specified.
    DataError
        A design that doesn't fit the model or has linearly dependent columns.

    Notes
    -----
    With π̄_i the population means of a cluster's rows, ``"projection"`` solves
    Σ_i D_i'V_i⁻¹(π̄_i − μ_i(β̃)) = 0, ``"least_squares"`` is (X'X)⁻¹X'g(π̄).

    Examples
    --------
    >>> import popavg as pa
    >>> coefficients = pa.population_coefficients(pa.load_example())
    >>> coefficients.to_frame()["term"].to_list()
    ['Intercept', 'treatment[terbinafine]', 'time', 'treatment[terbinafine]:time']
    """
    structure = WorkingStructure(working_correlation, alpha, groups, time)
    posterior = Posterior.from_fit(fit)
    return coefficients_of(posterior, method, structure, design=design, weights=weights)


def coefficients_of(
    posterior: Posterior,
    method: Method,
    structure: WorkingStructure,
    *,
    design: pd.DataFrame | Literal["observed"] = "observed",
    weights: str | ArrayLike | None = None,
) -> PopulationCoefficients:
    """:func:`population_coefficients` of a posterior that has been read already."""
    check_choice("method", method, METHODS)
    if method != "projection" and structure.name != "independence":
        raise SpecificationError(
            f"method={method!r} with working_correlation={structure.name!r}",
            "a working correlation with method='projection' only",
            "leave out the working correlation, or use method='projection'",
        )
    rows = ProjectionDesign.build(posterior, design, weights, structure)
    parts = [
        _block(posterior, rows, method, block) for block in posterior.blocks(rows.matrices.n_rows)
    ]
    beta, misfit = (np.concatenate(column) for column in zip(*parts, strict=True))
    terms = list(posterior.design.matrices.terms)
    how = _HOW[method].format(structure)
    return PopulationCoefficients(
        draws=posterior.labelled(beta, "term", terms, "population_coefficients"),
        labels=pd.DataFrame({"term": terms}),
        title=f"population-averaged coefficients ({how})",
        notes=(f"Projected over {rows.label}.", *_misfit_note(posterior, misfit)),
        attenuation=_attenuation(posterior, beta),
        misfit=_misfit(posterior, misfit, rows.label),
        method=method,
        how=how,
    )


def _block(
    posterior: Posterior, rows: ProjectionDesign, method: Method, block: slice
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients and misfit of some draws."""
    matrices, link = rows.matrices, posterior.link
    shared = {"offset": matrices.offset}
    variance = posterior.variance(matrices, block)
    predictor = population_predictor(posterior, matrices, block, variance=variance)
    if method == "projection":
        coefficients = projection.project(
            predictor,
            matrices.X,
            link,
            weights=rows.weights * rows.trials,
            rows=rows.rows,
            correlation=rows.correlation,
            layout=rows.layout,
            family=posterior.family,
            **shared,
        )
    elif method == "least_squares":
        coefficients = projection.least_squares(
            predictor, matrices.X, weights=rows.distinct_weights, **shared
        )
    else:
        closed = closed_forms.exact if method == "exact" else closed_forms.attenuation
        coefficients = closed(posterior.beta[block], variance, matrices.X, link, **shared)
    misfit = projection.misfit(
        predictor, matrices.X, coefficients, link, weights=rows.distinct_weights, **shared
    )
    return coefficients, misfit


def _attenuation(posterior: Posterior, beta: NDArray[np.float64]) -> Estimates:
    """β̃/β; not a number in draws whose β is exactly zero, where there is no ratio."""
    conditional, terms = posterior.beta, list(posterior.design.matrices.terms)
    ratio = np.full_like(beta, np.nan)
    np.divide(beta, conditional, out=ratio, where=conditional != 0.0)
    zero = {term: int(n) for term, n in zip(terms, (conditional == 0.0).sum(axis=0), strict=True)}
    notes = tuple(
        f"Not defined for {term!r}: its conditional coefficient is 0 in {n} draws."
        for term, n in zero.items()
        if n
    )
    return Estimates(
        posterior.labelled(ratio, "term", terms, "attenuation"),
        pd.DataFrame({"term": terms}),
        "attenuation (median of population-averaged / conditional coefficient)",
        notes=notes,
        point_estimate="median",
    )


def _misfit(posterior: Posterior, misfit: NDArray[np.float64], where: str) -> Estimates:
    kinds = ["largest", "root mean square"]
    return Estimates(
        posterior.labelled(misfit, "misfit", kinds, "misfit"),
        pd.DataFrame({"misfit": kinds}),
        f"difference between the population mean and the marginal model over {where}",
    )


def _misfit_note(posterior: Posterior, misfit: NDArray[np.float64]) -> tuple[str, ...]:
    largest = float(misfit[:, 0].mean())
    if not posterior.link.is_probability or largest < NOTICEABLE_MISFIT:
        return ()
    return (
        f"The population curve is up to {largest:.3f} (probability) away from any curve "
        f"{posterior.link.name}⁻¹(x'β̃): describe it by pa.predictions rather than by coefficients.",
    )
