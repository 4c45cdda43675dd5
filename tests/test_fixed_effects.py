"""The fixed effects' columns equal designs made by hand, for the training data and for new data."""

from __future__ import annotations

import io
import threading
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from popavg.errors import DataError, FormulaError
from popavg.fixed_effects import FixedEffects
from popavg.frames import select

RNG = np.random.default_rng(20240)
N = 40
X = RNG.normal(5, 2, N)
Z = RNG.integers(1, 9, N)
FLAG = RNG.random(N) < 0.4
ARM = np.array(["b", "c", "a"])[RNG.integers(0, 3, N)]
SITE = np.array(["s1", "s2"])[RNG.integers(0, 2, N)]
FRAME = pd.DataFrame(
    {
        "x": X,
        "z": Z,
        "flag": FLAG,
        "arm": ARM,
        "site": SITE,
        "my x": X,
        "log": X,
        "grade": pd.Categorical(ARM, categories=["c", "a", "b"]),
    }
)
DATA = select(FRAME, list(FRAME))
ONE = np.ones(N)


def dummies(values: NDArray[Any], *levels: object) -> list[NDArray[np.float64]]:
    return [(values == level).astype(float) for level in levels]


def orthogonal(x: NDArray[np.float64], degree: int) -> list[NDArray[np.float64]]:
    """Orthonormal polynomials by QR: what R's poly() gives."""
    powers = np.vander(x - x.mean(), degree + 1, increasing=True)
    basis, triangle = np.linalg.qr(powers)
    return list((basis * np.sign(np.diag(triangle))).T[1:])


def splines(x: NDArray[np.float64], inner: list[float]) -> list[NDArray[np.float64]]:
    knots = np.r_[[x.min()] * 4, inner, [x.max()] * 4]
    return list(BSpline.design_matrix(x, knots, 3).toarray().T[1:])


A, C = dummies(ARM, "a", "c")
S2 = dummies(SITE, "s2")[0]
CASES: dict[str, dict[str, NDArray[Any]]] = {
    "1": {"Intercept": ONE},
    "x": {"Intercept": ONE, "x": X},
    "0 + x": {"x": X},
    "x - 1": {"x": X},
    "0 + x + 1": {"Intercept": ONE, "x": X},
    "flag": {"Intercept": ONE, "flag": FLAG},
    "`my x`": {"Intercept": ONE, "my x": X},
    "log + log(log)": {"Intercept": ONE, "log": X, "log(log)": np.log(X)},
    "arm": {"Intercept": ONE, "arm[b]": ARM == "b", "arm[c]": C},
    "0 + arm": {"arm[a]": A, "arm[b]": ARM == "b", "arm[c]": C},
    "grade": {"Intercept": ONE, "grade[a]": A, "grade[b]": ARM == "b"},
    "C(arm, Treatment('b'))": {
        "Intercept": ONE,
        "C(arm, Treatment('b'))[a]": A,
        "C(arm, Treatment('b'))[c]": C,
    },
    "C(grade, Treatment('b'))": {
        "Intercept": ONE,
        "C(grade, Treatment('b'))[c]": C,
        "C(grade, Treatment('b'))[a]": A,
    },
    "C(grade)": {"Intercept": ONE, "C(grade)[a]": A, "C(grade)[b]": ARM == "b"},
    "T(arm, ref='c')": {
        "Intercept": ONE,
        "T(arm, ref='c')[a]": A,
        "T(arm, ref='c')[b]": ARM == "b",
    },
    "S(arm)": {
        "Intercept": ONE,
        "S(arm)[a]": A - C,
        "S(arm)[b]": 1.0 * (ARM == "b") - C,
    },
    "C(flag)": {"Intercept": ONE, "C(flag)[True]": FLAG},
    "C(z)": {"Intercept": ONE, **{f"C(z)[{k}]": k == Z for k in sorted(set(Z.tolist()))[1:]}},
    "x*arm": {
        "Intercept": ONE,
        "x": X,
        "arm[b]": ARM == "b",
        "arm[c]": C,
        "x:arm[b]": X * (ARM == "b"),
        "x:arm[c]": X * C,
    },
    "x:site": {"Intercept": ONE, "x:site[s1]": X * (1 - S2), "x:site[s2]": X * S2},
    "site*grade": {
        "Intercept": ONE,
        "site[s2]": S2,
        "grade[a]": A,
        "grade[b]": ARM == "b",
        "site[s2]:grade[a]": S2 * A,
        "site[s2]:grade[b]": S2 * (ARM == "b"),
    },
    "(site + flag)*(x + z)": {
        "Intercept": ONE,
        "site[s2]": S2,
        "flag": FLAG,
        "x": X,
        "z": Z,
        "site[s2]:x": S2 * X,
        "site[s2]:z": S2 * Z,
        "flag:x": FLAG * X,
        "flag:z": FLAG * Z,
    },
    "0 + site:(x + z)": {
        "site[s1]:x": (1 - S2) * X,
        "site[s2]:x": S2 * X,
        "site[s1]:z": (1 - S2) * Z,
        "site[s2]:z": S2 * Z,
    },
    "site/x": {"Intercept": ONE, "site[s2]": S2, "site[s1]:x": (1 - S2) * X, "site[s2]:x": S2 * X},
    "poly(x, 3)": {
        "Intercept": ONE,
        **{f"poly(x, 3)[{i}]": column for i, column in enumerate(orthogonal(X, 3))},
    },
    "poly(z, degree=2, raw=True)": {
        "Intercept": ONE,
        "poly(z, degree=2, raw=True)[0]": Z,
        "poly(z, degree=2, raw=True)[1]": Z**2,
    },
    "bs(x, df=5)": {
        "Intercept": ONE,
        **{
            f"bs(x, df=5)[{i}]": column
            for i, column in enumerate(splines(X, np.percentile(X, [100 / 3, 200 / 3]).tolist()))
        },
    },
    "center(x) + scale(z)": {
        "Intercept": ONE,
        "center(x)": X - X.mean(),
        "scale(z)": (Z - Z.mean()) / Z.std(),
    },
    "I(x**2) + {x / z}": {"Intercept": ONE, "I(x ** 2)": X**2, "I(x / z)": X / Z},
    "I(-(x**2)) + sqrt(abs(x - 5))": {
        "Intercept": ONE,
        "I(-x ** 2)": -(X**2),
        "sqrt(abs(x - 5))": np.sqrt(abs(X - 5)),
    },
    "I(arm == 'b') + I(grade != 'c') + I((x > 4) * (x < 6))": {
        "Intercept": ONE,
        "I(arm == 'b')": ARM == "b",
        "I(grade != 'c')": ARM != "c",
        "I(x > 4 * x < 6)": (X > 4) & (X < 6),
    },
    "I(flag + flag)": {"Intercept": ONE, "I(flag + flag)": 2 * FLAG},
    "I((z + 100)**20)": {"Intercept": ONE, "I(z + 100 ** 20)": (Z + 100.0) ** 20},
}


@pytest.mark.parametrize("text", CASES)
def test_columns_equal_those_made_by_hand(text: str) -> None:
    fixed = FixedEffects.build(text, DATA)
    design, offset = fixed.evaluate(DATA)
    wanted = CASES[text]
    assert fixed.terms == tuple(wanted)
    np.testing.assert_allclose(
        design, np.column_stack(list(wanted.values())), rtol=1e-10, atol=1e-12
    )
    assert not offset.any()


@pytest.mark.parametrize("text", CASES)
def test_each_row_alone_gives_its_row_of_the_training_matrix(text: str) -> None:
    """Splines, polynomials, scales and codings remember the training data."""
    fixed = FixedEffects.build(text, DATA)
    design = fixed.evaluate(DATA)[0]
    for i in (0, 7, N - 1):
        np.testing.assert_allclose(fixed.evaluate(DATA.iloc[[i]])[0], design[[i]], rtol=1e-12)


@pytest.mark.parametrize("text", CASES)
def test_the_order_of_rows_is_irrelevant(text: str) -> None:
    order = np.random.default_rng(1).permutation(N)
    design = FixedEffects.build(text, DATA).evaluate(DATA)[0]
    shuffled = DATA.iloc[order].reset_index(drop=True)
    fixed = FixedEffects.build(text, shuffled)
    np.testing.assert_allclose(fixed.evaluate(shuffled)[0], design[order], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("x + offset(z)", Z),
        ("offset(log(x))", np.log(X)),
        ("offset(2)", 2 * ONE),
        ("offset(0.5) + offset(z) + arm", Z + 0.5),
        ("offset(I(x / 2))", X / 2),
    ],
)
def test_offsets_are_apart_from_the_columns(text: str, offset: NDArray[Any]) -> None:
    fixed = FixedEffects.build(text, DATA)
    design, found = fixed.evaluate(DATA)
    np.testing.assert_allclose(found, offset)
    assert design.shape == (N, len(fixed.terms))
    assert not any("offset" in term for term in fixed.terms)
    np.testing.assert_allclose(fixed.evaluate(DATA.iloc[[3]])[1], offset[[3]])


def test_a_spline_does_not_extrapolate() -> None:
    fixed = FixedEffects.build("bs(x, df=4)", DATA)
    message = r"'x' reaches from .* but its spline 'bs\(x, df=4\)' was built on \["
    for value in (X.min() - 0.01, X.max() + 0.01):
        with pytest.raises(DataError, match=message):
            fixed.evaluate(pd.DataFrame({"x": [X.mean(), value]}))
    fixed.evaluate(pd.DataFrame({"x": [X.min(), X.max()]}))


def test_a_spline_with_wider_bounds_reaches_them() -> None:
    fixed = FixedEffects.build("bs(x, df=4, lower_bound=-20, upper_bound=30)", DATA)
    fixed.evaluate(pd.DataFrame({"x": [-20.0, 30.0]}))
    with pytest.raises(DataError, match=r"built on \[-20, 30\]"):
        fixed.evaluate(pd.DataFrame({"x": [-21.0]}))


def test_a_spline_of_an_expression_is_checked_where_it_counts() -> None:
    fixed = FixedEffects.build("bs(log(x), df=4)*arm", DATA)
    with pytest.raises(DataError, match=r"'log\(x\)' reaches from"):
        fixed.evaluate(pd.DataFrame({"x": [X.max() * 2], "arm": ["a"]}))


def test_training_data_outside_the_bounds_are_refused() -> None:
    with pytest.raises((FormulaError, DataError), match="bound"):
        FixedEffects.build("bs(x, df=4, upper_bound=6)", DATA).evaluate(DATA)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "the terms '0' give no columns"),
        ("offset(x) - 1", "give no columns"),
        (
            "log(arm)",
            r"'log\(arm\)' can't be evaluated on these data: .*numbers for log.*'arm': text",
        ),
        ("poly(arm, 2)", "can't be evaluated on these data"),
        ("C(arm, Treatment('q'))", "reference not in levels.*Check the columns' types and levels"),
        ("bs(x)", "Must specify either 'df' or 'knots'"),
        ("bs(x, df=2)", "df=2 is too small"),
        ("offset(arm)", r"offset\(\) can only be used with numeric"),
    ],
)
def test_what_can_not_be_evaluated(text: str, message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        FixedEffects.build(text, DATA)


def test_formulae_prints_and_logs_nothing() -> None:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(FormulaError):
        FixedEffects.build("C(arm, Treatment('q'))", DATA)
    FixedEffects.build("(x + z)**2", DATA)
    assert (out.getvalue(), err.getvalue()) == ("", "")


def test_an_unseen_level_inside_a_call_is_named() -> None:
    fixed = FixedEffects.build("C(z)", DATA)
    with pytest.raises(DataError, match=r"The levels \(77\) in 'C\(z\)' are not present"):
        fixed.evaluate(pd.DataFrame({"z": [1, 77]}))


@pytest.mark.parametrize("text", ["a:b", "C(a):C(b)", "C(a)*C(b)*x", "a + b"])
def test_more_columns_than_rows_are_refused_before_they_are_made(text: str) -> None:
    n = 20_000
    names = np.arange(n).astype(str)
    frame = pd.DataFrame({"a": names, "b": names, "x": np.arange(n) * 1.0})
    refused: list[Exception] = []

    def build() -> None:
        try:
            FixedEffects.build(text, frame)
        except FormulaError as error:
            refused.append(error)

    thread = threading.Thread(target=build, daemon=True)
    thread.start()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert "columns from 20,000 rows" in str(refused[0])
    assert "make a factor with many levels a grouping term" in str(refused[0]).lower()


def test_two_columns_of_one_name_are_refused() -> None:
    frame = pd.DataFrame(
        {"a": ["p", "q:b[q]"] * 4, "b": ["p", "q", "q", "p"] * 2, "a[q:b[q]]": 1.0}
    )
    with pytest.raises(FormulaError, match=r"several columns called 'a\[q:b\[q\]\]'"):
        FixedEffects.build("`a[q:b[q]]` + a", frame)
