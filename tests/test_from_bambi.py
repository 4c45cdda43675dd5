"""Bambi's models and draws: stored fits of bambi.Model, read by their attributes."""

from __future__ import annotations

import runpy
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import popavg as pa
from popavg.errors import DataError, PopavgError, SpecificationError
from popavg.posterior_tools.draws import Posterior

pytest.importorskip("bambi")
REFERENCE = Path(__file__).resolve().parent / "reference"
RECIPE = runpy.run_path(str(REFERENCE / "make_bambi.py"))
DATA = RECIPE["read_data"]()
NAMES = list(RECIPE["MODELS"])

# Bambi 0.21 itself calls pandas 3 in a way that pandas 4 will change.
pytestmark = pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")


@cache
def model(name: str) -> Any:
    return RECIPE["model"](name)


def draws(name: str) -> xr.DataTree:
    with xr.open_datatree(REFERENCE / "bambi_draws.nc") as stored:
        return stored[name].copy(deep=True).load()


def without_means(name: str) -> xr.DataTree:
    """As model.fit() returns them by default."""
    tree = draws(name)
    data = tree["posterior"].to_dataset().drop_vars(["p", "mu"], errors="ignore")
    return xr.DataTree.from_dict({"posterior": data})


@pytest.mark.parametrize("name", NAMES)
def test_bambis_own_means_follow(name: str) -> None:
    """Held against the deterministic that Bambi stored, by a double loop over draws and rows."""
    tree = draws(name)
    posterior = Posterior.from_fit(pa.from_bambi(model(name), tree))
    parent = "p" if "p" in tree["posterior"] else "mu"
    means = tree["posterior"][parent].to_numpy().reshape(posterior.n_draws, -1)
    matrices, beta = posterior.design.matrices, posterior.beta
    effects = {g.name: posterior.effects(g.name) for g in matrices.groups}
    for s in range(0, posterior.n_draws, 7):
        for i in range(0, matrices.n_rows, 11):
            eta = beta[s] @ matrices.X[i] + matrices.offset[i]
            eta += sum(effects[g.name][s, g.index[i]] @ g.Z[i] for g in matrices.groups)
            np.testing.assert_allclose(posterior.link.inverse(eta), means[s, i], rtol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_means_are_asked_of_the_model_where_the_draws_have_none(name: str) -> None:
    fit, other = (pa.from_bambi(model(name), d) for d in (draws(name), without_means(name)))
    assert fit["posterior"].to_dataset().identical(other["posterior"].to_dataset())


def test_level_order_event_and_scale() -> None:
    """The first level by name is Bambi's reference, and the first its event."""
    fit = pa.from_bambi(model("slopes"), draws("slopes"))
    posterior, stored = Posterior.from_fit(fit), draws("slopes")["posterior"]
    assert posterior.specification.event == "bad"
    assert posterior.design.matrices.terms == (
        *("Intercept", "treatment[high]", "treatment[placebo]", "time", "treatment[high]:time"),
        *("treatment[placebo]:time", "scale(dose)"),
    )
    by_label = stored["treatment"].sel(treatment_dim="placebo").to_numpy().ravel()
    np.testing.assert_array_equal(posterior.beta[:, 2], by_label)
    np.testing.assert_array_equal(fit["observed_data"]["y"], DATA["outcome"] == "bad")
    sd = stored["time|patient_sigma"].to_numpy().ravel()
    np.testing.assert_array_equal(posterior.standard_deviations("patient")[:, 1], sd)
    np.testing.assert_array_equal(posterior.covariance("patient")[:, 0, 1], 0.0)
    level = posterior.design.matrices.groups[0].levels.index("107")
    u = stored["1|patient"].sel(patient__factor_dim="107").to_numpy().ravel()
    np.testing.assert_array_equal(posterior.effects("patient")[:, level, 0], u)


def test_verbs_work_and_files_keep_it(tmp_path: Path) -> None:
    fit = pa.from_bambi(model("nested"), draws("nested"))
    assert fit.attrs["popavg"].count("draws of Bambi") == 1
    along = {"time": [0, 3], "visit": [0, 1]}
    before = pa.predictions(fit, over=along).to_frame()
    pa.save(fit, tmp_path / "fit.nc")
    after = pa.predictions(pa.load(tmp_path / "fit.nc"), over=along).to_frame()
    pd.testing.assert_frame_equal(before, after)


def test_other_containers_of_the_draws() -> None:
    tree = draws("counts")
    like_inference_data = SimpleNamespace(posterior=tree["posterior"].to_dataset())
    node, dataset = tree["posterior"], tree["posterior"].to_dataset()
    expected = pa.from_bambi(model("counts"), tree)["posterior"].to_dataset()
    for container in (like_inference_data, node, dataset):
        same = pa.from_bambi(model("counts"), container)["posterior"].to_dataset()
        assert same.identical(expected)


@pytest.mark.parametrize(
    ("container", "message"),
    [
        (lambda tree: tree["posterior"].to_dataset().to_dataframe(), "idata is of type DataFrame"),
        (lambda _: None, "idata is of type NoneType"),
        (lambda tree: tree["posterior"].to_dataset().to_dict(), "idata is of type dict"),
        (lambda tree: tree.drop_nodes("posterior"), "tree has the groups 'observed_data'"),
        (lambda tree: tree["observed_data"], "no variable has the dims 'chain' and 'draw'"),
    ],
)
def test_what_holds_no_posterior(container: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        pa.from_bambi(model("counts"), container(draws("counts")))


def test_rows_that_bambi_dropped() -> None:
    import bambi

    data = DATA.assign(dose=DATA["dose"].where(DATA.index != 3), unused=np.nan)
    rng = np.random.default_rng(0)
    levels = [str(level) for level in sorted(data["patient"].unique())]
    posterior = xr.Dataset(
        {
            "Intercept": (("chain", "draw"), rng.normal(size=(2, 5))),
            "dose": (("chain", "draw"), rng.normal(size=(2, 5))),
            "1|patient_sigma": (("chain", "draw"), rng.random((2, 5))),
            "1|patient": (("chain", "draw", "patient__factor_dim"), rng.normal(size=(2, 5, 20))),
        },
        coords={"patient__factor_dim": levels, "chain": [0, 1], "draw": range(5)},
    )
    idata = xr.DataTree.from_dict({"posterior": posterior})
    dropping = bambi.Model("outcome ~ dose + (1 | patient)", data, family="bernoulli", dropna=True)
    fit = pa.from_bambi(dropping, idata)
    assert fit["constant_data"].sizes["obs"] == 159
    assert Posterior.from_fit(fit).specification.missing.columns == {"dose": 1}


def changed(name: str, change: Any) -> xr.DataTree:
    tree = draws(name)
    tree["posterior"] = xr.DataTree(change(tree["posterior"].to_dataset()))
    return tree


def relabelled(data: xr.Dataset) -> xr.Dataset:
    return data.assign_coords(treatment_dim=["active", "placebo"])


def swapped(data: xr.Dataset) -> xr.Dataset:
    names = list(data["patient__factor_dim"].to_numpy())
    return data.assign_coords(patient__factor_dim=names[::-1])


def with_nan(data: xr.Dataset) -> xr.Dataset:
    values = data["time"].to_numpy().copy()
    values[1, 3:] = np.nan
    return data.assign(time=(("chain", "draw"), values))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (relabelled, r"has draws for 'active', 'placebo', not for the term 'treatment\[high\]'"),
        (swapped, "don't reproduce the mean that Bambi predicts: the largest difference"),
        (with_nan, "9 of 24 draws of 'time' are NaN or infinite, the first is draw 4 of chain 2"),
        (lambda d: d.drop_vars("scale(dose)"), r"the posterior has no 'scale\(dose\)'"),
        (lambda d: d.drop_vars("1|patient_sigma"), r"has no '1\|patient_sigma'"),
        (lambda d: d.assign(Intercept=d["Intercept"] + 0.5), "the same in all rows: another int"),
        (lambda d: d.isel(patient__factor_dim=slice(19)), "no draws for the clusters '119'"),
        (lambda d: d.assign({"1|patient_sigma": 0 * d["1|patient_sigma"]}), "exactly 0"),
    ],
)
def test_draws_of_another_fit(change: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        pa.from_bambi(model("slopes"), changed("slopes", change))


def test_draws_with_another_outcome() -> None:
    tree = draws("slopes")
    outcome = 1 - tree["observed_data"]["outcome"]
    tree["observed_data"] = xr.DataTree(outcome.to_dataset(name="outcome"))
    for container in (tree, tree["posterior"]):
        with pytest.raises(DataError, match="the outcome 'outcome' in the draws isn't that"):
            pa.from_bambi(model("slopes"), container)


def test_models_that_have_no_averages_here() -> None:
    import bambi

    def refused(formula: Any, family: str, **kwargs: Any) -> PopavgError:
        other = bambi.Model(formula, DATA, family=family, **kwargs)
        with pytest.raises(PopavgError) as caught:
            pa.from_bambi(other, draws("counts"))
        return caught.value

    two = bambi.Formula("w ~ time", "sigma ~ time")
    assert "formulas for other parameters: 'sigma ~ time'" in str(refused(two, "gaussian"))
    assert "family 'negativebinomial'" in str(refused("s ~ time", "negativebinomial"))
    assert "Gaussian processes" in str(refused("w ~ hsgp(time, m=4, c=1.5)", "gaussian"))
    prior = bambi.Prior("StudentT", nu=4, mu=0, sigma=bambi.Prior("HalfNormal", sigma=1))
    student = refused("s ~ time + (1 | g)", "poisson", priors={"1|g": prior})
    assert "the effects '1|g' have the distribution StudentT" in str(student)
    with pytest.raises(SpecificationError, match="the model is of type dict"):
        pa.from_bambi({}, draws("counts"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # another package samples
def test_a_fit_made_now() -> None:
    import bambi

    new = bambi.Model("s ~ treatment * time + (1 | patient)", DATA, family="poisson")
    idata = new.fit(draws=50, tune=100, chains=2, cores=2, random_seed=1, progressbar=False)
    fit = pa.from_bambi(new, idata)
    assert pa.predictions(fit, over="time", target="sampled").draws.notnull().all()
