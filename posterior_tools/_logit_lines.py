r"""The logit's integrals along one line, without a logarithm at the nodes.

Where all rows have the same effect u, the integrand is exp(s u) / ∏ (1 + exp(v_j + u)) times a
constant and the density of u, s being the sum of y. Clusters share nodes, with tables of exp(u)
and of the numerators (:mod:`popavg.posterior_tools._logit_tables`): a trial costs a
multiplication, an addition and a multiplication at each node, a cluster a division.
"""

# ruff: noqa: C901, PLR0915, PLR0917  (numba: no keyword-only arguments, calls cost in its loops)

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from popavg.posterior_tools._bridge_nodes import alias
from popavg.posterior_tools._integrated_kernels import LOG_ROOT_2PI, Data, Result, Setting
from popavg.posterior_tools._integrated_math import exp, log
from popavg.posterior_tools._logit_tables import (
    BOUND,
    LADDER,
    TOGETHER,
    make_tables,
    numerator,
    rung,
)

__all__ = ["BOUND", "CUT", "integrate_logit_lines"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

CUT = 24.0
"""Terms below exp(-24) of the sum don't count."""

_LARGEST = 690.0  # |v + u|
_LARGEST_ALIAS = 1e-9  # error of a rule for bridge-distributed effects, as a harmonic tells it
_ROOM = 680.0  # logarithm of a product
_FEW = 8.0  # trials of an entry up to which a factor is repeated
_compiled = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
# Inlined, because a kernel from the cache may have other copies of its parts than one compiled
# here: these then sum in another order.
_summing = njit(
    nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True,
    fastmath={"reassoc", "contract", "nsz"}, forceinline=True,
)  # fmt: skip


@_summing
def _multiply(e: Floats, p: int, up: Floats, at: tuple[int, int], product: Floats) -> None:
    """Multiply by the factors of eight trials: of two polynomials in the table, none negative."""
    a0, a1, a2, a3 = e[p], e[p + 1], e[p + 2], e[p + 3]
    a4, a5, a6, a7 = e[p + 4], e[p + 5], e[p + 6], e[p + 7]
    s0, p0, s1, p1 = a0 + a1, a0 * a1, a2 + a3, a2 * a3
    s2, p2, s3, p3 = a4 + a5, a4 * a5, a6 + a7, a6 * a7
    b1, b2, b3, b4 = s0 + s1, p0 + p1 + s0 * s1, p0 * s1 + p1 * s0, p0 * p1
    c1, c2, c3, c4 = s2 + s3, p2 + p3 + s2 * s3, p2 * s3 + p3 * s2, p2 * p3
    for k in range(at[1]):
        t = up[at[0], k]
        low = ((b4 * t + b3) * t + b2) * t + b1
        high = ((c4 * t + c3) * t + c2) * t + c1
        product[k] *= (1.0 + low * t) * (1.0 + high * t)


@_summing
def _divide(power: Floats, row: int, nodes: int, product: Floats) -> float:
    """The integrand in place of the product; its sum."""
    total = 0.0
    for k in range(nodes):
        weight = power[row, k] / product[k]
        product[k] = weight
        total += weight
    return total


@_summing
def _exponentials(
    product: Floats, logs: Floats, successes: float, line: tuple[Floats, Floats]
) -> tuple[float, float]:
    """The integrand where the product had to be logged, its sum, and the logarithm taken out."""
    effect, log_weight = line
    largest, nodes = -math.inf, effect.size
    for k in range(nodes):
        logs[k] = successes * effect[k] + log_weight[k] - (logs[k] + log(product[k]))
    for k in range(nodes):
        largest = max(largest, logs[k])
    total = 0.0
    for k in range(nodes):
        product[k] = exp(logs[k] - largest)
        total += product[k]
    return total, largest


@_summing
def _gather(
    e: Floats,
    p: int,
    up: Floats,
    weight: Floats,
    column: Floats,
    out: Floats,
) -> None:
    """Eight trials' failures: over the nodes in ``out``, over the trials in ``column``."""
    a0, a1, a2, a3 = e[p], e[p + 1], e[p + 2], e[p + 3]
    a4, a5, a6, a7 = e[p + 4], e[p + 5], e[p + 6], e[p + 7]
    s0, s1, s2, s3, s4, s5, s6, s7 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(weight.size):
        t, w = up[k], weight[k]
        b0, b1, b2, b3 = 1.0 + a0 * t, 1.0 + a1 * t, 1.0 + a2 * t, 1.0 + a3 * t
        b4, b5, b6, b7 = 1.0 + a4 * t, 1.0 + a5 * t, 1.0 + a6 * t, 1.0 + a7 * t
        c01, c23, c45, c67 = b0 * b1, b2 * b3, b4 * b5, b6 * b7
        low, high = w / (c01 * c23), w / (c45 * c67)
        d01, d23, d45, d67 = c23 * low, c01 * low, c67 * high, c45 * high
        q0, q1, q2, q3 = b1 * d01, b0 * d01, b3 * d23, b2 * d23
        q4, q5, q6, q7 = b5 * d45, b4 * d45, b7 * d67, b6 * d67
        s0 += q0
        s1 += q1
        s2 += q2
        s3 += q3
        s4 += q4
        s5 += q5
        s6 += q6
        s7 += q7
        column[k] += ((q0 + q1) + (q2 + q3)) + ((q4 + q5) + (q6 + q7))
    out[0], out[1], out[2], out[3] = s0, s1, s2, s3
    out[4], out[5], out[6], out[7] = s4, s5, s6, s7


@_summing
def _gather_alone(e: float, up: Floats, weight: Floats, column: Floats) -> float:
    """One trial's failures over the nodes, which are added to ``column``."""
    total = 0.0
    for k in range(weight.size):
        q = weight[k] / (1.0 + e * up[k])
        total += q
        column[k] += q
    return total


@_summing
def _moment(weight: Floats, at: Floats) -> float:
    total = 0.0
    for k in range(weight.size):
        total += weight[k] * at[k]
    return total


@_compiled
def _window(weight: Floats, nodes: int, least: float) -> tuple[int, int]:
    """Nodes that count, rounded outward; none where those at an end do."""
    if not (weight[0] <= least and weight[nodes - 1] <= least):
        return 0, 0
    low, high = 0, nodes
    while weight[low + 7] <= least:
        low += 8
    while weight[high - 8] <= least:
        high -= 8
    return low, high


@_compiled
def _expand(n: Floats, odds: Floats, range_: tuple[int, int], e: Floats, place: Ints) -> int:
    """The trials' odds, padded with 0; how many trials there are."""
    count = 0
    for j in range(range_[0], range_[1]):
        for _ in range(int(n[j])):
            e[count], place[count] = odds[j], j
            count += 1
    for k in range(count, (count + 7) // 8 * 8):
        e[k] = 0.0
    return count


@_compiled
def _product(
    e: Floats, count: int, most: float, up: Floats, at: tuple[int, int], product: Floats,
    logs: Floats,
) -> bool:  # fmt: skip
    """The product over trials, and the logarithm of what didn't fit; whether anything didn't.

    No factor is larger than ``most``, logged.
    """
    nodes = at[1]
    for k in range(nodes):
        product[k] = 1.0
    if most > TOGETHER:
        for k in range(nodes):
            logs[k] = 0.0
        for p in range(count):
            for k in range(nodes):
                logs[k] += log(1.0 + e[p] * up[at[0], k])
        return True
    room, logged = _ROOM, False
    for p in range(0, count, 8):
        if 8.0 * most > room:
            for k in range(nodes):
                logs[k] = log(product[k]) + (logs[k] if logged else 0.0)
                product[k] = 1.0
            room, logged = _ROOM, True
        room -= most * min(count - p, 8)
        _multiply(e, p, up, at, product)
    return logged


@njit(cache=True, nogil=True, error_model="numpy")
def integrate_logit_lines(
    data: Data, parameters: tuple[Floats, Floats], setting: Setting, result: Result
) -> None:
    """The clusters that allow it; the others' errors become NaN.

    ``parameters`` are eta of the distinct rows and the root. Z is the same in all rows.
    """
    (starts, row, y, n, Z), (eta, root) = data, parameters
    first, last, want, finer, wider, bridge = setting
    value, error, by_root, by_eta = result
    if starts[last] == starts[first]:
        error[first:last] = math.nan
        return
    factor = Z[0, 0]
    slope, v = factor * root[0, 0], np.empty(row.size)
    for j in range(starts[first], starts[last]):
        v[j] = eta[row[j]]
    trials, largest = np.zeros(last - first), np.zeros(last - first)
    constant, successes = np.zeros(last - first), np.zeros(last - first)
    odds, most = np.empty(v.size), 8
    for j in range(starts[first], starts[last]):
        odds[j] = exp(min(v[j], _LARGEST))
        if want:
            by_eta[j] = y[j] - n[j]
    for i in range(last - first):
        for j in range(starts[first + i], starts[first + i + 1]):
            trials[i] += n[j]
            constant[i] += y[j] * v[j]
            successes[i] += y[j]
            largest[i] = max(largest[i], abs(v[j]) if n[j] <= _FEW else math.inf)
        if trials[i] <= LADDER[-1]:
            most = max(most, int(trials[i]) + 8)
    tables = make_tables(trials, slope, finer, bridge)
    slot, nodes_of, h_of, reach_of, effect, by_effect, log_weight, up, power, built = tables
    powers, widest = built.shape[1], up.shape[1]  # of the wide ones
    product, logs, column = np.empty(widest), np.empty(widest), np.empty(widest)
    e, place, sums = np.empty(most), np.empty(most, np.int64), np.empty(8)
    bound, cut = 2.0 * math.exp(-BOUND) + 2.0 * math.exp(-CUT - wider), math.exp(-CUT - wider)
    limit = TOGETHER - 0.7 if bridge else _LARGEST
    for i in range(last - first):
        error[first + i] = math.nan
        narrow = slot[rung(trials[i])]
        if narrow < 0:
            continue
        few, h, s, count = nodes_of[narrow], h_of[narrow], successes[i], 0
        count = _expand(n, odds, (starts[first + i], starts[first + i + 1]), e, place)
        total, reference, low, high, nodes, level, most_each = 0.0, 0.0, 0, 0, 0, 0, 0.0
        for wide in range(1 if bridge else 2):
            nodes, level = few * (1 + wide), narrow + wide * nodes_of.size
            reach = reach_of[level]
            if not largest[i] + reach < limit:
                break
            most_each = largest[i] + reach + 0.7
            logged = _product(e, count, most_each, up, (level, nodes), product, logs)
            reference = 0.0
            if logged or wide == 1 or s >= powers or s * reach > _ROOM:
                if not logged:
                    logs[:nodes] = 0.0
                line = effect[level, :nodes], log_weight[level, :nodes]
                total, reference = _exponentials(product, logs, s, line)
            else:
                kept = numerator(power, built, up, log_weight, (level, int(s), nodes))
                total = _divide(power, kept, nodes, product)
            low, high = _window(product, nodes, total * cut)
            if high > 0:
                break
        if high == 0 or not total > 1e-280:
            continue
        aliased = alias(product[low:high]) if bridge else 0.0
        if aliased > _LARGEST_ALIAS:
            continue
        error[first + i] = bound + aliased
        value[first + i] = constant[i] + reference + math.log(total * h)
        value[first + i] -= 0.0 if bridge else LOG_ROOT_2PI
        if not want:
            continue
        column[: high - low] = 0.0
        table, weight, failing = up[level, low:high], product[low:high], column[: high - low]
        together = most_each <= TOGETHER
        for p in range(0 if together else count):
            by_eta[place[p]] += _gather_alone(e[p], table, weight, failing) / total
        for p in range(0, count if together else 0, 8):
            _gather(e, p, table, weight, failing, sums)
            for q in range(p, min(p + 8, count)):
                by_eta[place[q]] += sums[q - p] / total
        padding = (count + 7) // 8 * 8 - count if together else 0
        move = by_effect[level, low:high]
        of_trials, centre = _moment(failing, move), _moment(weight, move)
        by_slope = (of_trials - (count - s + padding) * centre) / total
        by_root[first + i, 0, 0] = factor * by_slope
