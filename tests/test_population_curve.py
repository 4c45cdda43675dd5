"""The arrays of the population curve's picture."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import expit, logit

from popavg.design import Design, family_of
from popavg.errors import DataError, EstimandError, SpecificationError
from popavg.links import get_link
from popavg.posterior_tools.coefficients import population_coefficients
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.example import load_example
from popavg.posterior_tools.population_curve import population_curve
from popavg.posterior_tools.predictions import predictions
from popavg.posterior_tools.tree import fit_tree, specify


def frame(n_clusters: int = 20, n_rows: int = 6) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = n_clusters * n_rows
    return pd.DataFrame(
        {
            "g": np.repeat([f"c{i}" for i in range(n_clusters)], n_rows),
            "h": np.tile([f"d{i}" for i in range(n_rows)], n_clusters),
            "x": np.tile(np.linspace(-3, 3, n_rows), n_clusters),
            "z": rng.normal(40, 10, n),
            "smoke": rng.integers(0, 2, n),
            "visit": np.tile([1, 2, 3, 4, 5, 6], n_clusters),
            "sex": np.repeat(rng.choice(["female", "male"], n_clusters), n_rows),
            "y": rng.integers(0, 2, n),
            "value": rng.normal(size=n),
        }
    )


def make_fit(
    formula: str,
    beta: list[float],
    sd: dict[str, list[float]],
    *,
    link: str = "logit",
    correlation: float = 0.0,
    noise: float = 0.05,
) -> xr.DataTree:
    """A fit with made-up draws."""
    rng = np.random.default_rng(1)
    chosen = get_link(link)
    family = family_of(formula, chosen)
    design = Design.build(formula, frame(), family=family)
    shape = (2, 30)

    def around(values: list[float]) -> np.ndarray:
        return np.array(values) + noise * rng.uniform(-1, 1, (*shape, len(values)))

    variables: dict[str, object] = {"beta": (("chain", "draw", "term"), around(beta))}
    for name, values in sd.items():
        effect = f"effect_{name}"
        variables[f"sd_{name}"] = (("chain", "draw", effect), np.abs(around(values)))
        if len(values) == 2:
            matrix = np.array([[1.0, correlation], [correlation, 1.0]])
            dims = ("chain", "draw", effect, f"{effect}_other")
            variables[f"corr_{name}"] = (dims, np.tile(matrix, (*shape, 1, 1)))
    coords = {"term": list(design.matrices.terms)}
    for group in design.matrices.groups:
        coords[f"effect_{group.name}"] = list(group.effects)
        if len(group.effects) == 2:
            coords[f"effect_{group.name}_other"] = list(group.effects)
    posterior = xr.Dataset(variables, coords=coords)
    return fit_tree(design, specify(design, chosen, family), {"posterior": posterior})


@pytest.fixture(scope="module")
def example() -> xr.DataTree:
    return load_example()


def test_the_average_and_its_band_are_those_of_predictions(example: xr.DataTree) -> None:
    curve = population_curve(example, "time", by="treatment", ci_prob=0.8, ci_kind="hdi")
    expected = predictions(example, over={"time": list(curve.x)}, by="treatment")
    table = expected.to_frame(ci_prob=0.8, ci_kind="hdi")
    for name, values in {"estimate": "average", "lower": "lower", "upper": "upper"}.items():
        np.testing.assert_array_equal(getattr(curve, values).ravel(), table[name])
    assert (curve.ci_prob, curve.ci_kind) == (0.8, "hdi")
    assert curve.title == expected.title
    assert list(curve.to_frame()["treatment"]) == list(table["treatment"])


def test_conditional_curves_equal_a_double_loop() -> None:
    fit = make_fit("y ~ x * sex + (1 + x | g)", [0.5, -1.2, 0.3, 0.5], {"g": [2.0, 0.8]},
                   correlation=0.4)  # fmt: skip
    curve = population_curve(fit, "x", by="sex", n_curves=5, seed=7)
    posterior = Posterior.from_fit(fit)
    beta, covariance = posterior.beta.mean(axis=0), posterior.covariance("g").mean(axis=0)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    normal = np.random.default_rng(7).standard_normal((5, 2))
    for s, male in enumerate([0.0, 1.0]):
        for i in range(5):
            u = [sum(normal[i, k] * root[k, q] for k in range(2)) for q in range(2)]
            for j, x in enumerate(curve.x):
                eta = beta[0] + beta[1] * x + beta[2] * male + beta[3] * x * male
                p = 1 / (1 + math.exp(-(eta + u[0] + u[1] * x)))
                assert curve.conditional[s, i, j] == pytest.approx(p, rel=1e-12)


def test_effects_that_depend_on_each_other_exactly() -> None:
    """Σ is singular: with a correlation of 1 a cluster's slope is a multiple of its intercept."""
    fit = make_fit("y ~ x + (1 + x | g)", [0.5, -1.2], {"g": [2.0, 0.5]}, correlation=1.0, noise=0)
    curve = population_curve(fit, {"x": [0.0, 1.0]}, n_curves=30, seed=7)
    intercept = logit(curve.conditional[0, :, 0]) - 0.5
    slope = logit(curve.conditional[0, :, 1]) - logit(curve.conditional[0, :, 0]) + 1.2
    np.testing.assert_allclose(slope, intercept / 4, atol=1e-7)
    assert np.ptp(intercept) > 2.0


def test_curves_of_a_random_intercept_have_one_shape_and_the_same_clusters(
    example: xr.DataTree,
) -> None:
    curve = population_curve(example, "time", by="treatment", n_curves=8)
    shift = logit(curve.conditional) - logit(curve.typical)[:, None, :]
    np.testing.assert_allclose(shift, np.broadcast_to(shift[:1, :, :1], shift.shape), atol=1e-9)
    assert len(np.unique(shift[0, :, 0].round(6))) == 8


def test_effects_have_the_posterior_mean_of_the_covariance() -> None:
    fit = make_fit("y ~ x + (1 | g) + (1 | h)", [0.0, 0.1], {"g": [1.5], "h": [2.0]})
    curve = population_curve(fit, {"x": [0, 1]}, n_curves=20_000)
    posterior = Posterior.from_fit(fit)
    variance = sum(posterior.covariance(name).mean() for name in ("g", "h"))
    assert logit(curve.conditional[0, :, 0]).var() == pytest.approx(variance, rel=0.04)


def test_seed_and_generator_give_the_same_clusters(example: xr.DataTree) -> None:
    first = population_curve(example, "time", seed=4)
    again = population_curve(example, "time", seed=np.random.default_rng(4))
    other = population_curve(example, "time", seed=5)
    np.testing.assert_array_equal(first.conditional, again.conditional)
    assert not np.allclose(first.conditional, other.conditional)


def test_without_spread_all_curves_are_the_average() -> None:
    fit = make_fit("y ~ x + (1 | g)", [0.3, 0.7], {"g": [0.0]}, noise=1e-7)
    curve = population_curve(fit, "x")
    np.testing.assert_allclose(curve.average, curve.typical, rtol=1e-12)
    np.testing.assert_allclose(curve.conditional[:, 3], curve.average, rtol=1e-6)


def test_a_model_without_random_effects_has_no_clusters() -> None:
    curve = population_curve(make_fit("y ~ x", [0.3, 0.7], {}), "x")
    assert curve.conditional.shape == (1, 0, 50)


def test_numbers_run_from_the_smallest_to_the_largest() -> None:
    curve = population_curve(make_fit("y ~ x + z + (1 | g)", [0, 1, 0.1], {"g": [1.0]}), "x")
    np.testing.assert_allclose(curve.x, np.linspace(-3, 3, 50))
    assert curve.ticks is None
    assert curve.held == {"z": pytest.approx(frame()["z"].mean())}
    assert curve.panel_labels == [""]


@pytest.mark.parametrize(
    ("over", "ticks"),
    [("sex", ("female", "male")), ("smoke", ("0", "1")), ({"sex": ["male"]}, ("male",))],
)
def test_categories_and_two_values_are_positions(over: str | dict, ticks: tuple[str, ...]) -> None:
    curve = population_curve(make_fit("y ~ smoke + sex + (1 | g)", [0, 1, 2], {"g": [1.0]}), over)
    assert curve.ticks == ticks
    np.testing.assert_array_equal(curve.x, range(len(ticks)))


def test_a_number_read_as_category_takes_its_own_values() -> None:
    fit = make_fit("y ~ C(visit) + (1 | g)", [0.1] * 6, {"g": [1.0]})
    curve = population_curve(fit, "visit")
    assert curve.ticks == ("1", "2", "3", "4", "5", "6")


def test_given_values_are_sorted(example: xr.DataTree) -> None:
    np.testing.assert_array_equal(population_curve(example, {"time": [6, 0]}).x, [0.0, 6.0])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"over": "tim"}, SpecificationError, "'tim' isn't a covariate"),
        ({"over": ["time", "treatment"]}, SpecificationError, "'over' names 2 covariates"),
        ({"over": {"time": [3]}}, DataError, "one value of 'time'"),
        ({"over": {"time": ["a", "b"]}}, DataError, "'time' is given 'a', but it is a number"),
        ({"over": "time", "by": "time"}, SpecificationError, "'time' is in 'over' and in 'by'"),
        ({"over": "time", "n_curves": -1}, SpecificationError, "n_curves=-1"),
        ({"over": "time", "ci_prob": 2}, SpecificationError, "ci_prob=2"),
        ({"over": "treatment", "slopes": True}, EstimandError, "'treatment' is a category"),
    ],
)
def test_wrong_arguments(
    example: xr.DataTree, arguments: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message.replace("'", ".")):
        population_curve(example, **arguments)


def test_slopes_are_quarters_of_the_coefficients_where_the_curves_cross_one_half() -> None:
    fit = make_fit("y ~ x * sex + (1 | g)", [0.5, -1.2, 0.3, 0.5], {"g": [2.0]})
    curve = population_curve(fit, "x", by="sex", slopes=True)
    beta = Posterior.from_fit(fit).beta.mean(axis=0)
    marginal = population_coefficients(fit).draws.mean(("chain", "draw")).to_numpy()
    for crossings, b in (
        (curve.conditional_crossings, beta),
        (curve.population_crossings, marginal),
    ):
        assert crossings is not None
        for male, crossing in enumerate(crossings):
            slope = b[1] + male * b[3]
            assert crossing is not None
            assert crossing.slope == pytest.approx(slope / 4, rel=1e-9)
            assert crossing.x == pytest.approx(-(b[0] + male * b[2]) / slope, rel=1e-9)
    steep = [c.slope for c in curve.conditional_crossings or () if c]
    flat = [c.slope for c in curve.population_crossings or () if c]
    assert (np.abs(steep) > np.abs(flat)).all()


def test_a_curve_that_stays_below_one_half_has_no_crossing(example: xr.DataTree) -> None:
    curve = population_curve(example, "time", by="treatment", slopes=True)
    assert expit(-20) < curve.typical.max() < 0.5
    assert curve.conditional_crossings == curve.population_crossings == (None, None)


def test_slopes_exist_for_the_logit_only() -> None:
    fit = make_fit("y ~ x + (1 | g)", [0.0, 1.0], {"g": [1.0]}, link="probit")
    with pytest.raises(EstimandError, match=r"probit link.*Allowed: the logit"):
        population_curve(fit, "x", slopes=True)


def test_the_identity_link_averages_to_the_typical_cluster() -> None:
    fit = make_fit("value ~ x + (1 | g)", [0.5, 0.3], {"g": [1.0]}, link="identity")
    curve = population_curve(fit, "x")
    np.testing.assert_allclose(curve.average, curve.typical, atol=1e-12)
    assert not curve.is_probability
    assert curve.title == "mean of value"


def test_a_reference_is_sorted_into_the_panels(example: xr.DataTree) -> None:
    curve = population_curve(example, "time", by="treatment")
    reference = curve.rows.assign(mean=curve.average.ravel()).sample(frac=1, random_state=1)
    pairs = curve.align(reference.astype({"treatment": str}))
    for i, (x, mean) in enumerate(pairs):
        np.testing.assert_array_equal(x, curve.x)
        np.testing.assert_array_equal(mean, curve.average[i])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: r.drop(columns="mean"), "no column 'mean'"),
        (lambda r: r[r["treatment"] == "terbinafine"], "no rows for the panel .*itraconazole"),
        (lambda r: r.assign(mean=np.nan), "missing or infinite"),
    ],
)
def test_a_reference_that_lacks_something(
    example: xr.DataTree, spoil: object, message: str
) -> None:
    curve = population_curve(example, "time", by="treatment")
    with pytest.raises(DataError, match=message):
        curve.align(spoil(curve.rows.assign(mean=0.5)))


def test_a_reference_with_an_unknown_level(example: xr.DataTree) -> None:
    curve = population_curve(example, "treatment")
    reference = pd.DataFrame({"treatment": ["placebo"], "mean": [0.5]})
    with pytest.raises(DataError, match="levels 'placebo'"):
        curve.align(reference)


def test_numbers_in_panel_labels_are_short(example: xr.DataTree) -> None:
    curve = population_curve(example, "treatment", by={"time": [0, 1 / 3]})
    assert curve.panel_labels == ["time: 0", "time: 0.3333"]
    assert replace(curve, by=(), panels=curve.panels[[]]).panel_labels == ["", ""]
