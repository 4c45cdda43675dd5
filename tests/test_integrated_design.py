"""The design of the integrated likelihood."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from popavg.design import Design, family_of
from popavg.errors import EstimandError, SpecificationError
from popavg.links import get_link
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.from_arrays import from_arrays
from popavg.posterior_tools.integrated_design import IntegratedDesign, lower_roots, only_group

LOGIT = get_link("logit")


def build(formula: str, frame: pd.DataFrame) -> IntegratedDesign:
    family = family_of(formula, LOGIT)
    return IntegratedDesign.build(Design.build(formula, frame, family=family), LOGIT, family)


def test_distinct_rows_give_back_all_rows(frame: pd.DataFrame) -> None:
    repeated = pd.concat([frame, frame], ignore_index=True)
    found = build("y ~ x + arm + (1 + x | g)", repeated)
    assert len(found.matrices.X) < len(repeated) / 2 + 1
    beta = np.array([0.3, -1.0, 0.5])
    family = family_of("y ~ x", LOGIT)
    whole = Design.build("y ~ x + arm + (1 + x | g)", repeated, family=family).matrices
    np.testing.assert_array_equal(found.predictor(beta)[found.rows], whole.X @ beta)
    assert found.outcomes.n_clusters == len(found.group.levels) == 12


@pytest.mark.parametrize(("sd", "rho"), [([2.0, 5.0], 0.6), ([0.0, 1.0], -1.0), ([3.0, 0.1], 0.0)])
def test_roots(sd: list[float], rho: float) -> None:
    root = lower_roots([sd, sd], np.array([rho, rho]))[1]
    wanted = np.outer(sd, sd) * [[1.0, rho], [rho, 1.0]]
    np.testing.assert_allclose(root @ root.T, wanted, atol=1e-15)
    assert root[0, 1] == 0


def test_what_cannot_be_integrated_out(frame: pd.DataFrame) -> None:
    with pytest.raises(SpecificationError, match=r"2 grouping factors \('g', 'r'\).*latent"):
        build("y ~ x + (1 | g) + (1 | r)", frame)
    with pytest.raises(SpecificationError, match=r"'g' has 3 random effects.*one or two"):
        build("y ~ x + (1 + x + visit | g)", frame)
    family = family_of("y ~ x", LOGIT)
    with pytest.raises(SpecificationError, match="0 grouping factors"):
        only_group(Design.build("y ~ x", frame, family=family).matrices)


def test_no_outcome(frame: pd.DataFrame) -> None:
    rng = np.random.default_rng(1)
    X = np.column_stack([np.ones(60), frame["x"]])
    groups = {"g": frame["g"].to_numpy()}
    fit = from_arrays(
        rng.normal(size=(2, 5, 2)), None, X, link="logit", sd=np.ones((2, 5)), groups=groups
    )
    posterior = Posterior.from_fit(fit)
    with pytest.raises(EstimandError, match="no outcome"):
        IntegratedDesign.build(posterior.design, posterior.link, posterior.family)
