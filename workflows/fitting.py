"""Fit a mixed model: read, draw, judge, and pack everything into one tree."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from popavg.errors import SpecificationError
from popavg.frames import MissingPolicy
from popavg.links import Link
from popavg.posterior_tools.data_findings import slope_findings
from popavg.workflows._runs import additions_of, print_priors, run
from popavg.workflows.further_groups import Wanted
from popavg.workflows.methods import Method, check_method
from popavg.workflows.problem import (
    Problem,
    problem_of_formula,
    problem_of_model,
    read_design,
)
from popavg.workflows.sampling import Sampler
from popavg.workflows.store import Recipe, new_store
from popavg.workflows.verdict import warn_if_needed

if TYPE_CHECKING:
    import pymc as pm

    from popavg.models.random_effects import Parametrization

__all__ = ["fit", "read_design"]


def fit(
    model: str | pm.Model,
    data: pd.DataFrame | None = None,
    *,
    link: str | Link | None = None,
    priors: Mapping[str, object] | None = None,
    method: Method = "auto",
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
    store: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> xr.DataTree:
    """Fit a Bayesian mixed model and return all that later questions need.

    With one grouping factor and one or two random effects, ``method="auto"`` integrates these out
    of the likelihood, exactly; the posterior of the few parameters left is drawn from in seconds.

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
    method : {"auto", "importance", "nuts", "latent"}
        How to draw. ``"importance"``: independent draws from the integrated posterior, weighted by
        importance and resampled, refused where Pareto's k̂ says that they can't be relied on;
        ``"nuts"``: the no-U-turn sampler on the integrated posterior; ``"latent"``: the no-U-turn
        sampler on the parameters and every cluster's effects, for any number of factors and
        effects. ``"auto"`` is importance sampling where it can be, else NUTS, else latent; which
        one it was and why is printed and stands in the fit's specification. A model is sampled as
        it was built; one to which nothing was added can also be drawn by ``"importance"``.
    parametrization : {"noncentered", "centered"}
        What is sampled for the random effects by ``"latent"``; centred is faster where clusters
        are large.
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
        Of the no-U-turn sampler; ``tune``, ``cores`` and these are nothing to ``"importance"``.
    prior, posterior_predictive, log_likelihood : bool
        Whether the fit should also have draws from the prior (and its predictive), predictive
        draws for the rows of the data, and the log-likelihood: of every cluster (dim ``<g>``)
        where the effects are integrated out, so that leaving out means leaving out a cluster; of
        every row given its cluster's effects by ``"latent"``.
    store : path-like, optional
        A Zarr directory, ``"run.zarr"``, that mustn't exist. The no-U-turn sampler's draws are put
        there while it draws, whole ones only, about a second after they were drawn (later where
        one write takes more than a tenth of that). If the process is killed or the disk is full,
        what is there stays; :func:`popavg.resume` reads it and goes on. Once all draws are there
        it becomes, in one step, the fit that :func:`popavg.load` reads. By ``"importance"`` there
        is nothing before that.
    progress : bool
        Whether priors and method are printed and a progress bar is shown.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior`` (``beta``, ``sd_<g>``, ``corr_<g>``, ``sigma``; by ``"latent"``
        also ``u_<g>``), ``sample_stats``, ``constant_data``, ``observed_data``,
        ``training_data`` and those asked for; the specification is in ``attrs["popavg"]``: under
        ``sampler`` the method and why, and where effects were integrated out ``quadrature_error``,
        the log-likelihood's error by refinement.

    Raises
    ------
    FormulaError, DataError, SpecificationError
        See :func:`popavg.models.glmm`; or a method that this model can't be fitted by.
    ConvergenceError
        Sampling was stopped before any chain had a draw; or ``method="importance"`` was refused.
    StorageError
        The ``store`` exists, or the disk is full: what was stored until then can be read.

    Warns
    -----
    FitWarning
        R-hat, effective sample size, divergences or tree depth say that the draws shouldn't be
        used yet, and what to do; or sampling was interrupted. Before it starts: random slopes of
        a covariate whose 0 is far from the data.

    Examples
    --------
    >>> import popavg as pa
    >>> data = pa.load_dataset("cbpp")
    >>> fit = pa.fit("p(incidence, size) ~ period + (1 | herd)", data, link="logit", seed=1,
    ...              progress=False)
    >>> fit["posterior"]["beta"].dims, fit["posterior"].sizes["chain"]
    (('chain', 'draw', 'term'), 4)

    With its draws on the disk:

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.zarr"
    >>> fit = pa.fit("p(incidence, size) ~ period + (1 | herd)", data, link="logit", seed=1,
    ...              method="importance", store=path, progress=False)
    >>> pa.load(path)["posterior"].equals(fit["posterior"])
    True
    """
    sampler = Sampler(draws, tune, chains, cores, seed, target_accept, max_treedepth, progress)
    if seed is None:
        sampler = replace(sampler, seed=int(np.random.SeedSequence().generate_state(1)[0]))
    keep = (keep,) if isinstance(keep, str) else tuple(keep)
    if isinstance(model, str):
        problem = problem_of_formula(
            model, data, link, priors=priors, parametrization=parametrization, missing=missing,
            keep=keep,
        )  # fmt: skip
    else:
        other = parametrization if parametrization != "noncentered" else None
        _check_alone(data=data, link=link, priors=priors, keep=keep or None, parametrization=other)
        problem = problem_of_model(model)
    check_method(problem, method)
    wanted = Wanted(prior, posterior_predictive, log_likelihood)
    if store is None:
        _tell(problem, progress=progress)
        return run(problem, sampler, method, wanted)
    added = tuple(additions_of(problem))
    recipe = Recipe(sampler, method, wanted, problem.parametrization, added)
    with new_store(store, problem, recipe) as kept:
        _tell(problem, progress=progress)
        return run(problem, replace(sampler, store=kept), method, wanted)


def _tell(problem: Problem, *, progress: bool) -> None:
    """The priors, and what makes drawing slow or priors mean something else."""
    if progress:
        print_priors(problem.priors)
    for group in problem.design.matrices.groups:
        for found in slope_findings(group.name, group.effects, group.Z):
            warn_if_needed((found.meaning, found.advice))


def _check_alone(**given: object) -> None:
    extra = [name for name, value in given.items() if value is not None]
    if extra:
        raise SpecificationError(
            f"{', '.join(extra)} given together with a model",
            "a model alone: it has its data, link, priors and parametrization",
            "give them to popavg.models.glmm",
        )
