"""Population averages of large arrays from the tables: shapes, pieces, threads, leftovers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

from popavg.links import Link
from popavg.posterior_tools import _average_kernels as kernels
from popavg.posterior_tools._average_tables import (
    BORDERS,
    FINDER,
    INNER,
    Average,
    average_table,
    exact_values,
)
from popavg.posterior_tools._eta_sd import check_largest, check_values
from popavg.posterior_tools.quadrature import QUADRATURES, cpus

__all__ = ["SMALLEST_TABLE", "tabulated_average", "worth_tables"]

type Floats = NDArray[np.float64]
type Bounds = tuple[int, int, int, int]

SMALLEST_TABLE = 4096
"""Arrays of fewer cells are integrated directly: that costs no more than building the tables."""

_SHORTEST_ROW = 64
_LONGEST_ROW = 32_768
_TASK = 262_144


def worth_tables(eta: Floats, sd: Floats, link: Link) -> bool:
    """Whether this link's population averages are tabulated and there are enough cells."""
    if link.name not in QUADRATURES or link.marginal_predictor(0.0, 1.0) is not None:
        return False
    return prod(np.broadcast_shapes(eta.shape, sd.shape)) >= SMALLEST_TABLE


def tabulated_average(eta: Floats, sd: Floats, link: Link, what: Average) -> Floats:
    """Population averages in the broadcast shape of ``eta`` and ``sd``.

    What the tables leave out (values that aren't finite among it) is checked, then integrated
    cell by cell.
    """
    found, complete = _from_tables(eta, sd, link, what)
    if complete:
        return found
    check_values(eta, sd)
    check_largest(sd)
    missing = np.isnan(found)
    eta, sd = np.broadcast_arrays(eta, sd)
    found[missing] = exact_values(link, what, eta[missing], sd[missing])
    return found


def _from_tables(eta: Floats, sd: Floats, link: Link, what: Average) -> tuple[Floats, bool]:
    """NaN, and False beside, where eta or sd isn't in the tables or they aren't accurate."""
    shape = np.broadcast_shapes(eta.shape, sd.shape)
    if sd.size == 1:
        eta, sd = eta.ravel(), sd.ravel()
    cells = np.broadcast_shapes(eta.shape, sd.shape)
    eta, sd = _matrix(eta, cells), _matrix(sd, cells)
    out = np.empty((max(eta.shape[0], sd.shape[0]), max(eta.shape[1], sd.shape[1])))
    table = _provided(sd, link, what)
    if sd.shape[1] == 1 and out.shape[1] >= _SHORTEST_ROW:
        look_up, sd = kernels.look_up_rows, np.repeat(sd.ravel(), out.shape[0] // sd.shape[0])
    else:
        look_up = kernels.look_up_cells
    index = FINDER, BORDERS, INNER, table

    def task(bounds: Bounds) -> bool:
        return look_up(eta, sd, index, (out, bounds))

    tasks = _tasks(*out.shape)
    threads = min(cpus(), len(tasks))
    if threads == 1:
        incomplete = [task(bounds) for bounds in tasks]
    else:
        with ThreadPoolExecutor(threads) as pool:
            incomplete = list(pool.map(task, tasks))
    return out.reshape(shape), not any(incomplete)


def _provided(sd: Floats, link: Link, what: Average) -> Floats:
    """The table, all pieces built in which an sd lies."""
    used = np.zeros(BORDERS.size - 1, dtype=np.bool_)
    kernels.mark_pieces(sd.ravel(), FINDER, BORDERS, used)
    table = average_table(link, what)
    table.provide(used)
    return table.polynomials[what]


def _matrix(values: Floats, shape: tuple[int, ...]) -> Floats:
    """Two axes, contiguous and writeable as the kernels want them; axes of length 1 stay."""
    if values.ndim < 2:
        values = values.reshape(1, -1)
    if len(shape) > 2:
        values = np.broadcast_to(values, (*shape[:-1], values.shape[-1]))
        values = values.reshape(-1, values.shape[-1])
    return np.require(values, np.float64, ["C", "W"])


def _tasks(rows: int, columns: int) -> list[Bounds]:
    """Blocks of about `_TASK` cells; the same ones for any number of threads."""
    if not rows or not columns:
        return []
    width = ceil(columns / ceil(columns / _LONGEST_ROW))
    height = max(1, _TASK // width)
    return [
        (begin, min(begin + height, rows), left, min(left + width, columns))
        for begin in range(0, rows, height)
        for left in range(0, columns, width)
    ]
