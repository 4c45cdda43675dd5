"""The comparison: GLM, conditional, population-averaged and GEE estimates side by side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from popavg._checks import check_choice

__all__ = ["INTERVALS", "MODELS", "Comparison", "apart", "beside"]

#: The columns of the comparison, in order.
MODELS = ("GLM", "conditional", "population-averaged", "GEE")

#: What the interval of each column is.
INTERVALS = {
    "GLM": "confidence",
    "conditional": "credible",
    "population-averaged": "credible",
    "GEE": "confidence",
}


def beside(model: str, name: str) -> str:
    """The name of another fit's column: ``"conditional (bridge)"``.

    Parameters
    ----------
    model : str
        One of :data:`MODELS`.
    name : str
        The other fit's name; none for the fit that the comparison is of.

    Examples
    --------
    >>> from popavg.posterior_tools.comparison import beside
    >>> beside("conditional", "bridge"), beside("conditional", "")
    ('conditional (bridge)', 'conditional')
    """
    return f"{model} ({name})" if name else model


def apart(model: str) -> tuple[str, str]:
    """What :func:`beside` put together.

    Parameters
    ----------
    model : str
        A column's name.

    Returns
    -------
    tuple of str
        One of :data:`MODELS`, or the whole name where it begins with none; the other fit's name.

    Examples
    --------
    >>> from popavg.posterior_tools.comparison import apart
    >>> apart("population-averaged (bridge)"), apart("GEE")
    (('population-averaged', 'bridge'), ('GEE', ''))
    """
    for known in MODELS:
        if model.startswith(f"{known} (") and model.endswith(")"):
            return known, model[len(known) + 2 : -1]
    return model, ""


@dataclass(frozen=True, repr=False)
class Comparison:
    """Four answers to each coefficient, what separates them, and what each one means.

    Where other fits are set beside, there are two more answers for each of them.

    Attributes
    ----------
    estimates : pandas.DataFrame
        One row for each term and model: ``term, model, estimate, std_error, lower, upper,
        interval``; ``std_error`` is a posterior standard deviation for the two credible columns.
    agreement : pandas.DataFrame
        One row for each term: ``term``, ``attenuation`` (posterior median of β̃/β) with
        ``attenuation_lower`` and ``attenuation_upper``, ``distance`` (population-averaged minus
        GEE estimate, in GEE standard errors).
    misfit : dict of str to float
        Posterior means of the largest and root-mean-square difference between the population
        mean and the marginal model, on the response scale.
    facts : dict of str to object
        Formula, link, response, rows, clusters, working correlation, α, level.
    words : tuple of str
        What the numbers mean, in plain words with the data's own names.

    Examples
    --------
    >>> import popavg as pa
    >>> comparison = pa.compare_gee(pa.load_example())
    >>> comparison.terms[2], comparison.facts["n_clusters"]
    ('time', 294)
    """

    estimates: pd.DataFrame
    agreement: pd.DataFrame
    misfit: dict[str, float]
    facts: dict[str, Any]
    words: tuple[str, ...] = field(default=())

    @property
    def models(self) -> tuple[str, ...]:
        """The models, in the order of the columns."""
        return tuple(dict.fromkeys(self.estimates["model"]))

    @property
    def terms(self) -> list[str]:
        """The coefficients, in the design's order."""
        return self.agreement["term"].to_list()

    def to_frame(self, layout: Literal["long", "wide"] = "long") -> pd.DataFrame:
        """The comparison as a table.

        Parameters
        ----------
        layout : {"long", "wide"}
            ``"long"``: a row for each term and model, with the agreement columns repeated.
            ``"wide"``: a row for each term, the models' estimates beside each other.

        Returns
        -------
        pandas.DataFrame
        """
        check_choice("layout", layout, ("long", "wide"))
        if layout == "long":
            return self.estimates.merge(self.agreement, on="term", how="left", sort=False)
        table = self.estimates.pivot(
            index="term", columns="model", values=["estimate", "std_error"]
        )
        columns = {
            f"{model} {value}".replace("std_error", "SE"): table[value, model].reindex(self.terms)
            for model in self.models
            for value in ("estimate", "std_error")
        }
        wide = pd.DataFrame(columns).rename_axis("term").reset_index()
        return wide.merge(self.agreement, on="term", how="left", sort=False)

    def plot(self, *, backend: str | None = None, **kwargs: Any) -> Any:
        """Estimates and intervals of every term, one colour for each model.

        Parameters
        ----------
        backend : {"matplotlib", "bokeh", "plotly"}, optional
            ``arviz.rcParams["plot.backend"]`` by default.
        **kwargs
            For :func:`popavg.posterior_tools.comparison_plot.plot_comparison`.

        Returns
        -------
        arviz_plots.PlotCollection
        """
        from popavg.posterior_tools.comparison_plot import plot_comparison

        prob = self.facts["ci_prob"]
        return plot_comparison(self.estimates, ci_prob=prob, backend=backend, **kwargs)

    def __repr__(self) -> str:
        from popavg.posterior_tools.comparison_text import render_text

        shown: Any = self  # type checkers see this module under two names
        return render_text(shown)

    def _repr_html_(self) -> str:
        from popavg.posterior_tools.comparison_html import render_html

        shown: Any = self  # type checkers see this module under two names
        return render_html(shown)
