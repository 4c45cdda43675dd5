"""Draws and their design in one self-contained tree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from popavg.posterior_tools.draws import Posterior, read_specification
from popavg.posterior_tools.predictions import predictions
from popavg.posterior_tools.tree import read_training_frame, versions

MakeFit = Callable[..., xr.DataTree]


def test_constant_data_hold_the_design(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("p(successes, trials) ~ arm * x + (1 + x | g) + (1 | r)", frame)
    constants, design = fit["constant_data"].to_dataset(), Posterior.from_fit(fit).design
    assert constants["term"].to_numpy().tolist() == list(design.matrices.terms)
    np.testing.assert_array_equal(constants["X"], design.matrices.X)
    np.testing.assert_array_equal(constants["trials"], frame["trials"])
    np.testing.assert_array_equal(fit["observed_data"]["y"], frame["successes"])
    for group in design.matrices.groups:
        np.testing.assert_array_equal(constants[f"Z_{group.name}"], group.Z)
        levels = np.array(group.levels)[constants[f"index_{group.name}"]]
        assert levels.tolist() == frame[group.name].to_list()
    assert "trials" not in make_fit("y ~ x + (1 | g)", frame)["constant_data"]


def test_the_training_frame_comes_back_as_it_was(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    data = frame.assign(
        flag=frame["x"] > 0,
        stage=pd.Categorical(frame["visit"] % 3, categories=[2, 0, 1], ordered=True),
        **{"größe (cm)": frame["value"]},
    )
    fit = make_fit("y ~ flag + stage + arm + `größe (cm)` + (1 | g)", data, extra=("visit",))
    back = read_training_frame(fit, read_specification(fit))
    expected = data[["y", "flag", "stage", "arm", "größe (cm)", "g", "visit"]]
    assert set(back.columns) == set(expected.columns)
    for name in expected:
        assert back[name].to_list() == expected[name].to_list()
    assert list(back["stage"].cat.categories) == [2, 0, 1]
    assert back["stage"].cat.ordered
    assert back["flag"].dtype == bool
    assert back["visit"].dtype == np.int64


@pytest.mark.parametrize("formula", ["y ~ x + (1 + x | g)", "y ~ x + (1 | h/g)", "y ~ x"])
def test_a_fit_survives_a_file(
    make_fit: MakeFit, frame: pd.DataFrame, formula: str, tmp_path: Path
) -> None:
    fit = make_fit(formula, frame)
    fit.to_netcdf(tmp_path / "fit.nc")
    with xr.open_datatree(tmp_path / "fit.nc") as stored:
        loaded = stored.load()
    one, other = predictions(fit, over="x"), predictions(loaded, over="x")
    np.testing.assert_array_equal(one.draws, other.draws)
    assert read_specification(fit) == read_specification(loaded)


def test_specification_tells_groups_terms_and_versions(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    specification = read_specification(make_fit("y ~ x + (1 | h/g)", frame))
    assert specification.group_names == ("h", "h:g")
    assert [group.n_clusters for group in specification.groups] == [4, 12]
    assert specification.terms == ("Intercept", "x")
    assert specification.versions == versions()
    assert set(versions(("scipy",))) >= {"popavg", "formulae", "scipy"}
