"""Independent posterior draws by each route; models are compiled once, for all outcomes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import NDArray

from popavg._checks import check_choice
from popavg.errors import SpecificationError
from popavg.models.baseline import baseline_of
from popavg.posterior_tools.integrated_design import (
    IntegratedDesign,
    only_group,
    require_integrable,
)
from popavg.posterior_tools.summaries import TAIL
from popavg.workflows.further_groups import public
from popavg.workflows.importance import importance_sample
from popavg.workflows.methods import METHODS, Method, why_not_integrated
from popavg.workflows.problem import Problem
from popavg.workflows.sampling import Sampler, compile_model, sample_compiled, whole_draws

__all__ = ["Drawer", "Draws", "Route", "first_route"]

type Route = Literal["importance", "nuts", "latent"]

#: Draws of a Markov chain for each one that is ranked among, at first and at most.
FIRST_FACTOR, LARGEST_FACTOR = 8, 64
#: Names of what is exchanged between runs.
_OUTCOMES = "_simulated_outcomes"


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws that are ranked among, and how they came.

    Attributes
    ----------
    posterior : xarray.Dataset
        One chain, thinned.
    method : str
        What drew.
    refused : str
        Why importance sampling was refused.
    ess, r_hat : float
        Of the whole Markov chains; NaN where there were none.
    divergences : int
        Divergent draws in them.
    length : int
        Draws of each of them.
    """

    posterior: xr.Dataset
    method: Route
    refused: str = ""
    ess: float = np.nan
    r_hat: float = np.nan
    divergences: int = 0
    length: int = 0


def first_route(problem: Problem, method: Method) -> Route:
    """What draws first: what :func:`popavg.workflows.methods.draw` would take.

    Raises
    ------
    SpecificationError
        A method that this model can't be fitted by.
    """
    check_choice("method", method, METHODS)
    if method in ("importance", "nuts"):
        only_group(problem.design.matrices)
        require_integrable(problem.link)
    if method == "latent" or why_not_integrated(problem) is not None:
        return "latent"
    if method == "nuts":
        return "nuts"
    if baseline_of(problem.design, problem.link, problem.priors) is None:
        return "importance"
    if method == "importance":
        raise SpecificationError(
            "importance sampling has no prior on the baseline",
            "a prior on 'Intercept'",
            "say method='nuts' or 'auto'",
        )
    return "nuts"


class Drawer:
    """Draws from posteriors of one model with other outcomes.

    Parameters
    ----------
    problem : Problem
        The model with any outcomes.
    method : str
        As asked for.
    sampler : Sampler
        ``draws`` are those wanted, of all chains together.
    """

    def __init__(self, problem: Problem, method: Method, sampler: Sampler) -> None:
        self.problem, self.sampler = problem, sampler
        self.route = first_route(problem, method)

    def draw(self, problem: Problem, seed: int) -> Draws:
        """Draws from the posterior of the same model with these outcomes.

        Raises
        ------
        KeyboardInterrupt
            Sampling was interrupted.
        """
        if self.route != "importance":
            return self._by_chains(problem, self.route, seed)
        found = importance_sample(
            problem.design, problem.link, problem.family, problem.priors,
            draws=self.sampler.draws, chains=1, seed=seed, progress=False,
        )  # fmt: skip
        if found.accepted:
            return Draws(found.posterior, "importance")
        return replace(self._by_chains(problem, "nuts", seed), refused=found.why)

    def _by_chains(self, problem: Problem, route: Route, seed: int) -> Draws:
        if route == "nuts":
            compiled = self._integrated.with_data(**_packed(problem))
        else:
            compiled = self._latent.with_data(**{_OUTCOMES: problem.design.response.y})
        wanted, chains, factor = self.sampler.draws, self.sampler.chains, FIRST_FACTOR
        while True:
            sampler = replace(self.sampler, draws=-(-factor * wanted // chains))
            tree = sample_compiled(compiled, sampler, seed, few=route == "nuts")
            statistics = tree["sample_stats"].to_dataset()
            logp = statistics["logp"].transpose("chain", "draw").to_numpy()
            if (whole_draws(logp) < sampler.draws).any():  # nutpie returns without a word
                raise KeyboardInterrupt
            posterior = public(tree["posterior"].to_dataset())
            ess, r_hat = _diagnostics(posterior, problem)
            if ess >= wanted or 2 * factor > LARGEST_FACTOR:
                break
            factor *= 2
        divergences = int(statistics["diverging"].sum())
        thinned, length = _thinned(posterior, wanted), sampler.draws
        return Draws(thinned, route, "", ess, r_hat, divergences, length)

    @cached_property
    def _integrated(self) -> Any:
        """The integrated model; its outcomes are two shared variables of one name."""
        compiled = compile_model(self.problem.build("integrated"))
        for variable in compiled.shared_var_keys:
            variable.name = f"{_OUTCOMES}_{variable.dtype}"
        return compiled

    @cached_property
    def _latent(self) -> Any:
        """The latent model with its outcomes in a shared variable."""
        import pytensor

        model = self.problem.build("latent")
        observed = model["y"]
        constant = model.rvs_to_values[observed]
        values: Any = constant
        shared = pytensor.shared(values.data, shape=values.data.shape, name=_OUTCOMES)
        del model.values_to_rvs[constant]
        model.rvs_to_values[observed], model.values_to_rvs[shared] = shared, observed
        return compile_model(model)


def _packed(problem: Problem) -> dict[str, NDArray[Any]]:
    """The outcomes by the names of the integrated model's shared variables."""
    from popavg.models._kernel_call import pack

    integrated = IntegratedDesign.build(problem.design, problem.link, problem.family)
    return {f"{_OUTCOMES}_{array.dtype}": array for array in pack(integrated.outcomes)}


def _diagnostics(posterior: xr.Dataset, problem: Problem) -> tuple[float, float]:
    """Smallest effective size, of bulk and tails, and largest R-hat of the parameters."""
    effects = {f"u_{group.name}" for group in problem.design.matrices.groups}
    columns = []
    for name in posterior.data_vars:
        if name not in effects:
            values = posterior[name].transpose("chain", "draw", ...).to_numpy().astype(float)
            columns.append(values.reshape(*values.shape[:2], -1))
    table = np.concatenate(columns, axis=2)
    table = table[..., np.ptp(table, axis=(0, 1)) > 0]
    axes = {"chain_axis": 0, "draw_axis": 1}
    bulk = array_stats.ess(table, method="bulk", **axes)
    tail = array_stats.ess(table, method="tail", prob=TAIL, **axes)
    several = len(table) > 1
    r_hat = float(np.max(array_stats.rhat(table, **axes))) if several else np.nan
    return float(min(np.min(bulk), np.min(tail))), r_hat


def _thinned(posterior: xr.Dataset, wanted: int) -> xr.Dataset:
    """Draws at equal distances, of all chains one after the other, as one chain."""
    chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]
    at = np.linspace(0, chains * draws - 1, wanted).round().astype(int)
    chain, draw = (xr.DataArray(part, dims="draw") for part in np.divmod(at, draws))
    picked = posterior.drop_vars(["chain", "draw"]).isel(chain=chain, draw=draw)
    picked = picked.expand_dims("chain").assign_coords(chain=[0], draw=range(wanted))
    return picked.transpose("chain", "draw", ...)
