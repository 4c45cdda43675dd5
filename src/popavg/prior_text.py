"""Priors written as text: ``"Normal(0, 1)"`` and ``"P(sd > 3) = 0.05"``."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from popavg.errors import SpecificationError

__all__ = ["Call", "read_prior_text"]

_WAYS = "'Normal(0, 1)', 'Normal(mu=0, sigma=1)', or for a standard deviation 'P(sd > 3) = 0.05'"
_TAIL = re.compile(
    r"\s*(?:P|Pr|Prob)\s*\(\s*(?P<name>[^<>=]+?)\s*(?P<sign><=|>=|<|>)\s*(?P<bound>[^<>=]+?)\s*\)"
    r"\s*=\s*(?P<chance>[^=]+?)\s*",
    re.IGNORECASE,
)
_ANY_SD = ("sd", "sigma", "σ", "tau", "τ")
_OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


@dataclass(frozen=True)
class Call:
    """A distribution's name with what stands in its brackets."""

    name: str
    args: tuple[float, ...]
    params: dict[str, float]


def read_prior_text(text: str, parameter: str = "sd") -> Call:
    """Read a prior from text.

    Parameters
    ----------
    text : str
        A distribution by PyMC's name with numbers, or the statement of a penalised-complexity
        prior: how likely the standard deviation is to be above a bound.
    parameter : str
        What the prior is for: in ``"P(sd_patient > 3) = 0.05"`` it may stand for ``sd``.

    Returns
    -------
    Call
        Name and numbers; whether they fit together isn't checked here.

    Raises
    ------
    SpecificationError
        It is neither, or the statement has no prior.

    Notes
    -----
    The penalised-complexity prior of a standard deviation is the exponential distribution with
    the rate −log(a)/U for P(sd > U) = a (Simpson, Rue, Riebler, Martins & Sørbye 2017, section
    3.3): it falls at a constant rate away from the model without random effects.

    Examples
    --------
    >>> from popavg.prior_text import read_prior_text
    >>> read_prior_text("Normal(0, 5/2)")
    Call(name='Normal', args=(0, 2.5), params={})
    >>> round(read_prior_text("P(sd > 3) = 0.05").params["lam"], 4)
    0.9986
    """
    stated = _TAIL.fullmatch(text)
    if stated:
        return _penalised(text, stated, parameter)
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError("not a call")
        params = {str(word.arg): _number(word.value) for word in call.keywords}
        if len(params) < len(call.keywords) or "None" in params:
            raise ValueError("a parameter twice")
        return Call(call.func.id, tuple(_number(value) for value in call.args), params)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, OverflowError) as error:
        raise SpecificationError(
            f"the prior {text!r} of {parameter!r} can't be read", _WAYS, "write it in such a way"
        ) from error


def _penalised(text: str, stated: re.Match[str], parameter: str) -> Call:
    if stated["name"] not in (*_ANY_SD, parameter) or stated["sign"][0] != ">":
        raise SpecificationError(
            f"the prior {text!r} of {parameter!r} isn't a statement about its upper tail",
            f"'P({parameter} > U) = a' or 'P(sd > U) = a'",
        )
    bound, chance = _plain(stated["bound"]), _plain(stated["chance"])
    if not (0 < bound < math.inf and 0 < chance < 1):
        raise SpecificationError(
            f"the prior {text!r} of {parameter!r} has no solution",
            "a bound above 0 and a probability between 0 and 1, as in 'P(sd > 3) = 0.05'",
        )
    return Call("Exponential", (), {"lam": -math.log(chance) / bound})


def _plain(text: str) -> float:
    """A number, ``5 %`` too; NaN where it is none."""
    number, percent, rest = text.partition("%")
    try:
        return math.nan if rest.strip() else float(number) / (100 if percent else 1)
    except ValueError:
        return math.nan


def _number(node: ast.expr) -> float:
    """Numbers and sums, differences, products and quotients of numbers."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value  # ty: ignore[invalid-explicit-return]
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_number(node.operand))
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_number(node.left), _number(node.right))
    raise ValueError("not a number")
