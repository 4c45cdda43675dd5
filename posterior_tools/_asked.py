"""What the verbs that speak of a target's mean share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import xarray as xr

from popavg.posterior_tools._asked_rows import AskedRows
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.evaluation import Question, evaluate
from popavg.posterior_tools.outcome import target_note
from popavg.posterior_tools.targets import TargetMean

__all__ = ["Asked", "each_with"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Asked:
    """Whose mean, of which fit, and how it is computed.

    Attributes
    ----------
    posterior : Posterior
        The fit.
    mean : TargetMean
        Whose mean, on which scale.
    seed : int
        Of a new cluster.
    progress : bool
        Whether a bar is shown.
    """

    posterior: Posterior
    mean: TargetMean
    seed: int
    progress: bool

    def ask(self, question: Question, name: str) -> xr.DataArray:
        """Every draw's answers, dim ``row``."""
        return evaluate(self.posterior, question, name=name, seed=self.seed, progress=self.progress)

    def notes(self, rows: AskedRows, *own: str) -> tuple[str, ...]:
        """What the numbers are of, then what the verb says of its own."""
        notes = (target_note(self.mean.target), *rows.notes, *own)
        return tuple(note for note in notes if note)


def each_with(labels: pd.DataFrame, own: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """The labels once for each of ``own``, whose columns stand before them."""
    parts = [pd.DataFrame(columns, index=labels.index) for columns in own]
    return pd.concat([pd.concat([part, labels], axis=1) for part in parts], ignore_index=True)
