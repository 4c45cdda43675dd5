"""Priors as data."""

import json

import pytest

from popavg.errors import SpecificationError
from popavg.priors import Prior, as_prior


def preliz(name: str, **params: float | None) -> object:
    """An object that looks like a PreliZ distribution."""
    return type(name, (), {"params_dict": params})()


def test_prints_as_a_call() -> None:
    assert str(Prior("HalfStudentT", nu=3, sigma=2.5)) == "HalfStudentT(nu=3, sigma=2.5)"
    assert str(Prior("Normal", mu=0, sigma=1 / 3)) == "Normal(mu=0, sigma=0.3333)"
    assert repr(Prior("Exponential", lam=1)) == "Prior('Exponential', lam=1)"


def test_survives_json_at_full_precision() -> None:
    prior = Prior("Normal", mu=-1, sigma=1 / 3)
    assert Prior.from_dict(json.loads(json.dumps(prior.to_dict()))) == prior


def test_is_hashable_and_frozen() -> None:
    prior = Prior("Normal", mu=0, sigma=1)
    assert {prior: 1}[Prior("Normal", mu=0, sigma=1)] == 1
    with pytest.raises(AttributeError):
        prior.name = "Cauchy"


def test_a_parameter_may_be_called_name_or_items() -> None:
    assert Prior("Odd", name=1, items=2).params == {"name": 1, "items": 2}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", None, True, [1.0]])
def test_parameters_are_finite_numbers(value: object) -> None:
    with pytest.raises(SpecificationError, match=r"sigma=.* isn't a finite number"):
        Prior("Normal", mu=0, sigma=value)


@pytest.mark.parametrize("name", ["Normal(0, 1)", "", 3])
def test_name_is_a_word(name: object) -> None:
    with pytest.raises(SpecificationError, match="name of a distribution"):
        Prior(name)


@pytest.mark.parametrize("fields", [{}, {"name": "Normal"}, {"name": "Normal", "params": 3}, 5])
def test_from_dict_refuses_what_isnt_a_prior(fields: object) -> None:
    with pytest.raises(SpecificationError, match="isn't a prior"):
        Prior.from_dict(fields)


def test_takes_a_preliz_distribution() -> None:
    gamma = preliz("Gamma", alpha=2.0, beta=0.5)
    assert as_prior("sd_g", gamma) == Prior("Gamma", alpha=2.0, beta=0.5)


def test_a_preliz_distribution_without_parameters_is_refused() -> None:
    with pytest.raises(SpecificationError, match="alpha=None"):
        as_prior("sd_g", preliz("Gamma", alpha=None, beta=None))


@pytest.mark.parametrize("value", ["Normal(0, 1)", 2.5, None])
def test_other_things_are_refused(value: object) -> None:
    with pytest.raises(SpecificationError, match=r"the prior of 'sd_g' is .*pa\.Prior"):
        as_prior("sd_g", value)
