"""Terms: what joins them, how many, which columns they name."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popavg.errors import FormulaError
from popavg.formula_terms import read_terms

REFUSED = {
    "x**2": r"'x\*\*2' outside a call isn't a power.*Write 'I\(x\*\*2\)' or 'poly\(x, 2\)'",
    "`my x`**2": r"Write 'I\(`my x`\*\*2\)'",
    "log(x)**2": "outside a call isn't a power",
    "(x)**2": "isn't a set of interactions",
    "(x + z)**z": "isn't a set of interactions",
    "(x + z)**7": "a whole number from 1 to 6",
    "(x + z)**2.5": "isn't a set of interactions",
    "x > 1": r"'>' stands outside a call.*Write 'I\(x > …\)'",
    "x == 1": "'==' stands outside a call",
    "2 + x": "'2' stands where a column should",
    "-x": "'-x' stands where a column should",
    "x + 1.5": "'1.5' stands where a column should",
    "'x'": "the text 'x' stands where a column should.*`my column`",
    "x['a']": r"'x\[…\]' chooses a level.*\"I\(x == 'level'\)\"",
    "x = 3": "'=' stands outside a call",
    "x +": "it ends too early",
    "x * offset(z)": r"offset\(\) stands inside another term",
    "x:offset(z)": r"offset\(\) stands inside another term",
    "x - offset(z)": r"offset\(\) stands inside another term",
    "I((x + 1) * 2) + I(x + 1 * 2)": r"two different terms are both called 'I\(x \+ 1 \* 2\)'",
    "`a:b` + a:b": "two different terms are both called 'a:b'",
    "a * (b - 1)": "can't be combined like that",
    "a * b * c * d * e * f * g": "7-fold interactions",
    "a:b:c:d:e:f:g": "7-fold interactions",
    "(a + b + c + d + e + f) / g": "7-fold interactions",
    "(" + "+".join(f"x{i}" for i in range(30)) + ")**3": "4,525 terms",
    "(" + "+".join(f"x{i}" for i in range(20)) + "):(" + "+".join("abcdefghijklmnop") + ")": (
        "320 terms"
    ),
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:30])
def test_refused_at_once(text: str) -> None:
    started = time.process_time()
    with pytest.raises(FormulaError, match=REFUSED[text]):
        read_terms(text)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1", ["Intercept"]),
        ("x", ["Intercept", "x"]),
        ("0 + x", ["x"]),
        ("x - 1", ["x"]),
        ("0 + x + 1", ["Intercept", "x"]),
        ("+x", ["Intercept", "x"]),
        ("x*z", ["Intercept", "x", "z", "x:z"]),
        ("x/z", ["Intercept", "x", "x:z"]),
        ("(a + b)**2", ["Intercept", "a", "b", "a:b"]),
        ("(poly(x, 2) + z) * (a + b)", None),
        ("x*z - x:z", ["Intercept", "x", "z"]),
    ],
)
def test_terms_in_formulae_s_language(text: str, names: list[str] | None) -> None:
    found = [term.name for term in read_terms(text).model().common_terms]
    assert found == names if names else len(found) == 9


def test_terms_of_a_product_do_not_share_factors() -> None:
    terms = read_terms("a:(b + c)").model().common_terms
    assert terms[1].components[0] is not terms[2].components[0]


def test_columns_of_offsets_may_be_constant() -> None:
    terms = read_terms("x + offset(log(days)) + C(arm)*x")
    assert terms.columns == ("x", "arm", "days")
    assert terms.constant == ("days",)
    assert terms.encoded == ("arm",)
    assert read_terms("days + offset(days)").constant == ()


def test_offsets_can_be_refused() -> None:
    with pytest.raises(FormulaError, match=r"offset\(\) stands inside"):
        read_terms("1 + offset(x)", offsets=False)


def test_three_hundred_terms_are_read() -> None:
    terms = read_terms("+".join(f"x{i}" for i in range(300)))
    assert len(terms.columns) == 300


LEAVES = st.sampled_from(["x", "z", "1", "0", "log(x)", "C(a)", "`m c`", "poly(x, 2)", "I(x**2)"])
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.tuples(inner, st.sampled_from("+-*:/"), inner).map(
        lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
    ),
    max_leaves=6,
)


@given(EXPRESSIONS)
def test_any_combination_is_terms_or_a_formula_error(text: str) -> None:
    try:
        terms = read_terms(text)
    except FormulaError:
        pass
    else:
        assert read_terms(terms.text) == terms
