"""Parameters from a model's prior, and outcomes from the model, on the same design."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popavg.design import Design, GroupDesign
from popavg.errors import DataError
from popavg.links import Link
from popavg.mixing import NORMAL
from popavg.models.prior_draws import prior_draws
from popavg.response import Response, read_form
from popavg.workflows.problem import Problem

__all__ = ["Simulated", "simulate", "with_frame"]

type Floats = NDArray[np.float64]

#: Means of counts from which on a count isn't a whole number any more, as floats go.
LARGEST_MEAN = 1e15


@dataclass(frozen=True, eq=False)
class Simulated:
    """One simulated data set.

    Attributes
    ----------
    problem : Problem
        The model with the simulated outcomes.
    truth : xarray.Dataset
        The parameters they come from, ``u_<g>`` of all clusters included; one chain of one draw.
    """

    problem: Problem
    truth: xr.Dataset


def simulate(problem: Problem, rng: np.random.Generator) -> Simulated:
    """Draw parameters from the prior, clusters' effects and outcomes from the model.

    Parameters
    ----------
    problem : Problem
        Design and priors; its outcomes aren't used.
    rng : numpy.random.Generator
        Where all of it comes from.

    Returns
    -------
    Simulated

    Raises
    ------
    DataError
        Outcomes too large for floating-point numbers.
    """
    design, link = problem.design, problem.link
    truth = prior_draws(design, link, problem.priors, draws=1, seed=rng)
    matrices = design.matrices
    eta = matrices.X @ truth["beta"].to_numpy()[0, 0] + matrices.offset
    for group in matrices.groups:
        u = _effects(group, truth, link, rng)
        eta = eta + (group.Z * u[group.index]).sum(axis=1)
        dims = ("chain", "draw", group.name, f"effect_{group.name}")
        truth[f"u_{group.name}"] = (dims, u[None, None])
        truth = truth.assign_coords({group.name: list(group.levels)})
    y = _outcomes(problem, eta, truth, rng)
    response = replace(design.response, y=y.astype(np.float64))
    return Simulated(replace(problem, design=replace(design, response=response)), truth)


def _effects(group: GroupDesign, truth: xr.Dataset, link: Link, rng: np.random.Generator) -> Floats:
    """Effects of all clusters, shape (clusters, effects)."""
    sd = truth[f"sd_{group.name}"].to_numpy()[0, 0]
    z = rng.standard_normal((len(group.levels), len(sd)))
    if link.mixing.name != NORMAL.name:
        return link.mixing.effect(z, sd)
    if f"corr_{group.name}" in truth:
        z = z @ np.linalg.cholesky(truth[f"corr_{group.name}"].to_numpy()[0, 0]).T
    return z * sd


def _outcomes(
    problem: Problem, eta: Floats, truth: xr.Dataset, rng: np.random.Generator
) -> NDArray[np.float64] | NDArray[np.int64]:
    family = problem.family.name
    if family == "gaussian":
        return rng.normal(eta, float(truth["sigma"].to_numpy()[0, 0]))
    if family == "poisson":
        with np.errstate(over="ignore"):
            mean = np.exp(eta)
        if not (mean < LARGEST_MEAN).all():
            raise DataError(
                f"the prior gave counts with a mean of {mean.max():.3g}",
                f"means below {LARGEST_MEAN:g}",
                "look at the priors with pa.prior_check",
            )
        return rng.poisson(mean)
    trials = problem.design.response.trials
    return rng.binomial(1 if trials is None else trials.astype(np.int64), problem.link.inverse(eta))


def with_frame(original: Design, simulated: Design) -> Design:
    """The simulated design with its outcomes in the frame too, coded as the original's are.

    Parameters
    ----------
    original : Design
        With outcomes that vary.
    simulated : Design
        The same with other outcomes.

    Returns
    -------
    Design
    """
    name = read_form(original.formula.response).column
    column, frame = original.frame[name], simulated.frame.copy()
    if original.response.trials is None and original.response.event is not None:
        frame[name] = _coded(column, original.response, simulated.response)
    else:
        frame[name] = pd.Series(simulated.response.y, index=frame.index)
    return replace(simulated, frame=frame)


def _coded(column: pd.Series, original: Response, simulated: Response) -> pd.Series:
    """Events and non-events by the original's own words for them."""
    event, other = (column[original.y == value].iloc[0] for value in (1.0, 0.0))
    values = [event if y == 1.0 else other for y in simulated.y]
    return pd.Series(values, index=column.index, dtype=column.dtype)
