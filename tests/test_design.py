"""A formula joined to its data, and the same columns for new data."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popavg.columns import describe, from_arrays, to_arrays
from popavg.datasets import load_dataset
from popavg.design import Design, DesignMatrices, family_of, require_groups
from popavg.errors import DataError, FormulaError
from popavg.families import get_family
from popavg.formula import Formula
from popavg.frames import Missing
from popavg.links import get_link

BERNOULLI = get_family("bernoulli")
RNG = np.random.default_rng(5)
N = 60
FRAME = pd.DataFrame(
    {
        "y": RNG.integers(0, 2, N),
        "s": RNG.integers(0, 5, N),
        "n": 5,
        "x": RNG.normal(size=N),
        "days": RNG.uniform(1, 9, N),
        "arm": pd.Categorical(RNG.choice(["old", "new", "none"], N), ["old", "none", "new"]),
        "city": RNG.choice(["Köln", "New York", "東京"], N),
        "smoker": RNG.random(N) < 0.5,
        "herd": RNG.integers(1, 5, N),
        "cow": RNG.integers(1, 4, N),
    }
)
FORMULA = (
    "y ~ bs(days, df=4)*arm + scale(x) + C(city, Sum) + smoker + offset(log(days))"
    " + (1 + x | herd/cow)"
)


def build(formula: str = FORMULA, frame: pd.DataFrame = FRAME, **options: Any) -> Design:
    return Design.build(formula, frame, family=BERNOULLI, **options)


def assert_equal(one: DesignMatrices, two: DesignMatrices) -> None:
    assert one.terms == two.terms
    np.testing.assert_allclose(one.X, two.X, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(one.offset, two.offset)
    for a, b in zip(one.groups, two.groups, strict=True):
        assert (a.name, a.effects, a.levels, a.blocks) == (b.name, b.effects, b.levels, b.blocks)
        np.testing.assert_array_equal(a.index, b.index)
        np.testing.assert_allclose(a.Z, b.Z)


def rows(matrices: DesignMatrices, index: list[int]) -> tuple[Any, ...]:
    groups = [(group.index[index], group.Z[index]) for group in matrices.groups]
    return matrices.X[index], matrices.offset[index], *(part for pair in groups for part in pair)


def test_a_design_by_hand() -> None:
    frame = pd.DataFrame({"y": [0, 1, 1, 0], "x": [1.5, 2, 0, 1], "g": list("baab")})
    design = build("y ~ x + offset(x) + (1 + x | g)", frame)
    assert design.matrices.terms == ("Intercept", "x")
    assert design.matrices.X.tolist() == [[1, 1.5], [1, 2], [1, 0], [1, 1]]
    assert design.matrices.offset.tolist() == [1.5, 2, 0, 1]
    assert design.matrices.groups[0].index.tolist() == [1, 0, 0, 1]
    assert design.matrices.groups[0].Z.tolist() == design.matrices.X.tolist()
    assert design.matrices.n_rows == 4
    assert design.response.y.tolist() == [0, 1, 1, 0]
    assert design.predictors == ("x",)
    assert design.missing == Missing()
    assert design.frame.columns.tolist() == ["y", "x", "g"]


def test_the_training_rows_evaluate_to_the_training_matrices() -> None:
    design = build()
    assert_equal(design.evaluate(FRAME), design.matrices)


@pytest.mark.parametrize("row", [0, 17, N - 1])
def test_one_row_alone_is_its_row(row: int) -> None:
    design = build()
    alone = design.evaluate(FRAME.iloc[[row]])
    for one, all_ in zip(rows(alone, [0]), rows(design.matrices, [row]), strict=True):
        np.testing.assert_allclose(one, all_, rtol=1e-12, atol=1e-14)


@given(st.permutations(range(N)), st.integers(1, N))
def test_any_rows_in_any_order_are_those_rows(order: list[int], count: int) -> None:
    design = _DESIGN
    some = design.evaluate(FRAME.iloc[order[:count]])
    for one, all_ in zip(
        rows(some, list(range(count))), rows(design.matrices, order[:count]), strict=True
    ):
        np.testing.assert_allclose(one, all_, rtol=1e-12, atol=1e-14)


_DESIGN = build()


def test_the_order_of_the_training_rows_is_irrelevant() -> None:
    order = np.random.default_rng(2).permutation(N)
    shuffled = build(frame=FRAME.iloc[order])
    for one, all_ in zip(
        rows(shuffled.matrices, list(range(N))), rows(_DESIGN.matrices, list(order)), strict=True
    ):
        np.testing.assert_allclose(one, all_, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "change",
    [
        {"arm": lambda c: c.astype(str)},
        {"arm": lambda c: c.cat.reorder_categories(["new", "none", "old"])},
        {"arm": lambda c: c.cat.add_categories(["another"])},
        {"arm": lambda c: c.astype("string[pyarrow]")},
        {"city": lambda c: c.astype("category")},
        {"smoker": lambda c: c.astype(int)},
        {"smoker": lambda c: c.astype("boolean")},
        {"x": lambda c: c.astype("Float64")},
        {"x": lambda c: c.astype(object)},
        {"herd": lambda c: c.astype(float), "cow": lambda c: c.astype(str)},
        {"herd": lambda c: c.astype("category"), "cow": lambda c: c.astype("Int64")},
    ],
)
def test_new_data_may_come_in_other_types(change: dict[str, Any]) -> None:
    frame = FRAME.assign(**{name: convert(FRAME[name]) for name, convert in change.items()})
    assert_equal(_DESIGN.evaluate(frame), _DESIGN.matrices)


@pytest.mark.parametrize("level", ["old", "none", "new"])
def test_new_data_may_have_some_of_the_levels(level: str) -> None:
    is_level = (FRAME["arm"] == level).to_numpy()
    some = _DESIGN.evaluate(FRAME[is_level].assign(arm=level))
    np.testing.assert_allclose(some.X, _DESIGN.matrices.X[is_level], atol=1e-14)


def test_new_data_need_neither_response_nor_clusters() -> None:
    new = _DESIGN.evaluate(FRAME[list(_DESIGN.predictors)])
    np.testing.assert_allclose(new.X, _DESIGN.matrices.X)
    assert [set(group.index.tolist()) for group in new.groups] == [{-1}, {-1}]


def test_unknown_clusters_have_no_index() -> None:
    new = _DESIGN.evaluate(FRAME.iloc[:3].assign(herd=[1, 99, 1]))
    assert new.groups[0].index.tolist() == [0, -1, 0]
    assert new.groups[1].index[1] == -1


def test_an_intercept_alone_takes_any_frame() -> None:
    design = build("y ~ 1 + (1 | herd)")
    assert design.predictors == ()
    assert design.evaluate(pd.DataFrame({"row": [1, 2]})).X.tolist() == [[1], [1]]
    assert design.evaluate(pd.DataFrame({"draw": [1j]})).groups[0].index.tolist() == [-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"city": "Paris"}, "'city' has the level 'Paris', which the fit hasn't seen.*'東京'"),
        ({"arm": "newer"}, "'arm' has the level 'newer', which the fit.*'old', 'none', 'new'"),
        ({"x": "text"}, "'x' holds text or categories. Allowed: numbers"),
        ({"x": np.inf}, "'x' has 3 infinite values"),
        ({"x": [1.0, None, 2.0]}, r"missing values in the new rows \('x' 1\)"),
        ({"herd": [1, None, 2]}, r"missing values in the new rows \('herd' 1\)"),
        ({"smoker": 2}, "'smoker' holds values other than True and False"),
        ({"days": 0.5}, r"'days' reaches from 0.5 to .* built on \[.* doesn't extrapolate"),
        ({"days": -1.0}, "'days' reaches from|the term 'offset' is infinite"),
    ],
    ids=str,
)
def test_new_data_that_do_not_fit(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        _DESIGN.evaluate(FRAME.iloc[:3].assign(**change))


def test_new_data_that_are_no_data() -> None:
    with pytest.raises(DataError, match="the new rows lack the column 'arm'"):
        _DESIGN.evaluate(FRAME.drop(columns="arm"))
    with pytest.raises(DataError, match="the data have no rows"):
        _DESIGN.evaluate(FRAME.iloc[:0])
    with pytest.raises(DataError, match="of type dict"):
        _DESIGN.evaluate({"x": [1]})  # ty: ignore[invalid-argument-type]


def test_the_users_frames_are_left_alone() -> None:
    before = FRAME.copy(deep=True)
    design = build()
    design.evaluate(FRAME)
    pd.testing.assert_frame_equal(FRAME, before)
    assert design.frame is not FRAME
    gaps = FRAME.assign(x=FRAME["x"].where(FRAME["x"] > 0))
    before = gaps.copy(deep=True)
    build("y ~ x + (1 | herd)", gaps, missing="drop")
    pd.testing.assert_frame_equal(gaps, before)


@pytest.mark.parametrize("dataset", ["toenail", "ohio", "contraception"])
def test_a_stored_frame_gives_the_same_design(dataset: str) -> None:
    formulas = {
        "toenail": "outcome ~ treatment*time + (1 + time | patient)",
        "ohio": "resp ~ age*smoke + (1 | id)",
        "contraception": "use ~ age + I(age**2) + urban + livch + (1 | district)",
    }
    frame = load_dataset(dataset)
    formula = formulas[dataset]
    design = build(formula, frame)
    stored = from_arrays(to_arrays(design.frame), describe(design.frame))
    assert_equal(build(formula, stored).matrices, design.matrices)
    assert_equal(
        build(formula, frame.sample(frac=1, random_state=1)).evaluate(frame), design.matrices
    )


def test_missing_values() -> None:
    frame = FRAME.assign(x=FRAME["x"].where(FRAME["herd"] != 1))
    count = int((FRAME["herd"] == 1).sum())
    with pytest.raises(DataError, match=rf"missing values in {count} of 60 rows \('x' {count}\)"):
        build("y ~ x + (1 | herd)", frame)
    design = build("y ~ x + (1 | herd)", frame, missing="drop")
    assert design.matrices.groups[0].levels == ("2", "3", "4")
    assert design.missing == Missing("drop", count, {"x": count}, {"herd": 1})
    assert len(design.response.y) == N - count


def test_missing_values_in_columns_that_are_not_used_do_not_matter() -> None:
    design = build("y ~ x + (1 | herd)", FRAME.assign(days=np.nan))
    assert design.missing == Missing()


def test_extra_columns_are_kept_and_their_clusters_counted() -> None:
    frame = FRAME.assign(x=FRAME["x"].where(FRAME["cow"] != 1))
    design = build("y ~ x", frame, missing="drop", extra=("cow", "days"))
    assert design.frame.columns.tolist() == ["y", "x", "cow", "days"]
    assert design.missing.clusters["cow"] == 1


def test_a_level_that_only_dropped_rows_had_is_gone() -> None:
    frame = FRAME.assign(x=FRAME["x"].where(FRAME["arm"] != "none"))
    design = build("y ~ x + arm + (1 | herd)", frame, missing="drop")
    assert design.matrices.terms == ("Intercept", "x", "arm[new]")


@pytest.mark.parametrize(
    ("formula", "change", "message"),
    [
        ("y ~ xx + (1 | herd)", {}, r"'xx' is not in the data.*Did you mean 'x'\?$"),
        ("y ~ x + I(open) + (1 | herd)", {}, "'open' is not in the data"),
        ("y ~ x.__class__ + (1 | herd)", {}, "'x.__class__' is not in the data"),
        ("y ~ x + (1 | herd)", {"x": np.inf}, "'x' has 60 infinite values"),
        ("y ~ x + (1 | herd)", {"x": 3}, "the covariate 'x' is 3 in every row"),
        ("y ~ arm + (1 | herd)", {"arm": "old"}, "the covariate 'arm' is old in every row"),
        ("y ~ x + I(2 * x) + (1 | herd)", {}, r"'I\(2 \* x\)' can be computed from 'x'"),
        ("y ~ C(cow) + cow + (1 | herd)", {}, "can be computed from .*rank 3"),
        ("y ~ I(x > 99) + (1 | herd)", {}, r"'I\(x > 99\)' has the same value in every row"),
        ("y ~ log(x) + (1 | herd)", {}, r"the term 'log\(x\)' is infinite or undefined in"),
        ("y ~ s + (0 + log(x) | herd)", {}, r"the effect 'log\(x\)' of 'herd' is infinite or un"),
        ("y ~ x + (1 | n)", {}, "the grouping factor 'n' has one cluster, '5'"),
        ("y ~ x + (1 | i)", {"i": np.arange(N)}, "every row is a cluster of its own in 'i'"),
        ("s ~ x + (1 | herd)", {}, "the response 's' holds '2', '3', '4'"),
        ("y ~ term + (1 | herd)", {"term": FRAME["x"]}, "the column name 'term' is reserved"),
        ("y ~ x + (1 | herd)", {"x": pd.Timestamp(0)}, "'x' holds dates"),
    ],
)
def test_bad_input(formula: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        build(formula, FRAME.assign(**change))


@pytest.mark.parametrize("other", [None, FRAME.to_dict(), FRAME.to_numpy(), "data.csv"])
def test_other_containers(other: Any) -> None:
    with pytest.raises(DataError, match=f"the data are of type {type(other).__name__}"):
        build(frame=other)


@pytest.mark.parametrize("effects", ["0 + log(days)", "1 + log(days)", "I(1 / days)"])
def test_new_rows_at_which_a_random_effects_design_is_infinite(effects: str) -> None:
    """A mean there would be one, half or undefined, and nothing would say why."""
    design = build(f"y ~ x + ({effects} | herd)", FRAME)
    bad = FRAME.head(3).assign(days=[1.0, 0.0, 2.0])
    message = r"the effect '.*days\)' of 'herd' is infinite or undefined in 1 row, .* is row 1\."
    with pytest.raises(DataError, match=message):
        design.evaluate(bad)
    with pytest.raises(DataError, match=message):
        design.derivative(bad, "days")


def test_an_empty_frame_and_doubled_columns() -> None:
    with pytest.raises(DataError, match="the data have no rows"):
        build(frame=FRAME.iloc[:0])
    with pytest.raises(DataError, match="the column name 'x' appears more than once"):
        build(frame=pd.concat([FRAME, FRAME[["x"]]], axis=1))


def test_names_with_spaces_and_in_unicode() -> None:
    frame = FRAME.rename(columns={"x": "größe in cm", "herd": "クリニック 1", "y": "ill?"})
    design = build("`ill?` ~ `größe in cm`*city + (1 + `größe in cm` | `クリニック 1`)", frame)
    assert design.matrices.terms == (
        *("Intercept", "größe in cm", "city[New York]", "city[東京]"),
        *("größe in cm:city[New York]", "größe in cm:city[東京]"),
    )
    assert design.matrices.groups[0].name == "クリニック 1"
    assert_equal(design.evaluate(frame), design.matrices)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        *(("log", "y ~ log(log) + (1 | herd)"), ("I", "y ~ I(I) + (1 | herd)")),
        *(("scale", "y ~ scale(scale) + (1 | herd)"), ("C", "y ~ C + (1 | herd)")),
        *(("Treatment", "y ~ Treatment + log(Treatment) + (1 | herd)"),),
        *(("np", "y ~ np + (1 | herd)"), ("open", "y ~ open + (1 | herd)")),
    ],
)
def test_columns_may_be_called_like_functions(name: str, formula: str) -> None:
    frame = FRAME.rename(columns={"days": name})
    assert len(build(formula, frame).matrices.terms) >= 2


def test_family_of_a_formula_and_a_link() -> None:
    families = {
        ("y ~ x", "logit"): "bernoulli",
        ("p(s, n) ~ x", "probit"): "binomial",
        ("y ~ x", "log"): "poisson",
        ("y ~ x", "identity"): "gaussian",
    }
    for (formula, link), name in families.items():
        assert family_of(formula, get_link(link)).name == name
        assert family_of(Formula.parse(formula), get_link(link)).name == name


def test_proportions() -> None:
    design = Design.build("p(s, n) ~ x + (1 | herd)", FRAME, family=get_family("binomial"))
    assert design.response.trials is not None
    assert set(design.response.trials) == {5}
    with pytest.raises(FormulaError, match="doesn't go with the bernoulli family"):
        build("p(s, n) ~ x + (1 | herd)")


def test_a_mixed_model_needs_a_grouping_term() -> None:
    require_groups(Formula.parse("y ~ x + (1 | g)"))
    message = r"the formula 'y ~ x' has no grouping term.*Add '\+ \(1 \| g\)'.*popavg.models.glm"
    with pytest.raises(FormulaError, match=message):
        require_groups(Formula.parse("y ~ x"))


def test_a_million_rows() -> None:
    n = 1_000_000
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "y": rng.integers(0, 2, n),
            "x": rng.normal(size=n),
            "arm": rng.choice(["a", "b", "c"], n),
            "g": np.char.add("id", rng.integers(0, 100_000, n).astype(str)),
        }
    )
    started = time.process_time()
    design = build("y ~ x*arm + (1 | g)", frame)
    new = design.evaluate(frame)
    assert time.process_time() - started < 20
    np.testing.assert_array_equal(new.groups[0].index, design.matrices.groups[0].index)


def test_clusters_of_one_row_with_several_trials_are_clusters() -> None:
    own, binomial = FRAME.assign(i=np.arange(N)), get_family("binomial")
    several = own.assign(trials=np.where(np.arange(N) == 0, 2, 1))
    design = Design.build("p(y, trials) ~ x + (1 | i)", several, family=binomial)
    assert len(design.matrices.groups[0].levels) == N
    with pytest.raises(DataError, match="every row is a cluster of its own in 'i'"):
        Design.build("p(y, 1) ~ x + (1 | i)", own, family=binomial)


def test_without_an_outcome_a_cluster_may_have_one_row() -> None:
    """A posterior came without its outcome: nothing is to be estimated from these rows."""
    formula = Formula.parse("~ x + (1 | i)", one_sided=True)
    frame = FRAME[["x"]].assign(i=np.arange(N))
    design = Design.build(formula, frame, family=family_of(formula, get_link("logit")))
    assert not design.response.is_given
    assert len(design.matrices.groups[0].levels) == N
    with pytest.raises(FormulaError, match="nothing on one side"):
        build("~ x + (1 | i)", frame)
