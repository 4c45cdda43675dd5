"""The wheel, built through the source distribution, holds the four folders and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")


def _run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _files_of_the_packages() -> set[str]:
    """Every file of the source folders, under the name it should have in the wheel."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders: dict[str, str] = project["tool"]["setuptools"]["package-dir"]
    return {
        f"{package.replace('.', '/')}/{path.relative_to(ROOT / folder).as_posix()}"
        for package, folder in folders.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not _is_cache(path.relative_to(ROOT))
    }


def _is_cache(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("wheel") / "tree"
    shutil.copytree(ROOT, tree, symlinks=True, ignore=NOT_COPIED)
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", "../out", cwd=tree)
    (built,) = (tree.parent / "out").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def listing(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names))
    return {name for name in names if not name.endswith("/")}


def test_wheel_holds_the_four_folders_and_nothing_else(listing: set[str]) -> None:
    code = {name for name in listing if ".dist-info/" not in name}
    assert code == _files_of_the_packages()


def test_wheel_holds_data_types_and_licence(listing: set[str]) -> None:
    assert {"popavg/data/datasets.json", "popavg/data/toenail.csv"} <= listing
    assert {"popavg/py.typed", "popavg/__init__.pyi", "popavg/models/__init__.py"} <= listing
    assert {name.split("/", 1)[1] for name in listing if ".dist-info/" in name} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
        "top_level.txt",
    }


def test_wheel_has_one_top_level_package(listing: set[str]) -> None:
    assert {name.split("/")[0] for name in listing if ".dist-info/" not in name} == {"popavg"}


def test_unpacked_wheel_works_by_itself(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import sys; sys.path.insert(0, 'site')\n"
        "import popavg as pa\n"
        "print(pa.__file__, pa.models.__file__, pa.__version__, len(pa.load_dataset('toenail')))"
    )
    face, models, version, rows = _run(sys.executable, "-P", "-c", code, cwd=tmp_path).split()
    assert Path(tmp_path, face) == tmp_path / "site/popavg/__init__.py"
    assert Path(tmp_path, models) == tmp_path / "site/popavg/models/__init__.py"
    assert version in wheel.name
    assert rows == "1908"
