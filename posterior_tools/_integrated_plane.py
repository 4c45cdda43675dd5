"""The integrated likelihood of clusters with two random effects: lines side by side.

With u = L z and L lower triangular the inner integral over z_2 is that of
:mod:`popavg.posterior_tools._integrated_line`, each line's nodes lying about its own mode, so that
a narrow or a bent ridge costs nothing. Their integrals are a log-concave function of z_1
(Prékopa 1973), of which the trapezoid rule is taken again.
"""

# ruff: noqa: PLR0917  (numba has no keyword-only arguments, and calls cost in its loops)

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from popavg.posterior_tools._integrated_kernels import (
    LARGEST_ERROR,
    LOG_ROOT_2PI,
    Data,
    Result,
    Setting,
    clear,
    extent,
    largest_cluster,
    load_cluster,
    make_work,
    of_draw,
    store_rows,
)
from popavg.posterior_tools._integrated_line import (
    ALIAS,
    CUT,
    LOWER,
    WIDTH,
    alias_error,
    find_mode,
    make_tables,
    step,
    sum_line,
)
from popavg.posterior_tools._integrated_links import Rows, Work
from popavg.posterior_tools._plane_mode import Plane, plane_mode, set_slopes, shift

__all__ = ["integrate_planes"]

type Floats = NDArray[np.float64]

_MOST_LINES = 200_000
_compiled = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


@_compiled
def _sum_plane(
    link: Any, rows: Rows, work: Work, plane: Plane, place: tuple[float, ...]
) -> tuple[float, float, float]:
    """Reference, and two harmonics of the lines; ``work.sums`` becomes the sums over all.

    ``place``: the mode, the ridge's slope, both steps, the cut, and 1 where gradients are wanted.
    """
    z0, other0, ridge, h, h2, cut, want = place
    effects = work.columns.shape[0]
    total = np.zeros(3 + effects * 2)
    turns, largest, reference = np.zeros(4), 0.0, math.nan
    for direction in (1, -1):
        number, other = (0 if direction == 1 else -1), other0
        while number < _MOST_LINES:
            z = z0 + h * number
            shift(rows, plane, z)
            other += ridge * h * direction if number != 0 else 0.0
            other, _, _ = find_mode(link, rows, work, other)
            work.sums[:] = 0.0
            line = (other, h2, reference + 0.5 * z * z, cut)
            found = sum_line(link, rows, work, line, want != 0.0)
            reference = found - 0.5 * z * z if number == 0 else reference
            if math.isnan(found):
                return math.nan, math.nan, math.nan
            one = work.sums[0]
            angle = 2.0 * math.pi / WIDTH * (number % WIDTH)
            turns[0] += one * math.cos(ALIAS * angle)
            turns[1] += one * math.sin(ALIAS * angle)
            turns[2] += one * math.cos(LOWER * angle)
            turns[3] += one * math.sin(LOWER * angle)
            for a in range(2):
                total[a] += work.sums[a]
                total[2 + a] += z * work.sums[2 + a]
            total[5] += work.sums[5]
            total[6] += work.sums[6]
            largest = max(largest, one)
            if one < math.exp(-cut) * largest:
                break
            number += direction
    work.sums[:] = total
    harmonics = math.hypot(turns[0], turns[1]), math.hypot(turns[2], turns[3])
    return reference, harmonics[0], harmonics[1]


@_compiled
def _one_cluster(
    link: Any, rows: Rows, work: Work, plane: Plane, setting: Setting
) -> tuple[float, float]:
    """Log-likelihood of a cluster and the estimate of its error; gradients stay in ``work``."""
    mode, curvature, ridge = plane_mode(link, rows, work, plane)
    steepest, trials = extent(rows, plane.slope)
    h = setting.finer * step(link, steepest, curvature[0], trials)
    steepest, trials = extent(rows, rows.slope)
    h2 = setting.finer * step(link, steepest, curvature[1], trials)
    cut = CUT + setting.wider
    for _ in range(20):
        clear(work, rows.size if setting.want else 0)
        make_tables(rows, work, h2)
        place = (mode[0], mode[1], ridge, h, h2, cut, 1.0 if setting.want else 0.0)
        reference, harmonic, lower = _sum_plane(link, rows, work, plane, place)
        total = work.sums[0]
        outer = alias_error(total, harmonic, lower)
        inner = alias_error(total, work.sums[1], work.sums[6])
        error = outer + inner
        if not error > LARGEST_ERROR:
            error += 2.0 * math.exp(-cut)
            return reference + math.log(total * h * h2) - 2.0 * LOG_ROOT_2PI, error
        h *= 0.6 if outer > 0.3 * LARGEST_ERROR else 1.0
        h2 *= 0.6 if inner > 0.3 * LARGEST_ERROR else 1.0
    return math.nan, math.nan


@njit(cache=True, nogil=True, error_model="numpy")
def integrate_planes(
    link: Any, data: Data, parameters: tuple[Floats, Floats], setting: Setting, result: Result
) -> None:
    """Clusters with two random effects whose error is NaN yet, of many draws.

    ``parameters`` are eta of the distinct rows and the root of each.
    """
    etas, roots = parameters
    for d in range(len(etas)):
        _one_draw(link, data, (etas[d], roots[d]), setting, of_draw(result, d))


@_compiled
def _one_draw(
    link: Any, data: Data, parameters: tuple[Floats, Floats], setting: Setting, result: Result
) -> None:
    """In ``work.sums``: Σ f, the lines' harmonics, Σ f z_1 Z_1'r, Σ f z_1 Z_2'r, Σ f z_2 Z_2'r."""
    eta, root = parameters
    most = largest_cluster(data, setting)
    work = make_work(most, most, 2)
    scratch = np.zeros((6, most))
    plane = Plane(scratch[4], scratch[5])
    for i in range(setting.first, setting.last):
        if not math.isnan(result.error[i]):
            continue
        rows = load_cluster(i, data, eta, scratch)
        set_slopes(rows, plane, root)
        result.value[i], result.error[i] = _one_cluster(link, rows, work, plane, setting)
        if setting.want:
            store_rows(data.starts[i], rows.size, work, result.eta)
            total = work.sums[0]
            result.root[i, 0, 0] = work.sums[2] / total
            result.root[i, 1, 0] = work.sums[3] / total
            result.root[i, 1, 1] = work.sums[5] / total
