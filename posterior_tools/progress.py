"""A progress bar for what takes longer than a moment."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import Progress, TaskID

__all__ = ["NOTICEABLE", "track"]

#: Seconds from which on a computation shows how far it is.
NOTICEABLE = 2.0


def track[T](
    items: Iterable[T], total: int, describe: str, *, progress: bool = True
) -> Iterator[T]:
    """Items, with a bar on the standard error once they will take longer than two seconds.

    Parameters
    ----------
    items : iterable
        What is worked through.
    total : int
        How many there are.
    describe : str
        What is being done.
    progress : bool
        False for no bar. There is none either where nobody could see it move: standard error
        neither a terminal nor a notebook.

    Yields
    ------
    object
        The items, unchanged.

    Examples
    --------
    >>> from popavg.posterior_tools.progress import track
    >>> sum(track([1, 2, 3], 3, "adding"))
    6
    """
    console = Console(stderr=True)
    if not progress or not (console.is_terminal or console.is_jupyter):
        yield from items
        return
    begin = time.monotonic()
    bar, task = Progress(console=console, transient=True), TaskID(-1)
    started = False
    try:
        for done, item in enumerate(items):
            elapsed = time.monotonic() - begin
            if not started and done and elapsed / done * total > NOTICEABLE:
                task = bar.add_task(describe, total=total)
                bar.start()
                started = True
            if started:
                bar.update(task, completed=done)
            yield item
    finally:
        if started:
            bar.stop()
