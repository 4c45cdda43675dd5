"""Priors as data."""

import json
import pickle

import numpy as np
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


def test_an_infinite_end_of_a_preliz_distribution_is_no_end() -> None:
    given = preliz("TruncatedNormal", mu=0.0, sigma=1.0, lower=0.0, upper=float("inf"))
    assert as_prior("sd_g", given) == Prior("TruncatedNormal", mu=0.0, sigma=1.0, lower=0.0)
    array = preliz("Exponential", lam=np.array(2.0))
    assert as_prior("sd_g", array) == Prior("Exponential", lam=2.0)


def test_takes_text() -> None:
    assert as_prior("time", "Normal(0, 2.5)") == Prior("Normal", mu=0, sigma=2.5)
    assert as_prior("sd_g", "P(sd_g > 3) = 0.05") == as_prior("sd_g", "P(sd > 3) = 0.05")


def test_parameters_without_names_are_in_the_known_order() -> None:
    assert Prior("StudentT", 3, 0, 2.5) == Prior("StudentT", nu=3, mu=0, sigma=2.5)
    assert Prior("StudentT", 3, sigma=2) == Prior("StudentT", nu=3, sigma=2)
    assert Prior("Exponential", 2) == Prior("Exponential", lam=2)


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("Normla", (0, 1), r"'Normla' isn't known.*[Dd]id you mean 'Normal'"),
        ("Triangular", (0, 1, 0.5), r"order them differently.*lower=…, upper=…, c=…"),
        ("Normal", (0, 1, 2), r"Normal\(mu, sigma\)"),
    ],
)
def test_parameters_without_names_that_dont_fit(
    name: str, args: tuple[float, ...], words: str
) -> None:
    with pytest.raises(SpecificationError, match=words):
        Prior(name, *args)


def test_a_parameter_twice_is_refused() -> None:
    with pytest.raises(SpecificationError, match=r"Normal\(mu, sigma\)"):
        Prior("Normal", 0, mu=1)


def test_density_and_quantile_are_those_of_the_distribution() -> None:
    prior = Prior("Exponential", 2)
    assert prior.support == (0.0, np.inf)
    np.testing.assert_allclose(prior.log_density([0.5, -1.0]), [np.log(2) - 1, -np.inf])
    np.testing.assert_allclose(prior.log_density_gradient([0.5, -1.0]), [-2.0, 0.0])
    assert float(prior.quantile(0.5)) == pytest.approx(np.log(2) / 2)


def test_draws_follow_the_seed_and_the_distribution() -> None:
    prior = Prior("HalfStudentT", 3, 2.5)
    draws = prior.draw((100, 50), seed=4)
    np.testing.assert_array_equal(draws, prior.draw((100, 50), seed=np.random.default_rng(4)))
    assert draws.shape == (100, 50)
    assert (draws > 0).all()
    assert (draws < prior.quantile(0.9)).mean() == pytest.approx(0.9, abs=0.02)


def test_the_ends_of_the_uniform_numbers_have_finite_quantiles() -> None:
    class Ends(np.random.Generator):
        def random(self, size: object = None, **_: object) -> np.ndarray:
            return np.array([0.0, 1.0 - 2.0**-53])

    draws = Prior("Normal", 0, 1).draw(2, seed=Ends(np.random.PCG64(0)))
    assert np.isfinite(draws).all()


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_quantiles_are_of_probabilities(probability: float) -> None:
    with pytest.raises(SpecificationError, match="from 0 to 1"):
        Prior("Normal", 0, 1).quantile(probability)


@pytest.mark.parametrize(
    ("prior", "words"),
    [
        (Prior("Odd", name=1), "'Odd' isn't known"),
        (Prior("Normal", sigma=-1), r"Normal\(sigma=-1\) isn't a distribution: sigma > 0"),
    ],
)
def test_what_isnt_a_distribution_has_no_density(prior: Prior, words: str) -> None:
    with pytest.raises(SpecificationError, match=words):
        prior.log_density(0.0)


def test_a_prior_can_be_sent_to_another_process() -> None:
    prior = Prior("Normal", 0, 1)
    prior.log_density(1.0)
    assert pickle.loads(pickle.dumps(prior)) == prior


@pytest.mark.parametrize("value", ["Normal", 2.5, None])
def test_other_things_are_refused(value: object) -> None:
    with pytest.raises(SpecificationError, match=r"prior .*'sd_g'.*Normal\(0, 1\)"):
        as_prior("sd_g", value)
