"""Pictures of prior curves."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

import popavg as pa
from popavg.errors import SpecificationError
from popavg.posterior_tools.prior_check_result import PriorCheck

FORMULA = "y ~ arm + x + (1 | g)"


def check(frame: pd.DataFrame, formula: str = FORMULA, **options: Any) -> PriorCheck:
    return pa.prior_check(formula, frame, **{"link": "logit", "draws": 200, **options})


@pytest.mark.parametrize("backend", ["matplotlib", "none"])
def test_pictures(frame: pd.DataFrame, backend: str) -> None:
    found = check(frame, by="arm", over="x")
    figure = found.plot(backend=backend, n_curves=7)
    assert figure.viz["draws"].dataset.sizes["panel"] == 2
    assert {"band", "average", "draws"} <= set(figure.viz.children)
    category = check(frame, over="arm").plot(backend=backend, visuals={"draws": False})
    assert "draws" not in category.viz.children
    alone = check(frame, "y ~ 1 + (1 | g)").plot(backend=backend)
    assert {"draws", "average"} <= set(alone.viz.children)


def test_no_curves_and_unknown_visuals(frame: pd.DataFrame) -> None:
    found = check(frame)
    assert "draws" not in found.plot(backend="none", n_curves=0).viz.children
    with pytest.raises(SpecificationError, match="0 or more"):
        found.plot(n_curves=-1)
    with pytest.raises(SpecificationError, match=r"'band', 'draws', 'average'"):
        found.plot(visuals={"clusters": False})
