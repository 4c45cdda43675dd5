"""Parameters that another program drew, brought into popavg's form and held against a design."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.design import Design
from popavg.errors import DataError
from popavg.families import Family
from popavg.grouping import GroupDesign
from popavg.links import Link
from popavg.posterior_tools._draw_checks import check_correlations
from popavg.posterior_tools.draw_table import DrawTable
from popavg.posterior_tools.tree import fit_tree, specify

__all__ = [
    "ForeignParameters",
    "block_pairs",
    "check_cluster_order",
    "check_definite",
    "check_scales",
    "clusters_differ",
    "foreign_fit",
    "from_covariance",
    "stacked",
    "uncentred",
]

type Floats = NDArray[np.float64]

#: How far a stored matrix may be from symmetric: single precision, or a text with six digits.
_SYMMETRY = 1e-5


@dataclass(frozen=True, eq=False)
class ForeignParameters:
    """Draws in the order of a design, each with chains and draws first.

    Attributes
    ----------
    beta : numpy.ndarray, shape (chains, draws, terms)
        Conditional coefficients of the design's own columns.
    sd : dict of str to numpy.ndarray, shape (chains, draws, effects)
        Standard deviations, one entry for each grouping factor.
    correlation : dict of str to numpy.ndarray, shape (chains, draws, effects, effects)
        Of the factors with correlated effects.
    effects : dict of str to numpy.ndarray, shape (chains, draws, clusters, effects)
        The clusters' own effects, of the factors that have them.
    sigma : numpy.ndarray of shape (chains, draws), or None
        Residual standard deviation.
    """

    beta: Floats
    sd: Mapping[str, Floats] = field(default_factory=dict)
    correlation: Mapping[str, Floats] = field(default_factory=dict)
    effects: Mapping[str, Floats] = field(default_factory=dict)
    sigma: Floats | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Chains and draws."""
        return self.beta.shape[0], self.beta.shape[1]

    def to_dataset(self, design: Design) -> xr.Dataset:
        """The ``posterior`` group, with popavg's names."""
        matrices = design.matrices
        variables: dict[str, Any] = {"beta": (("chain", "draw", "term"), self.beta)}
        coords: dict[str, Any] = {
            "chain": range(self.shape[0]),
            "draw": range(self.shape[1]),
            "term": list(matrices.terms),
        }
        for group in matrices.groups:
            name, effect = group.name, f"effect_{group.name}"
            coords[effect] = list(group.effects)
            variables[f"sd_{name}"] = (("chain", "draw", effect), self.sd[name])
            if name in self.correlation:
                coords[f"{effect}_other"] = list(group.effects)
                dims = ("chain", "draw", effect, f"{effect}_other")
                variables[f"corr_{name}"] = (dims, self.correlation[name])
            if name in self.effects:
                coords[name] = list(group.levels)
                variables[f"u_{name}"] = (("chain", "draw", name, effect), self.effects[name])
        if self.sigma is not None:
            variables["sigma"] = (("chain", "draw"), self.sigma)
        return xr.Dataset(variables, coords=coords)


def foreign_fit(
    design: Design, parameters: ForeignParameters, *, link: Link, family: Family, source: str
) -> xr.DataTree:
    """A fit from another program's draws.

    Parameters
    ----------
    design : Design
        Formula and data, rebuilt.
    parameters : ForeignParameters
        The draws; their scales are checked here.
    link : Link
        The model's link.
    family : Family
        The response's distribution.
    source : str
        Where the draws come from, in words; kept in the fit's specification.

    Raises
    ------
    DataError
        A standard deviation isn't positive, a matrix isn't a correlation matrix, or Gaussian
        draws have no positive sigma.
    """
    for group in design.matrices.groups:
        check_scales(f"sd_{group.name}", parameters.sd[group.name])
        _check_correlation(group, parameters)
    if parameters.sigma is not None:
        check_scales("sigma", parameters.sigma)
        if not family.has_scale:
            raise DataError(
                f"the draws have a residual standard deviation 'sigma', but link={link.name!r} "
                f"means a {family.name} response, which has none",
                "link='identity' for a Gaussian response",
                "check the link, or leave sigma out",
            )
    specification = replace(specify(design, link, family), sampler={"source": source})
    return fit_tree(design, specification, {"posterior": parameters.to_dataset(design)})


def check_scales(name: str, values: Floats) -> None:
    """Standard deviations or variances are positive.

    Raises
    ------
    DataError
        Some are negative or zero: how many, and where the first is.

    Notes
    -----
    A covariance matrix may be singular, and popavg's own verbs take a standard deviation of 0. But
    no sampler draws one: a 0 in another program's draws comes from a wrong or rounded column.
    """
    low = ~(values > 0).reshape(*values.shape[:2], -1).all(axis=2)
    if not low.any():
        return
    chain, draw = np.argwhere(low)[0]
    negative = bool((values < 0).any())
    raise DataError(
        f"{int(low.sum())} of {low.size} draws of {name!r} are "
        f"{'negative' if negative else 'zero'}, the first is draw {draw + 1} of chain {chain + 1}",
        "positive numbers: a sampler never draws a standard deviation of exactly 0",
        "check whether these are logarithms, or another parameter"
        if negative
        else "check whether this is the right column, and whether it was rounded",
    )


def from_covariance(name: str, covariance: Floats) -> tuple[Floats, Floats]:
    """Standard deviations and correlations of covariance matrices.

    Parameters
    ----------
    name : str
        What they are called, for messages.
    covariance : numpy.ndarray, shape (chains, draws, effects, effects)
        Variances on the diagonal.

    Returns
    -------
    sd : numpy.ndarray, shape (chains, draws, effects)
    correlation : numpy.ndarray, shape (chains, draws, effects, effects)

    Raises
    ------
    DataError
        Not square, not symmetric, or not positive definite in some draws.
    """
    if covariance.ndim != 4 or covariance.shape[2] != covariance.shape[3]:
        raise DataError(
            f"{name!r} has the shape {covariance.shape}",
            "(chains, draws, effects, effects)",
            "give whole square matrices",
        )
    variances = np.einsum("cdqq->cdq", covariance)
    check_scales(f"the diagonal of {name}", variances)
    sd = np.sqrt(variances)
    correlation = covariance / (sd[..., :, None] * sd[..., None, :])
    skew = np.abs(correlation - correlation.mT).max(axis=(2, 3))
    if (skew > _SYMMETRY).any():
        chain, draw = np.unravel_index(int(np.argmax(skew)), skew.shape)
        raise DataError(
            f"{int((skew > _SYMMETRY).sum())} of {skew.size} draws of {name!r} aren't symmetric, "
            f"least of all draw {draw + 1} of chain {chain + 1}",
            "covariance matrices",
            f"if these are Cholesky factors, name them chol_{name.removeprefix('cov_')}"
            if name.startswith("cov_")
            else "if these are Cholesky factors L, give LL' instead",
        )
    correlation = (correlation + correlation.mT) / 2
    check_definite(name, correlation)
    return sd, correlation


def check_definite(name: str, correlation: Floats) -> None:
    """Correlation matrices are positive definite, to rounding.

    Raises
    ------
    DataError
        Some aren't: how many, the smallest eigenvalue, and where it is.
    """
    size = correlation.shape[-1]
    smallest = np.linalg.eigvalsh(correlation)[..., 0]
    bad = smallest < -16 * size * np.finfo(float).eps
    if bad.any():
        chain, draw = np.unravel_index(int(np.argmin(smallest)), smallest.shape)
        raise DataError(
            f"{int(bad.sum())} of {bad.size} draws of {name!r} aren't positive definite; the "
            f"smallest eigenvalue, as correlations, is {smallest.min():.3g} in draw {draw + 1} of "
            f"chain {chain + 1}",
            "positive definite matrices",
            "check which parameter stands where in the matrix, and that it is a covariance or a "
            "correlation as declared",
        )


def uncentred(beta: Floats, design: Design) -> Floats:
    """Coefficients whose intercept belonged to centred columns, for the design's own columns.

    Parameters
    ----------
    beta : numpy.ndarray, shape (chains, draws, terms)
        With an intercept that is the predictor at the columns' means.
    design : Design
        The data that were centred: its rows' means are used.

    Raises
    ------
    DataError
        The design has no intercept.

    Notes
    -----
    β₀ = β₀ᶜ - Σ_k x̄_k β_k.
    """
    terms, X = design.matrices.terms, design.matrices.X
    if "Intercept" not in terms:
        raise DataError(
            "centred=True, but the formula has no intercept",
            "a formula with an intercept, which the centring had changed",
            "leave out centred=",
        )
    place = terms.index("Intercept")
    means = X.mean(axis=0)
    means[place] = 0.0
    shifted = beta.copy()
    shifted[..., place] -= beta @ means
    return shifted


def stacked(table: DrawTable, names: Sequence[str]) -> Floats:
    """Scalar parameters side by side, shape (chains, draws, names)."""
    columns = [table.get(name).values for name in names]
    for name, values in zip(names, columns, strict=True):
        if values.ndim != 2:
            raise DataError(
                f"{name!r} has the shape {values.shape}", "one number for each chain and draw"
            )
    return np.stack(columns, axis=-1)


def clusters_differ(name: str, lacking: Sequence[str], unused: Sequence[str]) -> DataError:
    """The error for clusters that the draws and the data don't share."""
    sides = [f"{len(lacking)} have no draws ({listing(lacking, 4)})"] if lacking else []
    if unused:
        sides.append(f"{len(unused)} of the draws aren't in the data ({listing(unused, 4)})")
    return DataError(
        f"the clusters of {name!r} in the draws aren't those of the data: {'; '.join(sides)}",
        "the data that the model was fitted to",
        "pass these data, with the clusters' labels unchanged",
    )


def check_cluster_order(name: str, group: GroupDesign, remedy: str) -> None:
    """Clusters without labels have one usual order: sorted, which is also that of the rows.

    Raises
    ------
    DataError
        They have two.
    """
    first = list(dict.fromkeys(group.index.tolist()))
    if first != sorted(first):
        seen = [group.levels[i] for i in first]
        raise DataError(
            f"the clusters of {name!r} have no labels, and their order can't be told: sorted it is "
            f"{listing(group.levels, 4)}, in the order of the rows {listing(seen, 4)}",
            "labels, a declared order, or eta= to tell it by",
            remedy,
        )


def block_pairs(group: GroupDesign) -> list[tuple[int, int]]:
    """Positions of the effects that are correlated with each other."""
    return [(i, j) for block in group.blocks for i in block for j in block if i < j]


def _check_correlation(group: GroupDesign, parameters: ForeignParameters) -> None:
    correlation = parameters.correlation.get(group.name)
    pairs = block_pairs(group)
    if correlation is None:
        if pairs:
            raise DataError(
                f"the draws have no correlations of the effects of {group.name!r}",
                f"correlations of {listing(group.effects)}",
                f"write '(1 | {group.name}) + (0 + x | {group.name})' for a model with "
                "uncorrelated effects",
            )
        return
    check_definite(f"corr_{group.name}", correlation)
    flat = correlation.reshape(-1, *correlation.shape[2:])
    check_correlations(f"corr_{group.name}", np.dtype(np.float64), flat)
    apart = np.ones(correlation.shape[2:], dtype=bool)
    for i, j in pairs:
        apart[i, j] = apart[j, i] = False
    np.fill_diagonal(apart, False)
    if np.abs(flat[:, apart]).max(initial=0.0) > 0.0:
        raise DataError(
            f"effects of {group.name!r} are correlated in the draws, but not in the formula",
            "the formula of the model that was fitted",
            f"write '(1 + x | {group.name})' for correlated effects",
        )
