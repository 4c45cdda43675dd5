"""Calibration of the routes: right ones pass, seeded bugs don't; runs survive what happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import popavg as pa
from popavg.bridge_logit import BridgeLogit
from popavg.design import Design
from popavg.errors import ConvergenceError, FitWarning, SpecificationError, StorageError
from popavg.models.prior_draws import prior_draws
from popavg.posterior_tools.calibration_result import Calibration
from popavg.workflows import _calibration_jobs as jobs
from popavg.workflows import _calibration_routes as routes
from popavg.workflows._calibration_plan import Plan, Worker
from popavg.workflows._calibration_quantities import DEFAULT_QUANTITIES
from popavg.workflows._calibration_routes import Drawer, Draws
from popavg.workflows._calibration_simulation import simulate, with_frame
from popavg.workflows.problem import Problem, problem_of_formula
from popavg.workflows.sampling import Sampler, sample

type Draw = Callable[[Drawer, Problem, int], Draws]

FORMULA = "p(s, n) ~ x + (1 | g)"


@pytest.fixture(scope="module")
def clusters() -> pd.DataFrame:
    """60 clusters, each of many trials, so that few runs tell much."""
    return pd.DataFrame(
        {
            "s": np.tile([3, 9], 30),
            "n": 400,
            "x": np.repeat([0, 1], 30),
            "g": [f"c{i:02}" for i in range(60)],
        }
    )


PRIORS = {"Intercept": "Normal(0, 0.05)", "x": "Normal(0, 1)", "sd_g": "Gamma(9, 9)"}


def calibrated(data: pd.DataFrame, runs: int, **given: Any) -> Calibration:
    given = {"link": "logit", "method": "importance", "jobs": 1, "progress": False} | given
    return pa.calibrate(FORMULA, data, runs=runs, **given)


def small(data: pd.DataFrame, runs: int, **given: Any) -> Calibration:
    return calibrated(data, runs, **{"quantities": "parameters", "draws": 20} | given)


# Seeded bugs: what a wrong route would draw.


@pytest.fixture(scope="module")
def kept() -> dict[int, Draws]:
    """Right draws by seed: some bugs spoil these."""
    return {}


@pytest.fixture
def seeded(
    monkeypatch: pytest.MonkeyPatch, clusters: pd.DataFrame, kept: dict[int, Draws]
) -> Callable[[str, int], Calibration]:
    right = Drawer.draw

    def keep(self: Drawer, problem: Problem, seed: int) -> Draws:
        if seed not in kept:
            kept[seed] = right(self, problem, seed)
        return kept[seed]

    def too_large(self: Drawer, problem: Problem, seed: int) -> Draws:
        found = keep(self, problem, seed)
        wrong = found.posterior.assign(sd_g=1.1 * found.posterior["sd_g"])
        return replace(found, posterior=wrong)

    def forgotten(self: Drawer, problem: Problem, seed: int) -> Draws:
        flat = {**problem.priors, "Intercept": pa.Prior("Normal", 0, 100)}
        return right(self, replace(problem, priors=flat), seed)

    def ignoring(self: Drawer, problem: Problem, seed: int) -> Draws:
        made = prior_draws(problem.design, problem.link, problem.priors, draws=99, seed=seed)
        return Draws(made, "importance")

    bugs: dict[str, Draw] = {
        "none": keep,
        "sd 10 % too large": too_large,
        "intercept's prior forgotten": forgotten,
        "outcomes ignored": ignoring,
    }

    def run(bug: str, runs: int) -> Calibration:
        monkeypatch.setattr(Drawer, "draw", bugs[bug])
        kinds = ("parameters", "log_likelihood", "log_prior")
        return calibrated(clusters, runs, priors=PRIORS, quantities=kinds, seed=1)

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bug", "runs", "seen_by"),
    [
        ("none", 25, {}),
        ("sd 10 % too large", 25, {"sd_g": "draws too high"}),
        ("intercept's prior forgotten", 15, {"log_prior": "draws too low"}),
        ("outcomes ignored", 20, {"log_likelihood": "draws too low"}),
    ],
)
def test_seeded_bugs_are_seen_and_the_right_route_passes(
    seeded: Callable[[str, int], Calibration], bug: str, runs: int, seen_by: dict[str, str]
) -> None:
    found = seeded(bug, runs)
    table = found.to_frame().set_index("quantity")
    assert table.loc[table["verdict"] == "not uniform", "shape"].to_dict() == seen_by
    assert found.verdict == ("not uniform" if seen_by else "uniform")
    assert (table["p_value"].min() < 1e-4) == bool(seen_by)
    assert found.words[0].startswith("Not calibrated" if seen_by else "The ranks of all 5")


# What is ranked.


def test_quantities_are_those_of_the_public_verbs(frame: pd.DataFrame) -> None:
    arms = {"arm": ["active", "placebo"]}
    own: dict[str, Any] = {
        "own coefficients": lambda fit: pa.population_coefficients(fit, "least_squares").draws,
        "own mean": lambda fit: pa.predictions(fit, newdata="mean", scale="link").draws,
        "own difference": lambda fit: pa.avg_comparisons(fit, arms, progress=False).draws,
        "own outcome": lambda fit: (
            fit["posterior"]["sd_g"] * float(fit["training_data"]["y"].sum())
        ),
    }
    found = pa.calibrate(
        "y ~ x + arm + (1 | g)", frame, link="logit", runs=2, quantities=own, jobs=1,
        priors={"Intercept": "Normal(0, 1)"}, progress=False,
    )  # fmt: skip
    for part in ("truth", "mean"):
        values = found.data[part].to_pandas()
        for term in ("Intercept", "arm[placebo]", "x"):
            expected = values[f"own coefficients[{term}]"]
            np.testing.assert_allclose(values[f"population[{term}]"], expected, rtol=1e-8)
        np.testing.assert_allclose(values["mean"], values["own mean"], rtol=1e-8)
        difference = values["risk difference[arm: placebo - active]"]
        np.testing.assert_allclose(difference, values["own difference"], rtol=1e-7, atol=1e-10)
    # The fit that functions get has the simulated outcomes.
    sums = found.data["truth"].sel(quantity="own outcome") / found.data["truth"].sel(
        quantity="sd_g"
    )
    assert not np.allclose(sums, frame["y"].sum())
    np.testing.assert_allclose(sums, np.round(sums))


@pytest.mark.parametrize(
    ("formula", "link", "expected"),
    [
        ("value ~ x + (1 + x | g)", "identity", ["corr_g[Intercept, x]", "sigma", "u_g[c0, x]"]),
        ("count ~ w + arm + (1 | g)", "log", ["log ratio[arm: placebo - active]", "u_g[c0]"]),
        ("p(successes, trials) ~ x + (1 | g)", "cloglog", ["population[x]", "log_prior"]),
    ],
)
def test_other_models(frame: pd.DataFrame, formula: str, link: str, expected: list[str]) -> None:
    priors = {"sd_g": "Exponential(2)", "beta": "Normal(0, 0.5)"} if link == "log" else None
    found = pa.calibrate(formula, frame, link=link, priors=priors, runs=2, jobs=1, progress=False)
    assert set(expected) <= set(found.quantities)
    assert found.data["rank"].notnull().all()
    assert (found.data["sd"] > 0).all()


def test_projection_comes_on_request(clusters: pd.DataFrame) -> None:
    found = calibrated(clusters, 1, quantities=["projection", "coefficients"], priors=PRIORS)
    names = [
        f"{kind}[{term}]" for kind in ("projected", "population") for term in ("Intercept", "x")
    ]
    assert list(found.quantities) == names


def test_equal_values_are_ranked_at_random(clusters: pd.DataFrame) -> None:
    own = {"constant": lambda fit: 0.0 * fit["posterior"]["sd_g"]}
    found = calibrated(clusters, 8, priors=PRIORS, quantities=own, draws=20)
    ranks = found.ranks("constant")
    assert len(set(ranks.tolist())) > 3
    assert ((ranks >= 0) & (ranks <= 20)).all()


def test_function_that_fails_is_told(clusters: pd.DataFrame) -> None:
    own = {"wrong": lambda fit: 3, "nan": lambda fit: np.nan * fit["posterior"]["sd_g"]}
    found = calibrated(clusters, 2, priors=PRIORS, quantities=own)
    words = " ".join(found.words)
    assert "wrong isn't defined in 2 runs (numbers 0, 1): TypeError: returned int" in words
    assert "nan isn't defined in 2 runs (numbers 0, 1): not a number in some draw" in words


# Data sets from the prior.


@pytest.mark.parametrize("link", ["logit", "probit", BridgeLogit()])
def test_simulated_outcomes_have_the_models_mean(frame: pd.DataFrame, link: Any) -> None:
    priors = {"Intercept": "Normal(1, 1e-9)", "sd_g": "TruncatedNormal(2, 1e-9, lower=0)"}
    problem = problem_of_formula(
        "y ~ 1 + (1 | g)", frame, link, priors=priors, parametrization="noncentered",
        missing="error", keep=(),
    )  # fmt: skip
    rng = np.random.default_rng(3)
    made = [simulate(problem, rng) for _ in range(300)]
    means = np.array([one.problem.design.response.y.mean() for one in made])
    expected = pa.marginal_mean(1.0, 2.0, link)
    assert means.mean() == pytest.approx(float(expected), abs=4 * means.std() / np.sqrt(300))
    effects = np.concatenate([one.truth["u_g"].to_numpy().ravel() for one in made])
    assert effects.std() == pytest.approx(2.0, rel=0.08)


def test_simulated_outcomes_are_coded_as_the_data_are(frame: pd.DataFrame) -> None:
    coded = frame.assign(
        word=np.where(frame["y"] == 1, "sick", "well"),
        flag=frame["y"] == 1,
        kind=pd.Categorical(np.where(frame["y"] == 1, "b", "a")),
    )
    for formula in ("word['sick'] ~ x + (1 | g)", "word ~ x + (1 | g)", "flag ~ x + (1 | g)",
                    "kind ~ x + (1 | g)", "p(successes, trials) ~ x + (1 | g)"):  # fmt: skip
        problem = problem_of_formula(
            formula, coded, "logit", priors=None, parametrization="noncentered", missing="error",
            keep=(),
        )  # fmt: skip
        made = simulate(problem, np.random.default_rng(1)).problem.design
        again = Design.build(formula, with_frame(problem.design, made).frame, family=problem.family)
        np.testing.assert_array_equal(again.response.y, made.response.y)


def test_outcomes_that_no_computer_holds_are_told(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def from_the_prior(self: Drawer, problem: Problem, seed: int) -> Draws:
        made = prior_draws(problem.design, problem.link, problem.priors, draws=20, seed=seed)
        return Draws(made, "importance")

    monkeypatch.setattr(Drawer, "draw", from_the_prior)
    found = pa.calibrate(
        "count ~ x + (1 | g)", frame, link="log", runs=12, jobs=1, progress=False, draws=20,
        quantities="parameters", priors={"Intercept": "Normal(0, 30)"},
    )  # fmt: skip
    failures = found.failures
    assert 0 < len(failures) < 12
    assert failures["failure"].str.contains("the prior gave counts with a mean of").all()
    assert f"{len(failures)} runs of 12 couldn't be fitted" in " ".join(found.words)
    assert found.to_frame()["runs"].eq(12 - len(failures)).all()


def test_no_run_that_can_be_fitted(frame: pd.DataFrame) -> None:
    priors = {"Intercept": "Normal(500, 1)"}
    with pytest.raises(ConvergenceError, match="none of 2 runs could be fitted"):
        pa.calibrate("count ~ x + (1 | g)", frame, link="log", runs=2, jobs=1, priors=priors)


def test_outcomes_that_are_all_the_same_count(frame: pd.DataFrame) -> None:
    found = pa.calibrate(
        "y ~ 1 + (1 | g)", frame, link="logit", runs=2, jobs=1, progress=False,
        quantities="parameters", priors={"Intercept": "Normal(12, 1)", "sd_g": "HalfNormal(1)"},
    )  # fmt: skip
    assert found.run_table["constant"].all()
    assert found.failures.empty


# Runs and where they are kept.


def test_same_seed_same_runs(clusters: pd.DataFrame, tmp_path: Path) -> None:
    whole = small(clusters, 4, priors=PRIORS)
    small(clusters, 2, priors=PRIORS, store=tmp_path / "runs")
    (tmp_path / "runs" / "run-000000.json").unlink()
    grown = small(clusters, 4, priors=PRIORS, store=tmp_path / "runs")
    assert whole.data.equals(grown.data)
    assert not small(clusters, 4, priors=PRIORS, seed=1).data.equals(whole.data)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    fewer = small(clusters, 3, priors=PRIORS, store=tmp_path / "runs")
    assert len(fewer.runs) == 3
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}


def test_processes_do_the_same_runs(clusters: pd.DataFrame) -> None:
    alone = small(clusters, 3, priors=PRIORS)
    assert alone.data.equals(small(clusters, 3, priors=PRIORS, jobs=2).data)


def test_store_of_something_else(clusters: pd.DataFrame, tmp_path: Path) -> None:
    small(clusters, 1, priors=PRIORS, store=tmp_path / "runs")
    with pytest.raises(StorageError, match="of another calibration: 'seed' differ"):
        small(clusters, 1, priors=PRIORS, store=tmp_path / "runs", seed=5)
    other = clusters.assign(x=clusters["x"] * 2)
    with pytest.raises(StorageError, match="'design' differ"):
        small(other, 1, priors=PRIORS, store=tmp_path / "runs")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(StorageError, match="exists and holds no calibration"):
        small(clusters, 1, priors=PRIORS, store=tmp_path / "full")
    with pytest.raises(StorageError, match="can't be made"):
        small(clusters, 1, priors=PRIORS, store=tmp_path / "no" / "runs")
    (tmp_path / "runs" / "run-000000.json").write_text('{"run": 0, "oops": 1}')
    with pytest.raises(StorageError, match="Remove this file"):
        small(clusters, 1, priors=PRIORS, store=tmp_path / "runs")


def test_interrupted(
    clusters: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    right = Worker.run

    def stopped(self: Worker, number: int) -> Any:
        if number == 2:
            raise KeyboardInterrupt
        return right(self, number)

    monkeypatch.setattr(Worker, "run", stopped)
    with pytest.warns(FitWarning, match="Interrupted: 2 of 4 runs are finished"):
        found = small(clusters, 4, priors=PRIORS, store=tmp_path / "runs")
    assert [run.run for run in found.runs] == [0, 1]
    monkeypatch.setattr(Worker, "run", right)
    whole = small(clusters, 4, priors=PRIORS, store=tmp_path / "runs")
    assert [run.run for run in whole.runs] == [0, 1, 2, 3]
    assert not any("Interrupted" in sentence for sentence in whole.words)


def test_interrupted_before_any_run(
    clusters: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(self: Worker, number: int) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Worker, "run", stopped)
    with pytest.raises(ConvergenceError, match="no run was finished \\(Interrupted\\)"):
        small(clusters, 4, priors=PRIORS)


def test_full_disk(clusters: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small(clusters, 1, priors=PRIORS, store=tmp_path / "runs")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match=r"No space left on device.*finished runs stay"):
            small(clusters, 2, priors=PRIORS, store=tmp_path / "runs")
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == [
        "calibration.json",
        "run-000000.json",
    ]


def test_process_that_ends(
    clusters: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small(clusters, 1, store=tmp_path / "runs")
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)  # {path} {module}"
    monkeypatch.setattr(jobs, "_PROGRAM", killed)
    with pytest.warns(FitWarning, match=r"a process ended with code -?[0-9]+ .*: 1 of 5 runs"):
        found = small(clusters, 5, store=tmp_path / "runs", jobs=2)
    assert len(found.runs) == 1
    full = "import sys; sys.exit('popavg.errors.StorageError: full')  # {path} {module}"
    monkeypatch.setattr(jobs, "_PROGRAM", full)
    with pytest.raises(StorageError, match="full"):
        small(clusters, 5, store=tmp_path / "runs", jobs=2)


SCRIPT = """
import pandas as pd, popavg as pa
pa.calibrate("p(s, n) ~ x + (1 | g)", pd.read_csv({data!r}), link="logit", method="importance",
             runs=5000, jobs=2, draws=20, quantities="parameters", progress=False, store={store!r})
"""


def nobody_works_on(store: Path) -> bool:
    """Whether the processes end: those that go on finish some runs a second, for minutes."""
    before, end = -1, time.monotonic() + 60
    while before != (now := len(list(store.glob("run-*.json")))) and time.monotonic() < end:
        before = now
        time.sleep(1.5)
    return before == now


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.parametrize("how", ["kill", "interrupt"])
def test_killed_and_interrupted_calibrations_lose_nothing(
    clusters: pd.DataFrame, tmp_path: Path, how: str, interrupt_when: Callable[..., None]
) -> None:
    store, data, script = (tmp_path / name for name in ("runs", "data.csv", "script.py"))

    def some() -> bool:
        return len(list(store.glob("run-*.json"))) >= 3

    if how == "interrupt":
        interrupt_when(some)
        with pytest.warns(FitWarning, match="Interrupted:"):
            small(clusters, 5000, store=store, jobs=2)
    else:
        clusters.to_csv(data, index=False)
        script.write_text(SCRIPT.format(data=str(data), store=str(store)))  # no __main__ guard
        with subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE) as process:
            end = time.monotonic() + 300
            while not some() and time.monotonic() < end:
                assert process.poll() is None
                time.sleep(0.05)
            process.kill()
            process.communicate()
        assert some()
    assert nobody_works_on(store)
    done = sorted(store.glob("run-*.json"))
    assert all(json.loads(path.read_text())["method"] == "importance" for path in done)
    numbers = {int(path.stem[4:]) for path in done}
    again = small(clusters, max(numbers) + 1, store=store)
    assert {run.run for run in again.runs} == set(range(max(numbers) + 1)) >= numbers


# Routes.


@pytest.mark.slow
@pytest.mark.parametrize("method", ["nuts", "latent"])
def test_one_compiled_model_draws_what_a_new_one_would(frame: pd.DataFrame, method: Any) -> None:
    problem = problem_of_formula(
        "y ~ x + (1 | g)", frame, "logit", priors=None, parametrization="noncentered",
        missing="error", keep=(),
    )  # fmt: skip
    sampler = Sampler(draws=30, tune=200, chains=2, seed=1, progress=False)
    worker = Worker(Plan(problem, method, sampler, DEFAULT_QUANTITIES))
    found = [worker.run(number) for number in (0, 1, 0)]
    assert [run.method for run in found] == [method] * 3
    assert all(run.ess > 0 and len(run.ranks) == 9 for run in found)
    assert found[0].ranks == found[2].ranks  # whatever came in between
    other = simulate(problem, np.random.default_rng(2)).problem
    drawn = worker.drawer.draw(other, 2)
    model = other.build("integrated" if method == "nuts" else "latent")
    tree, _ = sample(model, replace(sampler, draws=drawn.length), 2, few=method == "nuts")
    flat = tree["posterior"]["sd_g"].to_numpy().ravel()
    at = np.linspace(0, len(flat) - 1, 30).round().astype(int)
    np.testing.assert_array_equal(drawn.posterior["sd_g"].to_numpy().ravel(), flat[at])


def test_refused_importance_sampling_goes_on_by_nuts(
    clusters: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled, right = [], routes.importance_sample

    def refusing(*args: Any, **options: Any) -> Any:
        sampled.append(right(*args, **options))
        if len(sampled) == 2:
            return SimpleNamespace(accepted=False, why="the weights are too uneven: k̂ = 0.9")
        return sampled[-1]

    def by_chains(self: Drawer, problem: Problem, route: Any, seed: int) -> Draws:
        assert route == "nuts"
        return Draws(sampled[-1].posterior, "nuts", "", 500.0, 1.0, 0)

    monkeypatch.setattr(routes, "importance_sample", refusing)
    monkeypatch.setattr(Drawer, "_by_chains", by_chains)
    found = small(clusters, 3, priors=PRIORS)
    assert found.run_table["method"].tolist() == ["importance", "nuts", "importance"]
    assert "refused in 1 run (number 1), where NUTS" in " ".join(found.words)


def test_sampling_that_nutpie_broke_off_is_an_interruption(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = problem_of_formula(
        "y ~ x + (1 | g)", frame, "logit", priors=None, parametrization="noncentered",
        missing="error", keep=(),
    )  # fmt: skip
    sampler = Sampler(draws=10, chains=2, seed=1, progress=False)
    drawer = Drawer(problem, "latent", sampler)
    vars(drawer)["_latent"] = SimpleNamespace(with_data=lambda **_: None)
    logp = np.full((2, 40), -3.0)
    logp[1, 20:] = np.nan
    statistics = xr.Dataset({"logp": (("chain", "draw"), logp)})
    tree = xr.DataTree.from_dict({"sample_stats": statistics, "posterior": xr.Dataset()})
    monkeypatch.setattr(routes, "sample_compiled", lambda *_, **__: tree)
    with pytest.raises(KeyboardInterrupt):
        drawer.draw(problem, 1)


def test_routes_that_a_model_has(frame: pd.DataFrame) -> None:
    def route(formula: str, link: Any, method: Any, **priors: str) -> str:
        problem = problem_of_formula(
            formula, frame, link, priors=priors, parametrization="noncentered", missing="error",
            keep=(),
        )  # fmt: skip
        return routes.first_route(problem, method)

    one, two = "y ~ x + (1 | g)", "y ~ x + (1 | g) + (1 | r)"
    assert route(one, "logit", "auto") == "importance"
    assert route(one, "logit", "latent") == route(two, "logit", "auto") == "latent"
    assert route(one, "probit", "auto", baseline="Beta(2, 2)") == "nuts"
    with pytest.raises(SpecificationError, match="no prior on the baseline"):
        route(one, "probit", "importance", baseline="Beta(2, 2)")
    with pytest.raises(SpecificationError, match="2 grouping factors"):
        route(two, "logit", "nuts")


# What is refused.


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"runs": 0}, "runs=0.*a whole number from 1"),
        ({"draws": 5}, "draws=5.*from 9"),
        ({"jobs": True}, "jobs=True"),
        ({"seed": -1}, "seed=-1"),
        ({"method": "exact"}, "method='exact' is unknown"),
        ({"quantities": "slopes"}, "quantities='slopes' is unknown"),
        ({"quantities": ()}, "quantities is empty"),
        ({"quantities": {"mean": len}}, "under other names than"),
        ({"priors": {"Intercept": pa.Prior("Flat")}}, "improper"),
    ],
)
def test_arguments_that_are_refused(
    clusters: pd.DataFrame, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecificationError, match=message):
        calibrated(clusters, **{"runs": 2} | given)


def test_functions_that_no_other_process_knows(clusters: pd.DataFrame) -> None:
    own = {"local": lambda fit: fit["posterior"]["sd_g"]}
    with pytest.raises(SpecificationError, match="say jobs=1"):
        calibrated(clusters, 2, quantities=own, jobs=2)
