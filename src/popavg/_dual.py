"""Values beside their derivatives in one variable: the arithmetic of forward differentiation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

__all__ = ["FUNCTION_SLOPES", "OPERATORS", "Dual", "product"]

type Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Dual:
    """A value for each row, and its derivative.

    Attributes
    ----------
    value : numpy.ndarray
        A number, ``(rows,)`` or ``(rows, columns)``.
    slope : numpy.ndarray or None
        The derivative, of a shape that broadcasts with the value's; None where the value doesn't
        depend on the variable.

    Notes
    -----
    None isn't 0: a factor that is 0 whatever the variable takes the place of an infinite slope of
    the other factor, as in ``sqrt(x):arm`` at ``x = 0`` in the other arms.
    """

    value: Floats
    slope: Floats | None = None

    def chained(self, value: Floats, outer: Floats) -> Dual:
        """A function's value at this one; ``outer`` is the function's derivative there."""
        return Dual(value, None if self.slope is None else outer * self.slope)


def product(left: Dual, right: Dual) -> Dual:
    """The product, ``(uv)' = u'v + uv'``; shapes broadcast."""
    slope = _total(_part(left, right), _part(right, left))
    return Dual(left.value * right.value, slope)


def _part(moving: Dual, factor: Dual) -> Floats | None:
    if moving.slope is None:
        return None
    part = moving.slope * factor.value
    return np.where(factor.value == 0, 0.0, part) if factor.slope is None else part


def _sum(left: Dual, right: Dual) -> Dual:
    return Dual(left.value + right.value, _total(left.slope, right.slope))


def _total(one: Floats | None, other: Floats | None) -> Floats | None:
    if one is None or other is None:
        return one if other is None else other
    return one + other


def _negative(dual: Dual) -> Dual:
    return Dual(-dual.value, None if dual.slope is None else -dual.slope)


def _reciprocal(dual: Dual) -> Dual:
    return dual.chained(1 / dual.value, -1 / dual.value**2)


def _power(base: Dual, exponent: Dual) -> Dual:
    """The exponent is a number: a formula can't have another one."""
    number = float(exponent.value)
    value = base.value**number
    outer = number * base.value ** (number - 1) if number else np.zeros_like(value)
    return base.chained(value, outer)


#: By the name of Python's operator.
OPERATORS: Mapping[str, Callable[..., Dual]] = MappingProxyType(
    {
        "add": _sum,
        "sub": lambda left, right: _sum(left, _negative(right)),
        "mul": product,
        "truediv": lambda left, right: product(left, _reciprocal(right)),
        "pow": _power,
        "pos": lambda dual: dual,
        "neg": _negative,
    }
)

#: The derivatives of NumPy's functions; that of ``abs`` at 0 is undefined.
FUNCTION_SLOPES: Mapping[str, Callable[[Floats], Floats]] = MappingProxyType(
    {
        "log": lambda u: 1 / u,
        "log2": lambda u: 1 / (u * np.log(2)),
        "log10": lambda u: 1 / (u * np.log(10)),
        "log1p": lambda u: 1 / (1 + u),
        "exp": np.exp,
        "expm1": np.exp,
        "sqrt": lambda u: 0.5 / np.sqrt(u),
        "abs": lambda u: np.where(u == 0, np.nan, np.sign(u)),
        "sin": np.cos,
        "cos": lambda u: -np.sin(u),
        "tan": lambda u: 1 / np.cos(u) ** 2,
        "arctan": lambda u: 1 / (1 + u**2),
        "sinh": np.cosh,
        "cosh": np.sinh,
        "tanh": lambda u: 1 / np.cosh(u) ** 2,
    }
)
