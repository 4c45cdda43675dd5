"""The bridge distribution (Wang & Louis 2003), under which a logit's average is logistic."""

from __future__ import annotations

from typing import override

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from popavg._bridge_shape import FAR, Shape, distance, tail_parts, upper_tail
from popavg.errors import DataError, SpecificationError

__all__ = ["BridgeDistribution", "attenuation_of_sd", "sd_of_attenuation"]

type Floats = NDArray[np.float64]

#: Standard deviation of the logistic distribution.
_LOGISTIC_SD = np.pi / np.sqrt(3.0)


def attenuation_of_sd(sd: ArrayLike) -> Floats:
    """The attenuation phi of the bridge distribution with a standard deviation.

    Parameters
    ----------
    sd : array_like
        Standard deviations from 0.

    Returns
    -------
    numpy.ndarray
        (1 + 3 sd²/π²)^(−1/2), in the shape of ``sd``.

    Raises
    ------
    DataError
        Standard deviations that are negative or not finite.

    Examples
    --------
    >>> from popavg.bridge import attenuation_of_sd
    >>> print(attenuation_of_sd([0.0, 1.0, 4.0]).round(4))
    [1.     0.8757 0.413 ]
    """
    return BridgeDistribution(sd=sd).phi


def sd_of_attenuation(phi: ArrayLike) -> Floats:
    """The standard deviation of the bridge distribution with an attenuation.

    Parameters
    ----------
    phi : array_like
        Attenuations, above 0 up to 1.

    Returns
    -------
    numpy.ndarray
        π √((phi⁻² − 1)/3), in the shape of ``phi``.

    Raises
    ------
    DataError
        Attenuations outside (0, 1].

    Examples
    --------
    >>> from popavg.bridge import sd_of_attenuation
    >>> print(sd_of_attenuation(0.5).round(4))
    3.1416
    """
    return BridgeDistribution(phi=phi).sd


class BridgeDistribution:
    """The bridge distribution for the logit link, symmetric about zero.

    A random intercept u of this distribution makes the population mean of a logit model logistic
    again: E expit(eta + u) = expit(phi eta), so that every coefficient is multiplied by phi. Its
    tails are heavier than the normal's, exp(−phi |u|). Where the standard deviation is well below
    1 it is no bell but a spike with the tails of the logistic distribution (see the kurtosis);
    prefer normal intercepts if that isn't what clusters are like.

    Parameters
    ----------
    phi : array_like, optional
        Attenuation, above 0 up to 1.
    sd : array_like, optional
        Standard deviation, from 0; exactly one of the two. Small ones are exact only if given as
        such: 1 − phi then is below the spacing of the floats.

    Attributes
    ----------
    phi : numpy.ndarray
        Attenuation.
    complement : numpy.ndarray
        1 − phi, to full relative accuracy.
    sd : numpy.ndarray
        Standard deviation.

    Raises
    ------
    SpecificationError
        Both parameters or none.
    DataError
        Values out of range.

    Notes
    -----
    Wang & Louis (2003), "Matching conditional and marginal shapes in binary random intercept models
    using a bridge distribution function", Biometrika 90:765:

        f(u) = sin(φπ) / (2π (cosh(φu) + cos(φπ))),  Var u = π² (φ⁻² − 1)/3.

    With q = exp(−φ|u|) the denominator is a sum of positive terms,
    exp(φ|u|) ((1 − q)² + 4 q sin²(π(1 − φ)/2))/2: nothing overflows or cancels, neither far out
    nor for φ near 0 or 1. At sd = 0 it is a point mass.

    All methods broadcast their argument against the parameters; ``u`` are points, array_like.

    Examples
    --------
    >>> from popavg.bridge import BridgeDistribution
    >>> bridge = BridgeDistribution(sd=4.0)
    >>> print(bridge.phi.round(4), bridge.cdf([-6.0, 0.0, 6.0]).round(4))
    0.413 [0.0608 0.5    0.9392]
    """

    def __init__(self, *, phi: ArrayLike | None = None, sd: ArrayLike | None = None) -> None:
        if (phi is None) == (sd is None):
            raise SpecificationError(
                "the bridge distribution with both phi and sd"
                if phi is not None
                else "the bridge distribution without a parameter",
                "exactly one of phi and sd",
                "say sd=1.5, or phi=0.7",
            )
        self.phi: Floats
        self.complement: Floats
        self.sd: Floats
        if sd is not None:
            self.sd = _checked("sd", sd, largest=np.inf)
            ratio = self.sd / _LOGISTIC_SD
            root = np.hypot(1.0, ratio)
            self.phi, self.complement = 1.0 / root, ratio * (ratio / root) / (root + 1.0)
        else:
            self.phi = _checked("phi", np.nan if phi is None else phi, largest=1.0)
            self.complement = 1.0 - self.phi
            self.sd = _LOGISTIC_SD * np.sqrt(self.complement * (1.0 + self.phi)) / self.phi
        self._shape = Shape.build(self.phi, self.complement)

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}(sd={self.sd!r})"

    @property
    def variance(self) -> Floats:
        """Variance π² (φ⁻² − 1)/3; the mean is 0.

        Examples
        --------
        >>> from popavg.bridge import BridgeDistribution
        >>> print(BridgeDistribution(phi=0.5).variance.round(4))
        9.8696
        """
        return np.square(self.sd)

    @property
    def excess_kurtosis(self) -> Floats:
        """Excess kurtosis 6/5 (φ⁻⁴ − 1)/(φ⁻² − 1)²; 6/5 as φ falls to 0, infinite as it rises to 1.

        Examples
        --------
        >>> from popavg.bridge import BridgeDistribution
        >>> print(BridgeDistribution(phi=0.5).excess_kurtosis.round(4))
        2.0
        """
        with np.errstate(divide="ignore"):
            return 1.2 * (1.0 + 2.0 / np.square(self.sd / _LOGISTIC_SD))

    def log_density(self, u: ArrayLike) -> Floats:
        """Logarithm of the density.

        Examples
        --------
        >>> from popavg.bridge import BridgeDistribution
        >>> print(BridgeDistribution(phi=0.5).log_density([0.0, 1400.0]).round(4))
        [  -1.8379 -701.1447]
        """
        far, left, q = tail_parts(self._shape, u)
        width = np.square(left) + 4.0 * q * np.square(self._shape.half_sine)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.log(self._shape.sine) - np.log(np.pi) - far - np.log(width)
        return np.where((far == 0.0) & (self.complement == 0.0), np.inf, found)[()]

    def density(self, u: ArrayLike) -> Floats:
        """The density.

        Examples
        --------
        >>> from popavg.bridge import BridgeDistribution
        >>> print(BridgeDistribution(phi=0.5).density(0.0).round(4))
        0.1592
        """
        return np.exp(self.log_density(u))

    def survival(self, u: ArrayLike) -> Floats:
        """Probability above a point, to full relative accuracy in the upper tail.

        Examples
        --------
        >>> from popavg.bridge import BridgeDistribution
        >>> print(BridgeDistribution(phi=0.5).survival([0.0, 60.0]).round(16))
        [5.00e-01 5.96e-14]
        """
        upper = upper_tail(self._shape, u)
        return np.where(np.asarray(u) < 0.0, 1.0 - upper, upper)[()]

    def cdf(self, u: ArrayLike) -> Floats:
        """Probability below a point, to full relative accuracy in the lower tail.

        Notes
        -----
        F(u) = 1 − (π/2 − arctan((exp(φu) + cos φπ)/sin φπ))/(πφ).

        Examples
        --------
        >>> from popavg.bridge import BridgeDistribution
        >>> print(BridgeDistribution(phi=0.5).cdf(0.0))
        0.5
        """
        return self.survival(-np.asarray(u, dtype=np.float64))

    def log_survival(self, u: ArrayLike) -> Floats:
        """Logarithm of the probability above a point, also where that underflows.

        Examples
        --------
        >>> from popavg.bridge import BridgeDistribution
        >>> print(BridgeDistribution(phi=0.5).log_survival(2000.0).round(4))
        -1000.4516
        """
        far, upper = tail_parts(self._shape, u)[0], upper_tail(self._shape, u)
        with np.errstate(divide="ignore"):
            beyond = np.log(self._shape.sine) - np.log(np.pi * self.phi) - far
            above = np.where(far > FAR, beyond, np.log(upper))
        return np.where(np.asarray(u) < 0.0, np.log1p(-upper), above)[()]

    def quantile(self, p: ArrayLike) -> Floats:
        """Points below which so much of the mass lies.

        Parameters
        ----------
        p : array_like
            Between 0 and 1; their quantiles are infinite.

        Raises
        ------
        DataError
            A number that isn't a probability.

        Notes
        -----
        φ⁻¹ log(sin(φπp)/sin(φπ(1 − p))), near the middle written as
        2 φ⁻¹ artanh(tan(φπ(p − ½)) tan(π(1 − φ)/2)).

        Examples
        --------
        >>> from popavg.bridge import BridgeDistribution
        >>> print(BridgeDistribution(phi=0.5).quantile([0.025, 0.5, 0.975]).round(4))
        [-6.4736  0.      6.4736]
        """
        share = np.asarray(p, dtype=np.float64)
        if not ((share >= 0.0) & (share <= 1.0)).all():
            raise DataError(f"a quantile of {p!r}", "probabilities from 0 to 1")
        lower = np.minimum(share, 1.0 - share)
        with np.errstate(divide="ignore"):
            size = distance(self._shape, np.abs(share - 0.5), lower, np.log(lower))
        return np.where(share < 0.5, -size, size)[()]

    def from_normal(self, z: ArrayLike) -> Floats:
        """What is at the percentiles at which a standard normal variable has these values.

        Parameters
        ----------
        z : array_like
            Standard normal values, of any size.

        Returns
        -------
        numpy.ndarray
            F⁻¹(Φ(z)), exact in both tails.

        See Also
        --------
        to_normal : The way back.

        Examples
        --------
        >>> from popavg.bridge import BridgeDistribution
        >>> print(BridgeDistribution(phi=0.5).from_normal([-1.959964, 0.0, 50.0]).round(4))
        [  -6.4736    0.     2508.7596]
        """
        score = np.asarray(z, dtype=np.float64)
        size = np.abs(score)
        middle = 0.5 * special.erf(size / np.sqrt(2.0))
        found = distance(self._shape, middle, special.ndtr(-size), special.log_ndtr(-size))
        return np.where(score < 0.0, -found, found)[()]

    def to_normal(self, u: ArrayLike) -> Floats:
        """The standard normal values at the same percentiles as these.

        Returns
        -------
        numpy.ndarray
            Φ⁻¹(F(u)), in both tails.

        Examples
        --------
        >>> from popavg.bridge import BridgeDistribution
        >>> bridge = BridgeDistribution(phi=0.5)
        >>> print(bridge.to_normal(bridge.from_normal([-30.0, 0.5])).round(6))
        [-30.    0.5]
        """
        point = np.asarray(u, dtype=np.float64)
        z = -special.ndtri_exp(self.log_survival(np.abs(point)))
        return np.where(point < 0.0, -z, z)[()]

    def draw(
        self,
        size: int | tuple[int, ...] | None = None,
        *,
        seed: int | np.random.Generator | None = None,
    ) -> Floats:
        """Random draws.

        Parameters
        ----------
        size : int or tuple of int, optional
            Shape of the result, that of the parameters by default.
        seed : int or numpy.random.Generator, optional
            Same seed, same draws.

        Returns
        -------
        numpy.ndarray
            :meth:`from_normal` of standard normal draws.

        Examples
        --------
        >>> from popavg.bridge import BridgeDistribution
        >>> draws = BridgeDistribution(sd=2.0).draw(100_000, seed=1)
        >>> print(draws.std().round(1))
        2.0
        """
        shape = np.shape(self.phi) if size is None else size
        return self.from_normal(np.random.default_rng(seed).standard_normal(shape))


def _checked(name: str, values: ArrayLike, *, largest: float) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    allowed = np.isfinite(found) & (found >= 0.0) & (found <= largest)
    if name == "phi":
        allowed &= found > 0.0
    if not allowed.all():
        range_ = "numbers above 0 up to 1" if name == "phi" else "finite numbers from 0"
        raise DataError(f"{name}={values!r} of a bridge distribution", range_)
    return found[()]
