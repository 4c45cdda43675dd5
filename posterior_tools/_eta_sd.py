"""Checks of a linear predictor and its standard deviation at the border of the integrals."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from popavg.errors import DataError
from popavg.posterior_tools.quadrature import LARGEST_SD

__all__ = ["as_arrays", "check_largest", "check_values"]

type Floats = NDArray[np.float64]


def as_arrays(eta: ArrayLike, sd: ArrayLike) -> tuple[Floats, Floats]:
    """Both as arrays of floats whose shapes broadcast; their values aren't looked at."""
    try:
        eta, sd = np.asarray(eta, dtype=np.float64), np.asarray(sd, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError("eta or sd isn't a number or an array of numbers", "numbers") from error
    try:
        np.broadcast_shapes(eta.shape, sd.shape)
    except ValueError:
        raise DataError(
            f"eta has shape {eta.shape} and sd has shape {sd.shape}, which don't broadcast",
            "shapes that are equal from the last axis backwards, or 1",
            "add an axis of length 1, e.g. sd[:, None]",
        ) from None
    return eta, sd


def check_values(eta: Floats, sd: Floats) -> None:
    """Refuse what isn't finite and a negative sd."""
    _refuse("eta", eta, ~np.isfinite(eta), "finite numbers")
    _refuse("sd", sd, ~np.isfinite(sd), "finite numbers, 0 or more")
    _refuse("sd", sd, sd < 0.0, "0 or more")


def check_largest(sd: Floats) -> None:
    """Refuse an sd that the quadrature doesn't reach."""
    _refuse("sd", sd, sd > LARGEST_SD, f"0 to {LARGEST_SD:,.0f}")


def _refuse(name: str, values: Floats, bad: NDArray[np.bool_], allowed: str) -> None:
    if not bad.any():
        return
    place = tuple(int(i) for i in np.argwhere(bad)[0])
    where = f", first at {name}[{', '.join(map(str, place))}]" if place else ""
    raise DataError(
        f"{bad.sum()} of {bad.size} values of {name} can't be used{where}: {values[place]:.6g}",
        allowed,
        f"find out where this {name} comes from before averaging over it",
    )
