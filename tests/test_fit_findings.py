"""Verdicts after a fit at their thresholds, in the data's own names."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from popavg.posterior_tools.contraction import Contraction
from popavg.posterior_tools.fit_findings import (
    contraction_finding,
    draw_findings,
    profile_finding,
    sensitivity_findings,
)
from popavg.posterior_tools.sd_profile import SDProfile
from popavg.posterior_tools.sensitivity import Sensitivity


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.09, "problem"), (0.1, "look"), (0.49, "look"), (0.5, "fine")]
)
def test_contraction(value: float, verdict: str) -> None:
    finding = contraction_finding("sd_g", Contraction(value, 0.5, (0.1, 8.0), (2.0, 4.0), 0.9))
    assert finding.verdict == verdict
    assert "from 0.1 to 8 (prior) to 2 to 4 (posterior), both 90 %" in finding.meaning
    assert "sd_g" in finding.meaning


def profile(centre: float, width: float, floor: float = -np.inf) -> SDProfile:
    """A normal log-likelihood in log SD, that of 0 at least ``floor``."""
    x = np.linspace(-4, 4, 41)
    values = -((x - centre) ** 2) / 2 / width**2
    at_zero = max(values[0] - 10.0, floor)
    return SDProfile("sd_g", np.exp(x), values, -(x - centre) / width**2, at_zero)


@pytest.mark.parametrize(
    ("given", "verdict", "words"),
    [
        (profile(1.0, 0.35), "fine", "bound sd_g on both sides"),
        (profile(1.0, 0.36), "look", "within a factor of 4.1"),
        (profile(1.0, 0.3, floor=-1.0), "look", "sd_g = 0 fits about as well"),
        (profile(3.5, 1.0), "problem", "Hessian is not positive definite"),
    ],
)
def test_profiles(given: SDProfile, verdict: str, words: str) -> None:
    finding = profile_finding(given)
    assert finding.verdict == verdict
    assert words in finding.meaning
    assert ("∞" in finding.number) == (verdict == "problem")


def test_the_tail_of_the_prior() -> None:
    far = Contraction(0.99, 0.96, (0.1, 8.0), (7.0, 40.0), 0.9)
    assert contraction_finding("sd_g", far).verdict == "look"
    assert "upper tail" in contraction_finding("sd_g", far).meaning


@pytest.mark.parametrize(("centre", "verdict"), [(-1.0, "fine"), (2.0, "look")])
def test_coefficients_stretch_where_the_standard_deviation_is_large(
    centre: float, verdict: str
) -> None:
    given = profile(centre, 0.3)
    finding = profile_finding(given, 1.8)
    lower, upper = given.interval
    stretch = np.sqrt((1.8**2 + upper**2) / (1.8**2 + lower**2))
    assert finding.verdict == verdict
    assert (f"factor of {stretch:.2g}" in finding.meaning) == (verdict == "look")


def test_the_end_of_what_was_looked_at_is_no_maximum() -> None:
    x = np.linspace(-4, 4, 41)
    rising = SDProfile("sd_g", np.exp(x), x, np.ones(41), -50.0)
    assert profile_finding(rising).number.startswith("rising up to 54.6")


def table(conditional: float, population: float, likelihood: float = 0.2) -> Sensitivity:
    rows = [
        ("sd_g", "conditional", "random effects", conditional),
        ("x", "conditional", "coefficient", conditional),
        ("z", "conditional", "coefficient", 0.01),
        ("x", "population-averaged", "coefficient", population),
        ("x: 1 - 0", "population-averaged", "difference", population),
    ]
    frame = pd.DataFrame(rows, columns=["quantity", "kind", "what", "prior"])
    return Sensitivity(
        frame.assign(sd_prior=frame["prior"], beta_prior=0.01, likelihood=likelihood), 400
    )


def test_what_stays_put_is_said_beside_what_moves() -> None:
    found = sensitivity_findings(table(0.3, 0.04))
    assert [finding.verdict for finding in found] == ["look", "look", "fine", "fine"]
    assert "1 of the 2, 'x', moves with the priors, and with the data too" in found[1].meaning
    assert "above all of the random effects" in found[1].advice
    assert "stay put where the conditional coefficients move" in found[2].meaning
    assert found[2].meaning.endswith("than about sd_g.")
    assert found[3].advice == "Report these first."
    assert found[0].number == "at most 0.30 (sd_g)"


def test_what_moves_with_the_prior_alone_is_a_problem() -> None:
    found = sensitivity_findings(table(0.3, 0.05, likelihood=0.04))
    assert [finding.verdict for finding in found] == ["problem"] * 4
    assert "hardly with the data" in found[0].meaning


def test_nothing_moves() -> None:
    found = sensitivity_findings(table(0.04, 0.01))
    assert {finding.verdict for finding in found} == {"fine"}
    assert not any("stay put" in finding.meaning for finding in found)


def test_an_unknown_likelihood_is_no_problem_by_itself() -> None:
    found = sensitivity_findings(table(0.3, 0.01, likelihood=np.nan))
    assert found[0].verdict == "look"
    assert "data" not in found[0].meaning


def test_draws() -> None:
    assert draw_findings(()) == []
    (finding,) = draw_findings(["The chains disagree.", "Too few."])
    assert finding.verdict == "problem"
    assert (finding.number, finding.meaning) == ("2 warnings", "The chains disagree. Too few.")
