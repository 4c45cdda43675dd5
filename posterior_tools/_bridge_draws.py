"""Draws of bridge-distributed intercepts from their conditional distribution, by rejection.

Between two neighbouring percentiles the intercepts' distribution gives a mass and, drawn evenly,
a percentile. The cluster's log-likelihood S is concave: between two nodes it lies below the
higher end, or where its mode may be, below the chords of its neighbours. An interval is drawn by
its mass times this bound, a percentile in it, and its u is accepted with the probability exp(S(u)
less the bound): what comes out has exactly the conditional distribution, but for the tails below
exp(-`CUT`) of the largest density.
"""

# ruff: noqa: PLR0917  (numba has no keyword-only arguments, and calls cost in its loops)

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from popavg.posterior_tools._bridge_lines import (
    CUT,
    FIRST,
    Grid,
    fill_grid,
    fill_heights,
    find_grid,
    first_grid,
    log_likelihood_at,
    make_grid,
)
from popavg.posterior_tools._bridge_nodes import Shape, at_percentile, shape_of
from popavg.posterior_tools._integrated_draws import Members, seed_state, uniform
from popavg.posterior_tools._integrated_kernels import Data
from popavg.posterior_tools._integrated_math import exp

__all__ = ["draw_bridges"]

type Floats = NDArray[np.float64]

_compiled = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


@_compiled
def _mass(low: float, high: float) -> float:
    """expit(high) - expit(low)."""
    return -math.expm1(low - high) / (1.0 + math.exp(-high)) / (1.0 + math.exp(low))


@_compiled
def _chord(grid: Grid, k: int, near: int, far: int) -> float:
    """S at the other end of the interval from node k on, by the chord from ``far`` to ``near``."""
    if not 0 <= far < grid.t.size:
        return math.inf
    before = abs(grid.effect[near] - grid.effect[far])
    width = grid.effect[k + 1] - grid.effect[k]
    rise = (grid.height[near] - grid.height[far]) * (width / before if before > 0.0 else 0.0)
    return grid.height[near] + max(rise, 0.0)


@_compiled
def _fill_between(grid: Grid, between: Floats) -> None:
    """The probabilities between nodes."""
    for k in range(grid.t.size - 1):
        between[k] = _mass(grid.t[k], grid.t[k + 1])


@_compiled
def _intervals(
    grid: Grid, between: Floats, ends: tuple[int, int], bound: Floats, mass: Floats
) -> None:
    """Bounds of S between nodes, and masses added up."""
    total, top = 0.0, -math.inf
    for k in range(ends[0], ends[1] + 1):
        top = max(top, grid.height[k])
    for k in range(ends[0], ends[1]):
        left, right = grid.height[k], grid.height[k + 1]
        inside = (k == 0 or left >= grid.height[k - 1]) and (
            k + 2 == grid.t.size or right >= grid.height[k + 2]
        )
        bound[k] = max(left, right)
        if inside:
            chords = min(_chord(grid, k, k, k - 1), _chord(grid, k, k + 1, k + 2))
            bound[k] = max(bound[k], chords)
        bound[k] += 1e-12 * (1.0 + abs(left))
        total += exp(bound[k] - top) * between[k]
        mass[k] = total


@_compiled
def _draw(
    grid: Grid, shape: Shape, ends: tuple[int, int], cells: tuple[Floats, Floats],
    place: tuple[Data, Floats, int, NDArray[np.uint64]],
) -> float:  # fmt: skip
    (data, eta, cluster, state), (bound, mass) = place, cells
    while True:
        target = uniform(state) * mass[ends[1] - 1]
        k, last = ends[0], ends[1] - 1
        while k < last:
            middle = (k + last) // 2
            if mass[middle] < target:
                k = middle + 1
            else:
                last = middle
        low, high, share = grid.t[k], grid.t[k + 1], uniform(state)
        if low >= 0.0:
            q = 1.0 / (1.0 + math.exp(high)) + share * _mass(low, high)
            u = at_percentile(shape, q, 0.5 - q)
        else:
            q = 1.0 / (1.0 + math.exp(-low)) + share * _mass(low, high)
            upper = q > 0.5
            q = 1.0 - q if upper else q
            u = at_percentile(shape, q, 0.5 - q)
            u = u if upper else -u
        if math.log(uniform(state)) <= log_likelihood_at(u, data, eta, cluster) - bound[k]:
            return u


@njit(cache=True, nogil=True, error_model="numpy")
def draw_bridges(
    link: Any, data: Data, parameters: tuple[Floats, Floats, Any], members: Members, out: Floats
) -> None:
    """One draw of every cluster's intercept into ``out`` (clusters, 1); ``link`` is the logit."""
    eta, root, seed = parameters
    shape = shape_of(root[0, 0])
    first, grid, state = first_grid(shape), make_grid(FIRST), np.zeros(1, np.uint64)
    cells, between, own = (np.empty(FIRST), np.empty(FIRST)), np.empty(FIRST), np.empty(FIRST)
    _fill_between(first, between)
    for i in range(data.starts.size - 1):
        left, right, low, high = find_grid(grid, shape, (data, eta, i), first, CUT)
        found, masses = first, between
        if high < low:
            found, masses, low, high = grid, own, 0, FIRST - 1
            fill_grid(grid, shape, (left, right))
            fill_heights(grid, data, eta, i)
            _fill_between(grid, own)
        bad = not math.isfinite(left + right)
        if not bad:
            _intervals(found, masses, (low, high), cells[0], cells[1])
        for m in range(members.starts[i], members.starts[i + 1]):
            cluster = members.order[m]
            seed_state(state, seed, cluster)
            place = data, eta, i, state
            u = math.nan if bad else _draw(found, shape, (low, high), cells, place)
            out[cluster, 0] = u
