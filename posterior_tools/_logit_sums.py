r"""The logit's sums over nodes, eight trials together.

A trial's factor 1 + e t is linear in t = exp(u), e being its odds: eight of them are the product
of two polynomials, whose coefficients are made once.
"""

# ruff: noqa: PLR0917  (numba: no keyword-only arguments, calls cost in its loops)

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from popavg.posterior_tools._integrated_math import exp, log

__all__ = [
    "constant_of",
    "divide",
    "exponentials",
    "gather",
    "gather_alone",
    "gather_four",
    "moment",
    "multiply",
    "weigh_eight",
    "weigh_four",
]

type Floats = NDArray[np.float64]

# Inlined, because a kernel from the cache may have other copies of its parts than one compiled
# here: these then sum in another order.
_summing = njit(
    nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True,
    fastmath={"reassoc", "contract", "nsz"}, forceinline=True,
)  # fmt: skip


@_summing
def _coefficients(e: Floats, p: int) -> tuple[float, float, float, float]:
    """Of the polynomial of four trials, without the constant 1."""
    a0, a1, a2, a3 = e[p], e[p + 1], e[p + 2], e[p + 3]
    s0, p0, s1, p1 = a0 + a1, a0 * a1, a2 + a3, a2 * a3
    return s0 + s1, p0 + p1 + s0 * s1, p0 * s1 + p1 * s0, p0 * p1


@_summing
def multiply(e: Floats, p: int, up: Floats, at: tuple[int, int], product: Floats) -> None:
    """Multiply by the factors of eight trials: of two polynomials in the table, none negative."""
    b1, b2, b3, b4 = _coefficients(e, p)
    c1, c2, c3, c4 = _coefficients(e, p + 4)
    for k in range(at[1]):
        t = up[at[0], k]
        low = ((b4 * t + b3) * t + b2) * t + b1
        high = ((c4 * t + c3) * t + c2) * t + c1
        product[k] *= (1.0 + low * t) * (1.0 + high * t)


@_summing
def weigh_eight(
    e: Floats, p: int, up: Floats, power: Floats, at: tuple[int, int, int], out: Floats
) -> float:
    """The integrand of eight trials and its sum; ``at``: rows of both tables, and nodes."""
    b1, b2, b3, b4 = _coefficients(e, p)
    c1, c2, c3, c4 = _coefficients(e, p + 4)
    total = 0.0
    for k in range(at[2]):
        t = up[at[0], k]
        low = ((b4 * t + b3) * t + b2) * t + b1
        high = ((c4 * t + c3) * t + c2) * t + c1
        weight = power[at[1], k] / ((1.0 + low * t) * (1.0 + high * t))
        out[k] = weight
        total += weight
    return total


@_summing
def divide(power: Floats, row: int, nodes: int, product: Floats) -> float:
    """The integrand in place of the product; its sum."""
    total = 0.0
    for k in range(nodes):
        weight = power[row, k] / product[k]
        product[k] = weight
        total += weight
    return total


@_summing
def exponentials(
    product: Floats, logs: Floats, successes: float, line: tuple[Floats, Floats]
) -> tuple[float, float]:
    """The integrand where the product had to be logged, its sum, and the logarithm taken out."""
    effect, log_weight = line
    largest, nodes = -math.inf, effect.size
    for k in range(nodes):
        logs[k] = successes * effect[k] + log_weight[k] - (logs[k] + log(product[k]))
    for k in range(nodes):
        largest = max(largest, logs[k])
    total = 0.0
    for k in range(nodes):
        product[k] = exp(logs[k] - largest)
        total += product[k]
    return total, largest


@_summing
def weigh_four(
    e: Floats, p: int, up: Floats, power: Floats, at: tuple[int, int, int], out: Floats
) -> float:
    """The integrand of four trials and its sum; ``at``: rows of both tables, and nodes."""
    b1, b2, b3, b4 = _coefficients(e, p)
    total = 0.0
    for k in range(at[2]):
        t = up[at[0], k]
        weight = power[at[1], k] / (1.0 + (((b4 * t + b3) * t + b2) * t + b1) * t)
        out[k] = weight
        total += weight
    return total


@_summing
def gather_four(e: Floats, p: int, up: Floats, weight: Floats, column: Floats, out: Floats) -> None:
    """As :func:`gather`, of clusters with four trials at most."""
    a0, a1, a2, a3 = e[p], e[p + 1], e[p + 2], e[p + 3]
    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
    for k in range(weight.size):
        t = up[k]
        b0, b1, b2, b3 = 1.0 + a0 * t, 1.0 + a1 * t, 1.0 + a2 * t, 1.0 + a3 * t
        c01, c23 = b0 * b1, b2 * b3
        both = weight[k] / (c01 * c23)
        d01, d23 = c23 * both, c01 * both
        q0, q1, q2, q3 = b1 * d01, b0 * d01, b3 * d23, b2 * d23
        s0 += q0
        s1 += q1
        s2 += q2
        s3 += q3
        column[k] += (q0 + q1) + (q2 + q3)
    out[0], out[1], out[2], out[3] = s0, s1, s2, s3


@_summing
def gather(
    e: Floats,
    p: int,
    up: Floats,
    weight: Floats,
    column: Floats,
    out: Floats,
) -> None:
    """Eight trials' failures: over the nodes in ``out``, over the trials in ``column``."""
    a0, a1, a2, a3 = e[p], e[p + 1], e[p + 2], e[p + 3]
    a4, a5, a6, a7 = e[p + 4], e[p + 5], e[p + 6], e[p + 7]
    s0, s1, s2, s3, s4, s5, s6, s7 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(weight.size):
        t, w = up[k], weight[k]
        b0, b1, b2, b3 = 1.0 + a0 * t, 1.0 + a1 * t, 1.0 + a2 * t, 1.0 + a3 * t
        b4, b5, b6, b7 = 1.0 + a4 * t, 1.0 + a5 * t, 1.0 + a6 * t, 1.0 + a7 * t
        c01, c23, c45, c67 = b0 * b1, b2 * b3, b4 * b5, b6 * b7
        low, high = w / (c01 * c23), w / (c45 * c67)
        d01, d23, d45, d67 = c23 * low, c01 * low, c67 * high, c45 * high
        q0, q1, q2, q3 = b1 * d01, b0 * d01, b3 * d23, b2 * d23
        q4, q5, q6, q7 = b5 * d45, b4 * d45, b7 * d67, b6 * d67
        s0 += q0
        s1 += q1
        s2 += q2
        s3 += q3
        s4 += q4
        s5 += q5
        s6 += q6
        s7 += q7
        column[k] += ((q0 + q1) + (q2 + q3)) + ((q4 + q5) + (q6 + q7))
    out[0], out[1], out[2], out[3] = s0, s1, s2, s3
    out[4], out[5], out[6], out[7] = s4, s5, s6, s7


@_summing
def gather_alone(e: float, up: Floats, weight: Floats, column: Floats) -> float:
    """One trial's failures over the nodes, which are added to ``column``."""
    total = 0.0
    for k in range(weight.size):
        q = weight[k] / (1.0 + e * up[k])
        total += q
        column[k] += q
    return total


@_summing
def moment(weight: Floats, at: Floats) -> float:
    total = 0.0
    for k in range(weight.size):
        total += weight[k] * at[k]
    return total


@_summing
def constant_of(successes: Floats, v: Floats, ends: tuple[int, int]) -> tuple[float, float]:
    """Σ y v of a cluster, and the largest absolute v."""
    constant, largest = 0.0, 0.0
    for k in range(ends[0], ends[1]):
        constant += successes[k] * v[k]
        largest = max(largest, abs(v[k]))
    return constant, largest
