"""The clusters' own effects, drawn for a fit that integrated them out."""

from __future__ import annotations

import numpy as np
import xarray as xr

from popavg.posterior_tools.cluster_effects import draw_effects
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.integrated_draws import IntegratedDraws

__all__ = ["add_cluster_effects"]


def add_cluster_effects(fit: xr.DataTree, *, seed: int = 0, progress: bool = True) -> xr.DataTree:
    """Give a fit draws ``u_<g>`` of its clusters' own effects.

    They are what the target ``"sampled"`` and pictures of shrinkage need. A fit by importance
    sampling, or by NUTS on the integrated likelihood, has none at first: it didn't need them.

    Parameters
    ----------
    fit : xarray.DataTree
        A fit with one grouping factor, one or two random effects, and its outcome; from
        :func:`popavg.fit`, or from draws (:func:`popavg.from_draws` and its like). Effects that
        it has already are drawn anew.
    seed : int
        Same seed, same effects.
    progress : bool
        Whether a bar is shown where it takes longer than two seconds.

    Returns
    -------
    xarray.DataTree
        A new fit: ``posterior`` has also ``u_<g>`` with dims ``chain``, ``draw``, ``<g>`` and
        ``effect_<g>``, as a fit of the latent model. The fit that came is left as it was.

    Raises
    ------
    SpecificationError
        Not a fit made by popavg, several grouping factors, more than two effects, or a model that
        was added to by hand.
    EstimandError
        The fit has no outcome.
    DataError
        Draws that are NaN, infinite or impossible.

    See Also
    --------
    popavg.loo_clusters : Leave-one-cluster-out cross-validation.

    Notes
    -----
    Given the parameters θ of one posterior draw, the clusters' effects are independent with
    density proportional to p(y_i | u, θ) p(u | θ). One exact draw from each joins θ to a draw
    of the joint posterior of (θ, u): what a fit of the latent model has, without its Markov chain.

    Examples
    --------
    >>> import popavg as pa
    >>> fit = pa.load_example()
    >>> with_effects = pa.add_cluster_effects(fit, seed=1)
    >>> with_effects["posterior"]["u_patient"].dims
    ('chain', 'draw', 'patient', 'effect_patient')
    """
    posterior = Posterior.from_fit(fit)
    draws = IntegratedDraws.read(posterior)
    group, sizes = draws.integrated.group, posterior.data.sizes
    shape = len(group.levels), len(group.effects)
    effects = np.empty((len(draws.beta), *shape))
    seeds = np.random.default_rng(seed).integers(2**62, size=len(effects))
    for part, eta, root, sigma in draws.blocks("Drawing clusters' effects", progress=progress):
        outcomes = draws.integrated.outcomes
        effects[part] = draw_effects(outcomes, eta, root, sigma=sigma, seed=seeds[part])
    dims = ("chain", "draw", group.name, f"effect_{group.name}")
    data = fit["posterior"].to_dataset().drop_vars([f"u_{group.name}"], errors="ignore")
    data = data.drop_vars([group.name], errors="ignore")
    data[f"u_{group.name}"] = (dims, effects.reshape(sizes["chain"], sizes["draw"], *shape))
    data = data.assign_coords({group.name: list(group.levels), dims[-1]: list(group.effects)})
    groups = {str(name): child.to_dataset() for name, child in fit.children.items()}
    made = xr.DataTree.from_dict({**groups, "posterior": data})
    made.attrs.update(fit.attrs)
    return made
