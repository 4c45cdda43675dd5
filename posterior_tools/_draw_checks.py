"""What a fit's posterior must hold, checked where it is read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.errors import DataError
from popavg.specification import GroupSpecification, Specification

__all__ = ["check_correlations", "check_posterior", "flat_draws", "in_order"]

Floats = NDArray[np.float64]

_NAMES = "give the draws the names that popavg uses: beta, sd_<group>, corr_<group>, u_<group>"


def check_posterior(data: xr.Dataset, specification: Specification) -> None:
    """Everything that the specification asks for is there and finite.

    Raises
    ------
    DataError
        A parameter is missing, lacks chains and draws, or has draws that are NaN or infinite.
    """
    needed = ["beta", *(name for group in specification.groups for name in _needed(group))]
    absent = [name for name in needed if name not in data]
    if absent:
        raise DataError(f"the posterior has no {listing(absent)}", listing(data.data_vars), _NAMES)
    optional = [f"{kind}_{name}" for name in specification.group_names for kind in ("corr", "u")]
    for name in dict.fromkeys([*needed, *(name for name in optional if name in data)]):
        _check_draws(data[name])


def in_order(array: xr.DataArray, dim: str, labels: tuple[str, ...]) -> xr.DataArray:
    """The array with ``labels`` along ``dim``, in this order.

    Raises
    ------
    DataError
        The dim is missing, or its coordinate doesn't hold these labels.
    """
    known = array.indexes.get(dim)
    found = pd.Index([]) if known is None else pd.Index([str(label) for label in known])
    if found.has_duplicates or set(found) != set(labels):
        raise DataError(
            f"{str(array.name)!r} has {listing(found) or 'no labels'} along {dim!r}",
            listing(labels),
            "label the draws as the formula names them",
        )
    return array.isel({dim: found.get_indexer(pd.Index(labels))})


def flat_draws(array: xr.DataArray) -> Floats:
    """Draws of all chains on the first axis, in C order of (chain, draw)."""
    ordered = array.transpose("chain", "draw", ...).to_numpy().astype(np.float64)
    return ordered.reshape(-1, *ordered.shape[2:])


def check_correlations(name: str, stored: xr.DataArray, correlation: Floats) -> None:
    """Matrices are symmetric, with unit diagonal, positive semi-definite to stored precision.

    Raises
    ------
    DataError
        Some aren't; the message says how many.
    """
    size = correlation.shape[-1]
    stored_as = stored.dtype if stored.dtype.kind == "f" else np.dtype(np.float64)
    rounding = 16 * size * float(np.finfo(stored_as).eps)
    unit = np.abs(np.einsum("sqq->sq", correlation) - 1.0).max(axis=-1) <= rounding
    symmetric = np.abs(correlation - correlation.mT).max(axis=(1, 2)) <= rounding
    definite = np.linalg.eigvalsh(correlation)[:, 0] >= -rounding
    bad = int((~(unit & symmetric & definite)).sum())
    if bad:
        raise DataError(
            f"{bad} of {len(correlation)} draws of {name!r} aren't correlation matrices",
            "symmetric, positive semi-definite, with ones on the diagonal",
            "check how these draws were put together",
        )


def _needed(group: GroupSpecification) -> list[str]:
    correlated = any(len(block) > 1 for block in group.blocks)
    return [f"sd_{group.name}", *([f"corr_{group.name}"] if correlated else [])]


def _check_draws(array: xr.DataArray) -> None:
    if not {"chain", "draw"} <= set(array.dims) or not array.size:
        raise DataError(
            f"{str(array.name)!r} has the dims {listing(array.dims)} "
            f"of sizes {tuple(array.sizes.values())}",
            "chain, draw and its own, with at least one draw",
        )
    finite = np.isfinite(flat_draws(array))
    bad = int((~finite.all(axis=tuple(range(1, finite.ndim)))).sum())
    if bad:
        raise DataError(
            f"{bad} of {len(finite)} draws of {str(array.name)!r} are NaN or infinite",
            "finite draws",
            "remove unfinished draws before summarising",
        )
