"""Write fits to netCDF or Zarr and read them back; nothing is pickled, nothing is overwritten."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import xarray as xr

from popavg.errors import StorageError
from popavg.posterior_tools.draws import read_specification
from popavg.specification import ATTRIBUTE

__all__ = ["load", "save"]

type PathLike = str | os.PathLike[str]

_GROUPS = ("posterior", "constant_data", "observed_data", "training_data")


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
        The ending is another one, the path exists, its folder doesn't, or writing failed; the
        file that was there is then unchanged.

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
    target = Path(path)
    read_specification(fit)
    write = _writer(fit, target)
    if target.exists() and not overwrite:
        raise StorageError(
            f"{str(target)!r} exists", "a new name", "say overwrite=True to replace it"
        )
    if not target.parent.is_dir():
        raise StorageError(
            f"the folder {str(target.parent)!r} doesn't exist", remedy="make it first"
        )
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        write(scratch / target.name)
        _replace(scratch / target.name, target, scratch / "replaced")
    except (OSError, ValueError, RuntimeError) as error:
        raise StorageError(
            f"{str(target)!r} couldn't be written ({type(error).__name__}: {error})",
            remedy="check the disk's free space and the folder's permissions",
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def load(path: PathLike) -> xr.DataTree:
    """Read a fit that :func:`save` wrote, into memory.

    Parameters
    ----------
    path : path-like
        A netCDF file or a Zarr directory.

    Returns
    -------
    xarray.DataTree
        The fit, with all that is needed to compute from it.

    Raises
    ------
    StorageError
        There is no such file, it is truncated, or it isn't a fit made by popavg.

    Examples
    --------
    >>> import popavg as pa
    >>> pa.load("nowhere.nc")
    Traceback (most recent call last):
    ...
    popavg.errors.StorageError: there is no file 'nowhere.nc'. Check the path.
    """
    source = Path(path)
    if not source.exists():
        raise StorageError(f"there is no file {str(source)!r}", remedy="check the path")
    engine = "zarr" if source.is_dir() else "netcdf4"
    try:
        with xr.open_datatree(source, engine=engine) as stored:
            tree = stored.load()
    except Exception as error:
        raise StorageError(
            f"{str(source)!r} can't be read as {engine} ({type(error).__name__}: {error})",
            "a netCDF file or Zarr directory written by pa.save",
            "it may be truncated or of another kind: write it again",
        ) from error
    missing = [name for name in _GROUPS if name not in tree.children]
    if ATTRIBUTE not in tree.attrs or missing:
        raise StorageError(
            f"{str(source)!r} isn't a fit made by popavg",
            "a file written by pa.save",
            "fit the model with pa.fit and write it with pa.save"
            if ATTRIBUTE not in tree.attrs
            else f"the groups {missing} are missing: write it again",
        )
    read_specification(tree)
    return tree


def _writer(fit: xr.DataTree, target: Path) -> Callable[[Path], object]:
    if target.suffix == ".nc":
        return lambda path: fit.to_netcdf(path, engine="netcdf4")
    if target.suffix == ".zarr":
        return lambda path: fit.to_zarr(path, consolidated=False)
    raise StorageError(
        f"the path {str(target)!r} ends in {target.suffix!r}",
        "'.nc' for one netCDF file, '.zarr' for a Zarr directory",
    )


def _replace(new: Path, target: Path, old: Path) -> None:
    """Rename; a directory in the way is set aside first."""
    if target.is_dir():
        target.rename(old)
    try:
        new.replace(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
