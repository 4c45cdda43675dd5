"""A fit's posterior as arrays: coefficients, covariances of the random effects, the effects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.design import Design, DesignMatrices, family_of
from popavg.errors import DataError, EstimandError, SpecificationError, StorageError
from popavg.families import Family
from popavg.links import Link, get_link
from popavg.posterior_tools.tree import read_training_frame
from popavg.specification import ATTRIBUTE, Specification

__all__ = ["Posterior"]

#: Largest temporary array, in numbers.
BLOCK = 4_000_000


@dataclass(frozen=True)
class Posterior:
    """The draws of a fit and the design that they belong to.

    Attributes
    ----------
    specification : Specification
        What the fit is.
    design : Design
        Rebuilt from the fit's own training frame.
    data : xarray.Dataset
        The fit's ``posterior`` group.
    """

    specification: Specification
    design: Design
    data: xr.Dataset

    @classmethod
    def from_fit(cls, fit: xr.DataTree) -> Posterior:
        """Read a fit.

        Raises
        ------
        SpecificationError
            Not a fit made by popavg.
        DataError
            Draws that are NaN or infinite.
        StorageError
            The design rebuilt from the training frame isn't the one the fit was made with.
        """
        specification = read_specification(fit)
        frame = read_training_frame(fit, specification)
        link = get_link(specification.link)
        family = family_of(specification.formula, link)
        design = Design.build(specification.formula, frame, family=family)
        design = replace(design, missing=specification.missing)
        _check_same_design(fit, design)
        data = fit["posterior"].to_dataset()
        _check_finite(data, ["beta", *(f"sd_{name}" for name in specification.group_names)])
        return cls(specification, design, data)

    @property
    def link(self) -> Link:
        return get_link(self.specification.link)

    @property
    def family(self) -> Family:
        return family_of(self.design.formula, self.link)

    @property
    def n_draws(self) -> int:
        """Draws over all chains."""
        return self.data.sizes["chain"] * self.data.sizes["draw"]

    @cached_property
    def beta(self) -> NDArray[np.float64]:
        """Conditional coefficients, shape (draws, terms), in the design's order."""
        return self._flat(self.data["beta"].sel(term=list(self.design.matrices.terms)))

    def covariance(self, group: str) -> NDArray[np.float64]:
        """Covariance matrices of a factor's effects, shape (draws, effects, effects).

        Raises
        ------
        DataError
            A standard deviation is negative, or a matrix isn't positive semi-definite.
        """
        sd = self._flat(self.data[f"sd_{group}"])
        if (sd < 0).any():
            raise DataError(f"{int((sd < 0).sum())} draws of 'sd_{group}' are negative")
        if f"corr_{group}" not in self.data:
            return sd[:, :, None] ** 2 * np.eye(sd.shape[1])
        correlation = self._flat(self.data[f"corr_{group}"])
        covariance = sd[:, :, None] * correlation * sd[:, None, :]
        smallest = np.linalg.eigvalsh(correlation)[:, 0]
        if (smallest < -1e-8).any():
            raise DataError(
                f"{int((smallest < -1e-8).sum())} draws of 'corr_{group}' aren't positive "
                "semi-definite",
                remedy="check how these draws were put together",
            )
        return covariance

    def effects(self, group: str) -> NDArray[np.float64]:
        """The clusters' own effects, shape (draws, clusters, effects).

        Raises
        ------
        EstimandError
            The fit has none.
        """
        if f"u_{group}" not in self.data:
            raise EstimandError(
                f"the fit has no draws 'u_{group}' of the clusters' own effects",
                "the targets 'population' and 'typical'",
                "fit with the latent model to get them",
            )
        return self._flat(self.data[f"u_{group}"])

    def predictor(self, matrices: DesignMatrices, rows: slice) -> NDArray[np.float64]:
        """Linear predictor with the random effects at zero, shape (draws in ``rows``, rows)."""
        return self.beta[rows] @ matrices.X.T + matrices.offset

    def variance(self, matrices: DesignMatrices, rows: slice) -> NDArray[np.float64]:
        """v = z'Σz summed over the factors, shape (draws in ``rows``, rows or 1).

        One column where v is the same for all rows (random intercepts only).
        """
        total: NDArray[np.float64] = np.zeros((len(self.beta[rows]), 1))
        for group in matrices.groups:
            covariance = self._covariances[group.name][rows]
            if len(group.Z) and (group.Z == group.Z[0]).all():
                z = group.Z[:1]
            else:
                z = group.Z
            total = total + np.einsum("nq,sqr,nr->sn", z, covariance, z, optimize=True)
        return np.maximum(total, 0.0)

    def blocks(self, n_rows: int) -> Iterator[slice]:
        """Slices of draws, small enough that draws × rows stays below :data:`BLOCK`."""
        size = max(1, BLOCK // max(n_rows, 1))
        for start in range(0, self.n_draws, size):
            yield slice(start, min(start + size, self.n_draws))

    def labelled(
        self, values: NDArray[np.float64], dim: str, labels: list[str] | None, name: str
    ) -> xr.DataArray:
        """Values of shape (draws, estimands) with chain, draw and names."""
        chains, draws = self.data.sizes["chain"], self.data.sizes["draw"]
        coords = {"chain": self.data["chain"].to_numpy(), "draw": self.data["draw"].to_numpy()}
        if labels is not None:
            coords[dim] = np.asarray(labels, dtype=object).astype(str)
        shaped = values.reshape(chains, draws, values.shape[1])
        return xr.DataArray(shaped, dims=("chain", "draw", dim), coords=coords, name=name)

    @cached_property
    def _covariances(self) -> dict[str, NDArray[np.float64]]:
        return {name: self.covariance(name) for name in self.specification.group_names}

    def _flat(self, array: xr.DataArray) -> NDArray[np.float64]:
        ordered = array.transpose("chain", "draw", ...).to_numpy().astype(float)
        return ordered.reshape(-1, *ordered.shape[2:])


def read_specification(fit: xr.DataTree) -> Specification:
    """The specification in a fit.

    Raises
    ------
    SpecificationError
        It isn't a fit made by popavg.
    """
    if not isinstance(fit, xr.DataTree) or ATTRIBUTE not in fit.attrs:
        raise SpecificationError(
            f"this {type(fit).__name__} isn't a fit made by popavg",
            "the DataTree that pa.fit or pa.load returns",
            "pass the fit itself, not one of its groups or a table",
        )
    return Specification.from_json(fit.attrs[ATTRIBUTE])


def training_frame(fit: xr.DataTree) -> pd.DataFrame:
    """The rows that a fit was made from."""
    return read_training_frame(fit, read_specification(fit))


def _check_finite(data: xr.Dataset, names: list[str]) -> None:
    absent = [name for name in names if name not in data]
    if absent:
        raise DataError(
            f"the posterior has no {listing(absent)}",
            listing(list(data.data_vars)),
            "give the draws the names that popavg uses: beta, sd_<group>, corr_<group>",
        )
    for name in names:
        values = data[name].to_numpy()
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise DataError(
                f"{bad} draws of {name!r} are NaN or infinite",
                "finite draws",
                "remove unfinished draws before summarising",
            )


def _check_same_design(fit: xr.DataTree, design: Design) -> None:
    stored = fit["constant_data"]["X"].to_numpy()
    scale = np.abs(stored).max() + 1.0
    if stored.shape != design.matrices.X.shape or not np.allclose(
        stored, design.matrices.X, rtol=1e-9, atol=1e-9 * scale
    ):
        raise StorageError(
            "the design rebuilt from the fit's data isn't the one that it was made with",
            "a fit whose data were left unchanged",
            "fit again with this version of popavg and formulae",
        )
