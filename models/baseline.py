"""A prior on the population mean at the average row, in place of one on the intercept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from popavg.design import Design, DesignMatrices
from popavg.errors import SpecificationError
from popavg.links import Link
from popavg.mixing import BRIDGE
from popavg.posterior_tools.grid import held_values
from popavg.priors import Prior

__all__ = [
    "BASELINE",
    "BRIDGE_RATE",
    "Baseline",
    "baseline_of",
    "baseline_support",
    "check_baseline",
]

type Floats = NDArray[np.float64]

#: The name of the prior among a model's priors.
BASELINE = "baseline"

_SUPPORTS = {"probit": "probability", "log": "positive", "identity": "real"}
#: What φ⁻² of the bridge distribution rises by with its variance.
BRIDGE_RATE = 3.0 / np.pi**2


@dataclass(frozen=True, eq=False)
class Baseline:
    """The population mean at the average row, and the intercept that gives it.

    Attributes
    ----------
    link : Link
        One whose population mean has a closed form.
    prior : Prior
        Of the mean: between 0 and 1 for the probit, above 0 for the log link.
    row : dict
        The average row: numbers at their mean, categories at their most frequent level; what
        ``newdata="mean"`` is in :func:`popavg.predictions`.
    columns : numpy.ndarray, shape (terms,)
        The design at that row.
    offset : float
        Its offset.

    Notes
    -----
    With random intercepts of total variance v the population mean at a row is g⁻¹(a(v) + c(v) η):
    probit a = 0, c = 1/√(1 + v); log a = v/2, c = 1; identity a = 0, c = 1; logit with the bridge
    distribution a = 0, c = φ = 1/√(1 + 3v/π²). The predictor at the
    average row is then η = (g(p₀) − a(v))/c(v), p₀ having its own prior, independent of v and of
    the slopes; β_0 = η − offset − Σ_k x_k β_k.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.design import Design, family_of
    >>> from popavg.models.baseline import Baseline
    >>> formula, link = "resp ~ age + (1 | id)", pa.get_link("probit")
    >>> design = Design.build(formula, pa.load_dataset("ohio"), family=family_of(formula, link))
    >>> baseline = Baseline.build(design, link, pa.Prior("Beta", 2, 8))
    >>> round(float(baseline.predictor(0.2, 3.0)), 4), round(float(baseline.mean(-1.6832, 3.0)), 4)
    (-1.6832, 0.2)
    """

    link: Link
    prior: Prior
    row: dict[str, Any]
    columns: Floats
    offset: float

    @classmethod
    def build(cls, design: Design, link: Link, prior: Prior) -> Baseline:
        """The baseline of a design, which :func:`check_baseline` has passed.

        Parameters
        ----------
        design : popavg.design.Design
            Terms and groups.
        link : Link
            The link.
        prior : Prior
            Of the mean.

        Returns
        -------
        Baseline
        """
        row = held_values(design, design.predictors)
        frame = pd.DataFrame({name: [value] for name, value in row.items()}, index=[0])
        matrices: DesignMatrices = design.evaluate(frame)
        return cls(link, prior, row, matrices.X[0], float(matrices.offset[0]))

    def mean(self, predictor: ArrayLike, variance: ArrayLike) -> Floats:
        """The population mean for a linear predictor at the average row.

        Parameters
        ----------
        predictor : array_like
            x'β + offset.
        variance : array_like
            Sum of the random intercepts' variances.
        """
        shift, slope = self._line(variance)
        return self.link.inverse(shift + slope * np.asarray(predictor))

    def predictor(self, mean: ArrayLike, variance: ArrayLike) -> Floats:
        """The linear predictor, offset included, that gives a population mean.

        Parameters
        ----------
        mean : array_like
            Population means.
        variance : array_like
            Sum of the random intercepts' variances.
        """
        shift, slope = self._line(variance)
        return (self.link.link(mean) - shift) / slope

    def log_density(self, predictor: ArrayLike, variance: ArrayLike) -> Floats:
        """Log density of the predictor at the average row given the variance.

        Parameters
        ----------
        predictor : array_like
            x'β + offset; the density of the intercept is the same, whatever the slopes.
        variance : array_like
            Sum of the random intercepts' variances.
        """
        shift, slope = self._line(variance)
        eta = shift + slope * np.asarray(predictor)
        found = self.prior.log_density(self.link.inverse(eta))
        return found + self.link.log_derivative(eta) + np.log(slope)

    def log_density_gradient(
        self, predictor: ArrayLike, variance: ArrayLike
    ) -> tuple[Floats, Floats]:
        """Derivatives of :meth:`log_density` in the predictor and in the variance.

        Parameters
        ----------
        predictor, variance : array_like
            As for :meth:`log_density`.
        """
        v, at = np.asarray(variance, dtype=np.float64), np.asarray(predictor, dtype=np.float64)
        shift, slope = self._line(v)
        eta = shift + slope * at
        rate = self.link.derivative(eta)
        change = self.prior.log_density_gradient(self.link.inverse(eta)) * rate
        change = change + self.link.second_derivative(eta) / rate
        shift_rate = 0.5 if self.link.name == "log" else 0.0
        rates = {"probit": -0.5, "logit": -0.5 * BRIDGE_RATE}
        slope_rate = rates.get(self.link.name, 0.0) * slope**3
        return change * slope, change * (shift_rate + slope_rate * at) + slope_rate / slope

    def _line(self, variance: ArrayLike) -> tuple[Floats, Floats]:
        """a(v) and c(v)."""
        shift, unit = (self.link.marginal_predictor(eta, variance) for eta in (0.0, 1.0))
        assert shift is not None
        assert unit is not None
        return shift, unit - shift


def baseline_support(link: Link) -> str:
    """Where the mean of a link lives, in the words of :func:`popavg.prior_checks.check_prior`.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.models.baseline import baseline_support
    >>> baseline_support(pa.get_link("probit"))
    'probability'
    """
    return "probability" if link.mixing.name == BRIDGE.name else _SUPPORTS[link.name]


def check_baseline(design: Design, link: Link) -> None:
    """Refuse a prior on the baseline where it can't be had exactly.

    Parameters
    ----------
    design : popavg.design.Design
        Terms and groups.
    link : Link
        The link.

    Raises
    ------
    SpecificationError
        A link without a closed form of the population mean, no intercept, or random slopes.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.design import Design, family_of
    >>> from popavg.models.baseline import check_baseline
    >>> formula, link = "resp ~ age + (1 | id)", pa.get_link("probit")
    >>> family = family_of(formula, link)
    >>> check_baseline(Design.build(formula, pa.load_dataset("ohio"), family=family), link)
    """
    what = "a prior on the baseline"
    if link.name not in _SUPPORTS and link.mixing.name != BRIDGE.name:
        raise SpecificationError(
            f"{what}: the population mean of the {link.name} link with normal random effects has "
            "no closed form",
            f"the links {', '.join(map(repr, _SUPPORTS))}",
            "give the prior to 'Intercept' and look at what it implies with pa.prior_check",
        )
    if "Intercept" not in design.matrices.terms:
        raise SpecificationError(
            f"{what} in a model without an intercept", "a formula with an intercept"
        )
    slopes = [g.name for g in design.matrices.groups if g.effects != ("Intercept",)]
    if slopes:
        raise SpecificationError(
            f"{what}: the effects of {', '.join(map(repr, slopes))} aren't random intercepts "
            "alone, so that their variance isn't the same in every row",
            "random intercepts, '(1 | g)'",
            "give the prior to 'Intercept' and look at what it implies with pa.prior_check",
        )


def baseline_of(design: Design, link: Link, priors: Mapping[str, Prior]) -> Baseline | None:
    """The baseline of a model whose priors have one; None where the intercept has its own prior.

    Parameters
    ----------
    design : popavg.design.Design
        Terms and groups.
    link : Link
        The link.
    priors : mapping of str to Prior
        Complete, as :func:`popavg.models.default_priors.resolve_priors` returns. A term called
        ``baseline`` is a coefficient, not this.

    Returns
    -------
    Baseline or None

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.design import Design, family_of
    >>> from popavg.models.baseline import baseline_of
    >>> formula, link = "resp ~ age + (1 | id)", pa.get_link("probit")
    >>> design = Design.build(formula, pa.load_dataset("ohio"), family=family_of(formula, link))
    >>> baseline_of(design, link, {}) is None
    True
    """
    if BASELINE not in priors or BASELINE in design.matrices.terms:
        return None
    return Baseline.build(design, link, priors[BASELINE])
