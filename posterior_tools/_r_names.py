"""How R's ``model.matrix`` calls the columns of a design that formulae made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, permutations, product

import numpy as np
import pandas as pd

from popavg.design import Design
from popavg.grouping import GroupDesign
from popavg.labels import label_values, labels

__all__ = [
    "Matched",
    "Speller",
    "column_levels",
    "column_of",
    "components",
    "group_orders",
    "level_parts",
    "match_terms",
    "plain",
    "r_names",
    "r_scale",
    "spellings",
]

type Speller = Callable[[str], str]

_LEVEL = re.compile(r"^(?P<head>.+)\[(?P<level>.*)\]$", re.DOTALL)
_CALL = re.compile(r"^(?P<name>\w+)\((?P<inner>.*)\)$", re.DOTALL)
_BASES = ("poly", "bs")
_MOST = 2000


@dataclass(frozen=True)
class Matched:
    """Terms of a design joined to another program's names.

    Attributes
    ----------
    columns : dict of str to str
        The other program's name of each term.
    lacking : tuple of str
        Terms without one.
    """

    columns: Mapping[str, str]
    lacking: tuple[str, ...]


def components(label: str) -> list[tuple[str, str | None]]:
    """The factors of an interaction: name, and level where it has one.

    Examples
    --------
    >>> from popavg.posterior_tools._r_names import components
    >>> components("treatment[new]:time")
    [('treatment', 'new'), ('time', None)]
    """
    parts, depth, start = [], 0, 0
    for i, char in enumerate(label):
        depth += (char in "([") - (char in ")]")
        if char == ":" and depth == 0:
            parts.append(label[start:i])
            start = i + 1
    parts.append(label[start:])
    found = [(part, _LEVEL.match(part)) for part in parts]
    return [(part, None) if m is None else (m["head"], m["level"]) for part, m in found]


def r_names(label: str, design: Design) -> list[str]:
    """Names that R could give a term: its interactions' factors in every order."""
    if label == "Intercept":
        return ["(Intercept)"]
    options = [spellings(head, level, design) for head, level in components(label)]
    names = (":".join(spelled) for order in permutations(options) for spelled in product(*order))
    return list(dict.fromkeys(islice(names, _MOST)))


def r_scale(label: str, design: Design) -> float:
    """Column of R over column of the design: what R's coefficient is to be multiplied by.

    Notes
    -----
    R's ``scale`` divides by the standard deviation with n - 1, formulae's by that with n.
    """
    n_rows = len(design.frame)
    scaled = sum(_is_scaled(head) for head, _ in components(label))
    return float(np.sqrt((n_rows - 1) / n_rows)) ** scaled


def match_terms(
    terms: Sequence[str], design: Design, known: Mapping[str, str], *, spell: Speller
) -> Matched:
    """Join terms to names.

    Parameters
    ----------
    terms : sequence of str
        As formulae calls them.
    design : Design
        The design that they belong to.
    known : dict of str to str
        The other program's names, by their spelling.
    spell : callable
        How the other program spells R's name of a column.
    """
    columns, lacking = {}, []
    for term in terms:
        keys = [spell(name) for name in r_names(term, design)]
        found = next((known[key] for key in keys if key in known), None)
        if found is None:
            lacking.append(term)
        else:
            columns[term] = found
    return Matched(columns, tuple(lacking))


def plain(name: str) -> str:
    """A name of R without what R and Python write differently: spaces, quotes, powers."""
    return re.sub(r"\s", "", name).replace("**", "^").replace("'", '"').replace("`", "")


def column_levels(design: Design, column: str) -> list[str]:
    """Labels of a column's levels, in their order."""
    values = design.frame[column]
    if isinstance(values.dtype, pd.CategoricalDtype):
        return label_values(values.cat.categories)
    return label_values(sorted(values.unique()))


def column_of(head: str) -> str:
    """The column in a factor of an interaction: ``x`` of ``x`` and of ``C(x, Sum)``."""
    match = _CALL.match(head)
    return (match["inner"].split(",")[0] if match else head).strip("` ")


def spellings(head: str, level: str | None, design: Design) -> list[str]:
    """Names that R could give one factor of an interaction."""
    match = _CALL.match(head)
    call, inner = (match["name"], match["inner"]) if match else ("", "")
    if call in _BASES and level is not None:
        return [f"{head}{int(level) + 1}"]
    if call in ("C", "T", "S"):
        return _encoded(call, inner, level, design)
    if level is not None:
        return [f"{head}{_r_value(level)}"]
    if call == "standardize":
        return [f"scale({inner})"]
    if call == "center":
        return [f"scale({inner}, scale = FALSE)", f"scale({inner}, center = TRUE, scale = FALSE)"]
    if call == "I":
        return [head, f"{head}TRUE"]
    if head in design.frame and design.frame[head].dtype.kind == "b":
        return [head, f"{head}TRUE"]
    return [head]


def _encoded(call: str, inner: str, level: str | None, design: Design) -> list[str]:
    """``C(x)[b]``: a factor of R, whose dummies have numbers where they sum to zero."""
    column = inner.split(",")[0].strip().strip("`")
    written = str(level)
    if call == "S" or "Sum" in inner:
        known = column_levels(design, column)
        written = str(known.index(written) + 1) if written in known else written
    heads = [f"factor({column})", f"as.factor({column})", column, f"C({column})"]
    return [f"{name}{_r_value(written)}" for name in heads]


def _r_value(level: str) -> str:
    return {"True": "TRUE", "False": "FALSE"}.get(level, level)


def _is_scaled(head: str) -> bool:
    match = _CALL.match(head)
    return match is not None and match["name"] in ("scale", "standardize")


def level_parts(design: Design, group: GroupDesign) -> list[tuple[str, ...]]:
    """The labels of each cluster's columns, in the order of the group's levels."""
    grouping = next(g for g in design.groupings if g.name == group.name)
    first = np.unique(group.index, return_index=True)[1]
    columns = [labels(design.frame[name])[first] for name in grouping.factor]
    return list(zip(*(map(str, column) for column in columns), strict=True))


def group_orders(design: Design, group: GroupDesign) -> list[tuple[int, ...]]:
    """Orders in which another program could join the columns of a grouping factor."""
    grouping = next(g for g in design.groupings if g.name == group.name)
    return list(permutations(range(len(grouping.factor))))
