"""Read draws under names that the user declares: plain PyMC, NumPyro, Stan, JAGS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popavg._checks import brief, listing
from popavg.design import Design
from popavg.errors import DataError, SpecificationError
from popavg.grouping import GroupDesign
from popavg.labels import label_values
from popavg.posterior_tools._mapping_checks import (
    SCALES,
    check_declared,
    check_diagonal,
    check_keys,
    check_names,
    check_not_correlations,
    check_triangular,
)
from popavg.posterior_tools.draw_table import DrawTable, Variable
from popavg.posterior_tools.foreign import (
    ForeignParameters,
    block_pairs,
    check_cluster_order,
    check_scales,
    from_covariance,
    uncentred,
)

__all__ = ["read_mapping"]

type Floats = NDArray[np.float64]
#: Name of a variable; names one after the other; or a name for each label.
type Names = str | Sequence[str] | Mapping[str, str]

#: How far from 1 the rows of a Cholesky factor of correlations may be: single precision.
_ROUNDING = 1e-4


def read_mapping(
    table: DrawTable,
    design: Design,
    names: Mapping[str, Any],
    *,
    centred: bool = False,
    checked: bool = False,
) -> ForeignParameters:
    """The parameters in draws whose names are declared.

    Parameters
    ----------
    table : DrawTable
        The draws.
    design : Design
        The same model's.
    names : mapping
        ``"beta"``, ``"sigma"``, and for each grouping factor g one of ``"sd_g"``, ``"var_g"``,
        ``"cov_g"``, ``"chol_g"``, beside it ``"corr_g"`` or ``"chol_corr_g"``, and ``"u_g"`` or
        ``"z_g"``, with ``"levels_g"``, the clusters in their order, where they have no labels. A
        value is the name of a variable, a list of names (laid one after the other), or for
        ``beta`` and scales a mapping of the design's terms or effects to names.
    centred : bool
        The intercept belongs to centred columns; it is shifted back.
    checked : bool
        A linear predictor or log-likelihood will be reproduced, which finds a wrong order.

    Returns
    -------
    ForeignParameters

    Raises
    ------
    SpecificationError
        An unknown or a missing entry, or two that say the same.
    DataError
        A variable that doesn't exist, has another size than the design needs, or other labels;
        clusters without labels whose order can't be told.

    Notes
    -----
    An axis whose labels are the design's is put in order by them. An axis without labels, or
    numbered from 0 or 1, is taken in the design's own order: terms as
    ``population_coefficients`` lists them, clusters sorted by their values (categories in their
    order). Where the data's rows bring the clusters in another order than the sorted one, two
    orders are usual (``pandas.factorize``, categories): then ``"levels_g"``, labels or a predictor
    to reproduce must say which it is.
    """
    check_names(names, design)
    terms = design.matrices.terms
    beta = _vector(table, names["beta"], terms, what="beta")
    if centred:
        beta = uncentred(beta, design)
    sd, correlation, effects = {}, {}, {}
    for group in design.matrices.groups:
        sd[group.name], matrix = _scales(table, names, group)
        if matrix is not None:
            correlation[group.name] = matrix
        found = _effects(table, names, group, scales=(sd[group.name], matrix), checked=checked)
        if found is not None:
            effects[group.name] = found
    sigma = _vector(table, names["sigma"], ("sigma",), what="sigma") if "sigma" in names else None
    return ForeignParameters(
        beta, sd, correlation, effects, None if sigma is None else sigma[..., 0]
    )


def _scales(
    table: DrawTable, names: Mapping[str, Any], group: GroupDesign
) -> tuple[Floats, Floats | None]:
    """Standard deviations and, where effects are correlated, correlations."""
    kind = next(kind for kind in SCALES if f"{kind}_{group.name}" in names)
    key = f"{kind}_{group.name}"
    if kind in ("cov", "chol"):
        matrix = _matrix(table, names[key], group, what=key)
        if kind == "chol":
            check_triangular(key, matrix)
            matrix = matrix @ matrix.mT
        sd, correlation = from_covariance(key, matrix)
        factors = kind == "chol"
        check_not_correlations(
            f"LL' of {key}" if factors else key,
            matrix,
            f"name {'their Cholesky factors' if factors else 'correlations'} "
            f"'{'chol_' * factors}corr_{group.name}', beside standard deviations "
            f"'sd_{group.name}', also where the model fixes these at 1",
        )
        return sd, correlation if block_pairs(group) else check_diagonal(key, correlation)
    sd = _vector(table, names[key], group.effects, what=key)
    check_scales(key, sd)
    if kind == "var":
        sd = np.sqrt(sd)
    return sd, _correlations(table, names, group)


def _correlations(table: DrawTable, names: Mapping[str, Any], group: GroupDesign) -> Floats | None:
    key = f"corr_{group.name}"
    if key in names and isinstance(names[key], str) and len(group.effects) == 2:
        found = table.get(names[key])
        if found.values.ndim == 2:  # a single correlation
            matrix = np.tile(np.eye(2), (*table.shape, 1, 1))
            matrix[..., 0, 1] = matrix[..., 1, 0] = found.values
            return matrix
    factor = f"chol_corr_{group.name}"
    if key not in names and factor not in names:
        return None
    name = key if key in names else factor
    matrix = _matrix(table, names[name], group, what=name)
    if name == factor:
        check_triangular(name, matrix)
        matrix = matrix @ matrix.mT
    ones = np.einsum("cdqq->cdq", matrix)
    if np.abs(ones - 1).max() > _ROUNDING:
        raise DataError(
            f"the diagonal of {name!r} reaches from {ones.min():.4g} to {ones.max():.4g}",
            "correlations, with 1 on the diagonal",
            f"name covariance matrices cov_{group.name}, their Cholesky factors chol_{group.name}",
        )
    return from_covariance(name, matrix)[1]


def _effects(
    table: DrawTable,
    names: Mapping[str, Any],
    group: GroupDesign,
    *,
    scales: tuple[Floats, Floats | None],
    checked: bool,
) -> Floats | None:
    given = [key for key in (f"u_{group.name}", f"z_{group.name}") if key in names]
    if len(given) > 1:
        raise SpecificationError(
            f"names has {listing(given)}", "one of them", "leave out the standardised one"
        )
    if not given:
        return None
    found = table.get(_one(given[0], names[given[0]]))
    values, labels = found.values, found.labels
    if values.ndim == 3 and len(group.effects) == 1:
        values, labels = values[..., None], (*labels, None)
    if values.ndim != 4:
        raise _shape(found, given[0], (group.levels, group.effects))
    if (
        values.shape[2:] == (len(group.effects), len(group.levels))
        and values.shape[2] != (values.shape[3])
    ):
        values, labels = values.swapaxes(2, 3), labels[::-1]
    declared = names.get(f"levels_{group.name}")
    if declared is not None:
        labels = (tuple(label_values(declared)), labels[1])
        check_declared(group, labels[0] or ())
    elif not checked:
        _check_order(found, labels[0], group)
    values = _ordered(found, values, labels, (group.levels, group.effects))
    if given[0].startswith("u_"):
        return values
    sd, correlation = scales
    if correlation is not None:
        values = values @ np.linalg.cholesky(correlation).mT
    return values * sd[..., None, :]


def _check_order(found: Variable, labels: tuple[str, ...] | None, group: GroupDesign) -> None:
    """Clusters without labels have one usual order, or else it must be said."""
    if labels is not None and set(labels) == set(group.levels):
        return
    check_cluster_order(
        found.name,
        group,
        f"say 'levels_{group.name}': list(data[{group.name!r}].unique()) for the order of the "
        "rows (pandas.factorize), or sorted(…) of it",
    )


def _vector(table: DrawTable, names: Names, wanted: tuple[str, ...], *, what: str) -> Floats:
    """Draws of a vector, shape (chains, draws, wanted)."""
    if isinstance(names, Mapping):
        check_keys(names, wanted, what)
        names = [names[label] for label in wanted]
    if isinstance(names, str):
        found = table.get(names)
        if found.values.ndim == 2:
            found = Variable(found.name, found.values[..., None], (None,))
        if found.values.ndim != 3:
            raise _shape(found, what, (wanted,))
        return _ordered(found, found.values, found.labels, (wanted,))
    if not isinstance(names, Sequence):
        raise SpecificationError(
            f"names[{what!r}] is {brief(names)}", "a variable's name, or several"
        )
    parts = [table.get(_one(what, name)) for name in names]
    columns = [part.values.reshape(*table.shape, -1) for part in parts]
    joined = np.concatenate(columns, axis=2)
    if joined.shape[2] != len(wanted):
        told = ", ".join(
            f"{part.name!r} {c.shape[2]}" for part, c in zip(parts, columns, strict=True)
        )
        raise DataError(
            f"the variables for {what!r} have {joined.shape[2]} numbers ({told})",
            f"{len(wanted)}: {listing(wanted)}",
            "name a variable for each",
        )
    return joined


def _matrix(table: DrawTable, name: Any, group: GroupDesign, *, what: str) -> Floats:
    found = table.get(_one(what, name))
    values, labels = found.values, found.labels
    if values.ndim == 2 and len(group.effects) == 1:
        values, labels = values[..., None, None], (None, None)
    if values.ndim != 4:
        raise _shape(found, what, (group.effects, group.effects))
    return _ordered(found, values, labels, (group.effects, group.effects))


def _ordered(
    found: Variable,
    values: Floats,
    labels: Sequence[tuple[str, ...] | None],
    wanted: Sequence[tuple[str, ...]],
) -> Floats:
    """The axes in the design's order, by label where there are labels."""
    for axis, (known, names) in enumerate(zip(labels, wanted, strict=True)):
        size = values.shape[axis + 2]
        if size != len(names):
            raise _shape(Variable(found.name, values, tuple(labels)), found.name, wanted)
        if known is None:
            continue
        if set(known) == set(names):
            values = values.take([known.index(name) for name in names], axis=axis + 2)
        elif list(known) not in ([str(i + s) for i in range(size)] for s in (0, 1)):
            raise DataError(
                f"{found.name!r} has the labels {listing(known, 6)}",
                listing(names, 6),
                "label this axis as the formula and the data do, or drop its labels if it is in "
                "this order",
            )
    return values


def _shape(found: Variable, what: str, wanted: Sequence[tuple[str, ...]]) -> DataError:
    sizes = ", ".join(str(len(names)) for names in wanted)
    return DataError(
        f"{found.name!r} has the shape {found.values.shape}, chains and draws first",
        f"for {what!r} (chains, draws, {sizes}): "
        + "; ".join(listing(names, 6) for names in wanted),
        _more_or_less(found, wanted),
    )


def _more_or_less(found: Variable, wanted: Sequence[tuple[str, ...]]) -> str:
    """What to do about a variable with more or fewer numbers than the formula asks for."""
    sizes = found.values.shape[2:]
    pairs = list(zip(sizes, map(len, wanted), strict=False))
    if len(sizes) == len(wanted) and all(has >= needs for has, needs in pairs):
        return (
            "add to the formula what the draws have more than it: a term, or a random slope as in "
            "'(1 + x | g)'"
        )
    if len(sizes) == len(wanted) and all(has <= needs for has, needs in pairs):
        return (
            "leave out of the formula what the draws lack: a term, or a random slope as in "
            "'(1 + x | g)'; or name the variables that hold the others too"
        )
    return "check the variable and the formula"


def _one(what: str, name: Any) -> str:
    if not isinstance(name, str):
        raise SpecificationError(f"names[{what!r}] is {brief(name)}", "the name of one variable")
    return name
