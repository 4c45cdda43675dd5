"""Mixtures of multivariate t distributions, fitted to weighted draws: proposals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import gammaln, logsumexp

__all__ = ["StudentMixture", "fit_mixture", "student"]

type Floats = NDArray[np.float64]

#: Degrees of freedom of fitted components: the tails are another component's part.
FREEDOM = 10.0
_MOST_COMPONENTS = 3
_ROUNDS = 15


@dataclass(frozen=True, eq=False)
class StudentMixture:
    """A mixture of multivariate t distributions.

    Attributes
    ----------
    weights : numpy.ndarray, shape (components,)
        Shares, adding up to 1.
    means : numpy.ndarray, shape (components, size)
        Centres.
    roots : numpy.ndarray, shape (components, size, size)
        Lower triangular roots of the scale matrices.
    freedom : numpy.ndarray, shape (components,)
        Degrees of freedom.
    """

    weights: Floats
    means: Floats
    roots: Floats
    freedom: Floats

    @property
    def size(self) -> int:
        """Dimension of a draw."""
        return self.means.shape[1]

    def log_parts(self, points: Floats) -> tuple[Floats, Floats]:
        """Log of weight × density and squared distances, both of shape (components, points)."""
        inverses = np.linalg.inv(self.roots)
        moved = np.einsum("kij,knj->kin", inverses, points - self.means[:, None], optimize=False)
        distances = np.einsum("kin,kin->kn", moved, moved, optimize=False)
        nu, size = self.freedom[:, None], self.size
        volume = np.log(np.einsum("kii->ki", self.roots)).sum(axis=1)[:, None]
        constant = gammaln((nu + size) / 2) - gammaln(nu / 2) - size / 2 * np.log(np.pi * nu)
        density = constant - volume - (nu + size) / 2 * np.log1p(distances / nu)
        return density + np.log(self.weights)[:, None], distances

    def log_density(self, points: Floats) -> Floats:
        """Log density of points, shape (points,)."""
        return np.logaddexp.reduce(self.log_parts(points)[0], axis=0)

    def draw(self, count: int, rng: np.random.Generator) -> Floats:
        """Independent draws, shape (count, size).

        Parameters
        ----------
        count : int
            How many.
        rng : numpy.random.Generator
            Where they come from.
        """
        component = rng.choice(len(self.weights), size=count, p=self.weights)
        normal = rng.standard_normal((count, self.size))
        widen = np.sqrt(self.freedom[component] / rng.chisquare(self.freedom[component]))
        moves = np.einsum("nij,nj->ni", self.roots[component], normal)
        return self.means[component] + moves * widen[:, None]

    def beside(self, other: StudentMixture, share: float) -> StudentMixture:
        """This mixture with a share of another."""
        parts = ((self, 1.0 - share), (other, share))
        weights = np.concatenate([part.weights * s for part, s in parts])
        names = ("means", "roots", "freedom")
        rest = (np.concatenate([getattr(part, name) for part, _ in parts]) for name in names)
        return StudentMixture(weights, *rest)


def student(mean: Floats, root: Floats, freedom: float) -> StudentMixture:
    """One multivariate t distribution."""
    return StudentMixture(np.ones(1), mean[None], root[None], np.array([freedom]))


def fit_mixture(points: Floats, log_weights: Floats) -> StudentMixture:
    """The mixture of one to three components that weighted draws speak for.

    Parameters
    ----------
    points : numpy.ndarray, shape (draws, size)
        Draws.
    log_weights : numpy.ndarray, shape (draws,)
        Their weights.

    Returns
    -------
    StudentMixture

    Notes
    -----
    Expectation-conditional maximisation (Peel & McLachlan 2000) on the draws made spherical by
    their weighted moments. It starts from slices along the direction in which they are most
    skewed; scale matrices are drawn towards the pooled one, by as much as a few draws would. The
    number of components is the one with the largest Bayesian information criterion, the
    effective number of draws counting as observations.
    """
    weights = np.exp(log_weights - logsumexp(log_weights))
    mean = weights @ points
    centred = points - mean
    covariance = (weights[:, None] * centred).T @ centred
    root = np.linalg.cholesky(covariance)
    z = solve_triangular(root, centred.T, lower=True).T
    fits = [_expectation_maximisation(z, weights, k) for k in range(1, _MOST_COMPONENTS + 1)]
    best = max(fits, key=lambda fit: _criterion(fit, z, weights))
    means = mean + best.means @ root.T
    return StudentMixture(best.weights, means, root @ best.roots, best.freedom)


def _effective(weights: Floats) -> float:
    return float(1.0 / np.square(weights).sum())


def _criterion(fit: StudentMixture, z: Floats, weights: Floats) -> float:
    effective, size = _effective(weights), fit.size
    per_component = 1 + size + size * (size + 1) / 2
    penalty = 0.5 * len(fit.weights) * per_component * np.log(effective)
    return float(effective * (weights @ fit.log_density(z)) - penalty)


def _slices(z: Floats, weights: Floats, components: int) -> Floats:
    """Memberships, shape (components, draws): equal shares along the most skewed direction."""
    skewness = (weights * np.square(z).sum(axis=1)) @ z
    order = np.argsort(z @ skewness, kind="stable")
    place = np.empty(len(z), dtype=np.intp)
    place[order] = (np.cumsum(weights[order]) * components * (1 - 1e-12)).astype(np.intp)
    return np.eye(components)[np.minimum(place, components - 1)].T


def _expectation_maximisation(z: Floats, weights: Floats, components: int) -> StudentMixture:
    effective, size = _effective(weights), z.shape[1]
    extra = 2.0 * size + 0.02 * effective
    members, distances = _slices(z, weights, components), np.full((components, len(z)), size)
    freedom = np.full(components, FREEDOM)
    for _ in range(_ROUNDS):
        share = (members * weights).sum(axis=1) + 0.5 / effective
        pulls = members * weights * (FREEDOM + size) / (FREEDOM + distances)
        means = (pulls @ z) / np.maximum(pulls.sum(axis=1), 1e-300)[:, None]
        apart = z[None] - means[:, None]
        scatter = effective * ((pulls[:, :, None] * apart).transpose(0, 2, 1) @ apart)
        pooled = extra / components * (FREEDOM - 2) / FREEDOM * np.eye(size)
        scale = (scatter + pooled) / (effective * share + extra / components)[:, None, None]
        fit = StudentMixture(share / share.sum(), means, np.linalg.cholesky(scale), freedom)
        if components == 1:
            distances = fit.log_parts(z)[1]
            continue
        parts, distances = fit.log_parts(z)
        members = np.exp(parts - np.logaddexp.reduce(parts, axis=0))
    return fit
