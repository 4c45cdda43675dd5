"""The rows over which a marginal model is fitted to the population mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from popavg._checks import brief, check_choice, listing
from popavg.design import DesignMatrices
from popavg.design_checks import check_rank
from popavg.errors import DataError, SpecificationError
from popavg.grouping import outermost
from popavg.posterior_tools.clusters import cluster_codes
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.times import numeric_time, time_levels
from popavg.posterior_tools.unique_rows import distinct_rows
from popavg.posterior_tools.weights import row_weights
from popavg.posterior_tools.working_correlation import (
    WORKING_CORRELATIONS,
    ClusterLayout,
    WorkingCorrelation,
    make_working_correlation,
)

__all__ = ["IMPLIED", "ProjectionDesign", "WorkingStructure"]

Floats = NDArray[np.float64]

#: The α that a GEE would converge to under the model.
IMPLIED = "implied"


@dataclass(frozen=True)
class WorkingStructure:
    """Which working correlation, with which α, between which rows.

    Attributes
    ----------
    name : {"independence", "exchangeable", "ar1"}
    alpha : float, "implied" or None
        The correlation; None for independence; ``"implied"`` for what the GEE would converge to
        under the model, draw by draw.
    groups : str or None
        Column (or grouping factor) of the clusters; by default the factor in which all others are
        nested.
    time : str or None
        Column of the times, for ``"ar1"``.
    """

    name: str = "independence"
    alpha: float | Literal["implied"] | None = None
    groups: str | None = None
    time: str | None = None

    @property
    def is_implied(self) -> bool:
        """Whether α follows from the model."""
        return self.alpha == IMPLIED

    def __str__(self) -> str:
        if self.is_implied:
            return f"{self.name}, α implied by the model"
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
    covariates : pandas.DataFrame
        The fixed effects' columns at the distinct rows.
    correlation, layout : optional
        None under independence.
    levels : numpy.ndarray of int, shape (observations, factors), optional
        The level of each of the model's grouping factors; where α is implied by the model.
    label : str
        The design in words.
    """

    matrices: DesignMatrices
    rows: NDArray[np.intp]
    weights: Floats
    trials: Floats
    covariates: pd.DataFrame
    correlation: WorkingCorrelation | None
    layout: ClusterLayout | None
    levels: NDArray[np.intp] | None
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
        index = design.index if isinstance(design, pd.DataFrame) else None
        weight = row_weights(posterior, frame, weights, groups=structure.groups, index=index)
        trials = posterior.design.response.trials if observed else None
        distinct, rows, _ = distinct_rows(matrices)
        correlation, layout = _correlation(posterior, frame, structure, observed=observed)
        levels = _levels(posterior, frame, observed=observed) if structure.is_implied else None
        first = np.empty(distinct.n_rows, dtype=np.intp)
        first[rows[::-1]] = np.arange(len(rows))[::-1]
        return cls(
            matrices=distinct,
            rows=rows,
            weights=weight,
            trials=np.ones(len(rows)) if trials is None else trials,
            covariates=frame[list(posterior.design.fixed.columns)].iloc[first],
            correlation=correlation,
            layout=layout,
            levels=levels,
            label=label,
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
        return frame, posterior.design.matrices, f"the {len(frame):,} observed rows"
    if not isinstance(design, pd.DataFrame):
        raise SpecificationError(f"design={brief(design)}", "'observed' or a DataFrame of rows")
    if not len(design):
        raise DataError("the design has no rows", "at least as many rows as coefficients")
    frame = design.reset_index(drop=True)
    return frame, posterior.design.evaluate(frame), f"{len(frame):,} rows of a design of its own"


def _correlation(
    posterior: Posterior, frame: pd.DataFrame, structure: WorkingStructure, *, observed: bool
) -> tuple[WorkingCorrelation | None, ClusterLayout | None]:
    check_choice("working_correlation", structure.name, WORKING_CORRELATIONS)
    if structure.name == "independence":
        if structure.alpha is not None:
            raise SpecificationError(
                f"alpha={structure.alpha!r} with working_correlation='independence'",
                "'exchangeable' or 'ar1' with an alpha",
                "leave alpha out, or name the working correlation",
            )
        return None, None
    if structure.alpha is None:
        raise SpecificationError(
            f"working_correlation={structure.name!r} without alpha",
            "a number, or 'implied'",
            "give the α that the GEE estimated, pa.gee(…).alpha, or alpha='implied' for the one it"
            " would converge to under the model",
        )
    if isinstance(structure.alpha, str) and not structure.is_implied:
        raise SpecificationError(
            f"alpha={structure.alpha!r}", "a number, or 'implied'", "see pa.gee(…).alpha"
        )
    codes = _clusters(posterior, frame, structure.groups, observed=observed)
    time = _times(posterior, frame, structure.time) if structure.name == "ar1" else None
    layout = ClusterLayout.build(codes, time=time)
    alpha = 0.0 if isinstance(structure.alpha, str) else structure.alpha
    return make_working_correlation(structure.name, alpha, layout), layout


def _levels(posterior: Posterior, frame: pd.DataFrame, *, observed: bool) -> NDArray[np.intp]:
    """The level of each grouping factor, (observations, factors); any whole numbers."""
    names = posterior.specification.group_names
    columns = [_clusters(posterior, frame, name, observed=observed) for name in names]
    return np.column_stack([np.empty((len(frame), 0), dtype=np.intp), *columns])


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
    if observed and name in factors:
        return posterior.design.matrices.groups[factors.index(name)].index
    return cluster_codes(
        posterior, frame, groups=name, remedy="use working_correlation='independence'"
    )
