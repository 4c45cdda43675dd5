"""What the compiled Fisher scoring needs: rows, groups of rows, and threads for the draws."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popavg.families import Family
from popavg.links import LINKS, Link
from popavg.posterior_tools import _solver_kernels as kernels
from popavg.posterior_tools._row_kernels import KINDS
from popavg.posterior_tools._solver_kernels import Groups, Rows
from popavg.posterior_tools.working_correlation import (
    AR1,
    ClusterLayout,
    Exchangeable,
    WorkingCorrelation,
)

__all__ = [
    "cancels",
    "compiled_groups",
    "compiled_rows",
    "equal_clusters",
    "over_draws",
    "plain",
    "plain_groups",
    "plain_rows",
]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

#: Where the rank-one terms cancel more of the diagonal than this, rows are whitened instead.
_MOST_CANCELLED = 1e5
#: Numbers that are worth a thread.
_WORTH_A_THREAD = 2**16


def over_draws[T](n_draws: int, cells: int, work: Callable[[slice], T]) -> list[T]:
    """Call ``work`` on slices of draws, on as many threads as this process may use cores.

    ``cells`` are the numbers of one draw.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    n_slices = min(n_draws, 4 * cores, n_draws * cells // _WORTH_A_THREAD)
    if cores == 1 or n_slices < 2:
        return [work(slice(0, n_draws))]
    edges = np.linspace(0, n_draws, n_slices + 1).astype(int).tolist()
    with ThreadPoolExecutor(cores) as pool:
        return list(pool.map(work, map(slice, edges[:-1], edges[1:])))


def compiled_rows(
    link: Link, family: Family | None, columns: Floats, *, fixed: Floats, weight: Floats
) -> Rows | None:
    """Rows for the kernels; None where they don't know the link or the variance function.

    Of probabilities the variance is mean times complement whatever the family.
    """
    variances = dict(KINDS.keys())
    if LINKS.get(link.name) is not link or link.name not in variances:
        return None
    variance = variances[link.name]
    if not link.is_probability and family is not None and family.name != variance:
        return None
    return Rows(
        KINDS[link.name, variance],
        link.name == "identity",
        np.ascontiguousarray(columns.T),
        np.ascontiguousarray(fixed),
        np.ascontiguousarray(weight),
        float(np.sqrt(np.einsum("rp,rp->r", columns, columns)).max()),
    )


def compiled_groups(
    correlation: WorkingCorrelation | None,
    layout: ClusterLayout | None,
    rows: Indices,
    weight: Floats,
) -> Groups | None:
    """Groups of observations for the kernels; None for correlations that they don't know.

    ``rows`` is the distinct row of each observation, ``weight`` its weight.
    """
    if correlation is None:
        nothing = np.empty(0)
        starts, members = np.zeros(1, dtype=np.intp), np.empty(0, dtype=np.intp)
        return Groups(kernels.INDEPENDENCE, starts, members, nothing, nothing, nothing)
    if layout is None or type(correlation) not in {Exchangeable, AR1}:
        return None
    rows, roots = rows[layout.order], np.sqrt(weight[layout.order])
    if isinstance(correlation, Exchangeable):
        return _clusters(layout, rows, roots)
    return _neighbours(layout, rows, roots)


def cancels(groups: Groups, alpha: Floats) -> bool:
    """Whether the kernels' sums over groups would lose too many digits with some α."""
    if not alpha.size or groups.code == kernels.INDEPENDENCE:
        return False
    largest = float(np.abs(alpha).max())
    size = groups.keys.max(initial=1.0) if groups.code == kernels.EXCHANGEABLE else 2.0
    return (1.0 + (size - 1.0) * largest) / (1.0 - largest) > _MOST_CANCELLED


def plain[T: NDArray[Any]](array: T) -> T:
    """The array as the kernels are compiled for: contiguous and writeable."""
    return np.require(array, requirements=["C", "W"])


def plain_rows(rows: Rows) -> Rows:
    """The same with arrays as the kernels are compiled for; those of other processes aren't."""
    columns, fixed, weight = plain(rows.columns), plain(rows.fixed), plain(rows.weight)
    return rows._replace(columns=columns, fixed=fixed, weight=weight)


def plain_groups(groups: Groups) -> Groups:
    """The same with arrays as the kernels are compiled for."""
    return Groups(
        groups.code,
        plain(groups.starts),
        plain(groups.members),
        plain(groups.roots),
        plain(groups.counts),
        plain(groups.keys),
    )


def equal_clusters(
    layout: ClusterLayout, rows: Indices, weight: Floats
) -> tuple[Indices, Indices, Floats, Floats]:
    """Starts, members, the members' weights and how many equal clusters there are."""
    groups = _clusters(layout, rows[layout.order], weight[layout.order])
    return groups.starts, groups.members, groups.roots, groups.counts


def _clusters(layout: ClusterLayout, rows: Indices, roots: Floats) -> Groups:
    """Clusters; rows of weight 0 count in their sizes."""
    cluster = np.repeat(np.arange(len(layout.sizes)), layout.sizes)
    order = np.lexsort((roots, rows, cluster))  # within a cluster the order doesn't matter
    return _distinct(
        kernels.EXCHANGEABLE,
        (layout.starts, layout.sizes),
        (rows[order], roots[order]),
        layout.sizes.astype(np.float64),
    )


def _neighbours(layout: ClusterLayout, rows: Indices, roots: Floats) -> Groups:
    """Pairs of rows that follow each other in a cluster."""
    follows = np.ones(len(rows), dtype=bool)
    follows[layout.starts] = False
    later = np.flatnonzero(follows)
    members = np.column_stack([rows[later - 1], rows[later]])
    weights = np.column_stack([roots[later - 1], roots[later]])
    swap = members[:, 0] > members[:, 1]
    for pairs in (members, weights):
        pairs[swap] = pairs[swap, ::-1]
    starts, sizes = 2 * np.arange(len(later)), np.full(len(later), 2)
    gaps = np.ones(len(rows)) if layout.gaps is None else layout.gaps
    flat = (members.ravel(), weights.ravel())
    return _distinct(kernels.AR1, (starts, sizes), flat, gaps[later])


def _distinct(
    code: int, place: tuple[Indices, Indices], content: tuple[Indices, Floats], keys: Floats
) -> Groups:
    """Equal groups once, with how many they are."""
    (starts, sizes), (members, roots) = place, content
    parts: list[tuple[Indices, Floats, Indices, Floats, Floats]] = []
    for size in np.unique(sizes).tolist():
        chosen = np.flatnonzero(sizes == size)
        where = starts[chosen][:, None] + np.arange(size)
        table = np.column_stack([members[where], roots[where], keys[chosen]])
        _, first, counts = np.unique(table, axis=0, return_index=True, return_counts=True)
        first, taken = chosen[first], where[first].ravel()
        lengths = np.full(len(first), size)
        parts.append((members[taken], roots[taken], lengths, counts.astype(float), keys[first]))
    if not parts:
        empty = np.empty(0)
        return Groups(code, np.zeros(1, np.intp), np.empty(0, np.intp), empty, empty, empty)
    all_members, all_roots, lengths, counts, all_keys = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    edges = np.concatenate([[0], np.cumsum(lengths)]).astype(np.intp)
    return Groups(code, edges, all_members.astype(np.intp), all_roots, counts, all_keys)
