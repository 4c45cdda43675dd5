"""Runs that were killed, interrupted or out of disk are read and go on; real signals."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from arviz_stats.base import array_stats

import popavg as pa
from popavg.errors import ConvergenceError, FitWarning, SpecificationError, StorageError
from popavg.posterior_tools.draws import read_specification
from popavg.workflows import streaming
from popavg.workflows.resume import problem_of_store
from popavg.workflows.store import open_store

FORMULA = "y ~ x + arm + (1 | g)"
OPTIONS: dict[str, Any] = {"link": "logit", "seed": 3, "progress": False}

#: Draws until it is stopped from outside, or by a file that may not grow once there is one.
#: However fast it draws, the store gets few draws at a time, and not the same number of each chain.
_ENDLESS = """
import json, pathlib, sys, threading, time
import pandas as pd, popavg as pa
from popavg.workflows import streaming
streaming.INTERVAL, streaming._TIMES = 0.1, 1.0
append = streaming._Writer._append
def few(writer, draws, statistics):
    chain = statistics.column("chain")[0].as_py()
    rows = options["tune"] + writer.written[chain] + 100 + 20 * chain
    append(writer, draws.slice(0, rows), statistics.slice(0, rows))
streaming._Writer._append = few
frame, options, path, limited = (json.loads(word) for word in sys.argv[1:])
def limit():
    import resource
    while not (pathlib.Path(path) / "draws/0/rows/c/1/0/0").exists():
        time.sleep(0.02)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, -1))
if limited:
    threading.Thread(target=limit, daemon=True).start()
try:
    pa.fit(data=pd.DataFrame(frame), store=path, **options)
except Exception as error:
    print(json.dumps({"error": type(error).__name__, "message": str(error)}))
"""


def quietly(call: Callable[[], xr.DataTree]) -> xr.DataTree:
    """Where the verdict isn't the question."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        return call()


def start(frame: pd.DataFrame, path: Path, *, limited: bool = False) -> subprocess.Popen[str]:
    told = {"model": FORMULA, "method": "latent", "log_likelihood": True, **OPTIONS, **ENDLESS}
    words = (frame.to_dict("list"), told, str(path), limited)
    command = [sys.executable, "-c", _ENDLESS, *map(json.dumps, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def report(process: subprocess.Popen[str]) -> dict[str, Any]:
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, err
    return json.loads(out.strip().splitlines()[-1])


def kill_when(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    """SIGKILL, as soon as it may come."""
    end = time.monotonic() + 300
    while (running := process.poll() is None) and not ready() and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    errors = process.communicate()[1]
    assert running, errors
    assert ready(), "it took too long"
    assert process.returncode == -signal.SIGKILL


def copied(path: Path, tmp_path: Path, name: str = "run.zarr") -> Path:
    return shutil.copytree(path, tmp_path / name)


def told(fit: xr.DataTree) -> dict[str, Any]:
    return read_specification(fit).sampler


#: It doesn't come to an end by itself; small steps, so that there aren't too many draws.
ENDLESS = {"draws": 10**6, "tune": 150, "chains": 4, "target_accept": 0.999}


def ask_for(path: Path, draws: int) -> None:
    """As if fewer draws had been asked for."""
    attributes = zarr.open_group(path, mode="r+").attrs
    run = attributes.asdict()["popavg_run"]
    run["recipe"]["sampler"]["draws"] = draws
    attributes.update({"popavg_run": run})


def stop_after(draws: int, monkeypatch: pytest.MonkeyPatch, *, tune: int) -> None:
    """Whatever is drawn, the store gets no more than this of each chain."""
    append = streaming._Writer._append

    def appended(writer: Any, batch: Any, statistics: Any) -> None:
        append(writer, batch.slice(0, tune + draws), statistics.slice(0, tune + draws))

    monkeypatch.setattr(streaming._Writer, "_append", appended)


@dataclass
class Watched:
    """A run of another process, read while it draws."""

    path: Path
    sizes: list[int] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    moments: set[int] = field(default_factory=set)
    read: int = 0

    def look(self) -> bool:
        """Read it if it has grown; whether it has been read often enough."""
        files = list(self.path.glob("draws/0/rows/c/*/*/0"))  # others are being written
        self.moments.update(file.stat().st_mtime_ns for file in files)
        all_chains = len({file.parts[-3] for file in files}) == 4
        if all_chains and len(self.sizes) < 3 and max(self.moments) > self.read:
            self.read = max(self.moments)
            size = quietly(lambda: pa.resume(self.path, progress=False))["posterior"].sizes["draw"]
            if size > max(self.sizes, default=0):
                self.sizes.append(size)
                self.refusals.append(self.refused())
        return len(self.sizes) == 3

    def refused(self) -> str:
        with pytest.raises(StorageError) as caught:
            pa.resume(self.path, draw=True, progress=False)
        return str(caught.value)


@pytest.fixture(scope="module")
def watched(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """What was seen of a process that was killed in the middle of sampling."""
    run = Watched(tmp_path_factory.mktemp("killed") / "run.zarr")
    kill_when(start(frame, run.path), run.look)
    run.moments.add(time.time_ns())
    return run


@pytest.fixture(scope="module")
def killed(watched: Watched) -> Path:
    """The run that it left, 100 draws short."""
    ask_for(watched.path, max(open_store(watched.path).snapshot().lengths) + 100)
    return watched.path


@pytest.fixture(scope="module")
def compilations() -> list[Any]:
    return []


@pytest.fixture
def compiled_once(monkeypatch: pytest.MonkeyPatch, compilations: list[Any]) -> None:
    """The killed run's model is compiled by the first test that goes on with it."""
    compile_model = streaming.compile_model

    def compiled(model: Any) -> Any:
        if not compilations:
            compilations.append(compile_model(model))
        return compilations[0]

    monkeypatch.setattr(streaming, "compile_model", compiled)


@pytest.mark.slow
class TestKilled:
    def test_what_was_finished_is_a_fit(self, killed: Path, capsys: Any) -> None:
        before = {place: place.stat().st_mtime_ns for place in killed.rglob("*")}
        with pytest.warns(FitWarning, match=r"Interrupted: \d+ of \d+ draws a chain were kept\."):
            fit = pa.resume(killed)
        lengths = told(fit)["draws_by_chain"]
        asked = max(lengths) + 100
        assert min(lengths) > 0
        assert told(fit)["draws_asked"] == asked
        assert told(fit)["interrupted"] is True
        assert told(fit)["draws"] == min(lengths) == fit["posterior"].sizes["draw"]
        listed = ", ".join(map(str, lengths))
        assert (
            capsys.readouterr().out == f"Run {str(killed)!r}: {listed} of {asked} draws a chain.\n"
        )
        assert f"The chains had {listed}: the longer ones were cut." in told(fit)["verdict"][0]
        assert f"pa.resume({str(killed)!r}, draw=True)" in told(fit)["verdict"][0]
        for group in ("posterior", "sample_stats", "log_likelihood"):
            for name, values in fit[group].data_vars.items():
                assert np.isfinite(values.to_numpy()).all(), name
        assert {place: place.stat().st_mtime_ns for place in killed.rglob("*")} == before

    def test_the_draws_are_those_of_a_run_that_was_not_killed(
        self, killed: Path, frame: pd.DataFrame
    ) -> None:
        part = quietly(lambda: pa.resume(killed, progress=False))
        draws = part["posterior"].sizes["draw"]
        whole = quietly(
            lambda: pa.fit(
                FORMULA, frame, method="latent", **OPTIONS, **{**ENDLESS, "draws": draws}
            )
        )
        for group in ("posterior", "sample_stats"):
            found, expected = (fit[group].to_dataset() for fit in (part, whole))
            assert dict(found.sizes) == dict(expected.sizes)
            assert found.dtypes == expected.dtypes
            xr.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)
        for group in ("constant_data", "observed_data", "training_data"):
            xr.testing.assert_identical(part[group].to_dataset(), whole[group].to_dataset())
        one, other = read_specification(part), read_specification(whole)
        for name in ("formula", "link", "family", "priors", "columns", "versions", "terms"):
            assert getattr(one, name) == getattr(other, name)
        assert told(part)["method"] == told(whole)["method"] == "latent"

    @pytest.mark.usefixtures("compiled_once")
    def test_the_rest_can_be_drawn(self, killed: Path, tmp_path: Path) -> None:
        """Each chain keeps what it had, also beyond the shortest one."""
        path = copied(killed, tmp_path)
        rows, asked = open_store(path).snapshot().rows, open_store(path).recipe.sampler.draws
        place = open_store(path).goes[0].layout.places["beta"]
        fit = quietly(lambda: pa.resume(path, draw=True, progress=False))
        beta = fit["posterior"]["beta"].to_numpy()
        assert beta.shape[:2] == (4, asked)
        for chain, first in enumerate(rows):
            np.testing.assert_array_equal(beta[chain, : len(first)], first[:, place])
            assert np.intersect1d(beta[chain, : len(first)], beta[:, len(first) :]).size == 0
        lengths = [len(first) for first in rows]
        assert told(fit)["goes"] == [lengths, [asked - length for length in lengths]]
        assert "warms up anew" in told(fit)["note"]
        assert told(fit)["interrupted"] is False
        assert told(fit)["seed"] == 3
        assert not [words for words in told(fit)["verdict"] if "Interrupted" in words]
        assert fit["log_likelihood"].sizes["draw"] == asked
        xr.testing.assert_identical(pa.load(path), fit)
        assert [place.name for place in tmp_path.iterdir()] == ["run.zarr"]

    @pytest.mark.usefixtures("compiled_once")
    def test_both_parts_are_from_the_same_posterior(self, killed: Path, tmp_path: Path) -> None:
        path = copied(killed, tmp_path)
        lengths = open_store(path).snapshot().lengths
        ask_for(path, max(lengths) + min(lengths))
        fit = quietly(lambda: pa.resume(path, draw=True, progress=False))
        error = partial(array_stats.mcse, chain_axis=0, draw_axis=1, method="mean")
        for name in ("beta", "sd_g"):
            values = fit["posterior"][name].to_numpy()
            for k in range(values.shape[2]):
                one, other = values[:, : min(lengths), k], values[:, -min(lengths) :, k]
                within = 4.5 * np.hypot(error(one), error(other))
                assert abs(one.mean() - other.mean()) < within

    @pytest.mark.usefixtures("compiled_once")
    def test_going_on_is_reproducible(self, killed: Path, tmp_path: Path) -> None:
        fits = []
        for cores in (1, 4):
            path = copied(killed, tmp_path, f"{cores}.zarr")
            fits.append(
                quietly(lambda p=path, c=cores: pa.resume(p, draw=True, cores=c, progress=False))
            )
        one, other = (fit["posterior"].to_dataset().drop_attrs() for fit in fits)
        xr.testing.assert_identical(one, other)

    def test_the_states_are_the_sampler_s_own(self, killed: Path) -> None:
        """The model's log-density there is the one that the sampler noted for the draw."""
        store = open_store(killed)
        snapshot, layout = store.snapshot(), store.goes[0].layout
        model = problem_of_store(store).build("latent")
        logp = model.compile_logp()
        place = layout.places["logp"].start
        for state, rows in zip(snapshot.states(), snapshot.rows, strict=True):
            point, begin = {}, 0
            for variable in model.value_vars:
                shape = model.initial_point()[variable.name].shape
                size = int(np.prod(shape, dtype=int))
                point[variable.name] = state[begin : begin + size].reshape(shape)
                begin += size
            assert begin == layout.parameters
            assert float(logp(point)) == pytest.approx(rows[-1, place], rel=1e-9)

    @pytest.mark.usefixtures("compiled_once")
    def test_going_on_can_be_stopped_too(
        self, killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Three goes make the fit."""
        path = copied(killed, tmp_path)
        first = open_store(path).snapshot().lengths
        stop_after(50, monkeypatch, tune=150)
        with pytest.warns(FitWarning, match="Interrupted"):
            part = pa.resume(path, draw=True, progress=False)
        assert told(part)["draws_by_chain"] == [length + 50 for length in first]
        assert told(part)["goes"] == [list(first), [50] * 4]
        monkeypatch.undo()
        fit = quietly(lambda: pa.resume(path, draw=True, progress=False))
        assert told(fit)["goes"][:2] == [list(first), [50] * 4]
        assert fit["posterior"].sizes["draw"] == max(first) + 100 == np.sum(told(fit)["goes"], 0)[0]


@pytest.mark.slow
def test_a_process_that_draws_can_be_read_but_not_joined(watched: Watched) -> None:
    """Until it is killed files are written all the time: only the last moments are lost."""
    assert 0 < watched.sizes[0] < watched.sizes[1] < watched.sizes[2]
    assert all("another process is drawing into" in words for words in watched.refusals)
    assert len(watched.refusals) == 3
    gaps = np.diff(np.array(sorted(watched.moments)) / 1e9)
    assert max(gaps) < 60.0, gaps


@pytest.mark.slow
def test_ctrl_c_keeps_whole_draws_on_the_disk_too(
    frame: pd.DataFrame, tmp_path: Path, interrupt_when: Callable[..., None]
) -> None:
    path = tmp_path / "run.zarr"
    interrupt_when((path / "draws/0/rows/c/1/0/0").exists)
    options = {**ENDLESS, "chains": 2, "method": "nuts"}
    with pytest.warns(FitWarning) as caught:
        fit = pa.fit(FORMULA, frame, store=path, **OPTIONS, **options)
    shape = fit["posterior"]["beta"].shape
    message = " ".join(str(warning.message) for warning in caught)
    assert f"Interrupted: {shape[1]} of 1000000 draws a chain were kept." in message
    assert f"pa.resume({str(path)!r}, draw=True) draws the rest." in message
    part = quietly(lambda: pa.resume(path, progress=False))
    assert part["posterior"]["beta"].shape == shape
    assert np.isfinite(part["posterior"]["beta"].to_numpy()).all()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no limits of files' sizes")
def test_a_file_that_may_not_grow_is_told_and_the_stored_part_stays(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    """As a full disk does, the system refuses to write: here files above a size."""
    path = tmp_path / "run.zarr"
    found = report(start(frame, path, limited=True))
    part = quietly(lambda: pa.resume(path, progress=False))
    lengths = told(part)["draws_by_chain"]
    assert found["error"] == "StorageError"
    assert "File too large" in found["message"]
    listed = ", ".join(map(str, lengths))
    assert f"Its chains have {listed} of 1000000 draws there" in found["message"]
    assert f"with pa.resume({str(path)!r}, draw=True)" in found["message"]
    assert np.isfinite(part["posterior"]["beta"].to_numpy()).all()


def model_with(frame: pd.DataFrame, name: str = "extra", prior: str = "Normal(0, 1)") -> Any:
    import pymc as pm

    with pa.models.logit_glmm(FORMULA, frame, priors={"x": prior}) as made:
        pm.Normal(name)
    return made


@pytest.mark.slow
def test_a_model_with_additions_is_needed_to_go_on(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.zarr"
    quick = {"draws": 400, "tune": 100, "chains": 2, "seed": 1, "progress": False}
    stop_after(100, monkeypatch, tune=100)
    fit = quietly(lambda: pa.fit(model_with(frame), store=path, posterior_predictive=True, **quick))
    monkeypatch.undo()
    assert told(fit)["draws_by_chain"] == [100, 100]
    assert "posterior_predictive" in fit.children

    part = quietly(lambda: pa.resume(path, progress=False))
    xr.testing.assert_equal(part["posterior"].to_dataset(), fit["posterior"].to_dataset())
    assert told(part)["added_by_user"] == ["extra"]
    assert "posterior_predictive" not in part.children
    assert "need the model" in told(part)["note"]
    with pytest.raises(SpecificationError, match=r"additions \(extra\).*model=model"):
        pa.resume(path, draw=True, progress=False)
    turned = frame[::-1].reset_index(drop=True)
    for other in ((frame, "more"), (frame, "extra", "Normal(0, 2)"), (turned,)):
        with pytest.raises(SpecificationError, match="isn't the one of the run"):
            pa.resume(path, draw=True, model=model_with(*other), progress=False)

    whole = quietly(lambda: pa.resume(path, draw=True, model=model_with(frame), progress=False))
    assert whole["posterior"].sizes["draw"] == whole["posterior_predictive"].sizes["draw"] == 400
    assert told(whole)["added_by_user"] == ["extra"]
    assert told(whole)["why"] == "which is how the model was built"
    xr.testing.assert_equal(
        whole["posterior"]["extra"][:, :100].drop_vars("draw"),
        fit["posterior"]["extra"].drop_vars("draw"),
    )


class TestImportance:
    """It has no finished part before its end."""

    def test_its_result_is_written_at_the_end(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        path = tmp_path / "run.zarr"
        fit = pa.fit(
            FORMULA, frame, method="importance", store=path, log_likelihood=True, **OPTIONS
        )
        plain = pa.fit(FORMULA, frame, method="importance", **OPTIONS)
        xr.testing.assert_identical(pa.load(path), fit)
        xr.testing.assert_identical(
            fit["posterior"].to_dataset().drop_attrs(), plain["posterior"].to_dataset().drop_attrs()
        )
        again = pa.resume(path, draw=True, progress=False)
        xr.testing.assert_identical(again, fit)
        with pytest.raises(StorageError, match="exists"):
            pa.fit(FORMULA, frame, method="importance", store=path, **OPTIONS)

    def test_it_is_done_again(
        self, frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
    ) -> None:
        """Interrupted on its way, or at the very end; the result is the same as without."""
        from popavg.workflows import importance, store

        def interrupted(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        path, own = tmp_path / "run.zarr", {"x": "Normal(0, 1)"}
        options = {**OPTIONS, "method": "auto", "priors": own, "keep": "visit"}
        monkeypatch.setattr(importance, "importance_sample", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pa.fit(FORMULA, frame, store=path, **options)
        monkeypatch.undo()
        with pytest.raises(ConvergenceError, match=r"has no draws yet.*draw=True"):
            pa.resume(path)
        assert "0, 0, 0, 0 of 1000 draws a chain" in capsys.readouterr().out
        monkeypatch.setattr(store.Store, "complete", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pa.resume(path, draw=True, progress=False)
        monkeypatch.undo()
        fit = pa.resume(path, draw=True, progress=False)
        plain = pa.fit(FORMULA, frame, **options)
        xr.testing.assert_identical(
            fit["posterior"].to_dataset().drop_attrs(), plain["posterior"].to_dataset().drop_attrs()
        )
        assert told(fit)["method"] == "importance"
        assert told(fit)["why"] == told(plain)["why"]
        xr.testing.assert_identical(
            fit["training_data"].to_dataset(), plain["training_data"].to_dataset()
        )


def test_a_design_that_comes_out_otherwise_is_told(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from popavg.workflows import importance

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "run.zarr"
    monkeypatch.setattr(importance, "importance_sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pa.fit(FORMULA, frame, method="importance", store=path, **OPTIONS)
    monkeypatch.undo()
    with xr.open_dataset(path, group="training_data", engine="zarr", consolidated=False) as stored:
        changed = stored.load()
    changed["x"] = changed["x"] + 1.0
    changed.to_zarr(path, group="training_data", mode="w", consolidated=False)
    with pytest.raises(StorageError, match=r"isn't the one fitted.*versions"):
        pa.resume(path, draw=True, progress=False)
