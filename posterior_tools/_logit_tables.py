r"""Nodes that the logit's integrals along lines share, with tables of what is needed at them.

Normal effects have nodes about 0, an effect of t z at z; bridge-distributed ones those of
:mod:`popavg.posterior_tools._bridge_nodes`.

Notes
-----
The steps need no mode. On the line Im z = a the integrand of n trials is at most
exp(a²/2) cos(t a / 2)^-n times as large as on the real one, and its poles are at t a = pi: the
error of the trapezoid rule (Trefethen & Weideman 2014, SIAM Review 56:385) is below
2 exp(-2 pi a / h + a²/2 - n log cos(t a / 2)) of the integral, for any a. `_step` takes the
largest h that makes this 2 exp(-`BOUND`) for one of some a; it is far less where the trials'
probabilities aren't all 1/2.

The line of a bridge-distributed effect is taken for one of two more trials with the slope 1, the
others having 1 / φ. That is a forecast, which a harmonic of the terms tests in every evaluation.
"""

# ruff: noqa: PLR0917  (numba has no keyword-only arguments)

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from popavg.posterior_tools._bridge_nodes import Shape, even_end, node, shape_of
from popavg.posterior_tools._integrated_math import exp

__all__ = [
    "BOUND",
    "LADDER",
    "TOGETHER",
    "Tables",
    "make_bridge_tables",
    "make_tables",
    "numerator",
]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

BOUND = 20.0
"""The error of the rule is below 2 exp(-20) of a cluster's likelihood, and far less mostly."""

LADDER = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Numbers of trials for which there are steps."""

TOGETHER = 84.0
"""|v + u| up to which eight factors are multiplied."""

_EASY = 30.0  # the bound where few nodes are needed
_BRIDGE_BOUND = 22.0
_POWERS = 33  # successes, and one, up to which numerators are kept
_NODES = 2048
_REACH = 8.3  # of the nodes about 0
_BRIDGE_REACH = 34.0  # of t
_FLAT = 62.0  # |u| from which on a trial's probability is 0 or 1
_ANGLES = (3.05, 2.89, 2.67, 2.36, 1.98, 1.57, 1.19, 0.85, 0.6, 0.4)
_GROWTH = tuple(-math.log(math.cos(angle / 2)) for angle in _ANGLES)
_compiled = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


class Tables(NamedTuple):
    """A row for each rung of the ladder of trials in use: nodes, step, and at the nodes others.

    These are the effects u (of each row the largest |u| too) and their derivatives in the slope,
    the weights' logarithms but for a constant, exp(u), and the numerators exp(s u) times the
    weight. The second half of the rows of effects and weights is for twice as many nodes about 0.
    """

    slot: Ints
    nodes: Ints
    h: Floats
    reach: Floats
    effect: Floats
    by_slope: Floats
    log_weight: Floats
    up: Floats
    power: Floats
    built: Ints


@_compiled
def _step(slope: float, trials: float) -> float:
    """Step that needs no mode."""
    steepness = abs(slope)
    widest = math.sqrt(_EASY / (0.5 + 0.13 * trials * steepness * steepness))
    if widest * steepness < 0.8:  # -log cos(x) < 0.52 x² up to 0.4
        return math.pi * widest / _EASY
    h = 0.0
    for i in range(len(_ANGLES)):
        a = _ANGLES[i] / steepness
        h = max(h, 2.0 * math.pi * a / (BOUND + 0.5 * a * a + trials * _GROWTH[i]))
    return h


@_compiled
def _bridge_step(phi: float, trials: float) -> float:
    h = 0.0
    for i in range(len(_ANGLES)):
        a = _ANGLES[i] * phi
        growth = trials * _GROWTH[i] - 2.0 * math.log(math.cos(0.5 * a))
        h = max(h, 2.0 * math.pi * a / (_BRIDGE_BOUND + growth))
    return h


@_compiled
def _allocate(used: Ints, h: Floats, reach: float) -> Tables:
    """Empty tables for the rungs in use, whose steps these are."""
    slot, rows, widest, powers = np.full(len(LADDER) + 1, -1), 0, 0, 0
    nodes = np.zeros(len(LADDER), np.int64)
    for level in range(len(LADDER)):
        if used[level] == 0:
            continue
        size = 8 * math.ceil(reach / (4.0 * h[level]))
        if size <= _NODES:
            slot[level], h[rows], nodes[rows], widest = rows, h[level], size, max(widest, size)
            powers = max(powers, min(used[level], _POWERS))
            rows += 1
    return Tables(
        slot,
        nodes[:rows],
        h[:rows],
        np.zeros(2 * rows),
        np.empty((2 * rows, 2 * widest)),
        np.empty((2 * rows, 2 * widest)),
        np.empty((2 * rows, 2 * widest)),
        np.empty((2 * rows, 2 * widest)),
        np.empty((rows * powers, widest)),
        np.zeros((rows, powers), np.int64),
    )


@_compiled
def make_tables(used: Ints, slope: float, finer: float) -> Tables:
    """Those for clusters of fewer trials than ``used``, which is 0 at rungs that aren't needed.

    Without nodes where these would be too many.
    """
    h = np.zeros(len(LADDER))
    for level in range(len(LADDER)):
        h[level] = finer * _step(slope, LADDER[level])
    tables = _allocate(used, h, _REACH)
    for row in range(2 * tables.nodes.size):
        _fill(tables, row, slope)
    return tables


@_compiled
def make_bridge_tables(used: Ints, slope: float, finer: float) -> Tables:
    """The same with bridge-distributed effects, without rows of twice as many nodes."""
    shape, h = shape_of(slope), np.zeros(len(LADDER))
    for level in range(len(LADDER)):
        h[level] = finer * _bridge_step(shape.phi, LADDER[level])
    tables = _allocate(used, h, even_end(shape, _BRIDGE_REACH))
    for row in range(tables.nodes.size):
        _fill_bridge(tables, row, shape)
    return tables


@_compiled
def _fill(tables: Tables, row: int, slope: float) -> None:
    """The nodes of a row about 0."""
    wide, narrow = divmod(row, tables.nodes.size)
    nodes, h = tables.nodes[narrow] * (1 + wide), tables.h[narrow]
    effect, by_slope = tables.effect[row], tables.by_slope[row]
    log_weight, up = tables.log_weight[row], tables.up[row]
    for k in range(nodes):
        z = h * (k - nodes // 2)
        effect[k] = slope * z
        by_slope[k] = z
        log_weight[k] = -0.5 * z * z
    for k in range(nodes):
        up[k] = exp(effect[k])
    tables.reach[row] = abs(slope) * h * (nodes // 2 + 1)


@_compiled
def _fill_bridge(tables: Tables, row: int, shape: Shape) -> None:
    """The nodes of a row where effects have the bridge distribution."""
    half, h = tables.nodes[row] // 2, tables.h[row]
    effect, by_slope = tables.effect[row], tables.by_slope[row]
    log_weight, up = tables.log_weight[row], tables.up[row]
    for k in range(half + 1):
        u, log_density, by_sd, _ = node(shape, h * k)
        u = min(u, _FLAT)
        tables.reach[row] = u
        for at, sign in ((half - k, -1.0), (half + k, 1.0)):
            if at < 2 * half:
                effect[at], by_slope[at], log_weight[at] = sign * u, sign * by_sd, log_density
                up[at] = math.exp(sign * u)


@_compiled
def numerator(
    power: Floats, built: Ints, up: Floats, log_weight: Floats, at: tuple[int, int, int]
) -> int:
    """The row of ``power`` with exp(s u) times the weight; ``at`` is the row, s and the nodes."""
    row, successes, nodes = at
    first = row * built.shape[1]
    if built[row, 0] == 0:
        for k in range(nodes):
            power[first, k] = exp(log_weight[row, k])
        built[row, 0] = 1
    s = successes
    while built[row, s] == 0:
        s -= 1
    for done in range(s, successes):
        for k in range(nodes):
            power[first + done + 1, k] = power[first + done, k] * up[row, k]
        built[row, done + 1] = 1
    return first + successes
