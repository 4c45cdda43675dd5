"""The examples run as they stand and write what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PNG = b"\x89PNG\r\n\x1a\n"


def _run(name: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", EXAMPLES / name, folder],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    warned = [line for line in done.stderr.splitlines() if "Warning" in line]
    assert all("FitWarning" in line for line in warned), done.stderr
    return done.stdout


def test_every_example_is_run_here() -> None:
    tested = set(re.findall(r'_run\("(\w+\.py)"', Path(__file__).read_text("utf-8")))
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested


def test_four_links(tmp_path: Path) -> None:
    """Flatter, exactly flatter (1/√(1 + 1.5²)), shifted (by 1²/2), the same."""
    out = _run("four_links.py", tmp_path)
    assert (tmp_path / "four_links.png").read_bytes().startswith(PNG)
    rows = re.findall(r"population-averaged +(\S+) +(\S+)", out)
    numbers = [(float(intercept), float(slope)) for intercept, slope in rows]
    assert numbers[0][1] == pytest.approx(0.56, abs=0.02)
    assert numbers[1:] == [(0.0, 0.555), (0.5, 0.5), (0.0, 1.0)]
    verdicts = re.findall(r"\): (.*)", out)
    assert verdicts == ["flatter", "exactly flatter", "shifted", "the same"]


@pytest.mark.slow
def test_toenail(tmp_path: Path) -> None:
    out = _run("toenail.py", tmp_path)
    names = {"toenail.csv", "fit.nc", "comparison.csv", "population_curve.png", "report.html"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert all(f"written: {tmp_path / name}" in out for name in names)
    assert "population-averaged" in out.lower()
    assert (tmp_path / "population_curve.png").read_bytes().startswith(PNG)
