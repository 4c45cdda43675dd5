"""The parameters of some draws as plain arrays: what every estimand is computed from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from popavg.design import DesignMatrices
from popavg.links import Link

__all__ = ["BLOCK", "DrawBlock"]

Floats = NDArray[np.float64]

#: Largest temporary array, in numbers.
BLOCK = 2**20


@dataclass(frozen=True, eq=False)
class DrawBlock:
    """Some draws of a posterior; no labels, nothing lazy, ready to be sent to another process.

    Attributes
    ----------
    link : Link
        The model's link.
    beta : numpy.ndarray, shape (draws, terms)
        Conditional coefficients, in the design's order.
    roots : mapping of str to numpy.ndarray, shape (draws, effects, effects)
        For each grouping factor R with Σ = RR'.
    effects : mapping of str to numpy.ndarray, shape (draws, clusters, effects)
        The clusters' own effects; empty where nothing asks for them.
    new : mapping of str to numpy.ndarray, shape (draws, effects)
        The effects of one new cluster, drawn from their distribution once for each draw; empty
        where nothing asks for them.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.draws import Posterior
    >>> posterior = Posterior.from_fit(pa.load_example())
    >>> block = posterior.block()
    >>> block.n_draws == posterior.n_draws, block.variance(posterior.design.matrices).shape[1]
    (True, 1)
    """

    link: Link
    beta: Floats
    roots: Mapping[str, Floats] = field(default_factory=dict)
    effects: Mapping[str, Floats] = field(default_factory=dict)
    new: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def n_draws(self) -> int:
        """Number of draws."""
        return len(self.beta)

    def take(self, rows: slice) -> DrawBlock:
        """Some of these draws.

        Parameters
        ----------
        rows : slice
            Which.

        Returns
        -------
        DrawBlock
            Views, not copies.
        """
        parts = (self.roots, self.effects, self.new)
        taken = ({name: values[rows] for name, values in part.items()} for part in parts)
        return DrawBlock(self.link, self.beta[rows], *taken)

    def pieces(self, cells: int, *, at_least: int = 1) -> Iterator[DrawBlock]:
        """Parts, small enough that draws × ``cells`` stays below :data:`BLOCK`.

        Parameters
        ----------
        cells : int
            Numbers that one draw needs: the rows of the design.
        at_least : int
            How many parts there should be, draws permitting.

        Yields
        ------
        DrawBlock
            In order; one draw at least.
        """
        size = max(1, min(BLOCK // max(cells, 1), -(-self.n_draws // at_least)))
        for start in range(0, self.n_draws, size):
            yield self.take(slice(start, start + size))

    def predictor(self, matrices: DesignMatrices) -> Floats:
        """Linear predictor with the random effects at zero, shape (draws, rows)."""
        eta = self.beta @ matrices.X.T
        if matrices.offset.any():
            eta += matrices.offset
        return eta

    def variance(self, matrices: DesignMatrices) -> Floats:
        """Variance v = z'Σz over all factors, shape (draws, rows), or (draws, 1).

        One column where v is the same for all rows (random intercepts only). A sum of squares,
        ‖R'z‖², so that it can't be negative.
        """
        total: Floats = np.zeros((self.n_draws, 1))
        for group in matrices.groups:
            constant = len(group.Z) > 0 and bool(np.equal(group.Z, group.Z[:1]).all())
            z = group.Z[:1] if constant else group.Z
            for column in np.moveaxis(self.roots[group.name], 2, 0):
                total = total + (column @ z.T) ** 2
        return total

    def variance_slope(self, matrices: DesignMatrices, tangent: DesignMatrices) -> Floats:
        """dv/dx = 2 z'Σ dz/dx over all factors, shape (draws, rows), or (draws, 1).

        Parameters
        ----------
        matrices : DesignMatrices
            Rows.
        tangent : DesignMatrices
            Their derivatives with respect to one covariate.
        """
        total: Floats = np.zeros((self.n_draws, 1))
        for group, change in zip(matrices.groups, tangent.groups, strict=True):
            if not change.Z.any():
                continue
            for column in np.moveaxis(self.roots[group.name], 2, 0):
                total = total + 2.0 * (column @ group.Z.T) * (column @ change.Z.T)
        return total
