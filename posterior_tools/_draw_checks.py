"""What a fit's posterior must hold, checked where it is read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.errors import DataError
from popavg.specification import GroupSpecification, Specification

__all__ = [
    "check_correlations",
    "check_finite_draws",
    "check_posterior",
    "covariance_root",
    "flat_draws",
    "in_order",
]

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
    places = found.get_indexer(pd.Index(labels))
    if np.array_equal(places, np.arange(len(places))):
        return array
    return array.isel({dim: places})


def flat_draws(array: xr.DataArray) -> Floats:
    """Draws of all chains on the first axis, in C order of (chain, draw)."""
    ordered = array.transpose("chain", "draw", ...).to_numpy().astype(np.float64)
    return ordered.reshape(-1, *ordered.shape[2:])


def check_finite_draws(name: object, values: Floats, *, minimum: float | None = None) -> None:
    """Draws, on the first axis, are finite and not below a minimum.

    Raises
    ------
    DataError
        Some aren't; the message says how many and which is the first.
    """
    flat = values.reshape(len(values), -1)
    finite = np.isfinite(flat).all(axis=1)
    if not finite.all():
        raise DataError(
            f"{(~finite).sum()} of {len(flat)} draws of {str(name)!r} are NaN or infinite, "
            f"first draw {int(np.argmin(finite))}",
            "finite draws",
            "remove unfinished draws before summarising",
        )
    low = np.zeros(len(flat), dtype=bool) if minimum is None else (flat < minimum).any(axis=1)
    if low.any():
        raise DataError(
            f"{low.sum()} of {len(flat)} draws of {str(name)!r} are negative",
            "standard deviations from 0",
            "check whether these are logarithms or variances",
        )


def covariance_root(
    sd: Floats,
    correlation: Floats | None,
    *,
    name: str,
    stored_as: np.dtype | None = None,
) -> Floats:
    """Roots R of covariance matrices, Σ = RR', shape (draws, effects, effects).

    Raises
    ------
    DataError
        A draw isn't a correlation matrix.

    Notes
    -----
    By the correlations' eigenvectors, which exist also where Σ is singular. Eigenvalues
    below zero by no more than the rounding of the stored numbers are those of a singular
    matrix and count as zero; what is further below is refused.
    """
    if correlation is None:
        return sd[:, :, None] * np.eye(sd.shape[1])
    dtype = correlation.dtype if stored_as is None else stored_as
    correlation = correlation.astype(np.float64)
    check_correlations(name, dtype, correlation)
    eigenvalues, vectors = np.linalg.eigh(correlation)
    scale = np.sqrt(np.where(eigenvalues > 0.0, eigenvalues, 0.0))
    return sd[:, :, None] * vectors * scale[:, None, :]


def check_correlations(name: str, stored_as: np.dtype, correlation: Floats) -> None:
    """Matrices are symmetric, with unit diagonal, positive semi-definite to stored precision.

    Raises
    ------
    DataError
        Some aren't; the message says how many.
    """
    size = correlation.shape[-1]
    precision = stored_as if stored_as.kind == "f" else np.dtype(np.float64)
    rounding = 16 * size * float(np.finfo(precision).eps)
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
    """Dims, and values unless they are lazy: those are checked where they are read."""
    if not {"chain", "draw"} <= set(array.dims) or not array.size:
        raise DataError(
            f"{str(array.name)!r} has the dims {listing(array.dims)} "
            f"of sizes {tuple(array.sizes.values())}",
            "chain, draw and its own, with at least one draw",
        )
    if array.chunks is None:
        check_finite_draws(array.name, flat_draws(array))
