"""The clusters and times of a GEE's rows, checked."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from popavg.errors import DataError, SpecificationError

__all__ = ["check_time", "cluster_codes"]

Floats = NDArray[np.float64]


def cluster_codes(groups: ArrayLike, name: str) -> NDArray[np.intp]:
    codes = np.asarray(pd.Categorical(np.asarray(groups)).codes, dtype=np.intp)
    n_clusters = len(np.unique(codes))
    if (codes < 0).any():
        raise DataError(f"the clusters' column {name!r} has missing values", "a label in each row")
    if n_clusters < 2:
        raise DataError(
            f"there is one cluster in {name!r}",
            "at least two clusters: robust standard errors compare clusters",
            "name the column of the clusters with groups=",
        )
    if n_clusters == len(codes):
        raise DataError(
            f"every row is a cluster of its own in {name!r}",
            "clusters with several rows",
            "name the column of the clusters with groups=, or fit a GLM",
        )
    return codes


def check_time(
    time: Floats | None, codes: NDArray[np.intp], groups: ArrayLike, name: str
) -> Floats:
    if time is None:
        raise SpecificationError(
            "working_correlation='ar1' without a time",
            "the column that orders the rows of a cluster",
            "name the column of the times with time=",
        )
    twice = pd.DataFrame({"cluster": codes, "time": time}).duplicated().to_numpy()
    if twice.any():
        row = int(np.argmax(twice))
        raise DataError(
            f"the cluster {str(np.asarray(groups)[row])!r} of {name!r} has two rows at time"
            f" {time[row]:g} ({int(twice.sum())} such rows in all)",
            "one row for each cluster and time",
            "name a time that tells the rows of a cluster apart, or use"
            " working_correlation='exchangeable'",
        )
    return time
