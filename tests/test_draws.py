"""A fit read back as arrays: order of labels, variances, what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import popavg as pa
from popavg.errors import DataError, EstimandError, SpecificationError, StorageError
from popavg.posterior_tools._draw_checks import check_correlations
from popavg.posterior_tools.draws import Posterior

MakeFit = Callable[..., xr.DataTree]
RHO = np.array([[1.0, -0.6], [-0.6, 1.0]])
STRUCTURES = {
    "intercept": "y ~ x + (1 | g)",
    "slope": "y ~ x + (1 + x | g)",
    "uncorrelated": "y ~ x + (1 | g) + (0 + x | g)",
    "nested": "y ~ x + (1 | h/g)",
    "crossed": "y ~ x + (1 + x | g) + (1 | r)",
    "category": "y ~ x + (0 + arm | h)",
    "none": "y ~ x",
}


def fit_of(make_fit: MakeFit, frame: pd.DataFrame, formula: str, **kwargs: object) -> xr.DataTree:
    corr = {"g": RHO} if "(1 + x | g)" in formula else {"h": RHO} if "arm | h" in formula else {}
    return make_fit(formula, frame, corr=corr, **kwargs)


def naive_variance(fit: xr.DataTree, posterior: Posterior) -> np.ndarray:
    """Σ_q Σ_r z_q z_r sd_q sd_r corr_qr over every factor, by name, one number at a time."""
    post = fit["posterior"].to_dataset()
    groups = posterior.design.matrices.groups
    sizes = post.sizes["chain"], post.sizes["draw"]
    total = np.zeros((*sizes, posterior.design.matrices.n_rows))
    for chain, draw, row in np.ndindex(total.shape):
        for group in groups:
            for (q, first), (r, second) in product(enumerate(group.effects), repeat=2):
                sd = post[f"sd_{group.name}"].isel(chain=chain, draw=draw)
                effect = f"effect_{group.name}"
                pair = sd.sel({effect: first}) * sd.sel({effect: second})
                if q == r:
                    correlation = 1.0
                elif f"corr_{group.name}" in post:
                    both = {effect: first, f"{effect}_other": second}
                    matrix = post[f"corr_{group.name}"].isel(chain=chain, draw=draw)
                    correlation = float(matrix.sel(both))
                else:
                    correlation = 0.0
                z = group.Z[row]
                total[chain, draw, row] += float(pair) * correlation * z[q] * z[r]
    return total.reshape(-1, total.shape[-1])


@pytest.mark.parametrize("name", STRUCTURES)
def test_variance_is_the_double_sum(make_fit: MakeFit, frame: pd.DataFrame, name: str) -> None:
    fit = fit_of(make_fit, frame.iloc[:20], STRUCTURES[name], shape=(1, 2))
    posterior = Posterior.from_fit(fit)
    matrices = posterior.design.matrices
    v = posterior.block().variance(matrices)
    assert v.shape[1] == (1 if name in ("intercept", "nested", "none") else matrices.n_rows)
    expected = naive_variance(fit, posterior)
    np.testing.assert_allclose(np.broadcast_to(v, expected.shape), expected, rtol=1e-12, atol=0)


@given(
    st.lists(st.floats(0, 20), min_size=2, max_size=2),
    st.floats(-1, 1),
    st.lists(st.floats(-30, 30), min_size=2, max_size=2),
)
def test_variance_is_never_negative(sd: list[float], rho: float, z: list[float]) -> None:
    correlation = np.array([[[1.0, rho], [rho, 1.0]]])
    eigenvalues, vectors = np.linalg.eigh(correlation)
    check_correlations("corr_g", correlation.dtype, correlation)
    assert eigenvalues.min() > -1e-14
    scale = np.sqrt(np.where(eigenvalues > 0, eigenvalues, 0.0))
    root = np.asarray(sd)[None, :, None] * vectors * scale[:, None, :]
    covariance = np.outer(sd, sd) * correlation[0]
    np.testing.assert_allclose(root[0] @ root[0].T, covariance, atol=1e-13 * (1 + max(sd) ** 2))
    assert ((root[0].T @ np.asarray(z)) ** 2).sum() >= 0.0


def test_a_singular_correlation_gives_a_zero_variance_not_a_negative_one(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    ones = np.ones((2, 2))
    fit = make_fit("y ~ x + (1 + x | g)", frame, corr={"g": ones}, spread=0.0)
    posterior = Posterior.from_fit(fit)
    v = posterior.block().variance(posterior.design.evaluate(pd.DataFrame({"x": [-1.0, 1.0]})))
    assert (v >= 0).all()
    np.testing.assert_allclose(v, [[0.0, 4.0]] * 12, atol=1e-14)


def test_covariance_is_that_of_the_draws(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ x + (1 + x | g)", frame, corr={"g": RHO}, sd={"g": [2.0, 0.5]})
    sd = fit["posterior"]["sd_g"].to_numpy().reshape(-1, 2)
    expected = sd[:, :, None] * RHO * sd[:, None, :]
    np.testing.assert_allclose(Posterior.from_fit(fit).covariance("g"), expected, rtol=1e-13)


def test_labels_not_positions_order_the_draws(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ x + arm + (1 + x | g)", frame, corr={"g": RHO}, sd={"g": [3, 1]}, u=True)
    post = fit["posterior"].to_dataset()
    turned = {name: slice(None, None, -1) for name in ("term", "effect_g", "g")}
    shuffled = fit.copy()
    shuffled["posterior"] = xr.DataTree(
        post.isel(turned).transpose("g", "effect_g_other", "effect_g", "term", "draw", "chain")
    )
    one, other = Posterior.from_fit(fit), Posterior.from_fit(shuffled)
    np.testing.assert_array_equal(one.beta, other.beta)
    np.testing.assert_array_equal(one.effects("g"), other.effects("g"))
    np.testing.assert_array_equal(one.covariance("g"), other.covariance("g"))


def test_draws_of_chains_are_stacked_in_c_order(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ x + (1 | g)", frame, shape=(3, 4))
    posterior = Posterior.from_fit(fit)
    assert posterior.n_draws == 12
    beta = fit["posterior"]["beta"].to_numpy()
    np.testing.assert_array_equal(posterior.beta[5], beta[1, 1])
    back = posterior.labelled(posterior.beta, "term", ["Intercept", "x"], "beta")
    np.testing.assert_array_equal(back, beta)
    assert back.dims == ("chain", "draw", "term")


def test_columns_that_were_kept_stay_in_the_design(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ x + (1 | g)", frame, extra=("visit",))
    assert Posterior.from_fit(fit).design.frame["visit"].to_list() == frame["visit"].to_list()


def change(fit: xr.DataTree, **variables: object) -> xr.DataTree:
    changed = fit.copy()
    post = fit["posterior"].to_dataset()
    kept = post.drop_vars([name for name, value in variables.items() if value is None])
    new = {name: value for name, value in variables.items() if value is not None}
    changed["posterior"] = xr.DataTree(kept.assign(new))
    return changed


@pytest.fixture
def sloped(make_fit: MakeFit, frame: pd.DataFrame) -> xr.DataTree:
    return make_fit("y ~ x + (1 + x | g)", frame, corr={"g": RHO}, u=True)


@pytest.mark.parametrize("what", [None, 3, pd.DataFrame(), xr.DataTree()])
def test_not_a_fit(what: object) -> None:
    with pytest.raises(
        SpecificationError, match=r"isn't a fit made by popavg.*Pass the fit itself"
    ):
        Posterior.from_fit(what)  # ty: ignore[invalid-argument-type]


def test_a_fit_without_draws(sloped: xr.DataTree) -> None:
    part = sloped.copy()
    del part["posterior"]
    with pytest.raises(SpecificationError, match="the fit has no group 'posterior'"):
        Posterior.from_fit(part)


@pytest.mark.parametrize("name", ["beta", "sd_g", "corr_g"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_draws_that_are_not_finite_are_counted(
    sloped: xr.DataTree, name: str, value: float
) -> None:
    array = sloped["posterior"][name].copy(deep=True)
    array[0, 3] = value
    array[1, 2] = value
    words = rf"2 of 12 draws of '{name}' are NaN or infinite, first chain 0, draw 3"
    with pytest.raises(DataError, match=words):
        Posterior.from_fit(change(sloped, **{name: array}))


def test_effects_are_checked_where_they_are_used(sloped: xr.DataTree) -> None:
    u = sloped["posterior"]["u_g"].copy(deep=True)
    u[1, 2] = np.nan
    posterior = Posterior.from_fit(change(sloped, u_g=u))
    assert posterior.block().n_draws == 12
    with pytest.raises(DataError, match=r"1 of 12 draws of 'u_g' are NaN.*first chain 1, draw 2"):
        posterior.effects("g")


@pytest.mark.parametrize("value", [np.nan, 0.0, -1.0])
def test_the_residual_standard_deviation_is_above_zero(
    make_fit: MakeFit, frame: pd.DataFrame, value: float
) -> None:
    fit = make_fit("value ~ x + (1 | g)", frame, "identity")
    sigma = xr.DataArray(np.ones((2, 6)), dims=("chain", "draw"))
    assert Posterior.from_fit(change(fit, sigma=sigma)).n_draws == 12
    sigma[1, 5] = value
    with pytest.raises(DataError, match=r"1 of 12 draws of 'sigma' are .*first chain 1, draw 5"):
        Posterior.from_fit(change(fit, sigma=sigma))


def test_reading_does_not_copy_the_effects(sloped: xr.DataTree) -> None:
    posterior = Posterior.from_fit(sloped)
    stored = sloped["posterior"]["u_g"].transpose("chain", "draw", ...).to_numpy()
    assert np.shares_memory(posterior.effects("g"), stored)


@pytest.mark.parametrize("name", ["beta", "sd_g", "corr_g"])
def test_missing_variables_are_named(sloped: xr.DataTree, name: str) -> None:
    with pytest.raises(DataError, match=rf"the posterior has no '{name}'.*names that popavg uses"):
        Posterior.from_fit(change(sloped, **{name: None}))


def test_draws_need_chains(sloped: xr.DataTree) -> None:
    flat = sloped["posterior"]["beta"].isel(chain=0, drop=True)
    with pytest.raises(DataError, match=r"'beta' has the dims 'draw', 'term'.*chain, draw"):
        Posterior.from_fit(change(sloped, beta=flat))


def test_labels_that_do_not_fit(sloped: xr.DataTree) -> None:
    renamed = sloped["posterior"]["beta"].assign_coords(term=["Intercept", "z"])
    other = sloped["posterior"].to_dataset().drop_vars("beta").drop_vars("term")
    fit = sloped.copy()
    fit["posterior"] = xr.DataTree(other.assign(beta=renamed))
    with pytest.raises(DataError, match=r"'beta' has 'Intercept', 'z' along 'term'.*'x'"):
        _ = Posterior.from_fit(fit).beta


def test_negative_standard_deviations(sloped: xr.DataTree) -> None:
    sd = sloped["posterior"]["sd_g"].copy(deep=True)
    sd[0, :2, 1] = -0.5
    with pytest.raises(DataError, match=r"2 of 12 draws of 'sd_g' are negative, first chain 0"):
        Posterior.from_fit(change(sloped, sd_g=sd))


@pytest.mark.parametrize(
    "matrix", [[[1, 1.01], [1.01, 1]], [[1, 0.5], [0.2, 1]], [[2, 0.1], [0.1, 2]]]
)
def test_what_is_not_a_correlation_matrix(sloped: xr.DataTree, matrix: list[list[float]]) -> None:
    corr = sloped["posterior"]["corr_g"].copy(deep=True)
    corr[1, 4] = np.array(matrix)
    posterior = Posterior.from_fit(change(sloped, corr_g=corr))
    with pytest.raises(DataError, match=r"1 of 12 draws of 'corr_g' aren't correlation matrices"):
        posterior.covariance("g")


def test_correlations_stored_in_single_precision_are_accepted() -> None:
    exact = np.array([[1.0, 0.1, 0.2], [0.1, 1.0, 0.3], [0.2, 0.3, 1.0]])
    stored = exact[None].astype(np.float32)
    stored[0, 0, 0] = np.float32(1 + 1e-7)
    check_correlations("corr_g", stored.dtype, stored.astype(float))
    with pytest.raises(DataError, match="aren't correlation matrices"):
        check_correlations("corr_g", np.dtype(float), stored.astype(float))


def test_effects_that_are_not_there(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    posterior = Posterior.from_fit(make_fit("y ~ x + (1 | g)", frame))
    with pytest.raises(EstimandError, match=r"no draws 'u_g'.*pa\.add_cluster_effects\(fit\)"):
        posterior.effects("g")


@pytest.mark.parametrize("name", ["X", "Z_g", "index_g", "offset"])
def test_a_design_that_is_not_that_of_the_fit(sloped: xr.DataTree, name: str) -> None:
    changed = sloped.copy()
    constants = sloped["constant_data"].to_dataset().copy(deep=True)
    constants[name] = constants[name] + 1
    changed["constant_data"] = xr.DataTree(constants)
    with pytest.raises(StorageError, match="isn't the one that it was made with"):
        Posterior.from_fit(changed)


def test_a_store_that_is_gone(sloped: xr.DataTree, tmp_path: Path) -> None:
    """Zarr reads NaN where files are missing: the store is to blame, not the draws."""
    pytest.importorskip("zarr")
    path = tmp_path / "fit.zarr"
    sloped.to_zarr(path, consolidated=False)
    lazy = sloped.copy()
    stored = xr.open_datatree(path, engine="zarr", chunks={}, consolidated=False)
    lazy["posterior"] = stored["posterior"]
    lazy.encoding["source"] = stored.encoding["source"]
    waiting = pa.avg_predictions(lazy)
    posterior = Posterior.from_fit(lazy)
    shutil.rmtree(path)
    for use in (
        waiting.compute,
        lambda: pa.population_coefficients(lazy),
        lambda: pa.heterogeneity(lazy).compute(),
        lambda: posterior.beta,
        posterior.block,
    ):
        with pytest.raises(StorageError, match=r"the store '.*fit\.zarr', .* is gone.*Put it back"):
            use()
    assert Posterior.from_fit(sloped).store == ""


def test_lazy_draws_that_are_nan_in_a_store_that_is_there(
    sloped: xr.DataTree, tmp_path: Path
) -> None:
    lazy = sloped.copy()
    data = sloped["posterior"].to_dataset()
    broken = data.assign(beta=data["beta"].where(data["draw"] != 3))
    lazy["posterior"] = xr.DataTree(broken.chunk({"draw": 2}))
    lazy.encoding["source"] = str(tmp_path)
    with pytest.raises(DataError, match=r"draws of 'beta' in the block .* are NaN"):
        pa.avg_predictions(lazy).compute()


@pytest.mark.parametrize("kind", [str, complex, object])
def test_draws_that_are_not_numbers(sloped: xr.DataTree, kind: type) -> None:
    changed = sloped.copy()
    data = sloped["posterior"].to_dataset()
    changed["posterior"] = xr.DataTree(data.assign(beta=data["beta"].astype(kind)))
    with pytest.raises(DataError, match=r"draws of 'beta' are of type .*Allowed: real numbers"):
        pa.avg_predictions(changed)
