"""What conditional and population-averaged numbers mean, in words with the data's own names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from popavg.design import Design
from popavg.frames import Missing
from popavg.links import Link

__all__ = ["Reading", "concordance_words", "focus_term", "link_words", "missing_words", "readings"]

#: Share of concordant clusters above which a reader is warned.
MANY_CONCORDANT = 0.8


@dataclass(frozen=True)
class Reading:
    """A coefficient to put into words: its term and estimates with intervals."""

    term: str
    conditional: pd.Series
    population: pd.Series
    ci_prob: float


def focus_term(terms: Sequence[str], estimates: pd.DataFrame) -> str | None:
    """The term to explain: no intercept, no interaction, the clearest conditional effect."""
    candidates = [t for t in terms if t != "Intercept" and ":" not in t]
    candidates = candidates or [t for t in terms if t != "Intercept"]
    if not candidates:
        return None
    conditional = estimates[estimates["model"] == "conditional"].set_index("term")
    z = (conditional["estimate"] / conditional["std_error"]).abs()
    return max(candidates, key=lambda term: z[term])


def readings(reading: Reading, design: Design, link: Link, cluster: str) -> tuple[str, str]:
    """The student's and the teacher's sentence for one coefficient.

    Parameters
    ----------
    reading : Reading
        The coefficient.
    design : Design
        For the names of levels and of the response.
    link : Link
        What the coefficient is multiplied into.
    cluster : str
        The grouping factor's name.

    Returns
    -------
    tuple of str
        Conditional, then population-averaged.
    """
    change = _change(reading.term, design)
    level = f"{100 * reading.ci_prob:g} % credible interval"
    own = _effect(reading.conditional, link, level)
    average = _effect(reading.population, link, level)
    what = _quantity(link, design.response.label)
    student = (
        f"Conditional (the student asks about one {cluster!r}): for one and the same {cluster!r}, "
        f"{change} {own[0]} {what} {own[1]}. It answers: what changes for a single {cluster!r}?"
    )
    teacher = (
        f"Population-averaged (the teacher asks about the class): over the whole population of "
        f"{cluster!r}, {change} {average[0]} {what} {average[1]}. It answers: what changes in the "
        f"population's {'share' if link.is_probability else 'mean'}?"
    )
    return student, teacher


def link_words(link: Link, misfit: dict[str, float]) -> str:
    """Whether GLMM and GEE can both be true under this link, and by how much they aren't."""
    largest = misfit["largest"]
    match link.name:
        case "probit":
            return (
                "For the probit with normal random intercepts both models can be exactly true at "
                "once: β̃ = β/√(1 + v). "
                f"Here the marginal model misses the population mean by at most {largest:.2g}."
            )
        case "log":
            return (
                "For the log link a random intercept moves only the intercept (by v/2); all other "
                "coefficients are the same for one cluster and for the population. "
                f"The marginal model misses the population mean by at most {largest:.2g}."
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
                f"a curve that is not of the {link.name} form. Here that matters by at most "
                f"{largest:.4f} in probability (misfit), root mean square "
                f"{misfit['root mean square']:.4f}."
            )


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


def _change(term: str, design: Design) -> str:
    name, _, level = term.partition("[")
    level = level.removesuffix("]")
    if name in design.frame.columns and level:
        reference = _levels(design.frame[name])[0]
        change = f"{name!r} = {level!r} instead of {reference!r}"
    else:
        change = f"one more unit of {term!r}"
    aside = " (where the covariates it interacts with are zero or at their reference)"
    return change + (aside if _interacts(name, design) else "")


def _interacts(name: str, design: Design) -> bool:
    """Whether a covariate is part of an interaction."""
    interactions = (term for term in design.matrices.terms if ":" in term)
    parts = (part.partition("[")[0] for term in interactions for part in term.split(":"))
    return name in parts


def _levels(column: pd.Series) -> list[str]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return [str(level) for level in column.cat.categories]
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
    if link.name in ("probit", "identity"):
        return "moves", f"by {values[0]:+.3f} ({level} {values[1]:+.3f} to {values[2]:+.3f})"
    factors = np.exp(values)
    return "multiplies", f"by {factors[0]:.3f} ({level} {factors[1]:.3f} to {factors[2]:.3f})"
