"""Families: variance functions, the family of each link, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from popavg.errors import SpecificationError
from popavg.families import (
    FAMILIES,
    Bernoulli,
    Binomial,
    Family,
    Gaussian,
    Poisson,
    family_for,
    get_family,
)
from popavg.links import LINKS

VARIANCE = {
    "bernoulli": lambda mean: stats.bernoulli(mean).var(),
    "binomial": lambda mean: stats.binom(7, mean).var() / 7,
    "poisson": lambda mean: stats.poisson(mean).var(),
    "gaussian": lambda mean: stats.norm(mean).var(),
}


def test_every_family_is_listed_and_tested() -> None:
    classes = {Bernoulli, Binomial, Poisson, Gaussian}
    assert {type(family) for family in FAMILIES.values()} == classes
    assert set(Family.__subclasses__()) | set(Bernoulli.__subclasses__()) == classes
    assert set(FAMILIES) == set(VARIANCE)


def test_every_link_has_a_family() -> None:
    assert {name for family in FAMILIES.values() for name in family.links} == set(LINKS)


@pytest.mark.parametrize("name", FAMILIES)
def test_variance(name: str) -> None:
    mean = np.array([0.1, 0.5, 0.9])
    assert_allclose(FAMILIES[name].variance(mean), VARIANCE[name](mean), rtol=1e-14)
    assert np.ndim(FAMILIES[name].variance(0.3)) == 0


@pytest.mark.parametrize(
    ("link", "trials", "name"),
    [
        ("logit", False, "bernoulli"),
        ("probit", False, "bernoulli"),
        ("cloglog", False, "bernoulli"),
        ("logit", True, "binomial"),
        ("probit", True, "binomial"),
        ("cloglog", True, "binomial"),
        ("log", False, "poisson"),
        ("identity", False, "gaussian"),
    ],
)
def test_family_for(link: str, trials: bool, name: str) -> None:
    assert family_for(link, trials=trials) is FAMILIES[name]
    assert family_for(LINKS[link], trials=trials).has_trials == trials


@pytest.mark.parametrize("link", ["log", "identity"])
def test_trials_need_a_probability(link: str) -> None:
    with pytest.raises(SpecificationError, match=rf"p\(successes, trials\).*'{link}'.*'logit'"):
        family_for(link, trials=True)


def test_only_the_gaussian_has_a_scale() -> None:
    assert [name for name, family in FAMILIES.items() if family.has_scale] == ["gaussian"]


@pytest.mark.parametrize("name", FAMILIES)
def test_get_family(name: str) -> None:
    assert get_family(name) is FAMILIES[name]
    assert get_family(FAMILIES[name]) is FAMILIES[name]
    assert repr(FAMILIES[name]) == f"{name.capitalize()}()"


@pytest.mark.parametrize("wrong", ["poison", None, ["gaussian"]])
def test_unknown_family(wrong: Any) -> None:
    with pytest.raises(SpecificationError, match="Allowed: 'bernoulli', 'binomial', 'poisson'"):
        get_family(wrong)
