"""Draws that another program made, as arrays of shape (chains, draws, …) under their own names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popavg._checks import listing, suggestion
from popavg.errors import DataError
from popavg.posterior_tools._draw_frames import columns_by_chain, is_frame_like, read_frames
from popavg.posterior_tools._numbers import as_floats

__all__ = ["DrawTable", "Variable", "posterior_of", "read_table"]

type Floats = NDArray[np.float64]
type Labels = tuple[str, ...]

_INDEXED = re.compile(r"^(?P<base>.+?)\[(?P<index>[^\[\]]*)\]$")
_KINDS = (
    "a CSV path or a list of them, a DataFrame, an xarray Dataset or DataTree, or a dict of arrays "
    "(chain, draw, …)"
)


@dataclass(frozen=True, eq=False)
class Variable:
    """Draws of one parameter.

    Attributes
    ----------
    name : str
        As the other program calls it.
    values : numpy.ndarray, shape (chains, draws, …)
        Finite numbers.
    labels : tuple of (tuple of str or None)
        Names along each of its own axes, None where it has none.
    dims : tuple of str
        Names of its own axes; empty where the draws name none.
    """

    name: str
    values: Floats
    labels: tuple[Labels | None, ...]
    dims: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class DrawTable:
    """Draws by name, checked when they are asked for.

    Attributes
    ----------
    kind : str
        What the draws came in, for messages.
    shape : tuple of int
        Chains and draws.
    arrays : dict of str to array
        Shape (chains, draws, …) each.
    labels : dict of str to tuple
        See :class:`Variable`; only of variables that have some.
    """

    kind: str
    shape: tuple[int, int]
    arrays: Mapping[str, Any]
    labels: Mapping[str, tuple[Labels | None, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        """All variables, or columns."""
        return tuple(self.arrays)

    def __contains__(self, name: str) -> bool:
        return name in self.arrays or bool(self._elements(name)) or self._element(name) is not None

    def get(self, name: str) -> Variable:
        """Draws of a variable, of one element ``"b[0]"``, or of all elements of ``"b"``.

        Parameters
        ----------
        name : str
            A variable or column; ``"b[0]"``, an element of an array by its label, or by its
            position from 0; ``"b"``, all columns ``b[1]``, ``b[2]``, … or ``b.1``, ``b.2``, ….

        Raises
        ------
        DataError
            There is none, or some draws are NaN or infinite: how many, and where the first is.
        """
        if name in self.arrays:
            values, labels = _floats(name, self.arrays[name]), self.labels.get(name)
            dims = tuple(map(str, getattr(self.arrays[name], "dims", ())[2:]))
            found = Variable(name, values, labels or (None,) * (values.ndim - 2), dims)
        elif elements := self._elements(name):
            found = self._gathered(name, elements)
        else:
            element = self._element(name)
            if element is None:
                raise DataError(
                    f"the draws have no {name!r}",
                    listing(self.names, 30),
                    suggestion(name, self.names) or "check how the variable is called there",
                )
            found = Variable(name, element, ())
        check_finite(found.name, found.values)
        return found

    def _elements(self, name: str) -> dict[str, tuple[str, ...]]:
        """Columns ``name[…]`` or ``name.1.2``, with their indices."""
        found = {}
        for column in self.arrays:
            if column.startswith(f"{name}[") and column.endswith("]"):
                found[column] = tuple(column[len(name) + 1 : -1].split(","))
            elif (
                column.startswith(f"{name}.") and column[len(name) + 1 :].replace(".", "").isdigit()
            ):
                found[column] = tuple(column[len(name) + 1 :].split("."))
        return found

    def _gathered(self, name: str, elements: Mapping[str, tuple[str, ...]]) -> Variable:
        depths = {len(index) for index in elements.values()}
        if len(depths) > 1:
            raise DataError(
                f"the columns of {name!r} have {listing(sorted(depths))} indices",
                "the same number of indices in each",
                "name the columns that are meant, as a list",
            )
        axes = [list(dict.fromkeys(axis)) for axis in zip(*elements.values(), strict=True)]
        axes = [sorted(axis, key=int) if all(map(str.isdigit, axis)) else axis for axis in axes]
        if len(elements) != np.prod([len(axis) for axis in axes]):
            raise DataError(
                f"{name!r} has {len(elements)} columns, but indices for "
                f"{' × '.join(str(len(axis)) for axis in axes)}",
                "a column for every combination of its indices",
                "check that no column was lost",
            )
        values = np.empty((*self.shape, *(len(axis) for axis in axes)))
        places = [{label: i for i, label in enumerate(axis)} for axis in axes]
        for column, index in elements.items():
            where = tuple(place[label] for place, label in zip(places, index, strict=True))
            values[(slice(None), slice(None), *where)] = _floats(column, self.arrays[column])
        return Variable(name, values, tuple(tuple(axis) for axis in axes))

    def _element(self, name: str) -> Floats | None:
        match = _INDEXED.match(name)
        if match is None or match["base"] not in self.arrays:
            return None
        values = _floats(match["base"], self.arrays[match["base"]])
        index = [part.strip() for part in match["index"].split(",")]
        labels = self.labels.get(match["base"]) or (None,) * (values.ndim - 2)
        if len(index) != values.ndim - 2:
            return None
        where = []
        for part, size, names in zip(index, values.shape[2:], labels, strict=True):
            if names is not None and part in names:
                where.append(names.index(part))
            elif part.isdigit() and int(part) < size:
                where.append(int(part))
            else:
                return None
        return values[(slice(None), slice(None), *where)]


def read_table(draws: Any, *, chains: int | None = None) -> DrawTable:
    """Read draws in any of the containers that programs give them in.

    Parameters
    ----------
    draws : path, DataFrame, list of them, Dataset, DataTree or mapping
        A list has one item for each chain. Trees (and objects with an attribute ``posterior``)
        give their group ``posterior``. The arrays of a mapping have the shape (chains, draws, …).
    chains : int, optional
        Chains that are stacked in a frame without a column for them.

    Raises
    ------
    DataError
        Another type, no draws, chains of different length, arrays or variables without the axes
        of chains and draws.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.posterior_tools.draw_table import read_table
    >>> read_table({"b": np.zeros((2, 50, 3))}).get("b[2]").values.shape
    (2, 50)
    """
    if isinstance(draws, (str, PathLike)) or is_frame_like(draws):
        frame = read_frames(draws)
        shape, columns = columns_by_chain(frame, chains)
        return DrawTable("a table", shape, columns, {})
    dataset = posterior_of(draws)
    if dataset is not None:
        return _from_dataset(dataset)
    if isinstance(draws, Mapping) and draws:
        return _from_mapping(draws)
    raise DataError(
        f"the draws are of type {type(draws).__name__}"
        + (" without entries" if isinstance(draws, (Mapping, list, tuple)) else ""),
        _KINDS,
        "convert them to one of these",
    )


def check_finite(name: str, values: Floats) -> None:
    """No draw is NaN or infinite.

    Raises
    ------
    DataError
        Some are: how many, and where the first is.
    """
    bad = ~np.isfinite(values.reshape(*values.shape[:2], -1)).all(axis=2)
    if bad.any():
        chain, draw = np.argwhere(bad)[0]
        raise DataError(
            f"{int(bad.sum())} of {bad.size} draws of {name!r} are NaN or infinite, the first is "
            f"draw {draw + 1} of chain {chain + 1}",
            "finite draws",
            "leave out unfinished draws, in all chains the same number; if a sampler gave them, "
            "it did not work",
        )


def posterior_of(draws: Any) -> xr.Dataset | None:
    """The posterior of a tree, of its node, of a dataset, or of what has a posterior.

    Parameters
    ----------
    draws : object
        A tree with a group ``posterior``, that group itself, a dataset, or an object with an
        attribute ``posterior``.

    Returns
    -------
    xarray.Dataset or None
        None where it is none of these.

    Raises
    ------
    DataError
        A tree without draws: its groups are named.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.draw_table import posterior_of
    >>> fit = pa.load_example()
    >>> posterior_of(fit).identical(posterior_of(fit["posterior"]))
    True
    """
    if isinstance(draws, xr.DataTree):
        group = draws["posterior"] if "posterior" in draws.children else draws
        return group.to_dataset() if group.data_vars else _no_posterior(draws)
    if isinstance(draws, xr.Dataset):
        return draws
    inner = None if isinstance(draws, Mapping) else getattr(draws, "posterior", None)
    return None if inner is None else posterior_of(inner)


def _no_posterior(tree: xr.DataTree) -> xr.Dataset:
    raise DataError(
        f"the tree has the groups {listing(tree.children) or 'none'}",
        "a group 'posterior' with the draws",
        "pass the tree that holds the draws, or the group itself",
    )


def _from_dataset(data: xr.Dataset) -> DrawTable:
    with_draws = {
        str(name): array
        for name, array in data.data_vars.items()
        if {"chain", "draw"} <= set(array.dims)
    }
    if not with_draws:
        raise DataError(
            "no variable has the dims 'chain' and 'draw': "
            + ", ".join(f"{name!s}{tuple(map(str, a.dims))}" for name, a in data.data_vars.items()),
            "the dims chain and draw on every parameter",
            "rename the dims, or add one: data.expand_dims(chain=[0])",
        )
    arrays, labels = {}, {}
    for name, array in with_draws.items():
        arrays[name] = array.transpose("chain", "draw", ...)
        own = arrays[name].dims[2:]
        labels[name] = tuple(
            tuple(str(label) for label in array.indexes[dim]) if dim in array.indexes else None
            for dim in own
        )
    shape = data.sizes["chain"], data.sizes["draw"]
    _check_not_empty(shape)
    return DrawTable("a dataset", shape, arrays, labels)


def _from_mapping(draws: Mapping[Any, Any]) -> DrawTable:
    arrays = {str(name): _array(str(name), values) for name, values in draws.items()}
    flat = {name: array.shape for name, array in arrays.items() if array.ndim < 2}
    shapes = {array.shape[:2] for array in arrays.values()}
    if flat or len(shapes) > 1:
        told = ", ".join(f"{name!r} {array.shape}" for name, array in list(arrays.items())[:6])
        raise DataError(
            f"the arrays have the shapes {told}",
            "(chains, draws, …), the same chains and draws in each",
            "keep the chains apart: get_samples(group_by_chain=True) in NumPyro, array[None] "
            "where there is one chain",
        )
    shape = next(iter(shapes))
    _check_not_empty(shape)
    return DrawTable("a mapping", shape, arrays, {})


def _array(name: str, values: Any) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError as error:
        lengths = [len(np.atleast_1d(np.asarray(chain, dtype=object))) for chain in values]
        raise chains_differ(f"the chains of {name!r}", lengths) from error


def chains_differ(what: str, lengths: Sequence[int]) -> DataError:
    """Chains of different length."""
    return DataError(
        f"{what} have {', '.join(map(str, lengths))} draws",
        "chains of the same length",
        f"use the first {min(lengths)} draws of each chain, if the shorter ones were interrupted",
    )


def _check_not_empty(shape: tuple[int, int]) -> None:
    if not min(shape):
        raise DataError(f"there are {shape[0]} chains of {shape[1]} draws", "at least one draw")


def _floats(name: str, values: Any) -> Floats:
    return as_floats(values, f"the draws of {name!r}")
