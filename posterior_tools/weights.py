"""How much each row counts in an average."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from popavg._checks import listing
from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools._numbers import as_floats
from popavg.posterior_tools.clusters import check_known, cluster_codes, cluster_name
from popavg.posterior_tools.draws import Posterior

__all__ = ["CLUSTER", "row_weights"]

#: The weights under which every cluster counts once.
CLUSTER = "cluster"


#: What to do where the rows don't say which clusters they are of.
_REMEDY = "give the weights as numbers"
_ALLOWED = "finite numbers from 0"


def row_weights(
    posterior: Posterior,
    frame: pd.DataFrame,
    weights: str | ArrayLike | None,
    *,
    cells: NDArray[np.intp] | None = None,
    index: pd.Index | None = None,
    groups: str | None = None,
) -> NDArray[np.float64]:
    """The weight of every row.

    Parameters
    ----------
    posterior : Posterior
        The fit.
    frame : pandas.DataFrame
        The rows.
    weights : str, array_like or None
        A column; numbers in the order of the rows, a Series with their index; or ``"cluster"``:
        one over the number of the cluster's rows in the row's cell, so that each cluster counts
        once in every average, however many rows it has there. None: every row counts once.
    cells : numpy.ndarray of int, shape (rows,), optional
        The average that each row goes into; by default all rows are averaged together.
    index : pandas.Index, optional
        What a Series must have as its index, by default the frame's own: the rows' index before
        they were numbered anew.
    groups : str, optional
        The factor whose clusters ``"cluster"`` speaks of; by default the one in which all others
        are nested.

    Returns
    -------
    numpy.ndarray, shape (rows,)

    Raises
    ------
    DataError
        Weights that are missing, infinite, negative or all zero, of another length, or a Series
        with another index; ``"cluster"`` of a fit that doesn't know its clusters.
    SpecificationError
        ``"cluster"`` where a column that isn't the clusters' has this name, or where no factor
        holds all others.

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
            return _per_cluster(posterior, frame, cells, groups)
        if weights not in frame.columns:
            raise DataError(
                f"the weights {weights!r} aren't a column of the rows",
                f"{listing(frame.columns)}, or 'cluster'",
                f"fit with keep=[{weights!r}], or give the weights as numbers",
            )
        return _checked(frame[weights], len(frame), f"the weights {weights!r}")
    found = _checked(weights, len(frame), "the weights")
    if isinstance(weights, pd.Series):
        _check_index(weights.index, frame.index if index is None else index)
    return found


def _per_cluster(
    posterior: Posterior,
    frame: pd.DataFrame,
    cells: NDArray[np.intp] | None,
    groups: str | None,
) -> NDArray[np.float64]:
    own = {name for grouping in posterior.design.groupings for name in grouping.factor}
    if CLUSTER in frame.columns and CLUSTER not in own:
        raise SpecificationError(
            "weights='cluster' is ambiguous: the rows have a column of this name",
            "a column's name, numbers, or 'cluster' where no other column is called so",
            "rename the column, or pass its numbers",
        )
    name = _outer(posterior) if groups is None else groups
    check_known(posterior, name, remedy=_REMEDY)
    codes = cluster_codes(posterior, frame, groups=name, remedy=_REMEDY)
    if cells is not None:
        _, codes = np.unique(np.column_stack([codes, cells]), axis=0, return_inverse=True)
    return 1.0 / np.bincount(codes)[codes]


def _outer(posterior: Posterior) -> str:
    try:
        return cluster_name(posterior)
    except SpecificationError as error:
        names = posterior.specification.group_names
        first = names[0] if names else "g"
        raise SpecificationError(
            f"weights='cluster' of a model with the grouping factors {listing(names) or 'none'}",
            "a model with a factor in which all others are nested",
            "give the weights as numbers: "
            f"(1 / data.groupby({first!r})[{first!r}].transform('size')).to_numpy()",
        ) from error


def _check_index(given: pd.Index, rows: pd.Index) -> None:
    if not given.equals(rows):
        raise DataError(
            "the weights are a Series whose index isn't that of the rows",
            f"the index of newdata, or of the fit's own rows (0 to {len(rows) - 1}), in its order; "
            "an array or a list, which is taken row by row",
            "make them a column of newdata and name it, or pass weights.to_numpy() where their "
            "order is that of the rows",
        )


def _checked(weights: ArrayLike, n_rows: int, name: str) -> NDArray[np.float64]:
    if isinstance(weights, pd.Series) and pd.api.types.is_numeric_dtype(weights.dtype):
        weights = weights.to_numpy(dtype=float, na_value=np.nan)
    values = as_floats(weights, name)
    if values.shape != (n_rows,):
        raise DataError(
            f"{name} have the shape {values.shape}",
            f"one for each of {n_rows} rows",
            "give as many as there are rows, in their order, or name a column",
        )
    kinds = {
        "negative": values < 0.0,
        "NaN": np.isnan(values),
        "infinite": np.isposinf(values),
    }
    found = [_where(kind, bad) for kind, bad in kinds.items() if bad.any()]
    if found:
        raise DataError(
            f"{name} are {', '.join(found)} (counted from 0)",
            _ALLOWED,
            "set the weight of rows that shall not count to 0, or leave these rows out",
        )
    if not values.any():
        raise DataError(
            f"{name} are all 0", f"{_ALLOWED}, not all zero", "give some row a weight above 0"
        )
    return values


def _where(kind: str, bad: NDArray[np.bool_]) -> str:
    """``negative in 2 rows, the first is row 7``."""
    first = int(np.argmax(bad))
    n = int(bad.sum())
    return f"{kind} in {n:,} rows, first in row {first}" if n > 1 else f"{kind} in row {first}"
