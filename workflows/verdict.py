"""What the sampler's diagnostics say about a fit, in words."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats

from popavg.errors import FitWarning
from popavg.posterior_tools.summaries import TAIL

__all__ = ["MAX_R_HAT", "MIN_ESS_PER_CHAIN", "judge", "warn_if_needed"]

#: Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021).
MAX_R_HAT = 1.01
MIN_ESS_PER_CHAIN = 100
#: Error of the integrated log-likelihood that draws can't be told from chance below.
MAX_QUADRATURE_ERROR = 1e-3

_TIGHTER = "give the standard deviations tighter priors"
#: What else to do about chains that disagree, and about divergences, by method.
_ELSE = {
    "latent": (
        "Run longer (tune=, draws=), then try the other parametrization= or a tighter prior for "
        "the standard deviations",
        "use the other parametrization=",
    ),
    "nuts": (f"Run longer (tune=, draws=), then {_TIGHTER}", _TIGHTER),
    "importance": ("The draws are independent, and too few: raise draws=", _TIGHTER),
}


def judge(
    tree: xr.DataTree,
    names: Sequence[str],
    *,
    method: str = "latent",
    quadrature_error: float | None = None,
) -> tuple[str, ...]:
    """Sentences about what is wrong with a fit's draws; empty where nothing is.

    Parameters
    ----------
    tree : xarray.DataTree
        With ``posterior`` and, where a sampler gave it, ``sample_stats``.
    names : sequence of str
        Parameters to look at.
    method : {"latent", "nuts", "importance"}
        How they were drawn: what can be done about them.
    quadrature_error : float, optional
        Of the integrated log-likelihood, where the clusters' effects were integrated out.

    Returns
    -------
    tuple of str
        One sentence each for R-hat, effective sample size, divergences, tree depth and integrals.

    Notes
    -----
    Thresholds: R-hat above 1.01 or fewer than 100 effective draws a chain (Vehtari et al. 2021),
    any divergence, more than 1 % of draws at the largest tree depth, an error of the log-likelihood
    above 0.001.
    """
    posterior = tree["posterior"].to_dataset()
    disagreement, divergence = _ELSE[method]
    sentences = [*_mixing(posterior, names, disagreement)]
    if "sample_stats" in tree.children:
        sentences += _trajectories(tree["sample_stats"].to_dataset(), divergence)
    if quadrature_error is not None and not quadrature_error <= MAX_QUADRATURE_ERROR:
        sentences.append(
            f"The integrated log-likelihood has an error of {quadrature_error:.1g} at some draws. "
            "Rescale covariates, or fit with method='latent'."
        )
    return tuple(sentences)


def warn_if_needed(sentences: Sequence[str]) -> None:
    """One :class:`popavg.errors.FitWarning` with all sentences; silent where there are none.

    It points at the line that called popavg.
    """
    if sentences:
        here = (str(Path(__file__).parent),)
        warnings.warn(" ".join(sentences), FitWarning, skip_file_prefixes=here)


def _mixing(posterior: xr.Dataset, names: Sequence[str], remedy: str) -> list[str]:
    n_chains, n_draws = posterior.sizes["chain"], posterior.sizes["draw"]
    if n_draws < 4:
        return [f"Only {n_draws} draws a chain: nothing can be said about convergence."]
    r_hat, ess = _diagnostics(posterior, names)
    sentences = []
    if n_chains > 1 and max(r_hat.values()) > MAX_R_HAT:
        worst = max(r_hat, key=lambda name: r_hat[name])
        sentences.append(
            f"The chains disagree: R-hat is {r_hat[worst]:.3f} for {worst!r} (at most "
            f"{MAX_R_HAT:g}). {remedy}."
        )
    needed = MIN_ESS_PER_CHAIN * n_chains
    if min(ess.values()) < needed:
        worst = min(ess, key=lambda name: ess[name])
        sentences.append(
            f"Too few effective draws: {ess[worst]:.0f} for {worst!r} (at least {needed}). "
            "Intervals are rough: raise draws=."
        )
    return sentences


def _diagnostics(
    posterior: xr.Dataset, names: Sequence[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """Worst R-hat and effective size of every parameter that varies."""
    r_hat, ess = {}, {}
    axes = {"chain_axis": 0, "draw_axis": 1}
    for name in names:
        values = posterior[name].transpose("chain", "draw", ...).to_numpy()
        flat = values.reshape(*values.shape[:2], -1).astype(float)
        flat = flat[..., np.ptp(flat, axis=(0, 1)) > 0]
        if not flat.shape[2]:
            continue
        r_hat[name] = float(np.max(array_stats.rhat(flat, **axes)))
        bulk = array_stats.ess(flat, method="bulk", **axes)
        tail = array_stats.ess(flat, method="tail", prob=TAIL, **axes)
        ess[name] = float(min(np.min(bulk), np.min(tail)))
    return r_hat or {"": 1.0}, ess or {"": np.inf}


def _trajectories(stats: xr.Dataset, remedy: str) -> list[str]:
    sentences = []
    n_draws = stats.sizes["chain"] * stats.sizes["draw"]
    divergent = int(stats["diverging"].sum()) if "diverging" in stats else 0
    if divergent:
        sentences.append(
            f"{divergent} of {n_draws} draws ended in a divergence: parts of the posterior may be "
            f"missing. Raise target_accept= (0.95, 0.99), or {remedy}."
        )
    deep = int(stats["maxdepth_reached"].sum()) if "maxdepth_reached" in stats else 0
    if deep > 0.01 * n_draws:
        sentences.append(
            f"{deep} of {n_draws} draws reached the largest tree depth: sampling is slow, not "
            "wrong. Rescale covariates with very different units, or raise max_treedepth=."
        )
    return sentences
