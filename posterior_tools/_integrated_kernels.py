"""Loops over clusters: the integrated likelihood in one dimension and in two."""

# ruff: noqa: PLR0917  (numba has no keyword-only arguments, and calls cost in its loops)

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from popavg.posterior_tools._integrated_line import (
    CUT,
    WIDTH,
    alias_error,
    find_mode,
    make_tables,
    step,
    sum_line,
)
from popavg.posterior_tools._integrated_links import PADDING, Rows, Work
from popavg.posterior_tools._logit_trials import Trials

__all__ = [
    "LARGEST_ERROR",
    "LOG_ROOT_2PI",
    "Data",
    "Result",
    "Setting",
    "clear",
    "extent",
    "integrate_lines",
    "largest_cluster",
    "load_cluster",
    "make_work",
    "of_draw",
    "store_rows",
]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)
LARGEST_ERROR = 1e-9
"""Estimated error of a cluster's likelihood above which the step is shortened; it is much less."""
_compiled = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


class Data(NamedTuple):
    """Entries sorted by cluster: the rows of cluster i are starts[i] : starts[i + 1].

    And their trials one by one, for the rules that need them.
    """

    starts: Ints
    row: Ints
    y: Floats
    n: Floats
    Z: Floats
    trials: Trials


class Setting(NamedTuple):
    """Which clusters, whether gradients are wanted, factor of the step, more e-folds in the cut."""

    first: int
    last: int
    want: bool
    finer: float
    wider: float


class Result(NamedTuple):
    """Per cluster: log-likelihood, error estimate, gradient in the root; per entry: in eta.

    The entries of the rules take many draws: then all have an axis of draws before.
    """

    value: Floats
    error: Floats
    root: Floats
    eta: Floats


@_compiled
def largest_cluster(data: Data, setting: Setting) -> int:
    """Most rows of a cluster, padded."""
    most = 1
    for i in range(setting.first, setting.last):
        most = max(most, data.starts[i + 1] - data.starts[i])
    return (most + PADDING - 1) // PADDING * PADDING


@_compiled
def make_work(most: int, slopes: int, effects: int) -> Work:
    """Scratch for clusters of up to ``most`` rows with up to ``slopes`` different slopes."""
    return Work(
        np.zeros(most),
        np.zeros(most),
        np.zeros(most, np.int64),
        np.zeros((2, slopes, WIDTH)),
        np.zeros((most, WIDTH)),
        np.zeros((most, WIDTH)),
        np.zeros(WIDTH),
        np.zeros(WIDTH),
        np.zeros((effects, WIDTH)),
        np.zeros(WIDTH),
        np.zeros(3 + 2 * effects),
    )


@_compiled
def load_cluster(i: int, data: Data, eta: Floats, scratch: Floats) -> Rows:
    """The rows of a cluster in padded arrays; slopes are left to the caller."""
    first, size = data.starts[i], data.starts[i + 1] - data.starts[i]
    padded = (size + PADDING - 1) // PADDING * PADDING
    rows = Rows(
        size,
        scratch[0, :padded],
        scratch[1, :padded],
        scratch[2, :padded],
        scratch[3, :padded],
        data.Z[first : first + size],
    )
    for j in range(size):
        rows.y[j] = data.y[first + j]
        rows.n[j] = data.n[first + j]
        rows.v[j] = eta[data.row[first + j]]
    for j in range(size, padded):
        rows.y[j] = 0.0
        rows.n[j] = 0.0
        rows.v[j] = 0.0
        rows.slope[j] = 0.0
    return rows


@_compiled
def store_rows(first: int, size: int, work: Work, out: Floats) -> None:
    """Rows' gradients: their lanes added up, over the likelihood."""
    total = work.sums[0]
    for j in range(size):
        lane = work.lanes[j]
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        for k in range(0, lane.size, 4):
            a += lane[k]
            b += lane[k + 1]
            c += lane[k + 2]
            d += lane[k + 3]
        out[first + j] = ((a + b) + (c + d)) / total


@_compiled
def clear(work: Work, size: int) -> None:
    """Zeros in the sums and the lanes."""
    work.sums[:] = 0.0
    for j in range(size):
        lane = work.lanes[j]
        for k in range(lane.size):
            lane[k] = 0.0


@_compiled
def extent(rows: Rows, slope: Floats) -> tuple[float, float]:
    """Largest absolute slope, and all trials."""
    steepest, trials = 0.0, 0.0
    for j in range(rows.size):
        steepest = max(steepest, abs(slope[j]))
        trials += rows.n[j]
    return steepest, trials


@_compiled
def _one_cluster(link: Any, rows: Rows, work: Work, setting: Setting) -> tuple[float, float]:
    """Log-likelihood of a cluster and the estimate of its error; gradients stay in ``work``."""
    steepest, trials = extent(rows, rows.slope)
    centre, _, curvature = find_mode(link, rows, work, 0.0)
    h = setting.finer * step(link, steepest, curvature, trials)
    for _ in range(12):
        clear(work, rows.size if setting.want else 0)
        make_tables(rows, work, h)
        place = (centre, h, math.nan, CUT + setting.wider)
        reference = sum_line(link, rows, work, place, setting.want)
        total = work.sums[0]
        error = alias_error(total, work.sums[1], work.sums[4])
        if not error > LARGEST_ERROR:
            error += math.exp(-CUT - setting.wider)
            return reference + math.log(total * h) - LOG_ROOT_2PI, error
        h *= 0.6
    return math.nan, math.nan


@_compiled
def of_draw(result: Result, d: int) -> Result:
    """Where the results of one draw go."""
    return Result(result.value[d], result.error[d], result.root[d], result.eta[d])


@njit(cache=True, nogil=True, error_model="numpy")
def integrate_lines(
    link: Any, data: Data, parameters: tuple[Floats, Floats], setting: Setting, result: Result
) -> None:
    """Clusters with one random effect whose error is NaN yet, of many draws.

    ``parameters`` are eta of the distinct rows and the root of each.
    """
    etas, roots = parameters
    for d in range(len(etas)):
        _one_draw(link, data, (etas[d], roots[d]), setting, of_draw(result, d))


@_compiled
def _one_draw(
    link: Any, data: Data, parameters: tuple[Floats, Floats], setting: Setting, result: Result
) -> None:
    eta, root = parameters
    most = largest_cluster(data, setting)
    varies = False
    for j in range(data.starts[setting.first], data.starts[setting.last]):
        varies = varies or data.Z[j, 0] != data.Z[0, 0]
    work = make_work(most, most if varies else 1, 1)
    scratch = np.zeros((4, most))
    for i in range(setting.first, setting.last):
        if not math.isnan(result.error[i]):
            continue
        rows = load_cluster(i, data, eta, scratch)
        for j in range(rows.size):
            rows.slope[j] = root[0, 0] * rows.Z[j, 0]
        result.value[i], result.error[i] = _one_cluster(link, rows, work, setting)
        if setting.want:
            store_rows(data.starts[i], rows.size, work, result.eta)
            result.root[i, 0, 0] = work.sums[3] / work.sums[0]
