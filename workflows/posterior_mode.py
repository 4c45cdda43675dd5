"""The mode of a log density with an exact gradient, and its curvature there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Mode", "find_mode"]

type Floats = NDArray[np.float64]
type ValuesAndGradients = Callable[[Floats], tuple[Floats, Floats]]

#: Step of the differences of the gradient, in units of a parameter's curvature.
_STEP = 1e-4
#: Flattest direction that is taken for curved: a standard deviation of 10 units.
_FLATTEST = 1e-2
_LONGEST_STEP = 4.0
_MOST_STEPS = 100
_HALVINGS = 40


@dataclass(frozen=True, eq=False)
class Mode:
    """Where a log density is largest.

    Attributes
    ----------
    point : numpy.ndarray, shape (size,)
        The mode.
    value : float
        Log density there.
    precision : numpy.ndarray, shape (size, size)
        Minus its Hessian there, symmetric.
    why : str
        Why this isn't a mode with a negative definite Hessian; empty where it is.
    """

    point: Floats
    value: float
    precision: Floats
    why: str = ""


def find_mode(target: ValuesAndGradients, start: Floats, *, roughly: bool = False) -> Mode:
    """Climb from a start to the mode.

    Parameters
    ----------
    target : callable
        Log densities of points, shape (points,), and gradients, shape (points, size); −∞ where
        they can't be computed. Points of one difference come together.
    start : numpy.ndarray, shape (size,)
        Where its log density is finite.
    roughly : bool
        Whether a point about 0.01 nats below the mode does; nothing is said about it then.

    Returns
    -------
    Mode

    Notes
    -----
    Newton's method with the Hessian from differences of the gradient. Where the density isn't
    log-concave, curvatures of the wrong sign are turned round, so that every step climbs; steps
    are bounded, and halved until the density rises. The step of the differences adapts to the
    curvature found before.
    """
    point, (value, gradient) = start, _at(target, start)
    if not np.isfinite(value):
        return Mode(start, value, np.eye(len(start)), "the density at the start isn't finite")
    width = np.ones(len(start))
    for _ in range(_MOST_STEPS):
        precision = _precision(target, point, width, gradient)
        width = 1.0 / np.sqrt(np.clip(np.abs(np.diag(precision)), 1e-4, 1e12))
        step = _ascent(precision, gradient)
        rise = float(step @ gradient)
        if rise < (1e-2 if roughly else 1e-9):
            break
        moved = _climb(target, point, value, step=step, rise=rise)
        if moved is None:
            break
        point, value, gradient = moved
    else:
        return Mode(point, value, precision, f"no mode was found in {_MOST_STEPS} steps")
    if roughly:
        return Mode(point, value, precision)
    return _judged(target, point, value, width)


def _judged(target: ValuesAndGradients, point: Floats, value: float, width: Floats) -> Mode:
    precision = _precision(target, point, width)
    if not np.isfinite(precision).all():
        return Mode(point, value, precision, "the curvature at the mode can't be computed")
    gradient = _at(target, point)[1]
    lowest = float(np.linalg.eigvalsh(precision * np.outer(width, width)).min())
    if lowest <= 1e-8:
        why = "the posterior isn't curved downward at its mode in every direction"
        return Mode(point, value, precision, why)
    rise = float(gradient @ np.linalg.solve(precision, gradient))
    # A rise below 1e-4 nats is left to the draws: the mode only has to centre the proposal.
    why = (
        f"the climb ended where the posterior still rises ({rise:.2g} nats)" if rise > 1e-2 else ""
    )
    return Mode(point, value, precision, why)


def _ascent(precision: Floats, gradient: Floats) -> Floats:
    if not np.isfinite(precision).all():
        step = gradient / max(1.0, float(np.abs(gradient).max()))
    else:
        values, vectors = np.linalg.eigh(precision)
        step = vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(values), _FLATTEST))
    longest = float(np.abs(step).max())
    return step * min(1.0, _LONGEST_STEP / longest) if longest > 0 else step


def _climb(
    target: ValuesAndGradients, point: Floats, value: float, *, step: Floats, rise: float
) -> tuple[Floats, float, Floats] | None:
    """The first of the halved steps after which the density has risen enough."""
    for halving in range(_HALVINGS):
        part = 0.5**halving
        there = point + part * step
        risen, gradient = _at(target, there)
        if risen >= value + 1e-4 * part * rise:
            return there, risen, gradient
    return None


def _at(target: ValuesAndGradients, point: Floats) -> tuple[float, Floats]:
    values, gradients = target(point[None])
    return float(values[0]), gradients[0]


def _precision(
    target: ValuesAndGradients, point: Floats, width: Floats, gradient: Floats | None = None
) -> Floats:
    """Minus the Hessian: forward differences where a gradient came, central ones where not."""
    h, moves = _STEP * width, np.diag(_STEP * width)
    if gradient is not None:
        table = (gradient - target(point + moves)[1]) / h[:, None]
    else:
        below, above = np.split(target(np.concatenate([point - moves, point + moves]))[1], 2)
        table = (below - above) / (2 * h[:, None])
    return (table + table.T) / 2
