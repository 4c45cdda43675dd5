"""Contrasts of estimates with each other, draw by draw."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popavg._checks import brief, listing, suggestion
from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools._equations import (
    check_equation,
    evaluate_equation,
    replace_indices,
)
from popavg.posterior_tools.estimates import Estimates

__all__ = ["MOST", "Hypothesis", "apply_hypothesis"]

Floats = NDArray[np.float64]
#: Linear combinations; and what a verb's ``hypothesis`` may be.
type Weights = NDArray[Any] | Sequence[float] | Sequence[Sequence[float]] | pd.DataFrame | pd.Series
type Hypothesis = str | Sequence[str] | Weights | None

#: More contrasts than this of one result are a mistake, and wouldn't fit into memory.
MOST = 10_000

#: Which pairs are contrasted: (one, the other) as positions of n estimates.
_PAIRS: dict[str, Callable[[int], Iterator[tuple[int, int]]]] = {
    "pairwise": lambda n: ((i, j) for i in range(n) for j in range(i)),
    "revpairwise": lambda n: ((i, j) for i in range(n) for j in range(i + 1, n)),
    "reference": lambda n: ((i, 0) for i in range(1, n)),
    "revreference": lambda n: ((0, i) for i in range(1, n)),
    "sequential": lambda n: ((j, i) for i, j in pairwise(range(n))),
    "revsequential": lambda n: pairwise(range(n)),
}
_FORMULA = re.compile(r"\s*(\w*)\s*~\s*(\w+)\s*(?:\|\s*(.+))?")
_IN_DIFFERENCES = "difference_in_differences"
_ALLOWED = (
    "'pairwise', 'reference', 'sequential', 'difference_in_differences', 'ratio ~ pairwise', "
    "'b1 - b0 = 0', or weights"
)


@dataclass(frozen=True)
class _Contrasts:
    """What is made of some estimates.

    Attributes
    ----------
    function : callable
        From draws of the estimates, shape (chain, draw, estimates), to those of the contrasts.
    words : list of str
        What each contrast is.
    kind : str
        What all of them are.
    kept : pandas.DataFrame, optional
        Columns that stay.
    """

    function: Callable[[Floats], Floats]
    words: list[str]
    kind: str
    kept: pd.DataFrame | None = None

    def values(self, draws: xr.DataArray) -> Any:
        """The contrasts' draws, in memory or on dask as the estimates are.

        Raises
        ------
        DataError
            Some aren't finite: on dask where they are computed.
        """
        if draws.chunks is None:
            return self._block(draws.to_numpy())
        whole = draws.data.rechunk({2: -1})
        chunks = (*whole.chunks[:2], (len(self.words),))
        return whole.map_blocks(
            self._block, dtype=np.float64, chunks=chunks, meta=np.empty((0,) * 3)
        )

    def _block(self, draws: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            found = self.function(draws.astype(np.float64, copy=False))
        bad = ~np.isfinite(found).all(axis=(0, 1))
        if bad.any():
            raise DataError(
                f"the hypothesis {self.words[int(np.argmax(bad))]!r} isn't finite in some draws"
                + (f", and {bad.sum() - 1} others aren't" if bad.sum() > 1 else ""),
                "ratios by, and logarithms of, estimates above 0 in every draw",
                "ask for differences, or leave out the estimates that may be 0",
            )
        return found


def apply_hypothesis(estimates: Estimates, hypothesis: Hypothesis) -> Estimates:
    """Contrasts of a verb's estimates.

    Parameters
    ----------
    estimates : Estimates
        What the verb gives without a hypothesis.
    hypothesis : str, sequence of str, array_like, pandas.DataFrame or None
        None: the estimates as they are. ``"pairwise"``: every later one less every earlier one.
        ``"reference"``: every one less the first. ``"sequential"``: every one less the one before.
        ``"difference_in_differences"``: of four estimates that cross two columns.
        ``"ratio ~ pairwise"``, ``"difference ~ revpairwise"``, ``"difference ~ reference | arm"``:
        ratios, the other direction, within the levels of a column. ``"b1 - b0 = 0"``: an equation
        in the estimates, counted from b0 in the order of the rows; left side less right side; or
        several of them. Numbers: the weights of a linear combination, shape (estimates,), or of
        several, shape (estimates, combinations); a frame's columns name them.

    Returns
    -------
    Estimates
        One estimand for each contrast; its column ``hypothesis`` says which minus which. On dask
        if the draws are.

    Raises
    ------
    SpecificationError
        A hypothesis that can't be read, or that doesn't fit the number of estimates.
    DataError
        A ratio or logarithm that isn't finite in some draw; of draws on dask when they are
        computed.

    Notes
    -----
    Names, order of the pairs and counting are those of marginaleffects for Python
    (Arel-Bundock, Greifer & Heiss 2024, Journal of Statistical Software 111(9)); R counts from b1.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.hypotheses import apply_hypothesis
    >>> estimates = pa.predictions(pa.load_example(), over={"time": [0, 6]})
    >>> apply_hypothesis(estimates, "pairwise").labels["hypothesis"].to_list()
    ['time 6 - time 0']
    """
    if hypothesis is None:
        return estimates
    found = _contrasts(estimates, hypothesis)
    labels = pd.DataFrame({"hypothesis": found.words})
    kept = _constant(estimates.labels, len(labels)) if found.kept is None else found.kept
    own = estimates.draws
    coords = {name: own[name].to_numpy() for name in ("chain", "draw") if name in own.coords}
    return replace(
        estimates,
        draws=xr.DataArray(found.values(own), dims=own.dims, coords=coords, name=own.name),
        labels=pd.concat([labels, kept.drop(columns="hypothesis", errors="ignore")], axis=1),
        title=f"{estimates.title}: {found.kind}",
    )


def _contrasts(estimates: Estimates, hypothesis: Any) -> _Contrasts:
    if isinstance(hypothesis, str):
        if hypothesis == _IN_DIFFERENCES:
            return _in_differences(estimates)
        if hypothesis in _PAIRS:
            return _pairs(estimates, "difference", hypothesis, None)
        if "~" in hypothesis:
            return _formula(estimates, hypothesis)
        if "=" in hypothesis or re.search(r"\bb\d+\b", hypothesis):
            return _equations(estimates, [hypothesis])
        raise SpecificationError(
            f"hypothesis={hypothesis!r}",
            _ALLOWED,
            suggestion(hypothesis, [*_PAIRS, _IN_DIFFERENCES]),
        )
    several = isinstance(hypothesis, (list, tuple)) and len(hypothesis) > 0
    if several and all(isinstance(item, str) for item in hypothesis):
        return _equations(estimates, hypothesis)
    return _combinations(estimates, hypothesis)


def _formula(estimates: Estimates, text: str) -> _Contrasts:
    match = _FORMULA.fullmatch(text)
    kind, pairs, within = match.groups() if match else ("", "", None)
    kind = kind or "difference"
    if kind not in ("difference", "ratio") or pairs not in _PAIRS:
        raise SpecificationError(
            f"hypothesis={text!r} can't be read",
            f"'difference' or 'ratio', '~' and one of {listing(_PAIRS)}; '|' and columns to stay "
            "within their levels",
        )
    return _pairs(estimates, kind, pairs, within)


def _pairs(estimates: Estimates, kind: str, pairs: str, within: str | None) -> _Contrasts:
    columns = [] if within is None else [name.strip() for name in within.split("+")]
    chosen = _chosen_pairs(estimates.labels, pairs, columns)
    one, other = (np.array(side, dtype=np.intp) for side in zip(*chosen, strict=True))
    function = partial(_each_with, one, other, kind == "ratio")
    names = _names(estimates.labels, within=columns)
    sign = "/" if kind == "ratio" else "-"
    words = [f"{_bracketed(names[i])} {sign} {_bracketed(names[j])}" for i, j in chosen]
    groups = estimates.labels[columns].iloc[one].reset_index(drop=True)
    rest = _constant(estimates.labels.drop(columns=columns), len(chosen))
    title = "ratios of estimates" if kind == "ratio" else "differences between estimates"
    return _Contrasts(function, words, title, pd.concat([groups, rest], axis=1))


def _each_with(
    one: NDArray[np.intp], other: NDArray[np.intp], is_ratio: bool, draws: Floats
) -> Floats:
    high, low = draws[..., one], draws[..., other]
    return high / low if is_ratio else high - low


def _chosen_pairs(labels: pd.DataFrame, pairs: str, columns: list[str]) -> list[tuple[int, int]]:
    for name in columns:
        if name not in labels.columns:
            raise SpecificationError(
                f"the hypothesis stays within {name!r}, which isn't a column of the estimates",
                listing(labels.columns),
                suggestion(name, labels.columns),
            )
    groups: list[NDArray[np.intp]] = [np.arange(len(labels))]
    if columns:
        grouped = labels.reset_index(drop=True).groupby(columns, sort=False, observed=True)
        groups = [np.asarray(rows, dtype=np.intp) for rows in grouped.indices.values()]
    size = max(map(len, groups))
    if size < 2:
        raise SpecificationError(
            f"hypothesis {pairs!r} of one estimate" + (" in each group" if columns else ""),
            "at least two estimates",
            "name by= or over=, or leave the hypothesis out",
        )
    n_pairs = sum(n * (n - 1) // 2 if "pairwise" in pairs else n - 1 for n in map(len, groups))
    if n_pairs > MOST:
        raise SpecificationError(
            f"{pairs!r} of {len(labels):,} estimates makes {n_pairs:,} contrasts",
            f"at most {MOST:,}",
            "average first (by=, or an avg_ verb), or use 'reference'",
        )
    return [(int(rows[i]), int(rows[j])) for rows in groups for i, j in _PAIRS[pairs](len(rows))]


def _in_differences(estimates: Estimates) -> _Contrasts:
    labels = estimates.labels.reset_index(drop=True)
    varying = [name for name in labels if labels[name].nunique() > 1]
    inner, outer = (varying[0], varying[-1]) if len(varying) == 2 else ("", "")
    levels = [list(dict.fromkeys(labels[name])) for name in varying]
    crossed = len(varying) == 2 and len(labels) == 4 and all(len(own) == 2 for own in levels)
    if not crossed or labels.duplicated(varying).any():
        raise SpecificationError(
            f"a difference in differences of {len(labels)} estimates that vary in "
            f"{listing(varying) or 'nothing'}",
            "exactly four estimates: two values of one column crossed with two of another",
            "name two covariates with two values each in over= and by=; for all differences use "
            "hypothesis='pairwise', for those with the first 'reference', within the levels of a "
            "column 'difference ~ pairwise | column'; or write out the one you mean, such as "
            "'b1 - b0 = 0'",
        )
    place = {tuple(row): i for i, row in enumerate(labels[[inner, outer]].itertuples(index=False))}
    (a, b), (c, d) = levels
    corners = [place[b, d], place[a, d], place[b, c], place[a, c]]
    step = f"{inner} {_shown(b)} - {inner} {_shown(a)}"
    words = f"({outer} {_shown(d)}: {step}) - ({outer} {_shown(c)}: {step})"
    return _Contrasts(partial(_twice_different, corners), [words], "difference in differences")


def _twice_different(corners: list[int], draws: Floats) -> Floats:
    e = draws[..., corners]
    return ((e[..., 0] - e[..., 1]) - (e[..., 2] - e[..., 3]))[..., None]


def _equations(estimates: Estimates, texts: Sequence[str]) -> _Contrasts:
    names = _names(estimates.labels)
    for text in texts:
        check_equation(text, len(names))
    words = [replace_indices(text, names) for text in texts]
    kind = "equation in estimates" if len(words) == 1 else "equations in estimates"
    return _Contrasts(partial(_solved, tuple(texts)), words, kind)


def _solved(texts: Sequence[str], draws: Floats) -> Floats:
    columns = list(np.moveaxis(draws, -1, 0))
    return np.stack([evaluate_equation(text, columns) for text in texts], axis=-1)


def _combinations(estimates: Estimates, hypothesis: Any) -> _Contrasts:
    try:
        weights = np.asarray(hypothesis, dtype=float)
    except (TypeError, ValueError):
        raise SpecificationError(f"hypothesis={brief(hypothesis)}", _ALLOWED) from None
    n = len(estimates.labels)
    if weights.ndim not in (1, 2) or weights.shape[0] != n or weights.size == 0:
        raise SpecificationError(
            f"weights of shape {weights.shape} for {n} estimates",
            f"({n},), or ({n}, combinations)",
            "one weight for each row that the call gives without a hypothesis",
        )
    if not np.isfinite(weights).all():
        raise SpecificationError("weights with NaN or infinite values", "finite numbers")
    columns = weights.reshape(n, -1)
    words = _weights_in_words(estimates, hypothesis, columns)
    return _Contrasts(partial(_combined, columns), words, "combinations of estimates")


def _combined(columns: Floats, draws: Floats) -> Floats:
    return draws @ columns


def _weights_in_words(
    estimates: Estimates, hypothesis: Any, weights: NDArray[np.float64]
) -> list[str]:
    if isinstance(hypothesis, pd.DataFrame):
        return [str(name) for name in hypothesis.columns]
    if isinstance(hypothesis, pd.Series) and hypothesis.name is not None:
        return [str(hypothesis.name)]
    names = _names(estimates.labels)
    return [_sum_in_words(names, weights[:, k], k + 1) for k in range(weights.shape[1])]


def _sum_in_words(names: Sequence[str], weights: NDArray[np.float64], k: int) -> str:
    """The combination written out where it has few parts, else its number."""
    parts = [(weight, name) for weight, name in zip(weights, names, strict=True) if weight]
    if not 0 < len(parts) <= 4:
        return f"combination {k}"
    words = []
    for weight, name in parts:
        factor = "" if abs(weight) == 1.0 else f"{abs(weight):.4g} × "
        words.append(f"{'-' if weight < 0 else '+'} {factor}{_bracketed(name)}")
    text = " ".join(words)
    return text.removeprefix("+ ") if text.startswith("+") else text.replace("- ", "-", 1)


def _names(labels: pd.DataFrame, within: Sequence[str] = ()) -> list[str]:
    """What tells each estimate from the others (of its group), else its number."""
    varying = [name for name in labels if labels[name].nunique() > 1 and name not in within]
    rows = labels[varying].itertuples(index=False, name=None)
    names = [
        ", ".join(f"{name} {_shown(value)}" for name, value in zip(varying, row, strict=True))
        for row in rows
    ]
    if not varying or labels.duplicated([*within, *varying]).any():
        return [f"b{i}" for i in range(len(names))]
    return names


def _constant(labels: pd.DataFrame, n: int) -> pd.DataFrame:
    """The columns that are the same for all estimates, such as the target."""
    same = [name for name in labels if labels[name].nunique(dropna=False) == 1]
    return labels[same].iloc[[0] * n].reset_index(drop=True)


def _bracketed(name: str) -> str:
    return f"({name})" if ", " in name or "-" in name else name


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
