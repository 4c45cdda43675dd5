"""Numba kernels of means that share one normal effect: their covariances and sums over clusters.

A draw's means are tabulated once, rows by nodes of the trapezoid rule in z; every cluster's sums
and every pair's product are then sums over that table.

Notes
-----
The trapezoid rule's error is exp(-2 pi a / h) times the size of the integrand on the line Im z = a
(Trefethen & Weideman 2014, SIAM Review 56:385). A product of two means keeps its size there up to
a = strip / sd for the logit (pole at pi / sd) and the cloglog; for the probit it grows at most by
exp(a^2 (1/2 + sd^2)).

A function compiled in another module keeps what it compiled of `_row_kernels`: see there.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from popavg.posterior_tools._row_kernels import KINDS, means

__all__ = ["cluster_sums", "pair_covariances"]

type Floats = NDArray[np.float64]
type Indices = NDArray[np.intp]

_DIGITS = 36.0
_REACH = 9.0  # beyond, the Gaussian is below 1e-19
_LOGIT_STRIP, _CLOGLOG_STRIP = 0.9 * math.pi, 1.4
_PROBIT, _CLOGLOG = KINDS["probit", "bernoulli"], KINDS["cloglog", "bernoulli"]
_LOG, _IDENTITY = KINDS["log", "poisson"], KINDS["identity", "gaussian"]
_entry = njit(cache=True, nogil=True, error_model="numpy")
_compiled = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


@_compiled
def _grid(kind: int, eta: Floats, sd: float) -> tuple[int, float]:
    """Number of nodes and the step between them; one node where a closed form needs no more."""
    if sd == 0.0 or kind in (_LOG, _IDENTITY):
        return 1, 1.0
    if kind == _PROBIT:
        step = math.pi / math.sqrt(_DIGITS * (0.5 + sd * sd))
    else:
        strip = _CLOGLOG_STRIP if kind == _CLOGLOG else _LOGIT_STRIP
        height = min(strip / sd, math.sqrt(2.0 * _DIGITS))
        step = 2.0 * math.pi * height / (_DIGITS + 0.5 * height * height)
    tilt = 0.0  # where the largest product of two small means is
    for r in range(eta.size):
        tilt = max(tilt, min(2.0 * sd, abs(eta[r]) / sd))
    return 2 * math.ceil((_REACH + tilt) / step) + 1, step


@_compiled
def _deviations(
    kind: int, draw: tuple[Floats, Floats, Floats, float], nodes: tuple[int, float], table: Floats
) -> None:
    """Means less their averages, times the root of the node's weight; (rows, nodes).

    Of the lesser of mean and complement, so that both tails keep their digits.
    """
    eta, average, other, sd = draw
    size, step = nodes
    shifted, complement = np.empty(size), np.empty(size)
    for r in range(eta.size):
        row = table[r, :size]
        if kind == _LOG:
            row[0] = average[r] * math.sqrt(math.expm1(sd * sd))
            continue
        if kind == _IDENTITY or size == 1:
            row[0] = sd if kind == _IDENTITY else 0.0
            continue
        for k in range(size):
            shifted[k] = eta[r] + sd * step * (k - size // 2)
        means(kind, shifted, row, complement)
        for k in range(size):
            z = step * (k - size // 2)
            root = math.sqrt(step / math.sqrt(2.0 * math.pi)) * math.exp(-0.25 * z * z)
            low = average[r] < other[r]
            row[k] = root * (row[k] - average[r] if low else other[r] - complement[k])


@_compiled
def _product(a: Floats, b: Floats) -> float:
    """Sum of products in four interleaved sums, which the compiler makes one vector of."""
    whole = a.size - a.size % 4
    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
    for k in range(0, whole, 4):
        s0 += a[k] * b[k]
        s1 += a[k + 1] * b[k + 1]
        s2 += a[k + 2] * b[k + 2]
        s3 += a[k + 3] * b[k + 3]
    for k in range(whole, a.size):
        s0 += a[k] * b[k]
    return (s0 + s1) + (s2 + s3)


@_entry
def cluster_sums(
    kind: int,
    draws: tuple[Floats, Floats, Floats, Floats, Floats, Floats],
    clusters: tuple[Indices, Indices, Floats, Floats],
    out: tuple[Floats, Floats],
) -> None:
    """Sums over all pairs of a cluster's rows of f_j f_k [Cov(mu_j, mu_k) + gap_j gap_k].

    And each row's variance. ``draws`` are eta, the average means and their complements (draws,
    rows), sd (draws,), factors and gaps (draws, rows), f = weight times factor;
    ``clusters`` starts, members, their weights and how many equal clusters there are. By squares
    of sums: the cost is that of the rows, not of the pairs.
    """
    starts, members, weights, counts = clusters
    sums, variances = out
    for s in range(sums.size):
        eta, sd, factors, gap = draws[0][s], draws[3][s], draws[4][s], draws[5][s]
        nodes = _grid(kind, eta, sd)
        table = np.empty((eta.size, nodes[0] + 1))
        _deviations(kind, (eta, draws[1][s], draws[2][s], sd), nodes, table)
        for r in range(eta.size):
            table[r, nodes[0]] = 0.0
            variances[s, r] = _product(table[r], table[r])
            table[r, nodes[0]] = gap[r]
        total, cluster = 0.0, np.empty(nodes[0] + 1)
        for i in range(counts.size):
            for k in range(cluster.size):
                cluster[k] = 0.0
            own = 0.0
            for j in range(starts[i], starts[i + 1]):
                r = members[j]
                factor = weights[j] * factors[r]
                own += factor * factor * (variances[s, r] + gap[r] * gap[r])
                for k in range(cluster.size):
                    cluster[k] += factor * table[r, k]
            total += 0.5 * counts[i] * (_product(cluster, cluster) - own)
        sums[s] = total


@_entry
def pair_covariances(
    kind: int,
    draws: tuple[Floats, Floats, Floats, Floats],
    pairs: tuple[Indices, Indices],
    out: tuple[Floats, Floats],
) -> None:
    """Cov(mu_j, mu_k) of pairs of rows (draws, pairs), and each row's variance (draws, rows).

    ``draws`` as those of `cluster_sums`.
    """
    covariances, variances = out
    for s in range(covariances.shape[0]):
        eta, sd = draws[0][s], draws[3][s]
        nodes = _grid(kind, eta, sd)
        table = np.empty((eta.size, nodes[0]))
        _deviations(kind, (eta, draws[1][s], draws[2][s], sd), nodes, table)
        for r in range(eta.size):
            variances[s, r] = _product(table[r], table[r])
        for i in range(covariances.shape[1]):
            covariances[s, i] = _product(table[pairs[0][i]], table[pairs[1][i]])
