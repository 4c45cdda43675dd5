"""Checked parameters of an integrated likelihood, and the compiled rules' answers for them.

The shell between the kernels and :mod:`popavg.posterior_tools.integrated_likelihood`: shapes and
values are checked here once, draws or clusters are shared among threads, and clusters that a fast
rule leaves out go to the general one.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from popavg.errors import ConvergenceError, SpecificationError
from popavg.posterior_tools._integrated_kernels import Data, Result, Setting
from popavg.posterior_tools._integrated_normal import integrate_normals
from popavg.posterior_tools._integrated_rules import MARKERS, kernels
from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes
from popavg.posterior_tools.quadrature import cpus

__all__ = ["LARGEST_SLOPE", "Integrals", "Parameters"]

type Floats = NDArray[np.float64]

LARGEST_SLOPE = 1e4
"""Largest standard deviation of an effect's part of eta: the nodes grow in proportion to it."""


class Integrals(NamedTuple):
    """What the rules found for one draw; for several with an axis of draws before.

    Attributes
    ----------
    value : numpy.ndarray, shape (distinct clusters,)
        Log-likelihoods without the outcomes' constants.
    error : numpy.ndarray, shape (distinct clusters,)
        What the rule says of its own error; NaN where it has no end.
    root : numpy.ndarray, shape (distinct clusters, effects, effects)
        Derivatives in L.
    eta : numpy.ndarray, shape (entries,)
        Derivatives in the entries' predictors; empty where no gradients were wanted.
    sigma : numpy.ndarray, shape (distinct clusters,)
        Derivatives in the residual standard deviation.

    Examples
    --------
    >>> from popavg.posterior_tools.integrated_parameters import Integrals
    >>> Integrals._fields
    ('value', 'error', 'root', 'eta', 'sigma')
    """

    value: Floats
    error: Floats
    root: Floats
    eta: Floats
    sigma: Floats


class Parameters(NamedTuple):
    """Checked parameters of one draw or of many, on an axis of draws.

    Attributes
    ----------
    outcomes : ClusteredOutcomes
        The outcomes.
    eta : numpy.ndarray, shape (draws, rows)
        Predictors of the distinct rows.
    root : numpy.ndarray, shape (draws, effects, effects)
        The roots L.
    sigma : numpy.ndarray, shape (draws,)
        Residual standard deviations; ones where the outcomes have none.
    many : bool
        Whether an axis of draws came.

    Examples
    --------
    >>> from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes
    >>> from popavg.posterior_tools.integrated_parameters import Parameters
    >>> one = ClusteredOutcomes.build([1], [0], row=[0], Z=[[1.0]], link="logit")
    >>> parameters = Parameters.read(one, [0.0], [[2.0]], None)
    >>> parameters.integrate(0).value.round(6)
    array([-0.693147])
    """

    outcomes: ClusteredOutcomes
    eta: Floats
    root: Floats
    sigma: Floats
    many: bool

    @classmethod
    def read(
        cls, outcomes: ClusteredOutcomes, eta: ArrayLike, root: ArrayLike, sigma: ArrayLike | None
    ) -> Parameters:
        """Check shapes and values; one draw gets an axis of draws.

        Parameters
        ----------
        outcomes : ClusteredOutcomes
            The outcomes.
        eta : array_like, shape (rows,) or (draws, rows)
            Predictors of the distinct rows, u = 0.
        root : array_like, shape (effects, effects) or (draws, effects, effects)
            Lower triangular root L of the effects' covariance.
        sigma : array_like or None
            Gaussian outcomes: residual standard deviation, one number or one for each draw.

        Returns
        -------
        popavg.posterior_tools.integrated_parameters.Parameters

        Raises
        ------
        SpecificationError
            Shapes that don't fit, values that aren't finite, a root above `LARGEST_SLOPE`.
        """
        eta, root = np.asarray(eta, dtype=np.float64), np.asarray(root, dtype=np.float64)
        q, many = outcomes.n_effects, eta.ndim == 2
        lead = eta.shape[:-1]
        if eta.shape != (*lead, outcomes.n_rows) or eta.ndim > 2 or root.shape != (*lead, q, q):
            raise SpecificationError(
                f"eta has the shape {eta.shape} and root {root.shape}",
                f"({outcomes.n_rows},) and ({q}, {q}), or both with one more axis of draws before",
            )
        if not all(lead):
            raise SpecificationError("eta of no draws came", "at least one draw")
        scale = _read_sigma(outcomes, sigma, lead)
        eta, root = np.atleast_2d(eta), root.reshape(-1, q, q)
        _check_values(outcomes, eta, root)
        scale = np.ascontiguousarray(scale.reshape(-1))
        return cls(outcomes, np.ascontiguousarray(eta), np.ascontiguousarray(root), scale, many)

    def integrate(
        self, d: int, *, want: bool = False, finer: float = 1.0, wider: float = 0.0
    ) -> Integrals:
        """One draw; its clusters are shared among threads where it is the only one.

        Parameters
        ----------
        d : int
            Which draw.
        want : bool
            Whether gradients are wanted.
        finer : float
            Factor of the rules' steps.
        wider : float
            By how many e-folds smaller the terms are that end the sums.

        Returns
        -------
        Integrals

        Raises
        ------
        ConvergenceError
            An integral can't be computed to about 1e-9.
        """
        outcomes, some = self.outcomes, slice(d, d + 1)
        found = self._empty(1, want=want)
        whole = ((0, len(outcomes.multiplicity)),)
        pieces = whole if len(self.eta) > 1 else outcomes.pieces

        def run(piece: tuple[int, int]) -> None:
            self._kernel(some, Setting(*piece, want, finer, wider), found)

        if len(pieces) <= 1:
            run(whole[0])
        else:
            with ThreadPoolExecutor(cpus()) as pool:
                list(pool.map(run, pieces))
        first = Integrals(*(part[0] for part in found))
        _check_found(first)
        return first

    def together(self, some: slice, *, want: bool = False) -> Integrals:
        """Some draws in one call, all clusters.

        Parameters
        ----------
        some : slice
            Which draws.
        want : bool
            Whether gradients are wanted.

        Returns
        -------
        Integrals
            With an axis of draws before; NaN where an integral can't be computed.
        """
        found = self._empty(len(self.eta[some]), want=want)
        self._kernel(some, Setting(0, len(self.outcomes.multiplicity), want, 1.0, 0.0), found)
        return found

    def one_by_one(self, some: slice, *, want: bool = False) -> list[Integrals]:
        """The same, draw after draw; a draw that is the only one has its clusters shared.

        Raises
        ------
        ConvergenceError
            As `integrate`.
        """
        if len(self.eta) == 1:
            return [self.integrate(0, want=want)]
        found = self.together(some, want=want)
        draws = [Integrals(*(part[d] for part in found)) for d in range(len(found.value))]
        for draw in draws:
            _check_found(draw)
        return draws

    def _empty(self, draws: int, *, want: bool) -> Integrals:
        """Where draws' results go."""
        clusters, q = len(self.outcomes.multiplicity), self.outcomes.n_effects
        return Integrals(
            np.empty((draws, clusters)),
            np.full((draws, clusters), np.nan),
            np.zeros((draws, clusters if want else 0, q, q)),
            np.empty((draws, len(self.outcomes.data.row) if want else 0)),
            np.zeros((draws, clusters if want or self.outcomes.family.has_scale else 0)),
        )

    def as_planes(self, some: slice) -> tuple[Data, Floats]:
        """The entries and the roots with a second effect that is 0 where there is but one."""
        data, q = self.outcomes.data, self.outcomes.n_effects
        root = np.zeros((len(self.root[some]), 2, 2))
        root[:, :q, :q] = self.root[some]
        if q == 1:
            data = data._replace(Z=np.column_stack([data.Z, np.zeros(len(data.Z))]))
        return data, root

    def _kernel(self, some: slice, setting: Setting, found: Integrals) -> None:
        """Integrate a run of clusters at some draws; NaN where an integral can't be computed."""
        outcomes, here = self.outcomes, slice(setting.first, setting.last)
        result = Result(found.value, found.error, found.root, found.eta)
        if outcomes.family.has_scale:
            data, root = self.as_planes(some)
            parameters, q = (self.eta[some], root, self.sigma[some]), outcomes.n_effects
            wide = result._replace(root=np.zeros((*found.root.shape[:2], 2, 2)))
            integrate_normals(data, parameters, setting, wide, (outcomes.within, found.sigma))
            found.root[:, here] = np.tril(wide.root[:, here, :q, :q])
            return
        parameters = self.eta[some], self.root[some]
        direct, general = kernels(outcomes.link.name, outcomes.n_effects, bridge=outcomes.bridge)
        if direct is not None and (outcomes.n_effects == 2 or outcomes.same_effect):
            direct(outcomes.data, parameters, setting, result)
            if not np.isnan(found.error[:, here]).any():
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


def _check_found(found: Integrals) -> None:
    bad = np.isnan(found.value)
    if bad.any():
        raise ConvergenceError(
            f"the integral of {int(bad.sum())} of {len(bad)} distinct clusters can't be computed "
            f"(number {int(np.flatnonzero(bad)[0])} first)",
            remedy="check the scales of the covariates and of the random effects",
        )
