"""What made-up ranks say."""

from __future__ import annotations

from typing import Any

import arviz_plots
import numpy as np
import pytest
from arviz_base import rc_context

from popavg.errors import SpecificationError
from popavg.posterior_tools._calibration_words import _smallest_bias
from popavg.posterior_tools.calibration_result import Calibration, CalibrationRun, envelope
from popavg.posterior_tools.rank_uniformity import uniformity_p_value

FACTS: dict[str, Any] = {"formula": "y ~ x + (1 | <g>)", "link": "logit", "family": "bernoulli"}
FACTS |= {"method": "auto", "seed": 3, "asked": 100}


def made(ranks: dict[str, Any], draws: int = 99, **more: Any) -> Calibration:
    """One run for each rank."""
    runs = []
    for i in range(len(next(iter(ranks.values())))):
        own = {name: int(values[i]) for name, values in ranks.items()}
        numbers = dict.fromkeys(own, 0.5)
        runs.append(CalibrationRun(i, "importance", own, numbers, numbers, numbers, 0.1))
    return Calibration(tuple(runs), draws, dict.fromkeys(ranks, "a number"), FACTS | more)


def uniform(runs: int = 100, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.arange(runs) * 100 // runs)


def test_uniform_ranks() -> None:
    found = made({"sd_g": uniform(), "beta[x]": uniform(seed=2)})
    assert found.verdict == "uniform"
    assert found.to_frame()["verdict"].to_list() == ["uniform", "uniform"]
    assert "The ranks of all 2 quantities are uniform, as far as 100 runs show" in found.words[0]
    assert found.to_frame()["shape"].to_list() == ["", ""]


@pytest.mark.parametrize(
    ("ranks", "shape"),
    [
        (uniform() // 2, "draws too high"),
        (99 - uniform() // 2, "draws too low"),
        (np.full(100, 98), "draws too low"),
        (25 + uniform() // 2, "draws too wide"),
        (np.where(uniform() < 50, uniform() // 3, 99 - (99 - uniform()) // 3), "draws too narrow"),
    ],
)
def test_shapes(ranks: np.ndarray, shape: str) -> None:
    found = made({"beta[x]": uniform(), "sd_g": ranks})
    row = found.to_frame().set_index("quantity").loc["sd_g"]
    assert (found.verdict, row["verdict"], row["shape"]) == ("not uniform", "not uniform", shape)
    assert row["p_value"] == uniformity_p_value(ranks, 99)
    assert "Not calibrated: the ranks of 1 of 2 quantities aren't uniform: sd_g" in found.words[0]
    assert shape in found.words[0]
    assert shape in repr(found)


def test_more_quantities_ask_for_smaller_p_values() -> None:
    rng = np.random.default_rng(4)
    ranks = next(
        r
        for r in (np.floor(100 * rng.beta(1.2, 1, 100)).astype(int) for _ in range(1000))
        if 0.001 < uniformity_p_value(r, 99) < 0.009
    )
    assert made({"a": ranks}).verdict == "not uniform"
    many = made({"a": ranks} | {f"b{i}": uniform() for i in range(9)})
    assert many.verdict == "uniform"
    assert many.to_frame(0.9)["verdict"].iloc[0] == "not uniform"
    with rc_context({"stats.envelope_prob": 0.9}):
        assert many.verdict == "not uniform"


def test_smallest_bias_is_seen_about_as_often_as_told() -> None:
    rng, runs, quantities = np.random.default_rng(2), 100, 10
    shift = _smallest_bias(runs, quantities, 0.99)
    seen = 0
    for _ in range(200):
        truth = rng.normal(size=(runs, 1)) + shift
        seen += uniformity_p_value((rng.normal(size=(runs, 99)) < truth).sum(axis=1), 99) < 0.001
    assert 0.7 < seen / 200 < 0.92


def test_oddities_are_told() -> None:
    good = [CalibrationRun(i, "nuts", {"sd_g": 30 + i}, ess=300.0, r_hat=1.0) for i in range(4)]
    odd = [
        CalibrationRun(4, "nuts", {"sd_g": 3}, refused="k̂ = 0.80, above 0.67"),
        CalibrationRun(5, "nuts", {"sd_g": 5}, ess=40.0, r_hat=1.2, divergences=7, constant=True),
        CalibrationRun(6, "nuts", {}, undefined={"sd_g": "not a number in some draw"}),
        CalibrationRun(7, failure="DataError: counts that are too large."),
    ]
    facts = FACTS | {"interrupted": "Interrupted", "asked": 20}
    found = Calibration((*good, *odd), 99, {"sd_g": "a number"}, facts)
    words = " ".join(found.words)
    assert "Interrupted: 8 of 20 runs are finished." in words
    assert "1 run of 8 couldn't be fitted and have no ranks: run 7: DataError: counts" in words
    assert "refused in 1 run (number 4), where NUTS on the integrated likelihood drew" in words
    assert "In 1 run (number 5) all outcomes were the same" in words
    assert "1 run had divergent draws (number 5)" in words
    assert "the chains disagree: R-hat up to 1.20" in words
    assert "fewer than 99 draws were independent (the fewest: 40)" in words
    assert "sd_g isn't defined in 1 run (number 6): not a number in some draw." in words
    assert found.to_frame()["runs"].item() == 6
    assert found.failures["run"].to_list() == [7]
    assert found.run_table["undefined"].to_list()[6] == "sd_g"
    assert found.data["rank"].sizes == {"run": 7, "quantity": 1}


def test_quantity_that_is_never_defined() -> None:
    runs = [CalibrationRun(i, "nuts", {"a": 20 * i}, undefined={"b": "why"}) for i in range(5)]
    found = Calibration(tuple(runs), 99, {"a": "", "b": ""}, FACTS)
    assert found.to_frame()["verdict"].to_list() == ["uniform", "no ranks"]
    assert found.verdict == "uniform"


def test_text_and_html() -> None:
    found = made({"beta[<x>]": uniform()}, priors={"x": "Normal(mu=0, sigma=1)"})
    text = repr(found)
    assert "y ~ x + (1 | <g>)" in text
    assert "x: Normal(mu=0, sigma=1)" in text
    html = found._repr_html_()
    assert "&lt;g&gt;" in html
    assert "beta[&lt;x&gt;]" in html
    assert "<g>" not in html


def test_arviz_takes_the_ranks() -> None:
    found = made({"sd_g": uniform()})
    tree = found.to_datatree()
    shares = tree["prior_sbc"].to_dataset()["sd_g"]
    assert shares.dims == ("chain", "draw")
    assert float(shares.mean()) == pytest.approx(0.5)
    drawn = arviz_plots.plot_ecdf_pit(tree, backend="none")
    assert "ecdf_lines" in drawn.viz


def test_probabilities_are_checked() -> None:
    with pytest.raises(SpecificationError, match="between 0 and 1"):
        envelope(1.0)
