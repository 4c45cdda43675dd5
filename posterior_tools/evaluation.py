"""Ask every draw of a posterior a question, block by block, in memory or on dask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popavg.errors import DataError
from popavg.links import Link
from popavg.posterior_tools._draw_checks import Place
from popavg.posterior_tools.draw_block import DrawBlock
from popavg.posterior_tools.draws import Need, Posterior, assemble
from popavg.posterior_tools.progress import track

__all__ = ["Question", "evaluate"]

Floats = NDArray[np.float64]

#: Into how many pieces draws are divided at least, so that a bar can move.
PIECES = 32


class Question(Protocol):
    """Something that every draw has an answer to; picklable."""

    @property
    def n_estimands(self) -> int:
        """Numbers in an answer."""
        ...

    @property
    def cells(self) -> int:
        """Numbers that a draw needs on the way."""
        ...

    @property
    def needs(self) -> tuple[Need, ...]:
        """What it asks of a draw beside the parameters."""
        ...

    def __call__(self, block: DrawBlock) -> Floats:
        """Answers, shape (draws, estimands); no draw's answer depends on other draws."""
        ...


def evaluate(
    posterior: Posterior,
    question: Question,
    *,
    dim: str = "row",
    labels: Sequence[str] | None = None,
    name: str = "estimand",
    seed: int | np.random.Generator = 0,
    progress: bool = True,
    finite: bool = True,
) -> xr.DataArray:
    """The answers of all draws.

    Parameters
    ----------
    posterior : Posterior
        A fit.
    question : Question
        Computes the estimands of a block of draws.
    dim : str
        The estimands' dim.
    labels : sequence of str, optional
        Its coordinate.
    name : str
        The result's name.
    seed : int or numpy.random.Generator
        Where the effects of new clusters come from; not used unless the question needs them.
    progress : bool
        Show a bar from two seconds on.
    finite : bool
        Refuse answers that aren't finite; False where some estimand may be undefined in a draw.

    Returns
    -------
    xarray.DataArray
        Dims (chain, draw, ``dim``). Of a posterior on dask it is on dask itself, one block for
        each block of draws, and nothing is computed yet.

    Raises
    ------
    DataError
        Draws that are impossible, or an answer that isn't finite.
    EstimandError
        The fit hasn't what the question needs.
    StorageError
        The store that lazy draws are read from is gone; raised when they are computed.

    Notes
    -----
    No more than :data:`popavg.posterior_tools.draw_block.BLOCK` numbers are held on the way,
    whatever the number of draws. A draw's answer is computed by the same operations whichever
    block it is in; only matrix products may sum in another order, which changes the last digits
    (relative 1e-13).
    """
    arrays = posterior.arrays(question.needs)
    if any(array.chunks is not None for array in arrays.values()):
        values = _lazily(posterior, question, arrays, seed=seed, finite=finite)
    else:
        values = _in_memory(posterior, question, seed, progress=progress, finite=finite)
    coords: dict[str, Any] = {
        key: posterior.data[key].to_numpy() for key in ("chain", "draw") if key in posterior.data
    }
    if labels is not None:
        coords[dim] = np.asarray(labels, dtype=object).astype(str)
    return xr.DataArray(values, dims=("chain", "draw", dim), coords=coords, name=name)


def _in_memory(
    posterior: Posterior,
    question: Question,
    seed: int | np.random.Generator,
    *,
    progress: bool,
    finite: bool,
) -> Floats:
    block = posterior.block(needs=question.needs, seed=seed)
    answers = np.empty((posterior.n_draws, question.n_estimands))
    pieces = list(block.pieces(question.cells, at_least=PIECES))
    shown = track(pieces, len(pieces), "draws", progress=progress)
    sizes = posterior.data.sizes
    _fill(answers, shown, question, place=Place(sizes["draw"]) if finite else None)
    return answers.reshape(sizes["chain"], sizes["draw"], -1)


def _fill(
    answers: Floats, pieces: Iterable[DrawBlock], question: Question, *, place: Place | None
) -> None:
    """Ask piece after piece; answers that aren't finite are refused where a place is given.

    What overflows on the way makes such an answer: NumPy's warnings would only come before it.
    """
    start = 0
    for piece in pieces:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            answer = question(piece)
        if place is not None and not np.isfinite(answer).all():
            raise _not_finite(answer, start, place)
        answers[start : start + len(answer)] = answer
        start += len(answer)


def _not_finite(answer: Floats, start: int, place: Place) -> DataError:
    bad = (~np.isfinite(answer)).any(axis=1)
    return DataError(
        f"{bad.sum()} of {len(answer)} draws looked at together have no finite answer, first "
        f"{place.name(start + int(np.argmax(bad)))}",
        "draws whose means, contrasts and predictors stay within the floating-point numbers",
        "look at these draws for predictors that are far too large, and at the rows for means of "
        "0 or 1 where the link scale or a ratio is asked for",
    )


def _lazily(
    posterior: Posterior,
    question: Question,
    arrays: Mapping[str, xr.DataArray],
    *,
    seed: int | np.random.Generator,
    finite: bool,
) -> Any:
    import dask
    import dask.array

    chains, draws = _chunks(arrays)
    noise = posterior.noise(seed) if "new" in question.needs else {}
    sizes = posterior.data.sizes
    shaped = {name: z.reshape(sizes["chain"], sizes["draw"], -1) for name, z in noise.items()}
    ask = dask.delayed(_ask, pure=True)
    model = posterior.link, posterior.specification.group_names
    known = dask.delayed((model, question, finite, posterior.store))
    blocks = []
    for first, last in pairwise(chains):
        for begin, end in pairwise(draws):
            part = {name: array[first:last, begin:end].data for name, array in arrays.items()}
            own = {name: z[first:last, begin:end] for name, z in shaped.items()}
            answer = ask(known, part, own, Place(end - begin, first, begin, whole=False))
            shape = (last - first, end - begin, question.n_estimands)
            blocks.append(dask.array.from_delayed(answer, shape, np.float64))
    width = len(draws) - 1
    rows = [blocks[start : start + width] for start in range(0, len(blocks), width)]
    return dask.array.block([[[block] for block in row] for row in rows])


def _chunks(arrays: Mapping[str, xr.DataArray]) -> tuple[list[int], list[int]]:
    """Borders of blocks of chains and of draws, those of the finest array."""
    chunked = [array.chunks for array in arrays.values() if array.chunks is not None]
    finest = max(chunked, key=lambda chunks: len(chunks[0]) * len(chunks[1]))
    chains, draws = ([0, *accumulate(finest[axis])] for axis in (0, 1))
    return chains, draws


def _ask(
    known: tuple[tuple[Link, tuple[str, ...]], Question, bool, str],
    arrays: Mapping[str, NDArray[Any]],
    noise: Mapping[str, Floats],
    place: Place,
) -> Floats:
    """One block's answers, shape (chains, draws, estimands)."""
    model, question, finite, store = known
    shape = next(iter(arrays.values())).shape[:2]
    flat = {name: np.asarray(a).reshape(-1, *a.shape[2:]) for name, a in arrays.items()}
    own = {name: z.reshape(-1, z.shape[-1]) for name, z in noise.items()}
    block = assemble(model, flat, own, place=place, store=store)
    answers = np.empty((block.n_draws, question.n_estimands))
    _fill(answers, block.pieces(question.cells), question, place=place if finite else None)
    return answers.reshape(*shape, -1)
