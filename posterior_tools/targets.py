"""Means of a fit's response for each target: population, typical cluster, sampled clusters."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from popavg.design import DesignMatrices
from popavg.errors import EstimandError
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.integral import marginal_mean

__all__ = ["MEANINGS", "TARGETS", "Target", "population_predictor", "target_mean"]

Target = Literal["population", "typical", "sampled"]
TARGETS: tuple[Target, ...] = ("population", "typical", "sampled")

#: What a number of each target speaks of.
MEANINGS: dict[str, str] = {
    "population": "the mean over the population of clusters (random effects integrated out)",
    "typical": "a typical cluster (random effects at zero); not a population mean",
    "sampled": "the mean over the clusters of this data set (their own effects)",
}


def target_mean(
    posterior: Posterior, matrices: DesignMatrices, target: Target, rows: slice
) -> NDArray[np.float64]:
    """Mean response of every row of a design, draw by draw.

    Parameters
    ----------
    posterior : Posterior
        The fit.
    matrices : DesignMatrices
        Rows to predict.
    target : {"population", "typical", "sampled"}
        Whose mean.
    rows : slice
        Which draws.

    Returns
    -------
    numpy.ndarray, shape (draws, rows)
        On the response scale: a probability for logit, probit and cloglog.

    Raises
    ------
    EstimandError
        ``"sampled"`` without draws of the clusters' own effects.

    Notes
    -----
    With several grouping factors ``"sampled"`` averages over the combinations of clusters that
    occur in the training data, each counted once.
    """
    eta = posterior.predictor(matrices, rows)
    if target == "typical":
        return posterior.link.inverse(eta)
    if target == "sampled":
        return _sampled_mean(posterior, matrices, eta, rows)
    sd = np.sqrt(posterior.variance(matrices, rows))
    return np.asarray(marginal_mean(eta, sd, posterior.link))


def population_predictor(
    posterior: Posterior,
    matrices: DesignMatrices,
    rows: slice,
    *,
    variance: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """g(π̄): the population mean on the link scale, shape (draws, rows).

    ``variance`` is that of :meth:`Posterior.variance`, for those who have it already.
    """
    eta = posterior.predictor(matrices, rows)
    v = posterior.variance(matrices, rows) if variance is None else variance
    return np.asarray(marginal_mean(eta, np.sqrt(v), posterior.link, scale="link"))


def _sampled_mean(
    posterior: Posterior, matrices: DesignMatrices, eta: NDArray[np.float64], rows: slice
) -> NDArray[np.float64]:
    """Average over the combinations of clusters that occur in the training data."""
    trained = posterior.design.matrices.groups
    if not trained:
        raise EstimandError(
            "target='sampled' for a model without random effects: it has no clusters",
            "the targets 'population' and 'typical'",
            "they are the same for this model",
        )
    combinations = np.unique(np.column_stack([group.index for group in trained]), axis=0)
    effects = [posterior.effects(group.name)[rows] for group in trained]
    total = np.zeros_like(eta)
    for combination in combinations:
        shifted = eta.copy()
        for group, u, cluster in zip(matrices.groups, effects, combination, strict=True):
            shifted += u[:, cluster, :] @ group.Z.T
        total += posterior.link.inverse(shifted)
    return total / len(combinations)
