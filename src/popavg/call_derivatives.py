"""Derivatives of a formula's terms in one of their variables, exact and with what the fit stored.

Formulae keeps each term as a tree of variables, operators and calls. Its derivative is carried
along with its value from the leaves upwards, with the mean, the polynomials' coefficients and the
knots that the training data gave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from formulae.terms.call_resolver import LazyCall, LazyOperator, LazyVariable
from numpy.typing import NDArray
from scipy.interpolate import splev

from popavg._dual import FUNCTION_SLOPES, OPERATORS, Dual, product
from popavg.formula_calls import ENCODERS

__all__ = ["STEPS", "TRANSFORMS", "obstacle", "term_derivative"]

type Floats = NDArray[np.float64]

#: Functions that jump and are flat between the jumps.
STEPS = ("sign", "floor", "ceil")


def obstacle(term: Any, variable: str) -> str | None:
    """Why a term has no derivative in a variable, in words.

    Parameters
    ----------
    term : formulae.terms.terms.Term
        A term of an evaluated formula.
    variable : str
        A numeric column.

    Returns
    -------
    str or None
        None where it has one, perhaps 0.

    See Also
    --------
    term_derivative : The derivative.
    """
    nodes = [_tree(component) for component in getattr(term, "components", ())]
    return next((words for node in nodes if (words := _obstacle(node, variable))), None)


def term_derivative(term: Any, data: pd.DataFrame, variable: str) -> Floats:
    """The derivative of a term's columns.

    Parameters
    ----------
    term : formulae.terms.terms.Term
        A term of an evaluated formula without an :func:`obstacle`.
    data : pandas.DataFrame
        Rows in the types that the term was evaluated with.
    variable : str
        A numeric column.

    Returns
    -------
    numpy.ndarray, shape (rows, columns of the term)
        Not finite in rows where there is no derivative: ``sqrt(x)`` and ``abs(x)`` at 0, a spline
        with a corner at a knot.

    Notes
    -----
    An interaction is a product of its factors, and so is its derivative by the product rule.
    A polynomial of degree k has that of the recurrence for its orthogonal polynomials (Kennedy &
    Gentle 1980, *Statistical Computing*, pp. 343–344), differentiated; a spline's is a spline of
    one degree less on the same knots (de Boor 1978, *A Practical Guide to Splines*, ch. X).
    """
    components = getattr(term, "components", ())
    if not any(variable in _columns(_tree(component)) for component in components):
        return np.zeros((len(data), len(term.labels)))
    reach = _Reach(data, variable)
    slope = reduce(_crossed, map(reach.component, components)).slope
    return np.zeros((len(data), len(term.labels))) if slope is None else slope


@dataclass(frozen=True, eq=False)
class _Reach:
    """Rows and the variable in which their values are differentiated."""

    data: pd.DataFrame
    variable: str

    def component(self, component: Any) -> Dual:
        """One factor of a term, ``(rows, columns)``."""
        tree = _tree(component)
        if self.variable not in _columns(tree):
            return Dual(_two_dimensional(component.eval_new_data(self.data)))
        dual = self.node(tree, getattr(component, "env", None))
        slope = None if dual.slope is None else _two_dimensional(dual.slope)
        return Dual(_two_dimensional(dual.value), slope)

    def node(self, node: Any, env: Any) -> Dual:
        """The value of an expression, ``(rows,)``; ``(rows, columns)`` for a basis."""
        if self.variable not in _columns(node):
            return Dual(np.asarray(node.eval(self.data, env), dtype=float))
        if isinstance(node, LazyVariable):
            value = np.asarray(self.data[node.name], dtype=float)
            return Dual(value, np.ones_like(value))
        if isinstance(node, LazyOperator):
            return OPERATORS[node.op.__name__](*(self.node(arg, env) for arg in node.args))
        inner = self.node(node.args[0], env)
        if node.callee in TRANSFORMS:
            return TRANSFORMS[node.callee](inner, node.stateful_transform)
        value = np.asarray(getattr(np, node.callee)(inner.value))
        return inner.chained(value, FUNCTION_SLOPES[node.callee](inner.value))


def _same(x: Dual, _: None) -> Dual:
    return x


def _centred(x: Dual, stored: Any) -> Dual:
    return x.chained(np.asarray(stored(x.value)), np.ones_like(x.value))


def _scaled(x: Dual, stored: Any) -> Dual:
    return x.chained(np.asarray(stored(x.value)), np.full_like(x.value, 1 / stored.std))


def _polynomials(x: Dual, stored: Any) -> Dual:
    value = stored.eval(x.value)
    outer = _raw_slopes(x.value, stored.degree) if stored.raw else _orthogonal_slopes(x, stored)
    return _columns_chained(x, value, outer)


def _raw_slopes(x: Floats, degree: int) -> Floats:
    return np.column_stack([k * x ** (k - 1) for k in range(1, degree + 1)])


def _orthogonal_slopes(x: Dual, stored: Any) -> Floats:
    """The recurrence P_k = (x - α)P_(k-1) - βP_(k-2) beside its derivative."""
    norms = [float(stored.norms2[k]) for k in range(stored.degree + 1)]
    values, slopes = [np.ones_like(x.value)], [np.zeros_like(x.value)]
    for k in range(1, stored.degree + 1):
        centred = x.value - stored.alpha[k - 1]
        value, slope = centred * values[-1], values[-1] + centred * slopes[-1]
        if k >= 2:
            beta = norms[k - 1] / norms[k - 2]
            value, slope = value - beta * values[-2], slope - beta * slopes[-2]
        values.append(value)
        slopes.append(slope)
    return np.column_stack(slopes[1:]) / np.sqrt(norms[1:])


def _splines(x: Dual, stored: Any) -> Dual:
    """The slopes of the splines, one-sided at the ends of their range."""
    knots, degree = np.asarray(stored._knots, dtype=float), stored._degree
    coefficients = np.eye(len(knots) - degree - 1)
    outer = np.column_stack([splev(x.value, (knots, c, degree), der=1) for c in coefficients])
    outer[np.isin(x.value, _corners(knots, degree))] = np.nan
    first = 0 if stored._intercept else 1
    return _columns_chained(x, stored.eval(x.value), outer[:, first:])


def _corners(knots: Floats, degree: int) -> Floats:
    """Inner knots where the splines have a corner or a jump."""
    places, counts = np.unique(knots[(knots > knots[0]) & (knots < knots[-1])], return_counts=True)
    return places[counts >= degree]


def _columns_chained(x: Dual, value: Floats, outer: Floats) -> Dual:
    slope = None if x.slope is None else outer * x.slope[:, np.newaxis]
    return Dual(np.asarray(value, dtype=float), slope)


#: Formulae's functions of numbers, each with what it stored at the fit.
TRANSFORMS: Mapping[str, Callable[[Dual, Any], Dual]] = MappingProxyType(
    {
        "I": _same,
        "offset": _same,
        "center": _centred,
        "scale": _scaled,
        "standardize": _scaled,
        "poly": _polynomials,
        "bs": _splines,
    }
)


def _crossed(left: Dual, right: Dual) -> Dual:
    """Every column of the one times every column of the other, the other's running faster."""
    both = product(
        Dual(*(_new_axis(part, 2) for part in (left.value, left.slope))),
        Dual(*(_new_axis(part, 1) for part in (right.value, right.slope))),
    )
    flat = (len(both.value), -1)
    slope = None if both.slope is None else both.slope.reshape(flat)
    return Dual(both.value.reshape(flat), slope)


def _new_axis(values: Floats | None, axis: int) -> Any:
    return None if values is None else np.expand_dims(values, axis)


def _two_dimensional(values: Any) -> Floats:
    array = np.asarray(values, dtype=float)
    return array[:, np.newaxis] if array.ndim == 1 else array


def _tree(component: Any) -> Any:
    """The tree of a component: a variable's is a leaf."""
    return getattr(component, "call", None) or LazyVariable(component.name)


def _inner(node: Any) -> tuple[Any, ...]:
    """What a node computes with."""
    return tuple(getattr(node, "args", ()))


def _columns(node: Any) -> frozenset[str]:
    """Columns of the data that an expression names."""
    if isinstance(node, LazyVariable):
        return frozenset({node.name})
    return frozenset[str]().union(*map(_columns, _inner(node)))


def _obstacle(node: Any, variable: str) -> str | None:
    if variable not in _columns(node):
        return None
    if isinstance(node, LazyOperator) and node.op.__name__ not in OPERATORS:
        return f"the formula compares it in '{node}'"
    if isinstance(node, LazyCall):
        if node.callee in ENCODERS:
            return f"'{node}' makes categories of it"
        if node.callee not in TRANSFORMS and node.callee not in FUNCTION_SLOPES:
            return f"'{node}' goes in steps"
    return next((words for arg in _inner(node) if (words := _obstacle(arg, variable))), None)
