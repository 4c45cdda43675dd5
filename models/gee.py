"""Generalised estimating equations: the population-averaged reference beside the Bayesian fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.design import Design, family_of
from popavg.errors import SpecificationError
from popavg.families import Family
from popavg.formula import Formula
from popavg.frames import MissingPolicy
from popavg.grouping import check_labels, outermost
from popavg.links import Link, get_link
from popavg.models.estimating_equations import fit_gee_arrays
from popavg.models.gee_result import GEEResult
from popavg.posterior_tools.times import numeric_time, time_levels
from popavg.response import require_outcome

__all__ = ["GEEResult", "fit_gee_arrays", "gee", "gee_from_design", "time_as_numbers"]

Floats = NDArray[np.float64]


def gee(
    formula: str,
    data: pd.DataFrame,
    groups: str | None = None,
    *,
    link: str | Link,
    family: Family | None = None,
    working_correlation: str = "exchangeable",
    time: str | None = None,
    alpha: float | None = None,
    missing: MissingPolicy = "error",
) -> GEEResult:
    """Fit a GEE.

    Parameters
    ----------
    formula : str
        Fixed effects, ``"y ~ treatment * time"``; or a mixed model's formula, whose fixed effects
        are taken.
    data : pandas.DataFrame
        One row for each observation, in any order.
    groups : str, optional
        Column of the clusters; by default the mixed formula's (outermost) grouping factor.
    link : str or Link
        ``logit``, ``probit``, ``cloglog``, ``log`` or ``identity``.
    family : Family, optional
        By default what the link and the response make it.
    working_correlation : {"exchangeable", "independence", "ar1"}
        The working correlation; its choice changes efficiency, and under dropout the estimate.
    time : str, optional
        Column of the times, for AR(1): differences of numbers and dates (in days) count as they
        are, categories by the number of their level.
    alpha : float, optional
        Holds the working correlation at this value.
    missing : {"error", "drop"}
        What to do with rows that have missing values in a used column.

    Returns
    -------
    GEEResult
        Coefficients, robust and model-based covariance, correlation and scale.

    Raises
    ------
    FormulaError, DataError, SpecificationError, SeparationError, ConvergenceError
        See `fit_gee_arrays` and `popavg.design.Design.build`.

    Notes
    -----
    A GEE uses the rows that are there: it is right if values are missing completely at random,
    or depending on the covariates of the model alone.

    Examples
    --------
    >>> import popavg as pa
    >>> data = pa.load_dataset("toenail")
    >>> result = pa.gee("y ~ treatment * time", data, groups="patient", link="logit")
    >>> result.to_frame().round(3)[["term", "estimate", "std_error"]].values.tolist()[0]
    ['Intercept', -0.582, 0.172]
    """
    chosen_link = get_link(link)
    parsed = Formula.parse(formula)
    factors = {term.name for term in parsed.group_terms}
    if groups is None and not factors:
        raise SpecificationError(
            f"neither groups= nor the formula {parsed.text!r} names the clusters",
            "a column of the data",
            "say groups='patient', or add '(1 | patient)' to the formula",
        )
    chosen_family = family or family_of(parsed, chosen_link)
    extra = [name for name in (groups, time) if name is not None and name not in factors]
    frame = _dates_to_days(data, time)
    design = Design.build(parsed, frame, family=chosen_family, missing=missing, extra=extra)
    return gee_from_design(
        design,
        groups,
        link=chosen_link,
        family=chosen_family,
        working_correlation=working_correlation,
        time=time,
        alpha=alpha,
    )


def gee_from_design(
    design: Design,
    groups: str | None = None,
    *,
    link: Link,
    family: Family,
    working_correlation: str = "exchangeable",
    time: str | None = None,
    alpha: float | None = None,
) -> GEEResult:
    """Fit a GEE to the rows and columns of a design, those of a mixed model's fit for instance.

    Parameters
    ----------
    design : Design
        Response, fixed effects and offset; its grouping factors, or its frame's columns, hold
        the clusters.
    groups : str, optional
        A grouping factor of the design or a column of its frame; by default the grouping factor
        in which all others are nested.
    link, family : Link, Family
        The model of the mean and its variance.
    working_correlation : {"exchangeable", "independence", "ar1"}
        The working correlation.
    time : str, optional
        A column of the design's frame, for AR(1).
    alpha : float, optional
        Holds the working correlation at this value.

    Returns
    -------
    GEEResult
        The estimates, terms in the design's order.

    Raises
    ------
    DataError, SpecificationError, SeparationError, ConvergenceError
        See `fit_gee_arrays`; also crossed grouping factors without ``groups``.
    EstimandError
        The design has no outcome.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.design import Design, family_of
    >>> from popavg.models.gee import gee_from_design
    >>> link = pa.get_link("logit")
    >>> family = family_of("y ~ time + (1 | patient)", link)
    >>> design = Design.build(
    ...     "y ~ time + (1 | patient)", pa.load_dataset("toenail"), family=family
    ... )
    >>> gee_from_design(design, link=link, family=family).groups
    'patient'
    """
    require_outcome(design.response)
    name = outermost(design.matrices.groups) if groups is None else groups
    times, note = (None, "") if time is None else time_as_numbers(_column(design, time, "time"))
    return fit_gee_arrays(
        design.matrices.X,
        design.response.y,
        _labels(design, name),
        link=link,
        family=family,
        terms=design.matrices.terms,
        working_correlation=working_correlation,
        alpha=alpha,
        time=times,
        trials=design.response.trials,
        offset=design.matrices.offset,
        groups_name=name,
        formula=f"{design.formula.response} ~ {design.formula.fixed}",
        notes=[
            *([note] if note and working_correlation == "ar1" else []),
            *([str(design.missing)] if design.missing.rows else []),
        ],
    )


def _dates_to_days(data: pd.DataFrame, time: str | None) -> pd.DataFrame:
    if not isinstance(data, pd.DataFrame) or time not in data.columns:
        return data
    column = data[time]
    if pd.api.types.is_datetime64_any_dtype(column):
        column = column - column.min()
    if pd.api.types.is_timedelta64_dtype(column):
        return data.assign(**{str(time): column / pd.Timedelta(days=1)})
    return data


def _labels(design: Design, name: str) -> NDArray[np.generic]:
    for group in design.matrices.groups:
        if group.name == name:
            return group.index
    column = _column(design, name, "groups")
    check_labels(column, "groups=")
    return column.to_numpy()


def _column(design: Design, name: str, argument: str) -> pd.Series:
    if name not in design.frame.columns:
        raise SpecificationError(
            f"{argument}={name!r} isn't a column that the design kept",
            listing(design.frame.columns),
            f"fit with keep=[{name!r}], or use popavg.gee, which takes any column of the data",
        )
    return design.frame[name]


def time_as_numbers(column: pd.Series) -> tuple[Floats, str]:
    """Read the times of an AR(1) working correlation.

    Parameters
    ----------
    column : pandas.Series
        Numbers are used as they are; dates become days, durations too; categories and text become
        the number of their level, in the categories' own or in alphabetical order.

    Returns
    -------
    times : ndarray, shape (rows,)
        One time for each row.
    note : str
        Where levels were numbered: in which order.

    Raises
    ------
    DataError
        Booleans or missing values.

    Examples
    --------
    >>> import pandas as pd
    >>> from popavg.models.gee import time_as_numbers
    >>> time_as_numbers(pd.Series(["b", "a"], name="visit"))
    (array([1., 0.]), "the levels of 'visit' were numbered in this order: 'a', 'b'")
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        column = column - column.min()
    if pd.api.types.is_timedelta64_dtype(column):
        column = column / pd.Timedelta(days=1)
    numbers = numeric_time(column)
    if pd.api.types.is_numeric_dtype(column):
        return numbers, ""
    order = listing(time_levels(column))
    return numbers, f"the levels of {column.name!r} were numbered in this order: {order}"
