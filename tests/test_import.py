"""``import popavg`` is light, and every public name can be reached."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import popavg as pa

HEAVY = ("arviz", "arviz_base", "matplotlib", "nutpie", "numba", "pandas", "pymc", "pytensor")
HEAVY += ("scipy", "statsmodels", "xarray")
STUBS = {
    "popavg": Path(pa.__file__).with_suffix(".pyi"),
    "popavg.models": Path(pa.models.__file__).with_suffix(".pyi"),
}


def _loaded_after(code: str) -> set[str]:
    """Which of HEAVY a new interpreter has loaded after running the code."""
    report = f"import sys; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def _stub(path: Path) -> tuple[set[str], set[str]]:
    """The names a stub imports, and those it declares public."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {
        alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    public = [ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)]
    return imported, set(public[0])


def test_import_loads_nothing_heavy() -> None:
    assert _loaded_after("import popavg") == set()


def test_errors_and_rooms_load_nothing_heavy() -> None:
    code = "import popavg as pa; pa.errors, pa.models, pa.posterior_tools, pa.workflows, dir(pa)"
    assert _loaded_after(code) == set()


def test_data_sets_and_integral_do_not_need_what_fits_models() -> None:
    code = "import popavg as pa; pa.load_dataset('cbpp'); pa.marginal_mean"
    assert _loaded_after(code).isdisjoint({"pymc", "pytensor", "nutpie", "statsmodels"})


def test_gee_does_not_need_pymc() -> None:
    assert _loaded_after("import popavg as pa; pa.gee").isdisjoint({"pymc", "pytensor", "nutpie"})


@pytest.mark.parametrize("package", STUBS)
def test_stub_declares_what_it_imports(package: str) -> None:
    imported, public = _stub(STUBS[package])
    assert imported == public


@pytest.mark.parametrize("name", sorted(dir(pa)))
def test_every_public_name_is_there(name: str) -> None:
    found = getattr(pa, name)
    named_after = getattr(found, "__name__", name).removeprefix("popavg.")
    assert named_after == name


@pytest.mark.parametrize("name", sorted(dir(pa.models)))
def test_every_builder_is_a_function(name: str) -> None:
    builder = getattr(pa.models, name)
    assert callable(builder)
    assert builder.__name__ == name


def test_names_shared_with_a_module_stay_functions() -> None:
    import popavg.models.gee  # noqa: F401
    import popavg.models.glmm  # noqa: F401
    import popavg.posterior_tools.predictions  # noqa: F401

    assert callable(pa.gee)
    assert callable(pa.models.glmm)
    assert callable(pa.predictions)


def test_version_is_that_of_the_installed_package() -> None:
    from importlib.metadata import version

    assert pa.__version__ == version("popavg")


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = pa.nonsense
