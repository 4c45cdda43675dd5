"""The rows that a row-wise verb asks about, in which versions, and how they are averaged."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import batched
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike
from scipy.sparse import block_diag, csr_array

from popavg._checks import brief, listing
from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools._row_notes import extrapolation_notes
from popavg.posterior_tools.cells import make_cells
from popavg.posterior_tools.clusters import cluster_name
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.grid import Varying, cells, names_of, varying_values
from popavg.posterior_tools.newdata import NewData, Rows, read_rows
from popavg.posterior_tools.outcome import averaging_note
from popavg.posterior_tools.summaries import COLUMNS
from popavg.posterior_tools.weights import CLUSTER, row_weights

__all__ = ["AskedRows", "averaged_rows", "check_names", "choose_rows", "fixed_seed"]

#: Rows of all versions of the data that are held at a time.
MOST_ROWS = 2**20


@dataclass(frozen=True, eq=False)
class AskedRows:
    """Rows, and what is made of them.

    Attributes
    ----------
    frame : pandas.DataFrame
        The rows.
    labels : pandas.DataFrame
        What each estimand is of: the rows themselves; or groups of rows, each with all versions.
    averaging : scipy.sparse.csr_array, shape (groups, rows), or None
        None where nothing is averaged.
    versions : tuple of mapping
        Values that are set in every row, one mapping after the other.
    notes : tuple of str
        What was averaged, and what lies beyond the data of the fit.
    """

    frame: pd.DataFrame
    labels: pd.DataFrame
    averaging: csr_array | None = None
    versions: tuple[Mapping[Hashable, Any], ...] = ({},)
    notes: tuple[str, ...] = ()

    def answers(
        self,
        answer: Callable[[pd.DataFrame, csr_array | None], xr.DataArray],
        *,
        per_label: int = 1,
    ) -> xr.DataArray:
        """Ask about some versions at a time; the estimands in the order of the labels.

        Parameters
        ----------
        answer : callable
            From rows (some versions, one below the other) and their averages to draws with the
            dim ``row``.
        per_label : int
            How many estimands it gives of each label: all labels for the first, then for the next.
        """
        parts = [answer(frame, averaging) for frame, averaging in self._batches()]
        if len(self.versions) == 1:
            return parts[0]
        positions, start = [], 0
        for part in parts:
            own = np.arange(part.sizes["row"]) + start
            n_groups = len(self.labels) // len(self.versions)
            positions.append(own.reshape(per_label, -1, n_groups))
            start += part.sizes["row"]
        order = np.concatenate(positions, axis=1).transpose(0, 2, 1).ravel()
        return xr.concat(parts, dim="row").isel(row=order)

    def _batches(self) -> Iterator[tuple[pd.DataFrame, csr_array | None]]:
        for batch in batched(self.versions, max(1, MOST_ROWS // max(len(self.frame), 1))):
            frames = [
                self.frame.assign(**{str(name): value for name, value in one.items()})
                for one in batch
            ]
            if len(frames) == 1 or self.averaging is None:
                yield frames[0], self.averaging
                continue
            averaging = block_diag([self.averaging] * len(frames), format="csr")
            yield pd.concat(frames, ignore_index=True), csr_array(averaging)


def choose_rows(
    posterior: Posterior,
    newdata: NewData,
    *,
    over: Varying = None,
    by: Varying = None,
    weights: str | ArrayLike | None = None,
) -> AskedRows:
    """Rows of a verb that doesn't average unless ``by`` or ``over`` asks it to.

    A ``"mean"`` grid, the default with ``over``, has one row for each value of ``over`` and
    ``by``; other rows are averaged with each value of ``over`` in turn, in each group of ``by``.

    Raises
    ------
    SpecificationError
        A name that isn't a covariate or a column, one in ``over`` and in ``by``, weights where
        nothing is averaged.
    DataError
        Rows or weights that can't be used.
    """
    if (isinstance(newdata, str) and newdata == "mean") or (newdata is None and over is not None):
        rows = read_rows(posterior, "mean", grid=varying_values(posterior.design, over, by))
    elif over is None and by is None:
        rows = read_rows(posterior, newdata)
    else:
        return averaged_rows(posterior, newdata, over=over, by=by, weights=weights)
    if weights is not None:
        raise SpecificationError(
            "weights for rows that aren't averaged",
            "weights in an average",
            "name by=, or use the verb's avg_ form",
        )
    notes = extrapolation_notes(posterior.design, rows.frame)
    return AskedRows(rows.frame, rows.labels, notes=notes)


def averaged_rows(
    posterior: Posterior,
    newdata: NewData,
    *,
    over: Varying = None,
    by: Varying = None,
    weights: str | ArrayLike | None = None,
) -> AskedRows:
    """Averages of groups of rows with each version of ``over``, which runs fastest.

    Raises
    ------
    SpecificationError, DataError
        As :func:`choose_rows`.
    """
    names = _group_names(newdata, over, by)
    rows: Rows = read_rows(posterior, newdata, grid=by)
    groups = make_cells(rows.frame, names)
    counts = row_weights(posterior, rows.frame, weights, cells=groups.codes, index=rows.index)
    averaging = groups.averaging(counts)
    by_cluster = isinstance(weights, str) and weights == CLUSTER
    clusters = cluster_name(posterior) if by_cluster else ""
    varying = varying_values(posterior.design, over, None)
    versions = cells(varying)
    set_in_all = tuple(versions.to_dict("records"))
    notes = (
        averaging_note(rows.label, weights, clusters=clusters),
        *_cluster_notes(posterior, groups.labels.columns),
        *extrapolation_notes(posterior.design, rows.frame, set_in_all),
    )
    if not varying:
        return AskedRows(rows.frame, groups.labels, averaging, notes=notes)
    labels = groups.labels.merge(versions, how="cross")
    labels = labels.loc[:, [*versions.columns, *groups.labels.columns]]
    return AskedRows(rows.frame, labels, averaging, set_in_all, notes)


def _cluster_notes(posterior: Posterior, names: Iterable[str]) -> tuple[str, ...]:
    """Groups of rows by a grouping factor aren't predictions for its levels."""
    factors = {name for grouping in posterior.design.groupings for name in grouping.factor}
    return tuple(
        f"{name!r} only groups the rows: each group's mean is over clusters as the target says, "
        "not for its level's own effects."
        for name in names
        if name in factors
    )


def check_names(rows: AskedRows, *added: str) -> None:
    """No column of the rows has the name of one that the result adds.

    Parameters
    ----------
    rows : AskedRows
        What a verb asks about.
    *added : str
        Columns that the verb adds beside ``target``, ``hypothesis`` and those of the summaries.

    Raises
    ------
    DataError
        One has; before anything is computed.
    """
    own = (*added, "target", "hypothesis", *COLUMNS)
    taken = [name for name in rows.labels.columns if name in own]
    if taken:
        several = len(taken) > 1
        raise DataError(
            f"the rows have the column{'s' * several} {listing(taken)}, "
            f"{'names' if several else 'a name'} that the results use",
            f"names other than {listing(own)}",
            "rename it, or leave it out of newdata",
        )


def fixed_seed(seed: int | np.random.Generator | None) -> int:
    """One number, so that all parts of an answer see the same new cluster.

    Raises
    ------
    SpecificationError
        Neither a whole number from 0, nor a generator, nor None.
    """
    if seed is None:
        seed = np.random.default_rng()
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(2**63))
    if isinstance(seed, (int, np.integer)) and seed >= 0:
        return int(seed)
    raise SpecificationError(
        f"seed={brief(seed)}",
        "a whole number from 0, a numpy.random.Generator, or None for another new cluster at "
        "every call",
        "write for instance seed=1",
    )


def _group_names(newdata: NewData, over: Varying, by: Varying) -> list[str]:
    groups = names_of(by)
    both = sorted(set(groups) & set(names_of(over)))
    if both:
        raise SpecificationError(
            f"{listing(both)} is in 'over' and in 'by'", "each covariate in one of them"
        )
    if isinstance(by, Mapping) and not (isinstance(newdata, str) and newdata != "observed"):
        raise SpecificationError(
            "by= with values, where rows are grouped by the values they have",
            "names of columns; values with newdata='mean' or 'balanced'",
            "set values in every row with over=, or choose rows with newdata=",
        )
    return groups
