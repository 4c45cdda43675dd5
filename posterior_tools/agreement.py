"""Hold draws from another program against a linear predictor or log-likelihood that it gave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from popavg._checks import listing
from popavg.design import Design
from popavg.errors import DataError
from popavg.families import Family
from popavg.links import Link
from popavg.posterior_tools._numbers import as_floats
from popavg.posterior_tools.draw_table import DrawTable, check_finite
from popavg.posterior_tools.foreign import ForeignParameters

__all__ = ["check_agreement", "check_values", "given_values", "linear_predictor"]

type Floats = NDArray[np.float64]

_BLOCK = 2_000_000
_REMEDY = "mend the formula, the names or the data; no number of this fit could be trusted"


def linear_predictor(parameters: ForeignParameters, design: Design, draws: slice) -> Floats:
    """Linear predictor of the rows with the clusters' own effects, shape (draws, rows).

    Parameters
    ----------
    parameters : ForeignParameters
        Draws in the design's order.
    design : Design
        Formula and data.
    draws : slice
        Which draws, chains laid one after the other.

    Notes
    -----
    η = x'β + offset + Σ_g z_g'u_g.
    """
    matrices = design.matrices
    eta = _flat(parameters.beta)[draws] @ matrices.X.T + matrices.offset
    for group in matrices.groups:
        effects = _flat(parameters.effects[group.name])[draws]
        for k in range(len(group.effects)):
            eta += effects[:, group.index, k] * group.Z[:, k]
    return eta


def check_agreement(
    parameters: ForeignParameters,
    design: Design,
    *,
    link: Link,
    family: Family,
    eta: Floats | None = None,
    log_likelihood: Floats | None = None,
    tolerance: float = 1e-4,
) -> None:
    r"""The other program's numbers follow from the draws, the formula and the data.

    Parameters
    ----------
    parameters : ForeignParameters
        Draws in the design's order, with the clusters' own effects.
    design : Design
        Formula and data.
    link : Link
        The model's link.
    family : Family
        The response's distribution.
    eta, log_likelihood : numpy.ndarray, shape (draws, rows), optional
        The other program's linear predictor, and log-likelihood of each row.
    tolerance : float
        Largest difference, relative to 1 + \|value\|.

    Raises
    ------
    DataError
        They differ: how far, where, and what this kind of difference usually comes from; or
        there are no draws of the clusters' effects to compute with.
    """
    if eta is None and log_likelihood is None:
        return
    lacking = [g.name for g in design.matrices.groups if g.name not in parameters.effects]
    if lacking:
        raise DataError(
            f"there are no draws of the effects of {listing(lacking)}, so a linear predictor or "
            "log-likelihood can't be reproduced",
            "draws of the clusters' own effects beside eta or log_likelihood",
            f"name them ('u_{lacking[0]}'), or leave out eta and log_likelihood",
        )
    if eta is not None:
        what = "linear predictor that was given"
        check_values(parameters, design, eta, what=what, tolerance=tolerance)
    if log_likelihood is not None:
        model = link, family
        _check_log_likelihood(parameters, design, model, log_likelihood, tolerance=tolerance)


def given_values(
    value: Any, table: DrawTable | None, design: Design, *, what: str
) -> Floats | None:
    """Numbers of each draw and row, from an array or by a name in the draws.

    Parameters
    ----------
    value : str or array_like, optional
        A variable's name, or an array of shape (draws, rows) or (chains, draws, rows).
    table : DrawTable or None
        The draws.
    design : Design
        The rows.
    what : str
        The argument, for messages.

    Raises
    ------
    DataError
        Another shape, or numbers that are NaN or infinite.
    """
    if value is None:
        return None
    if isinstance(value, str) and table is not None:
        values = table.get(value).values
    else:
        values = as_floats(value, what)
        values = values[None] if values.ndim == 2 else values
    n_rows = len(design.frame)
    if values.ndim != 3 or values.shape[2] != n_rows:
        raise DataError(
            f"{what} has the shape {values.shape}",
            f"(chains, draws, {n_rows}) or (draws, {n_rows}): a number for each draw and row",
            "leave the rows out that missing='drop' leaves out"
            if design.missing.rows
            else "check that these are the rows of the data",
        )
    check_finite(what, values)
    return _flat(values)


def check_values(
    parameters: ForeignParameters,
    design: Design,
    given: Floats,
    *,
    what: str,
    tolerance: float,
    link: Link | None = None,
) -> None:
    r"""The linear predictor, or its mean where there is a link, equals what was given.

    Parameters
    ----------
    parameters : ForeignParameters
        Draws in the design's order.
    design : Design
        Formula and data.
    given : numpy.ndarray, shape (draws, rows)
        What the other program computed.
    what : str
        What it is, in words.
    tolerance : float
        Largest difference, relative to 1 + \|value\|.
    link : Link, optional
        Compare means on the response scale.

    Raises
    ------
    DataError
        They differ.
    """
    _check_draws(parameters, given, what)
    worst, size, place, difference = 0.0, 0.0, (0, 0), None
    for rows in _blocks(given):
        eta = linear_predictor(parameters, design, rows)
        ours = eta if link is None else link.inverse(eta)
        gap = np.abs(ours - given[rows]) / (1.0 + np.abs(given[rows]))
        if gap.max() > worst:
            draw, row = np.unravel_index(int(np.argmax(gap)), gap.shape)
            worst, place = float(gap.max()), (rows.start + int(draw), int(row))
            difference, size = given[place[0]] - ours[draw], float(given[place] - ours[draw, row])
            if link is not None:
                difference = link.link(given[place[0]]) - eta[draw]
    if worst > tolerance and difference is not None:
        reason = _reason(parameters, design, place[0], difference)
        raise _differ(what, parameters, place, size=size, reason=reason)


def _check_log_likelihood(
    parameters: ForeignParameters,
    design: Design,
    model: tuple[Link, Family],
    given: Floats,
    *,
    tolerance: float,
) -> None:
    link, family = model
    if family.has_scale and parameters.sigma is None:
        raise DataError(
            "a Gaussian log-likelihood needs the residual standard deviation",
            "draws of 'sigma'",
            "name them, or leave out log_likelihood",
        )
    _check_draws(parameters, given, "log-likelihood")
    for rows in _blocks(given):
        eta = linear_predictor(parameters, design, rows)
        sigma = None if parameters.sigma is None else parameters.sigma.reshape(-1, 1)[rows]
        ours = _log_density(design, link, eta, sigma)
        gap = np.abs(ours - given[rows]) / (1.0 + np.abs(given[rows]))
        if not gap.max() <= tolerance:
            draw, row = np.unravel_index(int(np.argmax(gap)), gap.shape)
            place = rows.start + int(draw), int(row)
            reason = (
                "a centred intercept, another reference level, another order of the clusters, "
                "another event of the response, or a density without its constants"
            )
            size = float(given[place] - ours[draw, row])
            what = "log-likelihood that was given"
            raise _differ(what, parameters, place, size=size, reason=reason)


def _log_density(design: Design, link: Link, eta: Floats, sigma: Floats | None) -> Floats:
    y, trials = design.response.y, design.response.trials
    if sigma is not None:
        return -0.5 * ((y - eta) / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2 * np.pi)
    if not link.is_probability:
        return y * link.log_inverse(eta) - link.inverse(eta) - gammaln(y + 1)
    n = np.ones_like(y) if trials is None else trials
    constant = gammaln(n + 1) - gammaln(y + 1) - gammaln(n - y + 1)
    return constant + y * link.log_inverse(eta) + (n - y) * link.log_complement(eta)


def _reason(parameters: ForeignParameters, design: Design, draw: int, difference: Floats) -> str:
    """What a difference of this form usually comes from."""
    matrices = design.matrices
    if not np.isfinite(difference).all():
        return "it reaches to where the mean is at the end of its range"
    small = 1e-3 * np.abs(difference).max()
    if np.ptp(difference) <= small:
        slopes = _flat(parameters.beta)[draw].copy()
        if "Intercept" in matrices.terms:
            slopes[matrices.terms.index("Intercept")] = 0.0
            shift = float(-(matrices.X.mean(axis=0) @ slopes))
            if abs(shift - difference[0]) <= small:
                return (
                    "it is the same in all rows and is what centring the columns takes from the "
                    "intercept: say centred=True"
                )
        return "it is the same in all rows: another intercept or offset, or centred columns"
    weights, *_ = np.linalg.lstsq(matrices.X, difference)
    if np.abs(difference - matrices.X @ weights).max() <= small:
        size = np.abs(weights) * np.abs(matrices.X).max(axis=0)
        named = [t for t, s in zip(matrices.terms, size, strict=True) if s > small]
        return (
            f"it lies in the terms {listing(named, 6)}: another reference level, contrast coding, "
            "order or scaling of columns"
        )
    for group in matrices.groups:
        means = np.bincount(group.index, difference) / np.bincount(group.index)
        if np.abs(difference - means[group.index]).max() <= small:
            return (
                f"it is the same in all rows of a cluster of {group.name!r}: the clusters are in "
                "another order, or their effects are standardised"
            )
    return (
        "it lies in the clusters' effects, or in several terms: the clusters' order, an effect "
        "that is standardised, or rows in another order"
    )


def _differ(
    what: str,
    parameters: ForeignParameters,
    place: tuple[int, int],
    *,
    size: float,
    reason: str,
) -> DataError:
    chain, draw = divmod(place[0], parameters.shape[1])
    return DataError(
        f"the draws don't reproduce the {what}: the largest difference is "
        f"{size:.3g}, in row {place[1]} (counted from 0) of draw {draw + 1} of chain {chain + 1}; "
        f"{reason}",
        "numbers that follow from the draws, the formula and the data",
        _REMEDY,
    )


def _check_draws(parameters: ForeignParameters, given: Floats, what: str) -> None:
    n_draws = parameters.shape[0] * parameters.shape[1]
    if len(given) != n_draws:
        raise DataError(
            f"the {what} has {len(given)} draws, the parameters {n_draws}",
            "the same draws",
            "thin both alike",
        )


def _flat(values: Floats) -> Floats:
    return values.reshape(-1, *values.shape[2:])


def _blocks(given: Floats) -> Iterator[slice]:
    size = max(1, _BLOCK // max(given.shape[1], 1))
    for start in range(0, len(given), size):
        yield slice(start, min(start + size, len(given)))
