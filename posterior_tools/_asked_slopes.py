"""Slopes: what was asked, and the answer to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.sparse import csr_array, eye_array

from popavg._checks import brief, check_choice, listing
from popavg.design_derivative import numeric_predictors
from popavg.errors import EstimandError, SpecificationError
from popavg.posterior_tools._asked import Asked, each_with
from popavg.posterior_tools._asked_rows import (
    AskedRows,
    check_names,
    fixed_seed,
)
from popavg.posterior_tools._row_notes import random_only_notes
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.estimates import Estimates
from popavg.posterior_tools.outcome import outcome_words
from popavg.posterior_tools.row_question import ask_rows
from popavg.posterior_tools.targets import Scale, Target, TargetMean

__all__ = ["SLOPES", "AskedSlopes", "Slope"]

Slope = Literal["dydx", "eyex", "eydx", "dyex"]

#: How each is written, named and explained.
SLOPES: dict[Slope, tuple[str, str, str]] = {
    "dydx": ("dY/dX", "slope of the {y} in {x}", ""),
    "eyex": (
        "eY/eX",
        "elasticity of the {y} in {x}",
        "eY/eX: x/y · ∂y/∂x in every row, about the percent by which y changes for 1 % of x.",
    ),
    "eydx": (
        "eY/dX",
        "relative slope of the {y} in {x}",
        "eY/dX: 1/y · ∂y/∂x in every row, the change for one unit of x as a share of y.",
    ),
    "dyex": (
        "dY/eX",
        "slope of the {y} in the logarithm of {x}",
        "dY/eX: x · ∂y/∂x in every row; a hundredth of it is about the change for 1 % of x.",
    ),
}


@dataclass(frozen=True, eq=False, kw_only=True)
class AskedSlopes(Asked):
    """Which slopes of whose mean.

    Attributes
    ----------
    variables : tuple of str
        The covariates.
    left_out : str
        A sentence about those that have no slope.
    slope : {"dydx", "eyex", "eydx", "dyex"}
        Which slope.
    """

    variables: tuple[str, ...]
    left_out: str
    slope: Slope

    @classmethod
    def build(
        cls,
        posterior: Posterior,
        variables: str | Sequence[str] | None,
        slope: Slope,
        of: tuple[Target, Scale],
        *,
        seed: int | np.random.Generator | None,
        progress: bool,
    ) -> AskedSlopes:
        """Check what was asked; ``of`` is the target and the scale.

        Raises
        ------
        SpecificationError
            An unknown covariate, slope, target or scale, or no seed.
        EstimandError
            A model without slopes, or a target that the fit can't give.
        """
        check_choice("slope", slope, tuple(SLOPES))
        mean = TargetMean.build(posterior, *of)
        names, left_out = _variables(posterior, variables)
        return cls(
            posterior=posterior,
            mean=mean,
            seed=fixed_seed(seed),
            progress=progress,
            variables=names,
            left_out=left_out,
            slope=slope,
        )

    def estimates(self, rows: AskedRows) -> Estimates:
        """The slopes of rows or of groups, with what they are.

        Raises
        ------
        DataError
            Rows that don't fit the model, or a column with a name that the result uses.
        EstimandError
            A covariate without slope; a relative slope of a mean that isn't above 0.
        """
        check_names(rows, "variable", "slope")
        sign, _, meaning = SLOPES[self.slope]
        parts = [rows.answers(partial(self._answer, name)) for name in self.variables]
        labels = each_with(
            rows.labels, [{"variable": name, "slope": sign} for name in self.variables]
        )
        alone = random_only_notes(self.posterior.design, self.variables)
        return Estimates(
            xr.concat(parts, dim="row"),
            labels.assign(target=self.mean.target),
            self.title(rows, self.variables),
            self.mean.target,
            self.notes(rows, meaning, *alone, self.left_out),
        )

    def title(self, rows: AskedRows, variables: Sequence[str]) -> str:
        """What the slopes in some covariates are, in words."""
        average = "average " if rows.averaging is not None else ""
        y = outcome_words(self.posterior, self.mean.scale)
        return average + SLOPES[self.slope][1].format(y=y, x=" and ".join(variables))

    def _answer(
        self, variable: str, frame: pd.DataFrame, averaging: csr_array | None
    ) -> xr.DataArray:
        """One covariate's slopes, dim ``row``."""
        design = self.posterior.design
        if self.slope in ("eyex", "dyex"):
            values = design.read_rows(frame)[variable].to_numpy(dtype=float)
            averaging = _times(averaging, values)
        question = ask_rows(
            self.mean,
            [design.evaluate(frame)],
            averaging=averaging,
            tangent=design.derivative(frame, variable),
            relative=self.slope in ("eyex", "eydx"),
        )
        return self.ask(question, "slope")


def _variables(
    posterior: Posterior, variables: str | Sequence[str] | None
) -> tuple[tuple[str, ...], str]:
    """The covariates, and a sentence about those that are left out."""
    if variables is None:
        names = numeric_predictors(posterior.design)
        if not names:
            raise EstimandError(
                "the model has no numeric covariate, so there is no slope",
                "models with a numeric covariate",
                "use comparisons: differences between levels",
            )
        others = [name for name in posterior.design.covariates if name not in names]
        words = (
            f"Left out, since they have no slope: {listing(others)}; use comparisons."
            if others
            else ""
        )
        return names, words
    names = (variables,) if isinstance(variables, str) else variables
    if not isinstance(names, (tuple, list)) or not all(isinstance(name, str) for name in names):
        raise SpecificationError(
            f"variables={brief(variables)}",
            "a numeric covariate's name, or a list of names",
            "values that covariates are set to go into over=; for changes use comparisons",
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        came = f"{listing(twice)} is named twice in 'variables'" if twice else "no 'variables'"
        raise SpecificationError(came, "each covariate once, at least one")
    return tuple(names), ""


def _times(averaging: csr_array | None, factors: NDArray[np.float64]) -> csr_array:
    """Averages of rows that are multiplied by factors first."""
    if averaging is None:
        averaging = csr_array(eye_array(len(factors)))
    data = averaging.data * factors[averaging.indices]
    return csr_array((data, averaging.indices, averaging.indptr), shape=averaging.shape)
