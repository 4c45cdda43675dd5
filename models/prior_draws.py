"""Draws from a model's priors, in plain NumPy, as a posterior group has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popavg.bridge import attenuation_of_sd
from popavg.design import Design, GroupDesign
from popavg.links import Link
from popavg.mixing import BRIDGE
from popavg.models.baseline import BASELINE, baseline_of
from popavg.models.default_priors import correlation_name, sd_names
from popavg.priors import Prior

__all__ = ["correlation_draws", "prior_draws"]

type Floats = NDArray[np.float64]


def prior_draws(
    design: Design,
    link: Link,
    priors: Mapping[str, Prior],
    *,
    draws: int,
    seed: int | np.random.Generator,
    largest: Mapping[str, float] | None = None,
) -> xr.Dataset:
    """Draw the parameters of a model from their priors.

    Parameters
    ----------
    design : popavg.design.Design
        Terms and groups.
    link : Link
        The link, for a prior on the baseline.
    priors : mapping of str to Prior
        Complete, as :func:`popavg.models.default_priors.resolve_priors` returns.
    draws : int
        How many; one chain of independent draws.
    seed : int or numpy.random.Generator
        Where they come from.
    largest : mapping of str to float, optional
        Standard deviations' draws above these are set to them.

    Returns
    -------
    xarray.Dataset
        ``beta``, ``sd_<g>``, ``corr_<g>``, ``sigma`` and, of a bridge distribution, ``phi_<g>`` as
        in a fit; no clusters' effects.

    Notes
    -----
    The intercept's prior is at the covariates' means: β_0 = α − Σ_k x̄_k β_k, as in
    :func:`popavg.models.glmm`; that of a baseline at the average row, see
    :class:`popavg.models.baseline.Baseline`.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.design import Design, family_of
    >>> from popavg.models.default_priors import default_priors
    >>> formula, link = "resp ~ age + (1 | id)", pa.get_link("logit")
    >>> family = family_of(formula, link)
    >>> design = Design.build(formula, pa.load_dataset("ohio"), family=family)
    >>> priors = default_priors(design, family, link)
    >>> found = prior_draws(design, link, priors, draws=100, seed=1)
    >>> found["beta"].shape, found["sd_id"].dims
    ((1, 100, 2), ('chain', 'draw', 'effect_id'))
    """
    rng = np.random.default_rng(seed)
    limits = largest or {}
    matrices = design.matrices
    baseline = baseline_of(design, link, priors)
    first = BASELINE if baseline is not None else "Intercept"
    named = [first if term == "Intercept" else term for term in matrices.terms]
    beta = np.stack([priors[name].draw(draws, seed=rng) for name in named], axis=1)
    variables: dict[str, Any] = {}
    coords: dict[str, Any] = {"chain": [0], "draw": range(draws), "term": list(matrices.terms)}
    for group in matrices.groups:
        dims, labels = f"effect_{group.name}", list(group.effects)
        columns = [
            np.minimum(priors[name].draw(draws, seed=rng), limits.get(name, np.inf))
            for name in sd_names(group)
        ]
        coords[dims] = labels
        variables[f"sd_{group.name}"] = (("chain", "draw", dims), np.stack(columns, axis=1)[None])
        if link.mixing.name == BRIDGE.name:
            phi = attenuation_of_sd(variables[f"sd_{group.name}"][1])
            variables[f"phi_{group.name}"] = (("chain", "draw", dims), phi)
        if len(labels) > 1:
            coords[f"{dims}_other"] = labels
            correlation = _group_correlation(group, priors, draws, rng)
            names = ("chain", "draw", dims, f"{dims}_other")
            variables[f"corr_{group.name}"] = (names, correlation[None])
    if "sigma" in priors:
        variables["sigma"] = (("chain", "draw"), priors["sigma"].draw((1, draws), seed=rng))
    if "Intercept" in matrices.terms:
        at, centre = matrices.terms.index("Intercept"), matrices.X.mean(axis=0)
        if baseline is not None:
            centre = baseline.columns.copy()
            sds = [variables[f"sd_{group.name}"][1] for group in matrices.groups]
            variance = sum((sd[0, :, 0] ** 2 for sd in sds), start=np.zeros(draws))
            beta[:, at] = baseline.predictor(beta[:, at], variance) - baseline.offset
        centre[at] = 0.0
        beta[:, at] -= beta @ centre
    variables["beta"] = (("chain", "draw", "term"), beta[None])
    return xr.Dataset(variables, coords=coords)


def correlation_draws(size: int, eta: float, draws: int, rng: np.random.Generator) -> Floats:
    """Correlation matrices from the LKJ(η) prior, shape (draws, size, size).

    Parameters
    ----------
    size : int
        How many effects.
    eta : float
        1 for the uniform distribution over correlation matrices, above 1 for smaller correlations.
    draws : int
        How many matrices.
    rng : numpy.random.Generator
        Where they come from.

    Returns
    -------
    numpy.ndarray

    Notes
    -----
    Independent partial correlations of a C-vine (Lewandowski, Kurowicka & Joe 2009, section 2.4),
    as in :func:`popavg.models.random_effects.add_random_effects`; every element has the density
    of 2 Beta(a, a) − 1 with a = η + size/2 − 1.

    Examples
    --------
    >>> import numpy as np
    >>> found = correlation_draws(3, 2.0, 5, np.random.default_rng(1))
    >>> found.shape, bool((np.linalg.eigvalsh(found) > 0).all())
    ((5, 3, 3), True)
    """
    factor = np.zeros((draws, size, size))
    factor[:, 0, 0] = 1.0
    for i in range(1, size):
        remaining = np.ones(draws)
        for j in range(i):
            shape = eta + (size - 2 - j) / 2
            half = rng.beta(shape, shape, draws)
            factor[:, i, j] = (2 * half - 1) * remaining
            remaining = remaining * 2 * np.sqrt(half * (1 - half))
        factor[:, i, i] = remaining
    found = factor @ factor.mT
    found[:, np.arange(size), np.arange(size)] = 1.0
    return found


def _group_correlation(
    group: GroupDesign, priors: Mapping[str, Prior], draws: int, rng: np.random.Generator
) -> Floats:
    """Block by block; effects of different blocks are independent."""
    size = len(group.effects)
    found = np.broadcast_to(np.eye(size), (draws, size, size)).copy()
    key = correlation_name(group)
    for block in group.blocks if key is not None else ():
        if len(block) > 1:
            eta = priors[str(key)].params["eta"]
            rows, columns = np.ix_(block, block)
            found[:, rows, columns] = correlation_draws(len(block), eta, draws, rng)
    return found
