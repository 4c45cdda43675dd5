"""What is ranked: parameters, numbers that follow from them, and from them and the outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popavg.errors import PopavgError
from popavg.models.default_priors import sd_names
from popavg.posterior_tools._coefficient_question import CoefficientQuestion
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.newdata import read_rows
from popavg.posterior_tools.projection_design import ProjectionDesign, WorkingStructure
from popavg.posterior_tools.tree import specify
from popavg.posterior_tools.unique_rows import distinct_rows
from popavg.workflows._calibration_values import Fixed, Values, own_columns, pairs
from popavg.workflows.methods import why_not_integrated
from popavg.workflows.problem import Problem

__all__ = ["DEFAULT_QUANTITIES", "QUANTITIES", "Quantities"]

type Floats = NDArray[np.float64]
type Own = Callable[[xr.DataTree], xr.DataArray]

#: Kinds of quantities, those by default first.
QUANTITIES = (
    *("parameters", "coefficients", "mean", "difference", "effects"),
    *("log_likelihood", "log_prior", "projection"),
)
DEFAULT_QUANTITIES = QUANTITIES[:-1]

_METHODS = {"coefficients": "least_squares", "projection": "projection"}
_INDEPENDENT = WorkingStructure("independence", None, None, None)


class Quantities:
    """Computes them for draws of one model, whatever its outcomes.

    Parameters
    ----------
    problem : Problem
        The model; its outcomes say how outcomes are coded.
    kinds : sequence of str
        Of :data:`QUANTITIES`.
    own : mapping of str to callable
        The user's, from a fit to draws.

    Attributes
    ----------
    meanings : dict of str to str
        The names of all but the user's, and what they are.
    """

    def __init__(self, problem: Problem, kinds: Sequence[str], own: Mapping[str, Own]) -> None:
        self.problem, self.own = problem, own
        specification = replace(
            specify(problem.design, problem.link, problem.family),
            priors={name: prior.to_dict() for name, prior in problem.priors.items()},
        )
        integrable = why_not_integrated(problem) is None
        self.fixed = Fixed(problem, specification, integrable)
        makers: dict[str, Callable[[], Mapping[str, str]]] = {
            "parameters": self._parameters,
            "coefficients": lambda: self._coefficients("coefficients"),
            "projection": lambda: self._coefficients("projection"),
            "mean": self._mean,
            "difference": self._difference,
            "effects": self._effects,
            "log_likelihood": self._log_likelihood,
            "log_prior": lambda: {"log_prior": "log prior density of the parameters"},
        }
        made = {kind: makers[kind]() for kind in kinds}
        self.names = {kind: tuple(meanings) for kind, meanings in made.items() if meanings}
        self.meanings = {name: words for part in made.values() for name, words in part.items()}

    def compute(
        self, problem: Problem, draws: xr.Dataset, seed: np.random.SeedSequence
    ) -> tuple[dict[str, Floats], dict[str, str]]:
        """All of them.

        Parameters
        ----------
        problem : Problem
            With the outcomes that the draws are given.
        draws : xarray.Dataset
            One chain; clusters' effects are NaN where they weren't drawn.
        seed : numpy.random.SeedSequence
            Of the clusters' effects, where these were integrated out.

        Returns
        -------
        values : dict of str to numpy.ndarray, shape (draws,)
        undefined : dict of str to str
            Those that aren't numbers in some draw, and why.
        """
        ask = Values(self.fixed, problem, draws, seed)
        values: dict[str, Floats] = {}
        undefined: dict[str, str] = {}
        for kind, names in self.names.items():
            try:
                table = getattr(ask, kind)()
            except PopavgError as error:
                undefined |= dict.fromkeys(names, str(error))
                continue
            values |= dict(zip(names, table.T, strict=True))
        for name, function in self.own.items():
            try:
                values |= dict(own_columns(name, function(ask.tree())))
            except Exception as error:  # the user's function may raise anything
                undefined[name] = f"{type(error).__name__}: {error}"
        bad = [name for name, value in values.items() if np.isnan(value).any()]
        undefined |= dict.fromkeys(bad, "not a number in some draw")
        return {name: value for name, value in values.items() if name not in bad}, undefined

    def _parameters(self) -> Mapping[str, str]:
        design = self.problem.design
        found = {f"beta[{term}]": "conditional coefficient" for term in design.matrices.terms}
        for group in design.matrices.groups:
            words = f"standard deviation over the clusters of {group.name!r}"
            found |= dict.fromkeys(sd_names(group), words)
            for i, j in pairs(group.blocks):
                pair = f"corr_{group.name}[{group.effects[i]}, {group.effects[j]}]"
                found[pair] = "correlation of two random effects"
        if self.problem.family.has_scale:
            found["sigma"] = "residual standard deviation"
        return found

    def _coefficients(self, kind: str) -> Mapping[str, str]:
        method, problem = _METHODS[kind], self.problem
        rows = ProjectionDesign.build(self._any(), "observed", None, _INDEPENDENT)
        model = problem.link, problem.family
        question = CoefficientQuestion.build(rows, method, _INDEPENDENT, model=model)
        self.fixed.questions[kind] = question
        short = "population" if kind == "coefficients" else "projected"
        words = f"population-averaged coefficient ({method.replace('_', ' ')})"
        return {f"{short}[{term}]": words for term in problem.design.matrices.terms}

    def _mean(self) -> Mapping[str, str]:
        row = read_rows(self._any(), "mean").frame
        self.fixed.row = self.problem.design.evaluate(row)
        where = ", ".join(f"{name} = {_shown(value)}" for name, value in row.iloc[0].items())
        return {"mean": f"population mean at {where}" if where else "population mean"}

    def _difference(self) -> Mapping[str, str]:
        """Of the averages over the rows with and without; of the first covariate of two values."""
        design, log = self.problem.design, self.problem.link.name == "log"
        for name in design.covariates:
            column = design.frame[name]
            levels = (
                list(column.cat.categories)
                if isinstance(column.dtype, pd.CategoricalDtype)
                else sorted(column.unique())
            )
            if len(levels) != 2:
                continue
            for level in levels:
                rows = pd.Series([level] * len(column), index=column.index, dtype=column.dtype)
                matrices = design.evaluate(design.frame.assign(**{name: rows}))
                distinct, at, _ = distinct_rows(matrices)
                self.fixed.versions.append((distinct, np.bincount(at) / len(at)))
            between = f"[{name}: {_shown(levels[1])} - {_shown(levels[0])}]"
            if log:
                return {f"log ratio{between}": "of the population means, averaged over the rows"}
            risk = "risk difference" if self.problem.link.is_probability else "difference"
            return {f"{risk}{between}": "of the population means, averaged over the rows"}
        return {}

    def _effects(self) -> Mapping[str, str]:
        """Of the first cluster of each factor."""
        return {
            f"u_{group.name}[{group.levels[0]}{f', {effect}' if len(group.effects) > 1 else ''}]": (
                "random effect of the first cluster"
            )
            for group in self.problem.design.matrices.groups
            for effect in group.effects
        }

    def _log_likelihood(self) -> Mapping[str, str]:
        given = "clusters' effects integrated out" if self.fixed.integrable else "given all effects"
        return {"log_likelihood": f"log-likelihood of the parameters, {given}"}

    def _any(self) -> Posterior:
        """A posterior that nothing is asked of but its design."""
        return self.fixed.posterior(xr.Dataset())


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
