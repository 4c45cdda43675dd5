"""A run's directory: begun once, read at any time, drawn into by one process, whole in one step."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import popavg as pa
from popavg.errors import ConvergenceError, SpecificationError, StorageError
from popavg.workflows import store as store_module
from popavg.workflows.further_groups import Wanted
from popavg.workflows.problem import Problem, problem_of_formula
from popavg.workflows.sampling import Drawing, Sampler
from popavg.workflows.store import Recipe, Store, is_whole, locked, new_store, open_store
from popavg.workflows.stored_draws import Column, Layout

SAMPLER = Sampler(draws=50, tune=20, chains=2, cores=1, seed=9, target_accept=0.9)
RECIPE = Recipe(SAMPLER, "latent", Wanted(prior=True), "centered", ("extra",))
LAYOUT = Layout(
    (
        Column("x", "posterior", (), (), "float64"),
        Column("logp", "sample_stats", (), (), "float64"),
    ),
    1,
    {},
)


@pytest.fixture
def problem(frame: pd.DataFrame) -> Problem:
    return problem_of_formula(
        "y ~ x + (1 | g)", frame, "logit", priors={"x": "Normal(0, 1)"}, missing="error",
        keep=("visit",), parametrization="centered",
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.zarr"


@pytest.fixture
def store(problem: Problem, path: Path) -> Store:
    with new_store(path, problem, RECIPE) as made:
        pass
    return made


def left_behind(folder: Path) -> list[str]:
    return sorted(place.name for place in folder.iterdir())


def put_draws(store: Store, *lengths: int) -> None:
    go = store.begin(range(len(lengths)), 50, layout=LAYOUT, seed=1)
    for chain, length in enumerate(lengths):
        go.write(chain, 0, np.arange(2.0 * length).reshape(length, 2))


def test_what_was_begun_can_be_opened(store: Store, problem: Problem, path: Path) -> None:
    again = open_store(path)
    assert again.recipe == RECIPE
    assert again.specification.formula == "y ~ x + (1 | g)"
    assert again.specification.priors["x"] == problem.priors["x"].to_dict()
    assert again.drawing is None
    assert again.snapshot().lengths == (0, 0)
    assert set(again.data()["training_data"].data_vars) == {"y", "x", "g", "visit"}
    assert not is_whole(path)
    with pytest.raises(ConvergenceError, match=r"has no draws yet.*draw=True"):
        again.draws()


def test_what_was_chosen_first_stays(store: Store) -> None:
    first = Drawing("nuts", "because k̂ = 0.9", {"tune": 20})
    assert store.choose(first) == first
    assert store.choose(Drawing("nuts", "as asked for")) == first
    assert open_store(store.path).drawing == first


def test_later_goes_have_other_seeds(store: Store) -> None:
    seeds = [store.next_seed(9)]
    for _ in range(2):
        put_draws(store, 1, 1)
        seeds.append(store.next_seed(9))
    assert seeds[0] == 9
    assert len(set(seeds)) == 3
    assert store.next_seed(9) == seeds[2]


def test_other_variables_are_not_put_to_the_draws(store: Store) -> None:
    put_draws(store, 3, 4)
    with pytest.raises(StorageError, match="of other variables than the model's"):
        store.begin((0,), 5, layout=Layout(LAYOUT.columns, 2, {}), seed=1)
    assert store.snapshot().lengths == (3, 4)


def test_a_place_without_a_draw_is_passed_over(store: Store) -> None:
    """A process was killed before its first draw."""
    store.root.require_group("draws").create_group("0")
    assert store.goes == []
    put_draws(store, 3, 4)
    assert left_behind(store.path / "draws") == ["0", "1", "zarr.json"]
    assert store.snapshot().lengths == (3, 4)


class TestNothingIsOverwritten:
    def test_a_run(self, store: Store, problem: Problem) -> None:
        put_draws(store, 3, 4)
        with (
            pytest.raises(
                StorageError, match=r"exists.*never overwritten.*pa\.resume\(.*draw=True"
            ),
            new_store(store.path, problem, RECIPE),
        ):
            pass
        assert open_store(store.path).snapshot().lengths == (3, 4)

    @pytest.mark.parametrize("kind", ["file", "folder"])
    def test_other_things(self, path: Path, problem: Problem, kind: str) -> None:
        path.write_text("mine") if kind == "file" else path.mkdir()
        with pytest.raises(StorageError, match="exists"), new_store(path, problem, RECIPE):
            pass
        assert path.read_text() == "mine" if kind == "file" else not left_behind(path)

    def test_before_anything_is_drawn(self, store: Store, frame: pd.DataFrame) -> None:
        with pytest.raises(StorageError, match="exists"):
            pa.fit("y ~ x + (1 | g)", frame, link="logit", store=store.path, progress=False)

    @pytest.mark.parametrize("name", ["run", "run.nc"])
    def test_the_name_says_what_it_is(self, tmp_path: Path, problem: Problem, name: str) -> None:
        with pytest.raises(StorageError, match=r"Allowed: '\.zarr'"):
            new_store(tmp_path / name, problem, RECIPE).__enter__()
        with pytest.raises(StorageError, match="doesn't exist"):
            new_store(tmp_path / "no" / "run.zarr", problem, RECIPE).__enter__()
        assert left_behind(tmp_path) == []


class TestWhatEndsARun:
    def test_an_error_before_drawing_leaves_nothing(self, tmp_path: Path, frame: Any) -> None:
        """The same name can be used again once the call is mended."""
        for formula, method in (("y ~ (1 | g) + (1 | r)", "importance"), ("y ~ (1 | g)", "mcmc")):
            with pytest.raises(SpecificationError):
                pa.fit(formula, frame, link="logit", method=method, progress=False,
                       store=tmp_path / "run.zarr")  # fmt: skip
        assert left_behind(tmp_path) == []

    def test_an_error_after_that_leaves_the_run(self, path: Path, problem: Problem) -> None:
        def stopped() -> None:
            with new_store(path, problem, RECIPE) as made:
                made.choose(Drawing("nuts", "as asked for"))
                raise RuntimeError

        with pytest.raises(RuntimeError):
            stopped()
        assert open_store(path).drawing is not None

    def test_an_interrupt_leaves_the_run(self, path: Path, problem: Problem) -> None:
        with pytest.raises(KeyboardInterrupt), new_store(path, problem, RECIPE):
            raise KeyboardInterrupt
        assert open_store(path).drawing is None

    def test_a_disk_that_is_full_at_once_leaves_nothing(
        self, path: Path, problem: Problem, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(xr.DataTree, "to_zarr", full)
        with pytest.raises(StorageError, match="No space left"), new_store(path, problem, RECIPE):
            pass
        assert not path.exists()

    def test_a_full_disk_is_told_with_what_there_is(self, store: Store) -> None:
        put_draws(store, 3, 4)
        with (
            pytest.raises(
                StorageError,
                match=r"No space left on device\)\. Its chains have 3, 4 of 50 draws there\. Read "
                r"these with pa\.resume\('.*run\.zarr'\); make room on the disk.*draw=True",
            ),
            store.telling(),
        ):
            raise OSError(28, "No space left on device")

    def test_a_directory_that_is_gone_is_told(self, store: Store) -> None:
        shutil.rmtree(store.path)
        with pytest.raises(StorageError, match="is gone"), store.telling():
            store.draws()


class TestWhole:
    def test_it_is_a_fit_then(self, store: Store, make_fit: Callable[..., Any], frame: Any) -> None:
        put_draws(store, 50, 50)
        fit = make_fit("y ~ x + (1 | g)", frame)
        with pytest.raises(StorageError, match=r"isn't whole yet.*pa\.resume"):
            pa.load(store.path)
        store.complete(fit)
        assert is_whole(store.path)
        assert left_behind(store.path.parent) == ["run.zarr"]
        assert "draws" not in left_behind(store.path)
        loaded = pa.load(store.path)
        assert loaded.attrs == fit.attrs
        xr.testing.assert_identical(loaded["posterior"].to_dataset(), fit["posterior"].to_dataset())
        xr.testing.assert_identical(pa.resume(store.path, progress=False), loaded)
        assert pa.load(store.path, lazy=True)["posterior"]["beta"].chunks is not None

    def test_a_full_disk_at_the_end_keeps_the_draws(
        self, store: Store, make_fit: Callable[..., Any], frame: Any, monkeypatch: Any
    ) -> None:
        put_draws(store, 50, 50)
        write, fit = xr.Dataset.to_zarr, make_fit("y ~ x + (1 | g)", frame, u=True)
        calls = []

        def full(*arguments: Any, **options: Any) -> Any:
            calls.append(options["group"])
            if len(calls) > 1:
                raise OSError(28, "No space left on device")
            return write(*arguments, **options)

        fit["sample_stats"] = xr.DataTree(xr.Dataset({"lp": ("draw", [1.0])}))
        monkeypatch.setattr(xr.Dataset, "to_zarr", full)
        with pytest.raises(StorageError, match=r"Its chains have 50, 50 of 50 draws there"):
            store.complete(fit)
        assert len(calls) == 2
        assert not is_whole(store.path)
        assert not {"posterior", "sample_stats"} & set(left_behind(store.path))
        monkeypatch.undo()
        store.complete(fit)
        assert is_whole(store.path)

    def test_the_last_step_is_one(
        self, store: Store, make_fit: Callable[..., Any], frame: Any, monkeypatch: Any
    ) -> None:
        """Killed right before it: still a run with all its draws, and it can be ended again."""
        put_draws(store, 50, 50)

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(zarr.core.attributes.Attributes, "put", killed)
        with pytest.raises(KeyboardInterrupt):
            store.complete(make_fit("y ~ x + (1 | g)", frame))
        monkeypatch.undo()
        assert not is_whole(store.path)
        assert open_store(store.path).snapshot().lengths == (50, 50)
        store.complete(make_fit("y ~ x + (1 | g)", frame))
        assert pa.load(store.path)["posterior"].sizes["chain"]


class TestOneProcessDraws:
    def test_another_is_refused(self, store: Store) -> None:
        pytest.importorskip("fcntl")
        with (
            locked(store.path),
            pytest.raises(StorageError, match="another process is drawing into"),
            locked(store.path),
        ):
            pass
        with locked(store.path):
            pass

    def test_where_there_are_no_locks_there_is_no_check(
        self, store: Store, monkeypatch: Any
    ) -> None:
        fcntl = pytest.importorskip("fcntl")

        def unknown(*_: object) -> None:
            raise OSError(38, "Function not implemented")

        monkeypatch.setattr(fcntl, "flock", unknown)
        with locked(store.path):
            pass


class TestUnreadable:
    def test_missing(self, path: Path) -> None:
        for read in (is_whole, open_store, pa.resume):
            with pytest.raises(StorageError, match=r"there is no run .*Check the path"):
                read(path)

    @pytest.mark.parametrize("kind", ["empty", "file", "truncated"])
    def test_not_a_directory_of_ours(self, path: Path, kind: str, request: Any) -> None:
        if kind == "truncated":
            request.getfixturevalue("store")
            (path / "zarr.json").write_text('{"zarr_format": 3,')
        elif kind == "empty":
            path.mkdir()
        else:
            path.write_text("y,x")
        with pytest.raises(StorageError, match=r"can't be read as a run.*pa\.fit"):
            pa.resume(path)

    def test_another_zarr(self, path: Path) -> None:
        xr.Dataset({"rain": ("day", [1.0])}).to_zarr(path, consolidated=False)
        with pytest.raises(StorageError, match="isn't a run"):
            pa.resume(path)

    @pytest.mark.parametrize("change", [{"format": 2}, {"recipe": {}}, {"specification": "{"}])
    def test_another_version(self, store: Store, change: dict[str, Any]) -> None:
        attributes = store.root.attrs
        attributes.put({"popavg_run": {**attributes.asdict()["popavg_run"], **change}})
        with pytest.raises(StorageError, match=r"can't be read|specification"):
            open_store(store.path)


def test_the_attribute_of_a_run_is_not_that_of_a_fit() -> None:
    assert store_module.RUN != store_module.ATTRIBUTE
