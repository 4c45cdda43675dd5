"""Outcomes sorted by cluster, with what repeats among them counted: what a likelihood needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from popavg.errors import DataError, SpecificationError
from popavg.families import Family, get_family
from popavg.links import Link, get_link
from popavg.mixing import BRIDGE
from popavg.posterior_tools._integrated_kernels import Data
from popavg.posterior_tools._logit_trials import lay_out, no_trials

__all__ = ["ClusteredOutcomes"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ClusteredOutcomes:
    """Outcomes of one grouping factor, made once and used by every evaluation of a likelihood.

    Rows of a cluster with the same distinct row of the design are merged into an entry, and
    clusters with the same entries are kept once and counted.

    Attributes
    ----------
    link : popavg.links.Link
        The link.
    family : popavg.families.Family
        The distribution of the outcomes.
    n_clusters : int
        Clusters that came.
    n_rows : int
        Distinct rows of the design: the length of eta.
    data : tuple of numpy.ndarray
        The distinct clusters' entries: starts, distinct row, outcome, trials (or merged rows), Z;
        and the logit's trials one by one.
    within : numpy.ndarray, shape (distinct clusters,)
        Gaussian outcomes: sum of squares within the entries.
    multiplicity : numpy.ndarray, shape (distinct clusters,)
        How many clusters each stands for.
    inverse : numpy.ndarray of int, shape (clusters,)
        Position of each cluster among the distinct ones.
    constant : numpy.ndarray, shape (clusters,)
        What the log-likelihood has apart from the integral: binomial coefficients, factorials.

    Examples
    --------
    >>> from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes
    >>> outcomes = ClusteredOutcomes.build(
    ...     [0, 1, 0, 1], [0, 0, 1, 1], row=[0, 1, 0, 1], Z=[[1.0], [1.0]], link="logit"
    ... )
    >>> outcomes.n_clusters, outcomes.multiplicity.tolist()
    (2, [2.0])
    """

    link: Link
    family: Family
    n_clusters: int
    n_rows: int
    data: Data
    within: Floats
    multiplicity: Floats
    inverse: NDArray[np.intp]
    constant: Floats

    @classmethod
    def build(
        cls,
        y: ArrayLike,
        cluster: ArrayLike,
        *,
        row: ArrayLike,
        Z: ArrayLike,
        link: str | Link,
        family: str | Family = "bernoulli",
        trials: ArrayLike | None = None,
        n_clusters: int | None = None,
    ) -> ClusteredOutcomes:
        """Sort, merge and count.

        Parameters
        ----------
        y : array_like, shape (rows,)
            Outcomes: 0 or 1, successes, counts or values.
        cluster : array_like of int, shape (rows,)
            Cluster of each row, counted from 0.
        row : array_like of int, shape (rows,)
            Which distinct row of the design each row is.
        Z : array_like, shape (distinct rows, effects)
            Design of the random effects at the distinct rows; one or two effects.
        link : str or Link
            The link.
        family : str or Family
            The distribution.
        trials : array_like, optional
            Binomial outcomes: trials of each row.
        n_clusters : int, optional
            Number of clusters, where the last ones may have no rows.

        Returns
        -------
        ClusteredOutcomes

        Raises
        ------
        DataError
            Arrays that don't fit each other, outcomes that the family can't have.
        SpecificationError
            A link that doesn't go with the family, more than two effects, or the bridge
            distribution for other effects than an intercept.
        """
        link, family = get_link(link), get_family(family)
        _check_family(link, family)
        columns = _columns(y, cluster, row, trials)
        Z = _check_design(np.asarray(Z, dtype=np.float64), columns)
        _check_mixing(link, Z)
        _check_outcomes(family, columns)
        count = int(columns[1].max(initial=-1)) + 1
        count = count if n_clusters is None else max(int(n_clusters), count)
        constant = np.zeros(count)
        np.add.at(constant, columns[1], _constants(family, columns))
        entries, within = _merge(family, columns)
        starts = np.searchsorted(entries[1], np.arange(count + 1)).astype(np.int64)
        kept, inverse = _distinct(starts, entries, merged=not family.has_scale)
        data = _take(starts, entries, kept, Z, singly=link.name == "logit")
        multiplicity = np.bincount(inverse, minlength=len(kept)).astype(np.float64)
        spread = np.bincount(entries[1], weights=within, minlength=count)[kept]
        return cls(link, family, count, len(Z), data, spread, multiplicity, inverse, constant)

    @property
    def n_effects(self) -> int:
        """Random effects of each cluster: 1 or 2."""
        return self.data.Z.shape[1]

    @property
    def bridge(self) -> bool:
        """Whether the effect has the bridge distribution."""
        return self.link.mixing.name == BRIDGE.name

    @cached_property
    def same_effect(self) -> bool:
        """Whether all rows have the same Z."""
        return not np.diff(self.data.Z, axis=0).any()

    @cached_property
    def weights(self) -> Floats:
        """For each entry the number of clusters that it stands for."""
        return np.repeat(self.multiplicity, np.diff(self.data.starts))

    @cached_property
    def pieces(self) -> tuple[tuple[int, int], ...]:
        """Runs of distinct clusters that are about the same work; threads take them in turn."""
        entries = 4096 if self.n_effects == 1 else 256
        starts = self.data.starts
        cuts = np.searchsorted(starts, np.arange(entries, starts[-1], entries))
        cuts = np.unique(np.concatenate([[0], cuts, [len(starts) - 1]]))
        return tuple((int(a), int(b)) for a, b in pairwise(cuts))


type _Columns = tuple[Floats, Ints, Ints, Floats]


def _check_family(link: Link, family: Family) -> None:
    if link.name not in family.links:
        raise SpecificationError(
            f"link={link.name!r} doesn't go with {family.name} outcomes",
            ", ".join(map(repr, family.links)),
        )


def _columns(
    y: ArrayLike, cluster: ArrayLike, row: ArrayLike, trials: ArrayLike | None
) -> _Columns:
    y = np.asarray(y, dtype=np.float64)
    cluster, row = np.asarray(cluster, dtype=np.int64), np.asarray(row, dtype=np.int64)
    n = np.ones(y.shape) if trials is None else np.asarray(trials, dtype=np.float64)
    shapes = {"y": y.shape, "cluster": cluster.shape, "row": row.shape, "trials": n.shape}
    if y.ndim != 1 or len(set(shapes.values())) > 1:
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise DataError(f"arrays of different shapes came: {told}", "one value for each row")
    if len(y) and cluster.min() < 0:
        raise DataError(
            f"{int((cluster < 0).sum())} rows have no cluster (a negative number)",
            "clusters counted from 0",
            "leave these rows out",
        )
    return y, cluster, row, n


def _check_design(Z: Floats, columns: _Columns) -> Floats:
    if Z.ndim != 2 or not 1 <= Z.shape[1] <= 2:
        raise SpecificationError(
            f"Z has the shape {Z.shape}",
            "one row for each distinct row of the design, one or two random effects",
            "sample the effects themselves where there are more",
        )
    row = columns[2]
    if len(row) and not 0 <= row.min() <= row.max() < len(Z):
        raise DataError(
            f"row holds {row.min()} to {row.max()}", f"positions in Z, 0 to {len(Z) - 1}"
        )
    if not np.isfinite(Z).all():
        raise DataError("Z has values that aren't finite", "numbers", "remove these rows")
    return Z


def _check_mixing(link: Link, Z: Floats) -> None:
    if link.mixing.name == BRIDGE.name and not (Z.shape[1] == 1 and (Z == 1.0).all()):
        raise SpecificationError(
            "the bridge distribution for other random effects than an intercept",
            "one column of ones in Z",
            "use normal random effects: link='logit'",
        )


def _check_outcomes(family: Family, columns: _Columns) -> None:
    y, _, _, n = columns
    if family.has_scale:
        good, allowed = np.isfinite(y), "numbers"
    elif family.name == "poisson":
        good, allowed = (y >= 0) & (y == np.floor(y)) & np.isfinite(y), "whole numbers from 0"
    else:
        good = (y >= 0) & (y <= n) & (y == np.floor(y)) & (n == np.floor(n)) & (n >= 1)
        good &= np.isfinite(n)
        allowed = "0 or 1, or successes out of at least one trial"
    if not good.all():
        first = int(np.flatnonzero(~good)[0])
        out_of = f" out of {n[first]:g}" if family.has_trials else ""
        raise DataError(
            f"the outcome in row {first} is {y[first]:g}{out_of}, and {int((~good).sum())} rows "
            f"can't be {family.name}",
            allowed,
        )


def _constants(family: Family, columns: _Columns) -> Floats:
    y, _, _, n = columns
    if family.name == "poisson":
        return -gammaln(y + 1.0)
    if family.has_scale:
        return np.zeros_like(y)
    return np.where(n > 1.0, gammaln(n + 1.0) - gammaln(y + 1.0) - gammaln(n - y + 1.0), 0.0)


def _merge(family: Family, columns: _Columns) -> tuple[_Columns, Floats]:
    """Entries sorted by cluster and row; of Gaussian outcomes the sums of squares within them."""
    y, cluster, row, n = columns
    order = np.lexsort((row, cluster))
    y, cluster, row, n = y[order], cluster[order], row[order], n[order]
    new = np.ones(len(y), dtype=bool)
    new[1:] = (np.diff(cluster) != 0) | (np.diff(row) != 0)
    entry, size = np.cumsum(new) - 1, int(new.sum())
    total = np.bincount(entry, weights=n, minlength=size)
    sums = np.bincount(entry, weights=y, minlength=size)
    if not family.has_scale:
        return (sums, cluster[new], row[new], total), np.zeros(size)
    means = sums / total
    means += np.bincount(entry, weights=y - means[entry], minlength=size) / total
    within = np.bincount(entry, weights=(y - means[entry]) ** 2, minlength=size)
    return (means, cluster[new], row[new], total), within


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Steele, Lea & Flood's (2014) finaliser."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _distinct(
    starts: Ints, entries: _Columns, *, merged: bool
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Clusters that are kept, and each cluster's position among them.

    Sums of mixed bits find candidates; these are then compared entry by entry.
    """
    sizes = np.diff(starts)
    if not merged:
        return np.arange(len(sizes)), np.arange(len(sizes))
    y, cluster, row, n = entries
    with np.errstate(over="ignore"):
        bits = _mix(y.view(np.uint64) + _mix(n.view(np.uint64) + _mix(row.view(np.uint64))))
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(bits, dtype=np.uint64)])
        keys = sums[starts[1:]] - sums[starts[:-1]]
    order = np.lexsort((keys, sizes))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(keys[order]) != 0) | (np.diff(sizes[order]) != 0)
    model = np.empty(len(order), dtype=np.intp)
    model[order] = order[new][np.cumsum(new) - 1]
    twin = np.arange(len(y)) - starts[cluster] + starts[model[cluster]]
    differs = (row != row[twin]) | (y != y[twin]) | (n != n[twin])
    own = np.unique(cluster[differs])
    model[own] = own
    return np.unique(model, return_inverse=True)


def _take(
    starts: Ints, entries: _Columns, kept: NDArray[np.intp], Z: Floats, *, singly: bool
) -> Data:
    """The kept clusters' entries, and their trials one by one where there is one effect."""
    y, _, row, n = entries
    sizes = np.diff(starts)[kept]
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    taken = np.arange(ends[-1]) + np.repeat(starts[kept] - ends[:-1], sizes)
    row, y, n = np.ascontiguousarray(row[taken]), y[taken], n[taken]
    trials = lay_out(ends, row, y, n) if singly and Z.shape[1] == 1 else no_trials()
    return Data(ends, row, y, n, np.ascontiguousarray(Z[row]), trials)
