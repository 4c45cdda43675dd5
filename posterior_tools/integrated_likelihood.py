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
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from popavg.errors import ConvergenceError, SpecificationError
from popavg.posterior_tools._bridge_lines import integrate_bridge_lines
from popavg.posterior_tools._integrated_kernels import Data, Result, Setting, integrate_lines
from popavg.posterior_tools._integrated_links import Cloglog, Log, Logit, Probit
from popavg.posterior_tools._integrated_normal import integrate_normals
from popavg.posterior_tools._integrated_plane import integrate_planes
from popavg.posterior_tools._logit_lines import integrate_logit_lines
from popavg.posterior_tools._logit_planes import integrate_logit_planes
from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes
from popavg.posterior_tools.quadrature import cpus

__all__ = [
    "LARGEST_SLOPE",
    "LikelihoodGradient",
    "QuadratureError",
    "log_likelihood",
    "quadrature_error",
    "total_log_likelihood",
    "value_and_gradient",
]

type Floats = NDArray[np.float64]
type Kernel = Callable[..., None]

LARGEST_SLOPE = 1e4
"""Largest standard deviation of an effect's part of eta: the nodes grow in proportion to it."""

MARKERS = {"logit": Logit(), "probit": Probit(), "cloglog": Cloglog(), "log": Log()}


def kernels(link: str, n_effects: int, *, bridge: bool = False) -> tuple[Kernel | None, Kernel]:
    """A fast rule that leaves some clusters out, where there is one, and the one for the others."""
    if bridge:
        return integrate_logit_lines, integrate_bridge_lines
    general = integrate_lines if n_effects == 1 else integrate_planes
    if link != "logit":
        return None, general
    return (integrate_logit_lines if n_effects == 1 else integrate_logit_planes), general


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
    found = draws.each(lambda d: _spread(outcomes, draws.integrate(d).value))
    return np.stack(found) if draws.many else found[0]


def total_log_likelihood(
    outcomes: ClusteredOutcomes, eta: ArrayLike, root: ArrayLike, *, sigma: ArrayLike | None = None
) -> Floats:
    """Log-likelihood of all clusters together, of many draws; faster than adding up clusters'.

    Parameters
    ----------
    outcomes : ClusteredOutcomes
        The outcomes.
    eta : array_like, shape (draws, rows)
        Predictors of the distinct rows, u = 0.
    root : array_like, shape (draws, effects, effects)
        Lower triangular root L of the effects' covariance.
    sigma : array_like, shape (draws,), optional
        Gaussian outcomes: residual standard deviations.

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
    out, constant = np.empty(len(draws.eta)), float(outcomes.constant.sum())

    def run(part: NDArray[np.intp]) -> None:
        clusters = len(outcomes.multiplicity)
        found = draws.empty(want=False)
        setting = Setting(0, clusters, False, 1.0, 0.0, outcomes.bridge)
        for d in part.tolist():
            draws.kernel(d, setting, found)
            out[d] = constant + outcomes.multiplicity @ found.value

    parts = np.array_split(np.arange(len(out)), min(len(out), 4 * cpus()))
    with ThreadPoolExecutor(cpus()) as pool:
        list(pool.map(run, parts))
    return out


def value_and_gradient(
    outcomes: ClusteredOutcomes, eta: ArrayLike, root: ArrayLike, *, sigma: ArrayLike | None = None
) -> LikelihoodGradient:
    """Total log-likelihood with its gradient in the predictors, the root and sigma.

    Parameters
    ----------
    outcomes : ClusteredOutcomes
        The outcomes.
    eta : array_like, shape (rows,) or (draws, rows)
        Predictors of the distinct rows, u = 0.
    root : array_like, shape (effects, effects) or (draws, effects, effects)
        Lower triangular root L of the effects' covariance.
    sigma : array_like, optional
        Gaussian outcomes: residual standard deviation.

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
    found = draws.each(lambda d: _gradient(outcomes, draws.integrate(d, want=True)))
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
    eta : array_like, shape (rows,)
        Predictors of the distinct rows, u = 0.
    root : array_like, shape (effects, effects)
        Lower triangular root L of the effects' covariance.
    sigma : array_like, optional
        Gaussian outcomes: residual standard deviation.

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


def _spread(outcomes: ClusteredOutcomes, value: Floats) -> Floats:
    return value[outcomes.inverse] + outcomes.constant


def _gradient(outcomes: ClusteredOutcomes, result: _Found) -> LikelihoodGradient:
    counts = outcomes.multiplicity
    value = float((counts * result.value).sum() + outcomes.constant.sum())
    weighted = outcomes.weights * result.eta
    eta = np.bincount(outcomes.data.row, weights=weighted, minlength=outcomes.n_rows)
    root = (counts[:, None, None] * result.root).sum(axis=0)
    return LikelihoodGradient(value, eta, root, float((counts * result.sigma).sum()))


class _Found(NamedTuple):
    """What the kernels found, by distinct cluster and by entry."""

    value: Floats
    error: Floats
    root: Floats
    eta: Floats
    sigma: Floats


class Parameters(NamedTuple):
    """Checked parameters of one draw or of many, on an axis of draws."""

    outcomes: ClusteredOutcomes
    eta: Floats
    root: Floats
    sigma: Floats
    many: bool

    @classmethod
    def read(
        cls, outcomes: ClusteredOutcomes, eta: ArrayLike, root: ArrayLike, sigma: ArrayLike | None
    ) -> Parameters:
        """Check shapes and values; one draw gets an axis of draws."""
        eta, root = np.asarray(eta, dtype=np.float64), np.asarray(root, dtype=np.float64)
        q, many = outcomes.n_effects, eta.ndim == 2
        lead = eta.shape[:-1]
        if eta.shape != (*lead, outcomes.n_rows) or eta.ndim > 2 or root.shape != (*lead, q, q):
            raise SpecificationError(
                f"eta has the shape {eta.shape} and root {root.shape}",
                f"({outcomes.n_rows},) and ({q}, {q}), or both with one more axis of draws before",
            )
        scale = _read_sigma(outcomes, sigma, lead)
        eta, root = np.atleast_2d(eta), root.reshape(-1, q, q)
        _check_values(outcomes, eta, root)
        return cls(outcomes, np.ascontiguousarray(eta), root, scale.reshape(-1), many)

    def each[T](self, one: Callable[[int], T]) -> list[T]:
        """One result a draw; several draws are shared among threads."""
        if len(self.eta) == 1:
            return [one(0)]
        with ThreadPoolExecutor(cpus()) as pool:
            return list(pool.map(one, range(len(self.eta))))

    def integrate(
        self, d: int, *, want: bool = False, finer: float = 1.0, wider: float = 0.0
    ) -> _Found:
        """One draw; its clusters are shared among threads where it is the only one."""
        outcomes, found = self.outcomes, self.empty(want=want)
        whole = ((0, len(outcomes.multiplicity)),)
        pieces = whole if len(self.eta) > 1 else outcomes.pieces

        def run(piece: tuple[int, int]) -> None:
            self.kernel(d, Setting(*piece, want, finer, wider, outcomes.bridge), found)

        if len(pieces) <= 1:
            run(whole[0])
        else:
            with ThreadPoolExecutor(cpus()) as pool:
                list(pool.map(run, pieces))
        _check_found(found)
        return found

    def empty(self, *, want: bool) -> _Found:
        """Where one draw's results go."""
        clusters, q = len(self.outcomes.multiplicity), self.outcomes.n_effects
        return _Found(
            np.empty(clusters),
            np.empty(clusters),
            np.zeros((clusters, q, q)),
            np.empty(len(self.outcomes.data.row) if want else 0),
            np.zeros(clusters),
        )

    def as_plane(self, d: int) -> tuple[Data, Floats]:
        """The entries and the root with a second effect that is 0 where there is but one."""
        data, q = self.outcomes.data, self.outcomes.n_effects
        root = np.zeros((2, 2))
        root[:q, :q] = self.root[d]
        if q == 1:
            data = data._replace(Z=np.column_stack([data.Z, np.zeros(len(data.Z))]))
        return data, root

    def kernel(self, d: int, setting: Setting, found: _Found) -> None:
        """Integrate a run of one draw's clusters."""
        outcomes = self.outcomes
        result = Result(found.value, found.error, found.root, found.eta)
        if outcomes.family.has_scale:
            data, root = self.as_plane(d)
            parameters, q = (self.eta[d], root, float(self.sigma[d])), outcomes.n_effects
            wide = result._replace(root=np.zeros((len(found.value), 2, 2)))
            integrate_normals(data, parameters, setting, wide, (outcomes.within, found.sigma))
            first, last = setting.first, setting.last
            found.root[first:last] = np.tril(wide.root[first:last, :q, :q])
            return
        parameters = self.eta[d], np.ascontiguousarray(self.root[d])
        found.error[setting.first : setting.last] = np.nan
        direct, general = kernels(outcomes.link.name, outcomes.n_effects, bridge=setting.bridge)
        if direct is not None and (outcomes.n_effects == 2 or outcomes.same_effect):
            direct(outcomes.data, parameters, setting, result)
            if not np.isnan(found.error[setting.first : setting.last]).any():
                return
        general(MARKERS[outcomes.link.name], outcomes.data, parameters, setting, result)


def _read_sigma(
    outcomes: ClusteredOutcomes, sigma: ArrayLike | None, lead: tuple[int, ...]
) -> Floats:
    if (sigma is not None) != outcomes.family.has_scale:
        came = "no sigma came" if sigma is None else "sigma came"
        raise SpecificationError(
            f"{came} with {outcomes.family.name} outcomes", "sigma with gaussian outcomes alone"
        )
    scale = np.ones(lead) if sigma is None else np.asarray(sigma, dtype=np.float64)
    if scale.ndim and scale.shape != lead:
        raise SpecificationError(f"sigma has the shape {scale.shape}", f"{lead} or one number")
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise SpecificationError(f"sigma is {scale.min():g}", "positive numbers")
    return np.broadcast_to(scale, lead)


def _check_values(outcomes: ClusteredOutcomes, eta: Floats, root: Floats) -> None:
    for name, values in (("eta", eta), ("root", root)):
        if not np.isfinite(values).all():
            raise SpecificationError(f"{name} has values that aren't finite", "finite numbers")
    if outcomes.n_effects == 2 and root[:, 0, 1].any():
        raise SpecificationError(
            "root isn't lower triangular", "the Cholesky factor of Σ", "use numpy.linalg.cholesky"
        )
    sizes = np.abs(outcomes.data.Z).max(axis=0, initial=0.0)
    steepest = float(np.max(np.abs(root) * sizes[:, None], initial=0.0))
    if steepest > LARGEST_SLOPE and not outcomes.family.has_scale:
        raise SpecificationError(
            f"an effect's standard deviation times its covariate is {steepest:g}",
            f"up to {LARGEST_SLOPE:g} on the scale of the predictor",
            "rescale the covariate, or check for clusters whose outcomes are all equal",
        )


def _check_found(found: _Found) -> None:
    bad = np.isnan(found.value)
    if bad.any():
        raise ConvergenceError(
            f"the integral of {int(bad.sum())} of {len(bad)} distinct clusters can't be computed "
            f"(number {int(np.flatnonzero(bad)[0])} first)",
            remedy="check the scales of the covariates and of the random effects",
        )
