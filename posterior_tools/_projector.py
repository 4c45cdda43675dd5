"""A projection whose rows, weights and clusters have been read, ready for blocks of draws."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from popavg.errors import ConvergenceError
from popavg.families import Family, family_for
from popavg.links import Link
from popavg.posterior_tools import _estimating_equation
from popavg.posterior_tools._estimating_equation import Problem, check_clusters, correlated, solve
from popavg.posterior_tools._rows import Basis, blocks
from popavg.posterior_tools._scoring import (
    cancels,
    compiled_groups,
    compiled_rows,
    over_draws,
    plain,
    plain_groups,
    plain_rows,
)
from popavg.posterior_tools._solver_kernels import Groups, Rows, score_draws
from popavg.posterior_tools.working_correlation import (
    AR1,
    ClusterLayout,
    Exchangeable,
    Independence,
    WorkingCorrelation,
)

__all__ = ["Observations", "Projector"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Observations:
    """Which row each observation is, its weight and its cluster."""

    rows: NDArray[np.intp]
    weight: Floats
    correlation: WorkingCorrelation | None = None
    layout: ClusterLayout | None = None

    @property
    def dependence(self) -> WorkingCorrelation | None:
        """The working correlation; None where there is none."""
        return None if isinstance(self.correlation, Independence) else self.correlation


@dataclass(frozen=True, eq=False)
class Projector:
    """Solves one estimating equation for the population means of any draws.

    By compiled Fisher scoring; by NumPy's where the link, the variance function or the working
    correlation isn't one of popavg's, or where α is so near 1 that sums over clusters cancel.
    """

    basis: Basis
    problem: Problem
    observations: Observations
    compiled: tuple[Rows, Groups] | None

    @classmethod
    def build(
        cls,
        link: Link,
        family: Family | None,
        design: tuple[Floats, Floats],
        observations: Observations,
    ) -> Projector:
        """Read a design and its offset and observations, all checked but for the clusters."""
        X, fixed = design
        weight, dependence = observations.weight, observations.dependence
        row_weight = np.bincount(observations.rows, weight, len(X))
        basis = Basis.build(X, row_weight)
        if dependence is not None:
            check_clusters(dependence, observations.layout, len(weight))
        rows = compiled_rows(link, family, basis.columns, fixed=fixed, weight=row_weight)
        groups = compiled_groups(dependence, observations.layout, observations.rows, weight)
        variance = family or family_for(link, trials=False)
        problem = Problem(link, variance, basis.columns, fixed, row_weight)
        known = rows is not None and groups is not None
        return cls(basis, problem, observations, (rows, groups) if known else None)

    def __call__(
        self, target: Floats, *, start: Floats | None = None, alpha: Floats | None = None
    ) -> Floats:
        """Coefficients of each draw, shape (draws, terms).

        ``start`` are coefficients; ``alpha`` (draws,) replaces the working correlation's own.
        """
        problem, dependence = self.problem, self.observations.dependence
        if start is None:
            gamma = self.basis.regress(target, problem.weight, problem.fixed)
        else:
            gamma = start @ self.basis.triangle.T
        if alpha is None:
            alpha = np.full(len(target), getattr(dependence, "alpha", 0.0), dtype=np.float64)
        if self.compiled is None or cancels(self.compiled[1], alpha):
            failed = sum(self._in_numpy(target, gamma, alpha, value) for value in np.unique(alpha))
        else:
            failed = self._compiled(target, gamma, alpha)
        if failed:
            raise _not_converged(failed, len(target), dependence)
        return self.basis.coefficients(gamma)

    def check_alpha(self, alpha: Floats) -> None:
        """Every R is positive definite with the smallest and the largest of these."""
        dependence, layout = self.observations.dependence, self.observations.layout
        if isinstance(dependence, (Exchangeable, AR1)) and layout is not None and alpha.size:
            for value in (alpha.min(), alpha.max()):
                replace(dependence, alpha=float(value)).check(layout)

    def _compiled(self, target: Floats, gamma: Floats, alpha: Floats) -> int:
        """Solve where ``gamma`` stands, in place; how many draws didn't arrive."""
        assert self.compiled is not None
        rows, groups = plain_rows(self.compiled[0]), plain_groups(self.compiled[1])
        target, alpha, limit = plain(target), plain(alpha), _estimating_equation.MAX_ITERATIONS

        def solved(block: slice) -> int:
            draws = (target[block], alpha[block], gamma[block])
            return score_draws((rows, groups), draws, limit)

        cells = rows.fixed.size * rows.columns.shape[0] + groups.members.size
        return sum(over_draws(len(target), cells, solved))

    def _in_numpy(self, target: Floats, gamma: Floats, alpha: Floats, value: float) -> int:
        """The same for the draws with one α."""
        draws, observations = np.flatnonzero(alpha == value), self.observations
        problem, dependence, layout = self.problem, observations.dependence, observations.layout
        if isinstance(dependence, (Exchangeable, AR1)):
            dependence = replace(dependence, alpha=float(value))
        if dependence is not None and layout is not None:
            problem = correlated(
                problem,
                observations.weight,
                observations.rows,
                correlation=dependence,
                layout=layout,
            )
        failed = 0
        for block in blocks(len(draws), problem.cells):
            chosen = draws[block]
            gamma[chosen], arrived = solve(problem, target[chosen], gamma[chosen])
            failed += int((~arrived).sum())
        return failed


def _not_converged(
    failed: int, n_draws: int, correlation: WorkingCorrelation | None
) -> ConvergenceError:
    first = (
        "use working_correlation='independence' (existence and uniqueness of a solution aren't"
        " guaranteed under other working correlations), "
    )
    return ConvergenceError(
        f"the projection of {failed} of {n_draws} draws didn't converge in"
        f" {_estimating_equation.MAX_ITERATIONS} iterations",
        remedy=("" if correlation is None else first)
        + "check these draws for extreme predictors, project over a design with more"
        " variety, or use method='least_squares'",
    )
