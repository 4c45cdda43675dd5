"""Numbers that summarise draws, each draw being a value of the estimand itself."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from arviz_base import rcParams
from arviz_stats.base import array_stats
from numpy.typing import NDArray

from popavg._checks import check_choice
from popavg.errors import SpecificationError

__all__ = ["COLUMNS", "IntervalKind", "interval_settings", "summarise"]

IntervalKind = Literal["eti", "hdi"]

#: Columns of a summary, in order.
COLUMNS = ("estimate", "std_error", "lower", "upper", "ess_bulk", "ess_tail", "r_hat", "mcse")

#: Quantiles whose effective size is ``ess_tail`` (Vehtari et al. 2021).
TAIL = (0.05, 0.95)


def interval_settings(ci_prob: float | None, ci_kind: str | None) -> tuple[float, str]:
    """Level and kind of interval, from ``arviz.rcParams`` where not given.

    Raises
    ------
    SpecificationError
        The level isn't between 0 and 1, or the kind isn't ``"eti"`` or ``"hdi"``.
    """
    prob = float(rcParams["stats.ci_prob"] if ci_prob is None else ci_prob)
    if not 0 < prob < 1:
        raise SpecificationError(f"ci_prob={prob:g}", "a level between 0 and 1, such as 0.95")
    return prob, check_choice("ci_kind", ci_kind or rcParams["stats.ci_kind"], ("eti", "hdi"))


def summarise(
    draws: NDArray[np.float64],
    *,
    ci_prob: float | None = None,
    ci_kind: IntervalKind | None = None,
    point_estimate: Literal["mean", "median"] | None = None,
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
        of the mean.
    """
    prob, kind = interval_settings(ci_prob, ci_kind)
    point = point_estimate or rcParams["stats.point_estimate"]
    centre = getattr(np, check_choice("point_estimate", point, ("mean", "median")))
    flat = np.moveaxis(draws, -1, 0).reshape(draws.shape[-1], -1)
    bounds = getattr(array_stats, kind)(flat, prob, axis=-1)
    axes = {"chain_axis": 0, "draw_axis": 1}
    return pd.DataFrame(
        {
            "estimate": centre(flat, axis=-1),
            "std_error": flat.std(axis=-1, ddof=1),
            "lower": bounds[..., 0],
            "upper": bounds[..., 1],
            "ess_bulk": array_stats.ess(draws, method="bulk", **axes),
            "ess_tail": array_stats.ess(draws, method="tail", prob=TAIL, **axes),
            "r_hat": array_stats.rhat(draws, **axes),
            "mcse": array_stats.mcse(draws, **axes),
        },
        columns=list(COLUMNS),
    )
