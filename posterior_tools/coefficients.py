"""Population-averaged coefficients of a mixed model, draw by draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from popavg._checks import check_choice
from popavg.errors import EstimandError, SpecificationError
from popavg.posterior_tools._coefficient_question import (
    MISFIT,
    CoefficientQuestion,
    gaussian_alpha,
    implied_correlation,
)
from popavg.posterior_tools._coefficient_words import attenuation_words, misfit_words
from popavg.posterior_tools._row_notes import extrapolation_notes
from popavg.posterior_tools.clusters import cluster_name
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.estimates import Estimates
from popavg.posterior_tools.evaluation import evaluate
from popavg.posterior_tools.outcome import counting_words
from popavg.posterior_tools.projection_design import ProjectionDesign, WorkingStructure
from popavg.posterior_tools.weights import CLUSTER

__all__ = [
    "METHODS",
    "Method",
    "PopulationCoefficients",
    "coefficients_of",
    "population_coefficients",
]

Floats = NDArray[np.float64]
Method = Literal["projection", "least_squares", "exact", "attenuation"]
METHODS: tuple[Method, ...] = ("projection", "least_squares", "exact", "attenuation")

_HOW: dict[Method, str] = {
    "projection": "projection, {}",
    "least_squares": "least squares on the link scale",
    "exact": "closed form",
    "attenuation": "Zeger-Liang-Albert approximation",
}


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
    alpha : Estimates or None
        With ``alpha="implied"`` the draws of the working correlation.
    """

    attenuation: Estimates | None = None
    misfit: Estimates | None = None
    method: str = "projection"
    how: str = ""
    alpha: Estimates | None = None


def population_coefficients(
    fit: xr.DataTree,
    method: Method = "projection",
    *,
    design: pd.DataFrame | Literal["observed"] = "observed",
    weights: str | ArrayLike | None = None,
    working_correlation: Literal["independence", "exchangeable", "ar1"] = "independence",
    alpha: float | Literal["implied"] | None = None,
    groups: str | None = None,
    time: str | None = None,
    progress: bool = True,
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
        identity links, and of the logit with bridge-distributed intercepts, for which all
        definitions are φβ. ``"attenuation"`` is the approximation of Zeger, Liang & Albert (1988),
        for teaching.
    design : "observed" or pandas.DataFrame
        Rows to project over. Under dropout the observed rows re-import the missingness; give the
        intended design instead.
    weights : str or array_like, optional
        A weight for every row of the design: numbers, a column, or ``"cluster"`` for weights
        under which every cluster counts once. Over the observed rows ``"projection"`` multiplies
        it by the trials of ``p(successes, trials)``, as the GEE does; a row of a design of its
        own counts as one trial.
    working_correlation, alpha, groups, time : optional
        Of the estimating equation: see :func:`popavg.gee`. ``"exchangeable"`` and ``"ar1"`` need
        ``alpha``: the GEE's own as a number, or ``"implied"`` for the α that this GEE would
        converge to if the model were true, solved for together with β̃ in every draw. ``groups``
        are the clusters, to be named where the model has crossed factors.
    progress : bool
        Show a bar from two seconds on.

    Returns
    -------
    PopulationCoefficients
        Draws with dims (chain, draw, term), with ``attenuation`` and ``misfit``, which its notes
        say in words too, and with ``alpha`` where the model implies it.

    Raises
    ------
    EstimandError
        ``"exact"`` or ``"attenuation"`` where there is no such formula; the message says why.
    SpecificationError
        An unknown method, or a working correlation that isn't fully specified.
    DataError
        A design that doesn't fit the model or has linearly dependent columns.
    ConvergenceError
        Draws whose equation has no solution that can be found.

    Notes
    -----
    With π̄_i the population means of a cluster's rows, ``"projection"`` solves
    Σ_i D_i'V_i⁻¹(π̄_i − μ_i(β̃)) = 0, ``"least_squares"`` is (X'X)⁻¹X'g(π̄). How far the implied α is
    from the GEE's own tells of correlation that the model doesn't have; see
    :class:`popavg.posterior_tools.implied_correlation.ImpliedCorrelation`.

    Examples
    --------
    >>> import popavg as pa
    >>> coefficients = pa.population_coefficients(pa.load_example())
    >>> coefficients.to_frame()["term"].to_list()
    ['Intercept', 'treatment[terbinafine]', 'time', 'treatment[terbinafine]:time']
    """
    structure = WorkingStructure(working_correlation, alpha, groups, time)
    posterior = Posterior.from_fit(fit)
    return coefficients_of(
        posterior, method, structure, design=design, weights=weights, progress=progress
    )


def coefficients_of(
    posterior: Posterior,
    method: Method,
    structure: WorkingStructure,
    *,
    design: pd.DataFrame | Literal["observed"] = "observed",
    weights: str | ArrayLike | None = None,
    progress: bool = True,
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
    model = posterior.link, posterior.family
    question = CoefficientQuestion.build(rows, method, structure, model=model)
    answers = evaluate(posterior, question, dim="number", progress=progress).to_numpy()
    flat = answers.reshape(posterior.n_draws, -1)
    terms = list(posterior.design.matrices.terms)
    beta, misfit, rest = np.split(flat, [len(terms), len(terms) + len(MISFIT)], axis=1)
    alpha = _alpha(posterior, rows, structure, rest)
    how = _HOW[method].format(structure)
    by_cluster = isinstance(weights, str) and weights == CLUSTER
    clusters = (structure.groups or cluster_name(posterior)) if by_cluster else ""
    counting = counting_words(weights, clusters=clusters)
    attenuation = _attenuation(posterior, beta)
    notes = [
        f"Projected over {rows.label}, {counting}.",
        *extrapolation_notes(posterior.design, rows.covariates),
        *attenuation_words(posterior, attenuation.draws.to_numpy().reshape(beta.shape)),
        *misfit_words(posterior, rows, misfit),
    ]
    if alpha is not None:
        notes.append(_alpha_note(alpha, structure))
    return PopulationCoefficients(
        draws=posterior.labelled(beta, "term", terms, "population_coefficients"),
        labels=pd.DataFrame({"term": terms}),
        title=f"population-averaged coefficients ({how})",
        notes=tuple(notes),
        attenuation=attenuation,
        misfit=_misfit(posterior, misfit, rows.label),
        method=method,
        how=how,
        alpha=alpha,
    )


def _alpha(
    posterior: Posterior, rows: ProjectionDesign, structure: WorkingStructure, solved: Floats
) -> Estimates | None:
    """The implied α; of values it needs their residual standard deviation, which no block has."""
    values = solved
    if posterior.family.has_scale:
        implied = implied_correlation(rows, structure, posterior.family)
        if implied is not None:
            values = gaussian_alpha(implied, posterior.block(), _residual_sd(posterior))
    if not values.shape[1]:
        return None
    return Estimates(
        posterior.labelled(values, "alpha", [structure.name], "alpha"),
        pd.DataFrame({"alpha": [structure.name]}),
        "working correlation that the model implies",
    )


def _residual_sd(posterior: Posterior) -> Floats:
    if "sigma" not in posterior.data:
        raise EstimandError(
            "alpha='implied' of a fit without draws of the residual standard deviation 'sigma'",
            "a fit with 'sigma'",
            "give alpha as a number",
        )
    return posterior.data["sigma"].transpose("chain", "draw").to_numpy().astype(float).ravel()


def _alpha_note(alpha: Estimates, structure: WorkingStructure) -> str:
    mean = float(alpha.draws.mean())
    return (
        f"α = {mean:.3f} (posterior mean) is what a GEE with the {structure.name} working"
        " correlation would converge to under the model."
    )


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
        posterior.labelled(misfit[:, :2], "misfit", kinds, "misfit"),
        pd.DataFrame({"misfit": kinds}),
        f"difference between the population mean and the marginal model over {where}",
    )
