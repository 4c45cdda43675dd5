"""A fit's posterior as arrays: coefficients, covariances of the random effects, the effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.bridge_logit import mixed_link
from popavg.design import Design, family_of
from popavg.errors import EstimandError, SpecificationError, StorageError
from popavg.families import Family
from popavg.formula import Formula
from popavg.links import Link, get_link
from popavg.mixing import NORMAL
from popavg.posterior_tools._draw_checks import (
    Place,
    check_finite_draws,
    check_posterior,
    check_values,
    covariance_root,
    flat_draws,
    in_order,
    store_of,
)
from popavg.posterior_tools.draw_block import DrawBlock
from popavg.posterior_tools.tree import read_training_frame
from popavg.specification import ATTRIBUTE, Specification

__all__ = ["Need", "Posterior", "assemble", "read_specification"]

#: Draws beside those of the parameters: the clusters' own effects, one new cluster's.
type Need = Literal["effects", "new"]

Floats = NDArray[np.float64]

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
        The fit's ``posterior`` group; on NumPy or, where it was opened so, lazily on dask.
    store : str
        Where lazy draws are read from; empty where they are in memory.
    """

    specification: Specification
    design: Design
    data: xr.Dataset
    store: str = ""

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
        formula = Formula.parse(specification.formula, one_sided=True)
        family = family_of(formula, get_link(specification.link))
        design = Design.build(formula, frame, family=family, extra=tuple(frame.columns))
        design = replace(design, missing=specification.missing)
        _check_same_design(fit, design)
        data = fit["posterior"].to_dataset()
        check_posterior(data, specification)
        return cls(specification, design, data, store_of(fit))

    @property
    def link(self) -> Link:
        """The model's link, which knows the distribution of the random effects."""
        return mixed_link(self.specification.link, self.specification.mixing)

    @property
    def family(self) -> Family:
        """The response's distribution."""
        return family_of(self.design.formula, self.link)

    @property
    def n_draws(self) -> int:
        """Draws over all chains."""
        return self.data.sizes["chain"] * self.data.sizes["draw"]

    @cached_property
    def beta(self) -> Floats:
        """Conditional coefficients, shape (draws, terms), in the design's order."""
        return check_values(self.arrays()["beta"], store=self.store)

    def standard_deviations(self, group: str) -> Floats:
        """Standard deviations of a factor's effects, shape (draws, effects).

        Raises
        ------
        DataError
            Some are negative.
        """
        return check_values(self.arrays()[f"sd_{group}"], store=self.store)

    def covariance_root(self, group: str) -> Floats:
        """Roots R of a factor's covariance matrices, Σ = RR', shape (draws, effects, effects).

        Raises
        ------
        DataError
            A standard deviation is negative, or a draw of the correlations isn't a correlation
            matrix.
        """
        arrays = self.arrays()
        correlation = arrays.get(f"corr_{group}")
        return covariance_root(
            self.standard_deviations(group),
            None if correlation is None else flat_draws(correlation),
            name=f"corr_{group}",
            place=Place(self.data.sizes["draw"]),
            stored_as=None if correlation is None else correlation.dtype,
        )

    def covariance(self, group: str) -> Floats:
        """Covariance matrices of a factor's effects, shape (draws, effects, effects).

        Raises
        ------
        DataError
            As :meth:`covariance_root`.
        """
        root = self._roots[group]
        return root @ root.mT

    def effects(self, group: str) -> Floats:
        """The clusters' own effects, shape (draws, clusters, effects), in the design's order.

        Raises
        ------
        EstimandError
            The fit has none.
        DataError
            Some are NaN or infinite.
        """
        return check_values(self._effect_draws(group), store=self.store)

    def arrays(self, needs: Sequence[Need] = ()) -> dict[str, xr.DataArray]:
        """The draws by name, dims (chain, draw, …), labels in the design's order; lazy if they are.

        Parameters
        ----------
        needs : sequence of {"effects", "new"}
            ``"effects"`` for the clusters' own effects too.

        Raises
        ------
        DataError
            Labels that aren't those of the design.
        EstimandError
            Effects that the fit hasn't.
        """
        found = {"beta": in_order(self.data["beta"], "term", self.design.matrices.terms)}
        for group in self.specification.groups:
            effect, name = f"effect_{group.name}", group.name
            found[f"sd_{name}"] = in_order(self.data[f"sd_{name}"], effect, group.effects)
            if f"corr_{name}" in self.data:
                rows = in_order(self.data[f"corr_{name}"], effect, group.effects)
                both = in_order(rows, f"{effect}_other", group.effects)
                found[f"corr_{name}"] = both.transpose(..., effect, f"{effect}_other")
            if "effects" in needs:
                found[f"u_{name}"] = self._effect_draws(name)
        return {name: array.transpose("chain", "draw", ...) for name, array in found.items()}

    def block(
        self,
        rows: slice = slice(None),
        *,
        needs: Sequence[Need] = (),
        seed: int | np.random.Generator = 0,
    ) -> DrawBlock:
        """Draws as plain arrays.

        Parameters
        ----------
        rows : slice
            Which draws, of all chains in order; all by default.
        needs : sequence of {"effects", "new"}
            What else: the clusters' own effects, those of one new cluster for each draw.
        seed : int or numpy.random.Generator
            Where the new cluster's effects come from.

        Raises
        ------
        DataError
            Draws that are impossible.
        EstimandError
            Effects that the fit hasn't.
        """
        names = self.specification.group_names
        effects = {name: self.effects(name)[rows] for name in names} if "effects" in needs else {}
        roots = {name: root[rows] for name, root in self._roots.items()}
        noise = self.noise(seed) if "new" in needs else {}
        new = {name: _new_effects(self.link, roots[name], z[rows]) for name, z in noise.items()}
        return DrawBlock(self.link, self.beta[rows], roots, effects, new)

    def noise(self, seed: int | np.random.Generator) -> dict[str, Floats]:
        """Standard normal numbers of one new cluster for each draw, shape (draws, effects)."""
        rng = np.random.default_rng(seed)
        return {
            group.name: rng.standard_normal((self.n_draws, len(group.effects)))
            for group in self.specification.groups
        }

    def labelled(
        self, values: Floats, dim: str, labels: list[str] | None, name: str
    ) -> xr.DataArray:
        """Values of shape (draws, estimands) with chain, draw and names."""
        chains, draws = self.data.sizes["chain"], self.data.sizes["draw"]
        coords = {"chain": self.data["chain"].to_numpy(), "draw": self.data["draw"].to_numpy()}
        if labels is not None:
            coords[dim] = np.asarray(labels, dtype=object).astype(str)
        shaped = values.reshape(chains, draws, values.shape[1])
        return xr.DataArray(shaped, dims=("chain", "draw", dim), coords=coords, name=name)

    @cached_property
    def _roots(self) -> dict[str, Floats]:
        return {name: self.covariance_root(name) for name in self.specification.group_names}

    def _effect_draws(self, group: str) -> xr.DataArray:
        if f"u_{group}" not in self.data:
            raise EstimandError(
                f"the fit has no draws 'u_{group}' of the clusters' own effects",
                "the targets 'population', 'typical' and 'new'",
                "draw them with pa.add_cluster_effects(fit), or for several grouping factors fit "
                "the latent model; of draws made elsewhere name them (u_<group>, brms' r_<group>)",
            )
        position = self.specification.group_names.index(group)
        levels = self.design.matrices.groups[position].levels
        effects = self.specification.groups[position].effects
        ordered = in_order(self.data[f"u_{group}"], group, levels)
        ordered = in_order(ordered, f"effect_{group}", effects)
        return ordered.transpose("chain", "draw", group, f"effect_{group}")


def assemble(
    model: tuple[Link, Sequence[str]],
    arrays: Mapping[str, Floats],
    noise: Mapping[str, Floats],
    *,
    place: Place,
    store: str = "",
) -> DrawBlock:
    """A block from the plain arrays of some draws, checked.

    Parameters
    ----------
    model : tuple of Link and sequence of str
        The link and the grouping factors.
    arrays : mapping of str to numpy.ndarray, shape (draws, …)
        By the names of :meth:`Posterior.arrays`.
    noise : mapping of str to numpy.ndarray, shape (draws, effects)
        Of a new cluster; may be empty.
    place : Place
        Where these draws stand among the chains.
    store : str
        Where they were read from.

    Raises
    ------
    DataError
        Draws that are NaN, infinite or impossible.
    StorageError
        The store that they are read from is gone.
    """
    link, groups = model
    for name, values in arrays.items():
        check_finite_draws(name, values, place=place, store=store)
    roots = {
        name: covariance_root(
            arrays[f"sd_{name}"].astype(np.float64),
            arrays.get(f"corr_{name}"),
            name=f"corr_{name}",
            place=place,
        )
        for name in groups
    }
    effects = {name: arrays[f"u_{name}"] for name in groups if f"u_{name}" in arrays}
    new = {name: _new_effects(link, roots[name], z) for name, z in noise.items()}
    return DrawBlock(link, arrays["beta"].astype(np.float64), roots, effects, new)


def _new_effects(link: Link, roots: Floats, scores: Floats) -> Floats:
    """Effects of one new cluster for each draw from standard normal scores, (draws, effects)."""
    if link.mixing.name == NORMAL.name:
        return np.einsum("sqr,sr->sq", roots, scores)
    return link.mixing.effect(scores, roots[:, :, 0])


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
