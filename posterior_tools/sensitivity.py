"""Power-scaling sensitivity: conditional and population-averaged numbers beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import arviz_stats
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popavg.errors import DataError, PopavgError, SpecificationError
from popavg.posterior_tools.coefficients import population_coefficients
from popavg.posterior_tools.comparisons import avg_comparisons
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.integrated_design import IntegratedDesign
from popavg.posterior_tools.integrated_draws import IntegratedDraws
from popavg.posterior_tools.integrated_likelihood import log_likelihood
from popavg.posterior_tools.log_prior import log_prior
from popavg.posterior_tools.outcome import outcome_words
from popavg.posterior_tools.predictions import avg_predictions

__all__ = ["CONDITIONAL", "POPULATION", "THRESHOLD", "Sensitivity", "integrable", "sensitivity"]

type Floats = NDArray[np.float64]

#: Above this a number moves (Kallioinen et al. 2024).
THRESHOLD = 0.05

CONDITIONAL, POPULATION = "conditional", "population-averaged"

#: Fewest draws from which anything can be said.
FEWEST = 100

#: Outcomes times draws that are evaluated at most: about ten seconds.
BUDGET = 2 * 10**7
#: Integrals of two dimensions take so many times as long.
_PLANE = 10

_SAMPLE = ["chain", "draw"]


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """How much each number moves when prior or likelihood count a little more or less.

    Attributes
    ----------
    table : pandas.DataFrame
        One row for each number: ``quantity``, ``kind`` (``"conditional"`` or
        ``"population-averaged"``), ``what`` (``"coefficient"``, ``"random effects"``,
        ``"residual"``, ``"average"`` or ``"difference"``), ``estimate`` and ``std_error`` of the
        posterior, ``prior`` (all priors scaled), ``sd_prior`` (those of the random effects
        alone), ``beta_prior`` (those of the coefficients alone), ``likelihood``, ``diagnosis``.
    n_draws : int
        Draws that were used.
    notes : tuple of str
        What couldn't be computed, and why.

    Examples
    --------
    >>> from popavg.posterior_tools.sensitivity import THRESHOLD
    >>> THRESHOLD
    0.05
    """

    table: pd.DataFrame
    n_draws: int
    notes: tuple[str, ...] = ()

    def rows(self, kind: str, *what: str) -> pd.DataFrame:
        """The numbers of a kind, all or of some sorts only.

        Parameters
        ----------
        kind : {"conditional", "population-averaged"}
            Which.
        *what : str
            Sorts.

        Returns
        -------
        pandas.DataFrame
        """
        found = self.table[self.table["kind"] == kind]
        return found[found["what"].isin(what)] if what else found


def sensitivity(fit: xr.DataTree, *, progress: bool = True) -> Sensitivity:
    """Power-scaling sensitivity of β, the standard deviations, β̃ and average differences.

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit`, which records the priors.
    progress : bool
        Show a bar from two seconds on.

    Returns
    -------
    Sensitivity

    Raises
    ------
    SpecificationError
        The fit doesn't record its priors.
    DataError
        Fewer than 100 draws.

    Notes
    -----
    ArviZ's ``psense`` (Kallioinen, Paananen, Bürkner & Vehtari 2024, Statistics and Computing
    34:57): the distance between the posterior and the one with the prior (the likelihood) raised
    to a power of 0.99 or 1.01, by Pareto-smoothed weights, for each doubling of the power. Scaled
    are the priors of β, τ, correlations and the residual standard deviation, **not** p(u | τ),
    and the likelihood of each cluster with its effects integrated out; scaling the rows'
    likelihood given the draws of u would leave p(u | τ) as a prior of many parameters. Of
    large data every k-th draw is used.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.sensitivity import sensitivity
    >>> try:
    ...     sensitivity(pa.load_example())
    ... except pa.errors.SpecificationError as error:
    ...     print(error.remedy)
    fit the model with pa.fit to see how far its numbers depend on the priors
    """
    posterior, used, integrated, note = _prepared(fit)
    if posterior.n_draws < FEWEST:
        raise DataError(
            f"{posterior.n_draws} draws", f"at least {FEWEST}", "fit again with more draws"
        )
    priors = log_prior(posterior)
    labels, draws, notes = _numbers(used, posterior, progress=progress)
    groups = {
        "posterior": xr.Dataset({"value": (("chain", "draw", "number"), draws)}),
        "log_prior": priors,
    }
    if integrated is not None:
        total = _total_likelihood(posterior, progress=progress)
        groups["log_likelihood"] = xr.Dataset({"y": (("chain", "draw"), total)})
    tree = xr.DataTree.from_dict(groups)
    spread = [str(name) for name in priors if str(name).startswith(("sd_", "corr_"))]
    slopes = [str(name) for name in priors if str(name) not in (*spread, "sigma")]
    prior = _psense(tree, "prior")
    likelihood = np.full(len(labels), np.nan)
    if integrated is not None:
        likelihood = _psense(tree, "likelihood")
    table = labels.assign(
        estimate=draws.mean(axis=(0, 1)),
        std_error=draws.std(axis=(0, 1), ddof=1),
        prior=prior,
        sd_prior=_psense(tree, "prior", spread),
        beta_prior=_psense(tree, "prior", slopes),
        likelihood=likelihood,
    )
    pairs = zip(prior.tolist(), likelihood.tolist(), strict=True)
    table["diagnosis"] = [_diagnosis(*pair) for pair in pairs]
    return Sensitivity(table, posterior.n_draws, (*note, *notes))


def integrable(posterior: Posterior) -> IntegratedDesign:
    """The design by cluster of a fit whose random effects can be integrated out.

    Parameters
    ----------
    posterior : Posterior
        A fit.

    Returns
    -------
    IntegratedDesign

    Raises
    ------
    SpecificationError
        Several factors, more than two effects, no residual standard deviation, or a model that
        was added to by hand.
    EstimandError
        The fit has no outcome.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.draws import Posterior
    >>> from popavg.posterior_tools.sensitivity import integrable
    >>> integrable(Posterior.from_fit(pa.load_example())).outcomes.n_clusters
    294
    """
    if posterior.family.has_scale and "sigma" not in posterior.data:
        raise SpecificationError(
            "the fit has no draws of the residual standard deviation 'sigma'", "a fit with 'sigma'"
        )
    return IntegratedDraws.read(posterior).integrated


def _prepared(
    fit: xr.DataTree,
) -> tuple[Posterior, xr.DataTree, IntegratedDesign | None, tuple[str, ...]]:
    """The fit with as many draws as can be afforded, in memory, and its design by cluster."""
    whole = Posterior.from_fit(fit)
    integrated, note = None, ()
    try:
        integrated = integrable(whole)
    except PopavgError as error:
        note = (f"the sensitivity to the likelihood, since {error.came}",)
    cells = len(whole.design.frame)
    if integrated is not None:
        outcomes = integrated.outcomes
        cells = len(outcomes.data.row) * (_PLANE if outcomes.n_effects > 1 else 1)
    step = max(1, ceil(whole.n_draws * cells / BUDGET))
    step = min(step, max(1, whole.n_draws // 250))
    kept = fit["posterior"].to_dataset()
    kept = kept.drop_vars([name for name in kept.data_vars if str(name).startswith("u_")])
    kept = kept.isel(draw=slice(None, None, step)).load()
    names = ("constant_data", "observed_data", "training_data")
    groups = {name: fit[name].to_dataset() for name in names if name in fit.children}
    used = xr.DataTree.from_dict({"posterior": kept, **groups})
    used.attrs = dict(fit.attrs)
    return Posterior.from_fit(used), used, integrated, note


def _total_likelihood(posterior: Posterior, *, progress: bool) -> Floats:
    """Log-likelihood of all clusters, shape (chains, draws)."""
    draws = IntegratedDraws.read(posterior)
    total = np.empty(posterior.n_draws)
    for part, eta, root, sigma in draws.blocks("Likelihood", progress=progress):
        found = log_likelihood(draws.integrated.outcomes, eta, root, sigma=sigma)
        total[part] = found.sum(axis=-1)
    sizes = posterior.data.sizes
    return total.reshape(sizes["chain"], sizes["draw"])


def _numbers(
    fit: xr.DataTree, posterior: Posterior, *, progress: bool
) -> tuple[pd.DataFrame, Floats, tuple[str, ...]]:
    """What is looked at: labels, draws of shape (chains, draws, numbers), and what is lacking."""
    parts = [_own(posterior)]
    notes = []
    makers = [_coefficients, _average]
    if posterior.design.covariates:
        makers.append(_differences)
    for make in makers:
        try:
            parts.append(make(fit, posterior, progress))
        except PopavgError as error:
            notes.append(f"some population-averaged numbers, since {error.came}")
    labels = pd.concat([pd.DataFrame(part) for part, _ in parts], ignore_index=True)
    draws = np.concatenate([values for _, values in parts], axis=2)
    varying = np.ptp(draws, axis=(0, 1)) > 0
    return labels[varying].reset_index(drop=True), draws[:, :, varying], tuple(notes)


type _Part = tuple[dict[str, object], Floats]


def _part(names: list[str], kind: str, what: str | list[str]) -> dict[str, object]:
    return {"quantity": names, "kind": kind, "what": what}


def _own(posterior: Posterior) -> _Part:
    """The model's own parameters."""
    arrays, terms = posterior.arrays(), list(posterior.design.matrices.terms)
    names, what = list(terms), ["coefficient"] * len(terms)
    columns = [arrays["beta"].to_numpy()]
    for group in posterior.design.matrices.groups:
        many = len(group.effects) > 1
        names += [f"sd_{group.name}[{e}]" if many else f"sd_{group.name}" for e in group.effects]
        columns.append(arrays[f"sd_{group.name}"].to_numpy())
        if f"corr_{group.name}" in arrays:
            pairs = [(i, j) for b in group.blocks for i in b for j in b if i < j]
            names += [
                f"corr_{group.name}[{group.effects[i]}, {group.effects[j]}]" for i, j in pairs
            ]
            matrix = arrays[f"corr_{group.name}"].to_numpy()
            columns += [matrix[:, :, i, j][..., None] for i, j in pairs]
    what += ["random effects"] * (len(names) - len(terms))
    if "sigma" in posterior.data:
        names, what = [*names, "sigma"], [*what, "residual"]
        columns.append(posterior.data["sigma"].transpose("chain", "draw").to_numpy()[..., None])
    return _part(names, CONDITIONAL, what), np.concatenate(columns, axis=2).astype(np.float64)


def _coefficients(fit: xr.DataTree, posterior: Posterior, progress: bool) -> _Part:
    found = population_coefficients(fit, progress=progress)
    terms = list(posterior.design.matrices.terms)
    return _part(terms, POPULATION, "coefficient"), found.draws.to_numpy()


def _average(fit: xr.DataTree, posterior: Posterior, progress: bool) -> _Part:
    found = avg_predictions(fit, progress=progress)
    name = f"average {outcome_words(posterior, 'response')}"
    return _part([name], POPULATION, "average"), found.draws.to_numpy()


def _differences(fit: xr.DataTree, posterior: Posterior, progress: bool) -> _Part:
    found = avg_comparisons(fit, progress=progress)
    rows = zip(found.labels["variable"], found.labels["contrast"], strict=True)
    names = [f"{variable}: {contrast}" for variable, contrast in rows]
    return _part(names, POPULATION, "difference"), found.draws.to_numpy()


def _psense(tree: xr.DataTree, group: str, names: list[str] | None = None) -> Floats:
    found = arviz_stats.psense(tree, group=group, sample_dims=_SAMPLE, group_var_names=names)
    return found["value"].to_numpy()


def _diagnosis(prior: float, likelihood: float) -> str:
    """Kallioinen et al.'s, table 1."""
    if not prior >= THRESHOLD:
        return "fine"
    if np.isnan(likelihood):
        return "moves with the prior"
    return "prior-data conflict" if likelihood >= THRESHOLD else "strong prior or weak data"
