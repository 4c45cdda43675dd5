"""The abstract link function, and checks that all links share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, override

import numpy as np
from numpy.typing import ArrayLike, NDArray

from popavg.errors import DataError, SpecificationError
from popavg.mixing import NORMAL, Mixing

__all__ = ["Floats", "Link", "exp", "floats", "probability", "within"]

type Floats = NDArray[np.float64]


class Link(ABC):
    """A link function g: ``eta = g(mean)``, ``mean = g^-1(eta)``.

    Every method is vectorised: arrays of any shape come back in the same shape, scalars as NumPy
    scalars. Links have no state; take them from `LINKS` or by `get_link`.

    Attributes
    ----------
    name : str
        The name by which `get_link` knows it.
    is_probability : bool
        Whether the mean is a probability, so that it has a complement.
    tolerance_sd : float
        Standard deviation of the latent tolerance distribution (the residual of the latent
        scale), in units of the linear predictor; 1 where there is none.
    mixing : Mixing
        Distribution of the random effects that means are averaged over; normal but for
        :class:`popavg.bridge_logit.BridgeLogit`.

    Notes
    -----
    ``log_inverse``, ``log_complement`` and ``log_derivative`` exist because the numbers themselves
    round to 0 or 1 in the tails; whatever is divided by a variance should be built from the logs.

    Examples
    --------
    >>> import popavg as pa
    >>> link = pa.links.get_link("logit")
    >>> float(link.log_inverse(-800.0))
    -800.0
    """

    name: ClassVar[str]
    is_probability: ClassVar[bool] = True
    tolerance_sd: ClassVar[float] = 1.0
    mixing: ClassVar[Mixing] = NORMAL

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @abstractmethod
    def link(self, mean: ArrayLike) -> Floats:
        """Linear predictor g(mean); infinite at the ends of the range.

        Parameters
        ----------
        mean : array_like
            Means, in the range of the link.

        Raises
        ------
        DataError
            A mean outside the range of the link.
        """

    @abstractmethod
    def inverse(self, eta: ArrayLike) -> Floats:
        """Mean g^-1(eta).

        Parameters
        ----------
        eta : array_like
            Linear predictors.
        """

    @abstractmethod
    def complement(self, eta: ArrayLike) -> Floats:
        """One minus the mean, with full relative accuracy where it is small.

        Parameters
        ----------
        eta : array_like
            Linear predictors.

        Raises
        ------
        SpecificationError
            The mean isn't a probability.
        """

    @abstractmethod
    def log_inverse(self, eta: ArrayLike) -> Floats:
        """Logarithm of the mean.

        Parameters
        ----------
        eta : array_like
            Linear predictors.
        """

    @abstractmethod
    def log_complement(self, eta: ArrayLike) -> Floats:
        """Logarithm of one minus the mean.

        Parameters
        ----------
        eta : array_like
            Linear predictors.

        Raises
        ------
        SpecificationError
            The mean isn't a probability.
        """

    @abstractmethod
    def log_derivative(self, eta: ArrayLike) -> Floats:
        """Logarithm of the derivative of the mean with respect to eta.

        Parameters
        ----------
        eta : array_like
            Linear predictors.
        """

    @abstractmethod
    def second_derivative(self, eta: ArrayLike) -> Floats:
        """Second derivative of the mean with respect to eta.

        Parameters
        ----------
        eta : array_like
            Linear predictors.
        """

    @abstractmethod
    def link_from_logs(self, log_mean: ArrayLike, log_complement: ArrayLike) -> Floats:
        """Linear predictor g(mean) from log(mean) and log(1 - mean): accurate in both tails.

        Parameters
        ----------
        log_mean : array_like
            Logarithms of the mean.
        log_complement : array_like
            Logarithms of one minus the mean.
        """

    @abstractmethod
    def marginal_predictor(self, eta: ArrayLike, variance: ArrayLike) -> Floats | None:
        """The eta~ of E g^-1(eta + u) = g^-1(eta~), Var u = variance; None without a closed form.

        Parameters
        ----------
        eta : array_like
            Linear predictors.
        variance : array_like
            Variances of the random effect, link scale.
        """

    def derivative(self, eta: ArrayLike) -> Floats:
        """Derivative of the mean with respect to eta.

        Parameters
        ----------
        eta : array_like
            Linear predictors.
        """
        return np.exp(self.log_derivative(eta))

    def _no_complement(self) -> SpecificationError:
        return SpecificationError(
            f"the mean of the {self.name} link isn't a probability, so it has no complement",
            "'logit', 'probit', 'cloglog'",
        )


def floats(values: ArrayLike) -> Floats:
    """Values as float64."""
    return np.asarray(values, dtype=np.float64)


def exp(eta: ArrayLike) -> Floats:
    """The exponential, infinite or zero where it leaves the floats."""
    with np.errstate(over="ignore", under="ignore"):
        return np.exp(floats(eta))


def probability(mean: ArrayLike) -> Floats:
    """Means, checked to lie in [0, 1]."""
    return within(mean, 1.0)


def within(mean: ArrayLike, upper: float) -> Floats:
    """Means, checked to lie in [0, upper]."""
    mean = floats(mean)
    outside = (mean < 0.0) | (mean > upper)
    if outside.any():
        raise DataError(
            f"{outside.sum()} of {mean.size} means lie outside the link's range, "
            f"first {mean[outside].flat[0]:.6g}",
            f"0 to {upper:g}",
        )
    return mean
