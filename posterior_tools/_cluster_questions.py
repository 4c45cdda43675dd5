"""What every draw is asked about the differences between clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from popavg._checks import listing, suggestion
from popavg.design import DesignMatrices
from popavg.errors import EstimandError, SpecificationError
from popavg.grouping import GroupDesign, outermost
from popavg.links import Link
from popavg.posterior_tools.averages import population_average
from popavg.posterior_tools.cluster_correlation import (
    latent_correlation,
    median_odds_ratio,
    pair_correlation,
    pair_likeness,
)
from popavg.posterior_tools.draw_block import DrawBlock
from popavg.posterior_tools.draws import Need
from popavg.posterior_tools.effect_distribution import EffectDistribution

__all__ = [
    "ClusterEffects",
    "ClusterLikeness",
    "ClusterMeans",
    "PairLikeness",
    "PairMoments",
    "quantities",
    "shared_factors",
]

type Floats = NDArray[np.float64]

#: Numbers of the tables that invert averages over other factors, for each draw and row.
_TABLES = 3_000


def shared_factors(groups: Sequence[GroupDesign], group: str | None) -> tuple[str, tuple[str, ...]]:
    """The factor whose clusters are spoken of, and the factors whose cluster its rows share.

    Raises
    ------
    EstimandError
        A model without grouping factors.
    SpecificationError
        An unknown factor, or none named where none holds all others.
    """
    names = [g.name for g in groups]
    if not groups:
        raise EstimandError(
            "heterogeneity of a model without random effects: it has no clusters that differ",
            "models with a grouping term such as '(1 | cluster)'",
            "use predictions or comparisons",
        )
    if group is None:
        try:
            group = outermost(groups)
        except SpecificationError:
            raise SpecificationError(
                f"the grouping factors {listing(names)} aren't nested in one of them",
                listing(names),
                f"name the clusters you ask about: group={names[0]!r}",
            ) from None
    if group not in names:
        raise SpecificationError(
            f"group={group!r} isn't a grouping factor of the model",
            listing(names),
            suggestion(group, names),
        )
    chosen = groups[names.index(group)]
    shared = tuple(g.name for g in groups if _is_inside(chosen, g))
    return group, shared


def _is_inside(inner: GroupDesign, outer: GroupDesign) -> bool:
    """Whether all rows of a cluster of ``inner`` are in one cluster of ``outer``."""
    pairs = np.unique(np.column_stack([inner.index, outer.index]), axis=0)
    return len(pairs) == len(inner.levels)


def _covariance(
    block: DrawBlock, first: DesignMatrices, second: DesignMatrices, factors: Sequence[str]
) -> Floats:
    """z_1'Σz_2 over some factors, shape (draws, rows)."""
    total: Floats = np.zeros((block.n_draws, first.n_rows))
    for one, two in zip(first.groups, second.groups, strict=True):
        if one.name in factors:
            for column in np.moveaxis(block.roots[one.name], 2, 0):
                total = total + (column @ one.Z.T) * (column @ two.Z.T)
    return total


def _others(matrices: DesignMatrices, factors: Sequence[str]) -> tuple[str, ...]:
    return tuple(g.name for g in matrices.groups if g.name not in factors)


def _flat(values: Floats) -> Floats:
    """(draws, rows, quantities) as (draws, estimands)."""
    return values.reshape(len(values), -1)


@dataclass(frozen=True, eq=False)
class ClusterMeans:
    """The mean over clusters of the conditional mean, then its quantiles, for each row."""

    matrices: DesignMatrices
    shared: tuple[str, ...]
    levels: tuple[float, ...]
    with_mean: bool = True
    needs: tuple[Need, ...] = ()

    @property
    def n_estimands(self) -> int:
        """For each row the mean and the quantiles."""
        return self.matrices.n_rows * (len(self.levels) + self.with_mean)

    @property
    def cells(self) -> int:
        """Numbers that a draw needs."""
        return 4 * self.n_estimands

    def __call__(self, block: DrawBlock) -> Floats:
        """Answers of some draws, row by row."""
        eta = block.predictor(self.matrices)
        shared = _covariance(block, self.matrices, self.matrices, self.shared)
        rest = _covariance(block, self.matrices, self.matrices, _others(self.matrices, self.shared))
        z = special.ndtri(np.asarray(self.levels))
        at = eta[:, :, None] + block.link.mixing.effect(z, np.sqrt(shared)[:, :, None])
        quantiles = population_average(at, np.sqrt(rest)[:, :, None], block.link)
        if not self.with_mean:
            return _flat(quantiles)
        mean = population_average(eta, np.sqrt(shared + rest), block.link)
        return _flat(np.concatenate([mean[:, :, None], quantiles], axis=2))


@dataclass(frozen=True, eq=False)
class ClusterEffects:
    """The mean effect, its quantiles over clusters, and shares above thresholds, for each row."""

    low: DesignMatrices
    high: DesignMatrices
    shared: tuple[str, ...]
    levels: tuple[float, ...]
    thresholds: tuple[float, ...] = ()
    with_mean: bool = True
    needs: tuple[Need, ...] = ()

    @property
    def n_estimands(self) -> int:
        """For each row the mean, the quantiles and the shares."""
        return self.low.n_rows * (len(self.levels) + len(self.thresholds) + self.with_mean)

    @property
    def cells(self) -> int:
        """Numbers that a draw needs."""
        tables = _TABLES * self.low.n_rows * bool(_others(self.low, self.shared))
        return 32 * self.n_estimands + tables

    def __call__(self, block: DrawBlock) -> Floats:
        """Answers of some draws, row by row."""
        others = _others(self.low, self.shared)
        eta = [block.predictor(matrices) for matrices in (self.low, self.high)]
        v = [_covariance(block, m, m, self.shared) for m in (self.low, self.high)]
        rest = [_covariance(block, m, m, others) for m in (self.low, self.high)]
        effect = EffectDistribution(
            eta[0],
            eta[1],
            variance_0=v[0],
            variance_1=v[1],
            covariance=_covariance(block, self.low, self.high, self.shared),
            link=block.link,
            rest_0=rest[0],
            rest_1=rest[1],
        )
        parts = [effect.quantiles(self.levels)]
        if self.with_mean:
            means = [
                population_average(eta[k], np.sqrt(v[k] + rest[k]), block.link) for k in (0, 1)
            ]
            parts.insert(0, (means[1] - means[0])[:, :, None])
        if self.thresholds:
            parts.append(effect.share_above(self.thresholds))
        return _flat(np.concatenate(parts, axis=2))


def quantities(link: Link) -> tuple[str, ...]:
    """What :class:`ClusterLikeness` gives for a link."""
    names = {
        "logit": ("median odds ratio", "correlation, latent scale"),
        "log": ("median rate ratio",),
    }.get(link.name, ("correlation, latent scale",))
    scale = "probability" if link.is_probability else "response"
    return (*names, f"correlation, {scale} scale")


@dataclass(frozen=True, eq=False)
class ClusterLikeness:
    """What :func:`quantities` names, for each row; with ``pairs`` the odds ratio of two of them."""

    matrices: DesignMatrices
    shared: tuple[str, ...]
    link: Link
    pairs: bool = False
    needs: tuple[Need, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What is computed for each row; the correlation on the response scale comes last."""
        own = quantities(self.link)
        return ("odds ratio", *own) if self.pairs and self.link.is_probability else own

    @property
    def n_estimands(self) -> int:
        """For each row as many as there are names."""
        return self.matrices.n_rows * len(self.names)

    @property
    def cells(self) -> int:
        """Numbers that a draw needs."""
        return 32 * self.n_estimands

    def __call__(self, block: DrawBlock) -> Floats:
        """Answers of some draws, row by row."""
        eta = block.predictor(self.matrices)
        shared = _covariance(block, self.matrices, self.matrices, self.shared)
        others = _others(self.matrices, self.shared)
        total = shared + _covariance(block, self.matrices, self.matrices, others)
        given = {"variance_1": total, "variance_2": total, "covariance": shared}
        both = _likeness(eta, eta, given, self.link)
        found = dict(zip(("odds ratio", quantities(self.link)[-1]), both, strict=True))
        if "correlation, latent scale" in self.names:
            found["correlation, latent scale"] = latent_correlation(shared, total, self.link)
        for name in self.names:
            if name.startswith("median"):
                found[name] = median_odds_ratio(shared, self.link)
        return _flat(np.stack([found[name] for name in self.names], axis=2))


def _likeness(
    eta_1: Floats, eta_2: Floats, given: Mapping[str, Floats], link: Link
) -> tuple[Floats, Floats]:
    """Odds ratio and correlation; NaN for the odds ratio of what isn't a probability."""
    if link.is_probability:
        return pair_likeness(eta_1, eta_2, **given, link=link)
    correlation = pair_correlation(eta_1, eta_2, **given, link=link)
    return np.full_like(correlation, np.nan), correlation


@dataclass(frozen=True, eq=False)
class PairMoments:
    """Covariance and both variances of pairs of rows of one cluster, link scale."""

    first: DesignMatrices
    second: DesignMatrices
    shared: tuple[str, ...]
    needs: tuple[Need, ...] = ()

    @property
    def n_estimands(self) -> int:
        """Three for each pair."""
        return 3 * self.first.n_rows

    @property
    def cells(self) -> int:
        """Numbers that a draw needs."""
        return self.n_estimands

    def __call__(self, block: DrawBlock) -> Floats:
        """Answers of some draws: all covariances, all first variances, all second ones."""
        factors = [g.name for g in self.first.groups]
        covariance = _covariance(block, self.first, self.second, self.shared)
        variances = (_covariance(block, m, m, factors) for m in (self.first, self.second))
        return np.concatenate([covariance, *variances], axis=1)


@dataclass(frozen=True, eq=False)
class PairLikeness:
    """Odds ratio (probability links) and correlation of pairs of rows of one cluster."""

    first: DesignMatrices
    second: DesignMatrices
    shared: tuple[str, ...]
    link: Link
    needs: tuple[Need, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What is computed for each pair."""
        return ("odds ratio", "correlation") if self.link.is_probability else ("correlation",)

    @property
    def n_estimands(self) -> int:
        """For each pair as many as there are names."""
        return self.first.n_rows * len(self.names)

    @property
    def cells(self) -> int:
        """Numbers that a draw needs."""
        return 32 * self.n_estimands

    def __call__(self, block: DrawBlock) -> Floats:
        """Answers of some draws, pair by pair."""
        eta = [block.predictor(matrices) for matrices in (self.first, self.second)]
        factors = [g.name for g in self.first.groups]
        given: Mapping[str, Floats] = {
            "variance_1": _covariance(block, self.first, self.first, factors),
            "variance_2": _covariance(block, self.second, self.second, factors),
            "covariance": _covariance(block, self.first, self.second, self.shared),
        }
        both = _likeness(*eta, given, self.link)
        return _flat(np.stack(both[-len(self.names) :], axis=2))
