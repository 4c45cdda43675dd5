"""Values of what is ranked, for the draws of one run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import logsumexp

from popavg.design import DesignMatrices
from popavg.posterior_tools._coefficient_question import CoefficientQuestion
from popavg.posterior_tools.averages import population_average
from popavg.posterior_tools.cluster_effects import draw_effects
from popavg.posterior_tools.draw_block import DrawBlock
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.evaluation import Question
from popavg.posterior_tools.integrated_design import IntegratedDesign, lower_roots
from popavg.posterior_tools.integrated_likelihood import total_log_likelihood
from popavg.posterior_tools.log_prior import log_prior
from popavg.posterior_tools.tree import fit_tree
from popavg.specification import Specification
from popavg.workflows._calibration_simulation import with_frame
from popavg.workflows.problem import Problem

__all__ = ["Fixed", "Values", "own_columns", "pairs"]

type Floats = NDArray[np.float64]


@dataclass(eq=False)
class Fixed:
    """What all runs have in common.

    Attributes
    ----------
    problem : Problem
        The model; its outcomes say how outcomes are coded.
    specification : Specification
        The model's.
    integrable : bool
        Whether the clusters' effects can be integrated out.
    questions : dict of str to CoefficientQuestion
        By kind of population-averaged coefficients.
    row : DesignMatrices or None
        Where the population mean is looked at.
    versions : list of (DesignMatrices, numpy.ndarray)
        Distinct rows without and with, and their weights.
    """

    problem: Problem
    specification: Specification
    integrable: bool
    questions: dict[str, CoefficientQuestion] = field(default_factory=dict)
    row: DesignMatrices | None = None
    versions: list[tuple[DesignMatrices, Floats]] = field(default_factory=list)

    def posterior(self, draws: xr.Dataset) -> Posterior:
        """Draws that population averages are asked of."""
        return Posterior(self.specification, self.problem.design, draws)


class Values:
    """One run's draws; a method for each kind of quantity gives a table (draws, names)."""

    def __init__(
        self,
        fixed: Fixed,
        problem: Problem,
        draws: xr.Dataset,
        seed: np.random.SeedSequence,
    ) -> None:
        self.of, self.problem, self.draws, self.seed = fixed, problem, draws, seed
        self.groups = problem.design.matrices.groups
        drawn = draws.drop_vars([f"u_{group.name}" for group in self.groups])
        self.posterior = fixed.posterior(drawn)

    def _flat(self, name: str) -> Floats:
        return self.draws[name].transpose("chain", "draw", ...).to_numpy()[0].astype(float)

    def parameters(self) -> Floats:
        columns = [self._flat("beta")]
        for group in self.groups:
            columns.append(self._flat(f"sd_{group.name}"))
            for i, j in pairs(group.blocks):
                columns.append(self._flat(f"corr_{group.name}")[:, i, j, None])
        if self.problem.family.has_scale:
            columns.append(self._flat("sigma")[:, None])
        return np.concatenate(columns, axis=1)

    def coefficients(self) -> Floats:
        return self._solved(self.of.questions["coefficients"])

    def projection(self) -> Floats:
        return self._solved(self.of.questions["projection"])

    def _solved(self, question: Question) -> Floats:
        block = self.posterior.block()
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            answers = [question(piece) for piece in block.pieces(question.cells)]
        return np.concatenate(answers)[:, : len(self.problem.design.matrices.terms)]

    def _means(self, rows: DesignMatrices, scale: Any) -> Floats:
        block: DrawBlock = self.posterior.block()
        eta, sd = block.predictor(rows), np.sqrt(block.variance(rows))
        with np.errstate(over="ignore"):
            return np.asarray(population_average(eta, sd, block.link, scale))

    def mean(self) -> Floats:
        """On the link scale, where means near 0 and 1 still differ: ranks are the same."""
        assert self.of.row is not None
        return self._means(self.of.row, "link")

    def difference(self) -> Floats:
        averages = []
        for rows, weights in self.of.versions:
            if self.problem.link.name == "log":
                averages.append(logsumexp(self._means(rows, "link"), axis=1, b=weights))
            else:
                averages.append(self._means(rows, "mean") @ weights)
        return (averages[1] - averages[0])[:, None]

    def effects(self) -> Floats:
        columns = []
        for group in self.groups:
            first = self._flat(f"u_{group.name}")[:, 0]
            missing = np.isnan(first).any(axis=1)
            if missing.any():
                first[missing] = self._drawn_effects()[missing]
            columns.append(first)
        return np.concatenate(columns, axis=1)

    def _drawn_effects(self) -> Floats:
        """The first cluster's effects given the parameters and its outcomes, (draws, effects)."""
        outcomes, eta, root, sigma = self._arguments()
        seeds = np.random.default_rng(self.seed).integers(2**62, size=len(eta))
        return draw_effects(outcomes, eta, root, sigma=sigma, seed=seeds)[:, 0]

    def _arguments(self) -> tuple[Any, Floats, Floats, Floats | None]:
        problem = self.problem
        integrated = IntegratedDesign.build(problem.design, problem.link, problem.family)
        name = integrated.group.name
        correlated = f"corr_{name}" in self.draws
        rho = self._flat(f"corr_{name}")[:, 1, 0] if correlated else None
        root = lower_roots(self._flat(f"sd_{name}"), rho)
        sigma = self._flat("sigma") if problem.family.has_scale else None
        return integrated.outcomes, integrated.predictor(self._flat("beta")), root, sigma

    def log_likelihood(self) -> Floats:
        if self.of.integrable:
            outcomes, eta, root, sigma = self._arguments()
            return total_log_likelihood(outcomes, eta, root, sigma=sigma)[:, None]
        matrices = self.problem.design.matrices
        eta = self._flat("beta") @ matrices.X.T + matrices.offset
        for group in self.groups:
            own = self._flat(f"u_{group.name}")[:, group.index]
            eta = eta + np.einsum("nq,dnq->dn", group.Z, own)
        return self._rows_log_likelihood(eta).sum(axis=1)[:, None]

    def _rows_log_likelihood(self, eta: Floats) -> Floats:
        """Of every row given its clusters' effects, up to a number that the draws share."""
        problem, response = self.problem, self.problem.design.response
        if problem.family.has_scale:
            sigma = self._flat("sigma")[:, None]
            return -0.5 * np.square((response.y - eta) / sigma) - np.log(sigma)
        if problem.family.name == "poisson":
            return response.y * eta - np.exp(eta)
        n = np.ones_like(response.y) if response.trials is None else response.trials
        log_p, log_q = problem.link.log_inverse(eta), problem.link.log_complement(eta)
        with np.errstate(invalid="ignore"):  # 0 × −∞ counts as 0
            events = np.where(response.y > 0, response.y * log_p, 0.0)
            return events + np.where(response.y < n, (n - response.y) * log_q, 0.0)

    def log_prior(self) -> Floats:
        densities = log_prior(self.posterior).to_array("parameter")
        return densities.sum("parameter", skipna=False).to_numpy()[0][:, None]

    def tree(self) -> xr.DataTree:
        """A fit, for the user's functions; the first draw is the truth."""
        design = with_frame(self.of.problem.design, self.problem.design)
        complete = not any(bool(value.isnull().any()) for value in self.draws.values())
        posterior = self.draws if complete else self.posterior.data
        return fit_tree(design, self.of.specification, {"posterior": posterior})


def pairs(blocks: Sequence[Sequence[int]]) -> Iterator[tuple[int, int]]:
    """Correlated effects, each pair once."""
    for block in blocks:
        for i, first in enumerate(block):
            yield from ((first, other) for other in block[i + 1 :])


def own_columns(name: str, draws: Any) -> Iterator[tuple[str, Floats]]:
    """Columns of a user's answer: dims chain, draw and up to one more."""
    if not isinstance(draws, xr.DataArray) or not {"chain", "draw"} <= set(draws.dims):
        raise TypeError(f"returned {type(draws).__name__}, not a DataArray over chain and draw")
    if draws.ndim > 3:
        raise TypeError(f"returned draws with the dims {', '.join(map(str, draws.dims))}")
    ordered = draws.transpose("chain", "draw", ...)
    flat = ordered.to_numpy()[0].astype(float).reshape(ordered.sizes["draw"], -1)
    labels = ordered[ordered.dims[2]].to_numpy() if ordered.ndim == 3 else [""]
    for label, column in zip(labels, flat.T, strict=True):
        yield (name if flat.shape[1] == 1 else f"{name}[{label}]"), column
