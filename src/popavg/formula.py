"""A mixed-model formula, taken apart into response, fixed effects and grouping terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from formulae import model_description
from formulae.parser import Parser
from formulae.scanner import Scanner
from formulae.token import Token

from popavg.errors import FormulaError
from popavg.formula_tokens import columns_of, matching, scan, text_of

__all__ = ["Formula", "GroupTerm"]


@dataclass(frozen=True)
class GroupTerm:
    """One ``(effects | factor)`` of a formula; its effects are correlated with each other.

    Attributes
    ----------
    effects : str
        The left side, a formula of its own: ``"1 + time"``.
    factor : tuple of str
        Columns whose combinations are the clusters: ``("herd",)`` or ``("herd", "cow")``.
    """

    effects: str
    factor: tuple[str, ...]

    @property
    def name(self) -> str:
        """The factor as it is called in names of parameters: ``"herd:cow"``."""
        return ":".join(self.factor)


@dataclass(frozen=True)
class Formula:
    """A formula that has been read and found harmless.

    Attributes
    ----------
    text : str
        As the user wrote it.
    response : str
        Left of the tilde.
    fixed : str
        The fixed effects, without the grouping terms.
    group_terms : tuple of GroupTerm
        The random effects; ``(1 | h/g)`` has become ``(1 | h)`` and ``(1 | h:g)``.
    columns : tuple of str
        The data's columns that the formula names.
    response_columns : tuple of str
        Those of them that make the response.

    Examples
    --------
    >>> from popavg.formula import Formula
    >>> formula = Formula.parse("y ~ x + (1 | school/class)")
    >>> formula.fixed, [term.name for term in formula.group_terms]
    ('x', ['school', 'school:class'])
    """

    text: str
    response: str
    fixed: str
    group_terms: tuple[GroupTerm, ...]
    columns: tuple[str, ...]
    response_columns: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Formula:
        """Read a formula.

        Raises
        ------
        FormulaError
            See :func:`popavg.formula_tokens.scan`; also for a misplaced ``|`` and for text that
            formulae would silently leave out.
        """
        tokens = scan(text)
        tilde = next(i for i, token in enumerate(tokens) if token.kind == "TILDE")
        left, right = tokens[:tilde], tokens[tilde + 1 :]
        fixed, group_terms = _split(right)
        fixed_text = text_of(fixed) if fixed else "1"
        _check_readable(text_of(left))
        for part in (fixed_text, *(term.effects for term in group_terms)):
            _check_readable(part)
        _check_effects_once(group_terms)
        return cls(
            text=" ".join(text.split()),
            response=text_of(left),
            fixed=fixed_text,
            group_terms=group_terms,
            columns=columns_of(tokens),
            response_columns=columns_of(left),
        )

    @property
    def fixed_columns(self) -> tuple[str, ...]:
        """The columns that the fixed effects name."""
        return columns_of(scan(f"y ~ {self.fixed}"))[1:]


def _split(tokens: Sequence[Token]) -> tuple[list[Token], tuple[GroupTerm, ...]]:
    """Take the ``( | )`` out of the right side."""
    fixed: list[Token] = []
    terms: list[GroupTerm] = []
    i = 0
    while i < len(tokens):
        end = matching(tokens, i) if tokens[i].kind == "LEFT_PAREN" else i
        inside = tokens[i + 1 : end]
        if end > i and any(token.kind == "PIPE" for token in inside):
            _check_stands_alone(tokens, i, end)
            terms += _group_terms(inside)
            if fixed:
                fixed.pop()
            elif end + 1 < len(tokens) and tokens[end + 1].kind == "PLUS":
                end += 1
        else:
            fixed += tokens[i : end + 1]
        i = end + 1
    if any(token.kind == "PIPE" for token in fixed):
        raise FormulaError(
            "'|' stands outside brackets or inside a call",
            "'(effects | factor)' as a term of its own",
            "write '(1 | g)'",
        )
    return fixed, tuple(terms)


def _check_stands_alone(tokens: Sequence[Token], start: int, end: int) -> None:
    before = tokens[start - 1].kind if start else "PLUS"
    after = tokens[end + 1].kind if end + 1 < len(tokens) else "PLUS"
    if before != "PLUS" or after not in ("PLUS", "MINUS"):
        raise FormulaError(
            f"the grouping term '{text_of(tokens[start : end + 1])}' is part of an expression",
            "grouping terms added with '+'",
            "write 'x + (1 | g)'",
        )


def _group_terms(inside: Sequence[Token]) -> list[GroupTerm]:
    pipes = [i for i, token in enumerate(inside) if token.kind == "PIPE"]
    left, right = inside[: pipes[0]], inside[pipes[0] + 1 :]
    depth_zero = all(not token.kind.startswith("LEFT_") for token in right)
    if len(pipes) != 1 or not left or not right or not depth_zero:
        raise FormulaError(
            f"the grouping term '({text_of(inside)})' can't be read",
            "'(1 | g)', '(1 + x | g)', '(1 | h/g)', '(1 | g:h)'",
            "name the clusters' column on the right of '|'",
        )
    return [GroupTerm(text_of(left), factor) for factor in _factors(right)]


def _factors(tokens: Sequence[Token]) -> list[tuple[str, ...]]:
    names, signs = tokens[::2], tokens[1::2]
    if any(token.kind not in ("IDENTIFIER", "BQNAME") for token in names) or any(
        token.kind not in ("SLASH", "COLON", "PLUS") for token in signs
    ):
        raise FormulaError(
            f"the grouping factor '{text_of(tokens)}' can't be read",
            "column names joined by '/', ':' or '+'",
            "write '(1 | g)'",
        )
    factors: list[tuple[str, ...]] = [(_column(names[0]),)]
    for sign, token in zip(signs, names[1:], strict=True):
        name = _column(token)
        if sign.kind == "PLUS":
            factors.append((name,))
        elif sign.kind == "COLON":
            factors[-1] = (*factors[-1], name)
        else:
            factors.append((*factors[-1], name))
    return factors


def _column(token: Token) -> str:
    return token.lexeme.strip("`")


def _check_readable(text: str) -> None:
    """Formulae's parser stops at what it doesn't understand and says nothing."""
    try:
        parser = Parser(Scanner(text).scan(add_intercept=False))
        parser.parse()
        complete = parser.at_end()
        model_description(f"y ~ {text}" if "~" not in text else text)
    except Exception as error:
        raise FormulaError(
            f"the formula's part {text[:80]!r} can't be read: {error}",
            "names, numbers, + - : * / and calls",
        ) from error
    if not complete:
        raise FormulaError(
            f"only the first part of {text[:80]!r} can be read",
            "terms joined by + - : * /",
            "write an operator between the terms",
        )


def _check_effects_once(terms: Sequence[GroupTerm]) -> None:
    seen: set[GroupTerm] = set()
    for term in terms:
        if term in seen:
            raise FormulaError(f"the term '({term.effects} | {term.name})' appears twice")
        seen.add(term)
