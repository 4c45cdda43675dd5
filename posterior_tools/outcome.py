"""What a verb's numbers are, in words."""

from __future__ import annotations

from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.targets import MEANINGS, Scale, Target
from popavg.posterior_tools.weights import CLUSTER

__all__ = ["averaging_note", "counting_words", "outcome_words", "target_note"]


def outcome_words(posterior: Posterior, scale: Scale = "response") -> str:
    """The mean that a verb speaks of.

    Parameters
    ----------
    posterior : Posterior
        The fit.
    scale : {"response", "link"}
        Its scale.

    Returns
    -------
    str
        ``"probability of y"``, ``"mean of y"``, ``"logit of the probability of y"``.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.draws import Posterior
    >>> from popavg.posterior_tools.outcome import outcome_words
    >>> outcome_words(Posterior.from_fit(pa.load_example()))
    'probability of y'
    """
    link = posterior.link
    kind = "probability" if link.is_probability else "mean"
    words = f"{kind} of {posterior.specification.response}"
    return f"{link.name} of the {words}" if scale == "link" and link.name != "identity" else words


def target_note(target: Target) -> str:
    """The sentence that says which population a number speaks of.

    Examples
    --------
    >>> from popavg.posterior_tools.outcome import target_note
    >>> target_note("typical")
    "target 'typical': a typical cluster (random effects at zero); not a population mean."
    """
    return f"target '{target}': {MEANINGS[target]}."


def averaging_note(rows: str, weights: object = None, *, clusters: str = "") -> str:
    """The sentence that says what was averaged, and how much each row counted.

    Parameters
    ----------
    rows : str
        The rows in words: :attr:`popavg.posterior_tools.newdata.Rows.label`.
    weights : str, array_like or None
        As a verb was given them.
    clusters : str
        The grouping factor that ``weights="cluster"`` speaks of.

    Examples
    --------
    >>> from popavg.posterior_tools.outcome import averaging_note
    >>> averaging_note("the 60 rows", "cluster", clusters="patient")
    "Averaged over the 60 rows, draw by draw, each cluster of 'patient' counting once."
    """
    return f"Averaged over {rows}, draw by draw, {counting_words(weights, clusters=clusters)}."


def counting_words(weights: object = None, *, clusters: str = "") -> str:
    """How much each row of an average counts.

    Parameters
    ----------
    weights : str, array_like or None
        As a verb was given them.
    clusters : str
        The grouping factor that ``weights="cluster"`` speaks of.

    Examples
    --------
    >>> from popavg.posterior_tools.outcome import counting_words
    >>> counting_words()
    'each row counting once'
    """
    if weights is None:
        return "each row counting once"
    if isinstance(weights, str):
        each = f"each cluster of {clusters!r} counting once"
        return each if weights == CLUSTER else f"weighted by {weights}"
    return "weighted by the given numbers"
