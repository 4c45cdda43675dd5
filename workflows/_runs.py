"""Draw, judge, and pack everything into one tree."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray as xr

from popavg.posterior_tools.tree import fit_tree, specify, versions
from popavg.priors import Prior
from popavg.workflows.accuracy import largest_quadrature_error
from popavg.workflows.further_groups import Wanted, further_groups, public
from popavg.workflows.methods import Drawn, Method, draw
from popavg.workflows.problem import Problem
from popavg.workflows.sampling import Sampler
from popavg.workflows.verdict import judge, warn_if_needed

__all__ = ["additions_of", "pack", "print_priors", "run"]

_ENGINES = {
    "importance": ("numba",),
    "nuts": ("pymc", "pytensor", "nutpie", "numba"),
    "latent": ("pymc", "pytensor", "nutpie", "numba"),
}


def run(problem: Problem, sampler: Sampler, method: Method, wanted: Wanted) -> xr.DataTree:
    """The fit; whole ones are put into the sampler's store."""
    assert sampler.seed is not None
    store = sampler.store
    begin = time.perf_counter()
    drawn = draw(problem, sampler, sampler.seed, method=method)
    seconds = time.perf_counter() - begin
    if sampler.progress:
        print(drawn)
    remedy = "" if store is None else store.remedy
    more = {"seed": sampler.seed, "seconds": round(seconds, 1)}
    fit = pack(problem, drawn, wanted, more=more, remedy=remedy)
    if store is not None and not drawn.interrupted:
        store.complete(fit)
    return fit


def pack(
    problem: Problem, drawn: Drawn, wanted: Wanted, *, more: Mapping[str, Any], remedy: str = ""
) -> xr.DataTree:
    """A fit from draws.

    Parameters
    ----------
    problem : Problem
        The model and its data.
    drawn : Drawn
        The draws, the sampler's own variables included.
    wanted : Wanted
        Which further groups.
    more : mapping
        What else is told about the sampler; the seed at least.
    remedy : str
        How to get the rest of the draws, a sentence.

    Returns
    -------
    xarray.DataTree

    Warns
    -----
    FitWarning
        The draws shouldn't be used yet, or are fewer than were asked for.
    """
    integrated = drawn.method != "latent"
    further = further_groups(problem, drawn.posterior, wanted, more["seed"], integrated=integrated)
    posterior = public(drawn.posterior)
    datasets = {"posterior": posterior, "sample_stats": drawn.sample_stats, **further}
    error = largest_quadrature_error(problem, posterior) if integrated else None
    verdict = judge(
        xr.DataTree.from_dict(datasets), _parameters(posterior, problem),
        method=drawn.method, quadrature_error=error,
    )  # fmt: skip
    if drawn.interrupted:
        verdict = (" ".join([*_shortage(drawn), *([remedy] if remedy else [])]), *verdict)
    specification = replace(
        specify(problem.design, problem.link, problem.family),
        priors={name: prior.to_dict() for name, prior in problem.priors.items()},
        sampler={
            "method": drawn.method,
            "why": drawn.why,
            "added_by_user": additions_of(problem),
            **drawn.facts,
            **_told_error(error),
            "chains": posterior.sizes["chain"],
            "draws": posterior.sizes["draw"],
            "interrupted": drawn.interrupted,
            **more,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "verdict": list(verdict),
        },
        versions=versions(_ENGINES[drawn.method]),
    )
    warn_if_needed(verdict)
    return fit_tree(problem.design, specification, datasets)


def _told_error(error: float | None) -> dict[str, float | None]:
    """To one digit; None where it couldn't be computed, nothing where there are no integrals."""
    if error is None:
        return {}
    return {"quadrature_error": float(f"{error:.1g}") if np.isfinite(error) else None}


def _shortage(drawn: Drawn) -> list[str]:
    """How many draws there are of how many, and what was left out."""
    lengths, asked = drawn.facts["draws_by_chain"], drawn.facts["draws_asked"]
    kept = drawn.posterior.sizes["draw"]
    told = [f"Interrupted: {kept} of {asked} draws a chain were kept."]
    if len(set(lengths)) > 1:
        told.append(f"The chains had {', '.join(map(str, lengths))}: the longer ones were cut.")
    if without := [str(chain) for chain, length in enumerate(lengths) if not length]:
        told.append(f"Left out, without a draw: chain {', '.join(without)}.")
    return told


def additions_of(problem: Problem) -> list[str]:
    """Names of what the user added to the model."""
    if problem.model is None:
        return []
    from popavg.models.record import additions

    return list(additions(problem.model))


def _parameters(posterior: xr.Dataset, problem: Problem) -> list[str]:
    """Parameters that are judged: all but the clusters' own effects and constant ones."""
    effects = {f"u_{group.name}" for group in problem.design.matrices.groups}
    return [str(name) for name in posterior.data_vars if name not in effects]


def print_priors(priors: Mapping[str, Prior]) -> None:
    """One line for each parameter."""
    width = max(len(name) for name in priors)
    print("Priors (replace one by name: priors={...}):")
    for name, prior in priors.items():
        print(f"  {name:<{width}}  {prior}")
