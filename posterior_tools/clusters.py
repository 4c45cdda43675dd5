"""Which rows belong to one cluster, in the fit's own rows and in new ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.errors import DataError
from popavg.grouping import outermost
from popavg.posterior_tools.draws import Posterior

__all__ = ["cluster_codes"]


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
    name = outermost(posterior.design.matrices.groups) if groups is None else groups
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
