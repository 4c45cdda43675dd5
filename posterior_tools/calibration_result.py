"""The result of simulation-based calibration: ranks, what they say, a figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from arviz_base import rcParams

from popavg.errors import SpecificationError
from popavg.posterior_tools.rank_uniformity import uniformity_p_value

__all__ = ["Calibration", "CalibrationRun", "envelope"]

#: What is kept of every quantity in every run.
NUMBERS = ("rank", "truth", "mean", "sd")
#: What ranks in a wrong place, or too far from the middle or too near to it, say of the draws.
PLACES = ("draws too high", "draws too low")
WIDTHS = ("draws too wide", "draws too narrow")


@dataclass(frozen=True)
class CalibrationRun:
    """One data set, made of parameters from the prior, and what its fit says of them.

    Attributes
    ----------
    run : int
        Its number, from 0.
    method : str
        What drew from the posterior: ``"importance"``, ``"nuts"`` or ``"latent"``.
    ranks : dict of str to int
        For each quantity the number of posterior draws below its true value.
    truth, mean, sd : dict of str to float
        True values; means and standard deviations of the draws.
    seconds : float
        How long it took.
    ess, r_hat : float
        Of a Markov chain: the smallest effective number of draws and the largest R-hat of the
        parameters, before thinning; NaN for independent draws.
    divergences : int
        Divergent draws.
    refused : str
        Why importance sampling was refused, so that NUTS drew instead; empty where it wasn't.
    constant : bool
        Whether all outcomes were the same.
    undefined : dict of str to str
        Quantities that have no rank, and why.
    failure : str
        Why it couldn't be simulated or fitted; empty where it could.

    Examples
    --------
    >>> from popavg.posterior_tools.calibration_result import CalibrationRun
    >>> CalibrationRun(0, "importance", {"sd_g": 12}).failure
    ''
    """

    run: int
    method: str = ""
    ranks: Mapping[str, int] = field(default_factory=dict)
    truth: Mapping[str, float] = field(default_factory=dict)
    mean: Mapping[str, float] = field(default_factory=dict)
    sd: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    ess: float = np.nan
    r_hat: float = np.nan
    divergences: int = 0
    refused: str = ""
    constant: bool = False
    undefined: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True, repr=False, eq=False)
class Calibration:
    """Whether a route to the posterior is calibrated, from :func:`popavg.calibrate`.

    Attributes
    ----------
    runs : tuple of CalibrationRun
        All that are finished, in order, those that couldn't be fitted included.
    draws : int
        Posterior draws that each true value was ranked among.
    quantities : dict of str to str
        What was ranked, and what it is in words.
    facts : dict of str to object
        Formula, link, family, method, seed, priors, number of runs that were asked for; what
        interrupted them.

    Examples
    --------
    >>> import popavg as pa
    >>> data = pa.load_dataset("cbpp")
    >>> found = pa.calibrate("p(incidence, size) ~ period + (1 | herd)", data, link="logit",
    ...                      runs=4, jobs=1, progress=False)
    >>> found.data["rank"].dims, found.verdict
    (('run', 'quantity'), 'uniform')
    """

    runs: tuple[CalibrationRun, ...]
    draws: int
    quantities: Mapping[str, str]
    facts: Mapping[str, Any]

    @property
    def fitted(self) -> tuple[CalibrationRun, ...]:
        """The runs that have ranks."""
        return tuple(run for run in self.runs if not run.failure)

    @cached_property
    def data(self) -> xr.Dataset:
        """Numbers of the fitted runs, dims ``run`` and ``quantity``.

        ``rank`` (draws below the true value), ``truth``, ``mean`` and ``sd`` of the draws; NaN
        where a quantity isn't defined.
        """
        fitted, names = self.fitted, list(self.quantities)
        parts = {"rank": "ranks"} | {name: name for name in NUMBERS[1:]}
        variables = {
            name: (
                ("run", "quantity"),
                np.array(
                    [[getattr(run, part).get(q, np.nan) for q in names] for run in fitted],
                    dtype=float,
                ).reshape(len(fitted), len(names)),
            )
            for name, part in parts.items()
        }
        return xr.Dataset(variables, coords={"run": [run.run for run in fitted], "quantity": names})

    def ranks(self, quantity: str) -> Any:
        """Ranks of one quantity, without runs in which it isn't defined.

        Parameters
        ----------
        quantity : str
            One of ``quantities``.

        Returns
        -------
        numpy.ndarray of int
        """
        values = self.data["rank"].sel(quantity=quantity).to_numpy()
        return values[~np.isnan(values)].astype(np.int64)

    @cached_property
    def _tests(self) -> pd.DataFrame:
        rows = []
        for name, meaning in self.quantities.items():
            ranks = self.ranks(name)
            place = (ranks + 0.5) / (self.draws + 1)
            p_value = uniformity_p_value(ranks, self.draws)
            mean = float(place.mean()) if len(ranks) else np.nan
            rows.append((name, meaning, len(ranks), mean, p_value, _shape(place)))
        columns = ["quantity", "meaning", "runs", "mean_rank", "p_value", "shape"]
        return pd.DataFrame(rows, columns=columns)

    def to_frame(self, envelope_prob: float | None = None) -> pd.DataFrame:
        """One row for each quantity: whether its ranks are uniform.

        Parameters
        ----------
        envelope_prob : float, optional
            Probability with which a right route gets ``"uniform"`` for *all* quantities (or more:
            they are treated as if they had nothing to do with each other);
            ``arviz.rcParams["stats.envelope_prob"]`` by default.

        Returns
        -------
        pandas.DataFrame
            ``quantity``, ``meaning``, ``runs`` (that it is defined in), ``mean_rank`` (as a share;
            0.5 is expected), ``p_value`` (of this quantity alone), ``verdict`` (``"uniform"``,
            ``"not uniform"``, ``"no ranks"``), ``shape`` (what ranks that aren't uniform say of
            the draws).
        """
        limit = (1.0 - envelope(envelope_prob)) / max(len(self.quantities), 1)
        table = self._tests.copy()
        verdict = np.where(table["p_value"] <= limit, "not uniform", "uniform")
        table.insert(5, "verdict", np.where(table["runs"] == 0, "no ranks", verdict))
        table["shape"] = table["shape"].where(table["verdict"] == "not uniform", "")
        return table

    @property
    def verdict(self) -> str:
        """``"uniform"`` or ``"not uniform"``: whether any quantity is outside of its band."""
        return "not uniform" if (self.to_frame()["verdict"] == "not uniform").any() else "uniform"

    @property
    def run_table(self) -> pd.DataFrame:
        """One row for each finished run: how it was fitted, and what was odd."""
        names = ["run", "method", "seconds", "ess", "r_hat", "divergences", "refused", "constant"]
        rows = [
            {name: getattr(run, name) for name in names}
            | {"undefined": ", ".join(run.undefined), "failure": run.failure}
            for run in self.runs
        ]
        return pd.DataFrame(rows, columns=[*names, "undefined", "failure"])

    @property
    def failures(self) -> pd.DataFrame:
        """The runs that couldn't be simulated or fitted, and why: ``run``, ``failure``."""
        table = self.run_table
        return table.loc[table["failure"] != "", ["run", "failure"]].reset_index(drop=True)

    @property
    def words(self) -> tuple[str, ...]:
        """Sentences: the verdict, what it can't see, failures and what else was odd."""
        from popavg.posterior_tools._calibration_words import calibration_words

        shown: Any = self  # type checkers see this module under two names
        return calibration_words(shown)

    def to_datatree(self) -> xr.DataTree:
        """Shares of draws below the true values, as ArviZ' functions take them.

        Returns
        -------
        xarray.DataTree
            Group ``prior_sbc`` with a variable for each quantity, dims ``chain`` and ``draw`` (the
            runs): for ``arviz.plot_ecdf_pit``. Runs in which some quantity isn't defined are left
            out.
        """
        ranks = self.data["rank"].dropna("run")
        shares = (ranks + 0.5) / (self.draws + 1)
        variables = {
            str(name): (("chain", "draw"), shares.sel(quantity=name).to_numpy()[None])
            for name in self.quantities
        }
        coords = {"chain": [0], "draw": ranks["run"].to_numpy()}
        return xr.DataTree.from_dict({"prior_sbc": xr.Dataset(variables, coords=coords)})

    def plot(
        self,
        *,
        envelope_prob: float | None = None,
        backend: str | None = None,
        visuals: Mapping[str, Mapping[str, Any] | bool] | None = None,
        **pc_kwargs: Any,
    ) -> Any:
        """The ranks' distribution function minus that of uniform ranks, and its band.

        Parameters
        ----------
        envelope_prob : float, optional
            Probability with which the curves of *all* quantities stay within their bands;
            ``arviz.rcParams["stats.envelope_prob"]`` by default.
        backend : {"matplotlib", "bokeh", "plotly"}, optional
            ``arviz.rcParams["plot.backend"]`` by default.
        visuals : mapping, optional
            Keywords for ``band``, ``zero``, ``curve``, or False to leave one out.
        **pc_kwargs
            For :meth:`arviz_plots.PlotCollection.wrap`.

        Returns
        -------
        arviz_plots.PlotCollection
            One panel for each quantity.
        """
        from popavg.posterior_tools.calibration_plot import plot_calibration

        shown: Any = {"": self}
        return plot_calibration(
            shown, envelope_prob=envelope_prob, backend=backend, visuals=visuals, **pc_kwargs
        )

    def __repr__(self) -> str:
        from popavg.posterior_tools._calibration_words import render_text

        shown: Any = self
        return render_text(shown)

    def _repr_html_(self) -> str:
        from popavg.posterior_tools._calibration_words import render_html

        shown: Any = self
        return render_html(shown)


def envelope(prob: float | None) -> float:
    """The probability of an envelope, from ``arviz.rcParams`` where it isn't given.

    Parameters
    ----------
    prob : float or None
        What was asked for.

    Returns
    -------
    float

    Raises
    ------
    SpecificationError
        It isn't between 0 and 1.

    Examples
    --------
    >>> from popavg.posterior_tools.calibration_result import envelope
    >>> envelope(0.95)
    0.95
    """
    found = rcParams["stats.envelope_prob"] if prob is None else prob
    if not isinstance(found, Real) or not 0 < found < 1:
        raise SpecificationError(f"envelope_prob={found!r}", "between 0 and 1, such as 0.99")
    return float(found)


def _shape(place: Any) -> str:
    """What the ranks, as shares, say of the draws: whether their mean or their spread is off.

    Ranks that are all at one end are far from the middle too: the mean counts twice.
    """
    if not len(place):
        return ""
    runs = len(place)
    shift = (place.mean() - 0.5) * np.sqrt(12 * runs)
    spread = (np.square(place - 0.5).mean() - 1 / 12) * np.sqrt(180 * runs)
    words, score = (PLACES, shift) if 2 * abs(shift) >= abs(spread) else (WIDTHS, spread)
    return words[int(score > 0)]
