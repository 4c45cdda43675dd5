"""The response: what counts as an event, out of how many trials."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from popavg.errors import DataError, EstimandError, FormulaError
from popavg.frames import select
from popavg.response import (
    Response,
    has_trials,
    no_response,
    read_form,
    read_response,
    require_outcome,
)


def read(text: str, family: str, **columns: Any) -> Response:
    frame = pd.DataFrame(columns)
    return read_response(text, select(frame, list(frame)), family)


@pytest.mark.parametrize(
    ("values", "event", "label"),
    [
        ([0, 1, 1], None, "y"),
        ([0.0, 1.0, 1.0], None, "y"),
        (pd.array([0, 1, 1], dtype="Int64"), None, "y"),
        (pd.Categorical([0, 1, 1]), None, "y"),
        (pd.Categorical([0, 1, 1], categories=[1, 0]), None, "y"),
        ([False, True, True], "True", "y = True"),
        (pd.array([False, True, True], dtype="boolean"), "True", "y = True"),
        (pd.Categorical([False, True, True]), "True", "y = True"),
        (["no", "yes", "yes"], "yes", "y = 'yes'"),
        (["0", "1", "1"], "1", "y = '1'"),
        (pd.Categorical(["0", "1", "1"]), "1", "y = '1'"),
        (pd.Categorical(["z", "a", "a"], categories=["z", "a"]), "a", "y = 'a'"),
        (pd.Categorical(["z", "a", "a"], categories=["z", "none", "a"]), "a", "y = 'a'"),
    ],
    ids=str,
)
def test_binary_responses(values: Any, event: str | None, label: str) -> None:
    response = read("y", "bernoulli", y=values)
    assert response.y.tolist() == [0, 1, 1]
    assert (response.name, response.event, response.label) == ("y", event, label)
    assert response.trials is None
    assert response.y.dtype == np.float64


@pytest.mark.parametrize(
    ("text", "values", "y"),
    [
        ("y['b']", ["a", "b", "c"], [0, 1, 0]),
        ('y["b"]', ["a", "b", "c"], [0, 1, 0]),
        ("y[b]", ["a", "b", "c"], [0, 1, 0]),
        ("y['no']", ["no", "yes", "no"], [1, 0, 1]),
        ("y['2']", [0, 1, 2], [0, 0, 1]),
        ("y[2]", [0.0, 1.0, 2.0], [0, 0, 1]),
        ("y['False']", [True, False, True], [0, 1, 0]),
        ("y['sehr schlimm · é']", ["gut", "sehr schlimm · é", "gut"], [0, 1, 0]),
    ],
)
def test_a_named_event(text: str, values: list[Any], y: list[int]) -> None:
    response = read(text, "bernoulli", y=values)
    assert response.y.tolist() == y
    assert response.event == read_form(text).level


def test_a_named_event_of_a_column_with_spaces() -> None:
    response = read("`my y`['b']", "bernoulli", **{"my y": ["a", "b"]})
    assert response.label == "my y = 'b'"


@pytest.mark.parametrize("function", ["p", "prop", "proportion"])
@pytest.mark.parametrize("trials", ["n", "10"])
def test_successes_out_of_trials(function: str, trials: str) -> None:
    response = read(f"{function}(s, {trials})", "binomial", s=[0, 3, 10], n=[10, 10, 10])
    assert response.y.tolist() == [0, 3, 10]
    assert response.trials is not None
    assert response.trials.tolist() == [10, 10, 10]
    assert response.label == f"s out of {trials}"


def test_counts_and_values() -> None:
    assert read("y", "poisson", y=[0, 3, 10]).y.tolist() == [0, 3, 10]
    assert read("y", "gaussian", y=[-1.5, 0, 2]).y.tolist() == [-1.5, 0, 2]


def test_take_keeps_what_belongs_together() -> None:
    response = read("p(s, n)", "binomial", s=[0, 3, 5], n=[4, 5, 6])
    taken = response.take(np.array([2, 0]))
    assert taken.trials is not None
    assert (taken.y.tolist(), taken.trials.tolist()) == ([5, 0], [6, 4])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 1, 2], r"the response 'y' holds '2'\. Allowed: 0 and 1.*y\['2'\] ~"),
        ([1, 2, 1], r"holds '2'"),
        ([-1, 1, 1], "holds '-1'"),
        ([0.5, 1, 0], "holds '0.5'"),
        (list(range(20)), r"holds '2', '3', '4', '5', '6' and 13 more"),
        (["a", "b", "c"], r"has 3 levels: 'a', 'b', 'c'.*two levels.*Name the event: y\['c'\] ~"),
        (["a", "a", "a"], "has 1 level: 'a'.*Check the column"),
        (pd.Categorical(["a", "b", "c"]), "has 3 levels"),
        ([0, 0, 0], 'the response "y" is 0 in every row'),
        ([1.0, 1, 1], 'the response "y" is 1 in every row'),
        ([True, True, True], 'the response "y = True" is 1 in every row'),
    ],
    ids=str,
)
def test_responses_that_are_not_binary(values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read("y", "bernoulli", y=values)


def test_the_remedy_is_a_formula_that_works() -> None:
    with pytest.raises(DataError, match=r"`my y`\['c'\] ~"):
        read("`my y`", "bernoulli", **{"my y": ["a", "b", "c"]})


def test_an_event_that_never_happens() -> None:
    with pytest.raises(DataError, match=r"the response 'y' is never 'c'\. Allowed: 'a', 'b'"):
        read("y['c']", "bernoulli", y=["a", "b"])


@pytest.mark.parametrize(
    ("successes", "trials", "message"),
    [
        ([1, 5], [4, 4], r"'s' is 5 out of 4 trials in row 1\. Allowed: 0 ≤ successes ≤ trials"),
        ([5, 5], [4, 4], r"'s' is 5 out of 4 trials in row 0 \(and 1 more such rows\)"),
        ([-1, 2], [4, 4], "the successes 's' hold '-1'. Allowed: whole numbers"),
        ([0.5, 2], [4, 4], "the successes 's' hold '0.5'"),
        ([0, 2], [0, 4], "'s' is 0 out of 0 trials in row 0.*at least one trial"),
        ([0, 2], [4.5, 4], "the trials 'n' hold '4.5'"),
        (["a", "b"], [4, 4], "the response 's' holds text: 'a', 'b'"),
        ([0, 0], [4, 5], 'the response "s out of n" is 0 in every row and trial'),
        ([4, 5], [4, 5], 'the response "s out of n" is 1 in every row and trial'),
    ],
    ids=str,
)
def test_proportions_that_are_not(successes: list[Any], trials: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read("p(s, n)", "binomial", s=successes, n=trials)


@pytest.mark.parametrize(
    ("family", "values", "message"),
    [
        ("poisson", [1, -2], "the counts 'y' hold '-2'"),
        ("poisson", [1, 2.5], "the counts 'y' hold '2.5'.*link='identity'"),
        ("poisson", ["a", "b"], "holds text: 'a', 'b'. Allowed: numbers. Choose link='logit'"),
        ("poisson", [0, 0], 'the response "y" is 0 in every row'),
        ("gaussian", ["a", "b"], "holds text"),
        ("gaussian", [2.5, 2.5], 'the response "y" is 2.5 in every row'),
    ],
)
def test_numbers_that_are_not(family: str, values: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read("y", family, y=values)


@pytest.mark.parametrize(
    ("text", "family", "message"),
    [
        ("p(s, n)", "bernoulli", "doesn't go with the bernoulli family"),
        ("s", "binomial", r"the response 's' doesn't go with the binomial family.*p\(successes"),
        ("s['1']", "poisson", "names a level, which the poisson family can't use"),
        ("s['1']", "gaussian", "which the gaussian family can't use"),
    ],
)
def test_the_form_goes_with_the_family(text: str, family: str, message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        read(text, family, s=[0, 1], n=[1, 1])


@pytest.mark.parametrize(
    "text",
    [
        *("log(y)", "y + z", "p(s n)", "p(s)", "p()", "p(s, n, 3)", "p(s, log(n))", "p(3, s)"),
        *("'y'", "1", "y[1 + 1]", "y['a']['b']", "-y", "(y)", "p(s, 5)[1]", "q(s, n)"),
    ],
)
def test_other_forms(text: str) -> None:
    with pytest.raises(FormulaError, match=r"is an expression\. Allowed: a column, column"):
        read_form(text)


@pytest.mark.parametrize("trials", ["0", "2.5"])
def test_the_number_of_trials_is_whole(trials: str) -> None:
    with pytest.raises(FormulaError, match=f"the number of trials is {trials}"):
        read_form(f"p(s, {trials})")


def test_has_trials() -> None:
    assert has_trials("p(s, n)")
    assert not has_trials("p")
    assert not has_trials("y['p']")


def test_a_response_that_is_not_given() -> None:
    absent = no_response(3)
    assert not absent.is_given
    assert np.isnan(absent.y).all()
    assert not has_trials(absent.name)
    with pytest.raises(EstimandError, match="the fit has no outcome"):
        require_outcome(absent)
    require_outcome(Response("y", "y", np.zeros(3)))
