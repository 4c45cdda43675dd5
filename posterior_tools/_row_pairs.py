"""Pairs of rows of a cluster, equal pairs once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popavg.errors import SpecificationError
from popavg.posterior_tools.working_correlation import ClusterLayout

__all__ = ["RowPairs"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

#: More pairs than this aren't listed one by one.
MOST_PAIRS = 20_000_000


@dataclass(frozen=True, eq=False)
class RowPairs:
    """Pairs of distinct rows.

    ``shared`` says which grouping factors they have the same level of, ``distance`` which of
    ``distances`` is between them, ``weight`` is the sum of w_j w_k over the equal pairs.
    """

    first: Indices
    second: Indices
    shared: NDArray[np.bool_]  # (pairs, factors)
    distance: Indices
    weight: Floats
    distances: Floats

    @classmethod
    def build(
        cls, layout: ClusterLayout, rows: Indices, weight: Floats, levels: Indices
    ) -> RowPairs:
        """Every pair within a cluster; ``levels`` (observations, factors) of the effects."""
        n_pairs = int((layout.sizes * (layout.sizes - 1) // 2).sum())
        if n_pairs > MOST_PAIRS:
            raise SpecificationError(
                f"alpha='implied' over {n_pairs:,} pairs of rows of one cluster",
                f"at most {MOST_PAIRS:,}",
                "give a design with fewer rows a cluster, or alpha as a number",
            )
        one, other = _positions(layout)
        elapsed = np.zeros(len(rows)) if layout.gaps is None else _elapsed(layout)
        apart = np.round(elapsed[other] - elapsed[one], 10)
        j, k = layout.order[one], layout.order[other]
        distances, distance = np.unique(apart, return_inverse=True)
        pair = np.sort(np.column_stack([rows[j], rows[k]]), axis=1)
        key = np.column_stack([pair, distance, levels[j] == levels[k]])
        _, at, inverse = np.unique(key, axis=0, return_index=True, return_inverse=True)
        return cls(
            pair[at, 0].astype(np.intp),
            pair[at, 1].astype(np.intp),
            (levels[j] == levels[k])[at],
            distance[at],
            np.bincount(inverse.ravel(), weight[j] * weight[k], len(at)),
            distances,
        )

    def per_distance(self, values: Floats) -> Floats:
        """Sums over the pairs of each distance; (draws, pairs) to (draws, distances)."""
        total = np.zeros((len(values), len(self.distances)))
        for d in range(len(self.distances)):
            total[:, d] = values[:, self.distance == d].sum(axis=1)
        return total


def _positions(layout: ClusterLayout) -> tuple[Indices, Indices]:
    """Both sorted positions of every pair."""
    ones, others = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    for size in np.unique(layout.sizes).tolist():
        starts = layout.starts[layout.sizes == size][:, None]
        upper = np.triu_indices(size, 1)
        ones.append((starts + upper[0]).ravel())
        others.append((starts + upper[1]).ravel())
    return np.concatenate(ones), np.concatenate(others)


def _elapsed(layout: ClusterLayout) -> Floats:
    """Time since the cluster's first row, in sorted order."""
    assert layout.gaps is not None
    total = np.cumsum(layout.gaps)
    return total - np.repeat(total[layout.starts], layout.sizes)
