"""What a fit's posterior must hold, checked where it is read."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.errors import DataError, StorageError
from popavg.specification import GroupSpecification, Specification

__all__ = [
    "Place",
    "check_correlations",
    "check_dims",
    "check_finite_draws",
    "check_posterior",
    "check_store",
    "check_values",
    "covariance_root",
    "flat_draws",
    "in_order",
    "store_of",
]

Floats = NDArray[np.float64]

_NAMES = "give the draws the names that popavg uses: beta, sd_<group>, corr_<group>, u_<group>"


@dataclass(frozen=True)
class Place:
    """Where a run of flat draws stands among the chains.

    Attributes
    ----------
    draws : int
        Draws of a chain in the run.
    chain, draw : int
        Where the run begins.
    whole : bool
        Whether these are all draws of the posterior.
    """

    draws: int
    chain: int = 0
    draw: int = 0
    whole: bool = True

    def name(self, flat: int) -> str:
        """The chain and draw of a position in the run, counted from 0."""
        chain, draw = divmod(flat, self.draws)
        return f"chain {self.chain + chain}, draw {self.draw + draw}"

    @property
    def scope(self) -> str:
        """What the run is, where it isn't all."""
        if self.whole:
            return ""
        return f" in the block that begins at chain {self.chain}, draw {self.draw},"


def check_posterior(data: xr.Dataset, specification: Specification) -> None:
    """Everything that the specification asks for is there and finite.

    The clusters' own effects, which may be large, are checked where they are used.

    Raises
    ------
    DataError
        A parameter is missing, lacks chains and draws, or has draws that are NaN or infinite, or
        a residual standard deviation that isn't above 0.
    """
    needed = ["beta", *(name for group in specification.groups for name in _needed(group))]
    absent = [name for name in needed if name not in data]
    if absent:
        raise DataError(f"the posterior has no {listing(absent)}", listing(data.data_vars), _NAMES)
    names = specification.group_names
    optional = ["sigma", *(f"corr_{name}" for name in names), *(f"u_{name}" for name in names)]
    for name in dict.fromkeys([*needed, *(name for name in optional if name in data)]):
        check_dims(data[name])
        if data[name].chunks is None and not name.startswith("u_"):
            check_values(data[name])


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
    """Draws of all chains on the first axis, in C order; a view where it can be."""
    ordered = array.transpose("chain", "draw", ...).to_numpy().astype(np.float64, copy=False)
    return ordered.reshape(-1, *ordered.shape[2:])


def check_values(array: xr.DataArray, *, store: str = "") -> Floats:
    """Flat draws, checked by what their name says they are.

    Raises
    ------
    DataError
        Some are NaN, infinite, negative (standard deviations) or not above 0 (``sigma``).
    StorageError
        They aren't finite since the store that they are read from is gone.
    """
    flat = flat_draws(array)
    check_finite_draws(array.name, flat, place=Place(array.sizes["draw"]), store=store)
    return flat


def store_of(fit: xr.DataTree) -> str:
    """Where draws that aren't in memory are read from; empty where they are, or unknown."""
    posterior = fit["posterior"]
    if all(array.chunks is None for array in posterior.data_vars.values()):
        return ""
    sources = (tree.encoding.get("source") for tree in (posterior, fit, fit.root))
    return str(next((source for source in sources if source is not None), ""))


def check_finite_draws(name: object, values: Floats, *, place: Place, store: str = "") -> None:
    """Draws, on the first axis, are finite; standard deviations not negative, sigma above 0.

    Parameters
    ----------
    name : object
        What they are draws of.
    values : numpy.ndarray, shape (draws, …)
        The draws.
    place : Place
        Where they stand among the chains.
    store : str
        Where they were read from, see :func:`store_of`: Zarr reads NaN for files that are gone.

    Raises
    ------
    DataError
        Some aren't; the message says how many and where the first is.
    StorageError
        They aren't finite and their store is gone.
    """
    flat = values.reshape(len(values), -1)
    finite = np.isfinite(flat).all(axis=1)
    if not finite.all():
        check_store(store)
        raise DataError(
            f"{(~finite).sum()} of {len(flat)} draws of {str(name)!r}{place.scope} are NaN or "
            f"infinite, first {place.name(int(np.argmin(finite)))}",
            "finite draws",
            "remove unfinished draws before summarising",
        )
    if str(name) == "sigma" or str(name).startswith("sd_"):
        low = (flat <= 0.0 if str(name) == "sigma" else flat < 0.0).any(axis=1)
        if low.any():
            what = "not above 0" if str(name) == "sigma" else "negative"
            raise DataError(
                f"{low.sum()} of {len(flat)} draws of {str(name)!r}{place.scope} are {what}, "
                f"first {place.name(int(np.argmax(low)))}",
                f"standard deviations {'above' if str(name) == 'sigma' else 'from'} 0",
                "check whether these are logarithms or variances",
            )


def check_store(store: str) -> None:
    """A store is where it was; ``""`` and addresses aren't looked at.

    Raises
    ------
    StorageError
        It is gone.
    """
    if store and "://" not in store and not os.path.exists(store):
        raise StorageError(
            f"the store {store!r}, from which the draws are read when they are needed, is gone",
            "a store that stays where it is while its fit is used",
            "put it back, or load the fit from where it is now",
        )


def covariance_root(
    sd: Floats,
    correlation: Floats | None,
    *,
    name: str,
    place: Place,
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
    check_correlations(name, dtype, correlation, place=place)
    eigenvalues, vectors = np.linalg.eigh(correlation)
    scale = np.sqrt(np.where(eigenvalues > 0.0, eigenvalues, 0.0))
    return sd[:, :, None] * vectors * scale[:, None, :]


def check_correlations(
    name: str, stored_as: np.dtype, correlation: Floats, *, place: Place | None = None
) -> None:
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
    good = unit & symmetric & definite
    if not good.all():
        place = place or Place(len(correlation))
        raise DataError(
            f"{(~good).sum()} of {len(correlation)} draws of {name!r}{place.scope} aren't "
            f"correlation matrices, first {place.name(int(np.argmin(good)))}",
            "symmetric, positive semi-definite, with ones on the diagonal",
            "check how these draws were put together",
        )


def _needed(group: GroupSpecification) -> list[str]:
    correlated = any(len(block) > 1 for block in group.blocks)
    return [f"sd_{group.name}", *([f"corr_{group.name}"] if correlated else [])]


def check_dims(array: xr.DataArray) -> None:
    """The array has chains and draws, at least one of them, and numbers.

    Raises
    ------
    DataError
        It hasn't.
    """
    if not {"chain", "draw"} <= set(array.dims) or not array.size:
        raise DataError(
            f"{str(array.name)!r} has the dims {listing(array.dims)} "
            f"of sizes {tuple(array.sizes.values())}",
            "chain, draw and its own, with at least one draw",
            "rename the dims, or add the one of a single chain: posterior.expand_dims(chain=[0])",
        )
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"the draws of {str(array.name)!r} are of type {array.dtype}",
            "real numbers",
            f"convert them: posterior[{str(array.name)!r}].astype(float)",
        )
