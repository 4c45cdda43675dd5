"""A run on the disk: what is fitted, how, and the draws there are of it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from popavg.errors import ConvergenceError, StorageError
from popavg.posterior_tools.tree import fit_tree, specify
from popavg.specification import ATTRIBUTE, Specification
from popavg.workflows._lock import locked
from popavg.workflows._recipe import Recipe
from popavg.workflows.problem import Problem
from popavg.workflows.sampling import Drawing
from popavg.workflows.storage import RUN, PathLike, as_path
from popavg.workflows.stored_draws import Go, Layout, Snapshot

__all__ = ["Recipe", "Store", "is_whole", "locked", "new_store", "open_store"]

#: What was chosen when drawing began: the method, and why.
DRAWING = "popavg_drawing"

_FORMAT = 1
_DRAWS = "draws"
#: Groups that are there from the beginning.
_KEPT = ("constant_data", "observed_data", "training_data")


@dataclass(frozen=True, eq=False)
class Store:
    """A run on the disk.

    Attributes
    ----------
    path : pathlib.Path
        The Zarr directory.
    specification : Specification
        What is fitted.
    recipe : Recipe
        How.
    """

    path: Path
    specification: Specification
    recipe: Recipe

    @property
    def root(self) -> zarr.Group:
        """The directory as a group that can be written."""
        return zarr.open_group(self.path, mode="r+")

    def data(self) -> xr.DataTree:
        """Design, outcome and training frame."""
        groups = {}
        for name in _KEPT:
            options: dict[str, Any] = {"group": name, "engine": "zarr", "consolidated": False}
            with xr.open_dataset(self.path, **options) as stored:
                groups[name] = stored.load()
        return xr.DataTree.from_dict(groups)

    @property
    def drawing(self) -> Drawing | None:
        """How it is drawn; None before drawing began."""
        found: Any = self.root.attrs.asdict().get(DRAWING)
        return None if found is None else Drawing(**found)

    def choose(self, drawing: Drawing) -> Drawing:
        """Note how it is drawn, unless that stands there already: that is returned then."""
        noted = self.drawing
        if noted is None:
            self.root.attrs[DRAWING] = json.loads(json.dumps(asdict(drawing), default=float))
        return noted or drawing

    @property
    def remedy(self) -> str:
        """How to get the rest of the draws."""
        return f"pa.resume({str(self.path)!r}, draw=True) draws the rest."

    @property
    def goes(self) -> list[Go]:
        """What each process drew, the first one first."""
        root = self.root
        if _DRAWS not in root:
            return []
        found = (Go.open(_group(root, f"{_DRAWS}/{i}")) for i in range(self._places()))
        return [go for go in found if go is not None]

    def _places(self) -> int:
        folder = self.path / _DRAWS
        return len([place for place in folder.iterdir() if place.name.isdigit()])

    def begin(self, chains: Sequence[int], draws: int, *, layout: Layout, seed: int) -> Go:
        """Make room for the draws of this process.

        Raises
        ------
        StorageError
            Earlier draws are of other variables.
        """
        goes = self.goes
        if goes and goes[0].layout != layout:
            raise StorageError(
                f"the draws in {str(self.path)!r} are of other variables than the model's",
                "draws of the same model, by the same version of popavg",
                "read them with pa.resume(path) and fit again under a new name",
            )
        group = self.root.require_group(_DRAWS).create_group(str(self._places()))
        return Go.create(group, chains, draws, layout=layout, seed=seed)

    def next_seed(self, seed: int) -> int:
        """The run's seed for the first draws, others for those of later goes."""
        goes = len(self.goes)
        if not goes:
            return seed
        return int(np.random.SeedSequence(seed, spawn_key=(goes,)).generate_state(1)[0])

    def snapshot(self) -> Snapshot:
        """The draws that there are; what isn't needed beyond the asked ones is left out."""
        return Snapshot.of(self.goes, self.recipe.sampler.chains, self.recipe.sampler.draws)

    def draws(self) -> tuple[xr.DataTree, tuple[int, ...]]:
        """The draws that all chains have, and how many each has.

        Returns
        -------
        tree : xarray.DataTree
            Groups ``posterior`` and ``sample_stats``; chains without a draw are left out.
        lengths : tuple of int
            Draws that each chain has.

        Raises
        ------
        ConvergenceError
            No chain has any.
        """
        found = self.snapshot()
        if not any(found.lengths):
            raise ConvergenceError(
                f"{str(self.path)!r} has no draws yet: it was stopped before any chain had one",
                remedy=f"draw them with pa.resume({str(self.path)!r}, draw=True)",
            )
        return found.tree(), found.lengths

    @contextmanager
    def telling(self) -> Generator[None]:
        """What can't be written is told together with what was.

        Raises
        ------
        StorageError
            The disk is full, or the directory is gone or can't be written.
        """
        try:
            yield
        except StorageError:
            raise
        except OSError as error:
            raise self._unwritten(error) from error

    def _unwritten(self, error: OSError) -> StorageError:
        path, asked, why = str(self.path), self.recipe.sampler.draws, type(error).__name__
        try:
            held = self.snapshot().lengths
        except OSError:
            return StorageError(f"{path!r} is gone ({why}: {error})", remedy="fit again")
        rest = f"make room on the disk, then draw the rest with pa.resume({path!r}, draw=True)"
        return StorageError(
            f"{path!r} couldn't be written ({why}: {error}). Its chains have "
            f"{', '.join(map(str, held))} of {asked} draws there",
            remedy=f"read these with pa.resume({path!r}); {rest}" if any(held) else rest,
        )

    def complete(self, fit: xr.DataTree) -> None:
        """Make it a fit that :func:`popavg.load` reads; the rows of draws are then removed.

        Parameters
        ----------
        fit : xarray.DataTree
            The whole fit.

        Raises
        ------
        StorageError
            The disk is full; the rows are still there.

        Notes
        -----
        It is one from the moment on that one file, with the attributes of the root, is replaced.
        """
        new = [name for name in fit.children if name not in _KEPT]
        with self.telling():
            try:
                for name in new:
                    group = fit[name].to_dataset()
                    group.to_zarr(self.path, group=name, mode="w", consolidated=False)
                self.root.attrs.put({ATTRIBUTE: fit.attrs[ATTRIBUTE]})
            except OSError:
                for name in new:
                    shutil.rmtree(self.path / name, ignore_errors=True)
                raise
            self._remove_rows()

    def _remove_rows(self) -> None:
        """Out of the directory in one step, then away."""
        if (self.path / _DRAWS).exists():
            prefix = f".{self.path.name[:40]}-"
            with tempfile.TemporaryDirectory(prefix=prefix, dir=self.path.parent) as elsewhere:
                (self.path / _DRAWS).rename(Path(elsewhere) / _DRAWS)


@contextmanager
def new_store(path: PathLike, problem: Problem, recipe: Recipe) -> Generator[Store]:
    """A run on the disk that this process draws; gone again where drawing didn't even begin.

    Parameters
    ----------
    path : path-like
        A Zarr directory that doesn't exist yet.
    problem : Problem
        What is fitted.
    recipe : Recipe
        How.

    Yields
    ------
    Store

    Raises
    ------
    StorageError
        The path exists, doesn't end in ``.zarr``, its folder doesn't exist, or can't be written.
    """
    store = _create(path, problem, recipe)
    with locked(store.path):
        try:
            yield store
        except StorageError:
            raise
        except Exception:
            if store.path.exists() and store.drawing is None:
                shutil.rmtree(store.path, ignore_errors=True)
            raise


def _create(path: PathLike, problem: Problem, recipe: Recipe) -> Store:
    target = as_path(path, (".zarr",))
    if not target.parent.is_dir():
        raise StorageError(
            f"the folder {str(target.parent)!r} doesn't exist", remedy="make it first"
        )
    priors = {name: prior.to_dict() for name, prior in problem.priors.items()}
    specification = replace(specify(problem.design, problem.link, problem.family), priors=priors)
    tree = fit_tree(problem.design, specification, {})
    told = {"format": _FORMAT, "recipe": recipe.to_dict()}
    tree.attrs = {RUN: {**told, "specification": specification.to_json()}}
    try:
        target.mkdir()
    except FileExistsError as error:
        raise StorageError(
            f"{str(target)!r} exists",
            "a new name: a run is never overwritten",
            f"read what it holds with pa.resume({str(target)!r}), draw the rest with "
            f"pa.resume({str(target)!r}, draw=True)",
        ) from error
    try:
        tree.to_zarr(target, mode="a", consolidated=False)
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise StorageError(
            f"{str(target)!r} couldn't be written ({type(error).__name__}: {error})",
            remedy="check the disk's free space and the folder's permissions",
        ) from error
    return Store(target, specification, recipe)


def is_whole(path: PathLike) -> bool:
    """Whether a path is a Zarr directory with a whole fit.

    Parameters
    ----------
    path : path-like
        Where it is.

    Returns
    -------
    bool

    Raises
    ------
    StorageError
        There is nothing.
    """
    return ATTRIBUTE in _attributes(as_path(path, ()))


def _attributes(target: Path) -> dict[str, Any]:
    if not target.exists():
        raise StorageError(f"there is no run {str(target)!r}", remedy="check the path")
    try:
        return zarr.open_group(target, mode="r").attrs.asdict()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(target, error) from error


def _unreadable(target: Path, error: Exception) -> StorageError:
    return StorageError(
        f"{str(target)!r} can't be read as a run ({type(error).__name__}: {error})",
        "a directory that pa.fit(…, store=…) made",
        "if the fit was stopped at its very beginning, remove it and fit again",
    )


def open_store(path: PathLike) -> Store:
    """A run that was begun.

    Parameters
    ----------
    path : path-like
        Where it is.

    Returns
    -------
    Store

    Raises
    ------
    StorageError
        There is none, or one of another version.
    """
    target = as_path(path, ())
    told = _attributes(target).get(RUN)
    if told is None:
        raise StorageError(
            f"{str(target)!r} isn't a run",
            "a directory that pa.fit(…, store=…) made",
            "read what pa.save wrote with pa.load",
        )
    try:
        if told["format"] != _FORMAT:
            raise ValueError(f"format {told['format']}, this version reads {_FORMAT}")
        specification = Specification.from_json(told["specification"])
        return Store(target, specification, Recipe.from_dict(told["recipe"]))
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(target, error) from error


def _group(root: zarr.Group, name: str) -> zarr.Group:
    found = root[name]
    assert isinstance(found, zarr.Group)
    return found
