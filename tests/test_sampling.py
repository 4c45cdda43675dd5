from __future__ import annotations

import numpy as np
import pytest

from popavg.errors import SpecificationError
from popavg.workflows.sampling import Sampler, whole_draws


def test_draws_are_counted_up_to_the_first_that_is_missing() -> None:
    nan = np.nan
    logp = np.array([[1.0, 2.0, 3.0], [1.0, nan, nan], [nan, nan, nan], [1.0, 2.0, nan]])
    assert whole_draws(logp).tolist() == [3, 1, 0, 2]
    assert whole_draws(np.empty((2, 0))).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 0}, "draws=0"),
        ({"tune": 1.5}, r"tune=1\.5"),
        ({"chains": -1}, "chains=-1"),
        ({"cores": 0}, "cores=0"),
        ({"seed": -1}, "seed=-1"),
        ({"target_accept": 1.0}, r"target_accept=1\.0"),
        ({"max_treedepth": 0}, "max_treedepth=0"),
    ],
)
def test_impossible_settings_are_told(options: dict[str, float], message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        Sampler(**options)
