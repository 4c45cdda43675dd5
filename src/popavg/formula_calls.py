"""What the terms of a formula may call and compute: everything else is refused unevaluated.

Formulae resolves the names of a formula itself, so a formula can do exactly what the functions
below let it do. Their arguments are held to a small grammar, so that no number can become a
basis of a billion columns, no text a gigabyte, and no argument an output array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from formulae.expr import Assign, Binary, Call, Grouping, Literal, QuotedName, Unary, Variable
from formulae.parser import Parser
from formulae.token import Token

from popavg._checks import listing, suggestion
from popavg.errors import FormulaError
from popavg.formula_tokens import shortened, text_of

__all__ = ["CALLABLE", "ENCODERS", "NUMPY_FUNCTIONS", "Names", "check_value", "parse_part"]

#: NumPy functions a formula may call, next to formulae's own transforms.
NUMPY_FUNCTIONS = (
    *("log", "log2", "log10", "log1p", "exp", "expm1", "sqrt", "abs"),
    *("sin", "cos", "tan", "arctan", "sinh", "cosh", "tanh", "sign", "floor", "ceil"),
)
#: Functions of one column that give one column.
_SIMPLE = frozenset({*NUMPY_FUNCTIONS, "I", "center", "scale", "standardize"})
#: Functions that make categories.
ENCODERS = ("C", "T", "S")
#: Options of the other functions, in the order of their positions.
_OPTIONS = {
    "poly": ("degree", "raw"),
    "bs": ("df", "knots", "degree", "intercept", "lower_bound", "upper_bound"),
    "C": ("contrast",),
    "T": ("ref",),
    "S": ("omit",),
    "offset": (),
}
CALLABLE = _SIMPLE | frozenset(_OPTIONS)
_LEVEL = "write I(column == 'level') for an indicator of one level"
#: What to write in place of functions that people know from elsewhere.
_INSTEAD = {
    **dict.fromkeys(("p", "prop", "proportion"), "write p(successes, trials) left of '~'"),
    **dict.fromkeys(("B", "binary"), _LEVEL),
    **dict.fromkeys(("factor", "as.factor"), "write C(column) to make a column a category"),
    **dict.fromkeys(("Treatment", "Sum"), "write C(column, Treatment('level'))"),
    **dict.fromkeys(("ns", "s", "spline"), "write bs(column, df=4) for a spline"),
}
_CONTRASTS = ("Treatment", "Sum")
_SIZES = ("degree", "df")

MAX_BASIS = 50
MAX_POWER = 20

_ARITHMETIC = ("PLUS", "MINUS", "STAR", "SLASH", "STAR_STAR")
_COMPARISONS = (
    *("EQUAL_EQUAL", "BANG_EQUAL"),
    *("LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"),
)


@dataclass
class Names:
    """Columns that a part of a formula names, in order of appearance.

    Attributes
    ----------
    columns : dict of str to None
        All of them.
    encoded : dict of str to None
        Those inside ``C()``, ``T()`` or ``S()``, which keep whole numbers and booleans as levels.
    """

    columns: dict[str, None] = field(default_factory=dict)
    encoded: dict[str, None] = field(default_factory=dict)


def parse_part(tokens: Sequence[Token]) -> object:
    """The syntax tree of tokens, all of them: formulae's parser stops where it doesn't understand.

    Raises
    ------
    FormulaError
        They can't be parsed, or not to their end.
    """
    parser = Parser([*tokens, Token("EOF", "")])
    try:
        tree = parser.parse()
    except Exception as error:
        raise FormulaError(
            f"the formula's part {shortened(text_of(tokens))} can't be read: {_reason(error)}",
            "names, numbers, + - : * / and calls",
            "complete it, or put a name with spaces or signs between backquotes: `my column`",
        ) from error
    if not parser.at_end():
        rest = text_of(tokens[parser.current :])
        raise FormulaError(
            f"only the first part of {shortened(text_of(tokens))} can be read, up to {rest[:40]!r}",
            "terms joined by + - : * /",
            "write an operator between the terms",
        )
    return tree


def check_call(call: Call, names: Names) -> None:
    """A call is of a known function with arguments that it may have; columns go into ``names``.

    Raises
    ------
    FormulaError
        It isn't.
    """
    name = _callee(call)
    if name not in CALLABLE:
        raise FormulaError(
            f"the formula calls {name!r}",
            listing(sorted(CALLABLE), limit=50),
            _INSTEAD.get(name)
            or suggestion(name, CALLABLE)
            or "compute the column in the data first, or write an operator before the bracket",
        )
    positional = [argument for argument in call.args if not isinstance(argument, Assign)]
    keywords = {a.name.name.lexeme: a.value for a in call.args if isinstance(a, Assign)}
    options = _OPTIONS.get(name, ())
    if not positional or len(positional) > 1 + len(options) or set(keywords) - set(options):
        wanted = ", ".join(["column", *(f"{option}=…" for option in options)])
        raise FormulaError(
            f"the arguments of {name}() can't be used: {len(positional)} without a name, "
            f"{listing(keywords) or 'none'} by name",
            f"{name}({wanted})",
            "write it in this form, or compute the column in the data first",
        )
    _check_argument(name, positional[0], names)
    for option, value in [*zip(options, positional[1:], strict=False), *keywords.items()]:
        _check_option(name, option, value)


def check_value(tree: object, names: Names) -> None:
    """Arithmetic, comparisons and simple functions of columns; columns go into ``names``.

    Raises
    ------
    FormulaError
        Anything else.
    """
    match tree:
        case Grouping():
            check_value(tree.expression, names)
        case Unary():
            check_value(tree.right, names)
        case Binary() if tree.operator.kind in _COMPARISONS:
            _check_comparison(tree, names)
        case Binary() if tree.operator.kind == "STAR_STAR":
            _check_power(tree, names)
        case Binary() if tree.operator.kind in _ARITHMETIC:
            _check_sum_of_truths(tree)
            check_value(tree.left, names)
            check_value(tree.right, names)
        case Variable() if tree.level is None:
            names.columns[tree.name.lexeme] = None
        case QuotedName():
            names.columns[tree.expression.lexeme[1:-1]] = None
        case Literal() if isinstance(tree.value, (bool, int, float)):
            pass
        case Call() if _callee(tree) in _SIMPLE or _callee(tree) not in CALLABLE:
            check_call(tree, names)
        case _:
            raise FormulaError(
                f"{_words(tree)} can't be computed with inside a call",
                "columns, numbers, + - * / **, comparisons, and simple functions such as log()",
                "compute the column in the data first",
            )


def _check_argument(name: str, tree: object, names: Names) -> None:
    inside = Names()
    check_value(tree, inside)
    if not inside.columns and not (name == "offset" and isinstance(tree, Literal)):
        raise FormulaError(
            f"{name}() names no column", f"{name}(column)", "write a column inside the brackets"
        )
    names.columns |= inside.columns
    if name in ENCODERS:
        names.encoded |= inside.columns


def _check_option(name: str, option: str, tree: object) -> None:
    if option == "contrast":
        _check_contrast(tree)
        return
    value = _constant(tree, f"{option}= of {name}()")
    if option in _SIZES and value is not None:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not 1 <= value <= MAX_BASIS:
            raise FormulaError(
                f"{name}() has {option}={value!r}",
                f"whole numbers from 1 to {MAX_BASIS}",
                f"write {name}(column, {option}=3)",
            )


def _check_contrast(tree: object) -> None:
    is_name = isinstance(tree, Variable) and tree.name.lexeme in _CONTRASTS
    if isinstance(tree, Call) and _callee(tree) in _CONTRASTS and len(tree.args) <= 1:
        for argument in tree.args:
            value = argument.value if isinstance(argument, Assign) else argument
            _constant(value, f"the level of {_callee(tree)}()")
    elif not is_name and not (isinstance(tree, Literal) and tree.value is None):
        raise FormulaError(
            f"the contrast of C() is {_words(tree)}",
            "Treatment, Treatment('level'), Sum, Sum('level')",
            "write C(column, Treatment('level')) to choose the reference",
        )


def _constant(tree: object, what: str) -> object:
    """The value of a literal; anything that would have to be computed is refused."""
    match tree:
        case Literal():
            return tree.value
        case Unary(right=Literal(value=int() | float() as value)):
            return -value if tree.operator.kind == "MINUS" else value
    raise FormulaError(
        f"{what} is {_words(tree)}", "a number, text, True or False", "write out its value"
    )


def _check_comparison(tree: Binary, names: Names) -> None:
    for side in (tree.left, tree.right):
        if isinstance(side, Binary) and side.operator.kind in _COMPARISONS:
            raise FormulaError(
                f"two comparisons in a row: {_words(tree)}",
                "one comparison in each pair of brackets",
                "write I((x > 1) * (x < 3)) for 1 < x < 3",
            )
        if not (isinstance(side, Literal) and isinstance(side.value, str)):
            check_value(side, names)


def _check_sum_of_truths(tree: Binary) -> None:
    if tree.operator.kind in ("PLUS", "MINUS") and _is_truth(tree.left) and _is_truth(tree.right):
        raise FormulaError(
            "the formula adds comparisons, and True + True is True",
            "comparisons turned into numbers first",
            "write 1 * (x > 0) + 1 * (z > 0)",
        )


def _is_truth(tree: object) -> bool:
    match tree:
        case Grouping():
            return _is_truth(tree.expression)
        case Binary():
            both = tree.operator.kind == "STAR" and _is_truth(tree.left) and _is_truth(tree.right)
            return both or tree.operator.kind in _COMPARISONS
    return False


def _check_power(tree: Binary, names: Names) -> None:
    base = Names()
    check_value(tree.left, base)
    if not base.columns:
        raise FormulaError(
            f"the formula raises a number to a power in {_words(tree)}",
            "powers of columns, such as I(x**2)",
            "write out the number, or use exp()",
        )
    if isinstance(tree.left, Unary) or _is_power(tree.left):
        raise FormulaError(
            "formulae reads '-x**2' as '(-x)**2' and 'x**2**3' as '(x**2)**3'",
            "powers whose base is a name, a call or stands in brackets",
            "write brackets: '-(x**2)', '(x**2)**3'",
        )
    names.columns |= base.columns
    exponent = tree.right
    is_number = isinstance(exponent, (Literal, Unary))
    value = _constant(exponent, "an exponent") if is_number else None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or abs(value) > MAX_POWER:
        raise FormulaError(
            f"the exponent {_words(exponent)} isn't a small number",
            f"numbers from -{MAX_POWER} to {MAX_POWER}",
            "compute the column in the data first",
        )


def _is_power(tree: object) -> bool:
    return isinstance(tree, Binary) and tree.operator.kind == "STAR_STAR"


def _reason(error: Exception) -> str:
    reason = str(error).rstrip(".")
    return "it ends too early" if reason.endswith("''") else f"{reason[:1].lower()}{reason[1:]}"


def _callee(call: Call) -> str:
    callee = call.callee
    if not isinstance(callee, Variable) or callee.level is not None:
        raise FormulaError(
            f"the formula calls {_words(callee)}",
            "calls of named functions",
            "write an operator between the brackets",
        )
    return callee.name.lexeme


def _words(tree: object) -> str:
    """A piece of a syntax tree for a message."""
    match tree:
        case Variable():
            return f"'{tree.name.lexeme}[…]'" if tree.level else f"{tree.name.lexeme!r}"
        case QuotedName():
            return f"{tree.expression.lexeme[:40]}"
        case Literal():
            return (
                f"the text {tree.value[:40]!r}"
                if isinstance(tree.value, str)
                else (f"'{tree.value}'")
            )
        case Call(callee=Variable(name=name)):
            return f"'{name.lexeme}(…)'"
        case Binary():
            return f"an expression with '{tree.operator.lexeme}'"
    return "an expression"
