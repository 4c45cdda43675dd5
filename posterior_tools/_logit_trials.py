"""The logit's trials one by one: what integrals along lines need of the outcomes, for all draws."""

# ruff: noqa: PLR0917  (numba has no keyword-only arguments)

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from popavg.posterior_tools._integrated_math import exp
from popavg.posterior_tools._logit_tables import LADDER

__all__ = ["LARGEST", "Trials", "fill_odds", "lay_out", "no_trials"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

LARGEST = 690.0
"""Largest predictor whose exponential is taken."""

_FEW = 8  # trials of an entry up to which a factor is repeated
_TOGETHER = 8


class Trials(NamedTuple):
    """Trials of cluster i, starts[i] : starts[i + 1], padded to eights.

    Per trial: 1 or, where it only pads, 0; the entry's successes at its first trial; its entry (of
    the same cluster where it pads: clusters are shared among threads) and distinct row. Per
    cluster: rung of the ladder (its length: too many trials for these rules), trials, successes.
    Per rung: the most trials of a cluster and one, 0 without clusters.
    """

    starts: Ints
    counts: Floats
    successes: Floats
    entry: Ints
    row: Ints
    rung: Ints
    size: Ints
    total: Ints
    used: Ints


def no_trials() -> Trials:
    """Of outcomes that these rules aren't for."""
    none, numbers = np.zeros(0, np.int64), np.zeros(0)
    return Trials(none, numbers, numbers, none, none, none, none, none, none)


def lay_out(starts: Ints, row: Ints, y: Floats, n: Floats) -> Trials:
    """Trials of clusters whose entries are starts[i] : starts[i + 1]; none where they are too many.

    ``row``, ``y`` and ``n`` are the entries' distinct rows, successes and trials.
    """
    cluster = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    size = np.bincount(cluster, weights=n, minlength=len(starts) - 1)
    rung = np.searchsorted(LADDER, size, side="left").astype(np.int64)
    rung[cluster[n > _FEW]] = len(LADDER)
    usable = rung < len(LADDER)
    size = np.where(usable, size, 0).astype(np.int64)
    total = np.bincount(cluster, weights=y, minlength=len(size))
    entry = np.repeat(np.arange(len(n)), np.where(usable[cluster], n, 0).astype(np.int64))
    begins = np.concatenate([[0], np.cumsum(-(-size // _TOGETHER) * _TOGETHER)])
    place = np.arange(len(entry)) + np.repeat(begins[:-1] - np.cumsum(size) + size, size)
    counts, successes = np.zeros(begins[-1]), np.zeros(begins[-1])
    entry_of = np.repeat(starts[:-1], np.diff(begins)).astype(np.int64)
    row_of = np.zeros(begins[-1], np.int64)
    counts[place], entry_of[place], row_of[place] = 1.0, entry, row[entry]
    new = np.diff(entry, prepend=-1) > 0
    successes[place[new]] = y[entry[new]]
    used = np.zeros(len(LADDER), np.int64)
    np.maximum.at(used, rung[usable], size[usable] + 1)
    total = np.where(usable, total, 0).astype(np.int64)
    return Trials(begins, counts, successes, entry_of, row_of, rung, size, total, used)


@njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def fill_odds(counts: Floats, row: Ints, eta: Floats, v: Floats, e: Floats) -> None:
    """The trials' predictors and odds at a draw, 0 for those that only pad."""
    for k in range(v.size):
        v[k] = counts[k] * eta[row[k]]
    for k in range(v.size):
        e[k] = counts[k] * exp(min(v[k], LARGEST))
