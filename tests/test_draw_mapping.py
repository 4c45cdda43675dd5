"""Draws whose names the user declares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import popavg as pa
from popavg.errors import DataError, PopavgError, SpecificationError
from popavg.posterior_tools.draws import Posterior

SHAPE = (2, 6)
FORMULA = "y ~ x + arm + (1 + x | g)"
TERMS = ("Intercept", "x", "arm[placebo]")
RNG = np.random.default_rng(5)
B = RNG.normal(size=(*SHAPE, 3))
ROOT = np.tril(RNG.normal(size=(*SHAPE, 2, 2))) * [[1, 0], [1, 1]]
ROOT[..., [0, 1], [0, 1]] = np.abs(ROOT[..., [0, 1], [0, 1]]) + 0.2
SIGMA = ROOT @ ROOT.mT
SD = np.sqrt(np.einsum("cdqq->cdq", SIGMA))
R = SIGMA / SD[..., :, None] / SD[..., None, :]
Z = RNG.normal(size=(*SHAPE, 12, 2))
U = np.einsum("cdqr,cdgr->cdgq", ROOT, Z)
DRAWS = {
    "b": B,
    "S": SIGMA,
    "L": ROOT,
    "tau": SD,
    "v": SD**2,
    "R": R,
    "rho": R[..., 1, 0],
    "LR": ROOT / SD[..., :, None],
    "u": U,
    "z": Z,
    "alpha": B[..., 0],
    "slopes": B[..., 1:],
    "u_t": U.swapaxes(2, 3),
    "tau0": SD[..., 0],
    "tau1": SD[..., 1],
    "one": B[..., 1],
}


def read(names: dict[str, Any], data: pd.DataFrame, draws: Any = None, **kwargs: Any) -> Posterior:
    formula = kwargs.pop("formula", FORMULA)
    fit = pa.from_draws(
        DRAWS if draws is None else draws, formula, data, link="logit", names=names, **kwargs
    )
    return Posterior.from_fit(fit)


@pytest.mark.parametrize(
    "names",
    [
        {"sd_g": "tau", "corr_g": "R"},
        {"sd_g": "tau", "corr_g": "rho"},
        {"sd_g": ["tau0", "tau1"], "corr_g": "rho"},
        {"sd_g": {"x": "tau1", "Intercept": "tau0"}, "chol_corr_g": "LR"},
        {"var_g": "v", "corr_g": "R"},
        {"cov_g": "S"},
        {"chol_g": "L"},
    ],
)
@pytest.mark.parametrize("effects", [{"u_g": "u"}, {"z_g": "z"}, {"u_g": "u_t"}])
def test_every_form_of_the_scales_is_the_same_matrix(
    frame: pd.DataFrame, names: dict[str, Any], effects: dict[str, str]
) -> None:
    levels = sorted(frame["g"].unique())
    posterior = read({"beta": "b", **names, **effects, "levels_g": levels}, frame)
    np.testing.assert_allclose(posterior.covariance("g"), SIGMA.reshape(-1, 2, 2), rtol=1e-10)
    np.testing.assert_allclose(posterior.effects("g"), U.reshape(-1, 12, 2), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "names",
    [
        "b",
        ["alpha", "slopes"],
        ["b[0]", "b[1]", "b[2]"],
        {"arm[placebo]": "b[2]", "Intercept": "alpha", "x": "one"},
    ],
)
def test_every_form_of_the_coefficients(frame: pd.DataFrame, names: Any) -> None:
    posterior = read({"beta": names, "cov_g": "S"}, frame)
    np.testing.assert_array_equal(posterior.beta, B.reshape(-1, 3))


def test_labels_put_axes_in_order(frame: pd.DataFrame) -> None:
    """Terms and clusters in any order, as an xarray dataset labels them."""
    clusters = [f"c{i}" for i in range(12)]
    terms = [TERMS[k] for k in (2, 0, 1)]
    levels = sorted(clusters)
    draws = xr.Dataset(
        {
            "b": (("chain", "draw", "k"), B[..., [2, 0, 1]]),
            "u": (("chain", "draw", "who", "e"), U[:, :, [levels.index(c) for c in clusters]]),
            "S": (("chain", "draw", "e", "f"), SIGMA[..., ::-1, ::-1]),
        },
        coords={"k": terms, "who": clusters, "e": ["x", "Intercept"], "f": ["x", "Intercept"]},
    )
    draws["u"] = (("chain", "draw", "who", "e"), draws["u"].to_numpy()[..., ::-1])
    posterior = read({"beta": "b", "cov_g": "S", "u_g": "u"}, frame, draws)
    np.testing.assert_array_equal(posterior.beta, B.reshape(-1, 3))
    np.testing.assert_allclose(posterior.covariance("g"), SIGMA.reshape(-1, 2, 2), rtol=1e-10)
    np.testing.assert_array_equal(posterior.effects("g"), U.reshape(-1, 12, 2))
    with pytest.raises(DataError, match="'b' has the labels 'a', 'b', 'c'"):
        read({"beta": "b", "cov_g": "S"}, frame, draws.assign_coords(k=["a", "b", "c"]))


def test_clusters_without_labels_have_one_order_or_it_is_declared(frame: pd.DataFrame) -> None:
    """c0, c1, c2, … by the rows; c0, c1, c10, … sorted: both are usual."""
    names = {"beta": "b", "cov_g": "S", "u_g": "u"}
    with pytest.raises(DataError, match="can't be told: sorted it is 'c0', 'c1', 'c10', 'c11'"):
        read(names, frame)
    by_rows = read({**names, "levels_g": frame["g"].unique()}, frame)
    place = by_rows.design.matrices.groups[0].levels.index("c2")
    np.testing.assert_array_equal(by_rows.effects("g")[:, place], U[:, :, 2].reshape(-1, 2))
    with pytest.raises(SpecificationError, match="lists 2 clusters: 'c0', 'c1'"):
        read({**names, "levels_g": ["c0", "c1"]}, frame)


def test_positions_count_as_labels_from_zero_and_from_one(frame: pd.DataFrame) -> None:
    columns = {f"b[{k + 1}]": B[..., k].ravel() for k in range(3)}
    columns |= {f"tau.{k + 1}": SD[..., k].ravel() for k in range(2)}
    columns |= {f"R.{i + 1}.{j + 1}": R[..., i, j].ravel() for i in range(2) for j in range(2)}
    table = pd.DataFrame({"chain__": np.repeat([1, 2], 6), **columns})
    posterior = read({"beta": "b", "sd_g": "tau", "corr_g": "R"}, frame, table)
    np.testing.assert_array_equal(posterior.beta, B.reshape(-1, 3))
    np.testing.assert_allclose(posterior.covariance("g"), SIGMA.reshape(-1, 2, 2), rtol=1e-10)
    numbered = xr.Dataset(
        {"b": (("chain", "draw", "k"), B), "S": (("chain", "draw", "e", "f"), SIGMA)},
        coords={"k": [0, 1, 2]},
    )
    assert np.array_equal(
        read({"beta": "b", "cov_g": "S"}, frame, numbered).beta[:, 2], B[..., 2].ravel()
    )


def test_a_centred_intercept_is_shifted_back(frame: pd.DataFrame) -> None:
    posterior = read({"beta": "b", "cov_g": "S"}, frame, centred=True)
    placebo = (frame["arm"] == "placebo").mean()
    shift = frame["x"].mean() * B[..., 1] + placebo * B[..., 2]
    np.testing.assert_allclose(posterior.beta[:, 0], (B[..., 0] - shift).ravel(), rtol=1e-12)
    np.testing.assert_array_equal(posterior.beta[:, 1:], B[..., 1:].reshape(-1, 2))
    with pytest.raises(DataError, match="the formula has no intercept"):
        read(
            {"beta": "b", "cov_g": "S"},
            frame,
            centred=True,
            formula="y ~ 0 + x + arm + (1 + x | g)",
        )


def test_random_intercepts_without_axes_of_their_own(frame: pd.DataFrame) -> None:
    frame = frame.assign(g=frame["g"].str[1:].astype(int))  # sorted as the rows are
    names = {"beta": ["alpha", "one"], "var_g": "v0", "u_g": "a"}
    draws = {**DRAWS, "v0": SD[..., 0] ** 2, "a": U[..., 0]}
    posterior = read(names, frame, draws, formula="y ~ x + (1 | g)")
    np.testing.assert_allclose(posterior.standard_deviations("g")[:, 0], SD[..., 0].ravel())
    np.testing.assert_array_equal(posterior.effects("g")[..., 0], U[..., 0].reshape(-1, 12))


def test_single_precision(frame: pd.DataFrame) -> None:
    """NumPyro's draws: correlations from their factor, whose rows have length 1 to 1e-7."""
    draws = {name: values.astype(np.float32) for name, values in DRAWS.items()}
    posterior = read({"beta": "b", "sd_g": "tau", "chol_corr_g": "LR"}, frame, draws)
    np.testing.assert_allclose(
        posterior.covariance("g"), SIGMA.reshape(-1, 2, 2), rtol=1e-4, atol=1e-5
    )


def test_a_model_without_random_effects(frame: pd.DataFrame) -> None:
    posterior = read({"beta": "b"}, frame, formula="y ~ x + arm")
    assert posterior.specification.group_names == ()


def test_sigma(frame: pd.DataFrame) -> None:
    fit = pa.from_draws(
        DRAWS, "value ~ x + arm", frame, link="identity", names={"beta": "b", "sigma": "tau0"}
    )
    np.testing.assert_array_equal(fit["posterior"]["sigma"], SD[..., 0])


S = SpecificationError
BASE = {"beta": "b", "cov_g": "S"}


@pytest.mark.parametrize(
    ("names", "kind", "message"),
    [
        ({"cov_g": "S"}, S, "names has no 'beta'"),
        ({**BASE, "sd_h": "tau"}, S, "names has 'sd_h'"),
        ({"beta": "b"}, S, r"names has nothing for the spread.*'var_g' \(variances\)"),
        ({**BASE, "sd_g": "tau"}, S, "names has 'sd_g', 'cov_g' for the spread"),
        ({**BASE, "corr_g": "R"}, S, "correlations once"),
        ({"beta": "b", "sd_g": "tau"}, DataError, "no correlations of the effects of 'g'"),
        ({**BASE, "u_g": "u", "z_g": "z"}, S, "names has 'u_g', 'z_g'"),
        ({**BASE, "u_g": "tau"}, DataError, r"'tau' has the shape \(2, 6, 2\)"),
        ({**BASE, "beta": "slopes"}, DataError, r"\(2, 6, 2\).*\(chains, draws, 3\).*Leave out"),
        ({**BASE, "beta": ["alpha", "one"]}, DataError, "2 numbers .'alpha' 1, 'one' 1"),
        ({**BASE, "beta": {"x": "one"}}, S, r"lacks 'Intercept', 'arm\[placebo\]'"),
        (
            {**BASE, "beta": {"Intercept": "one", "x": "one", "arm[placbo]": "one"}},
            S,
            r"has 'arm\[placbo\]'.*Did you mean 'arm\[placebo\]'",
        ),
        ({**BASE, "beta": "u"}, DataError, "Check the variable and the formula"),
        ({**BASE, "beta": "S"}, DataError, r"'S' has the shape \(2, 6, 2, 2\)"),
        ({**BASE, "beta": "bb"}, DataError, "the draws have no 'bb'"),
        ({**BASE, "cov_g": "R_"}, DataError, "the draws have no 'R_'"),
        (
            {**BASE, "cov_g": "R"},
            DataError,
            "'cov_g' has 1 on the diagonal in every draw.*Name correlations 'corr_g', beside",
        ),
        (
            {"beta": "b", "chol_g": "LR"},
            DataError,
            "LL' of chol_g.*on the diagonal.*Name their Cholesky factors 'chol_corr_g'",
        ),
        ({**BASE, "cov_g": "L"}, DataError, "aren't symmetric.*name them chol_g"),
        ({"beta": "b", "chol_g": "S"}, DataError, "has numbers above its diagonal"),
        ({"beta": "b", "sd_g": "tau", "corr_g": "S"}, DataError, "diagonal of 'corr_g' reaches"),
        ({"beta": "b", "sd_g": "slopes", "corr_g": "R"}, DataError, "'sd_g' are negative"),
        ({**BASE, "sigma": "tau0"}, DataError, "link='logit' means a bernoulli response"),
    ],
)
def test_bad_names(
    frame: pd.DataFrame, names: dict[str, Any], kind: type[PopavgError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        read(names, frame)


def test_standard_deviations_that_the_model_fixes_at_one(frame: pd.DataFrame) -> None:
    """What covariances with ones on the diagonal may mean beside correlations can be said."""
    draws = {**DRAWS, "ones": np.ones_like(SD)}
    posterior = read({"beta": "b", "sd_g": "ones", "corr_g": "R"}, frame, draws)
    np.testing.assert_allclose(posterior.covariance("g"), R.reshape(-1, 2, 2), rtol=1e-12)


def test_a_random_slope_that_the_formula_lacks(frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"'tau' has the shape.*Add to the formula .* random slope"):
        read({"beta": "b", "sd_g": "tau"}, frame, formula="y ~ x + arm + (1 | g)")


def test_covariances_that_the_formula_lacks(frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="'cov_g' has covariances, but the formula's effects"):
        read(BASE, frame, formula="y ~ x + arm + (1 | g) + (0 + x | g)")
    names = {"beta": "b", "sd_g": "tau", "corr_g": "R"}
    with pytest.raises(DataError, match="correlated in the draws, but not in the formula"):
        read(names, frame, formula="y ~ x + arm + (1 | g) + (0 + x | g)")
