"""Numba kernels of a GEE's estimating equation: Fisher scoring, one draw after the other.

Every draw is computed on its own and in one order of summation: results don't depend on how draws
are split over threads.

Notes
-----
With a_j = (d_j x_j, e_j), d and e the derivative and the residual over the standard deviation, all
moments are those of sum_i A_i' R_i^{-1} A_i over clusters. Both working correlations are a diagonal
over the distinct rows and a rank-one term a group of rows, S = sum_j w_j^{1/2} a_j:

- exchangeable, groups are clusters of n: [sum w aa' - alpha/(1 + (n - 1) alpha) SS']/(1 - alpha);
- AR(1), groups are neighbours in time, rho = alpha ** gap:
  sum w aa' + sum_groups [rho/(1 - rho) sum_j w_j a_j a_j' - rho/(1 - rho^2) SS'].
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from popavg.posterior_tools._row_kernels import means, standardise

__all__ = ["AR1", "EXCHANGEABLE", "INDEPENDENCE", "Groups", "Rows", "compare", "score_draws"]

type Floats = NDArray[np.float64]

INDEPENDENCE, EXCHANGEABLE, AR1 = 0, 1, 2

_MAX_HALVINGS = 40
_STEP_TOLERANCE = 1e-12
_STALLED_TOLERANCE = 1e-9
_LONGEST_STEP = 4.0
_SINGULAR = 4.0 * 2.0**-52
_entry = njit(cache=True, nogil=True, error_model="numpy")
#: Called by other kernels only: no wrappers to compile, nothing of its own to keep on disk.
_compiled = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
#: Used once: written out where they are called they take a second less to compile.
_inlined = njit(inline="always")


class Rows(NamedTuple):
    """Distinct rows and the marginal model's predictor."""

    kind: int  # of `_row_kernels.KINDS`
    linear: bool  # whether the mean is the predictor
    columns: Floats  # (terms, rows)
    fixed: Floats  # (rows,), the offset
    weight: Floats
    longest: float  # length of the longest row


class Groups(NamedTuple):
    """Groups of rows with a rank-one term; see the module's notes."""

    code: int
    starts: NDArray[np.intp]  # (groups + 1,)
    members: NDArray[np.intp]  # rows
    roots: Floats  # square roots of the members' weights
    counts: Floats  # how many equal groups there are
    keys: Floats  # rows of the cluster, or gap in time


class _Work(NamedTuple):
    """Temporaries of one thread."""

    mean: Floats  # (rows,)
    complement: Floats
    eta: Floats
    d: Floats
    e: Floats
    stacked: Floats  # (terms + 1, rows)
    gathered: Floats  # (rows, width), the same row by row
    sums: Floats  # (width, groups)
    diagonal: Floats  # (rows,)
    share: Floats  # (groups,)
    scratch: Floats  # (rows or groups,)


class _State(NamedTuple):
    """Where a draw stands."""

    gamma: Floats  # (terms,)
    information: Floats  # (terms, terms), the upper triangle
    score: Floats
    factor: Floats  # Cholesky factor of the information, scaled to a diagonal of ones
    scale: Floats
    step: Floats


@_compiled
def _work(rows: Rows, groups: Groups) -> _Work:
    p, n = rows.columns.shape
    m = groups.counts.size
    width = (p + 4) // 4 * 4
    gathered = np.empty((n if m else 0, width))
    for r in range(len(gathered)):
        for k in range(p + 1, width):
            gathered[r, k] = 0.0
    return _Work(
        np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n),
        np.empty((p + 1, n)), gathered, np.empty((width, m)),
        np.empty(n), np.empty(m), np.empty(max(n, m)),
    )  # fmt: skip


@_compiled
def _state(p: int) -> _State:
    gamma, score, scale, step = np.empty(p), np.empty(p), np.empty(p), np.empty(p)
    return _State(gamma, np.empty((p, p)), score, np.empty((p, p)), scale, step)


@_compiled
def _dot(a: Floats, b: Floats) -> float:
    """Sum of products in eight interleaved sums, which the compiler makes one vector of."""
    whole = a.size - a.size % 8
    s0, s1, s2, s3, s4, s5, s6, s7 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for r in range(0, whole, 8):
        s0 += a[r] * b[r]
        s1 += a[r + 1] * b[r + 1]
        s2 += a[r + 2] * b[r + 2]
        s3 += a[r + 3] * b[r + 3]
        s4 += a[r + 4] * b[r + 4]
        s5 += a[r + 5] * b[r + 5]
        s6 += a[r + 6] * b[r + 6]
        s7 += a[r + 7] * b[r + 7]
    for r in range(whole, a.size):
        s0 += a[r] * b[r]
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@_compiled
def _copy(source: Floats, out: Floats) -> None:
    """Element by element: an assignment to a slice takes seconds to compile."""
    for r in range(out.size):
        out[r] = source[r]


@_compiled
def _predict(rows: Rows, coefficients: Floats, eta: Floats) -> None:
    _copy(rows.fixed, eta)
    for k in range(len(coefficients)):
        column, value = rows.columns[k], coefficients[k]
        for r in range(eta.size):
            eta[r] += value * column[r]


@_inlined
def _correlate(alpha: float, rows: Rows, groups: Groups, work: _Work) -> None:
    """The diagonal over rows and each group's factor, under this alpha."""
    scale = 1.0 / (1.0 - alpha) if groups.code == EXCHANGEABLE else 1.0
    for r in range(work.diagonal.size):
        work.diagonal[r] = scale * rows.weight[r]
    for i in range(groups.counts.size):
        if groups.code == EXCHANGEABLE:
            shrunk = alpha / (1.0 + (groups.keys[i] - 1.0) * alpha)
            work.share[i] = -groups.counts[i] * shrunk * scale
            continue
        rho = math.pow(alpha, groups.keys[i])
        work.share[i] = -groups.counts[i] * rho / ((1.0 - rho) * (1.0 + rho))
        for j in range(groups.starts[i], groups.starts[i + 1]):
            added = groups.counts[i] * rho / (1.0 - rho) * groups.roots[j] * groups.roots[j]
            work.diagonal[groups.members[j]] += added


@_compiled
def _add_up(groups: Groups, work: _Work) -> None:
    """S of every group; rows are gathered whole, four numbers at a time."""
    n, width = work.stacked.shape[0], work.gathered.shape[1]
    for k in range(n):
        for r in range(work.stacked.shape[1]):
            work.gathered[r, k] = work.stacked[k, r]
    for i in range(groups.counts.size):
        for c in range(0, width, 4):
            s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
            for j in range(groups.starts[i], groups.starts[i + 1]):
                row, root = work.gathered[groups.members[j]], groups.roots[j]
                s0 += root * row[c]
                s1 += root * row[c + 1]
                s2 += root * row[c + 2]
                s3 += root * row[c + 3]
            work.sums[c, i], work.sums[c + 1, i] = s0, s1
            work.sums[c + 2, i], work.sums[c + 3, i] = s2, s3


@_inlined
def _evaluate(rows: Rows, groups: Groups, work: _Work, state: _State) -> bool:
    """Moments and Fisher step at ``state.gamma``; whether there is a step."""
    p, n, m = state.gamma.size, work.d.size, work.share.size
    _predict(rows, state.gamma, work.eta)
    standardise(rows.kind, work.eta, (work.mean, work.complement), (work.d, work.e))
    for k in range(p):
        for r in range(n):
            work.stacked[k, r] = work.d[r] * rows.columns[k, r]
    _copy(work.e, work.stacked[p])
    if m:
        _add_up(groups, work)
    for k in range(p):
        _times(work.diagonal, work.stacked[k], work.scratch)
        for c in range(k, p):
            state.information[k, c] = _dot(work.scratch[:n], work.stacked[c])
        state.score[k] = _dot(work.scratch[:n], work.stacked[p])
        if m:
            _times(work.share, work.sums[k], work.scratch)
            for c in range(k, p):
                state.information[k, c] += _dot(work.scratch[:m], work.sums[c])
            state.score[k] += _dot(work.scratch[:m], work.sums[p])
    return _factorise(state) and _solve(state, state.score, state.step)


@_compiled
def _times(a: Floats, b: Floats, out: Floats) -> None:
    for r in range(a.size):
        out[r] = a[r] * b[r]


@_compiled
def _factorise(state: _State) -> bool:
    """Cholesky factor of the scaled information; False where it is singular or not finite."""
    information, factor, scale = state.information, state.factor, state.scale
    for k in range(scale.size):
        if not 0.0 < information[k, k] < math.inf:
            return False
        scale[k] = 1.0 / math.sqrt(information[k, k])
        for c in range(k + 1):
            left = information[c, k] * scale[c] * scale[k]
            for i in range(c):
                left -= factor[k, i] * factor[c, i]
            if c < k:
                factor[k, c] = left / factor[c, c]
            elif left > _SINGULAR:
                factor[k, k] = math.sqrt(left)
            else:  # also not a number
                return False
    return True


@_compiled
def _solve(state: _State, score: Floats, out: Floats) -> bool:
    """Information^{-1} score; whether it is finite."""
    factor, scale, p = state.factor, state.scale, state.scale.size
    for k in range(p):
        left = scale[k] * score[k]
        for c in range(k):
            left -= factor[k, c] * out[c]
        out[k] = left / factor[k, k]
    for k in range(p - 1, -1, -1):
        left = out[k]
        for c in range(k + 1, p):
            left -= factor[c, k] * out[c]
        out[k] = left / factor[k, k]
    finite = True
    for k in range(p):
        out[k] *= scale[k]
        finite = finite and math.isfinite(out[k])
    return finite


@_inlined
def _longest_fraction(rows: Rows, work: _Work, step: Floats) -> float:
    """How much of a step keeps every row's predictor in reach; all of it where mu is linear."""
    if rows.linear or math.sqrt(_dot(step, step)) * rows.longest <= _LONGEST_STEP:
        return 1.0
    _predict(rows, step, work.eta)
    reach = 0.0
    for r in range(work.eta.size):
        reach = max(reach, abs(work.eta[r] - rows.fixed[r]))
    return _LONGEST_STEP / max(reach, _LONGEST_STEP)


@_compiled
def _largest(values: Floats) -> float:
    largest = 0.0
    for value in values:
        largest = max(largest, abs(value))
    return largest


@_inlined
def _lower(old: _State, new: _State, fraction: float, other: Floats) -> bool:
    """Whether the score came down in the old metric.

    By a tenth of what a Newton step of this length would bring it down at least.
    """
    if not _solve(old, new.score, other):
        return False
    before = _dot(old.score, old.step)
    return _dot(new.score, other) < (1.0 - 0.2 * fraction) * before


@_inlined
def _arrive(
    problem: tuple[Rows, Groups], work: _Work, states: tuple[_State, _State], limit: int
) -> tuple[bool, Floats]:
    """Fisher scoring from the first state's gamma; whether it arrived, and where.

    A step is halved until the score comes down and there is a next step. One loop, so that the
    moments are compiled at one place: a turn is a step tried, taken where it is good.
    """
    (rows, groups), (new, old) = problem, states
    p, steps, halvings, first, size = new.gamma.size, 0, 0, 1.0, 0.0
    while True:
        fraction = math.ldexp(first, -halvings)
        onward = _evaluate(rows, groups, work, new)
        if steps == 0 and not onward:
            return False, new.gamma
        if steps == 0 or (onward and _lower(old, new, fraction, work.scratch[:p])):
            old, new = new, old
            size = _largest(old.step) / max(1.0, _largest(old.gamma))
            if size <= _STEP_TOLERANCE:
                for k in range(p):
                    old.gamma[k] += old.step[k]
                return steps < limit, old.gamma
            first, halvings, steps = _longest_fraction(rows, work, old.step), 0, steps + 1
        else:
            halvings += 1
        if steps > limit or halvings == _MAX_HALVINGS:
            return steps <= limit and size <= _STALLED_TOLERANCE, old.gamma
        fraction = math.ldexp(first, -halvings)
        for k in range(p):
            new.gamma[k] = old.gamma[k] + fraction * old.step[k]


@_entry
def score_draws(
    problem: tuple[Rows, Groups], draws: tuple[Floats, Floats, Floats], limit: int
) -> int:
    """Solve every draw's equation in at most ``limit`` steps; how many didn't arrive.

    ``draws`` are the population means on the link's scale (draws, rows), the working correlations
    (draws,), and gamma (draws, terms): where to start, and in the end the solution.
    """
    (rows, groups), (target, alpha, gamma) = problem, draws
    p, failed, known = gamma.shape[1], 0, math.nan
    work, states = _work(rows, groups), (_state(p), _state(p))
    for s in range(len(gamma)):
        means(rows.kind, target[s], work.mean, work.complement)
        if s == 0 or alpha[s] != known:
            known = alpha[s]
            _correlate(known, rows, groups, work)
        _copy(gamma[s], states[0].gamma)
        arrived, found = _arrive(problem, work, states, limit)
        _copy(found, gamma[s])
        failed += not arrived
    return failed


@_entry
def compare(rows: Rows, target: Floats, coefficients: Floats, out: Floats) -> None:
    """Largest difference of the means, root mean square, row of the largest, its known mean."""
    n, total = rows.fixed.size, 0.0
    eta, other, gap = np.empty(n), np.empty(n), np.empty(n)
    mean, complement = np.empty(n), np.empty(n)
    for r in range(n):
        total += rows.weight[r]
    for s in range(len(target)):
        _predict(rows, coefficients[s], eta)
        means(rows.kind, target[s], mean, complement)
        means(rows.kind, eta, other, complement)
        for r in range(n):
            gap[r] = abs(mean[r] - other[r])
        largest, where = -1.0, 0
        for r in range(n):
            if not gap[r] <= largest and rows.weight[r] > 0.0:
                largest, where = gap[r], r
        _times(rows.weight, gap, other)
        out[s, 0], out[s, 1] = largest, math.sqrt(_dot(other, gap) / total)
        out[s, 2], out[s, 3] = where, mean[where]
