"""Grids of covariate values that a user spells out: some vary, the others are held."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

import pandas as pd
import xarray as xr

from popavg._checks import check_choice, listing, suggestion
from popavg.design import Design
from popavg.errors import SpecificationError
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.grid import (
    checked_values,
    held_values,
    in_training_order,
    is_category,
    levels_of,
)

__all__ = ["GRID_TYPES", "DataGrid", "GridType", "datagrid"]

GridType = Literal["mean_or_mode", "balanced", "counterfactual"]
GRID_TYPES: tuple[GridType, ...] = ("mean_or_mode", "balanced", "counterfactual")


@dataclass(frozen=True)
class DataGrid:
    """A grid that waits for the fit whose covariates it is made of.

    Attributes
    ----------
    values : dict
        Values of covariates: one, several, or a function of the column.
    grid_type : {"mean_or_mode", "balanced", "counterfactual"}
        What the other covariates do; see :func:`popavg.datagrid`.

    Examples
    --------
    >>> import popavg as pa
    >>> pa.datagrid(time=[0, 6])
    DataGrid(values={'time': [0, 6]}, grid_type='mean_or_mode')
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    grid_type: GridType = "mean_or_mode"

    def __post_init__(self) -> None:
        check_choice("grid_type", self.grid_type, GRID_TYPES)

    def frame(self, design: Design) -> pd.DataFrame:
        """The rows for one fit.

        Parameters
        ----------
        design : Design
            The fit's design.

        Returns
        -------
        pandas.DataFrame
            The covariates; of a counterfactual grid all columns of the fit but the response.

        Raises
        ------
        SpecificationError
            A name isn't a covariate of the model, a text column is given a mean.
        DataError
            A covariate is given no values, missing ones, or values that the fit's column can't
            have.
        """
        given = {name: _values(design, name, values) for name, values in self.values.items()}
        if self.grid_type == "counterfactual":
            frame = _versions(design, given)
        else:
            frame = _crossed(_others(design, given, balanced=self.grid_type == "balanced"))
        for name in design.predictors:
            frame[name] = in_training_order(frame[name], design.frame[name])
        return frame


def datagrid(
    fit: xr.DataTree | None = None, *, grid_type: GridType = "mean_or_mode", **values: Any
) -> pd.DataFrame | DataGrid:
    """Rows with chosen values of some covariates, the others held at typical values.

    Parameters
    ----------
    fit : xarray.DataTree, optional
        From :func:`popavg.fit`; inside a verb it isn't needed, since the verb has it:
        ``pa.predictions(fit, newdata=pa.datagrid(time=[0, 6]))``.
    grid_type : {"mean_or_mode", "balanced", "counterfactual"}
        ``"mean_or_mode"``: the other covariates at their mean or, for categories, their most
        frequent level. ``"balanced"``: all levels of the other categories, numbers at their mean.
        ``"counterfactual"``: every row of the fit once for each combination of the given values,
        all else as observed.
    **values
        Covariates by name: one value, several, or a function that is applied to the column of
        the fit and returns one or several, such as ``time=np.median``. All combinations.

    Returns
    -------
    pandas.DataFrame or DataGrid
        The rows where ``fit`` is given, with the first covariate running slowest, else a
        description of them that every verb takes as ``newdata``.

    Raises
    ------
    SpecificationError
        An unknown ``grid_type``, a name that isn't a covariate of the model.
    DataError
        A covariate is given no values, missing ones, text where the fit has numbers, or a level
        that the fit hasn't seen.

    See Also
    --------
    popavg.predictions : Its ``over`` sets covariates in every row and averages over them.

    Notes
    -----
    The names are those of marginaleffects' ``datagrid`` (Arel-Bundock, Greifer & Heiss 2024,
    Journal of Statistical Software 111(9)). Numbers are held at their mean, also those with
    two values such as 0/1, of which marginaleffects takes the more frequent one.

    Examples
    --------
    >>> import popavg as pa
    >>> pa.datagrid(pa.load_example(), time=[0, 6], treatment="terbinafine").values.tolist()
    [['terbinafine', 0], ['terbinafine', 6]]
    """
    grid = DataGrid(values, grid_type)
    return grid if fit is None else grid.frame(Posterior.from_fit(fit).design)


def _values(design: Design, name: str, given: Any) -> list[Any]:
    if name not in design.predictors:
        raise SpecificationError(
            f"{name!r} isn't a covariate of the model",
            listing(design.predictors),
            suggestion(name, design.predictors),
        )
    found = _applied(given, design.frame[name]) if callable(given) else given
    return checked_values(design, name, found)


def _applied(function: Callable[[pd.Series], Any], column: pd.Series) -> Any:
    try:
        return function(column)
    except (TypeError, ValueError) as error:
        raise SpecificationError(
            f"the function given for {column.name!r} can't be applied to it ({error})",
            "a value, several values, or a function of the column",
        ) from error


def _others(design: Design, given: Mapping[str, list[Any]], *, balanced: bool) -> dict[str, Any]:
    """Values of every covariate, in the order of the model."""
    values: dict[str, list[Any]] = {}
    for name in design.predictors:
        if name in given:
            values[name] = given[name]
        elif balanced and is_category(design, name):
            values[name] = levels_of(design, name)
        else:
            values |= {key: [value] for key, value in held_values(design, [name]).items()}
    return values


def _crossed(values: Mapping[str, list[Any]]) -> pd.DataFrame:
    """All combinations; the last column runs fastest."""
    if not values:
        return pd.DataFrame(index=range(1))
    rows = list(product(*values.values()))
    columns = {name: [row[i] for row in rows] for i, name in enumerate(values)}
    return pd.DataFrame(columns)


def _versions(design: Design, given: Mapping[str, list[Any]]) -> pd.DataFrame:
    response = design.formula.response_columns
    kept = [name for name in design.frame.columns if name not in response]
    observed = design.frame.loc[:, list(dict.fromkeys([*kept, *design.predictors]))]
    cells = _crossed(given).to_dict("list")
    n_cells = len(next(iter(cells.values()), [None]))
    frame = pd.concat([observed] * n_cells, ignore_index=True)
    for name, values in cells.items():
        frame[name] = [value for value in values for _ in range(len(observed))]
    return frame
