"""Power-scaling sensitivity: wired to ArviZ's psense; conditional numbers move, averages stay."""

from __future__ import annotations

import json
from collections.abc import Callable

import arviz_stats
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from scipy import stats
from scipy.special import expit, logsumexp

import popavg as pa
from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools import sensitivity as module
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.sensitivity import (
    CONDITIONAL,
    POPULATION,
    THRESHOLD,
    Sensitivity,
    integrable,
    sensitivity,
)
from popavg.specification import ATTRIBUTE

ExactFit = Callable[..., xr.DataTree]
MakeFit = Callable[..., xr.DataTree]

FORMULA = "normal ~ treatment + period + (1 | patient)"
PRIORS = {
    "Intercept": "StudentT(3, 0, 2.5)",
    "treatment[active]": "Normal(0, 2.5)",
    "period": "Normal(0, 2.5)",
    "sd_patient": "HalfStudentT(3, 2.5)",
}


@pytest.fixture(scope="module")
def fit(exact_fit: ExactFit, crossover: pd.DataFrame) -> xr.DataTree:
    return exact_fit(FORMULA, crossover, PRIORS)


@pytest.fixture(scope="module")
def found(fit: xr.DataTree) -> Sensitivity:
    return sensitivity(fit, progress=False)


def test_the_draws_are_the_posterior(fit: xr.DataTree) -> None:
    """Against long chains: τ 4.87 ± 1.60, treatment 1.72 ± 0.79."""
    assert float(fit["posterior"]["sd_patient"].mean()) == pytest.approx(4.87, abs=0.2)
    assert float(fit["posterior"]["beta"][..., 1].mean()) == pytest.approx(1.72, abs=0.1)


def test_conditional_numbers_move_and_population_averaged_ones_stay(found: Sensitivity) -> None:
    conditional, population = found.rows(CONDITIONAL), found.rows(POPULATION)
    assert (conditional["prior"] > 1.5 * THRESHOLD).all()
    assert (population["prior"] < THRESHOLD).all()
    assert (found.table["likelihood"] > THRESHOLD).all()
    assert conditional["quantity"].to_list()[-1] == "sd_patient"
    assert population["what"].to_list() == [*["coefficient"] * 3, "average", *["difference"] * 2]
    assert set(conditional["diagnosis"]) == {"prior-data conflict"}
    assert set(population["diagnosis"]) == {"fine"}
    assert found.notes == ()
    assert found.n_draws == 1000


def test_a_narrower_prior_moves_the_conditional_estimates(
    exact_fit: ExactFit, crossover: pd.DataFrame, found: Sensitivity
) -> None:
    """What sensitivity foretells: from t to normal β goes down by a third, the difference stays."""
    narrow = exact_fit(FORMULA, crossover, PRIORS | {"sd_patient": "HalfNormal(1)"})
    other = sensitivity(narrow, progress=False).table.set_index(["quantity", "kind"])["estimate"]
    change = other / found.table.set_index(["quantity", "kind"])["estimate"] - 1.0
    assert change["treatment[active]", CONDITIONAL] < -0.25
    assert abs(change["treatment: active - placebo", POPULATION]) < 0.1


def test_numbers_are_arviz_psense_of_densities_computed_here(
    fit: xr.DataTree, found: Sensitivity, crossover: pd.DataFrame
) -> None:
    beta = fit["posterior"]["beta"].to_numpy()
    sd = fit["posterior"]["sd_patient"].to_numpy()[..., 0]
    x = np.column_stack([np.ones(134), crossover["treatment"] == "active", crossover["period"]])
    x = x.astype(float)
    prior = stats.t(3, scale=2.5).logpdf(beta @ x.mean(axis=0)) + stats.t(3, scale=2.5).logpdf(sd)
    prior = prior + stats.norm(0, 2.5).logpdf(beta[..., 1:]).sum(axis=-1)
    z, likelihood = np.linspace(-7, 7, 281), np.zeros(sd.shape)
    cases, counts = np.unique(
        np.column_stack([x[0::2], x[1::2], crossover["normal"][0::2], crossover["normal"][1::2]]),
        axis=0,
        return_counts=True,
    )
    for case, count in zip(cases, counts, strict=True):
        first, second = (
            (beta @ row)[..., None] + sd[..., None] * z for row in (case[:3], case[3:6])
        )
        sign = 2 * case[6:] - 1
        pair = np.log(expit(sign[0] * first)) + np.log(expit(sign[1] * second))
        likelihood += count * logsumexp(pair - z**2 / 2, axis=-1)
    dims = ("chain", "draw")
    tree = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset({"sd": (dims, sd), "b": (dims, beta[..., 1])}),
            "log_prior": xr.Dataset({"prior": (dims, prior)}),
            "log_likelihood": xr.Dataset({"y": (dims, likelihood)}),
        }
    )
    rows = found.table[found.table["kind"] == CONDITIONAL].set_index("quantity")
    for group in ("prior", "likelihood"):
        expected = arviz_stats.psense(tree, group=group, sample_dims=list(dims))
        assert rows.loc["sd_patient", group] == pytest.approx(float(expected["sd"]), rel=1e-3)
        assert rows.loc["treatment[active]", group] == pytest.approx(float(expected["b"]), rel=1e-3)


def test_estimates_are_those_of_the_verbs(fit: xr.DataTree, found: Sensitivity) -> None:
    population = found.rows(POPULATION)
    coefficients = pa.population_coefficients(fit, progress=False).to_frame()["estimate"]
    differences = pa.avg_comparisons(fit, progress=False).to_frame()["estimate"]
    average = pa.avg_predictions(fit, progress=False).to_frame()["estimate"]
    assert_allclose(population["estimate"], [*coefficients, *average, *differences])


def test_large_data_use_every_kth_draw(fit: xr.DataTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUDGET", 1)
    thinned = sensitivity(fit, progress=False)
    assert thinned.n_draws == 4 * 63
    assert (thinned.rows(CONDITIONAL)["prior"] > THRESHOLD).all()


def known(fit: xr.DataTree, **sampler: object) -> xr.DataTree:
    """With wide priors, so that no prior is lacking."""
    stored = json.loads(fit.attrs[ATTRIBUTE])
    posterior = Posterior.from_fit(fit)
    names = [*stored["terms"]]
    for group in posterior.design.matrices.groups:
        many = len(group.effects) > 1
        names += [f"sd_{group.name}" + (f"[{e}]" if many else "") for e in group.effects]
        if f"corr_{group.name}" in fit["posterior"]:
            stored["priors"][f"corr_{group.name}"] = pa.Prior("LKJ", eta=2).to_dict()
    stored["priors"] |= {name: pa.Prior("StudentT", 3, 0, 5).to_dict() for name in names}
    stored["sampler"] = sampler
    fit.attrs[ATTRIBUTE] = json.dumps(stored)
    return fit


def test_crossed_factors_have_no_likelihood(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = known(make_fit("y ~ x + (1 | g) + (1 | r)", frame, shape=(2, 60)))
    found = sensitivity(fit, progress=False)
    assert found.table["likelihood"].isna().all()
    assert found.table["prior"].notna().all()
    assert found.notes == (
        "the sensitivity to the likelihood, since the model has 2 grouping factors ('g', 'r')",
    )


def test_two_effects_and_their_correlation(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    rng = np.random.default_rng(1)
    rho = rng.uniform(-0.5, 0.5, (2, 60))
    fit = make_fit("y ~ x + (1 + x | g)", frame, shape=(2, 60))
    corr = fit["posterior"]["corr_g"].copy()
    corr[:, :, 0, 1] = corr[:, :, 1, 0] = rho
    fit["posterior"] = fit["posterior"].to_dataset().assign(corr_g=corr)
    found = sensitivity(known(fit), progress=False).table.set_index("quantity")
    assert found.loc["corr_g[Intercept, x]", "estimate"] == pytest.approx(rho.mean())
    assert found.loc[["sd_g[Intercept]", "sd_g[x]"], "likelihood"].notna().all()


def test_no_covariates(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = known(make_fit("count ~ 1 + (1 | g)", frame, "log", shape=(2, 60)))
    found = sensitivity(fit, progress=False)
    assert found.rows(POPULATION)["what"].to_list() == ["coefficient", "average"]
    assert found.notes == ()


def test_errors(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"12 draws\. Allowed: at least 100"):
        sensitivity(known(make_fit("y ~ x + (1 | g)", frame)))
    with pytest.raises(SpecificationError, match="doesn't record the priors"):
        sensitivity(pa.load_example())


def test_a_model_with_additions_has_no_known_likelihood(
    make_fit: MakeFit, frame: pd.DataFrame
) -> None:
    fit = known(make_fit("y ~ x + (1 | g)", frame), added_by_user=["extra"])
    with pytest.raises(SpecificationError, match=r"added by hand \(extra\)"):
        integrable(Posterior.from_fit(fit))


def test_values_without_a_residual_scale(make_fit: MakeFit, frame: pd.DataFrame) -> None:
    fit = make_fit("value ~ x + (1 | g)", frame, "identity")
    with pytest.raises(SpecificationError, match="no draws of the residual"):
        integrable(Posterior.from_fit(fit))
