from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from popavg.probability_links import Cloglog, Logit, Probit

ETA = np.linspace(-30.0, 30.0, 61)


@pytest.mark.parametrize("link", [Logit(), Probit()])
def test_symmetric_links_are_symmetric(link: Logit | Probit) -> None:
    np.testing.assert_array_equal(link.inverse(-ETA), link.complement(ETA))
    np.testing.assert_array_equal(link.log_inverse(-ETA), link.log_complement(ETA))
    np.testing.assert_allclose(link.derivative(-ETA), link.derivative(ETA), rtol=1e-14)


def test_the_probit_of_a_random_intercept_is_a_probit() -> None:
    z = np.linspace(-9.0, 9.0, 2001)
    weight = np.exp(-0.5 * z**2)
    mean = (ndtr(0.7 + 2.0 * z) * weight).sum() / weight.sum()
    marginal = Probit().inverse(Probit().marginal_predictor(0.7, 4.0))
    assert marginal == pytest.approx(mean, rel=1e-12)


def test_logit_and_cloglog_have_no_closed_form() -> None:
    assert Logit().marginal_predictor(0.0, 1.0) is None
    assert Cloglog().marginal_predictor(0.0, 1.0) is None


def test_nothing_is_clamped() -> None:
    assert Logit().log_complement(700.0) == -700.0
    assert Cloglog().log_complement(5.0) == -np.exp(5.0)
    assert Probit().log_inverse(-38.0) < -720.0
