"""Draws of clusters' effects from their conditional distribution, by rejection.

The conditional density of z is log-concave. Its logarithm is computed on a lattice; between two
nodes it lies above the chord, and below the higher end (in the cell of the mode, below the chords
of its neighbours). A point is drawn from these steps and accepted below the chord at once, else by
the density itself: what comes out has exactly this density, but for the tails below exp(-`CUT`) of
the mode. With two effects z_1 is drawn so from its marginal density, each value of which is the
integral along a line, then z_2 from the line.

Uniform numbers are Steele, Lea & Flood's (2014) SplitMix64 of the seed and the cluster's number:
no cluster's draws depend on other clusters or on the number of threads.
"""

# ruff: noqa: PLR0917  (numba has no keyword-only arguments, and calls cost in its loops)

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from popavg.posterior_tools._integrated_kernels import (
    Data,
    Setting,
    extent,
    largest_cluster,
    load_cluster,
    make_work,
)
from popavg.posterior_tools._integrated_line import CUT, find_mode, make_tables, step, sum_line
from popavg.posterior_tools._integrated_links import Rows, Work, block
from popavg.posterior_tools._plane_mode import Plane, plane_mode, set_slopes, shift

__all__ = ["Members", "draw_lines", "draw_normals", "draw_planes", "seed_state", "uniform"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_NODES = 16_384
_SPACING = 0.25  # of the density's width at the mode
_LARGEST_STEP = 0.7  # of a row's predictor, as the tables of exp need it
_compiled = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
_entry = njit(cache=True, nogil=True, error_model="numpy")


class Members(NamedTuple):
    """Clusters in the order of the distinct ones: number i has order[starts[i] : starts[i + 1]]."""

    starts: Ints
    order: Ints


class _Cells(NamedTuple):
    """Lattice: log-density at the nodes, bounds of the cells, and their masses added up."""

    height: Floats
    bound: Floats
    mass: Floats


@_compiled
def _make_cells() -> _Cells:
    return _Cells(np.empty(_NODES), np.empty(_NODES), np.empty(_NODES))


@_compiled
def _mix(x: Any) -> Any:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@_compiled
def seed_state(state: NDArray[np.uint64], seed: Any, cluster: Any) -> None:
    state[0] = _mix(_mix(np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15)) ^ np.uint64(cluster + 1))


@_compiled
def uniform(state: NDArray[np.uint64]) -> float:
    """In (0, 1)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    return (np.float64(_mix(state[0]) >> np.uint64(12)) + 0.5) * 2.0**-52


@_compiled
def _finish(cells: _Cells, low: int, high: int) -> None:
    """Bounds and masses of the cells from node ``low`` to node ``high``."""
    height, total = cells.height, 0.0
    for k in range(low, high):
        left, right = height[k], height[k + 1]
        bound = max(left, right)
        if low < k < high - 1 and left >= height[k - 1] and right >= height[k + 2]:
            over = min(2.0 * left - height[k - 1], 2.0 * right - height[k + 2])
            bound = max(bound, over) + 1e-12
        cells.bound[k] = bound
        total += math.exp(bound)
        cells.mass[k] = total


@_compiled
def _propose(
    cells: _Cells, ends: tuple[int, int], state: NDArray[np.uint64]
) -> tuple[float, float, bool]:
    """A place in units of the lattice, a level, and whether the chord there is above it."""
    low, high = ends
    target = uniform(state) * cells.mass[high - 1]
    first, last = low, high - 1
    while first < last:
        middle = (first + last) // 2
        if cells.mass[middle] < target:
            first = middle + 1
        else:
            last = middle
    share = uniform(state)
    level = cells.bound[first] + math.log(uniform(state))
    chord = (1.0 - share) * cells.height[first] + share * cells.height[first + 1]
    return first + share, level, level <= chord


@_compiled
def _density(link: Any, rows: Rows, work: Work, z: float) -> float:
    block(link, rows, work, (z, 0.0), False)
    return work.logs[work.logs.size // 2] - 0.5 * z * z


@_compiled
def _line_cells(
    link: Any, rows: Rows, work: Work, cells: _Cells, start: float
) -> tuple[tuple[float, float, float], tuple[int, int]]:
    """Fill the lattice along a line: its origin, spacing, reference; first and last node."""
    centre, _, curvature = find_mode(link, rows, work, start)
    steepest, _ = extent(rows, rows.slope)
    h = _SPACING / math.sqrt(curvature)
    h = min(h, _LARGEST_STEP / steepest) if steepest > 0.0 else h
    width, half = work.logs.size, _NODES // 2
    reference = math.nan
    while True:
        make_tables(rows, work, h)
        reference = _density(link, rows, work, centre)
        low, high, full = half, half, False
        for direction in (1, -1):
            number = 0 if direction == 1 else -1
            while True:
                first = half - width // 2 + width * number
                if first < 0 or first + width > _NODES:
                    full = True
                    break
                middle = centre + h * (width * number)
                block(link, rows, work, (middle, h), False)
                for k in range(width):
                    z = middle + h * (k - width // 2)
                    cells.height[first + k] = work.logs[k] - 0.5 * z * z - reference
                low, high = min(low, first), max(high, first + width - 1)
                end = cells.height[high] if direction == 1 else cells.height[low]
                if not end > -CUT:
                    break
                number += direction
        if not full or h * steepest > _LARGEST_STEP:
            break
        h *= 2.0
    while cells.height[low + 1] < -CUT:
        low += 1
    while cells.height[high - 1] < -CUT:
        high -= 1
    _finish(cells, low, high)
    return (centre - h * half, h, reference), (low, high)


@_compiled
def _draw_line(
    link: Any,
    rows: Rows,
    work: Work,
    cells: _Cells,
    lattice: tuple[tuple[float, float, float], tuple[int, int], NDArray[np.uint64]],
) -> float:
    (origin, h, reference), ends, state = lattice
    if not math.isfinite(origin + reference):
        return math.nan
    while True:
        place, level, accepted = _propose(cells, ends, state)
        z = origin + h * place
        if accepted or level <= _density(link, rows, work, z) - reference:
            return z


@_entry
def draw_lines(
    link: Any,
    data: Data,
    parameters: tuple[Floats, Floats, Any],
    members: Members,
    out: Floats,
) -> None:
    """One draw of every cluster's effect into ``out`` (clusters, 1)."""
    eta, root, seed = parameters
    setting = Setting(0, data.starts.size - 1, False, 1.0, 0.0)
    most = largest_cluster(data, setting)
    work, scratch, cells = make_work(most, most, 1), np.zeros((4, most)), _make_cells()
    state = np.zeros(1, np.uint64)
    for i in range(setting.last):
        rows = load_cluster(i, data, eta, scratch)
        for j in range(rows.size):
            rows.slope[j] = root[0, 0] * rows.Z[j, 0]
        place, ends = _line_cells(link, rows, work, cells, 0.0)
        for m in range(members.starts[i], members.starts[i + 1]):
            cluster = members.order[m]
            seed_state(state, seed, cluster)
            z = _draw_line(link, rows, work, cells, (place, ends, state))
            out[cluster, 0] = root[0, 0] * z


@_compiled
def _marginal(
    link: Any, rows: Rows, work: Work, plane: Plane, place: tuple[float, float, float]
) -> tuple[float, float]:
    """Log of the integral along the line z_1 = z, and that line's mode; tables stand ready."""
    z, guess, h = place
    shift(rows, plane, z)
    other, _, _ = find_mode(link, rows, work, guess)
    work.sums[:] = 0.0
    reference = sum_line(link, rows, work, (other, h, math.nan, CUT), False)
    return reference + math.log(work.sums[0]) - 0.5 * z * z, other


@_compiled
def _plane_cells(
    link: Any, rows: Rows, work: Work, plane: Plane, cells: _Cells
) -> tuple[tuple[float, float, float], tuple[int, int], tuple[float, float, float]]:
    """The lattice of the marginal of z_1; the mode of z_2, the ridge's slope, the inner step."""
    mode, curvature, ridge = plane_mode(link, rows, work, plane)
    steepest, trials = extent(rows, rows.slope)
    inner = 0.6 * step(link, steepest, curvature[1], trials)
    make_tables(rows, work, inner)
    h, half = 1.6 * _SPACING / math.sqrt(curvature[0]), _NODES // 2
    reference, _ = _marginal(link, rows, work, plane, (mode[0], mode[1], inner))
    while True:
        low, high = half, half
        for direction in (1, -1):
            k, other = half if direction == 1 else half - 1, mode[1]
            while 0 <= k < _NODES:
                z = mode[0] + h * (k - half)
                guess = (z, other + ridge * h * direction, inner)
                value, other = _marginal(link, rows, work, plane, guess)
                cells.height[k] = value - reference
                low, high = min(low, k), max(high, k)
                if not cells.height[k] > -CUT:
                    break
                k += direction
        if low > 0 and high < _NODES - 1:
            break
        h *= 2.0
    _finish(cells, low, high)
    return (mode[0] - h * half, h, reference), (low, high), (mode[1], ridge, inner)


@_entry
def draw_planes(
    link: Any,
    data: Data,
    parameters: tuple[Floats, Floats, Any],
    members: Members,
    out: Floats,
) -> None:
    """One draw of every cluster's two effects into ``out`` (clusters, 2)."""
    eta, root, seed = parameters
    setting = Setting(0, data.starts.size - 1, False, 1.0, 0.0)
    most = largest_cluster(data, setting)
    work, scratch, cells = make_work(most, most, 2), np.zeros((6, most)), _make_cells()
    plane, state, other = Plane(scratch[4], scratch[5]), np.zeros(1, np.uint64), _make_cells()
    for i in range(setting.last):
        rows = load_cluster(i, data, eta, scratch)
        set_slopes(rows, plane, root)
        place, ends, line = _plane_cells(link, rows, work, plane, cells)
        for m in range(members.starts[i], members.starts[i + 1]):
            cluster = members.order[m]
            seed_state(state, seed, cluster)
            if not math.isfinite(place[0] + place[2]):
                out[cluster] = math.nan
                continue
            while True:
                at, level, accepted = _propose(cells, ends, state)
                z = place[0] + place[1] * at
                guess = line[0] + line[1] * (at - _NODES // 2) * place[1]
                if accepted:
                    break
                make_tables(rows, work, line[2])
                value, guess = _marginal(link, rows, work, plane, (z, guess, line[2]))
                if level <= value - place[2]:
                    break
            shift(rows, plane, z)
            second, far = _line_cells(link, rows, work, other, guess)
            z2 = _draw_line(link, rows, work, other, (second, far, state))
            out[cluster, 0] = root[0, 0] * z
            out[cluster, 1] = root[1, 0] * z + root[1, 1] * z2


@_entry
def draw_normals(
    data: Data,
    parameters: tuple[Floats, Floats, float, Any],
    members: Members,
    out: Floats,
) -> None:
    """Gaussian outcomes: z is normal, see `integrate_normals`; ``out`` (clusters, 2)."""
    eta, root, sigma, seed = parameters
    variance, state = sigma * sigma, np.zeros(1, np.uint64)
    for i in range(data.starts.size - 1):
        a, b, c, p, q = 1.0, 0.0, 1.0, 0.0, 0.0
        for j in range(data.starts[i], data.starts[i + 1]):
            n, d = data.n[j] / variance, data.y[j] - eta[data.row[j]]
            v = data.Z[j, 0] * root[0, 0] + data.Z[j, 1] * root[1, 0]
            w = data.Z[j, 1] * root[1, 1]
            a += n * v * v
            b += n * v * w
            c += n * w * w
            p += n * v * d
            q += n * w * d
        free = c - b * b / a
        for m in range(members.starts[i], members.starts[i + 1]):
            cluster = members.order[m]
            seed_state(state, seed, cluster)
            size = math.sqrt(-2.0 * math.log(uniform(state)))
            angle = 2.0 * math.pi * uniform(state)
            second = (q - b * p / a) / free + size * math.sin(angle) / math.sqrt(free)
            first = (p - b * second) / a + size * math.cos(angle) / math.sqrt(a)
            out[cluster, 0] = root[0, 0] * first
            out[cluster, 1] = root[1, 0] * first + root[1, 1] * second
