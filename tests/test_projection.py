"""Projection and least squares against naive twins, exact identities and published numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.optimize import root

from popavg.errors import ConvergenceError, DataError, SpecificationError
from popavg.families import family_for
from popavg.links import LINKS, get_link
from popavg.posterior_tools import _estimating_equation, _projector, _rows
from popavg.posterior_tools._estimating_equation import (
    CorrelatedProblem,
    PairedProblem,
    Problem,
)
from popavg.posterior_tools.projection import least_squares, misfit, project, unique_rows
from popavg.posterior_tools.working_correlation import (
    AR1,
    ClusterLayout,
    Exchangeable,
    Independence,
    WorkingCorrelation,
)

Floats = NDArray[np.float64]
CORRELATIONS = (None, Independence(), Exchangeable(0.45), Exchangeable(-0.1), AR1(0.6))
SD = np.array([0.0, 0.7, 2.0, 4.0])
BETA = np.array([[-0.5, 0.4, 0.3], [0.2, -0.6, 0.5], [-1.5, 0.7, -0.8], [0.3, 0.2, 1.1]])

# Exact maximum likelihood of the toenail data (random-intercept logit), its marginal coefficients
# by least squares and by Zeger, Liang and Albert: dense trapezoid in double precision, Newton to
# |gradient| < 1e-8 (project reference toenail.exact.json, logit).
TOENAIL_BETA = [-1.6182852198712583, -0.1607718643111084, -0.39100164815554855, -0.1367904232804341]
TOENAIL_SD = 4.006585304016351
TOENAIL_LEAST_SQUARES = [
    -0.5685221691096578,
    -0.030903100362871264,
    -0.15999343381531483,
    -0.06889510543282992,
]


def population_predictor(eta: Floats, sd: Floats, name: str) -> Floats:
    """g(E g^{-1}(eta + sd Z)) by a dense trapezoid in logs, for (draws, rows) and (draws, 1)."""
    link = get_link(name)
    if name == "identity":
        return eta + 0.0 * sd
    z = np.linspace(-12.0, 12.0, 1201)
    weight = np.exp(-0.5 * z**2)
    shifted = eta[..., None] + sd[..., None] * z
    if name == "log":
        return np.log(np.exp(shifted) @ weight / weight.sum())
    log_mean = np.log(np.exp(link.log_inverse(shifted)) @ weight / weight.sum())
    log_complement = np.log(np.exp(link.log_complement(shifted)) @ weight / weight.sum())
    return link.link_from_logs(log_mean, log_complement)


class Case:
    """A small unbalanced design: 6 clusters of 1 to 5 rows, trials, an offset, shuffled."""

    def __init__(self) -> None:
        rng = np.random.default_rng(20)
        sizes = [1, 5, 3, 2, 5, 4]
        codes = np.repeat(np.arange(6), sizes)
        time = np.concatenate([np.cumsum(rng.uniform(0.3, 1.5, n)) for n in sizes])
        shuffled = rng.permutation(len(codes))
        self.codes, self.time = codes[shuffled], time[shuffled]
        treated = (self.codes % 2).astype(float)
        self.X = np.column_stack([np.ones(len(codes)), treated, 0.5 * self.time])
        self.offset = rng.normal(scale=0.3, size=len(codes))
        self.trials = rng.integers(1, 9, len(codes)).astype(float)
        self.layout = ClusterLayout.build(self.codes, time=self.time)

    def target(self, name: str) -> Floats:
        scale = 0.25 if name == "log" else 1.0
        return population_predictor(BETA @ self.X.T + self.offset, scale * SD[:, None], name)


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


def twin_score(
    beta: Floats,
    target: Floats,
    case: Case,
    *,
    name: str,
    correlation: WorkingCorrelation | None,
) -> Floats:
    """The estimating equation of one draw, cluster by cluster, with explicit matrices."""
    link = get_link(name)
    variance = family_for(link, trials=False).variance
    score = np.zeros(len(beta))
    for cluster in np.unique(case.codes):
        rows = np.flatnonzero(case.codes == cluster)
        n = len(rows)
        working = np.eye(n)
        for j in range(n):
            for k in range(n):
                if j != k and isinstance(correlation, Exchangeable):
                    working[j, k] = correlation.alpha
                elif j != k and isinstance(correlation, AR1):
                    gap = abs(case.time[rows[j]] - case.time[rows[k]])
                    working[j, k] = correlation.alpha**gap
        eta = case.X[rows] @ beta + case.offset[rows]
        mean = link.inverse(eta)
        derivative = link.derivative(eta)[:, None] * case.X[rows]
        spread = np.diag(np.sqrt(variance(mean) / case.trials[rows]))
        residual = link.inverse(target[rows]) - mean
        score += derivative.T @ np.linalg.solve(spread @ working @ spread, residual)
    return score


def twin_projection(
    target: Floats, case: Case, *, name: str, correlation: WorkingCorrelation | None
) -> Floats:
    start = np.linalg.lstsq(case.X, target - case.offset, rcond=None)[0]
    solved = root(
        lambda beta: twin_score(beta, target, case, name=name, correlation=correlation),
        start,
        tol=1e-14,
    )
    beta = solved.x
    for _ in range(3):  # Newton steps by central differences to polish what the solver left
        jacobian = np.column_stack(
            [
                (
                    twin_score(beta + h, target, case, name=name, correlation=correlation)
                    - twin_score(beta - h, target, case, name=name, correlation=correlation)
                )
                / 2e-6
                for h in 1e-6 * np.eye(len(beta))
            ]
        )
        score = twin_score(beta, target, case, name=name, correlation=correlation)
        beta = beta - np.linalg.solve(jacobian, score)
    return beta


def test_every_link_has_its_cases() -> None:
    assert set(LINKS) == {"logit", "probit", "cloglog", "log", "identity"}, "add it to the twins"


@pytest.mark.parametrize("correlation", CORRELATIONS, ids=str)
@pytest.mark.parametrize("name", sorted(LINKS))
def test_projection_equals_its_twin(
    name: str, correlation: WorkingCorrelation | None, case: Case
) -> None:
    target = case.target(name)
    projected = project(
        target,
        case.X,
        name,
        offset=case.offset,
        weights=case.trials,
        correlation=correlation,
        layout=case.layout,
    )
    for draw in range(len(SD)):
        twin = twin_projection(target[draw], case, name=name, correlation=correlation)
        np.testing.assert_allclose(projected[draw], twin, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("correlation", CORRELATIONS, ids=str)
@pytest.mark.parametrize("name", sorted(LINKS))
def test_sd_zero_gives_the_conditional_coefficients(
    name: str, correlation: WorkingCorrelation | None, case: Case
) -> None:
    projected = project(
        BETA @ case.X.T,
        case.X,
        name,
        correlation=correlation,
        layout=case.layout,
        start=np.zeros_like(BETA),
    )
    np.testing.assert_allclose(projected, BETA, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("correlation", CORRELATIONS, ids=str)
@pytest.mark.parametrize("name", sorted(LINKS))
def test_a_saturated_design_is_reproduced(
    name: str, correlation: WorkingCorrelation | None
) -> None:
    cell = np.array([0, 1, 2, 3, 0, 1, 2, 0, 3, 2])
    X = np.array([[1.0, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]])
    values = np.random.default_rng(3).normal(size=(5, 4))
    layout = ClusterLayout.build([1, 1, 1, 1, 2, 2, 2, 3, 3, 3], time=np.arange(10))
    projected = project(values, X, name, rows=cell, correlation=correlation, layout=layout)
    np.testing.assert_allclose(projected @ X.T, values, rtol=0, atol=1e-12)
    np.testing.assert_allclose(misfit(values, X, projected, name)[:, :2], 0.0, atol=1e-11)


@pytest.mark.parametrize("correlation", CORRELATIONS, ids=str)
def test_probit_and_log_closed_forms(correlation: WorkingCorrelation | None, case: Case) -> None:
    solve = partial(project, correlation=correlation, layout=case.layout, weights=case.trials)
    target = population_predictor(BETA @ case.X.T, SD[:, None], "probit")
    projected = solve(target, case.X, "probit")
    np.testing.assert_allclose(projected, BETA / np.sqrt(1 + SD[:, None] ** 2), atol=1e-9)
    target = population_predictor(BETA @ case.X.T, 0.5 * SD[:, None], "log")
    projected = solve(target, case.X, "log")
    np.testing.assert_allclose(projected[:, 1:], BETA[:, 1:], atol=1e-9)
    np.testing.assert_allclose(projected[:, 0], BETA[:, 0] + SD**2 / 8, atol=1e-9)


def test_identity_is_weighted_least_squares(case: Case) -> None:
    target = np.random.default_rng(4).normal(size=(3, len(case.X)))
    projected = project(target, case.X, "identity", offset=case.offset, weights=case.trials)
    root_weight = np.sqrt(case.trials)[:, None]
    naive = np.linalg.lstsq(
        root_weight * case.X, root_weight * (target - case.offset).T, rcond=None
    )[0].T
    regressed = least_squares(target, case.X, offset=case.offset, weights=case.trials)
    np.testing.assert_allclose(projected, naive, rtol=1e-11)
    np.testing.assert_allclose(regressed, naive, rtol=1e-11)


def test_weights_are_duplicated_rows(case: Case) -> None:
    target = case.target("logit")
    often = case.trials.astype(int)
    weighted = project(target, case.X, "logit", offset=case.offset, weights=often)
    repeated = np.repeat(np.arange(len(often)), often)
    named = project(target, case.X, "logit", offset=case.offset, rows=repeated)
    written = project(target[:, repeated], case.X[repeated], "logit", offset=case.offset[repeated])
    np.testing.assert_allclose(weighted, written, rtol=1e-11)
    np.testing.assert_allclose(named, written, rtol=1e-11)
    np.testing.assert_allclose(
        least_squares(target, case.X, weights=often),
        least_squares(target[:, repeated], case.X[repeated]),
        rtol=1e-11,
    )


@pytest.mark.parametrize("correlation", CORRELATIONS, ids=str)
def test_the_order_of_rows_is_irrelevant(
    correlation: WorkingCorrelation | None, case: Case
) -> None:
    target = case.target("cloglog")
    solve = partial(project, correlation=correlation)
    straight = solve(target, case.X, "cloglog", layout=case.layout, weights=case.trials)
    order = np.random.default_rng(9).permutation(len(case.X))
    layout = ClusterLayout.build(case.codes[order], time=case.time[order])
    permuted = solve(
        target[:, order],
        case.X[order],
        "cloglog",
        layout=layout,
        weights=case.trials[order],
    )
    np.testing.assert_allclose(permuted, straight, rtol=1e-11)


def test_blocks_of_draws_change_nothing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    target = case.target("logit")
    solve = partial(project, correlation=Exchangeable(0.3), layout=case.layout)
    whole = solve(target, case.X, "logit")
    monkeypatch.setattr(_rows, "BLOCK_BYTES", 1)
    np.testing.assert_allclose(solve(target, case.X, "logit"), whole, rtol=1e-12)
    beta = whole
    np.testing.assert_allclose(
        misfit(target, case.X, beta, "logit")[0], misfit(target[:1], case.X, beta[:1], "logit")[0]
    )


@pytest.mark.parametrize("correlation", CORRELATIONS, ids=str)
@pytest.mark.parametrize("name", sorted(LINKS))
def test_all_ways_of_solving_agree(
    name: str, correlation: WorkingCorrelation | None, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiled; in NumPy by one matrix over distinct rows; and by whitening every observation."""
    taken = []
    for kind in (Problem, PairedProblem, CorrelatedProblem):
        monkeypatch.setattr(kind, "moments", _counting(kind.moments, taken, kind.__name__))
    n = len(case.X)  # rows repeat within and between clusters
    weights = np.r_[case.trials, np.ones(10)]
    weights[4] = 0.0
    solve = partial(
        project,
        case.target(name),
        case.X,
        name,
        rows=np.r_[np.repeat(np.arange(n // 2), 2), np.arange(10)],
        weights=weights,
        offset=case.offset,
        correlation=correlation,
        layout=ClusterLayout.build(
            np.r_[case.codes, np.arange(10) // 4], time=np.r_[case.time, 50.0 + np.arange(10)]
        ),
    )
    found = [solve()]
    assert not taken
    monkeypatch.setattr(_projector, "cancels", lambda *_: True)
    found.append(solve())
    monkeypatch.setattr(_estimating_equation, "PAIRED_RATIO", 0)
    found.append(solve())
    correlated = ["PairedProblem", "CorrelatedProblem"]
    independent = correlation is None or isinstance(correlation, Independence)
    assert list(dict.fromkeys(taken)) == (["Problem"] if independent else correlated)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)
    np.testing.assert_allclose(found[1], found[2], rtol=1e-9)


def _counting(method: Callable[..., object], taken: list[str], name: str) -> Callable[..., object]:
    def counted(*args: object) -> object:
        taken.append(name)
        return method(*args)

    return counted


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("correlation", CORRELATIONS, ids=str)
@pytest.mark.parametrize("name", ["logit", "probit", "cloglog"])
def test_the_tails_keep_their_digits(
    name: str, correlation: WorkingCorrelation | None, sign: float
) -> None:
    middle = {"logit": 30.0, "probit": 30.0, "cloglog": 2.5 if sign > 0 else 30.0}[name]
    X = np.column_stack([np.ones(6), np.tile([0.0, 1.0, 2.0], 2)])
    layout = ClusterLayout.build([0, 0, 0, 1, 1, 1], time=np.arange(6))
    beta = np.array([[sign * middle, 0.3]])
    link = get_link(name)  # start where the lesser tail is wrong by about a third
    steep = np.exp(link.log_derivative(beta @ X.T) - link.log_inverse(beta @ X.T))
    if sign > 0:
        steep = np.exp(link.log_derivative(beta @ X.T) - link.log_complement(beta @ X.T))
    start = beta + np.array([[0.3, -0.1]]) / steep.max()
    projected = project(beta @ X.T, X, name, correlation=correlation, layout=layout, start=start)
    np.testing.assert_allclose(projected, beta, rtol=1e-10)


def test_the_logit_tail_against_the_log_link() -> None:
    """Below -30 the logit is the log to 1e-13: one intercept gives the log of the mean mean."""
    target = np.array([[-31.0, -33.0, -36.0]])
    expected = np.log(np.exp(target).mean())
    for sign in (1.0, -1.0):
        projected = project(sign * target, np.ones((3, 1)), "logit")
        np.testing.assert_allclose(projected, [[sign * expected]], rtol=1e-12)


def test_a_poor_start_is_damped(case: Case) -> None:
    target = case.target("logit")
    good = project(target, case.X, "logit")
    poor = project(target, case.X, "logit", start=np.full_like(BETA, 3.0))
    np.testing.assert_allclose(poor, good, rtol=1e-10)


def test_misfit_by_hand(case: Case) -> None:
    target = case.target("logit")
    weight = case.trials.copy()
    weight[0] = 0.0
    beta = project(target, case.X, "logit", offset=case.offset, weights=weight)
    found = misfit(target, case.X, beta, "logit", offset=case.offset, weights=weight)
    for draw in range(len(SD)):
        gaps = []
        for row in range(1, len(weight)):
            eta = float(case.X[row] @ beta[draw] + case.offset[row])
            gaps.append(1 / (1 + np.exp(-target[draw, row])) - 1 / (1 + np.exp(-eta)))
        rms = np.sqrt(np.sum(weight[1:] * np.square(gaps)) / weight[1:].sum())
        np.testing.assert_allclose(found[draw, :2], [np.abs(gaps).max(), rms], atol=1e-13)
        mean = 1 / (1 + np.exp(-target[draw, int(found[draw, 2])]))
        assert np.isclose(found[draw, 3], mean, rtol=1e-14)
        if draw:
            assert found[draw, 2] == 1 + np.argmax(np.abs(gaps))
    assert found[0, :2].max() < 1e-12
    assert found[3, 0] > found[3, 1] > 1e-4


def test_unique_rows_put_themselves_back(case: Case) -> None:
    X = np.round(case.X)
    first, inverse, counts = unique_rows(X, np.zeros(len(X)))
    np.testing.assert_array_equal(X[first][inverse], X)
    assert counts.sum() == len(X)
    assert len(first) == len({tuple(row) for row in X})


@dataclass(frozen=True)
class Toenail:
    """The data's distinct rows, and the population predictor at the exact maximum likelihood."""

    codes: NDArray[np.intp]
    X: Floats
    rows: NDArray[np.intp]
    counts: NDArray[np.intp]
    target: Floats


@pytest.fixture(scope="module")
def toenail() -> Toenail:
    frame = pd.read_csv(str(files("popavg") / "data" / "toenail.csv"))
    treated = (frame["treatment"] == "terbinafine").to_numpy(float)
    time = frame["time"].to_numpy(float)
    codes = pd.factorize(frame["patient"])[0]
    X = np.column_stack([np.ones(len(frame)), treated, time, treated * time])
    first, inverse, counts = unique_rows(X)
    eta = np.array([TOENAIL_BETA]) @ X[first].T
    target = population_predictor(eta, np.full((1, 1), TOENAIL_SD), "logit")
    return Toenail(codes, X[first], inverse, counts, target)


def test_toenail_least_squares(toenail: Toenail) -> None:
    found = least_squares(toenail.target, toenail.X, weights=toenail.counts)
    np.testing.assert_allclose(found[0], TOENAIL_LEAST_SQUARES, atol=1e-8)
    full = least_squares(toenail.target[:, toenail.rows], toenail.X[toenail.rows])
    np.testing.assert_allclose(full, found, rtol=1e-11)


@pytest.mark.parametrize(
    ("correlation", "published"),
    [
        (None, [-0.576, -0.047, -0.158, -0.063]),
        # alpha = 0.494 is what the model implies for an exchangeable GEE at these estimates
        (Exchangeable(0.494), [-0.572, -0.039, -0.158, -0.062]),
    ],
)
def test_toenail_projections(
    toenail: Toenail,
    correlation: WorkingCorrelation | None,
    published: list[float],
) -> None:
    """Limits of the GEE under the fitted model, to the three decimals they are known to."""
    layout = ClusterLayout.build(toenail.codes)
    found = project(
        toenail.target,
        toenail.X,
        "logit",
        rows=toenail.rows,
        correlation=correlation,
        layout=layout,
    )
    np.testing.assert_allclose(found[0], published, atol=6e-4)


def test_dependent_columns_are_named(case: Case) -> None:
    X = np.column_stack([case.X, case.X[:, 1] - 2 * case.X[:, 0]])
    with pytest.raises(DataError, match=r"columns? \d.* of X .* rank 3, 4 columns"):
        project(np.zeros((1, len(X))), X, "logit")
    with pytest.raises(DataError, match="rank 2, 3 columns"):
        least_squares(np.zeros((1, 2)), np.eye(3)[:2])
    only = (case.X[:, 1] == 0.0).astype(float)
    with pytest.raises(DataError, match=r"columns? \d of X"):
        project(np.zeros((1, len(only))), case.X, "logit", weights=only)


@pytest.mark.parametrize("weights", [[1.0, -1.0], [0.0, 0.0], [1.0, np.nan]])
def test_bad_weights(weights: list[float]) -> None:
    with pytest.raises(DataError, match="finite, not negative, not all zero"):
        project([[0.0, 1.0]], [[1.0], [1.0]], "logit", weights=weights)


def test_bad_shapes_and_values() -> None:
    X = np.ones((3, 1))
    with pytest.raises(DataError, match=r"shape \(1, 2\).*\(draws, 3\)"):
        project([[0.0, 1.0]], X, "logit")
    with pytest.raises(DataError, match="aren't finite in 1 of 2 draws"):
        project([[0.0, np.inf, 0.0], [0.0, 0.0, 0.0]], X, "logit")
    with pytest.raises(DataError, match=r"finite \(rows, terms\) matrix"):
        project([[0.0]], [[np.nan]], "logit")
    with pytest.raises(DataError, match="an offset of shape"):
        project([[0.0, 0.0, 0.0]], X, "logit", offset=[1.0])
    with pytest.raises(DataError, match="weights of shape"):
        least_squares([[0.0, 0.0, 0.0]], X, weights=[1.0])
    with pytest.raises(DataError, match="rows from 0 to 3"):
        project([[0.0, 0.0, 0.0]], X, "logit", rows=[0, 3])
    with pytest.raises(DataError, match="integers"):
        project([[0.0, 0.0, 0.0]], X, "logit", rows=[0.0, 1.0])
    with pytest.raises(DataError, match="coefficients of shape"):
        misfit([[0.0, 0.0, 0.0]], X, [[0.0, 1.0]], "logit")
    with pytest.raises(DataError, match="start with values"):
        project([[0.0, 0.0, 0.0]], X, "logit", start=[[np.nan]])
    with pytest.raises(DataError, match="equal lengths"):
        unique_rows([1.0, 2.0], [1.0])


def test_correlation_needs_its_layout() -> None:
    X = np.ones((3, 1))
    with pytest.raises(SpecificationError, match="Give a layout"):
        project([[0.0, 0.0, 0.0]], X, "logit", correlation=Exchangeable(0.1))
    with pytest.raises(DataError, match=r"a layout of 2 rows.*3 observations"):
        project(
            [[0.0, 0.0, 0.0]],
            X,
            "logit",
            correlation=Exchangeable(0.1),
            layout=ClusterLayout.build([1, 2]),
        )
    with pytest.raises(SpecificationError, match="'exponential' is unknown"):
        project([[0.0, 0.0, 0.0]], X, "exponential")


def test_no_convergence_says_how_many_draws(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_estimating_equation, "MAX_ITERATIONS", 1)
    with pytest.raises(
        ConvergenceError, match=r"3 of 4 draws didn't.*iterations\. Check.*least_squares"
    ) as e:
        project(case.target("logit"), case.X, "logit", offset=case.offset)
    assert "independence" not in str(e.value)
    layout = ClusterLayout.build(np.arange(len(case.X)) // 2)
    with pytest.raises(ConvergenceError, match=r"Use.*independence' \(existence.*least_squares"):
        project(
            case.target("logit"), case.X, "logit", offset=case.offset,
            correlation=Exchangeable(0.2), layout=layout,
        )  # fmt: skip
