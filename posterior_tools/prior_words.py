"""What priors imply, in sentences."""

from __future__ import annotations

from itertools import islice
from typing import Any

from popavg.links import get_link
from popavg.posterior_tools._prior_facts import PriorFacts
from popavg.posterior_tools.summaries import interval_settings, intervals
from popavg.priors import Prior

__all__ = ["prior_words"]

#: Share of the prior below 0.01 and above 0.99 from which narrower priors are advised.
MUCH = 0.2


def prior_words(check: PriorFacts) -> tuple[str, ...]:
    """Sentences about the mean at the average row, its range over the data, and the clusters.

    Parameters
    ----------
    check : PriorCheck
        Prior draws of all of these.

    Returns
    -------
    tuple of str
        What to do last, where the priors favour probabilities near 0 or 1.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.prior_words import prior_words
    >>> check = pa.prior_check("resp ~ 1 + (1 | id)", pa.load_dataset("ohio"), link="logit",
    ...                        priors={"Intercept": "Normal(0, 1)", "sd_id": "HalfNormal(1)"})
    >>> prior_words(check)[1]
    'The density of that probability has one peak, near 0.5.'
    """
    sentences = [_average(check)]
    if check.is_probability:
        sentences[0] += (
            f" Of the prior's mass {_share(check.share_below)} lies below 0.01, "
            f"{_share(check.share_above)} above 0.99."
        )
    sentences += [*_shape(check), *_range(check), *_clusters(check), *_advice(check)]
    return tuple(sentences)


def _average(check: PriorFacts) -> str:
    at = ", ".join(f"{name} = {_value(value)}" for name, value in check.row.items())
    place = f"at the average row ({at})" if at else "in the population"
    return (
        f"Before any outcome is seen, the population-averaged {_outcome(check)} {place} has "
        f"{_interval(check, check.average)}."
    )


def _outcome(check: PriorFacts) -> str:
    title = check.average.title
    return title.removeprefix("log of the ") if check.is_log else title


def _interval(check: PriorFacts, part: Any) -> str:
    prob, _ = interval_settings(None, None)
    median, lower, upper = (_number(value) for value in check.interval(part))
    return f"the prior median {median} and the {100 * prob:g} % interval {lower} to {upper}"


def _shape(check: PriorFacts) -> list[str]:
    shape = check.shape
    if shape is None:
        return []
    places = [_edge(peak) for peak in shape.peaks]
    if len(places) == 1:
        return [f"The density of that probability has one peak, {places[0]}."]
    many = "is bimodal: it has peaks" if len(places) == 2 else f"has {len(places)} peaks,"
    valleys = " and ".join(f"{valley:.2g}" for valley in shape.valleys)
    sentence = (
        f"The density of that probability {many} {', '.join(places[:-1])} and {places[-1]}, and "
        f"is lowest near {valleys}."
    )
    wide = " Priors that are wide on the link scale say that the event nearly never or nearly "
    return [sentence + wide + "always happens."]


def _edge(peak: float) -> str:
    if peak <= 0.01:
        return "towards 0"
    return "towards 1" if peak >= 0.99 else f"near {peak:.2g}"


def _range(check: PriorFacts) -> list[str]:
    if check.axis is None:
        return []
    what = _outcome(check).partition(" of ")[0]
    if check.is_log:
        return [
            f"Over the rows of the data the largest {what} divided by the smallest has "
            f"{_interval(check, check.spread)}."
        ]
    return [
        f"Over the rows of the data the largest {what} minus the smallest has "
        f"{_interval(check, check.spread)}."
    ]


def _clusters(check: PriorFacts) -> list[str]:
    part = check.deviations
    if not len(part):
        return []
    prob, _ = interval_settings(None, None)
    table = intervals(part.draws.to_numpy(), point_estimate="median")
    told = [
        f"{name}: median {_number(median)}, {_number(lower)} to {_number(upper)}"
        for name, (median, lower, upper) in zip(
            part.labels["parameter"], table.to_numpy(), strict=True
        )
    ]
    return [
        f"Clusters differ, on the link scale, by these standard deviations ({100 * prob:g} % "
        f"intervals): {'; '.join(told)}."
    ]


def _advice(check: PriorFacts) -> list[str]:
    extreme = check.is_probability and check.share_below + check.share_above > MUCH
    bimodal = check.shape is not None and check.shape.is_bimodal
    if not (extreme or bimodal):
        return []
    unit = check.link.tolerance_sd / get_link("logit").tolerance_sd
    named = "Intercept" in check.priors
    narrower = {"Intercept": f"Normal(0, {1.5 * unit:.2g})"} if named else {}
    slopes = {name: prior for name, prior in check.priors.items() if _is_slope(name, prior)}
    for name, prior in islice(slopes.items(), 2):
        narrower[name] = f"Normal(0, {0.4 * prior.params['sigma']:.2g})"
    deviations = (name for name in check.priors if name.startswith("sd_"))
    narrower |= dict.fromkeys(islice(deviations, 1), f"P(sd > {3 * unit:.2g}) = 0.05")
    return [f"If you know better than that, say so and look again: for instance priors={narrower}."]


def _is_slope(name: str, prior: Prior) -> bool:
    return name != "Intercept" and prior.name == "Normal" and "sigma" in prior.params


def _share(share: float) -> str:
    return "none" if share == 0 else f"{100 * share:.2g} %"


def _number(value: float) -> str:
    return f"{value:.2g}" if abs(value) < 1 else f"{value:.3g}"


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
