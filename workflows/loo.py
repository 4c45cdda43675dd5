"""Leave-one-cluster-out cross-validation: how well a model foretells a cluster it hasn't seen."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, cast

import arviz_stats
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.errors import FitWarning, SpecificationError
from popavg.posterior_tools.cluster_log_likelihood import cluster_log_likelihood
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.integrated_likelihood import log_likelihood
from popavg.posterior_tools.progress import track
from popavg.priors import Prior
from popavg.workflows.importance import weighted_draws
from popavg.workflows.integrated_posterior import IntegratedPosterior

if TYPE_CHECKING:
    from arviz_stats.utils import ELPDDataLOO

__all__ = ["loo_clusters"]

type Floats = NDArray[np.float64]


def loo_clusters(
    fit: xr.DataTree, *, refit: bool = True, seed: int = 0, progress: bool = True
) -> ELPDDataLOO:
    """Leave-one-cluster-out cross-validation by Pareto-smoothed importance sampling.

    The unit is the cluster, which is what a population-averaged answer is about: a new patient,
    not one more visit of a patient whose own effect is known. Use ArviZ's ``loo`` on a row-wise
    ``log_likelihood`` where new rows of the same clusters are to be foretold.

    Parameters
    ----------
    fit : xarray.DataTree
        A fit with one grouping factor, one or two random effects, and its outcome.
    refit : bool
        Whether a cluster whose k̂ is too large is left out in earnest: the posterior without it
        is drawn from by importance sampling. It needs the priors, which a fit of
        :func:`popavg.fit` has.
    seed : int
        Of the refits.
    progress : bool
        Whether a bar is shown where it takes longer than two seconds.

    Returns
    -------
    arviz_stats.utils.ELPDDataLOO
        With ``elpd_i`` and ``pareto_k`` by cluster; ``arviz.compare`` takes several of them. For
        clusters left out in earnest ``pareto_k`` is 0, as ``arviz.reloo`` has it.

    Raises
    ------
    SpecificationError, EstimandError, DataError
        As :func:`popavg.add_cluster_effects`.

    Warns
    -----
    FitWarning
        Some k̂ are too large and these clusters can't be left out in earnest.

    Notes
    -----
    Σ_i log p(y_i | y_-i) (Vehtari, Gelman & Gabry 2017) with y_i all rows of cluster i and
    p(y_i | θ) = ∫ p(y_i | u, θ) p(u | θ) du, the integrated likelihood. Merkle, Furr &
    Rabe-Hesketh (2019) say why the conditional likelihood answers another question, and why
    importance sampling fails on it.

    Examples
    --------
    >>> import popavg as pa
    >>> loo = pa.loo_clusters(pa.load_example())
    >>> int(loo.n_data_points), bool((loo.pareto_k < loo.good_k).all())
    (294, True)
    """
    values = cluster_log_likelihood(fit, progress=progress)
    posterior = (
        fit["posterior"]
        .to_dataset()
        .assign_coords({name: values[name] for name in ("chain", "draw")})
    )
    shown = posterior.drop_vars([name for name in posterior if str(name).startswith("u_")])
    tree = xr.DataTree.from_dict({"posterior": shown, "log_likelihood": values.to_dataset()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        loo = cast("ELPDDataLOO", arviz_stats.loo(tree, var_name="y", pointwise=True))
    bad = np.flatnonzero(~(loo.pareto_k.to_numpy() <= loo.good_k))
    if len(bad) and refit:
        target, why = _target(fit)
        if target is not None:
            bad = _leave_out(loo, values, bad, target=target, seed=seed, progress=progress)
        elif why:
            _warn(loo, bad, why)
            return loo
    if len(bad):
        _warn(loo, bad, "the posterior without them wasn't drawn from")
    loo.warning = bool(len(bad))
    return loo


def _target(fit: xr.DataTree) -> tuple[IntegratedPosterior | None, str]:
    """The fit's posterior density; None and why where its priors aren't known."""
    posterior = Posterior.from_fit(fit)
    stored = posterior.specification.priors
    if not stored:
        return None, "the fit doesn't know its priors, so no cluster can be left out in earnest"
    priors = {name: Prior.from_dict(fields) for name, fields in stored.items()}
    try:
        made = IntegratedPosterior(posterior.design, posterior.link, posterior.family, priors)
    except (SpecificationError, KeyError) as error:
        return None, f"no cluster can be left out in earnest ({error})"
    return made, ""


def _leave_out(
    loo: ELPDDataLOO,
    values: xr.DataArray,
    clusters: NDArray[np.intp],
    *,
    target: IntegratedPosterior,
    seed: int,
    progress: bool,
) -> NDArray[np.intp]:
    """Replace the numbers of these clusters; returns those for which it failed."""
    failed = []
    flat = values.to_numpy().reshape(-1, values.shape[2])
    elpd, k = loo.elpd_i.to_numpy().copy(), loo.pareto_k.to_numpy().copy()
    bar = track(clusters, len(clusters), "Leaving clusters out", progress=progress)
    for cluster, child in zip(bar, np.random.SeedSequence(seed).spawn(len(clusters)), strict=True):
        found = _predictive(target, int(cluster), np.random.default_rng(child))
        if found is None:
            failed.append(cluster)
            continue
        elpd[cluster], k[cluster] = found, 0.0
    loo.elpd_i, loo.pareto_k = loo.elpd_i.copy(data=elpd), loo.pareto_k.copy(data=k)
    loo.elpd, loo.se = float(elpd.sum()), float(np.sqrt(len(elpd) * elpd.var()))
    within = np.logaddexp.reduce(flat, axis=0) - np.log(len(flat))
    loo.p = float((within - elpd).sum())
    return np.array(failed, dtype=np.intp)


def _predictive(
    target: IntegratedPosterior, cluster: int, rng: np.random.Generator
) -> float | None:
    """Log density of y_i given y_-i, from draws of the posterior without cluster i."""
    found = weighted_draws(target.without(cluster), 4000, rng=rng, progress=False)
    if found.why:
        return None
    total = []
    usable = np.flatnonzero(np.isfinite(found.log_weights))
    parts = np.array_split(usable, max(1, len(usable) // 250))
    for part in parts:
        eta, root, sigma = found.target.arguments(found.points[part])
        given = sigma if target.family.has_scale else None
        own = log_likelihood(target.integrated.outcomes, eta, root, sigma=given)[:, cluster]
        total.append(np.logaddexp.reduce(own + found.log_weights[part]))
    return float(np.logaddexp.reduce(total))


def _warn(loo: ELPDDataLOO, bad: NDArray[np.intp], why: str) -> None:
    names = loo.elpd_i[loo.elpd_i.dims[0]].to_numpy()[bad]
    here = (str(Path(__file__).parent),)
    warnings.warn(
        f"k̂ is above {loo.good_k:.2f} for {len(bad)} clusters ({listing(map(str, names))}), and "
        f"{why}: don't rely on their part of the sum.",
        FitWarning,
        skip_file_prefixes=here,
    )
