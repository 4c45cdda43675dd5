r"""The likelihood of clustered outcomes with the clusters' effects integrated out.

With u = L z, z ~ N(0, I), the likelihood of cluster i is ∫ ∏_j p(y_ij | η_ij + Z_ij'L z) φ(z) dz,
one integral for each cluster; L is the lower triangular root of Σ, for a random intercept τ. Where
the link is that of bridge-distributed intercepts (:class:`popavg.bridge_logit.BridgeLogit`) u has
this distribution, τ being its standard deviation.

Notes
-----
The integrals are taken by the trapezoid rule about each integrand's mode, whose error decreases
exponentially in the number of nodes; the step is chosen cluster by cluster from the integrand's
curvature and its poles (:mod:`popavg.posterior_tools._integrated_line`). Two harmonics of the
terms tell the error of the rule at no cost: where it is above 1e-9 of the cluster's likelihood the
step is shortened, in every evaluation. Nothing depends on the number of threads.

The logit has faster rules for most clusters. With one effect the step is chosen so that the error
is below 5e-9 whatever the predictors (:mod:`popavg.posterior_tools._logit_lines`). With two the
step is the forecast alone, which nothing checks in every evaluation
(:mod:`popavg.posterior_tools._logit_planes`); `quadrature_error` does by refinement.

With the bridge distribution u is no multiple of a z. Clusters share nodes at its percentiles, and
those whose terms' harmonics say that these are too far apart have nodes of their own
(:mod:`popavg.posterior_tools._bridge_lines`); the error of both is below 1e-8.

Gradients treat the nodes as fixed: they are the exact derivatives of the rule, and differ from
those of the integral by as little as the values do.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from popavg.errors import SpecificationError
from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes
from popavg.posterior_tools.integrated_parameters import Integrals, Parameters
from popavg.posterior_tools.quadrature import cpus

__all__ = [
    "LikelihoodGradient",
    "QuadratureError",
    "log_likelihood",
    "quadrature_error",
    "total_log_likelihood",
    "value_and_gradient",
]

type Floats = NDArray[np.float64]

#: Predictors whose integrals along lines take less time than starting threads does.
_LITTLE = 2**15


class LikelihoodGradient(NamedTuple):
    """Total log-likelihood and its gradient; with a leading axis of draws where draws came.

    Attributes
    ----------
    value : float or numpy.ndarray
        The clusters' log-likelihoods added up.
    eta : numpy.ndarray, shape (rows,)
        Derivatives in the predictors of the distinct rows: X' of it is the one in β.
    root : numpy.ndarray, shape (effects, effects)
        Derivatives in L, lower triangular.
    sigma : float or numpy.ndarray
        Derivative in the residual standard deviation; 0 where there is none.

    Examples
    --------
    >>> from popavg.posterior_tools.integrated_likelihood import LikelihoodGradient
    >>> LikelihoodGradient._fields
    ('value', 'eta', 'root', 'sigma')
    """

    value: float | Floats
    eta: Floats
    root: Floats
    sigma: float | Floats


class QuadratureError(NamedTuple):
    """How far the log-likelihood is from one with half the step and a wider range.

    Attributes
    ----------
    clusters : numpy.ndarray, shape (clusters,)
        Of each cluster's log-likelihood, without sign.
    total : float
        Of their sum.

    Examples
    --------
    >>> from popavg.posterior_tools.integrated_likelihood import QuadratureError
    >>> QuadratureError._fields
    ('clusters', 'total')
    """

    clusters: Floats
    total: float


def log_likelihood(
    outcomes: ClusteredOutcomes, eta: ArrayLike, root: ArrayLike, *, sigma: ArrayLike | None = None
) -> Floats:
    """Log-likelihood of each cluster.

    Parameters
    ----------
    outcomes : ClusteredOutcomes
        The outcomes.
    eta : array_like, shape (rows,) or (draws, rows)
        Predictors of the distinct rows, u = 0.
    root : array_like, shape (effects, effects) or (draws, effects, effects)
        Lower triangular root L of the effects' covariance Σ = L L'; [[τ]] for an intercept.
    sigma : array_like, optional
        Gaussian outcomes: residual standard deviation, one number or one for each draw.

    Returns
    -------
    numpy.ndarray, shape (clusters,) or (draws, clusters)

    Raises
    ------
    SpecificationError
        Shapes that don't fit, values that aren't finite, a root above `LARGEST_SLOPE`.
    ConvergenceError
        An integral can't be computed to about 1e-9.

    Examples
    --------
    >>> from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes
    >>> from popavg.posterior_tools.integrated_likelihood import log_likelihood
    >>> one = ClusteredOutcomes.build([1], [0], row=[0], Z=[[1.0]], link="logit")
    >>> log_likelihood(one, [0.0], [[2.0]]).round(6)
    array([-0.693147])
    """
    draws = Parameters.read(outcomes, eta, root, sigma)
    parts = _shared(draws, draws.one_by_one)
    found = [_spread(outcomes, one.value) for part in parts for one in part]
    return np.stack(found) if draws.many else found[0]


def total_log_likelihood(
    outcomes: ClusteredOutcomes, eta: ArrayLike, root: ArrayLike, *, sigma: ArrayLike | None = None
) -> Floats:
    """Log-likelihood of all clusters together, of many draws; faster than adding up clusters'.

    Parameters
    ----------
    outcomes : ClusteredOutcomes
        The outcomes.
    eta, root, sigma : array_like
        As in `log_likelihood`, of many draws.

    Returns
    -------
    numpy.ndarray, shape (draws,)
        NaN where an integral can't be computed.

    Raises
    ------
    SpecificationError
        As `log_likelihood`.

    Examples
    --------
    >>> from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes
    >>> from popavg.posterior_tools.integrated_likelihood import total_log_likelihood
    >>> two = ClusteredOutcomes.build([1, 0], [0, 1], row=[0, 0], Z=[[1.0]], link="logit")
    >>> total_log_likelihood(two, [[0.0], [0.0]], [[[0.5]], [[2.0]]]).round(6)
    array([-1.386294, -1.386294])
    """
    draws = Parameters.read(outcomes, np.atleast_2d(np.asarray(eta, dtype=float)), root, sigma)
    # Not a product of matrices: its rounding depends on how many draws come together.
    found = _shared(draws, draws.together)
    totals = [(part.value * outcomes.multiplicity).sum(axis=1) for part in found]
    return float(outcomes.constant.sum()) + np.concatenate(totals)


def value_and_gradient(
    outcomes: ClusteredOutcomes, eta: ArrayLike, root: ArrayLike, *, sigma: ArrayLike | None = None
) -> LikelihoodGradient:
    """Total log-likelihood with its gradient in the predictors, the root and sigma.

    Parameters
    ----------
    outcomes : ClusteredOutcomes
        The outcomes.
    eta, root, sigma : array_like
        As in `log_likelihood`.

    Returns
    -------
    LikelihoodGradient

    Raises
    ------
    SpecificationError
        As `log_likelihood`.
    ConvergenceError
        As `log_likelihood`.

    Examples
    --------
    >>> from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes
    >>> from popavg.posterior_tools.integrated_likelihood import value_and_gradient
    >>> one = ClusteredOutcomes.build([1], [0], row=[0], Z=[[1.0]], link="probit")
    >>> gradient = value_and_gradient(one, [0.0], [[2.0]])
    >>> gradient.eta.round(6)  # (2/π)^½ (1 + τ²)^-½
    array([0.356825])
    """
    draws = Parameters.read(outcomes, eta, root, sigma)
    parts = _shared(draws, partial(draws.one_by_one, want=True))
    found = [_gradient(outcomes, one) for part in parts for one in part]
    if not draws.many:
        return found[0]
    return LikelihoodGradient(*(np.stack(part) for part in zip(*found, strict=True)))


def quadrature_error(
    outcomes: ClusteredOutcomes, eta: ArrayLike, root: ArrayLike, *, sigma: ArrayLike | None = None
) -> QuadratureError:
    """How far the rule is from one with half the step that goes on to smaller terms.

    Parameters
    ----------
    outcomes : ClusteredOutcomes
        The outcomes.
    eta, root, sigma : array_like
        As in `log_likelihood`, of one draw.

    Returns
    -------
    QuadratureError
        Zeros for Gaussian outcomes, whose integral has a closed form.

    Raises
    ------
    SpecificationError
        As `log_likelihood`; or draws came.
    ConvergenceError
        As `log_likelihood`.

    Examples
    --------
    >>> from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes
    >>> from popavg.posterior_tools.integrated_likelihood import quadrature_error
    >>> one = ClusteredOutcomes.build([1], [0], row=[0], Z=[[1.0]], link="logit")
    >>> quadrature_error(one, [1.0], [[4.0]]).total < 1e-9
    True
    """
    draws = Parameters.read(outcomes, eta, root, sigma)
    if draws.many:
        raise SpecificationError("eta of several draws came", "one draw", "call it draw by draw")
    rule = draws.integrate(0)
    fine = draws.integrate(0, finer=0.5, wider=10.0)
    gap = rule.value - fine.value
    return QuadratureError(np.abs(gap)[outcomes.inverse], float(abs(gap @ outcomes.multiplicity)))


def _shared[T](draws: Parameters, run: Callable[[slice], T]) -> list[T]:
    """Runs of draws shared among threads, or one run where there is little to do."""
    count, single = len(draws.eta), draws.outcomes.n_effects == 1
    pieces = min(count, 1 if single and draws.eta.size <= _LITTLE else 4 * cpus())
    cuts = np.linspace(0, count, pieces + 1).astype(int).tolist()
    parts = [slice(*ends) for ends in pairwise(cuts)]
    if len(parts) <= 1:
        return [run(part) for part in parts]
    with ThreadPoolExecutor(cpus()) as pool:
        return list(pool.map(run, parts))


def _spread(outcomes: ClusteredOutcomes, value: Floats) -> Floats:
    return value[outcomes.inverse] + outcomes.constant


def _gradient(outcomes: ClusteredOutcomes, result: Integrals) -> LikelihoodGradient:
    counts = outcomes.multiplicity
    value = float((counts * result.value).sum() + outcomes.constant.sum())
    weighted = outcomes.weights * result.eta
    eta = np.bincount(outcomes.data.row, weights=weighted, minlength=outcomes.n_rows)
    root = (counts[:, None, None] * result.root).sum(axis=0)
    return LikelihoodGradient(value, eta, root, float((counts * result.sigma).sum()))
