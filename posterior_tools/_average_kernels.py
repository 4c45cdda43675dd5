r"""Numba kernels that look population averages up in tables of piecewise polynomials in (eta, v).

A piece of v is an array (`V_TERMS`, `INTERVALS` * `ETA_TERMS`): for each interval of eta the
polynomial sum_ij c_ij w^i u^j, with u in [-1/2, 1/2] the place inside the interval and w in
[-1, 1] the place inside the piece. The first and the last interval are guards, full of NaN: what
lies outside the table, and every eta that isn't a number, comes back as NaN without a branch.

Each cell is computed on its own, so that the numbers don't depend on how the cells are shared
among threads.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "ETA_TERMS",
    "GRID",
    "HALF_WIDTH",
    "INTERVALS",
    "LARGEST_SD",
    "RATE",
    "TERMS",
    "V_TERMS",
    "WIDTH",
    "look_up_cells",
    "look_up_rows",
    "mark_pieces",
]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.uint32]
type Bounds = tuple[int, int, int, int]
type Whole = int | np.integer
type Target = tuple[Floats, Bounds]
type Index = tuple[Ints, Floats, Floats, Floats]

RATE = 4.0
"""Intervals per unit of eta; their centres are its multiples."""
HALF_WIDTH = 40
"""The table reaches from -40 to 40."""
ETA_TERMS = 8
V_TERMS = 10
TERMS = (8, 8, 8, 8, 6, 6, 6, 4, 4, 4)
"""Terms in u beside each power of w; the others are zero."""
INTERVALS = int(2 * HALF_WIDTH * RATE) + 3
WIDTH = INTERVALS * ETA_TERMS
LARGEST_SD = 20.0
GRID = 64.0
"""Cells per unit of sd of the index that finds the piece of v."""

_START = HALF_WIDTH * RATE + 1.5
_END = INTERVALS - 0.5
_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _place(eta: float) -> float:
    """Place in the table, guards included; NaN at its start."""
    place = eta * RATE + _START
    place = place if place > 0.0 else 0.0
    return place if place < _END else _END


@_compiled
def _piece(sd: float, finder: Ints, borders: Floats) -> np.uint32:
    variance, piece = sd * sd, finder[np.uint32(sd * GRID)]
    while variance > borders[piece + np.uint32(1)]:
        piece += np.uint32(1)
    return piece


@_compiled
def mark_pieces(sd: Floats, finder: Ints, borders: Floats, used: NDArray[np.bool_]) -> None:
    """Mark the pieces of v that these standard deviations lie in."""
    for i in range(sd.size):
        if 0.0 <= sd[i] <= LARGEST_SD:
            used[_piece(sd[i], finder, borders)] = True


@_compiled
def _collapse(table: Floats, w: float, span: tuple[Whole, Whole], out: Floats) -> None:
    """The polynomials in u at this w, coefficients from ``span[0]`` up to ``span[1]``."""
    begin, end = span
    target, power = out[begin:end], w * w
    first, second = table[0, begin:end], table[1, begin:end]
    for m in range(end - begin):
        target[m] = first[m] + w * second[m]
    for i in range(2, V_TERMS, 2):
        first, second, odd = table[i, begin:end], table[i + 1, begin:end], power * w
        for m in range(end - begin):
            target[m] += power * first[m] + odd * second[m]
        power *= w * w


@_compiled
def look_up_rows(eta: Floats, sd: Floats, index: Index, target: Target) -> bool:
    """Fill the target for an sd that is constant within a row: the polynomials in w once per row.

    ``eta`` has one row or as many as ``sd``. Returns whether any cell may have been left NaN.
    """
    finder, borders, inner, tables = index
    out, (begin, end, left, right) = target
    step = 1 if eta.shape[0] > 1 else 0
    row, missing = np.empty(WIDTH), False
    for i in range(begin, end):
        if not 0.0 <= sd[i] <= LARGEST_SD:
            out[i, left:right] = math.nan
            missing = True
            continue
        cells, filled = eta[i * step, left:right], out[i, left:right]
        low, high = np.int32(INTERVALS), np.int32(0)
        for j in range(cells.size):
            interval = np.int32(_place(cells[j]))
            low, high = min(low, interval), max(high, interval)
        piece = _piece(sd[i], finder, borders)
        w = (sd[i] * sd[i] - inner[piece, 0]) * inner[piece, 1]
        _collapse(tables[piece], w, (low * ETA_TERMS, (high + 1) * ETA_TERMS), row)
        for k in range(low, high + 1):
            missing |= math.isnan(row[k * ETA_TERMS])
        for j in range(cells.size):
            place = _place(cells[j])
            interval = np.uint32(place)
            filled[j] = _eight(row, interval * ETA_TERMS, place - (interval + 0.5))
    return missing


@_compiled
def _eight(c: Floats, k: Whole, u: float) -> float:
    square = u * u
    upper = (c[k + 4] + c[k + 5] * u) + (c[k + 6] + c[k + 7] * u) * square
    return _four(c, k, u) + upper * (square * square)


@_compiled
def _six(c: Floats, k: Whole, u: float) -> float:
    square = u * u
    return _four(c, k, u) + (c[k + 4] + c[k + 5] * u) * (square * square)


@_compiled
def _four(c: Floats, k: Whole, u: float) -> float:
    return (c[k] + c[k + 1] * u) + (c[k + 2] + c[k + 3] * u) * (u * u)


@njit(inline="always", error_model="numpy")
def _surface(c: Floats, k: Whole, u: float, w: float) -> float:
    """The polynomial in u and w whose coefficients begin at k; see `TERMS`."""
    square = w * w
    even, odd = _four(c, k + 8 * WIDTH, u), _four(c, k + 9 * WIDTH, u)
    even, odd = even * square + _six(c, k + 6 * WIDTH, u), odd * square + _four(c, k + 7 * WIDTH, u)
    even, odd = even * square + _six(c, k + 4 * WIDTH, u), odd * square + _six(c, k + 5 * WIDTH, u)
    even, odd = (
        even * square + _eight(c, k + 2 * WIDTH, u),
        odd * square + _eight(c, k + 3 * WIDTH, u),
    )
    return even * square + _eight(c, k, u) + w * (odd * square + _eight(c, k + WIDTH, u))


@_compiled
def look_up_cells(eta: Floats, sd: Floats, index: Index, target: Target) -> bool:
    """Fill the target for an sd of each cell's own; ``eta`` and ``sd`` may have axes of length 1.

    Returns whether any cell was left NaN.
    """
    finder, borders, inner, tables = index
    out, (begin, end, left, right) = target
    flat = tables.reshape(tables.size)
    eta_row, eta_column = int(eta.shape[0] > 1), int(eta.shape[1] > 1)
    sd_row, sd_column = int(sd.shape[0] > 1), int(sd.shape[1] > 1)
    missing = False
    for i in range(begin, end):
        for j in range(left, right):
            spread = sd[i * sd_row, j * sd_column]
            if not 0.0 <= spread <= LARGEST_SD:
                out[i, j] = math.nan
                missing = True
                continue
            place = _place(eta[i * eta_row, j * eta_column])
            interval = np.uint32(place)
            piece = _piece(spread, finder, borders)
            w = (spread * spread - inner[piece, 0]) * inner[piece, 1]
            k = np.uint32(piece) * (V_TERMS * WIDTH) + interval * ETA_TERMS
            out[i, j] = _surface(flat, k, place - (interval + 0.5), w)
            missing |= math.isnan(out[i, j])
    return missing
