"""Finished runs of a calibration on the disk: one small file each."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from popavg._checks import listing
from popavg.errors import StorageError
from popavg.posterior_tools.calibration_result import CalibrationRun

__all__ = ["RunFolder"]

_MANIFEST = "calibration.json"
_FORMAT = 1


class RunFolder:
    """A directory of finished runs.

    Parameters
    ----------
    path : pathlib.Path
        Where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, facts: Mapping[str, Any]) -> None:
        """Make the directory, or check that it holds runs of the same calibration.

        Parameters
        ----------
        facts : mapping
            What all its runs have in common.

        Raises
        ------
        StorageError
            It holds something else, or can't be made.
        """
        mine = json.loads(json.dumps({"format": _FORMAT, **facts}))
        manifest = self.path / _MANIFEST
        if manifest.exists():
            self._check_same(self._read(manifest), mine)
            return
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise StorageError(
                f"{str(self.path)!r} exists and holds no calibration",
                "a new directory, or one of an earlier call of pa.calibrate",
            )
        try:
            self.path.mkdir(exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"the directory {str(self.path)!r} can't be made ({error})",
                remedy="make the folder above it first, or choose another",
            ) from error
        self._write(manifest, mine)

    def _check_same(self, stored: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
        other = [key for key in mine if stored.get(key) != mine[key]]
        if other:
            raise StorageError(
                f"{str(self.path)!r} holds runs of another calibration: {listing(other)} differ "
                f"({other[0]} was {stored.get(other[0])!r}, is {mine[other[0]]!r})",
                "the same call, with another number of runs or jobs at most",
                "give this calibration a directory of its own",
            )

    def done(self) -> list[int]:
        """Numbers of the finished runs, in order."""
        names = (path.stem.removeprefix("run-") for path in self.path.glob("run-*.json"))
        return sorted(int(name) for name in names if name.isdigit())

    def write(self, run: CalibrationRun) -> None:
        """Keep a finished run.

        Raises
        ------
        StorageError
            It can't be written; those that were stay.
        """
        self._write(self.path / f"run-{run.run:06d}.json", asdict(run))

    def read(self, number: int) -> CalibrationRun:
        """A finished run.

        Raises
        ------
        StorageError
            It can't be read.
        """
        path = self.path / f"run-{number:06d}.json"
        try:
            return CalibrationRun(**self._read(path))
        except TypeError as error:
            raise self._unreadable(path, error) from error

    def _read(self, path: Path) -> Any:
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self._unreadable(path, error) from error

    @staticmethod
    def _unreadable(path: Path, error: Exception) -> StorageError:
        return StorageError(
            f"{str(path)!r} can't be read ({type(error).__name__}: {error})",
            remedy="remove this file: its run is then done again",
        )

    def _write(self, path: Path, fields: Mapping[str, Any]) -> None:
        """Under another name first, so that no half file has this one."""
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with scratch.open("w", encoding="utf-8") as file:
                json.dump(fields, file)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
        except OSError as error:
            scratch.unlink(missing_ok=True)
            raise StorageError(
                f"{str(path)!r} couldn't be written ({type(error).__name__}: {error})",
                remedy="make room on the disk, then make the same call again: finished runs stay",
            ) from error
