"""log p and log(1 − p) of every link, and their gradients, in both tails."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode

from popavg.links import LINKS
from popavg.models.likelihoods import LOG_PROBABILITIES

ETA = np.array([-40, -37.6, -20, -8, -3, -1, -1e-3, -1e-9, 0, 1e-9, 1e-3, 1, 3, 5.9, 8, 20, 40.0])
PYTHON = Mode(linker="py", optimizer="merge")


def test_every_link_of_a_probability_is_covered() -> None:
    assert set(LOG_PROBABILITIES) == {name for name, link in LINKS.items() if link.is_probability}


@pytest.mark.parametrize("name", LOG_PROBABILITIES)
def test_values_and_gradients_agree_with_the_link(name: str) -> None:
    link, (log_p, log_q) = LINKS[name], LOG_PROBABILITIES[name]
    eta = pt.dvector()
    values = [log_p(eta), log_q(eta)]
    gradients = [pt.grad(value.sum(), eta) for value in values]
    found = pytensor.function([eta], values + gradients, mode=PYTHON)(ETA)
    log_derivative = link.log_derivative(ETA)
    log_mean, log_complement = link.log_inverse(ETA), link.log_complement(ETA)
    np.testing.assert_allclose(found[0], log_mean, rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(found[1], log_complement, rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(found[2], np.exp(log_derivative - log_mean), rtol=1e-11)
    # d log(1 − p)/dη = −g⁻¹'(η)/(1 − p), whose logs cancel for the cloglog: there it is −exp(η).
    expected = -np.exp(ETA if name == "cloglog" else log_derivative - log_complement)
    np.testing.assert_allclose(found[3], expected, rtol=1e-11)
