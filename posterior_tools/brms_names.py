"""Read draws under the names of brms: ``b_``, ``sd_``, ``cor_``, ``r_``."""

from __future__ import annotations

import re
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
    r_scale,
)
from popavg.posterior_tools.draw_table import DrawTable
from popavg.posterior_tools.foreign import (
    ForeignParameters,
    block_pairs,
    clusters_differ,
    stacked,
    uncentred,
)

__all__ = ["brms_name", "read_brms"]

type Floats = NDArray[np.float64]

#: What brms puts for characters, in this order.
_REPLACED = (
    *((sign, "") for sign in " ()[],\"'?"),
    *(("+", "P"), ("-", "M"), ("*", "MU"), ("/", "D"), ("^", "E"), ("=", "EQ"), ("$", "USD")),
)
_SPACE = re.compile(r"[ \t\r\n]")
#: Classes that popavg's models have, and parameters of models that it hasn't.
_OWN = ("b_", "sd_", "cor_", "r_")
_RANDOM = re.compile(r"^(?:sd_(.+?)__(.+)|cor_(.+?)__(.+?)__(.+)|r_(.+?)\[.*,(.+)\])$")
_OTHER_MODELS = re.compile(
    r"^(bs_|sds_|s_|bsp_|bcs_|simo_|sdgp_|lscale_|zgp_|ar\[|ma\[|ar$|ma$|df_|meanme_|sdme_|"
    r"rescor|L_rescor|theta\d|(shape|phi|nu|zi|hu|zoi|coi|disc|ndt|beta|kappa|xi|alpha)$)"
)


def brms_name(name: str) -> str:
    """What brms calls a column of R's ``model.matrix``.

    Parameters
    ----------
    name : str
        As R calls it.

    Examples
    --------
    >>> from popavg.posterior_tools.brms_names import brms_name
    >>> brms_name("I(x^2)"), brms_name("(Intercept)"), brms_name("poly(x, 2)1")
    ('IxE2', 'Intercept', 'polyx21')
    """
    for sign, replacement in _REPLACED:
        name = name.replace(sign, replacement)
    return name


def read_brms(table: DrawTable, design: Design, *, centred: bool = False) -> ForeignParameters:
    """The parameters in draws of brms.

    Parameters
    ----------
    table : DrawTable
        Columns as ``posterior::as_draws_df()`` or ``as.data.frame()`` gives them.
    design : Design
        The same model's.
    centred : bool
        Take ``Intercept``, which belongs to centred columns, and shift it back.

    Returns
    -------
    ForeignParameters

    Raises
    ------
    DataError
        Terms without draws, draws without a term, another reference level, parameters of a model
        that popavg doesn't have, a centred intercept alone, or see
        :meth:`popavg.posterior_tools.draw_table.DrawTable.get`.

    Notes
    -----
    brms's ``b_Intercept`` belongs to the columns as they are, its ``Intercept`` to centred ones.
    ``sd_`` are standard deviations and ``cor_`` correlations. The clusters of ``r_`` are found by
    their labels, never by their order.
    """
    _check_model(table)
    used: set[str] = set()
    beta = _coefficients(table, design, used, centred=centred)
    sd, correlation, effects = {}, {}, {}
    for group in design.matrices.groups:
        named = _group(table, design, group, used)
        columns = [f"sd_{named.name}__{effect}" for effect in named.effects]
        used.update(columns)
        scale = np.array([r_scale(effect, design) for effect in group.effects])
        sd[group.name] = stacked(table, columns) * scale
        if block_pairs(group):
            correlation[group.name] = _correlations(table, group, named, used)
        found = _clusters(table, group, named, used)
        if found is not None:
            effects[group.name] = found * scale
    rest = {name: name for name in table.names if name.startswith(_OWN) and name not in used}
    if rest:
        raise disagreement(_PROGRAM, design, (), rest)
    sigma = table.get("sigma").values if "sigma" in table.arrays else None
    return ForeignParameters(beta, sd, correlation, effects, sigma)


def _check_model(table: DrawTable) -> None:
    if not any(name.startswith(("b_", "Intercept")) for name in table.names):
        raise DataError(
            f"these aren't draws of brms: no 'b_…' among {listing(table.names, 6)}",
            "columns b_Intercept, b_x, sd_g__Intercept, …",
            "choose another names=, or a mapping such as names={'beta': {'Intercept': 'alpha'}}",
        )
    foreign = [name for name in table.names if _OTHER_MODELS.match(name)]
    if foreign:
        raise DataError(
            f"the draws have parameters of another kind of model: {listing(foreign, 6)}",
            "normal random effects and linear terms, with a Bernoulli, binomial, Poisson or "
            "Gaussian response",
            "smooths, distributional parameters and other families are not averaged here",
        )


def _coefficients(table: DrawTable, design: Design, used: set[str], *, centred: bool) -> Floats:
    terms = design.matrices.terms
    known = {name[2:]: name for name in table.names if name.startswith("b_")}
    if "Intercept" in terms and "b_Intercept" not in table.arrays and "Intercept" in table.arrays:
        if not centred:
            raise DataError(
                "the draws have 'Intercept' but no 'b_Intercept': brms's 'Intercept' belongs to "
                "centred columns, so it isn't the formula's intercept",
                "draws with 'b_Intercept'",
                "export b_Intercept too, or say centred=True to have it computed from the columns' "
                "means in these data",
            )
        known["Intercept"] = "Intercept"
    elif centred:
        raise DataError(
            "centred=True, but the draws' intercept 'b_Intercept' belongs to the columns as they "
            "are",
            remedy="leave out centred=",
        )
    matched = match_terms(terms, design, known, spell=_spell)
    if matched.lacking:
        rest = {key: name for key, name in known.items() if name not in matched.columns.values()}
        raise disagreement(_PROGRAM, design, matched.lacking, rest)
    used.update(matched.columns.values())
    beta = stacked(table, [matched.columns[term] for term in terms])
    beta = beta * np.array([r_scale(term, design) for term in terms])
    return uncentred(beta, design) if centred else beta


def _spell(name: str) -> str:
    return brms_name(plain(name))


def _effect(name: str) -> Effect | None:
    match = _RANDOM.match(name)
    if match is None:
        return None
    group, *effects = (part for part in match.groups() if part is not None)
    return Effect(group, tuple(effects))


_PROGRAM = Program(
    "brms",
    spell=_spell,
    coefficient="b_{}".format,
    spread=lambda group, effect: f"sd_{brms_name(group)}__{effect}",
    measure="standard deviation",
    effect=_effect,
)


@dataclass(frozen=True)
class _Group:
    """A grouping factor as brms calls it: its name, its effects, its clusters."""

    name: str
    effects: tuple[str, ...]
    levels: tuple[str, ...]


def _group(table: DrawTable, design: Design, group: GroupDesign, used: set[str]) -> _Group:
    parts = level_parts(design, group)
    grouping = next(g for g in design.groupings if g.name == group.name)
    for order in group_orders(design, group):
        name = ":".join(brms_name(grouping.factor[i]) for i in order)
        start = f"sd_{name}__"
        known = {n.removeprefix(start): n for n in table.names if n.startswith(start)}
        if not known:
            continue
        matched = match_terms(group.effects, design, known, spell=_spell)
        if matched.lacking:
            rest = {k: n for k, n in known.items() if n not in matched.columns.values()}
            raise disagreement(_PROGRAM, design, matched.lacking, rest, group=group)
        levels = tuple(_SPACE.sub(".", "_".join(part[i] for i in order)) for part in parts)
        effects = tuple(matched.columns[effect].removeprefix(start) for effect in group.effects)
        return _Group(name, effects, levels)
    rest = {n: n for n in table.names if n.startswith("sd_") and n not in used}
    raise disagreement(_PROGRAM, design, group.effects, rest, group=group)


def _correlations(table: DrawTable, group: GroupDesign, named: _Group, used: set[str]) -> Floats:
    size = len(group.effects)
    matrix = np.tile(np.eye(size), (*table.shape, 1, 1))
    for i, j in block_pairs(group):
        a, b = named.effects[i], named.effects[j]
        options = [f"cor_{named.name}__{a}__{b}", f"cor_{named.name}__{b}__{a}"]
        found = next((name for name in options if name in table.arrays), None)
        if found is None:
            raise DataError(
                f"the draws have no {options[0]!r}",
                "a correlation for each pair of effects in one '( | )'",
                f"write '(1 | {group.name}) + (0 + x | {group.name})' where the model was fitted "
                "with '||'",
            )
        used.add(found)
        matrix[..., i, j] = matrix[..., j, i] = table.get(found).values
    return matrix


def _clusters(table: DrawTable, group: GroupDesign, named: _Group, used: set[str]) -> Floats | None:
    """The clusters' effects by their labels; None where the draws have none of this factor."""
    start = f"r_{named.name}["
    known = {name for name in table.names if name.startswith(start)}
    if not known:
        return None
    wanted = [[f"{start}{level},{e}]" for e in named.effects] for level in named.levels]
    flat = [name for names in wanted for name in names]
    lacking, unused = [n for n in flat if n not in known], sorted(known - set(flat))
    if lacking or unused:
        raise clusters_differ(group.name, lacking, unused)
    used.update(flat)
    values = stacked(table, flat)
    return values.reshape(*table.shape, len(named.levels), len(named.effects))
