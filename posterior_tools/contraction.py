"""How much the data narrowed a parameter's prior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from popavg.errors import DataError
from popavg.priors import Prior

__all__ = ["Contraction", "contraction"]

type Floats = NDArray[np.float64]

#: Log odds of the percentiles at which a prior's quantiles are tabulated.
_LOG_ODDS = np.linspace(-36.0, 36.0, 2881)


@dataclass(frozen=True)
class Contraction:
    """A parameter before and after the data.

    Attributes
    ----------
    value : float
        1 − Var(posterior)/Var(prior) on the scale of the prior's own percentiles: 0 where the
        posterior is the prior, 1 where the data pin the parameter down; negative where the
        posterior sits in both tails of the prior.
    place : float
        Mean percentile of the prior at which the posterior lies: 0.5 in its middle.
    prior : tuple of float
        Equal-tailed interval of the prior.
    posterior : tuple of float
        Equal-tailed interval of the draws.
    prob : float
        Level of the two intervals.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.contraction import contraction
    >>> prior = pa.Prior("HalfNormal", 2)
    >>> contraction(prior.quantile([0.2, 0.25, 0.3]), prior).value > 0.95
    True
    """

    value: float
    place: float
    prior: tuple[float, float]
    posterior: tuple[float, float]
    prob: float


def contraction(draws: ArrayLike, prior: Prior, *, prob: float = 0.9) -> Contraction:
    """Prior-to-posterior contraction of one parameter.

    Parameters
    ----------
    draws : array_like
        Posterior draws, of any shape.
    prior : Prior
        The parameter's prior; continuous.
    prob : float
        Level of the intervals that are reported beside it.

    Returns
    -------
    Contraction

    Raises
    ------
    DataError
        No draws, or draws that aren't finite.
    SpecificationError
        A prior whose distribution isn't known.

    Notes
    -----
    Schad, Betancourt & Vasishth (2021, Psychological Methods 26:103) take the variances of the
    parameter itself. For a standard deviation that fails at both ends: a half-Cauchy prior has no
    variance, and on the log scale a posterior close to zero is as wide as its prior. Under the
    prior its percentiles F(θ) are uniform, whatever it is, so 1 − 12 Var(F(θ) | y) is always
    defined, and the same for a standard deviation, its square and its logarithm.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.contraction import contraction
    >>> prior = pa.Prior("HalfCauchy", 2.5)
    >>> abs(contraction(prior.draw(20_000, seed=1), prior).value) < 0.02  # nothing learned
    True
    """
    values = np.asarray(draws, dtype=np.float64).ravel()
    if not values.size or not np.isfinite(values).all():
        raise DataError("no draws, or draws that are NaN or infinite", "finite posterior draws")
    tail = (1.0 - prob) / 2.0
    ends = [tail, 1.0 - tail]
    lower, upper = np.quantile(values, ends)
    before = prior.quantile(ends)
    places = percentiles(values, prior)
    return Contraction(
        value=1.0 - 12.0 * float(places.var()),
        place=float(places.mean()),
        prior=(float(before[0]), float(before[1])),
        posterior=(float(lower), float(upper)),
        prob=prob,
    )


def percentiles(values: Floats, prior: Prior) -> Floats:
    """The prior's distribution function, from a table of its quantiles."""
    share = expit(_LOG_ODDS)
    points = prior.quantile(share)
    usable = np.isfinite(points) & np.append(True, np.diff(points) > 0.0)
    return np.interp(values, points[usable], share[usable], left=0.0, right=1.0)
