r"""Places of a bridge-distributed intercept along a line on which its density is smooth and even.

At the percentile expit(t) the intercept is u(t), F(u) = expit(t), so that t has the logistic
density whatever the standard deviation; nodes are even in w, t = c sinh(w / c).

Notes
-----
With q = expit(-|t|), φ the attenuation and φ' = 1 - φ, Wang & Louis' (2003) quantile is
φ u = ±log(sin(πφ(1 - q)) / sin(πφq)), the sines' ratio being 1 + 2 sin(πφ'/2) sin(πφ(½ - q)) /
sin(πφq): neither a small φ' nor a small q cancels.

u(t) is analytic where |Im t| < π, and there |Im u| <= |Im t| / φ: each factor of the sines'
products, shifted, has the larger argument. So the rows' poles, at Im u = ±π, are as far from the
line of t as if u were t / φ, and the density's are at Im t = ±π. Where the clusters' outcomes say
nothing the density falls as exp(-|t|), and nothing happens far out: w needs half as many nodes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["FARTHEST", "Shape", "alias", "at_percentile", "even_end", "node", "shape_of"]

type Floats = NDArray[np.float64]

FARTHEST = 690.0
"""Largest |t|."""

_LOGISTIC_SD = math.pi / math.sqrt(3.0)
_compiled = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


class Shape(NamedTuple):
    """φ, 1 - φ, dφ/d sd, and c."""

    phi: float
    complement: float
    by_sd: float
    bend: float


@_compiled
def shape_of(sd: float) -> Shape:
    """The distribution with a standard deviation; a negative one has the sign in ``by_sd``."""
    ratio = sd / _LOGISTIC_SD
    root = math.hypot(1.0, ratio)
    phi = 1.0 / root
    by_sd = -phi * phi * (ratio / root) / _LOGISTIC_SD
    return Shape(phi, abs(ratio) * (abs(ratio) / root) / (root + 1.0), by_sd, min(12.0, 20.0 * phi))


@_compiled
def even_end(shape: Shape, t: float) -> float:
    """The place w of t."""
    return shape.bend * math.asinh(t / shape.bend)


@_compiled
def at_percentile(shape: Shape, q: float, middle: float) -> float:
    """|u| where the nearer tail has the probability q; ``middle`` is ½ - q."""
    angle = math.pi * shape.phi
    rise = 2.0 * math.sin(0.5 * math.pi * shape.complement) * math.sin(angle * middle)
    return math.log1p(rise / math.sin(angle * q)) / shape.phi


@_compiled
def node(shape: Shape, w: float) -> tuple[float, float, float, float]:
    """At w: u, the logarithm of its density in w, du/d sd, and t."""
    t = shape.bend * math.sinh(w / shape.bend)
    odds = math.exp(-abs(t))
    q, middle = odds / (1.0 + odds), 0.5 * (1.0 - odds) / (1.0 + odds)
    size = at_percentile(shape, q, middle)
    log_density = -abs(t) - 2.0 * math.log1p(odds) + math.log(math.cosh(w / shape.bend))
    small, large = math.pi * shape.phi * q, math.pi * (shape.complement + shape.phi * q)
    slope = (1.0 - q) * math.cos(large) / math.sin(large) + q * math.cos(small) / math.sin(small)
    by_sd = -(math.pi * slope + size) / shape.phi * shape.by_sd
    if t < 0.0:
        return -size, log_density, -by_sd, t
    return size, log_density, by_sd, t


@_compiled
def alias(weight: Floats) -> float:
    """Estimate of the relative error of the rule whose terms these are, by two harmonics.

    The sum of the terms times exp(2 pi i k m / 8) is the integrand's Fourier transform F at m / 8
    of the frequency at which it is the error. Sizes fall at least exponentially: what log |F| does
    from 0 to m = 3, or from m = 2 to 3, goes on.
    """
    s0, s1, s2, s3, s4, s5, s6, s7 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(0, weight.size - 7, 8):
        s0 += weight[k]
        s1 += weight[k + 1]
        s2 += weight[k + 2]
        s3 += weight[k + 3]
        s4 += weight[k + 4]
        s5 += weight[k + 5]
        s6 += weight[k + 6]
        s7 += weight[k + 7]
    half = math.sqrt(0.5)
    a, b, c, d = s0 - s4, s1 - s5, s2 - s6, s3 - s7
    real, imaginary = a - half * (b - d), half * (b + d) - c
    high = math.sqrt(real * real + imaginary * imaginary)
    real, imaginary = s0 - s2 + s4 - s6, s1 - s3 + s5 - s7
    low = math.sqrt(real * real + imaginary * imaginary)
    total = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
    if high == 0.0:
        return 0.0
    fall = math.log(high / total)
    return 2.0 * math.exp(min(fall * (8.0 / 3.0), fall + 5.0 * math.log(high / low)))
