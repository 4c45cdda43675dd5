"""The builders' models against a density written as loops over rows."""

from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from numpy.typing import NDArray
from pytensor.compile.mode import Mode
from scipy import special, stats

from popavg.design import Design
from popavg.errors import FormulaError, SpecificationError
from popavg.families import get_family
from popavg.links import get_link
from popavg.models.glmm import glm, glmm, logit_glmm, probit_glmm
from popavg.models.record import ModelRecord, model_record
from popavg.priors import Prior

Floats = NDArray[np.float64]
PYTHON = Mode(linker="py", optimizer="merge")
N = 24


def make_frame() -> pd.DataFrame:
    rng = np.random.default_rng(8)
    herd = np.repeat(["a", "b", "c"], N // 3)
    return pd.DataFrame(
        {
            "y": rng.integers(0, 2, N),
            "k": rng.integers(0, 4, N),
            "n": rng.integers(3, 7, N),
            "value": rng.normal(5.0, 2.0, N),
            "x": rng.normal(2.0, 1.5, N),
            "arm": np.tile(["old", "new"], N // 2),
            "days": rng.uniform(0.5, 1.5, N),
            "herd": herd,
            "cow": np.tile([f"c{i}" for i in range(4)], N // 4),
            "é x": np.tile(list("pqr"), N // 3),
        }
    )


FRAME = make_frame()
MODELS = {
    "logit intercept": ("y ~ x * arm + (1 | herd)", "logit"),
    "probit slope": ("y ~ x + arm + (1 + x | herd)", "probit"),
    "cloglog nested": ("y ~ x + (1 | herd/cow)", "cloglog"),
    "logit crossed": ("y ~ x + (1 | herd) + (1 | cow)", "logit"),
    "logit blocks": ("y ~ x + (1 | herd) + (0 + x | herd)", "logit"),
    "logit no intercept": ("y ~ 0 + arm + (1 | herd)", "logit"),
    "logit intercept only": ("y ~ 1 + (1 | herd)", "logit"),
    "binomial logit": ("p(k, n) ~ x + (1 | herd)", "logit"),
    "binomial cloglog": ("p(k, n) ~ x + (1 | herd)", "cloglog"),
    "poisson offset": ("k ~ x + offset(log(days)) + (1 | herd)", "log"),
    "gaussian": ("value ~ x + (1 | herd)", "identity"),
}


def evaluate(model: pm.Model, seed: int = 0) -> tuple[float, Floats, dict[str, Floats]]:
    """Log density at a random point, on the variables' own scales, and all variables there."""
    rng = np.random.default_rng(seed)
    point = {name: rng.normal(size=v.shape) for name, v in model.initial_point(0).items()}
    named = [*model.free_RVs, *model.deterministics]
    outputs = [
        model.logp(jacobian=False),
        model.logp(vars=model.observed_RVs, sum=False)[0],
        *model.replace_rvs_by_values([*named, model_record(model).predictor]),
    ]
    fn = model.compile_fn(outputs, inputs=model.value_vars, mode=PYTHON)
    logp, rows, *values = fn(point)
    names = [*(variable.name for variable in named), "predictor"]
    return float(logp), rows, dict(zip(names, values, strict=True))


def naive_predictor(design: Design, values: dict[str, Floats]) -> Floats:
    """η_i = Σ_k x_ik β_k + offset_i + Σ_g Σ_k z_ik u_g(i)k, by loops."""
    matrices = design.matrices
    eta = np.zeros(matrices.n_rows)
    for i in range(matrices.n_rows):
        eta[i] = matrices.offset[i]
        for k in range(len(matrices.terms)):
            eta[i] += matrices.X[i, k] * values["beta"][k]
        for group in matrices.groups:
            for k in range(len(group.effects)):
                eta[i] += group.Z[i, k] * values[f"u_{group.name}"][group.index[i], k]
    return eta


def naive_rows(record: ModelRecord, eta: Floats, values: dict[str, Floats]) -> Floats:
    """Log density of each row, by loops over scipy's distributions and the link's logs."""
    y, trials = record.design.response.y, record.design.response.trials
    rows = np.zeros(len(y))
    for i in range(len(y)):
        if record.family.name == "gaussian":
            rows[i] = stats.norm(eta[i], values["sigma"]).logpdf(y[i])
        elif record.family.name == "poisson":
            rows[i] = stats.poisson(np.exp(eta[i])).logpmf(y[i])
        else:
            n = 1.0 if trials is None else trials[i]
            log_p, log_q = record.link.log_inverse(eta[i]), record.link.log_complement(eta[i])
            rows[i] = np.log(special.comb(n, y[i])) + y[i] * log_p + (n - y[i]) * log_q
    return rows


def scipy_prior(prior: Prior) -> Any:
    params = prior.params
    if prior.name == "StudentT":
        return stats.t(params["nu"], params["mu"], params["sigma"])
    return stats.norm(params["mu"], params["sigma"])


def half_t(prior: Prior, value: Floats) -> Floats:
    return np.log(2) + stats.t(prior.params["nu"], 0, prior.params["sigma"]).logpdf(value)


def naive_prior(record: ModelRecord, values: dict[str, Floats]) -> float:
    """Priors of the intercept at the means, the slopes, the sds, and the standard effects."""
    priors, matrices = record.priors, record.design.matrices
    beta = dict(zip(matrices.terms, values["beta"], strict=True))
    total = 0.0
    if "Intercept" in beta:
        at_means = matrices.X.mean(axis=0) @ values["beta"]
        total += scipy_prior(priors["Intercept"]).logpdf(at_means)
    total += sum(scipy_prior(priors[t]).logpdf(b) for t, b in beta.items() if t != "Intercept")
    for name, prior in priors.items():
        if name == "sigma":
            total += half_t(prior, values["sigma"])
    for group in matrices.groups:
        sd = values[f"sd_{group.name}"]
        keys = [key for key in priors if key.partition("[")[0] == f"sd_{group.name}"]
        total += sum(half_t(priors[key], value) for key, value in zip(keys, sd, strict=True))
        total += stats.norm.logpdf(values[f"_z_{group.name}"]).sum()
        if f"_partial_{group.name}_0" in values:  # two effects: one correlation, Beta(2, 2)
            total += stats.beta(2, 2).logpdf(values[f"_partial_{group.name}_0"]).sum()
    return float(total)


@pytest.mark.parametrize("name", MODELS)
def test_density_is_the_naive_one(name: str) -> None:
    formula, link = MODELS[name]
    model = glmm(formula, FRAME, link=link)
    record = model_record(model)
    logp, rows, values = evaluate(model)
    eta = naive_predictor(record.design, values)
    np.testing.assert_allclose(values["predictor"], eta, rtol=1e-11, atol=1e-11)
    expected = naive_rows(record, eta, values)
    np.testing.assert_allclose(rows, expected, rtol=1e-9)
    assert logp == pytest.approx(naive_prior(record, values) + expected.sum(), rel=1e-10)


def test_every_family_and_link_is_tested() -> None:
    tested = {(model_record(glmm(f, FRAME, link=k)).family.name, k) for f, k in MODELS.values()}
    assert {family for family, _ in tested} == {"bernoulli", "binomial", "poisson", "gaussian"}
    assert {link for _, link in tested} == {"logit", "probit", "cloglog", "log", "identity"}


def test_density_is_finite_far_in_the_tails() -> None:
    for link in ("logit", "probit", "cloglog"):
        model = glmm("y ~ x + (1 | herd)", FRAME, link=link)
        fn = model.compile_fn([model.logp(), model.dlogp()], inputs=model.value_vars, mode=PYTHON)
        point = model.initial_point(0)
        for intercept in (-40.0, 40.0):
            if link == "cloglog" and intercept > 0:
                intercept = 6.0
            logp, gradient = fn(point | {"_intercept": np.array(intercept)})
            assert np.isfinite(logp)
            assert np.isfinite(gradient).all()


def test_names_dims_and_coords() -> None:
    model = glmm("y ~ x + arm + (1 + x | herd) + (1 | `é x`)", FRAME, link="logit")
    dims = {name: tuple(d) for name, d in model.named_vars_to_dims.items() if name[0] != "_"}
    assert dims == {
        "beta": ("term",),
        "sd_herd": ("effect_herd",),
        "corr_herd": ("effect_herd", "effect_herd_other"),
        "u_herd": ("herd", "effect_herd"),
        "sd_é x": ("effect_é x",),
        "u_é x": ("é x", "effect_é x"),
        "y": ("obs",),
    }
    assert model.coords["term"] == model_record(model).design.matrices.terms
    assert model.coords["effect_herd"] == ("Intercept", "x")
    assert model.coords["herd"] == ("a", "b", "c")
    assert model_record(model).internal == (
        "_intercept", "_slopes", "_partial_herd_0", "_z_herd", "_z_é x",
    )  # fmt: skip


def test_beta_is_on_the_users_scale() -> None:
    model = glmm("y ~ x + (1 | herd)", FRAME, link="logit")
    _, _, values = evaluate(model)
    expected = values["_intercept"] - FRAME["x"].mean() * values["_slopes"][0]
    np.testing.assert_allclose(values["beta"], [expected, values["_slopes"][0]], rtol=1e-12)


def test_slopes_of_different_distributions() -> None:
    priors = {"x": Prior("Cauchy", alpha=0, beta=1)}
    model = glmm("y ~ x + arm + (1 | herd)", FRAME, link="logit", priors=priors)
    names = {rv.name for rv in model.free_RVs}
    assert {"_slopes_0", "_slopes_1"} < names
    assert "_slopes" in model_record(model).internal
    _, _, values = evaluate(model)
    np.testing.assert_allclose(values["beta"][1:], [values["_slopes_0"], values["_slopes_1"]])


def test_glm_has_no_random_effects() -> None:
    model = glm("y ~ x + arm", FRAME, link="probit")
    assert [rv.name for rv in model.free_RVs] == ["_intercept", "_slopes"]
    assert model_record(model).design.matrices.groups == ()


def test_a_user_can_add_to_the_model() -> None:
    model = logit_glmm("y ~ x + (1 | herd)", FRAME)
    with model:
        pm.Potential("extra", -model["sd_herd"].sum())
        pm.Deterministic("risk", pm.math.sigmoid(model_record(model).predictor), dims="obs")
    assert "extra" in model.named_vars
    assert model_record(model).link == get_link("logit")


def test_predictive_draws_of_each_family() -> None:
    for name in ("logit intercept", "probit slope", "binomial cloglog", "poisson offset"):
        formula, link = MODELS[name]
        model = glmm(formula, FRAME, link=link)
        draws = pm.draw(model["y"], draws=50, random_seed=1, mode=PYTHON)
        assert draws.shape == (50, N)
        assert draws.dtype == np.int64
        trials = model_record(model).design.response.trials
        assert (draws >= 0).all()
        assert link == "log" or (draws <= (1 if trials is None else trials)).all()


def test_logit_and_probit_shortcuts() -> None:
    for builder, link in ((logit_glmm, "logit"), (probit_glmm, "probit")):
        model = builder("y ~ x + (1 | herd)", FRAME, parametrization="centered")
        assert model_record(model).link.name == link
        assert model_record(model).parametrization == "centered"
        assert "_u_herd_0" in [rv.name for rv in model.free_RVs]


def test_glmm_needs_a_grouping_term() -> None:
    with pytest.raises(FormulaError, match=r"no grouping term.*popavg\.models\.glm"):
        logit_glmm("y ~ x", FRAME)


def test_glm_refuses_a_grouping_term() -> None:
    with pytest.raises(FormulaError, match=r"has a grouping term.*popavg\.models\.glmm"):
        glm("y ~ x + (1 | herd)", FRAME, link="logit")


def test_unknown_parametrization() -> None:
    with pytest.raises(SpecificationError, match=r"'noncentred' is unknown.*'noncentered'"):
        logit_glmm("y ~ x + (1 | herd)", FRAME, parametrization="noncentred")


def test_family_must_go_with_the_link() -> None:
    with pytest.raises(SpecificationError, match=r"doesn't go with link='logit'.*'bernoulli'"):
        glmm("y ~ x + (1 | herd)", FRAME, link="logit", family=get_family("poisson"))


def test_a_foreign_model_has_no_record() -> None:
    with pytest.raises(SpecificationError, match="wasn't built by popavg"):
        model_record(pm.Model())


def test_data_are_left_unchanged() -> None:
    before = FRAME.copy(deep=True)
    logit_glmm("y ~ x + arm + (1 + x | herd)", FRAME)
    pd.testing.assert_frame_equal(FRAME, before)
