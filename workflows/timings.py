"""Where the time goes: the stages of a job, and how much of each was compiling."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from numba.core import event

__all__ = ["Stage", "Timings", "stage", "timed"]


@dataclass
class Stage:
    """One stage of a job.

    Attributes
    ----------
    name : str
        What was done.
    depth : int
        0; 1 for a part of the stage above it.
    seconds : float
        How long it took, wall-clock, its parts included.
    compiling : float
        What of it numba took to compile; without what PyTensor takes to write its code.
    """

    name: str
    depth: int
    seconds: float = 0.0
    compiling: float = 0.0


@dataclass
class Timings:
    """The stages in the order in which they began.

    Attributes
    ----------
    stages : list of Stage
        One for each.

    Examples
    --------
    >>> from popavg.workflows.timings import stage, timed
    >>> with timed() as timings, stage("counting"):
    ...     total = sum(range(1000))
    >>> [found.name for found in timings.stages]
    ['counting']
    """

    stages: list[Stage] = field(default_factory=list)

    def __str__(self) -> str:
        width = max([len(_indented(one)) for one in self.stages], default=0)
        lines = [f"{'':<{width}}  seconds  compiling"]
        lines += [
            f"{_indented(one):<{width}}  {one.seconds:7.2f}  {one.compiling:9.2f}"
            for one in self.stages
        ]
        whole = [one for one in self.stages if one.depth == 0]
        total = sum(one.seconds for one in whole), sum(one.compiling for one in whole)
        return "\n".join([*lines, f"{'in all':<{width}}  {total[0]:7.2f}  {total[1]:9.2f}"])


def _indented(one: Stage) -> str:
    return "  " * one.depth + one.name


@dataclass
class _Running:
    timings: Timings
    clock: _CompileClock
    depth: int = 0


_RUNNING: ContextVar[_Running | None] = ContextVar("timings", default=None)


class _CompileClock(event.Listener):
    """Seconds that numba has compiled; functions compiled within others count once."""

    def __init__(self) -> None:
        self.seconds, self._depth, self._begin = 0.0, 0, 0.0

    def on_start(self, event: event.Event) -> None:
        if self._depth == 0:
            self._begin = time.perf_counter()
        self._depth += 1

    def on_end(self, event: event.Event) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.seconds += time.perf_counter() - self._begin


@contextmanager
def timed() -> Generator[Timings]:
    """Note the stages of what runs inside.

    Yields
    ------
    Timings
        Filled as the stages end.
    """
    running = _Running(Timings(), _CompileClock())
    token = _RUNNING.set(running)
    try:
        with event.install_listener("numba:compile", running.clock):
            yield running.timings
    finally:
        _RUNNING.reset(token)


@contextmanager
def stage(name: str) -> Generator[None]:
    """One stage; costs nothing where no one looks.

    Parameters
    ----------
    name : str
        What is done.
    """
    running = _RUNNING.get()
    if running is None:
        yield
        return
    one = Stage(name, running.depth)
    running.timings.stages.append(one)
    running.depth += 1
    begin, compiled = time.perf_counter(), running.clock.seconds
    try:
        yield
    finally:
        running.depth -= 1
        one.seconds = time.perf_counter() - begin
        one.compiling = running.clock.seconds - compiled
