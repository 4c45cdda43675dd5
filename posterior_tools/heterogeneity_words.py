"""What the numbers about differences between clusters mean, in sentences."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from popavg.posterior_tools.estimates import Estimates

__all__ = ["heterogeneity_words"]


class _Result(Protocol):
    """The tables that the sentences are about."""

    @property
    def group(self) -> str: ...
    @property
    def probability(self) -> Estimates: ...
    @property
    def effect(self) -> Estimates | None: ...
    @property
    def share(self) -> Estimates | None: ...
    @property
    def summary(self) -> Estimates: ...
    @property
    def pairs(self) -> Estimates: ...


def heterogeneity_words(result: _Result) -> tuple[str, ...]:
    """Sentences about the first row, the first contrast and the first pair.

    Parameters
    ----------
    result : Heterogeneity
        With numbers, not lazy.

    Returns
    -------
    tuple of str
        In the order of the tables, then what doesn't exist for the link.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.heterogeneity import heterogeneity
    >>> heterogeneity(pa.load_example()).words[0].split(",")[0]
    "Clusters are those of the population of 'patient'"
    """
    outcome = result.probability.title.split(" of ")[0]
    clusters = f"clusters of {result.group!r}"
    means = _first(result.probability)
    sentences = [
        f"Clusters are those of the population of {result.group!r}, by the distribution of the "
        "random effects, not only those of the data; sentences are about the first row of each "
        "table.",
        f"{_quantile_words(means, f'the {outcome}', clusters)}; its mean over all of them is "
        f"{means['mean']:.3g}.",
    ]
    sentences += _effect_words(result, outcome, clusters)
    sentences += _likeness_words(_first(result.summary), clusters, outcome)
    sentences += _pair_words(_first(result.pairs))
    return tuple(sentences)


def _first(part: Estimates) -> dict[str, float]:
    """Estimates of the first row by the quantity's name; nothing else is summarised."""
    first = part.take(slice(part.labels["quantity"].nunique())).to_frame()
    return dict(zip(first["quantity"], first["estimate"].astype(float), strict=True))


def _quantile_words(numbers: dict[str, float], what: str, clusters: str) -> str:
    levels = [
        (float(name.split(" %")[0]), value)
        for name, value in numbers.items()
        if name.endswith(" % quantile")
    ]
    low, high = min(levels), max(levels)
    if low == high:
        return f"In {low[0]:g} % of the {clusters} {what} is below {low[1]:.3g}"
    return (
        f"In {low[0]:g} % of the {clusters} {what} is below {low[1]:.3g}, in "
        f"{100 - high[0]:g} % it is above {high[1]:.3g}"
    )


def _effect_words(result: _Result, outcome: str, clusters: str) -> list[str]:
    if result.effect is None or result.share is None:
        return []
    contrast = result.effect.labels["contrast"].iloc[0]
    n_shares = result.share.labels["quantity"].nunique()
    effect, shares = _first(result.effect), result.share.take(slice(n_shares)).to_frame()
    sentences = [
        f"{_quantile_words(effect, f'the effect ({contrast}) on the {outcome}', clusters)}; "
        f"averaged over them it is {effect['mean']:.3g}."
    ]
    for k in range(n_shares):
        row = shares.iloc[k]
        threshold, percent = str(row["quantity"]).rpartition(" ")[2], f"{100 * row['estimate']:.3g}"
        if np.isin(result.share.draws[:, :, k], (0.0, 1.0)).all():
            sentences.append(
                f"In every draw either all of them or none have an effect above {threshold}: "
                f"{percent} % is the posterior probability that they have."
            )
        else:
            sentences.append(
                f"It exceeds {threshold} in {percent} % of them (credible interval "
                f"{100 * row['lower']:.3g} to {100 * row['upper']:.3g})."
            )
    return sentences


def _likeness_words(numbers: dict[str, float], clusters: str, outcome: str) -> list[str]:
    sentences = []
    for name, unit in (("median odds ratio", "odds"), ("median rate ratio", "mean")):
        if name in numbers:
            sentences.append(
                f"{name.capitalize()}: of two random {clusters} with equal covariates, one has "
                f"{unit} {numbers[name]:.3g} times those of the other (the larger by the smaller, "
                "in the median)."
            )
    if "correlation, latent scale" in numbers:
        sentences.append(
            f"Correlation, latent scale: {numbers['correlation, latent scale']:.3g} of the "
            f"variance on the scale of the linear predictor is between {clusters}."
        )
    for name in ("correlation, probability scale", "correlation, response scale", "correlation"):
        if name in numbers:
            what = "of single responses" if name != "correlation" else "of the responses"
            sentences.append(
                f"{name.capitalize()}: {numbers[name]:.3g} of the variance {what} is between "
                f"{clusters}; two rows alike of one cluster are correlated by as much."
            )
    if "median odds ratio" not in numbers and outcome == "probability":
        sentences.append(
            "There is no median odds ratio for this link: the ratio of two clusters' odds depends "
            "on the covariates."
        )
    if "median rate ratio" in numbers:
        sentences.append(
            "There is no correlation on the latent scale: the log link has no residual there."
        )
    return sentences


def _pair_words(numbers: dict[str, float]) -> list[str]:
    if "odds ratio" not in numbers:
        return []
    return [
        f"Where one row of a cluster has the event, the odds of the event in the other row are "
        f"{numbers['odds ratio']:.3g} times what they are where it hasn't."
    ]
