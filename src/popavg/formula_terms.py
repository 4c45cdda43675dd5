"""The terms of a formula: what joins them, how many there are, which columns they name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import comb

from formulae.expr import Binary, Call, Grouping, Literal, QuotedName, Unary, Variable
from formulae.resolver import Resolver
from formulae.terms.call import Call as CallTerm
from formulae.terms.call_resolver import CallResolver, LazyValue
from formulae.terms.terms import Intercept, Model, Term
from formulae.token import Token

from popavg._checks import listing
from popavg.errors import FormulaError
from popavg.formula_calls import Names, check_call, parse_part
from popavg.formula_tokens import scan_part, shortened, text_of

__all__ = ["Terms", "check_names_differ", "read_terms"]

MAX_TERMS = 300
MAX_ORDER = 6
MAX_POWER = 6


class _Value(LazyValue):
    """A literal that can be hashed, as products of brackets need; formulae's own can't be."""

    def __hash__(self) -> int:
        return hash((self.value, self.lexeme))

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)


class _CallResolver(CallResolver):
    def visitLiteralExpr(self, expr: Literal) -> LazyValue:
        return _Value(expr.value, expr.lexeme)


class _Resolver(Resolver):
    def visitCallExpr(self, expr: Call) -> Term:
        return Term(CallTerm(_CallResolver(expr).resolve()))


@dataclass(frozen=True)
class Terms:
    """A part of a formula without ``~`` and ``|``, read and found harmless.

    Attributes
    ----------
    text : str
        The part, evenly spaced.
    columns : tuple of str
        The data's columns that it names.
    encoded : tuple of str
        Those that ``C()``, ``T()`` or ``S()`` turn into categories.
    constant : tuple of str
        Those that stand in offsets only, and so need not vary.
    """

    text: str
    columns: tuple[str, ...]
    encoded: tuple[str, ...]
    constant: tuple[str, ...]

    def model(self) -> Model:
        """Formulae's description of the terms, the intercept first; a new one at each call.

        Notes
        -----
        Formulae lets the terms of a product share their factors, and the coding of one term then
        overwrites that of another: here each term gets factors of its own.
        """
        model = _resolve(self.text)
        model.common_terms.sort(key=lambda term: not isinstance(term, Intercept))
        check_names_differ(model)
        return model


@dataclass(frozen=True)
class _Size:
    """Number of terms, and of factors in the longest of them."""

    terms: int = 1
    order: int = 1


class _Reader:
    """Walks a syntax tree once: refuses, counts, and collects names."""

    def __init__(self, *, offsets: bool) -> None:
        self.names = Names()
        self.offset_names = Names()
        self._offsets = offsets

    def read(self, tree: object, *, added: bool) -> _Size:
        """Check a tree; ``added`` where it is one of the summands of the whole."""
        match tree:
            case Grouping():
                return self.read(tree.expression, added=added)
            case Unary(right=Literal(value=0 | 1)):
                return _Size()
            case Unary() if tree.operator.kind == "PLUS":
                return self.read(tree.right, added=added)
            case Literal(value=0 | 1) if not isinstance(tree.value, bool):
                return _Size()
            case Variable() if tree.level is None:
                self.names.columns[tree.name.lexeme] = None
                return _Size()
            case QuotedName():
                self.names.columns[tree.expression.lexeme[1:-1]] = None
                return _Size()
            case Call():
                self._read_call(tree, added=added)
                return _Size()
            case Binary():
                return self._read_binary(tree, added=added)
        raise _refusal(tree)

    def _read_call(self, call: Call, *, added: bool) -> None:
        is_offset = isinstance(call.callee, Variable) and call.callee.name.lexeme == "offset"
        if is_offset and not (added and self._offsets):
            raise FormulaError(
                "offset() stands inside another term",
                "offset() as a term of its own among the fixed effects",
                "write 'y ~ x + offset(z) + (1 | g)'",
            )
        check_call(call, self.offset_names if is_offset else self.names)

    def _read_binary(self, tree: Binary, *, added: bool) -> _Size:
        kind = tree.operator.kind
        if kind == "STAR_STAR":
            return _checked(self._read_power(tree))
        if kind not in ("PLUS", "MINUS", "STAR", "SLASH", "COLON"):
            raise _refusal(tree)
        left = self.read(tree.left, added=added and kind in ("PLUS", "MINUS"))
        right = self.read(tree.right, added=added and kind == "PLUS")
        return _checked(_combined(kind, left, right))

    def _read_power(self, tree: Binary) -> _Size:
        if not isinstance(tree.left, Grouping):
            word = _lexeme(tree.left)
            raise FormulaError(
                f"'{word}**{_lexeme(tree.right)}' outside a call isn't a power",
                "powers inside I(), '(a + b)**2' for interactions",
                f"write 'I({word}**2)' or 'poly({word}, 2)'",
            )
        size = self.read(tree.left, added=False)
        exponent = tree.right.value if isinstance(tree.right, Literal) else None
        if not isinstance(exponent, int) or not 1 <= exponent <= MAX_POWER or size.terms < 2:
            raise FormulaError(
                f"'(…)**{_lexeme(tree.right)}' isn't a set of interactions",
                f"'(a + b + c)**2': two terms or more, a whole number from 1 to {MAX_POWER}",
                "write powers inside I(), as in 'I(x**2)'",
            )
        terms = sum(comb(size.terms, i) for i in range(1, exponent + 1))
        return _Size(terms, size.order * min(exponent, size.terms))


def read_terms(part: str | Sequence[Token], *, offsets: bool = True) -> Terms:
    """Read terms joined by ``+ - : * /``.

    Parameters
    ----------
    part : str or sequence of Token
        The right side of a formula without grouping terms, or the left of a ``|``.
    offsets : bool
        Whether ``offset()`` is allowed.

    Raises
    ------
    FormulaError
        Calls that aren't allowed, comparisons or numbers outside calls, ``x**2`` outside
        ``I()``, too many terms.

    Examples
    --------
    >>> from popavg.formula_terms import read_terms
    >>> read_terms("poly(age,2)*sex + offset(log(days))").columns
    ('age', 'sex', 'days')
    """
    tokens = scan_part(part) if isinstance(part, str) else part
    reader = _Reader(offsets=offsets)
    reader.read(parse_part(tokens), added=True)
    columns = reader.names.columns | reader.offset_names.columns
    constant = [name for name in columns if name not in reader.names.columns]
    terms = Terms(text_of(tokens), tuple(columns), tuple(reader.names.encoded), tuple(constant))
    terms.model()
    return terms


def check_names_differ(model: Model) -> None:
    """Formulae keeps one of several terms that it writes alike, and says nothing.

    Raises
    ------
    FormulaError
        Two terms have the same name.
    """
    counts = Counter(term.name for term in model.common_terms)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise FormulaError(
            f"two different terms are both called {listing(twice)}",
            "terms with names of their own",
            "compute one of them as a column of the data",
        )


def _resolve(text: str) -> Model:
    tokens = [Token("NUMBER", "1", 1), Token("PLUS", "+"), *scan_part(text)]
    try:
        description = _Resolver(parse_part(tokens)).resolve()
        model = description if isinstance(description, Model) else Model(description)
        for term in model.common_terms:
            if isinstance(term, Term):
                term.components = deepcopy(term.components)
        return model
    except FormulaError:
        raise
    except RecursionError as error:
        raise FormulaError(
            f"the terms {shortened(text)} are too many or too long",
            remedy="use fewer terms, or compute long expressions as columns of the data first",
        ) from error
    except Exception as error:
        raise FormulaError(
            f"the terms {shortened(text)} can't be combined like that",
            "terms joined by + - : * /, and '- 1' or '0 +' outside brackets for no intercept",
            "write out the terms that the brackets make",
        ) from error


def _combined(kind: str, left: _Size, right: _Size) -> _Size:
    order = left.order + right.order
    if kind == "PLUS":
        return _Size(left.terms + right.terms, max(left.order, right.order))
    if kind == "MINUS":
        return left
    if kind == "COLON":
        return _Size(left.terms * right.terms, order)
    if kind == "SLASH":  # formulae nests in the product of all that stands on the left
        return _Size(left.terms + right.terms, left.order * left.terms + right.order)
    return _Size(left.terms + right.terms + left.terms * right.terms, order)


def _checked(size: _Size) -> _Size:
    if size.terms > MAX_TERMS or size.order > MAX_ORDER:
        what = (
            f"{size.terms:,} terms" if size.terms > MAX_TERMS else f"{size.order}-fold interactions"
        )
        raise FormulaError(
            f"the formula makes {what}",
            f"at most {MAX_TERMS} terms of at most {MAX_ORDER} factors",
            "write the interactions that are wanted with ':'",
        )
    return size


def _refusal(tree: object) -> FormulaError:
    match tree:
        case Literal() if isinstance(tree.value, str):
            return FormulaError(
                f"the text {tree.value[:40]!r} stands where a column should",
                "names of columns, in backquotes where they have spaces",
                "name a column without quotation marks: `my column`",
            )
        case Literal() | Unary():
            return FormulaError(
                f"{_lexeme(tree)!r} stands where a column should",
                "1 for the intercept, 0 or - 1 for none",
                "use offset() for a number that is added, I() for arithmetic",
            )
        case Variable():
            return FormulaError(
                f"'{tree.name.lexeme}[…]' chooses a level",
                "levels of the response only",
                f"write \"I({tree.name.lexeme} == 'level')\" for an indicator",
            )
        case Binary():
            return FormulaError(
                f"'{tree.operator.lexeme}' stands outside a call",
                "terms joined by + - : * /",
                f"write 'I(x {tree.operator.lexeme} …)' to compute with columns",
            )
    return FormulaError("'=' stands outside a call", "terms joined by + - : * /", "use '~' once")


def _lexeme(tree: object) -> str:
    match tree:
        case Variable():
            return tree.name.lexeme
        case QuotedName():
            return tree.expression.lexeme
        case Literal():
            return str(tree.value)
        case Unary():
            return f"{tree.operator.lexeme}{_lexeme(tree.right)}"
    return "…"
