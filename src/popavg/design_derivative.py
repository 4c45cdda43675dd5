"""The derivative of a design in one covariate: what slopes are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popavg._checks import listing, suggestion
from popavg.errors import DataError, EstimandError, SpecificationError

if TYPE_CHECKING:
    from popavg.design import Design, DesignMatrices
    from popavg.fixed_effects import FixedEffects

__all__ = ["derivative", "numeric_predictors"]


def derivative(design: Design, frame: pd.DataFrame, variable: str) -> DesignMatrices:
    """Differentiate the columns of a design in one covariate, at the rows of a frame.

    The other covariates stay as they are in the frame, and so does what transforms such as
    ``scale``, ``poly`` and ``bs`` took from the training data. For what changes in steps
    (categories, booleans, counts of few values) differences between chosen values say more.

    Parameters
    ----------
    design : Design
        A formula joined to its data.
    frame : pandas.DataFrame
        Rows as :meth:`popavg.design.Design.evaluate` takes them.
    variable : str
        A numeric covariate; whole numbers are taken as points of a continuous scale. It may stand
        in the fixed effects, an offset, the effects of a grouping factor, or several of these.

    Returns
    -------
    DesignMatrices
        With the design's own terms, clusters and effects: ``X`` is dX/dx, shape (rows, terms),
        ``offset`` is d offset/dx, shape (rows,), and each group's ``Z`` is dZ/dx, shape
        (rows, effects). All in units of the column per unit of ``variable``.

    Raises
    ------
    SpecificationError
        ``variable`` isn't a covariate of the model.
    EstimandError
        It has no slope: text, categories or booleans, or it stands in ``C()``, in a comparison
        such as ``I(x > 3)``, or in a function that goes in steps (``sign``, ``floor``, ``ceil``).
    DataError
        What :meth:`popavg.design.Design.evaluate` refuses; and rows where a derivative is infinite
        or undefined: ``sqrt(x)`` and ``abs(x)`` at 0, and a spline with a corner there, which has
        degree 1 or a repeated knot.

    See Also
    --------
    numeric_predictors : The covariates that have a slope.

    Notes
    -----
    Exact, by forward differentiation of the formula; for a linear predictor η = Xβ + offset the
    slope is ∂η/∂x = (dX/dx)β + d offset/dx, and for its random effects' variance
    v = Σ z'Σz it is ∂v/∂x = 2 Σ z'Σ(dz/dx). At the ends of a spline's range the derivative is the
    one from inside.

    Examples
    --------
    >>> import pandas as pd
    >>> import popavg as pa
    >>> from popavg.design import Design
    >>> from popavg.families import get_family
    >>> data = pa.load_dataset("toenail")
    >>> family = get_family("bernoulli")
    >>> design = Design.build("outcome ~ I(time**2) + (time | patient)", data, family=family)
    >>> slope = design.derivative(pd.DataFrame({"time": [0.5, 3.0]}), "time")
    >>> dict(zip(slope.terms, slope.X.T.tolist(), strict=True))
    {'Intercept': [0.0, 0.0], 'I(time ** 2)': [1.0, 6.0]}
    >>> slope.groups[0].Z.tolist()
    [[0.0, 1.0], [0.0, 1.0]]
    """
    _check_variable(design, variable)
    rows = design.read_rows(frame)
    values = design.evaluate_rows(rows)
    X, offset = design.fixed.derivative(rows, variable)
    _check_slopes(values.terms, X, variable)
    _check_slopes(("offset",), offset[:, np.newaxis], variable)
    groups = []
    for group, grouping in zip(values.groups, design.groupings, strict=True):
        Z = grouping.derivative(rows, variable)
        _check_slopes(group.effects, Z, variable)
        groups.append(replace(group, Z=Z))
    return replace(values, X=X, offset=offset, groups=tuple(groups))


def numeric_predictors(design: Design) -> tuple[str, ...]:
    """Covariates that have a slope: numeric, and differentiable wherever they occur.

    Parameters
    ----------
    design : Design
        A formula joined to its data.

    Returns
    -------
    tuple of str
        In the formula's order. Columns that are only added as an offset are left out, since the
        model says nothing about them; :func:`derivative` takes them all the same.

    See Also
    --------
    derivative : The derivative in one of them.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.design import Design
    >>> from popavg.design_derivative import numeric_predictors
    >>> from popavg.families import get_family
    >>> data = pa.load_dataset("toenail")
    >>> family = get_family("bernoulli")
    >>> design = Design.build("outcome ~ treatment * time + (1 | patient)", data, family=family)
    >>> numeric_predictors(design)
    ('time',)
    """
    return tuple(name for name in design.covariates if not _obstacle(design, name))


def _parts(design: Design) -> tuple[FixedEffects, ...]:
    return (design.fixed, *(part for grouping in design.groupings for part in grouping.parts))


def _obstacle(design: Design, variable: str) -> str | None:
    """Why there is no slope in a covariate, or None."""
    dtype = design.frame[variable].dtype
    if pd.api.types.is_bool_dtype(dtype):
        return "it holds True and False"
    if not pd.api.types.is_numeric_dtype(dtype):
        return "it holds text or categories"
    found = (part.obstacle(variable) for part in _parts(design))
    return next((words for words in found if words), None)


def _check_variable(design: Design, variable: str) -> None:
    if variable not in design.predictors:
        raise SpecificationError(
            f"variable={variable!r} is not a covariate of the model",
            listing(numeric_predictors(design)) or "none: the model has no numeric covariate",
            suggestion(variable, numeric_predictors(design))
            or "name a numeric covariate of the formula",
        )
    words = _obstacle(design, variable)
    if words:
        others = listing(numeric_predictors(design))
        raise EstimandError(
            f"there is no slope in {variable!r}: {words}",
            f"covariates that have one: {others or 'none in this model'}",
            f"use comparisons: differences between chosen values of {variable!r}",
        )


def _check_slopes(labels: Sequence[str], slopes: NDArray[np.float64], variable: str) -> None:
    """Every slope is finite; ``slopes`` is (rows, labels)."""
    for column, label in enumerate(labels):
        bad = np.flatnonzero(~np.isfinite(slopes[:, column]))
        if len(bad):
            raise DataError(
                f"the derivative of the term {label!r} in {variable!r} is infinite or undefined "
                f"in {len(bad)} row{'s' * (len(bad) != 1)}, the first is row {bad[0]}",
                "rows where the term has a finite slope",
                "leave these rows out (a square root of 0, abs() at 0, the corner of a spline at "
                "a knot?), or use comparisons: differences between chosen values",
            )
