"""Refuse priors that can't be one for their parameter."""

from __future__ import annotations

from math import inf

from popavg._checks import listing, suggestion
from popavg.distributions import DISTRIBUTIONS
from popavg.errors import SpecificationError
from popavg.priors import Prior

__all__ = ["check_prior", "check_tail"]

#: Names that PyMC has too, and why they are no priors of one real number.
_REFUSED = dict.fromkeys(("Flat", "HalfFlat"), "improper: it has no proper density")
_REFUSED |= {"DiracDelta": "a fixed number, with no proper density", "VonMises": "on a circle"}
_DISCRETE = ("Bernoulli", "BetaBinomial", "Binomial", "Categorical", "DiscreteUniform")
_DISCRETE += ("DiscreteWeibull", "Geometric", "HyperGeometric", "NegativeBinomial", "Poisson")
_REFUSED |= dict.fromkeys(_DISCRETE, "discrete")

_ALLOWED = {
    "real": "a continuous distribution on the whole real line, as Normal or StudentT",
    "positive": "a continuous distribution of positive numbers, as HalfNormal or Exponential",
    "probability": "a continuous distribution between 0 and 1, as Beta",
}

#: How many times as wide as the default a prior's median may be.
TOO_WIDE = 400.0


def check_prior(parameter: str, prior: Prior, support: str) -> None:
    """Refuse a prior that can't be one for this parameter.

    Parameters
    ----------
    parameter : str
        Its name, for the message.
    prior : Prior
        The prior.
    support : {"real", "positive", "probability", "correlation"}
        Where the parameter lives: the whole real line (a coefficient), the positive half-line (a
        standard deviation), between 0 and 1, correlation matrices.

    Raises
    ------
    SpecificationError
        An unknown or improper distribution, a wrong parameter of it, or another support.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.prior_checks import check_prior
    >>> check_prior("sd_patient", pa.Prior("HalfNormal", sigma=1), "positive")
    """
    if support == "correlation" or prior.name == "LKJ":
        _check_correlation(parameter, prior, support)
        return
    allowed = _ALLOWED[support]
    if prior.name in _REFUSED:
        raise SpecificationError(
            f"the prior {prior} of {parameter!r} is {_REFUSED[prior.name]}", allowed
        )
    _check_signature(parameter, prior)
    found = _support_of(prior)
    fits = found == support or (support == "positive" and found == "probability")
    if not fits:
        raise SpecificationError(f"the prior {prior} of {parameter!r} is {_words(found)}", allowed)


def check_tail(parameter: str, prior: Prior, default: Prior) -> None:
    """Refuse a prior of a standard deviation that has, in numbers, its mass at infinity.

    Parameters
    ----------
    parameter : str
        The standard deviation.
    prior : Prior
        Its prior, which :func:`check_prior` has passed.
    default : Prior
        The default prior, which knows the scale.

    Raises
    ------
    SpecificationError
        Half of its mass lies above 400 times the default's scale: 1,000 on the logit.

    Notes
    -----
    With clusters as far apart as that every one of them has only events or none, and the
    likelihood is flat in the standard deviation: what comes out is the prior.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.prior_checks import check_tail
    >>> check_tail("sd_g", pa.Prior("HalfCauchy", 25), pa.Prior("HalfStudentT", 3, 2.5))
    """
    median, limit = float(prior.quantile(0.5)), TOO_WIDE * default.density.scale
    if not median <= limit:
        raise SpecificationError(
            f"the prior {prior} of {parameter!r} has half of its mass above {median:.3g}, which is "
            "as good as at infinity",
            f"a prior with its median below {limit:.3g}",
            f"write 'P(sd > {1.2 * default.density.scale:.2g}) = 0.05', or look at a prior with "
            "pa.prior_check",
        )


def _words(found: str) -> str:
    return {"probability": "positive and at most 1"}.get(found, found)


def _check_correlation(parameter: str, prior: Prior, support: str) -> None:
    if support != "correlation":
        raise SpecificationError(
            f"the prior {prior} of {parameter!r} is one of correlation matrices",
            "a distribution of one number",
        )
    if prior.name != "LKJ" or set(prior.params) != {"eta"} or not prior.params["eta"] > 0:
        raise SpecificationError(
            f"the prior {prior} of {parameter!r} isn't one of correlation matrices",
            "'LKJ(2)', pa.Prior(\"LKJ\", eta=2), with eta above 0",
        )


def _check_signature(parameter: str, prior: Prior) -> None:
    """The distribution must be known, and its parameters be those that it has."""
    known = DISTRIBUTIONS.get(prior.name)
    if known is None:
        raise SpecificationError(
            f"the prior of {parameter!r} is a {prior.name!r}, which isn't known",
            f"a continuous distribution by PyMC's name: {listing(DISTRIBUTIONS, limit=40)}",
            suggestion(prior.name, DISTRIBUTIONS),
        )
    wrong = [key for key in prior.params if key not in known.parameters]
    if wrong:
        raise SpecificationError(
            f"the prior {prior} of {parameter!r} has the unknown parameter {listing(wrong)}",
            listing(known.parameters),
        )
    try:
        known.density(prior.params)
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise SpecificationError(
            f"the prior {prior} of {parameter!r} isn't a distribution: {error}"
        ) from error


def _support_of(prior: Prior) -> str:
    lower, upper = prior.support
    if (lower, upper) == (-inf, inf):
        return "real"
    if lower < 0:
        return "bounded"
    return "probability" if upper <= 1 else "positive"
