"""Which rows belong to one cluster, in the fit's own rows and in new ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.errors import DataError
from popavg.grouping import outermost
from popavg.posterior_tools.draws import Posterior

__all__ = ["UNKNOWN", "check_known", "cluster_codes", "cluster_name"]

#: Entry of a fit's ``sampler`` that names the factors whose clusters nobody told.
UNKNOWN = "clusters_unknown"


def cluster_name(posterior: Posterior) -> str:
    """The grouping factor whose levels are *the* clusters: all others are nested in it.

    Raises
    ------
    SpecificationError
        There is none.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.clusters import cluster_name
    >>> from popavg.posterior_tools.draws import Posterior
    >>> cluster_name(Posterior.from_fit(pa.load_example()))
    'patient'
    """
    return outermost(posterior.design.matrices.groups)


def check_known(posterior: Posterior, name: str, *, remedy: str) -> None:
    """Whether the fit was told which of its rows share a cluster.

    Parameters
    ----------
    posterior : Posterior
        The fit.
    name : str
        A grouping factor.
    remedy : str
        What to do where it wasn't.

    Raises
    ------
    DataError
        The fit was made from arrays without ``groups``, so that each row stands for itself.
    """
    if name in posterior.specification.sampler.get(UNKNOWN, ()):
        raise DataError(
            f"which rows share a cluster of {name!r} isn't known: the fit was made from arrays "
            "without groups",
            "a fit that was told its clusters",
            f"say pa.from_arrays(…, groups=…), or {remedy}",
        )


def cluster_codes(
    posterior: Posterior, frame: pd.DataFrame, *, groups: str | None = None, remedy: str
) -> NDArray[np.intp]:
    """A whole number for each row, the same for rows of one cluster.

    Parameters
    ----------
    posterior : Posterior
        The fit.
    frame : pandas.DataFrame
        Rows with the columns that name the clusters; they need not be those of the fit.
    groups : str, optional
        A grouping factor or a column; by default the factor in which all others are nested.
    remedy : str
        What to do where the rows have no clusters.

    Returns
    -------
    numpy.ndarray of int, shape (rows,)

    Raises
    ------
    DataError
        The rows lack the clusters' columns, or some of them are missing values.
    SpecificationError
        No ``groups`` and no factor in which all others are nested.
    """
    factors = posterior.specification.group_names
    name = cluster_name(posterior) if groups is None else groups
    columns: tuple[str, ...] = (name,)
    if name in factors:
        columns = posterior.design.groupings[factors.index(name)].factor
    absent = [column for column in columns if column not in frame.columns]
    if absent or frame[list(columns)].isna().any(axis=None):
        raise DataError(
            f"the clusters {name!r} aren't in the rows"
            + ("" if absent else ": some are missing values"),
            listing(frame.columns),
            f"add the column {listing(absent or columns)}, or {remedy}",
        )
    grouped = frame.groupby(list(columns), sort=False, observed=True)
    return grouped.ngroup().to_numpy(dtype=np.intp)
