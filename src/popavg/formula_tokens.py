"""Scan a formula into tokens and refuse what would be misread, before anything is parsed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from formulae.scanner import Scanner
from formulae.token import Token

from popavg.errors import FormulaError

__all__ = ["matching", "one_line", "scan", "scan_part", "shortened", "text_of"]

MAX_LENGTH = 10_000
MAX_DEPTH = 20
MAX_DIGITS = 30
MAX_OPERATORS = 300

_NAMES = ("IDENTIFIER", "BQNAME")
_OPERATORS = frozenset(
    {
        *("PLUS", "MINUS", "STAR", "STAR_STAR", "SLASH", "COLON", "PIPE", "COMMA", "EQUAL"),
        *("EQUAL_EQUAL", "BANG_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"),
    }
)
_TIGHT = frozenset({"COLON", "STAR_STAR", "SLASH", "EQUAL"})
_ENDS_OPERAND = frozenset(
    {*_NAMES, "NUMBER", "STRING", "PYTHON_LITERAL", "RIGHT_PAREN", "RIGHT_BRACKET", "RIGHT_BRACE"}
)
_REMEDIES = {
    "'~'": "write '~' once, between the response and the terms",
    "string": "close the text; a text can't hold quotation marks, so rename levels that do",
}
_QUOTED_OR_SPACE = re.compile(r"""(`[^`]*`|['"][^'"]*['"])|\s+""")


def scan(text: str, *, one_sided: bool = False) -> list[Token]:
    """Tokens of a formula that can be parsed: short, brackets paired, exactly one ``~``.

    Parameters
    ----------
    text : str
        A formula in formulae's language.
    one_sided : bool
        Whether ``"~ x"``, without a response, is allowed.

    Returns
    -------
    list of formulae.token.Token
        Without the end marker.

    Raises
    ------
    FormulaError
        Not a string, too long, too many operators, unreadable, or one of the signs ``%``, ``//``,
        ``||``, which formulae would read as something else.

    Examples
    --------
    >>> from popavg.formula_tokens import scan
    >>> [token.lexeme for token in scan("y ~ x + (1 | g)")]
    ['y', '~', 'x', '+', '(', '1', '|', 'g', ')']
    """
    tokens = scan_part(text)
    tildes = sum(token.kind == "TILDE" for token in tokens)
    lacks_left = tokens[0].kind == "TILDE" and not one_sided
    if not tildes or lacks_left or tokens[-1].kind == "TILDE":
        what = "has nothing on one side of '~'" if tildes else "has no '~'"
        raise FormulaError(
            f"the formula {shortened(text)} {what}",
            "one response, one '~', the terms",
            "write 'y ~ x + (1 | g)'",
        )
    return tokens


def scan_part(text: str) -> list[Token]:
    """Tokens of one side of a formula; see :func:`scan`."""
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
    _check_signs(tokens)
    _check_brackets(tokens, text)
    _check_size(tokens)
    return tokens


def text_of(tokens: Sequence[Token]) -> str:
    """The formula text of tokens, spaced evenly."""
    text = ""
    for i, token in enumerate(tokens):
        text += token.lexeme if i == 0 or _is_tight(tokens, i) else f" {token.lexeme}"
    return text


def one_line(text: str) -> str:
    """A formula on one line; names in backquotes and texts in quotes stay as they are."""
    return _QUOTED_OR_SPACE.sub(lambda found: found[1] or " ", text).strip()


def shortened(text: str, width: int = 80) -> str:
    """A formula in quotation marks, cut where it is long."""
    line = " ".join(text.split())
    return repr(line if len(line) <= width else line[:width] + "…")


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
    except IndexError as error:  # formulae runs past the end in search of the second backquote
        raise FormulaError(
            f"a backquote isn't closed in {shortened(text)}", remedy="write `my column`"
        ) from error
    except Exception as error:
        reason = str(error).rstrip(".")
        raise FormulaError(
            f"the formula {shortened(text)} can't be read: {reason[:1].lower()}{reason[1:]}",
            "names, numbers, + - : * / ( | ) and calls",
            next(
                (remedy for words, remedy in _REMEDIES.items() if words in reason),
                "put a name with spaces or signs between backquotes: `my column`",
            ),
        ) from error


def _check_signs(tokens: Sequence[Token]) -> None:
    for token in tokens:
        if token.kind in ("MODULO", "SLASH_SLASH", "BANG", "PERIOD"):
            raise FormulaError(
                f"{token.lexeme!r} means nothing in a formula",
                "+ - : * / ( | ) and calls",
                "compute the column in the data first, for instance data['r'] = data['x'] % 2",
            )
        if token.kind == "STRING" and token.lexeme[0] != token.lexeme[-1]:
            raise FormulaError(
                f"the text {token.lexeme[:40]} begins and ends with different quotation marks",
                "a text without quotation marks inside, as in 'text'",
                "rename levels that hold quotation marks",
            )
        if token.kind == "NUMBER" and len(token.lexeme) > MAX_DIGITS:
            raise FormulaError(
                f"the formula has a number of {len(token.lexeme)} digits",
                f"at most {MAX_DIGITS}",
                "compute the column in the data first",
            )
    signs = [token.kind in ("PLUS", "MINUS") for token in tokens]
    if any(all(signs[i : i + 4]) for i in range(len(signs) - 3)):
        raise FormulaError(
            "the formula has many signs in a row", "one sign between terms", "leave the others out"
        )
    if any(one.kind == two.kind == "PIPE" for one, two in pairwise(tokens)):
        raise FormulaError(
            "'||' isn't in the formula language",
            "'(1 + x | g)' for correlated effects",
            "write '(1 | g) + (0 + x | g)' for uncorrelated ones",
        )


def _check_brackets(tokens: Sequence[Token], text: str) -> None:
    opened: list[str] = []
    for token in tokens:
        if token.kind.startswith("LEFT_"):
            opened.append(token.kind.removeprefix("LEFT_"))
        elif token.kind.startswith("RIGHT_") and (
            not opened or opened.pop() != token.kind.removeprefix("RIGHT_")
        ):
            raise FormulaError(
                f"a bracket closes nothing in {shortened(text)}", remedy="pair the brackets"
            )
        if len(opened) > MAX_DEPTH:
            raise FormulaError(
                f"the formula has brackets more than {MAX_DEPTH} deep",
                f"at most {MAX_DEPTH}",
                "compute long expressions as columns of the data first",
            )
    if opened:
        raise FormulaError(f"a bracket isn't closed in {shortened(text)}", remedy="close it")


def _check_size(tokens: Sequence[Token]) -> None:
    operators = sum(token.kind in _OPERATORS for token in tokens)
    if operators > MAX_OPERATORS:
        raise FormulaError(
            f"the formula has {operators} operators",
            f"at most {MAX_OPERATORS}",
            "use fewer terms, or compute long expressions as columns of the data first",
        )


def _is_tight(tokens: Sequence[Token], i: int) -> bool:
    """Whether token ``i`` follows the one before it without a space."""
    before, kind = tokens[i - 1].kind, tokens[i].kind
    if kind in ("LEFT_PAREN", "LEFT_BRACKET"):
        return before.startswith("LEFT_") or before in _NAMES
    signed = before in ("PLUS", "MINUS") and (i == 1 or tokens[i - 2].kind not in _ENDS_OPERAND)
    return (
        signed
        or before.startswith("LEFT_")
        or kind.startswith("RIGHT_")
        or kind == "COMMA"
        or kind in _TIGHT
        or before in _TIGHT
    )
