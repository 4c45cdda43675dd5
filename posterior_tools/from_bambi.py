"""A fit from a Bambi model and its draws, by reading their attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.design import Design, family_of
from popavg.errors import DataError, SpecificationError
from popavg.formula import Formula
from popavg.frames import MissingPolicy
from popavg.grouping import GroupDesign
from popavg.links import LINKS, Link, get_link
from popavg.posterior_tools._r_names import components
from popavg.posterior_tools.agreement import check_values
from popavg.posterior_tools.draw_table import DrawTable, Variable, posterior_of, read_table
from popavg.posterior_tools.effect_scale import check_effect_scales
from popavg.posterior_tools.foreign import ForeignParameters, block_pairs, foreign_fit
from popavg.response import read_form

__all__ = ["from_bambi"]

type Floats = NDArray[np.float64]

_FAMILIES = ("bernoulli", "binomial", "poisson", "gaussian")
#: Draws whose means are computed by Bambi too, and held against ours.
_CHECKED = 5
_TOLERANCE = 1e-6


def from_bambi(model: Any, idata: Any) -> xr.DataTree:
    """Make a fit from a Bambi model and its posterior draws: every verb then works on it.

    Bambi itself isn't imported. For the draws of other programs use :func:`popavg.from_draws`.

    Parameters
    ----------
    model : bambi.Model
        With a Bernoulli, binomial, Poisson or Gaussian family, normal group effects, and no terms
        for distributional parameters.
    idata : xarray.DataTree, Dataset or object with ``posterior``
        What ``model.fit()`` returned, or its posterior alone, whose outcome can't be held against
        the model's.

    Returns
    -------
    xarray.DataTree
        As :func:`popavg.fit` returns it, for all verbs and :func:`popavg.save`.

    Raises
    ------
    SpecificationError
        A family, link or term that popavg has no averages for.
    FormulaError
        A formula that popavg can't read.
    DataError
        Draws that are NaN or infinite, lack chains and draws, or a term; standard deviations that
        aren't positive; a design that doesn't give the means that Bambi itself predicts.

    Notes
    -----
    What differs is translated: Bambi sorts the levels of unordered categories by name and takes
    the first as reference, and of a text response it models the *first* level where popavg counts
    the second; its group effects are uncorrelated (the correlations of ``(1 + x | g)`` are 0); its
    ``Intercept`` has been shifted back from the centred columns it sampled with. Levels and
    clusters are matched by label. The means that Bambi computed (``include_response_params=True``),
    or computes for five draws of each chain by ``model.predict``, are held against those of the
    design that was rebuilt, and the clusters' effects against their standard deviations.

    Examples
    --------
    >>> import bambi  # doctest: +SKIP
    >>> model = bambi.Model("y ~ time + (1 | patient)", data, family="bernoulli")  # doctest: +SKIP
    >>> fit = pa.from_bambi(model, model.fit())  # doctest: +SKIP
    """
    text, link = _formula(model), _link(model)
    parsed = Formula.parse(text)
    family = family_of(parsed, link)
    data = _frame(model, parsed)
    missing: MissingPolicy = "drop" if getattr(model, "dropna", False) else "error"
    design = Design.build(parsed, data, family=family, missing=missing)
    design = _with_event(model, design, data)
    _check_outcome(model, idata)
    posterior = _posterior(idata)
    parameters = _parameters(model, read_table(posterior), design)
    fit = foreign_fit(design, parameters, link=link, family=family, source="draws of Bambi")
    _check_means(model, posterior, parameters, design, link=link)
    check_effect_scales(parameters, design)
    return fit


def _formula(model: Any) -> str:
    formula = getattr(model, "formula", None)
    if not hasattr(formula, "main") or not hasattr(model, "data"):
        raise SpecificationError(
            f"the model is of type {type(model).__name__}",
            "a bambi.Model",
            "for draws of other programs use pa.from_draws",
        )
    if formula.additionals:
        raise SpecificationError(
            f"the model has formulas for other parameters: {listing(formula.additionals)}",
            "one formula, for the mean",
            "a distributional model isn't averaged here",
        )
    return str(formula.main)


def _parent(model: Any) -> str:
    return str(model.family.likelihood.parent)


def _link(model: Any) -> Link:
    """The link of the mean, where family, link and priors of the group effects are popavg's."""
    family, name = str(model.family.name), str(model.family.link[_parent(model)].name)
    if family not in _FAMILIES or name not in LINKS:
        raise SpecificationError(
            f"the model has the family {family!r} with the link {name!r}",
            f"{listing(_FAMILIES)} with {listing(LINKS)}",
            "other families aren't averaged here",
        )
    component = getattr(model, "parameters", None) or model.components
    component = component[_parent(model)]
    if component.hsgp_terms:
        raise SpecificationError(
            f"the model has the Gaussian processes {listing(component.hsgp_terms)}",
            "linear terms and normal group effects",
        )
    for term, effect in component.group_specific_terms.items():
        mean = np.asarray(effect.prior.args.get("mu", 0.0))
        if effect.prior.name != "Normal" or mean.any():
            raise SpecificationError(
                f"the effects '{term}' have the distribution {effect.prior}",
                "Normal with mean 0, over which popavg integrates",
                "fit with Bambi's default for group effects",
            )
    return get_link(name)


def _frame(model: Any, formula: Formula) -> pd.DataFrame:
    """The model's data with the level order that Bambi gave them."""
    frame = pd.DataFrame(model.data).reset_index(drop=True).copy()
    for name in formula.columns:
        column = frame.get(name)
        if column is None or not isinstance(column.dtype, pd.CategoricalDtype):
            continue
        if not column.cat.ordered:
            frame[name] = column.cat.set_categories(sorted(column.cat.categories), ordered=True)
    return frame


def _with_event(model: Any, design: Design, data: pd.DataFrame) -> Design:
    """The design whose outcome is the one that Bambi modelled."""
    modelled = np.asarray(model.response_term.data, dtype=float)
    modelled = modelled[:, 0] if modelled.ndim == 2 else modelled
    if np.array_equal(modelled, design.response.y):
        return design
    form = read_form(design.formula.response)
    levels = [str(level) for level in sorted(set(data[form.column].astype(str)))]
    if form.level is None and np.array_equal(modelled, 1.0 - design.response.y):
        event = next(level for level in levels if level != design.response.event)
        text = design.formula.text.split("~", 1)[1]
        return Design.build(
            f"{form.text}['{event}'] ~{text}",
            data,
            family=family_of(design.formula, _link(model)),
            missing=design.missing.policy,
        )
    raise DataError(
        f"the response {design.formula.response!r} isn't the one that Bambi modelled",
        "the same numbers in every row",
        "recode the response to 0 and 1 and fit again",
    )


def _parameters(model: Any, table: DrawTable, design: Design) -> ForeignParameters:
    terms = design.matrices.terms
    beta = np.stack([_coefficient(table, term) for term in terms], axis=-1)
    sd, correlation, effects = {}, {}, {}
    for group in design.matrices.groups:
        scales = [_effect(table, effect, group, suffix="_sigma") for effect in group.effects]
        sd[group.name] = np.stack(scales, axis=-1)
        if block_pairs(group):
            size = len(group.effects)
            correlation[group.name] = np.tile(np.eye(size), (*table.shape, 1, 1))
        values = [_effect(table, effect, group) for effect in group.effects]
        effects[group.name] = np.stack(values, axis=-1)
    names = ("sigma", f"{model.response_term.name}_sigma")
    found = [name for name in names if name in table.arrays]
    sigma = table.get(found[0]).values if found and model.family.name == "gaussian" else None
    return ForeignParameters(beta, sd, correlation, effects, sigma)


def _coefficient(table: DrawTable, term: str) -> Floats:
    parts = components(term)
    name = ":".join(head for head, _ in parts)
    return _labelled(_variable(table, name), parts, term)


def _effect(table: DrawTable, effect: str, group: GroupDesign, *, suffix: str = "") -> Floats:
    """Draws of one effect: its standard deviation, or that of all clusters in their order."""
    parts = components(effect)
    head = "1" if effect == "Intercept" else ":".join(head for head, _ in parts)
    found = _variable(table, f"{head}|{group.name}{suffix}")
    if suffix:
        return _labelled(found, parts, effect)
    axis = found.dims.index(dim) if (dim := f"{group.name}__factor_dim") in found.dims else 0
    labels = found.labels[axis] or ()
    lacking = [level for level in group.levels if level not in labels]
    if lacking:
        raise DataError(
            f"{found.name!r} has no draws for the clusters {listing(lacking, 6)}",
            listing(labels, 6),
            "pass the model and the draws of one fit",
        )
    places = [labels.index(level) for level in group.levels]
    values = np.moveaxis(found.values.take(places, axis=axis + 2), axis + 2, -1)
    rest = tuple(names for i, names in enumerate(found.labels) if i != axis)
    return _labelled(Variable(found.name, values, rest), parts, effect)


def _labelled(found: Variable, parts: list[tuple[str, str | None]], term: str) -> Floats:
    """The part of a variable that belongs to these levels, by their label."""
    levels = ", ".join(level for _, level in parts if level is not None)
    if not levels:
        return found.values
    labels = found.labels[0] if found.labels else None
    if labels is None or levels not in labels:
        raise DataError(
            f"{found.name!r} has draws for {listing(labels or ()) or 'one number'}, not for "
            f"the term {term!r}",
            "the levels of the data, the first being the reference",
            "pass the model and the draws of one fit",
        )
    return found.values[:, :, labels.index(levels)]


def _variable(table: DrawTable, name: str) -> Variable:
    if name not in table.arrays:
        raise DataError(
            f"the posterior has no {name!r}",
            listing(table.names, 30),
            "pass the draws of this model, with Bambi's own names (no aliases)",
        )
    return table.get(name)


def _check_outcome(model: Any, idata: Any) -> None:
    """The draws' own outcome, where it is kept, is the model's."""
    trees = (idata, idata.parent) if isinstance(idata, xr.DataTree) else ()
    groups = (tree.children.get("observed_data") for tree in trees if tree is not None)
    group = next((found for found in groups if found is not None), None)
    name = str(model.response_term.name)
    if group is None or name not in group:
        return
    modelled = np.asarray(model.response_term.data, dtype=float)
    modelled = modelled[:, 0] if modelled.ndim == 2 else modelled
    if not np.array_equal(np.asarray(group[name], dtype=float), modelled):
        raise DataError(
            f"the outcome {name!r} in the draws isn't that of the model",
            "the draws that model.fit() returned",
            "pass the model and the draws of one fit",
        )


def _posterior(idata: Any) -> xr.Dataset:
    found = posterior_of(idata)
    if found is None:
        raise DataError(
            f"idata is of type {type(idata).__name__}",
            "what model.fit() returned, or its posterior",
            "for draws in tables or dicts use pa.from_draws",
        )
    return found


def _check_means(
    model: Any, posterior: xr.Dataset, parameters: ForeignParameters, design: Design, *, link: Link
) -> None:
    """Bambi's own means of some draws are those of the design."""
    n_draws = parameters.shape[1]
    some = np.arange(n_draws)
    predicted = posterior
    if _parent(model) not in posterior:
        some = np.unique(np.linspace(0, n_draws - 1, _CHECKED).astype(int))
        thinned = xr.DataTree.from_dict({"posterior": posterior.isel(draw=some)})
        tree = model.predict(thinned, kind="response_params", inplace=False)
        predicted = tree["posterior"].to_dataset()
    means = predicted[_parent(model)].transpose("chain", "draw", ...).to_numpy()
    if means.ndim != 3:
        raise DataError(
            f"Bambi's means have the shape {means.shape}", "a number for each draw and row"
        )
    chosen = ForeignParameters(
        parameters.beta[:, some],
        effects={name: values[:, some] for name, values in parameters.effects.items()},
    )
    check_values(
        chosen,
        design,
        means.reshape(-1, means.shape[2]),
        what="mean that Bambi predicts",
        tolerance=_TOLERANCE,
        link=link,
    )
