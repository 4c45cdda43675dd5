"""The number needed to treat, 1 / risk difference, with intervals that go through infinity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, override

import numpy as np
import pandas as pd
import xarray as xr

from popavg.errors import EstimandError, SpecificationError
from popavg.posterior_tools.estimates import Estimates
from popavg.posterior_tools.summaries import IntervalKind, interval_settings, summarise

__all__ = ["NeededToTreat"]

_DIAGNOSTICS = ["ess_bulk", "ess_tail", "r_hat"]


@dataclass(frozen=True, repr=False)
class NeededToTreat(Estimates):
    """Numbers needed to treat: draws of 1 / risk difference, summarised as the difference is.

    A number of 12 says: one **more** event for every 12 that are moved from the low to the high
    side of the contrast; −12 says one **fewer**. Which of them is a benefit is for the reader to
    say. ``draws`` are 1/RD, infinite where a draw's difference is 0.

    See Also
    --------
    popavg.avg_comparisons : Makes them, by ``comparison="nnt"``.

    Notes
    -----
    1/RD has a pole at RD = 0: it has no mean or standard deviation, and an interval for RD that
    holds 0, say −0.02 to 0.05, becomes the two pieces up to −50 and from 20, which meet at
    infinity: "one more event per 20 … ∞ … one fewer per 50" (Altman 1998, BMJ 317:1309). So all
    numbers are those of RD, turned over: ``estimate`` is 1 over its mean (or median), never the
    mean of 1/RD.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> from popavg.posterior_tools.needed_to_treat import NeededToTreat
    >>> rd = xr.DataArray(np.linspace(-0.02, 0.05, 801).reshape(1, -1, 1),
    ...                   dims=("chain", "draw", "contrast"))
    >>> number = NeededToTreat.of_differences(rd, labels=pd.DataFrame(index=[0]), title="example")
    >>> number.to_frame(ci_prob=0.9)["interval"].item()
    'one more per 21.5 to ∞ to one fewer per 60.6'
    """

    @classmethod
    def of_differences(cls, difference: xr.DataArray, **kwargs: Any) -> NeededToTreat:
        """Turn risk differences over.

        Parameters
        ----------
        difference : xarray.DataArray
            Draws of RD, dims (chain, draw, estimands); may be on dask.
        **kwargs
            The other attributes of :class:`popavg.Estimates`.
        """
        zero = difference == 0.0
        draws = xr.where(zero, np.inf, 1.0 / xr.where(zero, 1.0, difference))
        return cls(draws.transpose(*difference.dims).rename("nnt"), **kwargs)

    @property
    def difference(self) -> xr.DataArray:
        """Draws of the risk differences."""
        return (1.0 / self.draws).rename("difference")

    @override
    def to_frame(
        self, ci_prob: float | None = None, ci_kind: IntervalKind | None = None
    ) -> pd.DataFrame:
        """Tidy summary, one row for each estimand.

        Parameters
        ----------
        ci_prob : float, optional
            Level of the credible interval; ``arviz.rcParams["stats.ci_prob"]`` by default.
        ci_kind : {"eti"}, optional
            Equal-tailed: the only kind that turning over keeps.

        Returns
        -------
        pandas.DataFrame
            The labels, then ``estimate``; ``lower`` and ``upper``; ``two_pieces``, True where the
            difference's interval holds 0; ``below`` and ``above``, the ends of the two pieces (all
            numbers up to ``below``, all from ``above``), while ``lower`` and ``upper`` are then
            infinite; ``interval`` in words; ``ess_bulk``, ``ess_tail`` and ``r_hat`` of the
            difference. There is no ``std_error``.

        Raises
        ------
        SpecificationError
            Another kind of interval.
        """
        if ci_kind not in (None, "eti"):
            raise SpecificationError(
                f"ci_kind={ci_kind!r} for numbers needed to treat",
                "'eti', whose ends are those of the risk difference turned over",
                "use comparison='difference' for other kinds of intervals",
            )
        found = summarise(
            self.difference.to_numpy().astype(float),
            ci_prob=ci_prob,
            ci_kind="eti",
            point_estimate=self.point_estimate,
        )
        bounds = (found["lower"], found["upper"])
        numbers = pd.DataFrame([_turned(*ends) for ends in zip(*bounds, strict=True)])
        numbers.insert(0, "estimate", [_over(value) for value in found["estimate"]])
        frames = [self.labels.reset_index(drop=True), numbers, found[_DIAGNOSTICS]]
        return pd.concat(frames, axis=1)

    @override
    def plot(self, **kwargs: Any) -> Any:
        """Refused: an axis of numbers needed to treat has its middle at infinity.

        Parameters
        ----------
        **kwargs
            Not used.

        Raises
        ------
        EstimandError
            Always.
        """
        raise EstimandError(
            "numbers needed to treat have no forest plot: 'no difference' is at infinity",
            "tables of them",
            "plot the risk differences: comparison='difference'",
        )

    @override
    def _caption(self) -> str:
        prob, _ = interval_settings(None, "eti")
        n_chains, n_draws = self.draws.shape[:2]
        return (
            f"{self.title} (target: {self.target}; {100 * prob:g} % credible intervals, eti of the "
            f"difference turned over; {n_chains} × {n_draws} draws)"
        )


def _turned(lower: float, upper: float) -> dict[str, Any]:
    """The interval [lower, upper] of a difference, turned over."""
    two = lower < 0.0 < upper
    below, above = (_over(lower), _over(upper)) if two else (np.nan, np.nan)
    if two:
        ends = (-np.inf, np.inf)
        words = f"one more per {_number(above)} to ∞ to one fewer per {_number(-below)}"
    elif lower == upper == 0.0:
        ends, words = (np.inf, np.inf), "∞ (no difference)"
    elif lower >= 0.0:
        ends = (_over(upper), _over(lower))
        words = f"one more per {_number(ends[0])} to {_number(ends[1])}"
    else:
        ends = (-_over(-upper), _over(lower))
        words = f"one fewer per {_number(-ends[1])} to {_number(-ends[0])}"
    return {
        "lower": ends[0],
        "upper": ends[1],
        "two_pieces": two,
        "below": below,
        "above": above,
        "interval": words,
    }


def _over(value: float) -> float:
    """1 / value, infinite for 0."""
    return np.inf if value == 0.0 else 1.0 / float(value)


def _number(value: float) -> str:
    """One decimal below 100, else whole; infinity as a sign."""
    if np.isinf(value):
        return "∞"
    return f"{value:.1f}" if abs(value) < 100 else f"{value:,.0f}"
