"""A formula is taken apart into response, fixed effects and grouping terms."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popavg.errors import FormulaError
from popavg.formula import Formula


def groups(text: str) -> list[tuple[str, str]]:
    return [(term.effects, term.name) for term in Formula.parse(text).group_terms]


@pytest.mark.parametrize(
    ("text", "fixed", "terms"),
    [
        ("y ~ x", "x", []),
        ("y ~ (1|g)", "1", [("1", "g")]),
        ("y ~ x+(1|g)", "x", [("1", "g")]),
        ("y ~ (1 | g) + x", "x", [("1", "g")]),
        ("y ~ x + (1 | g) + z", "x + z", [("1", "g")]),
        ("y ~ x + (1 | g) - 1", "x - 1", [("1", "g")]),
        ("y ~ x + (1 + x | g)", "x", [("1 + x", "g")]),
        ("y ~ (1|g) + (0+x|g)", "1", [("1", "g"), ("0 + x", "g")]),
        ("y ~ (1|g) + (1|h)", "1", [("1", "g"), ("1", "h")]),
        ("y ~ (1|g + h)", "1", [("1", "g"), ("1", "h")]),
        ("y ~ (1|h/g)", "1", [("1", "h"), ("1", "h:g")]),
        ("y ~ (1|a/b/c)", "1", [("1", "a"), ("1", "a:b"), ("1", "a:b:c")]),
        ("y ~ (x|h:g)", "1", [("x", "h:g")]),
        ("y ~ (1 | `my clinic`)", "1", [("1", "my clinic")]),
        ("y ~ (a + b)**2 + ((c)) + (1 + (x) | g)", "(a + b)**2 + ((c))", [("1 + (x)", "g")]),
    ],
)
def test_parts(text: str, fixed: str, terms: list[tuple[str, str]]) -> None:
    formula = Formula.parse(text)
    assert formula.fixed == fixed
    assert groups(text) == terms


REFUSED = {
    "y ~ 1 | g": r"'\|' stands outside brackets.*Write '\(1 \| g\)'",
    "y ~ x + 1 | g": "stands outside brackets",
    "y ~ x (1 | g)": r"is part of an expression.*Write 'x \+ \(1 \| g\)'",
    "y ~ x * (1 | g)": "is part of an expression",
    "y ~ x - (1 | g)": "is part of an expression",
    "y ~ (1 | g)(1 | h)": "is part of an expression",
    "y ~ log(x | g)": "is part of an expression",
    "y ~ ((1 | g))": "stands inside other brackets",
    "y ~ (x + (1 | g))": "stands inside other brackets",
    "y ~ (1 | g | h)": "can't be read",
    "y ~ ( | g)": r"the grouping term '\(\| g\)' can't be read",
    "y ~ (1 | )": "can't be read.*Name the clusters' column",
    "y ~ (1 | C(g))": "can't be read",
    "y ~ (1 | g*h)": "the grouping factor 'g \\* h' can't be read",
    "y ~ (1 | 3)": "the grouping factor '3' can't be read",
    "y ~ (1 | g h)": "can't be read",
    "y ~ (1 | g) + (1 | g)": r"the grouping term '\(1 \| g\)' appears twice",
    "y ~ (1 | h) + (1 | h/g)": r"'\(1 \| h\)' appears twice",
    "y ~ (1 | h:g) + (1 | g:h)": "appears in two orders.*Write 'h:g'",
    "y ~ (1 | g:g)": r"names a column twice.*Write '\(1 \| g\)'",
    "y ~ (1 | a:b) + (1 | `a:b`)": "two grouping factors have the same name",
    "y ~ (1 + offset(x) | g)": r"offset\(\) stands inside",
    "y ~ x z": "only the first part of 'x z' can be read, up to 'z'",
    "y ~ x + y": "the response 'y' is also on the right of '~'",
    "y ~ (1 | y)": "the response 'y' is also on the right",
    "log(y) ~ x": r"the response 'log\(y\)' is an expression",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(FormulaError, match=REFUSED[text]):
        Formula.parse(text)


def test_columns_each_once_in_order() -> None:
    formula = Formula.parse("p(s, n) ~ poly(x, 2)*C(arm, Sum) + offset(log(d)) + (0 + z | h/g)")
    assert formula.columns == ("s", "n", "x", "arm", "d", "z", "h", "g")
    assert formula.response_columns == ("s", "n")
    assert formula.fixed_columns == ("x", "arm", "d")


def test_a_covariate_may_be_called_y() -> None:
    assert Formula.parse("sick ~ y + x").fixed_columns == ("y", "x")


def test_unicode_and_spaces_in_names() -> None:
    formula = Formula.parse("`Antwort (ja/nein)` ~ größe + `Δ  t` + (1 | `クリニック 1`)")
    assert formula.columns == ("Antwort (ja/nein)", "größe", "Δ  t", "クリニック 1")
    assert Formula.parse(formula.text) == formula


def test_the_text_is_kept_on_one_line() -> None:
    assert Formula.parse("y ~\n  x*z\n  + (1|g)\n").text == "y ~ x*z + (1|g)"


def test_bombs_are_refused_before_they_go_off() -> None:
    bombs = [
        "y ~ (" + "+".join(f"a{i}" for i in range(100)) + ")**6",
        "y ~ " + "*".join(f"a{i}" for i in range(100)),
        "y ~ " + ":".join(f"a{i}" for i in range(100)),
        "y ~ " + "/".join(f"a{i}" for i in range(100)),
        "y ~ " + "*".join(["(a + b + c + d + e)"] * 20),
        "y ~ " + "-" * 299 + "1",
        "y ~ I(" + "-" * 299 + "x)",
        "y ~ " + "log(" * 30 + "x" + ")" * 30,
    ]
    for bomb in bombs:
        refused: list[Exception] = []
        thread = threading.Thread(target=_collect, args=(bomb, refused), daemon=True)
        thread.start()
        thread.join(timeout=60)
        assert not thread.is_alive(), bomb
        assert all(isinstance(error, FormulaError) for error in refused), bomb


def _collect(text: str, refused: list[Exception]) -> None:
    try:
        Formula.parse(text)
    except Exception as error:
        refused.append(error)


@given(st.text())
def test_any_text_is_a_formula_or_a_formula_error(text: str) -> None:
    _read_fast(text)


@given(st.text(alphabet="yxgI ~+-*:/|()[]{}`'=<,.019", max_size=40).map(lambda t: f"y ~ {t}"))
def test_any_signs_are_a_formula_or_a_formula_error(text: str) -> None:
    _read_fast(text)


def _read_fast(text: str) -> None:
    started = time.process_time()
    try:
        formula = Formula.parse(text)
    except FormulaError:
        pass
    else:
        assert Formula.parse(formula.text) == formula
    assert time.process_time() - started < 2


def test_a_formula_without_a_response_where_it_is_allowed() -> None:
    formula = Formula.parse("~ x + (1 | g)", one_sided=True)
    assert (formula.response, formula.response_columns) == ("", ())
    assert (formula.fixed, formula.columns) == ("x", ("x", "g"))
    with pytest.raises(FormulaError, match="nothing on one side"):
        Formula.parse("~ x + (1 | g)")
