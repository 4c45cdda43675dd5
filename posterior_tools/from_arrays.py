"""A fit from arrays: coefficients, covariances, and the matrices that they are multiplied by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from popavg._checks import listing
from popavg.design import Design, family_of
from popavg.errors import DataError, SpecificationError
from popavg.formula import Formula
from popavg.links import Link, get_link
from popavg.mixing import NORMAL
from popavg.posterior_tools._array_frame import ArrayFrame, Factor, read_arrays
from popavg.posterior_tools._mapping_checks import check_not_correlations
from popavg.posterior_tools._numbers import as_floats
from popavg.posterior_tools.agreement import check_agreement, given_values
from popavg.posterior_tools.clusters import UNKNOWN
from popavg.posterior_tools.draw_table import check_finite
from popavg.posterior_tools.draws import read_specification
from popavg.posterior_tools.effect_scale import check_effect_scales
from popavg.posterior_tools.foreign import (
    ForeignParameters,
    check_cluster_order,
    check_scales,
    foreign_fit,
    from_covariance,
)
from popavg.specification import ATTRIBUTE

__all__ = ["from_arrays"]

type Floats = NDArray[np.float64]

_SCALES = (
    "give variances as cov=, standard deviations as sd=, and effects times their standard "
    "deviation as u="
)
_CORRELATIONS = (
    "correlations alone aren't enough: multiply them by the standard deviations, R * sd[..., :, "
    "None] * sd[..., None, :]; where the model fixes these at 1, use pa.from_draws with names "
    "'sd_…' and 'corr_…'"
)


def from_arrays(
    beta: ArrayLike,
    cov: ArrayLike | Mapping[str, ArrayLike] | None,
    X: ArrayLike | pd.DataFrame,
    Z: ArrayLike | pd.DataFrame | Mapping[str, Any] | None = None,
    *,
    link: str | Link,
    sd: ArrayLike | Mapping[str, ArrayLike] | None = None,
    groups: ArrayLike | Mapping[str, ArrayLike] | None = None,
    u: ArrayLike | Mapping[str, ArrayLike] | None = None,
    y: ArrayLike | None = None,
    trials: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    sigma: ArrayLike | None = None,
    eta: ArrayLike | None = None,
    log_likelihood: ArrayLike | None = None,
    tolerance: float = 1e-4,
) -> xr.DataTree:
    r"""Make a fit from posterior draws and design matrices: every verb then works on it.

    Where there is a formula prefer :func:`popavg.from_draws`: here an interaction or a spline is a
    column like any other, so that a contrast of ``x`` doesn't move the column of ``x * z``.

    Parameters
    ----------
    beta : array_like, shape (draws, terms) or (chains, draws, terms)
        Conditional coefficients of the columns of ``X``.
    cov : array_like or mapping, or None
        Covariance matrices of the random effects, shape (draws, q, q), or (draws,) for the
        *variances* of one effect; a mapping for several grouping factors; chains first where
        ``beta`` has them. None with ``sd``, and for a model without random effects.
    X : array_like or DataFrame, shape (rows, terms)
        Fixed effects' design. Columns of a frame keep their names, those of an array are ``x0``,
        ``x1``, …; a column of ones is ``Intercept``.
    Z : array_like, DataFrame or mapping, shape (rows, q), optional
        Random effects' design, by default a column of ones. A column that equals one of ``X``
        takes its name; new rows must have all columns.
    link : {"logit", "probit", "cloglog", "log", "identity"} or Link
        The model's link; it has no default.
    sd : array_like or mapping, optional
        Standard deviations in place of ``cov``: (draws,), or (draws, q) of uncorrelated effects.
    groups : array_like or mapping, optional
        Each row's cluster. A mapping names the factors; otherwise the factor is ``group``. Without
        ``groups`` (and ``u``) nobody knows which rows share a cluster: population means don't
        need that, and averages with ``weights="cluster"`` are refused.
    u : array_like or mapping, optional
        The clusters' own effects, shape (draws, clusters) or (draws, clusters, q), for the target
        ``"sampled"``; clusters sorted by their value, so that whole numbers from 0 in ``groups``
        are positions.
    y, trials, offset : array_like, shape (rows,), optional
        Outcome (successes, where there are trials), trials, and what is added to the linear
        predictor. Without ``y`` what fits data (:func:`popavg.compare_gee`) is refused in words.
    sigma : array_like, shape (draws,), optional
        Residual standard deviation, with the identity link.
    eta, log_likelihood : array_like, shape (draws, rows), optional
        What the draws must reproduce, see :func:`popavg.from_draws`; they need ``u``.
    tolerance : float
        Largest difference from them, relative to 1 + \|value\|.

    Returns
    -------
    xarray.DataTree
        As :func:`popavg.fit` returns it, for all verbs and :func:`popavg.save`.

    Raises
    ------
    SpecificationError
        Arguments that contradict each other, or ``trials`` without ``y``.
    DataError
        Shapes that don't fit; draws that are NaN or infinite; scales that aren't positive, or
        covariances that aren't positive definite, or that are correlations; columns that depend on
        each other; a linear predictor that isn't reproduced; scales that the draws of the
        clusters' effects contradict, see
        :func:`popavg.posterior_tools.effect_scale.check_effect_scales`.

    Examples
    --------
    >>> import numpy as np
    >>> import popavg as pa
    >>> rng = np.random.default_rng(1)
    >>> X = np.column_stack([np.ones(6), np.arange(6)])
    >>> fit = pa.from_arrays(rng.normal(size=(100, 2)), rng.random(100) + 1, X, link="probit")
    >>> fit["posterior"]["term"].values.tolist()
    ['Intercept', 'x1']
    """
    chosen = get_link(link)
    factors = _factors(cov, sd, Z=Z, groups=groups)
    frame = read_arrays(X, factors, {"y": y, "trials": trials, "offset": offset})
    formula = Formula.parse(frame.formula, one_sided=True)
    family = family_of(formula, chosen)
    design = Design.build(formula, frame.data, family=family)
    if eta is None and log_likelihood is None:
        _check_clusters(design, _each("u", u, factors))
    parameters = _parameters(beta, factors, frame, design, others={"u": u, "sigma": sigma})
    fit = foreign_fit(design, parameters, link=chosen, family=family, source="draws from arrays")
    known = _each("u", u, factors)
    if chosen.mixing.name == NORMAL.name:
        check_effect_scales(parameters, design, remedy=_SCALES)
    _note_unknown(fit, [n for n, f in factors.items() if f.codes is None and n not in known])
    check_agreement(
        parameters,
        design,
        link=chosen,
        family=family,
        eta=given_values(eta, None, design, what="eta"),
        log_likelihood=given_values(log_likelihood, None, design, what="log_likelihood"),
        tolerance=tolerance,
    )
    return fit


def _factors(cov: Any, sd: Any, *, Z: Any, groups: Any) -> dict[str, Factor]:
    """The grouping factors and what was given for each."""
    if cov is not None and sd is not None:
        raise SpecificationError("cov and sd are both given", "one of them", "leave one out")
    scale, is_sd = (sd, True) if cov is None else (cov, False)
    if scale is None:
        given = [name for name, value in (("Z", Z), ("groups", groups)) if value is not None]
        if given:
            raise SpecificationError(
                f"{listing(given)} without cov or sd",
                "the covariances of the random effects beside their design",
                "give cov or sd, or leave out what belongs to random effects",
            )
        return {}
    if isinstance(scale, Mapping):
        scales = {str(name): value for name, value in scale.items()}
    else:
        scales = {_factor_name(groups): scale}
    designs, codes = _each("Z", Z, scales), _each("groups", groups, scales)
    return {
        name: Factor(value, is_sd, designs.get(name), codes.get(name))
        for name, value in scales.items()
    }


def _factor_name(groups: Any) -> str:
    if isinstance(groups, Mapping) and len(groups) == 1:
        return str(next(iter(groups)))
    name = getattr(groups, "name", None)
    return "group" if name is None else str(name)


def _each(argument: str, value: Any, scales: Mapping[str, Any]) -> dict[str, Any]:
    """What was given for each factor, from a mapping or, with one factor, as it is."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        if len(scales) > 1:
            raise SpecificationError(
                f"one {argument} for the factors {listing(scales)}",
                "a mapping of factors",
                f"write {argument}={{{next(iter(scales))!r}: …}}",
            )
        return dict.fromkeys(scales, value)
    unknown = [str(name) for name in value if str(name) not in scales]
    if unknown:
        raise SpecificationError(f"{argument} has {listing(unknown)}", listing(scales))
    return {str(name): part for name, part in value.items()}


def _note_unknown(fit: xr.DataTree, names: list[str]) -> None:
    """The factors of which nobody told which rows share a cluster."""
    if names:
        known = read_specification(fit)
        told = replace(known, sampler={**known.sampler, UNKNOWN: names})
        fit.attrs[ATTRIBUTE] = told.to_json()


def _check_clusters(design: Design, given: Mapping[str, Any]) -> None:
    """Numbered clusters are in the order of their numbers; others may be in two orders."""
    for group in design.matrices.groups:
        numbered = pd.api.types.is_numeric_dtype(design.frame[group.name])
        if group.name in given and not numbered:
            check_cluster_order(
                f"u of {group.name}",
                group,
                "give groups as whole numbers, the positions of the clusters in u",
            )


def _parameters(
    beta: Any,
    factors: Mapping[str, Factor],
    frame: ArrayFrame,
    design: Design,
    *,
    others: Mapping[str, Any],
) -> ForeignParameters:
    draws = as_floats(beta, "beta")
    if draws.ndim not in (2, 3) or draws.shape[-1] != len(frame.terms) or not draws.size:
        raise DataError(
            f"beta has the shape {draws.shape}",
            f"(draws, {len(frame.terms)}) or (chains, draws, {len(frame.terms)}), for the columns "
            f"{listing(frame.terms)}",
            "give a coefficient for each column of X",
        )
    lead = draws.shape[:-1]
    draws = _draws("beta", draws, lead, [(len(frame.terms),)])
    order = [frame.terms.index(term) for term in design.matrices.terms]
    sd, correlation, effects = {}, {}, {}
    given = _each("u", others["u"], factors)
    for group in design.matrices.groups:
        name, factor = group.name, factors[group.name]
        places = [frame.effects[name].index(effect) for effect in group.effects]
        sd[name], matrix = _scales(name, factor, lead, places)
        if len(places) > 1 and matrix is not None:
            correlation[name] = matrix
        if name in given:
            shape = len(group.levels), len(places)
            own: list[tuple[int, ...]] = [shape]
            own += [shape[:1]] if len(places) == 1 else []
            found = _draws(f"u of {name!r}", given[name], lead, own)
            effects[name] = found.reshape(*found.shape[:2], *shape)[..., places]
    sigma = others["sigma"]
    sigma = None if sigma is None else _draws("sigma", sigma, lead, [()])
    return ForeignParameters(draws[..., order], sd, correlation, effects, sigma)


def _scales(
    name: str, factor: Factor, lead: tuple[int, ...], places: list[int]
) -> tuple[Floats, Floats | None]:
    """Standard deviations and correlations of a factor's effects, in the design's order."""
    size = len(places)
    own: list[tuple[int, ...]] = [(size,)] if factor.is_sd else [(size, size)]
    own += [()] if size == 1 else []
    what = f"{'sd' if factor.is_sd else 'cov'} of {name!r}"
    values = _draws(what, factor.scale, lead, own)
    if factor.is_sd:
        sd = values.reshape(*values.shape[:2], size)
        check_scales(what, sd)
        return sd[..., places], None
    covariance = values.reshape(*values.shape[:2], size, size)
    sd, correlation = from_covariance(what, covariance)
    check_not_correlations(what, covariance, _CORRELATIONS)
    return sd[..., places], correlation[..., places, :][..., places]


def _draws(name: str, values: Any, lead: tuple[int, ...], own: list[tuple[int, ...]]) -> Floats:
    """Finite draws of one of these shapes, chains first."""
    array = as_floats(values, name)
    if array.shape not in [(*lead, *shape) for shape in own]:
        words = "chains, draws" if len(lead) == 2 else "draws"
        raise DataError(
            f"{name} has the shape {array.shape}",
            " or ".join(str((*lead, *shape)) for shape in own) + f", {words} first as in beta",
            "give it for the same chains and draws, and for all effects and clusters",
        )
    array = array if len(lead) == 2 else array[None]
    check_finite(name, array)
    return array
