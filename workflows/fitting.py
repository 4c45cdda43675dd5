"""Fit a mixed model: read, draw, judge, and pack everything into one tree."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from popavg.errors import SpecificationError
from popavg.frames import MissingPolicy
from popavg.links import Link
from popavg.posterior_tools.tree import fit_tree, specify, versions
from popavg.priors import Prior
from popavg.workflows.further_groups import Wanted, further_groups, public
from popavg.workflows.methods import Drawn, Method, draw
from popavg.workflows.problem import (
    Problem,
    problem_of_formula,
    problem_of_model,
    read_design,
)
from popavg.workflows.sampling import Sampler
from popavg.workflows.verdict import judge, warn_if_needed

if TYPE_CHECKING:
    import pymc as pm

    from popavg.models.random_effects import Parametrization

__all__ = ["fit", "read_design"]

_ENGINES = {
    "importance": ("numba",),
    "nuts": ("pymc", "pytensor", "nutpie", "numba"),
    "latent": ("pymc", "pytensor", "nutpie", "numba"),
}


def fit(
    model: str | pm.Model,
    data: pd.DataFrame | None = None,
    *,
    link: str | Link | None = None,
    priors: Mapping[str, object] | None = None,
    method: Method | None = None,
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
    method : {"latent", "auto", "importance", "nuts"}, optional
        How to draw. ``"importance"``: independent draws from the integrated posterior, weighted by
        importance and resampled, refused where Pareto's k̂ says that they can't be relied on;
        ``"nuts"``: the no-U-turn sampler on the integrated posterior; ``"latent"``: the no-U-turn
        sampler on the parameters and every cluster's effects, for any number of factors and
        effects. ``"auto"`` is importance sampling where it can be, else NUTS, else latent; which
        one it was and why is printed and stands in the fit's specification. By default
        ``"latent"`` for a formula; a model is sampled as it was built.
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
    progress : bool
        Whether priors and method are printed and a progress bar is shown.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior`` (``beta``, ``sd_<g>``, ``corr_<g>``, ``sigma``; by ``"latent"``
        also ``u_<g>``), ``sample_stats``, ``constant_data``, ``observed_data``,
        ``training_data`` and those asked for; the specification is in ``attrs["popavg"]``.

    Raises
    ------
    FormulaError, DataError, SpecificationError
        See :func:`popavg.models.glmm`; or a method that this model can't be fitted by.
    ConvergenceError
        Sampling was stopped before every chain had a draw; or ``method="importance"`` was refused.

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
    if isinstance(model, str):
        problem = problem_of_formula(
            model, data, link, priors=priors, parametrization=parametrization, missing=missing,
            keep=keep,
        )  # fmt: skip
    else:
        _check_alone(data=data, link=link, priors=priors, keep=keep or None)
        problem = problem_of_model(model)
    chosen: Method = method or ("latent" if problem.model is None else "auto")
    wanted = Wanted(prior, posterior_predictive, log_likelihood)
    return _fit(problem, sampler, chosen, wanted)


def _check_alone(**given: object) -> None:
    extra = [name for name, value in given.items() if value is not None]
    if extra:
        raise SpecificationError(
            f"{', '.join(extra)} given together with a model",
            "a model alone: it has its data, link and priors",
            "give them to popavg.models.glmm",
        )


def _fit(problem: Problem, sampler: Sampler, method: Method, wanted: Wanted) -> xr.DataTree:
    drawn_seed = int(np.random.SeedSequence().generate_state(1)[0])
    seed = drawn_seed if sampler.seed is None else sampler.seed
    if sampler.progress:
        _print_priors(problem.priors)
    begin = time.perf_counter()
    drawn = draw(problem, sampler, seed, method=method)
    seconds = time.perf_counter() - begin
    if sampler.progress:
        print(drawn)
    integrated = drawn.method != "latent"
    further = further_groups(problem, drawn.posterior, wanted, seed, integrated=integrated)
    posterior = public(drawn.posterior)
    datasets = {"posterior": posterior, "sample_stats": drawn.sample_stats, **further}
    verdict = judge(xr.DataTree.from_dict(datasets), _parameters(posterior, problem))
    if drawn.interrupted:
        done = posterior.sizes["draw"]
        verdict = (f"Interrupted: {done} of {sampler.draws} draws a chain were kept.", *verdict)
    specification = replace(
        specify(problem.design, problem.link, problem.family),
        priors={name: prior.to_dict() for name, prior in problem.priors.items()},
        sampler={
            **_told(problem, drawn),
            "seed": seed,
            "seconds": round(seconds, 1),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "verdict": list(verdict),
        },
        versions=versions(_ENGINES[drawn.method]),
    )
    warn_if_needed(verdict)
    return fit_tree(problem.design, specification, datasets)


def _told(problem: Problem, drawn: Drawn) -> dict[str, object]:
    """What the fit says about its draws."""
    return {
        "method": drawn.method,
        "why": drawn.why,
        "added_by_user": _additions(problem),
        **drawn.facts,
        "chains": drawn.posterior.sizes["chain"],
        "draws": drawn.posterior.sizes["draw"],
        "interrupted": drawn.interrupted,
    }


def _additions(problem: Problem) -> list[str]:
    if problem.model is None:
        return []
    from popavg.models.record import additions

    return list(additions(problem.model))


def _parameters(posterior: xr.Dataset, problem: Problem) -> list[str]:
    """Parameters that are judged: all but the clusters' own effects and constant ones."""
    effects = {f"u_{group.name}" for group in problem.design.matrices.groups}
    return [str(name) for name in posterior.data_vars if name not in effects]


def _print_priors(priors: Mapping[str, Prior]) -> None:
    width = max(len(name) for name in priors)
    print("Priors (replace one by name: priors={...}):")
    for name, prior in priors.items():
        print(f"  {name:<{width}}  {prior}")
