"""A check prints, tabulates, escapes; its verdict is the worst finding's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import popavg as pa
from popavg.errors import EstimandError
from popavg.posterior_tools.check_result import Check, SDView
from popavg.posterior_tools.findings import Finding, lacking
from popavg.posterior_tools.sensitivity import Sensitivity

FACTS = {"formula": "y ~ x + (1 | <g>)", "link": "logit", "family": "bernoulli", "rows": 60}
FINDINGS = (
    Finding("before", "clusters of '<g>'", 12, "12", "look", "Few clusters.", "Take care."),
    Finding("before", "separation", 0, "none", "fine", "There is none.", "Nothing to do."),
    Finding("after", "contraction of sd_g", 0.05, "0.05", "problem", "The prior.", "Say so."),
    lacking("after", "profile", "two factors"),
)


@pytest.fixture
def result() -> Check:
    rows = [
        ("x", "conditional", 0.123, 0.2),
        ("x", "population-averaged", 0.012, 0.3),
        ("a rather long contrast: of <one> level - another of the same covariate",
         "population-averaged", 0.05, np.nan),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["quantity", "kind", "prior", "likelihood"])
    draws = pa.Prior("HalfNormal", 1).draw(200, seed=1)
    return Check(FINDINGS, FACTS, Sensitivity(table, 400), (SDView("sd_g", draws),))


def test_verdict_is_the_worst() -> None:
    assert Check(FINDINGS, FACTS).verdict == "problem"
    assert Check(FINDINGS[:2], FACTS).verdict == "look"
    assert Check((FINDINGS[1], FINDINGS[3]), FACTS).verdict == "not computed"


def test_words_begin_with_what_asks_for_something(result: Check) -> None:
    assert result.words[0] == "contraction of sd_g, 0.05: The prior. Say so."
    assert result.words[1].startswith("clusters of '<g>', 12:")
    assert len(result.words) == 4


def test_frame(result: Check) -> None:
    frame = result.to_frame()
    assert list(frame) == ["part", "finding", "value", "number", "verdict", "meaning", "advice"]
    assert frame["verdict"].to_list() == ["look", "fine", "problem", "not computed"]


def test_text(result: Check) -> None:
    text = repr(result)
    assert text.startswith("y ~ x + (1 | <g>)\nlink: logit (bernoulli), 60 rows: 1 problem, 1 to ")
    assert "1 problem, 1 to look at, 1 fine, 1 not computed." in text
    assert "\nThe data\n  look         clusters of '<g>': 12\n" in text
    assert "\nThe fit\n  problem      contraction of sd_g: 0.05\n" in text
    assert max(map(len, text.splitlines())) <= 100
    (line,) = [line for line in text.splitlines() if line.startswith("  x ")]
    assert line.split() == ["x", "0.12*", "0.20", "0.01", "0.30"]
    assert "0.05*" in text
    assert "400 draws" in text


def test_html_is_escaped(result: Check) -> None:
    html = result._repr_html_()
    assert "&lt;g&gt;" in html
    assert "<g>" not in html
    assert "<one>" not in html
    assert "0.12 *" in html
    assert 'class="problem"' in html
    assert "Take care." in html


def test_without_a_fit_there_is_nothing_to_draw(result: Check) -> None:
    early = Check(FINDINGS[:2], FACTS)
    assert "power-scaling" not in repr(early)
    assert "<table>" in early._repr_html_()
    with pytest.raises(EstimandError, match=r"write pa\.check\(fit\)\.plot\(\)|Write"):
        early.plot()
    assert result.plot(backend="none").backend == "none"
