"""Names and conventions of brms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import popavg as pa
from popavg.errors import DataError
from popavg.posterior_tools.brms_names import brms_name
from popavg.posterior_tools.draws import Posterior

RNG = np.random.default_rng(4)
N_DRAWS = 12
FORMULA = "y ~ arm * x + scale(w) + poly(visit, 2) + I(x ** 2) + (1 + x | g)"
FIXED = ("Intercept", "armplacebo", "x", "scalew", "polyvisit21", "polyvisit22", "IxE2")
CLUSTERS = tuple(f"c{i}" for i in range(12))


def draws_of(*names: str, sd: tuple[str, ...] = (), cor: tuple[str, ...] = ()) -> pd.DataFrame:
    """Normal draws of these columns, positive ones of ``sd``, correlations of ``cor``."""
    rng = np.random.default_rng(1)
    columns = {".chain": np.repeat([1, 2], N_DRAWS // 2), ".draw": np.arange(N_DRAWS) + 1}
    columns |= {name: rng.normal(size=N_DRAWS) for name in names}
    columns |= {name: np.exp(0.2 * rng.normal(size=N_DRAWS)) for name in sd}
    columns |= {name: np.tanh(rng.normal(size=N_DRAWS)) for name in cor}
    return pd.DataFrame(columns)


def table() -> pd.DataFrame:
    effects = [f"r_g[{c},{e}]" for e in ("Intercept", "x") for c in reversed(CLUSTERS)]
    return draws_of(
        "b_armplacebo:x",
        *(f"b_{name}" for name in reversed(FIXED)),
        *effects,
        *("lp__", "lprior", "Intercept", "z_1[1,1]"),
        sd=("sd_g__Intercept", "sd_g__x"),
        cor=("cor_g__Intercept__x",),
    )


def read(draws: Any, formula: str, data: pd.DataFrame, **kwargs: Any) -> Any:
    return pa.from_draws(draws, formula, data, link="logit", names="brms", **kwargs)


def r_design(frame: pd.DataFrame) -> dict[str, Any]:
    """The columns as R computes them."""
    x, w = frame["x"].to_numpy(), frame["w"].to_numpy()
    placebo = (frame["arm"] == "placebo").to_numpy(dtype=float)
    visit = frame["visit"].to_numpy(dtype=float)
    powers = np.vander(visit - visit.mean(), 3, increasing=True)
    q, r = np.linalg.qr(powers)
    poly = (q * np.sign(np.diag(r)))[:, 1:]
    return {
        "b_Intercept": np.ones(len(x)),
        "b_armplacebo": placebo,
        "b_x": x,
        "b_armplacebo:x": placebo * x,
        "b_scalew": (w - w.mean()) / w.std(ddof=1),
        "b_polyvisit21": poly[:, 0],
        "b_polyvisit22": poly[:, 1],
        "b_IxE2": x**2,
    }


def r_predictor(frame: pd.DataFrame, draws: pd.DataFrame) -> np.ndarray:
    """Linear predictor of R's columns by a double loop, shape (draws, rows)."""
    columns = r_design(frame)
    eta = np.zeros((len(draws), len(frame)))
    for s in range(len(draws)):
        for i in range(len(frame)):
            eta[s, i] = sum(draws[name].iloc[s] * column[i] for name, column in columns.items())
            g, x = frame["g"].iloc[i], frame["x"].iloc[i]
            eta[s, i] += draws[f"r_g[{g},Intercept]"].iloc[s] + draws[f"r_g[{g},x]"].iloc[s] * x
    return eta


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("(Intercept)", "Intercept"),
        ("treatmentterbinafine:time", "treatmentterbinafine:time"),
        ("I(log(x + 1)^2)", "IlogxP1E2"),
        ("bs(x, df = 4)1", "bsxdfEQ41"),
        ("armc-d", "armcMd"),
        ("arma b/c*d", "armabDcMUd"),
    ],
)
def test_names_lose_their_signs_as_in_brms(name: str, expected: str) -> None:
    assert brms_name(name) == expected


def test_every_convention_at_once(frame: pd.DataFrame) -> None:
    """R's scale(), R's order of interactions, labels of clusters: eta is R's own."""
    draws = table()
    eta = r_predictor(frame, draws)
    fit = read(draws, FORMULA, frame, eta=eta, tolerance=1e-10)
    posterior = Posterior.from_fit(fit)
    factor = np.sqrt(59 / 60)
    at = posterior.design.matrices.terms.index("scale(w)")
    np.testing.assert_allclose(posterior.beta[:, at], draws["b_scalew"] * factor, rtol=1e-14)
    sd, rho = draws[["sd_g__Intercept", "sd_g__x"]].to_numpy(), draws["cor_g__Intercept__x"]
    expected = rho * sd[:, 0] * sd[:, 1]
    np.testing.assert_allclose(posterior.covariance("g")[:, 0, 1], expected, rtol=1e-12)
    assert dict(fit["posterior"].sizes)["chain"] == 2


def test_a_naive_scale_would_be_found(frame: pd.DataFrame) -> None:
    """Without R's n - 1 the predictor differs: the check can fail."""
    draws = table()
    eta = r_predictor(frame, draws.assign(b_scalew=draws["b_scalew"] * 1.01))
    with pytest.raises(DataError, match=r"lies in the terms 'scale\(w\)'"):
        read(draws, FORMULA, frame, eta=eta)


def test_interactions_in_either_order(frame: pd.DataFrame) -> None:
    names = ["b_Intercept", "b_armplacebo", "b_x"]
    swapped = draws_of(*names, "b_x:armplacebo", sd=("sd_g__Intercept",))
    same = draws_of(*names, "b_armplacebo:x", sd=("sd_g__Intercept",))
    formula = "y ~ arm * x + (1 | g)"
    xr_equal = read(swapped, formula, frame)["posterior"].to_dataset()
    assert xr_equal.identical(read(same, formula, frame)["posterior"].to_dataset())


def test_nested_factors_booleans_and_encoded_numbers(frame: pd.DataFrame) -> None:
    data = frame.assign(late=frame["visit"] > 2, herd=frame["h"].str.replace("h", "herd "))
    draws = draws_of(
        *("b_Intercept", "b_lateTRUE", "b_factorvisit1", "b_factorvisit2"),
        *("b_factorvisit3", "b_armplacebo"),
        *(f"r_herd[herd.{i},Intercept]" for i in range(4)),
        *(f"r_herd:g[herd.{i // 3}_c{i},Intercept]" for i in range(12)),
        sd=("sd_herd__Intercept", "sd_herd:g__Intercept"),
    )
    formula = "y ~ late + C(visit) + arm + (1 | herd/g)"
    data = data.assign(visit=np.minimum(frame["visit"], 3), late=data["x"] > 0)
    posterior = Posterior.from_fit(read(draws, formula, data))
    effects = posterior.effects("herd:g")[:, :, 0]
    levels = posterior.design.matrices.groups[1].levels
    column = draws["r_herd:g[herd.1_c4,Intercept]"]
    np.testing.assert_array_equal(effects[:, levels.index("herd 1:c4")], column)


def test_another_reference_level_says_how_to_order_the_categories(frame: pd.DataFrame) -> None:
    draws = draws_of("b_Intercept", "b_armactive", sd=("sd_g__Intercept",))
    formula = "y ~ arm + (1 | g)"
    with pytest.raises(DataError, match="'b_armactive' for the level 'active'") as caught:
        read(draws, formula, frame)
    assert "['placebo', 'active'], ordered=True)" in str(caught.value)
    ordered = pd.Categorical(frame["arm"].astype(str), ["placebo", "active"], ordered=True)
    assert read(draws, formula, frame.assign(arm=ordered))


def test_the_centred_intercept_is_never_taken_for_the_intercept(frame: pd.DataFrame) -> None:
    draws = draws_of("Intercept", "b_x", sd=("sd_g__Intercept",))
    with pytest.raises(DataError, match="'Intercept' belongs to centred columns"):
        read(draws, "y ~ x + (1 | g)", frame)
    posterior = Posterior.from_fit(read(draws, "y ~ x + (1 | g)", frame, centred=True))
    expected = draws["Intercept"] - frame["x"].mean() * draws["b_x"]
    np.testing.assert_allclose(posterior.beta[:, 0], expected, rtol=1e-12)
    with pytest.raises(DataError, match="'b_Intercept' belongs to the columns as they are"):
        read(draws.assign(b_Intercept=0.0), "y ~ x + (1 | g)", frame, centred=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drop": ["b_x"]}, r"no draws for 'x' \(looked for 'b_x'\).*Export .*'beta': {'x': …"),
        (
            {"drop": ["b_x"], "add": {"b_xx": 1.0}},
            r"no draws for 'x' .*formula: 'b_xx'\..*Did you mean 'b_xx' for 'x'\? Then give data",
        ),
        ({"add": {"b_z": 1.0}}, r"draws without a place in the formula: 'b_z'\..*Add what is miss"),
        (
            {"add": {"sd_h__Intercept": 1.0}},
            r"a random intercept over 'h' that the formula lacks \('sd_h__Intercept'\)\. .*"
            r"Write '\(1 \| h\)' in the formula",
        ),
        (
            {"add": {"sd_g__w": 1.0, "cor_g__x__w": 0.1}},
            r"a random slope of 'w' over 'g' that the formula lacks \('sd_g__w', 'cor_g__x__w'\)"
            r".*Write '\(1 \+ w \| g\)' in the formula",
        ),
        (
            {"drop": ["sd_g__Intercept"]},
            r"no draws for the standard deviation of 'Intercept \| g' \(looked for "
            r"'sd_g__Intercept'\).*Export these draws too",
        ),
        (
            {"drop": ["sd_g__x"]},
            r"no draws for the standard deviation of 'x \| g' .*leave it out of the form",
        ),
        ({"drop": ["sd_g__Intercept", "sd_g__x"]}, r"of 'Intercept \| g', 'x \| g'.*'sd_g': …"),
        ({"drop": ["cor_g__Intercept__x"]}, "no 'cor_g__Intercept__x'.*fitted with '||'"),
        ({"drop": ["r_g[c3,x]"]}, r"1 have no draws \('r_g\[c3,x\]'\)"),
        ({"add": {"r_g[c99,x]": 1.0}}, r"1 of the draws aren't in the data \('r_g\[c99,x\]'\)"),
        ({"add": {"sds_sx_1": 1.0}}, "another kind of model: 'sds_sx_1'"),
        ({"add": {"shape": 1.0}}, "another kind of model: 'shape'"),
        ({"add": {"df_g": 4.0}}, "another kind of model: 'df_g'"),
        ({"add": {"sigma": 1.0}}, "residual standard deviation 'sigma'"),
        ({"add": {"sd_g__x": -1.0}}, "12 of 12 draws of 'sd_g' are negative"),
        ({"add": {"sd_g__x": 0.0}}, "are zero, the first is draw 1 of chain 1.*exactly 0"),
        ({"add": {"cor_g__Intercept__x": 1.1}}, "12 of 12 draws of 'corr_g' aren't positive def"),
    ],
)
def test_what_does_not_agree_is_named(
    frame: pd.DataFrame, change: dict[str, Any], message: str
) -> None:
    effects = [f"r_g[{c},{e}]" for e in ("Intercept", "x") for c in CLUSTERS]
    draws = draws_of(
        *("b_Intercept", "b_x", *effects),
        sd=("sd_g__Intercept", "sd_g__x"),
        cor=("cor_g__Intercept__x",),
    )
    draws = draws.drop(columns=change.get("drop", [])).assign(**change.get("add", {}))
    with pytest.raises(DataError, match=message):
        read(draws, "y ~ x + (1 + x | g)", frame)


def test_a_factor_under_another_name(frame: pd.DataFrame) -> None:
    draws = draws_of("b_Intercept", "b_x", sd=("sd_subject__Intercept",))
    with pytest.raises(DataError, match="a random intercept over 'subject'") as caught:
        read(draws, "y ~ x + (1 | g)", frame)
    assert "Did you mean 'sd_subject__Intercept' for 'Intercept | g'?" in str(caught.value)


def test_a_level_that_the_data_lack(frame: pd.DataFrame) -> None:
    draws = draws_of("b_Intercept", "b_armsurgery", sd=("sd_g__Intercept",))
    with pytest.raises(DataError, match=r"about a level 'surgery' of 'arm'.*'active', 'placebo'"):
        read(draws, "y ~ arm + (1 | g)", frame)


def test_a_second_factor_is_not_confused_with_the_first(frame: pd.DataFrame) -> None:
    draws = draws_of("b_Intercept", "b_x", sd=("sd_h__Intercept",))
    with pytest.raises(DataError, match=r"standard deviation of 'Intercept \| h:g'") as caught:
        read(draws, "y ~ x + (1 | h/g)", frame)
    assert "'sd_h__Intercept'" not in str(caught.value)


def test_correlations_that_the_formula_lacks(frame: pd.DataFrame) -> None:
    draws = draws_of(
        *("b_Intercept", "b_x"),
        sd=("sd_g__Intercept", "sd_g__x"),
        cor=("cor_g__Intercept__x",),
    )
    formula = "y ~ x + (1 | g) + (0 + x | g)"
    with pytest.raises(DataError, match="without a place in the formula: 'cor_g__Intercept__x'"):
        read(draws, formula, frame)
    fit = read(draws.drop(columns="cor_g__Intercept__x"), formula, frame)
    assert "corr_g" not in fit["posterior"]


def test_other_draws_are_told_from_those_of_brms(frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="no 'b_…' among 'alpha', 'beta'"):
        read(draws_of("alpha", "beta"), "y ~ x + (1 | g)", frame)


def test_least_squares_of_the_stored_fit(reference: Path) -> None:
    """The package's data under brms's name of the cluster; exact numbers by quadrature."""
    data = pa.load_dataset("toenail").rename(columns={"patient": "patientID"})
    path = reference / "brms_toenail_draws.csv"
    fit = read(path, "y ~ treatment * time + (1 | patientID)", data)
    exact = pd.read_csv(reference / "exact_marginal_draws_toenail.csv")
    found = pa.population_coefficients(fit, "least_squares").draws.to_numpy().reshape(-1, 4)
    assert len(found) == 400
    np.testing.assert_allclose(found, exact.to_numpy(), rtol=1e-9, atol=1e-11)


def test_a_gaussian_fit_has_its_sigma(frame: pd.DataFrame) -> None:
    draws = draws_of("b_Intercept", "b_x", sd=("sd_g__Intercept", "sigma"))
    fit = pa.from_draws(draws, "value ~ x + (1 | g)", frame, link="identity", names="brms")
    np.testing.assert_array_equal(fit["posterior"]["sigma"].to_numpy().ravel(), draws["sigma"])


def test_contrasts_that_sum_to_zero(frame: pd.DataFrame) -> None:
    """contr.sum: the first level is 1, the last is -1, and R numbers the columns."""
    draws = draws_of("b_Intercept", "b_r1", "b_r2", "b_r3", "b_r4", sd=("sd_g__Intercept",))
    formula = "y ~ r + (1 | g)"
    with pytest.raises(DataError, match=r"numbers the columns of 'r'.*C\(r, Sum\) for contr.sum"):
        read(draws, formula, frame)
    matrix = np.vstack([np.eye(4), -np.ones(4)])
    columns = matrix[pd.Categorical(frame["r"]).codes]
    effects = {f"r_g[{c},Intercept]": np.zeros(N_DRAWS) for c in CLUSTERS}
    coefficients = draws[["b_r1", "b_r2", "b_r3", "b_r4"]].to_numpy()
    eta = draws[["b_Intercept"]].to_numpy() + coefficients @ columns.T
    sums = "y ~ C(r, Sum) + (1 | g)"
    assert read(draws.assign(**effects), sums, frame, eta=eta, tolerance=1e-10)
    helmert = np.array([[-1.0] * 4, [1, -1, -1, -1], [0, 2, -1, -1], [0, 0, 3, -1], [0, 0, 0, 4]])
    other = (
        draws[["b_Intercept"]].to_numpy()
        + coefficients @ helmert[pd.Categorical(frame["r"]).codes].T
    )
    with pytest.raises(DataError, match=r"lies in the terms .*contrast coding"):
        read(draws.assign(**effects), sums, frame, eta=other)


def test_polynomials_of_ordered_factors(frame: pd.DataFrame) -> None:
    draws = draws_of("b_Intercept", "b_arm.L", sd=("sd_g__Intercept",))
    with pytest.raises(DataError, match="the ordered factor 'arm' by polynomials: fit again"):
        read(draws, "y ~ arm + (1 | g)", frame)
