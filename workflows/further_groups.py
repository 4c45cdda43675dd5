"""Groups of a fit that come on request: prior, predictive draws, log-likelihoods."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popavg.mixing import NORMAL
from popavg.models.prior_draws import prior_draws
from popavg.posterior_tools.cluster_effects import draw_effects
from popavg.posterior_tools.integrated_design import IntegratedDesign, lower_roots
from popavg.posterior_tools.integrated_likelihood import log_likelihood
from popavg.workflows.problem import Problem

__all__ = ["Wanted", "further_groups", "public"]

type Floats = NDArray[np.float64]

#: Above this the mean of a count can't be drawn as a 64-bit integer.
LARGEST_LOG_MEAN = 43.0
#: Numbers of one kind that are held at once, beside the result.
_AT_ONCE = 2**22


@dataclass(frozen=True)
class Wanted:
    """Which further groups a fit should have."""

    prior: bool = False
    posterior_predictive: bool = False
    log_likelihood: bool = False


def further_groups(
    problem: Problem, posterior: xr.Dataset, wanted: Wanted, seed: int, *, integrated: bool
) -> dict[str, xr.Dataset]:
    """The groups that were asked for.

    Parameters
    ----------
    problem : Problem
        The model and its data.
    posterior : xarray.Dataset
        The draws, the sampler's own variables included.
    wanted : Wanted
        Which groups.
    seed : int
        Where predictive draws come from.
    integrated : bool
        Whether the clusters' effects were integrated out.

    Returns
    -------
    dict of str to xarray.Dataset
        Of ``prior``, ``prior_predictive``, ``posterior_predictive``, ``log_likelihood``.

    Notes
    -----
    Predictive draws of an integrated fit are those of a latent one: the clusters' effects are
    drawn from their distribution given each draw of the parameters and the outcomes. Its
    log-likelihood is that of each cluster, over the dim of the clusters; a latent fit's that of
    each row given the effects.
    """
    seeds = [int(word) for word in np.random.SeedSequence(seed).generate_state(2)]
    if not integrated:
        return _by_pymc(problem.build("latent"), posterior, wanted, seeds)
    found: dict[str, xr.Dataset] = {}
    draws = _Draws.read(problem, posterior)
    if wanted.prior and problem.model is not None:
        found |= _by_pymc(problem.model, posterior, Wanted(prior=True), seeds)
    elif wanted.prior:
        found |= _prior(problem, posterior.sizes["draw"], seeds[0])
    if wanted.posterior_predictive:
        y = draws.predictive(np.random.default_rng(seeds[1]), given=True)
        found["posterior_predictive"] = draws.dataset(y, "obs")
    if wanted.log_likelihood:
        group = draws.integrated.group
        values = draws.log_likelihood()
        found["log_likelihood"] = draws.dataset(values, group.name, list(group.levels))
    return found


def public(group: xr.Dataset) -> xr.Dataset:
    """Without the variables that exist for the sampler's sake: their names begin with ``_``."""
    return group.drop_vars([name for name in group.variables if str(name).startswith("_")])


def _by_pymc(
    model: Any, posterior: xr.Dataset, wanted: Wanted, seeds: Sequence[int]
) -> dict[str, xr.Dataset]:
    import pymc as pm

    drawn = xr.DataTree.from_dict({"posterior": posterior})
    found: dict[str, xr.Dataset] = {}
    with warnings.catch_warnings(), model:
        warnings.simplefilter("ignore", UserWarning)
        if wanted.prior:
            n_draws = posterior.sizes["draw"]
            made = pm.sample_prior_predictive(draws=n_draws, random_seed=seeds[0])
            found |= _datasets(made, ("prior", "prior_predictive"))
        if wanted.posterior_predictive:
            made = pm.sample_posterior_predictive(drawn, random_seed=seeds[1], progressbar=False)
            found |= _datasets(made, ("posterior_predictive",))
        if wanted.log_likelihood:
            made = pm.compute_log_likelihood(drawn, extend_inferencedata=False, progressbar=False)
            found["log_likelihood"] = made if isinstance(made, xr.Dataset) else made.to_dataset()
    return {name: public(group) for name, group in found.items()}


def _datasets(tree: Any, names: Sequence[str]) -> dict[str, xr.Dataset]:
    return {name: tree[name].to_dataset() for name in names if name in tree.children}


def _prior(problem: Problem, draws: int, seed: int) -> dict[str, xr.Dataset]:
    rng = np.random.default_rng(seed)
    prior = prior_draws(problem.design, problem.link, problem.priors, draws=draws, seed=rng)
    found = _Draws.read(problem, prior)
    return {
        "prior": prior,
        "prior_predictive": found.dataset(found.predictive(rng, given=False), "obs"),
    }


@dataclass(frozen=True, eq=False)
class _Draws:
    """Parameters of an integrated fit as arrays, draws first."""

    problem: Problem
    integrated: IntegratedDesign
    shape: tuple[int, int]
    beta: Floats
    root: Floats
    sigma: Floats | None

    @classmethod
    def read(cls, problem: Problem, posterior: xr.Dataset) -> _Draws:
        integrated = IntegratedDesign.build(problem.design, problem.link, problem.family)
        shape = posterior.sizes["chain"], posterior.sizes["draw"]

        def flat(name: str) -> Floats:
            values = posterior[name].transpose("chain", "draw", ...).to_numpy()
            return values.reshape(-1, *values.shape[2:])

        name = integrated.group.name
        correlated = f"corr_{name}" in posterior
        root = lower_roots(
            flat(f"sd_{name}"), flat(f"corr_{name}")[:, 1, 0] if correlated else None
        )
        sigma = flat("sigma") if problem.family.has_scale else None
        return cls(problem, integrated, shape, flat("beta"), root, sigma)

    def blocks(self, size: int) -> list[slice]:
        """Runs of draws that fit into memory where each needs ``size`` numbers."""
        step = max(1, _AT_ONCE // max(size, 1))
        return [slice(i, i + step) for i in range(0, len(self.beta), step)]

    def log_likelihood(self) -> Floats:
        """Of each cluster, shape (draws, clusters)."""
        found = []
        for block in self.blocks(len(self.integrated.matrices.X)):
            eta = self.integrated.predictor(self.beta[block])
            sigma = None if self.sigma is None else self.sigma[block]
            outcomes = self.integrated.outcomes
            found.append(log_likelihood(outcomes, eta, self.root[block], sigma=sigma))
        return np.concatenate(found)

    def predictive(self, rng: np.random.Generator, *, given: bool) -> NDArray[Any]:
        """Outcomes of the rows, shape (draws, rows), of the same clusters or of new ones."""
        group, rows = self.integrated.group, self.integrated.rows
        found = []
        for block in self.blocks(len(rows)):
            eta = self.integrated.predictor(self.beta[block])
            sigma = None if self.sigma is None else self.sigma[block]
            if given:
                u = draw_effects(
                    self.integrated.outcomes, eta, self.root[block], sigma=sigma,
                    seed=rng.integers(2**62, size=len(eta)),
                )  # fmt: skip
            else:
                u = self._new_effects(block, rng)
            predictor = eta[:, rows]
            for k, column in enumerate(group.Z.T):
                predictor += column * u[:, group.index, k]
            found.append(self._outcomes(predictor, sigma, rng))
        return np.concatenate(found)

    def _new_effects(self, block: slice, rng: np.random.Generator) -> Floats:
        """Of new clusters, shape (draws, clusters, effects)."""
        group, root, mixing = self.integrated.group, self.root[block], self.problem.link.mixing
        z = rng.normal(size=(len(root), len(group.levels), len(group.effects)))
        if mixing.name != NORMAL.name:
            return mixing.effect(z, root)
        return z @ root.mT

    def _outcomes(
        self, eta: Floats, sigma: Floats | None, rng: np.random.Generator
    ) -> NDArray[Any]:
        family, link = self.problem.family, self.problem.link
        if sigma is not None:
            return rng.normal(eta, sigma[:, None])
        if family.name == "poisson":
            return rng.poisson(np.exp(np.minimum(eta, LARGEST_LOG_MEAN)))
        trials = self.problem.design.response.trials
        n = 1 if trials is None else np.asarray(trials, dtype=np.int64)
        return rng.binomial(n, link.inverse(eta))

    def dataset(self, y: NDArray[Any], dim: str, labels: Sequence[str] | None = None) -> xr.Dataset:
        """A dataset of ``y`` with the draws' dims."""
        chains, draws = self.shape
        coords = {
            "chain": np.arange(chains),
            "draw": np.arange(draws),
            dim: np.arange(y.shape[1]) if labels is None else labels,
        }
        values = y.reshape(chains, draws, -1)
        return xr.Dataset({"y": (("chain", "draw", dim), values)}, coords=coords)
