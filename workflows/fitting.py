"""Fit a mixed model: build, sample, judge, and pack everything into one tree."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr

from popavg.design import Design, family_of, require_groups
from popavg.errors import SpecificationError
from popavg.families import Family
from popavg.formula import Formula
from popavg.frames import MissingPolicy
from popavg.links import Link, get_link
from popavg.models.build import build_model
from popavg.models.record import ModelRecord, additions, model_record
from popavg.posterior_tools.tree import fit_tree, specify, versions
from popavg.workflows.sampling import Sampler, sample
from popavg.workflows.verdict import judge, warn_if_needed

if TYPE_CHECKING:
    from popavg.models.random_effects import Parametrization

__all__ = ["fit", "read_design"]

_ENGINES = ("pymc", "pytensor", "nutpie", "numba")


@dataclass(frozen=True)
class _Groups:
    """Which further groups a fit should have."""

    prior: bool
    posterior_predictive: bool
    log_likelihood: bool


def fit(
    model: str | pm.Model,
    data: pd.DataFrame | None = None,
    *,
    link: str | Link | None = None,
    priors: Mapping[str, object] | None = None,
    parametrization: Parametrization = "noncentered",
    missing: MissingPolicy = "error",
    keep: str | Sequence[str] = (),
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    cores: int | None = None,
    seed: int | None = None,
    target_accept: float = 0.8,
    max_treedepth: int = 10,
    prior: bool = False,
    posterior_predictive: bool = False,
    log_likelihood: bool = False,
    progress: bool = True,
) -> xr.DataTree:
    """Fit a Bayesian mixed model and return all that later questions need.

    Parameters
    ----------
    model : str or pymc.Model
        A formula, ``"y ~ x + (1 | g)"``; or a model from :func:`popavg.models.glmm` or
        :func:`popavg.models.glm`, to which you may have added.
    data : pandas.DataFrame, optional
        One row for each observation; needed with a formula.
    link : str or Link, optional
        ``logit``, ``probit``, ``cloglog``, ``log`` or ``identity``; needed with a formula, there
        is no default.
    priors : mapping of str to Prior, optional
        Priors by parameter in place of the defaults, see :func:`popavg.models.glmm`.
    parametrization : {"noncentered", "centered"}
        What is sampled for the random effects; centred is faster where clusters are large.
    missing : {"error", "drop"}
        What to do with rows that have missing values in a used column.
    keep : str or sequence of str
        Columns to keep in the fit beside those of the formula, such as the visit for an AR(1)
        working correlation.
    draws, tune, chains : int
        Draws kept and tuning steps of every chain; number of chains.
    cores : int, optional
        Chains drawn at the same time, all by default; the draws don't depend on it.
    seed : int, optional
        Same seed, same draws. One is drawn and recorded where none is given.
    target_accept, max_treedepth : float, int
        Of the no-U-turn sampler.
    prior, posterior_predictive, log_likelihood : bool
        Whether the fit should also have draws from the prior (and its predictive), predictive
        draws, and the log-likelihood of every row given its cluster's effects.
    progress : bool
        Whether the priors are printed and a progress bar is shown.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior`` (``beta``, ``sd_<g>``, ``corr_<g>``, ``u_<g>``, ``sigma``),
        ``sample_stats``, ``constant_data``, ``observed_data``, ``training_data`` and those asked
        for; the specification is in ``attrs["popavg"]``.

    Raises
    ------
    FormulaError, DataError, SpecificationError
        See :func:`popavg.models.glmm`.
    ConvergenceError
        Sampling was stopped before every chain had a draw.

    Warns
    -----
    FitWarning
        R-hat, effective sample size, divergences or tree depth say that the draws shouldn't be
        used yet, and what to do; or sampling was interrupted.

    Examples
    --------
    >>> import popavg as pa
    >>> data = pa.load_dataset("cbpp")
    >>> fit = pa.fit("p(incidence, size) ~ period + (1 | herd)", data, link="logit", seed=1,
    ...              progress=False)
    >>> fit["posterior"]["beta"].dims, fit["posterior"].sizes["chain"]
    (('chain', 'draw', 'term'), 4)
    """
    sampler = Sampler(draws, tune, chains, cores, seed, target_accept, max_treedepth, progress)
    keep = (keep,) if isinstance(keep, str) else tuple(keep)
    if isinstance(model, pm.Model):
        _check_alone(data=data, link=link, priors=priors, keep=keep or None)
        built = model
    else:
        design, chosen, family = read_design(model, data, link, missing=missing, keep=keep)
        built = build_model(
            design, link=chosen, family=family, priors=priors, parametrization=parametrization
        )
    groups = _Groups(prior, posterior_predictive, log_likelihood)
    return _fit_model(built, sampler, groups)


def read_design(
    formula: str,
    data: pd.DataFrame | None,
    link: str | Link | None,
    *,
    missing: MissingPolicy,
    keep: Sequence[str],
) -> tuple[Design, Link, Family]:
    """All of a fit that needs no draws: the formula joined to the data, link and family.

    Raises
    ------
    FormulaError, DataError, SpecificationError
        What :func:`fit` raises for this formula, data and link.
    """
    if link is None:
        raise SpecificationError(
            "no link was given",
            "logit, probit, cloglog (an event), log (a count), identity (a value)",
            "say link='logit' for odds, link='probit' for a normal tolerance",
        )
    chosen = get_link(link)
    parsed = Formula.parse(formula)
    require_groups(parsed)
    if data is None:
        raise SpecificationError("no data were given", "a DataFrame", "write pa.fit(formula, data)")
    family = family_of(parsed, chosen)
    return Design.build(parsed, data, family=family, missing=missing, extra=keep), chosen, family


def _check_alone(**given: object) -> None:
    extra = [name for name, value in given.items() if value is not None]
    if extra:
        raise SpecificationError(
            f"{', '.join(extra)} given together with a model",
            "a model alone: it has its data, link and priors",
            "give them to popavg.models.glmm",
        )


def _fit_model(model: pm.Model, sampler: Sampler, groups: _Groups) -> xr.DataTree:
    record = model_record(model)
    drawn_seed = int(np.random.SeedSequence().generate_state(1)[0])
    seed = drawn_seed if sampler.seed is None else sampler.seed
    if sampler.progress:
        _print_priors(record)
    begin = time.perf_counter()
    drawn, interrupted = sample(model, sampler, seed)
    seconds = time.perf_counter() - begin
    further = _further_groups(model, drawn, groups, seed)
    posterior = _public(drawn["posterior"].to_dataset())
    datasets = {
        "posterior": posterior,
        "sample_stats": drawn["sample_stats"].to_dataset(),
        **further,
    }
    verdict = judge(xr.DataTree.from_dict(datasets), _parameters(posterior, record))
    if interrupted:
        done = posterior.sizes["draw"]
        verdict = (f"Interrupted: {done} of {sampler.draws} draws a chain were kept.", *verdict)
    specification = replace(
        specify(record.design, record.link, record.family),
        priors={name: prior.to_dict() for name, prior in record.priors.items()},
        sampler={
            "method": "latent",
            "added_by_user": list(additions(model)),
            "parametrization": record.parametrization,
            "seed": seed,
            "chains": posterior.sizes["chain"],
            "draws": posterior.sizes["draw"],
            "tune": sampler.tune,
            "target_accept": sampler.target_accept,
            "max_treedepth": sampler.max_treedepth,
            "interrupted": interrupted,
            "seconds": round(seconds, 1),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "verdict": list(verdict),
        },
        versions=versions(_ENGINES),
    )
    warn_if_needed(verdict)
    return fit_tree(record.design, specification, datasets)


def _parameters(posterior: xr.Dataset, record: ModelRecord) -> list[str]:
    """Parameters that are judged: all but the clusters' own effects and constant ones."""
    effects = {f"u_{group.name}" for group in record.design.matrices.groups}
    return [str(name) for name in posterior.data_vars if name not in effects]


def _further_groups(
    model: pm.Model, drawn: xr.DataTree, groups: _Groups, seed: int
) -> dict[str, xr.Dataset]:
    seeds = np.random.SeedSequence(seed).generate_state(2)
    found: dict[str, xr.Dataset] = {}
    with warnings.catch_warnings(), model:
        warnings.simplefilter("ignore", UserWarning)
        if groups.prior:
            n_draws = drawn["posterior"].sizes["draw"]
            made = pm.sample_prior_predictive(draws=n_draws, random_seed=int(seeds[0]))
            found |= _datasets(made, ("prior", "prior_predictive"))
        if groups.posterior_predictive:
            made = pm.sample_posterior_predictive(
                drawn, random_seed=int(seeds[1]), progressbar=False
            )
            found |= _datasets(made, ("posterior_predictive",))
        if groups.log_likelihood:
            made = pm.compute_log_likelihood(drawn, extend_inferencedata=False, progressbar=False)
            found["log_likelihood"] = made if isinstance(made, xr.Dataset) else made.to_dataset()
    return {name: _public(group) for name, group in found.items()}


def _public(group: xr.Dataset) -> xr.Dataset:
    """Without the variables that exist for the sampler's sake: their names begin with ``_``."""
    return group.drop_vars([name for name in group.variables if str(name).startswith("_")])


def _datasets(tree: Any, names: Sequence[str]) -> dict[str, xr.Dataset]:
    return {name: tree[name].to_dataset() for name in names if name in tree.children}


def _print_priors(record: ModelRecord) -> None:
    width = max(len(name) for name in record.priors)
    print("Priors (replace one by name: priors={...}):")
    for name, prior in record.priors.items():
        print(f"  {name:<{width}}  {prior}")
