"""Slopes against differences of predictions, integrals, closed forms, NumPy and marginaleffects."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy.special import expit, ndtr
from scipy.stats import norm

import popavg as pa
from popavg.errors import DataError, EstimandError, SpecificationError
from popavg.posterior_tools import _asked_rows
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.row_question import ask_rows
from popavg.posterior_tools.slopes import SLOPES, Slope
from popavg.posterior_tools.targets import SCALES, TARGETS, Scale, Target, TargetMean

MakeFit = Callable[..., xr.DataTree]
Floats = NDArray[np.float64]
RHO = np.array([[1.0, 0.6], [0.6, 1.0]])
RESPONSES = {"logit": "y", "probit": "y", "cloglog": "y", "log": "count", "identity": "value"}
LINKS = tuple(RESPONSES)
#: Right-hand sides and how many effects ``g`` has: every transform, interaction and structure.
SIZES = {
    "log(x) + (1 | g)": 1,
    "I(x**2) + (1 | g)": 1,
    "poly(x, 3) + (1 | g)": 1,
    "bs(x, df=5) + (1 | g)": 1,
    "x:z + (1 | g)": 1,
    "x*arm + (1 + x | g) + (1 | r)": 2,
    "z + (1 + log(x) | g)": 2,
    "arm + (poly(x, 2) | g)": 3,
    "x + (0 + scale(x) | g)": 1,
    "x + (1 | g) + (0 + x | g)": 2,
    "scale(x) + (x | h/g)": 1,
    "z + offset(log(x)) + (bs(x, df=4) | g)": 5,
}
FORMULAS = tuple(SIZES)
#: Under the links other than the logit.
FEWER = ("log(x) + (1 | g)", "x*arm + (1 + x | g) + (1 | r)", "z + (1 + log(x) | g)")


@pytest.fixture(scope="module")
def positive(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with a positive ``x`` and another number ``z``."""
    rng = np.random.default_rng(4)
    return frame.assign(x=rng.uniform(0.5, 4.0, len(frame)), z=rng.uniform(1.0, 2.0, len(frame)))


@pytest.fixture(autouse=True)
def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a small fit takes longer than asking it."""
    read, known = Posterior.from_fit, {}

    def from_fit(fit: xr.DataTree) -> Posterior:
        if id(fit) not in known:
            known[id(fit)] = fit, read(fit)
        return known[id(fit)][1]

    monkeypatch.setattr(Posterior, "from_fit", staticmethod(from_fit))


@pytest.fixture(scope="module")
def fit(make_fit: MakeFit, positive: pd.DataFrame) -> xr.DataTree:
    """Two numbers and a category, random slopes, and a column that isn't a covariate."""
    formula = "y ~ x*arm + log(z) + (1 + x | g)"
    sd = {"g": [0.8, 0.3]}
    return make_fit(formula, positive, corr={"g": RHO}, sd=sd, u=True, extra=("visit", "w"))


def values(estimates: pa.Estimates) -> Floats:
    """Draws × estimands."""
    array = estimates.draws.to_numpy()
    return array.reshape(-1, array.shape[2])


def differences(
    fit: xr.DataTree, rows: pd.DataFrame, variable: str, h: float = 0.01, **kwargs: Any
) -> Floats:
    """(8 f(x+h) − 8 f(x−h) − f(x+2h) + f(x−2h)) / 12h of the predictions."""
    steps = {1: 8.0, -1: -8.0, 2: -1.0, -2: 1.0}
    shifted = [rows.assign(**{variable: rows[variable] + h * step}) for step in steps]
    found = values(pa.predictions(fit, newdata=pd.concat(shifted), **kwargs))
    by_step = found.reshape(len(found), len(steps), len(rows))
    return np.einsum("dsr,s->dr", by_step, np.array(list(steps.values()))) / (12.0 * h)


def close(found: Floats, expected: Floats, rtol: float = 1e-6) -> None:
    """Equal to ``rtol``; of slopes near 0, to a thousandth of ``rtol`` of the largest."""
    largest = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-3 * rtol * largest)


@pytest.mark.parametrize(
    ("link", "formula", "shift"),
    [("logit", formula, i) for i, formula in enumerate(FORMULAS)]
    + [
        (link, formula, i + j)
        for i, link in enumerate(LINKS[1:])
        for j, formula in enumerate(FEWER)
    ],
)
def test_slopes_are_differences_of_predictions(
    make_fit: MakeFit, positive: pd.DataFrame, link: str, formula: str, *, shift: int
) -> None:
    """In four targets, the scales in turn."""
    sd = {"g": [0.6, 0.3, 0.2, 0.2, 0.1][: SIZES.get(formula, 1)]}
    response = f"{RESPONSES[link]} ~ {formula}"
    fit = make_fit(response, positive, link, sd=sd, u=True, shape=(1, 2), spread=0.2)
    rows = pd.DataFrame({"x": [0.9, 1.4, 2.6, 3.3], "z": [1.1, 1.3, 1.9, 1.6]})
    rows = rows.assign(arm=["placebo", "active", "active", "placebo"])
    for i, target in enumerate(TARGETS):
        asked: dict[str, Any] = {"target": target, "scale": SCALES[(i + shift) % 2], "seed": 3}
        found = values(pa.slopes(fit, "x", newdata=rows, **asked))
        assert np.abs(found).min() > 0.0 or target == "typical" or link == "identity"
        close(found, differences(fit, rows, "x", **asked))


def test_slopes_are_the_integral_of_the_clusters_own_slopes(
    make_fit: MakeFit, positive: pd.DataFrame
) -> None:
    """Both effects are integrated over, draw by draw and row by row; v(x) plays no part here."""
    fit = make_fit("y ~ x + (1 + x | g)", positive, corr={"g": RHO}, sd={"g": [1.2, 0.5]})
    rows = pd.DataFrame({"x": [0.6, 1.7, 3.8]})
    found = values(pa.slopes(fit, "x", newdata=rows))
    posterior = Posterior.from_fit(fit)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    for draw in range(posterior.n_draws):
        root = np.linalg.cholesky(posterior.covariance("g")[draw])
        intercept, slope = posterior.beta[draw]
        for row, x in enumerate(rows["x"]):
            total = 0.0
            for (a, first), (b, second) in product(zip(nodes, weights, strict=True), repeat=2):
                u = root @ np.array([a, b])
                p = 1.0 / (1.0 + np.exp(-(intercept + u[0] + (slope + u[1]) * x)))
                total += first * second * p * (1.0 - p) * (slope + u[1])
            assert found[draw, row] == pytest.approx(total, rel=1e-8)


@pytest.mark.parametrize("effects", ["1", "1 + x"])
def test_the_probit_has_a_closed_form(
    make_fit: MakeFit, positive: pd.DataFrame, effects: str
) -> None:
    """π̄ = Φ(η/√(1+v)), so ∂π̄ = φ(η/√(1+v)) (β/√(1+v) − η v'/(2 (1+v)^1.5))."""
    fit = make_fit(f"y ~ x + ({effects} | g)", positive, "probit", corr={"g": RHO})
    posterior, x = Posterior.from_fit(fit), positive["x"].to_numpy()
    z = np.column_stack([np.ones_like(x), x])[:, : 1 + ("x" in effects)]
    dz = np.array([0.0, 1.0])[: z.shape[1]]
    sigma = posterior.covariance("g")
    v = np.einsum("rq,dqp,rp->dr", z, sigma, z)
    dv = 2.0 * np.einsum("rq,dqp,p->dr", z, sigma, dz)
    beta = posterior.beta[:, 1:]
    eta = posterior.beta[:, :1] + beta * x
    inner = beta / np.sqrt(1.0 + v) - 0.5 * eta * dv / (1.0 + v) ** 1.5
    on_link = values(pa.slopes(fit, "x", scale="link"))
    np.testing.assert_allclose(on_link, inner, rtol=1e-9, atol=1e-12)
    on_response = values(pa.slopes(fit, "x"))
    density = norm.pdf(eta / np.sqrt(1.0 + v))
    np.testing.assert_allclose(on_response, density * inner, rtol=1e-9, atol=1e-12)


def test_without_variance_the_population_is_the_typical_cluster(
    make_fit: MakeFit, positive: pd.DataFrame
) -> None:
    fit = make_fit("y ~ x + (1 + x | g)", positive, sd={"g": [1e-9, 1e-9]}, u=True)
    posterior = Posterior.from_fit(fit)
    p = expit(posterior.block().predictor(posterior.design.matrices))
    expected = p * (1.0 - p) * posterior.beta[:, 1:]
    for target in TARGETS:
        found = values(pa.slopes(fit, "x", target=target))
        np.testing.assert_allclose(found, expected, rtol=1e-7)


@pytest.mark.parametrize("target", ["population", "typical"])
@pytest.mark.parametrize(("link", "scale"), [("identity", "response"), ("log", "link")])
def test_slopes_of_a_straight_line_are_the_coefficient(
    make_fit: MakeFit, positive: pd.DataFrame, link: str, *, scale: Scale, target: Target
) -> None:
    fit = make_fit(f"{RESPONSES[link]} ~ x + arm + (1 | g)", positive, link)
    terms = list(Posterior.from_fit(fit).design.matrices.terms)
    expected = Posterior.from_fit(fit).beta[:, [terms.index("x")]]
    found = pa.avg_slopes(fit, "x", target=target, scale=scale)
    np.testing.assert_allclose(values(found), expected, rtol=1e-10)


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("target", TARGETS)
def test_averages_are_numpys(
    fit: xr.DataTree, positive: pd.DataFrame, slope: Slope, target: Target
) -> None:
    """The rows' slopes, each times its own factors; then groups of them, weighted."""
    rate = values(pa.slopes(fit, "x", target=target))
    mean = values(pa.predictions(fit, target=target))
    x = positive["x"].to_numpy()
    factors = {"dydx": 1.0, "eyex": x / mean, "eydx": 1.0 / mean, "dyex": x}
    expected = rate * factors[slope]
    asked: dict[str, Any] = {"slope": slope, "target": target}
    np.testing.assert_allclose(values(pa.slopes(fit, "x", **asked)), expected, rtol=1e-10)
    everything = values(pa.avg_slopes(fit, "x", **asked))
    np.testing.assert_allclose(everything[:, 0], expected.mean(axis=1), rtol=1e-10)
    weights = positive["w"].to_numpy() * np.arange(len(x))
    grouped = pa.avg_slopes(fit, "x", by=["arm", "visit"], weights=weights, **asked)
    for i, (arm, visit) in enumerate(grouped.labels[["arm", "visit"]].to_numpy()):
        kept = ((positive["arm"] == arm) & (positive["visit"] == visit)).to_numpy()
        average = np.average(expected[:, kept], axis=1, weights=weights[kept])
        np.testing.assert_allclose(values(grouped)[:, i], average, rtol=1e-10)
    assert len(grouped) == 10


def test_grouping_a_row_wise_verb_is_averaging(fit: xr.DataTree) -> None:
    grouped, averaged = (verb(fit, "x", by="arm") for verb in (pa.slopes, pa.avg_slopes))
    np.testing.assert_array_equal(grouped.draws, averaged.draws)
    assert grouped.title == averaged.title == "average slope of the probability of y in x"


def test_each_cluster_can_count_once(fit: xr.DataTree, positive: pd.DataFrame) -> None:
    uneven = positive.drop(index=[0, 1, 2, 7]).reset_index(drop=True)
    found = values(pa.avg_slopes(fit, "x", newdata=uneven, weights="cluster"))[:, 0]
    rows = values(pa.slopes(fit, "x", newdata=uneven))
    own = [rows[:, (uneven["g"] == g).to_numpy()].mean(axis=1) for g in uneven["g"].unique()]
    np.testing.assert_allclose(found, np.mean(own, axis=0), rtol=1e-12)
    by_column = pa.avg_slopes(fit, "x", weights="w")
    expected = np.average(values(pa.slopes(fit, "x")), axis=1, weights=positive["w"])
    np.testing.assert_allclose(values(by_column)[:, 0], expected, rtol=1e-12)


def test_covariates_are_set_in_every_row(
    fit: xr.DataTree, positive: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"over": {"x": [2.0, 1.0, 3.0]}, "by": "arm", "slope": "dyex"}
    found = pa.slopes(fit, ["x", "z"], newdata="observed", **asked)
    assert found.labels.columns.to_list() == ["variable", "slope", "x", "arm", "target"]
    assert found.labels["x"].to_list() == [2.0, 1.0, 3.0] * 4
    for i, row in enumerate(found.labels.itertuples()):
        rows = positive[positive["arm"] == row.arm].assign(x=row.x)
        each = values(pa.slopes(fit, row.variable, newdata=rows, slope="dyex"))
        np.testing.assert_allclose(values(found)[:, i], each.mean(axis=1), rtol=1e-10)
    np.testing.assert_array_equal(pa.avg_slopes(fit, ["x", "z"], **asked).draws, found.draws)
    for most in (1, 150):
        monkeypatch.setattr(_asked_rows, "MOST_ROWS", most)
        batched = pa.avg_slopes(fit, ["x", "z"], **asked)
        np.testing.assert_allclose(batched.draws, found.draws, rtol=1e-12)


def test_a_grid_of_held_covariates(fit: xr.DataTree, positive: pd.DataFrame) -> None:
    found = pa.slopes(fit, "x", over={"x": [1.0, 2.0]}, by="arm")
    rows = pd.DataFrame(
        {
            "x": [1.0, 2.0, 1.0, 2.0],
            "arm": ["active", "active", "placebo", "placebo"],
            "z": positive["z"].mean(),
        }
    )
    np.testing.assert_array_equal(found.draws, pa.slopes(fit, "x", newdata=rows).draws)
    pd.testing.assert_frame_equal(found.labels[["x", "arm", "z"]], rows)
    assert found.title == "slope of the probability of y in x"
    one = pa.slopes(fit, "x", newdata="mean")
    assert len(one) == 1
    grid = pa.slopes(fit, "x", newdata=pa.datagrid(x=[1.0, 2.0], arm="active"))
    np.testing.assert_array_equal(grid.draws, found.draws[:, :, :2])


def test_without_names_all_numbers_and_a_note_about_the_others(fit: xr.DataTree) -> None:
    found = pa.avg_slopes(fit)
    assert found.labels.to_dict("list") == {
        "variable": ["x", "z"], "slope": ["dY/dX"] * 2, "target": ["population"] * 2
    }  # fmt: skip
    assert found.title == "average slope of the probability of y in x and z"
    assert found.notes[1:] == (
        "Averaged over the 60 observed rows, draw by draw, each row counting once.",
        "Left out, since they have no slope: 'arm'; use comparisons.",
    )
    assert "integrated out" in found.notes[0]
    each = [values(pa.avg_slopes(fit, name)) for name in ("x", "z")]
    np.testing.assert_array_equal(values(found), np.hstack(each))
    assert len(pa.avg_slopes(fit, "x").notes) == 2


@pytest.mark.parametrize(
    ("slope", "scale", "sign", "title"),
    [
        ("dydx", "link", "dY/dX", "slope of the logit of the probability of y in x"),
        ("eyex", "response", "eY/eX", "elasticity of the probability of y in x"),
        ("eydx", "response", "eY/dX", "relative slope of the probability of y in x"),
        ("dyex", "response", "dY/eX", "slope of the probability of y in the logarithm of x"),
    ],
)
def test_every_slope_says_what_it_is(
    fit: xr.DataTree, slope: Slope, scale: Scale, *, sign: str, title: str
) -> None:
    found = pa.slopes(fit, "x", newdata="mean", slope=slope, scale=scale, target="typical")
    assert found.title == title
    assert found.target == "typical"
    assert found.labels["slope"].to_list() == [sign]
    assert found.labels["target"].to_list() == ["typical"]
    assert any(note.startswith(f"{sign}: ") for note in found.notes) == (slope != "dydx")
    assert set(get_args(Slope)) == set(SLOPES)


def test_elasticities_are_slopes_of_logarithms(make_fit: MakeFit, positive: pd.DataFrame) -> None:
    """Under the log link with log(x), η's coefficient is the elasticity at every row."""
    fit = make_fit("count ~ log(x) + (1 | g)", positive, "log")
    beta = Posterior.from_fit(fit).beta[:, [1]]
    found = values(pa.slopes(fit, "x", slope="eyex"))
    np.testing.assert_allclose(found, np.broadcast_to(beta, found.shape), rtol=1e-10)
    on_link = values(pa.slopes(fit, "x", slope="dyex", scale="link"))
    np.testing.assert_allclose(on_link, found, rtol=1e-10)


def test_relative_slopes_keep_their_digits_in_the_tail(
    make_fit: MakeFit, positive: pd.DataFrame
) -> None:
    """Where the probability is exp(x β), its relative slope is β."""
    fit = make_fit("y ~ x", positive, beta=[-300.0, 1.5], spread=0.0, shape=(1, 1))
    found = values(pa.avg_slopes(fit, "x", slope="eydx"))
    assert found[0, 0] == pytest.approx(1.5, rel=1e-12)


def test_one_new_cluster_for_all_covariates_and_seeds(fit: xr.DataTree) -> None:
    def asked(seed: Any, names: Sequence[str] = ("x", "z")) -> Floats:
        return values(pa.avg_slopes(fit, list(names), target="new", seed=seed))

    first = asked(1)
    np.testing.assert_array_equal(first, np.hstack([asked(1, ["x"]), asked(1, ["z"])]))
    assert (first != asked(2)).all()
    both = asked(np.random.default_rng(8))
    np.testing.assert_array_equal(both, asked(np.random.default_rng(8)))
    assert (both[:, 0] == asked(np.random.default_rng(8), ["x"])[:, 0]).all()
    assert (both[:, 1] == asked(np.random.default_rng(8), ["z"])[:, 0]).all()


def test_the_question_can_be_sent_to_another_process(fit: xr.DataTree) -> None:
    posterior = Posterior.from_fit(fit)
    tangent = posterior.design.derivative(posterior.design.frame, "x")
    mean = TargetMean.build(posterior, "population")
    asked = ask_rows(mean, [posterior.design.matrices], tangent=tangent, relative=True)
    sent = pickle.loads(pickle.dumps(asked))
    block = pickle.loads(pickle.dumps(posterior.block()))
    expected = values(pa.slopes(fit, "x", slope="eydx"))
    np.testing.assert_allclose(sent(block), expected, rtol=1e-12)


def test_slopes_can_be_contrasted(fit: xr.DataTree) -> None:
    each = values(pa.avg_slopes(fit, "x", by="arm"))
    found = pa.avg_slopes(fit, "x", by="arm", hypothesis="pairwise")
    np.testing.assert_allclose(values(found)[:, 0], each[:, 1] - each[:, 0], rtol=1e-12)
    assert found.labels["hypothesis"].to_list() == ["arm placebo - arm active"]


def test_lazy_draws_stay_lazy(fit: xr.DataTree) -> None:
    lazy = fit.copy()
    lazy["posterior"] = xr.DataTree(fit["posterior"].to_dataset().chunk(chain=1, draw=2))
    asked: dict[str, Any] = {"over": {"x": [1.0, 2.0]}, "slope": "eyex", "hypothesis": "pairwise"}
    for target in ("population", "new"):
        found = pa.avg_slopes(lazy, target=target, **asked)
        assert found.draws.chunks is not None
        expected = values(pa.avg_slopes(fit, target=target, **asked))
        np.testing.assert_allclose(values(found), expected, rtol=1e-11)


def test_the_order_of_rows_and_the_coding_of_levels_do_not_matter(
    make_fit: MakeFit, positive: pd.DataFrame
) -> None:
    fit = make_fit("y ~ x*arm + (1 + x | g)", positive)
    shuffled = positive.sample(frac=1.0, random_state=3)
    for by in (None, "arm"):
        one = pa.avg_slopes(fit, "x", by=by)
        other = pa.avg_slopes(fit, "x", by=by, newdata=shuffled)
        np.testing.assert_allclose(values(one), values(other), rtol=1e-12)
    # Intercept, x, arm, x:arm with the other reference level.
    turned = positive.assign(arm=pd.Categorical(positive["arm"], ["placebo", "active"]))
    recoded = make_fit("y ~ x*arm + (1 + x | g)", turned)
    terms = list(recoded["posterior"]["term"].to_numpy())
    assert terms == ["Intercept", "x", "arm[active]", "x:arm[active]"]
    b = fit["posterior"]["beta"].to_numpy()
    beta = np.stack([b[..., 0] + b[..., 2], b[..., 1] + b[..., 3], -b[..., 2], -b[..., 3]], axis=-1)
    data = recoded["posterior"].to_dataset().assign(beta=(("chain", "draw", "term"), beta))
    recoded["posterior"] = xr.DataTree(data)
    same = pa.avg_slopes(recoded, "x", by="arm")
    assert same.labels["arm"].to_list() == ["placebo", "active"]
    own = values(pa.avg_slopes(fit, "x", by="arm"))
    np.testing.assert_allclose(values(same), own[:, ::-1], rtol=1e-12)


@pytest.fixture(scope="module")
def stored(reference: Path) -> dict[str, Any]:
    """The answers of marginaleffects."""
    return json.loads((reference / "marginaleffects_slopes.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "name", ["toenail", "contraception", "contraception, cloglog", "epil", "epil, Gaussian"]
)
def test_marginaleffects_gives_the_same_numbers(
    make_fit: MakeFit, stored: dict[str, Any], name: str
) -> None:
    """To what its numerical derivative can do: made by make_marginaleffects_slopes.py."""
    model = stored["models"][name]
    data = pa.load_dataset(model["dataset"])
    coef = {k.replace("[T.", "[").replace("np.", ""): v for k, v in model["coef"].items()}
    extra = [n for n in (model["by"], model["weights"]) if n is not None]
    fit = make_fit(model["formula"], data, model["link"], shape=(1, 1), extra=extra)
    draws = fit["posterior"].to_dataset()
    draws["beta"][:] = [[[coef[term] for term in draws["term"].to_numpy()]]]
    fit["posterior"] = xr.DataTree(draws)
    rows = data.iloc[: stored["step"] * stored["head"] : stored["step"]]
    assert list(model["slopes"]) == [s for s in SLOPES if name != "epil, Gaussian" or s[0] == "d"]
    for slope, found in model["slopes"].items():
        asked = {"variables": list(dict.fromkeys(row["term"] for row in found["average"]))}
        asked["slope"] = slope
        answers = {
            "rows": pa.slopes(fit, newdata=rows, **asked),
            "average": pa.avg_slopes(fit, **asked),
            "by": pa.avg_slopes(fit, by=model["by"], **asked),
        }
        if model["weights"] is not None:
            answers["weighted"] = pa.avg_slopes(fit, weights=model["weights"], **asked)
        assert set(answers) == set(found)
        _hold(answers, found, model["by"])


def _hold(answers: dict[str, pa.Estimates], found: dict[str, Any], by: str) -> None:
    """Equal numbers under equal labels."""
    for kind, own in answers.items():
        if kind == "by":
            keys = [[row["term"], str(row[by])] for row in found[kind]]
            labels = own.labels[["variable", by]].astype(str).to_numpy().tolist()
            order = [labels.index(key) for key in keys]
        else:
            order = list(range(len(found[kind])))
        theirs = np.array([row["estimate"] for row in found[kind]])
        np.testing.assert_allclose(values(own)[0, order], theirs, rtol=1e-6, err_msg=kind)


@pytest.mark.parametrize(
    ("kwargs", "kind", "message"),
    [
        ({"variables": "arm"}, EstimandError, "no slope in 'arm': it holds text or cat.*compariso"),
        ({"variables": ["x", "arm"]}, EstimandError, "no slope in 'arm'"),
        ({"variables": "xx"}, SpecificationError, "'xx' is not a covariate.*mean 'x'"),
        ({"variables": "visit"}, SpecificationError, "'visit' is not a covariate of the model"),
        ({"variables": ["x", "x"]}, SpecificationError, "'x' is named twice"),
        ({"variables": []}, SpecificationError, "no 'variables'. Allowed: each covariate once"),
        ({"variables": {"x": 1}}, SpecificationError, "variables={'x': 1}.*over="),
        ({"variables": 3}, SpecificationError, "variables=3.*Allowed: a numeric covariate's name"),
        ({"slope": "dxdy"}, SpecificationError, "slope='dxdy' is unknown. Allowed: 'dydx', 'eyex'"),
        ({"target": "cluster"}, SpecificationError, "target='cluster' is unknown"),
        ({"scale": "log"}, SpecificationError, "scale='log' is unknown"),
        ({"by": "armm"}, SpecificationError, "by='armm' isn't a column.*mean 'arm'"),
        ({"newdata": "everything"}, SpecificationError, "newdata='everything'"),
        ({"weights": [1.0, 2.0]}, DataError, r"the weights have the shape \(2,\)"),
        ({"weights": np.zeros(60)}, DataError, "the weights are all 0"),
        (
            {"weights": -np.ones(60)},
            DataError,
            "weights are negative in 60 rows, first in row 0",
        ),
        ({"over": {"x": 1.0}, "by": "x"}, SpecificationError, "'x' is in 'over' and in 'by'"),
        ({"slope": "eydx", "scale": "link"}, EstimandError, "isn't above 0 in some draws"),
        ({"hypothesis": "pairwise", "variables": "x"}, SpecificationError, "at least two"),
    ],
)
def test_bad_input(
    fit: xr.DataTree, kwargs: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        pa.avg_slopes(fit, **kwargs)


def test_bad_rows(fit: xr.DataTree, positive: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="newdata has no rows"):
        pa.slopes(fit, "x", newdata=positive.head(0))
    with pytest.raises(DataError, match="the new rows lack the column 'z'"):
        pa.slopes(fit, "x", newdata=positive.drop(columns="z"))
    with pytest.raises(DataError, match=r"'log\(z\)' is infinite or undefined in 1 row"):
        pa.slopes(fit, "x", newdata=positive.head(2).assign(z=[0.0, 1.0]))
    for name in ("variable", "slope", "target", "hypothesis"):
        with pytest.raises(DataError, match=f"the rows have the column '{name}'.*Rename it"):
            pa.slopes(fit, "x", newdata=positive.assign(**{name: 1}))
    with pytest.raises(SpecificationError, match="weights for rows that aren't averaged"):
        pa.slopes(fit, "x", weights="w")
    with pytest.raises(SpecificationError, match="weights for rows that aren't averaged"):
        pa.slopes(fit, "x", over={"x": [1.0]}, weights="w")


@pytest.mark.parametrize("formula", ["y ~ z + sqrt(x) + (1 | g)", "y ~ z + (1 + sqrt(x) | g)"])
def test_an_infinite_slope(make_fit: MakeFit, positive: pd.DataFrame, formula: str) -> None:
    """In the fixed effects or in those of a cluster."""
    fit = make_fit(formula, positive)
    rows = positive.head(3).assign(x=[1.0, 0.0, 2.0])
    assert np.isfinite(values(pa.slopes(fit, "z", newdata=rows))).all()
    message = r"derivative of the term 'sqrt\(x\)' in 'x' is infinite .* 1 row, the first is row 1"
    with pytest.raises(DataError, match=message):
        pa.slopes(fit, "x", newdata=rows)
    with pytest.raises(DataError, match=message):
        pa.avg_slopes(fit, newdata=rows)


def test_random_effects_of_a_logarithm_of_0_are_refused(
    make_fit: MakeFit, positive: pd.DataFrame
) -> None:
    with pytest.raises(DataError, match=r"the effect 'log\(x\)' of 'g' is infinite or undefined"):
        make_fit(
            "y ~ z + (0 + log(x) | g)", positive.assign(x=positive["x"].where(positive["x"] > 1, 0))
        )
    fit = make_fit("y ~ z + (0 + log(x) | g)", positive)
    with pytest.raises(DataError, match=r"the effect 'log\(x\)' of 'g' is infinite .* 1 row"):
        pa.slopes(fit, "z", newdata=positive.head(2).assign(x=[0.0, 1.0]))


def test_models_that_have_no_such_slope(make_fit: MakeFit, positive: pd.DataFrame) -> None:
    categories = make_fit("y ~ arm + (1 | g)", positive)
    with pytest.raises(EstimandError, match=r"no numeric covariate.*Use comparisons"):
        pa.avg_slopes(categories)
    steps = make_fit("y ~ C(visit) + I(x > 2) + (1 | g)", positive)
    for name, why in (
        ("visit", r"'C\(visit\)' makes categories"),
        ("x", "the formula compares it in 'x > 2'"),
    ):
        message = rf"no slope in '{name}': {why}.*Use comparisons: differences"
        with pytest.raises(EstimandError, match=message):
            pa.slopes(steps, name)
    with pytest.raises(EstimandError, match="no numeric covariate"):
        pa.slopes(steps)
    with pytest.raises(EstimandError, match="no draws 'u_g'"):
        pa.avg_slopes(make_fit("y ~ x + (1 | g)", positive), target="sampled")
    with pytest.raises(EstimandError, match="without random effects"):
        pa.avg_slopes(make_fit("y ~ x", positive), target="new")
    with pytest.raises(SpecificationError, match="isn't a fit made by popavg"):
        pa.slopes(positive)  # ty: ignore[invalid-argument-type]


def test_relative_slopes_need_a_positive_mean(make_fit: MakeFit, positive: pd.DataFrame) -> None:
    fit = make_fit("value ~ x + (1 | g)", positive, "identity", beta=[-1.0, 0.1], spread=0.01)
    with pytest.raises(EstimandError, match="divide by the mean, which isn't above 0 in some"):
        pa.avg_slopes(fit, "x", slope="eyex")
    assert np.isfinite(values(pa.avg_slopes(fit, "x", slope="dyex"))).all()


def test_an_offset_has_a_slope_where_it_is_named(make_fit: MakeFit, positive: pd.DataFrame) -> None:
    """log(exposure) as an offset: the mean is proportional to it."""
    fit = make_fit("count ~ x + offset(log(z)) + (1 | g)", positive, "log")
    np.testing.assert_allclose(values(pa.slopes(fit, "z", slope="eyex")), 1.0, rtol=1e-12)
    found = pa.avg_slopes(fit)
    assert found.labels["variable"].to_list() == ["x"]
    assert len(found.notes) == 2


def test_a_step_function_of_the_population(make_fit: MakeFit, positive: pd.DataFrame) -> None:
    """A naive average of many simulated clusters rises by the slope times a small step."""
    fit = make_fit("y ~ x + (1 + x | g)", positive, "probit", spread=0.0, shape=(1, 1))
    posterior, h = Posterior.from_fit(fit), 0.05
    rng = np.random.default_rng(9)
    u = rng.multivariate_normal(np.zeros(2), posterior.covariance("g")[0], size=200_000)
    intercept, slope = posterior.beta[0]
    low, high = (ndtr(intercept + u[:, 0] + (slope + u[:, 1]) * x) for x in (2.0 - h, 2.0 + h))
    change = (high - low) / (2.0 * h)
    found = values(pa.slopes(fit, "x", newdata=pd.DataFrame({"x": [2.0]})))[0, 0]
    assert abs(found - change.mean()) < 4.0 * change.std() / np.sqrt(len(u))


def test_a_random_slope_without_a_fixed_effect_is_told(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    fit = make_fit("y ~ arm + x + (1 + visit | g)", frame, corr={"g": [[1, 0.2], [0.2, 1]]})
    found = pa.avg_slopes(fit, "visit")
    (note,) = [note for note in found.notes if "no fixed effect" in note]
    assert note.startswith("'visit' has random effects but no fixed effect")
    assert note in repr(found)
    np.testing.assert_array_equal(pa.avg_slopes(fit, "visit", target="typical").draws, 0.0)
    assert not any("no fixed effect" in note for note in pa.avg_slopes(fit, "x").notes)
