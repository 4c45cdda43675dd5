r"""The joint mean of two rows of one cluster: E g^-1(eta_1 + t_1) g^-1(eta_2 + t_2).

Notes
-----
Two normals that share a covariance c share one factor Z: t_1 = a_1 Z + r_1, t_2 = a_2 Z + r_2 with
a_1 a_2 = c, |a_k| = s_k sqrt(|c| / (s_1 s_2)), and remainders that are independent of each other
with variances w_k = s_k^2 - a_k^2. Given Z the two means are independent, so that

    E g^-1(eta_1 + t_1) g^-1(eta_2 + t_2) = E_Z m_1(eta_1 + a_1 Z) m_2(eta_2 + a_2 Z),

m_k being the population average over the remainder: one integral over one variable, exact.

The trapezoid rule's error is exp(-2 pi c / h) times the size of the integrand on the line Im z = c
(Trefethen & Weideman 2014, SIAM Review 56:385). Relative to its size on the real line that is at
most exp(c^2 / 2) for the Gaussian, 1 / cos(a c / 2) for an average of logistic functions
(a c < pi), exp(g^2 c^2 / 2) for one of normal distribution functions (g = a / sqrt(1 + w)), and
2 / (1 - 1/e) for one of cloglog functions (a c < pi / 2): the error is relative, in the tails too.
The integrand is log-concave, and the sum is centred where an upper bound of it has its peak.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from popavg._checks import listing
from popavg.errors import DataError, SpecificationError
from popavg.links import Link, get_link
from popavg.mixing import NORMAL
from popavg.posterior_tools._bridge_pairs import pair_logs, shared_deviation
from popavg.posterior_tools.averages import population_average

__all__ = ["joint_mean", "one_factor"]

type Floats = NDArray[np.float64]

#: The error of the sum is exp(-_DIGITS), relative.
_DIGITS = 32.0
#: Half of the range of Z; eight more digits for the bound of the peak that isn't reached.
_HALF_RANGE = math.sqrt(2 * (_DIGITS + 8.0))
_LOGIT_STRIP = 0.9 * math.pi
_CLOGLOG_STRIP = 1.4
_CLOGLOG_GROWTH = 2 * math.log(2 / (1 - math.exp(-1)))
#: Numbers of one temporary array.
_BLOCK = 1 << 18
#: A covariance may exceed its bound by so much: relative, absolute.
_ROUNDING, _NEGLIGIBLE = 1e-9, 1e-30


def joint_mean(
    eta_1: ArrayLike,
    eta_2: ArrayLike,
    *,
    variance_1: ArrayLike,
    variance_2: ArrayLike,
    covariance: ArrayLike,
    link: str | Link,
) -> Floats:
    """E[g^-1(eta_1 + t_1) g^-1(eta_2 + t_2)] for random effects (t_1, t_2) with mean zero.

    For a probability link: how often two rows of one cluster both have the event. One row alone
    has :func:`popavg.marginal_mean`.

    Parameters
    ----------
    eta_1, eta_2 : array_like
        Linear predictors of the two rows without the random effects, link scale.
    variance_1, variance_2 : array_like
        Variances of the rows' random effects, z'Σz of each.
    covariance : array_like
        Their covariance, z_1'Σz_2: that of the factors whose cluster the rows share.
    link : str or Link
        ``"logit"``, ``"probit"``, ``"cloglog"``, ``"log"`` or ``"identity"``.

    Returns
    -------
    ndarray
        In the broadcast shape of all inputs; a NumPy scalar where all are scalars.

    Raises
    ------
    DataError
        Values that aren't finite, negative variances, a covariance that two such variances can't
        have, shapes that don't broadcast.
    EstimandError
        Two bridge-distributed intercepts that aren't one and the same.
    SpecificationError
        An unknown link.

    Notes
    -----
    The random effects are bivariate normal; with :class:`popavg.bridge_logit.BridgeLogit` both
    rows have one bridge-distributed intercept, t_1 = t_2, for which there is a closed form.

    Closed forms: identity eta_1 eta_2 + c, log exp(eta_1 + eta_2 + (v_1 + v_2) / 2 + c). For the
    other links the trapezoid rule in one variable, relative error below 1e-12 for standard
    deviations up to 10; see the module's notes.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.posterior_tools.joint import joint_mean
    >>> both = joint_mean(0, 0, variance_1=3, variance_2=3, covariance=3, link="probit")
    >>> print(both.round(6), round(1 / 4 + np.arcsin(0.75) / (2 * np.pi), 6))
    0.384973 0.384973
    """
    link = get_link(link)
    eta_1, eta_2, v_1, v_2, covariance = _checked(eta_1, eta_2, variance_1, variance_2, covariance)
    if link.mixing.name != NORMAL.name:
        return np.exp(pair_logs(eta_1, eta_2, shared_deviation(v_1, v_2, covariance))[0])
    if link.name == "identity":
        return (eta_1 * eta_2 + covariance)[()]
    if link.name == "log":
        return link.inverse(eta_1 + eta_2 + 0.5 * (v_1 + v_2) + covariance)
    if link.name not in _STEPS:
        raise SpecificationError(
            f"{link!r} has neither a closed form nor a step of the quadrature",
            listing(("identity", "log", *_STEPS)),
        )
    cells = np.broadcast_arrays(eta_1, eta_2, v_1, v_2, covariance)
    eta_1, eta_2, v_1, v_2, covariance = (np.ravel(cell) for cell in cells)
    slope, remainder = one_factor(np.stack([v_1, v_2]), covariance)
    flat = _integrated(np.stack([eta_1, eta_2]), slope, remainder, link)
    return flat.reshape(cells[0].shape)[()]


def _integrated(eta: Floats, slope: Floats, remainder: Floats, link: Link) -> Floats:
    """All (2, cells); cells whose sums are about equally long are taken together."""
    result = np.empty(eta.shape[1])
    lengths = _lengths(slope, remainder, link)
    for length in np.unique(lengths):
        cells = np.flatnonzero(lengths == length)
        size = max(1, _BLOCK // int(length))
        for start in range(0, len(cells), size):
            chosen = cells[start : start + size]
            parts = eta[:, chosen], slope[:, chosen], remainder[:, chosen]
            result[chosen] = _sum(*parts, length=int(length), link=link)
    return result


def one_factor(variance: Floats, covariance: Floats) -> tuple[Floats, Floats]:
    """Slopes a on the common factor and variances w of the remainders, both (2, cells)."""
    sd = np.sqrt(variance)
    product = sd[0] * sd[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.where(product > 0.0, covariance / product, 0.0)
    size = np.minimum(np.abs(correlation), 1.0)
    size = np.where(size > 1.0 - 1e-14, 1.0, size)
    slope = sd * np.sqrt(size)
    slope[1] *= np.where(correlation < 0.0, -1.0, 1.0)
    return slope, variance * (1.0 - size)


def _lengths(slope: Floats, remainder: Floats, link: Link) -> NDArray[np.intp]:
    """Number of nodes of each cell: 1 without a common factor, else 17, 21, 26, … ."""
    step = _STEPS[link.name](np.abs(slope), remainder)
    needed = 2 * _HALF_RANGE / step + 1
    rounded = np.ceil(17 * 1.2 ** np.ceil(np.log(np.maximum(needed, 17) / 17) / math.log(1.2)))
    return np.where(slope[0] == 0.0, 1, rounded).astype(np.intp)


def _logit_step(slope: Floats, remainder: Floats) -> Floats:
    height = np.minimum(math.sqrt(2 * _DIGITS), _LOGIT_STRIP / np.maximum(slope.max(axis=0), 0.1))
    growth = 0.5 * height**2 - np.log(np.cos(0.5 * slope * height)).sum(axis=0)
    return 2 * math.pi * height / (_DIGITS + growth)


def _cloglog_step(slope: Floats, remainder: Floats) -> Floats:
    height = np.minimum(math.sqrt(2 * _DIGITS), _CLOGLOG_STRIP / np.maximum(slope.max(axis=0), 0.1))
    return 2 * math.pi * height / (_DIGITS + 0.5 * height**2 + _CLOGLOG_GROWTH)


def _probit_step(slope: Floats, remainder: Floats) -> Floats:
    growth = 1.0 + (slope**2 / (1.0 + remainder)).sum(axis=0)
    return 2 * math.pi * np.sqrt(2 * _DIGITS / growth) / (2 * _DIGITS)


_STEPS = {"logit": _logit_step, "probit": _probit_step, "cloglog": _cloglog_step}


def _sum(eta: Floats, slope: Floats, remainder: Floats, *, length: int, link: Link) -> Floats:
    """The trapezoid sums of some cells, all (2, cells)."""
    if length == 1:
        z, weight = np.zeros((1, 1)), np.ones((1, 1))
    else:
        step = 2 * _HALF_RANGE / (length - 1)
        z = _peak(eta, slope, remainder, link)[:, None] + np.linspace(
            -_HALF_RANGE, _HALF_RANGE, length
        )
        weight = np.exp(-0.5 * z * z) * (step / math.sqrt(2 * math.pi))
    means = (
        _average(eta[k][:, None] + slope[k][:, None] * z, remainder[k][:, None], link)
        for k in (0, 1)
    )
    product = weight
    for mean in means:
        product = product * mean
    return product.sum(axis=1)


def _average(eta: Floats, variance: Floats, link: Link) -> Floats:
    """Mean over the remainder, one variance for each row of ``eta``."""
    if not variance.any():
        return link.inverse(eta)
    return np.asarray(population_average(eta, np.sqrt(variance), link))


def _peak(eta: Floats, slope: Floats, remainder: Floats, link: Link) -> Floats:
    """Where an upper bound of the integrand is largest, to a tenth; shape (cells,).

    log g^-1(x) is at most min(0, x), or -x^2 / 2 for x < 0 with the probit; its average over a
    remainder of variance w at most 0 for x >= 0, -x^2 / (2 w) for -w <= x < 0 and x + w / 2 below
    (probit: -x^2 / (2 (1 + w))). With the Gaussian the sum of both is concave, with a second
    derivative of at most -1, so that its peak is no further from 0 than its slope there.
    """

    def steepness(z: Floats) -> Floats:
        below = np.maximum(-(eta + slope * z), 0.0)
        if link.name == "probit":
            tilt = below / (1.0 + remainder)
        else:
            tilt = np.minimum(below / np.maximum(remainder, 1e-12), 1.0)
        return (slope * tilt).sum(axis=0) - z

    near = np.zeros(eta.shape[1])
    far = steepness(near)
    while np.abs(far - near).max(initial=0.0) > 0.1:
        middle = 0.5 * (near + far)
        beyond = np.sign(steepness(middle)) != np.sign(far)
        near, far = np.where(beyond, near, middle), np.where(beyond, middle, far)
    return 0.5 * (near + far)


def _checked(*values: ArrayLike) -> tuple[Floats, ...]:
    names = ("eta_1", "eta_2", "variance_1", "variance_2", "covariance")
    arrays = []
    for name, value in zip(names, values, strict=True):
        try:
            arrays.append(np.asarray(value, dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise DataError(f"{name} isn't a number or an array of numbers", "numbers") from error
        _refuse(~np.isfinite(arrays[-1]), name, "finite numbers")
    for name, array in zip(names[2:4], arrays[2:4], strict=True):
        _refuse(array < 0.0, name, "variances from 0")
    try:
        np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        shapes = ", ".join(f"{n} {a.shape}" for n, a in zip(names, arrays, strict=True))
        raise DataError(
            f"shapes that don't broadcast: {shapes}",
            "shapes that are equal from the last axis backwards, or 1",
            "add an axis of length 1, e.g. variance[:, None]",
        ) from None
    largest = np.sqrt(arrays[2]) * np.sqrt(arrays[3])
    beyond = np.abs(arrays[4]) > largest * (1.0 + _ROUNDING) + _NEGLIGIBLE
    _refuse(beyond, "covariance", "at most sqrt(variance_1 * variance_2), in size")
    return tuple(arrays)


def _refuse(bad: NDArray[np.bool_], name: str, allowed: str) -> None:
    if bad.any():
        raise DataError(
            f"{int(bad.sum())} of {bad.size} values of {name} can't be used",
            allowed,
            "find out where they come from",
        )
