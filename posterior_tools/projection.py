"""Population-averaged coefficients by projection and by least squares, with their misfit."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from popavg.errors import DataError
from popavg.families import Family
from popavg.links import Link, get_link
from popavg.posterior_tools._projector import Observations, Projector
from popavg.posterior_tools._rows import (
    Basis,
    blocks,
    check_draws,
    check_index,
    check_rows,
    check_weights,
)
from popavg.posterior_tools._scoring import compiled_rows, over_draws, plain, plain_rows
from popavg.posterior_tools._solver_kernels import Rows, compare
from popavg.posterior_tools.working_correlation import ClusterLayout, WorkingCorrelation

__all__ = ["least_squares", "misfit", "project", "unique_rows"]

Floats = NDArray[np.float64]


def unique_rows(*columns: ArrayLike) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Find the distinct rows of some columns, so that each is computed once.

    Parameters
    ----------
    *columns : array_like, shape (rows,) or (rows, k)
        Everything that tells rows apart: X, offset, random-effect design.

    Returns
    -------
    first : ndarray of int, shape (unique,)
        Where each distinct row occurs first.
    inverse : ndarray of int, shape (rows,)
        The distinct row each row is; what `project` calls ``rows``.
    counts : ndarray of int, shape (unique,)
        How often each occurs; weights of the distinct rows.

    Raises
    ------
    DataError
        No columns, or columns of different lengths.

    Examples
    --------
    >>> from popavg.posterior_tools.projection import unique_rows
    >>> first, inverse, counts = unique_rows([[1.0, 0.0], [1.0, 2.0], [1.0, 0.0]])
    >>> first.tolist(), inverse.tolist(), counts.tolist()
    ([0, 1], [0, 1, 0], [2, 1])
    """
    arrays = [np.asarray(column, dtype=np.float64) for column in columns]
    tables = [a[:, None] if a.ndim == 1 else a for a in arrays]
    if len({len(table) for table in tables}) != 1 or any(t.ndim != 2 for t in tables):
        raise DataError(
            f"columns of shapes {[a.shape for a in arrays]}", "one or two axes and equal lengths"
        )
    _, first, inverse, counts = np.unique(
        np.hstack(tables), axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    return first, inverse.ravel(), counts


def project(
    predictor: ArrayLike,
    X: ArrayLike,
    link: Link | str,
    *,
    offset: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    rows: ArrayLike | None = None,
    correlation: WorkingCorrelation | None = None,
    layout: ClusterLayout | None = None,
    family: Family | None = None,
    start: ArrayLike | None = None,
) -> Floats:
    """Solve a GEE's estimating equation with the population means in place of the data.

    Parameters
    ----------
    predictor : array_like, shape (draws, rows)
        The population means on the link's scale, g(pi): ``marginal_mean(..., scale="link")``.
        On this scale both tails keep their digits.
    X : array_like, shape (rows, terms)
        The marginal model's design, of full column rank.
    link : Link or str
        The link g.
    offset : array_like, shape (rows,), optional
        Known part of the marginal predictor.
    weights : array_like, shape (observations,), optional
        Trials times the user's weights. A row of weight 0 says nothing, but still counts as a
        member of its cluster.
    rows : array_like of int, shape (observations,), optional
        Where rows repeat: the row (of ``predictor``, ``X``, ``offset``) of each observation,
        as `unique_rows` returns it. By default each row is one observation.
    correlation : WorkingCorrelation, optional
        The working correlation R of a cluster's observations; independence by default.
    layout : ClusterLayout, optional
        The observations' clusters; needed with a correlation.
    family : Family, optional
        Whose variance function weighs the rows; the link's own by default. With a link of
        probabilities it is mean times complement, computed from their logs.
    start : array_like, shape (draws, terms), optional
        Where to start; `least_squares` by default.

    Returns
    -------
    ndarray, shape (draws, terms)
        beta~ of each draw.

    Raises
    ------
    DataError
        Shapes that don't agree, values that aren't finite, weights that are negative or all
        zero, linearly dependent columns of X.
    SpecificationError
        A correlation without a layout, or an unknown link.
    ConvergenceError
        Some draws didn't arrive within 100 iterations.

    Notes
    -----
    Solves sum_i D_i' V_i^{-1} (pi_i - mu_i(beta~)) = 0 with mu = g^{-1}(X beta~ + offset),
    D = d mu/d beta~, V_i = A_i^{1/2} R_i A_i^{1/2}/weights: what a GEE with this working
    correlation converges to when pi is the truth (Liang and Zeger 1986; White 1982). Fisher
    scoring, halving a step that doesn't bring the score down.

    Existence and uniqueness of a solution aren't guaranteed under working correlations other
    than independence: the equation is then in general not the gradient of an objective.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.posterior_tools.projection import project
    >>> x = np.array([[1.0, 0.0], [1.0, 1.0]])  # as many terms as rows: reproduced exactly
    >>> project(np.array([[-1.0, 2.0]]), x, "logit").round(10).tolist()
    [[-1.0, 3.0]]
    """
    target, design, fixed = check_rows(predictor, X, offset)
    index = check_index(rows, len(design))
    weight = check_weights(weights, len(index))
    observations = Observations(index, weight, correlation, layout)
    projector = Projector.build(get_link(link), family, (design, fixed), observations)
    if start is not None:
        start = check_draws("start", start, (len(target), design.shape[1]))
    return projector(target, start=start)


def least_squares(
    predictor: ArrayLike,
    X: ArrayLike,
    *,
    offset: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Floats:
    """Regress the population means, on the link's scale, on X.

    Parameters
    ----------
    predictor : array_like, shape (draws, rows)
        The population means on the link's scale, g(pi).
    X : array_like, shape (rows, terms)
        The marginal model's design, of full column rank.
    offset : array_like, shape (rows,), optional
        Known part of the marginal predictor.
    weights : array_like, shape (rows,), optional
        Weight of each row; counts where rows were collapsed.

    Returns
    -------
    ndarray, shape (draws, terms)
        (X'WX)^{-1} X'W (g(pi) - offset) of each draw.

    Raises
    ------
    DataError
        As `project`.

    Notes
    -----
    Hedeker, du Toit, Demirtas and Gibbons (2018, Biometrics 74:354), as in GLMMadaptive and
    brmsmargins. It gives rows in the tails the weight of rows at one half, so it isn't what a
    GEE estimates; use `project` to compare with one.

    Examples
    --------
    >>> from popavg.posterior_tools.projection import least_squares
    >>> least_squares([[0.0, 1.0, 4.0]], [[1.0], [1.0], [1.0]], weights=[1, 1, 2]).tolist()
    [[2.25]]
    """
    target, design, fixed = check_rows(predictor, X, offset)
    weight = check_weights(weights, len(design))
    basis = Basis.build(design, weight)
    return basis.coefficients(basis.regress(target, weight, fixed))


def misfit(
    predictor: ArrayLike,
    X: ArrayLike,
    coefficients: ArrayLike,
    link: Link | str,
    *,
    offset: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Floats:
    """How far the population's means are from the marginal model's form.

    Parameters
    ----------
    predictor : array_like, shape (draws, rows)
        The population means on the link's scale, g(pi).
    X : array_like, shape (rows, terms)
        The marginal model's design.
    coefficients : array_like, shape (draws, terms)
        beta~ of each draw.
    link : Link or str
        The link.
    offset : array_like, shape (rows,), optional
        Known part of the marginal predictor.
    weights : array_like, shape (rows,), optional
        Weight of each row in the mean square; a row of weight 0 isn't looked at.

    Returns
    -------
    ndarray, shape (draws, 4)
        Of pi - g^{-1}(X beta~ + offset), on the scale of the mean: the largest in absolute value,
        the root mean square, the row of the largest, and pi there.

    Raises
    ------
    DataError
        As `project`.

    Examples
    --------
    >>> from popavg.posterior_tools.projection import misfit
    >>> misfit([[0.0, 2.0]], [[1.0], [1.0]], [[1.0]], "identity").tolist()
    [[1.0, 1.0, 0.0, 0.0]]
    """
    chosen = get_link(link)
    target, design, fixed = check_rows(predictor, X, offset)
    weight = check_weights(weights, len(design))
    beta = check_draws("coefficients", coefficients, (len(target), design.shape[1]))
    out = np.empty((len(target), 4))
    rows = compiled_rows(chosen, None, design, fixed=fixed, weight=weight)
    if rows is None:
        _compare(chosen, (target, beta, out), (design, fixed, weight))
    else:
        _compare_compiled(rows, target, beta, out)
    return out


def _compare_compiled(rows: Rows, target: Floats, beta: Floats, out: Floats) -> None:
    rows, target, beta = plain_rows(rows), plain(target), plain(beta)
    over_draws(len(target), target.shape[1], lambda s: compare(rows, target[s], beta[s], out[s]))


def _compare(
    link: Link, draws: tuple[Floats, Floats, Floats], rows: tuple[Floats, Floats, Floats]
) -> None:
    """The same in NumPy, for links that the kernels don't know."""
    (target, beta, out), (design, fixed, weight) = draws, rows
    for block in blocks(len(target), len(design)):
        mean = link.inverse(target[block])
        gap = np.abs(mean - link.inverse(beta[block] @ design.T + fixed))
        worst = np.where(weight > 0.0, gap, -1.0).argmax(axis=1)[:, None]
        out[block, 0] = np.take_along_axis(gap, worst, 1)[:, 0]
        out[block, 1] = np.sqrt(gap**2 @ (weight / weight.sum()))
        out[block, 2] = worst[:, 0]
        out[block, 3] = np.take_along_axis(mean, worst, 1)[:, 0]
