r"""Logarithms of the joint probabilities of two rows of one cluster, complements among them.

Notes
-----
As :mod:`popavg.posterior_tools.joint`, with q_k = 1 - g^-1 in the place of some means: given the
common factor Z both rows are independent, so that P = E_Z p_1(eta_1 + a_1 Z) p_2(eta_2 + a_2 Z) by
the trapezoid rule, centred at the integrand's peak. For the cloglog link q(x) = exp(-exp(x)) has no
lower bound on its logarithm, so that 1 minus the other probabilities would lose all digits.

On the line Im z = c the complement has the size exp(-exp(x) cos(a c)), that of the real line at
x + log cos(a c): it grows by at most exp(-W log cos(a c)), W being the average of exp(x) under the
integrand, which is near that at its peak (log-concavity). A remainder of variance w moves the peak
of exp(-exp(x + r)) by r = -W0(w exp(x)), Lambert's function.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from popavg.links import Link
from popavg.posterior_tools.averages import population_average
from popavg.posterior_tools.integral import marginal_logs
from popavg.posterior_tools.joint import one_factor

__all__ = ["cloglog_joint_logs"]

type Floats = NDArray[np.float64]
type Events = tuple[bool, bool]

#: The error of the sum is exp(-_DIGITS), relative; half of the range of Z; strip of the mean.
_DIGITS = 32.0
_HALF_RANGE = math.sqrt(2 * (_DIGITS + 8.0))
_STRIP = 1.4
_GROWTH = math.log(2 / (1 - math.exp(-1)))
_BLOCK = 1 << 18
#: Links of the mean above which the complement is integrated.
_FAR = 1.0


def cloglog_joint_logs(
    eta: tuple[ArrayLike, ArrayLike],
    variance: tuple[ArrayLike, ArrayLike],
    covariance: ArrayLike,
    *,
    events: Events,
    link: Link,
) -> Floats:
    """Log of the probability that of two rows those have the event that ``events`` says.

    Values that :func:`popavg.posterior_tools.joint.joint_mean` takes, in their broadcast shape;
    relative error of the probability below 1e-9.
    """
    cells = [np.asarray(a, dtype=np.float64) for a in (*eta, *variance, covariance)]
    shaped = np.broadcast_arrays(*cells)
    flat = [np.ravel(cell) for cell in shaped]
    slope, remainder = one_factor(np.stack(flat[2:4]), flat[4])
    rows = np.stack(flat[:2])
    centre = _peak(rows, slope, remainder, events)
    lengths = _lengths(rows + slope * centre, slope, remainder, events)
    found = np.empty(centre.shape)
    for length in np.unique(lengths):
        same = np.flatnonzero(lengths == length)
        for part in np.array_split(same, -(-len(same) * int(length) // _BLOCK)):
            z, log_weight = _nodes(centre[part], int(length))
            total = log_weight
            for k in (0, 1):
                at = rows[k, part, None] + slope[k, part, None] * z
                total = total + _log(at, remainder[k, part, None], link, event=events[k])
            found[part] = special.logsumexp(total, axis=1)
    return found.reshape(shaped[0].shape)


def _nodes(centre: Floats, length: int) -> tuple[Floats, Floats]:
    """Nodes about the peak and the logarithms of their weights; one node without a factor."""
    if length == 1:
        return np.zeros((len(centre), 1)), np.zeros((len(centre), 1))
    z = centre[:, None] + np.linspace(-_HALF_RANGE, _HALF_RANGE, length)
    step = 2 * _HALF_RANGE / (length - 1)
    return z, math.log(step / math.sqrt(2 * math.pi)) - 0.5 * z * z


def _log(eta: Floats, variance: Floats, link: Link, *, event: bool) -> Floats:
    """Logarithm of the mean over the remainder, or of its complement.

    The link of the mean comes from tables; where its error would be large in the logarithm of the
    complement, -exp(link), that is integrated.
    """
    if not variance.any():
        return link.log_inverse(eta) if event else link.log_complement(eta)
    sd = np.broadcast_to(np.sqrt(variance), eta.shape)
    predictor = np.asarray(population_average(eta, np.sqrt(variance), link, "link"))
    if event:
        return link.log_inverse(predictor)
    found, far = link.log_complement(predictor), predictor > _FAR
    if far.any():
        found[far] = marginal_logs(eta[far], sd[far], link)[1]
    return found


def _steepness(eta: Floats, variance: Floats, *, event: bool) -> Floats:
    """About the slope of the logarithm in eta: in [0, 1] for the event, negative without it."""
    if event:
        return np.minimum(np.maximum(-eta, 0.0) / np.maximum(variance, 1e-12), 1.0)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        moved = special.lambertw(variance * np.exp(np.minimum(eta, 690.0))).real / variance
    return -np.where(variance > 1e-8, moved, np.exp(np.minimum(eta, 690.0)))


def _peak(eta: Floats, slope: Floats, remainder: Floats, events: Events) -> Floats:
    """Where the integrand is about largest, by bisection of its falling slope; shape (cells,)."""

    def rise(z: Floats) -> Floats:
        at = eta + slope * z
        tilts = [slope[k] * _steepness(at[k], remainder[k], event=events[k]) for k in (0, 1)]
        return tilts[0] + tilts[1] - z

    near = np.zeros(eta.shape[1])
    far = rise(near)
    start = np.sign(far)
    for _ in range(1100):
        if np.abs(far - near).max(initial=0.0) <= 0.02:
            break
        middle = 0.5 * (near + far)
        beyond = np.sign(rise(middle)) != start
        near, far = np.where(beyond, near, middle), np.where(beyond, middle, far)
    return 0.5 * (near + far)


def _lengths(peak: Floats, slope: Floats, remainder: Floats, events: Events) -> NDArray[np.intp]:
    """Number of nodes of each cell: 1 without a common factor, else 17, 21, 26, … ."""
    size = np.abs(slope)
    mass = [
        0.0
        if events[k]
        else -_steepness(peak[k], remainder[k], event=False) + 1.0 / np.maximum(size[k], 1e-3)
        for k in (0, 1)
    ]
    stiffness = 1.0 + size[0] ** 2 * mass[0] + size[1] ** 2 * mass[1]
    height = np.minimum(
        np.sqrt(2 * _DIGITS / stiffness), _STRIP / np.maximum(size.max(axis=0), 0.1)
    )
    growth = 0.5 * height**2 + _GROWTH * sum(events)
    for k in (0, 1):
        growth = growth - mass[k] * np.log(np.cos(size[k] * height))
    needed = 2 * _HALF_RANGE * (_DIGITS + growth) / (2 * math.pi * height) + 1
    rounded = np.ceil(17 * 1.2 ** np.ceil(np.log(np.maximum(needed, 17) / 17) / math.log(1.2)))
    return np.where(slope[0] == 0.0, 1, rounded).astype(np.intp)
