"""Priors written as text."""

from __future__ import annotations

import numpy as np
import pytest

from popavg.errors import SpecificationError
from popavg.prior_text import Call, read_prior_text
from popavg.priors import Prior


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Normal(0, 1)", Call("Normal", (0, 1), {})),
        (" Normal( mu = -1 , sigma=2.5 ) ", Call("Normal", (), {"mu": -1, "sigma": 2.5})),
        ("StudentT(3, mu=0, sigma=5/2)", Call("StudentT", (3,), {"mu": 0, "sigma": 2.5})),
        ("Normal(1e-3, +2*3)", Call("Normal", (0.001, 6), {})),
        ("HalfNormal()", Call("HalfNormal", (), {})),
    ],
)
def test_reads_calls(text: str, expected: Call) -> None:
    assert read_prior_text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "P(sd > 3) = 0.05",
        "P(sd>3)=0.05",
        "p( σ > 3.0 ) = 5 %",
        "Pr(sd_patient >= 3) = 5%",
        "Prob(tau > 30e-1) = .05",
    ],
)
def test_reads_penalised_complexity_priors(text: str) -> None:
    prior = Prior.parse(text, "sd_patient")
    assert prior.name == "Exponential"
    assert prior.params["lam"] == pytest.approx(-np.log(0.05) / 3, rel=1e-15)
    survival = np.exp(-prior.params["lam"] * 3)
    assert survival == pytest.approx(0.05, rel=1e-14)


@pytest.mark.parametrize(
    "text",
    [
        "Normal",
        "Normal(0, 1",
        "Normal(0, x)",
        "Normal(0, sigma=sigma)",
        "pm.Normal(0, 1)",
        "Normal(*[0, 1])",
        "Normal(**{})",
        "Normal(0, 1/0)",
        "Normal(0, '1')",
        "Normal(0, True)",
        "Normal(0, 2**9999)",
        "Normal(__import__('os').getpid(), 1)",
        "",
        "1 + 1",
        "Normal(mu=0, mu=1)",
    ],
)
def test_what_cant_be_read_says_what_can(text: str) -> None:
    with pytest.raises(SpecificationError, match=r"can't be read.*'Normal\(0, 1\)'"):
        read_prior_text(text)


@pytest.mark.parametrize("text", ["P(sd < 3) = 0.05", "P(time > 3) = 0.05", "P(sd_b > 3) = 0.05"])
def test_statements_about_something_else_are_refused(text: str) -> None:
    with pytest.raises(SpecificationError, match=r"'P\(sd_a > U\) = a'"):
        read_prior_text(text, "sd_a")


@pytest.mark.parametrize(
    "text",
    ["P(sd > 0) = 0.05", "P(sd > -1) = 0.05", "P(sd > 3) = 0", "P(sd > 3) = 1", "P(sd > 3) = 5",
     "P(sd > x) = 0.05", "P(sd > 3) = 5 % or so", "P(sd > inf) = 0.1", "P(sd > nan) = 0.1"],
)  # fmt: skip
def test_statements_without_a_solution_are_refused(text: str) -> None:
    with pytest.raises(SpecificationError, match=r"no solution.*between 0 and 1"):
        read_prior_text(text)
