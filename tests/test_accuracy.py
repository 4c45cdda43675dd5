"""The error of the integrals that a fit records."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from popavg.errors import ConvergenceError
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.integrated_draws import IntegratedDraws
from popavg.posterior_tools.integrated_likelihood import quadrature_error
from popavg.workflows import accuracy
from popavg.workflows.problem import Problem, problem_of_formula

MakeFit = Callable[..., xr.DataTree]

FITS: dict[str, tuple[str, str]] = {
    "intercept": ("y ~ x + (1 | g)", "logit"),
    "slopes": ("y ~ x + (1 + x | g)", "probit"),
    "gaussian": ("value ~ x + (1 | g)", "identity"),
}


def read(formula: str, data: pd.DataFrame, link: str) -> Problem:
    return problem_of_formula(
        formula, data, link, priors=None, parametrization="noncentered", missing="error", keep=()
    )


def with_sigma(fit: xr.DataTree) -> xr.Dataset:
    posterior = fit["posterior"].to_dataset()
    ones = np.ones((posterior.sizes["chain"], posterior.sizes["draw"]))
    return posterior.assign(sigma=(("chain", "draw"), ones))


@pytest.mark.parametrize("name", ["intercept", "slopes"])
def test_it_is_the_largest_of_three_draws(
    name: str, make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    formula, link = FITS[name]
    fit = make_fit(formula, frame, link, shape=(2, 6))
    found = accuracy.largest_quadrature_error(
        read(formula, frame, link), fit["posterior"].to_dataset()
    )
    draws = IntegratedDraws.read(Posterior.from_fit(fit))
    sizes = [float(np.linalg.norm(root)) for root in draws.root]
    order = np.argsort(sizes)
    outcomes = draws.integrated.outcomes
    expected = [
        quadrature_error(outcomes, draws.integrated.predictor(draws.beta[d]), draws.root[d]).total
        for d in (order[0], order[6], order[-1])
    ]
    assert found == pytest.approx(max(expected), rel=1e-2)
    assert 0 < found < 1e-6


def test_gaussian_integrals_have_none(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    formula, link = FITS["gaussian"]
    posterior = with_sigma(make_fit(formula, frame, link))
    assert accuracy.largest_quadrature_error(read(formula, frame, link), posterior) == 0


def test_what_fails_is_infinite(
    make_fit: MakeFit, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fit that took an hour isn't lost because its error can't be told."""

    def fails(*_: object, **__: object) -> None:
        raise ConvergenceError("no", "yes")

    monkeypatch.setattr(accuracy, "quadrature_error", fails)
    formula, link = FITS["intercept"]
    posterior = make_fit(formula, frame, link)["posterior"].to_dataset()
    assert accuracy.largest_quadrature_error(read(formula, frame, link), posterior) == np.inf
