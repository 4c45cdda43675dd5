"""Fits go to a file and come back the same; nothing is overwritten, half written or misread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import popavg as pa
from popavg.design import Design, family_of
from popavg.errors import SpecificationError, StorageError
from popavg.posterior_tools.draws import Posterior, read_specification
from popavg.posterior_tools.tree import fit_tree, read_training_frame, specify
from popavg.workflows.storage import replacing

ENDINGS = (".nc", ".zarr")
FORMULA = "`Größe ja` ~ dose + `Behandlung α` + kind + (1 | `Stall ü`/cow) + (1 | vet)"


def _frame() -> pd.DataFrame:
    """Text, ordered and unordered categories, booleans, whole numbers; names with all sorts."""
    rng = np.random.default_rng(3)
    rows = 240
    herd = rng.integers(0, 8, rows)
    return pd.DataFrame(
        {
            "Größe ja": rng.integers(0, 2, rows).astype(bool),
            "dose": rng.normal(size=rows),
            "Behandlung α": pd.Categorical(
                rng.choice(["mit 'Ω' / \"β\"", "ohne"], rows),
                categories=["ohne", "mit 'Ω' / \"β\""],
                ordered=True,
            ),
            "kind": rng.choice(["x", "yes, no", "z"], rows),
            "Stall ü": pd.Categorical([f"Stall {label}" for label in herd]),
            "cow": herd * 5 + rng.integers(0, 5, rows),
            "vet": rng.choice(["Åsa", "İnci", "日本"], rows),
        }
    )


def _strange_fit() -> xr.DataTree:
    """Nested and crossed factors; made-up draws."""
    link = pa.get_link("logit")
    family = family_of(FORMULA, link)
    design = Design.build(FORMULA, _frame(), family=family)
    rng = np.random.default_rng(4)
    terms = design.matrices.terms
    data = {"beta": (("chain", "draw", "term"), rng.normal(size=(2, 10, len(terms))))}
    coords: dict[str, list[str]] = {"term": list(terms)}
    for group in design.matrices.groups:
        dims = ("chain", "draw", f"effect_{group.name}")
        shape = (2, 10, len(group.effects))
        data[f"sd_{group.name}"] = (dims, rng.uniform(0.5, 1, shape))
        dims = ("chain", "draw", group.name, f"effect_{group.name}")
        shape = (2, 10, len(group.levels), len(group.effects))
        data[f"u_{group.name}"] = (dims, rng.normal(size=shape))
        coords |= {f"effect_{group.name}": list(group.effects), group.name: list(group.levels)}
    posterior = xr.Dataset(data, coords={"chain": [0, 1], "draw": range(10), **coords})
    stats = xr.Dataset({"diverging": (("chain", "draw"), np.zeros((2, 10), dtype=bool))})
    specification = specify(design, link, family)
    return fit_tree(design, specification, {"posterior": posterior, "sample_stats": stats})


FITS: dict[str, Callable[[], xr.DataTree]] = {"example": pa.load_example, "strange": _strange_fit}


@pytest.fixture
def fit() -> xr.DataTree:
    return pa.load_example()


def _left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", FITS)
class TestRoundTrip:
    def test_tree_is_identical(self, name: str, ending: str, tmp_path: Path) -> None:
        fit = FITS[name]()
        path = tmp_path / f"fit Ü{ending}"
        assert pa.save(fit, path) == path
        back = pa.load(path)
        xr.testing.assert_identical(fit, back)
        assert fit.attrs == back.attrs
        assert _left_behind(tmp_path) == [path.name]

    def test_types_are_kept(self, name: str, ending: str, tmp_path: Path) -> None:
        fit = FITS[name]()
        back = pa.load(pa.save(fit, tmp_path / f"fit{ending}"))
        for group in fit.children:
            for variable, values in fit[group].to_dataset().variables.items():
                if values.dtype.kind != "U":
                    assert back[group][variable].dtype == values.dtype, (group, variable)

    def test_training_frame_is_kept(self, name: str, ending: str, tmp_path: Path) -> None:
        fit = FITS[name]()
        back = pa.load(pa.save(fit, tmp_path / f"fit{ending}"))
        before, after = (
            read_training_frame(tree, read_specification(tree)) for tree in (fit, back)
        )
        pd.testing.assert_frame_equal(before, after)
        assert Posterior.from_fit(back).design.matrices.terms == tuple(
            str(term) for term in fit["posterior"]["term"].to_numpy()
        )


def test_names_of_factors_survive(tmp_path: Path) -> None:
    names = read_specification(_strange_fit()).group_names
    assert "Stall ü:cow" in names
    back = pa.load(pa.save(_strange_fit(), tmp_path / "fit.nc"))
    assert {f"sd_{name}" for name in names} <= set(back["posterior"].data_vars)


def test_decomposed_unicode_survives(tmp_path: Path) -> None:
    """NetCDF normalises names; what was spelt with combining accents must still be found."""
    name = unicodedata.normalize("NFD", "größe")
    cluster = unicodedata.normalize("NFD", "Höfe")
    values = {"y": [0, 1] * 20, name: np.arange(40.0), cluster: np.repeat(range(10), 4)}
    data = pd.DataFrame(values)
    formula, link = f"y ~ `{name}` + (1 | `{cluster}`)", pa.get_link("logit")
    family = family_of(formula, link)
    design = Design.build(formula, data, family=family)
    posterior = xr.Dataset(
        {
            "beta": (("chain", "draw", "term"), np.zeros((1, 4, 2))),
            f"sd_{cluster}": (("chain", "draw", f"effect_{cluster}"), np.ones((1, 4, 1))),
        },
        coords={"term": list(design.matrices.terms), f"effect_{cluster}": ["Intercept"]},
    )
    fit = fit_tree(design, specify(design, link, family), {"posterior": posterior})
    for ending in ENDINGS:
        back = pa.load(pa.save(fit, tmp_path / f"fit{ending}"))
        xr.testing.assert_identical(fit, back)
        np.testing.assert_array_equal(Posterior.from_fit(back).design.matrices.X, design.matrices.X)


def test_another_process_gets_the_same_results(tmp_path: Path, fit: xr.DataTree) -> None:
    paths = [str(pa.save(fit, tmp_path / f"fit{ending}")) for ending in ENDINGS]
    code = (
        "import sys, popavg as pa\n"
        "for path in sys.argv[1:]:\n"
        "    print(pa.population_coefficients(pa.load(path)).to_frame().to_json())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True
    )
    here = pa.population_coefficients(fit).to_frame().to_json()
    assert [json.loads(line) for line in done.stdout.splitlines()] == [json.loads(here)] * 2


class TestRefusals:
    @pytest.mark.parametrize("ending", ENDINGS)
    def test_existing(self, ending: str, tmp_path: Path, fit: xr.DataTree) -> None:
        path = pa.save(fit, tmp_path / f"fit{ending}")
        with pytest.raises(StorageError, match=r"exists.*overwrite=True"):
            pa.save(fit, path)
        assert pa.save(fit, path, overwrite=True) == path
        xr.testing.assert_identical(fit, pa.load(path))
        assert _left_behind(tmp_path) == [path.name]

    @pytest.mark.parametrize("name", ["fit", "fit.zip", "fit.h5", "fit.nc.gz"])
    def test_other_endings(self, name: str, tmp_path: Path, fit: xr.DataTree) -> None:
        with pytest.raises(StorageError, match=r"ends in.*'\.nc'.*'\.zarr'"):
            pa.save(fit, tmp_path / name)
        assert _left_behind(tmp_path) == []

    def test_folder_that_does_not_exist(self, tmp_path: Path, fit: xr.DataTree) -> None:
        with pytest.raises(StorageError, match=r"the folder .* doesn't exist"):
            pa.save(fit, tmp_path / "no" / "fit.nc")

    def test_what_is_not_a_fit(self, tmp_path: Path, fit: xr.DataTree) -> None:
        with pytest.raises(SpecificationError, match="isn't a fit made by popavg"):
            pa.save(fit["posterior"], tmp_path / "fit.nc")

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_a_folder_of_other_things_is_never_replaced(
        self, ending: str, tmp_path: Path, fit: xr.DataTree
    ) -> None:
        folder = tmp_path / f"mine{ending}"
        folder.mkdir()
        (folder / "thesis.txt").write_text("years of work")
        with pytest.raises(StorageError, match="is a folder, not a fit"):
            pa.save(fit, folder, overwrite=True)
        assert (folder / "thesis.txt").read_text() == "years of work"

    def test_zarr_in_place_of_a_file(self, tmp_path: Path, fit: xr.DataTree) -> None:
        path = tmp_path / "fit.zarr"
        path.write_text("a file")
        pa.save(fit, path, overwrite=True)
        xr.testing.assert_identical(fit, pa.load(path))
        assert _left_behind(tmp_path) == ["fit.zarr"]


class TestFailingWrite:
    @pytest.mark.parametrize("ending", ENDINGS)
    def test_old_fit_stays(
        self, ending: str, tmp_path: Path, fit: xr.DataTree, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = pa.save(fit, tmp_path / f"fit{ending}")

        def full(tree: xr.DataTree, where: Path, **options: object) -> None:
            Path(where).write_text("half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(xr.DataTree, "to_netcdf", full)
        monkeypatch.setattr(xr.DataTree, "to_zarr", full)
        with pytest.raises(StorageError, match=r"No space left on device.*free space"):
            pa.save(fit, path, overwrite=True)
        monkeypatch.undo()
        xr.testing.assert_identical(fit, pa.load(path))
        assert _left_behind(tmp_path) == [path.name]

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_failing_rename_puts_the_old_fit_back(
        self, ending: str, tmp_path: Path, fit: xr.DataTree, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = pa.save(fit, tmp_path / f"fit{ending}")

        def broken(source: Path, target: Path) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(Path, "replace", broken)
        with pytest.raises(StorageError, match="Input/output error"):
            pa.save(fit, path, overwrite=True)
        monkeypatch.undo()
        xr.testing.assert_identical(fit, pa.load(path))
        assert _left_behind(tmp_path) == [path.name]

    def test_interrupt_leaves_nothing(
        self, tmp_path: Path, fit: xr.DataTree, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(tree: xr.DataTree, where: Path, **options: object) -> None:
            Path(where).write_text("half")
            raise KeyboardInterrupt

        monkeypatch.setattr(xr.DataTree, "to_netcdf", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pa.save(fit, tmp_path / "fit.nc")
        assert _left_behind(tmp_path) == []

    def test_new_files_have_the_usual_permissions(self, tmp_path: Path) -> None:
        with replacing(tmp_path / "new.txt") as scratch:
            scratch.write_text("new")
        (tmp_path / "usual.txt").write_text("usual")
        modes = {os.stat(tmp_path / f"{name}.txt").st_mode for name in ("new", "usual")}
        assert len(modes) == 1


def _make_truncated(path: Path) -> None:
    pa.save(pa.load_example(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _make_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("zarr.json", "{}")


def _make_folder(path: Path) -> None:
    path.mkdir()
    (path / "letter.txt").write_text("no store")


UNREADABLE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "truncated": ("fit.nc", _make_truncated),
    "text": ("fit.nc", lambda path: path.write_text("y,x\n1,2\n")),
    "nothing in it": ("fit.nc", lambda path: path.write_bytes(b"")),
    "zip": ("fit.zip", _make_zip),
    "empty folder": ("fit.zarr", lambda path: path.mkdir()),
    "folder of other things": ("fit.zarr", _make_folder),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_unreadable_file(kind: str, tmp_path: Path) -> None:
    name, make = UNREADABLE[kind]
    make(tmp_path / name)
    with pytest.raises(StorageError, match=r"can't be read as .* Allowed: .*pa\.save\. It may be"):
        pa.load(tmp_path / name)


def test_truncated_zarr(tmp_path: Path, fit: xr.DataTree) -> None:
    path = pa.save(fit, tmp_path / "fit.zarr")
    (path / "zarr.json").write_text('{"zarr_format":')
    with pytest.raises(StorageError, match="can't be read as a Zarr directory"):
        pa.load(path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_foreign_file(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"other{ending}"
    other = xr.Dataset({"rain": ("day", [1.0, 2.0])})
    if ending == ".nc":
        other.to_netcdf(path)
    else:
        other.to_zarr(path, consolidated=False)
    with pytest.raises(StorageError, match=r"isn't a fit made by popavg.*pa\.fit"):
        pa.load(path)


def test_missing_groups_are_named(tmp_path: Path, fit: xr.DataTree) -> None:
    part = fit.copy()
    del part["training_data"]
    with pytest.raises(StorageError, match="The groups 'training_data' are missing"):
        pa.load(pa.save(part, tmp_path / "fit.nc"))


def test_missing_file() -> None:
    with pytest.raises(StorageError, match="there is no file"):
        pa.load("nowhere/fit.nc")


def test_name_that_is_too_long(fit: xr.DataTree, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no file"):
        pa.load("x" * 5000)
    with pytest.raises(StorageError, match="couldn't be written"):
        pa.save(fit, tmp_path / f"{'x' * 300}.nc")


def test_lazy_draws_stay_on_the_disk(
    make_fit: Callable[..., xr.DataTree], frame: pd.DataFrame, tmp_path: Path
) -> None:
    fit = make_fit("y ~ x + (1 | g)", frame, u=True)
    path = pa.save(fit, tmp_path / "fit.zarr")
    lazy = pa.load(path, lazy=True)
    assert all(array.chunks is not None for array in lazy["posterior"].data_vars.values())
    assert all(array.chunks is None for array in lazy["constant_data"].data_vars.values())
    np.testing.assert_array_equal(Posterior.from_fit(lazy).beta, Posterior.from_fit(fit).beta)


def test_a_netcdf_file_is_not_read_lazily(
    make_fit: Callable[..., xr.DataTree], frame: pd.DataFrame, tmp_path: Path
) -> None:
    path = pa.save(make_fit("y ~ x + (1 | g)", frame), tmp_path / "fit.nc")
    with pytest.raises(StorageError, match=r"lazy=True.*Allowed: a Zarr directory"):
        pa.load(path, lazy=True)


def test_a_store_that_is_gone_is_not_saved_as_nan(fit: xr.DataTree, tmp_path: Path) -> None:
    path = pa.save(fit, tmp_path / "fit.zarr")
    lazy = pa.load(path, lazy=True)
    path.rename(tmp_path / "moved.zarr")
    with pytest.raises(StorageError, match=r"fit\.zarr.*is gone"):
        pa.save(lazy, tmp_path / "again.zarr")
    assert not (tmp_path / "again.zarr").exists()
