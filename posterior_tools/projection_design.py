"""The rows over which a marginal model is fitted to the population mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from popavg._checks import listing
from popavg.design import DesignMatrices
from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.unique_rows import distinct_rows
from popavg.posterior_tools.working_correlation import (
    ClusterLayout,
    WorkingCorrelation,
    make_working_correlation,
)

__all__ = ["ProjectionDesign", "WorkingStructure", "numeric_time"]


@dataclass(frozen=True)
class WorkingStructure:
    """Which working correlation, with which α, between which rows.

    Attributes
    ----------
    name : {"independence", "exchangeable", "ar1"}
    alpha : float or None
        The correlation; None for independence.
    groups : str or None
        Column (or grouping factor) of the clusters; by default the model's only factor.
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
    weights: NDArray[np.float64]
    trials: NDArray[np.float64]
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
    def distinct_weights(self) -> NDArray[np.float64]:
        """The user's weights, summed over the observations of each distinct row."""
        return np.bincount(self.rows, self.weights, self.matrices.n_rows)


def numeric_time(column: pd.Series) -> NDArray[np.float64]:
    """Times as numbers: dates in days, text and categories by their position in order."""
    if column.dtype.kind in "iufb":
        return column.to_numpy(dtype=float)
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy(dtype=float)
    return pd.factorize(column, sort=True)[0].astype(float)


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


def _weights(weights: str | ArrayLike | None, frame: pd.DataFrame) -> NDArray[np.float64]:
    if weights is None:
        return np.ones(len(frame))
    if isinstance(weights, str):
        if weights not in frame.columns:
            raise DataError(f"the weights {weights!r} aren't a column", listing(frame.columns))
        weights = frame[weights].to_numpy(dtype=float)
    values = np.asarray(weights, dtype=float)
    bad = values.shape != (len(frame),) or not np.isfinite(values).all() or (values < 0).any()
    if bad or not values.any():
        raise DataError(
            f"the weights of shape {values.shape} aren't usable",
            f"{len(frame)} finite numbers from 0, not all zero",
        )
    return values


def _correlation(
    posterior: Posterior, frame: pd.DataFrame, structure: WorkingStructure, *, observed: bool
) -> tuple[WorkingCorrelation | None, ClusterLayout | None]:
    if structure.name == "independence":
        return None, None
    codes = _clusters(posterior, frame, structure.groups, observed=observed)
    time = None
    if structure.name == "ar1" and structure.time is not None:
        if structure.time not in frame.columns:
            raise SpecificationError(
                f"the time column {structure.time!r} isn't among the rows of the design",
                listing(frame.columns),
                f"fit with keep=[{structure.time!r}] to keep it in the fit",
            )
        time = numeric_time(frame[structure.time])
    layout = ClusterLayout.build(codes, time=time)
    return make_working_correlation(structure.name, structure.alpha, layout), layout


def _clusters(
    posterior: Posterior, frame: pd.DataFrame, groups: str | None, *, observed: bool
) -> NDArray[np.intp]:
    factors = posterior.specification.group_names
    if groups is None and len(factors) != 1:
        raise SpecificationError(
            f"the model has {len(factors)} grouping factors",
            listing(factors),
            "say which of them are the clusters of the working correlation: groups=…",
        )
    name = factors[0] if groups is None else groups
    if observed and name in factors:
        return posterior.design.matrices.groups[factors.index(name)].index
    if name not in frame.columns:
        raise DataError(
            f"the clusters {name!r} aren't a column of the design",
            listing(frame.columns),
            "add it, or use working_correlation='independence'",
        )
    return pd.factorize(frame[name])[0].astype(np.intp)
