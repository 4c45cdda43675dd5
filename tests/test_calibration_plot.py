"""Curves, bands and what can't be drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from popavg.errors import SpecificationError
from popavg.posterior_tools.calibration_plot import _dataset, plot_calibration
from popavg.posterior_tools.calibration_result import Calibration, CalibrationRun
from popavg.posterior_tools.rank_uniformity import rank_band


def made(runs: int, seed: int = 1, *, high: int = 100) -> Calibration:
    rng = np.random.default_rng(seed)
    names = ("beta[x]", "sd_g")
    done = [
        CalibrationRun(i, "nuts", {name: int(rng.integers(0, high)) for name in names})
        for i in range(runs)
    ]
    return Calibration(tuple(done), 99, dict.fromkeys(names, ""), {})


def test_one_panel_for_each_quantity(tmp_path: Path) -> None:
    drawn = made(40).plot(backend="matplotlib")
    assert drawn.viz["curve_0"].dataset["curve_0"].sizes == {"panel": 2}
    drawn.savefig(tmp_path / "calibration.png")
    assert (tmp_path / "calibration.png").stat().st_size > 10_000


def test_curves_and_bands() -> None:
    found = {"few": made(30), "many": made(60, 2)}
    data = _dataset(found, 0.98)
    ranks = found["many"].ranks("sd_g")
    for i, x in enumerate(data["x"].to_numpy()[1:-1], start=1):
        share = np.mean((ranks + 0.5) / 100 < x)
        assert data["curve_1"].to_numpy()[1, i] == pytest.approx(share - x)
    lower, _ = rank_band(30, 99, 0.99)  # two quantities, the fewest runs
    np.testing.assert_allclose(data["lower"][0, 1:-1], lower / 30 - np.arange(1, 100) / 100)
    assert not data["curve_0"][:, [0, -1]].any()


@pytest.mark.parametrize("high", [100, 60])
def test_a_curve_leaves_its_band_where_the_verdict_says_so(high: int) -> None:
    found = made(80, high=high)
    data = _dataset({"": found}, 0.99)
    outside = (data["curve_0"] < data["lower"] - 1e-12) | (data["curve_0"] > data["upper"] + 1e-12)
    expected = found.to_frame(0.99)["verdict"] == "not uniform"
    assert outside.any("x").to_numpy().tolist() == expected.to_list()
    assert expected.all() == (high == 60)


def test_visuals_can_be_left_out() -> None:
    drawn = plot_calibration(
        {"a": made(20), "b": made(20)}, backend="none", visuals={"band": False}
    )
    assert {"zero", "curve_0", "curve_1"} <= set(drawn.viz.children)
    assert "band" not in drawn.viz.children


def test_what_cannot_be_drawn() -> None:
    other = Calibration(made(5).runs, 50, made(5).quantities, {})
    with pytest.raises(SpecificationError, match="among 99 and 50 draws"):
        plot_calibration({"a": made(5), "b": other}, backend="none")
    with pytest.raises(SpecificationError, match="0 calibrations"):
        plot_calibration({}, backend="none")
    with pytest.raises(SpecificationError, match="visuals='lines' is unknown"):
        made(5).plot(backend="none", visuals={"lines": False})
