"""Generalised estimating equations on arrays: statsmodels' iterations, geepack's conventions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from statsmodels.genmod.generalized_estimating_equations import GEE
from statsmodels.tools.sm_exceptions import IterationLimitWarning

from popavg._checks import check_choice
from popavg.errors import ConvergenceError
from popavg.families import Family
from popavg.links import Link
from popavg.models._gee_checks import check_time, cluster_codes
from popavg.models.gee_result import GEEResult
from popavg.models.glm_reference import fit_glm_reference, orthonormal_basis
from popavg.models.statsmodels_adapters import StatsmodelsLink, statsmodels_family
from popavg.models.working_correlation import IndependenceStructure, make_structure
from popavg.posterior_tools.working_correlation import WORKING_CORRELATIONS, ClusterLayout

__all__ = ["GeepackGEE", "fit_gee_arrays"]

Floats = NDArray[np.float64]
_STEPS = 4
_FEW_CLUSTERS = 40
_ROUNDING = 16 * float(np.finfo(np.float64).eps)
_REMEDY = (
    "use working_correlation='independence', hold the correlation with alpha=, or look for"
    " covariates with extreme values"
)


class GeepackGEE(GEE):
    """statsmodels' estimating equations with geepack's scale and prior weights.

    Parameters
    ----------
    y : ndarray, shape (rows,)
        Response, a proportion where there are trials; sorted by cluster.
    X : ndarray, shape (rows, columns)
        Design.
    structure : IndependenceStructure
        The working correlation, with the clusters.
    link, family : Link, Family
        Mean and variance.
    weights, offset : ndarray, shape (rows,)
        Prior weights w (trials, or ones) and offset.

    Notes
    -----
    phi = sum w r^2 / sum w, with no correction for the number of coefficients. The variance is
    computed from the linear predictor, so that neither tail is clipped. statsmodels' ``weights=``
    stays unused: its exchangeable structure reads row i's weight as cluster i's.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.families import Poisson
    >>> from popavg.links import get_link
    >>> from popavg.models.estimating_equations import GeepackGEE
    >>> from popavg.models.working_correlation import make_structure
    >>> from popavg.posterior_tools.working_correlation import ClusterLayout
    >>> structure = make_structure("independence", ClusterLayout.build([0, 0, 1, 1]), None)
    >>> one = np.ones(4)
    >>> model = GeepackGEE(
    ...     2 * one, one[:, None], structure, link=get_link("log"), family=Poisson(),
    ...     weights=one, offset=0 * one,
    ... )
    >>> model.update_cached_means(np.zeros(1))
    >>> float(model.estimate_scale())
    1.0
    """

    def __init__(
        self,
        y: Floats,
        X: Floats,
        structure: IndependenceStructure,
        *,
        link: Link,
        family: Family,
        weights: Floats,
        offset: Floats,
    ) -> None:
        self.mean_link, self.mean_family = link, family
        self.prior_weights, self.prior_offset = weights, offset
        self.stdev = self.pearson = np.zeros_like(y)
        layout = self.layout = structure.layout
        super().__init__(
            y,
            X,
            np.repeat(np.arange(len(layout.sizes)), layout.sizes),
            family=statsmodels_family(family, StatsmodelsLink(link)),
            cov_struct=structure,
            offset=offset,
        )

    def update_cached_means(self, mean_params: Floats) -> None:
        """Compute means, Pearson residuals and working standard deviations of all rows.

        Parameters
        ----------
        mean_params : ndarray, shape (columns,)
            Coefficients.
        """
        eta = self.exog @ mean_params + self.prior_offset
        mean = self.mean_link.inverse(eta)
        if self.mean_link.is_probability:
            variance = mean * self.mean_link.complement(eta)
        else:
            variance = self.mean_family.variance(mean)
        self.pearson = (self.endog - mean) / np.sqrt(variance)
        self.stdev = np.sqrt(variance / self.prior_weights)
        cuts = self.layout.starts[1:]
        self.cached_means = list(zip(np.split(mean, cuts), np.split(eta, cuts), strict=True))

    def estimate_scale(self) -> float:
        """Return phi at the current means.

        Returns
        -------
        float
            sum w r^2 / sum w.
        """
        return float(np.average(self.pearson**2, weights=self.prior_weights))


def fit_gee_arrays(
    X: Floats,
    y: Floats,
    groups: ArrayLike,
    *,
    link: Link,
    family: Family,
    terms: Sequence[str],
    working_correlation: str = "exchangeable",
    alpha: float | None = None,
    time: Floats | None = None,
    trials: Floats | None = None,
    offset: Floats | None = None,
    groups_name: str = "cluster",
    formula: str = "",
    notes: Sequence[str] = (),
    maxiter: int = 200,
    tol: float = 1e-10,
) -> GEEResult:
    """Fit a GEE to arrays, rows in any order.

    Parameters
    ----------
    X : ndarray, shape (rows, terms)
        Design of full rank.
    y : ndarray, shape (rows,)
        0/1, successes out of ``trials``, counts or values.
    groups : array_like, shape (rows,)
        Label of each row's cluster.
    link, family : Link, Family
        The model of the mean and its variance.
    terms : sequence of str
        Names of the columns.
    working_correlation : {"independence", "exchangeable", "ar1"}
        The working correlation.
    alpha : float, optional
        Holds the correlation at this value.
    time : ndarray, shape (rows,), optional
        Time of each row; needed by and used for AR(1) only.
    trials : ndarray, shape (rows,), optional
        Trials of each row, the prior weights.
    offset : ndarray, shape (rows,), optional
        Offset on the link scale.
    groups_name, formula, notes : str, str, sequence of str
        Passed on to the result and the messages.
    maxiter : int
        Most updates of the coefficients.
    tol : float
        Largest last change, in (model-based) standard errors, at convergence. A change that is
        rounding compared with the coefficients is none: where the fit is exact, phi and with it
        the standard errors are next to 0.

    Returns
    -------
    GEEResult
        The estimates.

    Raises
    ------
    DataError
        One cluster, or one row in each; two rows of a cluster at one time (AR(1)).
    SpecificationError
        An unknown working correlation, ``alpha`` out of range, AR(1) without a time.
    SeparationError
        No finite estimate exists.
    ConvergenceError
        The updates didn't arrive, or the estimated correlation is impossible.

    Notes
    -----
    Solves sum_i D_i' V_i^{-1} (y_i - mu_i) = 0, V_i = phi S_i R_i(alpha) S_i with
    S_i = diag(sqrt(v(mu_ij) / w_ij)) (Liang & Zeger 1986), with statsmodels' iterations and
    geepack's moment estimators of phi and alpha. The iterations work on an orthonormal basis of
    the design, so that neither units nor collinear columns cost digits.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.families import Bernoulli
    >>> from popavg.links import get_link
    >>> from popavg.models.estimating_equations import fit_gee_arrays
    >>> y = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    >>> result = fit_gee_arrays(
    ...     np.ones((6, 1)), y, list("aabbcc"), link=get_link("logit"), family=Bernoulli(),
    ...     terms=("Intercept",),
    ... )
    >>> round(result.alpha, 6)
    0.333333
    """
    check_choice("working_correlation", working_correlation, WORKING_CORRELATIONS)
    codes = cluster_codes(groups, groups_name)
    when = check_time(time, codes, groups, groups_name) if working_correlation == "ar1" else None
    layout = ClusterLayout.build(codes, time=when)
    structure = make_structure(working_correlation, layout, alpha)
    basis, transform = orthonormal_basis(X, terms)
    glm = fit_glm_reference(
        X, y, link=link, family=family, terms=terms, trials=trials, offset=offset
    )
    weights = np.ones_like(y) if trials is None else trials
    model = _model(
        y / weights, basis, structure, link=link, family=family, weights=weights, offset=offset
    )
    start = np.linalg.solve(transform, glm.coefficients)
    coefficients, robust, naive = _iterate(model, start, maxiter, tol)
    return GEEResult(
        terms=tuple(terms),
        coefficients=transform @ coefficients,
        covariance=transform @ robust @ transform.T,
        covariance_model=transform @ naive @ transform.T,
        alpha=structure.alpha,
        scale=model.estimate_scale(),
        working_correlation=working_correlation,
        link=link,
        family=family,
        n_rows=len(y),
        n_clusters=len(layout.sizes),
        groups=groups_name,
        formula=formula,
        notes=(*notes, *_few_clusters(len(layout.sizes))),
    )


def _model(
    y: Floats,
    basis: Floats,
    structure: IndependenceStructure,
    *,
    link: Link,
    family: Family,
    weights: Floats,
    offset: Floats | None,
) -> GeepackGEE:
    """The estimating equations of the sorted rows."""
    order = structure.layout.order
    shift = np.zeros_like(y) if offset is None else offset
    return GeepackGEE(
        y[order],
        basis[order],
        structure,
        link=link,
        family=family,
        weights=weights[order],
        offset=shift[order],
    )


def _iterate(
    model: GeepackGEE, start: Floats, maxiter: int, tol: float
) -> tuple[Floats, Floats, Floats]:
    """Update until the last change is below ``tol`` standard errors, or mere rounding.

    The basis is orthonormal: a step's length is the root mean square of the predictors' change.
    """
    change = np.inf
    for done in range(0, maxiter, _STEPS):
        steps = min(_STEPS, maxiter - done)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", IterationLimitWarning)
            try:
                fitted = model.fit(start_params=start, maxiter=steps, ctol=0.0)
            except np.linalg.LinAlgError as error:
                raise _diverged(done) from error
        params = np.asarray(fitted.params)
        before = [start, *fitted.fit_history["params"]][-2]
        if not (np.isfinite(params).all() and np.isfinite(fitted.cov_robust).all()):
            raise _diverged(done + steps)
        step = params - before
        rounding = _ROUNDING * (np.linalg.norm(params) + np.abs(model.prior_offset).max())
        if np.linalg.norm(step) <= rounding:
            return params, fitted.cov_robust, fitted.cov_naive
        change = float(np.sqrt(step @ np.linalg.solve(fitted.cov_naive, step)))
        if change <= tol:
            return params, fitted.cov_robust, fitted.cov_naive
        start = params
    raise ConvergenceError(
        f"the GEE didn't converge in {maxiter} updates: the last one still changed the"
        f" coefficients by {change:.2g} standard errors",
        remedy=_REMEDY,
    )


def _diverged(done: int) -> ConvergenceError:
    return ConvergenceError(
        f"the GEE diverged after {done} updates: fitted means left the range of the response",
        remedy=_REMEDY,
    )


def _few_clusters(n_clusters: int) -> tuple[str, ...]:
    if n_clusters >= _FEW_CLUSTERS:
        return ()
    return (
        f"with {n_clusters} clusters the robust standard errors are too small and Wald intervals"
        f" too narrow: fewer than {_FEW_CLUSTERS} clusters need a small-sample correction"
        " (Li & Redden 2015)",
    )
