"""A prior as data: the name of a distribution and its parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from popavg.errors import SpecificationError

__all__ = ["Prior", "as_prior"]


@dataclass(frozen=True, init=False)
class Prior:
    """A prior distribution, named as PyMC names it.

    It is data, not a distribution: it can be printed, compared, stored in a fit and read back
    without PyMC. Whether it fits the parameter it is given to is checked when the model is built.

    Parameters
    ----------
    name : str
        PyMC's name of a continuous distribution, ``"Normal"``, ``"HalfStudentT"``,
        ``"Exponential"``; or ``"LKJ"`` for the correlations of several random effects.
    **params : float
        The distribution's parameters by name, finite numbers.

    Raises
    ------
    SpecificationError
        The name isn't a word, or a parameter isn't a finite number.

    Examples
    --------
    >>> import popavg as pa
    >>> prior = pa.Prior("HalfStudentT", nu=3, sigma=2.5)
    >>> print(prior)
    HalfStudentT(nu=3, sigma=2.5)
    >>> pa.Prior.from_dict(prior.to_dict()) == prior
    True
    """

    name: str
    items: tuple[tuple[str, float], ...]

    def __init__(self, name: str, /, **params: float) -> None:
        if not isinstance(name, str) or not name.isidentifier():
            raise SpecificationError(
                f"a prior's distribution is {name!r}",
                "the name of a distribution, 'Normal'",
                'write pa.Prior("Normal", mu=0, sigma=1)',
            )
        object.__setattr__(self, "name", name)
        numbers = tuple((key, _number(name, key, value)) for key, value in params.items())
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
    """Take a :class:`Prior`, or a PreliZ distribution with its parameters set.

    Parameters
    ----------
    parameter : str
        What the prior is for; used in the message.
    value : Prior or object with ``params_dict``
        The prior.

    Returns
    -------
    Prior
        The value, converted where needed.

    Raises
    ------
    SpecificationError
        It is neither, or a parameter isn't a finite number.

    Examples
    --------
    >>> import popavg as pa
    >>> print(pa.priors.as_prior("sd_patient", pa.Prior("Exponential", lam=1)))
    Exponential(lam=1)
    """
    if isinstance(value, Prior):
        return value
    params = getattr(value, "params_dict", None)
    if isinstance(params, Mapping):
        return Prior(type(value).__name__, **params)
    raise SpecificationError(
        f"the prior of {parameter!r} is {value!r}",
        "a pa.Prior, or a PreliZ distribution with its parameters set",
        f'write priors={{"{parameter}": pa.Prior("Normal", mu=0, sigma=1)}}',
    )


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
