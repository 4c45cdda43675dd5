"""What a GEE found: estimates, both covariances, and the words around them."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Literal

import numpy as np
import pandas as pd
from arviz_base import rcParams
from numpy.typing import NDArray

from popavg._checks import check_choice
from popavg.families import Family
from popavg.links import Link
from popavg.models.glm_reference import wald_frame

__all__ = ["GEEResult"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GEEResult:
    """A fitted GEE.

    Attributes
    ----------
    terms : tuple of str
        Columns of the design.
    coefficients : ndarray, shape (terms,)
        Population-averaged coefficients on the link scale.
    covariance : ndarray, shape (terms, terms)
        Robust (sandwich) covariance, without a small-sample factor.
    covariance_model : ndarray, shape (terms, terms)
        Model-based covariance, right only if the working correlation is.
    alpha : float or None
        Working correlation: of two rows of a cluster (exchangeable), or of two rows one unit of
        time apart (AR(1)); None for independence.
    scale : float
        phi, the mean weighted squared Pearson residual.
    working_correlation : str
        ``independence``, ``exchangeable`` or ``ar1``.
    link, family : Link, Family
        The model of the mean and its variance.
    n_rows, n_clusters : int
        Rows and clusters used.
    groups : str
        The column of the clusters.
    formula : str
        Response and fixed effects.
    cov_type : {"robust", "model"}
        Which covariance `to_frame` uses by default.
    notes : tuple of str
        What a reader of the numbers should know.

    Examples
    --------
    >>> import popavg as pa
    >>> data = pa.load_dataset("toenail")
    >>> result = pa.gee("y ~ treatment * time", data, groups="patient", link="logit")
    >>> round(result.alpha, 4), result.n_clusters
    (0.4218, 294)
    """

    terms: tuple[str, ...]
    coefficients: Floats
    covariance: Floats
    covariance_model: Floats
    alpha: float | None
    scale: float
    working_correlation: str
    link: Link
    family: Family
    n_rows: int
    n_clusters: int
    groups: str = "cluster"
    formula: str = ""
    cov_type: Literal["robust", "model"] = "robust"
    notes: tuple[str, ...] = ()

    def to_frame(
        self, ci_prob: float | None = None, cov_type: Literal["robust", "model"] | None = None
    ) -> pd.DataFrame:
        """Return a tidy table with Wald confidence intervals.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the intervals; ArviZ's ``stats.ci_prob`` by default.
        cov_type : {"robust", "model"}, optional
            Which covariance; the result's own by default.

        Returns
        -------
        pandas.DataFrame
            Columns term, estimate, std_error, lower, upper; a row for each term.

        Raises
        ------
        SpecificationError
            An unknown ``cov_type``, or ``ci_prob`` outside (0, 1).
        """
        kind = check_choice("cov_type", cov_type or self.cov_type, ("robust", "model"))
        covariance = self.covariance if kind == "robust" else self.covariance_model
        return wald_frame(self.terms, self.coefficients, covariance, ci_prob)

    def predict(self, X: Floats, offset: Floats | None = None) -> Floats:
        """Return the population-averaged mean at the rows of a design.

        Parameters
        ----------
        X : ndarray, shape (rows, terms)
            Design.
        offset : ndarray, shape (rows,), optional
            Offset on the link scale.

        Returns
        -------
        ndarray, shape (rows,)
            Mean: a probability, a rate or a value.
        """
        return self.link.inverse(X @ self.coefficients + (0.0 if offset is None else offset))

    def _heading(self) -> list[str]:
        correlation = "" if self.alpha is None else f"alpha = {self.alpha:.4g}, "
        return [
            f"GEE, {self.link.name} link, {self.working_correlation} working correlation"
            + (f": {self.formula}" if self.formula else ""),
            f"{self.n_rows} rows in {self.n_clusters} clusters of {self.groups!r}; "
            f"{correlation}scale = {self.scale:.4g}",
            f"{self.cov_type} standard errors, "
            f"{100 * rcParams['stats.ci_prob']:.4g} % confidence intervals (Wald)",
        ]

    def __repr__(self) -> str:
        table = self.to_frame().to_string(index=False, float_format="{:.4g}".format)
        return "\n".join([*self._heading(), table, *(f"Note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        heading = "<br>".join(escape(line) for line in self._heading())
        table = self.to_frame().to_html(index=False, float_format="{:.4g}".format, border=0)
        notes = "".join(f"<p>Note: {escape(note)}</p>" for note in self.notes)
        return f"<div><p>{heading}</p>{table}{notes}</div>"
