"""What conditional and population-averaged numbers mean, in words with the data's own names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.bridge import attenuation_of_sd
from popavg.design import Design
from popavg.frames import Missing
from popavg.links import Link
from popavg.mixing import BRIDGE, Mixing
from popavg.posterior_tools.summaries import decimals

__all__ = [
    "Reading",
    "concordance_words",
    "crossed_words",
    "focus_term",
    "link_words",
    "missing_words",
    "mixing_words",
    "readings",
]

#: Share of concordant clusters above which a reader is warned.
MANY_CONCORDANT = 0.8

#: Misfit below this is rounding.
NO_MISFIT = 1e-8

_EXACT_FIT = "Here that makes no difference: the marginal model fits the population means exactly."


@dataclass(frozen=True)
class Reading:
    """A coefficient to put into words: its term and estimates with intervals."""

    term: str
    conditional: pd.Series
    population: pd.Series
    ci_prob: float


def focus_term(design: Design, estimates: pd.DataFrame) -> str | None:
    """The term to explain: a covariate of its own if there is one, the clearest conditional effect.

    Parameters
    ----------
    design : Design
        The model's design.
    estimates : pandas.DataFrame
        Columns ``term``, ``model``, ``estimate``, ``std_error``, with a row of model
        ``"conditional"`` for every term.

    Returns
    -------
    str or None
        None where no coefficient is a change of a covariate.
    """
    own = _own_terms(design)
    slopes = [term for term in design.matrices.terms if term not in ("Intercept", *own)]
    without = {name for name, level in own.values() if level and level == _reference(design, name)}
    candidates = [term for term, (name, _) in own.items() if name not in without]
    candidates = candidates or [term for term in slopes if ":" not in term] or slopes
    if not candidates:
        return None
    conditional = estimates[estimates["model"] == "conditional"].set_index("term")
    z = (conditional["estimate"] / conditional["std_error"]).abs()
    return max(candidates, key=lambda term: z[term])


def readings(reading: Reading, design: Design, link: Link) -> tuple[str, str]:
    """The student's and the teacher's sentence for one coefficient.

    Parameters
    ----------
    reading : Reading
        The coefficient.
    design : Design
        For the names of the grouping factors, of levels and of the response. A conditional
        coefficient conditions on the effects of **all** factors, so all of them are named.
    link : Link
        What the coefficient is multiplied into.

    Returns
    -------
    tuple of str
        Conditional, then population-averaged.
    """
    factors = [group.name for group in design.matrices.groups]
    same = " and the same ".join(map(repr, factors))
    change = _change(reading.term, design)
    level = f"{100 * reading.ci_prob:g} % credible interval"
    own = _effect(reading.conditional, link, level)
    average = _effect(reading.population, link, level)
    what = _quantity(link, design.response.label)
    slopes = _with_own_slopes(reading.term, design)
    who = f"one and the same {same}"
    if slopes:
        who += f" of average slope (each {listing(slopes)} has its own)"
    student = (
        f"Conditional (the student asks about one {factors[0]!r}): for {who}, "
        f"{change} {own[0]} {what} {own[1]}. It answers: what changes within the same {same}?"
    )
    teacher = (
        f"Population-averaged (the teacher asks about the class): over the whole population of "
        f"{' and '.join(map(repr, factors))}, {change} {average[0]} {what} {average[1]}. It "
        f"answers: what changes in the population's {'share' if link.is_probability else 'mean'}?"
    )
    return student, teacher


def crossed_words(design: Design, clusters: str) -> str | None:
    """What a GEE leaves out where its clusters don't hold all grouping factors; None where they do.

    Parameters
    ----------
    design : Design
        With the grouping factors.
    clusters : str
        The GEE's clusters.
    """
    groups = design.matrices.groups
    names = [group.name for group in groups]
    if clusters not in names:
        return None
    outer = groups[names.index(clusters)]
    left_out = [
        group.name
        for group in groups
        if len(np.unique(np.column_stack([group.index, outer.index]), axis=0)) > len(group.levels)
    ]
    if not left_out:
        return None
    return (
        f"The GEE has one cluster variable, {clusters!r}; that rows of the same "
        f"{listing(left_out)} are alike is left out, so its standard errors are too small and the "
        "distance in GEE standard errors too large."
    )


def link_words(link: Link, misfit: Mapping[str, float]) -> str:
    """Whether GLMM and GEE can both be true under this link, and by how much they aren't.

    Parameters
    ----------
    link : Link
        The link.
    misfit : mapping of str to float
        ``"largest"`` and ``"root mean square"`` distance on the response scale.
    """
    largest, unit = misfit["largest"], " in probability" if link.is_probability else ""
    size = (
        f"by at most {largest:.2g}{unit} (misfit), root mean square "
        f"{misfit['root mean square']:.2g}"
    )
    exact = largest < NO_MISFIT
    not_here = f"Here they can't (random slopes or an offset): it matters {size}."
    if link.mixing.name == BRIDGE.name:
        here = "Here that holds." if exact else f"Here an offset is attenuated too: {size}."
        return (
            "With the bridge distribution of the random intercept both models are exactly true at "
            f"once: β̃ = φβ, φ = (1 + 3v/π²)^(−1/2), by every definition of β̃. {here}"
        )
    match link.name:
        case "probit":
            return (
                "For the probit with normal random intercepts both models can be exactly true at "
                f"once: β̃ = β/√(1 + v). {'Here that holds.' if exact else not_here}"
            )
        case "log":
            here = "Here that is so." if exact else f"Here random slopes move more: {size}."
            return (
                "For the log link a random intercept moves only the intercept (by v/2); all other "
                "coefficients are the same for one cluster and for the population. " + here
            )
        case "identity":
            return (
                "For the identity link the conditional and the population-averaged coefficients "
                "coincide; they differ from the GEE only by estimation."
            )
        case _:
            return (
                f"With normal random effects and the {link.name} link the conditional and the "
                "marginal model can't both be exactly true: averaging the conditional curves gives "
                f"a curve that is not of the {link.name} form. "
                + (_EXACT_FIT if exact else f"Here that matters {size}.")
            )


def mixing_words(mixing: Mixing, sd: NDArray[np.float64]) -> str:
    """What a standard deviation doesn't say of the random effects; nothing of normal ones.

    Parameters
    ----------
    mixing : Mixing
        Their distribution.
    sd : numpy.ndarray
        Draws of the standard deviation.
    """
    if mixing.name != BRIDGE.name:
        return ""
    return f" (bridge distribution, φ = {attenuation_of_sd(sd).mean():.3f})"


def missing_words(missing: Missing, sizes: Sequence[int]) -> str:
    """What was dropped, and what each method assumes about rows that aren't there."""
    unequal = (
        f"Clusters have {min(sizes)} to {max(sizes)} rows. " if min(sizes) < max(sizes) else ""
    )
    dropped = str(missing)
    return (
        f"Missing values: {dropped}. {unequal}About rows that aren't there the GEE assumes that "
        "they are missing completely at random (given the covariates); the GLMM assumes that they "
        "are missing at random given the observed outcomes, and that the model is right."
    )


def concordance_words(design: Design, cluster: int) -> str | None:
    """In how many clusters all outcomes are equal; None for counts and values."""
    group = design.matrices.groups[cluster]
    share = concordant_share(design, cluster)
    if share is None:
        return None
    n_clusters = len(group.levels)
    count = round(share * n_clusters)
    if not count:
        return f"In no cluster of {group.name!r} all outcomes are equal."
    text = (
        f"In {count} of {n_clusters} clusters of {group.name!r} ({100 * share:.0f} %) all outcomes "
        "are equal: they say little about the variance between clusters"
    )
    if share > MANY_CONCORDANT:
        return (
            f"Warning: {text[0].lower()}{text[1:]}. Above {100 * MANY_CONCORDANT:.0f} % the "
            "standard deviation and with it the conditional coefficients lean on the prior; the "
            "population-averaged ones much less. Try another prior for the standard deviation."
        )
    return f"{text}."


def concordant_share(design: Design, cluster: int) -> float | None:
    """Share of clusters whose outcomes are all events or all non-events."""
    response, group = design.response, design.matrices.groups[cluster]
    trials = response.trials
    if trials is None and not set(np.unique(response.y)) <= {0.0, 1.0}:
        return None
    counts = np.ones_like(response.y) if trials is None else trials
    n_clusters = len(group.levels)
    events = np.bincount(group.index, response.y, n_clusters)
    total = np.bincount(group.index, counts, n_clusters)
    return float(np.mean((events == 0) | (events == total)))


def _own_terms(design: Design) -> dict[str, tuple[str, str | None]]:
    """Terms that are a covariate (with the level, of a category), not part of anything else."""
    own: dict[str, tuple[str, str | None]] = {}
    for name in design.predictors:
        column = design.frame[name]
        levels = _levels(column)
        own |= {f"{name}[{level}]": (name, level) for level in levels} or {name: (name, None)}
        if pd.api.types.is_bool_dtype(column):  # enters as a number, 0 or 1
            own[name] = (name, levels[-1])
    return {term: own[term] for term in design.matrices.terms if term in own}


def _reference(design: Design, name: str) -> str:
    return _levels(design.frame[name])[0]


def _change(term: str, design: Design) -> str:
    own = _own_terms(design)
    if term not in own:
        return f"one more unit of the term {term!r}"
    name, level = own[term]
    change = f"one more unit of {name!r}"
    if level is not None:
        change = f"{name!r} = {level!r} instead of {_reference(design, name)!r}"
    others = [t for t in design.matrices.terms if own.get(t, ("", None))[0] != name]
    if any(_mentions(other, name) and ":" in other for other in others):
        return f"{change} (where the covariates it interacts with are zero or at their reference)"
    if any(_mentions(other, name) for other in others):
        return f"{change} (of this term alone: {name!r} is in other terms too)"
    return change


def _mentions(term: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", term) is not None


def _with_own_slopes(term: str, design: Design) -> list[str]:
    """Grouping factors whose clusters have an effect of their own for this term."""
    return [group.name for group in design.matrices.groups if term in group.effects]


def _levels(column: pd.Series) -> list[str]:
    """Levels of a category in order; none of a number."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return [str(level) for level in column.cat.categories]
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return []
    return sorted({str(value) for value in column})


def _quantity(link: Link, response: str) -> str:
    quantities = {
        "logit": f"the odds of {response}",
        "probit": f"the probit of the probability of {response}",
        "cloglog": f"the cumulative hazard -log(1 - p) of {response}",
        "log": f"the expected {response}",
        "identity": f"the expected {response}",
    }
    return quantities[link.name]


def _effect(row: pd.Series, link: Link, level: str) -> tuple[str, str]:
    values = row[["estimate", "lower", "upper"]].to_numpy(dtype=float)
    moves = link.name in ("probit", "identity")
    shown = values if moves else np.exp(values)
    form = f"{'+' if moves else ''}.{decimals((shown[2] - shown[1]) / 4)}f"
    numbers = [format(number, form) for number in shown]
    verb = "moves" if moves else "multiplies"
    return verb, f"by {numbers[0]} ({level} {numbers[1]} to {numbers[2]})"
