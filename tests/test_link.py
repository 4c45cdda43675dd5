from __future__ import annotations

import numpy as np
import pytest

from popavg.errors import DataError
from popavg.link import Link, exp, floats, probability, within


def test_the_abstract_link_has_no_instances() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Link()


def test_the_exponential_leaves_the_floats_without_a_warning() -> None:
    assert exp(800.0) == np.inf
    assert exp(-800.0) == 0.0


def test_means_outside_the_range_are_counted_and_shown() -> None:
    with pytest.raises(DataError, match=r"2 of 3 means lie outside the link's range, first -0\.1"):
        probability([-0.1, 0.5, 1.2])
    assert within([0.0, 7.0], np.inf).tolist() == [0.0, 7.0]


def test_values_become_float64() -> None:
    assert floats([1, 2]).dtype == np.float64
