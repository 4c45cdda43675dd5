"""The distributions that a prior may be: PyMC's names, NumPy's arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, isinf, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from popavg._standard_densities import STANDARD

__all__ = ["DISTRIBUTIONS", "Density", "Distribution"]

type Floats = NDArray[np.float64]
type Place = tuple[float, float, tuple[float, ...]]


@dataclass(frozen=True)
class Density:
    """A distribution with its parameters set: what can be computed of it.

    Attributes
    ----------
    standard : str
        Which of :data:`popavg._standard_densities.STANDARD` it is moved and stretched from.
    location, scale : float
        X = location + scale·Z.
    shapes : tuple of float
        Parameters of Z.
    bounds : tuple of two floats, optional
        Ends of the support of Z where they are parameters.

    Examples
    --------
    >>> from popavg.distributions import DISTRIBUTIONS
    >>> density = DISTRIBUTIONS["Exponential"].density({"lam": 2})
    >>> density.support, round(float(density.quantile(0.5)), 4)
    ((0.0, inf), 0.3466)
    """

    standard: str
    location: float = 0.0
    scale: float = 1.0
    shapes: tuple[float, ...] = ()
    bounds: tuple[float, float] | None = None

    @property
    def support(self) -> tuple[float, float]:
        """Its two ends."""
        kind = STANDARD[self.standard]
        lower, upper = self.bounds or (kind.lower, kind.upper)
        return self.location + self.scale * lower, self.location + self.scale * upper

    def log_density(self, value: ArrayLike) -> Floats:
        """Logarithm of the density, −inf outside the support.

        Parameters
        ----------
        value : array_like
            Points.
        """
        kind = STANDARD[self.standard].log_density
        return self._inside(value, kind, -np.inf) - np.log(self.scale)

    def log_density_gradient(self, value: ArrayLike) -> Floats:
        """Derivative of the log density at each point, 0 outside the support.

        Parameters
        ----------
        value : array_like
            Points.
        """
        return self._inside(value, STANDARD[self.standard].score, 0.0) / self.scale

    def quantile(self, probability: ArrayLike) -> Floats:
        """Points below which so much of the mass lies.

        Parameters
        ----------
        probability : array_like
            Between 0 and 1.
        """
        p = np.asarray(probability, dtype=np.float64)
        with np.errstate(all="ignore"):
            z = STANDARD[self.standard].quantile(p, *self.shapes)
        lower, upper = self.support
        inner = np.clip(self.location + self.scale * z, lower, upper)
        return np.where(p <= 0, lower, np.where(p >= 1, upper, inner))

    def _inside(self, value: ArrayLike, formula: Callable[..., Floats], outside: float) -> Floats:
        x = np.asarray(value, dtype=np.float64)
        lower, upper = self.support
        kept = ~((x < lower) | (x > upper))
        with np.errstate(all="ignore"):
            found = formula((x - self.location) / self.scale, *self.shapes)
        return np.where(kept, found, outside)


@dataclass(frozen=True)
class Distribution:
    """A family of distributions: which parameters it takes, and what they mean.

    Attributes
    ----------
    standard : str
        The density that it is moved and stretched from.
    forms : tuple of tuple of str
        Sets of parameters that describe it; the first is also the order without names.
    place : callable
        From all parameters by name to location, scale and shapes.
    defaults : mapping of str to float
        Parameters that may be left out, as in PyMC.
    free : tuple of str
        Parameters that may be zero or negative.
    positional : bool
        Whether parameters may come without names: not where PyMC and PreliZ order them
        differently.
    """

    standard: str
    forms: tuple[tuple[str, ...], ...]
    place: Callable[[Mapping[str, float]], Place]
    defaults: Mapping[str, float] = field(default_factory=dict)
    free: tuple[str, ...] = ()
    positional: bool = True

    @property
    def parameters(self) -> tuple[str, ...]:
        """All names of parameters."""
        return tuple(dict.fromkeys(name for form in self.forms for name in form))

    def density(self, params: Mapping[str, float]) -> Density:
        """The member with these parameters.

        Parameters
        ----------
        params : mapping of str to float
            By name.

        Raises
        ------
        ValueError
            They aren't parameters of the family; the message says why.
        """
        full = self._complete(params)
        for name, value in full.items():
            if name not in self.free and not value > 0:
                raise ValueError(f"{name} > 0 is needed")
        location, scale, shapes = self.place(full)
        if self.standard == "truncated normal":
            return Density(self.standard, location, scale, shapes, (shapes[0], shapes[1]))
        return Density(self.standard, location, scale, shapes)

    def _complete(self, params: Mapping[str, float]) -> dict[str, float]:
        for form in self.forms:
            missing = [name for name in form if name not in params]
            if set(params) <= set(form) and all(name in self.defaults for name in missing):
                return {name: params.get(name, self.defaults.get(name, 0.0)) for name in form}
        ways = " or ".join(f"({', '.join(form)})" for form in self.forms)
        raise ValueError(f"the parameters are {ways}")


def _sigma(p: Mapping[str, float], precision: str) -> float:
    return p["sigma"] if "sigma" in p else 1 / sqrt(p[precision])


def _mu_sigma(p: Mapping[str, float], precision: str = "tau") -> Place:
    return p["mu"], _sigma(p, precision), ()


def _need(holds: bool, words: str) -> None:
    if not holds:
        raise ValueError(f"{words} is needed")


def _beta(p: Mapping[str, float]) -> Place:
    if "alpha" in p:
        return 0.0, 1.0, (p["alpha"], p["beta"])
    mu = p["mu"]
    _need(mu < 1, "mu < 1")
    total = p["nu"] if "nu" in p else mu * (1 - mu) / p["sigma"] ** 2 - 1
    _need(total > 0, "sigma² < mu (1 − mu)")
    return 0.0, 1.0, (mu * total, (1 - mu) * total)


def _gamma(p: Mapping[str, float]) -> Place:
    if "alpha" in p:
        return 0.0, 1 / p["beta"], (p["alpha"],)
    return 0.0, p["sigma"] ** 2 / p["mu"], ((p["mu"] / p["sigma"]) ** 2,)


def _inverse_gamma(p: Mapping[str, float]) -> Place:
    if "alpha" in p:
        return 0.0, p["beta"], (p["alpha"],)
    shape = (p["mu"] / p["sigma"]) ** 2 + 2
    return 0.0, p["mu"] * (shape - 1), (shape,)


def _asymmetric_laplace(p: Mapping[str, float]) -> Place:
    if "q" in p:
        _need(p["q"] < 1, "q < 1")
        return p["mu"], 1 / p["b"], (sqrt(p["q"] / (1 - p["q"])),)
    return p["mu"], 1 / p["b"], (p["kappa"],)


def _wald(p: Mapping[str, float]) -> Place:
    mu = p["mu"] if "mu" in p else p["lam"] / p["phi"]
    lam = p["lam"] if "lam" in p else p["mu"] * p["phi"]
    _need(p["alpha"] >= 0, "alpha >= 0")
    return p["alpha"], mu, (lam / mu,)


def _rice(p: Mapping[str, float]) -> Place:
    b = p["b"] if "b" in p else p["nu"] / p["sigma"]
    _need(b >= 0, "nu >= 0")
    return 0.0, p["sigma"], (b,)


def _uniform(p: Mapping[str, float]) -> Place:
    _need(p["lower"] < p["upper"], "lower < upper")
    return p["lower"], p["upper"] - p["lower"], ()


def _triangular(p: Mapping[str, float]) -> Place:
    location, width, _ = _uniform(p)
    _need(p["lower"] <= p["c"] <= p["upper"], "lower <= c <= upper")
    return location, width, ((p["c"] - location) / width,)


def _truncated(p: Mapping[str, float]) -> Place:
    _need(p["lower"] < p["upper"], "lower < upper")
    sigma = _sigma(p, "tau")
    ends = [p[end] if isinf(p[end]) else (p[end] - p["mu"]) / sigma for end in ("lower", "upper")]
    return p["mu"], sigma, (ends[0], ends[1])


_NORMAL = (("mu", "sigma"), ("mu", "tau"))
_UNIT = {"mu": 0.0, "sigma": 1.0}
_ENDS = {"lower": 0.0, "upper": 1.0}

#: By PyMC's name. ``LKJ`` is that of the correlation of two effects.
DISTRIBUTIONS: dict[str, Distribution] = {
    "Normal": Distribution("normal", _NORMAL, _mu_sigma, _UNIT, ("mu",)),
    "StudentT": Distribution(
        "student",
        (("nu", "mu", "sigma"), ("nu", "mu", "lam")),
        lambda p: (p["mu"], _sigma(p, "lam"), (p["nu"],)),
        _UNIT,
        ("mu",),
    ),
    "Cauchy": Distribution(
        "cauchy", (("alpha", "beta"),), lambda p: (p["alpha"], p["beta"], ()), free=("alpha",)
    ),
    "Logistic": Distribution(
        "logistic", (("mu", "s"),), lambda p: (p["mu"], p["s"], ()), {"mu": 0.0, "s": 1.0}, ("mu",)
    ),
    "Laplace": Distribution(
        "asymmetric laplace", (("mu", "b"),), lambda p: (p["mu"], p["b"], (1.0,)), free=("mu",)
    ),
    "AsymmetricLaplace": Distribution(
        "asymmetric laplace",
        (("kappa", "mu", "b"), ("q", "mu", "b")),
        _asymmetric_laplace,
        free=("mu",),
    ),
    "Gumbel": Distribution(
        "gumbel", (("mu", "beta"),), lambda p: (p["mu"], p["beta"], ()), free=("mu",)
    ),
    "Moyal": Distribution("moyal", (("mu", "sigma"),), _mu_sigma, _UNIT, ("mu",)),
    "SkewNormal": Distribution(
        "skew normal",
        (("alpha", "mu", "sigma"), ("alpha", "mu", "tau")),
        lambda p: (p["mu"], _sigma(p, "tau"), (p["alpha"],)),
        {"alpha": 1.0, **_UNIT},
        ("alpha", "mu"),
        positional=False,
    ),
    "SkewStudentT": Distribution(
        "skew student",
        (("a", "b", "mu", "sigma"), ("a", "b", "mu", "lam")),
        lambda p: (p["mu"], _sigma(p, "lam"), (p["a"], p["b"])),
        _UNIT,
        ("mu",),
        positional=False,
    ),
    "ExGaussian": Distribution(
        "ex-gaussian",
        (("mu", "sigma", "nu"),),
        lambda p: (p["mu"], p["sigma"], (p["nu"] / p["sigma"],)),
        _UNIT,
        ("mu",),
    ),
    "HalfNormal": Distribution(
        "half normal", (("sigma",), ("tau",)), lambda p: (0.0, _sigma(p, "tau"), ()), {"sigma": 1.0}
    ),
    "HalfStudentT": Distribution(
        "half student",
        (("nu", "sigma"), ("nu", "lam")),
        lambda p: (0.0, _sigma(p, "lam"), (p["nu"],)),
        {"sigma": 1.0},
    ),
    "HalfCauchy": Distribution("half cauchy", (("beta",),), lambda p: (0.0, p["beta"], ())),
    "Exponential": Distribution(
        "exponential",
        (("lam",), ("scale",)),
        lambda p: (0.0, p["scale"] if "scale" in p else 1 / p["lam"], ()),
        {"lam": 1.0},
    ),
    "Gamma": Distribution("gamma", (("alpha", "beta"), ("mu", "sigma")), _gamma),
    "ChiSquared": Distribution("gamma", (("nu",),), lambda p: (0.0, 2.0, (p["nu"] / 2,))),
    "InverseGamma": Distribution(
        "inverse gamma", (("alpha", "beta"), ("mu", "sigma")), _inverse_gamma, {"beta": 1.0}
    ),
    "LogNormal": Distribution(
        "log-normal",
        _NORMAL,
        lambda p: (0.0, float(np.exp(p["mu"])), (_sigma(p, "tau"),)),
        _UNIT,
        ("mu",),
    ),
    "Weibull": Distribution(
        "weibull", (("alpha", "beta"),), lambda p: (0.0, p["beta"], (p["alpha"],))
    ),
    "Pareto": Distribution("pareto", (("alpha", "m"),), lambda p: (0.0, p["m"], (p["alpha"],))),
    "Rice": Distribution(
        "rice", (("nu", "sigma"), ("b", "sigma")), _rice, {"sigma": 1.0}, ("nu", "b")
    ),
    "Wald": Distribution(
        "wald",
        (("mu", "lam", "alpha"), ("mu", "phi", "alpha"), ("lam", "phi", "alpha")),
        _wald,
        {"alpha": 0.0},
        ("alpha",),
    ),
    "Beta": Distribution("beta", (("alpha", "beta"), ("mu", "sigma"), ("mu", "nu")), _beta),
    "Kumaraswamy": Distribution(
        "kumaraswamy", (("a", "b"),), lambda p: (0.0, 1.0, (p["a"], p["b"]))
    ),
    "LogitNormal": Distribution(
        "logit-normal",
        _NORMAL,
        lambda p: (0.0, 1.0, (p["mu"], _sigma(p, "tau"))),
        _UNIT,
        ("mu",),
    ),
    "Uniform": Distribution("uniform", (("lower", "upper"),), _uniform, _ENDS, ("lower", "upper")),
    "Triangular": Distribution(
        "triangular",
        (("lower", "upper", "c"),),
        _triangular,
        {**_ENDS, "c": 0.5},
        ("lower", "upper", "c"),
        positional=False,
    ),
    "TruncatedNormal": Distribution(
        "truncated normal",
        tuple((*form, "lower", "upper") for form in _NORMAL),
        _truncated,
        {**_UNIT, "lower": -inf, "upper": inf},
        ("mu", "lower", "upper"),
    ),
    "LKJ": Distribution(
        "beta", (("eta",),), lambda p: (-1.0, 2.0, (p["eta"], p["eta"])), positional=True
    ),
}
