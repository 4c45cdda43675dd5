"""A prior as data: the name of a distribution and its parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from popavg._checks import listing, suggestion
from popavg.distributions import DISTRIBUTIONS, Density
from popavg.errors import SpecificationError
from popavg.prior_text import read_prior_text

__all__ = ["Prior", "as_prior"]

type Floats = NDArray[np.float64]


@dataclass(frozen=True, init=False)
class Prior:
    """A prior distribution, named as PyMC names it.

    It is data: it can be printed, compared, stored in a fit and read back, and its density,
    quantiles and draws need no PyMC. Whether it fits the parameter it is given to is checked when
    the model is built. ``priors=`` also takes it as text, ``"Normal(0, 2.5)"``, and for a
    standard deviation ``"P(sd > 3) = 0.05"``.

    Parameters
    ----------
    name : str
        PyMC's name of a continuous distribution, ``"Normal"``, ``"HalfStudentT"``,
        ``"Exponential"``; or ``"LKJ"`` for the correlations of several random effects.
    *args : float
        The distribution's parameters in the order in which PyMC and PreliZ have them.
    **params : float
        The distribution's parameters by name, finite numbers.

    Raises
    ------
    SpecificationError
        The name isn't a word, a parameter isn't a finite number, or parameters without names of a
        distribution whose order isn't known.

    See Also
    --------
    popavg.prior_check : What priors imply for the probability of the event.

    Examples
    --------
    >>> import popavg as pa
    >>> prior = pa.Prior("HalfStudentT", 3, 2.5)
    >>> print(prior)
    HalfStudentT(nu=3, sigma=2.5)
    >>> pa.Prior.from_dict(prior.to_dict()) == prior == pa.Prior.parse("HalfStudentT(3, 2.5)")
    True
    """

    name: str
    items: tuple[tuple[str, float], ...]

    def __init__(self, name: str, /, *args: float, **params: float) -> None:
        if not isinstance(name, str) or not name.isidentifier():
            raise SpecificationError(
                f"a prior's distribution is {name!r}",
                "the name of a distribution, 'Normal'",
                'write pa.Prior("Normal", mu=0, sigma=1), or pa.Prior.parse("Normal(0, 1)")',
            )
        object.__setattr__(self, "name", name)
        named = {**_named(name, args, params), **params}
        numbers = tuple((key, _number(name, key, value)) for key, value in named.items())
        object.__setattr__(self, "items", numbers)

    @property
    def params(self) -> dict[str, float]:
        """The parameters by name.

        Examples
        --------
        >>> import popavg as pa
        >>> pa.Prior("Normal", mu=0, sigma=2.5).params
        {'mu': 0, 'sigma': 2.5}
        """
        return dict(self.items)

    @property
    def support(self) -> tuple[float, float]:
        """The two ends of where its density is positive.

        Examples
        --------
        >>> import popavg as pa
        >>> pa.Prior("Exponential", 1).support
        (0.0, inf)
        """
        return self.density.support

    @cached_property
    def density(self) -> Density:
        """The distribution in arithmetic.

        Raises
        ------
        SpecificationError
            It isn't among :data:`popavg.distributions.DISTRIBUTIONS`, or its parameters aren't
            parameters of it.
        """
        if self.name not in DISTRIBUTIONS:
            raise SpecificationError(
                f"the prior's distribution {self.name!r} isn't known",
                listing(DISTRIBUTIONS, limit=40),
                suggestion(self.name, DISTRIBUTIONS),
            )
        try:
            return DISTRIBUTIONS[self.name].density(self.params)
        except (ValueError, OverflowError, ZeroDivisionError) as error:
            raise SpecificationError(f"the prior {self} isn't a distribution: {error}") from error

    def log_density(self, value: ArrayLike) -> Floats:
        """Logarithm of the density.

        Parameters
        ----------
        value : array_like
            Points; of an ``LKJ`` prior the correlation of two effects.

        Returns
        -------
        numpy.ndarray
            In the shape of ``value``; −inf outside the support.

        Raises
        ------
        SpecificationError
            The distribution isn't one, see :attr:`density`.

        Examples
        --------
        >>> import popavg as pa
        >>> float(pa.Prior("Exponential", 2).log_density(1.5).round(4))
        -2.3069
        """
        return self.density.log_density(value)

    def log_density_gradient(self, value: ArrayLike) -> Floats:
        """Derivative of the log density, point by point.

        Parameters
        ----------
        value : array_like
            Points; of an ``LKJ`` prior the correlation of two effects.

        Returns
        -------
        numpy.ndarray
            In the shape of ``value``; 0 outside the support.

        Raises
        ------
        SpecificationError
            The distribution isn't one, see :attr:`density`.

        Examples
        --------
        >>> import popavg as pa
        >>> pa.Prior("Normal", 0, 2).log_density_gradient([1.0, -4.0]).tolist()
        [-0.25, 1.0]
        """
        return self.density.log_density_gradient(value)

    def quantile(self, probability: ArrayLike) -> Floats:
        """Points below which so much of the prior's mass lies.

        Parameters
        ----------
        probability : array_like
            Between 0 and 1.

        Returns
        -------
        numpy.ndarray
            In the shape of ``probability``.

        Raises
        ------
        SpecificationError
            A number that isn't a probability; the distribution isn't one, see :attr:`density`.

        Examples
        --------
        >>> import popavg as pa
        >>> float(pa.Prior.parse("P(sd > 3) = 0.05").quantile(0.95).round(6))
        3.0
        """
        p = np.asarray(probability, dtype=np.float64)
        if not ((p >= 0) & (p <= 1)).all():
            raise SpecificationError(f"a quantile of {probability!r}", "probabilities from 0 to 1")
        return self.density.quantile(p)

    def draw(
        self, size: int | tuple[int, ...], *, seed: int | np.random.Generator | None = None
    ) -> Floats:
        """Random draws.

        Parameters
        ----------
        size : int or tuple of int
            How many, in which shape.
        seed : int or numpy.random.Generator, optional
            Same seed, same draws.

        Returns
        -------
        numpy.ndarray
            The quantiles of uniform random numbers: draws of two priors from the same seed are
            the same quantiles of both.

        Raises
        ------
        SpecificationError
            The distribution isn't one, see :attr:`density`.

        Examples
        --------
        >>> import popavg as pa
        >>> draws = pa.Prior("HalfNormal", 1).draw(1000, seed=1)
        >>> bool(0.6 < draws.mean() < 1.0)
        True
        """
        uniform = np.random.default_rng(seed).random(size)
        # In the middle of the 2^53 equal parts of (0, 1): neither 0 nor 1, whose quantiles may
        # be infinite.
        return self.density.quantile(np.minimum(uniform + 2.0**-54, 1 - 2.0**-53))

    @classmethod
    def parse(cls, text: str, parameter: str = "sd") -> Prior:
        """Read a prior from text.

        Parameters
        ----------
        text : str
            ``"Normal(0, 2.5)"``, ``"StudentT(nu=3, mu=0, sigma=2.5)"``; or for a standard
            deviation ``"P(sd > 3) = 0.05"``, the penalised-complexity prior with this tail.
        parameter : str
            The parameter that it is for; its name may stand in place of ``sd``.

        Returns
        -------
        Prior
            With its parameters by name.

        Raises
        ------
        SpecificationError
            The text is neither.

        See Also
        --------
        popavg.prior_text.read_prior_text : What can be written.

        Examples
        --------
        >>> import popavg as pa
        >>> print(pa.Prior.parse("P(sd > 3) = 0.05"))
        Exponential(lam=0.9986)
        """
        call = read_prior_text(text, parameter)
        return cls(call.name, *call.args, **call.params)

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={value:.4g}' for key, value in self.items)})"

    def __repr__(self) -> str:
        arguments = "".join(f", {key}={value!r}" for key, value in self.items)
        return f"Prior({self.name!r}{arguments})"

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold: ``{"name": …, "params": {…}}``, at full precision.

        Returns
        -------
        dict
            Name and parameters.

        Examples
        --------
        >>> import popavg as pa
        >>> pa.Prior("Exponential", lam=1).to_dict()
        {'name': 'Exponential', 'params': {'lam': 1}}
        """
        return {"name": self.name, "params": self.params}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Prior:
        """Read what :meth:`to_dict` wrote.

        Parameters
        ----------
        fields : mapping
            ``{"name": …, "params": {…}}``.

        Returns
        -------
        Prior
            Equal to the one written.

        Raises
        ------
        SpecificationError
            The fields aren't those of a prior.

        Examples
        --------
        >>> import popavg as pa
        >>> print(pa.Prior.from_dict({"name": "Exponential", "params": {"lam": 1}}))
        Exponential(lam=1)
        """
        try:
            name, params = fields["name"], dict(fields["params"])
        except (KeyError, TypeError, ValueError) as error:
            raise SpecificationError(
                f"{fields!r} isn't a prior", "a name and params, as Prior.to_dict() writes them"
            ) from error
        return cls(name, **params)


def as_prior(parameter: str, value: object) -> Prior:
    """Take a :class:`Prior`, one written as text, or a PreliZ distribution with its parameters set.

    Parameters
    ----------
    parameter : str
        What the prior is for; used in the message.
    value : Prior, str or object with ``params_dict``
        The prior.

    Returns
    -------
    Prior
        The value, converted where needed.

    Raises
    ------
    SpecificationError
        It is none of these, or a parameter isn't a finite number.

    Examples
    --------
    >>> import popavg as pa
    >>> print(pa.priors.as_prior("sd_patient", "Exponential(1)"))
    Exponential(lam=1)
    """
    if isinstance(value, Prior):
        return value
    if isinstance(value, str):
        return Prior.parse(value, parameter)
    params = getattr(value, "params_dict", None)
    if isinstance(params, Mapping):
        return Prior(type(value).__name__, **_finite_ends(params))
    raise SpecificationError(
        f"the prior of {parameter!r} is {value!r}",
        "a pa.Prior, text, or a PreliZ distribution with its parameters set",
        f'write priors={{"{parameter}": "Normal(0, 1)"}}',
    )


def _finite_ends(params: Mapping[str, Any]) -> dict[str, Any]:
    """Without ends of a support that are infinite: PreliZ writes these out.

    Its numbers may be arrays without dims.
    """
    plain = {k: v.item() if isinstance(v, np.ndarray) and not v.ndim else v
             for k, v in params.items()}  # fmt: skip
    ends = {key for key in ("lower", "upper") if plain.get(key) in (math.inf, -math.inf)}
    return {key: value for key, value in plain.items() if key not in ends}


def _named(name: str, args: tuple[float, ...], params: Mapping[str, float]) -> dict[str, float]:
    """Parameters that came without names, by name."""
    if not args:
        return {}
    known = DISTRIBUTIONS.get(name)
    if known is None:
        raise SpecificationError(
            f"the prior's distribution {name!r} isn't known",
            listing(DISTRIBUTIONS, limit=40),
            suggestion(name, DISTRIBUTIONS),
        )
    order = known.forms[0]
    if not known.positional:
        raise SpecificationError(
            f"the parameters of the prior {name!r} have no names, and PyMC and PreliZ order them "
            "differently",
            listing(known.parameters),
            f'write pa.Prior("{name}", {", ".join(f"{key}=…" for key in order)})',
        )
    if len(args) > len(order) or set(order[: len(args)]) & set(params):
        raise SpecificationError(
            f"the prior {name!r} has {len(args)} parameters without and {len(params)} with names",
            f"{name}({', '.join(order)})",
        )
    return dict(zip(order, args, strict=False))


def _number(name: str, key: str, value: object) -> float:
    numeric = isinstance(value, Real) and not isinstance(value, bool)
    if not numeric or not math.isfinite(value):
        raise SpecificationError(
            f"the parameter {key}={value!r} of the prior {name!r} isn't a finite number",
            "numbers",
            f'write pa.Prior("{name}", {key}=1)',
        )
    as_float = float(value)
    return int(value) if as_float.is_integer() and isinstance(value, int) else as_float
