"""The naive reference: a GLM by maximum likelihood that knows nothing of the clusters."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from arviz_base import rcParams
from numpy.typing import NDArray
from scipy.special import ndtri
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

from popavg.errors import ConvergenceError, DataError, SpecificationError
from popavg.families import Family
from popavg.links import Link
from popavg.models.separation import check_separation
from popavg.models.statsmodels_adapters import StatsmodelsLink, statsmodels_family

__all__ = [
    "GLMReference",
    "fit_glm_reference",
    "orthonormal_basis",
    "wald_frame",
]

Floats = NDArray[np.float64]
_RANK_TOLERANCE = 1e-10


@dataclass(frozen=True, eq=False)
class GLMReference:
    """A generalised linear model's maximum-likelihood fit, clusters ignored.

    Attributes
    ----------
    terms : tuple of str
        Columns of the design.
    coefficients : ndarray, shape (terms,)
        Estimates on the link scale.
    covariance : ndarray, shape (terms, terms)
        Inverse expected information times the scale.
    scale : float
        1, or the residual variance of a Gaussian response (divided by rows - terms).
    link, family : Link, Family
        The model.
    n_rows : int
        Rows used.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.families import Bernoulli
    >>> from popavg.links import get_link
    >>> from popavg.models.glm_reference import fit_glm_reference
    >>> glm = fit_glm_reference(
    ...     np.ones((4, 1)), np.array([0.0, 1.0, 1.0, 1.0]), link=get_link("logit"),
    ...     family=Bernoulli(), terms=("Intercept",),
    ... )
    >>> glm.to_frame(ci_prob=0.9).columns.tolist()
    ['term', 'estimate', 'std_error', 'lower', 'upper']
    """

    terms: tuple[str, ...]
    coefficients: Floats
    covariance: Floats
    scale: float
    link: Link
    family: Family
    n_rows: int

    def to_frame(self, ci_prob: float | None = None) -> pd.DataFrame:
        """Return a tidy table with Wald intervals.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the confidence intervals; ArviZ's ``stats.ci_prob`` by default.

        Returns
        -------
        pandas.DataFrame
            Columns term, estimate, std_error, lower, upper.
        """
        return wald_frame(self.terms, self.coefficients, self.covariance, ci_prob)

    def predict(self, X: Floats, offset: Floats | None = None) -> Floats:
        """Return the mean response at the rows of a design.

        Parameters
        ----------
        X : ndarray, shape (rows, terms)
            Design.
        offset : ndarray, shape (rows,), optional
            Offset on the link scale.

        Returns
        -------
        ndarray, shape (rows,)
            Mean: a probability, a rate or a value.
        """
        return self.link.inverse(X @ self.coefficients + (0.0 if offset is None else offset))


def wald_frame(
    terms: Sequence[str], coefficients: Floats, covariance: Floats, ci_prob: float | None
) -> pd.DataFrame:
    """Tabulate estimates with normal (Wald) confidence intervals.

    Parameters
    ----------
    terms : sequence of str
        Names.
    coefficients : ndarray, shape (terms,)
        Estimates.
    covariance : ndarray, shape (terms, terms)
        Their covariance.
    ci_prob : float or None
        Probability of the intervals, in (0, 1); None for ArviZ's ``stats.ci_prob``.

    Returns
    -------
    pandas.DataFrame
        Columns term, estimate, std_error, lower, upper.

    Raises
    ------
    SpecificationError
        ``ci_prob`` isn't between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.models.glm_reference import wald_frame
    >>> float(wald_frame(["x"], np.zeros(1), np.eye(1), 0.95)["upper"].iloc[0].round(2))
    1.96
    """
    level = float(rcParams["stats.ci_prob"] if ci_prob is None else ci_prob)
    if not 0.0 < level < 1.0:
        raise SpecificationError(f"ci_prob={ci_prob!r}", "a number between 0 and 1")
    std_error = np.sqrt(np.diag(covariance))
    half = ndtri(0.5 + level / 2.0) * std_error
    return pd.DataFrame(
        {
            "term": list(terms),
            "estimate": coefficients,
            "std_error": std_error,
            "lower": coefficients - half,
            "upper": coefficients + half,
        }
    )


def orthonormal_basis(X: Floats, terms: Sequence[str]) -> tuple[Floats, Floats]:
    """Return Q and T with X T = Q and Q'Q = rows: the columns that the iterations work on.

    Parameters
    ----------
    X : ndarray, shape (rows, terms)
        Design.
    terms : sequence of str
        Its columns' names.

    Returns
    -------
    Q : ndarray, shape (rows, terms)
        The same column space; coefficients of X are T times those of Q.
    T : ndarray, shape (terms, terms)
        Upper triangular.

    Raises
    ------
    DataError
        A column is a combination of those before it.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.models.glm_reference import orthonormal_basis
    >>> X = np.column_stack([np.ones(4), [2000.0, 2001.0, 2002.0, 2003.0]])
    >>> Q, T = orthonormal_basis(X, ("Intercept", "year"))
    >>> bool(np.allclose(X @ T, Q))
    True
    """
    Q, R = np.linalg.qr(X)
    length = np.linalg.norm(X, axis=0)
    diagonal = np.abs(np.diag(R))
    if len(X) < X.shape[1] or (diagonal <= _RANK_TOLERANCE * length).any():
        names = [t for t, d, n in zip(terms, diagonal, length, strict=False) if d <= n * 1e-10]
        raise DataError(
            f"the columns {names} of the design are combinations of the others",
            "linearly independent columns",
            "leave them out of the formula",
        )
    root = np.sqrt(len(X))
    return Q * root, np.linalg.inv(R / root)


def fit_glm_reference(
    X: Floats,
    y: Floats,
    *,
    link: Link,
    family: Family,
    terms: Sequence[str],
    trials: Floats | None = None,
    offset: Floats | None = None,
    maxiter: int = 200,
    tol: float = 1e-11,
) -> GLMReference:
    """Fit a GLM by maximum likelihood, every row taken as independent.

    Parameters
    ----------
    X : ndarray, shape (rows, terms)
        Design.
    y : ndarray, shape (rows,)
        0/1, successes out of ``trials``, counts or values.
    link, family : Link, Family
        The model.
    terms : sequence of str
        Names of the columns.
    trials : ndarray, shape (rows,), optional
        Trials of each row.
    offset : ndarray, shape (rows,), optional
        Offset on the link scale.
    maxiter : int
        Most iterations of weighted least squares.
    tol : float
        Largest change of a coefficient (of an orthonormal basis of the design) at convergence.

    Returns
    -------
    GLMReference
        Estimates and their usual covariance: inverse expected information, as R's ``glm``.

    Raises
    ------
    SeparationError
        The design separates events from non-events.
    ConvergenceError
        The iterations didn't arrive.
    DataError
        The design is rank-deficient.

    Notes
    -----
    Its standard errors take the rows of a cluster for independent: too small for covariates that
    vary between clusters. It is the naive column of a comparison, not a method to use.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.families import Bernoulli
    >>> from popavg.links import get_link
    >>> from popavg.models.glm_reference import fit_glm_reference
    >>> glm = fit_glm_reference(
    ...     np.ones((4, 1)), np.array([0.0, 1.0, 1.0, 1.0]), link=get_link("logit"),
    ...     family=Bernoulli(), terms=("Intercept",),
    ... )
    >>> bool(np.isclose(glm.coefficients[0], np.log(3)))
    True
    """
    if family.name != "gaussian":
        check_separation(X, y, trials, terms, counts=family.name == "poisson")
    basis, transform = orthonormal_basis(X, terms)
    endog = y if trials is None else np.column_stack([y, trials - y])
    adapted = statsmodels_family(family, StatsmodelsLink(link))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", PerfectSeparationWarning)
        model = GLM(endog, basis, family=adapted, offset=offset)
        try:
            fitted = model.fit(maxiter=maxiter, tol_criterion="params", atol=tol, rtol=tol)
        except (ValueError, np.linalg.LinAlgError) as error:
            raise _diverged(maxiter) from error
    covariance = transform @ np.asarray(fitted.cov_params()) @ transform.T
    if not fitted.converged or not np.isfinite(covariance).all():
        raise _diverged(maxiter)
    coefficients = transform @ np.asarray(fitted.params)
    return GLMReference(
        tuple(terms), coefficients, covariance, float(fitted.scale), link, family, len(y)
    )


def _diverged(maxiter: int) -> ConvergenceError:
    return ConvergenceError(
        f"the GLM didn't converge in {maxiter} iterations",
        remedy="look for covariates with extreme values, or for levels with hardly any events",
    )
