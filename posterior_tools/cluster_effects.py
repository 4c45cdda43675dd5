"""Draws of the clusters' effects given the parameters: what integrating them out left behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import ArrayLike, NDArray

from popavg.errors import ConvergenceError, SpecificationError
from popavg.posterior_tools._bridge_draws import draw_bridges
from popavg.posterior_tools._integrated_draws import Members, draw_lines, draw_normals, draw_planes
from popavg.posterior_tools._integrated_rules import MARKERS
from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes
from popavg.posterior_tools.integrated_parameters import Parameters
from popavg.posterior_tools.quadrature import cpus

__all__ = ["draw_effects"]

type Floats = NDArray[np.float64]


def draw_effects(
    outcomes: ClusteredOutcomes,
    eta: ArrayLike,
    root: ArrayLike,
    *,
    seed: ArrayLike,
    sigma: ArrayLike | None = None,
) -> Floats:
    """One draw of every cluster's effects u from p(u | y, parameters), for each draw of these.

    Parameters
    ----------
    outcomes : ClusteredOutcomes
        The outcomes.
    eta : array_like, shape (rows,) or (draws, rows)
        Predictors of the distinct rows, u = 0.
    root : array_like, shape (effects, effects) or (draws, effects, effects)
        Lower triangular root L of the effects' covariance Σ = L L'.
    seed : array_like of int, shape () or (draws,)
        One seed for each draw; the same seed gives the same effects, whatever the machine's cores.
    sigma : array_like, optional
        Gaussian outcomes: residual standard deviation.

    Returns
    -------
    numpy.ndarray, shape (clusters, effects) or (draws, clusters, effects)

    Raises
    ------
    SpecificationError
        As :func:`popavg.posterior_tools.integrated_likelihood.log_likelihood`; or not one seed
        for each draw.
    ConvergenceError
        A cluster's distribution can't be computed.

    Notes
    -----
    The draws are exact and independent, by rejection under log-concave densities (Gilks & Wild
    1992, Applied Statistics 41:337, describe the bounds by chords): no Markov chain is involved.
    The bridge distribution's density isn't log-concave; there the likelihood is bounded so, and
    what is drawn from within the bounds' steps is the distribution itself.

    Examples
    --------
    >>> from popavg.posterior_tools.cluster_effects import draw_effects
    >>> from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes
    >>> one = ClusteredOutcomes.build([1], [0], row=[0], Z=[[1.0]], link="logit")
    >>> draw_effects(one, [[0.0], [0.0]], [[[2.0]], [[2.0]]], seed=[1, 2]).shape
    (2, 1, 1)
    """
    parameters = Parameters.read(outcomes, eta, root, sigma)
    count = len(parameters.eta)
    seeds = np.asarray(seed)
    if seeds.dtype.kind not in "iu" or seeds.shape != ((count,) if parameters.many else ()):
        raise SpecificationError(
            f"seed has the shape {seeds.shape} and type {seeds.dtype}",
            f"{count} whole numbers, one for each draw" if parameters.many else "a whole number",
        )
    seeds = seeds.reshape(-1).astype(np.uint64)
    members = _members(outcomes)
    with ThreadPoolExecutor(cpus()) as pool:
        found = list(pool.map(lambda d: _draw(parameters, members, d, int(seeds[d])), range(count)))
    effects = np.stack(found) if parameters.many else found[0]
    if not np.isfinite(effects).all():
        raise ConvergenceError(
            "the distribution of some clusters' effects can't be computed",
            remedy="check the scales of the covariates and of the random effects",
        )
    return effects


def _members(outcomes: ClusteredOutcomes) -> Members:
    order = np.argsort(outcomes.inverse, kind="stable").astype(np.int64)
    counts = np.bincount(outcomes.inverse, minlength=len(outcomes.multiplicity))
    return Members(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), order)


def _draw(parameters: Parameters, members: Members, d: int, seed: int) -> Floats:
    outcomes, eta = parameters.outcomes, parameters.eta[d]
    word = np.uint64(seed)
    if outcomes.family.has_scale:
        out = np.empty((outcomes.n_clusters, 2))
        data, (root,) = parameters.as_planes(slice(d, d + 1))
        draw_normals(data, (eta, root, float(parameters.sigma[d]), word), members, out)
        return out[:, : outcomes.n_effects]
    out = np.empty((outcomes.n_clusters, outcomes.n_effects))
    if outcomes.bridge:
        kernel = draw_bridges
    else:
        kernel = draw_lines if outcomes.n_effects == 1 else draw_planes
    root = np.ascontiguousarray(parameters.root[d])
    kernel(MARKERS[outcomes.link.name], outcomes.data, (eta, root, word), members, out)
    return out
