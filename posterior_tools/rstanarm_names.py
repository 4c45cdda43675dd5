"""Read draws under the names of rstanarm: ``(Intercept)``, ``b[… g:1]``, ``Sigma[g:…,…]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.design import Design
from popavg.errors import DataError
from popavg.grouping import GroupDesign
from popavg.posterior_tools._disagreement import Effect, Program, disagreement
from popavg.posterior_tools._r_names import (
    group_orders,
    level_parts,
    match_terms,
    plain,
    r_names,
    r_scale,
)
from popavg.posterior_tools.draw_table import DrawTable
from popavg.posterior_tools.foreign import (
    ForeignParameters,
    block_pairs,
    clusters_differ,
    from_covariance,
    stacked,
)

__all__ = ["read_rstanarm"]

type Floats = NDArray[np.float64]

#: Columns that aren't parameters of the linear predictor.
_BESIDE = ("sigma", "mean_PPD", "log-posterior", "lp__", ".chain", ".iteration", ".draw")
_OTHER_MODELS = ("reciprocal_dispersion", "shape", "(phi)", "smooth_sd", "s(")


def read_rstanarm(table: DrawTable, design: Design) -> ForeignParameters:
    """The parameters in draws of ``stan_glmer`` or ``stan_glm``.

    Parameters
    ----------
    table : DrawTable
        Columns as ``as.data.frame(fit)`` or ``as.matrix(fit)`` gives them.
    design : Design
        The same model's.

    Returns
    -------
    ForeignParameters

    Raises
    ------
    DataError
        Terms without draws, draws without a term, another reference level, covariance matrices
        that aren't, or see :meth:`popavg.posterior_tools.draw_table.DrawTable.get`.

    Notes
    -----
    rstanarm centres columns while it samples, and has shifted ``(Intercept)`` back. ``Sigma[…]``
    holds covariances, **variances** on its diagonal. Clusters are found by their labels.
    """
    _check_model(table)
    draws = _Draws(table, {plain(name): name for name in table.names}, set(_BESIDE))
    beta = _coefficients(draws, design)
    sd, correlation, effects = {}, {}, {}
    for group in design.matrices.groups:
        named = _group(draws, design, group)
        covariance = _covariance(draws, design, group, named)
        scale = np.array([r_scale(effect, design) for effect in group.effects])
        values, correlation[group.name] = from_covariance(f"Sigma[{named.name}]", covariance)
        sd[group.name] = values * scale
        if not block_pairs(group):
            del correlation[group.name]
        found = _clusters(draws, group, named)
        if found is not None:
            effects[group.name] = found * scale
    rest = {
        key: name
        for key, name in draws.known.items()
        if name not in draws.used and "_NEW_" not in name
    }
    if rest:
        raise disagreement(_PROGRAM, design, (), rest)
    sigma = table.get("sigma").values if "sigma" in table.arrays else None
    return ForeignParameters(beta, sd, correlation, effects, sigma)


def _effect(name: str) -> Effect | None:
    """``Sigma[g:a,b]`` and ``b[a g:level]``."""
    if name.startswith("Sigma["):
        left, _, right = name[len("Sigma[") : -1].rpartition(",")
        if left.endswith(f":{right}"):
            return Effect(left.removesuffix(f":{right}"), (right,))
        group, _, other = left.partition(":")
        return Effect(group, (other, right))
    if name.startswith("b["):
        effect, _, cluster = name[2:-1].rpartition(" ")
        return Effect(cluster.partition(":")[0], (effect,))
    return None


_PROGRAM = Program(
    "rstanarm",
    spell=plain,
    coefficient=str,
    spread=lambda group, effect: f"Sigma[{group}:{effect},{effect}]",
    measure="variance",
    effect=_effect,
)


@dataclass(frozen=True, eq=False)
class _Draws:
    """The draws, their names by what :func:`plain` makes of them, and those found so far."""

    table: DrawTable
    known: dict[str, str]
    used: set[str]

    def find(self, options: Sequence[str]) -> str | None:
        """The first of these names that there is."""
        return next((self.known[plain(n)] for n in options if plain(n) in self.known), None)


def _check_model(table: DrawTable) -> None:
    foreign = [name for name in table.names if name.startswith(_OTHER_MODELS)]
    if foreign:
        raise DataError(
            f"the draws have parameters of another kind of model: {listing(foreign, 6)}",
            "normal random effects and linear terms, with a Bernoulli, binomial, Poisson or "
            "Gaussian response",
            "smooths and other families are not averaged here",
        )


def _coefficients(draws: _Draws, design: Design) -> Floats:
    terms = design.matrices.terms
    matched = match_terms(terms, design, draws.known, spell=plain)
    if matched.lacking:
        taken = {*draws.used, *matched.columns.values()}
        rest = {
            key: name
            for key, name in draws.known.items()
            if name not in taken and not name.startswith(("b[", "Sigma["))
        }
        raise disagreement(_PROGRAM, design, matched.lacking, rest)
    draws.used.update(matched.columns.values())
    beta = stacked(draws.table, [matched.columns[term] for term in terms])
    return beta * np.array([r_scale(term, design) for term in terms])


@dataclass(frozen=True)
class _Group:
    """A grouping factor as rstanarm calls it: its name, its effects' spellings, its clusters."""

    name: str
    effects: tuple[tuple[str, ...], ...]
    levels: tuple[str, ...]


def _group(draws: _Draws, design: Design, group: GroupDesign) -> _Group:
    effects = tuple(tuple(r_names(effect, design)) for effect in group.effects)
    grouping = next(g for g in design.groupings if g.name == group.name)
    parts = level_parts(design, group)
    for order in group_orders(design, group):
        name = ":".join(grouping.factor[i] for i in order)
        if any(key.startswith(plain(f"Sigma[{name}:")) for key in draws.known):
            levels = tuple(":".join(part[i].replace(" ", "_") for i in order) for part in parts)
            return _Group(name, effects, levels)
    rest = {
        key: name
        for key, name in draws.known.items()
        if name.startswith("Sigma[") and name not in draws.used
    }
    raise disagreement(_PROGRAM, design, group.effects, rest, group=group)


def _covariance(draws: _Draws, design: Design, group: GroupDesign, named: _Group) -> Floats:
    size = len(group.effects)
    matrix = np.zeros((*draws.table.shape, size, size))
    for i, j in [*((i, i) for i in range(size)), *block_pairs(group)]:
        options = [
            f"Sigma[{named.name}:{a},{b}]"
            for first, second in ((i, j), (j, i))
            for a in named.effects[first]
            for b in named.effects[second]
        ]
        column = draws.find(options)
        if column is None and i == j:
            raise disagreement(_PROGRAM, design, [group.effects[i]], {}, group=group)
        if column is None:
            raise DataError(
                f"the draws have no {options[0]!r}",
                "a variance for each effect, a covariance for each pair in one '( | )'",
                "check the formula's grouping terms",
            )
        draws.used.add(column)
        matrix[..., i, j] = matrix[..., j, i] = draws.table.get(column).values
    return matrix


def _clusters(draws: _Draws, group: GroupDesign, named: _Group) -> Floats | None:
    columns: list[str] = []
    lacking: list[str] = []
    for level in named.levels:
        for spellings in named.effects:
            options = [f"b[{effect} {named.name}:{level}]" for effect in spellings]
            column = draws.find(options)
            (lacking if column is None else columns).append(column or options[0])
    if not columns:
        return None
    ends = tuple(plain(f"{effect} {named.name}:") for e in named.effects for effect in e)
    unused = [
        name
        for key, name in draws.known.items()
        if key.startswith(tuple(f"b[{end}" for end in ends))
        and name not in columns
        and "_NEW_" not in name
    ]
    if lacking or unused:
        raise clusters_differ(group.name, lacking, unused)
    draws.used.update(columns)
    values = stacked(draws.table, columns)
    return values.reshape(*draws.table.shape, len(named.levels), len(named.effects))
