"""The mode of a cluster's integrand in two random effects, by nested searches along lines."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from popavg.posterior_tools._integrated_line import find_mode
from popavg.posterior_tools._integrated_links import Rows, Work

__all__ = ["Plane", "plane_mode", "set_slopes", "shift"]

type Floats = NDArray[np.float64]

_compiled = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


class Plane(NamedTuple):
    """Predictors where both z are 0, and slopes in the first z (padded)."""

    base: Floats
    slope: Floats


@_compiled
def set_slopes(rows: Rows, plane: Plane, root: Floats) -> None:
    """The rows' predictors and slopes in z_1 (in ``plane``) and in z_2 (in ``rows``)."""
    for j in range(rows.size):
        plane.base[j] = rows.v[j]
        plane.slope[j] = rows.Z[j, 0] * root[0, 0] + rows.Z[j, 1] * root[1, 0]
        rows.slope[j] = rows.Z[j, 1] * root[1, 1]
    for j in range(rows.size, rows.v.size):
        plane.base[j] = 0.0
        plane.slope[j] = 0.0


@_compiled
def shift(rows: Rows, plane: Plane, z: float) -> None:
    """Put the rows on the line z_1 = z."""
    for j in range(rows.size):
        rows.v[j] = plane.base[j] + plane.slope[j] * z


@_compiled
def plane_mode(
    link: Any, rows: Rows, work: Work, plane: Plane
) -> tuple[tuple[float, float], tuple[float, float], float]:
    """The mode, the curvatures (of the profile in z_1, in z_2), and dz_2/dz_1 of the ridge."""
    z, other, low, high, boost, before = 0.0, 0.0, -math.inf, math.inf, 1.0, 0.0
    for _ in range(2000):
        shift(rows, plane, z)
        other, d2, c2 = find_mode(link, rows, work, other)
        d, c, cross = -z, 1.0, 0.0
        for j in range(rows.size):
            d += plane.slope[j] * work.at[j]
            c += plane.slope[j] * plane.slope[j] * work.edge[j]
            cross += plane.slope[j] * rows.slope[j] * work.edge[j]
        d -= cross / c2 * d2
        c -= cross / c2 * cross
        if d * d < 0.0625 * c:
            return (z, other), (c, c2), -cross / c2
        if d > 0.0:
            low = z
        else:
            high = z
        boost = 2.0 * boost if d * before > 0.0 else 1.0
        cycles = d * before < 0.0 and abs(d) > 0.5 * abs(before)
        before = d
        new = z + boost * d / c
        if cycles or not low < new < high:
            new, boost = 0.5 * (low + high), 1.0
        if new == z or not math.isfinite(new):
            break
        other -= cross / c2 * (new - z)
        z = new
    return (math.nan, math.nan), (math.nan, math.nan), math.nan
