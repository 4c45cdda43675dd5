"""The working correlation that a GEE would converge to if a mixed model were true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popavg.design import DesignMatrices
from popavg.errors import SpecificationError
from popavg.families import Family
from popavg.posterior_tools._implied_moments import (
    ClusterSums,
    ImpliedDraws,
    ImpliedMoments,
    PairSums,
)
from popavg.posterior_tools._row_pairs import RowPairs
from popavg.posterior_tools._scoring import equal_clusters
from popavg.posterior_tools.draw_block import DrawBlock
from popavg.posterior_tools.working_correlation import ClusterLayout

__all__ = ["ClusterRows", "ImpliedCorrelation"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

#: Up to so many pairs for each observation it is cheaper to list them than to add up clusters.
PAIRS_PER_ROW = 8


@dataclass(frozen=True, eq=False)
class ClusterRows:
    """Observations in clusters.

    Attributes
    ----------
    rows : numpy.ndarray of int, shape (observations,)
        The distinct row of each observation.
    weights, trials : numpy.ndarray, shape (observations,)
        The user's weights, and trials (1 for single outcomes).
    levels : numpy.ndarray of int, shape (observations, factors)
        The level of each grouping factor of the model.
    layout : ClusterLayout
        The GEE's clusters; they need not be a factor of the model.
    """

    rows: Indices
    weights: Floats
    trials: Floats
    levels: Indices
    layout: ClusterLayout


@dataclass(frozen=True, eq=False)
class ImpliedCorrelation:
    """α of a GEE's residuals under a mixed model, by geepack's moment equations.

    Attributes
    ----------
    name : {"exchangeable", "ar1"}
        The working correlation.
    matrices : DesignMatrices
        The distinct rows.
    family : Family
        Of the response.
    weight, per_trial : numpy.ndarray, shape (rows,)
        Sum of w = weight × trials over the observations of each row, and of the user's weights.
    pairs : RowPairs or None
        Pairs of rows; None where they would be many and squares of sums do instead.
    clusters : tuple or None
        Clusters whose rows share all their effects, where there are no pairs.
    shares_all : bool
        Whether rows of a cluster share all random effects, and these are intercepts.

    Notes
    -----
    With m = g⁻¹(Xβ̃), V the variance function, residuals r = (y − m)/√V(m) and w the trials times
    the user's weights: E r_j r_k = [Cov(μ_j, μ_k) + (π̄_j − m_j)(π̄_k − m_k)]/√(V_j V_k) for two rows
    of a cluster; E r_j² has E Var(y_j | u) + Var μ_j + (π̄_j − m_j)² above V_j, where E Var(y | u)
    is (π̄(1 − π̄) − Var μ)/n of a proportion of n trials, π̄ of a count, σ² of a value;
    φ = Σ w E r²/Σ w. Exchangeable α = Σ w_j w_k E r_j r_k/(φ Σ w_j w_k); AR(1) see `solve_ar1`.
    The conventions are geepack's (Højsgaard, Halekoh & Yan 2006, Journal of Statistical Software
    15(2)).

    The covariances are one-dimensional integrals. Where the rows of a cluster share one effect
    they are sums over one grid, error below 1e-10 in α, and where clusters are large and
    exchangeable squares of sums; else see
    :func:`popavg.posterior_tools.joint.joint_mean`. With a bridge-distributed intercept the
    correlation of two outcomes is sinh((1 − φ)d/2)/sinh(d/2), d the difference of their
    conditional predictors; no integral is needed.
    """

    name: str
    matrices: DesignMatrices
    family: Family
    weight: Floats
    per_trial: Floats
    pairs: RowPairs | None
    clusters: tuple[Indices, Indices, Floats, Floats] | None
    shares_all: bool

    @classmethod
    def build(
        cls,
        name: str,
        matrices: DesignMatrices,
        family: Family,
        clusters: ClusterRows,
        *,
        listed: bool = False,
    ) -> ImpliedCorrelation:
        """Find the clusters' pairs.

        Parameters
        ----------
        name : {"exchangeable", "ar1"}
            The working correlation.
        matrices : DesignMatrices
            The distinct rows.
        family : Family
            Of the response.
        clusters : ClusterRows
            The observations.
        listed : bool
            Whether pairs are to be listed however many they are, as a bridge-distributed
            intercept needs it.

        Raises
        ------
        SpecificationError
            No cluster has two rows of positive weight, or too many pairs to be listed.
        """
        weight = clusters.weights * clusters.trials
        if not _has_pairs(clusters.layout, weight):
            raise SpecificationError(
                "alpha='implied' where no cluster has two rows of positive weight",
                "clusters of several rows",
                "use working_correlation='independence'",
            )
        shares_all, layout, n = _shares_all(matrices, clusters), clusters.layout, matrices.n_rows
        n_pairs = int((layout.sizes * (layout.sizes - 1) // 2).sum())
        many = n_pairs > PAIRS_PER_ROW * len(weight) and not listed
        squares = shares_all and name == "exchangeable" and many
        return cls(
            name,
            matrices,
            family,
            np.bincount(clusters.rows, weight, n),
            np.bincount(clusters.rows, clusters.weights, n),
            None if squares else RowPairs.build(layout, clusters.rows, weight, clusters.levels),
            equal_clusters(layout, clusters.rows, weight) if squares else None,
            shares_all,
        )

    @property
    def n_pairs(self) -> int:
        """Pairs that are listed one by one."""
        return 0 if self.pairs is None else len(self.pairs.first)

    def moments(
        self, block: DrawBlock, predictor: Floats, residual: Floats | None = None
    ) -> ImpliedMoments:
        """What the model says of the clusters' rows, draw by draw.

        Parameters
        ----------
        block : DrawBlock
            Draws.
        predictor : numpy.ndarray, shape (draws, rows)
            g(π̄) of the distinct rows.
        residual : numpy.ndarray, shape (draws,), optional
            σ² of a Gaussian response.

        Returns
        -------
        ImpliedMoments
            Whose ``alpha`` gives the α at any fitted predictor.
        """
        draws = ImpliedDraws.read(block, self.matrices, predictor, residual)
        sums: ClusterSums | PairSums
        if self.pairs is None:
            assert self.clusters is not None
            sums = ClusterSums(self.clusters)
        else:
            sums = PairSums.build(
                self.pairs,
                draws,
                block,
                matrices=self.matrices,
                shared=self.shares_all,
                by_distance=self.name == "ar1",
            )
        return ImpliedMoments(self.family, self.weight, self.per_trial, draws, sums)


def _has_pairs(layout: ClusterLayout, weight: Floats) -> bool:
    return bool((np.add.reduceat((weight > 0.0)[layout.order], layout.starts) > 1).any())


def _shares_all(matrices: DesignMatrices, clusters: ClusterRows) -> bool:
    """Whether the rows of each cluster have all their random effects in common."""
    if any(not np.equal(group.Z, group.Z[:1]).all() for group in matrices.groups):
        return False
    levels = clusters.levels[clusters.layout.order]
    first = np.repeat(clusters.layout.starts, clusters.layout.sizes)
    return bool((levels == levels[first]).all())
