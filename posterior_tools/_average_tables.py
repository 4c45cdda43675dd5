r"""Tables of population averages for logit and cloglog, built piece by piece when first needed.

Notes
-----
Chebyshev interpolation in both directions: degree 7 on intervals of width 1/4 in eta, degree 9 on
pieces of v = sd^2. The borders of the pieces are as far apart as an interpolation error of about
4e-12 allows, relative to the average itself: the left tail grows like exp(v / 2), which is what
keeps them close until v = 40; towards v = 0, where the expansion in v is only asymptotic, they
close up again. Every interval of every piece is held against the exact kernels at the extremes of
the interpolation's error; where it misses `TOLERANCE` (far right of the cloglog at small v, where
slopes fall like exp(-exp(eta))) it is left NaN and its cells are integrated one by one.

A piece takes some milliseconds and is kept for the life of the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from typing import Literal

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from popavg.links import Link
from popavg.posterior_tools import _average_kernels as kernels
from popavg.posterior_tools import _moments, quadrature

__all__ = ["BORDERS", "FINDER", "INNER", "Average", "Table", "average_table", "exact_values"]

type Floats = NDArray[np.float64]
type Average = Literal["mean", "link", "slope", "curvature"]

TOLERANCE = 1e-11
# fmt: off
BORDERS = np.array([
    0.0, 0.05, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 1.1, 1.5, 2.0, 2.5, 3.1, 3.8,
    5.4, 7.4, 9.5, 11.8, 14.0, 16.3, 18.6, 21.0, 23.6, 26.5, 29.8, 33.5, 38.0, 43.5, 50.0, 58.5,
    69.0, 83.0, 101.0, 126.0, 160.0, 206.0, 270.0, 358.0, kernels.LARGEST_SD**2,
])
# fmt: on
_SMOOTH, _BLOCK, _BLOCK_TERMS = 2.0, 4, 12
_SHAPE = (BORDERS.size - 1, kernels.V_TERMS, kernels.WIDTH)
_ODD_ABOUT_ZERO = {"link": -1.0, "slope": 1.0, "curvature": -1.0}


def _finder() -> NDArray[np.uint32]:
    """For each cell of the index over sd the piece in which it begins."""
    begins = np.square(np.arange(int(kernels.LARGEST_SD * kernels.GRID) + 1) / kernels.GRID)
    pieces = np.searchsorted(BORDERS, begins, side="right") - 1
    return np.minimum(pieces, BORDERS.size - 2).astype(np.uint32)


FINDER = _finder()
INNER = np.column_stack([0.5 * (BORDERS[1:] + BORDERS[:-1]), 2.0 / np.diff(BORDERS)])


def exact_values(link: Link, what: Average, eta: Floats, sd: Floats) -> Floats:
    """Population averages by the exact kernels, in the shape of ``eta``; sd may be 0."""
    return _exact_pair(link, _group(what), eta, sd)[what]


def _group(what: Average) -> tuple[Average, Average]:
    return ("mean", "link") if what in {"mean", "link"} else ("slope", "curvature")


def _exact_pair(
    link: Link, group: tuple[Average, Average], eta: Floats, sd: Floats
) -> dict[Average, Floats]:
    eta, sd = np.broadcast_arrays(eta, sd)
    none = sd == 0.0
    spread = np.where(none, 1.0, sd)
    if group == ("mean", "link"):
        log_mean, log_complement = quadrature.integrate(link.name, eta, spread)
        log_mean[none] = link.log_inverse(eta[none])
        log_complement[none] = link.log_complement(eta[none])
        return {"mean": np.exp(log_mean), "link": link.link_from_logs(log_mean, log_complement)}
    slope, curvature = _moments.moments(link.name, eta, spread)
    slope[none] = link.derivative(eta[none])
    curvature[none] = link.second_derivative(eta[none])
    return {"slope": slope, "curvature": curvature}


@dataclass(eq=False)
class Table:
    """The tables of one link's two averages that share their integrals.

    Pieces are built under a lock, so that threads may ask for them at the same time.
    """

    link: Link
    group: tuple[Average, Average]
    polynomials: dict[Average, Floats] = field(init=False)
    _built: NDArray[np.bool_] = field(init=False)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.polynomials = {what: np.empty(_SHAPE) for what in self.group}
        self._built = np.zeros(_SHAPE[0], dtype=np.bool_)

    def provide(self, used: NDArray[np.bool_]) -> None:
        """Build those of the pieces that aren't there yet."""
        if not (used & ~self._built).any():
            return
        with self._lock:
            for piece in np.flatnonzero(used & ~self._built):
                for what, polynomial in _piece(self.link, self.group, int(piece)).items():
                    self.polynomials[what][piece] = polynomial
                self._built[piece] = True


_tables: dict[tuple[type[Link], tuple[Average, Average]], Table] = {}
_tables_lock = threading.Lock()


def average_table(link: Link, what: Average) -> Table:
    """The table that holds this average: the same one for all links of a class."""
    key = type(link), _group(what)
    with _tables_lock:
        if key not in _tables:
            _tables[key] = Table(link, key[1])
        return _tables[key]


def _piece(link: Link, group: tuple[Average, Average], piece: int) -> dict[Average, Floats]:
    """Polynomials of one piece of v, NaN where they miss the exact kernels."""
    low, high = BORDERS[piece : piece + 2]
    found: dict[Average, Floats] = {}
    nodes_u, nodes_w = 0.5 * _nodes(kernels.ETA_TERMS), _nodes(kernels.V_TERMS)
    ends_u, ends_w = np.array([-0.5, 0.5]), np.array([-1.0, 0.0, 1.0])
    smooth = low >= _SMOOTH and (link.name == "logit" or "link" in group)

    def on(u: Floats, w: Floats, blocks: bool) -> dict[Average, Floats]:
        sd = np.sqrt(low + (high - low) * (w + 1.0) / 2.0)[:, None, None]
        return _on_intervals(lambda eta: _exact_pair(link, group, eta, sd), u, (link, blocks))

    at_nodes, at_ends = on(nodes_u, nodes_w, smooth), on(ends_u, ends_w, False)
    back_u = np.vander(ends_u, kernels.ETA_TERMS, increasing=True)
    back_w = np.vander(ends_w, kernels.V_TERMS, increasing=True)
    for what in group:
        with np.errstate(invalid="ignore", over="ignore"):
            coefficients = _powers(at_nodes[what])
            again = _product(back_w, coefficients, back_u)
            error = np.abs(again - at_ends[what])
            good = (error <= TOLERANCE * _scale(what, at_ends)).all(axis=(0, 2))
        coefficients[:, ~good] = np.nan
        guarded = np.pad(coefficients, ((0, 0), (1, 1), (0, 0)), constant_values=np.nan)
        found[what] = guarded.reshape(_SHAPE[1:])
    return found


def _scale(what: Average, values: dict[Average, Floats]) -> Floats:
    """What the error is relative to."""
    size = np.abs(values[what])
    if what == "curvature":
        return np.maximum(size, values["slope"])
    return np.maximum(size, 1.0) if what == "link" else size


def _on_intervals(
    values: Callable[[Floats], dict[Average, Floats]], u: Floats, how: tuple[Link, bool]
) -> dict[Average, Floats]:
    """Values at these places, symmetric, of every interval; the logit's right half mirrored."""
    link, blocks = how
    last = 0 if link.name == "logit" else kernels.HALF_WIDTH
    centres = np.arange(-kernels.HALF_WIDTH, last + 0.5 / kernels.RATE, 1.0 / kernels.RATE)
    if blocks:
        found = _by_blocks(values, u, centres.size)
    else:
        found = values(centres[:, None] + u / kernels.RATE)
    if link.name != "logit":
        return found
    mirrored = {what: part[:, -2::-1, ::-1] for what, part in found.items()}
    return {
        what: np.concatenate([part, _mirrored(what, mirrored[what])], axis=1)
        for what, part in found.items()
    }


def _by_blocks(
    values: Callable[[Floats], dict[Average, Floats]], u: Floats, intervals: int
) -> dict[Average, Floats]:
    """The same by polynomials of degree 11 on blocks of four intervals, for a third of the cost."""
    width, start = _BLOCK / kernels.RATE, -kernels.HALF_WIDTH - 0.5 / kernels.RATE
    centres = start + width * (np.arange(ceil(intervals / _BLOCK)) + 0.5)
    nodes = values(centres[:, None] + 0.5 * width * _nodes(_BLOCK_TERMS))
    places = (np.arange(_BLOCK)[:, None] + 0.5 + u).ravel() * (2.0 / _BLOCK) - 1.0
    basis = np.asarray(chebyshev.chebvander(places, _BLOCK_TERMS - 1), dtype=np.float64)
    weights = np.einsum("ij,jk->ik", basis, _to_series(_BLOCK_TERMS), optimize=False)
    return {
        what: np.einsum("wbn,pn->wbp", part, weights, optimize=False).reshape(
            len(part), -1, u.size
        )[:, :intervals]
        for what, part in nodes.items()
    }


def _mirrored(what: Average, values: Floats) -> Floats:
    return 1.0 - values if what == "mean" else _ODD_ABOUT_ZERO[what] * values


def _nodes(size: int) -> Floats:
    """Chebyshev points of the first kind in [-1, 1], symmetric to the last bit."""
    return np.sin((np.arange(size) - (size - 1) / 2.0) * np.pi / size)


def _powers(values: Floats) -> Floats:
    """Coefficients of w^i u^j from the values at `_nodes` of w (first axis) and 2 u (last).

    By way of the Chebyshev coefficients: those that vanish carry the noise of rounding alone,
    and the change to powers, whose entries are large, doesn't add to it.
    """
    sizes = values.shape[0], values.shape[-1]
    series = _product(_to_series(sizes[0]), values, _to_series(sizes[1]))
    beyond = np.arange(sizes[1]) >= np.array(kernels.TERMS)[:, None]
    series.transpose(0, 2, 1)[beyond] = 0.0
    to_u = _series_to_powers(sizes[1]) * 2.0 ** np.arange(sizes[1])[:, None]
    return _product(_series_to_powers(sizes[0]), series, to_u)


def _product(left: Floats, values: Floats, right: Floats) -> Floats:
    """Matrices applied along the first and the last axis, in an order that BLAS can't change."""
    half = np.einsum("ij,jkl->ikl", left, values, optimize=False)
    return np.einsum("ikl,ml->ikm", half, right, optimize=False)


def _to_series(size: int) -> Floats:
    """From values at `_nodes` to Chebyshev coefficients."""
    matrix = np.asarray(chebyshev.chebvander(_nodes(size), size - 1), dtype=np.float64).T
    return matrix * np.where(np.arange(size) == 0, 1.0 / size, 2.0 / size)[:, None]


def _series_to_powers(size: int) -> Floats:
    """From Chebyshev coefficients to those of the powers."""
    matrix = np.zeros((size, size))
    for degree, row in enumerate(np.eye(size)):
        powers = chebyshev.cheb2poly(row)
        matrix[: powers.size, degree] = powers
    return matrix
