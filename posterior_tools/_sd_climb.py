"""Conditional maxima of an integrated likelihood, given one standard deviation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from popavg.errors import ConvergenceError, SpecificationError
from popavg.posterior_tools.integrated_design import IntegratedDesign, lower_roots
from popavg.posterior_tools.integrated_likelihood import LikelihoodGradient, value_and_gradient

__all__ = ["Climb", "Start"]

type Floats = NDArray[np.float64]

_BAD = 1e100
#: Where a climb ends, in units of the posterior's spread: about 1e-7 below the maximum.
_GRADIENT = 2e-4


@dataclass(frozen=True, eq=False)
class Start:
    """Where a profile begins, and how far its parameters are known: from a posterior.

    Attributes
    ----------
    beta : numpy.ndarray, shape (terms,)
        Coefficients.
    covariance : numpy.ndarray, shape (terms, terms)
        Their covariance; only the scale of the steps depends on it.
    sd : numpy.ndarray, shape (effects,)
        Standard deviations of the random effects.
    correlation : float or None
        Of two effects; None where they are independent.
    sigma : float or None
        Residual standard deviation; None where there is none.
    """

    beta: Floats
    covariance: Floats
    sd: Floats
    correlation: float | None = None
    sigma: float | None = None


class Climb:
    """Conditional maxima: all parameters but one standard deviation, in units of the posterior's.

    Coordinates: whitened coefficients, then log of the other standard deviation, atanh of the
    correlation, log of sigma, as far as the model has them.
    """

    def __init__(self, integrated: IntegratedDesign, start: Start, effect: int) -> None:
        self.integrated, self.effect = integrated, effect
        self.others = [k for k in range(len(start.sd)) if k != effect]
        self.correlated, self.has_sigma = (
            start.correlation is not None,
            start.sigma is not None,
        )
        self.unit = _unit(start.covariance)
        rho = np.clip(start.correlation or 0.0, -0.99, 0.99)
        self.begin = np.concatenate(
            [
                np.linalg.solve(self.unit, start.beta),
                np.log(np.maximum(start.sd[self.others], 1e-3)),
                [np.arctanh(rho)] if self.correlated else [],
                [np.log(start.sigma)] if start.sigma is not None else [],
            ]
        )
        self.terms = len(start.beta)
        self.curvature: Floats | None = None

    def at(self, sd: float, begin: Floats) -> tuple[float, float, Floats]:
        """Largest log-likelihood at this standard deviation, its slope, and where; NaN where not.

        By the envelope theorem the profile's slope is the likelihood's own in that parameter.
        """
        found = minimize(
            self._negative, begin, args=(sd,), jac=True, method="BFGS",
            options={"gtol": _GRADIENT, "maxiter": 200, "hess_inv0": self.curvature},
        )  # fmt: skip
        if found.fun >= _BAD:
            return np.nan, np.nan, begin
        learned = (found.hess_inv + found.hess_inv.T) / 2
        self.curvature = learned if np.linalg.eigvalsh(learned)[0] > 0 else None
        root, likelihood = self._likelihood(found.x, sd)
        slope = np.asarray(likelihood.root)[self.effect] @ root[self.effect]
        return -float(found.fun), float(slope), found.x

    def scaled(self, point: Floats, before: float, after: float) -> Floats:
        """A first guess further on: population-averaged coefficients kept, exact for a probit."""
        link = self.integrated.outcomes.link
        if not link.is_probability:
            return point
        moved, tolerance = point.copy(), link.tolerance_sd**2
        moved[: self.terms] *= np.sqrt((tolerance + after**2) / (tolerance + before**2))
        return moved

    def _negative(self, point: Floats, sd: float) -> tuple[float, Floats]:
        sds, rho, sigma = self._read(point, sd)
        try:
            root, found = self._likelihood(point, sd)
        except (ConvergenceError, SpecificationError):
            return _BAD, np.zeros_like(point)
        slope, gradient = np.asarray(found.root), np.zeros_like(point)
        gradient[: self.terms] = self.unit.T @ (self.integrated.matrices.X.T @ found.eta)
        place = self.terms
        for other in self.others:
            gradient[place] = slope[other] @ root[other]
            place += 1
        if self.correlated:
            width = np.sqrt((1.0 - rho) * (1.0 + rho))
            gradient[place] = sds[1] * width * (slope[1, 0] * width - slope[1, 1] * rho)
            place += 1
        if sigma is not None:
            gradient[place] = float(found.sigma) * sigma
        return -float(found.value), -gradient

    def _likelihood(self, point: Floats, sd: float) -> tuple[Floats, LikelihoodGradient]:
        sds, rho, sigma = self._read(point, sd)
        root, outcomes = lower_roots(sds, rho), self.integrated.outcomes
        eta = self.integrated.predictor(self.unit @ point[: self.terms])
        return root, value_and_gradient(outcomes, eta, root, sigma=sigma)

    def _read(self, point: Floats, sd: float) -> tuple[Floats, float, float | None]:
        sds, place = np.full(len(self.others) + 1, sd), self.terms
        for other in self.others:
            sds[other] = np.exp(point[place])
            place += 1
        rho = float(np.tanh(point[place])) if self.correlated else 0.0
        return sds, rho, float(np.exp(point[-1])) if self.has_sigma else None


def _unit(covariance: Floats) -> Floats:
    """A root of the covariance, of its diagonal where it has none."""
    matrix = np.atleast_2d(covariance)
    variance = np.where(np.diag(matrix) > 0, np.diag(matrix), 1.0)
    try:
        return np.linalg.cholesky(matrix + 1e-6 * np.diag(variance))
    except np.linalg.LinAlgError:
        return np.diag(np.sqrt(variance))
