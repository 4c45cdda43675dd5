"""Fits from other programs' draws, from end to end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import popavg as pa
from popavg.errors import DataError, FormulaError, SpecificationError
from popavg.posterior_tools.from_draws import PROGRAMS

FORMULA = "y ~ x + arm + (1 + x | g)"
NAMES = {"beta": "beta", "sd_g": "sd_g", "corr_g": "corr_g", "u_g": "u_g"}
MakeFit = Callable[..., xr.DataTree]


@pytest.fixture
def own(frame: pd.DataFrame, make_fit: MakeFit) -> xr.DataTree:
    corr = {"g": [[1.0, 0.4], [0.4, 1.0]]}
    return make_fit(FORMULA, frame, corr=corr, u=True)


def test_popavgs_own_draws_come_back(frame: pd.DataFrame, own: xr.DataTree) -> None:
    """A fit's posterior, read like any other program's, is the same fit."""
    fit = pa.from_draws(own, FORMULA, frame, link="logit", names=NAMES)
    xr.testing.assert_allclose(fit["posterior"].to_dataset(), own["posterior"].to_dataset())
    for target in ("population", "typical", "sampled"):
        ours, theirs = (pa.predictions(f, over={"x": [0, 1]}, target=target) for f in (fit, own))
        np.testing.assert_allclose(ours.draws, theirs.draws, rtol=1e-12)
    found, expected = (pa.population_coefficients(f).draws for f in (fit, own))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_files_keep_it(frame: pd.DataFrame, own: xr.DataTree, tmp_path: Path) -> None:
    fit = pa.from_draws(own, FORMULA, frame, link="logit", names=NAMES)
    pa.save(fit, tmp_path / "fit.nc")
    again = pa.load(tmp_path / "fit.nc")
    assert '"source": "draws of another program"' in again.attrs["popavg"]
    before, after = (pa.predictions(f, over={"x": [0, 1]}).to_frame() for f in (fit, again))
    pd.testing.assert_frame_equal(before, after)


def test_a_predictor_in_the_draws_is_reproduced(frame: pd.DataFrame, own: xr.DataTree) -> None:
    data = own["posterior"].to_dataset()
    x, codes = frame["x"].to_numpy(), pd.Index(data["g"].to_numpy()).get_indexer(frame["g"])
    u = data["u_g"].to_numpy()[:, :, codes]
    placebo = (frame["arm"] == "placebo").to_numpy()
    b = data["beta"].to_numpy()[..., None]
    eta = b[:, :, 0] + b[:, :, 1] * x + b[:, :, 2] * placebo + u[..., 0] + u[..., 1] * x
    draws = data.assign(eta=(("chain", "draw", "row"), eta))
    assert pa.from_draws(draws, FORMULA, frame, link="logit", names=NAMES, eta="eta")
    shuffled = frame.sample(frac=1.0, random_state=1, ignore_index=True)
    with pytest.raises(DataError, match="don't reproduce the linear predictor"):
        pa.from_draws(draws, FORMULA, shuffled, link="logit", names=NAMES, eta="eta")
    other = frame.assign(arm=pd.Categorical(frame["arm"], ["placebo", "active"], ordered=True))
    with pytest.raises(DataError, match=r"has the labels .*'arm\[placebo\]'"):
        pa.from_draws(draws, FORMULA, other, link="logit", names=NAMES, eta="eta")
    bare = draws.drop_vars("term")
    with pytest.raises(DataError, match=r"lies in the terms 'Intercept', 'arm\[active\]'"):
        pa.from_draws(bare, FORMULA, other, link="logit", names=NAMES, eta="eta")


def test_a_log_likelihood_in_the_draws_is_reproduced(frame: pd.DataFrame) -> None:
    rng = np.random.default_rng(2)
    draws = {"b": rng.normal(size=(2, 5, 2))}
    eta = draws["b"] @ np.stack([np.ones(60), frame["x"]])
    draws["log_lik"] = np.where(frame["y"] == 1, -np.logaddexp(0, -eta), -np.logaddexp(0, eta))

    def read(data: pd.DataFrame) -> xr.DataTree:
        return pa.from_draws(
            draws, "y ~ x", data, link="logit", names={"beta": "b"}, log_likelihood="log_lik"
        )

    assert read(frame)
    with pytest.raises(DataError, match=r"log-likelihood .*another event of the response"):
        read(frame.assign(y=1 - frame["y"]))


def test_missing_rows_are_left_out_on_request(frame: pd.DataFrame) -> None:
    data = frame.assign(x=frame["x"].where(frame.index > 2))
    draws, names = {"b": np.zeros((2, 5, 2))}, {"beta": "b"}
    fit = pa.from_draws(draws, "y ~ x", data, link="logit", names=names, missing="drop")
    assert fit["constant_data"].sizes["obs"] == 57
    with pytest.raises(DataError, match="missing values in 3 of 60 rows"):
        pa.from_draws(draws, "y ~ x", data, link="logit", names=names)
    with pytest.raises(DataError, match="Leave the rows out that missing='drop' leaves out"):
        pa.from_draws(
            *(draws, "y ~ x", data),
            link="logit",
            names=names,
            missing="drop",
            eta=np.zeros((2, 5, 60)),
        )


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"names": "pymc"}, SpecificationError, "names='pymc' is unknown. Allowed: 'brms', 'rst"),
        ({"link": "logistic"}, SpecificationError, "link"),
        ({"formula": "~ x"}, FormulaError, "nothing on one side of '~'"),
        ({"data": {}}, DataError, "the data are of type dict"),
        ({"formula": "y ~ z + (1 | g)"}, DataError, "the column 'z' is not in the data"),
        ({"draws": {"b": np.full((2, 5, 2), "1")}}, DataError, "draws of 'b': text, not numbers"),
        ({"draws": {"b": np.full((2, 5, 2), 1j)}}, DataError, "draws of 'b': complex numbers"),
        ({"eta": np.full((10, 60), "1")}, DataError, "eta: text, not numbers"),
        ({"eta": [[1.0], [2.0, 3.0]]}, DataError, "eta can't be put into one array"),
        ({"names": {"beta": 3}}, SpecificationError, r"names\['beta'\] is 3"),
        (
            {"draws": pd.DataFrame({"b[0]": [0.0], "b[1]": [0.0]}), "chains": "two"},
            DataError,
            "1 draws can't be 'two' chains",
        ),
    ],
)
def test_bad_arguments(
    frame: pd.DataFrame, change: dict[str, Any], kind: type[Exception], message: str
) -> None:
    arguments: dict[str, Any] = {"formula": "y ~ x", "data": frame, "link": "logit"}
    arguments |= {"draws": {"b": np.zeros((2, 5, 2))}, "names": {"beta": "b"}} | change
    with pytest.raises(kind, match=message):
        pa.from_draws(**arguments)


def test_programs_are_listed() -> None:
    assert PROGRAMS == ("brms", "rstanarm")
