"""Grouping factors: which cluster each row is in, and what its effects are multiplied by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from popavg.errors import DataError, FormulaError, SpecificationError
from popavg.formula import Formula
from popavg.frames import select
from popavg.grouping import GroupDesign, Grouping, outermost


def build(text: str, **columns: Any) -> tuple[tuple[Grouping, ...], pd.DataFrame]:
    frame = pd.DataFrame(columns)
    data = select(frame, list(frame))
    return Grouping.build_all(Formula.parse(f"y ~ {text}").group_terms, data), data


def group(text: str, **columns: Any) -> GroupDesign:
    groupings, data = build(text, **columns)
    assert len(groupings) == 1
    return groupings[0].evaluate(data)


def test_a_random_intercept() -> None:
    design = group("(1 | g)", g=["b", "a", "b", "c"])
    assert (design.name, design.effects, design.blocks) == ("g", ("Intercept",), ((0,),))
    assert design.levels == ("a", "b", "c")
    assert design.index.tolist() == [1, 0, 1, 2]
    assert design.index.dtype == np.intp
    assert design.Z.tolist() == [[1], [1], [1], [1]]


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([10, 9, 100], ("9", "10", "100")),
        ([10.0, 9.0, 100.0], ("9", "10", "100")),
        (["10", "9", "100"], ("10", "100", "9")),
        (pd.Categorical(["x", "z", "y"], categories=["z", "never", "x", "y"]), ("z", "x", "y")),
        ([True, False, True], ("False", "True")),
        (["クリニック", "b c", "é"], ("b c", "é", "クリニック")),
        (pd.array([3, 1, 2], dtype="Int64"), ("1", "2", "3")),
    ],
    ids=str,
)
def test_levels_in_the_order_of_the_values(values: Any, levels: tuple[str, ...]) -> None:
    assert group("(1 | g)", g=values).levels == levels


@pytest.mark.parametrize(
    ("text", "effects", "blocks", "columns"),
    [
        ("(1 + x | g)", ("Intercept", "x"), ((0, 1),), "1x"),
        ("(x | g)", ("Intercept", "x"), ((0, 1),), "1x"),
        ("(0 + x | g)", ("x",), ((0,),), "x"),
        ("(1 | g) + (0 + x | g)", ("Intercept", "x"), ((0,), (1,)), "1x"),
        ("(1 + x | g) + (0 + z | g)", ("Intercept", "x", "z"), ((0, 1), (2,)), "1xz"),
        ("(c | g)", ("Intercept", "c[q]"), ((0, 1),), "1q"),
        ("(0 + c | g)", ("c[p]", "c[q]"), ((0, 1),), "pq"),
    ],
)
def test_slopes(text: str, effects: Any, blocks: Any, columns: str) -> None:
    x, z, c = [1.0, 2.5, -1.0], [0.0, 3.0, 4.0], ["p", "q", "q"]
    design = group(text, g=["a", "a", "b"], x=x, z=z, c=c)
    values = {"1": [1, 1, 1], "x": x, "z": z, "p": [1, 0, 0], "q": [0, 1, 1]}
    assert (design.effects, design.blocks) == (effects, blocks)
    np.testing.assert_allclose(design.Z, np.column_stack([values[name] for name in columns]))


def test_nested_factors_keep_only_the_combinations_that_occur() -> None:
    herd, cow = ["h2", "h1", "h1", "h2"], [1, 1, 2, 3]
    groupings, data = build("(1 | herd/cow)", herd=herd, cow=cow)
    outer, inner = (grouping.evaluate(data) for grouping in groupings)
    assert (outer.name, outer.levels) == ("herd", ("h1", "h2"))
    assert (inner.name, inner.levels) == ("herd:cow", ("h1:1", "h1:2", "h2:1", "h2:3"))
    assert outer.index.tolist() == [1, 0, 0, 1]
    assert inner.index.tolist() == [2, 0, 1, 3]
    assert groupings[1].factor == ("herd", "cow")


def test_crossed_factors_in_the_order_of_the_formula() -> None:
    groupings, _ = build("(1 | rater) + (1 | item)", rater=[1, 2], item=[1, 1])
    assert [grouping.name for grouping in groupings] == ["rater", "item"]


def test_unknown_and_unnamed_clusters_have_no_index() -> None:
    groupings, _ = build("(1 + x | herd/cow)", herd=["a", "b"], cow=[1, 2], x=[0.0, 1.0])
    new = pd.DataFrame({"herd": ["b", "c", "a"], "cow": [2, 1, 2], "x": [0.0, 1.0, 2.0]})
    outer, inner = (grouping.evaluate(new) for grouping in groupings)
    assert outer.index.tolist() == [1, -1, 0]
    assert inner.index.tolist() == [1, -1, -1]
    outer, inner = (grouping.evaluate(new[["x", "herd"]]) for grouping in groupings)
    assert outer.index.tolist() == [1, -1, 0]
    assert inner.index.tolist() == [-1, -1, -1]
    assert inner.Z[:, 1].tolist() == [0, 1, 2]


def test_new_clusters_are_found_whatever_their_type() -> None:
    groupings, _ = build("(1 | g)", g=[1, 2, 3])
    for values in ([3, 1], [3.0, 1.0], ["3", "1"], pd.Categorical([3, 1])):
        design = groupings[0].evaluate(pd.DataFrame({"g": values}))
        assert design.index.tolist() == [2, 0]


def test_an_effect_in_two_terms_is_refused() -> None:
    message = (
        r"the effect 'Intercept' of 'g' appears in two grouping terms.*"
        r"'\(x \| g\)' has an intercept too: write '\(1 \+ x \| g\)'"
    )
    with pytest.raises(FormulaError, match=message):
        build("(1 | g) + (x | g)", g=["a", "b"], x=[0.0, 1.0])
    with pytest.raises(FormulaError, match="the effects 'Intercept', 'x' of 'g' appear in two"):
        build("(x | g) + (1 + x | g)", g=["a", "b"], x=[0.0, 1.0])


def test_clusters_that_read_alike_are_refused() -> None:
    message = "(?i)different clusters of 'a:b' have the same label: 'p:q:r'.*rename .*'a', 'b'"
    with pytest.raises(DataError, match=message):
        build("(1 | a:b)", a=["p:q", "p"], b=["r", "q:r"])


def test_a_measurement_is_no_label() -> None:
    with pytest.raises(DataError, match=r"'g' holds fractional numbers such as 9\.5.*astype"):
        group("(1 | g)", g=[10.0, 9.5, 100.0])


def test_the_outermost_factor_holds_all_others() -> None:
    frame = pd.DataFrame({"h": list("aabb"), "g": list("xyxy")})
    nested = Grouping.build_all(Formula.parse("y ~ 1 + (1 | h/g)").group_terms, frame)
    assert outermost([grouping.evaluate(frame) for grouping in nested]) == "h"
    crossed = Grouping.build_all(Formula.parse("y ~ 1 + (1 | h) + (1 | g)").group_terms, frame)
    with pytest.raises(SpecificationError, match="2 grouping factors, none of which holds all"):
        outermost([grouping.evaluate(frame) for grouping in crossed])
