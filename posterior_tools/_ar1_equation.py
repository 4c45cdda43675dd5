"""geepack's moment equation of an AR(1) correlation, for many draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from popavg.errors import ConvergenceError

__all__ = ["solve_ar1"]

Floats = NDArray[np.float64]

_BISECTIONS = 54
_LARGEST = 1.0 - 1e-9


def solve_ar1(distances: Floats, products: Floats, weights: Floats) -> Floats:
    """The α of each draw, correlation one unit of time apart.

    Solves sum_d d alpha^(d-1) (S_d - N_d alpha^d) = 0, S_d the ``products`` (draws, distances) and
    N_d the ``weights`` (distances,): of its roots, the one next to the lowest of
    sum_d N_d (S_d/N_d - alpha^d)^2 on a grid.
    """
    whole = bool((distances == np.rint(distances)).all())
    unit = float(np.gcd.reduce(distances.astype(np.int64))) if whole else float(distances.min())
    steps = distances / unit
    span = np.cos(np.linspace(np.pi, 0.0, 801))
    grid = np.clip(span if whole else 0.5 * (1.0 + span), -_LARGEST, _LARGEST)
    powers = np.power(grid[:, None], steps)
    loss = (0.5 * powers**2 @ weights)[:, None] - powers @ products.T
    lowest = loss.argmin(axis=0)
    low, high = grid[np.maximum(lowest - 1, 0)], grid[np.minimum(lowest + 1, len(grid) - 1)]

    def equation(rho: Floats) -> Floats:
        power = np.power(rho[:, None], steps - 1.0)
        return (steps * power * (products - weights * power * rho[:, None])).sum(axis=1)

    rounding = 1e-12 * float(steps @ weights)
    unsolved = ~((equation(low) >= -rounding) & (equation(high) <= rounding))
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        rising = equation(middle) > 0.0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    rho = 0.5 * (low + high)
    unsolved |= (rho < 0.0) & (unit % 2 == 0.0)
    if unsolved.any():
        raise ConvergenceError(
            f"no AR(1) correlation is what the model implies in {int(unsolved.sum())} of"
            f" {len(rho)} draws: the moment equation has no solution",
            "-1 < alpha < 1" if whole else "0 < alpha < 1, as times aren't whole numbers apart",
            "use working_correlation='exchangeable', give alpha as a number, or give the time as"
            " the number of the visit (1, 2, 3, …)",
        )
    return np.copysign(np.abs(rho) ** (1.0 / unit), rho)
