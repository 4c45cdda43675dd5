"""The random effects of one grouping factor as PyMC variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from popavg.design import GroupDesign
from popavg.mixing import NORMAL, Mixing
from popavg.models.bridge import Bridge, attenuation, bridge_from_normal
from popavg.models.default_priors import correlation_name, sd_names
from popavg.models.parameters import prior_vector
from popavg.priors import Prior

__all__ = [
    "Parametrization",
    "add_deviations",
    "add_random_effects",
    "add_root",
    "group_coords",
]

Parametrization = Literal["noncentered", "centered"]

#: Lower triangle of a Cholesky factor, by (row, column); what isn't there is 0.
type Factor = dict[tuple[int, int], TensorVariable | float]


def group_coords(group: GroupDesign) -> dict[str, tuple[str, ...]]:
    """Coordinates of a group's dims: clusters, effects, and effects once more.

    Parameters
    ----------
    group : GroupDesign
        The grouping factor.

    Returns
    -------
    dict of str to tuple of str

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> group_coords(SimpleNamespace(name="g", effects=("Intercept",), levels=("a", "b")))
    {'g': ('a', 'b'), 'effect_g': ('Intercept',)}
    """
    name, effects = group.name, group.effects
    coords = {name: group.levels, f"effect_{name}": effects}
    return coords | ({f"effect_{name}_other": effects} if len(effects) > 1 else {})


def add_random_effects(
    group: GroupDesign,
    priors: Mapping[str, Prior],
    parametrization: Parametrization,
    mixing: Mixing = NORMAL,
) -> TensorVariable:
    """Add ``sd_<g>``, ``corr_<g>`` and ``u_<g>`` to the model whose context is open.

    Parameters
    ----------
    group : GroupDesign
        Names, rows' clusters and design of the effects.
    priors : mapping of str to Prior
        Complete priors, as :func:`popavg.models.default_priors.resolve_priors` returns.
    parametrization : {"noncentered", "centered"}
        What is sampled: independent standard normals, or the effects themselves.
    mixing : Mixing
        Distribution of the effects. With the bridge distribution there is one effect, and its
        attenuation ``phi_<g>`` is added too.

    Returns
    -------
    TensorVariable, shape (obs,)
        z'u of every row.

    Notes
    -----
    Correlations have the LKJ(η) prior through independent partial correlations (the C-vine of
    Lewandowski, Kurowicka & Joe 2009, section 2.4): with K effects in a block, the partial
    correlation of effect i with effect j < i given the effects before j (counted from 0) is
    2 Beta(a, a) − 1, a = η + (K − 2 − j)/2. The Cholesky factor of the correlation matrix follows
    row by row from them. All of it is written element by element: matrix products, which numba
    takes long to compile, aren't needed.
    """
    name = group.name
    if mixing.name != NORMAL.name:
        column = _bridge_intercept(group, add_deviations(group, priors), parametrization)
        pm.Deterministic(f"u_{name}", column[:, None], dims=(name, f"effect_{name}"))
        return _rows(group, [column])
    sd, factor = _add_scales(group, priors)
    build = _noncentered if parametrization == "noncentered" else _centered
    columns = build(group, sd, factor)
    pm.Deterministic(f"u_{name}", pt.stack(columns, axis=1), dims=(name, f"effect_{name}"))
    return _rows(group, columns)


def add_root(
    group: GroupDesign, priors: Mapping[str, Prior], mixing: Mixing = NORMAL
) -> TensorVariable:
    """Add ``sd_<g>`` and ``corr_<g>`` to the model whose context is open, and no effects.

    Parameters
    ----------
    group : GroupDesign
        Names and effects.
    priors : mapping of str to Prior
        Complete priors, as :func:`popavg.models.default_priors.resolve_priors` returns.
    mixing : Mixing
        Distribution of the effects. With the bridge distribution ``phi_<g>`` is added too.

    Returns
    -------
    TensorVariable, shape (effects, effects)
        The lower triangular root L of the effects' covariance Σ = L L'.
    """
    sd, factor = _add_scales(group, priors)
    if mixing.name != NORMAL.name:
        _add_attenuation(group, sd)
    size = len(group.effects)
    if size == 1:
        return sd.reshape((1, 1))
    entries = [
        pt.as_tensor(sd[i] * factor.get((i, j), 0.0), dtype="float64")
        for i in range(size)
        for j in range(size)
    ]
    return pt.stack(entries).reshape((size, size))


def _add_scales(group: GroupDesign, priors: Mapping[str, Prior]) -> tuple[TensorVariable, Factor]:
    """Standard deviations and the Cholesky factor of the correlations."""
    return add_deviations(group, priors), _add_correlations(group, priors)


def add_deviations(group: GroupDesign, priors: Mapping[str, Prior]) -> TensorVariable:
    """Add ``sd_<g>`` to the model whose context is open, or find it there.

    Parameters
    ----------
    group : GroupDesign
        Names and effects.
    priors : mapping of str to Prior
        Complete priors, as :func:`popavg.models.default_priors.resolve_priors` returns.

    Returns
    -------
    TensorVariable, shape (effects,)
        A prior on the baseline needs the standard deviations before the effects do.
    """
    name = f"sd_{group.name}"
    known = pm.modelcontext(None).named_vars.get(name)
    if known is not None:
        return known
    own = [priors[key] for key in sd_names(group)]
    return prior_vector(name, own, dims=f"effect_{group.name}")


def _add_correlations(group: GroupDesign, priors: Mapping[str, Prior]) -> Factor:
    """The Cholesky factor of the correlation matrix; adds ``corr_<g>``."""
    factor: Factor = {(k, k): 1.0 for k in range(len(group.effects))}
    key = correlation_name(group)
    for number, block in enumerate(group.blocks):
        if key is not None and len(block) > 1:
            factor |= _block_factor(f"_partial_{group.name}_{number}", block, priors[key])
    if len(group.effects) > 1:
        dims = (f"effect_{group.name}", f"effect_{group.name}_other")
        pm.Deterministic(f"corr_{group.name}", _correlation(factor, len(group.effects)), dims=dims)
    return factor


def _block_factor(name: str, block: tuple[int, ...], prior: Prior) -> Factor:
    pairs = [(i, j) for i in range(1, len(block)) for j in range(i)]
    shapes = np.array([prior.params["eta"] + (len(block) - 2 - j) / 2 for _, j in pairs])
    halves = pm.Beta(name, alpha=shapes, beta=shapes, shape=len(pairs))
    factor: Factor = {}
    remaining: list[TensorVariable | float] = [1.0] * len(block)
    for position, (i, j) in enumerate(pairs):
        half = halves[position]
        factor[block[i], block[j]] = (2 * half - 1) * remaining[i]
        remaining[i] = remaining[i] * 2 * pt.sqrt(half * (1 - half))
        factor[block[i], block[i]] = remaining[i]
    return factor


def _correlation(factor: Factor, size: int) -> TensorVariable:
    def entry(i: int, j: int) -> TensorVariable | float:
        if i == j:
            return 1.0
        shared = range(min(i, j) + 1)
        return sum(
            factor[i, k] * factor[j, k] for k in shared if (i, k) in factor and (j, k) in factor
        )

    entries = [pt.as_tensor(entry(i, j), dtype="float64") for i in range(size) for j in range(size)]
    return pt.stack(entries).reshape((size, size))


def _noncentered(group: GroupDesign, sd: TensorVariable, factor: Factor) -> list[TensorVariable]:
    dims = (group.name, f"effect_{group.name}")
    z = pm.Normal(f"_z_{group.name}", 0.0, 1.0, dims=dims)
    return [
        sd[i] * _combination({k: z[:, k] for k in range(i + 1)}, factor, i)
        for i in range(len(group.effects))
    ]


def _centered(group: GroupDesign, sd: TensorVariable, factor: Factor) -> list[TensorVariable]:
    """Effect after effect, each normal given those before it."""
    columns: list[TensorVariable] = []
    standard: dict[int, TensorVariable] = {}
    for i in range(len(group.effects)):
        mean = _combination(standard, factor, i)
        column = pm.Normal(
            f"_u_{group.name}_{i}", sd[i] * mean, sd[i] * factor[i, i], dims=group.name
        )
        standard[i] = (column / sd[i] - mean) / factor[i, i]
        columns.append(column)
    return columns


def _bridge_intercept(
    group: GroupDesign, sd: TensorVariable, parametrization: Parametrization
) -> TensorVariable:
    """Bridge-distributed intercepts of the clusters; adds ``phi_<g>``."""
    name = group.name
    _add_attenuation(group, sd)
    if parametrization == "centered":
        return Bridge(f"_u_{name}_0", sd=sd[0], dims=name)
    z = pm.Normal(f"_z_{name}", 0.0, 1.0, dims=(name, f"effect_{name}"))
    return bridge_from_normal(z[:, 0], sd[0])


def _add_attenuation(group: GroupDesign, sd: TensorVariable) -> None:
    pm.Deterministic(f"phi_{group.name}", attenuation(sd)[0], dims=f"effect_{group.name}")


def _combination(
    columns: Mapping[int, TensorVariable], factor: Factor, row: int
) -> TensorVariable | float:
    """Row of the Cholesky factor times standard normal columns."""
    terms = [factor[row, k] * columns[k] for k in columns if (row, k) in factor]
    return sum(terms[1:], start=terms[0]) if terms else 0.0


def _rows(group: GroupDesign, columns: Sequence[TensorVariable]) -> TensorVariable:
    parts = [
        column[group.index] if np.all(Z == 1) else Z * column[group.index]
        for column, Z in zip(columns, group.Z.T, strict=True)
    ]
    return sum(parts[1:], start=parts[0])
