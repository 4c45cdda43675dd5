"""A model's design as the integrated likelihood wants it: distinct rows, outcomes by cluster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from popavg._checks import listing
from popavg.design import Design, DesignMatrices, GroupDesign
from popavg.errors import SpecificationError
from popavg.families import Family
from popavg.links import Link
from popavg.mixing import BRIDGE, NORMAL
from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes
from popavg.posterior_tools.unique_rows import distinct_rows
from popavg.response import require_outcome

__all__ = ["IntegratedDesign", "lower_roots", "only_group", "require_integrable"]

type Floats = NDArray[np.float64]

#: Random effects that can be integrated out.
MOST_EFFECTS = 2


@dataclass(frozen=True, eq=False)
class IntegratedDesign:
    """The distinct rows of a design with one grouping factor, and the outcomes by cluster.

    Attributes
    ----------
    matrices : popavg.design.DesignMatrices
        The distinct rows.
    group : popavg.grouping.GroupDesign
        The grouping factor at all rows.
    outcomes : popavg.posterior_tools.clustered_outcomes.ClusteredOutcomes
        The outcomes.
    rows : numpy.ndarray of int, shape (rows,)
        The distinct row that each row is.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.draws import Posterior
    >>> from popavg.posterior_tools.integrated_design import IntegratedDesign
    >>> posterior = Posterior.from_fit(pa.load_example())
    >>> integrated = IntegratedDesign.build(posterior.design, posterior.link, posterior.family)
    >>> integrated.outcomes.n_clusters == len(integrated.group.levels)
    True
    """

    matrices: DesignMatrices
    group: GroupDesign
    outcomes: ClusteredOutcomes
    rows: NDArray[np.intp]

    @classmethod
    def build(cls, design: Design, link: Link, family: Family) -> IntegratedDesign:
        """Find the distinct rows and sort the outcomes.

        Parameters
        ----------
        design : popavg.design.Design
            With one grouping factor of one or two random effects, and an outcome.
        link : popavg.links.Link
            The link.
        family : popavg.families.Family
            The outcomes' distribution.

        Returns
        -------
        IntegratedDesign

        Raises
        ------
        SpecificationError
            Another number of factors or effects, or the bridge distribution for other effects
            than an intercept.
        EstimandError
            There is no outcome.
        """
        group = only_group(design.matrices)
        require_integrable(link)
        require_outcome(design.response)
        matrices, rows, _ = distinct_rows(design.matrices)
        outcomes = ClusteredOutcomes.build(
            design.response.y,
            group.index,
            row=rows,
            Z=matrices.groups[0].Z,
            link=link,
            family=family,
            trials=design.response.trials,
            n_clusters=len(group.levels),
        )
        return cls(matrices, group, outcomes, rows)

    def predictor(self, beta: Floats) -> Floats:
        """Predictors of the distinct rows, u = 0.

        Parameters
        ----------
        beta : numpy.ndarray, shape (…, terms)
            Coefficients.

        Returns
        -------
        numpy.ndarray, shape (…, distinct rows)
        """
        return beta @ self.matrices.X.T + self.matrices.offset


def only_group(matrices: DesignMatrices) -> GroupDesign:
    """The grouping factor, where there is one and its effects can be integrated out.

    Raises
    ------
    SpecificationError
        Another number of factors or effects.
    """
    names = [group.name for group in matrices.groups]
    if len(names) != 1:
        raise SpecificationError(
            f"the model has {len(names)} grouping factors"
            + (f" ({listing(names)})" if names else ""),
            "one grouping factor: its effects can be integrated out cluster by cluster",
            'fit it with method="latent"',
        )
    group = matrices.groups[0]
    if len(group.effects) > MOST_EFFECTS:
        raise SpecificationError(
            f"the factor {group.name!r} has {len(group.effects)} random effects",
            "one or two effects: the integral has a dimension for each",
            'fit it with method="latent"',
        )
    return group


def require_integrable(link: Link) -> None:
    """Refuse random effects that the integrated likelihood isn't for.

    Raises
    ------
    SpecificationError
        Effects that are neither normal nor bridge-distributed.
    """
    if link.mixing.name not in (NORMAL.name, BRIDGE.name):
        raise SpecificationError(
            f"the random intercept has the {link.mixing.name} distribution",
            "normal random effects, or an intercept with the bridge distribution",
            "use the latent model: likelihood='latent', method='latent'",
        )


def lower_roots(sd: ArrayLike, correlation: ArrayLike | None = None) -> Floats:
    """Lower triangular roots L of the effects' covariance, Σ = L L'.

    Parameters
    ----------
    sd : array_like, shape (…, effects)
        Standard deviations of one or two effects.
    correlation : array_like, shape (…), optional
        Of two effects; 0 by default.

    Returns
    -------
    numpy.ndarray, shape (…, effects, effects)

    Notes
    -----
    Written out, so that a standard deviation of zero and a correlation of ±1 have a root too.

    Examples
    --------
    >>> from popavg.posterior_tools.integrated_design import lower_roots
    >>> lower_roots([2.0, 5.0], 0.6).tolist()
    [[2.0, 0.0], [3.0, 4.0]]
    """
    sd = np.asarray(sd, dtype=np.float64)
    root = np.zeros((*sd.shape, sd.shape[-1]))
    root[..., 0, 0] = sd[..., 0]
    if sd.shape[-1] == MOST_EFFECTS:
        rho = np.zeros(sd.shape[:-1]) if correlation is None else np.asarray(correlation)
        root[..., 1, 0] = rho * sd[..., 1]
        root[..., 1, 1] = np.sqrt((1.0 - rho) * (1.0 + rho)) * sd[..., 1]
    return root
