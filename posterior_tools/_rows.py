"""Rows of a design at the border of the projections: checks, a scaled basis, blocks of draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import qr, solve_triangular

from popavg.errors import DataError

__all__ = [
    "Basis",
    "blocks",
    "check_design",
    "check_draws",
    "check_index",
    "check_rows",
    "check_target",
    "check_weights",
]

Floats = NDArray[np.float64]
BLOCK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Basis:
    """Columns spanning X with unit weighted mean square, so that steps have one scale."""

    columns: Floats  # (rows, terms), X = columns @ triangle
    triangle: Floats

    @classmethod
    def build(cls, design: Floats, weight: Floats) -> Basis:
        root = np.sqrt(weight / weight.sum())
        norms = np.linalg.norm(root[:, None] * design, axis=0)
        scaled = root[:, None] * design / np.where(norms > 0.0, norms, 1.0)
        _check_rank(scaled)
        triangle = np.atleast_2d(np.linalg.qr(scaled, mode="r")) * norms
        return cls(solve_triangular(triangle, design.T, trans="T").T.copy(), triangle)

    def coefficients(self, gamma: Floats) -> Floats:
        return solve_triangular(self.triangle, gamma.T).T

    def regress(self, values: Floats, weight: Floats, fixed: Floats | None = None) -> Floats:
        """Least squares of ``values`` less ``fixed``, in the basis."""
        weighted = self.columns * (weight / weight.sum())[:, None]
        gamma = values @ weighted
        return gamma if fixed is None or not fixed.any() else gamma - fixed @ weighted


def blocks(n_draws: int, cells: int) -> Iterator[slice]:
    """Slices of draws whose temporaries of ``cells`` numbers a draw stay within the budget."""
    size = max(1, BLOCK_BYTES // (8 * max(1, cells)))
    return (slice(begin, begin + size) for begin in range(0, n_draws, size))


def check_rows(
    predictor: ArrayLike, X: ArrayLike, offset: ArrayLike | None
) -> tuple[Floats, Floats, Floats]:
    design, fixed = check_design(X, offset)
    return check_target(predictor, len(design)), design, fixed


def check_target(predictor: ArrayLike, n_rows: int) -> Floats:
    target = np.asarray(predictor, dtype=np.float64)
    if target.ndim != 2 or target.shape[1] != n_rows:
        raise DataError(
            f"population predictors of shape {target.shape}", f"(draws, {n_rows}), as X"
        )
    if not np.isfinite(target).all():
        draws = int((~np.isfinite(target)).any(axis=1).sum())
        raise DataError(
            f"population predictors that aren't finite in {draws} of {len(target)} draws",
            "finite numbers on the link's scale",
            "check these draws",
        )
    return target


def check_design(X: ArrayLike, offset: ArrayLike | None) -> tuple[Floats, Floats]:
    design = np.asarray(X, dtype=np.float64)
    if design.ndim != 2 or design.size == 0 or not np.isfinite(design).all():
        raise DataError(f"a design X of shape {design.shape}", "a finite (rows, terms) matrix")
    fixed = np.zeros(len(design)) if offset is None else np.asarray(offset, dtype=np.float64)
    if fixed.shape != (len(design),) or not np.isfinite(fixed).all():
        raise DataError(f"an offset of shape {fixed.shape}", f"{len(design)} finite numbers")
    return design, fixed


def check_index(rows: ArrayLike | None, n_rows: int) -> NDArray[np.intp]:
    if rows is None:
        return np.arange(n_rows)
    index = np.asarray(rows)
    if index.ndim != 1 or index.size == 0 or index.dtype.kind not in "iu":
        raise DataError(f"rows of shape {index.shape} and type {index.dtype}", "integers")
    if index.min() < 0 or index.max() >= n_rows:
        raise DataError(f"rows from {index.min()} to {index.max()}", f"0 to {n_rows - 1}")
    return index.astype(np.intp)


def check_weights(weights: ArrayLike | None, n: int) -> Floats:
    weight = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if weight.shape != (n,):
        raise DataError(f"weights of shape {weight.shape}", f"({n},), one for each row")
    if not np.isfinite(weight).all() or (weight < 0.0).any() or not weight.any():
        raise DataError(
            f"weights from {weight.min()} to {weight.max()}", "finite, not negative, not all zero"
        )
    return weight


def check_draws(name: str, values: ArrayLike, shape: tuple[int, int] | None) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or (shape is not None and array.shape != shape):
        raise DataError(f"{name} of shape {array.shape}", f"{shape or '(draws, terms)'}")
    if not np.isfinite(array).all():
        raise DataError(f"{name} with values that aren't finite", "finite numbers")
    return array


def _check_rank(scaled: Floats) -> None:
    triangle, pivots = qr(scaled, mode="r", pivoting=True)
    diagonal = np.abs(np.diag(triangle))
    limit = max(scaled.shape) * np.finfo(np.float64).eps * max(diagonal[0], 1.0)
    rank = int((diagonal > limit).sum())
    if rank < scaled.shape[1]:
        dependent = ", ".join(str(column) for column in sorted(pivots[rank:]))
        raise DataError(
            f"columns {dependent} of X are linear combinations of the others over these rows:"
            f" rank {rank}, {scaled.shape[1]} columns",
            remedy="leave them out, or project over a design in which they differ",
        )
