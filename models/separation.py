"""Find covariates that separate events from non-events, for which no finite estimate exists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linprog

from popavg._checks import listing
from popavg.errors import SeparationError

__all__ = ["check_separation"]

Floats = NDArray[np.float64]
_FIRST_ROWS = 500
_TOLERANCE = 1e-7


def check_separation(
    X: Floats,
    y: Floats,
    trials: Floats | None,
    terms: Sequence[str],
    *,
    counts: bool = False,
) -> None:
    """Raise where the maximum likelihood estimate of a GLM is infinite.

    Parameters
    ----------
    X : ndarray, shape (rows, terms)
        Design of full rank.
    y : ndarray, shape (rows,)
        0/1, successes out of ``trials``, or counts.
    trials : ndarray, shape (rows,), or None
        Trials of each row.
    terms : sequence of str
        Names of the columns.
    counts : bool
        Whether ``y`` holds counts of a log-linear model, where only zeros can be separated.

    Raises
    ------
    SeparationError
        The outcome is the same in every row, or a direction of the coefficients never makes a row
        less likely and makes some more likely; the message names its terms.

    Notes
    -----
    Separation is a direction d with s_i x_i'd >= 0 for rows that are all events (s = 1) or all
    non-events (s = -1), x_i'd = 0 for rows with both, and > 0 somewhere (Albert & Anderson 1984;
    the linear programme is Konis 2007). A GEE with any working correlation has the same problem. A
    set of rows that spans the design and isn't separated proves that no larger set is, so the
    programme starts with a few rows and takes in those that its direction gets wrong.

    Examples
    --------
    >>> import numpy as np
    >>> import popavg as pa
    >>> from popavg.models.separation import check_separation
    >>> X = np.column_stack([np.ones(4), [0.0, 0.0, 1.0, 1.0]])
    >>> check_separation(X, np.array([0.0, 1.0, 0.0, 1.0]), None, ("Intercept", "x"))
    >>> try:
    ...     check_separation(X, np.array([0.0, 1.0, 1.0, 1.0]), None, ("Intercept", "x"))
    ... except pa.errors.SeparationError as error:
    ...     print(str(error)[:42])
    quasi-complete separation: 'x' predicts th
    """
    side = _sides(y, trials, counts)
    if np.isin(side, (-1.0, 1.0)).all() and len(np.unique(side)) == 1:
        raise _constant(counts, bool(side[0] > 0))
    rows = pd.DataFrame(np.column_stack([_scaled(X), side])).drop_duplicates().to_numpy()
    design, side = rows[:, :-1], rows[:, -1]
    if _separating_direction(design, side) is None:
        return
    constant = np.ptp(X, axis=0) == 0.0
    kept = _kept(design, side, constant)
    complete = bool((side != 0.0).all()) and _largest_margin(design[:, kept], side) > _TOLERANCE
    raise _separated([terms[k] for k in kept if not constant[k]], complete, counts)


def _sides(y: Floats, trials: Floats | None, counts: bool) -> Floats:
    """1 for rows that are all events, -1 for rows without one, 0 for rows between."""
    if counts:
        return np.where(y == 0.0, -1.0, 0.0)
    full = np.ones_like(y) if trials is None else trials
    return np.where(y == 0.0, -1.0, np.where(y == full, 1.0, 0.0))


def _scaled(X: Floats) -> Floats:
    """Columns centred where there is an intercept, and of largest absolute value 1."""
    constant = np.ptp(X, axis=0) == 0.0
    centred = np.where(constant, X, X - X.mean(axis=0)) if constant.any() else X
    size = np.abs(centred).max(axis=0)
    return centred / np.where(size == 0.0, 1.0, size)


def _separating_direction(design: Floats, side: Floats) -> Floats | None:
    """A separating direction of all rows, or None."""
    chosen = _first_rows(design)
    while True:
        direction = _solve(design[chosen], side[chosen])
        if direction is None:
            return None
        values = design @ direction
        wrong = np.where(side == 0.0, np.abs(values), -side * values)
        wrong[chosen] = 0.0
        worst = np.argsort(-wrong, kind="stable")[: len(chosen)]
        worst = worst[wrong[worst] > _TOLERANCE]
        if not worst.size:
            return direction
        chosen = np.concatenate([chosen, worst])


def _first_rows(design: Floats) -> NDArray[np.intp]:
    """Rows spread over the design that span it."""
    wanted = _FIRST_ROWS
    while wanted < len(design):
        chosen = np.unique(np.linspace(0, len(design) - 1, wanted).astype(np.intp))
        if np.linalg.matrix_rank(design[chosen]) == design.shape[1]:
            return chosen
        wanted *= 4
    return np.arange(len(design))


def _solve(design: Floats, side: Floats) -> Floats | None:
    """Maximise the sum of the margins over directions in the unit cube."""
    decided = side != 0.0
    signed = side[decided, None] * design[decided]
    mixed = design[~decided]
    solved = linprog(
        -signed.sum(axis=0),
        A_ub=-signed,
        b_ub=np.zeros(len(signed)),
        A_eq=mixed if len(mixed) else None,
        b_eq=np.zeros(len(mixed)) if len(mixed) else None,
        bounds=(-1.0, 1.0),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    margins = signed @ solved.x
    return solved.x if margins.max(initial=0.0) > _TOLERANCE else None


def _kept(design: Floats, side: Floats, constant: NDArray[np.bool_]) -> list[int]:
    """Columns without which there is no separation, and constant ones."""
    kept = list(range(design.shape[1]))
    for k in np.flatnonzero(~constant):
        fewer = [column for column in kept if column != k]
        if fewer and _separating_direction(design[:, fewer], side) is not None:
            kept = fewer
    return kept


def _largest_margin(design: Floats, side: Floats) -> float:
    """Largest margin that all rows can have at once: positive where separation is complete."""
    n_terms = design.shape[1]
    objective = np.r_[np.zeros(n_terms), -1.0]
    signed = np.column_stack([-side[:, None] * design, np.ones(len(side))])
    bounds = [(-1.0, 1.0)] * n_terms + [(0.0, None)]
    return -float(linprog(objective, A_ub=signed, b_ub=np.zeros(len(side)), bounds=bounds).fun)


def _constant(counts: bool, event: bool) -> SeparationError:
    what = "zero" if counts else "an event" if event else "not an event"
    return SeparationError(
        f"the outcome is {what} in every row",
        "an outcome that varies",
        "check which level counts as the event, and which rows were kept",
    )


def _separated(names: list[str], complete: bool, counts: bool) -> SeparationError:
    kind = "complete" if complete else "quasi-complete"
    what = "counts of zero" if counts else "the outcome"
    who = listing(names) if len(names) == 1 else f"a combination of {listing(names)}"
    return SeparationError(
        f"{kind} separation: {who} predicts {what} perfectly"
        f"{'' if complete else ' for some rows'}, so maximum likelihood and GEE have no finite"
        " estimate",
        remedy="leave one of these terms out, merge levels with too few events, or rely on the"
        " Bayesian fit, whose prior keeps the coefficients finite: pa.population_coefficients(fit),"
        " pa.predictions(fit) and pa.plot_population_curve(fit, ..., gee=None) need no GEE",
    )
