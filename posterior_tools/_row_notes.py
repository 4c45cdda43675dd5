"""Sentences that a reader of some rows' numbers is owed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from popavg.design import Design
from popavg.posterior_tools._changes import Contrast
from popavg.posterior_tools.grid import is_category

__all__ = ["contrast_notes", "extrapolation_notes", "random_only_notes"]

#: How far beyond the data, in units of their range, is rounding.
_ROUNDING = 1e-9


def extrapolation_notes(
    design: Design, frame: pd.DataFrame, versions: Iterable[Mapping[Any, Any]] = ()
) -> tuple[str, ...]:
    """Numbers outside the range that they have in the data of the fit.

    Parameters
    ----------
    design : Design
        The fit's design.
    frame : pandas.DataFrame
        Rows that are asked about.
    versions : iterable of mapping
        Values that covariates are set to in every row; the rows' own are then not used.

    Returns
    -------
    tuple of str
        One sentence, or nothing.
    """
    given: dict[str, list[Any]] = {}
    for version in versions:
        for name, value in version.items():
            given.setdefault(str(name), []).append(value)
    beyond = [
        words
        for name in design.predictors
        for words in _beyond(design, name, given.get(name, frame.get(name)))
    ]
    return (f"Extrapolated: {'; '.join(beyond)}.",) if beyond else ()


def _beyond(design: Design, name: str, values: Sequence[Any] | pd.Series | None) -> Iterator[str]:
    """How far a covariate goes beyond the data, if it does."""
    if values is None or is_category(design, name):
        return
    numbers = [value for value in set(values) if isinstance(value, Real) and np.isfinite(value)]
    if not numbers:
        return
    training = design.frame[name]
    low, high = float(training.min()), float(training.max())
    room = _ROUNDING * max(high - low, abs(low), abs(high))
    if min(numbers) < low - room or max(numbers) > high + room:
        yield (
            f"{name!r} goes {_range(min(numbers), max(numbers))}, in the data of the fit "
            f"{_range(low, high)}"
        )


def _range(low: Any, high: Any) -> str:
    return f"to {low:.4g}" if low == high else f"from {low:.4g} to {high:.4g}"


def random_only_notes(design: Design, names: Iterable[str]) -> tuple[str, ...]:
    """Covariates whose effect varies over the clusters around 0, since no fixed effect is in it.

    Parameters
    ----------
    design : Design
        The fit's design.
    names : iterable of str
        Covariates whose effect is asked about.
    """
    alone = [name for name in dict.fromkeys(names) if name not in design.fixed.columns]
    return tuple(
        f"{name!r} has random effects but no fixed effect: the clusters' own effects of it are 0 "
        "on average, and a population mean changes with it only through the clusters' spread. "
        f"Add {name!r} to the formula's fixed effects unless that is meant."
        for name in alone
    )


def contrast_notes(design: Design, contrasts: Iterable[Contrast]) -> tuple[str, ...]:
    """Both kinds of sentences, about the covariates that contrasts change."""
    ends = [end for contrast in contrasts for end in (contrast.low, contrast.high)]
    values = [{name: side.value for name, side in end if side.step is None} for end in ends]
    compared = [name for end in ends for name, _ in end]
    return (
        *extrapolation_notes(design, pd.DataFrame(), values),
        *random_only_notes(design, compared),
    )
