"""The parameters behind the coordinates of an integrated posterior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

__all__ = ["ModelParameters", "bent", "log_tanh_derivative"]

type Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ModelParameters:
    """Points of the posterior in the model's own parameters.

    Attributes
    ----------
    centred : numpy.ndarray, shape (points, terms)
        Coefficients, the intercept being the one at the covariates' means.
    beta : numpy.ndarray, shape (points, terms)
        Coefficients on the data's scale.
    sd : numpy.ndarray, shape (points, effects)
        Standard deviations of the random effects.
    correlation : numpy.ndarray, shape (points,)
        Of the two effects; zeros where they are independent.
    sigma : numpy.ndarray, shape (points,)
        Residual standard deviation; ones where there is none.
    """

    centred: Floats
    beta: Floats
    sd: Floats
    correlation: Floats
    sigma: Floats


def bent(x: Floats) -> tuple[Floats, Floats, Floats]:
    """g(x) = x − ½ E max(Z − x, 0)², Z ~ N(0, 1), and its first two derivatives.

    It is x for large x, and about x − x²/2 for small: where the posterior density of a standard
    deviation is finite at 0, that of its logarithm t ends to the left as exp(t), for which no
    proposal with elliptic contours is good; in x, t = g(x), it ends as a normal density.
    """
    density = np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi)
    left = ndtr(-x)
    return (
        x - 0.5 * ((1.0 + x * x) * left - x * density),
        1.0 + density - x * left,
        -left,
    )


def log_tanh_derivative(z: Floats) -> Floats:
    """log(1 − tanh² z), also where tanh z rounds to 1."""
    return 2.0 * (np.log(2.0) - np.logaddexp(z, -z))
