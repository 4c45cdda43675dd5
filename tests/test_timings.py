"""Stages of a job."""

from __future__ import annotations

import time

import pytest
from numba import njit

from popavg.workflows.timings import stage, timed


def test_stages_and_their_parts() -> None:
    with timed() as timings:
        with stage("outer"):
            time.sleep(0.02)
            with stage("inner"):
                time.sleep(0.02)
        with stage("last"):
            pass
    assert [(one.name, one.depth) for one in timings.stages] == [
        ("outer", 0),
        ("inner", 1),
        ("last", 0),
    ]
    outer, inner, _ = timings.stages
    assert outer.seconds > inner.seconds > 0.015
    assert outer.seconds > 0.035
    lines = str(timings).splitlines()
    assert lines[2].startswith("  inner")
    whole = sum(one.seconds for one in timings.stages if one.depth == 0)
    assert float(lines[-1].split()[-2]) == pytest.approx(whole, abs=0.01)


def test_compiling_is_told_apart_and_counted_once() -> None:
    @njit
    def inner(x: float) -> float:
        return x + 1.0

    @njit
    def outer(x: float) -> float:
        return inner(x) * 2.0

    with timed() as timings:
        with stage("first"):
            outer(1.0)
        with stage("again"):
            outer(2.0)
    first, again = timings.stages
    assert 0.0 < first.compiling <= first.seconds
    assert again.compiling == 0.0


def test_a_stage_that_fails_is_noted_and_one_that_no_one_looks_at_is_not() -> None:
    with timed() as timings, pytest.raises(ValueError, match="no"), stage("fails"):
        raise ValueError("no")
    assert [one.name for one in timings.stages] == ["fails"]
    with stage("unseen"):
        pass
    assert len(timings.stages) == 1
