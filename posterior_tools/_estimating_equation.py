"""A GEE's estimating equation for many draws at once, solved by Fisher scoring in NumPy.

For any link, variance function and working correlation; what popavg itself offers is solved by the
compiled twin, `_solver_kernels`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popavg.errors import DataError, SpecificationError
from popavg.families import Family
from popavg.links import Link
from popavg.posterior_tools.working_correlation import ClusterLayout, WorkingCorrelation

__all__ = [
    "MAX_ITERATIONS",
    "CorrelatedProblem",
    "PairedProblem",
    "Problem",
    "check_clusters",
    "correlated",
    "solve",
]

Floats = NDArray[np.float64]

MAX_ITERATIONS = 100
MAX_HALVINGS = 40
STEP_TOLERANCE = 1e-12
STALLED_TOLERANCE = 1e-9
LONGEST_STEP = 4.0
PAIRED_RATIO = 200
PAIRED_CELLS = 2**23


@dataclass(frozen=True)
class Problem:
    """The estimating equation in the basis' coordinates, rows uncorrelated."""

    link: Link
    family: Family
    columns: Floats
    fixed: Floats
    weight: Floats

    @property
    def cells(self) -> int:
        return len(self.fixed)

    def evaluate(self, gamma: Floats, known: _Target) -> tuple[Floats, Floats]:
        """Score (draws, terms) and Fisher information (draws, terms, terms)."""
        d, e = _standardised(self.link, self.family, gamma @ self.columns.T + self.fixed, known)
        return self.moments(d, e)

    def longest_fraction(self, step: Floats) -> Floats:
        """How much of a step keeps every row's predictor in reach; all of it where mu is linear."""
        if self.link.name == "identity":
            return np.ones(len(step))
        reach = np.abs(step @ self.columns.T).max(axis=1)
        return LONGEST_STEP / np.maximum(reach, LONGEST_STEP)

    def moments(self, d: Floats, e: Floats) -> tuple[Floats, Floats]:
        """Sums over rows; d and e as `_standardised` gives them, shape (draws, rows)."""
        p = self.columns.shape[1]
        squares = (self.columns[:, :, None] * self.columns[:, None, :]).reshape(-1, p * p)
        score = (self.weight * d * e) @ self.columns
        return score, ((self.weight * d**2) @ squares).reshape(-1, p, p)


@dataclass(frozen=True)
class CorrelatedProblem(Problem):
    """The same with a working correlation; ``weight`` and ``index`` in the layout's order."""

    index: NDArray[np.intp]
    correlation: WorkingCorrelation
    layout: ClusterLayout

    @property
    def cells(self) -> int:
        return len(self.index) * (self.columns.shape[1] + 1)

    def moments(self, d: Floats, e: Floats) -> tuple[Floats, Floats]:
        stacked = np.concatenate([d[..., None] * self.columns, e[..., None]], axis=-1)
        observed = stacked[:, self.index] * np.sqrt(self.weight)[:, None]
        white = self.correlation.whiten(observed, self.layout)
        products = white.mT @ white
        return products[:, :-1, -1], products[:, :-1, :-1]


@dataclass(frozen=True)
class PairedProblem(Problem):
    """The same as `CorrelatedProblem` through one matrix over the distinct rows.

    With few distinct rows the observations' R^{-1}, summed over the pairs of distinct rows they
    stand for, is small, and the moments are matrix products over all draws at once.
    """

    precision: Floats  # (rows, rows)

    @property
    def cells(self) -> int:
        return 4 * len(self.fixed)

    def moments(self, d: Floats, e: Floats) -> tuple[Floats, Floats]:
        score = (d * (e @ self.precision)) @ self.columns
        halves = [(d * column) @ self.precision for column in self.columns.T]
        return score, np.stack([(d * half) @ self.columns for half in halves], axis=-1)


def check_clusters(
    correlation: WorkingCorrelation, layout: ClusterLayout | None, n_observations: int
) -> None:
    """The clusters are known, and R is positive definite for each of them."""
    if layout is None:
        raise SpecificationError(
            f"working correlation {correlation!r} without the clusters", remedy="give a layout"
        )
    if len(layout.order) != n_observations:
        raise DataError(f"a layout of {len(layout.order)} rows", f"{n_observations} observations")
    correlation.check(layout)


def correlated(
    problem: Problem,
    weight: Floats,
    index: NDArray[np.intp],
    *,
    correlation: WorkingCorrelation,
    layout: ClusterLayout,
) -> CorrelatedProblem | PairedProblem:
    """The problem with a working correlation; ``weight`` and ``index`` of the observations."""
    place, sorted_weight = index[layout.order], weight[layout.order]
    base = (problem.link, problem.family, problem.columns, problem.fixed)
    n_rows, n_observations = len(problem.fixed), len(weight)
    if n_rows**2 > PAIRED_RATIO * n_observations or n_rows * n_observations > PAIRED_CELLS:
        return CorrelatedProblem(*base, sorted_weight, place, correlation, layout)
    stands_for = np.zeros((n_observations, n_rows))
    stands_for[np.arange(n_observations), place] = np.sqrt(sorted_weight)
    white = correlation.whiten(stands_for, layout)
    return PairedProblem(*base, problem.weight, white.T @ white)


@dataclass(frozen=True)
class _Target:
    """The population means of a block of draws: of probabilities the logs, else themselves."""

    log_mean: Floats
    log_complement: Floats
    mean: Floats

    @classmethod
    def build(cls, link: Link, predictor: Floats) -> _Target:
        nothing = np.empty((len(predictor), 0))
        if link.is_probability:
            return cls(link.log_inverse(predictor), link.log_complement(predictor), nothing)
        return cls(nothing, nothing, link.inverse(predictor))

    def take(self, draws: NDArray[np.intp]) -> _Target:
        return _Target(self.log_mean[draws], self.log_complement[draws], self.mean[draws])


def _standardised(
    link: Link, family: Family, predictor: Floats, known: _Target
) -> tuple[Floats, Floats]:
    """(d mu/d eta)/sqrt(V) and (pi - mu)/sqrt(V); of probabilities from logs, lesser tail."""
    if not link.is_probability:
        mean = link.inverse(predictor)
        sd = np.sqrt(family.variance(mean))
        return link.derivative(predictor) / sd, (known.mean - mean) / sd
    log_mean, log_complement = link.log_inverse(predictor), link.log_complement(predictor)
    half = 0.5 * (log_mean + log_complement)
    low = log_mean < log_complement
    lesser = np.where(low, log_mean, log_complement)
    change = np.where(low, known.log_mean, known.log_complement) - lesser
    e = np.where(low, 1.0, -1.0) * np.exp(lesser - half) * np.expm1(change)
    return np.exp(link.log_derivative(predictor) - half), e


def solve(problem: Problem, target: Floats, begin: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Fisher scoring for a block of draws; which of them arrived."""
    known = _Target.build(problem.link, target)
    gamma, arrived = begin.copy(), np.zeros(len(begin), dtype=bool)
    active = np.arange(len(begin))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        state = _State.at(problem, known, gamma)
        for _ in range(MAX_ITERATIONS):
            length = np.abs(state.step).max(axis=1)
            size = length / np.maximum(1.0, np.abs(gamma[active]).max(axis=1))
            done = size <= STEP_TOLERANCE
            gamma[active[done]] += state.step[done]
            arrived[active[done]] = True
            going = np.flatnonzero(~done & np.isfinite(size))
            active, known, state = active[going], known.take(going), state.take(going)
            if not active.size:
                break
            gamma[active], state, lower = _damped(problem, known, gamma[active], state)
            stalled = ~lower & (size[going] <= STALLED_TOLERANCE)
            arrived[active[stalled]] = True
            keep = np.flatnonzero(lower)
            active, known, state = active[keep], known.take(keep), state.take(keep)
    return gamma, arrived


@dataclass(frozen=True)
class _State:
    """Score, information and Fisher step of some draws where they stand."""

    score: Floats
    information: Floats
    step: Floats

    @classmethod
    def at(cls, problem: Problem, known: _Target, gamma: Floats) -> _State:
        score, information = problem.evaluate(gamma, known)
        return cls(score, information, _fisher_step(score, information))

    def take(self, draws: NDArray[np.intp]) -> _State:
        return _State(self.score[draws], self.information[draws], self.step[draws])

    def put(self, draws: NDArray[np.intp], other: _State) -> None:
        self.score[draws] = other.score
        self.information[draws] = other.information
        self.step[draws] = other.step

    def norm(self, score: Floats) -> Floats:
        """Squared length of ``score`` in this state's metric."""
        return np.einsum("sp,sp->s", score, _fisher_step(score, self.information))


def _damped(
    problem: Problem, known: _Target, gamma: Floats, old: _State
) -> tuple[Floats, _State, NDArray[np.bool_]]:
    """Take each draw's step, halved until the score comes down in the old metric.

    Down by a tenth of what a Newton step of that length would, to a point from which there is
    a next step; the last value says for which draws such a point was found.
    """
    before = np.einsum("sp,sp->s", old.score, old.step)
    first = problem.longest_fraction(old.step)
    high = np.arange(len(gamma))
    moved, lower = gamma.copy(), np.zeros(len(gamma), dtype=bool)
    new = old.take(high)
    for halving in range(MAX_HALVINGS):
        fraction = 0.5**halving * first[high]
        tried = gamma[high] + fraction[:, None] * old.step[high]
        state = _State.at(problem, known.take(high), tried)
        enough = old.take(high).norm(state.score) < (1.0 - 0.2 * fraction) * before[high]
        good = np.flatnonzero(enough & np.isfinite(state.step).all(axis=1))
        moved[high[good]] = tried[good]
        new.put(high[good], state.take(good))
        lower[high[good]] = True
        high = np.flatnonzero(~lower)
        if not high.size:
            break
    return moved, new, lower


def _fisher_step(score: Floats, information: Floats) -> Floats:
    """Information^{-1} score, symmetrically scaled; not a number where it is singular."""
    scale = 1.0 / np.sqrt(np.einsum("spp->sp", information))
    scaled = information * scale[:, :, None] * scale[:, None, :]
    usable = np.isfinite(scaled).all(axis=(1, 2)) & np.isfinite(score).all(axis=1)
    usable[usable] &= np.linalg.cond(scaled[usable]) < 1.0 / np.finfo(np.float64).eps
    step = np.full_like(score, np.nan)
    right = (scale * score)[usable, :, None]
    step[usable] = scale[usable] * np.linalg.solve(scaled[usable], right)[..., 0]
    return step
