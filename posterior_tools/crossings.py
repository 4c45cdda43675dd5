"""Where logistic curves cross one half: there the slope is a quarter of the coefficient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popavg.design import DesignMatrices
from popavg.errors import EstimandError
from popavg.posterior_tools.coefficients import population_coefficients
from popavg.posterior_tools.draws import Posterior

__all__ = ["Crossing", "check_slopes", "crossings", "first_crossing"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Crossing:
    """Where a logistic curve crosses one half, and how steep it is there.

    Attributes
    ----------
    x : float
        Position on the x axis.
    slope : float
        Change of the probability per unit of x: a quarter of the coefficient.
    """

    x: float
    slope: float


type Crossings = tuple[Crossing | None, ...]


def check_slopes(posterior: Posterior, name: str, is_category: bool) -> None:
    """The slopes β/4 and β̃/4 exist along this covariate.

    Raises
    ------
    EstimandError
        The link isn't the logit, or the covariate is a category.
    """
    if posterior.link.name != "logit":
        raise EstimandError(
            f"slopes of a quarter of the coefficient for the {posterior.link.name} link",
            "the logit link",
            "leave slopes=True out",
        )
    if is_category:
        raise EstimandError(
            f"{name!r} is a category: nothing has a slope along it",
            "a numeric covariate",
            "leave slopes=True out",
        )


def crossings(
    fit: xr.DataTree, posterior: Posterior, matrices: DesignMatrices, x: Floats
) -> tuple[Crossings, Crossings]:
    """First crossings of the typical cluster's curve and of the marginal model g⁻¹(Xβ̃).

    Parameters
    ----------
    fit : xarray.DataTree
        The fit; its population-averaged coefficients are computed.
    posterior : Posterior
        The same fit, read.
    matrices : DesignMatrices
        Points, panel after panel.
    x : numpy.ndarray, shape (points,)
        The x axis, increasing.

    Returns
    -------
    conditional : tuple of (Crossing or None)
        One for each panel, at the posterior mean of β.
    population : tuple of (Crossing or None)
        One for each panel, at the posterior mean of β̃.
    """
    marginal = population_coefficients(fit).draws.to_numpy().mean(axis=(0, 1))
    return (
        _by_panel(x, matrices.X @ posterior.beta.mean(axis=0) + matrices.offset),
        _by_panel(x, matrices.X @ marginal + matrices.offset),
    )


def first_crossing(x: Floats, predictor: Floats) -> Crossing | None:
    """The first crossing of zero of a predictor that is linear between its points.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.posterior_tools.crossings import first_crossing
    >>> first_crossing(np.array([0.0, 1.0, 2.0]), np.array([-3.0, -1.0, 1.0]))
    Crossing(x=1.5, slope=0.5)
    """
    crosses = (predictor[:-1] * predictor[1:] <= 0) & (predictor[:-1] != predictor[1:])
    if not crosses.any():
        return None
    i = int(crosses.argmax())
    slope = (predictor[i + 1] - predictor[i]) / (x[i + 1] - x[i])
    return Crossing(float(x[i] - predictor[i] / slope), float(slope / 4))


def _by_panel(x: Floats, predictor: Floats) -> Crossings:
    return tuple(first_crossing(x, eta) for eta in predictor.reshape(-1, len(x)))
