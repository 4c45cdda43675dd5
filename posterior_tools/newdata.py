"""The rows that a question is about: the observed ones, typical ones, a grid or a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from popavg._checks import brief, suggestion
from popavg.design import Design
from popavg.errors import DataError, SpecificationError
from popavg.frames import check_frame
from popavg.posterior_tools.datagrid import DataGrid
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.grid import (
    Varying,
    cells,
    held_values,
    in_training_order,
    varying_values,
)

__all__ = ["NewData", "Rows", "read_rows"]

#: What a verb's ``newdata`` may be.
type NewData = pd.DataFrame | DataGrid | Literal["observed", "mean", "balanced"] | None


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to ask about.

    Attributes
    ----------
    frame : pandas.DataFrame
        All columns that are known, numbered from 0.
    shown : tuple of str
        Those that a result names its rows by: covariates and clusters.
    label : str
        The rows in words.
    index : pandas.Index or None
        What a frame had as its index before its rows were numbered; None where they had no other.
    """

    frame: pd.DataFrame
    shown: tuple[str, ...]
    label: str
    index: pd.Index | None = None

    @property
    def labels(self) -> pd.DataFrame:
        """The columns that are shown."""
        return self.frame.loc[:, list(self.shown)]


def read_rows(posterior: Posterior, newdata: NewData, *, grid: Varying = None) -> Rows:
    """Rows of a verb's ``newdata``.

    Parameters
    ----------
    posterior : Posterior
        The fit.
    newdata : pandas.DataFrame, DataGrid, "observed", "mean", "balanced" or None
        ``"observed"`` or None: the rows of the fit. ``"mean"``: one row, numbers at their mean,
        categories at their most frequent level. ``"balanced"``: one row for each combination of
        the levels of the categories, numbers at their mean.
    grid : str, sequence of str or mapping, optional
        For ``"mean"`` and ``"balanced"``: covariates of which every level, or every value that a
        mapping gives, gets rows of its own.

    Returns
    -------
    Rows
        Categories in the order of the fit's levels.

    Raises
    ------
    SpecificationError
        Something else.
    DataError
        A frame without rows.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.draws import Posterior
    >>> from popavg.posterior_tools.newdata import read_rows
    >>> read_rows(Posterior.from_fit(pa.load_example()), "mean", grid="treatment").shown
    ('treatment', 'time')
    """
    design = posterior.design
    if isinstance(newdata, DataGrid):
        return _given(design, newdata.frame(design), "a grid of {}")
    if isinstance(newdata, pd.DataFrame):
        return _given(design, newdata, "{} of newdata")
    if newdata is None or (isinstance(newdata, str) and newdata == "observed"):
        factors = (name for grouping in design.groupings for name in grouping.factor)
        shown = tuple(dict.fromkeys((*design.predictors, *factors)))
        return Rows(design.frame, shown, f"the {_counted(len(design.frame), 'observed row')}")
    if isinstance(newdata, str) and newdata == "mean":
        return _held(design, varying_values(design, None, grid))
    if isinstance(newdata, str) and newdata == "balanced":
        balanced = DataGrid(varying_values(design, None, grid), "balanced").frame(design)
        label = "a balanced grid of {}, numbers at their mean"
        return _given(design, balanced, label)
    words = ("observed", "mean", "balanced")
    raise SpecificationError(
        f"newdata={brief(newdata)}",
        "a DataFrame, pa.datagrid(…), 'observed', 'mean' or 'balanced'",
        (suggestion(newdata, words) if isinstance(newdata, str) else "")
        or "put the rows into a pandas.DataFrame with the model's covariates",
    )


def _given(design: Design, given: pd.DataFrame, label: str) -> Rows:
    if not len(given):
        raise DataError("newdata has no rows", "at least one row to predict")
    check_frame(given)
    frame = given.reset_index(drop=True)
    for name in design.predictors:
        if name in frame.columns:
            frame[name] = in_training_order(frame[name], design.frame[name])
    shown = tuple(str(name) for name in frame.columns)
    return Rows(frame, shown, label.format(_counted(len(frame), "row")), given.index)


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _held(design: Design, varying: dict[str, list[Any]]) -> Rows:
    """The covariates that vary, the first running fastest, and then the others."""
    held = held_values(design, [name for name in design.predictors if name not in varying])
    frame = (cells(varying) if varying else pd.DataFrame(index=range(1))).assign(**held)
    for name in frame.columns:
        frame[name] = in_training_order(frame[name], design.frame[name])
    label = "a grid with the other covariates at their mean or most frequent level"
    return Rows(frame, tuple(frame.columns), label)
