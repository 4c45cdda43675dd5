"""Nothing but column arithmetic gets through a formula: hostile ones are refused unevaluated."""

from __future__ import annotations

import time

import numpy as np
import pytest
from formulae.transforms import TRANSFORMS

from popavg.errors import FormulaError
from popavg.formula_calls import CALLABLE, NUMPY_FUNCTIONS, Names, check_value, parse_part
from popavg.formula_terms import read_terms
from popavg.formula_tokens import scan_part

HOSTILE = {
    # builtins, modules, files, attributes
    "open('/etc/passwd')": "the formula calls 'open'",
    "eval(x)": "the formula calls 'eval'",
    "exec('import os')": "the formula calls 'exec'",
    "getattr(x, 'y')": "the formula calls 'getattr'",
    "print(x)": "the formula calls 'print'",
    "np.log(x)": "the formula calls 'np.log'.*Did you mean 'log'",
    "os.system('ls')": "the formula calls 'os.system'",
    "x.to_csv('/tmp/x')": "the formula calls 'x.to_csv'",
    "log.__class__(x)": "the formula calls 'log.__class__'",
    "I.__globals__(x)": "the formula calls 'I.__globals__'",
    "I(x.to_csv('/tmp/x'))": "the formula calls 'x.to_csv'",
    "log(open(x))": "the formula calls 'open'",
    "{open(x)}": "the formula calls 'open'",
    "C(x, open)": "the contrast of C.. is 'open'",
    "C(x, Treatment(open('x')))": "the level of Treatment.. is 'open",
    "C(x, Treatment(Treatment(x)))": "the level of Treatment.. is 'Treatment",
    "C(x, Treatment('a', 'b'))": "the contrast of C.. is 'Treatment",
    "C(x, 'b')": "the contrast of C.. is the text 'b'",
    "C(x, I)": "the contrast of C.. is 'I'",
    "Treatment('a')": "calls 'Treatment'.*Write C.column",
    # calls of what isn't a name
    "log(x)(z)": r"the formula calls 'log\(…\)'",
    "`log`(x)": "the formula calls `log`",
    "log[x](z)": r"the formula calls 'log\[…\]'",
    "{log}(x)": "the formula calls 'I",
    "'log'(x)": "the formula calls the text 'log'",
    "(log)(x)": "the formula calls an expression",
    # arguments that write, or make something else of the function
    "log(x, z)": r"the arguments of log\(\) can't be used: 2 without a name",
    "log(x, out=z)": r"the arguments of log\(\) can't be used: 1 without a name, 'out' by name",
    "log(x, dtype='object')": "'dtype' by name",
    "log()": "0 without a name",
    "I((a=x))": "can't be computed with",
    "poly(x, 2, 3, 4)": "4 without a name",
    # memory and time
    "I('a' * 10**9)": "the text 'a' can't be computed with",
    "I(('a') * 1000000000)": "the text 'a' can't be computed with",
    "I(9**9**9)": "raises a number to a power",
    "I((2 + 3)**20)": "raises a number to a power",
    "I(x**9**9)": r"'x\*\*2\*\*3' as '\(x\*\*2\)\*\*3'",
    "I(x**1000000)": "the exponent '1000000' isn't a small number",
    "I(x**z)": "the exponent 'z' isn't a small number",
    "I(x**True)": "the exponent 'True' isn't",
    "poly(x, 10**9)": r"degree= of poly\(\) is an expression with '\*\*'",
    "poly(x, 1000000000)": r"poly\(\) has degree=1000000000\. Allowed: whole numbers from 1 to 50",
    "poly(x, 9*9*9*9*9*9)": r"degree= of poly\(\) is an expression",
    "poly(x, degree=z)": r"degree= of poly\(\) is 'z'",
    "poly(x, 0)": "degree=0",
    "poly(x, -1)": "degree=-1",
    "poly(x, 2.5)": "degree=2.5",
    "poly(x, True)": "degree=True",
    "bs(x, df=1000000000)": "df=1000000000",
    "bs(x, df=(9*9))": r"df= of bs\(\) is an expression",
    "I(3)": r"I\(\) names no column",
    "offset(2 * 3)": r"offset\(\) names no column",
    # readings that would surprise
    "I(-x**2)": r"'-x\*\*2' as '\(-x\)\*\*2'",
    "I(1 < x < 3)": "two comparisons in a row",
    "I((x > 1) + (z > 1))": "adds comparisons",
    "I(x:z)": "an expression with ':' can't be computed with",
    "I(x ~ z)": "can't be computed with",
    "I(C(x))": r"'C\(…\)' can't be computed with",
    "log(offset(x))": r"'offset\(…\)' can't be computed with",
    "I(x['a'])": r"'x\[…\]' can't be computed with",
    "I(None)": "can't be computed with",
    "p(x, z)": r"write p\(successes, trials\) left of '~'",
    "B(x)": r"write I\(column == 'level'\)",
    "factor(x)": r"write C\(column\)",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_refused_without_being_evaluated(text: str) -> None:
    started = time.process_time()
    with pytest.raises(FormulaError, match=f"(?i){HOSTILE[text]}"):
        read_terms(text)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("text", HOSTILE)
def test_refused_inside_random_effects_too(text: str) -> None:
    from popavg.formula import Formula

    with pytest.raises(FormulaError):
        Formula.parse(f"y ~ x + (0 + {text} | g)")


@pytest.mark.parametrize(
    "text",
    [
        *(f"{name}(x)" for name in NUMPY_FUNCTIONS),
        *("I(x)", "{x + 1}", "center(x)", "scale(x)", "standardize(log(x))"),
        *("poly(x, 2)", "poly(x, degree=3, raw=True)", "bs(x, df=5)", "bs(x, 4, degree=2)"),
        *("bs(log(x), df=4, lower_bound=-1.5, upper_bound=3)", "offset(log(x))", "offset(2)"),
        *("C(x)", "C(x, Sum)", "C(x, Treatment)", "C(x, Treatment('b'))", "C(x, Sum(2))"),
        *("T(x, 'b')", "T(x, ref='b')", "S(x)", "S(x, omit='a')", "C(x > 2)"),
        *("I(x**2)", "I((x - 2)**-1)", "I(x**0.5)", "I(-(x**2))", "I((-x)**2)", "I((x**2)**3)"),
        *("I(x == 'a')", "I('a' != x)", "I((x > 1) * (x < 3))", "I(1 * (x > 1) + 1 * (x > 2))"),
        *("I(`my x` / 3 + -1)",),
    ],
)
def test_allowed(text: str) -> None:
    names = read_terms(text).columns
    assert names in (("x",), ("my x",)) or text == "offset(2)"


def test_the_list_of_functions_does_not_grow_with_other_packages() -> None:
    """Bambi, for one, adds its own to formulae's table when it is imported."""
    TRANSFORMS["backdoor"] = print  # ty: ignore[invalid-assignment]
    try:
        with pytest.raises(FormulaError, match="calls 'backdoor'"):
            read_terms("backdoor(x)")
    finally:
        del TRANSFORMS["backdoor"]
    assert "backdoor" not in CALLABLE


def test_every_numpy_function_exists() -> None:
    assert all(isinstance(getattr(np, name), np.ufunc) for name in NUMPY_FUNCTIONS)


def test_names_are_collected_in_order() -> None:
    names = Names()
    check_value(parse_part(scan_part("z + log(x) * `my x` - x")), names)
    assert list(names.columns) == ["z", "x", "my x"]


@pytest.mark.parametrize("name", ["Sum", "Treatment", "log", "I", "C", "p", "offset"])
def test_columns_may_be_called_like_functions(name: str) -> None:
    assert read_terms(f"log({name}) + {name} + C({name}, Sum)").columns == (name,)


@pytest.mark.parametrize("text", ["x z", "x 3", "(x) z", "x + z (x)"])
def test_text_that_formulae_ignores_is_an_error(text: str) -> None:
    with pytest.raises(FormulaError, match=r"up to|calls|operator"):
        read_terms(text)
