"""Draws in CSV files and data frames: one row a draw, chains told apart by a column."""

from __future__ import annotations

from os import PathLike, fspath
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.errors import DataError

__all__ = ["columns_by_chain", "is_frame_like", "read_frames"]

#: Names of the columns that say where a draw comes from, of posterior (R), CmdStanPy, ArviZ.
CHAIN = (".chain", "chain__", "chain")
ITERATION = (".iteration", "iter__", ".draw", "draw__", "draw")
INDEX = frozenset({*CHAIN, *ITERATION})


def is_frame_like(draws: Any) -> bool:
    """Whether these are frames or paths, one or a list of them."""
    items = draws if isinstance(draws, (list, tuple)) else [draws]
    kinds = (str, PathLike, pd.DataFrame)
    return bool(items) and all(isinstance(item, kinds) for item in items)


def read_frames(draws: Any) -> pd.DataFrame:
    """One frame with all draws; the items of a list are chains, told in a column ``.chain``."""
    if not isinstance(draws, (list, tuple)):
        return _frame(draws)
    frames = [_frame(item) for item in draws]
    for i, frame in enumerate(frames):
        if list(frame.columns) != list(frames[0].columns):
            differ = sorted(set(map(str, frame.columns)) ^ set(map(str, frames[0].columns)))
            raise DataError(
                f"chain {i + 1} has other columns than chain 1: {listing(differ) or 'their order'}",
                "chains of one model",
                "check that these are the files of one run",
            )
        if any(name in frame for name in CHAIN) and _column(frame, CHAIN).nunique() > 1:
            raise DataError(
                f"item {i + 1} of the list holds several chains",
                "a list with one chain in each item",
                "pass pandas.concat(list) where the frames have a column for the chain",
            )
    kept = [frame.drop(columns=[name for name in CHAIN if name in frame]) for frame in frames]
    return pd.concat(
        [frame.assign(**{".chain": i + 1}) for i, frame in enumerate(kept)], ignore_index=True
    )


def columns_by_chain(
    frame: pd.DataFrame, chains: int | None
) -> tuple[tuple[int, int], dict[str, NDArray[Any]]]:
    """Chains and draws, and every column as an array of this shape."""
    frame = frame.rename(columns=str)
    twice = frame.columns[frame.columns.duplicated()].unique()
    if len(twice) or not len(frame):
        what = f"the columns {listing(twice)} appear twice" if len(twice) else "there are no draws"
        raise DataError(what, "one column for each parameter, one row for each draw")
    ordered, n_chains = _ordered(frame, chains)
    shape = n_chains, len(ordered) // n_chains
    names = [name for name in ordered.columns if name not in INDEX]
    return shape, {name: ordered[name].to_numpy().reshape(shape) for name in names}


def _ordered(frame: pd.DataFrame, chains: int | None) -> tuple[pd.DataFrame, int]:
    """Sorted by chain and iteration; the number of chains."""
    if not any(name in frame for name in CHAIN):
        n_chains = 1 if chains is None else chains
        if not isinstance(n_chains, int) or n_chains < 1 or len(frame) % n_chains:
            raise DataError(
                f"{len(frame)} draws can't be {n_chains!r} chains of the same length",
                "chains of the same length, stacked one after the other",
                "say chains=, or add a column '.chain'",
            )
        return frame, n_chains
    chain = _column(frame, CHAIN)
    counts = chain.value_counts(sort=False, dropna=False).sort_index()
    if counts.nunique() > 1 or chain.isna().any():
        told = ", ".join(f"chain {label} {count}" for label, count in counts.items())
        raise DataError(
            f"the chains have different numbers of draws: {told}",
            "chains of the same length",
            f"use the first {counts.min()} draws of each chain, if the shorter ones were "
            f"interrupted: draws.groupby({chain.name!r}).head({counts.min()})",
        )
    if chains not in (None, len(counts)):
        raise DataError(
            f"the column {chain.name!r} names {len(counts)} chains, but chains={chains}",
            remedy="leave out chains=",
        )
    keys = [chain.name, *(name for name in ITERATION if name in frame)][:2]
    return frame.sort_values(keys, kind="stable"), len(counts)


def _column(frame: pd.DataFrame, names: tuple[str, ...]) -> pd.Series:
    return frame[next(name for name in names if name in frame)]


def _frame(item: Any) -> pd.DataFrame:
    if isinstance(item, pd.DataFrame):
        return item.reset_index(drop=True)
    path = fspath(item)
    try:
        frame = pd.read_csv(path, comment="#")
    except (OSError, ValueError) as error:
        raise DataError(
            f"the draws in {path!r} can't be read: {error}",
            "a CSV file with a header, one row for each draw",
            "check the path",
        ) from error
    unnamed = [name for name in frame.columns if str(name).startswith("Unnamed:")]
    return frame.drop(columns=unnamed)
