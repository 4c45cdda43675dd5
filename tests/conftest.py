"""What all tests share."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

# The test processes share the processor: threads of small products only take time from another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# What isn't run by numba is run by Python: compiling it in C takes longer than all its runs.
os.environ["PYTENSOR_FLAGS"] = f"cxx=,{os.environ.get('PYTENSOR_FLAGS', '')}"

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import settings

# The same examples at every run, and no deadline: a first call may compile.
settings.register_profile("popavg", derandomize=True, deadline=None, database=None)
settings.load_profile("popavg")

ROOT = Path(__file__).resolve().parent.parent
FITTERS = frozenset({"pymc", "pytensor", "nutpie", "statsmodels"})
SMALL_INSTALL = os.environ.get("POPAVG_SMALL_INSTALL") == "1"


class _NoFitters(MetaPathFinder):
    """Makes the packages that fit models unimportable."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in FITTERS:
            raise ModuleNotFoundError(f"{fullname} isn't in the small install", name=fullname)
        return None


if SMALL_INSTALL:
    assert not FITTERS & set(sys.modules)
    sys.meta_path.insert(0, _NoFitters())


def _works_without_fitters(test_file: Path) -> bool:
    module = test_file.name.removeprefix("test_")
    return any((ROOT / folder / module).is_file() for folder in ("posterior_tools", "src/popavg"))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """In the small install only the tests of posterior_tools and of the vocabulary run."""
    is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    if SMALL_INSTALL and is_test and not _works_without_fitters(collection_path):
        return True
    return None


#: Files that take longest: they come first, so that none of them is left alone at the end.
LONGEST = (
    *("fitting_caches", "resume", "calibration", "fitting", "integrated_likelihood"),
    *("larger_than_memory", "completeness", "comparisons", "cluster_effects", "cli"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; the order of the others, and within files, stays."""
    place = {f"test_{name}.py": k for k, name in enumerate(LONGEST)}
    assert all((ROOT / "tests" / name).is_file() for name in place)
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    """60 rows in 12 clusters ``g``, nested in 4 herds ``h``, crossed with 5 raters ``r``."""
    rng = np.random.default_rng(11)
    g = np.repeat(np.arange(12), 5)
    rows = len(g)
    return pd.DataFrame(
        {
            "y": rng.integers(0, 2, rows),
            "x": rng.normal(size=rows).round(1),
            "arm": np.array(["placebo", "active"])[(g % 2)],
            "visit": np.tile(np.arange(5), 12),
            "g": [f"c{i}" for i in g],
            "h": [f"h{i // 3}" for i in g],
            "r": np.array(["ann", "bob", "cat", "dan", "eve"])[rng.permutation(rows) % 5],
            "successes": rng.integers(0, 4, rows),
            "trials": rng.integers(4, 7, rows),
            "count": rng.poisson(2.0, rows),
            "value": rng.normal(size=rows),
            "w": rng.uniform(0.5, 2.0, rows),
        }
    )


@pytest.fixture
def interrupt_when() -> Iterator[Callable[[Callable[[], bool]], None]]:
    """Ctrl-C for this process, as soon as something is so; no signal comes after the test."""
    over, threads = threading.Event(), []

    def wait(ready: Callable[[], bool]) -> None:
        while not over.is_set() and not ready():
            time.sleep(0.02)
        if not over.is_set():
            signal.raise_signal(signal.SIGINT)

    def begin(ready: Callable[[], bool]) -> None:
        threads.append(threading.Thread(target=wait, args=(ready,)))
        threads[-1].start()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    try:
        yield begin
    finally:
        over.set()
        for thread in threads:
            thread.join()
        signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of the reference numbers."""
    return ROOT / "tests" / "reference"


@pytest.fixture(scope="session")
def comparison() -> Any:
    """A comparison of made-up numbers."""
    from popavg.posterior_tools.comparison import INTERVALS, MODELS, Comparison

    terms = ["Intercept", "arm[placebo]", "x"]
    rows = [
        {"term": term, "model": model, "estimate": (i + 1) * 0.1 + j, "std_error": 0.25}
        for j, term in enumerate(terms)
        for i, model in enumerate(MODELS)
    ]
    estimates = pd.DataFrame(rows)
    estimates["lower"], estimates["upper"] = (estimates["estimate"] + d for d in (-0.4, 0.4))
    agreement = pd.DataFrame({"term": terms, "attenuation": [0.4, 0.5, 0.6]})
    agreement["attenuation_lower"] = agreement["attenuation"] - 0.1
    agreement["attenuation_upper"] = agreement["attenuation"] + 0.1
    facts = {
        "formula": "y ~ arm + x + (1 | g)",
        "link": "logit",
        "n_rows": 60,
        "n_clusters": 12,
        "groups": "g",
        "working_correlation": "exchangeable",
        "alpha": 0.42,
        "gee_scale": 1.01,
        "method": "projection, exchangeable, α = 0.420",
        "scale": "probability",
        "ci_prob": 0.9,
        "ci_kind": "eti",
        "gee_notes": ["few clusters"],
        "family": "bernoulli",
        "random_effects": ["Standard deviation of 'Intercept': 1.000 [0.500, 1.500]."],
    }
    return Comparison(
        estimates.assign(interval=estimates["model"].map(INTERVALS)),
        agreement.assign(distance=[0.11, -1.5, 0.0]),
        {"largest": 0.0123, "root mean square": 0.004},
        facts,
        ("The first paragraph, " + "with many words, " * 12 + "ends.", "The second."),
    )


@pytest.fixture(scope="session")
def make_fit() -> Callable[..., xr.DataTree]:
    """A factory of fits with synthetic draws, nothing sampled; the same ones are made once."""
    made: dict[bytes, xr.DataTree] = {}

    def make(*arguments: Any, **options: Any) -> xr.DataTree:
        try:
            key = pickle.dumps((arguments, sorted(options.items())))
        except (AttributeError, TypeError, pickle.PicklingError):  # a function of a test's own
            return _make_fit(*arguments, **options)
        if key not in made:
            made[key] = _make_fit(*arguments, **options)
        return made[key].copy(deep=True)

    return make


def _make_fit(
    formula: str,
    data: pd.DataFrame,
    link: str = "logit",
    *,
    beta: Sequence[float] | None = None,
    sd: Mapping[str, Sequence[float]] | None = None,
    corr: Mapping[str, Any] | None = None,
    u: bool = False,
    shape: tuple[int, int] = (2, 6),
    spread: float = 0.1,
    seed: int = 1,
    **design_kwargs: Any,
) -> xr.DataTree:
    """``beta`` and ``sd`` (1 by default) are centres, ``corr`` is the same in every draw."""
    from popavg.design import Design, family_of
    from popavg.links import get_link
    from popavg.posterior_tools.tree import fit_tree, specify

    rng, chosen = np.random.default_rng(seed), get_link(link)
    family = family_of(formula, chosen)
    design = Design.build(formula, data, family=family, **design_kwargs)
    terms = list(design.matrices.terms)
    centre = rng.normal(0.0, 0.7, len(terms)) if beta is None else np.asarray(beta, dtype=float)
    variables: dict[str, Any] = {
        "beta": (("chain", "draw", "term"), centre + spread * rng.normal(size=(*shape, len(terms))))
    }
    coords: dict[str, Any] = {"chain": range(shape[0]), "draw": range(shape[1]), "term": terms}
    for group in design.matrices.groups:
        size, name, effect = len(group.effects), group.name, f"effect_{group.name}"
        base = np.asarray((sd or {}).get(name, [1.0] * size), dtype=float)
        scales = base * np.exp(spread * rng.normal(size=(*shape, size)))
        matrix = np.asarray((corr or {}).get(name, np.eye(size)), dtype=float)
        variables[f"sd_{name}"] = (("chain", "draw", effect), scales)
        coords |= {effect: list(group.effects)}
        if size > 1 and any(len(block) > 1 for block in group.blocks):
            dims = ("chain", "draw", effect, f"{effect}_other")
            variables[f"corr_{name}"] = (dims, np.tile(matrix, (*shape, 1, 1)))
            coords |= {f"{effect}_other": list(group.effects)}
        if u:
            normal = rng.normal(size=(*shape, len(group.levels), size))
            values = normal @ np.linalg.cholesky(matrix).T * scales[:, :, None, :]
            variables[f"u_{name}"] = (("chain", "draw", name, effect), values)
            coords |= {name: list(group.levels)}
    posterior = xr.Dataset(variables, coords=coords)
    return fit_tree(design, specify(design, chosen, family), {"posterior": posterior})


@pytest.fixture
def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fit is read once in a test, however often it is asked: tests don't change a fit."""
    from popavg.posterior_tools.draws import Posterior

    read, known = Posterior.from_fit, {}

    def from_fit(fit: xr.DataTree) -> Posterior:
        if id(fit) not in known:
            known[id(fit)] = (read(fit), fit)  # kept, so that no other has its number
        return known[id(fit)][0]

    monkeypatch.setattr(Posterior, "from_fit", from_fit)


@pytest.fixture(scope="session")
def crossover() -> pd.DataFrame:
    """Electrocardiograms of 67 patients in a two-period crossover trial (Jones & Kenward 1989).

    55 of the 67 pairs are equal, so that the standard deviation between patients is hardly known.
    """
    counts = {
        ("active", "placebo"): {(0, 0): 6, (0, 1): 0, (1, 0): 6, (1, 1): 22},
        ("placebo", "active"): {(0, 0): 9, (0, 1): 4, (1, 0): 2, (1, 1): 18},
    }
    pairs = [
        (arms, y) for arms, cells in counts.items() for y, n in cells.items() for _ in range(n)
    ]
    rows = [
        {"patient": i, "period": p, "treatment": arms[p], "normal": y[p]}
        for i, (arms, y) in enumerate(pairs)
        for p in (0, 1)
    ]
    frame = pd.DataFrame(rows)
    frame["treatment"] = pd.Categorical(frame["treatment"], ["placebo", "active"])
    return frame


@pytest.fixture(scope="session")
def exact_fit() -> Callable[..., xr.DataTree]:
    """A factory of fits by importance resampling from the integrated posterior: no Markov chain."""
    return _exact_fit


def _exact_fit(
    formula: str,
    data: pd.DataFrame,
    priors: Mapping[str, str],
    *,
    link: str = "logit",
    shape: tuple[int, int] = (4, 250),
    seed: int = 1,
) -> xr.DataTree:
    """One random intercept; ``priors`` by parameter as text, complete."""
    from dataclasses import replace

    from scipy.optimize import minimize

    from popavg.design import Design, family_of
    from popavg.links import get_link
    from popavg.posterior_tools.integrated_design import IntegratedDesign
    from popavg.posterior_tools.integrated_likelihood import log_likelihood
    from popavg.posterior_tools.tree import fit_tree, specify
    from popavg.priors import Prior

    chosen = get_link(link)
    family = family_of(formula, chosen)
    design = Design.build(formula, data, family=family)
    integrated = IntegratedDesign.build(design, chosen, family)
    terms, sd = list(design.matrices.terms), f"sd_{integrated.group.name}"
    own = {name: Prior.parse(text, name) for name, text in priors.items()}
    means = np.where([term == "Intercept" for term in terms], 0.0, design.matrices.X.mean(axis=0))

    def coefficients(points: np.ndarray) -> np.ndarray:
        beta = points[:, :-1].copy()
        beta[:, 0] -= beta @ means
        return beta

    def log_density(points: np.ndarray) -> np.ndarray:
        eta, root = integrated.predictor(coefficients(points)), np.exp(points[:, -1:, None])
        found = log_likelihood(integrated.outcomes, eta, root).sum(axis=1) + points[:, -1]
        for column, name in zip(points.T, [*terms, sd], strict=True):
            values = np.exp(column) if name == sd else column
            found = found + own[name].log_density(values)
        return found

    start = np.zeros(len(terms) + 1)
    mode = minimize(lambda p: -float(log_density(p[None])[0]), start, options={"gtol": 1e-3})
    rng, nu, kept = np.random.default_rng(seed), 5, shape[0] * shape[1]
    normal = rng.standard_normal((6 * kept, len(start)))
    width = rng.chisquare(nu, len(normal)) / nu
    root = 1.2 * np.linalg.cholesky(mode.hess_inv)
    points = mode.x + (normal / np.sqrt(width)[:, None]) @ root.T
    proposal = -(nu + len(start)) / 2 * np.log1p((normal**2).sum(axis=1) / width / nu)
    near = points[:, -1] < 6
    points, log_weights = points[near], log_density(points[near]) - proposal[near]
    weights = np.exp(log_weights - log_weights.max())
    drawn = points[rng.choice(len(points), kept, p=weights / weights.sum())]
    effect = f"effect_{integrated.group.name}"
    posterior = xr.Dataset(
        {
            "beta": (("chain", "draw", "term"), coefficients(drawn).reshape(*shape, -1)),
            sd: (("chain", "draw", effect), np.exp(drawn[:, -1]).reshape(*shape, 1)),
        },
        coords={
            "chain": range(shape[0]),
            "draw": range(shape[1]),
            "term": terms,
            effect: ["Intercept"],
        },
    )
    stored = {name: prior.to_dict() for name, prior in own.items()}
    specification = replace(specify(design, chosen, family), priors=stored)
    return fit_tree(design, specification, {"posterior": posterior})
