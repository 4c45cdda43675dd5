"""Equations in b0, b1, … such as ``"b1 - b0 = 0"``: read with Python's grammar, never executed."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from popavg.errors import SpecificationError

__all__ = ["check_equation", "evaluate_equation", "replace_indices"]

#: Characters of an equation; Python's own limit of nesting differs between processes.
_LONGEST = 2_000
_INDEX = re.compile(r"\bb(\d+)\b")
_ALLOWED = "numbers, b0, b1, …, + - * / **, parentheses, log(), exp() and at most one '='"
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {"log": np.log, "exp": np.exp}


def check_equation(text: str, n: int) -> None:
    """Whether it can be read, speaks of no more than ``n`` estimates, and its numbers exist.

    Raises
    ------
    SpecificationError
        It isn't so.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        evaluate_equation(text, [np.ones(0)] * n)


def evaluate_equation(text: str, estimates: Sequence[Any]) -> Any:
    """Left side less right side.

    Raises
    ------
    SpecificationError
        What can't be read; numbers of it that divide by 0, are too large or aren't real.
    """
    if len(text) > _LONGEST:
        raise SpecificationError(
            f"hypothesis can't be read: an equation of {len(text):,} characters",
            f"at most {_LONGEST:,}",
            "give the weights of a linear combination as numbers",
        )
    sides = text.split("=")
    if len(sides) > 2 or not _INDEX.search(text):
        raise _unreadable(text)
    values = [_Reader(text, estimates).value(side) for side in sides]
    return values[0] if len(values) == 1 else values[0] - values[1]


def replace_indices(text: str, names: Sequence[str]) -> str:
    """The equation with the estimates' names in place of b0 and so on."""
    return _INDEX.sub(lambda found: f"({names[int(found.group(1))]})", text)


class _Reader:
    def __init__(self, text: str, estimates: Sequence[Any]) -> None:
        self.text = text
        self.estimates = estimates

    def value(self, side: str) -> Any:
        try:
            tree = ast.parse(side.strip(), mode="eval")
            return self._of(tree.body)
        except (SyntaxError, RecursionError, MemoryError):
            raise _unreadable(self.text) from None
        except ZeroDivisionError:
            raise _impossible(self.text, "divides by 0") from None
        except OverflowError:
            raise _impossible(self.text, "holds a number that is too large") from None

    def _of(self, node: ast.expr) -> Any:
        match node:
            case ast.BinOp(left, kind, right) if type(kind) in _BINARY:
                return self._real(_BINARY[type(kind)](self._of(left), self._of(right)))
            case ast.UnaryOp(kind, operand) if type(kind) in _UNARY:
                return _UNARY[type(kind)](self._of(operand))
            case ast.Constant(value) if isinstance(value, (int, float)):
                return self._real(float(value))
            case ast.Call(ast.Name(name), [argument], []) if name in _FUNCTIONS:
                return self._real(_FUNCTIONS[name](self._of(argument)))
            case ast.Name(name) if _INDEX.fullmatch(name):
                return self._estimate(name)
        raise _unreadable(self.text)

    def _real(self, found: Any) -> Any:
        """What stands without estimates is a finite number; draws are checked by the caller."""
        if isinstance(found, complex):
            raise _impossible(self.text, "takes the root of a negative number")
        if isinstance(found, float) and not np.isfinite(found):
            raise _impossible(self.text, f"holds a number that is {found}")
        return found

    def _estimate(self, name: str) -> Any:
        position, n = int(name[1:]), len(self.estimates)
        if position >= n:
            raise SpecificationError(
                f"{name} in hypothesis={self.text!r}, but there are {n} estimates",
                f"b0 to b{n - 1}, in the order of the rows",
                "call without a hypothesis to see them",
            )
        return self.estimates[position]


def _impossible(text: str, why: str) -> SpecificationError:
    return SpecificationError(
        f"hypothesis={text!r} {why}", "finite real numbers", "mend the numbers in the equation"
    )


def _unreadable(text: str) -> SpecificationError:
    return SpecificationError(
        f"hypothesis={text!r} can't be read", _ALLOWED, "write for instance 'b1 - b0 = 0'"
    )
