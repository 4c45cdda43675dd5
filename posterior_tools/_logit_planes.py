r"""The logit's integrals in two random effects, on a sheared grid about the mode.

A node is z_1 = m_1 + h_1 i, z_2 = m_2 + r (z_1 - m_1) + h_2 k, r being the slope of the ridge at
the mode. Along a line of k a trial's odds are those at the line's middle times a table of
exp(b h_2 k), b being the row's slope in z_2: a trial costs as much as in one dimension
(:mod:`popavg.posterior_tools._logit_lines`), and a node an exponential.
"""

# ruff: noqa: C901, PLR0915, PLR0917  (numba: no keyword-only arguments, calls cost in its loops)

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from popavg.posterior_tools._integrated_kernels import (
    LOG_ROOT_2PI,
    Data,
    Result,
    Setting,
    largest_cluster,
    load_cluster,
    make_work,
    of_draw,
)
from popavg.posterior_tools._integrated_line import step
from popavg.posterior_tools._integrated_links import Logit, Rows, Work
from popavg.posterior_tools._integrated_math import exp, log
from popavg.posterior_tools._plane_mode import Plane, plane_mode, set_slopes

__all__ = ["integrate_logit_planes"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_CUT = 24.0  # terms below exp(-24) of the largest don't count
_ERROR = 1e-9  # what the steps aim at
_COARSER = 1.1  # than the other links' steps, whose forecast is cautious
_NODES, _LINES = 512, 400
_LARGEST = 165.0  # |predictor|
_ROOM = 680.0  # logarithm of a product
_FEW = 8.0  # trials of an entry up to which a factor is repeated
_MOST = 4096  # trials
_compiled = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
# Inlined, because a kernel from the cache may have other copies of its parts than one compiled
# here: these then sum in another order.
_summing = njit(
    nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True,
    fastmath={"reassoc", "contract", "nsz"}, forceinline=True,
)  # fmt: skip


@_summing
def _multiply(e: Floats, which: Ints, p: int, tables: Floats, product: Floats) -> None:
    """Multiply by the factors of four trials."""
    a0, a1, a2, a3 = e[p], e[p + 1], e[p + 2], e[p + 3]
    t0, t1 = tables[which[p]], tables[which[p + 1]]
    t2, t3 = tables[which[p + 2]], tables[which[p + 3]]
    for k in range(product.size):
        first = (1.0 + a0 * t0[k]) * (1.0 + a1 * t1[k])
        product[k] *= first * ((1.0 + a2 * t2[k]) * (1.0 + a3 * t3[k]))


@_summing
def _gather(
    e: Floats, which: Ints, p: int, tables: Floats, weight: Floats, factor: Floats,
    column: Floats, out: Floats,
) -> None:  # fmt: skip
    """Four trials' failures: over the nodes in ``out``, times ``factor`` in ``column``."""
    a0, a1, a2, a3 = e[p], e[p + 1], e[p + 2], e[p + 3]
    f0, f1, f2, f3 = factor[p], factor[p + 1], factor[p + 2], factor[p + 3]
    t0, t1 = tables[which[p]], tables[which[p + 1]]
    t2, t3 = tables[which[p + 2]], tables[which[p + 3]]
    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
    for k in range(weight.size):
        b0, b1, b2, b3 = 1.0 + a0 * t0[k], 1.0 + a1 * t1[k], 1.0 + a2 * t2[k], 1.0 + a3 * t3[k]
        c01, c23 = b0 * b1, b2 * b3
        inverse = weight[k] / (c01 * c23)
        d01, d23 = c23 * inverse, c01 * inverse
        q0, q1, q2, q3 = b1 * d01, b0 * d01, b3 * d23, b2 * d23
        s0 += q0
        s1 += q1
        s2 += q2
        s3 += q3
        column[k] += (f0 * q0 + f1 * q1) + (f2 * q2 + f3 * q3)
    out[p], out[p + 1], out[p + 2], out[p + 3] = s0, s1, s2, s3


@_compiled
def _product(
    e: Floats, which: Ints, count: int, most: float, tables: Floats, product: Floats, logs: Floats
) -> bool:
    """The product over trials, and the logarithm of what didn't fit; whether anything didn't."""
    nodes = product.size
    for k in range(nodes):
        product[k] = 1.0
    room, logged = _ROOM, False
    for p in range(0, count, 4):
        if 4.0 * most > room:
            for k in range(nodes):
                logs[k] = log(product[k]) + (logs[k] if logged else 0.0)
                product[k] = 1.0
            room, logged = _ROOM, True
        room -= 4.0 * most
        _multiply(e, which, p, tables, product)
    if logged:
        for k in range(nodes):
            logs[k] += log(product[k])
    return logged


@_summing
def _weigh(
    product: Floats, logs: Floats, logged: bool, line: tuple[float, float, float, float]
) -> tuple[float, float]:
    """The integrand in place of the product; its sum, and that of it times k.

    ``line``: the logarithm of the numerator at k = 0, what it rises by with k, z_2 there, and the
    step.
    """
    constant, rise, z, h = line
    half, total, moment = product.size // 2, 0.0, 0.0
    for k in range(product.size):
        t = z + h * (k - half)
        top = constant + rise * (k - half) - 0.5 * t * t
        if logged:
            product[k] = exp(min(top - logs[k], 700.0))
        else:
            product[k] = exp(min(top, 700.0)) / product[k]
    for k in range(product.size):
        total += product[k]
        moment += product[k] * (k - half)
    return total, moment


@_summing
def _moment(column: Floats, z: float, h: float) -> float:
    half, total = column.size // 2, 0.0
    for k in range(column.size):
        total += column[k] * (z + h * (k - half))
    return total


@_compiled
def _expand(rows: Rows, place: Ints, which: Ints, slopes: Floats) -> tuple[int, int]:
    """Trials, padded to four; rows' different slopes in z_2. -1 where they are too many."""
    count, tables = 0, 0
    for j in range(rows.size):
        n = int(rows.n[j])
        if rows.n[j] > _FEW or count + n > _MOST - 4:
            return -1, 0
        at = 0
        while at < tables and slopes[at] != rows.slope[j]:
            at += 1
        if at == tables:
            slopes[at] = rows.slope[j]
            tables += 1
        for _ in range(n):
            place[count], which[count] = j, at
            count += 1
    for p in range(count, (count + 3) // 4 * 4):
        place[p], which[p] = -1, 0
    return count, tables


@_compiled
def _one_cluster(
    rows: Rows,
    work: Work,
    plane: Plane,
    options: tuple[bool, float, float],
    found: Floats,
    out: Floats,
) -> None:
    """A cluster's integral, without the constants of exp(-z²/2).

    ``found`` becomes the logarithm, the error aimed at, and the gradient in the root's entries
    (0, 0), (1, 0), (1, 1); ``out`` that in the rows' predictors. The error is NaN where another
    rule has to be used. ``options``: whether gradients are wanted, the factor of the steps, and
    more e-folds in the cut.
    """
    link = Logit(0)
    want, finer, wider = options
    found[1] = math.nan
    (m1, m2), (c1, c2), ridge = plane_mode(link, rows, work, plane)
    if math.isnan(m1):
        return
    size = rows.size
    steep1, steep2, trials, largest = 0.0, 0.0, 0.0, 0.0
    rise1, rise2, middle = 0.0, 0.0, 0.0
    for j in range(size):
        along = plane.slope[j] + ridge * rows.slope[j]
        v = plane.base[j] + plane.slope[j] * m1 + rows.slope[j] * m2
        steep1, steep2 = max(steep1, abs(along)), max(steep2, abs(rows.slope[j]))
        trials += rows.n[j]
        rise1 += rows.y[j] * along
        rise2 += rows.y[j] * rows.slope[j]
        middle += rows.y[j] * v
        largest = max(largest, abs(v))
    most = (int(trials) + 7) // 4 * 4 if trials <= _MOST else 0
    if most == 0:
        return
    place, which = np.empty(most, np.int64), np.empty(most, np.int64)
    e, slopes, sums, factor = np.empty(most), np.empty(size), np.empty(most), np.zeros(most)
    count, n_tables = _expand(rows, place, which, slopes)
    if count < 0:
        return
    for p in range(count):
        factor[p] = rows.Z[place[p], 1]
    h1 = finer * _COARSER * step(link, steep1, c1, trials)
    h2 = finer * _COARSER * step(link, steep2, c2, trials)
    cut, width = math.exp(-_CUT - wider), 1.25 * math.sqrt(2.0 * (_CUT + wider) / c2)
    row_sum, row_first = np.zeros(size), np.zeros(size)
    for _ in range(6):
        nodes = 8 * math.ceil(2.0 * width / h2 / 8.0)
        reach = steep2 * h2 * (nodes // 2 + 1)
        if nodes > _NODES or not largest + reach < _LARGEST:
            return
        half = nodes // 2
        tables = np.empty((n_tables, nodes))
        for a in range(n_tables):
            for k in range(nodes):
                tables[a, k] = exp(slopes[a] * h2 * (k - half))
        product, logs, column = np.empty(nodes), np.zeros(nodes), np.zeros(nodes)
        row_sum[:] = 0.0
        row_first[:] = 0.0
        total, first, second, by_second, biggest, edge = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        reference, lines, failed = 0.0, 0, False
        for direction in (1, -1):
            number = 0 if direction == 1 else -1
            while True:
                w1 = h1 * number
                z1, z2 = m1 + w1, m2 + ridge * w1
                far = 0.0
                for p in range(count):
                    j = place[p]
                    v = plane.base[j] + plane.slope[j] * z1 + rows.slope[j] * z2
                    far = max(far, abs(v))
                    e[p] = exp(min(v, _LARGEST))
                for p in range(count, (count + 3) // 4 * 4):
                    e[p] = 0.0
                lines += 1
                if lines > _LINES or not far + reach < _LARGEST:
                    failed = True
                    break
                logged = _product(e, which, count, far + reach + 0.7, tables, product, logs)
                if number == 0:
                    log_product = logs[half] if logged else math.log(product[half])
                    reference = middle - 0.5 * (z1 * z1 + z2 * z2) - log_product
                top = middle + rise1 * w1 - 0.5 * z1 * z1 - reference
                one, by_k = _weigh(product, logs, logged, (top, rise2 * h2, z2, h2))
                total += one
                biggest = max(biggest, one)
                edge = max(edge, product[0], product[nodes - 1])
                first += one * z1
                second += one * z2 + h2 * by_k
                if want:
                    column[:] = 0.0
                    for p in range(0, count, 4):
                        _gather(e, which, p, tables, product, factor, column, sums)
                    for p in range(count):
                        row_sum[place[p]] += sums[p]
                        row_first[place[p]] += sums[p] * z1
                    by_second += _moment(column, z2, h2)
                if one < cut * biggest:
                    break
                number += direction
            if failed:
                break
        if failed or not total > 0.0 or not math.isfinite(total):
            return
        if edge <= cut * biggest:
            found[0] = reference + math.log(total * h1 * h2)
            found[1] = _ERROR
            break
        width *= 1.5
    else:
        return
    if not want:
        return
    by_first, by_slope = 0.0, 0.0
    for j in range(size):
        out[j] = rows.y[j] - rows.n[j] + row_sum[j] / total
        part = (row_first[j] + (rows.y[j] - rows.n[j]) * first) / total
        by_first += rows.Z[j, 0] * part
        by_slope += rows.Z[j, 1] * part
        by_second += rows.Z[j, 1] * (rows.y[j] - rows.n[j]) * second
    found[2], found[3], found[4] = by_first, by_slope, by_second / total


@njit(cache=True, nogil=True, error_model="numpy")
def integrate_logit_planes(
    data: Data, parameters: tuple[Floats, Floats], setting: Setting, result: Result
) -> None:
    """The clusters that allow it, of many draws; the others' errors become NaN.

    ``parameters`` are eta of the distinct rows and the root of each.
    """
    etas, roots = parameters
    for d in range(len(etas)):
        _one_draw(data, (etas[d], roots[d]), setting, of_draw(result, d))


@_compiled
def _one_draw(
    data: Data, parameters: tuple[Floats, Floats], setting: Setting, result: Result
) -> None:
    eta, root = parameters
    most = largest_cluster(data, setting)
    work = make_work(most, most, 2)
    scratch, found = np.zeros((6, most)), np.zeros(5)
    plane = Plane(scratch[4], scratch[5])
    options = (setting.want, setting.finer, setting.wider)
    for i in range(setting.first, setting.last):
        rows = load_cluster(i, data, eta, scratch)
        set_slopes(rows, plane, root)
        out = result.eta[data.starts[i] : data.starts[i + 1]]
        _one_cluster(rows, work, plane, options, found, out)
        result.value[i], result.error[i] = found[0] - 2.0 * LOG_ROOT_2PI, found[1]
        if setting.want:
            result.root[i, 0, 0], result.root[i, 1, 0] = found[2], found[3]
            result.root[i, 1, 1] = found[4]
