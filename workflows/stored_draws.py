"""Draws on the disk while they are drawn: one row a draw, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popavg.workflows.sampling import common

if TYPE_CHECKING:
    import zarr

__all__ = ["Column", "Go", "Layout", "Snapshot"]

type Floats = NDArray[np.float64]

#: Numbers in one file of the store; the file that isn't full yet is written anew each time.
FILE_SIZE = 2**15

#: The column that says whether a row was written.
MARK = "logp"


@dataclass(frozen=True)
class Column:
    """One variable's place in a row.

    Attributes
    ----------
    name : str
        The variable.
    group : str
        ``"posterior"`` or ``"sample_stats"``; empty for what only the sampler needs.
    dims : tuple of str
        Beside chain and draw.
    shape : tuple of int
        Of one draw.
    dtype : str
        NumPy's name of its type.
    """

    name: str
    group: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Column:
        """Read what :func:`dataclasses.asdict` and JSON made of it."""
        return cls(
            fields["name"],
            fields["group"],
            tuple(fields["dims"]),
            tuple(fields["shape"]),
            fields["dtype"],
        )


@dataclass(frozen=True)
class Layout:
    """How a draw is laid out in a row of numbers.

    Attributes
    ----------
    columns : tuple of Column
        In the row's order; the sampler's own parameters, on its scale, come first.
    parameters : int
        How many numbers these are: the state of the chain.
    coords : dict of str to list
        Labels of the dims.
    """

    columns: tuple[Column, ...]
    parameters: int
    coords: dict[str, list[Any]]

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return sum(prod(column.shape) for column in self.columns)

    @cached_property
    def places(self) -> dict[str, slice]:
        """Where in a row each variable is."""
        ends = np.cumsum([prod(column.shape) for column in self.columns]).tolist()
        starts = [0, *ends[:-1]]
        pairs = zip(self.columns, starts, ends, strict=True)
        return {column.name: slice(start, end) for column, start, end in pairs}

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Layout:
        """Read what :meth:`to_dict` wrote."""
        columns = tuple(Column.from_dict(column) for column in fields["columns"])
        return cls(columns, fields["parameters"], dict(fields["coords"]))

    def dataset(self, rows: Floats, group: str, chains: Sequence[int]) -> xr.Dataset:
        """The variables of a group.

        Parameters
        ----------
        rows : numpy.ndarray, shape (chains, draws, width)
            Whole draws.
        group : str
            ``"posterior"`` or ``"sample_stats"``.
        chains : sequence of int
            Labels of the chains.

        Returns
        -------
        xarray.Dataset
        """
        n_chains, n_draws = rows.shape[:2]
        data = {}
        for column in self.columns:
            if column.group == group:
                values = rows[:, :, self.places[column.name]].astype(column.dtype)
                shaped = values.reshape(n_chains, n_draws, *column.shape)
                data[column.name] = (("chain", "draw", *column.dims), shaped)
        used = {dim for column in self.columns if column.group == group for dim in column.dims}
        coords = {dim: _labels(values) for dim, values in self.coords.items() if dim in used}
        own = {"chain": np.asarray(chains), "draw": np.arange(n_draws)}
        return xr.Dataset(data, coords=own | coords)


def _labels(values: list[Any]) -> NDArray[Any]:
    found = np.asarray(values)
    return found.astype(object) if found.dtype.kind == "U" else found


@dataclass(frozen=True, eq=False)
class Go:
    """What one process draws.

    Attributes
    ----------
    array : zarr.Array, shape (chains, draws, width)
        Rows; NaN where none was written yet.
    chains : tuple of int
        Which chain of the run each of the array's is.
    layout : Layout
        What is where in a row.
    seed : int
        The seed of this go.
    """

    array: zarr.Array[Any]
    chains: tuple[int, ...]
    layout: Layout
    seed: int

    @classmethod
    def create(
        cls, group: zarr.Group, chains: Sequence[int], draws: int, *, layout: Layout, seed: int
    ) -> Go:
        """Make room for draws.

        Parameters
        ----------
        group : zarr.Group
            Where; empty.
        chains : sequence of int
            The chains that are drawn.
        draws : int
            Draws of each, at most.
        layout : Layout
            What is where in a row.
        seed : int
            The seed.

        Returns
        -------
        Go
        """
        width = layout.width
        step = int(np.clip(FILE_SIZE // width, 1, draws))
        array = group.create_array(
            "rows",
            shape=(len(chains), draws, width),
            chunks=(1, step, width),
            dtype="float64",
            fill_value=np.nan,
            dimension_names=("chain", "draw", "column"),
            attributes={"chains": list(chains), "seed": seed, "layout": layout.to_dict()},
        )
        return cls(array, tuple(chains), layout, seed)

    @classmethod
    def open(cls, group: zarr.Group) -> Go | None:
        """What another process left; None where it didn't come to a draw."""
        if "rows" not in group:
            return None
        array: Any = group["rows"]
        told = dict(array.attrs)
        return cls(array, tuple(told["chains"]), Layout.from_dict(told["layout"]), told["seed"])

    def write(self, position: int, start: int, rows: Floats) -> None:
        """Append draws to a chain; a file takes its predecessor's place in one step.

        Parameters
        ----------
        position : int
            The chain's place in the array.
        start : int
            How many draws it has.
        rows : numpy.ndarray, shape (draws, width)
            The new ones.
        """
        self.array[position, start : start + len(rows)] = rows

    def read(self, position: int) -> Floats:
        """A chain's whole draws, shape (draws, width); files beyond the last aren't looked at."""
        mark, step, found = self.layout.places[MARK].start, self.array.chunks[1], []
        for start in range(0, self.array.shape[1], step):
            rows = np.asarray(self.array[position, start : start + step])
            written = np.isfinite(rows[:, mark])
            whole = len(rows) if written.all() else int(written.argmin())
            found.append(rows[:whole])
            if whole < len(rows):
                break
        return np.concatenate(found)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The draws that there are, of all goes.

    Attributes
    ----------
    rows : tuple of numpy.ndarray
        One for each chain, shape (its draws, width); those of later goes after earlier ones'.
    layout : Layout or None
        What is where in a row; None where there is none.
    parts : tuple of tuple of int
        For each go, how many draws of each chain are its.
    """

    rows: tuple[Floats, ...]
    layout: Layout | None
    parts: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(cls, goes: Sequence[Go], chains: int, draws: int) -> Snapshot:
        """Read what is on the disk.

        Parameters
        ----------
        goes : sequence of Go
            In the order in which they were made.
        chains, draws : int
            Chains, and draws of each, that were asked for: what is beyond them is left out.

        Returns
        -------
        Snapshot
        """
        layout = goes[0].layout if goes else None
        nothing = np.empty((0, layout.width if layout else 0))
        found, parts = [[nothing] for _ in range(chains)], []
        for go in goes:
            new = [0] * chains
            for position, chain in enumerate(go.chains):
                room = draws - sum(map(len, found[chain]))
                rows = go.read(position)[:room]
                found[chain].append(rows)
                new[chain] = len(rows)
            parts.append(tuple(new))
        return cls(tuple(np.concatenate(rows) for rows in found), layout, tuple(parts))

    @property
    def lengths(self) -> tuple[int, ...]:
        """Draws of each chain."""
        return tuple(len(rows) for rows in self.rows)

    def states(self) -> list[Floats]:
        """Where the chains that have draws stopped, on the sampler's own scale."""
        size = self.layout.parameters if self.layout else 0
        return [rows[-1, :size] for rows in self.rows if len(rows)]

    def tree(self) -> xr.DataTree:
        """The draws that all chains have; chains without one are left out.

        Returns
        -------
        xarray.DataTree
            Groups ``posterior`` and ``sample_stats``; attributes where there were several goes.

        Raises
        ------
        ConvergenceError
            No chain has any.
        """
        started, whole = common(self.lengths)
        assert self.layout is not None
        rows = np.stack([self.rows[chain][:whole] for chain in started])
        names = ("posterior", "sample_stats")
        groups = {name: self.layout.dataset(rows, name, started) for name in names}
        tree = xr.DataTree.from_dict(groups)
        tree.attrs = self._told()
        return tree

    def _told(self) -> dict[str, Any]:
        """That the draws come from several goes."""
        parts = [part for part in self.parts if any(part)]
        if len(parts) < 2:
            return {}
        listed = "; ".join(", ".join(map(str, part)) for part in parts)
        return {
            "goes": [list(part) for part in parts],
            "note": f"Drawn in {len(parts)} goes (draws of each chain: {listed}). A later go has "
            "a seed of its own, starts from last draws of the earlier ones and warms up anew.",
        }
