"""A mixed-model formula, taken apart into response, fixed effects and grouping terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from formulae.token import Token

from popavg.errors import FormulaError
from popavg.formula_terms import read_terms
from popavg.formula_tokens import matching, one_line, scan, text_of
from popavg.response import read_form

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
        As the user wrote it, on one line.
    response : str
        Left of the tilde; empty where a formula without a response was allowed.
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
    def parse(cls, text: str, *, one_sided: bool = False) -> Formula:
        """Read a formula.

        Parameters
        ----------
        text : str
            The formula.
        one_sided : bool
            Whether ``"~ x"`` is allowed: of a posterior whose outcome isn't known.

        Raises
        ------
        FormulaError
            See :func:`popavg.formula_tokens.scan`, :func:`popavg.formula_terms.read_terms` and
            :func:`popavg.response.read_form`; also for a misplaced ``|``, for effects or clusters
            that appear twice, and for a response that is also a covariate.
        """
        tokens = scan(text, one_sided=one_sided)
        tilde = next(i for i, token in enumerate(tokens) if token.kind == "TILDE")
        left, (fixed, group_terms) = tokens[:tilde], _split(tokens[tilde + 1 :])
        form = read_form(left) if left else None
        response = () if form is None else form.columns
        terms = read_terms(fixed or "1")
        effects = [read_terms(term.effects, offsets=False) for term in group_terms]
        predictors = [
            *terms.columns,
            *(name for effect in effects for name in effect.columns),
            *(name for term in group_terms for name in term.factor),
        ]
        if form is not None:
            _check_response_is_apart(form.column, predictors)
        _check_terms_once(group_terms)
        return cls(
            text=one_line(text),
            response="" if form is None else form.text,
            fixed=terms.text,
            group_terms=group_terms,
            columns=tuple(dict.fromkeys((*response, *predictors))),
            response_columns=response,
        )

    @property
    def fixed_columns(self) -> tuple[str, ...]:
        """The columns that the fixed effects name."""
        return read_terms(self.fixed).columns


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
    if sum(t.kind.startswith("LEFT_") - t.kind.startswith("RIGHT_") for t in left):
        raise FormulaError(
            f"the grouping term in '({text_of(inside)})' stands inside other brackets",
            "grouping terms added with '+' outside brackets",
            "write 'x + (1 | g)'",
        )
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


def _check_response_is_apart(response: str, predictors: Sequence[str]) -> None:
    if response in predictors:
        raise FormulaError(
            f"the response {response!r} is also on the right of '~'",
            "other columns as covariates and clusters",
            f"take {response!r} out of the right side",
        )


def _check_terms_once(terms: Sequence[GroupTerm]) -> None:
    factors: dict[frozenset[str], tuple[str, ...]] = {}
    for i, term in enumerate(terms):
        words = f"'({term.effects} | {term.name})'"
        if len(set(term.factor)) < len(term.factor):
            raise FormulaError(
                f"the grouping term {words} names a column twice",
                "each column once in a grouping factor",
                f"write '({term.effects} | {':'.join(dict.fromkeys(term.factor))})'",
            )
        if factors.setdefault(frozenset(term.factor), term.factor) != term.factor:
            raise FormulaError(
                f"the grouping factor of {words} appears in two orders",
                "one order of its columns",
                f"write '{':'.join(factors[frozenset(term.factor)])}' in both terms",
            )
        if term in terms[:i]:
            raise FormulaError(
                f"the grouping term {words} appears twice",
                "each effect once for each factor",
                "take one of them out",
            )
    if len({term.name for term in terms}) < len({term.factor for term in terms}):
        raise FormulaError(
            "two grouping factors have the same name", remedy="rename columns that hold ':'"
        )
