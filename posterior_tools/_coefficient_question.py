"""What every draw is asked for its population-averaged coefficients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popavg.errors import ConvergenceError
from popavg.families import Family
from popavg.links import Link
from popavg.mixing import NORMAL
from popavg.posterior_tools import closed_forms, projection
from popavg.posterior_tools._implied_moments import ImpliedMoments
from popavg.posterior_tools._projector import Observations, Projector
from popavg.posterior_tools._rows import check_target
from popavg.posterior_tools.averages import population_average
from popavg.posterior_tools.draw_block import DrawBlock
from popavg.posterior_tools.draws import Need
from popavg.posterior_tools.implied_correlation import ClusterRows, ImpliedCorrelation
from popavg.posterior_tools.projection_design import ProjectionDesign, WorkingStructure

__all__ = ["MISFIT", "CoefficientQuestion", "gaussian_alpha", "implied_correlation"]

Floats = NDArray[np.float64]

#: What follows the coefficients in an answer.
MISFIT = ("largest", "root mean square", "row of the largest", "mean of this row")

_MAX_ROUNDS = 100
_ALPHA_TOLERANCE = 1e-11


@dataclass(frozen=True, eq=False)
class CoefficientQuestion:
    """Coefficients of some draws, then `MISFIT`, then α where the model implies it."""

    rows: ProjectionDesign
    method: str
    projector: Projector | None = None
    implied: ImpliedCorrelation | None = None

    needs: tuple[Need, ...] = ()

    @classmethod
    def build(
        cls,
        rows: ProjectionDesign,
        method: str,
        structure: WorkingStructure,
        *,
        model: tuple[Link, Family],
    ) -> CoefficientQuestion:
        """Read the rows once, for all draws."""
        if method != "projection":
            return cls(rows, method)
        (link, family), matrices = model, rows.matrices
        weight = rows.weights * rows.trials
        observations = Observations(rows.rows, weight, rows.correlation, rows.layout)
        projector = Projector.build(link, family, (matrices.X, matrices.offset), observations)
        if family.has_scale:  # the mean is linear, so that β̃ is β whatever α
            return cls(rows, method, projector)
        listed = link.mixing.name != NORMAL.name
        implied = implied_correlation(rows, structure, family, listed=listed)
        return cls(rows, method, projector, implied)

    @property
    def cells(self) -> int:
        pairs = 0 if self.implied is None else self.implied.n_pairs
        return max(self.rows.matrices.n_rows, pairs)

    @property
    def n_estimands(self) -> int:
        return self.rows.matrices.X.shape[1] + len(MISFIT) + (self.implied is not None)

    def __call__(self, block: DrawBlock) -> Floats:
        matrices = self.rows.matrices
        variance = block.variance(matrices)
        eta = block.predictor(matrices)
        predictor = np.asarray(population_average(eta, np.sqrt(variance), block.link, "link"))
        check_target(predictor, matrices.n_rows)
        coefficients, alpha = self._coefficients(block, predictor, variance)
        misfit = projection.misfit(
            predictor,
            matrices.X,
            coefficients,
            block.link,
            offset=matrices.offset,
            weights=self.rows.distinct_weights,
        )
        return np.hstack([coefficients, misfit, alpha])

    def _coefficients(
        self, block: DrawBlock, predictor: Floats, variance: Floats
    ) -> tuple[Floats, Floats]:
        """Coefficients, and α in a column of its own where there is one to be found."""
        rows, X, offset = self.rows, self.rows.matrices.X, self.rows.matrices.offset
        none = np.empty((len(predictor), 0))
        if self.projector is not None:
            if self.implied is None:
                return self.projector(predictor), none
            moments = self.implied.moments(block, predictor)
            return _jointly(self.projector, moments, predictor, (X, offset))
        if self.method == "least_squares":
            weights = rows.distinct_weights
            return projection.least_squares(predictor, X, offset=offset, weights=weights), none
        closed = closed_forms.exact if self.method == "exact" else closed_forms.attenuation
        return closed(block.beta, variance, X, block.link, offset=offset), none


def implied_correlation(
    rows: ProjectionDesign, structure: WorkingStructure, family: Family, *, listed: bool = False
) -> ImpliedCorrelation | None:
    """What knows the α that the model implies; None where it isn't asked for."""
    if rows.levels is None or rows.layout is None:
        return None
    clusters = ClusterRows(rows.rows, rows.weights, rows.trials, rows.levels, rows.layout)
    return ImpliedCorrelation.build(structure.name, rows.matrices, family, clusters, listed=listed)


def gaussian_alpha(implied: ImpliedCorrelation, block: DrawBlock, sigma: Floats) -> Floats:
    """The α of each draw (draws, 1) for the identity link; ``sigma`` (draws,)."""
    found, start = [], 0
    for piece in block.pieces(max(implied.matrices.n_rows, implied.n_pairs)):
        residual = sigma[start : start + piece.n_draws] ** 2
        predictor = piece.predictor(implied.matrices)
        found.append(implied.moments(piece, predictor, residual).alpha(predictor))
        start += piece.n_draws
    return np.concatenate(found)[:, None]


def _jointly(
    projector: Projector, moments: ImpliedMoments, predictor: Floats, design: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """Coefficients and their α (draws, 1), by turns until both stay.

    Each draw stops on its own, so that no draw's answer depends on others.
    """
    X, offset = design
    alpha = np.zeros(len(predictor))
    beta = projector(predictor, alpha=alpha)
    going = np.arange(len(predictor))
    for _ in range(_MAX_ROUNDS):
        found = moments.alpha(beta[going] @ X.T + offset)
        projector.check_alpha(found)
        change = np.abs(found - alpha[going])
        alpha[going] = found
        beta[going] = projector(predictor[going], start=beta[going], alpha=found)
        keep = np.flatnonzero(~(change <= _ALPHA_TOLERANCE))
        if not keep.size:
            return beta, alpha[:, None]
        going, moments = going[keep], moments.take(keep)
    raise ConvergenceError(
        f"the α that the model implies didn't settle in {len(going)} of {len(alpha)} draws",
        remedy="give alpha as a number",
    )
