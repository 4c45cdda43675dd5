"""Moments of the rows of clusters under a mixed model, and the α that they imply."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from popavg.design import DesignMatrices
from popavg.errors import EstimandError
from popavg.families import Family
from popavg.links import Link
from popavg.mixing import NORMAL
from popavg.posterior_tools._ar1_equation import solve_ar1
from popavg.posterior_tools._bridge_pairs import correlation_of_pair
from popavg.posterior_tools._joint_kernels import cluster_sums, pair_covariances
from popavg.posterior_tools._row_kernels import KINDS
from popavg.posterior_tools._row_pairs import RowPairs
from popavg.posterior_tools._scoring import over_draws, plain
from popavg.posterior_tools.draw_block import DrawBlock
from popavg.posterior_tools.joint import joint_mean

__all__ = ["ClusterSums", "ImpliedDraws", "ImpliedMoments", "PairSums"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class ImpliedDraws:
    """Distinct rows of some draws, (draws, rows): predictor, population mean, its complement.

    ``variance`` is that of the random effects, one column where it is the same for all rows;
    ``residual`` σ² of a Gaussian response, (draws, 1).
    """

    link: Link
    eta: Floats
    variance: Floats
    mean: Floats
    complement: Floats
    residual: Floats

    @classmethod
    def read(
        cls,
        block: DrawBlock,
        matrices: DesignMatrices,
        predictor: Floats,
        residual: Floats | None,
    ) -> Self:
        """``predictor`` is g of the population mean."""
        link, mean = block.link, block.link.inverse(predictor)
        complement = link.complement(predictor) if link.is_probability else np.zeros_like(mean)
        sigma = np.zeros(len(mean)) if residual is None else residual
        eta, variance = block.predictor(matrices), block.variance(matrices)
        return cls(link, eta, variance, mean, complement, sigma[:, None])

    def take(self, draws: Indices) -> Self:
        """Some of the draws."""
        names = [field.name for field in fields(self) if field.name != "link"]
        return replace(self, **{name: getattr(self, name)[draws] for name in names})

    def gap(self, fitted: Floats) -> Floats:
        """Population mean less the marginal model's; of probabilities by the lesser tail."""
        mean = self.link.inverse(fitted)
        if not self.link.is_probability:
            return self.mean - mean
        complement = self.link.complement(fitted)
        return np.where(mean < complement, self.mean - mean, complement - self.complement)

    def on_grid(self) -> tuple[int, tuple[Floats, Floats, Floats, Floats]]:
        """What the kernels of one shared effect take."""
        sd = np.sqrt(np.broadcast_to(self.variance, (len(self.eta), self.variance.shape[1]))[:, 0])
        parts = (plain(self.eta), plain(self.mean), plain(self.complement), plain(sd))
        return grid_kind(self.link), parts


def grid_kind(link: Link) -> int:
    """The kernels' number of a link."""
    kinds = {name: kind for (name, _), kind in KINDS.items()}
    if link.name not in kinds:
        raise EstimandError(
            f"alpha='implied' with the link {link!r}",
            ", ".join(repr(name) for name in kinds),
            "give alpha as a number",
        )
    return kinds[link.name]


@dataclass(frozen=True, eq=False)
class ClusterSums:
    """Sums over pairs as squares of sums; a cluster's rows share one effect."""

    clusters: tuple[Indices, Indices, Floats, Floats]

    def take(self, draws: Indices) -> Self:
        """Nothing here belongs to draws."""
        return self

    def __call__(self, draws: ImpliedDraws, factors: Floats, gap: Floats) -> tuple[Floats, Floats]:
        """Sums over all pairs (draws,), and variances of the rows (draws, rows)."""
        kind, (eta, mean, other, sd) = draws.on_grid()
        factors, gap = plain(factors), plain(gap)
        starts, members, weights, counts = self.clusters
        clusters = plain(starts), plain(members), plain(weights), plain(counts)
        sums, variances = np.empty(len(gap)), np.empty(gap.shape)

        def summed(s: slice) -> None:
            of_draws = eta[s], mean[s], other[s], sd[s], factors[s], gap[s]
            cluster_sums(kind, of_draws, clusters, (sums[s], variances[s]))

        over_draws(len(gap), 64 * len(self.clusters[1]), summed)
        return sums, variances

    def alpha(self, sums: Floats) -> Floats:
        """Exchangeable α from sums over φ."""
        starts, _, weights, counts = self.clusters
        total = np.add.reduceat(weights, starts[:-1]) ** 2
        squares = np.add.reduceat(weights**2, starts[:-1])
        return sums / (0.5 * counts * (total - squares)).sum()


@dataclass(frozen=True, eq=False)
class PairSums:
    """Sums over listed pairs; their covariances (draws, pairs) are computed once."""

    pairs: RowPairs
    covariances: Floats
    variances: Floats
    by_distance: bool

    @classmethod
    def build(
        cls,
        pairs: RowPairs,
        draws: ImpliedDraws,
        block: DrawBlock,
        *,
        matrices: DesignMatrices,
        shared: bool,
        by_distance: bool,
    ) -> Self:
        """``shared``: the rows of a cluster share one effect."""
        if draws.link.mixing.name != NORMAL.name:
            found = _closed(pairs, draws)
        else:
            found = _on_grid(pairs, draws) if shared else _one_by_one(pairs, draws, block, matrices)
        return cls(pairs, *found, by_distance)

    def take(self, draws: Indices) -> Self:
        """Some of the draws."""
        return replace(self, covariances=self.covariances[draws], variances=self.variances[draws])

    def __call__(self, draws: ImpliedDraws, factors: Floats, gap: Floats) -> tuple[Floats, Floats]:
        """Sums over the pairs of each distance (draws, distances), and variances of the rows."""
        one, other = self.pairs.first, self.pairs.second
        products = self.covariances + gap[:, one] * gap[:, other]
        products *= factors[:, one] * factors[:, other] * self.pairs.weight
        return self.pairs.per_distance(products), self.variances

    def alpha(self, sums: Floats) -> Floats:
        """The α from sums over φ."""
        weights = self.pairs.per_distance(self.pairs.weight[None, :])[0]
        if self.by_distance:
            return solve_ar1(self.pairs.distances, sums, weights)
        return sums.sum(axis=1) / weights.sum()


@dataclass(frozen=True, eq=False)
class ImpliedMoments:
    """What α a GEE's residuals would have, for some draws."""

    family: Family
    weight: Floats  # (rows,), trials times the user's weights
    per_trial: Floats  # (rows,), the user's weights
    draws: ImpliedDraws
    sums: ClusterSums | PairSums

    def take(self, draws: Indices) -> Self:
        """Some of the draws."""
        return replace(self, draws=self.draws.take(draws), sums=self.sums.take(draws))

    def alpha(self, fitted: Floats) -> Floats:
        """The α of each draw (draws,) at the marginal model's predictor (draws, rows)."""
        draws, link = self.draws, self.draws.link
        if link.is_probability:
            variance = link.inverse(fitted) * link.complement(fitted)
        else:
            variance = self.family.variance(link.inverse(fitted))
        factors, gap = 1.0 / np.sqrt(variance), draws.gap(fitted)
        sums, variances = self.sums(draws, factors, gap)
        squares = self.weight * (variances + gap**2) + self._within(variances)
        scale = (squares / variance).sum(axis=1) / self.weight.sum()
        return self.sums.alpha((sums.T / scale).T)

    def _within(self, variances: Floats) -> Floats:
        """Variances of the outcomes given the effects, summed over the observations of each row."""
        draws = self.draws
        if draws.link.is_probability:
            return self.per_trial * (draws.mean * draws.complement - variances)
        if self.family.name == "poisson":
            return self.weight * draws.mean
        return self.weight * draws.residual


def _on_grid(pairs: RowPairs, draws: ImpliedDraws) -> tuple[Floats, Floats]:
    kind, (eta, mean, other, sd) = draws.on_grid()
    members = plain(pairs.first), plain(pairs.second)
    covariances = np.empty((len(draws.eta), len(pairs.first)))
    variances = np.empty(draws.eta.shape)

    def computed(s: slice) -> None:
        of_draws = eta[s], mean[s], other[s], sd[s]
        pair_covariances(kind, of_draws, members, (covariances[s], variances[s]))

    over_draws(len(draws.eta), 64 * len(pairs.first), computed)
    return covariances, variances


def _closed(pairs: RowPairs, draws: ImpliedDraws) -> tuple[Floats, Floats]:
    """A bridge-distributed intercept: correlations in closed form, 0 between clusters."""
    sd, spread = np.sqrt(draws.variance), np.sqrt(draws.mean * draws.complement)
    one, other = pairs.first, pairs.second
    correlation = correlation_of_pair(draws.eta[:, one] - draws.eta[:, other], sd)
    covariances = pairs.shared[:, 0] * correlation * spread[:, one] * spread[:, other]
    return covariances, correlation_of_pair(np.zeros(1), sd) * spread**2


def _one_by_one(
    pairs: RowPairs, draws: ImpliedDraws, block: DrawBlock, matrices: DesignMatrices
) -> tuple[Floats, Floats]:
    """Rows whose effects differ: one integral for each pair and each row."""
    variance = np.broadcast_to(draws.variance, draws.eta.shape)
    every = np.arange(len(variance[0]))
    found = []
    for one, other, shared in (
        (pairs.first, pairs.second, pairs.shared),
        (every, every, np.ones((len(every), len(matrices.groups)), dtype=bool)),
    ):
        v_1, v_2 = variance[:, one], variance[:, other]
        covariance = _effect_covariance(block, matrices, (one, other), shared)
        bound = np.sqrt(v_1 * v_2)  # rounding may leave it behind by a few units
        joint = joint_mean(
            draws.eta[:, one],
            draws.eta[:, other],
            variance_1=v_1,
            variance_2=v_2,
            covariance=np.clip(covariance, -bound, bound),
            link=draws.link,
        )
        found.append(joint - draws.mean[:, one] * draws.mean[:, other])
    return found[0], found[1]


def _effect_covariance(
    block: DrawBlock,
    matrices: DesignMatrices,
    pair: tuple[Indices, Indices],
    shared: NDArray[np.bool_],
) -> Floats:
    """Σ z_j'Σ z_k over the factors whose level both rows have, (draws, pairs)."""
    total = np.zeros((block.n_draws, len(pair[0])))
    for group, same in zip(matrices.groups, shared.T, strict=True):
        for column in np.moveaxis(block.roots[group.name], 2, 0):
            along = column @ group.Z.T
            total += same * along[:, pair[0]] * along[:, pair[1]]
    return total
