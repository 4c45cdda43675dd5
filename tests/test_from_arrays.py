"""Fits from coefficients, covariances and matrices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import popavg as pa
from popavg.errors import DataError, PopavgError, SpecificationError
from popavg.posterior_tools.draws import Posterior

RNG = np.random.default_rng(6)
N, CHAINS, DRAWS = 60, 2, 7
TIME = np.tile(np.arange(5.0), 12)
AGE = RNG.normal(size=N)
X = np.column_stack([TIME, np.ones(N), AGE])
GROUPS = np.repeat(np.arange(12), 5)
BETA = 0.5 * RNG.normal(size=(CHAINS, DRAWS, 3))
ROOT = RNG.normal(size=(CHAINS, DRAWS, 2, 2))
COV = ROOT @ ROOT.mT + 0.1 * np.eye(2)
SD = np.sqrt(np.einsum("cdqq->cdq", COV))
U = RNG.normal(size=(CHAINS, DRAWS, 12, 2)) * SD[:, :, None, :]
Z = X[:, [0, 1]]
Y = RNG.integers(0, 2, N)


def make(**change: Any) -> Any:
    arguments = {"beta": BETA, "cov": COV, "X": X, "Z": Z, "link": "logit", **change}
    return pa.from_arrays(**arguments)


def test_columns_effects_and_covariances_find_their_places() -> None:
    """X has the intercept second, Z has time first: the design has both the other way round."""
    eta = BETA @ X.T + np.einsum("cdiq,iq->cdi", U[:, :, GROUPS], Z)
    fit = make(groups=GROUPS, u=U, eta=eta, tolerance=1e-10)
    posterior = Posterior.from_fit(fit)
    assert posterior.specification.formula == "~ 1 + x0 + x2 + (1 + x0 | group)"
    np.testing.assert_array_equal(posterior.beta, BETA[..., [1, 0, 2]].reshape(-1, 3))
    swapped = COV[..., ::-1, ::-1].reshape(-1, 2, 2)
    np.testing.assert_allclose(posterior.covariance("group"), swapped, rtol=1e-10)
    np.testing.assert_array_equal(posterior.effects("group"), U[..., ::-1].reshape(-1, 12, 2))
    wrong = eta.copy()
    wrong[1, 3, 8] += 0.1
    with pytest.raises(DataError, match=r"difference is 0.1, in row 8 .* of draw 4 of chain 2"):
        make(groups=GROUPS, u=U, eta=wrong)


def test_the_population_mean_by_a_double_loop() -> None:
    fit = make(link="probit")
    rows = pd.DataFrame({"x0": [0.0, 2.5], "x2": [1.0, -1.0]})
    found = pa.predictions(fit, newdata=rows).draws.to_numpy()
    from scipy.stats import norm

    for c in range(CHAINS):
        for d in range(DRAWS):
            for i, (time, age) in enumerate(rows.to_numpy()):
                eta = BETA[c, d] @ [time, 1.0, age]
                v = np.array([time, 1.0]) @ COV[c, d] @ [time, 1.0]
                np.testing.assert_allclose(
                    found[c, d, i], norm.cdf(eta / np.sqrt(1 + v)), rtol=1e-9
                )


def test_names_of_frames_and_several_factors(tmp_path: Path) -> None:
    frame = pd.DataFrame({"one": 1.0, "time": TIME, "arm[new]:time": AGE})
    herds = np.array([f"h{g // 3}" for g in GROUPS])
    fit = pa.from_arrays(
        BETA[0],
        {"cow": np.ones(DRAWS), "herd": COV[0]},
        frame,
        {"herd": frame[["one", "time"]]},
        groups={"cow": GROUPS, "herd": herds},
        link="logit",
        y=Y,
        offset=AGE / 9,
    )
    posterior = Posterior.from_fit(fit)
    assert posterior.design.matrices.terms == ("Intercept", "time", "arm[new]:time")
    assert [g.effects for g in posterior.design.matrices.groups] == [
        ("Intercept",),
        ("Intercept", "time"),
    ]
    np.testing.assert_array_equal(posterior.design.matrices.offset, AGE / 9)
    pa.save(fit, tmp_path / "fit.nc")
    before, after = (
        pa.population_coefficients(f, "least_squares").draws.to_numpy()
        for f in (fit, pa.load(tmp_path / "fit.nc"))
    )
    np.testing.assert_array_equal(before, after)


def test_uncorrelated_standard_deviations_and_variances() -> None:
    sd = np.exp(BETA[..., :2])
    posterior = Posterior.from_fit(make(cov=None, sd=sd))
    assert posterior.design.matrices.groups[0].effects == ("x0", "Intercept")
    np.testing.assert_array_equal(posterior.standard_deviations("group"), sd.reshape(-1, 2))
    assert "corr_group" not in posterior.data
    one = make(cov=np.full((CHAINS, DRAWS), 4.0), Z=None)
    np.testing.assert_array_equal(one["posterior"]["sd_group"], 2.0)


def test_without_random_effects_and_without_an_intercept() -> None:
    fit = pa.from_arrays(BETA[0][:, [0, 2]], None, X[:, [0, 2]], link="logit")
    posterior = Posterior.from_fit(fit)
    assert posterior.design.matrices.terms == ("x0", "x1")
    means = pa.predictions(fit, newdata="observed").draws.to_numpy()[0]
    expected = 1 / (1 + np.exp(-BETA[0][:, [0, 2]] @ X[:, [0, 2]].T))
    np.testing.assert_allclose(means, expected, rtol=1e-12)


def test_without_an_outcome_the_posterior_is_enough() -> None:
    fit = make(groups=GROUPS)
    assert "y" not in fit["observed_data"]
    assert np.isfinite(pa.population_coefficients(fit).draws).all()


def test_trials_and_counts() -> None:
    fit = make(groups=GROUPS, y=Y, trials=np.full(N, 3))
    assert Posterior.from_fit(fit).family.name == "binomial"
    with pytest.raises(SpecificationError, match="trials without y"):
        make(trials=np.full(N, 3))


def test_a_residual_standard_deviation() -> None:
    sigma = np.exp(BETA[..., 0])
    fit = make(link="identity", sigma=sigma)
    np.testing.assert_array_equal(fit["posterior"]["sigma"], sigma)
    with pytest.raises(DataError, match="link='logit' means a bernoulli response"):
        make(sigma=sigma)


def test_clusters_in_text_may_have_two_orders() -> None:
    names = np.array([f"c{g}" for g in GROUPS])
    with pytest.raises(DataError, match="can't be told: sorted it is 'c0', 'c1', 'c10'"):
        make(groups=names, u=U)
    assert make(groups=np.array([f"c{g:02}" for g in GROUPS]), u=U)


NAN = BETA.copy()
NAN[1, 2, 0] = np.nan
FLAT = np.array([[1.0, 2.0], [2.0, 1.0]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta": NAN}, "1 of 14 draws of 'beta' are NaN or infinite, the first is draw 3 of cha"),
        ({"beta": BETA[..., :2]}, r"beta has the shape \(2, 7, 2\).*columns 'x0', 'Intercept'"),
        ({"beta": BETA[0, 0]}, r"beta has the shape \(3,\)"),
        ({"cov": COV[0]}, r"cov of 'group' has the shape \(7, 2, 2\)\. Allowed: \(2, 7, 2, 2\)"),
        ({"cov": COV[:, :5]}, r"cov of 'group' has the shape \(2, 5, 2, 2\)"),
        ({"cov": -COV}, "14 of 14 draws of .*diagonal.* are negative"),
        ({"cov": COV * 0}, "diagonal.* are zero.*exactly 0"),
        ({"cov": np.broadcast_to(FLAT, COV.shape)}, "aren't positive definite.* -1 in draw 1"),
        (
            {"cov": np.linalg.cholesky(COV)},
            "aren't symmetric.*If these are Cholesky factors L, give LL' instead",
        ),
        ({"cov": COV / SD[..., :, None] / SD[..., None, :]}, "1 on the diagonal.*R . sd"),
        ({"cov": np.abs(COV[..., 0]), "Z": None}, r"has the shape \(2, 7, 2\)"),
        ({"cov": None, "sd": -np.ones((CHAINS, DRAWS, 2))}, "draws of \"sd of 'group'\" are neg"),
        ({"sd": np.ones((CHAINS, DRAWS, 2))}, "cov and sd are both given"),
        ({"cov": None}, "'Z' without cov or sd"),
        ({"cov": None, "Z": None, "groups": GROUPS}, "'groups' without cov or sd"),
        ({"Z": Z[1:]}, "Z of 'group' has 59 rows. Allowed: 60, as X has"),
        ({"Z": np.full_like(Z, np.inf)}, "Z of 'group' has 120 NaN or infinite numbers"),
        ({"X": X[:, [0, 1, 1]]}, "X has several columns 'Intercept'"),
        ({"X": X[:, [0, 1, 0]]}, "'x2' can be computed from 'x0'"),
        ({"X": X[0]}, r"X has the shape \(3,\)"),
        ({"groups": GROUPS[1:]}, r"groups of 'group' have the shape \(59,\)"),
        ({"y": Y}, "y is given, but not which cluster"),
        ({"y": Y[1:], "groups": GROUPS}, r"y has the shape \(59,\)"),
        ({"y": Y + 1, "groups": GROUPS}, "the response 'y' holds '2'"),
        ({"offset": np.full(N, np.nan)}, "offset is NaN or infinite in 60 rows"),
        ({"u": U[:, :, 1:], "groups": GROUPS}, r"u of 'group' has the shape \(2, 7, 11, 2\)"),
        ({"u": {"herd": U}, "groups": GROUPS}, "u has 'herd'"),
        ({"cov": {"a": COV, "b": COV}}, "one Z for the factors 'a', 'b'"),
        ({"eta": np.zeros((CHAINS, DRAWS, N))}, "no draws of the effects of 'group'"),
        ({"link": "logistic"}, "link"),
    ],
)
def test_bad_arrays(change: dict[str, Any], message: str) -> None:
    with pytest.raises(PopavgError, match=message or None):
        make(**change)


def test_standard_deviations_in_the_place_of_variances() -> None:
    """Where the clusters' effects are given too, they tell."""
    rng = np.random.default_rng(2)
    sd = 4.0 * np.exp(0.1 * rng.normal(size=(4, 50)))
    u = sd[..., None] * rng.normal(size=(4, 50, 12))
    given = {"X": X, "link": "logit", "groups": GROUPS, "u": u}
    beta = rng.normal(size=(4, 50, 3))
    for right in ({"cov": sd**2}, {"cov": None, "sd": sd}):
        pa.from_arrays(beta, **given, **right)
    message = r"mean of \(u / sd\)² is 4.*Give variances as cov=, standard deviations as sd="
    with pytest.raises(DataError, match=message):
        pa.from_arrays(beta, sd, **given)
    with pytest.raises(DataError, match=r"if they were variances.*as cov="):
        pa.from_arrays(beta, None, sd=sd**2, **given)


def test_a_column_of_z_under_a_name_of_x_is_that_column() -> None:
    frame = pd.DataFrame(X, columns=["time", "one", "age"])
    with pytest.raises(DataError, match="the column 'age' of Z isn't the one of X"):
        make(X=frame, Z=pd.DataFrame({"one": 1.0, "age": AGE + 1}))
    fit = make(X=frame, Z=pd.DataFrame({"one": 1.0, "weight": AGE**2}))
    effects = fit["posterior"]["effect_group"].to_numpy().tolist()
    assert effects == ["Intercept", "weight"]


def test_clusters_that_nobody_told_do_not_count_once(tmp_path: Path) -> None:
    """Each row is not a cluster of its own: without groups there is no knowing."""
    unknown = make()
    pa.save(unknown, tmp_path / "fit.nc")
    again = pa.load(tmp_path / "fit.nc")
    message = r"share a cluster of 'group' isn't known.*groups=….*weights as numbers"
    for fit in (unknown, again):
        assert np.isfinite(pa.avg_predictions(fit).draws).all()
        for verb in (pa.avg_predictions, pa.avg_comparisons, pa.avg_slopes):
            with pytest.raises(DataError, match=message):
                verb(fit, weights="cluster")
    sizes = np.repeat(np.arange(3), [10, 20, 30])
    rows = pa.predictions(make(groups=sizes)).draws.to_numpy()
    by_hand = np.mean([rows[..., sizes == k].mean(-1) for k in range(3)], axis=0)
    found = pa.avg_predictions(make(groups=sizes), weights="cluster")
    np.testing.assert_allclose(found.draws[..., 0], by_hand, rtol=1e-12)
    own = RNG.normal(size=(CHAINS, DRAWS, N, 2))
    assert len(pa.avg_predictions(make(u=own), weights="cluster")) == 1  # u tells them


@pytest.mark.parametrize("name", ["beta", "cov", "X", "Z"])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda a: a.astype(str), "text, not numbers"),
        (lambda a: a + 0j, "complex numbers, not numbers"),
        (lambda a: [[1.0], [2.0, 3.0]], "can't be put into one array"),
        (lambda a: a.astype("datetime64[D]"), "dates, not numbers"),
    ],
)
def test_what_is_not_numbers(name: str, wrong: Any, message: str) -> None:
    good = {"beta": BETA, "cov": COV, "X": X, "Z": Z}
    with pytest.raises(DataError, match=message):
        make(**{name: wrong(np.asarray(good[name], dtype=float))})


def test_grids_of_a_fit_without_an_outcome() -> None:
    """Its formula is one-sided: what stands in ``C()`` is read from its parts."""
    fit = make()
    curve = pa.predictions(fit, over={"x0": [0.0, 2.0]})
    grid = pa.predictions(fit, newdata=pa.datagrid(x0=[0.0, 2.0]))
    np.testing.assert_allclose(curve.draws, grid.draws, rtol=1e-12)
    assert curve.labels["x2"].to_list() == pytest.approx([AGE.mean()] * 2)
