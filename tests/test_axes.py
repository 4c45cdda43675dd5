"""Which covariates a picture shows where the user doesn't say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from popavg.design import Design, family_of
from popavg.errors import SpecificationError
from popavg.links import get_link
from popavg.workflows.axes import choose_axes, default_axes


@pytest.mark.parametrize(
    ("formula", "axes"),
    [
        ("y ~ arm * x + visit + (1 | g)", ("x", "arm")),
        ("y ~ visit + r + (1 | g)", ("visit", None)),
        ("y ~ arm + r + (1 | g)", ("r", "arm")),
        ("y ~ arm + (1 | g)", ("arm", None)),
        ("y ~ x + flag + (1 | g)", ("x", "flag")),
        ("y ~ x + few + (1 | g)", ("x", "few")),
        ("y ~ arm + (1 + visit | g)", ("visit", "arm")),
        ("y ~ 1 + (1 | g)", (None, None)),
    ],
)
def test_along_the_longest_number_apart_by_the_few(
    frame: pd.DataFrame, formula: str, axes: tuple[str, str | None]
) -> None:
    data = frame.assign(flag=frame["x"] > 0, few=np.arange(60) % 3)
    family = family_of(formula, get_link("logit"))
    assert default_axes(Design.build(formula, data, family=family)) == axes


@pytest.mark.parametrize(
    ("asked", "axes"),
    [
        ({}, ("x", "arm")),
        ({"over": "visit"}, ("visit", None)),
        ({"over": "visit", "by": "arm"}, ("visit", "arm")),
        ({"by": "x"}, ("visit", "x")),
        ({"by": "arm"}, ("x", "arm")),
    ],
)
def test_what_was_asked_for_is_kept(
    frame: pd.DataFrame, asked: dict[str, str], axes: tuple[str | None, str | None]
) -> None:
    formula = "y ~ arm * x + visit + (1 | g)"
    design = Design.build(formula, frame, family=family_of(formula, get_link("logit")))
    assert choose_axes(design, **asked) == axes


def test_what_cannot_be_asked_for(frame: pd.DataFrame) -> None:
    formula = "y ~ arm * x + (1 | g)"
    design = Design.build(formula, frame, family=family_of(formula, get_link("logit")))
    with pytest.raises(SpecificationError, match=r"over='arms' isn't a covariate.*mean 'arm'"):
        choose_axes(design, "arms")
    with pytest.raises(SpecificationError, match="over and by are both 'x'"):
        choose_axes(design, "x", "x")
