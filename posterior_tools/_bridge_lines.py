r"""Bridge-distributed intercepts: integrals of clusters that shared nodes aren't for, and draws.

A cluster's log-likelihood S(u) is concave in its intercept u. It is computed at nodes that are
even in w (:mod:`popavg.posterior_tools._bridge_nodes`), first everywhere, then between those
beyond which the integrand is below exp(-`CUT`) of its largest value, until enough of them lie
between; where the integrand is narrow one of the two nodes beside its mode is always among those
kept. The trapezoid rule then has twice as many nodes until a harmonic of its terms says that its
error is below `LARGEST_ERROR`, and half as many agreed with them.
"""

# ruff: noqa: PLR0917  (numba has no keyword-only arguments, and calls cost in its loops)

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from popavg.posterior_tools._bridge_nodes import FARTHEST, Shape, alias, even_end, node, shape_of
from popavg.posterior_tools._integrated_kernels import (
    LARGEST_ERROR,
    Data,
    Result,
    Setting,
    of_draw,
)
from popavg.posterior_tools._integrated_math import exp, log

__all__ = [
    "CUT",
    "FIRST",
    "Grid",
    "fill_grid",
    "fill_heights",
    "find_grid",
    "first_grid",
    "integrate_bridge_lines",
    "log_likelihood_at",
    "make_grid",
]

type Floats = NDArray[np.float64]

CUT = 26.0
"""Terms below exp(-26) of the largest don't count."""

FIRST = 128
"""Nodes that are looked at first."""

_ENOUGH = 20  # of them that count
_MOST = 2**16
_AGREEMENT = 1e-8  # of a cluster's log-likelihood with that by half as many nodes
_REACH = 34.0  # of t, at first
_compiled = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


class Grid(NamedTuple):
    """At each node: u, the logarithm of its density in w, du/d sd, t, and S(u)."""

    effect: Floats
    log_weight: Floats
    by_sd: Floats
    t: Floats
    height: Floats


@_compiled
def make_grid(size: int) -> Grid:
    """An empty one."""
    return Grid(np.empty(size), np.empty(size), np.empty(size), np.empty(size), np.empty(size))


@_compiled
def fill_grid(grid: Grid, shape: Shape, ends: tuple[float, float]) -> float:
    """Nodes from one end to the other; their step."""
    h = (ends[1] - ends[0]) / (grid.t.size - 1)
    for k in range(grid.t.size):
        found = node(shape, ends[0] + h * k)
        grid.effect[k], grid.log_weight[k], grid.by_sd[k], grid.t[k] = found
    return h


@_compiled
def fill_heights(grid: Grid, data: Data, eta: Floats, cluster: int) -> None:
    """S at the nodes."""
    height, effect = grid.height, grid.effect
    for k in range(height.size):
        height[k] = 0.0
    for j in range(data.starts[cluster], data.starts[cluster + 1]):
        y, n, v = data.y[j], data.n[j], eta[data.row[j]]
        for k in range(height.size):
            x = v + effect[k]
            height[k] += y * x - n * (max(x, 0.0) + log(1.0 + exp(-abs(x))))


@_compiled
def log_likelihood_at(u: float, data: Data, eta: Floats, cluster: int) -> float:
    """S at one place."""
    total = 0.0
    for j in range(data.starts[cluster], data.starts[cluster + 1]):
        x = eta[data.row[j]] + u
        total += data.y[j] * x - data.n[j] * (max(x, 0.0) + math.log1p(math.exp(-abs(x))))
    return total


@_compiled
def _counting(grid: Grid, cut: float) -> tuple[int, int]:
    """First and last node whose term counts."""
    size, top = grid.t.size, -math.inf
    for k in range(size):
        top = max(top, grid.height[k] + grid.log_weight[k])
    if not math.isfinite(top):
        return 0, -1
    first, last = 0, size - 1
    while grid.height[first] + grid.log_weight[first] < top - cut:
        first += 1
    while grid.height[last] + grid.log_weight[last] < top - cut:
        last -= 1
    return first, last


@_compiled
def find_grid(
    grid: Grid, shape: Shape, place: tuple[Data, Floats, int], first: Grid, cut: float
) -> tuple[float, float, int, int]:
    """Where a cluster's integrand counts, from one w to another; NaN where there is no end.

    ``first`` holds nodes up to `_REACH`. Where enough of them count the first and the last of
    these come too, and S stands in it; otherwise 0 and -1, and ``grid`` serves as scratch.
    """
    data, eta, cluster = place
    fill_heights(first, data, eta, cluster)
    low, high = _counting(first, cut)
    if low > 0 and high < FIRST - 1 and high - low >= _ENOUGH:
        h = 2.0 * even_end(shape, _REACH) / (FIRST - 1)
        middle = 0.5 * (FIRST - 1)
        return h * (low - 1 - middle), h * (high + 1 - middle), low - 1, high + 1
    left, right = -even_end(shape, FARTHEST), even_end(shape, FARTHEST)
    for _ in range(100):
        h = fill_grid(grid, shape, (left, right))
        fill_heights(grid, data, eta, cluster)
        low, high = _counting(grid, cut)
        if high < low:
            break
        enough = high - low >= _ENOUGH
        left, right = left + h * max(low - 1, 0), left + h * min(high + 1, FIRST - 1)
        if enough:
            return left, right, 0, -1
    return math.nan, math.nan, 0, -1


@_compiled
def first_grid(shape: Shape) -> Grid:
    """Nodes that all clusters are looked at first."""
    grid = make_grid(FIRST)
    end = even_end(shape, _REACH)
    fill_grid(grid, shape, (-end, end))
    return grid


@_compiled
def _sum(grid: Grid) -> tuple[float, float]:
    """The terms in place of S, and the logarithm taken out; their sum."""
    top, total = -math.inf, 0.0
    for k in range(grid.t.size):
        top = max(top, grid.height[k] + grid.log_weight[k])
    for k in range(grid.t.size):
        grid.height[k] = exp(grid.height[k] + grid.log_weight[k] - top)
        total += grid.height[k]
    return top, total


@_compiled
def _gradient(grid: Grid, total: float, place: tuple[Data, Floats, int], out: Floats) -> float:
    """The entries' gradients into ``out``; that in the standard deviation is returned."""
    data, eta, cluster = place
    by_sd = 0.0
    for j in range(data.starts[cluster], data.starts[cluster + 1]):
        y, n, v = data.y[j], data.n[j], eta[data.row[j]]
        own = 0.0
        for k in range(grid.t.size):
            x = v + grid.effect[k]
            e = exp(-abs(x))
            score = grid.height[k] * (y - n * ((1.0 if x > 0.0 else e) / (1.0 + e)))
            own += score
            by_sd += score * grid.by_sd[k]
        out[j] = own / total
    return by_sd / total


@_compiled
def _one_cluster(
    place: tuple[Data, Floats, int], shape: Shape, setting: Setting, work: tuple[Grid, Grid],
    result: Result,
) -> None:  # fmt: skip
    data, eta, cluster = place
    left, right, _, _ = find_grid(work[1], shape, place, work[0], CUT + setting.wider)
    size, before = 8 * math.ceil(FIRST / 16 / setting.finer), math.nan
    while size <= _MOST:
        grid = make_grid(size)
        h = fill_grid(grid, shape, (left, right))
        fill_heights(grid, data, eta, cluster)
        top, total = _sum(grid)
        error = alias(grid.height)
        if not math.isfinite(top + error):
            break
        now = top + math.log(total * h)
        if error <= LARGEST_ERROR and abs(now - before) <= _AGREEMENT:
            result.value[cluster] = now
            result.error[cluster] = error + math.exp(-CUT - setting.wider)
            if setting.want:
                slope = _gradient(grid, total, place, result.eta)
                result.root[cluster, 0, 0] = data.Z[0, 0] * slope
            return
        size, before = 2 * size, now
    result.value[cluster], result.error[cluster] = math.nan, math.nan


@njit(cache=True, nogil=True, error_model="numpy")
def integrate_bridge_lines(
    link: Any, data: Data, parameters: tuple[Floats, Floats], setting: Setting, result: Result
) -> None:
    """Clusters with a bridge-distributed intercept whose error is NaN yet, of many draws.

    ``link`` is the logit. ``parameters`` are eta of the distinct rows and the root of each.
    """
    etas, roots = parameters
    for d in range(len(etas)):
        _one_draw(data, (etas[d], roots[d]), setting, of_draw(result, d))


@_compiled
def _one_draw(
    data: Data, parameters: tuple[Floats, Floats], setting: Setting, result: Result
) -> None:
    eta, root = parameters
    left = 0
    for i in range(setting.first, setting.last):
        left += math.isnan(result.error[i])
    if left == 0:
        return
    shape = shape_of(data.Z[0, 0] * root[0, 0] if data.Z.size > 0 else 0.0)
    work = first_grid(shape), make_grid(FIRST)
    for i in range(setting.first, setting.last):
        if math.isnan(result.error[i]):
            _one_cluster((data, eta, i), shape, setting, work, result)
