"""The kernels: the Python bodies against scipy.integrate, helpers, threads."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import integrate, special

from popavg.links import LINKS
from popavg.posterior_tools import quadrature

every_integral = pytest.mark.parametrize("name", quadrature.QUADRATURES)


def adaptive(function: Callable, eta: float, sd: float) -> float:
    """E function(eta + sd Z) by scipy's adaptive quadrature, in pieces of half a unit."""
    edges = np.linspace(-12, 12, 49)
    return sum(
        integrate.quad(
            lambda z: float(function(eta + sd * z)) * math.exp(-0.5 * z * z),
            *edges[k : k + 2],
            epsabs=0,
            epsrel=1e-13,
        )[0]
        for k in range(48)
    ) / math.sqrt(2 * math.pi)


@every_integral
@pytest.mark.parametrize(("eta", "sd"), [(-2.5, 0.3), (-0.2, 1.5), (0.8, 0.7), (1.6, 3.0)])
def test_against_adaptive_quadrature(name: str, eta: float, sd: float) -> None:
    log_mean, log_complement = quadrature.integrate(name, np.array([eta]), np.array([sd]))
    link = LINKS[name]
    assert_allclose(np.exp(log_mean), adaptive(link.inverse, eta, sd), rtol=1e-12)
    assert_allclose(np.exp(log_complement), adaptive(link.complement, eta, sd), rtol=1e-12)


@every_integral
def test_the_python_bodies_do_what_the_compiled_kernels_do(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same source interpreted, where a debugger and a coverage tool can follow it."""
    eta = np.array([-30.0, -4.0, -0.5, 0.0, 0.4, 2.0, 3.5, 8.0, 30.0])
    sd = np.array([0.2, 3.0, 1.0, 5.0, 0.1, 1.0, 0.01, 4.0, 2.0])
    compiled = quadrature.integrate(name, eta, sd)
    for attribute, value in list(vars(quadrature).items()):
        if hasattr(value, "py_func"):
            monkeypatch.setattr(quadrature, attribute, value.py_func)
    kernel: Any = quadrature.QUADRATURES[name]
    interpreted = np.empty((2, eta.size))
    kernel.py_func(eta, sd, *interpreted)
    assert_allclose(interpreted, compiled, rtol=1e-14)


@every_integral
def test_threads_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    eta, sd = generator.normal(0, 5, (2, 50, 401))
    sd = np.abs(sd) + 0.01
    shared = quadrature.integrate(name, eta, sd)
    monkeypatch.setattr(quadrature, "_SMALLEST_PARALLEL", 10**9)
    assert_array_equal(shared, quadrature.integrate(name, eta, sd))
    assert shared[0].shape == eta.shape


@every_integral
def test_strided_and_empty_arrays(name: str) -> None:
    eta, sd = np.linspace(-3, 3, 24).reshape(4, 6), np.full((4, 6), 1.5)
    plain = quadrature.integrate(name, eta, sd)
    turned = quadrature.integrate(name, eta.T, sd.T)
    assert_array_equal(turned[0], plain[0].T)
    assert quadrature.integrate(name, np.empty((0, 3)), np.empty((0, 3)))[0].shape == (0, 3)


@pytest.mark.parametrize("eta", [-30.0, -3.0, 0.0, 2.0, 30.0, 550.0])
@pytest.mark.parametrize("sd", [1e-8, 0.05, 1.0, 20.0])
def test_lambert(eta: float, sd: float) -> None:
    w = quadrature._lambert(eta, sd)
    assert_allclose(w, special.lambertw(sd**2 * math.exp(eta)).real, rtol=1e-14)


def test_lambert_solves_its_equation_where_exp_overflows() -> None:
    w = quadrature._lambert(2000.0, 3.0)
    assert_allclose(w + math.log(w), 2000.0 + 2 * math.log(3.0), rtol=1e-15)


@pytest.mark.parametrize("u", [-5.0, -0.11, -0.1, -0.01, -1e-9, 0.0, 1e-5, 0.0999, 0.1001, 3.0])
def test_expm1_excess(u: float) -> None:
    series = sum(u**k / math.factorial(k) for k in range(40, 1, -1))
    assert_allclose(quadrature._expm1_excess(u), series, rtol=2e-14)


def test_step_is_the_gaussian_one_until_the_pole_matters() -> None:
    assert quadrature._step(math.pi, 1e-9) == quadrature._step(math.pi, 0.3)
    assert_allclose(quadrature._step(math.pi, 20.0), 2 * math.pi**2 / 20 / 36, rtol=1e-3)


def test_beyond_the_largest_float_the_complement_is_zero() -> None:
    log_mean, log_complement = quadrature.integrate("cloglog", np.array([1e5]), np.array([1e-200]))
    assert (log_mean[0], log_complement[0]) == (0.0, -math.inf)
