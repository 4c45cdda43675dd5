"""Arithmetic of the bridge distribution that neither overflows nor cancels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["FAR", "Shape", "distance", "tail_parts", "upper_tail"]

type Floats = NDArray[np.float64]

#: Beyond so many 1/phi the tail is an exponential to the last digit; so is a sine its argument.
FAR = 40.0


class Shape(NamedTuple):
    """φ, 1 − φ to full relative accuracy, sin(π(1 − φ)/2), and sin(πφ)."""

    phi: Floats
    complement: Floats
    half_sine: Floats
    sine: Floats

    @classmethod
    def build(cls, phi: Floats, complement: Floats) -> Shape:
        """The sines too."""
        half = np.sin(0.5 * np.pi * complement)
        return cls(phi, complement, half, 2.0 * half * np.sin(0.5 * np.pi * phi))


def tail_parts(shape: Shape, u: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """φ|u|, 1 − q and q with q = exp(−φ|u|)."""
    far = shape.phi * np.abs(np.asarray(u, dtype=np.float64))
    return far, -np.expm1(-far), np.exp(-far)


def upper_tail(shape: Shape, u: ArrayLike) -> Floats:
    """Probability above |u|."""
    _, left, q = tail_parts(shape, u)
    angle = np.arctan2(q * shape.sine, left + 2.0 * q * np.square(shape.half_sine))
    inner = angle / (np.pi * shape.phi)
    at_zero = (np.asarray(u) == 0.0) & (shape.complement == 0.0)
    return np.where(at_zero, 0.5, inner)


def distance(shape: Shape, middle: Floats, tail: Floats, log_tail: Floats) -> Floats:
    """|u| of a percentile: its distance from 1/2, that from the nearer end, and its log."""
    phi, complement = shape.phi, shape.complement
    spike = phi > 0.5
    low = np.where(spike, np.tan(0.5 * np.pi * complement), 1.0 / np.tan(0.5 * np.pi * phi))
    # Angles near π or π/2 by what they lack of it: φ(1 − p) = 1 − (1 − φ) − φp.
    lack = complement + phi * tail
    with np.errstate(divide="ignore", invalid="ignore"):
        outer = low / np.tan(np.pi * (lack - 0.5 * complement))
        near = np.where(spike & (middle > 0.25), outer, low * np.tan(np.pi * phi * middle))
        sine = np.log(np.sin(np.pi * phi * tail))
        small = np.where(log_tail < -FAR, np.log(np.pi * phi) + log_tail, sine)
        large = np.log(np.sin(np.pi * np.minimum(lack, phi * (0.5 + middle))))
        central = 2.0 * np.arctanh(np.minimum(near, 0.5))
        found = np.where(near < 0.5, central, large - small) / phi
    return np.where(complement > 0.0, found, 0.0)
