"""Slopes: derivatives of the mean response in numeric covariates, draw by draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, eye_array

from popavg._checks import check_choice, listing
from popavg.design_derivative import numeric_predictors
from popavg.errors import DataError, EstimandError, SpecificationError
from popavg.posterior_tools._asked_rows import AskedRows, averaged_rows, choose_rows, fixed_seed
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.estimates import Estimates
from popavg.posterior_tools.evaluation import evaluate
from popavg.posterior_tools.grid import Varying
from popavg.posterior_tools.hypotheses import Hypothesis, apply_hypothesis
from popavg.posterior_tools.newdata import NewData
from popavg.posterior_tools.outcome import outcome_words, target_note
from popavg.posterior_tools.row_question import ask_rows
from popavg.posterior_tools.targets import Scale, Target, TargetMean

__all__ = ["SLOPES", "Slope", "avg_slopes", "slopes"]

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

#: Columns that a result adds to those of the rows.
_OWN = ("variable", "slope", "target", "hypothesis")


@dataclass(frozen=True)
class _Asked:
    """Which slopes, of what, and how they are computed."""

    posterior: Posterior
    mean: TargetMean
    variables: tuple[str, ...]
    left_out: str
    slope: Slope
    seed: int
    progress: bool

    @classmethod
    def build(
        cls,
        fit: xr.DataTree,
        variables: str | Sequence[str] | None,
        slope: Slope,
        of: tuple[Target, Scale],
        *,
        seed: int | np.random.Generator,
        progress: bool,
    ) -> _Asked:
        """Check what was asked; ``of`` is the target and the scale."""
        posterior = Posterior.from_fit(fit)
        check_choice("slope", slope, tuple(SLOPES))
        mean = TargetMean.build(posterior, *of)
        names, left_out = _variables(posterior, variables)
        return cls(posterior, mean, names, left_out, slope, fixed_seed(seed), progress)


def slopes(
    fit: xr.DataTree,
    variables: str | Sequence[str] | None = None,
    *,
    newdata: NewData = None,
    over: Varying = None,
    by: Varying = None,
    slope: Slope = "dydx",
    target: Target = "population",
    scale: Scale = "response",
    weights: str | ArrayLike | None = None,
    hypothesis: Hypothesis = None,
    seed: int | np.random.Generator = 0,
    progress: bool = True,
) -> Estimates:
    """Slope of the mean response in numeric covariates, row by row.

    A slope is the change for one unit of the covariate if the curve went on as it goes at this
    point. For what changes in steps (categories, counts of few values), and for changes that
    bend the curve, :func:`popavg.comparisons` between chosen values says more.

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit` or :func:`popavg.load`.
    variables : str or sequence of str, optional
        Numeric covariates; by default all that have a slope, and a note names the others.
    newdata : pandas.DataFrame, DataGrid, "observed", "mean" or "balanced", optional
        The rows: by default the observed ones, with ``over`` the other covariates held at their
        mean or most frequent level (``"mean"``). See :func:`popavg.predictions`.
    over : str, sequence of str or mapping, optional
        Covariates that are set, ``{"time": [0, 6, 12]}``: one slope at each value. With observed
        rows or a frame they are set in every row, and the slopes averaged over the rows.
    by : str, sequence of str or mapping, optional
        Columns whose values make groups of rows that are averaged. With ``newdata="mean"`` each
        level gets a row of its own; a mapping says which: ``{"age": [20, 40]}``.
    slope : {"dydx", "eyex", "eydx", "dyex"}
        ``"dydx"``: ∂y/∂x. ``"eyex"``: the elasticity x/y · ∂y/∂x. ``"eydx"``: 1/y · ∂y/∂x.
        ``"dyex"``: x · ∂y/∂x. The factors are each row's own, draw by draw, before averaging.
    target : {"population", "typical", "sampled", "new"}
        Whose mean; see :func:`popavg.predictions`.
    scale : {"response", "link"}
        Of the mean y itself, or of g(y).
    weights : str, array_like, optional
        How much each row counts in averages: a column, numbers, or ``"cluster"``.
    hypothesis : str, array_like, optional
        Contrasts of the slopes; see :func:`popavg.posterior_tools.hypotheses.apply_hypothesis`.
    seed : int or numpy.random.Generator
        For ``target="new"``.
    progress : bool
        Show a bar from two seconds on.

    Returns
    -------
    Estimates
        One estimand for each row (or group) and covariate, in units of y per unit of ``variable``.

    Raises
    ------
    SpecificationError
        Not a fit; an unknown covariate, slope, target or scale; weights where nothing is averaged.
    EstimandError
        A covariate without slope: a category, or one that acts in steps; a target that the fit
        can't give; ``"eyex"`` or ``"eydx"`` of a mean that isn't above 0 in every draw.
    DataError
        Rows that don't fit the model, or at which the slope is infinite (``sqrt(x)`` at 0).

    See Also
    --------
    popavg.avg_slopes : Averaged over rows.
    popavg.comparisons : Differences between chosen values.

    Notes
    -----
    Exact derivatives, no differences: with η = x'β and v = z'Σz the population mean π̄(η, v) has
    ∂π̄/∂x = ∂π̄/∂η ∂η/∂x + ½ ∂²π̄/∂η² ∂v/∂x, since it solves the heat equation. The second part
    is there where the covariate has a random slope: the spread of the clusters changes along x,
    and with it their mean. Transforms (``log``, ``poly``, ``bs``, ``scale``, ``I``) and
    interactions are differentiated in the formula
    (:func:`popavg.design_derivative.derivative`).

    The names follow marginaleffects (Arel-Bundock, Greifer & Heiss 2024, Journal of Statistical
    Software 111(9)). It gives contrasts for categories here; this function refuses them, since
    they aren't slopes.

    Examples
    --------
    >>> import popavg as pa
    >>> found = pa.slopes(pa.load_example(), "time", over={"time": [0, 6]}, by="treatment")
    >>> found.title, len(found)
    ('slope of the probability of y in time', 4)
    """
    asked = _Asked.build(fit, variables, slope, (target, scale), seed=seed, progress=progress)
    rows = choose_rows(asked.posterior, newdata, over=over, by=by, weights=weights)
    return apply_hypothesis(_estimates(asked, rows), hypothesis)


def avg_slopes(
    fit: xr.DataTree,
    variables: str | Sequence[str] | None = None,
    *,
    newdata: NewData = None,
    over: Varying = None,
    by: Varying = None,
    slope: Slope = "dydx",
    target: Target = "population",
    scale: Scale = "response",
    weights: str | ArrayLike | None = None,
    hypothesis: Hypothesis = None,
    seed: int | np.random.Generator = 0,
    progress: bool = True,
) -> Estimates:
    """Average slope of the mean response in numeric covariates.

    The average over rows of each row's own slope; :func:`popavg.slopes` gives those, and with
    ``newdata="mean"`` the slope at average covariates, which is another number.

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit` or :func:`popavg.load`.
    variables : str or sequence of str, optional
        Numeric covariates; by default all that have a slope, and a note names the others.
    newdata : pandas.DataFrame, DataGrid, "observed", "mean" or "balanced", optional
        The rows to average over, ``"observed"`` by default.
    over : str, sequence of str or mapping, optional
        Covariates that are set in every row before averaging, to each value in turn:
        ``{"treatment": ["placebo", "active"]}`` gives the slope if all had had the one and if
        all had had the other.
    by : str, sequence of str or mapping, optional
        Columns whose own values make groups of rows: one average for each.
    slope : {"dydx", "eyex", "eydx", "dyex"}
        ∂y/∂x, x/y · ∂y/∂x, 1/y · ∂y/∂x or x · ∂y/∂x, in every row before averaging.
    target : {"population", "typical", "sampled", "new"}
        Whose mean; see :func:`popavg.predictions`.
    scale : {"response", "link"}
        Of the mean y itself, or of g(y).
    weights : str, array_like, optional
        How much each row counts: a column, numbers, or ``"cluster"``.
    hypothesis : str, array_like, optional
        Contrasts of the averages, such as ``"pairwise"``; see
        :func:`popavg.posterior_tools.hypotheses.apply_hypothesis`.
    seed : int or numpy.random.Generator
        For ``target="new"``.
    progress : bool
        Show a bar from two seconds on.

    Returns
    -------
    Estimates
        One estimand for each group and covariate, in units of y per unit of ``variable``.

    Raises
    ------
    SpecificationError
        Not a fit; an unknown covariate, slope, target or scale; a ``by`` that isn't a column.
    EstimandError
        As :func:`popavg.slopes`.
    DataError
        Rows that don't fit the model, or at which the slope is infinite; weights that are
        negative, missing or all 0.

    See Also
    --------
    popavg.slopes : Row by row.
    popavg.avg_comparisons : Differences between chosen values.

    Notes
    -----
    Averages are taken draw by draw, then summarised. Formulas: :func:`popavg.slopes`.

    Examples
    --------
    >>> import popavg as pa
    >>> found = pa.avg_slopes(pa.load_example(), "time", by="treatment", weights="cluster")
    >>> found.labels.columns.to_list()
    ['variable', 'slope', 'treatment', 'target']
    """
    asked = _Asked.build(fit, variables, slope, (target, scale), seed=seed, progress=progress)
    rows = averaged_rows(asked.posterior, newdata, over=over, by=by, weights=weights)
    return apply_hypothesis(_estimates(asked, rows), hypothesis)


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
            f"variables={variables!r}",
            "a numeric covariate's name, or a list of names",
            "values that covariates are set to go into over=; for changes use comparisons",
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        came = f"{listing(twice)} is named twice in 'variables'" if twice else "no 'variables'"
        raise SpecificationError(came, "each covariate once, at least one")
    return tuple(names), ""


def _estimates(asked: _Asked, rows: AskedRows) -> Estimates:
    taken = [name for name in _OWN if name in rows.labels.columns]
    if taken:
        raise DataError(
            f"the rows have the column {listing(taken)}, a name that the results use",
            f"names other than {listing(_OWN)}",
            "rename it",
        )
    sign, title, meaning = SLOPES[asked.slope]
    parts = [rows.answers(partial(_answer, asked, name)) for name in asked.variables]
    own = [
        pd.DataFrame({"variable": name, "slope": sign}, rows.labels.index)
        for name in asked.variables
    ]
    labels = pd.concat(
        [pd.concat([first, rows.labels], axis=1) for first in own], ignore_index=True
    )
    target, y = asked.mean.target, outcome_words(asked.posterior, asked.mean.scale)
    average = "average " if rows.averaging is not None else ""
    notes = (target_note(target), meaning, *rows.notes, asked.left_out)
    return Estimates(
        xr.concat(parts, dim="row"),
        labels.assign(target=target),
        average + title.format(y=y, x=" and ".join(asked.variables)),
        target,
        tuple(note for note in notes if note),
    )


def _answer(
    asked: _Asked, variable: str, frame: pd.DataFrame, averaging: csr_array | None
) -> xr.DataArray:
    """One covariate's slopes, dim ``row``."""
    design = asked.posterior.design
    if asked.slope in ("eyex", "dyex"):
        averaging = _times(averaging, design.read_rows(frame)[variable].to_numpy(dtype=float))
    question = ask_rows(
        asked.mean,
        [design.evaluate(frame)],
        averaging=averaging,
        tangent=design.derivative(frame, variable),
        relative=asked.slope in ("eyex", "eydx"),
    )
    return evaluate(
        asked.posterior, question, name="slope", seed=asked.seed, progress=asked.progress
    )


def _times(averaging: csr_array | None, factors: NDArray[np.float64]) -> csr_array:
    """Averages of rows that are multiplied by factors first."""
    if averaging is None:
        averaging = csr_array(eye_array(len(factors)))
    data = averaging.data * factors[averaging.indices]
    return csr_array((data, averaging.indices, averaging.indptr), shape=averaging.shape)
