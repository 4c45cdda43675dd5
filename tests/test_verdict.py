"""The verdict is silent when all is well, and says what to do when it isn't."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr

import popavg as pa
from popavg.errors import FitWarning
from popavg.workflows.verdict import judge, warn_if_needed

CHAINS, DRAWS = 4, 250


def _fit(beta: np.ndarray | None = None, **stats: np.ndarray) -> xr.DataTree:
    rng = np.random.default_rng(7)
    values = rng.normal(size=(CHAINS, DRAWS, 2)) if beta is None else beta
    posterior = xr.Dataset(
        {
            "beta": (("chain", "draw", "term"), values),
            "corr_g": (("chain", "draw", "a", "b"), np.ones((*values.shape[:2], 1, 1))),
        }
    )
    groups = {"posterior": posterior}
    if stats:
        arrays = {name: (("chain", "draw"), values) for name, values in stats.items()}
        groups["sample_stats"] = xr.Dataset(arrays)
    return xr.DataTree.from_dict(groups)


def _flags(count: int) -> np.ndarray:
    flags = np.zeros(CHAINS * DRAWS, dtype=bool)
    flags[:count] = True
    return flags.reshape(CHAINS, DRAWS)


def test_good_draws_give_no_words() -> None:
    fit = _fit(diverging=_flags(0), maxdepth_reached=_flags(10))
    assert judge(fit, ["beta", "corr_g"]) == ()


def test_draws_without_a_sampler_are_judged_too() -> None:
    assert judge(_fit(), ["beta"]) == ()


def test_chains_that_disagree() -> None:
    beta = np.random.default_rng(7).normal(size=(CHAINS, DRAWS, 2))
    beta[0, :, 1] += 2.0
    sentences = judge(_fit(beta), ["beta"])
    assert sentences[0].startswith("The chains disagree: R-hat is 1.")
    assert "'beta' (at most 1.01)" in sentences[0]
    assert "Run longer" in sentences[0]


def test_too_few_effective_draws() -> None:
    steps = np.random.default_rng(8).normal(size=(CHAINS, DRAWS, 1))
    walk = np.zeros_like(steps)
    for i in range(1, DRAWS):
        walk[:, i] = 0.9 * walk[:, i - 1] + steps[:, i]
    words = " ".join(judge(_fit(walk), ["beta"]))
    assert "Too few effective draws" in words
    assert "at least 400" in words


def test_divergences_are_counted() -> None:
    (sentence,) = judge(_fit(diverging=_flags(3)), ["beta"])
    assert sentence.startswith("3 of 1000 draws ended in a divergence")
    assert "target_accept" in sentence


@pytest.mark.parametrize(("count", "told"), [(10, False), (11, True)])
def test_tree_depth_from_one_per_cent(count: int, told: bool) -> None:
    sentences = judge(_fit(maxdepth_reached=_flags(count)), ["beta"])
    assert bool(sentences) == told
    assert all("tree depth" in sentence for sentence in sentences)


def test_constant_parameters_are_not_judged() -> None:
    assert judge(_fit(), ["corr_g"]) == ()


def test_three_draws_say_nothing() -> None:
    (sentence,) = judge(_fit(np.random.default_rng(1).normal(size=(4, 3, 2))), ["beta"])
    assert sentence == "Only 3 draws a chain: nothing can be said about convergence."


def test_one_chain_is_judged_by_its_effective_size() -> None:
    beta = np.random.default_rng(1).normal(size=(1, 400, 2))
    assert judge(_fit(beta), ["beta"]) == ()


def test_draws_of_the_example() -> None:
    """Every 20th draw of brms, 200 of them: independent, but too few."""
    words = " ".join(judge(pa.load_example(), ["beta", "sd_patient"]))
    assert "Too few effective draws" in words
    assert "divergence" not in words


def test_warning_only_where_there_are_words() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_needed(())
    with pytest.warns(FitWarning, match=r"^One\. Two\.$") as caught:
        warn_if_needed(("One.", "Two."))
    assert caught[0].filename == __file__


@pytest.mark.parametrize(("method", "said"), [("latent", True), ("nuts", False)])
def test_the_remedy_is_one_that_the_method_has(method: str, said: bool) -> None:
    beta = np.random.default_rng(7).normal(size=(CHAINS, DRAWS, 2))
    beta[0, :, 1] += 2.0
    words = " ".join(judge(_fit(beta, diverging=_flags(3)), ["beta"], method=method))
    assert "divergence" in words
    assert ("parametrization=" in words) is said
    assert "tighter prior" in words


@pytest.mark.parametrize(("error", "told"), [(1e-8, False), (0.02, True), (np.inf, True)])
def test_the_error_of_the_integrals(error: float, told: bool) -> None:
    sentences = judge(_fit(), ["beta"], method="nuts", quadrature_error=error)
    assert bool(sentences) == told
    assert all("integrated log-likelihood has an error" in sentence for sentence in sentences)
