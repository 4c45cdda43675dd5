"""Where logistic curves cross one half."""

from __future__ import annotations

import numpy as np
import pytest

from popavg.posterior_tools.crossings import Crossing, first_crossing

X = np.array([0.0, 1.0, 3.0])


@pytest.mark.parametrize(
    ("eta", "expected"),
    [
        ([1.0, -1.0, -5.0], Crossing(0.5, -0.5)),
        ([-5.0, -1.0, 1.0], Crossing(2.0, 0.25)),
        ([0.0, 1.0, 3.0], Crossing(0.0, 0.25)),
        ([-2.0, -1.0, 0.0], Crossing(3.0, 0.125)),
        ([-1.0, 1.0, -1.0], Crossing(0.5, 0.5)),
        ([1.0, 2.0, 3.0], None),
        ([0.0, 0.0, 0.0], None),
    ],
)
def test_first_crossing(eta: list[float], expected: Crossing | None) -> None:
    assert first_crossing(X, np.array(eta)) == expected
