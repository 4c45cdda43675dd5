"""Means of a fit's response, and their slopes, for each target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from popavg._checks import check_choice
from popavg.design import DesignMatrices
from popavg.errors import EstimandError
from popavg.posterior_tools.averages import population_average
from popavg.posterior_tools.draw_block import BLOCK, DrawBlock
from popavg.posterior_tools.draws import Need, Posterior

__all__ = ["MEANINGS", "SCALES", "TARGETS", "Scale", "Target", "TargetMean"]

Floats = NDArray[np.float64]
Target = Literal["population", "typical", "sampled", "new"]
TARGETS: tuple[Target, ...] = ("population", "typical", "sampled", "new")
Scale = Literal["response", "link"]
SCALES: tuple[Scale, ...] = ("response", "link")

#: What a number of each target speaks of.
MEANINGS: dict[str, str] = {
    "population": "the mean over the population of clusters (random effects integrated out)",
    "typical": "a typical cluster (random effects at zero); not a population mean",
    "sampled": "the mean over the clusters of this data set (their own effects)",
    "new": "one new cluster (its effects drawn once for each draw); a prediction, not a mean",
}

_NEEDS: dict[Target, tuple[Need, ...]] = {"sampled": ("effects",), "new": ("new",)}


@dataclass(frozen=True, eq=False)
class TargetMean:
    """The mean response of rows for one target.

    Attributes
    ----------
    target : {"population", "typical", "sampled", "new"}
        Whose mean.
    scale : {"response", "link"}
        On the response scale (a probability for logit, probit and cloglog), or g of it.
    combinations : numpy.ndarray of int, shape (combinations, factors)
        For ``"sampled"``: the combinations of clusters that occur in the training data.

    Notes
    -----
    π̄(x, z) = E g⁻¹(x'β + t), Var t = v = z'Σz, for ``"population"``; g⁻¹(x'β) for
    ``"typical"``; the average of g⁻¹(x'β + z'u) over the training data's combinations of
    clusters, each counted once, for ``"sampled"``; g⁻¹(x'β + z'u), u drawn once for each
    draw, for ``"new"``. On the link scale g is taken of these.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.draws import Posterior
    >>> from popavg.posterior_tools.targets import TargetMean
    >>> posterior = Posterior.from_fit(pa.load_example())
    >>> mean = TargetMean.build(posterior, "population")
    >>> mean.values(posterior.block(slice(0, 2)), posterior.design.matrices).shape
    (2, 1908)
    """

    target: Target
    scale: Scale = "response"
    combinations: NDArray[np.intp] = field(default_factory=lambda: np.empty((0, 0), dtype=np.intp))

    @classmethod
    def build(cls, posterior: Posterior, target: Target, scale: Scale = "response") -> TargetMean:
        """Check that a fit can give this target.

        Raises
        ------
        SpecificationError
            An unknown target or scale.
        EstimandError
            ``"sampled"`` without draws of the clusters' own effects, ``"sampled"`` or ``"new"``
            of a model without clusters.
        """
        check_choice("target", target, TARGETS)
        check_choice("scale", scale, SCALES)
        groups = posterior.design.matrices.groups
        if target in ("sampled", "new") and not groups:
            raise EstimandError(
                f"target={target!r} for a model without random effects: it has no clusters",
                "the targets 'population' and 'typical'",
                "they are the same for this model",
            )
        if target != "sampled":
            return cls(target, scale)
        posterior.arrays(needs=("effects",))
        return cls(
            target, scale, np.unique(np.column_stack([group.index for group in groups]), axis=0)
        )

    @property
    def needs(self) -> tuple[Need, ...]:
        """What a block of draws must hold beside the parameters."""
        return _NEEDS.get(self.target, ())

    @property
    def cost(self) -> int:
        """Means that one mean is made of: the combinations of clusters for ``"sampled"``."""
        return max(1, len(self.combinations))

    def values(self, block: DrawBlock, matrices: DesignMatrices) -> Floats:
        """Mean response of every row, shape (draws, rows)."""
        if self.target == "sampled":
            return self._sampled(block, matrices)
        eta, link = block.predictor(matrices), block.link
        if self.target == "population":
            sd = np.sqrt(block.variance(matrices))
            return population_average(eta, sd, link, "link" if self.scale == "link" else "mean")
        if self.target == "new":
            eta = eta + _shift(block.new, matrices)
        return eta if self.scale == "link" else link.inverse(eta)

    def slopes(self, block: DrawBlock, matrices: DesignMatrices, tangent: DesignMatrices) -> Floats:
        """Derivative of :meth:`values` with respect to a covariate, shape (draws, rows).

        Parameters
        ----------
        block : DrawBlock
            Some draws.
        matrices : DesignMatrices
            The rows.
        tangent : DesignMatrices
            Derivative of the rows with respect to the covariate.

        Notes
        -----
        ∂π̄/∂x = E (g⁻¹)'(η + t) ∂η/∂x + ½ E (g⁻¹)''(η + t) ∂v/∂x: π̄(η, v) solves the heat
        equation ∂π̄/∂v = ½ ∂²π̄/∂η².
        """
        if self.target == "population":
            return self._population_slopes(block, matrices, tangent)
        if self.target == "sampled":
            return self._sampled_slopes(block, matrices, tangent)
        eta, change = block.predictor(matrices), block.predictor(tangent)
        if self.target == "new":
            eta = eta + _shift(block.new, matrices)
            change = change + _shift(block.new, tangent)
        return change if self.scale == "link" else block.link.derivative(eta) * change

    def _population_slopes(
        self, block: DrawBlock, matrices: DesignMatrices, tangent: DesignMatrices
    ) -> Floats:
        eta, sd, link = block.predictor(matrices), np.sqrt(block.variance(matrices)), block.link
        slope = population_average(eta, sd, link, "slope") * block.predictor(tangent)
        widening = block.variance_slope(matrices, tangent)
        if widening.any():
            slope += 0.5 * population_average(eta, sd, link, "curvature") * widening
        if self.scale == "response":
            return slope
        return slope / link.derivative(population_average(eta, sd, link, "link"))

    def _sampled(self, block: DrawBlock, matrices: DesignMatrices) -> Floats:
        eta, link = block.predictor(matrices), block.link
        if self.scale == "link" and link.is_probability:
            return self._sampled_link(block, matrices, eta)
        mean = np.zeros_like(eta)
        for clusters in self._bunches(eta.size):
            mean += link.inverse(eta[:, None] + _own(block, matrices, clusters)).sum(axis=1)
        mean /= len(self.combinations)
        return mean if self.scale == "response" else link.link(mean)

    def _sampled_link(self, block: DrawBlock, matrices: DesignMatrices, eta: Floats) -> Floats:
        """The link of the mean, from sums of logs: in the tails too."""
        link, none = block.link, np.full_like(eta, -np.inf)
        logs = [none, none]
        for clusters in self._bunches(eta.size):
            shifted = eta[:, None] + _own(block, matrices, clusters)
            found = link.log_inverse(shifted), link.log_complement(shifted)
            logs = [
                np.logaddexp(log, np.logaddexp.reduce(more, axis=1))
                for log, more in zip(logs, found, strict=True)
            ]
        size = np.log(len(self.combinations))
        return link.link_from_logs(logs[0] - size, logs[1] - size)

    def _sampled_slopes(
        self, block: DrawBlock, matrices: DesignMatrices, tangent: DesignMatrices
    ) -> Floats:
        eta, change = block.predictor(matrices), block.predictor(tangent)
        total = np.zeros_like(eta)
        for clusters in self._bunches(eta.size):
            rate = block.link.derivative(eta[:, None] + _own(block, matrices, clusters))
            total += (rate * (change[:, None] + _own(block, tangent, clusters))).sum(axis=1)
        total /= len(self.combinations)
        if self.scale == "response":
            return total
        return total / block.link.derivative(self._sampled(block, matrices))

    def _bunches(self, cells: int) -> Iterator[NDArray[np.intp]]:
        """Combinations of clusters, as many at a time as keep the temporaries small."""
        size = max(1, BLOCK // max(cells, 1))
        for start in range(0, len(self.combinations), size):
            yield self.combinations[start : start + size]


def _own(block: DrawBlock, matrices: DesignMatrices, clusters: NDArray[np.intp]) -> Floats:
    """Shifts z'u of some combinations of clusters, shape (draws, combinations, rows)."""
    total: Floats = np.zeros((1, 1, 1))
    for group, index in zip(matrices.groups, clusters.T, strict=True):
        total = total + block.effects[group.name][:, index] @ group.Z.T
    return total


def _shift(effects: Mapping[str, Floats], matrices: DesignMatrices) -> Floats:
    """Z'u summed over the factors, shape (draws, rows)."""
    total: Floats = np.zeros((1, 1))
    for group in matrices.groups:
        total = total + effects[group.name] @ group.Z.T
    return total
