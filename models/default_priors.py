"""The default priors of every parameter, and the checks of a user's own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence

import numpy as np
import pymc as pm
from numpy.typing import ArrayLike, NDArray
from pytensor.compile.mode import Mode
from pytensor.tensor.variable import TensorVariable

from popavg._checks import listing, suggestion
from popavg.design import Design, DesignMatrices, GroupDesign
from popavg.errors import DataError, SpecificationError
from popavg.families import Family
from popavg.links import Link, get_link
from popavg.priors import Prior, as_prior

__all__ = ["check_prior", "correlation_name", "default_priors", "resolve_priors", "sd_names"]

#: Width of the default priors on the link's scale (Gelman et al. 2008).
WIDTH = 2.5

_INTERCEPT = "Intercept"
_NOT_A_PRIOR = ("DiracDelta", "Flat", "HalfFlat")
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


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
    user : mapping of str to Prior, optional
        Priors by name; ``"beta"`` stands for all slopes, ``"sd_<group>"`` for all effects of a
        group; a name of one parameter goes before these.

    Returns
    -------
    dict of str to Prior
        Complete, in the order of :func:`default_priors`.

    Raises
    ------
    SpecificationError
        An unknown name or distribution, a wrong parameter, or a support that isn't the
        parameter's.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.design import Design, family_of
    >>> data, formula = pa.load_dataset("ohio"), "resp ~ age + (1 | id)"
    >>> link = pa.get_link("logit")
    >>> design = Design.build(formula, data, family=family_of(formula, link))
    >>> own = {"sd_id": pa.Prior("Exponential", lam=1)}
    >>> priors = resolve_priors(design, family_of(formula, link), link, own)
    >>> print(priors["sd_id"], priors["Intercept"])
    Exponential(lam=1) StudentT(nu=3, mu=0, sigma=2.5)
    """
    priors = default_priors(design, family, link)
    targets = _targets(design.matrices, list(priors))
    given = {} if user is None else user
    for name in given:
        _check_name(name, targets)
    for name in sorted(given, key=lambda name: -len(targets[name])):
        prior = as_prior(name, given[name])
        for target in targets[name]:
            check_prior(target, prior, _support(target, design.matrices))
            priors[target] = prior
    return priors


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


def check_prior(parameter: str, prior: Prior, support: str) -> None:
    """Refuse a prior that can't be one for this parameter.

    Parameters
    ----------
    parameter : str
        Its name, for the message.
    prior : Prior
        The prior.
    support : {"real", "positive", "correlation"}
        Where the parameter lives: the whole real line (a coefficient), the positive half-line (a
        standard deviation), correlation matrices.

    Raises
    ------
    SpecificationError
        An unknown distribution, a wrong parameter of it, or another support.

    Examples
    --------
    >>> import popavg as pa
    >>> check_prior("sd_patient", pa.Prior("HalfNormal", sigma=1), "positive")
    """
    if support == "correlation" or prior.name == "LKJ":
        _check_correlation(parameter, prior, support)
        return
    _check_signature(parameter, prior)
    allowed = {
        "real": "a continuous distribution on the whole real line, as Normal or StudentT",
        "positive": "a continuous distribution of positive numbers, as HalfNormal or Exponential",
    }[support]
    found = _support_of(parameter, prior)
    if found != support:
        raise SpecificationError(f"the prior {prior} of {parameter!r} is {found}", allowed)


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
    targets: dict[str, tuple[str, ...]] = {name: (name,) for name in names}
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


def _check_correlation(parameter: str, prior: Prior, support: str) -> None:
    if support != "correlation":
        raise SpecificationError(
            f"the prior {prior} of {parameter!r} is one of correlation matrices",
            "a distribution of one number",
        )
    if prior.name != "LKJ" or set(prior.params) != {"eta"} or not prior.params["eta"] > 0:
        raise SpecificationError(
            f"the prior {prior} of {parameter!r} isn't one of correlation matrices",
            'pa.Prior("LKJ", eta=2) with eta above 0',
        )


def _check_signature(parameter: str, prior: Prior) -> None:
    """PyMC must know the distribution, and the distribution its parameters."""
    kind = getattr(pm, prior.name, None)
    if not (inspect.isclass(kind) and issubclass(kind, pm.Distribution)):
        known = [name for name in dir(pm) if _is_continuous(getattr(pm, name))]
        raise SpecificationError(
            f"the prior of {parameter!r} is a {prior.name!r}, which PyMC doesn't know",
            "a continuous distribution by PyMC's name",
            suggestion(prior.name, known),
        )
    known = inspect.signature(kind.dist).parameters.values()
    allowed = [key.name for key in known if key.kind not in _VARIADIC]
    wrong = [key for key in prior.params if key not in allowed]
    if wrong:
        raise SpecificationError(
            f"the prior {prior} of {parameter!r} has the unknown parameter {listing(wrong)}",
            listing(allowed),
        )


def _support_of(parameter: str, prior: Prior) -> str:
    """Where a prior lives, in the words of the messages."""
    if prior.name in _NOT_A_PRIOR:
        return "no proper density"
    try:
        with pm.Model() as scratch:
            variable = getattr(pm, prior.name)("parameter", **prior.params)
        pm.logp(variable, 1.0).eval(mode=Mode(linker="py", optimizer="merge"))
    except Exception as error:
        reason = " ".join(str(error).split("\n")[0].split())
        raise SpecificationError(
            f"the prior {prior} of {parameter!r} is refused by PyMC: {reason}"
        ) from error
    if variable.ndim or not variable.dtype.startswith("float"):
        return "multivariate" if variable.ndim else "discrete"
    return _support_by_transform(scratch, variable)


def _support_by_transform(model: pm.Model, variable: TensorVariable) -> str:
    """PyMC's transform to the real line tells the support."""
    transform = model.rvs_to_transforms[variable]
    if transform is None:
        return "real"
    kind = type(transform).__name__
    if kind in ("LogTransform", "LogOddsTransform"):
        return "positive"
    if kind != "Interval":
        return "on a circle" if kind == "CircularTransform" else "on another support"
    lower, upper = transform.args_fn(*variable.owner.inputs)
    if lower is not None and float(lower.eval()) >= 0:
        return "positive"
    return "real" if lower is None and upper is None else "bounded"


def _is_continuous(kind: object) -> bool:
    return inspect.isclass(kind) and issubclass(kind, pm.Continuous)
