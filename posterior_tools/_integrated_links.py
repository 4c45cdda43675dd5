"""What the integrated likelihood needs of each link: the rows' log-densities at many nodes.

Each link is a type of its own, and numba compiles the functions for the link at hand alone.
Everything is a sum over the rows of one cluster, row j having the predictor v_j + t_j z, y_j
successes (or counts) in n_j trials (or rows that are alike).

Notes
-----
Nodes are at t = h (k - width / 2) beside a middle, and exp(t_j t) and its reciprocal stand in
tables, so that exp(±(v_j + t_j z)) costs one product. Logarithms are taken of products over many
rows: of factors 1 + x with x <= exp(|t_j| h width / 2) for the logit, which can't overflow. What
is linear in z, where a row's probability is near 0 or 1, is added up apart: predictors of any
size are right.
"""

# ruff: noqa: C901, PLR0915, PLR0917  (numba has no keyword-only arguments, and calls cost in its loops)

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from popavg.posterior_tools._integrated_math import exp, log, mills

__all__ = [
    "PADDING",
    "Cloglog",
    "Log",
    "Logit",
    "Probit",
    "Rows",
    "Work",
    "_for_link",
    "block",
    "score",
]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

PADDING = 8
"""Arrays of rows are padded to a multiple of this, with n = 0."""

_PER_LOG = 32.0  # factors of a product before its logarithm is taken
_AS_POWERS = 8.0  # trials up to which a factor is multiplied rather than its logarithm
_LARGEST = 709.0
_ROOT_2PI_INVERSE = 0.3989422804014327


class Logit(NamedTuple):
    """Marks the logit link."""

    code: int = 0


class Probit(NamedTuple):
    """Marks the probit link."""

    code: int = 1


class Cloglog(NamedTuple):
    """Marks the complementary log-log link."""

    code: int = 2


class Log(NamedTuple):
    """Marks the log link of counts."""

    code: int = 3


class Rows(NamedTuple):
    """The rows of one cluster; the arrays are padded."""

    size: int
    y: Floats
    n: Floats
    v: Floats
    slope: Floats
    Z: Floats


class Work(NamedTuple):
    """Scratch: rows' score and curvature, tables of exp, densities and scores at the nodes."""

    at: Floats
    edge: Floats
    which: Ints
    tables: Floats
    score: Floats
    lanes: Floats
    logs: Floats
    product: Floats
    columns: Floats
    tally: Floats
    sums: Floats


def score(link: Any, rows: Rows, work: Work, z: float) -> None:
    """Each row's score in ``work.at`` and curvature in ``work.edge``, both in its predictor."""
    raise NotImplementedError


def block(link: Any, rows: Rows, work: Work, place: tuple[float, float], want: bool) -> None:
    """Log-densities at the nodes in ``work.logs``, rows' scores in ``work.score`` if wanted.

    ``place`` is the nodes' middle and step.
    """
    raise NotImplementedError


def _for_link(function: Callable[..., None], kind: type) -> Callable[[Callable[..., None]], None]:
    """Register an implementation for one link."""

    def register(implementation: Callable[..., None]) -> None:
        def choose(link: Any, *_: Any) -> Callable[..., None] | None:
            mine = isinstance(link, types.BaseNamedTuple) and link.instance_class is kind
            return implementation if mine else None

        overload(function, jit_options={"nogil": True, "error_model": "numpy"}, strict=False)(
            choose
        )

    return register


@_for_link(score, Logit)
def _logit_score(link: Any, rows: Rows, work: Work, z: float) -> None:
    y, n, v, slope, at, edge = rows.y, rows.n, rows.v, rows.slope, work.at, work.edge
    for j in range(y.size):
        eta = v[j] + slope[j] * z
        x = exp(-abs(eta))
        q = 1.0 / (1.0 + x)
        at[j] = y[j] - n[j] * (q if eta > 0.0 else x * q)
        edge[j] = n[j] * x * q * q


@_for_link(block, Logit)
def _logit_block(link: Any, rows: Rows, work: Work, place: tuple[float, float], want: bool) -> None:
    middle, h = place
    v, slope, at, edge = rows.v, rows.slope, work.at, work.edge
    logs, product = work.logs, work.product
    width = logs.size
    for j in range(v.size):
        eta = v[j] + slope[j] * middle
        at[j] = eta
        edge[j] = exp(-abs(eta))
    for k in range(width):
        product[k] = 1.0
        logs[k] = 0.0
    constant, linear, factors = 0.0, 0.0, 0.0
    for j in range(rows.size):
        up = at[j] > 0.0
        n, e = rows.n[j], edge[j]
        base = rows.y[j] - n if up else rows.y[j]
        signed = n if up else -n
        constant += base * at[j]
        linear += base * slope[j]
        table = work.tables[1 if up else 0, work.which[j]]
        if n <= _AS_POWERS:
            for _ in range(int(n)):
                for k in range(width):
                    product[k] *= 1.0 + e * table[k]
            factors += n
            if factors > _PER_LOG:
                for k in range(width):
                    logs[k] -= log(product[k])
                    product[k] = 1.0
                factors = 0.0
        else:
            for k in range(width):
                logs[k] -= n * log(1.0 + e * table[k])
        if want:
            row = work.score[j]
            for k in range(width):
                x = e * table[k]
                row[k] = base + signed * (x / (1.0 + x))
    for k in range(width):
        logs[k] += constant + linear * (h * (k - width // 2)) - log(product[k])


@_for_link(score, Log)
def _log_score(link: Any, rows: Rows, work: Work, z: float) -> None:
    y, n, v, slope, at, edge = rows.y, rows.n, rows.v, rows.slope, work.at, work.edge
    for j in range(y.size):
        mean = n[j] * exp(min(v[j] + slope[j] * z, _LARGEST))
        at[j] = y[j] - mean
        edge[j] = mean


@_for_link(block, Log)
def _log_block(link: Any, rows: Rows, work: Work, place: tuple[float, float], want: bool) -> None:
    middle, h = place
    v, slope, at, edge = rows.v, rows.slope, work.at, work.edge
    logs = work.logs
    width = logs.size
    for j in range(v.size):
        eta = v[j] + slope[j] * middle
        at[j] = eta
        mean = exp(min(eta, _LARGEST))
        edge[j] = mean if eta < _LARGEST else np.inf
    for k in range(width):
        logs[k] = 0.0
    constant, linear = 0.0, 0.0
    for j in range(rows.size):
        y, e = rows.y[j], rows.n[j] * edge[j]
        constant += y * at[j]
        linear += y * slope[j]
        table = work.tables[0, work.which[j]]
        for k in range(width):
            logs[k] -= e * table[k]
        if want:
            row = work.score[j]
            for k in range(width):
                row[k] = y - e * table[k]
    for k in range(width):
        logs[k] += constant + linear * (h * (k - width // 2))


@_for_link(score, Cloglog)
def _cloglog_score(link: Any, rows: Rows, work: Work, z: float) -> None:
    y, n, v, slope, at, edge = rows.y, rows.n, rows.v, rows.slope, work.at, work.edge
    for j in range(y.size):
        hazard = exp(min(v[j] + slope[j] * z, 600.0))
        none = exp(-hazard) if hazard < 700.0 else 0.0
        # Of one success: hazard / (exp(hazard) - 1), and minus its derivative in the predictor.
        small = hazard < 1e-5
        some = 1.0 - none if not small else hazard * (1.0 - 0.5 * hazard)
        one = hazard * none / some
        bend = one * (hazard / some - 1.0) if not small else 0.5 * hazard
        at[j] = y[j] * one - (n[j] - y[j]) * hazard
        edge[j] = y[j] * bend + (n[j] - y[j]) * hazard


@_for_link(block, Cloglog)
def _cloglog_block(
    link: Any, rows: Rows, work: Work, place: tuple[float, float], want: bool
) -> None:
    """A success has 1 - exp(-l) with l = exp(v), written as exp(v) times g(l) where l is small.

    g(l) = exp(-l/2) sinh(l/2) / (l/2), by its series where l < 1.
    """
    middle, h = place
    v, slope, at, edge = rows.v, rows.slope, work.at, work.edge
    logs, product = work.logs, work.product
    width = logs.size
    for j in range(v.size):
        eta = v[j] + slope[j] * middle
        at[j] = eta
        hazard = exp(min(eta, _LARGEST))
        edge[j] = hazard if eta < _LARGEST else np.inf
    for k in range(width):
        product[k] = 1.0
        logs[k] = 0.0
    constant, linear, factors = 0.0, 0.0, 0.0
    for j in range(rows.size):
        y, e = rows.y[j], edge[j]
        failures = rows.n[j] - y
        low = at[j] < 0.0
        table = work.tables[0, work.which[j]]
        row = work.score[j]
        if failures > 0.0:
            for k in range(width):
                logs[k] -= failures * (e * table[k])
        if want:
            for k in range(width):
                row[k] = -failures * (e * table[k]) if failures > 0.0 else 0.0
        if y == 0.0:
            continue
        if low:
            constant += y * at[j]
            linear += y * slope[j]
        for k in range(width):
            hazard = min(e * table[k], 1e300)  # from 40 on a success is certain
            half = exp(-0.5 * hazard)
            s = min(0.25 * hazard * hazard, 0.25)
            series = 1.0 + s / 210.0 * (1.0 + s / 272.0)
            series = 1.0 + s / 72.0 * (1.0 + s / 110.0 * (1.0 + s / 156.0 * series))
            series = 1.0 + s / 6.0 * (1.0 + s / 20.0 * (1.0 + s / 42.0 * series))
            some = half * series * hazard if hazard < 1.0 else 1.0 - half * half
            ratio = half * series if hazard < 1.0 else some / hazard
            factor = ratio if low else some
            if want:
                row[k] += y * (half * half / ratio)
            if y == 1.0:
                product[k] *= factor
            else:
                logs[k] += y * log(factor)
        factors += 1.0
        if factors >= 0.5 * _PER_LOG:
            for k in range(width):
                logs[k] += log(product[k])
                product[k] = 1.0
            factors = 0.0
    for k in range(width):
        logs[k] += constant + linear * (h * (k - width // 2)) + log(product[k])


@_for_link(score, Probit)
def _probit_score(link: Any, rows: Rows, work: Work, z: float) -> None:
    y, n, v, slope, at, edge = rows.y, rows.n, rows.v, rows.slope, work.at, work.edge
    for j in range(y.size):
        eta = v[j] + slope[j] * z
        size = abs(eta)
        ratio = mills(size)
        density = exp(-0.5 * size * size)
        tail = _ROOT_2PI_INVERSE / ratio
        body = _ROOT_2PI_INVERSE * density / (1.0 - density * ratio)
        outer = y[j] if eta < 0.0 else n[j] - y[j]  # events in the tail
        gap = tail - size if size < 1e4 else 1.0 / size
        total = outer * tail - (n[j] - outer) * body
        at[j] = total if eta < 0.0 else -total
        edge[j] = outer * tail * gap + (n[j] - outer) * body * (body + size)


@_for_link(block, Probit)
def _probit_block(
    link: Any, rows: Rows, work: Work, place: tuple[float, float], want: bool
) -> None:
    """The tail has exp(-v²/2) m(|v|), m being Mills' ratio, the body 1 - exp(-v²/2) m(|v|)."""
    middle, h = place
    logs, product = work.logs, work.product
    width = logs.size
    for k in range(width):
        product[k] = 1.0
        logs[k] = 0.0
    factors = 0
    for j in range(rows.size):
        y, n = rows.y[j], rows.n[j]
        at, step = rows.v[j] + rows.slope[j] * middle, rows.slope[j] * h
        row = work.score[j]
        for k in range(width):
            eta = at + step * (k - width // 2)
            size = abs(eta)
            ratio = mills(size)
            square = 0.5 * size * size
            density = exp(-square)
            rest = 1.0 - density * ratio
            outer = y if eta < 0.0 else n - y
            inner = n - outer
            if n == 1.0:
                product[k] *= ratio if outer > 0.0 else rest
                logs[k] -= outer * square
            else:
                logs[k] += outer * (log(ratio) - square) + inner * log(rest)
            if want:
                total = outer / ratio - inner * (density / rest)
                row[k] = _ROOT_2PI_INVERSE * (total if eta < 0.0 else -total)
        factors += 1
        if factors == 16:
            for k in range(width):
                logs[k] += log(product[k])
                product[k] = 1.0
            factors = 0
    for k in range(width):
        logs[k] += log(product[k])
