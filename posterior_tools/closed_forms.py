"""Population-averaged coefficients in closed form, where a link has one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from popavg.errors import DataError, EstimandError
from popavg.links import Link, get_link
from popavg.mixing import require_normal
from popavg.posterior_tools._rows import Basis, blocks, check_design, check_draws

__all__ = ["attenuation", "exact"]

Floats = NDArray[np.float64]

SPAN_TOLERANCE = 1e-10
ZEGER_C = 16.0 * np.sqrt(3.0) / (15.0 * np.pi)


def exact(
    beta: ArrayLike,
    variance: ArrayLike,
    X: ArrayLike,
    link: Link | str,
    *,
    offset: ArrayLike | None = None,
) -> Floats:
    """Population-averaged coefficients in closed form, where the link has one.

    Parameters
    ----------
    beta : array_like, shape (draws, terms)
        Conditional coefficients.
    variance : array_like, shape (draws, rows) or (draws, 1)
        v = z' Sigma z of each row.
    X : array_like, shape (rows, terms)
        The design, of full column rank.
    link : Link or str
        The link.
    offset : array_like, shape (rows,), optional
        Known part of the predictor.

    Returns
    -------
    ndarray, shape (draws, terms)
        Probit beta/sqrt(1 + v), log beta with v/2 added to the intercept, identity beta; logit
        with a bridge-distributed intercept phi beta, phi = (1 + 3 v/pi^2)^(-1/2).

    Raises
    ------
    EstimandError
        The link has no closed form, or the population's predictor isn't linear in X.
    DataError
        As `project`, and negative variances.

    Notes
    -----
    The closed forms of the predictor (probit eta/sqrt(1 + v), log eta + v/2, identity eta, bridge
    phi eta) are coefficients only where they are linear in the columns of X, which is checked
    draw by draw (relative residual below 1e-10): a constant v for the probit, an Intercept for the
    log.

    Examples
    --------
    >>> from popavg.posterior_tools.closed_forms import exact
    >>> exact([[1.0, 2.0]], [[3.0]], [[1.0, 0.0], [1.0, 1.0]], "probit").round(12).tolist()
    [[0.5, 1.0]]
    """
    chosen = get_link(link)
    return _closed_form(beta, variance, X, chosen, offset=offset, form=chosen.marginal_predictor)


def attenuation(
    beta: ArrayLike,
    variance: ArrayLike,
    X: ArrayLike,
    link: Link | str,
    *,
    offset: ArrayLike | None = None,
) -> Floats:
    """Zeger, Liang and Albert's approximation; for teaching.

    Parameters
    ----------
    beta : array_like, shape (draws, terms)
        Conditional coefficients.
    variance : array_like, shape (draws, rows) or (draws, 1)
        v = z' Sigma z of each row, the same for all rows of a draw.
    X : array_like, shape (rows, terms)
        The design, of full column rank.
    link : Link or str
        The link; not cloglog.
    offset : array_like, shape (rows,), optional
        Known part of the predictor.

    Returns
    -------
    ndarray, shape (draws, terms)
        Logit beta/sqrt(1 + c^2 v), c = 16 sqrt(3)/(15 pi); other links as `exact`.

    Raises
    ------
    EstimandError
        Random slopes, an offset, a link without such an approximation, or random intercepts with
        the bridge distribution.
    DataError
        As `exact`.

    Notes
    -----
    Zeger, Liang and Albert (1988, Biometrics 44:1049), equation for the logit by the probit of
    equal variance. Wrong by up to 0.011 in the probability; prefer `project`.

    Examples
    --------
    >>> from popavg.posterior_tools.closed_forms import attenuation
    >>> attenuation([[1.0]], [[4.0]], [[1.0]], "logit").round(6).tolist()
    [[0.647745]]
    """
    chosen = get_link(link)
    require_normal(chosen.mixing, "Zeger, Liang and Albert's approximation", "use method='exact'")
    form = _zeger if chosen.name == "logit" else chosen.marginal_predictor
    return _closed_form(beta, variance, X, chosen, offset=offset, form=form)


def _zeger(eta: Floats, variance: Floats) -> Floats:
    return eta / np.sqrt(1.0 + ZEGER_C**2 * variance)


def _closed_form(
    beta: ArrayLike,
    variance: ArrayLike,
    X: ArrayLike,
    link: Link,
    *,
    offset: ArrayLike | None,
    form: Callable[[Floats, Floats], Floats | None],
) -> Floats:
    coefs = check_draws("beta", beta, None)
    design, fixed = check_design(X, offset)
    v = np.asarray(variance, dtype=np.float64)
    check_closed_shapes(coefs, v, design)
    weight = np.ones(len(design))
    basis = Basis.build(design, weight)
    out, refused = coefs.copy(), 0
    for block in blocks(len(coefs), len(design)):
        eta = coefs[block] @ design.T + fixed
        population = form(eta, v[block])
        if population is None:
            raise EstimandError(
                f"the {link.name} link has no closed form for normal random effects",
                remedy="use method='projection'",
            )
        shift = population - eta
        gamma = basis.regress(shift, weight)
        left = np.abs(shift - gamma @ basis.columns.T).max(axis=1)
        scale = np.abs(shift).max(axis=1) + 1e-3 * np.abs(population).max(axis=1)
        refused += int((left > SPAN_TOLERANCE * scale).sum())
        out[block] += basis.coefficients(gamma)
    if refused:
        raise _not_linear(link, v, fixed, refused=refused)
    return out


def _not_linear(link: Link, v: Floats, fixed: Floats, *, refused: int) -> EstimandError:
    varies = bool((np.ptp(v, axis=1) > 1e-12 * np.abs(v).max(axis=1)).any())
    if varies:
        why = "the random effects' variance differs between rows (random slopes)"
    elif np.any(fixed):
        why = "the offset is attenuated too"
    else:
        why = "X has no Intercept column to take up half the random effects' variance"
    return EstimandError(
        f"the population's predictor under the {link.name} link isn't linear in the columns of X"
        f" in {refused} of {len(v)} draws looked at together: {why}",
        remedy="use method='projection'",
    )


def check_closed_shapes(coefs: Floats, v: Floats, design: Floats) -> None:
    if coefs.shape[1] != design.shape[1]:
        raise DataError(f"beta of shape {coefs.shape}", f"(draws, {design.shape[1]}), as X")
    if v.ndim != 2 or len(v) != len(coefs) or v.shape[1] not in (1, len(design)):
        raise DataError(
            f"variances of shape {v.shape}", f"({len(coefs)}, {len(design)}) or ({len(coefs)}, 1)"
        )
    if not np.isfinite(v).all() or (v < 0.0).any():
        raise DataError("variances that are negative or not finite", "finite, not negative")
