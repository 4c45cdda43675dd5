"""The fit that comes with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from popavg.posterior_tools.draws import Posterior, read_specification
from popavg.posterior_tools.example import load_example


def test_draws_are_every_second_row_of_the_reference(reference: Path) -> None:
    fit = load_example()
    table = pd.read_csv(reference / "brms_toenail_draws.csv").iloc[::2]
    posterior = Posterior.from_fit(fit)
    beta = table.filter(like="b_").to_numpy()
    np.testing.assert_allclose(posterior.beta, beta, rtol=1e-9)
    sd = table["sd_patientID__Intercept"].to_numpy()
    np.testing.assert_allclose(posterior.standard_deviations("patient")[:, 0], sd, rtol=1e-9)


def test_the_fit_says_what_it_is() -> None:
    fit = load_example()
    specification = read_specification(fit)
    assert dict(fit["posterior"].sizes) == {
        "chain": 4,
        "draw": 50,
        "term": 4,
        "effect_patient": 1,
    }
    assert "brms 2.18.0" in specification.sampler["source"]
    assert specification.link == "logit"
    assert Posterior.from_fit(fit).design.matrices.n_rows == 1908
