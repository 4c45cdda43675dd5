"""The distributions of random effects, by name."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose

from popavg.bridge import BridgeDistribution
from popavg.errors import EstimandError, SpecificationError
from popavg.links import LINKS
from popavg.mixing import BRIDGE, MIXINGS, NORMAL, get_mixing, require_normal

SCORES = np.array([-9.0, -1.0, 0.0, 0.5, 3.0])


def test_effects_at_percentiles_and_back() -> None:
    assert_allclose(NORMAL.effect(SCORES, 2.0), 2.0 * SCORES)
    bridge = BridgeDistribution(sd=2.0)
    assert_allclose(BRIDGE.effect(SCORES, 2.0), bridge.from_normal(SCORES))
    for mixing in MIXINGS.values():
        sd = np.array([[0.3], [5.0]])
        effects = mixing.effect(SCORES, sd)
        assert effects.shape == (2, 5)
        assert_allclose(mixing.score(effects, sd), np.tile(SCORES, (2, 1)), atol=1e-12)
        assert mixing.score(np.inf, 1.0) == np.inf
        assert np.all(mixing.effect(SCORES, 0.0) == 0.0)


def test_names() -> None:
    assert list(MIXINGS) == ["normal", "bridge"]
    assert all(get_mixing(name) is mixing for name, mixing in MIXINGS.items())
    assert {link.mixing for link in LINKS.values()} == {NORMAL}
    assert pickle.loads(pickle.dumps(BRIDGE)).name == "bridge"
    with pytest.raises(
        SpecificationError, match=r"'brige'.*'normal', 'bridge'.*Did you mean 'bridge'"
    ):
        get_mixing("brige")


def test_what_is_for_normal_effects_is_refused_in_words() -> None:
    require_normal(NORMAL, "a number")
    words = "A number where the random intercept has the bridge distribution.*normal.*Ask other"
    with pytest.raises(EstimandError, match=f"(?i){words}"):
        require_normal(BRIDGE, "a number", "ask otherwise")
