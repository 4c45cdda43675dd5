"""The public GEE against geepack, and its words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import popavg as pa
from popavg.design import Design, family_of
from popavg.models.gee import GEEResult, gee, gee_from_design, time_as_numbers

# R 4.2.2, geepack 1.3.9; the calls are in the file, made by reference/make_gee.py.
REFERENCE = json.loads((Path(__file__).parent / "reference" / "gee.json").read_text())
MODELS = {
    "toenail": ("y ~ treatment * time", "patient", "visit"),
    "ohio": ("resp ~ age * smoke", "id", "age"),
    "respiratory": ("nstat ~ centre + treatment + gender + baseline + age", "subject", "month"),
    "bacteria": ("y ~ trt + week_gt2", "ID", "wv"),
    "contraception": ("y ~ age + age2 + urban + livch", "district", "order"),
    "cbpp": ("p(incidence, size) ~ period", "herd", "wv"),
    "epil": ("y ~ lbase * trt + lage + V4", "subject", "period"),
}
CASES = [
    (name, link, structure)
    for name, found in REFERENCE.items()
    for link, runs in found["links"].items()
    for structure in runs
    if structure != "glm"
]


def load(name: str) -> pd.DataFrame:
    data = pa.load_dataset(name)
    return data.assign(order=data.groupby(MODELS[name][1]).cumcount())


def fit(name: str, link: str, structure: str, **more: Any) -> GEEResult:
    formula, groups, time = MODELS[name]
    chosen = time if structure == "ar1" else None
    data = more.pop("data", None)
    frame = load(name) if data is None else data
    return gee(
        formula, frame, groups, link=link, working_correlation=structure, time=chosen, **more
    )


def reference(name: str, run: dict[str, Any], key: str, terms: tuple[str, ...]) -> np.ndarray:
    """R's numbers in our terms' order."""
    values = dict(zip(REFERENCE[name]["terms"], run[key], strict=True))
    renamed = {"urban[urban]": "urbanY"}
    return np.array([values[renamed.get(t, t.replace("[", "").replace("]", ""))] for t in terms])


def std_error(covariance: np.ndarray) -> np.ndarray:
    return np.sqrt(np.diag(covariance))


def check_equal_to_geepack(name: str, run: dict[str, Any], result: GEEResult) -> None:
    """To 1e-8 standard errors, an order of magnitude above what two solvers' tolerances leave."""
    robust = reference(name, run, "robust_se", result.terms)
    coefficients = reference(name, run, "coef", result.terms)
    naive = reference(name, run, "naive_se", result.terms)
    np.testing.assert_array_less(np.abs(result.coefficients - coefficients) / robust, 1e-8)
    np.testing.assert_allclose(result.coefficients, coefficients, rtol=0, atol=1e-8)
    np.testing.assert_allclose(std_error(result.covariance), robust, rtol=1e-8)
    np.testing.assert_allclose(std_error(result.covariance_model), naive, rtol=1e-8)
    np.testing.assert_allclose(result.scale, run["scale"], rtol=1e-9)


@pytest.mark.parametrize(("name", "link", "structure"), CASES)
def test_equals_geepack(name: str, link: str, structure: str) -> None:
    run = REFERENCE[name]["links"][link][structure]
    result = fit(name, link, structure)
    check_equal_to_geepack(name, run, result)
    if structure == "independence":
        assert result.alpha is None
    else:
        assert result.alpha == pytest.approx(run["alpha"], abs=1e-9)


@pytest.mark.parametrize(
    ("name", "link", "structure"), [case for case in CASES if case[2] != "independence"]
)
def test_equals_geepack_with_alpha_held(name: str, link: str, structure: str) -> None:
    run = REFERENCE[name]["links"][link][structure]
    result = fit(name, link, structure, alpha=run["alpha"])
    check_equal_to_geepack(name, run, result)
    assert result.alpha == run["alpha"]


def test_every_data_set_has_a_reference() -> None:
    assert set(pa.list_datasets()["name"]) == set(REFERENCE) == set(MODELS)


@pytest.mark.parametrize("structure", ["independence", "exchangeable", "ar1"])
@pytest.mark.parametrize("name", ["toenail", "cbpp"])
def test_does_not_depend_on_the_row_order(name: str, structure: str) -> None:
    data = load(name)
    shuffled = data.sample(frac=1, random_state=np.random.default_rng(3))
    one = fit(name, "logit", structure, data=data)
    other = fit(name, "logit", structure, data=shuffled)
    np.testing.assert_allclose(other.coefficients, one.coefficients, rtol=0, atol=1e-12)
    np.testing.assert_allclose(other.covariance, one.covariance, rtol=0, atol=1e-12)
    assert other.alpha == (None if one.alpha is None else pytest.approx(one.alpha, abs=1e-12))


def test_clusters_default_to_the_mixed_formula() -> None:
    data = load("toenail")
    plain = gee("y ~ time", data, "patient", link="logit")
    mixed = gee("y ~ time + (1 + time | patient)", data, link="logit")
    assert (mixed.groups, mixed.formula) == ("patient", "y ~ time")
    np.testing.assert_array_equal(mixed.coefficients, plain.coefficients)


def test_nested_factors_cluster_at_the_outermost() -> None:
    data = load("bacteria").assign(half=lambda d: (d["week"] > 3).astype(str))
    nested = gee("y ~ trt + (1 | ID/half)", data, link="logit")
    reversed_order = gee("y ~ trt + (1 | ID:half) + (1 | ID)", data, link="logit")
    inner = gee("y ~ trt + (1 | ID/half)", data, groups="ID:half", link="logit")
    assert nested.groups == reversed_order.groups == "ID"
    assert (nested.n_clusters, inner.groups) == (50, "ID:half")
    assert inner.n_clusters > 50


def test_a_design_gives_the_same_as_the_formula() -> None:
    formula, link = "y ~ treatment * time + (1 | patient)", pa.get_link("probit")
    data, family = load("toenail"), family_of(formula, link)
    design = Design.build(formula, data, family=family)
    from_design = gee_from_design(design, link=link, family=family)
    np.testing.assert_array_equal(
        from_design.coefficients, gee(formula, data, link="probit").coefficients
    )


def test_missing_values_are_dropped_only_on_request() -> None:
    data = load("toenail")
    data["visit"] = data["visit"].astype(float).where(data["time"] < 11)
    with pytest.raises(pa.errors.DataError, match=r"missing values in .*'visit' \d+"):
        fit("toenail", "logit", "ar1", data=data)
    kept = fit("toenail", "logit", "ar1", data=data, missing="drop")
    assert kept.n_rows == int(data["visit"].notna().sum())
    assert "267 rows dropped for missing values ('visit' 267)" in kept.notes[0]


@pytest.mark.parametrize("unit", ["ns", "s"])
def test_dates_are_days(unit: str) -> None:
    data = load("bacteria")
    start = np.datetime64("2024-02-26", unit)
    data["date"] = start + 7 * data["week"].to_numpy() * np.timedelta64(1, "D")
    data["day"] = 7 * data["week"]
    more: dict[str, Any] = {"link": "logit", "working_correlation": "ar1"}
    dated = gee("y ~ trt", data, "ID", time="date", **more)
    weekly = gee("y ~ trt", data, "ID", time="week", **more)
    assert dated.alpha == pytest.approx(gee("y ~ trt", data, "ID", time="day", **more).alpha)
    assert dated.alpha is not None
    assert weekly.alpha is not None
    assert dated.alpha**7 == pytest.approx(weekly.alpha, abs=1e-10)
    np.testing.assert_allclose(dated.coefficients, weekly.coefficients, rtol=1e-9)


def test_levels_of_time_are_numbered() -> None:
    data = load("bacteria")
    weeks = [0, 2, 4, 6, 11]
    ordered = pd.CategoricalDtype([f"week {w}" for w in weeks], ordered=True)
    data["label"] = ("week " + data["week"].astype(str)).astype(ordered)
    result = gee(
        "y ~ trt + week_gt2", data, "ID", link="logit", working_correlation="ar1", time="label"
    )
    run = REFERENCE["bacteria"]["links"]["logit"]["ar1"]
    check_equal_to_geepack("bacteria", run, result)
    assert "'week 0', 'week 2', 'week 4', 'week 6', 'week 11'" in result.notes[0]


def test_time_as_numbers() -> None:
    durations = pd.Series(pd.to_timedelta([0, 36], unit="h"), name="t")
    np.testing.assert_array_equal(time_as_numbers(durations)[0], [0.0, 1.5])
    np.testing.assert_array_equal(time_as_numbers(pd.Series([2, 5], name="t"))[0], [2.0, 5.0])
    with pytest.raises(pa.errors.DataError, match="booleans or missing"):
        time_as_numbers(pd.Series([True, False], name="t"))


def bad_input(**changes: Any) -> None:
    arguments: dict[str, Any] = {"formula": "y ~ time", "groups": "patient", "link": "logit"}
    arguments |= changes
    data = arguments.pop("data", None)
    gee(arguments.pop("formula"), load("toenail") if data is None else data, **arguments)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"groups": "pateint"},
            "DataError",
            r"'pateint' is not in the data.*Did you mean 'patient'",
        ),
        ({"groups": None}, "SpecificationError", r"names the clusters.*'\(1 \| patient\)'"),
        ({"groups": "time"}, "DataError", r"fractional numbers such as .*a measurement.*astype"),
        ({"link": "logitt"}, "SpecificationError", "logitt"),
        ({"working_correlation": "ar2"}, "SpecificationError", "'ar2' is unknown.*'ar1'"),
        ({"working_correlation": "ar1"}, "SpecificationError", "without a time.*with time="),
        ({"working_correlation": "independence", "alpha": 0.1}, "SpecificationError", "has none"),
        ({"alpha": 1.0}, "SpecificationError", r"alpha=1.0 .* 7 rows.*-0.166667 < alpha < 1"),
        ({"alpha": -0.2}, "SpecificationError", r"-0.166667 < alpha < 1"),
        (
            {"working_correlation": "ar1", "time": "treatment"},
            "DataError",
            r"cluster '1' of 'patient' has two rows at time 1 \(\d+ such",
        ),
        ({"formula": "y ~ tim"}, "DataError", "'tim' is not in the data"),
    ],
)
def test_bad_input(changes: dict[str, Any], error: str, message: str) -> None:
    with pytest.raises(getattr(pa.errors, error), match=message):
        bad_input(**changes)


def test_clusters_that_are_none() -> None:
    data = load("toenail").assign(number=lambda d: np.arange(len(d)), all="one")
    with pytest.raises(pa.errors.DataError, match="every row is a cluster of its own in 'number'"):
        bad_input(data=data, groups="number")
    with pytest.raises(pa.errors.DataError, match="one cluster in 'all'"):
        bad_input(data=data, groups="all")


def test_crossed_factors_need_a_choice() -> None:
    formula = "y ~ time + (1 | patient) + (1 | visit)"
    with pytest.raises(pa.errors.SpecificationError, match=r"holds all others.*'patient', 'visit'"):
        bad_input(formula=formula, groups=None)
    bad_input(formula=formula, groups="patient")


def test_a_design_knows_only_its_columns() -> None:
    formula, link = "y ~ time + (1 | patient)", pa.get_link("logit")
    family = family_of(formula, link)
    design = Design.build(formula, load("toenail"), family=family)
    with pytest.raises(pa.errors.SpecificationError, match=r"time='visit' isn't a column.*gee"):
        gee_from_design(design, link=link, family=family, time="visit", working_correlation="ar1")


def test_separation_is_an_error() -> None:
    data = load("bacteria")
    data = data[(data["trt"] != "drug") | (data["y"] == 1)]
    with pytest.raises(pa.errors.SeparationError, match=r"'trt\[drug\]' predicts"):
        gee("y ~ trt", data, "ID", link="logit")
