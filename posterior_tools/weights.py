"""How much each row counts in an average."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from popavg._checks import listing
from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools.clusters import cluster_codes
from popavg.posterior_tools.draws import Posterior

__all__ = ["CLUSTER", "row_weights"]

#: The weights under which every cluster counts once.
CLUSTER = "cluster"


def row_weights(
    posterior: Posterior, frame: pd.DataFrame, weights: str | ArrayLike | None
) -> NDArray[np.float64]:
    """The weight of every row.

    Parameters
    ----------
    posterior : Posterior
        The fit.
    frame : pandas.DataFrame
        The rows.
    weights : str, array_like or None
        A column, numbers, or ``"cluster"``: one over the number of the cluster's rows, so that
        each cluster counts once, however many rows it has. None: every row counts once.

    Returns
    -------
    numpy.ndarray, shape (rows,)

    Raises
    ------
    DataError
        Weights that are missing, infinite, negative or all zero, or of another length.
    SpecificationError
        ``"cluster"`` where a column that isn't the clusters' has this name.

    Notes
    -----
    Weights by row give the average over individuals or visits, ``"cluster"`` that over clusters;
    they differ where a cluster's size has to do with its outcomes (Kahan et al. 2023,
    International Journal of Epidemiology 52:107).

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.draws import Posterior
    >>> from popavg.posterior_tools.weights import row_weights
    >>> posterior = Posterior.from_fit(pa.load_example())
    >>> round(float(row_weights(posterior, posterior.design.frame, "cluster").sum()))
    294
    """
    if weights is None:
        return np.ones(len(frame))
    if isinstance(weights, str):
        if weights == CLUSTER:
            return _per_cluster(posterior, frame)
        if weights not in frame.columns:
            raise DataError(
                f"the weights {weights!r} aren't a column of the rows",
                f"{listing(frame.columns)}, or 'cluster'",
                f"fit with keep=[{weights!r}], or give the weights as numbers",
            )
        return _checked(frame[weights], len(frame), f"the weights {weights!r}")
    return _checked(weights, len(frame), "the weights")


def _per_cluster(posterior: Posterior, frame: pd.DataFrame) -> NDArray[np.float64]:
    own = {name for grouping in posterior.design.groupings for name in grouping.factor}
    if CLUSTER in frame.columns and CLUSTER not in own:
        raise SpecificationError(
            "weights='cluster' is ambiguous: the rows have a column of this name",
            "a column's name, numbers, or 'cluster' where no other column is called so",
            "rename the column, or pass its numbers",
        )
    codes = cluster_codes(posterior, frame, remedy="give the weights as numbers")
    return 1.0 / np.bincount(codes)[codes]


def _checked(weights: ArrayLike, n_rows: int, name: str) -> NDArray[np.float64]:
    try:
        values = np.asarray(weights, dtype=float)
    except (TypeError, ValueError):
        raise DataError(f"{name} aren't numbers", f"{n_rows} numbers from 0") from None
    if values.shape != (n_rows,):
        raise DataError(f"{name} have the shape {values.shape}", f"one for each of {n_rows} rows")
    unusable = int((~np.isfinite(values) | (values < 0)).sum())
    if unusable:
        raise DataError(
            f"{unusable} of {name} are negative, NaN or infinite", "finite numbers from 0"
        )
    if not values.any():
        raise DataError(f"{name} are all 0", "finite numbers from 0, not all zero")
    return values
