"""Population-averaged coefficients: reference numbers, naive twins, limits, errors."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.integrate import quad
from scipy.optimize import root
from scipy.special import expit, logit, ndtr

from popavg.datasets import load_dataset
from popavg.errors import DataError, EstimandError, SpecificationError
from popavg.posterior_tools import _projector, draw_block, evaluation, projection
from popavg.posterior_tools.coefficients import population_coefficients
from popavg.posterior_tools.draw_block import DrawBlock
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.example import load_example
from popavg.posterior_tools.summaries import COLUMNS, summarise

MakeFit = Callable[..., xr.DataTree]
RHO = np.array([[1.0, 0.5], [0.5, 1.0]])


def test_least_squares_equals_the_exact_marginal_draws_of_brms(
    make_fit: MakeFit, reference: Path
) -> None:
    """Every 10th of 4,000 brms draws of the toenail data; see tests/reference/README.md."""
    draws_of = pd.read_csv(reference / "brms_toenail_draws.csv")
    exact = pd.read_csv(reference / "exact_marginal_draws_toenail.csv").to_numpy()
    fit = make_fit("y ~ treatment * time + (1 | patient)", load_dataset("toenail"), shape=(4, 100))
    post = fit["posterior"].to_dataset()
    post["beta"] = post["beta"].copy(data=draws_of.filter(like="b_").to_numpy().reshape(4, 100, 4))
    sd = draws_of["sd_patientID__Intercept"].to_numpy().reshape(4, 100, 1)
    post["sd_patient"] = post["sd_patient"].copy(data=sd)
    fit["posterior"] = xr.DataTree(post)
    coefficients = population_coefficients(fit, "least_squares")
    np.testing.assert_allclose(coefficients.draws.to_numpy().reshape(-1, 4), exact, atol=1e-8)
    table = coefficients.to_frame(ci_prob=0.9)
    np.testing.assert_allclose(table["estimate"], exact.mean(axis=0), atol=1e-8)
    np.testing.assert_allclose(table["std_error"], exact.std(axis=0, ddof=1), atol=1e-8)


# --- naive twins: each method written out for one draw, row after row ---


def naive_mean(inverse: Callable, eta: float, v: float) -> float:
    def density(z: float) -> float:
        return inverse(eta + np.sqrt(v) * z) * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)

    return quad(density, -10, 10, epsabs=1e-13, limit=200)[0]


def naive_rows(posterior: Posterior, draw: int, inverse: Callable) -> tuple[np.ndarray, np.ndarray]:
    """Population mean and variance of every observed row."""
    matrices = posterior.design.matrices
    means, variances = [], []
    for row in range(matrices.n_rows):
        eta = matrices.offset[row] + sum(matrices.X[row] * posterior.beta[draw])
        v = 0.0
        for group in matrices.groups:
            v += group.Z[row] @ posterior.covariance(group.name)[draw] @ group.Z[row]
        means.append(naive_mean(inverse, eta, v))
        variances.append(v)
    return np.array(means), np.array(variances)


def naive_projection(
    X: np.ndarray, mean: np.ndarray, weights: np.ndarray, *, clusters: list, R: Callable
) -> np.ndarray:
    """Σ_i D_i'V_i⁻¹(π̄_i − μ_i) = 0 for the logit, cluster after cluster, by a general solver."""

    def score(beta: np.ndarray) -> np.ndarray:
        total = np.zeros(X.shape[1])
        for rows in clusters:
            mu = expit(X[rows] @ beta)
            D = (mu * (1 - mu))[:, None] * X[rows]
            half = np.diag(np.sqrt(mu * (1 - mu) / weights[rows]))
            total += D.T @ np.linalg.solve(half @ R(rows) @ half, mean[rows] - mu)
        return total

    found = root(score, np.zeros(X.shape[1]), tol=1e-13)
    assert np.abs(found.fun).max() < 1e-9
    return found.x


@pytest.fixture
def fit(make_fit: MakeFit, frame: pd.DataFrame) -> xr.DataTree:
    formula = "y ~ arm + x + (1 + x | g) + (1 | r)"
    sd = {"g": [1.2, 0.6], "r": [0.5]}
    return make_fit(formula, frame, corr={"g": RHO}, sd=sd, shape=(1, 2), extra=("visit", "w"))


CORRELATIONS = {
    "independence": (lambda rows: np.eye(len(rows)), {}),
    "exchangeable": (
        lambda rows: 0.3 + 0.7 * np.eye(len(rows)),
        {"alpha": 0.3, "groups": "g"},
    ),
    "ar1": (
        lambda rows: 0.6 ** np.abs(np.subtract.outer(rows % 5, rows % 5)),
        {"alpha": 0.6, "groups": "g", "time": "visit"},
    ),
}


@pytest.mark.parametrize("name", CORRELATIONS)
def test_projection_solves_the_gee_equation(
    fit: xr.DataTree, frame: pd.DataFrame, name: str
) -> None:
    R, arguments = CORRELATIONS[name]
    posterior = Posterior.from_fit(fit)
    result = population_coefficients(fit, weights="w", working_correlation=name, **arguments)
    clusters = [np.flatnonzero(frame["g"] == label) for label in frame["g"].unique()]
    for draw in range(2):
        mean, _ = naive_rows(posterior, draw, expit)
        X, weights = posterior.design.matrices.X, frame["w"].to_numpy()
        expected = naive_projection(X, mean, weights, clusters=clusters, R=R)
        np.testing.assert_allclose(result.draws[0, draw], expected, rtol=1e-7, atol=1e-9)
        gap = np.abs(mean - expit(X @ expected))
        misfit = [gap.max(), np.sqrt(np.average(gap**2, weights=weights))]
        assert result.misfit is not None
        np.testing.assert_allclose(result.misfit.draws[0, draw], misfit, rtol=1e-6)


def test_trials_weigh_the_projection(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("p(successes, trials) ~ x + (1 | g)", frame, shape=(1, 1))
    posterior = Posterior.from_fit(fit)
    mean, _ = naive_rows(posterior, 0, expit)
    X, trials = posterior.design.matrices.X, frame["trials"].to_numpy(dtype=float)
    single = [np.array([i]) for i in range(60)]
    expected = naive_projection(X, mean, trials, clusters=single, R=lambda _: np.eye(1))
    np.testing.assert_allclose(population_coefficients(fit).draws[0, 0], expected, rtol=1e-7)


def test_least_squares_is_the_normal_equation(fit: xr.DataTree, frame: pd.DataFrame) -> None:
    posterior = Posterior.from_fit(fit)
    result = population_coefficients(fit, "least_squares", weights=frame["w"].to_numpy())
    for draw in range(2):
        mean, _ = naive_rows(posterior, draw, expit)
        X, W = posterior.design.matrices.X, np.diag(frame["w"])
        expected = np.linalg.inv(X.T @ W @ X) @ X.T @ W @ logit(mean)
        np.testing.assert_allclose(result.draws[0, draw], expected, rtol=1e-8)


def test_attenuation_is_zeger_liang_alberts(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ x + (1 | h/g)", frame, sd={"h": [1.5], "h:g": [0.8]})
    posterior = Posterior.from_fit(fit)
    result = population_coefficients(fit, "attenuation").draws.to_numpy().reshape(-1, 2)
    for draw in range(posterior.n_draws):
        v = sum(posterior.covariance(name)[draw, 0, 0] for name in ("h", "h:g"))
        c = 16 * np.sqrt(3) / (15 * np.pi)
        np.testing.assert_allclose(result[draw], posterior.beta[draw] / np.sqrt(1 + c**2 * v))


EXACT = {
    "probit": ("y ~ arm + x + (1 | g) + (1 | r)", ndtr),
    "log": ("count ~ arm + x + (1 | g) + (1 | r)", np.exp),
    "identity": ("value ~ arm + x + (1 | g) + (1 | r)", lambda eta: eta),
}


@pytest.mark.parametrize("link", EXACT)
def test_closed_forms_are_what_all_methods_agree_on(
    make_fit: MakeFit, frame: pd.DataFrame, link: str
) -> None:
    fit = make_fit(EXACT[link][0], frame, link, shape=(1, 3))
    posterior = Posterior.from_fit(fit)
    result = population_coefficients(fit, "exact")
    for draw in range(3):
        beta = posterior.beta[draw].copy()
        v = sum(posterior.covariance(name)[draw, 0, 0] for name in ("g", "r"))
        if link == "probit":
            beta /= np.sqrt(1 + v)
        elif link == "log":
            beta[0] += v / 2
        np.testing.assert_allclose(result.draws[0, draw], beta, rtol=1e-12)
        mean, _ = naive_rows(posterior, draw, EXACT[link][1])
        X = posterior.design.matrices.X
        np.testing.assert_allclose(EXACT[link][1](X @ beta), mean, rtol=1e-9)
    for method in ("projection", "least_squares", "attenuation"):
        other = population_coefficients(fit, method)
        np.testing.assert_allclose(other.draws, result.draws, rtol=1e-9, atol=1e-12)
        assert other.misfit is not None
        assert float(other.misfit.draws.max()) < 1e-9
    correlated = population_coefficients(
        fit, working_correlation="exchangeable", alpha=0.4, groups="r"
    )
    np.testing.assert_allclose(correlated.draws, result.draws, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "log", "identity"])
@pytest.mark.parametrize("factor", [" + (1 | g)", ""])
def test_without_variance_nothing_is_attenuated(
    make_fit: MakeFit, frame: pd.DataFrame, link: str, factor: str
) -> None:
    response = {"log": "count", "identity": "value"}.get(link, "y")
    fit = make_fit(f"{response} ~ arm + x{factor}", frame, link, sd={"g": [0.0]})
    beta = fit["posterior"]["beta"].to_numpy()
    for method in ("projection", "least_squares"):
        result = population_coefficients(fit, method)
        np.testing.assert_allclose(result.draws, beta, rtol=1e-9)
        assert result.attenuation is not None
        np.testing.assert_allclose(result.attenuation.draws, 1.0, rtol=1e-9)


# --- the result ---


def test_draws_labels_diagnostics_and_words(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ arm + x + (1 | g)", frame, shape=(3, 20))
    result = population_coefficients(fit)
    table = result.to_frame()
    terms = ["Intercept", "arm[placebo]", "x"]
    assert result.draws.dims == ("chain", "draw", "term")
    assert table["term"].to_list() == result.draws["term"].to_numpy().tolist() == terms
    expected = summarise(result.draws.to_numpy())
    pd.testing.assert_frame_equal(table[list(COLUMNS)], expected)
    assert result.attenuation is not None
    assert result.misfit is not None
    ratio = result.draws / fit["posterior"]["beta"]
    np.testing.assert_allclose(result.attenuation.draws, ratio)
    middle = np.median(ratio, axis=(0, 1))
    np.testing.assert_allclose(result.attenuation.to_frame()["estimate"], middle)
    assert result.misfit.labels["misfit"].to_list() == ["largest", "root mean square"]
    assert result.how == "projection, independence"
    assert "Projected over the 60 observed rows, each row counting once." in repr(result)


def test_a_coefficient_of_zero_has_no_ratio(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ x + (1 | g)", frame, beta=[0.5, 0.0], spread=0.0)
    attenuation = population_coefficients(fit).attenuation
    assert attenuation is not None
    assert attenuation.draws.isnull().all(("chain", "draw")).to_numpy().tolist() == [False, True]
    assert attenuation.notes == (
        "Not defined for 'x': its conditional coefficient is 0 in 12 draws.",
    )


SLOPED = {
    "logit": ("y ~ x + (1 + x | g)", "(probability)"),
    "probit": ("y ~ x + (1 + x | g)", "(probability)"),
    "cloglog": ("y ~ x + (1 + x | g)", "(probability)"),
    "log": ("count ~ x + (1 + x | g)", "% of the mean there)"),
}


@pytest.mark.parametrize("link", SLOPED)
def test_a_reader_is_told_of_a_noticeable_misfit(
    make_fit: MakeFit, frame: pd.DataFrame, link: str
) -> None:
    """With random slopes; and where: the row at which most draws have their largest difference."""
    formula, words = SLOPED[link]
    sd = {"g": [0.5, 0.7 if link == "log" else 4.0]}
    fit = make_fit(formula, frame, link, sd=sd, corr={"g": RHO})
    result = population_coefficients(fit)
    posterior = Posterior.from_fit(fit)
    inverse, X = posterior.link.inverse, posterior.design.matrices.X
    worst = []
    for draw in range(12):
        mean = np.array(naive_rows(posterior, draw, inverse)[0])
        gap = np.abs(mean - inverse(X @ result.draws.to_numpy().reshape(12, -1)[draw]))
        worst.append(frame["x"].iloc[int(gap.argmax())])
        assert result.misfit is not None
        found = result.misfit.draws.to_numpy().reshape(12, 2)[draw, 0]
        np.testing.assert_allclose(found, gap.max(), rtol=1e-6)
    most = max(set(worst), key=worst.count)
    (note,) = [text for text in result.notes if text.startswith("Misfit: no marginal coefficients")]
    assert words in note
    assert f"{link}⁻¹(x'β̃), most often at x = {most:.4g}: with the random slope 'x | g'" in note
    assert "Describe it by pa.predictions rather than by coefficients" in note
    assert note in repr(result)


@pytest.mark.parametrize("link", ["logit", "log", "identity"])
def test_a_good_fit_says_so(make_fit: MakeFit, frame: pd.DataFrame, link: str) -> None:
    response = {"log": "count", "identity": "value"}.get(link, "y")
    formula = f"{response} ~ x + (1{' + x' if link == 'identity' else ''} | g)"
    fit = make_fit(formula, frame, link, sd={"g": [0.3, 4.0][: 1 + (link == "identity")]})
    text = repr(population_coefficients(fit))
    assert "no marginal coefficients" not in text
    exact = f"Misfit: none, the population curve is exactly {link}⁻¹(x'β̃)"
    small = "Misfit: the population curve is at most 0.00"
    assert (small if link == "logit" else exact) in text


def test_attenuation_is_told_in_words(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    result = population_coefficients(make_fit("y ~ arm + x + (1 | g)", frame))
    assert result.attenuation is not None
    middle = [f"{value:.3g}" for value in result.attenuation.to_frame()["estimate"]]
    words = f"Intercept {middle[0]}, arm[placebo] {middle[1]}, x {middle[2]}; see .attenuation."
    assert f"Attenuation β̃/β (posterior median): {words}" in repr(result)
    same = population_coefficients(make_fit("value ~ x + (1 + x | g)", frame, "identity"))
    assert "Attenuation β̃/β: 1 for every term" in repr(same)
    without = population_coefficients(make_fit("y ~ x", frame))
    assert "Attenuation" not in repr(without)
    assert "Misfit" not in repr(without)
    some = population_coefficients(make_fit("y ~ x + (1 | g)", frame, beta=[0.5, 0.0], spread=0.0))
    (note,) = [text for text in some.notes if text.startswith("Attenuation")]
    assert "Intercept" in note
    assert ", x" not in note
    many = population_coefficients(make_fit("y ~ C(visit) * arm + x + (1 | g)", frame))
    assert "and 3 more; see .attenuation" in repr(many)


def test_a_design_of_its_own(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    """As many distinct rows as terms: the coefficients pass through the population means."""
    fit = make_fit("y ~ arm + (1 | g)", frame)
    posterior = Posterior.from_fit(fit)
    intended = pd.DataFrame({"arm": ["active", "placebo", "placebo"]})
    result = population_coefficients(fit, design=intended, weights=[1, 1, 3])
    for draw in range(3):
        mean, _ = naive_rows(posterior, draw, expit)
        active, placebo = (mean[frame["arm"] == arm][0] for arm in ("active", "placebo"))
        expected = [logit(active), logit(placebo) - logit(active)]
        np.testing.assert_allclose(result.draws[0, draw], expected, rtol=1e-8)


def test_the_order_of_the_rows_does_not_matter(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    shuffled = frame.sample(frac=1.0, random_state=4)
    for kwargs in (
        {},
        {"method": "least_squares"},
        {"working_correlation": "exchangeable", "alpha": 0.3, "groups": "g"},
        {"working_correlation": "ar1", "alpha": 0.3, "groups": "g", "time": "visit"},
    ):
        one, other = (
            population_coefficients(
                make_fit("y ~ arm + x + (1 | h/g)", data, extra=("visit",)), **kwargs
            )
            for data in (frame, shuffled)
        )
        np.testing.assert_allclose(one.draws, other.draws, rtol=1e-9)


@pytest.mark.parametrize("method", ["projection", "least_squares", "attenuation"])
def test_the_size_of_the_blocks_does_not_matter(
    make_fit: MakeFit, frame: pd.DataFrame, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = make_fit("y ~ arm + x + (1 | g)", frame)
    monkeypatch.setattr(evaluation, "PIECES", 1)
    whole = population_coefficients(fit, method)
    monkeypatch.setattr(draw_block, "BLOCK", 7)
    parts = population_coefficients(fit, method)
    np.testing.assert_allclose(parts.draws, whole.draws, rtol=1e-11)
    assert whole.misfit is not None
    assert parts.misfit is not None
    np.testing.assert_allclose(parts.misfit.draws, whole.misfit.draws, rtol=1e-9)


@pytest.mark.parametrize("name", CORRELATIONS)
def test_threads_change_nothing(
    make_fit: MakeFit, frame: pd.DataFrame, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = make_fit("y ~ arm + x + (1 + x | g)", frame, corr={"g": RHO}, extra=("visit",))
    arguments = {"working_correlation": name, **CORRELATIONS[name][1]}
    monkeypatch.setattr(evaluation, "PIECES", 1)
    monkeypatch.setattr(evaluation, "PIECES", 1)
    one = population_coefficients(fit, **arguments)
    sizes = []

    def four_threads(n_draws: int, cells: int, work: Callable[[slice], object]) -> list[object]:
        sizes.append(n_draws)
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(work, [slice(k, k + 3) for k in range(0, n_draws, 3)]))

    for module in (_projector, projection):
        monkeypatch.setattr(module, "over_draws", four_threads)
    four = population_coefficients(fit, **arguments)
    assert sizes == [12, 12]
    np.testing.assert_array_equal(four.draws, one.draws)
    assert four.misfit is not None
    assert one.misfit is not None
    np.testing.assert_array_equal(four.misfit.draws, one.misfit.draws)


def test_the_model_is_read_once(fit: xr.DataTree, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    variance = DrawBlock.variance

    def counted(self: DrawBlock, *args: object) -> np.ndarray:
        calls.append(args)
        return variance(self, *args)  # ty: ignore[invalid-argument-type]

    monkeypatch.setattr(evaluation, "PIECES", 1)
    monkeypatch.setattr(DrawBlock, "variance", counted)
    population_coefficients(fit)
    assert len(calls) == 1


def test_each_cluster_counts_once(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    """weights="cluster" is one over the rows of the cluster, over either design."""
    uneven = frame.drop(index=[0, 1, 2, 5, 6, 20])
    fit = make_fit("y ~ arm + x + (1 | g)", uneven)
    sizes = uneven.groupby("g")["y"].transform("size").to_numpy()
    for method in ("projection", "least_squares"):
        by_hand = population_coefficients(fit, method, weights=1.0 / sizes)
        plain = population_coefficients(fit, method)
        assert not np.allclose(by_hand.draws, plain.draws, rtol=1e-4)
        for design in ("observed", uneven):
            named = population_coefficients(fit, method, design=design, weights="cluster")
            np.testing.assert_allclose(named.draws, by_hand.draws, rtol=1e-10)


# --- errors ---


def test_errors(fit: xr.DataTree, frame: pd.DataFrame) -> None:
    with pytest.raises(SpecificationError, match=r"method='hedeker' is unknown.*'projection'"):
        population_coefficients(fit, "hedeker")  # ty: ignore[invalid-argument-type]
    with pytest.raises(SpecificationError, match=r"method='exact' with working_correlation='ar1'"):
        population_coefficients(fit, "exact", working_correlation="ar1")
    with pytest.raises(SpecificationError, match="has 2 grouping factors"):
        population_coefficients(fit, working_correlation="exchangeable", alpha=0.2)
    with pytest.raises(SpecificationError, match="'exchangeable' without alpha"):
        population_coefficients(fit, working_correlation="exchangeable", groups="g")
    with pytest.raises(DataError, match="to project over, the term 'x' has the same value"):
        population_coefficients(fit, design=frame.assign(x=1.0))
    with pytest.raises(SpecificationError, match="isn't a fit made by popavg"):
        population_coefficients(frame)  # ty: ignore[invalid-argument-type]


def test_exact_is_refused_where_there_is_no_closed_form(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    with pytest.raises(EstimandError, match=r"the logit link has no closed form.*'projection'"):
        population_coefficients(load_example(), "exact")
    sloped = make_fit("y ~ x + (1 + x | g)", frame, "probit", corr={"g": RHO})
    with pytest.raises(EstimandError, match="random slopes"):
        population_coefficients(sloped, "exact")
    with pytest.raises(EstimandError, match=r"variance differs between rows|random slopes"):
        population_coefficients(
            make_fit("y ~ x + (1 + x | g)", frame, corr={"g": RHO}), "attenuation"
        )


def test_a_design_beyond_the_data_is_told(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ x + (1 | g)", frame)
    far = pd.DataFrame({"x": [0.0, 1.0, 50.0]})
    assert "Extrapolated: 'x' goes from 0 to 50" in repr(population_coefficients(fit, design=far))
    assert "Extrapolated" not in repr(population_coefficients(fit))
