"""The array core of the GEE against double loops, closed forms and statsmodels' own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray

from popavg.errors import ConvergenceError, DataError, SeparationError, SpecificationError
from popavg.families import Binomial, Gaussian, family_for
from popavg.links import get_link
from popavg.models.estimating_equations import fit_gee_arrays
from popavg.models.gee_result import GEEResult

Floats = NDArray[np.float64]
LINKS = ["logit", "probit", "cloglog", "log", "identity"]
STRUCTURES = ["independence", "exchangeable", "ar1"]


def example(link: str, *, trials: bool = False, seed: int = 5) -> dict[str, Any]:
    """Unbalanced clusters with gaps between their times, rows shuffled."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, size=40)
    groups = np.repeat(np.arange(40), sizes)
    time = np.concatenate([np.sort(rng.choice(9, n, replace=False)) for n in sizes]).astype(float)
    X = np.column_stack([np.ones(len(groups)), rng.normal(size=len(groups)), groups % 2])
    offset = rng.normal(scale=0.1, size=len(groups))
    eta = X @ [-0.3, 0.4, 0.5] + offset + rng.normal(scale=0.7, size=40)[groups]
    n = rng.integers(1, 8, size=len(groups)).astype(float) if trials else None
    chosen = get_link(link)
    mean = chosen.inverse(eta)
    if link == "log":
        y = rng.poisson(mean).astype(float)
    elif link == "identity":
        y = mean + rng.normal(size=len(mean))
    else:
        y = rng.binomial(1 if n is None else n.astype(int), mean).astype(float)
    order = rng.permutation(len(y))
    arrays = {"X": X, "y": y, "groups": groups, "time": time, "offset": offset}
    taken = {key: value[order] for key, value in arrays.items()}
    return taken | {
        "trials": None if n is None else n[order],
        "link": chosen,
        "family": family_for(chosen, trials=trials),
        "terms": ("Intercept", "x", "group"),
    }


def fit(arrays: dict[str, Any], structure: str, **more: Any) -> GEEResult:
    core = {key: value for key, value in arrays.items() if key not in ("X", "y", "groups")}
    return fit_gee_arrays(
        arrays["X"], arrays["y"], arrays["groups"], working_correlation=structure, **core, **more
    )


def naive_correlation(structure: str, alpha: float | None, times: Floats) -> Floats:
    R = np.eye(len(times))
    for j in range(len(times)):
        for k in range(len(times)):
            if j != k and structure == "exchangeable":
                R[j, k] = alpha or 0.0
            elif j != k and structure == "ar1":
                R[j, k] = (alpha or 0.0) ** abs(times[j] - times[k])
    return R


def naive_gee(
    arrays: dict[str, Any], structure: str, result: GEEResult
) -> tuple[Floats, Floats, Floats, float, float]:
    """Score, robust and naive covariance, phi, and what is left of alpha's moment equation."""
    link, family = arrays["link"], arrays["family"]
    beta, alpha = result.coefficients, result.alpha
    w = np.ones_like(arrays["y"]) if arrays["trials"] is None else arrays["trials"]
    p = len(beta)
    numerator = denominator = 0.0
    residuals = []
    for x, y, n, o in zip(arrays["X"], arrays["y"], w, arrays["offset"], strict=True):
        mean = link.inverse(np.array([x @ beta + o]))[0]
        r = (y / n - mean) / np.sqrt(family.variance(np.array([mean]))[0])
        residuals.append(r)
        numerator += n * r * r
        denominator += n
    phi = numerator / denominator
    score, bread, meat, moment = np.zeros(p), np.zeros((p, p)), np.zeros((p, p)), 0.0
    for g in np.unique(arrays["groups"]):
        rows = np.flatnonzero(arrays["groups"] == g)
        eta = arrays["X"][rows] @ beta + arrays["offset"][rows]
        mean = link.inverse(eta)
        D = link.derivative(eta)[:, None] * arrays["X"][rows]
        S = np.diag(np.sqrt(family.variance(mean) / w[rows]))
        R = naive_correlation(structure, alpha, arrays["time"][rows])
        V = S @ R @ S
        s = D.T @ np.linalg.inv(V) @ (arrays["y"][rows] / w[rows] - mean)
        score += s
        bread += D.T @ np.linalg.inv(V) @ D
        meat += np.outer(s, s)
        for a in range(len(rows)):
            for b in range(a + 1, len(rows)):
                j, k = rows[a], rows[b]
                left = residuals[j] * residuals[k] / phi - R[a, b]
                d = abs(arrays["time"][j] - arrays["time"][k])
                slope = d * (alpha or 0.0) ** (d - 1) if structure == "ar1" else 1.0
                moment += w[j] * w[k] * slope * left
    inverse = np.linalg.inv(bread)
    return score, inverse @ meat @ inverse, phi * inverse, phi, moment


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize(("link", "trials"), [*((n, False) for n in LINKS), ("probit", True)])
def test_solves_the_naive_equations(link: str, trials: bool, structure: str) -> None:
    arrays = example(link, trials=trials)
    result = fit(arrays, structure)
    score, robust, naive, phi, moment = naive_gee(arrays, structure, result)
    np.testing.assert_allclose(score, 0.0, atol=1e-7)
    np.testing.assert_allclose(result.covariance, robust, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(result.covariance_model, naive, rtol=1e-9, atol=1e-14)
    assert result.scale == pytest.approx(phi, rel=1e-12)
    if structure != "independence":
        assert moment == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_does_not_depend_on_row_order_or_units(structure: str) -> None:
    arrays = example("logit", trials=True)
    one = fit(arrays, structure)
    order = np.random.default_rng(0).permutation(len(arrays["y"]))
    names = ("X", "y", "groups", "time", "offset", "trials")
    other = fit(arrays | {name: arrays[name][order] for name in names}, structure)
    np.testing.assert_allclose(other.coefficients, one.coefficients, rtol=0, atol=1e-12)
    np.testing.assert_allclose(other.covariance, one.covariance, rtol=0, atol=1e-12)
    scaled = arrays | {"X": arrays["X"] * [1.0, 1e6, 1.0] + [0.0, 1e7, 0.0]}
    far = fit(scaled, structure)
    assert far.coefficients[1] * 1e6 == pytest.approx(one.coefficients[1], rel=1e-8)


def test_labels_of_clusters_may_be_text() -> None:
    arrays = example("logit")
    text = arrays | {"groups": np.array([f"child {g}" for g in arrays["groups"]], dtype=object)}
    np.testing.assert_allclose(
        fit(text, "exchangeable").coefficients,
        fit(arrays, "exchangeable").coefficients,
        rtol=1e-9,
    )


def test_trials_are_rows_that_share_their_correlation() -> None:
    """Independence: n trials in one row are n rows of 0 and 1 in the same cluster."""
    arrays = example("logit", trials=True)
    grouped = fit(arrays, "independence")
    n, y = arrays["trials"].astype(int), arrays["y"].astype(int)
    rows = np.repeat(np.arange(len(n)), n)
    single = np.concatenate([np.r_[np.ones(k), np.zeros(m - k)] for k, m in zip(y, n, strict=True)])
    taken = {name: arrays[name][rows] for name in ("X", "groups", "time", "offset")}
    link = arrays["link"]
    split = arrays | taken | {"y": single, "trials": None, "family": family_for(link, trials=False)}
    expanded = fit(split, "independence")
    np.testing.assert_allclose(grouped.coefficients, expanded.coefficients, rtol=1e-9)
    np.testing.assert_allclose(grouped.covariance, expanded.covariance, rtol=1e-9)


def test_independence_equals_statsmodels() -> None:
    arrays = example("log")
    theirs = sm.GEE(
        arrays["y"], arrays["X"], arrays["groups"], family=sm.families.Poisson(),
        offset=arrays["offset"],
    ).fit(ctol=1e-10)  # fmt: skip
    ours = fit(arrays, "independence")
    np.testing.assert_allclose(ours.coefficients, theirs.params, rtol=1e-8)
    np.testing.assert_allclose(ours.covariance, theirs.cov_robust, rtol=1e-8)


def test_one_observation_per_trial_changes_nothing() -> None:
    arrays = example("logit")
    ones = arrays | {"trials": np.ones_like(arrays["y"]), "family": Binomial()}
    np.testing.assert_allclose(
        fit(ones, "exchangeable").covariance, fit(arrays, "exchangeable").covariance, rtol=1e-9
    )


@pytest.mark.parametrize("structure", STRUCTURES)
def test_balanced_identity_link_is_least_squares(structure: str) -> None:
    rng = np.random.default_rng(1)
    X = np.column_stack([np.ones(80), np.tile(np.arange(4.0), 20)])
    y = X @ [1.0, 2.0] + np.repeat(rng.normal(size=20), 4) + rng.normal(size=80)
    if structure == "ar1":
        X = X[:, :1]
        y = y - 2.0 * np.tile(np.arange(4.0), 20)
    result = fit_gee_arrays(
        X, y, np.repeat(np.arange(20), 4), link=get_link("identity"), family=Gaussian(),
        terms=("Intercept", "time")[: X.shape[1]], working_correlation=structure,
        time=np.tile(np.arange(4.0), 20), alpha=0.0 if structure == "ar1" else None,
    )  # fmt: skip
    np.testing.assert_allclose(result.coefficients, np.linalg.lstsq(X, y)[0], rtol=1e-10)


def test_alpha_held_at_zero_is_independence() -> None:
    arrays = example("cloglog")
    held = fit(arrays, "exchangeable", alpha=0.0)
    np.testing.assert_allclose(
        held.covariance, fit(arrays, "independence").covariance, rtol=1e-9, atol=1e-14
    )


@pytest.mark.parametrize(("link", "outlier"), [("logit", 60.0), ("probit", 15.0)])
def test_far_tails_are_not_clipped(link: str, outlier: float) -> None:
    """A fitted mean next to 1 counts as one next to 0: the mirrored problem mirrors the result."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=90)
    x[5] = outlier
    y = (rng.random(90) < get_link(link).inverse(1.2 * x)).astype(float)
    results = [
        fit_gee_arrays(
            np.column_stack([np.ones(90), x]), outcome, np.repeat(np.arange(30), 3),
            link=get_link(link), family=family_for(link, trials=False), terms=("Intercept", "x"),
        )
        for outcome in (y, 1.0 - y)
    ]  # fmt: skip
    assert results[0].predict(np.array([[1.0, outlier]]))[0] == 1.0
    np.testing.assert_allclose(results[0].coefficients, -results[1].coefficients, rtol=1e-8)
    np.testing.assert_allclose(results[0].covariance, results[1].covariance, rtol=1e-8)


def intercept_only(y: Floats, structure: str = "exchangeable", **more: Any) -> GEEResult:
    n = len(y) // 2
    return fit_gee_arrays(
        np.ones((len(y), 1)), y, np.repeat(np.arange(n), 2), link=get_link("logit"),
        family=family_for("logit", trials=False), terms=("Intercept",),
        working_correlation=structure, **more,
    )  # fmt: skip


@pytest.mark.parametrize("pair", [[0.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
def test_alpha_outside_its_range(pair: list[float]) -> None:
    """Clusters of two rows that always differ (alpha = -1) or never do (alpha = 1)."""
    y = np.tile(pair, 12)
    with pytest.raises(ConvergenceError, match=r"alpha=-?1 is outside its valid range.*-1 < alpha"):
        intercept_only(y)
    with pytest.raises(ConvergenceError, match=r"no AR\(1\) correlation.*-1 < alpha < 1"):
        intercept_only(y, "ar1", time=np.tile([0.0, 1.0], len(y) // 2))


def test_negative_correlation_at_fractional_times() -> None:
    y = np.array([0.0, 1.0] * 10 + [0.0, 0.0, 1.0, 1.0])
    time = np.tile([0.0, 1.0], 12)
    assert (intercept_only(y, "ar1", time=time).alpha or 0.0) < -0.5
    with pytest.raises(ConvergenceError, match=r"0 < alpha < 1.*number of the visit"):
        intercept_only(y, "ar1", time=0.5 * time)
    with pytest.raises(ConvergenceError, match=r"-1 < alpha < 1"):
        intercept_only(y, "ar1", time=2.0 * time)


def test_no_convergence_says_so() -> None:
    with pytest.raises(ConvergenceError, match=r"in 2 updates.*standard errors.*independence"):
        fit(example("probit"), "exchangeable", maxiter=2)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("link", LINKS)
def test_exact_means_give_their_coefficients(link: str, structure: str) -> None:
    """phi is 0 but for rounding, which must not be taken for a lack of convergence."""
    arrays, beta = example(link, seed=6), np.array([-0.3, 0.4, 0.5])
    for offset in (0.0, 0.3):
        X = arrays["X"] * [1.0, 1.0, 0.01] if link == "identity" else arrays["X"]
        y = get_link(link).inverse(X @ beta + offset)
        exact = arrays | {"X": X, "y": y, "offset": np.full(len(y), offset)}
        alpha = None if structure == "independence" else 0.3
        result = fit(exact, structure, alpha=alpha)
        np.testing.assert_allclose(result.coefficients, beta, rtol=1e-10)
        assert result.scale < 1e-24


def test_clusters_must_be_clusters() -> None:
    arrays = example("logit")
    n = len(arrays["y"])
    with pytest.raises(DataError, match="one cluster in 'cluster'"):
        fit(arrays | {"groups": np.zeros(n)}, "exchangeable")
    with pytest.raises(DataError, match="every row is a cluster of its own"):
        fit(arrays | {"groups": np.arange(n)}, "exchangeable")
    with pytest.raises(DataError, match="missing values"):
        fit(arrays | {"groups": np.where(np.arange(n) < 2, np.nan, 1.0)}, "exchangeable")


def test_time_must_tell_rows_apart() -> None:
    arrays = example("logit")
    with pytest.raises(DataError, match=r"two rows at time 3 .* such rows"):
        fit(arrays | {"time": np.full(len(arrays["y"]), 3.0)}, "ar1")
    with pytest.raises(SpecificationError, match="without a time"):
        fit(arrays | {"time": None}, "ar1")


def test_rank_and_separation() -> None:
    arrays = example("logit")
    twice = np.column_stack([arrays["X"], arrays["X"][:, 1]])
    with pytest.raises(DataError, match=r"'again'.* combinations of the others"):
        fit(arrays | {"X": twice, "terms": ("Intercept", "x", "group", "again")}, "independence")
    split = (arrays["X"][:, 1] > 0).astype(float)
    with pytest.raises(SeparationError, match="complete separation"):
        fit(arrays | {"y": split}, "exchangeable")
