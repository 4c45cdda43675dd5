"""How exact the integrals behind a fit's draws are, found by refinement."""

from __future__ import annotations

import numpy as np
import xarray as xr

from popavg.errors import PopavgError
from popavg.posterior_tools.integrated_design import IntegratedDesign, lower_roots
from popavg.posterior_tools.integrated_likelihood import quadrature_error
from popavg.workflows.problem import Problem

__all__ = ["largest_quadrature_error"]


def largest_quadrature_error(problem: Problem, posterior: xr.Dataset) -> float:
    """Largest error of the integrated log-likelihood over draws from small effects to large ones.

    Parameters
    ----------
    problem : Problem
        The model and its data; one grouping factor with one or two random effects.
    posterior : xarray.Dataset
        Draws of ``beta``, ``sd_<g>``, ``corr_<g>``, ``sigma``.

    Returns
    -------
    float
        Of the total, without sign: the rule against one with half the step and a wider range.
        Infinite where one of them can't be computed.

    Notes
    -----
    Looked at where the standard deviations are smallest, in the middle, and largest: the rules'
    nodes grow with them.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.workflows.accuracy import largest_quadrature_error
    >>> from popavg.workflows.problem import problem_of_formula
    >>> formula = "y ~ treatment * time + (1 | patient)"
    >>> problem = problem_of_formula(formula, pa.load_dataset("toenail"), "logit", priors=None,
    ...                              parametrization="noncentered", missing="error", keep=())
    >>> posterior = pa.load_example()["posterior"].to_dataset()
    >>> largest_quadrature_error(problem, posterior) < 1e-6
    True
    """
    integrated = IntegratedDesign.build(problem.design, problem.link, problem.family)
    group = integrated.group.name
    draws = posterior.stack(sample=("chain", "draw"), create_index=False)
    draws = draws.transpose("sample", ...)
    order = np.argsort(np.linalg.norm(draws[f"sd_{group}"].to_numpy(), axis=1))
    some = draws.isel(sample=order[[0, len(order) // 2, -1]])
    correlation = some.get(f"corr_{group}")
    rho = None if correlation is None else correlation.to_numpy()[:, 1, 0]
    root = lower_roots(some[f"sd_{group}"].to_numpy(), rho)
    eta = integrated.predictor(some["beta"].to_numpy())
    sigma = some["sigma"].to_numpy() if problem.family.has_scale else [None] * len(eta)
    try:
        return max(
            quadrature_error(integrated.outcomes, *one, sigma=scale).total
            for *one, scale in zip(eta, root, sigma, strict=True)
        )
    except PopavgError:
        return np.inf
