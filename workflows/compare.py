"""Compare a mixed model's population-averaged coefficients with a GEE and a naive GLM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from popavg._checks import check_choice
from popavg.errors import EstimandError, SpecificationError
from popavg.grouping import outermost
from popavg.models.gee import gee_from_design
from popavg.models.gee_result import GEEResult
from popavg.models.glm_reference import fit_glm_reference
from popavg.posterior_tools import words
from popavg.posterior_tools.coefficients import (
    METHODS,
    Method,
    PopulationCoefficients,
    coefficients_of,
)
from popavg.posterior_tools.comparison import INTERVALS, MODELS, Comparison, apart
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.projection_design import WorkingStructure
from popavg.posterior_tools.summaries import IntervalKind, interval_settings, summarise
from popavg.workflows._method_words import drawn_words
from popavg.workflows._other_fits import (
    OtherFit,
    effect_lines,
    other_words,
    read_others,
    two_tables,
)

__all__ = ["compare_gee"]


def compare_gee(
    fit: xr.DataTree,
    *,
    working_correlation: Literal["independence", "exchangeable", "ar1"] = "exchangeable",
    groups: str | None = None,
    time: str | None = None,
    alpha: float | None = None,
    method: Method = "projection",
    others: Mapping[str, xr.DataTree] | None = None,
    ci_prob: float | None = None,
    ci_kind: IntervalKind | None = None,
) -> Comparison:
    """GLM, GLMM conditional, GLMM population-averaged and GEE, term by term, with words.

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit`.
    working_correlation, groups, time, alpha : optional
        Of the GEE, see :func:`popavg.gee`. ``groups`` is by default the grouping factor in which
        all others are nested.
    method : str
        Definition of the population-averaged coefficients, see
        :func:`popavg.population_coefficients`; the projection uses the GEE's working correlation
        at its estimated α, so that what differs from the GEE is estimation, not estimand.
    others : mapping of str to xarray.DataTree, optional
        Other fits of the same rows, terms and link, by name: ``{"bridge": fit}``. Their two
        columns stand beside those of ``fit``; attenuation and distance are those of ``fit``.
    ci_prob, ci_kind : optional
        Level of all intervals, and kind of the credible ones; from ``arviz.rcParams``.

    Returns
    -------
    Comparison
        Prints as a table with its words; ``to_frame()``, ``plot()``, HTML in notebooks.

    Raises
    ------
    SpecificationError
        Crossed grouping factors and no ``groups``; another fit that isn't of the same rows.
    EstimandError
        A model without random effects, or a method without a formula for this link.
    SeparationError, ConvergenceError
        The GEE has no finite estimate.

    Examples
    --------
    >>> import popavg as pa
    >>> comparison = pa.compare_gee(pa.load_example())
    >>> comparison.to_frame()["model"].unique().tolist()
    ['GLM', 'conditional', 'population-averaged', 'GEE']

    Normal beside bridge-distributed intercepts, ``fit`` and ``bridge`` being fits of the same data:

    >>> comparison = pa.compare_gee(fit, others={"bridge": bridge})  # doctest: +SKIP
    """
    prob, kind = interval_settings(ci_prob, ci_kind)
    check_choice("method", method, METHODS)
    posterior = Posterior.from_fit(fit)
    cluster = _cluster(posterior, groups)
    gee = gee_from_design(
        posterior.design,
        groups or posterior.specification.group_names[cluster],
        link=posterior.link,
        family=posterior.family,
        working_correlation=working_correlation,
        time=time,
        alpha=alpha,
    )
    structure = _structure(method, gee, groups=groups, time=time)
    coefficients = coefficients_of(posterior, method, structure)
    beside = read_others(posterior, others, method, structure)
    estimates = _estimates(posterior, coefficients, gee, others=beside, prob=prob, kind=kind)
    misfit = _misfit(coefficients)
    return Comparison(
        estimates=estimates,
        agreement=_agreement(coefficients, estimates, gee, prob),
        misfit=misfit,
        facts=_facts(
            posterior, coefficients, gee, cluster=cluster, others=beside, prob=prob, kind=kind
        ),
        words=(
            *_words(posterior, estimates, misfit, gee, cluster=cluster, prob=prob),
            *other_words(estimates, beside),
        ),
    )


def _cluster(posterior: Posterior, groups: str | None) -> int:
    names = posterior.specification.group_names
    if not names:
        raise EstimandError(
            "the model has no random effects: there is nothing to average over",
            "a model with a grouping term",
            "fit with '+ (1 | cluster)'",
        )
    if groups is not None and not isinstance(groups, str):
        raise SpecificationError(f"groups of type {type(groups).__name__}", "one column's name")
    name = outermost(posterior.design.matrices.groups) if groups is None else groups
    return names.index(name) if name in names else 0


def _structure(
    method: Method, gee: GEEResult, *, groups: str | None, time: str | None
) -> WorkingStructure:
    if method != "projection":
        return WorkingStructure()
    return WorkingStructure(gee.working_correlation, gee.alpha, groups, time)


def _estimates(
    posterior: Posterior,
    coefficients: PopulationCoefficients,
    gee: GEEResult,
    *,
    others: tuple[OtherFit, ...],
    prob: float,
    kind: IntervalKind,
) -> pd.DataFrame:
    design, terms = posterior.design, posterior.design.matrices.terms
    glm = fit_glm_reference(
        design.matrices.X,
        design.response.y,
        link=posterior.link,
        family=posterior.family,
        terms=terms,
        trials=design.response.trials,
        offset=design.matrices.offset,
    )
    frames = {"GLM": glm.to_frame(ci_prob=prob), "GEE": gee.to_frame(ci_prob=prob)}
    frames |= two_tables(posterior, coefficients, prob=prob, kind=kind)
    for other in others:
        frames |= two_tables(
            other.posterior, other.coefficients, prob=prob, kind=kind, name=other.name
        )
    columns = ["term", "estimate", "std_error", "lower", "upper"]
    parts = [
        frame[columns].assign(model=model, interval=INTERVALS[own])
        for own in MODELS
        for model, frame in frames.items()
        if apart(model)[0] == own
    ]
    table = pd.concat(parts, ignore_index=True)
    order = table["term"].map({term: i for i, term in enumerate(terms)})
    table = table.iloc[np.argsort(order.to_numpy(), kind="stable")].reset_index(drop=True)
    return table[["term", "model", "estimate", "std_error", "lower", "upper", "interval"]]


def _agreement(
    coefficients: PopulationCoefficients, estimates: pd.DataFrame, gee: GEEResult, prob: float
) -> pd.DataFrame:
    assert coefficients.attenuation is not None
    ratio = coefficients.attenuation.draws.to_numpy()
    summary = summarise(ratio, ci_prob=prob, ci_kind="eti", point_estimate="median")
    if gee.link.name == "log":  # log of a mean over log of a mean: only slopes have a ratio
        summary[coefficients.labels["term"] == "Intercept"] = np.nan
    own = estimates[estimates["model"] == "population-averaged"]["estimate"].to_numpy()
    reference = gee.to_frame(ci_prob=prob)
    distance = (own - reference["estimate"].to_numpy()) / reference["std_error"].to_numpy()
    return pd.DataFrame(
        {
            "term": reference["term"],
            "attenuation": summary["estimate"],
            "attenuation_lower": summary["lower"],
            "attenuation_upper": summary["upper"],
            "distance": distance,
        }
    )


def _misfit(coefficients: PopulationCoefficients) -> dict[str, float]:
    assert coefficients.misfit is not None
    means = coefficients.misfit.draws.mean(("chain", "draw"))
    return {str(kind): float(means.sel(misfit=kind)) for kind in means["misfit"].to_numpy()}


def _facts(
    posterior: Posterior,
    coefficients: PopulationCoefficients,
    gee: GEEResult,
    *,
    cluster: int,
    others: tuple[OtherFit, ...],
    prob: float,
    kind: IntervalKind,
) -> dict[str, Any]:
    specification = posterior.specification
    return {
        "formula": specification.formula,
        "link": specification.link,
        "family": specification.family,
        "response": specification.response,
        "n_rows": posterior.design.matrices.n_rows,
        "n_clusters": gee.n_clusters,
        "groups": gee.groups,
        "working_correlation": gee.working_correlation,
        "alpha": gee.alpha,
        "gee_scale": gee.scale,
        "method": coefficients.how,
        "drawn": _drawn(posterior, others),
        "scale": "probability" if posterior.link.is_probability else "response",
        "ci_prob": prob,
        "ci_kind": kind,
        "gee_notes": [n for n in gee.notes if n != str(specification.missing)],
        "random_effects": [
            *effect_lines(posterior, prob, kind),
            *(
                line
                for other in others
                for line in effect_lines(other.posterior, prob, kind, name=other.name)
            ),
        ],
        "concordant_share": words.concordant_share(posterior.design, cluster),
        "rows_dropped": specification.missing.rows,
    }


def _drawn(posterior: Posterior, others: tuple[OtherFit, ...]) -> list[str]:
    """How every fit was drawn, where that is known."""
    fits = {"GLMM": posterior, **{f"GLMM, {o.name}": o.posterior for o in others}}
    told = {name: drawn_words(fit.specification.sampler) for name, fit in fits.items()}
    return [f"{name}: {words}." for name, words in told.items() if words is not None]


def _words(
    posterior: Posterior,
    estimates: pd.DataFrame,
    misfit: dict[str, float],
    gee: GEEResult,
    *,
    cluster: int,
    prob: float,
) -> tuple[str, ...]:
    design, link = posterior.design, posterior.link
    group = design.matrices.groups[cluster]
    sentences: list[str] = []
    focus = words.focus_term(design, estimates)
    if focus is not None:
        rows = estimates[estimates["term"] == focus].set_index("model")
        reading = words.Reading(
            focus, rows.loc["conditional"], rows.loc["population-averaged"], prob
        )
        sentences += words.readings(reading, design, link)
    sentences.append(words.link_words(link, misfit))
    sizes = np.bincount(group.index, minlength=len(group.levels))
    sentences.append(words.missing_words(posterior.specification.missing, sizes.tolist()))
    concordance = [words.concordance_words(design, i) for i in range(len(design.matrices.groups))]
    more = (words.crossed_words(design, gee.groups), *concordance)
    return (*sentences, *(sentence for sentence in more if sentence))
