"""popavg's links and families where statsmodels wants its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from statsmodels.genmod import families as sm_families
from statsmodels.genmod.families import links as sm_links

from popavg.families import Family
from popavg.links import Link

__all__ = ["StatsmodelsLink", "statsmodels_family"]

Floats = NDArray[np.float64]
_EPSILON = float(np.finfo(np.float64).eps)


class StatsmodelsLink(sm_links.Link):
    """A link of popavg where statsmodels wants one of its own.

    Parameters
    ----------
    link : Link
        The link.

    Notes
    -----
    statsmodels' own logit overflows with a warning at large negative predictors and its cloglog
    loses digits in the lower tail; these don't. Its least-squares iterations for a GLM see the mean
    alone, which can't say how far above 1 - 2e-16 it is: there, and only there, ``deriv`` stops at
    2e-16 as the variances of its binomial family do. `popavg.models.estimating_equations` works on
    the linear predictor and needs neither.

    Examples
    --------
    >>> from popavg.links import get_link
    >>> from popavg.models.statsmodels_adapters import StatsmodelsLink
    >>> float(StatsmodelsLink(get_link("logit")).inverse(0.0))
    0.5
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    def __call__(self, p: Floats) -> Floats:
        """Return the linear predictor at the mean ``p``."""
        return self._link.link(p)

    def inverse(self, z: Floats) -> Floats:
        """Return the mean at the linear predictor ``z``."""
        return self._link.inverse(z)

    def deriv(self, p: Floats) -> Floats:
        """Return d predictor / d mean at the mean ``p``."""
        if self._link.is_probability:
            p = np.clip(p, _EPSILON, 1.0 - _EPSILON)
        return 1.0 / self._link.derivative(self._link.link(p))

    def inverse_deriv(self, z: Floats) -> Floats:
        """Return d mean / d predictor at the linear predictor ``z``."""
        return self._link.derivative(z)


def statsmodels_family(family: Family, link: StatsmodelsLink) -> sm_families.Family:
    """Return statsmodels' family of the same name with our link.

    Parameters
    ----------
    family : Family
        Bernoulli, binomial, Poisson or Gaussian.
    link : StatsmodelsLink
        The link.

    Returns
    -------
    statsmodels.genmod.families.Family
        A new instance.

    Examples
    --------
    >>> from popavg.families import Poisson
    >>> from popavg.links import get_link
    >>> from popavg.models.statsmodels_adapters import StatsmodelsLink, statsmodels_family
    >>> type(statsmodels_family(Poisson(), StatsmodelsLink(get_link("log")))).__name__
    'Poisson'
    """
    kinds = {
        "bernoulli": sm_families.Binomial,
        "binomial": sm_families.Binomial,
        "poisson": sm_families.Poisson,
        "gaussian": sm_families.Gaussian,
    }
    made = kinds[family.name](link=link, check_link=False)
    made.safe_links = [StatsmodelsLink]  # ty: ignore[invalid-assignment]
    return made
