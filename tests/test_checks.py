"""Small checkers: choices, listings, suggestions."""

from __future__ import annotations

import pytest

from popavg._checks import brief, check_choice, listing, suggestion
from popavg.errors import SpecificationError


def test_what_is_long_is_told_by_its_type() -> None:
    assert brief({"x": [1]}) == "{'x': [1]}"
    assert brief("a" * 200) == "<str>"
    assert brief(ValueError) == "<class 'ValueError'>"

    class Table:
        def __repr__(self) -> str:
            return "two\nlines"

    assert brief(Table()) == "<Table>"


def test_listing_quotes_and_cuts() -> None:
    assert listing(["a", "b"]) == "'a', 'b'"
    assert listing(range(15), limit=3) == "'0', '1', '2' and 12 more"
    assert listing(range(3), limit=3) == "'0', '1', '2'"
    assert listing([]) == ""


def test_listing_takes_iterators() -> None:
    assert listing(str(i) for i in range(4)) == "'0', '1', '2', '3'"


def test_listing_writes_no_more_than_it_shows() -> None:
    class Loud:
        def __str__(self) -> str:
            raise AssertionError("written without need")

    assert listing(["a", Loud(), Loud()], limit=1) == "'a' and 2 more"


def test_suggestion_finds_a_near_name_or_nothing() -> None:
    assert suggestion("tiem", ["time", "y"]) == "did you mean 'time'?"
    assert suggestion("zzz", ["time", "y"]) == ""
    assert suggestion(3, [30, 4]) in ("", "did you mean '30'?")


def test_check_choice_returns_an_allowed_value() -> None:
    assert check_choice("method", "exact", ("exact", "projection")) == "exact"


def test_check_choice_says_what_is_allowed() -> None:
    message = r"method='exakt' is unknown\. Allowed: 'exact', 'other'\. Did you mean 'exact'\?$"
    with pytest.raises(SpecificationError, match=message):
        check_choice("method", "exakt", ("exact", "other"))
