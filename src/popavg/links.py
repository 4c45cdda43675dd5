"""Link functions by name: those of a probability, the log and the identity."""

from __future__ import annotations

from typing import override

import numpy as np
from numpy.typing import ArrayLike

from popavg._checks import listing, suggestion
from popavg.errors import SpecificationError
from popavg.link import Floats, Link, exp, floats, within
from popavg.probability_links import Cloglog, Logit, Probit

__all__ = ["LINKS", "Cloglog", "Identity", "Link", "Log", "Logit", "Probit", "get_link"]


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
            return np.log(within(mean, np.inf))

    @override
    def inverse(self, eta: ArrayLike) -> Floats:
        return exp(eta)

    @override
    def complement(self, eta: ArrayLike) -> Floats:
        raise self._no_complement()

    @override
    def log_inverse(self, eta: ArrayLike) -> Floats:
        return floats(eta)[()]

    @override
    def log_complement(self, eta: ArrayLike) -> Floats:
        raise self._no_complement()

    @override
    def log_derivative(self, eta: ArrayLike) -> Floats:
        return floats(eta)[()]

    @override
    def derivative(self, eta: ArrayLike) -> Floats:
        return exp(eta)

    @override
    def second_derivative(self, eta: ArrayLike) -> Floats:
        return exp(eta)

    @override
    def link_from_logs(self, log_mean: ArrayLike, log_complement: ArrayLike) -> Floats:
        return floats(log_mean)[()]

    @override
    def marginal_predictor(self, eta: ArrayLike, variance: ArrayLike) -> Floats:
        return floats(eta) + 0.5 * floats(variance)


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
        return floats(mean)[()]

    @override
    def inverse(self, eta: ArrayLike) -> Floats:
        return floats(eta)[()]

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
        return np.zeros_like(floats(eta))[()]

    @override
    def second_derivative(self, eta: ArrayLike) -> Floats:
        return np.zeros_like(floats(eta))[()]

    @override
    def link_from_logs(self, log_mean: ArrayLike, log_complement: ArrayLike) -> Floats:
        raise self._no_logarithm()

    @override
    def marginal_predictor(self, eta: ArrayLike, variance: ArrayLike) -> Floats:
        return floats(eta) + np.zeros_like(floats(variance))

    def _no_logarithm(self) -> SpecificationError:
        return SpecificationError(
            "the mean of the identity link may be negative, so its logarithm isn't defined",
            "'logit', 'probit', 'cloglog', 'log'",
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
        The link's only instance.

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
