"""A fit's draws as the integrated likelihood wants them: predictors, roots, sigma, in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.errors import SpecificationError
from popavg.posterior_tools._draw_checks import Place, check_finite_draws, flat_draws
from popavg.posterior_tools.draw_block import BLOCK
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.integrated_design import IntegratedDesign, lower_roots
from popavg.posterior_tools.progress import track

__all__ = ["IntegratedDraws"]

type Floats = NDArray[np.float64]

#: Draws that are computed between two looks at the progress bar.
_MOST_AT_ONCE = 250


@dataclass(frozen=True, eq=False)
class IntegratedDraws:
    """The parameters of all draws of a fit whose cluster effects can be integrated out.

    Attributes
    ----------
    integrated : IntegratedDesign
        Distinct rows and outcomes.
    beta : numpy.ndarray, shape (draws, terms)
        Coefficients.
    root : numpy.ndarray, shape (draws, effects, effects)
        Lower triangular roots of the effects' covariance.
    sigma : numpy.ndarray, shape (draws,), or None
        Residual standard deviation of Gaussian outcomes.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.draws import Posterior
    >>> from popavg.posterior_tools.integrated_draws import IntegratedDraws
    >>> draws = IntegratedDraws.read(Posterior.from_fit(pa.load_example()))
    >>> draws.beta.shape[0] == draws.root.shape[0]
    True
    """

    integrated: IntegratedDesign
    beta: Floats
    root: Floats
    sigma: Floats | None

    @classmethod
    def read(cls, posterior: Posterior) -> IntegratedDraws:
        """Read the draws and check that the effects can be integrated out.

        Parameters
        ----------
        posterior : Posterior
            A fit with its outcome, one grouping factor and one or two random effects.

        Returns
        -------
        IntegratedDraws

        Raises
        ------
        EstimandError
            The fit has no outcome.
        SpecificationError
            Several factors, more effects, or a model to which terms were added by hand.
        DataError
            Draws that are NaN, infinite or impossible.
        """
        added = posterior.specification.sampler.get("added_by_user")
        if added:
            raise SpecificationError(
                f"the model has parts that were added by hand ({', '.join(added)})",
                "a model that its formula describes",
                "compute what you need from the fit's own log_likelihood",
            )
        integrated = _design(posterior)
        name = integrated.group.name
        posterior.covariance_root(name)  # checks the correlations
        correlation = posterior.arrays().get(f"corr_{name}")
        rho = None if correlation is None else flat_draws(correlation)[:, 1, 0]
        sigma = None
        if posterior.family.has_scale:
            sigma = flat_draws(posterior.data["sigma"].transpose("chain", "draw"))
            check_finite_draws("sigma", sigma, place=Place(posterior.data.sizes["draw"]))
        root = lower_roots(posterior.standard_deviations(name), rho)
        return cls(integrated, posterior.beta, root, sigma)

    def blocks(
        self, describe: str, *, progress: bool = True
    ) -> Iterator[tuple[slice, Floats, Floats, Floats | None]]:
        """Some draws at a time.

        Parameters
        ----------
        describe : str
            What is being done, beside the progress bar.
        progress : bool
            Whether there is one.

        Yields
        ------
        draws : slice
            Which.
        eta, root, sigma : numpy.ndarray
            Their predictors at the distinct rows, roots and residual standard deviations.
        """
        size = max(1, min(_MOST_AT_ONCE, BLOCK // max(len(self.integrated.matrices.X), 1)))
        starts = range(0, len(self.beta), size)
        for start in track(starts, len(starts), describe, progress=progress):
            part = slice(start, start + size)
            sigma = None if self.sigma is None else self.sigma[part]
            yield part, self.integrated.predictor(self.beta[part]), self.root[part], sigma


def _design(posterior: Posterior) -> IntegratedDesign:
    """The design by cluster; a fit that has its clusters' effects needn't be fitted once more."""
    try:
        return IntegratedDesign.build(posterior.design, posterior.link, posterior.family)
    except SpecificationError as error:
        effects = [f"u_{group.name}" for group in posterior.design.matrices.groups]
        if not effects or any(name not in posterior.data for name in effects):
            raise
        raise SpecificationError(
            error.came,
            error.allowed,
            f"the fit has draws of {listing(effects)} already: the target 'sampled' uses them; "
            "to leave out clusters fit one grouping factor",
        ) from error
