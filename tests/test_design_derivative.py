"""The design's derivative against central differences of the design itself, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from popavg.design import Design, DesignMatrices
from popavg.design_derivative import derivative, numeric_predictors
from popavg.errors import DataError, EstimandError, PopavgError, SpecificationError
from popavg.families import get_family

N = 90
RNG = np.random.default_rng(8)
FRAME = pd.DataFrame(
    {
        "y": RNG.integers(0, 2, N),
        "x": RNG.uniform(0.5, 9.0, N),
        "z": RNG.uniform(1, 5, N),
        "visit": RNG.integers(1, 6, N),
        "my x": RNG.uniform(1, 2, N),
        "arm": RNG.choice(["a", "b", "c"], N),
        "flag": RNG.random(N) < 0.5,
        "g": np.repeat(np.arange(18), 5),
        "h": np.tile(np.arange(3), 30),
    }
)
#: New rows inside the range of the training rows, away from their knots.
NEW = pd.DataFrame(
    {
        "x": RNG.uniform(0.8, 8.5, 25),
        "z": RNG.uniform(1.3, 4.7, 25),
        "visit": RNG.integers(1, 6, 25),
        "my x": RNG.uniform(1.1, 1.9, 25),
        "arm": RNG.choice(["a", "b"], 25),
        "flag": RNG.random(25) < 0.5,
        "g": RNG.integers(0, 25, 25),
    }
)
FIXED = (
    *("x", "I(x**2)", "log(x)", "exp(x)", "sqrt(x)", "I((x+1)/2)", "I(x*z)", "scale(x)"),
    *("center(x)", "standardize(x)", "poly(x, 3)", "poly(x, 2, raw=True)", "bs(x, df=5)"),
    *("bs(x, df=6, degree=2, intercept=True) - 1", "bs(x, df=4, lower_bound=0, upper_bound=20)"),
    *("x:z", "x*arm", "x*arm*z", "poly(x, 2):arm", "log(x):scale(z)", "x + offset(log(x))"),
    *("z + offset(I(x*z))", "scale(log(x))", "poly(log(x), 2)", "bs(sqrt(x), df=4)"),
    *("I(x**2 + 3*x*z - z/x)", "bs(x, df=4)*arm", "x/arm", "arm/x", "(x + z + arm)**3"),
    *("0 + arm:x", "C(visit)*x", "S(arm):log(x)", "flag*x", "abs(x)", "sin(x) + tanh(x)"),
    *("poly(x, 2)*bs(z, df=4)", "x:I(x**2)", "I(1 / (1 + exp(-x)))", "log2(x) + log1p(x)"),
    *("{x / z}", "poly(scale(x), 3)"),
    *("I(z > 3):x", "C(arm, Treatment('b')):poly(x, 2)", "x + offset(2)", "I(center(x)**2)"),
)
RANDOM = (
    *("(x | g)", "(0 + log(x) | g)", "(poly(x, 2) | g)", "(scale(x) | g) + (1 | h)"),
    *("(bs(x, df=4) | g)", "(x*z | g)", "(0 + arm:x | g)", "(1 | g) + (0 + x | g)", "(x | g/h)"),
)
FORMULAS = (
    *(f"y ~ {text} + (1 | g)" for text in FIXED),
    *(f"y ~ z + {text}" for text in RANDOM),
)


def build(formula: str, frame: pd.DataFrame = FRAME) -> Design:
    return Design.build(formula, frame, family=get_family("bernoulli"))


def numbers(matrices: DesignMatrices) -> dict[str, NDArray[np.float64]]:
    """Everything that a variable may move."""
    groups = {f"Z of {group.name}": group.Z for group in matrices.groups}
    return {"X": matrices.X, "offset": matrices.offset[:, np.newaxis]} | groups


def central_differences(
    design: Design, frame: pd.DataFrame, variable: str
) -> dict[str, NDArray[np.float64]]:
    """The twin: every column moved by a small step to both sides."""
    step = 1e-5
    above = numbers(design.evaluate(frame.assign(**{variable: frame[variable] + step})))
    below = numbers(design.evaluate(frame.assign(**{variable: frame[variable] - step})))
    return {name: (above[name] - below[name]) / (2 * step) for name in above}


def assert_twins(design: Design, frame: pd.DataFrame, variable: str) -> None:
    found = numbers(design.derivative(frame, variable))
    for name, twin in central_differences(design, frame, variable).items():
        assert found[name].shape == twin.shape
        for column, other in zip(found[name].T, twin.T, strict=True):
            size = max(np.abs(other).max(), 1e-3)
            np.testing.assert_allclose(column, other, rtol=1e-6, atol=1e-6 * size, err_msg=name)


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_derivative_is_that_of_central_differences(formula: str) -> None:
    design = build(formula)
    assert_twins(design, NEW, "x")
    found = design.derivative(NEW, "x")
    assert any(values.any() for values in numbers(found).values())


@pytest.mark.parametrize("formula", [text for text in FORMULAS if "z > 3" not in text][::3])
def test_other_variables_too(formula: str) -> None:
    assert_twins(build(f"{formula} + z" if "bs(z" not in formula else formula), NEW, "z")


@given(st.lists(st.floats(0.6, 8.9), min_size=1, max_size=5), st.sampled_from("abc"))
def test_any_rows(x: list[float], arm: str) -> None:
    frame = pd.DataFrame({"x": x, "z": 2.5, "arm": arm})
    assert_twins(_DESIGN, frame, "x")


_DESIGN = build("y ~ poly(x, 3)*arm + log(x):scale(z) + I(z/x) + offset(sqrt(x)) + (1 + x*z | g)")


def test_a_derivative_by_hand() -> None:
    frame = pd.DataFrame({"y": [0, 1, 1, 0], "x": [1.5, 2, 0, 1], "g": list("baab")})
    slope = build("y ~ x + I(x**2) + offset(3 * x) + (x | g)", frame).derivative(frame, "x")
    assert slope.terms == ("Intercept", "x", "I(x ** 2)")
    assert slope.X.tolist() == [[0, 1, 3], [0, 1, 4], [0, 1, 0], [0, 1, 2]]
    assert slope.offset.tolist() == [3, 3, 3, 3]
    assert slope.groups[0].Z.tolist() == [[0, 1]] * 4
    assert slope.groups[0].index.tolist() == [1, 0, 0, 1]


def test_terms_and_clusters_are_the_designs() -> None:
    design = build("y ~ x*arm + (x | g) + (1 | h)")
    values, slope = design.evaluate(NEW), derivative(design, NEW, "x")
    assert slope.terms == values.terms
    for group, other in zip(slope.groups, values.groups, strict=True):
        assert (group.name, group.effects, group.levels, group.blocks) == (
            *(other.name, other.effects, other.levels, other.blocks),
        )
        np.testing.assert_array_equal(group.index, other.index)
    assert not slope.groups[1].Z.any()
    assert {-1} == set(slope.groups[1].index.tolist())


@pytest.mark.parametrize("row", [0, 11, 24])
def test_one_row_alone_is_its_row(row: int) -> None:
    every, alone = _DESIGN.derivative(NEW, "x"), _DESIGN.derivative(NEW.iloc[[row]], "x")
    for one, all_ in zip(numbers(alone).values(), numbers(every).values(), strict=True):
        np.testing.assert_allclose(one[0], all_[row], rtol=1e-12, atol=1e-14)


def test_the_training_rows_have_slopes_up_to_the_ends_of_a_spline() -> None:
    design = build("y ~ bs(x, df=5)*arm + (1 | g)")
    slope = design.derivative(design.frame, "x")
    assert np.isfinite(slope.X).all()
    ends = FRAME.assign(x=FRAME["x"].max())
    inside = ends.assign(x=FRAME["x"].max() - 1e-6)
    step = (design.evaluate(ends).X - design.evaluate(inside).X) / 1e-6
    np.testing.assert_allclose(design.derivative(ends, "x").X, step, atol=1e-4)


def test_whole_numbers_are_points_of_a_scale() -> None:
    design = build("y ~ poly(visit, 2)*arm + I(visit**3) + (visit | g)")
    twin = NEW.assign(visit=NEW["visit"].astype(float))
    assert_twins(design, twin, "visit")
    found, other = design.derivative(NEW, "visit"), design.derivative(twin, "visit")
    np.testing.assert_array_equal(found.X, other.X)


def test_a_variable_of_the_clusters_effects_alone() -> None:
    slope = build("y ~ z + (1 + x | g)").derivative(NEW, "x")
    assert not slope.X.any()
    assert slope.groups[0].Z.tolist() == [[0, 1]] * 25


def test_a_name_with_spaces() -> None:
    assert_twins(build("y ~ log(`my x`)*arm + (`my x` | g)"), NEW, "my x")


def test_the_users_frame_is_left_alone() -> None:
    before = NEW.copy(deep=True)
    _DESIGN.derivative(NEW, "x")
    pd.testing.assert_frame_equal(NEW, before)


def refused(formula: str, variable: str, frame: pd.DataFrame = NEW) -> PopavgError:
    with pytest.raises(PopavgError) as caught:
        build(formula).derivative(frame, variable)
    return caught.value


@pytest.mark.parametrize(
    ("formula", "variable", "message"),
    [
        ("y ~ x*arm + (1 | g)", "arm", "there is no slope in 'arm': it holds text or categories"),
        ("y ~ x + flag + (1 | g)", "flag", "no slope in 'flag': it holds True and False"),
        ("y ~ x + C(visit) + (1 | g)", "visit", r"'C\(visit\)' makes categories of it"),
        ("y ~ x + (C(visit) + visit | g)", "visit", r"'C\(visit\)' makes categories of it"),
        ("y ~ x + I(x > 3) + (1 | g)", "x", "the formula compares it in 'x > 3'"),
        ("y ~ z + floor(x) + (1 | g)", "x", r"'floor\(x\)' goes in steps"),
        ("y ~ z + (0 + ceil(x) | g)", "x", r"'ceil\(x\)' goes in steps"),
        ("y ~ z + x + offset(sign(x)) + (1 | g)", "x", r"'sign\(x\)' goes in steps"),
    ],
)
def test_no_slope(formula: str, variable: str, message: str) -> None:
    with pytest.raises(EstimandError, match=message) as caught:
        build(formula).derivative(NEW, variable)
    assert caught.value.remedy.startswith("use comparisons: differences between chosen values of")
    others = [name for name in ("x", "z") if name != variable and f"~ {name}" in formula]
    assert all(repr(name) in caught.value.allowed for name in others)


def test_no_covariate() -> None:
    error = refused("y ~ z + x*arm + (1 | g)", "zz")
    assert isinstance(error, SpecificationError)
    told = "variable='zz' is not a covariate of the model. Allowed: 'z', 'x'. Did you mean 'z'?"
    assert str(error) == told
    for name in ("y", "g", "visit"):
        error = refused("y ~ z + x*arm + (1 | g)", name)
        assert isinstance(error, SpecificationError)
        assert "is not a covariate of the model. Allowed: 'z', 'x'" in str(error)
    assert "did you mean 'visit'" in refused("y ~ visit + (1 | g)", "visits").remedy
    assert "none: the model has no numeric covariate" in refused("y ~ arm + (1 | g)", "x").allowed


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (NEW.drop(columns="arm"), "the new rows lack the column 'arm'"),
        (NEW.assign(arm="d"), "'arm' has the level 'd', which the fit hasn't seen"),
        (NEW.assign(x=99.0), r"'x' reaches from 99 to 99, but its spline"),
        (NEW.assign(x="text"), "'x' holds text or categories"),
        (NEW.assign(x=np.nan), "missing values in the new rows"),
        (NEW.iloc[:0], "the data have no rows"),
    ],
)
def test_rows_are_checked_as_elsewhere(frame: pd.DataFrame, message: str) -> None:
    design = build("y ~ bs(x, df=4)*arm + (1 | g)")
    for function in (design.evaluate, lambda rows: design.derivative(rows, "x")):
        with pytest.raises(DataError, match=message):
            function(frame)


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        (
            "y ~ sqrt(x) + (1 | g)",
            r"the term 'sqrt\(x\)' in 'x' is infinite .* in 2 rows, .* row 3",
        ),
        ("y ~ abs(x) + (1 | g)", r"the term 'abs\(x\)' in 'x' is infinite or undefined in 2 rows"),
        ("y ~ z + (0 + sqrt(x) | g)", r"the term 'sqrt\(x\)' in 'x' is infinite or undefined in 2"),
        ("y ~ x + offset(sqrt(x)) + (1 | g)", "the term 'offset' in 'x' is infinite or undefined"),
        ("y ~ log(x) + (1 | g)", r"^the term 'log\(x\)' is infinite or undefined in 2 rows"),
    ],
)
def test_infinite_slopes(formula: str, message: str) -> None:
    rows: Any = NEW.assign(x=NEW["x"].mask(NEW.index.isin([3, 7]), 0.0))
    with pytest.raises(DataError, match=message) as caught:
        build(formula).derivative(rows, "x")
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("formula", "names"),
    [
        ("y ~ x*arm + flag + visit + (1 | g)", ("x", "visit")),
        ("y ~ z + C(visit) + x + (1 | g)", ("z", "x")),
        ("y ~ z + I(x > 3) + log(x) + (1 | g)", ("z",)),
        ("y ~ arm + (x | g)", ("x",)),
        ("y ~ z + offset(log(x)) + (1 | g)", ("z",)),
        ("y ~ z + offset(log(x)) + (x | g)", ("z", "x")),
        ("y ~ arm + (1 | g)", ()),
        ("y ~ x + (0 + floor(x) | g)", ()),
    ],
)
def test_numeric_predictors(formula: str, names: tuple[str, ...]) -> None:
    design = build(formula)
    assert numeric_predictors(design) == names
    for name in names:
        assert design.derivative(NEW, name).n_rows == len(NEW)


def test_an_exposure_has_a_slope_when_asked_for() -> None:
    slope = build("y ~ z + offset(log(x)) + (1 | g)").derivative(NEW, "x")
    np.testing.assert_allclose(slope.offset, 1 / NEW["x"])
    assert not slope.X.any()
