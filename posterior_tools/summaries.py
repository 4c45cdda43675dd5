"""Numbers that summarise draws, each draw being a value of the estimand itself."""

from __future__ import annotations

import hashlib
import math
from numbers import Real
from typing import Literal, cast

import numpy as np
import pandas as pd
from arviz_base import rcParams
from arviz_stats.base import array_stats
from numpy.typing import NDArray

from popavg._checks import check_choice
from popavg.errors import SpecificationError
from popavg.posterior_tools.progress import track

__all__ = [
    "COLUMNS",
    "TAIL",
    "IntervalKind",
    "PointEstimate",
    "decimals",
    "interval_settings",
    "intervals",
    "summarise",
]

IntervalKind = Literal["eti", "hdi"]
PointEstimate = Literal["mean", "median"]

#: Columns of a summary, in order.
COLUMNS = ("estimate", "std_error", "lower", "upper", "ess_bulk", "ess_tail", "r_hat", "mcse")

#: Quantiles whose effective size is ``ess_tail`` (Vehtari et al. 2021).
TAIL = (0.05, 0.95)

#: Estimands that are summarised together; how far the bar moves at a time.
_TOGETHER = 64


def interval_settings(
    ci_prob: float | None, ci_kind: IntervalKind | None
) -> tuple[float, IntervalKind]:
    """Level and kind of interval, from ``arviz.rcParams`` where not given.

    Raises
    ------
    SpecificationError
        The level isn't between 0 and 1, or the kind isn't ``"eti"`` or ``"hdi"``.
    """
    prob = rcParams["stats.ci_prob"] if ci_prob is None else ci_prob
    if not isinstance(prob, Real) or not 0 < prob < 1:
        raise SpecificationError(f"ci_prob={prob!r}", "a level between 0 and 1, such as 0.95")
    kinds: tuple[IntervalKind, ...] = ("eti", "hdi")
    kind = cast(IntervalKind, rcParams["stats.ci_kind"] if ci_kind is None else ci_kind)
    return float(prob), check_choice("ci_kind", kind, kinds)


def intervals(
    draws: NDArray[np.float64],
    *,
    ci_prob: float | None = None,
    ci_kind: IntervalKind | None = None,
    point_estimate: PointEstimate | None = None,
) -> pd.DataFrame:
    """Point estimates and credible intervals alone: what a figure of many estimands needs.

    For the diagnostics too, which take far longer, use :func:`summarise`.

    Parameters
    ----------
    draws : numpy.ndarray, shape (chains, draws, estimands)
        Draws of the estimands.
    ci_prob, ci_kind, point_estimate : optional
        Defaults from ``arviz.rcParams``.

    Returns
    -------
    pandas.DataFrame
        ``estimate``, ``lower`` and ``upper``, one row for each estimand.

    Raises
    ------
    SpecificationError
        As :func:`interval_settings`; a point estimate that isn't ``"mean"`` or ``"median"``.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.posterior_tools.summaries import intervals
    >>> intervals(np.ones((4, 100, 1)), ci_prob=0.9).values.tolist()
    [[1.0, 1.0, 1.0]]
    """
    prob, kind = interval_settings(ci_prob, ci_kind)
    point = point_estimate or rcParams["stats.point_estimate"]
    centre = getattr(np, check_choice("point_estimate", point, ("mean", "median")))
    flat = _rows(draws)
    bounds = getattr(array_stats, kind)(flat, prob, axis=-1)
    return pd.DataFrame(
        {"estimate": centre(flat, axis=-1), "lower": bounds[..., 0], "upper": bounds[..., 1]}
    )


def summarise(
    draws: NDArray[np.float64],
    *,
    ci_prob: float | None = None,
    ci_kind: IntervalKind | None = None,
    point_estimate: PointEstimate | None = None,
) -> pd.DataFrame:
    """One row of :data:`COLUMNS` for each estimand.

    Parameters
    ----------
    draws : numpy.ndarray, shape (chains, draws, estimands)
        Draws of the estimands.
    ci_prob, ci_kind, point_estimate : optional
        Defaults from ``arviz.rcParams``.

    Returns
    -------
    pandas.DataFrame
        ``std_error`` is the posterior standard deviation, ``mcse`` the Monte-Carlo standard error
        of ``estimate``. What draws can't tell is NaN: ``r_hat`` of one chain or of constant
        draws, all diagnostics of fewer than four draws a chain.

    Raises
    ------
    SpecificationError
        As :func:`interval_settings`; a point estimate that isn't ``"mean"`` or ``"median"``.

    Notes
    -----
    Estimands with equal draws, such as rows that repeat, are summarised once. A bar is shown where
    it takes longer than two seconds.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.posterior_tools.summaries import summarise
    >>> summarise(np.zeros((4, 100, 1)), ci_prob=0.9)["estimate"].to_list()
    [0.0]
    """
    point = point_estimate or rcParams["stats.point_estimate"]
    first, place = _distinct(draws)
    starts = range(0, len(first), _TOGETHER)
    parts = [
        _summary(draws[..., first[i : i + _TOGETHER]], ci_prob, ci_kind, point)
        for i in track(starts, len(starts), "summaries")
    ]
    return pd.concat(parts, ignore_index=True).iloc[place].reset_index(drop=True)


def _distinct(draws: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions of estimands whose draws differ, and which of them each estimand equals."""
    seen: dict[bytes, int] = {}
    place = np.empty(draws.shape[-1], dtype=np.intp)
    first = []
    for i in range(len(place)):
        # Equal digests of 32 bytes are equal draws, for all that anybody has ever found.
        key = hashlib.sha256(draws[..., i].tobytes()).digest()
        place[i] = seen.setdefault(key, len(seen))
        if place[i] == len(first):
            first.append(i)
    return np.array(first, dtype=np.intp), place


def _rows(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimands first, one after the other in memory: sums are then the same in any layout."""
    return np.ascontiguousarray(np.moveaxis(draws, -1, 0).reshape(draws.shape[-1], -1))


def _summary(
    draws: NDArray[np.float64],
    ci_prob: float | None,
    ci_kind: IntervalKind | None,
    point: PointEstimate,
) -> pd.DataFrame:
    """One row of :data:`COLUMNS` for each estimand, as they come."""
    found = intervals(draws, ci_prob=ci_prob, ci_kind=ci_kind, point_estimate=point)
    flat = _rows(draws)
    axes = {"chain_axis": 0, "draw_axis": 1}
    # 0/0: R-hat of constant draws isn't a number; squares of draws above 1e154 are infinite.
    with np.errstate(invalid="ignore", over="ignore"):
        return found.assign(
            std_error=flat.std(axis=-1, ddof=1) if flat.shape[1] > 1 else np.nan,
            ess_bulk=array_stats.ess(draws, method="bulk", **axes),
            ess_tail=array_stats.ess(draws, method="tail", prob=TAIL, **axes),
            r_hat=array_stats.rhat(draws, **axes),
            mcse=array_stats.mcse(draws, method=point, **axes),
        ).loc[:, list(COLUMNS)]


def decimals(spread: float) -> int:
    """How many decimals to print of a number that is uncertain by ``spread``.

    Three, or as many as show two digits of the spread.

    Examples
    --------
    >>> from popavg.posterior_tools.summaries import decimals
    >>> decimals(0.2), decimals(0.00034)
    (3, 5)
    """
    if not np.isfinite(spread) or spread <= 0:
        return 3
    return max(3, 1 - math.floor(math.log10(spread)))
