"""One thing that was looked at: a number, a verdict, what it means and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["VERDICTS", "Finding", "Part", "Verdict", "lacking"]

type Part = Literal["before", "after"]
type Verdict = Literal["fine", "look", "problem", "not computed"]

#: From the best to the worst; what couldn't be computed is neither.
VERDICTS: tuple[Verdict, ...] = ("fine", "not computed", "look", "problem")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    part : {"before", "after"}
        Whether it needs data alone, or a fit.
    name : str
        What was looked at, in the data's own names.
    value : float
        The number; NaN where there is none.
    number : str
        The number as it is printed, with what it is out of.
    verdict : {"fine", "look", "problem", "not computed"}
        Whether something has to be done.
    meaning : str
        One sentence: what it means.
    advice : str
        One sentence: what to do.

    Examples
    --------
    >>> from popavg.posterior_tools.findings import Finding
    >>> few = Finding("before", "clusters of 'herd'", 15, "15", "look", "Few.", "Take care.")
    >>> few.sentence
    "clusters of 'herd', 15: Few. Take care."
    """

    part: Part
    name: str
    value: float
    number: str
    verdict: Verdict
    meaning: str
    advice: str

    @property
    def sentence(self) -> str:
        """All of it in a line."""
        head = f"{self.name}, {self.number}" if self.number else self.name
        return f"{head}: {self.meaning} {self.advice}".rstrip()


def lacking(part: Part, name: str, why: str, advice: str = "") -> Finding:
    """What couldn't be computed, and why.

    Parameters
    ----------
    part : {"before", "after"}
        Whether it would have needed data alone, or a fit.
    name : str
        What it is.
    why : str
        A half-sentence.
    advice : str
        What to do, a sentence.

    Returns
    -------
    Finding

    Examples
    --------
    >>> from popavg.posterior_tools.findings import lacking
    >>> lacking("after", "profile of sd_g", "the model has two factors").verdict
    'not computed'
    """
    meaning = f"Not computed: {why.rstrip('.')}."
    return Finding(part, name, float("nan"), "", "not computed", meaning, advice)
