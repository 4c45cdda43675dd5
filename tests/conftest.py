"""What all tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")

# The same examples at every run, and no deadline: a first call may compile.
settings.register_profile("popavg", derandomize=True, deadline=None, database=None)
settings.load_profile("popavg")

ROOT = Path(__file__).resolve().parent.parent
FITTERS = frozenset({"pymc", "pytensor", "nutpie", "statsmodels"})
SMALL_INSTALL = os.environ.get("POPAVG_SMALL_INSTALL") == "1"


class _NoFitters(MetaPathFinder):
    """Makes the packages that fit models unimportable."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in FITTERS:
            raise ModuleNotFoundError(f"{fullname} isn't in the small install", name=fullname)
        return None


if SMALL_INSTALL:
    assert not FITTERS & set(sys.modules)
    sys.meta_path.insert(0, _NoFitters())


def _works_without_fitters(test_file: Path) -> bool:
    module = test_file.name.removeprefix("test_")
    return any((ROOT / folder / module).is_file() for folder in ("posterior_tools", "src/popavg"))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """In the small install only the tests of posterior_tools and of the vocabulary run."""
    is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    if SMALL_INSTALL and is_test and not _works_without_fitters(collection_path):
        return True
    return None
