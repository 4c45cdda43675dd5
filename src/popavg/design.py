"""Design matrices that remember how they were made, so that new data give the same columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.design_checks import check_clusters, check_constant, check_finite, check_rank
from popavg.design_derivative import derivative
from popavg.errors import DataError, FormulaError
from popavg.families import Family, family_for
from popavg.fixed_effects import FixedEffects
from popavg.formula import Formula
from popavg.frames import Missing, MissingPolicy, check_frame, select, take_complete
from popavg.grouping import GroupDesign, Grouping
from popavg.links import Link
from popavg.new_data import like_training
from popavg.response import Response, has_trials, no_response, read_response

__all__ = ["Design", "DesignMatrices", "family_of"]


@dataclass(frozen=True, eq=False)
class DesignMatrices:
    """The numbers of a design, one row for each row of a frame.

    Attributes
    ----------
    terms : tuple of str
        Columns of ``X`` as formulae names them, ``Intercept`` first.
    X : numpy.ndarray, shape (rows, terms)
        Fixed effects' design.
    offset : numpy.ndarray, shape (rows,)
        Sum of the offsets on the link scale, zeros where there is none.
    groups : tuple of GroupDesign
        One for each grouping factor.
    """

    terms: tuple[str, ...]
    X: NDArray[np.float64]
    offset: NDArray[np.float64]
    groups: tuple[GroupDesign, ...]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.X)


@dataclass(frozen=True, eq=False)
class Design:
    """A formula joined to its data.

    Attributes
    ----------
    formula : Formula
        The formula, read.
    frame : pandas.DataFrame
        The columns used, rows with missing values gone if that was asked for.
    response : Response
        The outcome.
    matrices : DesignMatrices
        The design at the training rows.
    missing : Missing
        What was dropped.
    """

    formula: Formula
    frame: pd.DataFrame
    response: Response
    missing: Missing
    fixed: FixedEffects
    groupings: tuple[Grouping, ...]

    @classmethod
    def build(
        cls,
        formula: str | Formula,
        frame: pd.DataFrame,
        *,
        family: Family,
        missing: MissingPolicy = "error",
        extra: Sequence[str] = (),
    ) -> Design:
        """Join a formula to a frame.

        Parameters
        ----------
        formula : str or Formula
            ``"y ~ x + (1 | g)"``; grouping terms are optional here. One that was read with
            ``one_sided=True`` needs no outcome, and no cluster with more than one row.
        frame : pandas.DataFrame
            One row for each observation; left unchanged.
        family : Family
            What the response must be.
        missing : {"error", "drop"}
            What to do with rows that have missing values in a used column.
        extra : sequence of str
            Columns to keep beside those of the formula (clusters or times of a GEE).

        Raises
        ------
        FormulaError
            The formula can't be read or evaluated.
        DataError
            The data don't fit it: see :mod:`popavg.frames`, :mod:`popavg.design_checks`.
        """
        parsed = Formula.parse(formula) if isinstance(formula, str) else formula
        columns = tuple(dict.fromkeys((*parsed.columns, *extra)))
        factors = {term.name: term.factor for term in parsed.group_terms}
        factors |= {name: (name,) for name in extra if name not in factors}
        complete, dropped = take_complete(select(frame, columns), missing, factors)
        complete = pd.DataFrame({name: _used_levels(complete[name]) for name in complete})
        check_constant(parsed, complete)
        response = (
            read_response(parsed.response, complete, family.name)
            if parsed.response
            else no_response(len(complete))
        )
        fixed = FixedEffects.build(parsed.fixed, complete)
        groupings = Grouping.build_all(parsed.group_terms, complete)
        design = cls(parsed, complete, response, dropped, fixed, groupings)
        _check_numbers(design.matrices)
        check_rank(design.matrices.terms, design.matrices.X)
        for group in design.matrices.groups if response.is_given else ():
            check_clusters(group, family.name, response.trials)
        return design

    @cached_property
    def matrices(self) -> DesignMatrices:
        """The design at the training rows."""
        return self._evaluate(self.frame)

    @property
    def predictors(self) -> tuple[str, ...]:
        """Columns that new data must have: all that the linear predictor is made of."""
        effects = (name for grouping in self.groupings for name in grouping.effect_columns)
        return tuple(dict.fromkeys((*self.fixed.columns, *effects)))

    @property
    def covariates(self) -> tuple[str, ...]:
        """Predictors that the model estimates something about: not those only in an offset."""
        parts = (self.fixed, *(part for grouping in self.groupings for part in grouping.parts))
        own = {name for part in parts for name in part.columns if name not in part.offset_columns}
        return tuple(name for name in self.predictors if name in own)

    def evaluate(self, frame: pd.DataFrame) -> DesignMatrices:
        """The same columns for new data.

        Parameters
        ----------
        frame : pandas.DataFrame
            Must have the columns in :attr:`predictors`; clusters only where their own effects
            are wanted.

        Returns
        -------
        DesignMatrices
            ``groups[i].index`` is -1 for rows whose cluster is not named or not known.

        Raises
        ------
        DataError
            A column is missing, has missing or infinite values, another type, an unseen level,
            or values outside the range that a spline was built on.
        """
        return self.evaluate_rows(self.read_rows(frame))

    def derivative(self, frame: pd.DataFrame, variable: str) -> DesignMatrices:
        """The columns' derivatives in one covariate, exact.

        Parameters
        ----------
        frame : pandas.DataFrame
            Rows as :meth:`evaluate` takes them.
        variable : str
            A numeric covariate.

        Returns
        -------
        DesignMatrices
            dX/dx, d offset/dx, and dZ/dx of each grouping factor.

        Raises
        ------
        SpecificationError
            ``variable`` isn't a covariate of the model.
        EstimandError
            It has no slope.
        DataError
            The rows don't fit, or a derivative is infinite in some.

        See Also
        --------
        popavg.design_derivative.derivative : What is refused, and how it is computed.
        """
        return derivative(self, frame, variable)

    def read_rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """New rows in the types and levels of the data of the fit, checked."""
        check_frame(frame)
        factors = (name for grouping in self.groupings for name in grouping.factor)
        present = (name for name in factors if name in frame.columns)
        columns = tuple(dict.fromkeys((*self.predictors, *present)))
        _check_new_columns(frame, self.predictors)
        selected = select(frame, columns)
        _check_new_rows(selected)
        for name in self.predictors:
            selected[name] = like_training(selected[name], self.frame[name])
        return selected

    def evaluate_rows(self, rows: pd.DataFrame) -> DesignMatrices:
        """The columns at rows from :meth:`read_rows`, checked to be finite."""
        matrices = self._evaluate(rows)
        _check_numbers(matrices)
        return matrices

    def _evaluate(self, frame: pd.DataFrame) -> DesignMatrices:
        X, offset = self.fixed.evaluate(frame)
        groups = tuple(grouping.evaluate(frame) for grouping in self.groupings)
        return DesignMatrices(self.fixed.terms, X, offset, groups)


def _check_numbers(matrices: DesignMatrices) -> None:
    check_finite(matrices.terms, matrices.X, matrices.offset, matrices.groups)


def _check_new_columns(frame: pd.DataFrame, needed: Sequence[str]) -> None:
    lacking = [name for name in needed if name not in frame.columns]
    if lacking:
        raise DataError(
            f"the new rows lack the column{'s' * (len(lacking) > 1)} {listing(lacking)}",
            f"rows with {listing(needed)}",
            "add what is missing",
        )


def _check_new_rows(frame: pd.DataFrame) -> None:
    counts = {str(name): int(count) for name, count in frame.isna().sum().items() if count}
    if counts:
        told = ", ".join(f"{name!r} {count}" for name, count in counts.items())
        raise DataError(
            f"missing values in the new rows ({told})", "complete rows", "fill or leave them out"
        )


def family_of(formula: str | Formula, link: Link) -> Family:
    """The family that a response and a link make: Bernoulli, binomial, Poisson or Gaussian."""
    parsed = Formula.parse(formula) if isinstance(formula, str) else formula
    return family_for(link, trials=has_trials(parsed.response))


def _used_levels(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.remove_unused_categories()
    return column


def require_groups(formula: Formula) -> None:
    """A mixed model needs a grouping term.

    Raises
    ------
    FormulaError
        There is none.
    """
    if not formula.group_terms:
        raise FormulaError(
            f"the formula '{formula.text}' has no grouping term",
            "at least one '(1 | cluster)'",
            "add '+ (1 | g)', g being the column of the clusters; "
            "for a model without them use popavg.models.glm",
        )
