"""Other models of the same rows, set beside the one that a comparison is of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from popavg._checks import listing
from popavg.errors import SpecificationError
from popavg.posterior_tools.coefficients import Method, PopulationCoefficients, coefficients_of
from popavg.posterior_tools.comparison import beside
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.projection_design import WorkingStructure
from popavg.posterior_tools.summaries import IntervalKind, summarise
from popavg.posterior_tools.words import mixing_words

__all__ = ["OtherFit", "effect_lines", "other_words", "read_others", "two_tables"]

_MIXING_WORDS = {
    "normal": "normal random effects",
    "bridge": "random intercept with the bridge distribution",
}


@dataclass(frozen=True, eq=False)
class OtherFit:
    """Another fit of the same rows and terms, and its population-averaged coefficients."""

    name: str
    posterior: Posterior
    coefficients: PopulationCoefficients


def read_others(
    posterior: Posterior,
    others: Mapping[str, xr.DataTree] | None,
    method: Method,
    structure: WorkingStructure,
) -> tuple[OtherFit, ...]:
    """The other fits by name, checked to be of the same rows."""
    if others is None:
        return ()
    if not isinstance(others, Mapping):
        raise SpecificationError(
            f"others of type {type(others).__name__}",
            "a mapping from names to fits",
            "write others={'bridge': fit}",
        )
    found = []
    for name, fit in others.items():
        if not isinstance(name, str) or not name.strip():
            raise SpecificationError(f"a fit named {name!r} in others", "a word, 'bridge'")
        other = Posterior.from_fit(fit)
        _check_same(name, posterior, other)
        found.append(OtherFit(name, other, coefficients_of(other, method, structure)))
    return tuple(found)


def _check_same(name: str, first: Posterior, other: Posterior) -> None:
    """Same link, terms, rows and outcomes: else the numbers aren't of the same thing."""
    remedy = "compare each fit on its own"
    if first.link.name != other.link.name:
        raise SpecificationError(
            f"the fit {name!r} has the {other.link.name} link", f"{first.link.name!r}", remedy
        )
    one, two = first.design.matrices, other.design.matrices
    if one.terms != two.terms:
        raise SpecificationError(
            f"the fit {name!r} has the terms {listing(two.terms)}", listing(one.terms), remedy
        )
    pairs = [(one.X, two.X), (one.offset, two.offset)]
    pairs += [(first.design.response.y, other.design.response.y)]
    if not all(a.shape == b.shape and np.allclose(a, b) for a, b in pairs):
        raise SpecificationError(f"the fit {name!r} is of other rows", "the same data", remedy)


def two_tables(
    posterior: Posterior,
    coefficients: PopulationCoefficients,
    *,
    prob: float,
    kind: IntervalKind,
    name: str = "",
) -> dict[str, pd.DataFrame]:
    """Conditional and population-averaged coefficients of a fit, by model."""
    terms = list(posterior.design.matrices.terms)
    beta = posterior.labelled(posterior.beta, "term", terms, "beta").to_numpy()
    conditional = summarise(beta, ci_prob=prob, ci_kind=kind).assign(term=terms)
    averaged = coefficients.to_frame(ci_prob=prob, ci_kind=kind)
    tables = {"conditional": conditional, "population-averaged": averaged}
    return {beside(model, name): table for model, table in tables.items()}


def effect_lines(
    posterior: Posterior, prob: float, kind: IntervalKind, *, name: str = ""
) -> list[str]:
    """Standard deviations of the random effects, and the attenuation where there is but one."""
    lines = []
    mixing = posterior.link.mixing
    for group in posterior.specification.groups:
        draws = posterior.standard_deviations(group.name)
        chained = posterior.labelled(draws, "effect", list(group.effects), "sd").to_numpy()
        summary = summarise(chained, ci_prob=prob, ci_kind=kind)
        for effect, (_, row) in zip(group.effects, summary.iterrows(), strict=True):
            lines.append(
                f"{name}{': ' if name else ''}"
                f"Standard deviation of {effect!r} over {group.n_clusters} clusters of "
                f"{group.name!r}: {row['estimate']:.3f} [{row['lower']:.3f}, {row['upper']:.3f}]"
                f"{mixing_words(mixing, draws)}."
            )
    return lines


def other_words(estimates: pd.DataFrame, others: tuple[OtherFit, ...]) -> list[str]:
    """How far the other models' coefficients are from the first one's, in words."""
    table = estimates.set_index(["model", "term"])
    sentences = []
    for other in others:
        apart = {}
        for model in ("conditional", "population-averaged"):
            own, its = table.loc[model], table.loc[beside(model, other.name)]
            distance = (its["estimate"] - own["estimate"]).abs() / own["std_error"]
            apart[model] = f"{distance.max():.2f}"
        effects = _MIXING_WORDS[other.posterior.specification.mixing]
        sentences.append(
            f"The model {other.name!r} ({effects}) is of the same rows. In posterior standard "
            f"deviations of the first model its conditional coefficients are up to "
            f"{apart['conditional']} away from the first model's, its population-averaged ones up "
            f"to {apart['population-averaged']}."
        )
    return sentences
