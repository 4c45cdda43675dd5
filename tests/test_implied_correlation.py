"""The α that a GEE would converge to: naive twins, closed forms, limits, a simulation."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import brentq, root
from scipy.special import ndtri

from popavg.datasets import load_dataset
from popavg.errors import ConvergenceError, DataError, SpecificationError
from popavg.families import get_family
from popavg.links import get_link
from popavg.posterior_tools import _row_pairs, implied_correlation
from popavg.posterior_tools._ar1_equation import solve_ar1
from popavg.posterior_tools._coefficient_question import CoefficientQuestion
from popavg.posterior_tools._implied_moments import grid_kind
from popavg.posterior_tools._joint_kernels import pair_covariances
from popavg.posterior_tools.averages import population_average
from popavg.posterior_tools.coefficients import population_coefficients
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.implied_correlation import ClusterRows, ImpliedCorrelation
from popavg.posterior_tools.joint import joint_mean
from popavg.posterior_tools.projection_design import ProjectionDesign, WorkingStructure
from popavg.posterior_tools.working_correlation import ClusterLayout

MakeFit = Callable[..., xr.DataTree]
Floats = NDArray[np.float64]
RHO = np.array([[1.0, 0.4], [0.4, 1.0]])
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(61)


# --- a naive twin: every pair of observations by itself, by a product rule in two dimensions ---


def joint_moments(link: str, eta: Sequence[float], covariance: Floats) -> tuple[Floats, Floats]:
    """E μ_1, E μ_2 and E μ_1², E μ_1 μ_2 of two rows with these random-effect covariances."""
    values, vectors = np.linalg.eigh(covariance)
    factor = vectors * np.sqrt(np.maximum(values, 0.0))
    inverse, weight = get_link(link).inverse, NODE_WEIGHTS / NODE_WEIGHTS.sum()
    mean, product = np.zeros(2), np.zeros(2)
    for i, z in enumerate(NODES):
        mu = inverse(np.asarray(eta) + np.column_stack([np.full(len(NODES), z), NODES]) @ factor.T)
        mean += weight[i] * weight @ mu
        product += weight[i] * weight @ (mu[:, :1] * mu)
    return mean, product


class Twin:
    """One draw of a fit, solved for β̃ and α without any of the package's shortcuts."""

    def __init__(self, posterior: Posterior, *, weights: Floats, clusters: Floats) -> None:
        self.posterior, self.weights, self.clusters = posterior, weights, clusters
        matrices = posterior.design.matrices
        n, link = matrices.n_rows, posterior.specification.link
        eta = matrices.X @ posterior.beta[0] + matrices.offset
        self.mean, self.second, self.joint = np.zeros(n), np.zeros(n), np.zeros((n, n))
        for j in range(n):
            for k in range(n):
                if clusters[j] != clusters[k]:
                    continue
                covariance = np.array([[self.covariance(a, b) for b in (j, k)] for a in (j, k)])
                mean, product = joint_moments(link, [eta[j], eta[k]], covariance)
                self.mean[j], self.second[j], self.joint[j, k] = mean[0], product[0], product[1]

    def covariance(self, j: int, k: int) -> float:
        total = 0.0
        for group in self.posterior.design.matrices.groups:
            if group.index[j] == group.index[k]:
                total += group.Z[j] @ self.posterior.covariance(group.name)[0] @ group.Z[k]
        return float(total)

    def outcome_square(self, row: int) -> float:
        """E y², y a proportion of trials, a count or a value."""
        mean, second = self.mean[row], self.second[row]
        family = self.posterior.family.name
        if family == "bernoulli":
            return mean
        if family == "binomial":
            trials = self.posterior.design.response.trials
            assert trials is not None
            return (mean - second) / trials[row] + second
        if family == "poisson":
            return mean + second
        return second + float(self.posterior.data["sigma"][0, 0]) ** 2

    def residual_products(self, m: Floats) -> tuple[Floats, float]:
        """E r_j r_k of all pairs, and φ."""
        V = self.posterior.family.variance(m)
        n, products, scale = len(m), np.zeros((len(m), len(m))), 0.0
        for j in range(n):
            square = self.outcome_square(j) - 2 * self.mean[j] * m[j] + m[j] ** 2
            scale += self.weights[j] * square / V[j]
            for k in range(n):
                if self.clusters[j] == self.clusters[k]:
                    product = self.joint[j, k] - self.mean[j] * m[k] - m[j] * self.mean[k]
                    products[j, k] = (product + m[j] * m[k]) / np.sqrt(V[j] * V[k])
        return products, scale / self.weights.sum()

    def alpha(self, m: Floats, visit: Floats | None) -> float:
        products, phi = self.residual_products(m)
        w = self.weights
        pairs = [
            (j, k) for j in range(len(m)) for k in range(j) if self.clusters[j] == self.clusters[k]
        ]
        if visit is None:
            top = sum(w[j] * w[k] * products[j, k] for j, k in pairs)
            return top / (phi * sum(w[j] * w[k] for j, k in pairs))

        def equation(alpha: float) -> float:
            total = 0.0
            for j, k in pairs:
                d = abs(visit[j] - visit[k])
                gap = products[j, k] / phi - alpha**d
                total += w[j] * w[k] * d * alpha ** (d - 1) * gap
            return total

        return float(brentq(equation, 1e-6, 0.999, xtol=1e-14))

    def solve(self, visit: Floats | None) -> tuple[Floats, float]:
        """β̃ and α together, by a general solver."""
        posterior = self.posterior
        X, link = posterior.design.matrices.X, posterior.link
        offset = posterior.design.matrices.offset

        def equations(unknown: Floats) -> Floats:
            beta, alpha = unknown[:-1], unknown[-1]
            eta = X @ beta + offset
            m, score = link.inverse(eta), np.zeros(len(beta))
            for cluster in np.unique(self.clusters):
                rows = np.flatnonzero(self.clusters == cluster)
                R = np.full((len(rows), len(rows)), alpha)
                if visit is not None:
                    R = alpha ** np.abs(np.subtract.outer(visit[rows], visit[rows]))
                np.fill_diagonal(R, 1.0)
                half = np.diag(np.sqrt(posterior.family.variance(m[rows]) / self.weights[rows]))
                D = link.derivative(eta[rows])[:, None] * X[rows]
                score += D.T @ np.linalg.solve(half @ R @ half, self.mean[rows] - m[rows])
            return np.append(score, self.alpha(m, visit) - alpha)

        found = root(equations, np.append(posterior.beta[0], 0.1), tol=1e-13)
        assert np.abs(found.fun).max() < 1e-8
        return found.x[:-1], float(found.x[-1])


@pytest.fixture(scope="module")
def small() -> pd.DataFrame:
    """14 rows in 4 clusters of 1 to 5."""
    rng = np.random.default_rng(3)
    g = np.repeat(["a", "b", "c", "d"], [5, 4, 1, 4])
    n = len(g)
    return pd.DataFrame(
        {
            "y": rng.permutation(np.arange(n) % 2),
            "x": rng.normal(size=n).round(1),
            "visit": np.concatenate([np.arange(k) for k in (5, 4, 1, 4)]),
            "g": g,
            "h": np.where(np.isin(g, ["a", "b"]), "p", "q"),
            "r": np.array(["u", "v", "w"])[rng.permutation(n) % 3],
            "successes": rng.integers(0, 3, n),
            "trials": rng.integers(3, 6, n),
            "count": rng.poisson(2.0, n),
            "value": rng.normal(size=n),
            "w": rng.uniform(0.5, 2.0, n).round(2),
        }
    )


CASES: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "intercept": ("y ~ x + (1 | g)", "logit", {"sd": {"g": [1.1]}}, "g"),
    "intercept probit": ("y ~ x + (1 | g)", "probit", {"sd": {"g": [0.8]}}, "g"),
    "intercept cloglog": ("y ~ x + (1 | g)", "cloglog", {"sd": {"g": [0.7]}}, "g"),
    "trials": ("p(successes, trials) ~ x + (1 | g)", "logit", {"sd": {"g": [1.0]}}, "g"),
    "count": ("count ~ x + (1 | g)", "log", {"sd": {"g": [0.5]}}, "g"),
    "slope": ("y ~ x + (1 + x | g)", "logit", {"sd": {"g": [0.9, 0.6]}, "corr": {"g": RHO}}, "g"),
    "slope, count": (
        "count ~ x + (1 + x | g)", "log", {"sd": {"g": [0.5, 0.3]}, "corr": {"g": RHO}}, "g",
    ),
    "crossed": ("y ~ x + (1 | g) + (1 | r)", "logit", {"sd": {"g": [0.9], "r": [0.7]}}, "g"),
    "nested": ("y ~ x + (1 | h/g)", "logit", {"sd": {"h": [0.8], "h:g": [0.6]}}, "h"),
}  # fmt: skip


@pytest.mark.parametrize("structure", ["exchangeable", "ar1"])
@pytest.mark.parametrize("case", CASES)
def test_coefficients_and_alpha_equal_their_twin(
    request: pytest.FixtureRequest, small: pd.DataFrame, case: str, structure: str
) -> None:
    """Exchangeable also by squares of sums, where these apply."""
    make_fit = request.getfixturevalue("make_fit")
    monkeypatch = request.getfixturevalue("monkeypatch")
    formula, link, parameters, groups = CASES[case]
    if structure == "ar1" and groups == "h":
        small = small.assign(visit=np.arange(len(small)))
    fit = make_fit(
        formula, small, link, beta=[-0.4, 0.5], shape=(1, 1), extra=("visit", "w"), **parameters
    )
    posterior = Posterior.from_fit(fit)
    trials = posterior.design.response.trials
    weights = small["w"].to_numpy() * (1.0 if trials is None else trials)
    twin = Twin(posterior, weights=weights, clusters=pd.factorize(small[groups])[0])
    visit = small["visit"].to_numpy(float) if structure == "ar1" else None
    beta, alpha = twin.solve(visit)
    for limit in (8, 0):
        monkeypatch.setattr(implied_correlation, "PAIRS_PER_ROW", limit)
        found = population_coefficients(
            fit,
            weights="w",
            working_correlation=structure,
            alpha="implied",
            groups=groups,
            time=None if visit is None else "visit",
        )
        assert found.alpha is not None
        np.testing.assert_allclose(found.alpha.draws.item(), alpha, rtol=1e-7)
        np.testing.assert_allclose(found.draws[0, 0], beta, rtol=1e-7, atol=1e-8)


# --- published numbers and closed forms ---


def toenail_fit(make_fit: MakeFit) -> xr.DataTree:
    """At the exact maximum likelihood; see test_projection."""
    beta = [-1.6182852198712583, -0.1607718643111084, -0.39100164815554855, -0.1367904232804341]
    return make_fit(
        "y ~ treatment * time + (1 | patient)",
        load_dataset("toenail"),
        beta=beta,
        sd={"patient": [4.006585304016351]},
        spread=0.0,
        shape=(1, 1),
        extra=("visit",),
    )


def test_toenail_exchangeable(make_fit: MakeFit) -> None:
    """The limits that were found independently, to the three decimals they are known to."""
    found = population_coefficients(
        toenail_fit(make_fit), working_correlation="exchangeable", alpha="implied"
    )
    assert found.alpha is not None
    np.testing.assert_allclose(found.alpha.draws.item(), 0.494, atol=5e-4)
    np.testing.assert_allclose(found.draws[0, 0], [-0.572, -0.039, -0.158, -0.062], atol=6e-4)


def test_both_ways_to_the_covariances_agree(
    make_fit: MakeFit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums of squares and pairs over one grid, and an integral for every pair."""
    fit = toenail_fit(make_fit)
    arguments: dict[str, Any] = {"working_correlation": "exchangeable", "alpha": "implied"}
    built, build = [], ImpliedCorrelation.build

    def separate(*args: Any, **options: Any) -> ImpliedCorrelation:
        parts = vars(build(*args, **options)) | {"shares_all": False}
        built.append(ImpliedCorrelation(**parts))
        return built[-1]

    pairs = population_coefficients(fit, **arguments)
    monkeypatch.setattr(ImpliedCorrelation, "build", separate)
    integrals = population_coefficients(fit, **arguments)
    monkeypatch.setattr(
        ImpliedCorrelation, "build", lambda *a, **k: built.append(build(*a, **k)) or built[-1]
    )
    monkeypatch.setattr(implied_correlation, "PAIRS_PER_ROW", 0)
    squares = population_coefficients(fit, **arguments)
    assert [one.pairs is None for one in built] == [False, True]
    for other in (pairs, integrals):
        np.testing.assert_allclose(other.draws, squares.draws, rtol=1e-9)
        assert squares.alpha is not None
        assert other.alpha is not None
        np.testing.assert_allclose(other.alpha.draws, squares.alpha.draws, rtol=0, atol=1e-10)


@pytest.mark.parametrize("structure", ["exchangeable", "ar1"])
def test_the_identity_link_has_a_closed_form(
    make_fit: MakeFit, frame: pd.DataFrame, structure: str
) -> None:
    """Exchangeable: the intra-cluster correlation; the coefficients are the conditional ones."""
    fit = make_fit("value ~ x + (1 | g)", frame, "identity", sd={"g": [0.8]}, extra=("visit",))
    sigma = np.linspace(0.5, 1.5, 12).reshape(2, 6)
    post = fit["posterior"].to_dataset().assign(sigma=(("chain", "draw"), sigma))
    fit["posterior"] = xr.DataTree(post)
    time = "visit" if structure == "ar1" else None
    found = population_coefficients(
        fit, working_correlation=structure, alpha="implied", groups="g", time=time
    )
    between = post["sd_g"].to_numpy()[..., 0] ** 2
    icc = between / (between + sigma**2)
    assert found.alpha is not None
    if structure == "ar1":
        counts = np.array([48.0, 36, 24, 12])
        icc = solve_ar1(np.arange(1.0, 5.0), icc.reshape(-1, 1) * counts, counts).reshape(2, 6)
    np.testing.assert_allclose(found.alpha.draws[..., 0], icc, rtol=1e-9)
    np.testing.assert_allclose(found.draws, post["beta"], rtol=1e-9)
    fit["posterior"] = xr.DataTree(post.drop_vars("sigma"))
    with pytest.raises(Exception, match="without draws of the residual standard deviation"):
        population_coefficients(fit, working_correlation="exchangeable", alpha="implied")


@pytest.mark.parametrize("structure", ["exchangeable", "ar1"])
@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "log"])
def test_without_variance_nothing_is_correlated(
    make_fit: MakeFit, frame: pd.DataFrame, link: str, structure: str
) -> None:
    formula = "(1 | g)" if link in {"logit", "log"} else "(1 + x | g)"
    response = "count" if link == "log" else "y"
    sd = {"g": [0.0, 0.0][: 1 + ("x |" in formula)]}
    fit = make_fit(f"{response} ~ x + {formula}", frame, link, sd=sd, extra=("visit",))
    time = "visit" if structure == "ar1" else None
    found = population_coefficients(fit, working_correlation=structure, alpha="implied", time=time)
    assert found.alpha is not None
    np.testing.assert_allclose(found.alpha.draws, 0.0, atol=1e-7 if time else 1e-12)
    np.testing.assert_allclose(found.draws, fit["posterior"]["beta"], rtol=1e-9)


@pytest.mark.parametrize("structure", ["exchangeable", "ar1"])
def test_a_gee_on_much_data_finds_it(make_fit: MakeFit, structure: str) -> None:
    """8,000 clusters drawn from the model, effects and arms evenly spread; α's error is 0.01."""
    pytest.importorskip("statsmodels", reason="the small install has no GEE")
    from popavg.models.gee import gee

    rng, n = np.random.default_rng(5), 8_000
    treated, visit = np.repeat(np.arange(n) % 2, 4), np.tile(np.arange(4), n)
    u = np.repeat(2.0 * ndtri((np.arange(n) + 0.5) / n), 4)
    eta = -0.5 + 0.6 * treated - 0.4 * visit
    data = pd.DataFrame(
        {
            "y": (rng.uniform(size=4 * n) < 1 / (1 + np.exp(-eta - u))).astype(int),
            "arm": np.where(treated == 1, "b", "a"),
            "visit": visit,
            "g": np.repeat(np.arange(n), 4),
        }
    )
    some = data[data["g"] < 50]
    fit = make_fit(
        "y ~ arm + visit + (1 | g)",
        some,
        beta=[-0.5, 0.6, -0.4],
        sd={"g": [2.0]},
        spread=0.0,
        shape=(1, 1),
    )
    time = "visit" if structure == "ar1" else None
    design = pd.DataFrame(
        {
            "arm": np.repeat(["a", "b"], 4),
            "visit": np.tile(np.arange(4), 2),
            "g": np.repeat([0, 1], 4),
        }
    )
    implied = population_coefficients(
        fit, design=design, working_correlation=structure, alpha="implied", time=time
    )
    fitted = gee(
        "y ~ arm + visit", data, groups="g", link="logit", working_correlation=structure, time=time
    )
    assert implied.alpha is not None
    np.testing.assert_allclose(implied.alpha.draws.item(), fitted.alpha, atol=0.02)
    table = fitted.to_frame()
    distance = (implied.draws[0, 0] - table["estimate"]) / table["std_error"]
    assert np.abs(distance).max() < 3


# --- the result, blocks, errors ---


def test_alpha_is_reported(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ x + (1 | g)", frame)
    found = population_coefficients(fit, working_correlation="exchangeable", alpha="implied")
    assert found.alpha is not None
    assert found.alpha.draws.dims == ("chain", "draw", "alpha")
    assert found.how == "projection, exchangeable, α implied by the model"
    mean = float(found.alpha.draws.mean())
    assert f"α = {mean:.3f} (posterior mean) is what a GEE with the exchangeable" in repr(found)
    given = population_coefficients(fit, working_correlation="exchangeable", alpha=0.2)
    assert given.alpha is None


def test_a_draw_does_not_depend_on_the_others(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ x + (1 + x | g)", frame, corr={"g": RHO}, spread=0.5)
    arguments: dict[str, Any] = {"working_correlation": "exchangeable", "alpha": "implied"}
    whole = population_coefficients(fit, **arguments)
    alone = fit.copy()
    alone["posterior"] = xr.DataTree(fit["posterior"].to_dataset().isel(draw=[2]))
    part = population_coefficients(alone, **arguments)
    np.testing.assert_allclose(part.draws, whole.draws.isel(draw=[2]), rtol=1e-12)
    assert whole.alpha is not None
    assert part.alpha is not None
    np.testing.assert_allclose(part.alpha.draws, whole.alpha.draws.isel(draw=[2]), rtol=1e-12)


@pytest.mark.parametrize("clustered", ["own", "columns"])
def test_a_design_of_its_own(make_fit: MakeFit, frame: pd.DataFrame, clustered: str) -> None:
    """Clusters of a design that the fit hasn't seen."""
    fit = make_fit("y ~ x + (1 | h/g)", frame, sd={"h": [0.5], "h:g": [0.9]})
    rows = frame if clustered == "own" else frame.assign(g=frame["g"] + "'", h=frame["h"] + "'")
    arguments: dict[str, Any] = {
        "working_correlation": "exchangeable", "alpha": "implied", "groups": "h",
    }  # fmt: skip
    observed = population_coefficients(fit, **arguments)
    own = population_coefficients(fit, design=rows, **arguments)
    np.testing.assert_allclose(own.draws, observed.draws, rtol=1e-10)
    with pytest.raises(DataError, match="clusters 'h:g' aren't in the rows"):
        population_coefficients(fit, design=rows.drop(columns="g"), **arguments)


def test_what_has_no_implied_alpha(
    make_fit: MakeFit, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = make_fit("y ~ x + (1 + x | g)", frame, corr={"g": RHO})
    arguments: dict[str, Any] = {"working_correlation": "exchangeable", "alpha": "implied"}
    single = frame.drop_duplicates("g")
    with pytest.raises(SpecificationError, match="no cluster has two rows of positive weight"):
        population_coefficients(fit, design=single, **arguments)
    with pytest.raises(SpecificationError, match=r"alpha='implied' with .*'independence'"):
        population_coefficients(fit, alpha="implied")
    with pytest.raises(SpecificationError, match=r"alpha='geepack'.*a number, or 'implied'"):
        population_coefficients(fit, working_correlation="exchangeable", alpha="geepack")  # ty: ignore
    monkeypatch.setattr(_row_pairs, "MOST_PAIRS", 100)
    with pytest.raises(SpecificationError, match="over 120 pairs of rows"):
        population_coefficients(fit, **arguments)


def test_ar1_equation() -> None:
    """Its root; α of another unit of time; no root."""
    counts, lags = np.array([30.0, 20.0, 10.0]), np.array([1.0, 2.0, 3.0])
    for alpha in (0.9, 0.3, 0.0, -0.4):
        found = solve_ar1(lags, (alpha**lags * counts)[None, :], counts)
        np.testing.assert_allclose(found, [alpha], atol=1e-12)
    found = solve_ar1(0.5 * lags, (0.6**lags * counts)[None, :], counts)
    np.testing.assert_allclose(found, [0.36], rtol=1e-12)
    with pytest.raises(ConvergenceError, match="in 1 of 2 draws"):
        solve_ar1(lags, np.array([[30.0, 20.0, 10.0], [0.5, 0.25, 0.1]]) * 1.5, counts)


def test_equal_clusters_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from popavg.design import DesignMatrices

    matrices = DesignMatrices(("x",), np.array([[1.0], [2.0]]), np.zeros(2), ())
    rows = np.array([0, 1, 1, 0, 0, 1])
    layout = ClusterLayout.build([0, 0, 1, 1, 2, 2])
    ones = np.ones(6)
    clusters = ClusterRows(rows, ones, ones, np.empty((6, 0), dtype=np.intp), layout)
    build = partial(ImpliedCorrelation.build, "exchangeable", matrices, get_family("bernoulli"))
    listed = build(clusters)
    assert listed.pairs is not None
    assert (listed.n_pairs, listed.pairs.weight.tolist()) == (1, [3.0])
    monkeypatch.setattr(implied_correlation, "PAIRS_PER_ROW", 0)
    found = build(clusters)
    assert found.clusters is not None
    assert found.clusters[3].tolist() == [3.0]
    assert found.pairs is None


@pytest.mark.parametrize("sd", [0.0, 0.3, 1.0, 4.0, 9.0])
@pytest.mark.parametrize("name", ["logit", "probit", "cloglog", "log", "identity"])
def test_one_grid_equals_one_integral_for_each_pair(name: str, sd: float) -> None:
    """Errors of α: of covariances over the standard deviations of the outcomes."""
    link, sd = get_link(name), min(sd, 1.0) if name == "log" else sd
    eta = np.array([[-9.0, -3.0, -1.0, 0.0, 0.7], [-4.0, -2.0, 1.0, 1.2, 0.1]])
    predictor = np.asarray(population_average(eta, np.full((2, 1), sd), link, "link"))
    mean = link.inverse(predictor)
    other = link.complement(predictor) if link.is_probability else np.zeros_like(mean)
    first, second = (index.astype(np.intp) for index in np.triu_indices(5))
    found, variances = np.empty((2, 15)), np.empty((2, 5))
    draws = (eta, mean, other, np.full(2, sd))
    pair_covariances(grid_kind(link), draws, (first, second), (found, variances))
    v = {"variance_1": sd**2, "variance_2": sd**2, "covariance": sd**2}
    joint = joint_mean(eta[:, first], eta[:, second], link=link, **v)
    exact = joint - mean[:, first] * mean[:, second]
    scale = np.sqrt(mean * other) if link.is_probability else np.maximum(np.abs(mean), 1.0)
    scale = np.maximum(scale, np.sqrt(np.abs(variances)))
    error = np.abs(found - exact) / (scale[:, first] * scale[:, second])
    assert error.max() < 1e-10
    np.testing.assert_allclose(variances, found[:, first == second], rtol=1e-13)


def test_the_question_can_be_sent_to_another_process(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    posterior = Posterior.from_fit(make_fit("y ~ x + (1 | g)", frame))
    structure = WorkingStructure("exchangeable", "implied")
    rows = ProjectionDesign.build(posterior, "observed", None, structure)
    model = (posterior.link, posterior.family)
    question = CoefficientQuestion.build(rows, "projection", structure, model=model)
    block = posterior.block()
    sent = pickle.loads(pickle.dumps(question))
    np.testing.assert_array_equal(sent(block), question(block))
    assert question(block).shape == (12, question.n_estimands)
