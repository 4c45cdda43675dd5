"""The log-likelihood of every cluster at every draw, its own effects integrated out."""

from __future__ import annotations

import numpy as np
import xarray as xr

from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.integrated_draws import IntegratedDraws
from popavg.posterior_tools.integrated_likelihood import log_likelihood

__all__ = ["cluster_log_likelihood"]


def cluster_log_likelihood(fit: xr.DataTree, *, progress: bool = True) -> xr.DataArray:
    """Log-likelihood by cluster, the cluster's effects integrated out.

    Parameters
    ----------
    fit : xarray.DataTree
        A fit with one grouping factor, one or two random effects, and its outcome.
    progress : bool
        Whether a bar is shown where it takes longer than two seconds.

    Returns
    -------
    xarray.DataArray
        ``y`` with dims ``chain``, ``draw``, ``<g>``: log ∫ p(y_i | u, θ) p(u | θ) du.

    Raises
    ------
    SpecificationError, EstimandError, DataError
        As :func:`popavg.add_cluster_effects`.

    Notes
    -----
    The likelihood of rows given their cluster's effects doesn't tell how well a *new* cluster is
    foretold, and importance weights from it are useless for leave-one-out: a cluster's effects
    are known from its own rows alone.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.cluster_log_likelihood import cluster_log_likelihood
    >>> cluster_log_likelihood(pa.load_example()).dims
    ('chain', 'draw', 'patient')
    """
    posterior = Posterior.from_fit(fit)
    draws = IntegratedDraws.read(posterior)
    group, sizes = draws.integrated.group, posterior.data.sizes
    values = np.empty((len(draws.beta), len(group.levels)))
    for part, eta, root, sigma in draws.blocks("Likelihood by cluster", progress=progress):
        values[part] = log_likelihood(draws.integrated.outcomes, eta, root, sigma=sigma)
    data = posterior.data
    return xr.DataArray(
        values.reshape(sizes["chain"], sizes["draw"], -1),
        dims=("chain", "draw", group.name),
        coords={
            "chain": data["chain"].to_numpy(),
            "draw": data["draw"].to_numpy(),
            group.name: list(group.levels),
        },
        name="y",
    )
