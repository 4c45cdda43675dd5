"""The rows over which a marginal model is fitted to the population mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from popavg._checks import check_choice, listing
from popavg.design import DesignMatrices
from popavg.design_checks import check_rank
from popavg.errors import DataError, SpecificationError
from popavg.grouping import outermost
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.times import numeric_time, time_levels
from popavg.posterior_tools.unique_rows import distinct_rows
from popavg.posterior_tools.working_correlation import (
    WORKING_CORRELATIONS,
    ClusterLayout,
    WorkingCorrelation,
    make_working_correlation,
)

__all__ = ["ProjectionDesign", "WorkingStructure"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class WorkingStructure:
    """Which working correlation, with which α, between which rows.

    Attributes
    ----------
    name : {"independence", "exchangeable", "ar1"}
    alpha : float or None
        The correlation; None for independence.
    groups : str or None
        Column (or grouping factor) of the clusters; by default the factor in which all others are
        nested.
    time : str or None
        Column of the times, for ``"ar1"``.
    """

    name: str = "independence"
    alpha: float | None = None
    groups: str | None = None
    time: str | None = None

    def __str__(self) -> str:
        return self.name if self.alpha is None else f"{self.name}, α = {self.alpha:.3g}"


@dataclass(frozen=True)
class ProjectionDesign:
    """Rows, how they repeat, their weights and their clusters.

    Attributes
    ----------
    matrices : DesignMatrices
        The distinct rows.
    rows : numpy.ndarray of int, shape (observations,)
        The distinct row of each observation.
    weights : numpy.ndarray, shape (observations,)
        The user's weights.
    trials : numpy.ndarray, shape (observations,)
        Trials of each observation, 1 for single outcomes.
    correlation, layout : optional
        None under independence.
    label : str
        The design in words.
    """

    matrices: DesignMatrices
    rows: NDArray[np.intp]
    weights: Floats
    trials: Floats
    correlation: WorkingCorrelation | None
    layout: ClusterLayout | None
    label: str

    @classmethod
    def build(
        cls,
        posterior: Posterior,
        design: pd.DataFrame | Literal["observed"],
        weights: str | ArrayLike | None,
        structure: WorkingStructure,
    ) -> ProjectionDesign:
        """Read a design.

        Raises
        ------
        DataError
            Rows that don't fit the model, weights that aren't finite, negative or all zero.
        SpecificationError
            A working correlation without clusters or time, or with an impossible α.
        """
        frame, matrices, label = _rows(posterior, design)
        observed = frame is posterior.design.frame
        if not observed:  # the fit's own design was checked when it was built
            _check_varied(matrices)
        weight = _weights(weights, frame)
        trials = posterior.design.response.trials if observed else None
        distinct, rows, _ = distinct_rows(matrices)
        correlation, layout = _correlation(posterior, frame, structure, observed=observed)
        return cls(
            distinct,
            rows,
            weight,
            np.ones(len(rows)) if trials is None else trials,
            correlation,
            layout,
            label,
        )

    @property
    def distinct_weights(self) -> Floats:
        """The user's weights, summed over the observations of each distinct row."""
        return np.bincount(self.rows, self.weights, self.matrices.n_rows)


def _check_varied(matrices: DesignMatrices) -> None:
    """The rows determine every coefficient."""
    try:
        check_rank(matrices.terms, matrices.X)
    except DataError as error:
        raise DataError(
            f"in the design to project over, {error.came}",
            error.allowed,
            "give rows in which every term varies on its own",
        ) from error


def _rows(
    posterior: Posterior, design: pd.DataFrame | Literal["observed"]
) -> tuple[pd.DataFrame, DesignMatrices, str]:
    if isinstance(design, str) and design == "observed":
        frame = posterior.design.frame
        return frame, posterior.design.matrices, f"the {len(frame)} observed rows"
    if not isinstance(design, pd.DataFrame):
        raise SpecificationError(f"design={design!r}", "'observed' or a DataFrame of rows")
    if not len(design):
        raise DataError("the design has no rows", "at least as many rows as coefficients")
    frame = design.reset_index(drop=True)
    return frame, posterior.design.evaluate(frame), f"{len(frame)} rows of a design of its own"


def _weights(weights: str | ArrayLike | None, frame: pd.DataFrame) -> Floats:
    if weights is None:
        return np.ones(len(frame))
    name = "the weights"
    if isinstance(weights, str):
        name = f"the weights {weights!r}"
        if weights not in frame.columns:
            raise DataError(
                f"{name} aren't a column of the design",
                listing(frame.columns),
                f"fit with keep=[{weights!r}], or give the weights as numbers",
            )
        weights = frame[weights].to_numpy()
    try:
        values = np.asarray(weights, dtype=float)
    except (TypeError, ValueError):
        raise DataError(f"{name} aren't numbers", f"{len(frame)} numbers from 0") from None
    if values.shape != (len(frame),):
        raise DataError(
            f"{name} have the shape {values.shape}", f"one for each of {len(frame)} rows"
        )
    unusable = int((~np.isfinite(values) | (values < 0)).sum())
    if unusable or not values.any():
        what = (
            f"{unusable} of {name} are negative, NaN or infinite" if unusable else f"{name} are 0"
        )
        raise DataError(what, "finite numbers from 0, not all zero")
    return values


def _correlation(
    posterior: Posterior, frame: pd.DataFrame, structure: WorkingStructure, *, observed: bool
) -> tuple[WorkingCorrelation | None, ClusterLayout | None]:
    check_choice("working_correlation", structure.name, WORKING_CORRELATIONS)
    if structure.name == "independence":
        if structure.alpha is not None:
            raise SpecificationError(
                f"alpha={structure.alpha:g} with working_correlation='independence'",
                "'exchangeable' or 'ar1' with an alpha",
                "leave alpha out, or name the working correlation",
            )
        return None, None
    if structure.alpha is None:
        raise SpecificationError(
            f"working_correlation={structure.name!r} without alpha",
            "a number",
            "give the α that the GEE estimated: pa.gee(…).alpha",
        )
    codes = _clusters(posterior, frame, structure.groups, observed=observed)
    time = _times(posterior, frame, structure.time) if structure.name == "ar1" else None
    layout = ClusterLayout.build(codes, time=time)
    return make_working_correlation(structure.name, structure.alpha, layout), layout


def _times(posterior: Posterior, frame: pd.DataFrame, name: str | None) -> Floats | None:
    """Times of the rows; levels are numbered as in the fit's data."""
    if name is None:
        return None
    if name not in frame.columns:
        raise SpecificationError(
            f"the time column {name!r} isn't among the rows of the design",
            listing(frame.columns),
            f"fit with keep=[{name!r}] to keep it in the fit",
        )
    known = posterior.design.frame
    return numeric_time(frame[name], time_levels(known[name]) if name in known else None)


def _clusters(
    posterior: Posterior, frame: pd.DataFrame, groups: str | None, *, observed: bool
) -> NDArray[np.intp]:
    factors = posterior.specification.group_names
    name = outermost(posterior.design.matrices.groups) if groups is None else groups
    if name not in factors:
        return _labels(frame, (name,), name)
    if observed:
        return posterior.design.matrices.groups[factors.index(name)].index
    return _labels(frame, posterior.design.groupings[factors.index(name)].factor, name)


def _labels(frame: pd.DataFrame, columns: tuple[str, ...], name: str) -> NDArray[np.intp]:
    """The rows' clusters by the columns that name them; they need not be those of the fit."""
    absent = [column for column in columns if column not in frame.columns]
    if absent or frame[list(columns)].isna().any(axis=None):
        raise DataError(
            f"the clusters {name!r} aren't in the design's rows"
            + ("" if absent else ": some are missing values"),
            listing(frame.columns),
            f"add the column {listing(absent or columns)}, "
            "or use working_correlation='independence'",
        )
    grouped = frame.groupby(list(columns), sort=False, observed=True)
    return grouped.ngroup().to_numpy(dtype=np.intp)
