"""Whole draws come to the disk while a sampler runs, whatever ends it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow
import pytest

from popavg.workflows import streaming
from popavg.workflows.sampling import STATISTICS, Sampler
from popavg.workflows.streaming import layout_of, stream

SAMPLER = Sampler(draws=10, tune=3, chains=2, seed=1, progress=False)
COMPILED = SimpleNamespace(
    shapes={"sd_log__": (1,), "u": (2, 1), "mean": (), "sd": (1,)},
    dims={"u": ("g", "e"), "sd": ("e",)},
    coords={"g": np.array(["a", "b"]), "e": np.array([1, 2])[:1], "unused": ["x"]},
    reparameterized_names=["sd_log__"],
    n_dim=np.int64(3),
)
WIDTH = 1 + 2 + 1 + 1 + len(STATISTICS)


class Kept:
    """In place of a store: what is written, in the order of writing."""

    def __init__(self) -> None:
        self.rows: dict[int, list[np.ndarray]] = {}
        self.made = 0
        self.on_write: Callable[[], object] = lambda: None

    def begin(self, chains: tuple[int, ...], draws: int, *, layout: Any, seed: int) -> Kept:
        self.made += 1
        self.layout, self.chains, self.seed, self.asked = layout, chains, seed, draws
        return self

    def write(self, position: int, start: int, rows: np.ndarray) -> None:
        self.on_write()
        there = self.rows.setdefault(position, [])
        assert start == sum(map(len, there))
        there.append(rows)

    def chain(self, position: int) -> np.ndarray:
        return np.concatenate(self.rows[position])


def batches(chain: int, done: int) -> tuple[pyarrow.RecordBatch, pyarrow.RecordBatch]:
    """Of a chain that took ``done`` steps, warm-up included; its numbers say which step it was."""
    steps = np.arange(done)
    value = 1000.0 * chain + steps
    nested = {name: [[v + i for i in range(size)] for v in value]
              for name, size in (("sd_log__", 1), ("u", 2), ("sd", 1))}  # fmt: skip
    kind = pyarrow.large_list(pyarrow.float64())
    draws = {name: pyarrow.array(values, kind) for name, values in nested.items()}
    draws["mean"] = pyarrow.array(value)
    statistics = {name: pyarrow.array(value) for name in STATISTICS}
    statistics["diverging"] = pyarrow.array(steps % 2 == 0)
    statistics["tuning"] = pyarrow.array(steps < SAMPLER.tune)
    statistics["chain"] = pyarrow.array(np.full(done, chain, dtype=np.uint64))
    return pyarrow.record_batch(draws), pyarrow.record_batch(statistics)


class Running:
    """In place of nutpie's sampler: at each look its chains have got to the next place."""

    def __init__(self, places: list[tuple[int, int]]) -> None:
        self.places, self.cancelled, self.aborted = places, False, False

    def trace(self) -> Any:
        found = [batches(chain, done) for chain, done in enumerate(self.places[0])]
        return SimpleNamespace(get_arrow_trace=lambda: tuple(zip(*found, strict=True)))

    def wait(self, timeout: float) -> Any:
        if len(self.places) > 1:
            raise TimeoutError
        return self.trace()

    def inspect(self) -> Any:
        found = self.trace()
        del self.places[0]
        return found

    def abort(self) -> Any:
        self.aborted = True
        return self.trace()

    def cancel(self) -> None:
        self.cancelled = True


def run(monkeypatch: pytest.MonkeyPatch, running: Running, kept: Kept) -> None:
    monkeypatch.setattr(streaming, "start", lambda *_, **__: running)
    writer = streaming._Writer(kept, COMPILED, (0, 3), SAMPLER, 77)  # ty: ignore[invalid-argument-type]
    stream(writer, few=False)


def test_a_row_has_the_state_first_then_draws_and_statistics() -> None:
    layout = layout_of(COMPILED)
    assert [column.name for column in layout.columns] == [*COMPILED.shapes, *STATISTICS]
    assert layout.parameters == 3
    assert isinstance(layout.parameters, int)
    assert layout.columns[0].group == ""
    assert layout.columns[1].dims == ("g", "e")
    assert layout.coords["g"] == ["a", "b"]
    assert layout.coords["e"] == [1]
    assert "unused" not in layout.coords
    assert layout.width == WIDTH


def test_each_draw_is_written_once_and_warm_up_never(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()
    run(monkeypatch, Running([(0, 0), (2, 3), (4, 3), (4, 3), (7, 9), (13, 13)]), kept)
    assert kept.made == 1
    assert (kept.chains, kept.seed, kept.asked) == ((0, 3), 77, 10)
    assert [len(rows) for rows in kept.rows[0]] == [1, 3, 6]
    assert [len(rows) for rows in kept.rows[1]] == [6, 4]
    for chain in (0, 1):
        rows, step = kept.chain(chain), 1000.0 * chain + np.arange(3, 13)
        np.testing.assert_array_equal(rows[:, 0], step)
        np.testing.assert_array_equal(rows[:, 1:3], np.stack([step, step + 1], axis=1))
        diverging = kept.layout.places["diverging"].start
        np.testing.assert_array_equal(rows[:, diverging], np.arange(3, 13) % 2 == 0)


def test_an_interrupt_keeps_what_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes while something is being written: that is written to its end, then the rest."""
    kept, running = Kept(), Running([(5, 4), (8, 9), (13, 13)])
    halves = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it

    def interrupted() -> None:
        if not halves:
            halves.append("begun")
            signal.raise_signal(signal.SIGINT)
            threading.Event().wait(0.3)
            halves.append("ended")

    kept.on_write = interrupted
    try:
        run(monkeypatch, running, kept)
    finally:
        signal.signal(signal.SIGINT, before)
    assert running.aborted
    assert halves == ["begun", "ended"]
    assert len(kept.chain(0)) == 5
    assert len(kept.chain(1)) == 6


def test_a_full_disk_ends_the_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, running = Kept(), Running([(5, 4), (8, 9), (13, 13)])

    def full() -> None:
        raise OSError(28, "No space left on device")

    kept.on_write = full
    with pytest.raises(OSError, match="No space left"):
        run(monkeypatch, running, kept)
    assert running.cancelled


def test_writing_takes_a_small_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next look is ten times as far away as the last one took."""
    kept, waited, now = Kept(), [], [0.0]
    running = Running([(4, 4), (5, 5), (6, 6), (13, 13)])
    wait = running.wait

    def noting(timeout: float) -> Any:
        waited.append(timeout)
        return wait(timeout)

    def clock() -> float:
        now[0] += 0.4 if len(waited) == 2 else 0.01
        return now[0]

    running.wait = noting  # ty: ignore[invalid-assignment]
    monkeypatch.setattr(streaming, "time", SimpleNamespace(perf_counter=clock))
    run(monkeypatch, running, kept)
    assert waited == pytest.approx([1.0, 1.0, 4.0, 1.0])


def test_later_chains_start_from_last_draws() -> None:
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Compiled:
        initial_point_func: Any = None

    states = [np.array([1.0, 2.0]), np.array([3.0, 4.0])]
    initial = streaming._starting_from(Compiled(), states).initial_point_func
    found = {seed: initial(seed) for seed in (0, 1, 2**63 + 1)}
    np.testing.assert_array_equal(found[0], states[0])
    np.testing.assert_array_equal(found[2**63 + 1], states[1])
    found[0][:] = 9.0
    np.testing.assert_array_equal(initial(0), states[0])
