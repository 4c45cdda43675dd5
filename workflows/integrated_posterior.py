"""The log posterior of a mixed model whose cluster effects are integrated out, in plain NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popavg.bridge import attenuation_of_sd
from popavg.design import Design
from popavg.errors import ConvergenceError, SpecificationError
from popavg.families import Family
from popavg.links import Link
from popavg.mixing import BRIDGE
from popavg.models.default_priors import correlation_name, sd_names
from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes
from popavg.posterior_tools.integrated_design import IntegratedDesign, lower_roots
from popavg.posterior_tools.integrated_likelihood import (
    LikelihoodGradient,
    total_log_likelihood,
    value_and_gradient,
)
from popavg.posterior_tools.integrated_parameters import LARGEST_SLOPE
from popavg.priors import Prior
from popavg.workflows._coordinates import ModelParameters, bent, log_tanh_derivative

__all__ = ["IntegratedPosterior", "ModelParameters"]

type Floats = NDArray[np.float64]

#: Nats below the largest log density at which a point weighs nothing.
NEGLIGIBLE = 60.0
#: Numbers in the predictors of the points that are evaluated at once.
_AT_ONCE = 2**22


class IntegratedPosterior:
    """Log posterior of (scaled β, log sd, atanh correlation, log sigma) and its gradient.

    Parameters
    ----------
    design : popavg.design.Design
        With one grouping factor of one or two random effects.
    link : popavg.links.Link
        The link.
    family : popavg.families.Family
        The outcomes' distribution.
    priors : mapping of str to Prior
        Complete, as :func:`popavg.models.default_priors.resolve_priors` returns.

    Attributes
    ----------
    names : tuple of str
        What each coordinate of a point is.
    integrated : IntegratedDesign
        Distinct rows and outcomes.

    Raises
    ------
    SpecificationError
        The random effects can't be integrated out.

    Notes
    -----
    The priors are the latent model's: on the intercept where the covariates are at their means, on
    the slopes on the data's scale, on standard deviations, LKJ on the correlation. A coordinate of
    a slope is the slope times its covariate's largest distance from the mean, so that the scales
    of the covariates don't matter; of Gaussian outcomes both are in units of the outcomes' standard
    deviation. The log density counts the Jacobian of every transformation.
    """

    def __init__(
        self, design: Design, link: Link, family: Family, priors: Mapping[str, Prior]
    ) -> None:
        self.integrated = IntegratedDesign.build(design, link, family)
        self.link, self.family, self._response = link, family, design.response
        group, terms = self.integrated.group, design.matrices.terms
        slope = np.array([term != "Intercept" for term in terms])
        self._slope, self._centred = slope, not slope.all()
        X = design.matrices.X
        self._means = np.where(slope & self._centred, X.mean(axis=0), 0.0)
        spread = np.abs(X - self._means).max(axis=0)
        unit = float(design.response.y.std()) if family.has_scale else 1.0
        self._scale = np.where(slope, spread, 1.0) / unit
        self._columns = (self.integrated.matrices.X - self._means) / self._scale
        correlation = correlation_name(group)
        self._sds = [priors[name] for name in sd_names(group)]
        self._beta = [priors[term] for term in terms]
        self._lkj = None if correlation is None else priors[correlation]
        self._sigma = priors["sigma"] if family.has_scale else None
        self._bend: Floats | None = None
        steepest = np.inf if family.has_scale else LARGEST_SLOPE
        self._largest_sd = steepest / np.maximum(np.abs(group.Z).max(axis=0), 1e-300)
        self.names = (
            *terms,
            *(f"log {name}" for name in sd_names(group)),
            *(() if correlation is None else (f"atanh {correlation}",)),
            *(("log sigma",) if self._sigma is not None else ()),
        )
        ends = np.cumsum([len(terms), len(group.effects), correlation is not None])
        self._parts = tuple(np.split(np.arange(len(self.names)), ends))

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return len(self.names)

    def parameters(self, points: Floats) -> ModelParameters:
        """The model's parameters.

        Parameters
        ----------
        points : numpy.ndarray, shape (points, size)
            Points.

        Returns
        -------
        ModelParameters
            One of each for each point.
        """
        coefficients, sds, correlation, sigma = (points[:, part] for part in self._parts)
        centred = coefficients / self._scale
        beta = centred.copy()
        if self._centred:
            with np.errstate(invalid="ignore"):
                beta[:, ~self._slope] -= (centred @ self._means)[:, None]
        with np.errstate(over="ignore", invalid="ignore"):
            return ModelParameters(
                centred,
                beta,
                np.exp(sds if self._bend is None else self._bend + bent(sds)[0]),
                np.tanh(correlation[:, 0]) if correlation.size else np.zeros(len(points)),
                np.exp(sigma[:, 0]) if sigma.size else np.ones(len(points)),
            )

    def bent_at(self, point: Floats) -> tuple[IntegratedPosterior, Floats]:
        """The same posterior in coordinates without long tails, and where a point is there.

        Parameters
        ----------
        point : numpy.ndarray, shape (size,)
            A point near the mode.

        Returns
        -------
        posterior : IntegratedPosterior
            With log sd = log sd(point) + g(x), see :func:`bent`.
        point : numpy.ndarray, shape (size,)
            About the same point: its x are 0.
        """
        other, moved = copy(self), point.copy()
        other._bend = point[self._parts[1]] - bent(np.zeros(1))[0]
        moved[self._parts[1]] = 0.0
        return other, moved

    def without(self, cluster: int) -> IntegratedPosterior:
        """The same posterior without one cluster's rows; the priors and their centres stay.

        Parameters
        ----------
        cluster : int
            Its position among the grouping factor's levels.

        Returns
        -------
        IntegratedPosterior
        """
        integrated, response = self.integrated, self._response
        kept = integrated.group.index != cluster
        outcomes = ClusteredOutcomes.build(
            response.y[kept],
            integrated.group.index[kept],
            row=integrated.rows[kept],
            Z=integrated.matrices.groups[0].Z,
            link=self.link,
            family=self.family,
            trials=None if response.trials is None else response.trials[kept],
            n_clusters=len(integrated.group.levels),
        )
        other = copy(self)
        other.integrated = replace(integrated, outcomes=outcomes)
        return other

    def start(self) -> Floats:
        """A point where the density is finite: the best of a few, shape (size,)."""
        start = np.zeros(self.size)
        medians = [float(prior.quantile(0.5)) for prior in self._beta]
        start[self._parts[0]] = np.array(medians) * self._scale
        if self._sigma is not None:
            start[self._parts[3]] = np.log(self._sigma.quantile(0.5))
        sds = np.minimum([float(prior.quantile(0.5)) for prior in self._sds], self._largest_sd / 2)
        places = [start]
        if self._centred:
            moved = start.copy()
            moved[self._parts[0][~self._slope]] = self._average_predictor()
            places.append(moved)
        candidates = []
        for place in places:
            for share in (1.0, 0.1):
                candidate = place.copy()
                candidate[self._parts[1]] = np.log(np.maximum(share * sds, 1e-6))
                candidates.append(candidate)
        table = np.array(candidates)
        density = self.log_density(table)
        return table[int(np.argmax(np.where(np.isnan(density), -np.inf, density)))]

    def near_limit(self, points: Floats) -> NDArray[np.bool_]:
        """Whether a standard deviation is near the largest one that can be integrated."""
        return (self.parameters(points).sd > self._largest_sd / 4).any(axis=1)

    def dataset(self, points: Floats, shape: tuple[int, int]) -> xr.Dataset:
        """Points as a fit's posterior.

        Parameters
        ----------
        points : numpy.ndarray, shape (chains × draws, size)
            Points, chain after chain.
        shape : tuple of int
            Chains and draws.

        Returns
        -------
        xarray.Dataset
            With the names, dims and coordinates of the latent model's.
        """
        found, group = self.parameters(points), self.integrated.group
        effect = f"effect_{group.name}"
        variables = {"beta": (("term",), found.beta), f"sd_{group.name}": ((effect,), found.sd)}
        coords = {"term": list(self.integrated.matrices.terms), effect: list(group.effects)}
        if len(group.effects) > 1:
            matrix = np.ones((len(points), 2, 2))
            matrix[:, 0, 1] = matrix[:, 1, 0] = found.correlation
            variables[f"corr_{group.name}"] = ((effect, f"{effect}_other"), matrix)
            coords[f"{effect}_other"] = list(group.effects)
        if self.link.mixing.name == BRIDGE.name:
            variables[f"phi_{group.name}"] = ((effect,), attenuation_of_sd(found.sd))
        if self._sigma is not None:
            variables["sigma"] = ((), found.sigma)
        shaped = {
            name: (("chain", "draw", *dims), values.reshape(*shape, *values.shape[1:]))
            for name, (dims, values) in variables.items()
        }
        return xr.Dataset(shaped, coords=coords)

    def _average_predictor(self) -> float:
        """The predictor of the average outcome, away from the links' ends."""
        response, offset = self._response, self.integrated.matrices.offset
        trials = 1.0 if response.trials is None else response.trials
        mean = float(np.sum(response.y) / np.sum(np.broadcast_to(trials, response.y.shape)))
        if self.link.is_probability:
            mean = min(max(mean, 1e-3), 1 - 1e-3)
        elif self.family.name == "poisson":
            mean = max(mean, 1e-3)
        return float(self.link.link(mean)) - float(offset.mean())

    def log_prior(self, points: Floats) -> Floats:
        """Log prior density of points, Jacobians included, shape (points,)."""
        return self._log_prior(points, self.parameters(points))

    def _log_prior(self, points: Floats, found: ModelParameters) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            total = self._sum_of_log_priors(points, found)
        return np.where(np.isnan(total), -np.inf, total)

    def _sum_of_log_priors(self, points: Floats, found: ModelParameters) -> Floats:
        total = -np.full(len(points), np.log(self._scale).sum())
        for column, prior in zip(found.centred.T, self._beta, strict=True):
            total += prior.log_density(column)
        total += np.log(found.sd).sum(axis=1)
        if self._bend is not None:
            total += np.log(bent(points[:, self._parts[1]])[1]).sum(axis=1)
        for sd, prior in zip(found.sd.T, self._sds, strict=True):
            total += prior.log_density(sd)
        if self._lkj is not None:
            total += self._lkj.log_density(found.correlation)
            total += log_tanh_derivative(points[:, self._parts[2][0]])
        if self._sigma is not None:
            total += self._sigma.log_density(found.sigma) + points[:, self._parts[3][0]]
        return total

    def log_density(self, points: Floats, *, floor: float = -np.inf) -> Floats:
        """Log posterior density of points, up to a constant, shape (points,).

        Parameters
        ----------
        points : numpy.ndarray, shape (points, size)
            Points.
        floor : float
            Points whose density must be below it aren't evaluated: outcomes that are counted have
            likelihoods of at most 1.

        Returns
        -------
        numpy.ndarray, shape (points,)
            −∞ outside what can be integrated; NaN where the integral fails.
        """
        here = self.parameters(points)
        found = self._log_prior(points, here)
        usable = np.isfinite(found) & self._within(here)
        if not self.family.has_scale:
            usable &= found > floor
        for rows in np.array_split(
            np.flatnonzero(usable), -(-len(points) * len(self._columns) // _AT_ONCE) or 1
        ):
            if len(rows):
                found[rows] += self._log_likelihoods(points[rows])
        return np.where(usable, found, -np.inf)

    def values_and_gradients(self, points: Floats) -> tuple[Floats, Floats]:
        """Log posterior densities of points and their gradients.

        Parameters
        ----------
        points : numpy.ndarray, shape (points, size)
            The points.

        Returns
        -------
        values : numpy.ndarray, shape (points,)
            −∞ where it can't be computed.
        gradients : numpy.ndarray, shape (points, size)
            0 there.
        """
        here = self.parameters(points)
        prior, arguments = self._log_prior(points, here), self._arguments(points, here)
        usable = np.isfinite(prior) & self._within(here) & np.isfinite(arguments[0]).all(axis=1)
        values, gradients = np.full(len(points), -np.inf), np.zeros(points.shape)
        at_once = max(1, _AT_ONCE // (1 + len(self._columns)))
        places = np.flatnonzero(usable)
        for some in np.split(places, range(at_once, len(places), at_once)):
            if len(some):
                found = self._likelihood_gradients(*(part[some] for part in arguments))
                kept = np.isfinite(np.asarray(found.value))
                rows = some[kept]
                part = LikelihoodGradient(*(np.asarray(each)[kept] for each in found))
                values[rows] = prior[rows] + part.value
                gradients[rows] = self._gradients(points[rows], arguments[1][rows], part)
        return values, gradients

    def _likelihood_gradients(self, eta: Floats, root: Floats, sigma: Floats) -> LikelihoodGradient:
        """NaN where one point's can't be computed."""
        outcomes, scaled = self.integrated.outcomes, self._sigma is not None
        try:
            return value_and_gradient(outcomes, eta, root, sigma=sigma if scaled else None)
        except (ConvergenceError, SpecificationError):
            if len(eta) == 1:
                nothing = np.zeros_like(sigma)
                return LikelihoodGradient(
                    nothing + np.nan, np.zeros_like(eta), np.zeros_like(root), nothing
                )
        one_by_one = (slice(k, k + 1) for k in range(len(eta)))
        each = [self._likelihood_gradients(eta[k], root[k], sigma[k]) for k in one_by_one]
        return LikelihoodGradient(*(np.concatenate(part) for part in zip(*each, strict=True)))

    def _gradients(self, points: Floats, root: Floats, found: LikelihoodGradient) -> Floats:
        """By the chain rule, those of the log priors and Jacobians added."""
        here, out = self.parameters(points), np.zeros(points.shape)
        out[:, self._parts[0]] = np.asarray(found.eta) @ self._columns
        out[:, self._parts[1]] = (np.asarray(found.root) * root).sum(axis=2)
        if self._lkj is not None:
            rho, slope = here.correlation, np.asarray(found.root)[:, 1]
            # dL/dz for L = (ρ, √(1−ρ²)) sd₂ and ρ = tanh z
            width = np.sqrt((1 - rho) * (1 + rho))
            turn = width * (slope[:, 0] * width - slope[:, 1] * rho)
            out[:, self._parts[2][0]] = here.sd[:, 1] * turn
        if self._sigma is not None:
            out[:, self._parts[3][0]] = np.asarray(found.sigma) * here.sigma
        out += self._prior_gradients(here)
        if self._bend is not None:
            _, first, second = bent(points[:, self._parts[1]])
            out[:, self._parts[1]] = out[:, self._parts[1]] * first + second / first
        return out

    def _prior_gradients(self, here: ModelParameters) -> Floats:
        out = np.zeros((len(here.sigma), self.size))
        for k, prior, scale in zip(self._parts[0], self._beta, self._scale, strict=True):
            out[:, k] = prior.log_density_gradient(here.centred[:, k]) / scale
        for k, prior, sd in zip(self._parts[1], self._sds, here.sd.T, strict=True):
            out[:, k] = prior.log_density_gradient(sd) * sd + 1.0
        if self._lkj is not None:
            rho = here.correlation
            slope = self._lkj.log_density_gradient(rho) * (1 - rho) * (1 + rho)
            out[:, self._parts[2][0]] = slope - 2 * rho
        if self._sigma is not None:
            sigma = here.sigma
            out[:, self._parts[3][0]] = self._sigma.log_density_gradient(sigma) * sigma + 1.0
        return out

    def arguments(self, points: Floats) -> tuple[Floats, Floats, Floats]:
        """Predictors of the distinct rows, roots and residual standard deviations of points."""
        return self._arguments(points, self.parameters(points))

    def _arguments(self, points: Floats, here: ModelParameters) -> tuple[Floats, Floats, Floats]:
        eta = points[:, self._parts[0]] @ self._columns.T + self.integrated.matrices.offset
        return eta, lower_roots(here.sd, here.correlation), here.sigma

    def _within(self, here: ModelParameters) -> NDArray[np.bool_]:
        """Whether the roots are small enough, and the numbers finite."""
        good = np.isfinite(here.centred).all(axis=1) & (here.sd <= self._largest_sd).all(axis=1)
        return good & (here.sd > 0).all(axis=1) & (here.sigma > 0) & np.isfinite(here.sigma)

    def _log_likelihoods(self, points: Floats) -> Floats:
        eta, root, sigma = self.arguments(points)
        given = sigma if self._sigma is not None else None
        return total_log_likelihood(self.integrated.outcomes, eta, root, sigma=given)
