"""Every module has a test file of its name, every link and method its place in the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("src/popavg", "posterior_tools", "models", "workflows")


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_module_has_a_test_file_of_its_name(folder: str) -> None:
    """Private ones (``_name``) are tested through the modules that use them."""
    modules = {path.stem for path in (ROOT / folder).glob("*.py") if path.stem[0] != "_"}
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests").glob("test_*.py")}
    short = folder.rpartition("/")[2]
    without = {m for m in modules if not {m, f"{short}_{m}"} & tests}
    assert not without
