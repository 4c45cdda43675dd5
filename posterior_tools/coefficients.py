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

__all__ = ["METHODS", "PopulationCoefficients", "population_coefficients"]

Method = Literal["projection", "least_squares", "exact", "attenuation"]
METHODS: tuple[Method, ...] = ("projection", "least_squares", "exact", "attenuation")

#: Misfit (largest difference of probabilities) above which a reader is told.
NOTICEABLE_MISFIT = 0.02


@dataclass(frozen=True, repr=False)
class PopulationCoefficients(Estimates):
    """Draws of β̃, with what tells how far to trust it.

    Attributes
    ----------
    attenuation : Estimates
        β̃/β of every term, draw by draw.
    misfit : Estimates
        Largest and root-mean-square difference between the population mean and the marginal
        model g⁻¹(Xβ̃), on the response scale.
    method : str
        How β̃ is defined.
    """

    attenuation: Estimates | None = None
    misfit: Estimates | None = None
    method: str = "projection"


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
        A weight for every row of the design. ``"projection"`` multiplies it by the trials of
        ``p(successes, trials)``, as the GEE does.
    working_correlation, alpha, groups, time : optional
        Of the estimating equation: see :func:`popavg.gee`. ``alpha`` must be given for
        ``"exchangeable"`` and ``"ar1"``; ``groups`` where the model has several factors.

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
    check_choice("method", method, METHODS)
    structure = WorkingStructure(working_correlation, alpha, groups, time)
    if method != "projection" and working_correlation != "independence":
        raise SpecificationError(
            f"method={method!r} with a working correlation",
            "a working correlation with method='projection' only",
        )
    posterior = Posterior.from_fit(fit)
    rows = ProjectionDesign.build(posterior, design, weights, structure)
    parts = [_block(posterior, rows, method, block) for block in posterior.blocks(len(rows.rows))]
    beta, misfit = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _assemble(posterior, beta, misfit, _describe(method, structure, rows))


@dataclass(frozen=True)
class _Description:
    method: Method
    title: str
    design: str


def _describe(
    method: Method, structure: WorkingStructure, rows: ProjectionDesign
) -> _Description:
    how = {
        "projection": f"projection, {structure}",
        "least_squares": "least squares on the link scale",
        "exact": "closed form",
        "attenuation": "Zeger-Liang-Albert approximation",
    }[method]
    return _Description(method, f"population-averaged coefficients ({how})", rows.label)


def _block(
    posterior: Posterior, rows: ProjectionDesign, method: Method, block: slice
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients and misfit of some draws."""
    matrices, link = rows.matrices, posterior.link
    predictor = population_predictor(posterior, matrices, block)
    beta = posterior.beta[block]
    variance = posterior.variance(matrices, block)
    shared = {"offset": matrices.offset}
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
        wide = np.broadcast_to(variance, predictor.shape)
        coefficients = closed(beta, wide, matrices.X, link, **shared)
    misfit = projection.misfit(
        predictor, matrices.X, coefficients, link, weights=rows.distinct_weights, **shared
    )
    return coefficients, misfit


def _assemble(
    posterior: Posterior,
    beta: NDArray[np.float64],
    misfit: NDArray[np.float64],
    description: _Description,
) -> PopulationCoefficients:
    terms = list(posterior.design.matrices.terms)
    labels = pd.DataFrame({"term": terms})
    ratio = beta / posterior.beta
    kinds = ["largest", "root mean square"]
    distance = Estimates(
        posterior.labelled(misfit, "misfit", kinds, "misfit"),
        pd.DataFrame({"misfit": kinds}),
        f"difference between the population mean and the marginal model over {description.design}",
    )
    return PopulationCoefficients(
        draws=posterior.labelled(beta, "term", terms, "population_coefficients"),
        labels=labels,
        title=description.title,
        notes=(f"Projected over {description.design}.", *_misfit_note(posterior, misfit)),
        attenuation=Estimates(
            posterior.labelled(ratio, "term", terms, "attenuation"),
            labels,
            "attenuation (population-averaged / conditional coefficient)",
        ),
        misfit=distance,
        method=description.method,
    )


def _misfit_note(posterior: Posterior, misfit: NDArray[np.float64]) -> tuple[str, ...]:
    largest = float(misfit[:, 0].mean())
    if not posterior.link.is_probability or largest < NOTICEABLE_MISFIT:
        return ()
    return (
        f"The population curve is up to {largest:.3f} (probability) away from any curve "
        f"{posterior.link.name}⁻¹(x'β̃): describe it by pa.predictions rather than by coefficients.",
    )
