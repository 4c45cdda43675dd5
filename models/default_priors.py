"""The default priors of every parameter, and a user's own in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from popavg._checks import listing, suggestion
from popavg.design import Design, DesignMatrices, GroupDesign
from popavg.errors import DataError, SpecificationError
from popavg.families import Family
from popavg.links import Link, get_link
from popavg.models.baseline import BASELINE, baseline_support, check_baseline
from popavg.prior_checks import check_prior, check_tail
from popavg.priors import Prior, as_prior

__all__ = ["correlation_name", "default_priors", "resolve_priors", "sd_names"]

#: Width of the default priors on the link's scale (Gelman et al. 2008).
WIDTH = 2.5

_INTERCEPT = "Intercept"


def default_priors(design: Design, family: Family, link: Link) -> dict[str, Prior]:
    """The weakly informative priors of a model, by parameter.

    Parameters
    ----------
    design : popavg.design.Design
        Terms, columns, response, groups.
    family : popavg.families.Family
        Sets location and scale: log mean and 1 for counts, mean and standard deviation of the
        response for a Gaussian, location 0 for probabilities.
    link : popavg.links.Link
        Sets the scale for probabilities: 1 for the logit, and for the others what is as wide in
        probability: the ratio of their tolerance distribution's standard deviation to the logit's.

    Returns
    -------
    dict of str to Prior
        In the order ``Intercept`` (at the covariates' means), the slopes by term, ``sd_<group>``
        (``sd_<group>[<effect>]`` where there are several effects), ``corr_<group>``, ``sigma``.

    Raises
    ------
    DataError
        A Gaussian response that doesn't vary, so that no prior can be scaled to it.

    Notes
    -----
    With ``s`` the response's scale and ``r(x)`` the spread of a column, ``max x − min x`` for a
    column of two values and ``2 sd(x)`` for others:

    - intercept: StudentT(nu=3, mu=location, sigma=2.5 s);
    - slope of x: Normal(mu=0, sigma=2.5 s/r(x));
    - standard deviation of the effects of z: HalfStudentT(nu=3, sigma=2.5 s/r(z)), r = 1 for an
      intercept; correlations LKJ(eta=2);
    - residual standard deviation: HalfStudentT(nu=3, sigma=2.5 s).

    An offset is taken off the location. The scaling is that of Gelman, Jakulin, Pittau & Su
    (2008), with a Normal in place of their Cauchy, whose posterior mean may not exist under
    separation.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.design import Design, family_of
    >>> data, formula = pa.load_dataset("ohio"), "resp ~ age + (1 | id)"
    >>> for name in ("logit", "probit"):
    ...     link = pa.get_link(name)
    ...     family = family_of(formula, link)
    ...     design = Design.build(formula, data, family=family)
    ...     print(default_priors(design, family, link)["sd_id"])
    HalfStudentT(nu=3, sigma=2.5)
    HalfStudentT(nu=3, sigma=1.378)
    """
    matrices = design.matrices
    location, scale = _location_scale(design, family, link)
    priors: dict[str, Prior] = {}
    for term, column in zip(matrices.terms, matrices.X.T, strict=True):
        if term == _INTERCEPT:
            priors[term] = Prior("StudentT", nu=3, mu=location, sigma=WIDTH * scale)
        else:
            priors[term] = Prior("Normal", mu=0, sigma=WIDTH * scale / _spread(column))
    for group in matrices.groups:
        priors |= _group_priors(group, scale)
    if family.name == "gaussian":
        priors["sigma"] = Prior("HalfStudentT", nu=3, sigma=WIDTH * scale)
    return priors


def resolve_priors(
    design: Design, family: Family, link: Link, user: Mapping[str, object] | None = None
) -> dict[str, Prior]:
    """Every parameter's prior: the user's where given and fitting, else the default.

    Parameters
    ----------
    design : popavg.design.Design
        Terms and groups, which give the parameters their names.
    family : popavg.families.Family
        Sets the defaults, with the link.
    link : popavg.links.Link
        The link.
    user : mapping of str to Prior or str, optional
        Priors by name, as :func:`popavg.priors.as_prior` takes them; ``"beta"`` stands for all
        slopes, ``"sd_<group>"`` for all effects of a group; a name of one parameter goes before
        these. ``"baseline"``: the population mean at the average row in the intercept's place,
        see :class:`popavg.models.baseline.Baseline`.

    Returns
    -------
    dict of str to Prior
        Complete, in the order of :func:`default_priors`; ``"baseline"`` in the place of
        ``"Intercept"`` where it was given.

    Raises
    ------
    SpecificationError
        An unknown name or distribution, a wrong parameter, a support that isn't the parameter's,
        or a standard deviation's prior with its mass at infinity.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.design import Design, family_of
    >>> data, formula = pa.load_dataset("ohio"), "resp ~ age + (1 | id)"
    >>> link = pa.get_link("logit")
    >>> design = Design.build(formula, data, family=family_of(formula, link))
    >>> own = {"sd_id": "P(sd > 3) = 0.05", "beta": pa.Prior("Normal", 0, 1)}
    >>> priors = resolve_priors(design, family_of(formula, link), link, own)
    >>> print(priors["sd_id"], priors["age"], priors["Intercept"])
    Exponential(lam=0.9986) Normal(mu=0, sigma=1) StudentT(nu=3, mu=0, sigma=2.5)
    """
    defaults = default_priors(design, family, link)
    priors = dict(defaults)
    targets = _targets(design.matrices, list(priors))
    given = {} if user is None else user
    if not isinstance(given, Mapping):
        raise SpecificationError(
            f"priors={given!r}",
            "a mapping from names to priors",
            "write priors={'time': 'Normal(0, 1)'}",
        )
    for name in given:
        _check_name(name, targets)
    if BASELINE in given and BASELINE not in priors:
        priors = _with_baseline(design, link, priors, given)
        given = {name: prior for name, prior in given.items() if name != BASELINE}
    for name in sorted(given, key=lambda name: -len(targets[name])):
        prior = as_prior(name, given[name])
        for target in targets[name]:
            support = _support(target, design.matrices)
            check_prior(target, prior, support)
            if support == "positive":
                check_tail(target, prior, defaults[target])
            priors[target] = prior
    return priors


def _with_baseline(
    design: Design, link: Link, priors: Mapping[str, Prior], given: Mapping[str, object]
) -> dict[str, Prior]:
    """The baseline's prior in the place of the intercept's."""
    check_baseline(design, link)
    if _INTERCEPT in given:
        raise SpecificationError(
            "priors for the intercept and for the baseline",
            "one of them: each says what the other is",
            "leave 'Intercept' or 'baseline' out",
        )
    prior = as_prior(BASELINE, given[BASELINE])
    check_prior(BASELINE, prior, baseline_support(link))
    others = {name: value for name, value in priors.items() if name != _INTERCEPT}
    return {BASELINE: prior, **others}


def sd_names(group: GroupDesign) -> tuple[str, ...]:
    """Names of the standard deviations' priors, one for each effect of a group.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> sd_names(SimpleNamespace(name="g", effects=("Intercept", "time")))
    ('sd_g[Intercept]', 'sd_g[time]')
    """
    if len(group.effects) == 1:
        return (f"sd_{group.name}",)
    return tuple(f"sd_{group.name}[{effect}]" for effect in group.effects)


def correlation_name(group: GroupDesign) -> str | None:
    """Name of the prior of a group's correlations; None where no effects are correlated.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> correlation_name(SimpleNamespace(name="g", blocks=((0, 1),)))
    'corr_g'
    """
    return f"corr_{group.name}" if any(len(block) > 1 for block in group.blocks) else None


def _location_scale(design: Design, family: Family, link: Link) -> tuple[float, float]:
    y, offset = design.response.y, design.matrices.offset
    if family.name == "gaussian":
        return _gaussian_location_scale(y - offset, design.response.name)
    if family.name == "poisson":
        return float(np.log(y.sum()) - np.log(np.exp(offset).sum())), 1.0
    scale = link.tolerance_sd / get_link("logit").tolerance_sd if link.is_probability else 1.0
    return 0.0 - float(offset.mean()), scale


def _gaussian_location_scale(values: NDArray[np.float64], name: str) -> tuple[float, float]:
    scale = float(values.std())
    if not scale > 0:
        raise DataError(
            f"the response {name!r} doesn't vary once the offset is taken off",
            "a response that varies",
        )
    return float(values.mean()), scale


def _group_priors(group: GroupDesign, scale: float) -> dict[str, Prior]:
    priors = {}
    for name, column in zip(sd_names(group), group.Z.T, strict=True):
        priors[name] = Prior("HalfStudentT", nu=3, sigma=WIDTH * scale / _spread(column))
    correlation = correlation_name(group)
    return priors | ({correlation: Prior("LKJ", eta=2)} if correlation else {})


def _spread(column: ArrayLike) -> float:
    """What a coefficient is a difference over: the step between two values, or two sd."""
    numbers = np.asarray(column, dtype=np.float64)
    values = np.unique(numbers)
    if len(values) == 1:
        return 1.0
    return float(np.ptp(values)) if len(values) == 2 else 2 * float(numbers.std())


def _targets(matrices: DesignMatrices, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The parameters that each name a user may write stands for."""
    slopes = tuple(term for term in matrices.terms if term != _INTERCEPT)
    targets: dict[str, tuple[str, ...]] = {name: (name,) for name in (*names, BASELINE)}
    if slopes:
        targets.setdefault("beta", slopes)
    for group in matrices.groups:
        targets.setdefault(f"sd_{group.name}", sd_names(group))
    return targets


def _check_name(name: str, targets: Mapping[str, object]) -> None:
    if name not in targets:
        raise SpecificationError(
            f"priors={{{name!r}: …}} names no parameter of this model",
            listing(targets, limit=30),
            suggestion(name, targets),
        )


def _support(target: str, matrices: DesignMatrices) -> str:
    if target in matrices.terms:
        return "real"
    return "correlation" if target.startswith("corr_") else "positive"
