"""Derivatives of single terms: every function a formula may call, bases, zeros, corners."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from formulae.environment import Environment
from formulae.terms.call import Call
from formulae.terms.call_resolver import LazyCall, LazyOperator, LazyValue, LazyVariable
from formulae.terms.terms import Term
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from popavg._dual import FUNCTION_SLOPES, OPERATORS
from popavg.call_derivatives import STEPS, TRANSFORMS, obstacle, term_derivative
from popavg.fixed_effects import FixedEffects
from popavg.formula_calls import CALLABLE, ENCODERS, NUMPY_FUNCTIONS

RNG = np.random.default_rng(3)
TRAINING = pd.DataFrame(
    {
        "x": RNG.uniform(0.2, 6.0, 80),
        "z": RNG.uniform(1.0, 3.0, 80),
        "n": RNG.integers(1, 9, 80),
        "arm": np.array(["a", "b", "c"])[RNG.integers(0, 3, 80)],
    }
)
POINTS = np.array([0.31, 0.9, 1.7, 2.6, 4.2, 5.3])


def derivative(text: str, x: Any, **columns: Any) -> NDArray[np.float64]:
    """The columns' derivative in x, without those of an intercept."""
    frame = pd.DataFrame({"x": x, "z": 2.0, "n": 3, "arm": "a"}).assign(**columns)
    return FixedEffects.build(f"0 + {text}", TRAINING).derivative(frame, "x")[0]


def test_every_function_has_a_derivative_or_is_refused_in_words() -> None:
    known = (set(FUNCTION_SLOPES), set(STEPS), set(TRANSFORMS), set(ENCODERS))
    assert set.union(*known) == CALLABLE
    assert sum(map(len, known)) == len(CALLABLE)
    assert known[0] | known[1] == set(NUMPY_FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTION_SLOPES)
@pytest.mark.parametrize("sign", [1, -1])
def test_every_function_against_a_central_step(name: str, sign: int) -> None:
    function = getattr(np, name)
    u = (sign if name not in ("log", "log2", "log10", "log1p", "sqrt") else 1) * POINTS
    h = 1e-5
    twin = (function(u + h) - function(u - h)) / (2 * h)
    np.testing.assert_allclose(FUNCTION_SLOPES[name](u), twin, rtol=1e-7)
    if sign > 0:
        np.testing.assert_allclose(derivative(f"{name}(x)", u)[:, 0], twin, rtol=1e-7)


@pytest.mark.parametrize("name", STEPS)
def test_functions_in_steps(name: str) -> None:
    fixed = FixedEffects.build(f"z + I({name}(x) * z)", TRAINING)
    assert fixed.obstacle("x") == f"'{name}(x)' goes in steps"
    assert fixed.obstacle("z") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I(x > 3)", "the formula compares it in 'x > 3'"),
        ("z:I(z * (2 <= x))", "the formula compares it in '2 <= x'"),
        ("z + C(x)", r"'C(x)' makes categories of it"),
        ("S(x, 1)", r"'S(x, 1)' makes categories of it"),
        ("scale(log(floor(x)))", "'floor(x)' goes in steps"),
        ("x*z + I(z > 1) + C(arm, Treatment('b'))", None),
        ("poly(x, 2) + bs(x, df=4) + I(z / x)", None),
        ("1", None),
    ],
)
def test_obstacles(text: str, words: str | None) -> None:
    whole = TRAINING.assign(x=TRAINING["x"].round() + 1)
    assert FixedEffects.build(text, whole).obstacle("x") == words


def test_a_column_called_like_an_option_is_not_meant_by_it() -> None:
    frame = TRAINING.assign(Treatment=TRAINING["x"])
    assert (
        FixedEffects.build("C(arm, Treatment('b')) + Treatment", frame).obstacle("Treatment")
        is None
    )


ARITHMETIC = {
    "x": lambda x, z: np.ones_like(x),
    "I(-(x - 3))": lambda x, z: -np.ones_like(x),
    "I(+x)": lambda x, z: np.ones_like(x),
    "I(2 - x / 4)": lambda x, z: np.full_like(x, -0.25),
    "I(x**2 + 3*x*z - z/x)": lambda x, z: 2 * x + 3 * z + z / x**2,
    "I((x**2 + z) / (1 + x))": lambda x, z: (2 * x * (1 + x) - (x**2 + z)) / (1 + x) ** 2,
    "I(x**-2)": lambda x, z: -2 * x**-3.0,
    "I(x**0.5)": lambda x, z: 0.5 / np.sqrt(x),
    "I(z * x**1)": lambda x, z: z,
    "I(x * (z > 1.5))": lambda x, z: 1.0 * (z > 1.5),
    "log(sqrt(1 + x**2))": lambda x, z: x / (1 + x**2),
    "I(log(x) * exp(-x))": lambda x, z: np.exp(-x) / x - np.log(x) * np.exp(-x),
    "I(floor(z) * x)": lambda x, z: np.floor(z),
}


@pytest.mark.parametrize("text", ARITHMETIC)
def test_arithmetic_by_hand(text: str) -> None:
    z = np.array([1.1, 1.4, 1.6, 2.0, 2.5, 2.9])
    found = derivative(text, POINTS, z=z)[:, 0]
    np.testing.assert_allclose(found, ARITHMETIC[text](POINTS, z), rtol=1e-12, atol=0)


def test_every_operator_is_one_of_formulaes_and_the_others_compare() -> None:
    assert set(OPERATORS) < set(LazyOperator.SYMBOLS)
    assert set(LazyOperator.SYMBOLS) - set(OPERATORS) == {"eq", "ne", "le", "lt", "ge", "gt"}


@pytest.mark.parametrize("text", ["I(x**0 + x)", "I(0*x + x)", "I(x - 0)"])
def test_zeros_are_numbers_like_others(text: str) -> None:
    assert derivative(text, [0.0, 2.0])[:, 0].tolist() == [1.0, 1.0]


def test_other_terms_have_derivative_zero() -> None:
    text = "z + log(z) + arm + C(n):z + I(z > 2) + x"
    fixed = FixedEffects.build(text, TRAINING)
    X, offset = fixed.derivative(TRAINING, "x")
    assert X.shape == (len(TRAINING), len(fixed.terms))
    assert X[:, fixed.terms.index("x")].tolist() == [1.0] * len(TRAINING)
    assert np.abs(X).sum() == len(TRAINING)
    assert not offset.any()


def test_transforms_keep_what_they_stored() -> None:
    sd, mean = TRAINING["x"].std(ddof=0), TRAINING["x"].mean()
    scaled = derivative("scale(x) + standardize(x) + center(x)", POINTS)
    assert scaled.shape == (6, 3)
    np.testing.assert_allclose(scaled, np.tile([1 / sd, 1 / sd, 1.0], (6, 1)), rtol=1e-13)
    squared = derivative("I(scale(x)**2)", POINTS)[:, 0]
    np.testing.assert_allclose(squared, 2 * (POINTS - mean) / sd**2, rtol=1e-12)
    assert derivative("x", [2.0]).tolist() == [[1.0]]


def test_raw_polynomials() -> None:
    found = derivative("poly(x, 4, raw=True)", POINTS)
    twin = np.column_stack([np.ones(6), 2 * POINTS, 3 * POINTS**2, 4 * POINTS**3])
    np.testing.assert_allclose(found, twin, rtol=1e-13)
    at_zero = derivative("poly(x, 2, raw=True)", [0.0])
    assert at_zero.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("degree", [1, 2, 5])
def test_orthogonal_polynomials_against_numpys(degree: int) -> None:
    """The columns are polynomials: fit them through the training rows, differentiate."""
    x = TRAINING["x"].to_numpy()
    columns = FixedEffects.build(f"0 + poly(x, {degree})", TRAINING).evaluate(TRAINING)[0]
    twin = [np.polynomial.Polynomial.fit(x, column, degree).deriv()(POINTS) for column in columns.T]
    found = derivative(f"poly(x, {degree})", POINTS)
    np.testing.assert_allclose(found, np.column_stack(twin), rtol=1e-8, atol=1e-10)


def spline_call(**options: Any) -> Term:
    """``bs(x, …)`` evaluated on the training rows; lists of knots can't be written in a formula."""
    arguments = {name: LazyValue(value, str(value)) for name, value in options.items()}
    term = Term(Call(LazyCall("bs", [LazyVariable("x")], arguments)))
    term.set_type(TRAINING, Environment([{}]))
    term.set_data(False)
    return term


@pytest.mark.parametrize("degree", [2, 3, 4])
@pytest.mark.parametrize("intercept", [True, False])
def test_splines_against_scipys(degree: int, intercept: bool) -> None:
    inner = [1.5, 2.0, 4.5]
    term = spline_call(knots=inner, degree=degree, intercept=intercept)
    low, high = TRAINING["x"].min(), TRAINING["x"].max()
    knots = np.r_[[low] * (degree + 1), inner, [high] * (degree + 1)]
    x = np.r_[low, POINTS, 1.5, 2.0, high]
    count = len(knots) - degree - 1
    twin = np.column_stack([BSpline(knots, c, degree).derivative()(x) for c in np.eye(count)])
    found = term_derivative(term, pd.DataFrame({"x": x}), "x")
    np.testing.assert_allclose(found, twin[:, not intercept :], rtol=1e-10, atol=1e-12)


def test_corners_of_splines() -> None:
    data = pd.DataFrame({"x": [1.0, 1.5, 2.0, 3.0]})
    line = term_derivative(spline_call(knots=[1.5, 3.0], degree=1), data, "x")
    assert np.isnan(line).all(axis=1).tolist() == [False, True, False, True]
    assert np.isfinite(term_derivative(spline_call(knots=[1.5, 3.0], degree=2), data, "x")).all()
    double = term_derivative(spline_call(knots=[1.5, 1.5, 3.0], degree=2), data, "x")
    assert np.isnan(double).any(axis=1).tolist() == [False, True, False, False]


def test_ends_of_splines_are_one_sided() -> None:
    low, high = TRAINING["x"].min(), TRAINING["x"].max()
    data = pd.DataFrame({"x": [low, high]})
    h = 1e-6
    for degree in (1, 3):
        term = spline_call(df=5, degree=degree)
        inside = pd.DataFrame({"x": [low + h, high - h]})
        step = (term.eval_new_data(inside) - term.eval_new_data(data)) / np.array([[h], [-h]])
        np.testing.assert_allclose(term_derivative(term, data, "x"), step, rtol=1e-4, atol=1e-4)


def test_where_there_is_no_derivative() -> None:
    x = [0.0, 1.0]
    assert derivative("sqrt(x)", x)[0, 0] == np.inf
    assert np.isnan(derivative("abs(x)", x)[0, 0])
    assert derivative("abs(x)", [-2.0, 2.0])[:, 0].tolist() == [-1.0, 1.0]
    assert np.isnan(derivative("sqrt(I(x**2))", x)[0, 0])


def test_a_factor_that_is_zero_whatever_x_makes_the_derivative_zero() -> None:
    found = derivative("sqrt(x):arm", [0.0, 0.0, 4.0], arm=["a", "c", "b"])
    assert found.tolist() == [[np.inf, 0, 0], [0, 0, np.inf], [0, 0.25, 0]]
    assert derivative("I(sqrt(x) * z)", [0.0], z=0.0).tolist() == [[0.0]]
    assert np.isnan(derivative("I(sqrt(x) * x)", [0.0])[0, 0])


def test_the_order_of_an_interactions_columns() -> None:
    found = derivative("poly(x, 2, raw=True):arm", [3.0], arm="b")
    assert found.tolist() == [[0, 1, 0, 0, 6, 0]]
    assert derivative("arm:poly(x, 2, raw=True)", [3.0], arm="b").tolist() == [[0, 0, 1, 6, 0, 0]]


def test_a_tree_made_by_hand() -> None:
    tree = LazyOperator(operator.mul, LazyVariable("x"), LazyVariable("x"))
    term = Term(Call(LazyCall("I", [tree], {})))
    term.set_type(TRAINING, Environment([{}]))
    assert obstacle(term, "x") is None
    assert term_derivative(term, TRAINING, "x")[:, 0].tolist() == (2 * TRAINING["x"]).tolist()
