"""Posterior draws without a Markov chain: weighted draws from a proposal close to the posterior."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from popavg.design import Design
from popavg.families import Family
from popavg.links import Link
from popavg.posterior_tools.integrated_likelihood import quadrature_error
from popavg.posterior_tools.pareto_smoothing import khat_threshold, pareto_smoothed
from popavg.posterior_tools.progress import track
from popavg.priors import Prior
from popavg.workflows.integrated_posterior import NEGLIGIBLE, IntegratedPosterior
from popavg.workflows.posterior_mode import Mode, find_mode
from popavg.workflows.proposals import StudentMixture, fit_mixture, student
from popavg.workflows.timings import stage

__all__ = ["ImportanceResult", "WeightedDraws", "importance_sample", "resample", "weighted_draws"]

type Floats = NDArray[np.float64]

#: Degrees of freedom of the first proposal.
FIRST_FREEDOM = 3.0
#: How much wider it is than the Hessian at the mode says.
WIDER = 1.3
#: Its share in the later ones: it bounds the weights in the tails.
DEFENSIVE = 0.15
#: A proposal is kept from this share of effective draws on, and below this k̂.
GOOD_SHARE, GOOD_KHAT = 0.7, 0.5
#: Proposals that are tried, and weighted draws for each wanted one, at most.
MOST_PROPOSALS, MOST_DRAWS = 5, 20
#: Predictors that are evaluated at once, between two moves of the bar.
_CELLS = 2**20
#: Largest share of draws whose integral may fail, or that lie where roots become too large.
LARGEST_SHARE_LOST = 1e-3
#: Largest error of the log-likelihood at the mode, in nats.
LARGEST_QUADRATURE_ERROR = 1e-3


@dataclass(frozen=True, eq=False)
class ImportanceResult:
    """Draws, and what says whether they can be relied on.

    Attributes
    ----------
    posterior : xarray.Dataset
        ``beta``, ``sd_<g>``, ``corr_<g>``, ``sigma`` with dims ``chain`` and ``draw``, equally
        weighted; empty where the draws aren't accepted.
    sample_stats : xarray.Dataset
        For every draw its log posterior density ``lp`` and smoothed log weight ``log_weight``
        (0 on average were all equal), and ``khat``; empty where they aren't accepted.
    khat : float
        Pareto shape of the weights; NaN where there are none.
    ess : float
        Effective number of weighted draws, (Σw)²/Σw².
    accepted : bool
        Whether the draws can be relied on.
    why : str
        Why not, or how good they are: one sentence.
    seconds : float
        All of it, wall-clock.
    facts : dict
        Numbers about how they came: weighted draws, evaluations, proposals tried, share of
        distinct draws among the resampled ones, error of the integral at the mode.
    """

    posterior: xr.Dataset
    sample_stats: xr.Dataset
    khat: float
    ess: float
    accepted: bool
    why: str
    seconds: float
    facts: dict[str, float] = field(default_factory=dict)


def importance_sample(
    design: Design,
    link: Link,
    family: Family,
    priors: Mapping[str, Prior],
    *,
    draws: int = 1000,
    chains: int = 4,
    seed: int | np.random.Generator = 0,
    progress: bool = True,
) -> ImportanceResult:
    """Draw from the posterior of a model with one grouping factor, cluster effects integrated out.

    Parameters
    ----------
    design : popavg.design.Design
        With one grouping factor of one or two random effects.
    link : popavg.links.Link
        The link.
    family : popavg.families.Family
        The outcomes' distribution.
    priors : mapping of str to Prior
        Complete, as :func:`popavg.models.default_priors.resolve_priors` returns.
    draws, chains : int
        Draws of every chain and number of chains that are returned.
    seed : int or numpy.random.Generator
        Same seed, same draws.
    progress : bool
        Whether a bar is shown where it takes longer.

    Returns
    -------
    ImportanceResult
        With the names, dims and coordinates of a fit of the latent model; without draws and with
        the reason where they can't be relied on.

    Raises
    ------
    SpecificationError
        Several grouping factors, or more than two random effects.

    Notes
    -----
    The posterior of coefficients, log standard deviations, Fisher-transformed correlation and log
    residual standard deviation is smooth and has few dimensions:

    1. Its mode is found by Newton's method, and its Hessian there.
    2. Draws of a multivariate t distribution about the mode, wider than the Hessian
       says (3 degrees of freedom), are weighted;
       a mixture of t distributions is fitted to them (adaptive importance sampling, Cappé et al.
       2008), some of the first proposal being kept in it for the tails. This is repeated where
       the weights are still uneven. Draws that served to fit a proposal aren't used again: given
       the proposal the others are independent.
    3. Draws of the last proposal are added until the effective number (Σw)²/Σw² is that of the
       draws wanted. Their weights are Pareto smoothed; the draws are refused where the shape k̂
       is above min(1 − 1/log₁₀ S, 0.7) (Vehtari et al. 2024).
    4. Systematic resampling gives equally weighted draws: each comes as often as its weight
       says, rounded up or down at random, so that resampling adds little noise. They are
       shuffled, and split into chains that differ by chance alone. Draws whose weight is above
       the average may come twice: their share is in ``facts``.
    """
    target = IntegratedPosterior(design, link, family, priors)
    begin, rng = time.perf_counter(), np.random.default_rng(seed)
    found = weighted_draws(target, draws * chains, rng=rng, progress=progress)
    return _finish(found, (chains, draws), time.perf_counter() - begin, rng)


@dataclass(frozen=True, eq=False)
class WeightedDraws:
    """Weighted draws and how they came.

    Attributes
    ----------
    target : IntegratedPosterior
        The posterior in the coordinates of the draws.
    points : numpy.ndarray, shape (draws, size)
        The draws.
    log_density : numpy.ndarray, shape (draws,)
        Their log posterior densities, up to a constant.
    log_weights : numpy.ndarray, shape (draws,)
        Smoothed log weights, whose exponentials add up to 1.
    khat : float
        Pareto shape of the weights.
    why : str
        Why they can't be relied on; empty where they can.
    facts : dict
        See :class:`ImportanceResult`.
    """

    target: IntegratedPosterior
    points: Floats
    log_density: Floats
    log_weights: Floats
    khat: float
    why: str
    facts: dict[str, float]

    @property
    def ess(self) -> float:
        """Effective number of draws, (Σw)²/Σw²."""
        return _effective(self.log_weights) if len(self.points) else 0.0


def weighted_draws(
    target: IntegratedPosterior,
    wanted: int,
    *,
    rng: np.random.Generator,
    progress: bool = True,
) -> WeightedDraws:
    """Weighted draws of a posterior; steps 1 to 3 of :func:`importance_sample`.

    Parameters
    ----------
    target : IntegratedPosterior
        The posterior.
    wanted : int
        Effective number of draws.
    rng : numpy.random.Generator
        Where they come from.
    progress : bool
        Whether a bar is shown where it takes longer.

    Returns
    -------
    WeightedDraws
    """
    with _blas().limit(limits=1, user_api="blas"):
        return _Search(target, rng, progress).run(wanted)


@cache
def _blas() -> ThreadpoolController:
    """The linear algebra's threads: for small matrices they only cost, and change last digits."""
    return ThreadpoolController()


def _effective(log_weights: Floats) -> float:
    return float(1.0 / np.exp(2.0 * log_weights).sum())


class _Search:
    """From the mode to weighted draws; counts what is evaluated and what fails."""

    def __init__(
        self, target: IntegratedPosterior, rng: np.random.Generator, progress: bool
    ) -> None:
        self.target, self.rng, self.progress = target, rng, progress
        self.evaluated, self.failed, self.top = 0, 0, -np.inf

    def _none(self, why: str, facts: dict[str, float]) -> WeightedDraws:
        empty = np.zeros(0)
        points = np.zeros((0, self.target.size))
        return WeightedDraws(self.target, points, empty, empty, np.nan, why, facts)

    def run(self, wanted: int) -> WeightedDraws:
        with stage("mode"):
            mode = find_mode(self.target.values_and_gradients, self.target.start(), roughly=True)
            if np.isfinite(mode.value):
                self.target, near = self.target.bent_at(mode.point)
                mode = find_mode(self.target.values_and_gradients, near)
        if mode.why:
            return self._none(mode.why, {})
        error = _quadrature_error(self.target, mode)
        facts = {"quadrature_error_at_mode": error}
        if not error <= LARGEST_QUADRATURE_ERROR:
            return self._none(f"the log-likelihood has an error of {error:.1g} at the mode", facts)
        self.top = mode.value
        try:
            root = np.linalg.cholesky(np.linalg.inv(mode.precision))
        except np.linalg.LinAlgError:
            return self._none("the curvature at the mode can't be inverted", facts)
        first = student(mode.point, WIDER * root, FIRST_FREEDOM)
        with stage("weighted draws"):
            return self._weigh(first, wanted, facts)

    def _weigh(self, first: StudentMixture, wanted: int, facts: dict[str, float]) -> WeightedDraws:
        batch = max(500, 50 * first.size)
        rounds = [(first, *self._draw(first, batch))]
        for tried in range(1, MOST_PROPOSALS + 1):
            pooled = _pooled(rounds)
            if pooled is None:
                return self._none("no draw near the mode has a posterior density", facts)
            proposal = fit_mixture(*pooled).beside(first, DEFENSIVE)
            facts["proposals"] = tried + 1
            points, density = self._draw(proposal, max(wanted // 4, 2 * batch))
            weights, khat = pareto_smoothed(density - proposal.log_density(points))
            good = _effective(weights) >= GOOD_SHARE * len(weights) and not khat >= GOOD_KHAT
            if good or tried == MOST_PROPOSALS:
                found = self._complete(proposal, (points, density), wanted, facts)
                if not found.why or tried == MOST_PROPOSALS:
                    break
                points, density = found.points, found.log_density
            rounds.append((proposal, points, density))
        return found

    def _complete(
        self,
        proposal: StudentMixture,
        begun: tuple[Floats, Floats],
        wanted: int,
        facts: dict[str, float],
    ) -> WeightedDraws:
        points, density = begun
        while True:
            weights, khat = pareto_smoothed(density - proposal.log_density(points))
            ess = _effective(weights)
            most = MOST_DRAWS * wanted - len(points)
            if ess >= wanted or most <= 0 or khat > khat_threshold(len(points)):
                break
            lacking = (wanted - ess) * len(points) / ess
            more = self._draw(proposal, min(int(1.02 * lacking) + 20, most))
            points, density = (np.concatenate(p) for p in zip((points, density), more, strict=True))
        facts |= {"weighted_draws": len(points), "evaluations": self.evaluated}
        facts["failed"] = self.failed
        why = self._complaint(points, weights, khat)
        return WeightedDraws(self.target, points, density, weights, khat, why, facts)

    def _complaint(self, points: Floats, weights: Floats, khat: float) -> str:
        threshold = khat_threshold(len(points))
        if khat > threshold:
            return (
                f"the weights are too uneven: k̂ = {khat:.2f}, above {threshold:.2f} for "
                f"{len(points)} weighted draws"
            )
        if self.failed > LARGEST_SHARE_LOST * self.evaluated:
            return f"the integral failed at {self.failed} of {self.evaluated} draws"
        beyond = np.exp(weights)[self.target.near_limit(points)].sum()
        if beyond > LARGEST_SHARE_LOST:
            return (
                "the posterior of the standard deviations reaches values that can't be integrated "
                f"({beyond:.1%} of it): a tighter prior is needed"
            )
        return ""

    def _draw(self, proposal: StudentMixture, count: int) -> tuple[Floats, Floats]:
        points = proposal.draw(count, self.rng)
        at_once = max(_CELLS // self.target.integrated.outcomes.n_rows, 250)
        parts = np.array_split(points, -(-count // at_once))
        bar = track(parts, len(parts), "Weighing draws", progress=self.progress)
        floor = self.top - NEGLIGIBLE
        density = np.concatenate([self.target.log_density(part, floor=floor) for part in bar])
        lost = np.isnan(density)
        self.evaluated += count
        self.failed += int(lost.sum())
        return points, np.where(lost, -np.inf, density)


def _pooled(
    rounds: list[tuple[StudentMixture, Floats, Floats]],
) -> tuple[Floats, Floats] | None:
    """Draws of all proposals, weighted against the proposals' mixture (Cornuet et al. 2012)."""
    points, density = (np.concatenate([r[k] for r in rounds]) for k in (1, 2))
    shares = np.array([len(r[1]) for r in rounds]) / len(points)
    parts = [np.log(s) + r[0].log_density(points) for s, r in zip(shares, rounds, strict=True)]
    ratios = density - np.logaddexp.reduce(parts, axis=0)
    if np.isfinite(ratios).sum() <= 2 * points.shape[1]:
        return None
    return points, pareto_smoothed(ratios)[0]


def _quadrature_error(target: IntegratedPosterior, mode: Mode) -> float:
    eta, root, sigma = target.arguments(mode.point[None])
    given = sigma[0] if target.family.has_scale else None
    return quadrature_error(target.integrated.outcomes, eta[0], root[0], sigma=given).total


def resample(log_weights: Floats, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Positions of equally weighted draws, in random order.

    Systematic resampling: draw i comes ⌊count wᵢ⌋ or ⌈count wᵢ⌉ times, count wᵢ on average.
    """
    order = rng.permutation(len(log_weights))
    ends = np.cumsum(np.exp(log_weights[order]))
    at = (np.arange(count) + rng.random()) / count * ends[-1]
    return rng.permutation(order[np.searchsorted(ends, at, side="right").clip(max=len(order) - 1)])


def _finish(
    found: WeightedDraws, shape: tuple[int, int], seconds: float, rng: np.random.Generator
) -> ImportanceResult:
    if found.why:
        empty = xr.Dataset()
        return ImportanceResult(
            empty, empty, found.khat, found.ess, False, found.why, seconds, found.facts
        )
    count = shape[0] * shape[1]
    rows = resample(found.log_weights, count, rng)
    facts = found.facts | {"distinct": len(np.unique(rows)) / count}
    stats = {
        "lp": found.log_density[rows],
        "log_weight": found.log_weights[rows] + np.log(len(found.points)),
        "khat": np.full(count, found.khat),
    }
    coords = {"chain": np.arange(shape[0]), "draw": np.arange(shape[1])}
    sample_stats = xr.Dataset(
        {name: (("chain", "draw"), values.reshape(shape)) for name, values in stats.items()},
        coords=coords,
        attrs=facts,
    )
    posterior = found.target.dataset(found.points[rows], shape).assign_coords(coords)
    why = (
        f"k̂ = {found.khat:.2f} (up to {khat_threshold(len(found.points)):.2f}), "
        f"{found.ess:.0f} effective of {len(found.points)} weighted draws"
    )
    return ImportanceResult(
        posterior, sample_stats, found.khat, found.ess, True, why, seconds, facts
    )
