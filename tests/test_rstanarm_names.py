"""Names and conventions of rstanarm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import popavg as pa
from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools.draws import Posterior

N_DRAWS = 12
CLUSTERS = [f"c{i}" for i in range(12)]
FORMULA = "y ~ arm * scale(w) + (1 + scale(w) | g)"


def table() -> pd.DataFrame:
    """Columns as as.data.frame(fit) gives them; the covariances of every draw from a factor."""
    rng = np.random.default_rng(2)
    root = rng.normal(size=(N_DRAWS, 2, 2))
    sigma = root @ root.mT + 0.1 * np.eye(2)
    names = ["(Intercept)", "armplacebo", "scale(w)", "armplacebo:scale(w)"]
    columns = {name: rng.normal(size=N_DRAWS) for name in names}
    for c in CLUSTERS:
        for effect in ("(Intercept)", "scale(w)"):
            columns[f"b[{effect} g:{c}]"] = rng.normal(size=N_DRAWS)
    columns["b[(Intercept) g:_NEW_g]"] = rng.normal(size=N_DRAWS)
    columns["Sigma[g:(Intercept),(Intercept)]"] = sigma[:, 0, 0]
    columns["Sigma[g:scale(w),(Intercept)]"] = sigma[:, 1, 0]
    columns["Sigma[g:scale(w),scale(w)]"] = sigma[:, 1, 1]
    columns |= {"mean_PPD": rng.random(N_DRAWS), "log-posterior": rng.random(N_DRAWS)}
    return pd.DataFrame(columns)


def read(draws: Any, formula: str, data: pd.DataFrame, **kwargs: Any) -> Any:
    return pa.from_draws(draws, formula, data, link="logit", names="rstanarm", **kwargs)


def r_predictor(frame: pd.DataFrame, draws: pd.DataFrame) -> np.ndarray:
    w = frame["w"].to_numpy()
    w = (w - w.mean()) / w.std(ddof=1)
    eta = np.zeros((len(draws), len(frame)))
    for s in range(len(draws)):
        row = draws.iloc[s]
        for i, (arm, g) in enumerate(zip(frame["arm"], frame["g"], strict=True)):
            placebo = float(arm == "placebo")
            eta[s, i] = row["(Intercept)"] + row["armplacebo"] * placebo
            eta[s, i] += (row["scale(w)"] + row["armplacebo:scale(w)"] * placebo) * w[i]
            eta[s, i] += row[f"b[(Intercept) g:{g}]"] + row[f"b[scale(w) g:{g}]"] * w[i]
    return eta


def test_sigma_holds_variances_and_scale_has_n_minus_one(frame: pd.DataFrame) -> None:
    draws = table()
    eta = r_predictor(frame, draws)
    posterior = Posterior.from_fit(read(draws, FORMULA, frame, eta=eta, tolerance=1e-10))
    variance = posterior.standard_deviations("g")[:, 0] ** 2
    np.testing.assert_allclose(variance, draws["Sigma[g:(Intercept),(Intercept)]"], rtol=1e-12)
    covariance = draws["Sigma[g:scale(w),(Intercept)]"] * np.sqrt(59 / 60)
    np.testing.assert_allclose(posterior.covariance("g")[:, 0, 1], covariance, rtol=1e-10)


def test_chains_are_stacked(frame: pd.DataFrame) -> None:
    fit = read(table(), FORMULA, frame, chains=3)
    assert dict(fit["posterior"].sizes)["chain"] == 3
    expected = table()["(Intercept)"].to_numpy().reshape(3, 4)
    np.testing.assert_array_equal(fit["posterior"]["beta"].sel(term="Intercept"), expected)


def test_nested_factors_are_called_the_other_way_round(frame: pd.DataFrame) -> None:
    rng = np.random.default_rng(3)
    herds = frame["h"].str.replace("h", "herd ")
    columns = {"(Intercept)": rng.normal(size=N_DRAWS), "x": rng.normal(size=N_DRAWS)}
    columns |= {f"b[(Intercept) h:herd_{i}]": rng.normal(size=N_DRAWS) for i in range(4)}
    columns |= {
        f"b[(Intercept) g:h:c{i}:herd_{i // 3}]": rng.normal(size=N_DRAWS) for i in range(12)
    }
    columns |= {f"Sigma[{g}:(Intercept),(Intercept)]": rng.random(N_DRAWS) for g in ("h", "g:h")}
    draws = pd.DataFrame(columns)
    posterior = Posterior.from_fit(read(draws, "y ~ x + (1 | h/g)", frame.assign(h=herds)))
    levels = posterior.design.matrices.groups[1].levels
    found = posterior.effects("h:g")[:, levels.index("herd 2:c7"), 0]
    np.testing.assert_array_equal(found, draws["b[(Intercept) g:h:c7:herd_2]"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drop": ["armplacebo"]}, r"no draws for 'arm\[placebo\]'"),
        ({"add": {"visit": 1.0}}, "without a place in the formula: 'visit'"),
        ({"add": {"reciprocal_dispersion": 1.0}}, "another kind of model"),
        (
            {"drop": ["Sigma[g:scale(w),scale(w)]"]},
            r"no draws for the variance of 'scale\(w\) \| g' \(looked for 'Sigma\[g:scale\(w\),sca",
        ),
        ({"drop": ["Sigma[g:scale(w),(Intercept)]"]}, r"no 'Sigma\[g:\(Intercept\),scale\(w\)\]'"),
        (
            {"add": {"Sigma[g:x,x]": 1.0, "Sigma[g:x,(Intercept)]": 0.0, "b[x g:c1]": 0.0}},
            r"a random slope of 'x' over 'g' that the formula lacks .*Write '\(1 \+ x \| g\)'",
        ),
        ({"drop": ["b[scale(w) g:c3]"]}, r"1 have no draws \('b\[scale\(w\) g:c3\]'\)"),
        ({"add": {"b[scale(w) g:c33]": 0.0}}, r"1 of the draws aren't in the data"),
        ({"add": {"Sigma[g:scale(w),scale(w)]": -1.0}}, "12 of 12 draws of 'the diagonal of Sig"),
        ({"add": {"Sigma[g:scale(w),(Intercept)]": 99.0}}, "aren't positive definite"),
        ({"add": {"(Intercept)": np.inf}}, r"12 of 12 draws of '\(Intercept\)' are NaN"),
    ],
)
def test_what_does_not_agree_is_named(
    frame: pd.DataFrame, change: dict[str, Any], message: str
) -> None:
    draws = table().drop(columns=change.get("drop", [])).assign(**change.get("add", {}))
    with pytest.raises(DataError, match=message):
        read(draws, FORMULA, frame)


def test_another_factor_and_another_reference_level(frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"no draws for the variance of 'Intercept \| h'"):
        read(table(), "y ~ arm * scale(w) + (1 | h)", frame)
    names = {"armplacebo": "armactive", "armplacebo:scale(w)": "armactive:scale(w)"}
    with pytest.raises(DataError, match="'armactive' for the level 'active'"):
        read(table().rename(columns=names), FORMULA, frame)


def test_the_intercept_is_shifted_back_already(frame: pd.DataFrame) -> None:
    with pytest.raises(SpecificationError, match=r"rstanarm's .* shifted back already"):
        read(table(), FORMULA, frame, centred=True)
