"""pa.check before and after a fit, on the data sets where identification fails."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import popavg as pa
from popavg.errors import DataError, FormulaError, SpecificationError
from popavg.specification import ATTRIBUTE

MakeFit = Callable[..., xr.DataTree]

CROSSOVER_PRIORS = {
    "Intercept": "StudentT(3, 0, 2.5)",
    "treatment[active]": "Normal(0, 2.5)",
    "period": "Normal(0, 2.5)",
    "sd_patient": "HalfStudentT(3, 2.5)",
}


def verdicts(found: pa.Check) -> dict[str, str]:
    return dict(found.to_frame()[["finding", "verdict"]].itertuples(index=False, name=None))


@pytest.mark.parametrize(
    ("name", "formula", "cluster", "number"),
    [
        ("toenail", "y ~ treatment * time + (1 | patient)", "patient", "179 of 294 (61 %)"),
        ("ohio", "resp ~ age * smoke + (1 | id)", "id", "373 of 537 (69 %)"),
    ],
)
def test_well_identified_data(name: str, formula: str, cluster: str, number: str) -> None:
    found = pa.check(formula, pa.load_dataset(name), link="logit")
    assert found.verdict == "fine"
    frame = found.to_frame().set_index("finding")
    assert frame.loc[f"clusters of {cluster!r} with all outcomes equal", "number"] == number
    assert frame.loc["separation of the fixed effects", "number"] == "none"
    assert set(frame["part"]) == {"before"}


def test_few_clusters() -> None:
    found = pa.check(
        "p(incidence, size) ~ period + (1 | herd)", pa.load_dataset("cbpp"), link="logit"
    )
    assert verdicts(found)["clusters of 'herd'"] == "look"
    assert "sd_herd" in found.words[0]
    assert found.facts["clusters"]["herd"]["n_clusters"] == 15


@pytest.fixture
def pairs() -> pd.DataFrame:
    y = [0, 1, 0, 0, 1, 1, 1, 1]
    return pd.DataFrame({"y": y, "x": [0] * 4 + [1] * 4, "z": [0, 1] * 4, "g": list("aabbccdd")})


def test_separation(pairs: pd.DataFrame) -> None:
    found = pa.check("y ~ x + z + (1 | g)", pairs, link="logit")
    assert found.verdict == "problem"
    assert "'x' predicts the outcome perfectly for some rows" in " ".join(found.words)
    without = pa.check("y ~ z + (1 | g)", pairs, link="logit")
    assert verdicts(without)["separation of the fixed effects"] == "fine"


def test_one_row_per_cluster_is_a_finding(pairs: pd.DataFrame) -> None:
    """pa.fit refuses it."""
    own = pairs.assign(g=range(8))
    with pytest.raises(DataError, match="every row is a cluster of its own"):
        pa.fit("y ~ z + (1 | g)", own, link="logit")
    found = verdicts(pa.check("y ~ z + (1 | g)", own, link="logit"))
    assert found["rows per cluster of 'g'"] == "problem"
    assert found["clusters of 'g' with one row"] == "problem"


def test_a_single_cluster_is_a_finding(pairs: pd.DataFrame) -> None:
    found = pa.check("y ~ z + (1 | g)", pairs.assign(g="all"), link="logit")
    assert found.words[0].startswith("clusters of 'g', 1: One cluster can't show")


def test_each_factor_is_counted(frame: pd.DataFrame) -> None:
    found = pa.check("count ~ x + (1 | g) + (1 | r)", frame, link="log")
    assert set(found.facts["clusters"]) == {"g", "r"}
    assert verdicts(found)["clusters of 'r'"] == "problem"
    assert not any("equal" in name for name in verdicts(found))


def test_missing_rows(frame: pd.DataFrame) -> None:
    holes = frame.astype({"y": float})
    holes.loc[:4, "y"] = np.nan
    with pytest.raises(DataError, match="missing"):
        pa.check("y ~ x + (1 | g)", holes, link="logit")
    assert pa.check("y ~ x + (1 | g)", holes, link="logit", missing="drop").facts["rows"] == 55


def test_a_weakly_identified_standard_deviation(
    exact_fit: Callable[..., xr.DataTree], crossover: pd.DataFrame
) -> None:
    """The headline: conditional numbers lean on the prior, population-averaged ones don't."""
    formula = "normal ~ treatment + period + (1 | patient)"
    fit = exact_fit(formula, crossover, CROSSOVER_PRIORS)
    found = pa.check(fit, progress=False)
    assert verdicts(found) == {
        "clusters of 'patient'": "fine",
        "rows per cluster of 'patient'": "look",
        "clusters of 'patient' with one row": "fine",
        "clusters of 'patient' with all outcomes equal": "look",
        "separation of the fixed effects": "fine",
        "contraction of sd_patient": "fine",
        "likelihood of sd_patient": "look",
        "sensitivity of the random effects to the priors": "look",
        "sensitivity of conditional coefficients to the priors": "look",
        "sensitivity of population-averaged coefficients to the priors": "fine",
        "sensitivity of population averages and differences to the priors": "fine",
    }
    facts = found.facts["standard_deviations"]["sd_patient"]
    assert facts["maximum"] ** 2 == pytest.approx(24.4, abs=0.05)
    assert "stay put where the conditional coefficients move" in repr(found)
    assert found.plot(backend="none").viz["likelihood"].dataset.sizes["panel"] == 1


def test_a_fit_without_priors() -> None:
    found = pa.check(pa.load_example(), progress=False)
    frame = found.to_frame().set_index("finding")
    assert frame.loc["likelihood of sd_patient", "verdict"] == "fine"
    assert frame.loc["likelihood of sd_patient", "value"] == pytest.approx(4.0066, abs=1e-3)
    lacking = frame.loc["contraction and power-scaling sensitivity"]
    assert lacking["verdict"] == "not computed"
    assert "doesn't record the priors" in lacking["meaning"]
    assert found.sensitivity is None


def with_priors(fit: xr.DataTree, names: list[str], **sampler: object) -> xr.DataTree:
    stored = json.loads(fit.attrs[ATTRIBUTE])
    stored["priors"] = {name: pa.Prior("StudentT", 3, 0, 2.5).to_dict() for name in names}
    stored["sampler"] = sampler
    fit.attrs[ATTRIBUTE] = json.dumps(stored)
    return fit


def test_crossed_factors_show_what_can_be_computed(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("y ~ x + (1 | g) + (1 | r)", frame, shape=(2, 60))
    found = pa.check(with_priors(fit, ["Intercept", "x", "sd_g", "sd_r"]), progress=False)
    told = verdicts(found)
    assert told["likelihood of the standard deviations"] == "not computed"
    assert told["power-scaling sensitivity"] == "not computed"
    assert {"contraction of sd_g", "contraction of sd_r"} <= set(told)
    assert found.sensitivity is not None
    assert "the model has 2 grouping factors ('g', 'r')" in repr(found)
    assert found.plot(backend="none").viz["posterior"].dataset.sizes["panel"] == 2


def test_draws_are_judged_first(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = with_priors(make_fit("y ~ x + (1 | g)", frame), ["Intercept", "x", "sd_g"],
                      verdict=["The chains disagree."])  # fmt: skip
    found = pa.check(fit, progress=False)
    frame = found.to_frame().set_index("finding")
    assert frame.loc["the draws", "meaning"] == "The chains disagree."
    assert "12 draws" in frame.loc["power-scaling sensitivity", "meaning"]


def test_draws_without_an_outcome() -> None:
    rng = np.random.default_rng(1)
    X, groups = np.column_stack([np.ones(6), np.arange(6)]), np.repeat([0, 1, 2], 2)
    fit = pa.from_arrays(
        rng.normal(size=(50, 2)), rng.random(50) + 1, X, link="logit", groups=groups
    )
    told = verdicts(pa.check(fit, progress=False))
    assert told["the outcome"] == "not computed"
    assert told["likelihood of the standard deviations"] == "not computed"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("y ~ x + (1 | g)",), "without data"),
        (("y ~ x + (1 | g)", pd.DataFrame()), "without a link"),
        ((3,), "type int came"),
        ((pa.load_example(), pd.DataFrame()), "data given together with a fit"),
    ],
)
def test_errors(arguments: tuple[object, ...], words: str) -> None:
    with pytest.raises(SpecificationError, match=words):
        pa.check(*arguments)  # ty: ignore


def test_no_clusters(frame: pd.DataFrame) -> None:
    with pytest.raises(FormulaError, match="no grouping term"):
        pa.check("y ~ x", frame, link="logit")
