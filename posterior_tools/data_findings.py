"""What can be said about identification before a fit, from the data alone, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from popavg.posterior_tools.cluster_facts import ClusterFacts
from popavg.posterior_tools.findings import Finding, Verdict
from popavg.posterior_tools.words import MANY_CONCORDANT

__all__ = [
    "FEW_CLUSTERS",
    "VERY_FEW_CLUSTERS",
    "cluster_findings",
    "separation_finding",
    "slope_findings",
]

#: Fewer than these, and robust standard errors of a GEE are too small (Li & Redden 2015).
FEW_CLUSTERS = 40
#: Fewer than these, and the variance between clusters is hardly known (Austin 2010).
VERY_FEW_CLUSTERS = 10
#: Share of clusters with one observation above which most of them are silent.
MANY_SINGLE = 0.5

NOTHING = "Nothing to do."


def cluster_findings(facts: ClusterFacts, *, family: str) -> list[Finding]:
    """Findings about the clusters of one grouping factor.

    Parameters
    ----------
    facts : ClusterFacts
        Counts.
    family : {"bernoulli", "binomial", "poisson", "gaussian"}
        The outcome's distribution: what one observation can tell.

    Returns
    -------
    list of Finding
        Clusters, rows in them, clusters with one observation; and of events concordant clusters,
        unless every cluster is concordant by having one observation.

    Examples
    --------
    >>> from popavg.posterior_tools.cluster_facts import cluster_facts
    >>> from popavg.posterior_tools.data_findings import cluster_findings
    >>> facts = cluster_facts("g", [0, 0, 1, 1], [1, 1, 0, 1])
    >>> [finding.verdict for finding in cluster_findings(facts, family="bernoulli")]
    ['problem', 'look', 'fine', 'fine']
    """
    found = [_number(facts), _sizes(facts, family), _single(facts, family)]
    tells = facts.concordant is not None and facts.one_unit < facts.n_clusters
    return [*found, _concordant(facts)] if tells else found


def slope_findings(name: str, effects: Sequence[str], Z: ArrayLike) -> list[Finding]:
    """Random slopes beside a random intercept that speaks of a place far from the data.

    Parameters
    ----------
    name : str
        The grouping factor.
    effects : sequence of str
        Its random effects.
    Z : array_like, shape (rows, effects)
        Their design.

    Returns
    -------
    list of Finding
        One for each covariate of which 0 is farther away than its values are apart; else none.

    Notes
    -----
    Random effects aren't the same model after a covariate is shifted: with intercepts at a distant
    0, lines that differ between clusters and meet where the data are need intercepts that differ
    vastly and slopes that make up for it. Priors on standard deviations and correlation hold that
    nearly impossible.

    Examples
    --------
    >>> from popavg.posterior_tools.data_findings import slope_findings
    >>> Z = [[1, 2001], [1, 2005], [1, 2010]]
    >>> [finding.number for finding in slope_findings("site", ["Intercept", "year"], Z)]
    ['2001 to 2010']
    """
    if "Intercept" not in effects:
        return []
    found = []
    for effect, column in zip(effects, np.asarray(Z, dtype=np.float64).T, strict=True):
        low, high = float(column.min()), float(column.max())
        if effect == "Intercept" or max(low, -high) <= high - low:
            continue
        meaning = (
            f"The random intercepts of {name!r} are those at {effect} = 0, far from the data: "
            f"their priors leave the slopes little room there, so that sd_{name} comes out too "
            "small, and drawing is slow."
        )
        advice = (
            f"Centre the covariate, '(1 + center({effect}) | {name})' or a column minus its mean: "
            "its coefficient keeps its meaning."
        )
        number = f"{low:.10g} to {high:.10g}"
        title = f"random slopes of {effect!r} over {name!r}"
        found.append(Finding("before", title, max(low, -high), number, "look", meaning, advice))
    return found


def separation_finding(words: str | None, response: str) -> Finding:
    """What the linear programme said about the fixed effects.

    Parameters
    ----------
    words : str or None
        What it found; None where there is no separation.
    response : str
        The outcome, in words.

    Returns
    -------
    Finding

    Examples
    --------
    >>> from popavg.posterior_tools.data_findings import separation_finding
    >>> separation_finding(None, "y").number
    'none'
    """
    name = "separation of the fixed effects"
    if words is None:
        meaning = f"No combination of the covariates predicts {response} perfectly."
        return Finding("before", name, 0.0, "none", "fine", meaning, NOTHING)
    meaning = f"{words[:1].upper()}{words[1:].rstrip('.')}."
    advice = (
        "Leave a term out or merge levels; or keep it and rely on the prior, which alone keeps the "
        "coefficient finite: say so, and report differences of population-averaged probabilities."
    )
    return Finding("before", name, 1.0, "yes", "problem", meaning, advice)


def _number(facts: ClusterFacts) -> Finding:
    n, sd = facts.n_clusters, f"sd_{facts.name}"
    verdict: Verdict = "fine"
    meaning = f"Enough for {sd} and for the robust standard errors of a GEE."
    advice = NOTHING
    if n == 1:
        verdict = "problem"
        meaning = f"One cluster can't show how clusters differ: there is no {sd}."
        advice = f"Check the column {facts.name!r}, or use pa.models.glm, a model without clusters."
    elif n < VERY_FEW_CLUSTERS:
        verdict = "problem"
        meaning = (
            f"{sd} is a standard deviation of {n} numbers, so its prior counts; and robust "
            "standard errors of a GEE aren't valid."
        )
        advice = (
            f"Give {sd} a prior that you can defend, try a second one, and don't hold the fit "
            "against a GEE's intervals."
        )
    elif n < FEW_CLUSTERS:
        verdict = "look"
        meaning = (
            f"Below {FEW_CLUSTERS} clusters robust standard errors of a GEE are too small; the "
            f"posterior allows for it, but {sd} is wide."
        )
        advice = f"Trust the fit's intervals above the GEE's, and try a second prior for {sd}."
    return Finding("before", f"clusters of {facts.name!r}", n, str(n), verdict, meaning, advice)


def _sizes(facts: ClusterFacts, family: str) -> Finding:
    number = str(facts.smallest)
    if facts.smallest < facts.largest:
        number = f"{facts.smallest} to {facts.largest}, median {facts.median:g}"
    name = f"rows per cluster of {facts.name!r}"
    if facts.largest == 1 and family in ("bernoulli", "gaussian"):
        meaning = (
            f"With one row per cluster nothing tells sd_{facts.name} from chance: only "
            "population-averaged numbers are identified."
        )
        advice = f"Check the column {facts.name!r}, or use pa.models.glm, a model without clusters."
        return Finding("before", name, facts.median, number, "problem", meaning, advice)
    if facts.median <= 2 and family == "bernoulli":
        meaning = (
            "Most clusters have at most two rows, and a pair tells only whether its outcomes "
            f"agree: sd_{facts.name} and all conditional coefficients, which grow with it, are "
            "known roughly."
        )
        advice = "Report population-averaged numbers first; look at the sensitivity after the fit."
        return Finding("before", name, facts.median, number, "look", meaning, advice)
    meaning = f"How alike the rows of a cluster are is what sd_{facts.name} is estimated from."
    return Finding("before", name, facts.median, number, "fine", meaning, NOTHING)


def _single(facts: ClusterFacts, family: str) -> Finding:
    single = facts.one_unit if family == "binomial" else facts.one_row
    share = single / facts.n_clusters
    name = f"clusters of {facts.name!r} with one {'trial' if family == 'binomial' else 'row'}"
    number = f"{single} of {facts.n_clusters} ({100 * share:.0f} %)"
    verdict: Verdict = "fine"
    meaning = "They tell the average over the population, and nothing about how clusters differ."
    advice = NOTHING
    if not single:
        meaning = "Every cluster can tell how alike its observations are."
    elif family == "poisson":
        meaning = (
            f"A count alone can be more variable than a Poisson's: there sd_{facts.name} can't be "
            "told from overdispersion."
        )
    elif share > MANY_SINGLE:
        verdict = "problem" if share == 1 else "look"
        rest = "there are no others"
        if share < 1:
            rest = f"only {facts.n_clusters - single} others do"
        meaning = f"They say nothing about sd_{facts.name}, and {rest}."
        advice = "Keep them for the population's average, and report population-averaged numbers."
    return Finding("before", name, share, number, verdict, meaning, advice)


def _concordant(facts: ClusterFacts) -> Finding:
    share, n, sd = facts.concordant_share or 0.0, facts.n_clusters, f"sd_{facts.name}"
    name = f"clusters of {facts.name!r} with all outcomes equal"
    number = f"{facts.concordant} of {n} ({100 * share:.0f} %)"
    verdict: Verdict = "fine"
    meaning = f"The other {n - (facts.concordant or 0)} say how large {sd} is."
    advice = NOTHING
    if share == 1:
        verdict = "problem"
        meaning = (
            f"An infinite {sd} fits best: without a prior there is no estimate, and programs stop "
            "with 'Hessian is not positive definite'."
        )
        advice = (
            f"Report population-averaged numbers only, and say that {sd} and conditional "
            "coefficients come from the prior."
        )
    elif share > MANY_CONCORDANT:
        verdict = "look"
        meaning = (
            f"Above {100 * MANY_CONCORDANT:.0f} % they fit a very large {sd} almost as well: {sd} "
            "and the conditional coefficients lean on the prior, population-averaged ones much "
            "less."
        )
        advice = f"Try a second prior for {sd}, and report population-averaged numbers first."
    return Finding("before", name, share, number, verdict, meaning, advice)
