"""Runs of a calibration, here or in processes of their own."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NoReturn

from popavg.errors import SpecificationError, StorageError
from popavg.workflows._calibration_plan import Plan, Worker
from popavg.workflows._calibration_store import RunFolder

__all__ = ["ProcessEnded", "here", "in_processes", "serve"]

#: Seconds between two looks at what is finished.
_PAUSE = 0.1
_PROGRAM = "import sys; sys.path[:] = {path!r}; from {module} import serve; serve()"


class ProcessEnded(RuntimeError):
    """A process came to an end before its runs did."""


def here(plan: Plan, folder: RunFolder, numbers: Sequence[int]) -> Generator[int]:
    """Do runs in this process.

    Yields
    ------
    int
        The number of each as soon as it is kept.
    """
    worker = Worker(plan)
    for number in numbers:
        folder.write(worker.run(number))
        yield number


def in_processes(
    plan: Plan, folder: RunFolder, numbers: Sequence[int], jobs: int
) -> Generator[int]:
    """Do runs in several processes, which end when this one does.

    Each gets every ``jobs``-th run. They are started without importing the caller's script, so
    that it needs no ``if __name__ == "__main__"``.

    Yields
    ------
    int
        The number of each as soon as it is kept.

    Raises
    ------
    SpecificationError
        The plan can't be sent to another process.
    StorageError
        A run couldn't be written.
    ProcessEnded
        A process was killed.
    """
    orders = [_packed(plan, folder, numbers[k::jobs]) for k in range(jobs)]
    waiting = set(numbers)
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        processes = [_start(Path(scratch) / f"{k}.txt", stack) for k in range(jobs)]
        for process, order in zip(processes, orders, strict=True):
            _tell(process, order)
        while waiting:
            ended = [process.poll() for process in processes]
            for number in sorted(waiting.intersection(folder.done())):
                waiting.remove(number)
                yield number
            for k, code in enumerate(ended):
                if code and waiting:
                    _complain(code, Path(scratch) / f"{k}.txt")
            if waiting and all(code == 0 for code in ended):
                raise ProcessEnded("all processes ended before their runs did")
            time.sleep(_PAUSE)


def _packed(plan: Plan, folder: RunFolder, numbers: Sequence[int]) -> bytes:
    main = [name for name, own in plan.own.items() if own.__module__ == "__main__"]
    try:
        if main:
            raise pickle.PicklingError(f"{main[0]!r} is a function of the script that runs")
        return pickle.dumps((plan, folder.path.resolve(), list(numbers)))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise SpecificationError(
            f"quantities= can't be sent to other processes ({error})",
            "functions that can be imported from a module",
            "put them into a module of their own, or say jobs=1",
        ) from error


def _start(errors: Path, stack: contextlib.ExitStack) -> subprocess.Popen[bytes]:
    """A process that waits for orders; Ctrl-C doesn't reach it, the end of this process does."""
    program = _PROGRAM.format(path=sys.path, module=__name__)
    with errors.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
    stack.callback(_stop, process)
    return process


def _tell(process: subprocess.Popen[bytes], order: bytes) -> None:
    """Its orders; that it has ended before is noticed later."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(len(order).to_bytes(8, "big") + order)
        process.stdin.flush()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def _complain(code: int, errors: Path) -> NoReturn:
    lines = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = lines[-1] if lines else "it said nothing"
    if last.startswith(f"{StorageError.__module__}.{StorageError.__name__}: "):
        raise StorageError(last.partition(": ")[2])
    raise ProcessEnded(f"a process ended with code {code} ({last})")


def serve() -> None:
    """Read orders from the standard input and do them; end at once where it is closed."""
    stream = sys.stdin.buffer
    size = int.from_bytes(stream.read(8), "big")
    plan, path, numbers = pickle.loads(stream.read(size))

    def watch() -> None:
        os.read(sys.stdin.fileno(), 1)
        os._exit(1)  # the process that wanted the runs is gone; what is kept is whole

    threading.Thread(target=watch, daemon=True).start()
    for _ in here(plan, RunFolder(path), numbers):
        pass
