"""The logit link together with bridge-distributed random intercepts: its average is logistic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import override

import numpy as np
from numpy.typing import ArrayLike

from popavg._checks import listing
from popavg.bridge import attenuation_of_sd
from popavg.errors import SpecificationError
from popavg.grouping import GroupDesign
from popavg.link import Floats, floats
from popavg.links import Link, Logit, get_link
from popavg.mixing import BRIDGE, get_mixing

__all__ = ["BridgeLogit", "mixed_link", "require_intercept"]


class BridgeLogit(Logit):
    """The logit link of a model whose random intercept has the bridge distribution.

    As a link it is the logit, under the same name; what it adds is what is averaged over. It
    isn't among the links that have names: :func:`popavg.models.bridge_logit_glmm` uses it.

    Notes
    -----
    E expit(η + u) = expit(φη), φ = (1 + 3 Var(u)/π²)^(−1/2) (Wang & Louis 2003, Biometrika 90:765).

    Examples
    --------
    >>> from popavg.bridge_logit import BridgeLogit
    >>> print(BridgeLogit().marginal_predictor(1.0, 16.0).round(4))
    0.413
    """

    mixing = BRIDGE

    @override
    def marginal_predictor(self, eta: ArrayLike, variance: ArrayLike) -> Floats:
        return floats(eta) * attenuation_of_sd(np.sqrt(floats(variance)))


def mixed_link(link: str, mixing: str) -> Link:
    """The link of a model by its name and that of its random effects' distribution.

    Parameters
    ----------
    link : str
        Name of the link.
    mixing : str
        ``"normal"`` or ``"bridge"``.

    Returns
    -------
    Link

    Raises
    ------
    SpecificationError
        An unknown name, or the bridge distribution with another link than the logit.

    Examples
    --------
    >>> from popavg.bridge_logit import mixed_link
    >>> mixed_link("probit", "normal"), mixed_link("logit", "bridge")
    (Probit(), BridgeLogit())
    """
    found = get_link(link)
    if get_mixing(mixing).name != BRIDGE.name:
        return found
    if found.name != "logit":
        raise SpecificationError(
            f"random intercepts with the bridge distribution and link={link!r}", "'logit'"
        )
    return BridgeLogit()


def require_intercept(link: Link, groups: Sequence[GroupDesign]) -> None:
    """Refuse random effects that a link's mixing distribution isn't for.

    Parameters
    ----------
    link : Link
        The link.
    groups : sequence of GroupDesign
        The grouping factors.

    Raises
    ------
    SpecificationError
        The bridge distribution for anything but one random intercept.

    Notes
    -----
    The sum of two bridge variables isn't one, nor is a bridge variable times a covariate: the
    population mean would not be logistic.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from popavg.bridge_logit import BridgeLogit, require_intercept
    >>> require_intercept(BridgeLogit(), [SimpleNamespace(name="g", effects=("Intercept",))])
    """
    if link.mixing.name != BRIDGE.name:
        return
    found = [f"({' + '.join(group.effects)} | {group.name})" for group in groups]
    if len(groups) != 1 or groups[0].effects != ("Intercept",):
        raise SpecificationError(
            f"the bridge distribution for {listing(found) if found else 'no random effects'}",
            "one random intercept, '(1 | g)'",
            "use popavg.models.logit_glmm, whose random effects are normal",
        )
