"""Write fits to netCDF or Zarr and read them back; nothing is pickled, nothing is overwritten."""

from __future__ import annotations

import os
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr

from popavg._checks import listing
from popavg.errors import StorageError
from popavg.posterior_tools._draw_checks import check_store, store_of
from popavg.posterior_tools.draws import read_specification
from popavg.specification import ATTRIBUTE, Specification

__all__ = ["RUN", "as_path", "load", "replacing", "save"]

type PathLike = str | os.PathLike[str]

#: Attribute of the root of a run that isn't at its end.
RUN = "popavg_run"

_GROUPS = ("posterior", "constant_data", "observed_data", "training_data")

#: Files of which one lies at the root of every Zarr directory (formats 3 and 2).
_ZARR_MARKS = ("zarr.json", ".zgroup")


def save(fit: xr.DataTree, path: PathLike, *, overwrite: bool = False) -> Path:
    """Write a fit to one netCDF file or Zarr directory.

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit`.
    path : path-like
        Ends in ``.nc`` (netCDF) or ``.zarr`` (a directory).
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    pathlib.Path
        Where the fit is.

    Raises
    ------
    StorageError
        The ending is another one, the path exists, its folder doesn't, or writing failed, the
        store that the fit reads from being gone, say; the file that was there is then unchanged.

    Notes
    -----
    Written under a temporary name first and then renamed, so that a crash leaves no half file.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import popavg as pa
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> pa.load(pa.save(pa.load_example(), folder / "fit.nc"))["posterior"].sizes["chain"]
    4
    """
    target = as_path(path, ())
    read_specification(fit)
    store = store_of(fit)
    check_store(store)
    write = _writer(fit, target)
    _check_target(target, overwrite=overwrite)
    with replacing(target) as scratch:
        write(scratch)
        check_store(store)
    return target


def load(path: PathLike, *, lazy: bool = False) -> xr.DataTree:
    """Read a fit that :func:`save` wrote.

    Parameters
    ----------
    path : path-like
        A netCDF file or a Zarr directory.
    lazy : bool
        Leave the draws on the disk, in the blocks of the Zarr directory: for posteriors that are
        larger than memory. Every verb then reads them block by block, on the scheduler or
        ``distributed.Client`` in charge, and returns estimates on dask, computed when they are
        looked at; :func:`popavg.population_coefficients` computes at once. Data and design are
        read at once. For a progress bar use dask's own.

    Returns
    -------
    xarray.DataTree
        The fit, with all that is needed to compute from it.

    Raises
    ------
    StorageError
        There is no such file, it is truncated, it isn't a fit made by popavg, or ``lazy`` of a
        netCDF file.

    Examples
    --------
    >>> import popavg as pa
    >>> pa.load("nowhere.nc")
    Traceback (most recent call last):
    ...
    popavg.errors.StorageError: there is no file 'nowhere.nc'. Check the path.
    """
    source = as_path(path, ())
    if not os.path.exists(source):
        raise StorageError(f"there is no file {str(source)!r}", remedy="check the path")
    tree = _read(source, lazy=lazy)
    if RUN in tree.attrs:
        raise StorageError(
            f"{str(source)!r} is a run whose fit isn't whole yet",
            "a file written by pa.save, or a run at its end",
            "read the draws that there are with pa.resume(path), draw the rest with "
            "pa.resume(path, draw=True)",
        )
    missing = [name for name in _GROUPS if name not in tree.children]
    if ATTRIBUTE not in tree.attrs or missing:
        raise StorageError(
            f"{str(source)!r} isn't a fit made by popavg",
            "a file written by pa.save",
            "fit the model with pa.fit and write it with pa.save"
            if ATTRIBUTE not in tree.attrs
            else f"the groups {listing(missing)} are missing: write it again",
        )
    stems = {composed: stem for stem, composed in _spellings(read_specification(tree)).items()}
    return _respelt(tree, stems)


def as_path(path: PathLike, endings: tuple[str, ...]) -> Path:
    """A path with one of these endings.

    Raises
    ------
    StorageError
        Not a path, or another ending.
    """
    if not isinstance(path, str | os.PathLike):
        raise StorageError(f"the path is of type {type(path).__name__}", "text or a pathlib.Path")
    found = Path(path)
    if endings and found.suffix.lower() not in endings:
        raise StorageError(f"the path {str(found)!r} ends in {found.suffix!r}", listing(endings))
    return found


@contextmanager
def replacing(target: Path) -> Generator[Path]:
    """Give a temporary path to write to; it takes the target's place when all went well.

    Raises
    ------
    StorageError
        Writing or renaming failed; the target is then as it was, and nothing else is left.
    """
    if not target.parent.is_dir():
        raise StorageError(
            f"the folder {str(target.parent)!r} doesn't exist", remedy="make it first"
        )
    scratch: Path | None = None
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name[:40]}-", dir=target.parent))
        yield scratch / target.name
        _swap(scratch / target.name, target, scratch / "replaced")
    except Exception as error:
        raise StorageError(
            f"{str(target)!r} couldn't be written ({type(error).__name__}: {_short(error)})",
            remedy="check the disk's free space and the folder's permissions",
        ) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def _writer(fit: xr.DataTree, target: Path) -> Callable[[Path], object]:
    if target.suffix == ".nc":
        return lambda path: _composed(fit).to_netcdf(path, engine="netcdf4")
    if target.suffix == ".zarr":
        return lambda path: fit.to_zarr(path, consolidated=False)
    raise StorageError(
        f"the path {str(target)!r} ends in {target.suffix!r}",
        "'.nc' for one netCDF file, '.zarr' for a Zarr directory",
    )


def _check_target(target: Path, *, overwrite: bool) -> None:
    if not os.path.isdir(target.parent):
        raise StorageError(
            f"the folder {str(target.parent)!r} doesn't exist", remedy="make it first"
        )
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise StorageError(
            f"{str(target)!r} exists", "a new name", "say overwrite=True to replace it"
        )
    is_store = any((target / name).is_file() for name in _ZARR_MARKS)
    if target.is_dir() and (target.suffix == ".nc" or not is_store):
        raise StorageError(
            f"{str(target)!r} is a folder, not a fit: it isn't replaced",
            "a new name, or a fit written by pa.save",
        )


def _read(source: Path, *, lazy: bool) -> xr.DataTree:
    engine = "zarr" if source.is_dir() else "netcdf4"
    if lazy and engine != "zarr":
        raise StorageError(
            f"lazy=True for {str(source)!r}, which is one file",
            "a Zarr directory",
            "load it without lazy and save it under a name that ends in '.zarr'",
        )
    options: dict[str, Any] = {"consolidated": False} if engine == "zarr" else {}
    try:
        if lazy:
            return _lazily(xr.open_datatree(source, engine=engine, chunks={}, **options))
        with xr.open_datatree(source, engine=engine, **options) as stored:
            return stored.load()
    except Exception as error:
        kind = "a Zarr directory" if engine == "zarr" else "netCDF"
        raise StorageError(
            f"{str(source)!r} can't be read as {kind} ({type(error).__name__}: {_short(error)})",
            "a netCDF file or Zarr directory written by pa.save",
            "it may be truncated or of another kind: write it again",
        ) from error


def _lazily(stored: xr.DataTree) -> xr.DataTree:
    """Draws stay on the disk, data and design are read."""
    tree = stored.copy()
    for name, group in stored.children.items():
        if not {"chain", "draw"} & set(group.dims):
            tree[name] = xr.DataTree(group.to_dataset().load())
    return tree


def _composed(fit: xr.DataTree) -> xr.DataTree:
    """Names with composed accents (NFC): netCDF composes them, whatever the data had."""
    return _respelt(fit, _spellings(read_specification(fit)))


def _spellings(specification: Specification) -> dict[str, str]:
    """Columns and factors whose names aren't composed, and how they are composed."""
    stems = [*specification.columns, *specification.group_names]
    composed = {stem: unicodedata.normalize("NFC", stem) for stem in stems}
    return {stem: name for stem, name in composed.items() if stem != name}


def _respelt(tree: xr.DataTree, stems: Mapping[str, str]) -> xr.DataTree:
    if not stems:
        return tree
    groups = {path: _renamed(group, stems) for path, group in tree.to_dict().items()}
    return xr.DataTree.from_dict(groups)


def _renamed(group: xr.Dataset, stems: Mapping[str, str]) -> xr.Dataset:
    """A name is a stem, or a stem between an affix of ours: ``u_<g>``, ``effect_<g>_other``."""
    forms = (
        "{}",
        "sd_{}",
        "corr_{}",
        "phi_{}",
        "u_{}",
        "Z_{}",
        "index_{}",
        "effect_{}",
        "effect_{}_other",
    )
    names = {form.format(old): form.format(new) for old, new in stems.items() for form in forms}
    there = {*group.variables, *group.dims}
    return group.rename({old: new for old, new in names.items() if old in there})


def _short(error: Exception) -> str:
    """Its message in one line of at most 200 characters."""
    return " ".join(str(error).split())[:200]


def _swap(new: Path, target: Path, old: Path) -> None:
    """Rename; what is in the way is set aside first, where it is a directory or makes way for one.

    A file replaces a file in one step.
    """
    if target.is_dir() or (new.is_dir() and os.path.lexists(target)):
        target.rename(old)
    try:
        new.replace(target)
    except OSError:
        if os.path.lexists(old):
            old.rename(target)
        raise
