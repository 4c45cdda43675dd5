"""One process at a time."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from popavg.errors import StorageError

__all__ = ["locked"]


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Be the only process that draws into a directory; the lock ends with the process.

    Raises
    ------
    StorageError
        Another one does.

    Notes
    -----
    Where directories can't be locked (Windows, some network disks) nothing is checked.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(
                f"another process is drawing into {str(path)!r}",
                "one at a time",
                f"wait for it; pa.resume({str(path)!r}) reads the draws that it has so far",
            ) from error
        except OSError:
            pass
        yield
    finally:
        os.close(handle)
