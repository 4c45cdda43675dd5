"""Our links behind statsmodels' interface."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.genmod.families import links as sm_links

from popavg.families import family_for
from popavg.links import LINKS
from popavg.models.statsmodels_adapters import StatsmodelsLink, statsmodels_family

THEIRS = {
    "logit": sm_links.Logit,
    "probit": sm_links.Probit,
    "cloglog": sm_links.CLogLog,
    "log": sm_links.Log,
    "identity": sm_links.Identity,
}


@pytest.mark.parametrize("name", LINKS)
def test_same_as_statsmodels_where_theirs_is_accurate(name: str) -> None:
    ours, theirs = StatsmodelsLink(LINKS[name]), THEIRS[name]()
    z = np.linspace(-2.0, 1.5, 9)
    mean = theirs.inverse(z)
    np.testing.assert_allclose(ours.inverse(z), mean, rtol=1e-12)
    np.testing.assert_allclose(ours.inverse_deriv(z), theirs.inverse_deriv(z), rtol=1e-12)
    np.testing.assert_allclose(ours(mean), z, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.deriv(mean), theirs.deriv(mean), rtol=1e-9)


@pytest.mark.parametrize("name", LINKS)
def test_families(name: str) -> None:
    family = statsmodels_family(family_for(name, trials=False), StatsmodelsLink(LINKS[name]))
    assert isinstance(family.link, tuple(family.safe_links))
    mean = np.array([0.2, 0.7])
    expected = family_for(name, trials=False).variance(mean)
    np.testing.assert_allclose(family.variance(mean), expected)
