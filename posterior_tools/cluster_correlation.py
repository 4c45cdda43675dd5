"""How alike the rows of one cluster are: median odds ratio, correlations, odds ratios."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from popavg._checks import listing
from popavg.errors import DataError, EstimandError
from popavg.links import Link, get_link
from popavg.mixing import NORMAL
from popavg.posterior_tools._bridge_pairs import median_distance, pair_logs, shared_deviation
from popavg.posterior_tools._joint_logs import cloglog_joint_logs
from popavg.posterior_tools.joint import joint_mean

__all__ = [
    "latent_correlation",
    "median_odds_ratio",
    "pair_correlation",
    "pair_likeness",
    "pair_odds_ratio",
]

type Floats = NDArray[np.float64]

#: Links whose median odds ratio or ratio of means is the same whatever the covariates.
RATIOS = ("logit", "log")
#: Links whose complement is their mean at -eta.
_SYMMETRIC = ("logit", "probit")


def median_odds_ratio(variance: ArrayLike, link: str | Link) -> Floats:
    """Median over pairs of clusters of the larger odds divided by the smaller ones.

    With the log link the same of the means: the median rate ratio.

    Parameters
    ----------
    variance : array_like
        Variance of the clusters' effects on a row, link scale.
    link : str or Link
        ``"logit"`` or ``"log"``.

    Returns
    -------
    numpy.ndarray
        1 where the clusters don't differ.

    Raises
    ------
    EstimandError
        Another link: the ratio of two clusters' odds then depends on the covariates.
    DataError
        Negative variances.

    Notes
    -----
    exp(sqrt(2 v) Phi^-1(3/4)) (Larsen & Merlo 2005, Am. J. Epidemiol. 161:81). For intercepts with
    the bridge distribution the median of |u_1 - u_2| by quadrature, relative error below 1e-9.

    Examples
    --------
    >>> from popavg.posterior_tools.cluster_correlation import median_odds_ratio
    >>> print(median_odds_ratio(1.0, "logit").round(4))
    2.5957
    """
    link = get_link(link)
    if link.name not in RATIOS:
        raise EstimandError(
            f"a median odds ratio for the {link.name} link: it depends on the covariates",
            f"the links {listing(RATIOS)}",
            "look at the distribution of the probability over the clusters",
        )
    variance = _positive(variance, "variance")
    if link.mixing.name != NORMAL.name:
        return np.exp(median_distance(np.sqrt(variance)))[()]
    return np.exp(np.sqrt(2.0 * variance) * special.ndtri(0.75))


def latent_correlation(
    shared: ArrayLike, total: ArrayLike, link: str | Link, *, residual: ArrayLike | None = None
) -> Floats:
    """Correlation of two rows of a cluster on the scale of the linear predictor.

    Parameters
    ----------
    shared : array_like
        Variance of the effects that both rows share.
    total : array_like
        Variance of all random effects on a row.
    link : str or Link
        The link; ``"log"`` has no residual variance on this scale.
    residual : array_like, optional
        Residual variance: needed for the identity link, else that of the link's tolerance
        distribution (logit pi^2 / 3, probit 1, cloglog pi^2 / 6).

    Returns
    -------
    numpy.ndarray
        ``shared / (total + residual)``.

    Raises
    ------
    EstimandError
        The log link, or the identity link without ``residual``.
    DataError
        Negative variances.

    Examples
    --------
    >>> from popavg.posterior_tools.cluster_correlation import latent_correlation
    >>> print(latent_correlation(1.0, 1.0, "logit").round(4))
    0.2331
    """
    link = get_link(link)
    if residual is None:
        if not link.is_probability:
            raise EstimandError(
                f"a correlation on the latent scale of the {link.name} link without a residual",
                "links of a probability, or the identity link with its residual variance",
                "use the correlation on the response scale",
            )
        residual = link.tolerance_sd**2
    total = _positive(total, "total")
    return _positive(shared, "shared") / (total + _positive(residual, "residual"))


def pair_odds_ratio(
    eta_1: ArrayLike,
    eta_2: ArrayLike,
    *,
    variance_1: ArrayLike,
    variance_2: ArrayLike,
    covariance: ArrayLike,
    link: str | Link,
) -> Floats:
    """Odds ratio between the responses of two rows of one cluster.

    The odds of an event in one row where the other has one, divided by the odds where it hasn't;
    the average over clusters of the four combinations, not of odds ratios.

    Parameters
    ----------
    eta_1, eta_2, variance_1, variance_2, covariance, link
        As for :func:`popavg.posterior_tools.joint.joint_mean`.

    Returns
    -------
    numpy.ndarray
        p_11 p_00 / (p_10 p_01); 1 where the rows share nothing.

    Raises
    ------
    EstimandError
        A link whose mean isn't a probability.
    DataError
        As for the joint mean.

    Examples
    --------
    >>> from popavg.posterior_tools.cluster_correlation import pair_odds_ratio
    >>> given = {"variance_1": 4.0, "variance_2": 4.0, "covariance": 4.0}
    >>> print(pair_odds_ratio(0.0, 0.0, **given, link="probit").round(4))
    15.0702
    """
    given = {"variance_1": variance_1, "variance_2": variance_2, "covariance": covariance}
    return pair_likeness(eta_1, eta_2, **given, link=link)[0]


def pair_likeness(
    eta_1: ArrayLike,
    eta_2: ArrayLike,
    *,
    variance_1: ArrayLike,
    variance_2: ArrayLike,
    covariance: ArrayLike,
    link: str | Link,
) -> tuple[Floats, Floats]:
    """Odds ratio and correlation of two rows of one cluster, at the price of one of them.

    Parameters
    ----------
    eta_1, eta_2, variance_1, variance_2, covariance, link
        As for :func:`popavg.posterior_tools.joint.joint_mean`. Two rows alike, given as the very
        same arrays, take three integrals in place of four.

    Returns
    -------
    odds_ratio : numpy.ndarray
        As :func:`pair_odds_ratio`.
    correlation : numpy.ndarray
        As :func:`pair_correlation`.

    Raises
    ------
    EstimandError
        A link whose mean isn't a probability.
    DataError
        As for the joint mean.

    Examples
    --------
    >>> from popavg.posterior_tools.cluster_correlation import pair_likeness
    >>> given = {"variance_1": 3.0, "variance_2": 3.0, "covariance": 3.0}
    >>> print(*(value.round(4) for value in pair_likeness(0.0, 0.0, **given, link="probit")))
    11.2012 0.5399
    """
    link = get_link(link)
    if not link.is_probability:
        raise EstimandError(
            f"an odds ratio of two rows for the {link.name} link: its mean isn't a probability",
            "'logit', 'probit', 'cloglog'",
            "use the correlation of two rows",
        )
    given = {"variance_1": variance_1, "variance_2": variance_2, "covariance": covariance}
    both, first, second, none = _combinations(eta_1, eta_2, **given, link=link)
    arms = (both, first), (second, none), (both, second), (first, none)
    with np.errstate(over="ignore", invalid="ignore"):
        odds_ratio = np.exp(both - first - second + none)[()]
        root = 0.5 * sum(np.logaddexp(*pair) for pair in arms)
        correlation = (np.exp(both + none - root) - np.exp(first + second - root))[()]
    return odds_ratio, correlation


def pair_correlation(
    eta_1: ArrayLike,
    eta_2: ArrayLike,
    *,
    variance_1: ArrayLike,
    variance_2: ArrayLike,
    covariance: ArrayLike,
    link: str | Link,
    residual: ArrayLike | None = None,
) -> Floats:
    """Correlation between the responses of two rows of one cluster, clusters averaged over.

    For two rows alike it is the intra-cluster correlation on the response scale: with a
    probability the variance of the clusters' probabilities divided by p (1 - p), p their mean.

    Parameters
    ----------
    eta_1, eta_2, variance_1, variance_2, covariance, link
        As for :func:`popavg.posterior_tools.joint.joint_mean`.
    residual : array_like, optional
        Residual variance of the identity link.

    Returns
    -------
    numpy.ndarray
        Between -1 and 1. Each row is one trial (0 or 1), one Poisson count (log link) or one
        normal value (identity link).

    Raises
    ------
    EstimandError
        The identity link without ``residual``.
    DataError
        As for the joint mean.

    Examples
    --------
    >>> from popavg.posterior_tools.cluster_correlation import pair_correlation
    >>> given = {"variance_1": 3.0, "variance_2": 3.0, "covariance": 3.0}
    >>> print(pair_correlation(0.0, 0.0, **given, link="probit").round(4))
    0.5399
    """
    link = get_link(link)
    given = {"variance_1": variance_1, "variance_2": variance_2, "covariance": covariance}
    if link.is_probability:
        return pair_likeness(eta_1, eta_2, **given, link=link)[1]
    v_1, v_2 = _positive(variance_1, "variance_1"), _positive(variance_2, "variance_2")
    shared = np.asarray(covariance, dtype=np.float64)
    if link.name == "identity":
        if residual is None:
            raise EstimandError(
                "a correlation of two rows for the identity link without a residual variance",
                remedy="give residual=",
            )
        left = _positive(residual, "residual")
        return shared / np.sqrt((v_1 + left) * (v_2 + left))
    # Poisson: the counts' variance is mean + mean^2 (exp(v) - 1).
    spreads = [
        np.exp(-(np.asarray(eta) + 0.5 * v)) + np.expm1(v)
        for eta, v in ((eta_1, v_1), (eta_2, v_2))
    ]
    return np.expm1(shared) / np.sqrt(spreads[0] * spreads[1])


def _combinations(
    eta_1: ArrayLike,
    eta_2: ArrayLike,
    *,
    variance_1: ArrayLike,
    variance_2: ArrayLike,
    covariance: ArrayLike,
    link: Link,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Logarithms of the probabilities of (1, 1), (1, 0), (0, 1), (0, 0).

    Each by an integral of its own, accurate where it is small.
    """
    alike = eta_1 is eta_2 and variance_1 is variance_2
    one, two = np.asarray(eta_1, dtype=np.float64), np.asarray(eta_2, dtype=np.float64)
    shared = np.asarray(covariance, dtype=np.float64)
    given = {"variance_1": variance_1, "variance_2": variance_2, "link": link}
    if link.mixing.name != NORMAL.name:
        v_1, v_2 = _positive(variance_1, "variance_1"), _positive(variance_2, "variance_2")
        return pair_logs(one, two, shared_deviation(v_1, v_2, shared))
    both = joint_mean(one, two, covariance=shared, **given)
    if link.name in _SYMMETRIC:
        first = joint_mean(one, -two, covariance=-shared, **given)
        second = first if alike else joint_mean(-one, two, covariance=-shared, **given)
        none = joint_mean(-one, -two, covariance=shared, **given)
        with np.errstate(divide="ignore"):
            return np.log(both), np.log(first), np.log(second), np.log(none)
    variances = np.asarray(variance_1, np.float64), np.asarray(variance_2, np.float64)
    etas = one, two
    first = cloglog_joint_logs(etas, variances, shared, events=(True, False), link=link)
    second = first
    if not alike:
        second = cloglog_joint_logs(etas, variances, shared, events=(False, True), link=link)
    none = cloglog_joint_logs(etas, variances, shared, events=(False, False), link=link)
    with np.errstate(divide="ignore"):
        return np.log(both), first, second, none


def _positive(value: ArrayLike, name: str) -> Floats:
    array = np.asarray(value, dtype=np.float64)
    if not (np.isfinite(array) & (array >= 0.0)).all():
        raise DataError(f"{name} isn't finite and positive everywhere", "variances from 0")
    return array
