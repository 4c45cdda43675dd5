"""What ``variables`` asks for: which covariates change, from where to where."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise, permutations, product
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from popavg._checks import brief, check_choice, listing, suggestion
from popavg.design import Design
from popavg.errors import DataError, SpecificationError
from popavg.labels import label_values
from popavg.posterior_tools._changes import Change, Contrast, Side
from popavg.posterior_tools.grid import encoded

__all__ = ["LEVELS", "SPREADS", "Contrast", "Variables", "read_contrasts"]

#: A covariate's name, several names, or names with what to compare.
type Variables = str | Sequence[str] | Mapping[str, Any] | None

#: Which pairs of a category's levels are compared.
LEVELS = ("reference", "sequential", "pairwise", "all")
#: Spreads of a number over the rows of the fit.
SPREADS = ("sd", "2sd", "iqr", "minmax")


def read_contrasts(
    design: Design, variables: Variables = None, *, cross: bool = False
) -> tuple[Contrast, ...]:
    """The contrasts that ``variables`` asks for.

    Parameters
    ----------
    design : Design
        The fit's design.
    variables : str, sequence or mapping, optional
        A covariate, several, or a mapping to what is compared; None: all covariates of the model
        except those that only stand in an offset.

        - categories: ``"reference"`` (default; every level with the first), ``"sequential"``
          (with the one before), ``"pairwise"``, ``"all"`` (both directions), or a list of levels,
          of which all are compared with the first: ``["placebo", "active"]``;
        - numbers: a step (default 1), centred at each row's own value x, from x − step/2 to
          x + step/2; ``"sd"`` (x ± sd/2), ``"2sd"`` (x ± sd), ``"iqr"`` (first to third
          quartile), ``"minmax"``; or a list of values, all compared with the first: ``[0, 6]``.
          Spreads are those of the fit's rows;
        - booleans and numbers that are only 0 and 1: True with False, 1 with 0.
    cross : bool
        Change two covariates at the same time, each change of one with each of the other.

    Returns
    -------
    tuple of Contrast
        By covariate in the given order, then by level.

    Raises
    ------
    SpecificationError
        Not a covariate, a change that this kind of covariate doesn't have, a contrast of a value
        with itself, or ``cross`` with other than two covariates.
    DataError
        A level that the fit hasn't seen.

    Notes
    -----
    Steps are centred as in marginaleffects for Python; the R package steps up from the row's own
    value. Levels are in the order of the fit's categories, text in that of the alphabet.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.draws import Posterior
    >>> from popavg.posterior_tools.variables import read_contrasts
    >>> design = Posterior.from_fit(pa.load_example()).design
    >>> [contrast.label() for contrast in read_contrasts(design, {"treatment": None, "time": 3})]
    ['terbinafine - itraconazole', '+3']
    >>> [contrast.label() for contrast in read_contrasts(design, {"time": [0, 6]})]
    ['6 - 0']
    """
    given = _items(design, variables)
    if cross and len(given) != 2:
        raise SpecificationError(
            f"cross=True with {len(given)} covariates ({listing(given)})",
            "two covariates that change at the same time",
            "name two in 'variables'; set others by 'newdata', or group by them with 'by'",
        )
    changes = [_changes(design, name, asked) for name, asked in given.items()]
    if cross:
        return tuple(Contrast(pair) for pair in product(*changes))
    return tuple(Contrast((change,)) for several in changes for change in several)


def _items(design: Design, variables: Variables) -> dict[str, Any]:
    if variables is None:
        found = dict.fromkeys(design.covariates)
        if not found:
            raise SpecificationError(
                "the model has no covariate to compare", "models with covariates", "use predictions"
            )
        return found
    if isinstance(variables, Mapping):
        given = dict(variables)
    elif isinstance(variables, str):
        given = {variables: None}
    elif isinstance(variables, Sequence) and all(isinstance(name, str) for name in variables):
        twice = sorted({name for name in variables if list(variables).count(name) > 1})
        if twice:
            raise SpecificationError(f"{listing(twice)} is named twice in 'variables'", "once")
        given = dict.fromkeys(variables)
    else:
        given = {}
    if not given:
        raise SpecificationError(
            f"variables={brief(variables)}",
            "a covariate's name, a list of names, or a mapping from names to changes",
            "write for instance variables={'age': 5}",
        )
    for name in given:
        if name not in design.predictors:
            raise SpecificationError(
                f"{name!r} isn't a covariate of the model",
                listing(design.predictors),
                suggestion(name, design.predictors),
            )
    return given


def _changes(design: Design, name: str, asked: Any) -> list[Change]:
    column = design.frame[name]
    if pd.api.types.is_bool_dtype(column):
        return _of_levels(name, [False, True], asked)
    if isinstance(column.dtype, pd.CategoricalDtype):
        return _of_levels(name, list(column.cat.categories), asked)
    if not pd.api.types.is_numeric_dtype(column) or name in encoded(design):
        return _of_levels(name, sorted(set(column)), asked)
    return _of_numbers(column, asked)


def _of_levels(name: str, levels: list[Any], asked: Any) -> list[Change]:
    known = dict(zip(label_values(levels), levels, strict=True))
    if asked is None or isinstance(asked, str):
        pairs = _pairs(
            list(known), check_choice(f"variables: {name!r}", asked or "reference", LEVELS)
        )
    elif _is_list(asked):
        pairs = [(low, high) for low, *others in [_listed(name, asked, known)] for high in others]
    else:
        raise SpecificationError(
            f"a change of {asked!r} in {name!r}, which is a category",
            f"{listing(LEVELS)}, or a list of two or more of its levels {listing(known)}",
        )
    return [Change(name, Side(low, known[low]), Side(high, known[high])) for low, high in pairs]


def _pairs(levels: list[str], which: str) -> list[tuple[str, str]]:
    """Pairs (low, high)."""
    if which == "reference":
        return [(levels[0], level) for level in levels[1:]]
    if which == "sequential":
        return list(pairwise(levels))
    if which == "pairwise":
        return list(combinations(levels, 2))
    return list(permutations(levels, 2))


def _listed(name: str, asked: Sequence[Any], known: Mapping[str, Any]) -> list[str]:
    labels = label_values(asked)
    for label in labels:
        if label not in known:
            raise DataError(
                f"{name!r} has no level {label!r} in the fit",
                listing(known),
                suggestion(label, known),
            )
    _check_differ(name, labels)
    return labels


def _of_numbers(column: pd.Series, asked: Any) -> list[Change]:
    name = str(column.name)
    if set(column) <= {0, 1} and (asked is None or not _is_list(asked)):
        return _of_indicator(name, asked)
    if isinstance(asked, str):
        return [_spread(column, check_choice(f"variables: {name!r}", asked, SPREADS))]
    if _is_list(asked):
        return _of_values(name, list(asked))
    asked = 1 if asked is None else asked
    if not isinstance(asked, Real) or isinstance(asked, bool) or not math.isfinite(asked):
        raise SpecificationError(
            f"a change of {asked!r} in {name!r}, which is a number",
            f"a step, {listing(SPREADS)}, or a list of two or more values",
        )
    if asked == 0:
        raise _with_itself(name, "a step of 0")
    half, label = float(asked) / 2.0, label_values([asked])[0]
    short = label if asked < 0 else f"+{label}"
    return [Change(name, Side(f"x-{label}/2", step=-half), Side(f"x+{label}/2", step=half), short)]


def _of_indicator(name: str, asked: Any) -> list[Change]:
    """A number that is 0 or 1 in all rows."""
    if asked is not None and asked != "minmax":
        raise SpecificationError(
            f"a change of {asked!r} in {name!r}, which is 0 or 1 in all rows of the fit",
            f"{name!r} alone for 1 with 0, or a list of values",
            f"write variables={{{name!r}: [0, 1]}}",
        )
    return [Change(name, Side("0", 0), Side("1", 1))]


def _of_values(name: str, values: list[Any]) -> list[Change]:
    usable = [isinstance(v, Real) and not isinstance(v, bool) and math.isfinite(v) for v in values]
    if not all(usable):
        raise SpecificationError(
            f"values {listing(values)} for {name!r}, which is a number", "finite numbers"
        )
    labels = label_values(values)
    _check_differ(name, labels)
    sides = [Side(label, value) for label, value in zip(labels, values, strict=True)]
    return [Change(name, sides[0], side) for side in sides[1:]]


def _spread(column: pd.Series, which: str) -> Change:
    name = str(column.name)
    if which in ("sd", "2sd"):
        half = float(column.std()) * (0.5 if which == "sd" else 1.0)
        end = "sd/2" if which == "sd" else "sd"
        return Change(name, Side(f"(x-{end})", step=-half), Side(f"(x+{end})", step=half))
    if which == "iqr":
        names, ends = ("Q1", "Q3"), np.percentile(column, [25.0, 75.0])
    else:
        names, ends = ("Min", "Max"), np.array([column.min(), column.max()])
    if ends[0] == ends[1]:
        raise _with_itself(name, f"{names[0]} and {names[1]}, which are both {ends[0]:g}")
    return Change(name, Side(names[0], float(ends[0])), Side(names[1], float(ends[1])))


def _is_list(asked: Any) -> bool:
    return np.iterable(asked) and not isinstance(asked, (str, Mapping))


def _check_differ(name: str, labels: list[str]) -> None:
    if len(labels) < 2:
        raise SpecificationError(
            f"{len(labels)} values to compare for {name!r}", "two or more, the first is compared to"
        )
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise _with_itself(name, listing(twice))


def _with_itself(name: str, what: str) -> SpecificationError:
    return SpecificationError(
        f"a contrast of {name!r} with itself: {what}", "values that differ", "name two of them"
    )
