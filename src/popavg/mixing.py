"""The distribution of a model's random effects: normal, or bridge for a logit's intercept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, override

import numpy as np
from numpy.typing import ArrayLike, NDArray

from popavg._checks import listing, suggestion
from popavg.bridge import BridgeDistribution
from popavg.errors import EstimandError, SpecificationError

__all__ = ["BRIDGE", "MIXINGS", "NORMAL", "Mixing", "get_mixing", "require_normal"]

type Floats = NDArray[np.float64]


class Mixing(ABC):
    """How one random effect with mean 0 and a standard deviation is distributed over clusters.

    What a linear predictor is shifted by at a percentile of the clusters, and back. Percentiles
    are told by standard normal scores, which are exact in both tails.

    Attributes
    ----------
    name : str
        What a fit's specification calls it.

    Examples
    --------
    >>> from popavg.mixing import BRIDGE, NORMAL
    >>> print(NORMAL.effect(2.0, 3.0), BRIDGE.effect(2.0, 3.0).round(4))
    6.0 6.3734
    """

    name: ClassVar[str]

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @abstractmethod
    def effect(self, score: ArrayLike, sd: ArrayLike) -> Floats:
        """The effect at the percentile of a standard normal score.

        Parameters
        ----------
        score : array_like
            Standard normal scores.
        sd : array_like
            Standard deviations of the effect; broadcast against ``score``.
        """

    @abstractmethod
    def score(self, effect: ArrayLike, sd: ArrayLike) -> Floats:
        """The standard normal score at the percentile of an effect.

        Parameters
        ----------
        effect : array_like
            Effects; may be infinite.
        sd : array_like
            Standard deviations, above 0; broadcast against ``effect``.
        """


class NormalMixing(Mixing):
    """Normal random effects.

    Examples
    --------
    >>> from popavg.mixing import NORMAL
    >>> print(NORMAL.score(6.0, 3.0))
    2.0
    """

    name = "normal"

    @override
    def effect(self, score: ArrayLike, sd: ArrayLike) -> Floats:
        return np.asarray(score, dtype=np.float64) * np.asarray(sd, dtype=np.float64)

    @override
    def score(self, effect: ArrayLike, sd: ArrayLike) -> Floats:
        return np.asarray(effect, dtype=np.float64) / np.asarray(sd, dtype=np.float64)


class BridgeMixing(Mixing):
    """Random intercepts with the bridge distribution of Wang & Louis (2003).

    Examples
    --------
    >>> from popavg.mixing import BRIDGE
    >>> print(BRIDGE.score(BRIDGE.effect(-1.5, 4.0), 4.0).round(12))
    -1.5
    """

    name = "bridge"

    @override
    def effect(self, score: ArrayLike, sd: ArrayLike) -> Floats:
        return BridgeDistribution(sd=sd).from_normal(score)

    @override
    def score(self, effect: ArrayLike, sd: ArrayLike) -> Floats:
        return BridgeDistribution(sd=sd).to_normal(effect)


NORMAL, BRIDGE = NormalMixing(), BridgeMixing()

MIXINGS: dict[str, Mixing] = {mixing.name: mixing for mixing in (NORMAL, BRIDGE)}


def get_mixing(name: str) -> Mixing:
    """The distribution of that name.

    Parameters
    ----------
    name : str
        One of the names in `MIXINGS`.

    Returns
    -------
    Mixing

    Raises
    ------
    SpecificationError
        The name is unknown.

    Examples
    --------
    >>> from popavg.mixing import get_mixing
    >>> get_mixing("bridge")
    BridgeMixing()
    """
    if name not in MIXINGS:
        raise SpecificationError(
            f"random effects with the distribution {name!r}",
            listing(MIXINGS),
            suggestion(name, MIXINGS),
        )
    return MIXINGS[name]


def require_normal(mixing: Mixing, what: str, remedy: str = "") -> None:
    """Refuse what is computed for normal random effects only.

    Parameters
    ----------
    mixing : Mixing
        The distribution of a model's random effects.
    what : str
        What was asked for.
    remedy : str
        What to do instead.

    Raises
    ------
    EstimandError
        They aren't normal.

    Examples
    --------
    >>> from popavg.mixing import NORMAL, require_normal
    >>> require_normal(NORMAL, "anything")
    """
    if mixing.name != NORMAL.name:
        raise EstimandError(
            f"{what} where the random intercept has the {mixing.name} distribution",
            "normal random effects",
            remedy,
        )
