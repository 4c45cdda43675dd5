"""Contrasts of means: what was asked, and the answer to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.sparse import csr_array

from popavg._checks import listing
from popavg.errors import SpecificationError
from popavg.posterior_tools._asked import Asked, each_with
from popavg.posterior_tools._asked_rows import check_names, fixed_seed
from popavg.posterior_tools._changes import Contrast
from popavg.posterior_tools._compared_rows import RowRequest, compared_rows, stepped, versions
from popavg.posterior_tools._row_notes import contrast_notes
from popavg.posterior_tools.contrasts import (
    COMPARISONS,
    ComparisonKind,
    ComparisonName,
    Paired,
    read_comparison,
)
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.estimates import Estimates
from popavg.posterior_tools.hypotheses import Hypothesis
from popavg.posterior_tools.needed_to_treat import NeededToTreat
from popavg.posterior_tools.outcome import outcome_words
from popavg.posterior_tools.row_question import ask_rows
from popavg.posterior_tools.targets import Scale, Target, TargetMean

__all__ = ["AskedContrasts", "OwnComparison"]

Floats = NDArray[np.float64]
#: A user's comparison: the high and the low mean, shape (draws, estimands), to one of that shape.
type OwnComparison = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True, eq=False, kw_only=True)
class AskedContrasts(Asked):
    """Which contrasts of whose means; these are on the link scale where ``kind`` needs complements.

    Attributes
    ----------
    contrasts : tuple of Contrast
        The changes.
    kind : ComparisonKind
        How two means are compared.
    scale : {"response", "link"}
        The scale that was asked for.
    """

    contrasts: tuple[Contrast, ...]
    kind: ComparisonKind
    scale: Scale

    @classmethod
    def build(
        cls,
        posterior: Posterior,
        contrasts: tuple[Contrast, ...],
        comparison: ComparisonName | OwnComparison,
        of: tuple[Target, Scale],
        *,
        seed: int | np.random.Generator | None,
        progress: bool,
    ) -> AskedContrasts:
        """Check what was asked; ``of`` is the target and the scale.

        Raises
        ------
        SpecificationError
            An unknown comparison, target or scale, or no seed.
        EstimandError
            A comparison that these means don't have, or a target that the fit can't give.
        """
        mean = TargetMean.build(posterior, *of)
        kind = read_comparison(comparison, posterior.link, of[1])
        if kind.complements:
            mean = TargetMean.build(posterior, of[0], "link")
        return cls(
            posterior=posterior,
            mean=mean,
            seed=fixed_seed(seed),
            progress=progress,
            contrasts=contrasts,
            kind=kind,
            scale=of[1],
        )

    @property
    def is_turned_over(self) -> bool:
        """Whether numbers needed to treat are asked for."""
        return self.kind is COMPARISONS["nnt"]

    def check_hypothesis(self, hypothesis: Hypothesis) -> None:
        """Refuse hypotheses about numbers needed to treat.

        Raises
        ------
        SpecificationError
            There is one.
        """
        if self.is_turned_over and hypothesis is not None:
            raise SpecificationError(
                "a hypothesis about numbers needed to treat",
                "hypotheses about differences",
                "use comparison='difference' and turn the result over",
            )

    def estimates(self, request: RowRequest) -> Estimates:
        """The contrasts of rows or of averages, with what they are.

        Raises
        ------
        SpecificationError
            Arguments about rows that contradict each other.
        DataError
            Rows that don't fit the model, or a column with a name that the result uses.
        EstimandError
            A ratio of means that aren't positive.
        """
        rows = compared_rows(self.posterior, self.contrasts, request)
        check_names(rows, "variable", "contrast")
        draws = rows.answers(self._answer, per_label=len(self.contrasts))
        made = NeededToTreat.of_differences if self.is_turned_over else Estimates
        target, response = self.mean.target, self.posterior.specification.response
        outcome = outcome_words(self.posterior, self.scale)
        own = [
            {"variable": contrast.variable, "contrast": contrast.label(self.kind.template)}
            for contrast in self.contrasts
        ]
        return made(
            draws,
            labels=each_with(rows.labels, own).assign(target=target),
            title=self.kind.title.format(outcome=outcome, response=response),
            target=target,
            notes=self.notes(rows, *self._notes(response)),
        )

    def _answer(self, frame: pd.DataFrame, averaging: csr_array | None) -> xr.DataArray:
        designs, pairs = versions(self.posterior.design, self.contrasts, frame)
        question = ask_rows(
            self.mean,
            designs,
            averaging=averaging,
            combine=Paired(self.kind, pairs, len(designs)),
            complements=self.kind.complements,
            per_cell=len(pairs),
        )
        return self.ask(question, self.kind.name)

    def _notes(self, response: str) -> tuple[str, ...]:
        notes = list(contrast_notes(self.posterior.design, self.contrasts))
        steps = stepped(self.contrasts)
        if steps:
            notes.append(f"Steps of {listing(steps)} are centred at each row's own value.")
        if self.is_turned_over:
            notes.append(
                f"A positive number: one more event ({response}) for so many moved from the low "
                "to the high side; a negative one: one fewer. Intervals are those of the "
                "difference turned over; where it may be 0 they go through infinity."
            )
        return tuple(notes)
