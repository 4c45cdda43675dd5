"""Scan a formula and refuse what a formula may not do, before anything is evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from formulae.categorical import ENCODINGS
from formulae.scanner import Scanner
from formulae.token import Token
from formulae.transforms import TRANSFORMS

from popavg._checks import listing
from popavg.errors import FormulaError

__all__ = ["FUNCTIONS", "NUMPY_FUNCTIONS", "columns_of", "matching", "scan", "text_of"]

#: NumPy functions a formula may call, next to formulae's own transforms.
NUMPY_FUNCTIONS = (
    *("log", "log2", "log10", "log1p", "exp", "expm1", "sqrt", "abs"),
    *("sin", "cos", "tan", "arctan", "sinh", "cosh", "tanh", "sign", "floor", "ceil"),
)
FUNCTIONS = frozenset(NUMPY_FUNCTIONS) | frozenset(TRANSFORMS) | frozenset(ENCODINGS)

MAX_LENGTH = 10_000
MAX_CROSSINGS = 10
MAX_POWER = 20
MAX_BASIS = 50
MAX_DIGITS = 30
MAX_DEPTH = 50

_NAMES = ("IDENTIFIER", "BQNAME")
_BEFORE_STRING = ("LEFT_PAREN", "COMMA", "EQUAL", "EQUAL_EQUAL", "BANG_EQUAL", "LEFT_BRACKET")
_AFTER_STRING = ("RIGHT_PAREN", "COMMA", "RIGHT_BRACKET", "EQUAL_EQUAL", "BANG_EQUAL")


@dataclass(frozen=True)
class _Place:
    """A token with what stands around it."""

    token: Token
    before: str
    after: str
    in_call: bool
    position: int


def scan(text: str) -> list[Token]:
    """Tokens of a formula that is safe to evaluate.

    Parameters
    ----------
    text : str
        A formula in formulae's language.

    Returns
    -------
    list of formulae.token.Token
        Without the end marker.

    Raises
    ------
    FormulaError
        Not a string, too long, unreadable; calls something that isn't in ``FUNCTIONS``; or
        writes one of the traps ``x**2``, ``%``, ``||``, which formulae would read as something
        else.
    """
    if not isinstance(text, str):
        raise FormulaError(
            f"the formula is of type {type(text).__name__}", "a string", "write 'y ~ x + (1 | g)'"
        )
    if len(text) > MAX_LENGTH:
        raise FormulaError(
            f"the formula has {len(text):,} characters",
            f"at most {MAX_LENGTH:,}",
            "compute long expressions as columns of the data first",
        )
    if not text.strip():
        raise FormulaError("the formula is empty", remedy="write 'y ~ x + (1 | g)'")
    tokens = _tokens(text)
    _check_traps(tokens, text)
    _check_brackets(tokens, text)
    places = list(_places(tokens))
    for place in places:
        _check_call(place)
        _check_string(place)
        _check_power(place, tokens)
        _check_number(place, tokens)
    crossings = sum(p.token.kind in ("STAR", "STAR_STAR") and not p.in_call for p in places)
    if crossings > MAX_CROSSINGS:
        raise FormulaError(
            f"the formula crosses {crossings} times with '*'",
            f"at most {MAX_CROSSINGS} crossings",
            "write the interactions that are wanted with ':'",
        )
    return tokens


def columns_of(tokens: Sequence[Token]) -> tuple[str, ...]:
    """Names of data columns in scanned tokens, each once, in order of appearance."""
    names: dict[str, None] = {}
    for place in _places(tokens):
        name = _column_name(place)
        if name is not None:
            names[name] = None
    return tuple(names)


def text_of(tokens: Sequence[Token]) -> str:
    """The formula text of tokens, spaced evenly."""
    return " ".join(token.lexeme for token in tokens)


def matching(tokens: Sequence[Token], position: int) -> int:
    """Position of the bracket that closes the one at ``position``."""
    depth = 0
    for i in range(position, len(tokens)):
        depth += tokens[i].kind.startswith("LEFT_") - tokens[i].kind.startswith("RIGHT_")
        if depth == 0:
            return i
    raise FormulaError("a bracket of the formula isn't closed", remedy="close it")


def _tokens(text: str) -> list[Token]:
    try:
        return Scanner(text).scan(add_intercept=False)[:-1]
    except Exception as error:
        raise FormulaError(
            f"the formula {_short(text)} can't be read: {error}",
            "names, numbers, + - : * / ( | ) and calls",
            "put a name with spaces or signs between backquotes: `my column`",
        ) from error


def _places(tokens: Sequence[Token]) -> Iterator[_Place]:
    kinds = ["", *(token.kind for token in tokens), ""]
    calls: list[bool] = []
    for i, token in enumerate(tokens):
        if token.kind.startswith("RIGHT_") and calls:
            calls.pop()
        yield _Place(token, kinds[i], kinds[i + 2], any(calls), i)
        if token.kind.startswith("LEFT_"):
            is_call = token.kind == "LEFT_PAREN" and kinds[i] == "IDENTIFIER"
            calls.append(is_call or token.kind != "LEFT_PAREN")


def _column_name(place: _Place) -> str | None:
    if place.token.kind == "BQNAME":
        return place.token.lexeme[1:-1]
    called = place.after == "LEFT_PAREN"
    keyword = place.in_call and place.after == "EQUAL"
    level = place.before == "LEFT_BRACKET"
    encoding = place.in_call and place.token.lexeme in ENCODINGS
    if place.token.kind != "IDENTIFIER" or called or keyword or level or encoding:
        return None
    return place.token.lexeme


def _check_traps(tokens: Sequence[Token], text: str) -> None:
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        if token.kind in ("MODULO", "SLASH_SLASH", "BANG", "PERIOD"):
            raise FormulaError(
                f"{token.lexeme!r} means nothing in a formula",
                "+ - : * / ( | ) and calls",
                "compute the column in the data first, for instance data['r'] = data['x'] % 2",
            )
        if token.kind == "PIPE" and after is not None and after.kind == "PIPE":
            raise FormulaError(
                "'||' isn't in the formula language",
                "'(1 + x | g)' for correlated effects",
                "write '(1 | g) + (0 + x | g)' for uncorrelated ones",
            )
    tildes = sum(token.kind == "TILDE" for token in tokens)
    if tildes != 1 or tokens[0].kind == "TILDE" or tokens[-1].kind == "TILDE":
        raise FormulaError(
            f"the formula {_short(text)} has {tildes} '~'",
            "one response, one '~', the terms",
            "write 'y ~ x + (1 | g)'",
        )


def _check_brackets(tokens: Sequence[Token], text: str) -> None:
    open_: list[str] = []
    for token in tokens:
        if token.kind.startswith("LEFT_"):
            open_.append(token.kind.removeprefix("LEFT_"))
        elif token.kind.startswith("RIGHT_") and (
            not open_ or open_.pop() != token.kind.removeprefix("RIGHT_")
        ):
            raise FormulaError(f"a bracket closes nothing in {_short(text)}", remedy="pair them")
        if len(open_) > MAX_DEPTH:
            raise FormulaError(
                "the formula's brackets are too deep", f"at most {MAX_DEPTH}", "simplify it"
            )
    if open_:
        raise FormulaError(f"a bracket isn't closed in {_short(text)}", remedy="close it")


def _check_call(place: _Place) -> None:
    if place.token.kind != "LEFT_PAREN" and place.after == "LEFT_PAREN":
        name = place.token.lexeme
        if place.token.kind == "IDENTIFIER" and name not in FUNCTIONS:
            raise FormulaError(
                f"the formula calls {name!r}",
                listing(sorted(FUNCTIONS), limit=50),
                "compute the column in the data first",
            )
        if place.token.kind in ("RIGHT_PAREN", "RIGHT_BRACKET", "STRING", "BQNAME", "RIGHT_BRACE"):
            raise FormulaError(
                "the formula calls the result of an expression",
                "calls of named functions",
                "write an operator between the brackets",
            )


def _check_string(place: _Place) -> None:
    if place.token.kind == "STRING" and (
        place.before not in _BEFORE_STRING or place.after not in _AFTER_STRING
    ):
        raise FormulaError(
            f"the text {place.token.lexeme[:40]} stands where a column should",
            "text as an argument, a level or in a comparison",
            "name a column without quotation marks",
        )


def _check_power(place: _Place, tokens: Sequence[Token]) -> None:
    if place.token.kind != "STAR_STAR":
        return
    i = place.position
    base = tokens[i - 1]
    if not place.in_call:
        if not _is_sum_in_brackets(tokens, i - 1):
            raise FormulaError(
                f"'{base.lexeme}**{_lexeme(tokens, i + 1)}' outside a call isn't a power",
                "powers inside I(), '(a + b)**2' for interactions",
                f"write 'I({base.lexeme}**2)' or 'poly({base.lexeme}, 2)'",
            )
    elif not _has_column_base(tokens, i - 1):
        raise FormulaError("the formula raises a number to a power", "powers of columns")
    step = 2 if _kind(tokens, i + 1) == "MINUS" else 1
    exponent = tokens[i + step] if i + step < len(tokens) else None
    chained = _kind(tokens, i + step + 1) == "STAR_STAR"
    if exponent is None or exponent.kind != "NUMBER" or chained or exponent.literal > MAX_POWER:
        raise FormulaError(
            f"the exponent {_lexeme(tokens, i + step)!r} isn't a small number",
            f"a number up to {MAX_POWER}",
            "compute the column in the data first",
        )


def _check_number(place: _Place, tokens: Sequence[Token]) -> None:
    if place.token.kind != "NUMBER":
        return
    if len(place.token.lexeme) > MAX_DIGITS:
        raise FormulaError(f"a number of {len(place.token.lexeme)} digits", f"{MAX_DIGITS} digits")
    sizes_basis = place.before == "EQUAL" and _lexeme(tokens, place.position - 2) in (
        *("df", "degree"),
    )
    in_basis = place.before == "COMMA" and place.after in ("RIGHT_PAREN", "COMMA")
    if place.in_call and place.token.literal > MAX_BASIS and (sizes_basis or in_basis):
        called = {t.lexeme for t in tokens[: place.position] if t.kind == "IDENTIFIER"}
        if called & {"poly", "bs"}:
            raise FormulaError(
                f"a basis of {place.token.lexeme} columns", f"at most {MAX_BASIS}", "use fewer"
            )


def _is_sum_in_brackets(tokens: Sequence[Token], end: int) -> bool:
    if tokens[end].kind != "RIGHT_PAREN":
        return False
    start = _opening(tokens, end)
    is_call = start > 0 and tokens[start - 1].kind == "IDENTIFIER"
    return not is_call and any(t.kind == "PLUS" for t in tokens[start:end])


def _has_column_base(tokens: Sequence[Token], end: int) -> bool:
    start = _opening(tokens, end) if tokens[end].kind == "RIGHT_PAREN" else end
    return any(token.kind in _NAMES for token in tokens[start : end + 1])


def _opening(tokens: Sequence[Token], end: int) -> int:
    depth = 0
    for i in range(end, -1, -1):
        depth += tokens[i].kind.startswith("RIGHT_") - tokens[i].kind.startswith("LEFT_")
        if depth == 0:
            return i
    return 0


def _kind(tokens: Sequence[Token], i: int) -> str:
    return tokens[i].kind if 0 <= i < len(tokens) else ""


def _lexeme(tokens: Sequence[Token], i: int) -> str:
    return tokens[i].lexeme if 0 <= i < len(tokens) else ""


def _short(text: str, width: int = 80) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= width else line[:width] + "…")
