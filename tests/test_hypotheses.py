"""Contrasts of estimates, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools.estimates import Estimates
from popavg.posterior_tools.hypotheses import MOST, apply_hypothesis

SHAPE = (2, 5)


def estimates_of(labels: pd.DataFrame, *, lazy: bool = False, **kwargs: Any) -> Estimates:
    rng = np.random.default_rng(len(labels))
    values = rng.uniform(0.1, 0.9, (*SHAPE, len(labels)))
    coords = {"chain": [0, 1], "draw": [3, 4, 5, 6, 7]}
    draws = xr.DataArray(values, dims=("chain", "draw", "row"), coords=coords, name="mean")
    if lazy:
        draws = draws.chunk({"chain": 1, "draw": 3, "row": 2})
    labels = labels.assign(target="typical")
    return Estimates(draws, labels, "probability of y", "typical", ("a note",), **kwargs)


ARMS = pd.DataFrame({"arm": ["a", "b", "c"], "x": 0.5})
CROSSED = pd.DataFrame({"time": [0, 6, 0, 6], "arm": ["a", "a", "b", "b"]})


@pytest.fixture(params=[False, True], ids=["numpy", "dask"])
def arms(request: pytest.FixtureRequest) -> Estimates:
    return estimates_of(ARMS, lazy=request.param)


def test_no_hypothesis_leaves_all_as_it_is(arms: Estimates) -> None:
    assert apply_hypothesis(arms, None) is arms


@pytest.mark.parametrize(
    ("hypothesis", "pairs"),
    [
        ("pairwise", [(1, 0), (2, 0), (2, 1)]),
        ("reference", [(1, 0), (2, 0)]),
        ("sequential", [(1, 0), (2, 1)]),
        ("revpairwise", [(0, 1), (0, 2), (1, 2)]),
        ("~ revreference", [(0, 1), (0, 2)]),
        ("difference ~ revsequential", [(0, 1), (1, 2)]),
        ("ratio~pairwise", [(1, 0), (2, 0), (2, 1)]),
        (" ratio ~ reference ", [(1, 0), (2, 0)]),
    ],
)
def test_pairs(arms: Estimates, hypothesis: str, pairs: list[tuple[int, int]]) -> None:
    found = apply_hypothesis(arms, hypothesis)
    assert found.is_lazy == arms.is_lazy
    assert found.draws.dims == arms.draws.dims
    assert found.draws["draw"].to_numpy().tolist() == [3, 4, 5, 6, 7]
    values, ratio = arms.draws.to_numpy(), "ratio" in hypothesis
    for k, (i, j) in enumerate(pairs):
        one, other = values[..., i], values[..., j]
        expected = one / other if ratio else one - other
        np.testing.assert_allclose(found.draws[..., k], expected, rtol=1e-15)
    names = ["arm a", "arm b", "arm c"]
    sign = "/" if ratio else "-"
    assert found.labels["hypothesis"].to_list() == [
        f"{names[i]} {sign} {names[j]}" for i, j in pairs
    ]
    assert list(found.labels.columns) == ["hypothesis", "x", "target"]
    kind = "ratios of estimates" if ratio else "differences between estimates"
    assert found.title == f"probability of y: {kind}"
    assert (found.target, found.notes) == ("typical", ("a note",))


def test_summaries_are_of_the_contrasts_draws() -> None:
    estimates = estimates_of(CROSSED)
    row = apply_hypothesis(estimates, "b3 - b0 = 0").to_frame(0.9, "eti").iloc[0]
    difference = (estimates.draws[..., 3] - estimates.draws[..., 0]).to_numpy()
    assert row["estimate"] == pytest.approx(difference.mean())
    bounds = np.quantile(difference, [0.05, 0.95])
    assert (row["lower"], row["upper"]) == pytest.approx(tuple(bounds))


@pytest.mark.parametrize("lazy", [False, True])
def test_pairs_within_the_levels_of_a_column(lazy: bool) -> None:
    estimates = estimates_of(CROSSED, lazy=lazy)
    found = apply_hypothesis(estimates, "difference ~ reference | arm")
    values = estimates.draws.to_numpy()
    np.testing.assert_allclose(found.draws, values[..., [1, 3]] - values[..., [0, 2]], rtol=1e-15)
    assert found.labels["arm"].to_list() == ["a", "b"]
    assert found.labels["hypothesis"].to_list() == ["time 6 - time 0"] * 2
    three = pd.concat([CROSSED.assign(site=s) for s in "uv"], ignore_index=True)
    nested = apply_hypothesis(estimates_of(three), "ratio ~ pairwise | arm + site")
    assert nested.labels[["arm", "site"]].to_numpy().tolist() == [
        [arm, site] for site in "uv" for arm in "ab"
    ]


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 0, 2, 1]])
def test_a_difference_in_differences(lazy: bool, order: list[int]) -> None:
    shuffled = estimates_of(CROSSED.iloc[order].reset_index(drop=True), lazy=lazy)
    found = apply_hypothesis(shuffled, "difference_in_differences")
    value = {
        (row["time"], row["arm"]): shuffled.draws.to_numpy()[..., i]
        for i, row in shuffled.labels.iterrows()
    }
    expected = (value[6, "b"] - value[0, "b"]) - (value[6, "a"] - value[0, "a"])
    label = found.labels["hypothesis"].item()
    assert found.draws.shape == (*SHAPE, 1)
    if order == [0, 1, 2, 3]:
        assert label == "(arm b: time 6 - time 0) - (arm a: time 6 - time 0)"
        np.testing.assert_allclose(found.draws[..., 0], expected, rtol=1e-14)
    else:
        assert label == "(arm a: time 0 - time 6) - (arm b: time 0 - time 6)"
        np.testing.assert_allclose(found.draws[..., 0], expected, rtol=1e-14)
    assert found.title == "probability of y: difference in differences"


@pytest.mark.parametrize(
    "labels",
    [
        ARMS,
        pd.DataFrame({"arm": list("aabb"), "time": [0, 6, 0, 0]}),
        pd.DataFrame({"arm": list("abcd"), "time": [0, 6, 0, 6]}),
        pd.DataFrame({"arm": list("aabb"), "time": [0, 6, 0, 6], "x": [1, 2, 3, 4]}),
        pd.DataFrame({"arm": list("aabbcc"), "time": [0, 6] * 3}),
        pd.DataFrame({"arm": list("abab")}),
    ],
)
def test_only_two_by_two_has_a_difference_in_differences(labels: pd.DataFrame) -> None:
    with pytest.raises(SpecificationError, match=r"exactly four estimates.*two values each"):
        apply_hypothesis(estimates_of(labels), "difference_in_differences")


EQUATIONS: dict[str, Callable[..., Any]] = {
    "b1 - b0 = 0": lambda b: b[1] - b[0],
    "b0 = b1": lambda b: b[0] - b[1],
    "b2": lambda b: b[2],
    "b1/b0 = 1": lambda b: b[1] / b[0] - 1,
    "-b0 + 2*(b1 - .5) = b2 ** 2": lambda b: -b[0] + 2 * (b[1] - 0.5) - b[2] ** 2,
    "log(b0/(1 - b0)) = exp(-b1)": lambda b: np.log(b[0] / (1 - b[0])) - np.exp(-b[1]),
}


@pytest.mark.parametrize("text", EQUATIONS)
def test_equations(arms: Estimates, text: str) -> None:
    found = apply_hypothesis(arms, text)
    assert found.is_lazy == arms.is_lazy
    expected = EQUATIONS[text](np.moveaxis(arms.draws.to_numpy(), -1, 0))
    np.testing.assert_allclose(found.draws[..., 0], expected, rtol=1e-14)


def test_several_equations_named_by_the_estimates(arms: Estimates) -> None:
    found = apply_hypothesis(arms, ["b1 - b0 = 0", "b2 = 2*b1"])
    assert found.labels["hypothesis"].to_list() == [
        "(arm b) - (arm a) = 0",
        "(arm c) = 2*(arm b)",
    ]
    assert found.draws.shape == (*SHAPE, 2)


def test_more_than_ten_estimates_are_told_apart() -> None:
    many = estimates_of(pd.DataFrame({"visit": range(12)}))
    found = apply_hypothesis(many, "b11 - b1 = 0")
    np.testing.assert_array_equal(found.draws[..., 0], many.draws[..., 11] - many.draws[..., 1])
    assert found.labels["hypothesis"].item() == "(visit 11) - (visit 1) = 0"


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1, -1, 0], ["arm a - arm b"]),
        ((0.0, -1.0, 0.5), ["-arm b + 0.5 × arm c"]),
        (np.array([[1, 0], [0, 1], [-1, 0]]), ["arm a - arm c", "arm b"]),
        (np.zeros(3), ["combination 1"]),
        (pd.Series([1, 1, -2], name="bend"), ["bend"]),
        (pd.DataFrame({"one": [1, 0, 0], "two": [1, 1, 1]}, index=[7, 7, 7]), ["one", "two"]),
    ],
)
def test_weights(arms: Estimates, weights: Any, words: list[str]) -> None:
    found = apply_hypothesis(arms, weights)
    assert found.is_lazy == arms.is_lazy
    columns = np.asarray(weights, dtype=float).reshape(3, -1)
    expected = np.einsum("cdi,ik->cdk", arms.draws.to_numpy(), columns)
    np.testing.assert_allclose(found.draws, expected, rtol=1e-13, atol=1e-15)
    assert found.labels["hypothesis"].to_list() == words


def test_labels_that_repeat_are_counted() -> None:
    twice = estimates_of(pd.DataFrame({"x": [1.0, 1.0, 2.0]}))
    found = apply_hypothesis(twice, "reference")
    assert found.labels["hypothesis"].to_list() == ["b1 - b0", "b2 - b0"]


def test_a_column_called_hypothesis_gives_way() -> None:
    found = apply_hypothesis(estimates_of(ARMS.assign(hypothesis="old")), "reference")
    assert found.labels.columns.to_list() == ["hypothesis", "x", "target"]


def test_the_point_estimate_stays() -> None:
    estimates = estimates_of(ARMS, point_estimate="median")
    assert apply_hypothesis(estimates, "pairwise").point_estimate == "median"


@pytest.mark.parametrize(
    ("hypothesis", "message"),
    [
        ("pariwise", r"hypothesis='pariwise'.*Did you mean 'pairwise'"),
        ("ratio ~ trt", "'ratio ~ trt' can't be read.*'pairwise'"),
        ("meandev ~ pairwise", "can't be read"),
        ("b1 = b0 = 0", "can't be read"),
        ("1 = 0", "can't be read"),
        ("b1 - = 0", "can't be read"),
        ("b1.real = 0", "can't be read"),
        ("b1 - x0 = 0", "can't be read"),
        ("__import__('os').system('b0') = 0", "can't be read"),
        ("b0*(1/0)", r"'b0\*\(1/0\)' divides by 0.*finite real numbers"),
        ("b0**9**9**9**9", "holds a number that is too large"),
        ("b0 = 0**-1", "divides by 0"),
        ("b0 * (-8)**.5", "root of a negative number"),
        ("b0 * log(0)", "holds a number that is -inf"),
        ("b0 * 1e999", "holds a number that is inf"),
        (f"b0 = {10**400}", "too large"),
        ("b0" + "+1" * 5000, "can't be read"),
        ("b3 = 0", r"b3 in hypothesis='b3 = 0', but there are 3 estimates.*b0 to b2"),
        ("difference ~ reference | sex", r"stays within 'sex'.*'arm'"),
        ("difference ~ reference | arm", "of one estimate in each group"),
        ([1.0, 2.0], r"weights of shape \(2,\) for 3 estimates"),
        (np.ones((2, 3)), r"weights of shape \(2, 3\)"),
        (np.ones((3, 0)), r"weights of shape \(3, 0\)"),
        ([1.0, np.nan, 0.0], "NaN or infinite"),
        ([], r"shape \(0,\)"),
        (object(), "hypothesis=<object"),
        (3.0, r"shape \(\)"),
    ],
)
def test_what_cannot_be_read(hypothesis: Any, message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        apply_hypothesis(estimates_of(ARMS), hypothesis)


def test_contrasts_need_two_estimates_and_not_too_many() -> None:
    with pytest.raises(SpecificationError, match=r"'pairwise' of one estimate.*by= or over="):
        apply_hypothesis(estimates_of(ARMS.iloc[:1]), "pairwise")
    many = estimates_of(pd.DataFrame({"i": range(200)}))
    with pytest.raises(
        SpecificationError, match=f"makes 19,900 contrasts. Allowed: at most {MOST:,}"
    ):
        apply_hypothesis(many, "pairwise")
    assert len(apply_hypothesis(many, "sequential")) == 199


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("value", [0.0, -0.0])
def test_ratios_that_are_not_finite(lazy: bool, value: float) -> None:
    """On dask when they are computed: never a row of NaN, and never a warning of NumPy's."""
    estimates = estimates_of(ARMS)
    estimates.draws.values[1, 4, :2] = value
    if lazy:
        chunked = estimates.draws.chunk({"chain": 1, "draw": 3, "row": 2})
        estimates = Estimates(chunked, estimates.labels, estimates.title, "typical")
    for hypothesis in ("ratio ~ pairwise", "b1 / b0 = 1", "log(b0) = 0", ["b0 = b1", "b1/b0 = 1"]):
        with pytest.raises(DataError, match=r"isn't finite in some draws.*Ask for differences"):
            apply_hypothesis(estimates, hypothesis).to_frame()
    with pytest.raises(DataError, match=r"'arm b / arm a' isn't finite .*, and 2 others aren't"):
        apply_hypothesis(estimates, "ratio ~ pairwise").compute()
    assert len(apply_hypothesis(estimates, "pairwise").to_frame()) == 3


def test_titles_of_contrasts_of_contrasts() -> None:
    risk = estimates_of(ARMS)
    contrasts = Estimates(risk.draws, risk.labels, "difference in the probability of y", "typical")
    titles = [
        apply_hypothesis(contrasts, hypothesis).title
        for hypothesis in ("reference", "b1 - b0 = 0", ["b0 = 0", "b1 = 0"], [1, -1, 0])
    ]
    assert titles == [
        f"difference in the probability of y: {kind}"
        for kind in (
            "differences between estimates",
            "equation in estimates",
            "equations in estimates",
            "combinations of estimates",
        )
    ]


def test_other_than_four_estimates_are_told_of_other_contrasts() -> None:
    six = pd.DataFrame({"time": [0, 6, 12] * 2, "arm": ["a"] * 3 + ["b"] * 3})
    message = r"of 6 estimates that vary in 'time', 'arm'.*'pairwise'.*'reference'.*'b1 - b0 = 0'"
    with pytest.raises(SpecificationError, match=message):
        apply_hypothesis(estimates_of(six), "difference_in_differences")
