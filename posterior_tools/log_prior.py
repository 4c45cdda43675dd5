"""The prior density of a fit's draws, by parameter, from the priors that the fit records."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.design import GroupDesign
from popavg.errors import SpecificationError
from popavg.posterior_tools._draw_checks import flat_draws
from popavg.posterior_tools.averages import population_average
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.grid import held_values
from popavg.priors import Prior

__all__ = ["fit_priors", "log_prior", "sd_prior_names"]

type Floats = NDArray[np.float64]

#: The prior of the intercept, and the one on the population mean that may stand in its place.
_INTERCEPT, _BASELINE = "Intercept", "baseline"


def fit_priors(posterior: Posterior) -> dict[str, Prior]:
    """The priors of a fit, by parameter.

    Parameters
    ----------
    posterior : Posterior
        A fit.

    Returns
    -------
    dict of str to Prior
        With the names of ``pa.fit(priors=…)``.

    Raises
    ------
    SpecificationError
        The fit records none: its draws were made elsewhere.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.draws import Posterior
    >>> from popavg.posterior_tools.log_prior import fit_priors
    >>> try:
    ...     fit_priors(Posterior.from_fit(pa.load_example()))
    ... except pa.errors.SpecificationError as error:
    ...     print(str(error)[:32])
    the fit doesn't record the prior
    """
    stored = posterior.specification.priors
    group_names = [name for g in posterior.design.matrices.groups for name in sd_prior_names(g)]
    terms = posterior.specification.terms
    if _BASELINE in stored:
        terms = tuple(_BASELINE if term == _INTERCEPT else term for term in terms)
    needed = [*terms, *group_names]
    absent = [name for name in needed if name not in stored]
    if absent:
        raise SpecificationError(
            f"the fit doesn't record the priors of {listing(absent, 4)}",
            "a fit made by pa.fit, which records them",
            "fit the model with pa.fit to see how far its numbers depend on the priors",
        )
    return {name: Prior.from_dict(fields) for name, fields in stored.items()}


def sd_prior_names(group: GroupDesign) -> tuple[str, ...]:
    """Names of the priors of a grouping factor's standard deviations, one for each effect."""
    if len(group.effects) == 1:
        return (f"sd_{group.name}",)
    return tuple(f"sd_{group.name}[{effect}]" for effect in group.effects)


def log_prior(posterior: Posterior) -> xr.Dataset:
    """Log prior density of every draw, up to a constant.

    Parameters
    ----------
    posterior : Posterior
        A fit made by popavg, in memory.

    Returns
    -------
    xarray.Dataset
        Dims (chain, draw); one variable for each prior: terms (or ``baseline``), ``sd_<g>``,
        ``corr_<g>``, ``sigma``. A group ``log_prior`` as ArviZ's ``psense`` takes it.

    Raises
    ------
    SpecificationError
        The fit doesn't record its priors.

    Notes
    -----
    Densities of the parameters as their priors name them: of standard deviations, not of their
    logarithms; of the intercept where the covariates are at their means, or in its place of the
    ``baseline``, the population mean at the average row. p(u | τ) isn't a prior
    here, it belongs to the model (Kallioinen, Paananen, Bürkner & Vehtari 2024, section 2.5). LKJ
    densities are (η − 1) log det R.

    Examples
    --------
    >>> from dataclasses import replace
    >>> import popavg as pa
    >>> from popavg.posterior_tools.draws import Posterior
    >>> from popavg.posterior_tools.log_prior import log_prior
    >>> posterior = Posterior.from_fit(pa.load_example())
    >>> names = (*posterior.specification.terms, "sd_patient")
    >>> priors = {name: pa.Prior("StudentT", 3, 0, 2.5).to_dict() for name in names}
    >>> known = replace(posterior.specification, priors=priors)
    >>> found = log_prior(replace(posterior, specification=known))
    >>> found["sd_patient"].dims, len(found)
    (('chain', 'draw'), 5)
    """
    priors = fit_priors(posterior)
    found = _coefficients(posterior, priors)
    for group in posterior.design.matrices.groups:
        sds = posterior.standard_deviations(group.name)
        for name, column in zip(sd_prior_names(group), sds.T, strict=True):
            found[name] = priors[name].log_density(column)
        key = f"corr_{group.name}"
        if key in priors:
            found[key] = _correlations(posterior, group, priors[key].params["eta"])
    if "sigma" in priors and "sigma" in posterior.data:
        sigma = posterior.data["sigma"].transpose("chain", "draw").to_numpy().ravel()
        found["sigma"] = priors["sigma"].log_density(sigma)
    shape = posterior.data.sizes["chain"], posterior.data.sizes["draw"]
    return xr.Dataset(
        {name: (("chain", "draw"), values.reshape(shape)) for name, values in found.items()}
    )


def _coefficients(posterior: Posterior, priors: Mapping[str, Prior]) -> dict[str, Floats]:
    matrices, beta = posterior.design.matrices, posterior.beta
    found = {}
    for position, term in enumerate(matrices.terms):
        values, name = beta[:, position], term
        if term == _INTERCEPT and _BASELINE in priors:
            values, name = _baseline(posterior), _BASELINE
        elif term == _INTERCEPT:  # its prior is that of the predictor at the columns' means
            values = beta @ matrices.X.mean(axis=0)
        found[name] = priors[name].log_density(values)
    return found


def _baseline(posterior: Posterior) -> Floats:
    """Population means at the average row, shape (draws,)."""
    row = held_values(posterior.design, posterior.design.predictors)
    frame = pd.DataFrame({name: [value] for name, value in row.items()}, index=[0])
    matrices, block = posterior.design.evaluate(frame), posterior.block()
    sd = np.sqrt(block.variance(matrices))
    return population_average(block.predictor(matrices), sd, posterior.link)[:, 0]


def _correlations(posterior: Posterior, group: GroupDesign, eta: float) -> Floats:
    matrix = flat_draws(posterior.arrays()[f"corr_{group.name}"])
    total = np.zeros(len(matrix))
    for block in group.blocks:
        if len(block) > 1:
            part = matrix[:, block][..., block]
            total += (eta - 1.0) * np.linalg.slogdet(part)[1]
    return total
