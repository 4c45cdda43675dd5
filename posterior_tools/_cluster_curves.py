"""What the figure of differences between clusters is made of."""

from __future__ import annotations

from dataclasses import dataclass

from popavg.design import DesignMatrices
from popavg.posterior_tools.draws import Posterior

__all__ = ["ClusterCurves"]


@dataclass(frozen=True, eq=False)
class ClusterCurves:
    """What the figure of a result is made of; computed when it is drawn.

    Attributes
    ----------
    posterior : Posterior
        The fit.
    step : int
        Every ``step``-th draw is used.
    matrices : DesignMatrices
        The rows.
    arms : tuple of DesignMatrices, or None
        The rows at both ends of the effects.
    shared : tuple of str
        Factors whose effects a cluster fixes.
    outcomes : tuple of str
        What is drawn for rows and for effects, in words.
    names : tuple
        Headings of the rows, of the effects.
    thresholds : tuple of float
        Lines to draw beside the effects.
    """

    posterior: Posterior
    step: int
    matrices: DesignMatrices
    arms: tuple[DesignMatrices, DesignMatrices] | None
    shared: tuple[str, ...]
    outcomes: tuple[str, str]
    names: tuple[tuple[str, ...], tuple[str, ...]]
    thresholds: tuple[float, ...]
