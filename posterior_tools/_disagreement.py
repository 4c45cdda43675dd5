"""Why draws under R's names and a design don't fit together, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from popavg._checks import listing
from popavg.design import Design
from popavg.errors import DataError
from popavg.grouping import GroupDesign
from popavg.posterior_tools._r_names import (
    Speller,
    column_levels,
    column_of,
    components,
    r_names,
    spellings,
)

__all__ = ["Effect", "Program", "disagreement"]

#: How alike two names must be for one to be taken for the other.
_ALIKE = 0.65
_AGREED = "the formula, and the types and level order of the data, that the model was fitted with"


@dataclass(frozen=True)
class Effect:
    """What a column with draws of random effects is about, in the program's own names.

    Attributes
    ----------
    group : str
        The grouping factor.
    effects : tuple of str
        The effect, two for a correlation.
    """

    group: str
    effects: tuple[str, ...]


@dataclass(frozen=True)
class Program:
    """How a program calls its draws.

    Attributes
    ----------
    name : str
        The program's own.
    spell : callable
        What it makes of R's name of a column.
    coefficient : callable
        From that spelling to the name of a coefficient's draws.
    spread : callable
        From a grouping factor and a spelling to the name of the draws that say how much an effect
        varies.
    measure : str
        What these are: standard deviations, variances.
    effect : callable
        What a column's name says of random effects; None where it isn't about them.
    """

    name: str
    spell: Speller
    coefficient: Callable[[str], str]
    spread: Callable[[str, str], str]
    measure: str
    effect: Callable[[str], Effect | None]


@dataclass(frozen=True, eq=False)
class _Sides:
    """What the draws and the design don't share; see :func:`disagreement`."""

    program: Program
    design: Design
    lacking: tuple[str, ...]
    unused: Mapping[str, str]
    group: GroupDesign | None = None

    @property
    def named(self) -> list[str]:
        """The lacking terms as a formula would have them."""
        if self.group is None:
            return list(self.lacking)
        return [f"{effect} | {self.group.name}" for effect in self.lacking]

    @property
    def wanted(self) -> list[str]:
        """The names that they are looked for under, in their first spelling."""
        program, group = self.program, self.group
        spelled = [program.spell(r_names(term, self.design)[0]) for term in self.lacking]
        if group is None:
            return [program.coefficient(name) for name in spelled]
        return [program.spread(group.name, name) for name in spelled]

    @property
    def levels(self) -> Iterator[tuple[str, str]]:
        """Factors and levels in the lacking terms."""
        for head, level in (part for term in self.lacking for part in components(term)):
            if level is not None:
                yield head, level


def disagreement(
    program: Program,
    design: Design,
    lacking: Sequence[str],
    unused: Mapping[str, str],
    *,
    group: GroupDesign | None = None,
) -> DataError:
    """The error for terms without draws and draws without terms, naming both sides.

    Parameters
    ----------
    program : Program
        Which program drew.
    design : Design
        The design that was rebuilt.
    lacking : sequence of str
        Its terms without draws; with ``group`` the effects of this factor.
    unused : dict of str to str
        Draws without a term, by their spelling.
    group : GroupDesign, optional
        The factor whose effects are lacking.
    """
    sides = _Sides(program, design, tuple(lacking), unused, group)
    error = _other_reference(sides)
    if error is not None:
        return error
    words = [*_without_draws(sides), *_without_term(sides)]
    return DataError(
        f"the {program.name} draws and the formula don't agree: {'; '.join(words)}",
        _AGREED,
        _coding(sides)
        or _other_level(sides)
        or _near(sides)
        or (_lacks_draws(sides) if lacking else _lacks_terms(sides)),
    )


def _without_draws(sides: _Sides) -> list[str]:
    if not sides.lacking:
        return []
    what = "" if sides.group is None else f"the {sides.program.measure} of "
    looked_for = listing(sides.wanted, 8)
    return [f"no draws for {what}{listing(sides.named, 8)} (looked for {looked_for})"]


def _without_term(sides: _Sides) -> list[str]:
    """The draws' side: random effects as what they are, other columns by name."""
    effects, others = _sorted_out(sides)
    words = [
        f"the draws have {_called(effect)} over {group!r} that the formula lacks "
        f"({listing(columns, 3)})"
        for (group, effect), columns in effects.items()
    ]
    if others:
        words.append(f"draws without a place in the formula: {listing(others, 8)}")
    return words


def _sorted_out(sides: _Sides) -> tuple[dict[tuple[str, str], list[str]], list[str]]:
    """Columns of random effects by factor and effect; all others, also lone correlations."""
    found: dict[tuple[str, str], list[str]] = {}
    pairs, others = [], []
    for column in sides.unused.values():
        effect = sides.program.effect(column)
        if effect is None:
            others.append(column)
        elif len(effect.effects) == 1:
            found.setdefault((effect.group, effect.effects[0]), []).append(column)
        else:
            pairs.append((column, effect))
    for column, effect in pairs:
        keys = [(effect.group, name) for name in effect.effects if (effect.group, name) in found]
        (found[keys[0]] if keys else others).append(column)
    return found, others


def _called(effect: str) -> str:
    return "a random intercept" if _is_intercept(effect) else f"a random slope of {effect!r}"


def _is_intercept(effect: str) -> bool:
    return effect.strip("()") == "Intercept"


def _lacks_terms(sides: _Sides) -> str:
    """What to write into the formula."""
    effects, _ = _sorted_out(sides)
    if not effects:
        return "add what is missing to the formula, or drop columns that aren't the model's"
    known = {group.name for group in sides.design.matrices.groups}
    grouped: dict[str, list[str]] = {}
    for name, effect in effects:
        own = grouped.setdefault(name, ["1"] if name in known else [])
        own.append("1" if _is_intercept(effect) else effect)
    terms = [f"'({' + '.join(dict.fromkeys(own))} | {name})'" for name, own in grouped.items()]
    return f"write {' and '.join(terms)} in the formula, if the model was fitted so"


def _lacks_draws(sides: _Sides) -> str:
    """Export the draws, or fit the formula to them."""
    if sides.group is None:
        own = f"'beta': {{{sides.lacking[0]!r}: …}}, 'sd_<group>': …"
        without = "leave the term out of the formula if the model was fitted without it"
    else:
        own = f"'beta': …, 'sd_{sides.group.name}': …"
        without = "leave it out of the formula's grouping term if the model was fitted without it"
    return f"export these draws too; {without}; or join the names yourself: names={{{own}}}"


def _near(sides: _Sides) -> str:
    """Which column may have been meant for a term, by its name."""
    free, found = list(sides.unused.values()), []
    for named, wanted in zip(sides.named, sides.wanted, strict=True):
        close = get_close_matches(wanted, free, n=1, cutoff=_ALIKE)
        if close:
            free.remove(close[0])
            found.append(f"{close[0]!r} for {named!r}")
    if not found:
        return ""
    return f"did you mean {_joined(found)}? Then give data, formula and draws the same name"


def _joined(words: Sequence[str]) -> str:
    """Words joined by commas, the last by ``and``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _coding(sides: _Sides) -> str:
    """What to do where R coded a factor in another way, as far as its names tell."""
    spell, unused = sides.program.spell, sides.unused
    for head, _ in sides.levels:
        if head not in sides.design.frame:
            continue
        if any(spell(f"{head}{degree}") in unused for degree in (".L", ".Q", ".C")):
            return (
                f"R coded the ordered factor {head!r} by polynomials: fit again with "
                f"factor({head}, ordered = FALSE)"
            )
        if spell(f"{head}1") in unused:
            return (
                f"R numbers the columns of {head!r}, so its contrasts aren't those of treatments: "
                f"write C({head}, Sum) for contr.sum, and give eta= to be sure of it"
            )
    return ""


def _other_level(sides: _Sides) -> str:
    """What to do where the draws have a level of a factor that the data haven't."""
    spell = sides.program.spell
    for head, _ in sides.levels:
        if head not in sides.design.frame:
            continue
        known = column_levels(sides.design, head)
        start, spelled = spell(head), {spell(f"{head}{level}") for level in known}
        for key, column in sides.unused.items():
            if key.startswith(start) and key != start and ":" not in key and key not in spelled:
                return (
                    f"{column!r} is about a level {key.removeprefix(start)!r} of {head!r}, which "
                    f"has the levels {listing(known)} in these data: name the levels as in the "
                    "data that were fitted"
                )
    return ""


def _other_reference(sides: _Sides) -> DataError | None:
    """The error for a factor whose reference level differs, if that is what it is."""
    design, spell, unused = sides.design, sides.program.spell, sides.unused
    coded = {part for term in design.matrices.terms for part in components(term)}
    for head, level in sides.levels:
        column = column_of(head)
        if column not in design.frame:
            continue
        known = column_levels(design, column)
        reference = next((k for k in known if (head, k) not in coded), None)
        spelled = [] if reference is None else spellings(head, reference, design)
        found = next((unused[spell(name)] for name in spelled if spell(name) in unused), None)
        if found is not None:
            order = [level, *(k for k in known if k != level)]
            return DataError(
                f"the draws have {found!r} for the level {reference!r} of {column!r}, which is "
                f"the reference level in these data, and nothing for {level!r}",
                f"the level order of the data that were fitted, {level!r} first",
                f"order the categories: data[{column!r}] = pandas.Categorical("
                f"data[{column!r}].astype(str), {order}, ordered=True)",
            )
    return None
