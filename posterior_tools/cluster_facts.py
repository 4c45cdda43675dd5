"""What the clusters of a data set can tell about the variance between them: counts, no model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from popavg.errors import DataError

__all__ = ["ClusterFacts", "cluster_facts"]

type Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ClusterFacts:
    """Clusters of one grouping factor, counted.

    Attributes
    ----------
    name : str
        The grouping factor.
    n_clusters, n_rows : int
        Clusters that have rows, and rows.
    smallest, largest : int
        Fewest and most rows of a cluster.
    median : float
        Median number of rows.
    one_row : int
        Clusters with a single row.
    one_unit : int
        Clusters with a single observation: of 0/1 outcomes and of values a row, of
        ``p(successes, trials)`` a trial.
    concordant : int or None
        Clusters whose outcomes are all events or all non-events; None for counts and values.

    Examples
    --------
    >>> from popavg.posterior_tools.cluster_facts import cluster_facts
    >>> facts = cluster_facts("g", [0, 0, 1, 1, 2], [1, 1, 0, 1, 0])
    >>> facts.one_row, facts.concordant, round(facts.concordant_share, 3)
    (1, 2, 0.667)
    """

    name: str
    n_clusters: int
    n_rows: int
    smallest: int
    median: float
    largest: int
    one_row: int
    one_unit: int
    concordant: int | None

    @property
    def concordant_share(self) -> float | None:
        """Share of the clusters that are concordant; None for counts and values."""
        return None if self.concordant is None else self.concordant / self.n_clusters


def cluster_facts(
    name: str,
    index: ArrayLike,
    y: ArrayLike,
    *,
    trials: ArrayLike | None = None,
    binary: bool = True,
) -> ClusterFacts:
    """Count clusters, their rows, and those in which all outcomes are equal.

    Parameters
    ----------
    name : str
        The grouping factor.
    index : array_like of int, shape (rows,)
        Cluster of each row, counted from 0; numbers without rows aren't counted.
    y : array_like, shape (rows,)
        0/1, successes out of ``trials``, counts or values.
    trials : array_like, shape (rows,), optional
        Trials of each row.
    binary : bool
        Whether ``y`` holds events: False for counts and values, which can't be concordant.

    Returns
    -------
    ClusterFacts

    Raises
    ------
    DataError
        No rows, arrays of different lengths, or rows without a cluster.

    Notes
    -----
    A cluster with one observation is concordant by itself, as in the shares that are quoted
    elsewhere.

    Examples
    --------
    >>> from popavg.posterior_tools.cluster_facts import cluster_facts
    >>> cluster_facts("herd", [0, 0, 1], [0, 0, 3], trials=[4, 5, 6]).concordant
    1
    """
    cluster, outcome = np.asarray(index, dtype=np.intp), np.asarray(y, dtype=np.float64)
    units = np.ones_like(outcome) if trials is None else np.asarray(trials, dtype=np.float64)
    if cluster.ndim != 1 or not cluster.size or not cluster.shape == outcome.shape == units.shape:
        raise DataError(
            f"clusters of shape {cluster.shape}, outcomes of shape {outcome.shape}, trials of "
            f"shape {units.shape}",
            "one of each for every row, and at least one row",
        )
    if cluster.min() < 0:
        raise DataError(
            f"{int((cluster < 0).sum())} rows have no cluster of {name!r}",
            "clusters counted from 0",
            "leave these rows out",
        )
    sizes = np.bincount(cluster)
    kept = sizes > 0
    total = np.bincount(cluster, units)[kept]
    concordant = None
    if binary:
        events = np.bincount(cluster, outcome)[kept]
        concordant = int(((events == 0) | (events == total)).sum())
    sizes = sizes[kept]
    return ClusterFacts(
        name=name,
        n_clusters=len(sizes),
        n_rows=len(cluster),
        smallest=int(sizes.min()),
        median=float(np.median(sizes)),
        largest=int(sizes.max()),
        one_row=int((sizes == 1).sum()),
        one_unit=int((total == 1).sum()),
        concordant=concordant,
    )
