"""A fit's posterior as arrays: coefficients, covariances of the random effects, the effects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.design import Design, DesignMatrices, family_of
from popavg.errors import DataError, EstimandError, SpecificationError, StorageError
from popavg.families import Family
from popavg.links import Link, get_link
from popavg.posterior_tools._draw_checks import (
    check_correlations,
    check_posterior,
    flat_draws,
    in_order,
)
from popavg.posterior_tools.tree import read_training_frame
from popavg.specification import ATTRIBUTE, Specification

__all__ = ["Posterior", "read_specification"]

#: Largest temporary array, in numbers.
BLOCK = 4_000_000

_GROUPS = ("posterior", "constant_data", "training_data")


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

        Parameters
        ----------
        fit : xarray.DataTree
            With the groups ``posterior``, ``constant_data`` and ``training_data``.

        Raises
        ------
        SpecificationError
            Not a fit made by popavg.
        DataError
            Parameters that are missing, or whose draws are NaN or infinite, negative (standard
            deviations) or impossible (correlations).
        StorageError
            The design rebuilt from the training frame isn't the one the fit was made with.
        """
        specification = read_specification(fit)
        absent = [name for name in _GROUPS if name not in fit.children]
        if absent:
            raise SpecificationError(
                f"the fit has no group {listing(absent)}", listing(_GROUPS), "pass a whole fit"
            )
        frame = read_training_frame(fit, specification)
        family = family_of(specification.formula, get_link(specification.link))
        design = Design.build(
            specification.formula, frame, family=family, extra=tuple(frame.columns)
        )
        design = replace(design, missing=specification.missing)
        _check_same_design(fit, design)
        data = fit["posterior"].to_dataset()
        check_posterior(data, specification)
        return cls(specification, design, data)

    @property
    def link(self) -> Link:
        """The model's link."""
        return get_link(self.specification.link)

    @property
    def family(self) -> Family:
        """The response's distribution."""
        return family_of(self.design.formula, self.link)

    @property
    def n_draws(self) -> int:
        """Draws over all chains."""
        return self.data.sizes["chain"] * self.data.sizes["draw"]

    @cached_property
    def beta(self) -> NDArray[np.float64]:
        """Conditional coefficients, shape (draws, terms), in the design's order."""
        return flat_draws(in_order(self.data["beta"], "term", self.design.matrices.terms))

    def standard_deviations(self, group: str) -> NDArray[np.float64]:
        """Standard deviations of a factor's effects, shape (draws, effects).

        Raises
        ------
        DataError
            Some are negative.
        """
        name, effects = f"sd_{group}", self._effect_names(group)
        sd = flat_draws(in_order(self.data[name], f"effect_{group}", effects))
        negative = int((sd < 0).any(axis=1).sum())
        if negative:
            raise DataError(
                f"{negative} of {len(sd)} draws of {name!r} are negative",
                "standard deviations from 0",
                "check whether these are logarithms or variances",
            )
        return sd

    def covariance_root(self, group: str) -> NDArray[np.float64]:
        """Roots R of a factor's covariance matrices, Σ = RR', shape (draws, effects, effects).

        Raises
        ------
        DataError
            A standard deviation is negative, or a draw of the correlations isn't a correlation
            matrix.

        Notes
        -----
        By the correlations' eigenvectors, which exist also where Σ is singular. Eigenvalues
        below zero by no more than the rounding of the stored numbers are those of a singular
        matrix and count as zero; what is further below is refused.
        """
        sd, name = self.standard_deviations(group), f"corr_{group}"
        if name not in self.data:
            return sd[:, :, None] * np.eye(sd.shape[1])
        effects = self._effect_names(group)
        ordered = in_order(self.data[name], f"effect_{group}", effects)
        ordered = in_order(ordered, f"effect_{group}_other", effects)
        correlation = flat_draws(ordered.transpose(..., f"effect_{group}", f"effect_{group}_other"))
        check_correlations(name, ordered, correlation)
        eigenvalues, vectors = np.linalg.eigh(correlation)
        scale = np.sqrt(np.where(eigenvalues > 0.0, eigenvalues, 0.0))
        return sd[:, :, None] * vectors * scale[:, None, :]

    def covariance(self, group: str) -> NDArray[np.float64]:
        """Covariance matrices of a factor's effects, shape (draws, effects, effects).

        Raises
        ------
        DataError
            As :meth:`covariance_root`.
        """
        root = self._roots[group]
        return root @ root.mT

    def effects(self, group: str) -> NDArray[np.float64]:
        """The clusters' own effects, shape (draws, clusters, effects), in the design's order.

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
        names = self.specification.group_names
        levels = self.design.matrices.groups[names.index(group)].levels
        ordered = in_order(self.data[f"u_{group}"], group, levels)
        ordered = in_order(ordered, f"effect_{group}", self._effect_names(group))
        return flat_draws(ordered.transpose(..., group, f"effect_{group}"))

    def predictor(self, matrices: DesignMatrices, rows: slice) -> NDArray[np.float64]:
        """Linear predictor with the random effects at zero, shape (draws in ``rows``, rows)."""
        return self.beta[rows] @ matrices.X.T + matrices.offset

    def variance(self, matrices: DesignMatrices, rows: slice) -> NDArray[np.float64]:
        """Variance v = z'Σz over all factors, shape (draws in ``rows``, rows or 1).

        One column where v is the same for all rows (random intercepts only). A sum of squares,
        ‖R'z‖², so that it can't be negative.
        """
        total: NDArray[np.float64] = np.zeros((len(self.beta[rows]), 1))
        for group in matrices.groups:
            constant = len(group.Z) > 0 and bool(np.equal(group.Z, group.Z[:1]).all())
            z = group.Z[:1] if constant else group.Z
            for column in np.moveaxis(self._roots[group.name][rows], 2, 0):
                total = total + (column @ z.T) ** 2
        return total

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
    def _roots(self) -> dict[str, NDArray[np.float64]]:
        return {name: self.covariance_root(name) for name in self.specification.group_names}

    def _effect_names(self, group: str) -> tuple[str, ...]:
        return self.specification.groups[self.specification.group_names.index(group)].effects


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


def _check_same_design(fit: xr.DataTree, design: Design) -> None:
    stored, matrices = fit["constant_data"].to_dataset(), design.matrices
    rebuilt: dict[str, NDArray[Any]] = {"X": matrices.X, "offset": matrices.offset}
    for group in matrices.groups:
        rebuilt |= {f"Z_{group.name}": group.Z, f"index_{group.name}": group.index}
    same = tuple(str(term) for term in stored["term"].to_numpy()) == matrices.terms
    if not same or not all(_close(stored, name, values) for name, values in rebuilt.items()):
        raise StorageError(
            "the design rebuilt from the fit's data isn't the one that it was made with",
            "a fit whose data were left unchanged",
            "fit again with this version of popavg and formulae",
        )


def _close(stored: xr.Dataset, name: str, values: NDArray[Any]) -> bool:
    if name not in stored or stored[name].shape != values.shape:
        return False
    before = stored[name].to_numpy()
    return np.allclose(before, values, rtol=1e-9, atol=1e-9 * (np.abs(before).max() + 1.0))
