"""Response families: which distribution goes with which link, and its variance function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, override

import numpy as np
from numpy.typing import ArrayLike, NDArray

from popavg._checks import listing, suggestion
from popavg.errors import SpecificationError
from popavg.links import LINKS, Link, get_link

__all__ = [
    "FAMILIES",
    "Bernoulli",
    "Binomial",
    "Family",
    "Gaussian",
    "Poisson",
    "family_for",
    "get_family",
]

type Floats = NDArray[np.float64]


class Family(ABC):
    """A response distribution, as far as its mean and variance go.

    Attributes
    ----------
    name : str
        The name by which `get_family` knows it.
    links : tuple of str
        The links it is fitted with.
    has_trials : bool
        Whether a row is a number of successes out of a number of trials.
    has_scale : bool
        Whether it has a residual standard deviation of its own.

    Examples
    --------
    >>> import popavg as pa
    >>> float(pa.families.get_family("bernoulli").variance(0.5))
    0.25
    """

    name: ClassVar[str]
    links: ClassVar[tuple[str, ...]]
    has_trials: ClassVar[bool] = False
    has_scale: ClassVar[bool] = False

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @abstractmethod
    def variance(self, mean: ArrayLike) -> Floats:
        """Variance function: Var(y) / scale at this mean; for one trial where there are trials."""


class Bernoulli(Family):
    """One trial per row: 0 or 1, variance mean (1 - mean).

    Examples
    --------
    >>> import popavg as pa
    >>> pa.families.Bernoulli().links
    ('logit', 'probit', 'cloglog')
    """

    name = "bernoulli"
    links = ("logit", "probit", "cloglog")

    @override
    def variance(self, mean: ArrayLike) -> Floats:
        mean = np.asarray(mean, dtype=np.float64)
        return mean * (1.0 - mean)


class Binomial(Bernoulli):
    """Successes out of trials; ``mean`` is the probability of one trial, and so is the variance.

    Examples
    --------
    >>> import popavg as pa
    >>> pa.families.Binomial().has_trials
    True
    """

    name = "binomial"
    has_trials = True


class Poisson(Family):
    """Counts: variance equal to the mean.

    Examples
    --------
    >>> import popavg as pa
    >>> float(pa.families.Poisson().variance(3.0))
    3.0
    """

    name = "poisson"
    links = ("log",)

    @override
    def variance(self, mean: ArrayLike) -> Floats:
        return np.asarray(mean, dtype=np.float64)[()]


class Gaussian(Family):
    """Values on the real line: variance function 1, times the residual variance.

    Examples
    --------
    >>> import popavg as pa
    >>> float(pa.families.Gaussian().variance(3.0))
    1.0
    """

    name = "gaussian"
    links = ("identity",)
    has_scale = True

    @override
    def variance(self, mean: ArrayLike) -> Floats:
        return np.ones_like(np.asarray(mean, dtype=np.float64))[()]


FAMILIES: dict[str, Family] = {
    family.name: family for family in (Bernoulli(), Binomial(), Poisson(), Gaussian())
}


def get_family(family: str | Family) -> Family:
    """The family of that name; a `Family` is returned as it is.

    Parameters
    ----------
    family : str or Family
        One of the names in `FAMILIES`, or a family.

    Returns
    -------
    Family

    Raises
    ------
    SpecificationError
        The name is unknown; the message lists the known ones.

    Examples
    --------
    >>> import popavg as pa
    >>> pa.families.get_family("poisson")
    Poisson()
    """
    if isinstance(family, Family):
        return family
    if not isinstance(family, str) or family not in FAMILIES:
        raise SpecificationError(
            f"family={family!r} is unknown", listing(FAMILIES), suggestion(family, FAMILIES)
        )
    return FAMILIES[family]


def family_for(link: str | Link, *, trials: bool) -> Family:
    """The family that goes with a link and a kind of response.

    Parameters
    ----------
    link : str or Link
        Logit, probit and cloglog go with Bernoulli, or with the binomial where there are trials;
        log with Poisson; identity with Gaussian.
    trials : bool
        Whether the response is ``p(successes, trials)``.

    Returns
    -------
    Family

    Raises
    ------
    SpecificationError
        An unknown link, or trials with a link whose mean isn't a probability.

    Examples
    --------
    >>> import popavg as pa
    >>> pa.families.family_for("logit", trials=False)
    Bernoulli()
    """
    link = get_link(link)
    for family in FAMILIES.values():
        if link.name in family.links and family.has_trials == trials:
            return family
    if not trials:
        raise SpecificationError(
            f"no family is fitted with link={link.name!r}",
            listing(name for family in FAMILIES.values() for name in family.links),
        )
    raise SpecificationError(
        f"p(successes, trials) can't be fitted with link={link.name!r}: "
        "its mean isn't a probability",
        listing(name for name, known in LINKS.items() if known.is_probability),
        "choose one of these links, or give a response without trials",
    )
