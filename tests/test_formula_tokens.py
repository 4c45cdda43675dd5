"""The scan: what it takes apart, what it refuses before anything is parsed."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popavg.errors import FormulaError
from popavg.formula_tokens import MAX_LENGTH, matching, one_line, scan, scan_part, text_of


def test_one_side_where_it_is_allowed() -> None:
    assert [token.lexeme for token in scan("~ x", one_sided=True)] == ["~", "x"]
    with pytest.raises(FormulaError, match="nothing on one side"):
        scan("y ~", one_sided=True)


REFUSED = {
    "": r"the formula is empty\. Write 'y ~ x \+ \(1 \| g\)'",
    "   ": "the formula is empty",
    "y": r"the formula 'y' has no '~'\. Allowed: one response, one '~'",
    "~ x": "has nothing on one side of '~'",
    "y ~": "has nothing on one side of '~'",
    "y ~ x ~ z": "Write '~' once",
    "y ~ x % 2": r"'%' means nothing in a formula.* data\['x'\] % 2",
    "y ~ x // 2": "'//' means nothing in a formula",
    "y ~ !x": "'!' means nothing in a formula",
    "y ~ .": "'.' means nothing in a formula",
    "y ~ (1 + x || g)": r"'\|\|' isn't in the formula language.*\(1 \| g\) \+ \(0 \+ x \| g\)",
    "y ~ (x": r"a bracket isn't closed in 'y ~ \(x'",
    "y ~ x)": r"a bracket closes nothing in 'y ~ x\)'",
    "y ~ (x]": "a bracket closes nothing",
    "y ~ {x)": "a bracket closes nothing",
    "y ~ `my column": "a backquote isn't closed.*Write `my column`",
    "y ~ I(x == 'it)": "can't be read: unterminated string.*rename levels",
    "y ~ I(x == \"it's)": "different quotation marks|unterminated|can't be read",
    "y ~ I(x == 'a\")": "begins and ends with different quotation marks",
    "y ~ _x": "unexpected character: _.*between backquotes",
    "y ~ x; import os": "unexpected character: ;",
    "y ~ x @ z": "unexpected character: @",
    "y ~ x # z": "unexpected character: #",
    "y ~ ²": "can't be read",
    f"y ~ I(x + {'9' * 31})": "a number of 31 digits",
    "y ~ " + "(" * 21 + "x" + ")" * 21: "brackets more than 20 deep",
    "y ~ " + "+".join(["x"] * 302): "301 operators",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:30])
def test_refused(text: str) -> None:
    with pytest.raises(FormulaError, match=REFUSED[text]):
        scan(text)


@pytest.mark.parametrize("other", [None, 3, b"y ~ x", ["y ~ x"]])
def test_other_types_are_refused(other: object) -> None:
    with pytest.raises(FormulaError, match=f"of type {type(other).__name__}"):
        scan(other)  # ty: ignore[invalid-argument-type]


def test_ten_megabytes_are_refused_at_once() -> None:
    started = time.process_time()
    with pytest.raises(FormulaError, match=r"the formula has 10,000,006 characters\. Allowed: at"):
        scan("y ~ x " + "+" * 10_000_000)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("char", "+-(`'[{~|:*/x1.")
def test_the_longest_text_is_read_or_refused_fast(char: str) -> None:
    started = time.process_time()
    with pytest.raises(FormulaError):
        scan("y ~ x " + char * (MAX_LENGTH - 6) + "'")
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "text",
    [
        "y ~ x + (1 | g)",
        "y['a b'] ~ C(x, Treatment('b')) * z - 1",
        "p(s, n) ~ poly(x, degree=2):`my  column` + (0 + x | h/g)",
        "y ~ {x + -1} + I(x**-2 >= 3)",
        "y ~ -1 + x",
    ],
)
def test_text_of_is_read_again_as_the_same_tokens(text: str) -> None:
    tokens = scan(text)
    assert text_of(tokens) == text
    assert scan("".join(text.split(" "))) == tokens or "my  column" in text or "a b" in text


def test_one_line_leaves_quoted_spaces_alone() -> None:
    assert one_line(" y ~\n  `my  column` +\tI(x ==  'a  b') ") == (
        "y ~ `my  column` + I(x == 'a  b')"
    )


def test_matching_finds_the_closing_bracket() -> None:
    tokens = scan_part("f(x, (z)) + 1")
    assert matching(tokens, 1) == 7
    with pytest.raises(FormulaError, match="isn't closed"):
        matching(tokens[:3], 1)


@given(st.text())
def test_any_text_is_tokens_or_a_formula_error(text: str) -> None:
    with suppress(FormulaError):
        scan(text)


@given(st.text(alphabet="yxg ~+-*:/|()[]{}`'\"=<>!,.019", max_size=30))
def test_any_signs_are_tokens_or_a_formula_error(text: str) -> None:
    with suppress(FormulaError):
        assert scan(text_of(scan(text)))
