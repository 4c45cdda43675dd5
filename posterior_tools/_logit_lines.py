r"""The logit's integrals along one line, without a logarithm at the nodes.

Where all rows have the same effect u, the integrand is exp(s u) / ∏ (1 + exp(v_j + u)) times a
constant and the density of u, s being the sum of y. Clusters share nodes, with tables of exp(u)
and of the numerators (:mod:`popavg.posterior_tools._logit_tables`): a trial costs a
multiplication, an addition and a multiplication at each node, a cluster a division.
"""

# ruff: noqa: C901, PLR0915, PLR0917  (numba: no keyword-only arguments, calls cost in its loops)

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from popavg.posterior_tools._bridge_nodes import alias
from popavg.posterior_tools._integrated_kernels import (
    LOG_ROOT_2PI,
    Data,
    Result,
    Setting,
)
from popavg.posterior_tools._integrated_math import log
from popavg.posterior_tools._logit_sums import (
    constant_of,
    divide,
    exponentials,
    gather,
    gather_alone,
    gather_four,
    moment,
    multiply,
    weigh_eight,
    weigh_four,
)
from popavg.posterior_tools._logit_tables import (
    BOUND,
    TOGETHER,
    make_bridge_tables,
    make_tables,
    numerator,
)
from popavg.posterior_tools._logit_trials import LARGEST, fill_odds

__all__ = ["BOUND", "CUT", "integrate_bridge_logit_lines", "integrate_logit_lines"]

type Floats = NDArray[np.float64]

CUT = 24.0
"""Terms below exp(-24) of the sum don't count."""

_LARGEST_ALIAS = 1e-9  # error of a rule for bridge-distributed effects, as a harmonic tells it
_ROOM = 680.0  # logarithm of a product
_compiled = njit(
    nogil=True,
    error_model="numpy",
    no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
    forceinline=True,
)


@_compiled
def _product(
    e: Floats, ends: tuple[int, int], most: float, up: Floats, at: tuple[int, int], product: Floats,
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
        for p in range(ends[0], ends[1]):
            for k in range(nodes):
                logs[k] += log(1.0 + e[p] * up[at[0], k])
        return True
    room, logged = _ROOM, False
    for p in range(ends[0], ends[1], 8):
        if 8.0 * most > room:
            for k in range(nodes):
                logs[k] = log(product[k]) + (logs[k] if logged else 0.0)
                product[k] = 1.0
            room, logged = _ROOM, True
        room -= 8.0 * most
        multiply(e, p, up, at, product)
    return logged


@_compiled
def _weigh(
    e: Floats, ends: tuple[int, int], at: tuple[int, int, int, int, float],
    line: tuple[Floats, Floats, Floats, Floats], product: Floats, logs: Floats,
) -> tuple[float, float]:  # fmt: skip
    """The integrand at the nodes in place of the product: its sum, and the logarithm taken out.

    ``at``: the tables' row, that of the numerators or -1, nodes, successes, largest factor, logged.
    """
    (level, row, nodes, successes, most), (up, power, effect, log_weight) = at, line
    logged = _product(e, ends, most, up, (level, nodes), product, logs)
    if row >= 0 and not logged:
        return divide(power, row, nodes, product), 0.0
    if not logged:
        logs[:nodes] = 0.0
    line_of = effect[level, :nodes], log_weight[level, :nodes]
    return exponentials(product, logs, float(successes), line_of)


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


@njit(inline="always")
def _integrate(
    make: Any, bridge: bool, data: Data, parameters: tuple[Floats, Floats], setting: Setting,
    result: Result,
) -> None:  # fmt: skip
    """As the entries: ``make`` makes the nodes, ``bridge`` says whether they are the bridge's."""
    (etas, roots), (first, last, want, finer, wider) = parameters, setting
    all_values, all_errors, all_by_root, all_by_eta = result
    all_errors[:, first:last] = math.nan
    if data.starts[last] == data.starts[first]:
        return
    starts, all_counts, of_entries, all_entries, all_rows, rungs, sizes, totals, used = data.trials
    base, end = starts[first], starts[last]
    counts, successes = all_counts[base:end], of_entries[base:end]
    entry, rows = all_entries[base:end], all_rows[base:end]
    factor = data.Z[data.starts[first], 0]
    v, e = np.empty(counts.size), np.empty(counts.size)
    sums, scaled = np.empty(8), np.empty(last - first)
    bound, cut = 2.0 * math.exp(-BOUND) + 2.0 * math.exp(-CUT - wider), math.exp(-CUT - wider)
    limit = TOGETHER - 0.7 if bridge else LARGEST
    for d in range(len(etas)):
        fill_odds(counts, rows, etas[d], v, e)
        error, value = all_errors[d, first:last], all_values[d, first:last]
        by_root, by_eta = all_by_root[d], all_by_eta[d]
        tables = make(used, factor * roots[d, 0, 0], finer)
        slot, nodes_of, h_of, reach_of, effect, by_effect, log_weight, up, power, built = tables
        powers, widest = built.shape[1], up.shape[1]  # of the wide ones
        product, logs, column = np.empty(widest), np.empty(widest), np.empty(widest)
        if want:
            for j in range(data.starts[first], data.starts[last]):
                by_eta[j] = data.y[j] - data.n[j]
        for i in range(last - first):
            c, scaled[i] = first + i, 1.0
            narrow, ends, s = slot[rungs[c]], (starts[c] - base, starts[c + 1] - base), totals[c]
            if narrow < 0:
                continue
            constant, largest = constant_of(successes, v, ends)
            total, reference, low, high, level, most = 0.0, 0.0, 0, 0, 0, 0.0
            for wide in range(1 if bridge else 2):
                nodes, level = nodes_of[narrow] * (1 + wide), narrow + wide * nodes_of.size
                reach = reach_of[level]
                if not largest + reach < limit:
                    break
                most = largest + reach + 0.7
                row = -1
                if wide == 0 and s < powers and s * reach <= _ROOM:
                    row = numerator(power, built, up, log_weight, (level, s, nodes))
                if row >= 0 and ends[1] - ends[0] == 8 and most <= TOGETHER:
                    at = (level, row, nodes)
                    if sizes[c] <= 4:
                        total = weigh_four(e, ends[0], up, power, at, product)
                    else:
                        total = weigh_eight(e, ends[0], up, power, at, product)
                    reference = 0.0
                else:
                    place, line = (level, row, nodes, s, most), (up, power, effect, log_weight)
                    total, reference = _weigh(e, ends, place, line, product, logs)
                low, high = _window(product, nodes, total * cut)
                if high > 0:
                    break
            if high == 0 or not total > 1e-280:
                continue
            aliased = alias(product[low:high]) if bridge else 0.0
            if aliased > _LARGEST_ALIAS:
                continue
            error[i] = bound + aliased
            value[i] = constant + reference - (0.0 if bridge else LOG_ROOT_2PI)
            scaled[i] = total * h_of[narrow]
            if not want:
                continue
            column[: high - low] = 0.0
            table, weight, failing = up[level, low:high], product[low:high], column[: high - low]
            padded = sizes[c]
            if most <= TOGETHER:
                padded = ends[1] - ends[0]
                if padded == 8 and sizes[c] <= 4:
                    padded = 4
                    gather_four(e, ends[0], table, weight, failing, sums)
                    for q in range(4):
                        by_eta[entry[ends[0] + q]] += counts[ends[0] + q] * sums[q] / total
                for p in range(ends[0], ends[0] if padded == 4 else ends[1], 8):
                    gather(e, p, table, weight, failing, sums)
                    for q in range(8):
                        by_eta[entry[p + q]] += counts[p + q] * sums[q] / total
            else:
                for p in range(ends[0], ends[0] + padded):
                    by_eta[entry[p]] += gather_alone(e[p], table, weight, failing) / total
            move = by_effect[level, low:high]
            centre = moment(weight, move)
            by_slope = (moment(failing, move) - (padded - s) * centre) / total
            by_root[c, 0, 0] = factor * by_slope
        for i in range(last - first):
            value[i] += log(scaled[i])


@njit(cache=True, nogil=True, error_model="numpy")
def integrate_logit_lines(
    data: Data, parameters: tuple[Floats, Floats], setting: Setting, result: Result
) -> None:
    """The clusters that allow it, of many draws; the others' errors become NaN.

    ``parameters`` are eta of the distinct rows and the root of each. Z is the same in all rows.
    """
    _integrate(make_tables, False, data, parameters, setting, result)


@njit(cache=True, nogil=True, error_model="numpy")
def integrate_bridge_logit_lines(
    data: Data, parameters: tuple[Floats, Floats], setting: Setting, result: Result
) -> None:
    """The same with bridge-distributed effects."""
    _integrate(make_bridge_tables, True, data, parameters, setting, result)
