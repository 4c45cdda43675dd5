"""Link functions: one class per link, accurate in both tails, nothing clamped."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, override

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from popavg._checks import listing, suggestion
from popavg.errors import DataError, SpecificationError

__all__ = ["LINKS", "Cloglog", "Identity", "Link", "Log", "Logit", "Probit", "get_link"]

type Floats = NDArray[np.float64]

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


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

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @abstractmethod
    def link(self, mean: ArrayLike) -> Floats:
        """Linear predictor g(mean); infinite at the ends of the range.

        Raises
        ------
        DataError
            A mean outside the range of the link.
        """

    @abstractmethod
    def inverse(self, eta: ArrayLike) -> Floats:
        """Mean g^-1(eta)."""

    @abstractmethod
    def complement(self, eta: ArrayLike) -> Floats:
        """One minus the mean, with full relative accuracy where it is small.

        Raises
        ------
        SpecificationError
            The mean isn't a probability.
        """

    @abstractmethod
    def log_inverse(self, eta: ArrayLike) -> Floats:
        """Logarithm of the mean."""

    @abstractmethod
    def log_complement(self, eta: ArrayLike) -> Floats:
        """Logarithm of one minus the mean.

        Raises
        ------
        SpecificationError
            The mean isn't a probability.
        """

    @abstractmethod
    def log_derivative(self, eta: ArrayLike) -> Floats:
        """Logarithm of the derivative of the mean with respect to eta."""

    @abstractmethod
    def second_derivative(self, eta: ArrayLike) -> Floats:
        """Second derivative of the mean with respect to eta."""

    @abstractmethod
    def link_from_logs(self, log_mean: ArrayLike, log_complement: ArrayLike) -> Floats:
        """Linear predictor g(mean) from log(mean) and log(1 - mean): accurate in both tails."""

    @abstractmethod
    def marginal_predictor(self, eta: ArrayLike, variance: ArrayLike) -> Floats | None:
        """The eta~ of E g^-1(eta + N(0, variance)) = g^-1(eta~), or None without a closed form."""

    def derivative(self, eta: ArrayLike) -> Floats:
        """Derivative of the mean with respect to eta."""
        return np.exp(self.log_derivative(eta))

    def _no_complement(self) -> SpecificationError:
        return SpecificationError(
            f"the mean of the {self.name} link isn't a probability, so it has no complement",
            listing(name for name, link in LINKS.items() if link.is_probability),
        )


class Logit(Link):
    """The logistic link: mean = 1 / (1 + exp(-eta)).

    Examples
    --------
    >>> import popavg as pa
    >>> float(pa.links.Logit().inverse(0.0))
    0.5
    """

    name = "logit"
    tolerance_sd = math.pi / math.sqrt(3)

    @override
    def link(self, mean: ArrayLike) -> Floats:
        return special.logit(_probability(mean))

    @override
    def inverse(self, eta: ArrayLike) -> Floats:
        return special.expit(_floats(eta))

    @override
    def complement(self, eta: ArrayLike) -> Floats:
        return special.expit(-_floats(eta))

    @override
    def log_inverse(self, eta: ArrayLike) -> Floats:
        return special.log_expit(_floats(eta))

    @override
    def log_complement(self, eta: ArrayLike) -> Floats:
        return special.log_expit(-_floats(eta))

    @override
    def log_derivative(self, eta: ArrayLike) -> Floats:
        return self.log_inverse(eta) + self.log_complement(eta)

    @override
    def derivative(self, eta: ArrayLike) -> Floats:
        return self.inverse(eta) * self.complement(eta)

    @override
    def second_derivative(self, eta: ArrayLike) -> Floats:
        return -self.derivative(eta) * np.tanh(0.5 * _floats(eta))

    @override
    def link_from_logs(self, log_mean: ArrayLike, log_complement: ArrayLike) -> Floats:
        return _floats(log_mean)[()] - _floats(log_complement)[()]

    @override
    def marginal_predictor(self, eta: ArrayLike, variance: ArrayLike) -> None:
        return None


class Probit(Link):
    """The normal link: mean = Phi(eta).

    Examples
    --------
    >>> import popavg as pa
    >>> float(pa.links.Probit().marginal_predictor(1.0, 3.0))
    0.5
    """

    name = "probit"

    @override
    def link(self, mean: ArrayLike) -> Floats:
        return special.ndtri(_probability(mean))

    @override
    def inverse(self, eta: ArrayLike) -> Floats:
        return special.ndtr(_floats(eta))

    @override
    def complement(self, eta: ArrayLike) -> Floats:
        return special.ndtr(-_floats(eta))

    @override
    def log_inverse(self, eta: ArrayLike) -> Floats:
        return special.log_ndtr(_floats(eta))

    @override
    def log_complement(self, eta: ArrayLike) -> Floats:
        return special.log_ndtr(-_floats(eta))

    @override
    def log_derivative(self, eta: ArrayLike) -> Floats:
        return -0.5 * np.square(_floats(eta)) - _LOG_SQRT_2PI

    @override
    def second_derivative(self, eta: ArrayLike) -> Floats:
        return -_floats(eta) * self.derivative(eta)

    @override
    def link_from_logs(self, log_mean: ArrayLike, log_complement: ArrayLike) -> Floats:
        log_mean, log_complement = _floats(log_mean), _floats(log_complement)
        smaller = special.ndtri_exp(np.minimum(log_mean, log_complement))
        return np.where(log_mean <= log_complement, smaller, -smaller)[()]

    @override
    def marginal_predictor(self, eta: ArrayLike, variance: ArrayLike) -> Floats:
        return _floats(eta) / np.sqrt(1.0 + _floats(variance))


class Cloglog(Link):
    """The complementary log-log link: mean = 1 - exp(-exp(eta)).

    Examples
    --------
    >>> import popavg as pa
    >>> float(pa.links.Cloglog().log_complement(0.0))
    -1.0
    """

    name = "cloglog"
    tolerance_sd = math.pi / math.sqrt(6)

    @override
    def link(self, mean: ArrayLike) -> Floats:
        with np.errstate(divide="ignore"):
            return np.log(-np.log1p(-_probability(mean)))

    @override
    def inverse(self, eta: ArrayLike) -> Floats:
        return -np.expm1(-_exp(eta))

    @override
    def complement(self, eta: ArrayLike) -> Floats:
        return np.exp(-_exp(eta))

    @override
    def log_inverse(self, eta: ArrayLike) -> Floats:
        eta, hazard = _floats(eta), _exp(eta)
        with np.errstate(divide="ignore"):
            return np.select(
                [eta < -20.0, hazard < math.log(2)],
                [eta - 0.5 * hazard, np.log(-np.expm1(-hazard))],
                np.log1p(-np.exp(-hazard)),
            )[()]

    @override
    def log_complement(self, eta: ArrayLike) -> Floats:
        return -_exp(eta)

    @override
    def log_derivative(self, eta: ArrayLike) -> Floats:
        return _floats(eta) - _exp(eta)

    @override
    def second_derivative(self, eta: ArrayLike) -> Floats:
        slope = self.derivative(eta)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.where(slope == 0.0, 0.0, -slope * np.expm1(_floats(eta)))[()]

    @override
    def link_from_logs(self, log_mean: ArrayLike, log_complement: ArrayLike) -> Floats:
        log_mean, log_complement = _floats(log_mean), _floats(log_complement)
        with np.errstate(divide="ignore"):
            return np.where(
                log_mean < -20.0,
                log_mean + 0.5 * np.exp(log_mean),
                np.log(-log_complement),
            )[()]

    @override
    def marginal_predictor(self, eta: ArrayLike, variance: ArrayLike) -> None:
        return None


class Log(Link):
    """The log link: mean = exp(eta); infinite where that exceeds the largest float.

    Examples
    --------
    >>> import popavg as pa
    >>> float(pa.links.Log().marginal_predictor(1.0, 3.0))
    2.5
    """

    name = "log"
    is_probability = False

    @override
    def link(self, mean: ArrayLike) -> Floats:
        with np.errstate(divide="ignore"):
            return np.log(_within(mean, np.inf))

    @override
    def inverse(self, eta: ArrayLike) -> Floats:
        return _exp(eta)

    @override
    def complement(self, eta: ArrayLike) -> Floats:
        raise self._no_complement()

    @override
    def log_inverse(self, eta: ArrayLike) -> Floats:
        return _floats(eta)[()]

    @override
    def log_complement(self, eta: ArrayLike) -> Floats:
        raise self._no_complement()

    @override
    def log_derivative(self, eta: ArrayLike) -> Floats:
        return _floats(eta)[()]

    @override
    def derivative(self, eta: ArrayLike) -> Floats:
        return _exp(eta)

    @override
    def second_derivative(self, eta: ArrayLike) -> Floats:
        return _exp(eta)

    @override
    def link_from_logs(self, log_mean: ArrayLike, log_complement: ArrayLike) -> Floats:
        return _floats(log_mean)[()]

    @override
    def marginal_predictor(self, eta: ArrayLike, variance: ArrayLike) -> Floats:
        return _floats(eta) + 0.5 * _floats(variance)


class Identity(Link):
    """The identity link: mean = eta. Its mean may be negative, so it has no logarithm.

    Examples
    --------
    >>> import popavg as pa
    >>> float(pa.links.Identity().marginal_predictor(1.0, 3.0))
    1.0
    """

    name = "identity"
    is_probability = False

    @override
    def link(self, mean: ArrayLike) -> Floats:
        return _floats(mean)[()]

    @override
    def inverse(self, eta: ArrayLike) -> Floats:
        return _floats(eta)[()]

    @override
    def complement(self, eta: ArrayLike) -> Floats:
        raise self._no_complement()

    @override
    def log_inverse(self, eta: ArrayLike) -> Floats:
        raise self._no_logarithm()

    @override
    def log_complement(self, eta: ArrayLike) -> Floats:
        raise self._no_complement()

    @override
    def log_derivative(self, eta: ArrayLike) -> Floats:
        return np.zeros_like(_floats(eta))[()]

    @override
    def second_derivative(self, eta: ArrayLike) -> Floats:
        return np.zeros_like(_floats(eta))[()]

    @override
    def link_from_logs(self, log_mean: ArrayLike, log_complement: ArrayLike) -> Floats:
        raise self._no_logarithm()

    @override
    def marginal_predictor(self, eta: ArrayLike, variance: ArrayLike) -> Floats:
        return _floats(eta) + np.zeros_like(_floats(variance))

    def _no_logarithm(self) -> SpecificationError:
        return SpecificationError(
            "the mean of the identity link may be negative, so its logarithm isn't defined",
            listing(name for name in LINKS if name != self.name),
        )


LINKS: dict[str, Link] = {
    link.name: link for link in (Logit(), Probit(), Cloglog(), Log(), Identity())
}


def get_link(link: str | Link) -> Link:
    """The link of that name; a `Link` is returned as it is.

    Parameters
    ----------
    link : str or Link
        One of the names in `LINKS`, or a link.

    Returns
    -------
    Link

    Raises
    ------
    SpecificationError
        The name is unknown; the message lists the known ones.

    Examples
    --------
    >>> import popavg as pa
    >>> pa.links.get_link("probit")
    Probit()
    """
    if isinstance(link, Link):
        return link
    if not isinstance(link, str) or link not in LINKS:
        raise SpecificationError(
            f"link={link!r} is unknown", listing(LINKS), suggestion(link, LINKS)
        )
    return LINKS[link]


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _exp(eta: ArrayLike) -> Floats:
    with np.errstate(over="ignore", under="ignore"):
        return np.exp(_floats(eta))


def _probability(mean: ArrayLike) -> Floats:
    return _within(mean, 1.0)


def _within(mean: ArrayLike, upper: float) -> Floats:
    mean = _floats(mean)
    outside = (mean < 0.0) | (mean > upper)
    if outside.any():
        raise DataError(
            f"{outside.sum()} of {mean.size} means lie outside the link's range, "
            f"first {mean[outside].flat[0]:.6g}",
            f"0 to {upper:g}",
        )
    return mean
