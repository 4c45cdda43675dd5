"""The covariate along the x axis."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from popavg.design import Design
from popavg.errors import DataError, SpecificationError
from popavg.families import family_for
from popavg.links import get_link
from popavg.posterior_tools.along import along
from popavg.posterior_tools.grid import N_POINTS


@pytest.fixture(scope="module")
def design(frame: pd.DataFrame) -> Design:
    family = family_for(get_link("logit"), trials=False)
    data = frame.assign(two=frame["visit"] % 2, coded=frame["visit"] % 3)
    return Design.build("y ~ x + arm + two + C(coded) + visit + (1 | g)", data, family=family)


def test_numbers_run_from_the_smallest_to_the_largest(design: Design) -> None:
    axis = along(design, "visit")
    assert (axis.name, axis.is_category, len(axis.values)) == ("visit", False, N_POINTS)
    np.testing.assert_allclose(axis.positions, np.linspace(0, 4, N_POINTS))
    assert along(design, {"visit": [3, 1, 3]}).values == [1.0, 3.0]


@pytest.mark.parametrize(
    ("name", "levels"), [("arm", ["active", "placebo"]), ("two", [0, 1]), ("coded", [0, 1, 2])]
)
def test_levels_stand_side_by_side(design: Design, name: str, levels: list[object]) -> None:
    axis = along(design, name)
    assert axis.is_category
    assert axis.values == levels
    assert axis.positions.tolist() == list(range(len(levels)))


def test_errors(design: Design) -> None:
    with pytest.raises(SpecificationError, match=r"names 2 covariates.*Put the others into by="):
        along(design, {"x": None, "arm": None})
    with pytest.raises(SpecificationError, match="'g' isn't a covariate"):
        along(design, "g")
    with pytest.raises(DataError, match="one value of 'x'"):
        along(design, {"x": [1.0]})
    with pytest.raises(DataError, match=r"'x' is given '.*', but it is a number"):
        along(design, {"x": ["a", "b"]})
