"""Parameters of the integrated likelihood: what is refused, and how the work is shared."""

from __future__ import annotations

import numpy as np
import pytest

from popavg.bridge_logit import BridgeLogit
from popavg.errors import ConvergenceError, SpecificationError
from popavg.links import Link
from popavg.posterior_tools import integrated_parameters
from popavg.posterior_tools._integrated_kernels import Setting
from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes
from popavg.posterior_tools.integrated_likelihood import (
    log_likelihood,
    quadrature_error,
    value_and_gradient,
)
from popavg.posterior_tools.integrated_parameters import Integrals, Parameters


def two_rows(link: str) -> ClusteredOutcomes:
    return ClusteredOutcomes.build([0, 1], [0, 0], row=[0, 1], Z=np.ones((2, 1)), link=link)


def test_draws_are_single_draws_whatever_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    n = 15_000
    outcomes = ClusteredOutcomes.build(
        rng.integers(0, 2, n), np.arange(n) // 3, row=np.arange(n), Z=np.ones((n, 1)), link="logit"
    )
    assert len(outcomes.pieces) > 2
    eta, roots = rng.normal(size=(3, n)), np.array([0.5, 1.0, 4.0])[:, None, None]
    many = value_and_gradient(outcomes, eta, roots)
    assert many.root.shape == (3, 1, 1)
    values = log_likelihood(outcomes, eta, roots)
    for threads in (1, 5):
        monkeypatch.setattr(integrated_parameters, "cpus", lambda count=threads: count)
        for d in range(3):
            one = value_and_gradient(outcomes, eta[d], roots[d])
            assert one.value == many.value[d]
            np.testing.assert_array_equal(one.eta, many.eta[d])
            np.testing.assert_array_equal(one.root, many.root[d])
            np.testing.assert_array_equal(log_likelihood(outcomes, eta[d], roots[d]), values[d])


@pytest.mark.parametrize("axis", [False, True])
def test_the_only_draw_has_its_clusters_shared(axis: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it comes with an axis of draws, as the points of a climb do."""
    n = 15_000
    outcomes = ClusteredOutcomes.build(
        np.arange(n) % 2, np.arange(n) // 3, row=np.arange(n), Z=np.ones((n, 1)), link="logit"
    )
    seen: list[tuple[int, int]] = []
    kernel = Parameters._kernel

    def noted(self: Parameters, some: slice, setting: Setting, found: Integrals) -> None:
        seen.append((setting.first, setting.last))
        kernel(self, some, setting, found)

    monkeypatch.setattr(Parameters, "_kernel", noted)
    eta, root = np.linspace(-1.0, 1.0, n), np.array([[1.5]])
    if axis:
        eta, root = eta[None], root[None]
    value_and_gradient(outcomes, eta, root)
    log_likelihood(outcomes, eta, root)
    assert sorted(seen) == sorted(2 * outcomes.pieces)


@pytest.mark.parametrize(
    ("eta", "root", "sigma", "message"),
    [
        ([0.0], [[1.0]], None, r"eta has the shape \(1,\)"),
        ([0.0, 0.0], [1.0], None, r"root \(1,\)"),
        ([0.0, np.nan], [[1.0]], None, "eta has values that aren't finite"),
        ([0.0, 0.0], [[np.inf]], None, "root has values that aren't finite"),
        ([0.0, 0.0], [[2e4]], None, "standard deviation times its covariate is 20000"),
        ([0.0, 0.0], [[1.0]], 1.0, "sigma came with bernoulli outcomes"),
    ],
)
def test_parameters_are_checked(
    eta: list[float], root: list[list[float]], sigma: float | None, message: str
) -> None:
    outcomes = two_rows("logit")
    with pytest.raises(SpecificationError, match=message):
        log_likelihood(outcomes, eta, root, sigma=sigma)


def test_more_checks() -> None:
    Z = [[1.0, 0.5], [1.0, -0.5]]
    outcomes = ClusteredOutcomes.build([0, 1], [0, 0], row=[0, 1], Z=Z, link="logit")
    with pytest.raises(SpecificationError, match="isn't lower triangular"):
        log_likelihood(outcomes, [0.0, 0.0], np.ones((2, 2)))
    with pytest.raises(SpecificationError, match="several draws"):
        quadrature_error(outcomes, np.zeros((2, 2)), np.zeros((2, 2, 2)))
    normal = ClusteredOutcomes.build(
        [0.5], [0], row=[0], Z=[[1.0]], link="identity", family="gaussian"
    )
    for sigma, message in ((None, "no sigma"), (0.0, "sigma is 0"), ([1.0], "sigma has the shape")):
        with pytest.raises(SpecificationError, match=message):
            log_likelihood(normal, [0.0], [[1.0]], sigma=sigma)


def test_what_cannot_be_computed_is_an_error() -> None:
    outcomes = ClusteredOutcomes.build([0], [0], row=[0], Z=[[1.0]], link="log", family="poisson")
    with pytest.raises(ConvergenceError, match="1 of 1 distinct clusters"):
        log_likelihood(outcomes, [1e8], [[1.0]])


def test_what_one_draw_gives() -> None:
    """Gradients where they are wanted alone; one draw has an axis of draws within."""
    parameters = Parameters.read(two_rows("probit"), [0.3, -0.2], [[2.0]], None)
    assert not parameters.many
    assert parameters.eta.shape == (1, 2)
    value, gradient = parameters.integrate(0), parameters.integrate(0, want=True)
    assert value.value == pytest.approx(gradient.value, abs=1e-12)
    assert value.eta.size == 0
    assert gradient.eta.shape == (2,)
    assert 0.0 < value.error[0] < 2e-9
    fine = parameters.integrate(0, finer=0.5, wider=10.0)
    assert fine.error[0] < 1e-3 * value.error[0]


@pytest.mark.parametrize(
    ("link", "family", "effects"),
    [
        ("logit", "bernoulli", 1),
        (BridgeLogit(), "bernoulli", 1),
        ("probit", "bernoulli", 1),
        ("log", "poisson", 1),
        ("identity", "gaussian", 1),
        ("logit", "bernoulli", 2),
        ("cloglog", "bernoulli", 2),
        ("identity", "gaussian", 2),
    ],
)
def test_many_draws_at_once_are_those_one_by_one(
    link: str | Link, family: str, effects: int
) -> None:
    """To the bit: how draws are shared among threads must not show."""
    rng = np.random.default_rng(5)
    y, cluster = rng.integers(0, 2, 40), rng.integers(0, 6, 40)
    Z = np.column_stack([np.ones(40), rng.normal(size=40)])[:, :effects]
    outcomes = ClusteredOutcomes.build(y, cluster, row=np.arange(40), Z=Z, link=link, family=family)
    eta, scales = rng.normal(size=(5, 40)), rng.uniform(0.2, 4.0, 5)
    root = np.tril(rng.uniform(0.1, 2.0, (5, effects, effects)))
    sigma = scales if family == "gaussian" else None
    parameters = Parameters.read(outcomes, eta, root, sigma)
    one_by_one = np.stack([parameters.integrate(d).value for d in range(5)])
    assert len(np.unique(one_by_one)) == one_by_one.size
    np.testing.assert_array_equal(parameters.together(slice(0, 5)).value, one_by_one)
    np.testing.assert_array_equal(parameters.together(slice(2, 4)).value, one_by_one[2:4])


def test_a_second_effect_of_nothing() -> None:
    parameters = Parameters.read(
        two_rows("logit"), np.zeros((3, 2)), [[[1.0]], [[2.0]], [[3.0]]], None
    )
    data, root = parameters.as_planes(slice(1, 3))
    np.testing.assert_array_equal(data.Z, [[1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_array_equal(root, [[[2.0, 0.0], [0.0, 0.0]], [[3.0, 0.0], [0.0, 0.0]]])


def test_gaussian_outcomes_with_a_second_effect_of_nothing() -> None:
    rng = np.random.default_rng(6)
    y, cluster, eta = rng.normal(size=30), rng.integers(0, 5, 30), rng.normal(size=30)
    found = []
    for effects in (1, 2):
        Z = np.column_stack([np.ones(30), rng.normal(size=30)])[:, :effects]
        outcomes = ClusteredOutcomes.build(
            y, cluster, row=np.arange(30), Z=Z, link="identity", family="gaussian"
        )
        root = np.zeros((effects, effects))
        root[0, 0] = 0.7
        found.append(value_and_gradient(outcomes, eta, root, sigma=1.3))
    assert found[0].value == pytest.approx(found[1].value, rel=1e-13)
    np.testing.assert_allclose(found[0].eta, found[1].eta, rtol=1e-12)
    assert np.asarray(found[0].root)[0, 0] == pytest.approx(np.asarray(found[1].root)[0, 0])
