"""The pieces of the population curve's picture."""

from __future__ import annotations

import numpy as np
import xarray as xr

from popavg.posterior_tools.crossings import Crossing
from popavg.posterior_tools.curve_visuals import (
    NUDGE,
    Frame,
    draw_bars,
    draw_points,
    draw_reference,
    draw_tangent,
)

DATA = xr.DataArray([0.8, 0.5, 0.2], dims="x", coords={"x": [0.0, 1.0, 2.0]})
SUBSET = {"sel": {"panel": 0}, "var_name": "average", "isel": {}}


def test_frame() -> None:
    assert Frame((0.0, 10.0), (-1.0, 1.0)).at(0.1, 0.75) == (1.0, 0.5)


def test_points_and_bars_stand_at_their_values() -> None:
    target: list[dict] = []
    draw_points(DATA, target, color="red")
    draw_bars(DATA, target, y_bottom=DATA - 0.1, y_top=DATA + 0.1, color="red")
    points, bars = target
    np.testing.assert_array_equal(points["y"], DATA)
    np.testing.assert_array_equal(bars["y_bottom"], DATA - 0.1)
    np.testing.assert_array_equal(bars["y_top"], DATA + 0.1)


def test_a_marked_reference_stands_beside_its_level() -> None:
    pairs = [(np.array([0.0, 1.0]), np.array([0.3, 0.4]))]
    plain: list[dict] = []
    draw_reference(DATA, plain, pairs=pairs, marked=False, color="red", **SUBSET)
    assert [visual["function"] for visual in plain] == ["line"]
    np.testing.assert_array_equal(plain[0]["x"], [0.0, 1.0])
    marked: list[dict] = []
    draw_reference(DATA, marked, pairs=pairs, marked=True, color="red", **SUBSET)
    assert [visual["function"] for visual in marked] == ["scatter", "line"]
    np.testing.assert_array_equal(marked[1]["x"], [NUDGE, 1 + NUDGE])


def test_a_tangent_stays_within_the_panel() -> None:
    frame = Frame((0.0, 2.0), (0.0, 1.0))
    for slope in (-100.0, -0.01):
        target: list[dict] = []
        draw_tangent(
            DATA, target, crossings=(Crossing(1.0, slope),), words=("one", "β/4"), height=0.9,
            frame=frame, over="time-of-day", color="red", **SUBSET,
        )  # fmt: skip
        text, _, line = target
        x, y = np.asarray(line["x"]), np.asarray(line["y"])
        assert np.ptp(x) <= 0.3 * 2
        assert np.ptp(y) <= 0.33
        assert text["string"].endswith("per unit of time-of-day")


def test_the_words_keep_clear_of_the_average() -> None:
    frame, places = Frame((0.0, 2.0), (0.0, 1.0)), []
    for values in ([0.8, 0.5, 0.2], [0.2, 0.5, 0.8], [0.95, 0.9, 0.85], [0.85, 0.9, 0.95]):
        target: list[dict] = []
        draw_tangent(
            DATA.copy(data=values), target, crossings=(Crossing(1.0, -0.1),), words=("one", "β/4"),
            height=0.9, frame=frame, over="x", color="red", **SUBSET,
        )  # fmt: skip
        assert target[0]["string"].count("\n") == 1
        x, y = (np.asarray(target[0][axis]).item() for axis in "xy")
        places.append((x > 1.0, y > 0.5))
    assert places == [(True, True), (False, True), (True, False), (False, False)]


def test_no_crossing_no_tangent() -> None:
    target: list[dict] = []
    draw_tangent(
        DATA, target, crossings=(None,), words=("one", "β/4"), height=0.9,
        frame=Frame((0.0, 2.0), (0.0, 1.0)), over="x", color="red", **SUBSET,
    )  # fmt: skip
    assert [visual["function"] for visual in target] == ["text"]
