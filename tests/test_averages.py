"""Population averages from the tables: against references, identities, the direct integrals."""

from __future__ import annotations

import itertools
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from popavg.errors import DataError, SpecificationError
from popavg.links import LINKS, Logit, get_link
from popavg.posterior_tools import (
    _average_kernels,
    _average_tables,
    _averaging,
    _moments,
    averages,
    integral,
    quadrature,
)
from popavg.posterior_tools.averages import AVERAGES, Average, population_average

REFERENCE = Path(__file__).parent / "reference"
TABLE = json.loads((REFERENCE / "logistic_normal.json").read_text())["points"]
POINTS = json.loads((REFERENCE / "integral_points.json").read_text())["points"]
TABULATED = list(quadrature.QUADRATURES)

every_link = pytest.mark.parametrize("name", LINKS)
every_table = pytest.mark.parametrize("name", TABULATED)
every_average = pytest.mark.parametrize("what", AVERAGES)
both_lookups = pytest.mark.parametrize("lookup", ["rows", "cells"])


def tabulated(eta: Any, sd: Any, name: str, what: Average = "mean", *, lookup: str = "rows") -> Any:
    """Averages of a few points by the tables: each point's own row, or all in one column."""
    eta, sd = np.broadcast_arrays(np.asarray(eta, float), np.asarray(sd, float))
    repeats = max(64, math.ceil(_averaging.SMALLEST_TABLE / eta.size))
    many = np.repeat(eta.ravel()[:, None], repeats, axis=1)
    spread = sd.ravel()[:, None]
    if lookup == "cells":
        spread = np.repeat(spread, repeats, axis=1)
    found = population_average(many, spread, name, what)
    assert_array_equal(found, found[:, :1] * np.ones(repeats))
    return found[:, 0].reshape(eta.shape)


def direct(eta: Any, sd: Any, name: str, what: Average) -> Any:
    """The same by the kernels that integrate each cell."""
    eta, sd = np.broadcast_arrays(np.asarray(eta, float), np.asarray(sd, float))
    return _average_tables.exact_values(get_link(name), what, eta, sd)


def assert_close(
    found: Any, expected: Any, what: Average, *, slope: Any = 0.0, error: float
) -> None:
    """Relative errors: of the link to 1 or more, of the curvature to the slope or more."""
    size = np.abs(expected)
    scale = {"link": np.maximum(size, 1.0), "curvature": np.maximum(size, slope)}.get(what, size)
    worst = np.max(np.abs(found - expected) / np.maximum(scale, 1e-290))
    assert worst <= error, f"{worst:.2e}"


def dense(name: str, seed: int) -> tuple[Any, Any]:
    """Random points over the whole table and all borders of pieces and intervals."""
    generator = np.random.default_rng(seed)
    eta = generator.uniform(-40.0, 40.0, 15_000)
    sd = np.where(
        generator.random(15_000) < 0.5,
        generator.uniform(0.0, 20.0, 15_000),
        20.0 * generator.random(15_000) ** 4,
    )
    borders = np.sqrt(_average_tables.BORDERS)
    borders = np.unique([borders, np.nextafter(borders, 0.0), np.nextafter(borders, 21.0)])
    edges = np.arange(-40.125, 40.2, 0.25)
    edges = np.concatenate([edges, np.nextafter(edges, -50.0), np.nextafter(edges, 50.0)])
    corner_eta, corner_sd = np.meshgrid(edges, borders[borders <= 20.5])
    keep = generator.random(corner_eta.shape) < 0.1
    return np.append(eta, corner_eta[keep]), np.append(sd, corner_sd[keep])


def naive(function: Any, eta: float, sd: float) -> float:
    """E function(eta + sd Z) by a plain sum, one term at a time."""
    total = 0.0
    for k in range(-1200, 1201):
        z = 0.01 * k
        total += float(function(eta + sd * z)) * math.exp(-z * z / 2) * 0.01
    return total / math.sqrt(2 * math.pi)


def precise(name: str, eta: float, sd: float) -> tuple[float, float]:
    """Slope and curvature by a dense sum in 30 digits."""
    with mpmath.workdps(30):
        slope = curvature = mpmath.mpf(0)
        step = min(mpmath.mpf("0.1"), mpmath.mpf(1) / (8 * mpmath.mpf(sd)))
        reach = 13 + min(3 * sd, 3 * abs(eta) / sd)
        for k in range(-int(reach / step), int(reach / step) + 1):
            x, weight = eta + mpmath.mpf(sd) * k * step, mpmath.exp(-((k * step) ** 2) / 2)
            if name == "logit":
                first = mpmath.exp(-abs(x)) / (1 + mpmath.exp(-abs(x))) ** 2
                factor = -mpmath.tanh(x / 2)
            else:
                hazard = mpmath.exp(x) if x < 12 else mpmath.mpf(10) ** 5
                first, factor = hazard * mpmath.exp(-hazard), 1 - hazard
            slope += weight * first
            curvature += weight * first * factor
        scale = step / mpmath.sqrt(2 * mpmath.pi)
        return float(slope * scale), float(curvature * scale)


@both_lookups
@every_table
def test_table_of_20_digits(name: str, lookup: str) -> None:
    eta, sd, p, _, predictor = np.array(TABLE[name], dtype=float).T
    assert_allclose(tabulated(eta, sd, name, "mean", lookup=lookup), p, rtol=1e-11)
    assert_close(tabulated(eta, sd, name, "link", lookup=lookup), predictor, "link", error=1e-11)


@both_lookups
@every_table
def test_own_points_over_the_corners(name: str, lookup: str) -> None:
    eta, sd, log_mean, _ = np.array(POINTS[name], dtype=float).T
    normal = log_mean > -690.0
    found = tabulated(eta[normal], sd[normal], name, "mean", lookup=lookup)
    assert_allclose(np.log(found), log_mean[normal], rtol=0, atol=1e-11)


@both_lookups
@pytest.mark.parametrize("sd", [0.05, 0.4, 1.0, 1.7, 2.5, 4.0, 6.0])
def test_pirjol_identities(sd: float, lookup: str) -> None:
    """Pirjol 2013, J. Comput. Appl. Math. 237:460: exact at eta = -k sd^2."""
    t = sd**2
    exact = [
        0.5 * math.exp(-t / 2),
        math.exp(-3 * t / 2) - 0.5 * math.exp(-2 * t),
        0.5 * math.exp(-9 * t / 2) - math.exp(-4 * t) + math.exp(-5 * t / 2),
    ]
    assert_allclose(
        tabulated([-t, -2 * t, -3 * t], sd, "logit", "mean", lookup=lookup), exact, rtol=1e-11
    )


@pytest.mark.parametrize(
    ("eta", "sd"),
    [
        (-3, 0.1),
        (-38, 2),
        (-20, 9),
        (0, 0.02),
        (2.5, 0.3),
        (5, 0.2),
        (4, 2),
        (1, 4),
        (7, 3),
        (30, 12),
    ],
)
@every_table
def test_derivatives_in_30_digits(name: str, eta: float, sd: float) -> None:
    slope, curvature = precise(name, eta, sd)
    for found in (population_average, tabulated):
        assert_allclose(found(eta, sd, name, "slope"), slope, rtol=1e-11)
        assert_close(
            found(eta, sd, name, "curvature"), curvature, "curvature", slope=slope, error=1e-11
        )


@every_link
@pytest.mark.parametrize(("eta", "sd"), [(-1.3, 0.4), (0.0, 1.0), (0.9, 1.5)])
def test_naive_twin(name: str, eta: float, sd: float) -> None:
    link = LINKS[name]
    mean = naive(link.inverse, eta, sd)
    slope, curvature = naive(link.derivative, eta, sd), naive(link.second_derivative, eta, sd)
    expected = {"mean": mean, "link": link.link(mean), "slope": slope, "curvature": curvature}
    for what in AVERAGES:
        for found in (population_average, tabulated):
            assert_allclose(found(eta, sd, name, what), expected[what], rtol=1e-10, atol=1e-11)


@every_average
@every_table
def test_dense_against_the_direct_integrals(name: str, what: Average) -> None:
    eta, sd = dense(name, 5)
    expected, slope = direct(eta, sd, name, what), direct(eta, sd, name, "slope")
    assert_close(population_average(eta, sd, name, what), expected, what, slope=slope, error=2e-11)


@every_average
@every_table
def test_rows_and_cells_agree(name: str, what: Average) -> None:
    generator = np.random.default_rng(8)
    eta, sd = generator.normal(-2, 4, (300, 70)), generator.uniform(0, 6, (300, 1))
    by_row = population_average(eta, sd, name, what)
    by_cell = population_average(eta, np.repeat(sd, 70, axis=1), name, what)
    assert_close(by_row, by_cell, what, slope=direct(eta, sd, name, "slope"), error=1e-13)
    assert_close(
        by_row, direct(eta, sd, name, what), what, slope=direct(eta, sd, name, "slope"), error=2e-11
    )


@both_lookups
@every_average
@every_table
def test_no_spread_is_the_link_itself(name: str, what: Average, lookup: str) -> None:
    link, eta = LINKS[name], np.linspace(-45, 6, 205)
    own = {
        "mean": link.inverse(eta),
        "link": eta,
        "slope": link.derivative(eta),
        "curvature": link.second_derivative(eta),
    }
    found = tabulated(eta, 0.0, name, what, lookup=lookup)
    assert_close(found, own[what], what, slope=own["slope"], error=1e-11)
    assert_close(
        population_average(eta, 0.0, name, what), own[what], what, slope=own["slope"], error=1e-14
    )


@pytest.mark.parametrize("what", ["mean", "link", "slope", "curvature"])
def test_logit_symmetry(what: Average) -> None:
    generator = np.random.default_rng(2)
    eta, sd = generator.uniform(-45, 45, 8000), generator.uniform(0, 22, 8000)
    found, turned = (population_average(sign * eta, sd, "logit", what) for sign in (1, -1))
    if what == "mean":
        assert_allclose(found + turned, 1.0, rtol=1e-11)
    else:
        assert_allclose(found, turned if what == "slope" else -turned, rtol=1e-10, atol=1e-12)


@every_table
@settings(max_examples=25)
@given(st.floats(-39.0, 30.0), st.floats(0.01, 8.0), st.floats(0.0, 20.0))
def test_integrals_of_the_derivatives(name: str, start: float, width: float, sd: float) -> None:
    """Gauss-Legendre of slope and curvature gives back mean and slope, across all borders."""
    nodes, weights = np.polynomial.legendre.leggauss(64)
    pieces = np.linspace(start, start + width, 65)
    half = 0.5 * np.diff(pieces)[:, None]
    eta = pieces[:-1, None] + half * (nodes + 1.0)
    for derivative, function in (("slope", "mean"), ("curvature", "slope")):
        area = float((population_average(eta, sd, name, derivative) * half) @ weights @ np.ones(64))
        low, high = tabulated(pieces[[0, -1]], sd, name, function)
        assert_allclose(high - low, area, rtol=1e-10, atol=2e-11 * max(abs(low), abs(high)))


@every_table
@settings(max_examples=25)
@given(st.floats(-30.0, 30.0), st.floats(0.3, 15.0))
def test_heat_equation(name: str, eta: float, sd: float) -> None:
    """d mean / d v = curvature / 2, by a difference of the eighth order in v."""
    v, step = sd**2, 0.02 * min(1.0, sd**2)
    weights = np.array([1 / 280, -4 / 105, 1 / 5, -4 / 5, 0, 4 / 5, -1 / 5, 4 / 105, -1 / 280])
    means = tabulated(np.full(9, eta), np.sqrt(v + step * np.arange(-4, 5)), name)
    slope, curvature = (float(tabulated(eta, sd, name, w)) for w in ("slope", "curvature"))
    scale = abs(curvature) + slope + 1e-5 * float(means[4]) / step
    assert abs(float(weights @ means) / step - 0.5 * curvature) <= 1e-5 * scale


@every_table
@settings(max_examples=25)
@given(st.floats(-20.0, 10.0), st.floats(0.1, 5.0))
def test_stein_identity(name: str, eta: float, sd: float) -> None:
    """E[g^-1(eta + sd Z) Z] = sd E[(g^-1)'(eta + sd Z)]."""
    z = np.linspace(-12.0, 12.0, 24_001)
    weights = np.exp(-0.5 * z * z) * (z[1] - z[0]) / math.sqrt(2 * math.pi)
    left = float(np.sum(LINKS[name].inverse(eta + sd * z) * z * weights))
    mean, slope = (float(tabulated(eta, sd, name, what)) for what in ("mean", "slope"))
    assert_allclose(left, sd * slope, rtol=1e-9, atol=1e-13 * max(mean, 1e-3))


@every_average
@every_table
def test_continuous_across_borders(name: str, what: Average) -> None:
    border = np.sqrt(_average_tables.BORDERS[1:-1])
    eta = np.linspace(-39.9, 8.0, border.size)
    below, above = (
        tabulated(eta, np.nextafter(border, to), name, what, lookup="cells") for to in (0.0, 30.0)
    )
    slope = direct(eta, border, name, "slope")
    assert_close(below, above, what, slope=slope, error=2e-11)
    edge = np.arange(-39.875, 6.0, 0.25)
    below, above = (tabulated(np.nextafter(edge, to), 1.3, name, what) for to in (-50.0, 50.0))
    assert_close(below, above, what, slope=direct(edge, 1.3, name, "slope"), error=2e-11)


@both_lookups
@every_average
@every_table
def test_beyond_the_tables_each_cell_is_integrated(name: str, what: Average, lookup: str) -> None:
    eta = np.array([-3000.0, -60.0, -40.2, 40.2, 70.0, 0.3, 41.0])
    sd = np.array([2.0, 0.5, 3.0, 6.0, 25.0, 21.0, 0.0])
    assert_array_equal(tabulated(eta, sd, name, what, lookup=lookup), direct(eta, sd, name, what))


def test_far_tails_keep_their_logarithm() -> None:
    eta = np.linspace(-5000.0, -45.0, 5000)
    found = population_average(eta, 2.0, "logit", "link")
    assert_allclose(found, eta + 2.0, rtol=1e-12)


def test_inside_the_tables_nothing_is_integrated(monkeypatch: pytest.MonkeyPatch) -> None:
    eta, sd = np.random.default_rng(1).uniform(-40, 40, (90, 90)), np.linspace(0, 20, 90)[:, None]
    for what in AVERAGES:
        population_average(eta, sd, "logit", what)

    def forbidden(*_: object) -> None:
        raise AssertionError("integrated")

    monkeypatch.setattr(_averaging, "exact_values", forbidden)
    monkeypatch.setattr(quadrature, "integrate", forbidden)
    monkeypatch.setattr(_moments, "moments", forbidden)
    for what in AVERAGES:
        assert np.isfinite(population_average(eta, sd, "logit", what)).all()
    with pytest.raises(AssertionError, match="integrated"):
        population_average(eta + 41.0, sd, "logit")


@every_table
def test_marginal_mean_takes_the_tables_when_large(
    name: str,
) -> None:
    eta, sd = np.random.default_rng(1).normal(-1, 3, (80, 90)), np.linspace(0.3, 5, 80)[:, None]
    for what in ("mean", "link"):
        expected = population_average(eta, sd, name, what)
        assert_array_equal(integral.marginal_mean(eta, sd, name, what), expected)
    for scale in ("log", "log_complement"):
        small = integral.marginal_mean(eta[:2], sd[:2], name, scale)
        assert_array_equal(integral.marginal_mean(eta, sd, name, scale)[:2], small)
    exact = np.exp(integral.marginal_mean(eta, sd, name, "log"))
    assert_allclose(integral.marginal_mean(eta, sd, name), exact, rtol=1e-11)
    assert_array_equal(integral.marginal_mean(eta[:9], sd[:9], name), exact[:9])


def test_where_a_polynomial_cannot_follow_the_cells_are_integrated() -> None:
    """The slope of the cloglog falls like exp(-exp(eta)) far right."""
    eta = np.linspace(-3.0, 6.0, 5000)
    found, exact = (f(eta, 0.1, "cloglog", "slope") for f in (population_average, direct))
    assert_allclose(found, exact, rtol=1e-10)
    assert (found == exact).any()
    assert (found != exact).any()


@both_lookups
@every_table
def test_threads_change_nothing(name: str, lookup: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    eta = generator.normal(0, 15, (200, 901))
    sd = generator.uniform(0, 21, (200, 1 if lookup == "rows" else 901))
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(_averaging, "cpus", lambda n=threads: n)
        found.append(population_average(eta, sd, name))
        column = population_average(eta.ravel(), 2.0, name)
        found.append(column.reshape(eta.shape))
    for parts in (found[::2], found[1::2]):
        assert_array_equal(parts[0], parts[1])
        assert_array_equal(parts[0], parts[2])


def test_pieces_are_built_once_also_when_threads_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    table = _average_tables.Table(Logit(), ("mean", "link"))
    built: list[int] = []
    original = _average_tables._piece

    def counted(link: Any, group: Any, piece: int) -> Any:
        built.append(piece)
        return original(link, group, piece)

    monkeypatch.setattr(_average_tables, "_piece", counted)
    used = np.zeros(_average_tables.BORDERS.size - 1, dtype=np.bool_)
    used[[3, 9]] = True
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: table.provide(used.copy()), range(8)))
    assert sorted(built) == [3, 9]


@every_average
@pytest.mark.parametrize(
    ("eta_shape", "sd_shape"),
    [((5000,), ()), ((5000,), (1,)), ((60, 90), (60, 1)), ((60, 90), (90,)), ((60, 90), (1, 90)),
     ((60, 1), (90,)), ((90,), (60, 1)), ((2, 60, 90), (2, 60, 1)), ((2, 60, 90), (60, 90)),
     ((90,), (2, 60, 1)), ((), (60, 90)), ((900, 7), (900, 1)), ((1, 5000), (1, 1)),
     ((), (5000, 1)), ((70, 1, 80), (1, 3, 1))],
)  # fmt: skip
def test_shapes(eta_shape: tuple, sd_shape: tuple, what: Average) -> None:
    generator = np.random.default_rng(4)
    eta, sd = generator.normal(-1, 2, eta_shape), generator.uniform(0.5, 3, sd_shape)
    found = population_average(eta, sd, "logit", what)
    expected = direct(eta, sd, "logit", what)
    assert found.shape == expected.shape
    assert_close(found, expected, what, slope=direct(eta, sd, "logit", "slope"), error=2e-11)


def test_empty_scalar_strided_and_read_only_arrays() -> None:
    assert population_average(np.empty((4, 0)), 1.0, "logit").shape == (4, 0)
    for what in AVERAGES:
        assert isinstance(population_average(0, 1, "logit", what), np.float64)
    eta = np.random.default_rng(5).normal(0, 2, (70, 80))
    expected = population_average(eta, 2.0, "logit")
    eta.setflags(write=False)
    assert_array_equal(population_average(eta, np.broadcast_to(2.0, (70, 1)), "logit"), expected)
    assert_array_equal(population_average(np.asfortranarray(eta), 2.0, "logit"), expected)
    twice = np.repeat(eta, 2, axis=1)[:, ::2]
    assert_array_equal(population_average(twice, 2.0, "logit"), expected)
    assert_array_equal(population_average(eta.T, 2.0, "logit"), expected.T)
    assert_array_equal(population_average(eta.tolist(), 2, "logit"), expected)


@every_link
@every_average
@pytest.mark.parametrize("cells", [3, 5000])
def test_bad_numbers(name: str, what: Average, cells: int) -> None:
    cases = [
        ("eta", math.nan, r"first at eta\[1\]: nan\. Allowed: finite numbers"),
        ("eta", -math.inf, r"first at eta\[1\]: -inf"),
        ("sd", math.nan, r"first at sd\[1\]: nan\. Allowed: finite numbers, 0 or more"),
        ("sd", math.inf, r"first at sd\[1\]: inf"),
        ("sd", -0.5, r"first at sd\[1\]: -0\.5\. Allowed: 0 or more"),
    ]
    for place, bad, message in cases:
        arrays = {"eta": np.zeros(cells), "sd": np.ones(cells)}
        arrays[place][1] = bad
        with pytest.raises(DataError, match=f"1 of {cells} values of {place} .* {message}"):
            population_average(arrays["eta"], arrays["sd"], name, what)


@both_lookups
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_eta_in_a_large_array(bad: float, lookup: str) -> None:
    eta, sd = np.zeros((70, 80)), np.ones((70, 1 if lookup == "rows" else 80))
    eta[60, 17] = bad
    with pytest.raises(DataError, match=r"1 of 5600 values of eta .* first at eta\[60, 17\]"):
        population_average(eta, sd, "logit")


@pytest.mark.parametrize("cells", [1, 5000])
@every_average
@every_table
def test_too_large_a_spread(name: str, what: Average, cells: int) -> None:
    with pytest.raises(DataError, match=r"sd can't be used.*: 20000\. Allowed: 0 to 10,000"):
        population_average(np.zeros(cells), 2e4, name, what)
    assert np.isfinite(population_average(0.0, 9e3, name, what))


def test_shapes_that_do_not_broadcast() -> None:
    with pytest.raises(DataError, match=r"eta has shape \(2, 3\) and sd has shape \(2,\)"):
        population_average(np.zeros((2, 3)), np.ones(2), "logit", "slope")
    with pytest.raises(DataError, match="isn't a number"):
        population_average("x", 1.0, "logit", "slope")


def test_unknown_names() -> None:
    unknown: Any = "log"
    with pytest.raises(SpecificationError, match="what='log' is unknown"):
        population_average(0.0, 1.0, "logit", unknown)
    with pytest.raises(SpecificationError, match="link='logitt' is unknown"):
        population_average(0.0, 1.0, "logitt")
    assert AVERAGES == ("mean", "link", "slope", "curvature")
    assert averages.__all__ == ["AVERAGES", "Average", "population_average"]


@pytest.mark.parametrize("cells", [1, 5000])
@every_average
def test_a_link_without_an_integral_is_refused(what: Average, cells: int) -> None:
    class Other(Logit):
        name = "other"

    with pytest.raises(SpecificationError, match="neither a closed form nor a quadrature"):
        population_average(np.zeros(cells), 1.0, Other(), what)


@given(st.floats(-8.0, 8.0), st.floats(0.0, 5.0))
def test_closed_forms(eta: float, sd: float) -> None:
    shrunk = 1.0 / math.sqrt(1.0 + sd**2)
    density = math.exp(-0.5 * (eta * shrunk) ** 2) / math.sqrt(2 * math.pi)
    assert_allclose(population_average(eta, sd, "probit", "slope"), density * shrunk, rtol=1e-13)
    bend = -eta * shrunk * density * shrunk**2
    assert_allclose(population_average(eta, sd, "probit", "curvature"), bend, rtol=1e-12)
    for what in ("mean", "slope", "curvature"):
        found = population_average(eta, sd, "log", what)
        assert_allclose(found, math.exp(eta + sd**2 / 2), rtol=1e-13)
    assert population_average(eta, sd, "identity", "slope") == 1.0
    assert population_average(eta, sd, "identity", "curvature") == 0.0


def test_inputs_are_left_alone() -> None:
    eta, sd = np.linspace(-60, 60, 6000).reshape(60, 100), np.linspace(0, 25, 60)[:, None]
    before = eta.copy(), sd.copy()
    for what in AVERAGES:
        population_average(eta, sd, "cloglog", what)
    assert_array_equal(eta, before[0])
    assert_array_equal(sd, before[1])


@both_lookups
def test_the_python_bodies_do_what_the_compiled_kernels_do(
    lookup: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same source interpreted, where a debugger and a coverage tool can follow it."""
    eta = np.random.default_rng(1).normal(-1, 6, (60, 70))
    sd = np.random.default_rng(2).uniform(0, 21, (60, 1 if lookup == "rows" else 70))
    eta[1, 3], eta[40, 5] = 80.0, -41.0
    compiled = population_average(eta, sd, "logit")
    for attribute, value in list(vars(_average_kernels).items()):
        if hasattr(value, "py_func"):
            monkeypatch.setattr(_average_kernels, attribute, value.py_func)
    assert_allclose(population_average(eta, sd, "logit"), compiled, rtol=1e-13)


@every_table
def test_the_python_bodies_of_the_moments(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    eta = np.array([-30.0, -4.0, -0.5, 0.0, 0.4, 2.0, 3.5, 8.0, 30.0, 20.0])
    sd = np.array([0.2, 3.0, 1.0, 5.0, 0.1, 1.0, 0.01, 4.0, 2.0, 9.0])
    compiled = _moments.moments(name, eta, sd)
    for attribute, value in list(vars(_moments).items()):
        if hasattr(value, "py_func"):
            monkeypatch.setattr(_moments, attribute, value.py_func)
    interpreted = np.empty((2, eta.size))
    kernel: Any = _moments._KERNELS[name]
    kernel.py_func(eta, sd, *interpreted)
    assert_allclose(interpreted, compiled, rtol=1e-13, atol=1e-300)


@every_table
def test_moments_change_their_centre_without_a_step(name: str) -> None:
    sd = np.array([0.3, 1.0, 3.0, 8.0])
    places = [
        (-(sd**2), -(sd**2) * (1 + 1e-15)),
        (np.zeros(4), np.full(4, 5e-324)),
        (sd**2, sd**2 * (1 + 1e-15)),
    ]
    for (one, other), part in itertools.product(places, (0, 1)):
        at, near = (_moments.moments(name, eta, sd) for eta in (one, other))
        assert_allclose(at[part], near[part], rtol=0, atol=2e-13 * np.max(at[0]))


def test_links_of_one_class_share_their_tables() -> None:
    first, second = (_average_tables.average_table(Logit(), what) for what in ("mean", "link"))
    assert first is second
    assert first is not _average_tables.average_table(Logit(), "slope")
    assert first is not _average_tables.average_table(LINKS["cloglog"], "mean")
