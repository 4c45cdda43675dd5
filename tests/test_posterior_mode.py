"""The mode of densities whose mode is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from popavg.workflows.posterior_mode import find_mode

Floats = NDArray[np.float64]

PRECISION = np.array([[400.0, 3.0, 0.0], [3.0, 1.0, 0.2], [0.0, 0.2, 0.05]])
CENTRE = np.array([1.0, -20.0, 3.0])


type One = Callable[[Floats], tuple[float, Floats]]


def many(one: One) -> Callable[[Floats], tuple[Floats, Floats]]:
    """Of many points, point by point."""

    def target(points: Floats) -> tuple[Floats, Floats]:
        values, gradients = zip(*map(one, points), strict=True)
        return np.array(values), np.array(gradients)

    return target


def normal(x: Floats) -> tuple[float, Floats]:
    pull = PRECISION @ (x - CENTRE)
    return -0.5 * float((x - CENTRE) @ pull), -pull


def student(x: Floats) -> tuple[float, Floats]:
    """Not log-concave away from its mode."""
    value, slope = normal(x)
    return -4.0 * np.log1p(-value), 4.0 * slope / (1.0 - value)


@pytest.mark.parametrize("target", [normal, student])
def test_mode_and_curvature(target: One) -> None:
    mode = find_mode(many(target), np.zeros(3))
    assert mode.why == ""
    np.testing.assert_allclose(mode.point, CENTRE, atol=1e-3)
    scale = 1.0 if target is normal else 4.0
    np.testing.assert_allclose(mode.precision, scale * PRECISION, rtol=1e-3, atol=1e-3)


def test_walls_are_stepped_back_from() -> None:
    def walled(x: Floats) -> tuple[float, Floats]:
        if x[0] > 1.2:
            return -np.inf, np.zeros(1)
        return 50.0 * x[0] - np.exp(50.0 * (x[0] - 1.0)), 50.0 - 50.0 * np.exp(50.0 * (x - 1.0))

    mode = find_mode(many(walled), np.zeros(1))
    assert mode.why == ""
    assert mode.point[0] == pytest.approx(1.0, abs=1e-4)


def test_what_has_no_mode() -> None:
    def slope(x: Floats) -> tuple[float, Floats]:
        return float(x[0]), np.ones(1)

    assert "no mode" in find_mode(many(slope), np.zeros(1)).why

    def ridge(x: Floats) -> tuple[float, Floats]:
        return -0.5 * float(x[0] ** 2), np.array([-x[0], 0.0])

    assert "isn't curved downward" in find_mode(many(ridge), np.zeros(2)).why

    def nowhere(x: Floats) -> tuple[float, Floats]:
        return -np.inf, np.zeros(1)

    assert "isn't finite" in find_mode(many(nowhere), np.zeros(1)).why


@pytest.mark.parametrize("target", [normal, student])
def test_a_point_near_the_mode_takes_fewer_evaluations(target: One) -> None:
    counts: dict[bool, int] = {}
    for roughly in (True, False):
        seen: list[float] = []

        def counted(x: Floats, seen: list[float] = seen) -> tuple[float, Floats]:
            found = target(x)
            seen.append(found[0])
            return found

        near = find_mode(many(counted), np.zeros(3), roughly=roughly)
        assert -0.02 < near.value <= 0.0
        assert near.why == ""
        counts[roughly] = len(seen)
    assert counts[True] <= counts[False] - 6
