"""The result of a check: findings before and after a fit, a table, a figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from popavg.errors import EstimandError
from popavg.posterior_tools.findings import VERDICTS, Finding, Verdict
from popavg.posterior_tools.sd_profile import SDProfile
from popavg.posterior_tools.sensitivity import Sensitivity
from popavg.priors import Prior

__all__ = ["Check", "SDView"]


@dataclass(frozen=True, eq=False)
class SDView:
    """What is known about one standard deviation.

    Attributes
    ----------
    name : str
        The parameter: ``"sd_patient"``.
    draws : numpy.ndarray, shape (draws,)
        Of the posterior.
    prior : Prior or None
        None where the fit doesn't record it.
    profile : SDProfile or None
        None where the likelihood can't be integrated.
    """

    name: str
    draws: NDArray[Any]
    prior: Prior | None = None
    profile: SDProfile | None = None


@dataclass(frozen=True, repr=False)
class Check:
    """What the data can tell, before a fit and after it; prints itself.

    Attributes
    ----------
    findings : tuple of Finding
        Each with a number, a verdict, what it means and what to do.
    facts : dict of str to object
        Formula, link, family, rows, and the clusters of each grouping factor as a dict of counts;
        after a fit also contraction and likelihood interval of each standard deviation.
    sensitivity : Sensitivity or None
        Power-scaling sensitivity of conditional and population-averaged numbers; None before a fit
        and where it can't be computed.
    views : tuple of SDView
        Prior, likelihood and posterior of each standard deviation; empty before a fit.

    Examples
    --------
    >>> import popavg as pa
    >>> check = pa.check("resp ~ age * smoke + (1 | id)", pa.load_dataset("ohio"), link="logit")
    >>> check.facts["clusters"]["id"]["concordant"], check.verdict
    (373, 'fine')
    """

    findings: tuple[Finding, ...]
    facts: dict[str, Any]
    sensitivity: Sensitivity | None = None
    views: tuple[SDView, ...] = field(default=())

    @property
    def verdict(self) -> Verdict:
        """The worst of all findings' verdicts."""
        return max((finding.verdict for finding in self.findings), key=VERDICTS.index)

    @property
    def words(self) -> tuple[str, ...]:
        """All findings as sentences, those that ask for something first."""
        order = sorted(self.findings, key=lambda finding: -VERDICTS.index(finding.verdict))
        return tuple(finding.sentence for finding in order)

    def to_frame(self) -> pd.DataFrame:
        """One row for each finding.

        Returns
        -------
        pandas.DataFrame
            ``part``, ``finding``, ``value``, ``number``, ``verdict``, ``meaning``, ``advice``.
        """
        columns = ["part", "finding", "value", "number", "verdict", "meaning", "advice"]
        rows = [
            (f.part, f.name, f.value, f.number, f.verdict, f.meaning, f.advice)
            for f in self.findings
        ]
        return pd.DataFrame(rows, columns=columns)

    def plot(
        self,
        *,
        backend: str | None = None,
        visuals: Mapping[str, Mapping[str, Any] | bool] | None = None,
        **pc_kwargs: Any,
    ) -> Any:
        """Likelihood of each standard deviation in its logarithm, with prior and posterior.

        Parameters
        ----------
        backend : {"matplotlib", "bokeh", "plotly"}, optional
            ``arviz.rcParams["plot.backend"]`` by default.
        visuals : mapping, optional
            Keywords for ``posterior``, ``prior``, ``likelihood``, or False to leave one out.
        **pc_kwargs
            For :meth:`arviz_plots.PlotCollection.wrap`.

        Returns
        -------
        arviz_plots.PlotCollection
            One panel for each standard deviation.

        Raises
        ------
        EstimandError
            The check was made before a fit, or the model has no random effects.
        """
        if not self.views:
            raise EstimandError(
                "the check has no standard deviation to draw",
                "a check of a fit with random effects",
                "write pa.check(fit).plot()",
            )
        from popavg.posterior_tools.check_plot import plot_check

        views: Any = self.views  # type checkers see this module under two names
        return plot_check(views, backend=backend, visuals=visuals, **pc_kwargs)

    def __repr__(self) -> str:
        from popavg.posterior_tools._check_text import render_text

        shown: Any = self  # type checkers see this module under two names
        return render_text(shown)

    def _repr_html_(self) -> str:
        from popavg.posterior_tools._check_html import render_html

        shown: Any = self  # type checkers see this module under two names
        return render_html(shown)
