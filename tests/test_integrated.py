"""The node of the integrated likelihood and the models made of it."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.typing import NDArray
from pytensor.compile.mode import Mode
from pytensor.gradient import NullTypeGradError
from scipy import stats

from popavg.bridge_logit import BridgeLogit
from popavg.errors import SpecificationError
from popavg.models import _kernel_call
from popavg.models._kernel_call import make_call
from popavg.models.glmm import glmm
from popavg.models.integrated import IntegratedLikelihood, integrated_log_likelihood
from popavg.models.record import model_record
from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes

Floats = NDArray[np.float64]
PYTHON = Mode(linker="py", optimizer="merge")

MODELS = {
    "logit intercept": ("y ~ x + arm + (1 | g)", "logit"),
    "logit slope": ("y ~ x + (1 + x | g)", "logit"),
    "logit independent": ("y ~ x + (1 | g) ", "logit"),
    "binomial": ("p(successes, trials) ~ x + (1 | g)", "logit"),
    "gaussian slope": ("value ~ x + (1 + x | g)", "identity"),
    "gaussian intercept": ("value ~ x + (1 | g)", "identity"),
}


def compiled(model: pm.Model, outputs: list[Any], mode: Any = PYTHON) -> Any:
    return model.compile_fn(outputs, inputs=model.value_vars, mode=mode, on_unused_input="ignore")


def random_point(model: pm.Model, seed: int = 3) -> dict[str, Floats]:
    rng = np.random.default_rng(seed)
    start = model.initial_point(0).items()
    return {name: np.asarray(0.5 * rng.normal(size=value.shape)) for name, value in start}


def naive_total(model: pm.Model, point: dict[str, Floats]) -> float:
    """Σ_i log ∫ ∏_j p(y_ij | η_ij + z_ij'u) dN(u; 0, Σ), on a dense grid, by loops over scipy."""
    record = model_record(model)
    design, group = record.design, record.design.matrices.groups[0]
    wanted = [model["beta"], model[f"sd_{group.name}"]]
    size = len(group.effects)
    wanted += [model[f"corr_{group.name}"]] if size == 2 else []
    wanted += [model["sigma"]] if record.family.has_scale else []
    values = compiled(model, model.replace_rvs_by_values(wanted))(point)
    beta, sd = values[:2]
    corr = values[2] if size == 2 else np.eye(1)
    root = np.linalg.cholesky(corr * np.outer(sd, sd))
    axis = np.linspace(-8.0, 8.0, 161)
    nodes = np.stack([g.ravel() for g in np.meshgrid(*[axis] * size, indexing="ij")], axis=1)
    weights = stats.norm.pdf(nodes).prod(axis=1) * (axis[1] - axis[0]) ** size
    total, response = 0.0, design.response
    for cluster in range(len(group.levels)):
        density = weights.copy()
        for i in np.flatnonzero(group.index == cluster):
            eta = design.matrices.X[i] @ beta + design.matrices.offset[i]
            eta = eta + nodes @ root.T @ group.Z[i]
            if record.family.has_scale:
                density *= stats.norm.pdf(response.y[i], eta, values[-1])
            else:
                n = 1 if response.trials is None else response.trials[i]
                density *= stats.binom.pmf(response.y[i], n, 1 / (1 + np.exp(-eta)))
        total += np.log(density.sum())
    return float(total)


@pytest.mark.parametrize("name", MODELS)
def test_the_log_density_is_the_integral(name: str, frame: pd.DataFrame) -> None:
    formula, link = MODELS[name]
    model = glmm(formula, frame, link=link, likelihood="integrated")
    point = random_point(model)
    (found,) = compiled(model, [model.logp(vars=model.observed_RVs)])(point)
    assert float(found) == pytest.approx(naive_total(model, point), rel=1e-9)


@pytest.mark.parametrize("name", ["logit intercept", "logit slope", "gaussian slope"])
def test_the_gradient_is_that_of_finite_differences(name: str, frame: pd.DataFrame) -> None:
    formula, link = MODELS[name]
    model = glmm(formula, frame, link=link, likelihood="integrated")
    fn = compiled(model, [model.logp(), model.dlogp()])
    point = random_point(model)
    gradient = fn(point)[1]
    position = 0
    for variable in model.value_vars:
        for at in np.ndindex(point[variable.name].shape):
            values = []
            for step in (-1e-5, 1e-5):
                moved = point[variable.name].copy()
                moved[at] += step
                values.append(float(fn(point | {variable.name: moved})[0]))
            difference = (values[1] - values[0]) / 2e-5
            assert gradient[position] == pytest.approx(difference, rel=2e-6, abs=2e-6)
            position += 1
    assert position == len(gradient)


def small_outcomes(size: int = 1, link: str = "logit") -> ClusteredOutcomes:
    rng = np.random.default_rng(2)
    cluster, row = np.repeat(np.arange(8), 4), np.tile(np.arange(4), 8)
    gaussian = link == "identity"
    y = rng.normal(size=32) if gaussian else rng.integers(0, 2, 32)
    Z = np.column_stack([np.ones(4), np.arange(4) - 1.0])[:, :size]
    family = "gaussian" if gaussian else "bernoulli"
    chosen = BridgeLogit() if link == "bridge" else link
    return ClusteredOutcomes.build(y, cluster, row=row, Z=Z, link=chosen, family=family)


@pytest.mark.parametrize(
    ("link", "size"),
    [("logit", 1), ("logit", 2), ("identity", 1), ("identity", 2), ("bridge", 1)],
)
def test_numba_and_python_agree(link: str, size: int) -> None:
    outcomes = small_outcomes(size, link)
    eta, root, sigma = pt.vector("eta"), pt.matrix("root"), pt.scalar("sigma")
    value = integrated_log_likelihood(
        outcomes, eta, root, sigma=sigma if link == "identity" else None
    )
    wrt = [eta, root, sigma] if link == "identity" else [eta, root]
    arrays = [np.linspace(-1, 1, 4), np.array([[1.3, 0.0], [0.4, 0.6]])[:size, :size], 0.7]
    found = []
    for mode in (PYTHON, "NUMBA"):
        fn = pytensor.function(wrt, [value, *pytensor.grad(value, wrt)], mode=mode)
        nodes = [node.op for node in fn.maker.fgraph.toposort()]
        assert sum(isinstance(op, IntegratedLikelihood) for op in nodes) == 1
        found.append(fn(*arrays[: len(wrt)]))
    for slow, fast in zip(*found, strict=True):
        np.testing.assert_allclose(fast, slow, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("mode", [PYTHON, "NUMBA"])
def test_where_the_rule_cant_be_used_the_value_is_minus_infinity(mode: Any) -> None:
    eta, root = pt.vector("eta", shape=(4,)), pt.matrix("root", shape=(1, 1))
    value = integrated_log_likelihood(small_outcomes(), eta, root)
    fn = pytensor.function([eta, root], [value, pytensor.grad(value, eta)], mode=mode)
    good = fn(np.zeros(4), np.ones((1, 1)))
    assert np.isfinite(good[0])
    for bad_eta, bad_root in ((0.0, 1e5), (0.0, np.nan), (np.inf, 1.0), (np.nan, 1.0)):
        found = fn(np.full(4, bad_eta), np.full((1, 1), bad_root))
        assert found[0] == -np.inf
        np.testing.assert_array_equal(found[1], 0.0)


def test_a_model_of_ones_own_predictor(frame: pd.DataFrame) -> None:
    """A curve that no formula gives, fitted by NUTS of nutpie and of PyMC."""
    with pm.Model() as model:
        rate, sd = pm.Exponential("rate", 1.0), pm.HalfNormal("sd", 1.0)
        eta = pt.exp(-rate * np.arange(4.0)) - 0.5
        value = integrated_log_likelihood(small_outcomes(), eta, sd.reshape((1, 1)))
        pm.Potential("y", value)
    options: dict[str, Any] = {
        "draws": 30, "tune": 30, "random_seed": 1, "progressbar": False,
        "compute_convergence_checks": False,
    }  # fmt: skip
    for sampler in ("nutpie", "pymc"):
        tree = pm.sample(model=model, nuts_sampler=sampler, chains=1, cores=1, **options)
        draws = tree["posterior"]["rate"].to_numpy()
        assert np.isfinite(draws).all()
        assert np.ptp(draws) > 0


def test_the_second_derivative_is_refused() -> None:
    eta = pt.vector("eta", shape=(4,))
    value = integrated_log_likelihood(small_outcomes(), eta, pt.ones((1, 1)))
    with pytest.raises(NullTypeGradError):
        pytensor.gradient.hessian(value, eta)


def test_the_node_can_be_pickled() -> None:
    eta = pt.vector("eta", shape=(4,))
    value = integrated_log_likelihood(small_outcomes(), eta, pt.ones((1, 1)))
    one = pytensor.function([eta], value, mode=PYTHON)
    other = pickle.loads(pickle.dumps(one))
    assert one(np.ones(4)) == other(np.ones(4))


def test_names_priors_and_coordinates_are_the_latent_models(frame: pd.DataFrame) -> None:
    formula = "y ~ x + (1 + x | g)"
    latent = glmm(formula, frame, link="logit")
    model = glmm(formula, frame, link="logit", likelihood="integrated")
    dims = dict(latent.named_vars_to_dims)
    assert dims.pop("u_g") == ("g", "effect_g")
    dims.pop("_z_g")
    assert dict(model.named_vars_to_dims) == dims
    assert model.coords == latent.coords
    assert model_record(model).priors == model_record(latent).priors
    assert model_record(model).likelihood == "integrated"
    assert model_record(latent).likelihood == "latent"
    point = random_point(latent)
    shared = {name: value for name, value in point.items() if name != "_z_g"}

    def prior(one: pm.Model, at: dict[str, Floats]) -> float:
        free = [variable for variable in one.free_RVs if variable.name != "_z_g"]
        return float(compiled(one, [one.logp(vars=free)])(at)[0])

    assert prior(model, shared) == pytest.approx(prior(latent, point), rel=1e-12)


def test_the_recorded_predictor_is_without_the_effects(frame: pd.DataFrame) -> None:
    model = glmm("y ~ x + offset(w) + (1 | g)", frame, link="logit", likelihood="integrated")
    point = random_point(model)
    outputs = model.replace_rvs_by_values([model["beta"], model_record(model).predictor])
    beta, eta = compiled(model, outputs)(point)
    expected = beta[0] + beta[1] * frame["x"] + frame["w"]
    np.testing.assert_allclose(eta, expected, rtol=1e-12, atol=1e-12)


def test_predictive_draws_are_of_new_clusters(frame: pd.DataFrame) -> None:
    """Gaussian: within a cluster the covariance is that of the effects, apart from it none."""
    priors = {
        "sd_g": "LogNormal(mu=0.6931, sigma=0.0001)",
        "sigma": "LogNormal(mu=0, sigma=0.0001)",
        "Intercept": "Normal(mu=0, sigma=0.0001)",
        "x": "Normal(mu=0, sigma=0.0001)",
    }
    model = glmm("value ~ x + (1 | g)", frame, link="identity", priors=priors,
                 likelihood="integrated")  # fmt: skip
    y = pm.draw(model["y"], draws=4000, random_seed=1, mode=PYTHON)
    found = np.cov(y[:, [0, 1, 7]].T)
    expected = np.array([[5.0, 4.0, 0.0], [4.0, 5.0, 0.0], [0.0, 0.0, 5.0]])
    np.testing.assert_allclose(found, expected, atol=0.4)


def test_predictive_draws_of_events(frame: pd.DataFrame) -> None:
    model = glmm("p(successes, trials) ~ x + (1 + x | g)", frame, link="logit",
                 likelihood="integrated")  # fmt: skip
    y = pm.draw(model["y"], draws=5, random_seed=1, mode=PYTHON)
    assert y.dtype == np.int64
    assert ((y >= 0) & (y <= frame["trials"].to_numpy())).all()


@pytest.mark.parametrize(
    ("formula", "options", "message"),
    [
        ("y ~ x + (1 | g) + (1 | r)", {}, r"2 grouping factors \('g', 'r'\).*latent"),
        ("y ~ x + (1 + x + visit | g)", {}, r"3 random effects.*latent"),
        ("y ~ x + (1 | g)", {"parametrization": "centered"}, r"parametrization='centered' with"),
        ("y ~ x + (1 | g)", {"likelihood": "exact"}, r"likelihood='exact' is unknown"),
    ],
)
def test_other_models_are_refused(
    formula: str, options: dict[str, Any], message: str, frame: pd.DataFrame
) -> None:
    with pytest.raises(SpecificationError, match=message):
        glmm(formula, frame, link="logit", **{"likelihood": "integrated", **options})


def test_other_outcomes_are_refused(frame: pd.DataFrame) -> None:
    model = glmm("y ~ x + (1 | g)", frame, link="logit", likelihood="integrated")
    other = 1 - frame["y"].to_numpy()
    with pytest.raises(SpecificationError, match="other outcomes than the model's"):
        pm.logp(model["y"], other)


def test_sigma_belongs_to_gaussian_outcomes() -> None:
    with pytest.raises(SpecificationError, match="sigma came with bernoulli outcomes"):
        integrated_log_likelihood(small_outcomes(), pt.zeros(4), pt.ones((1, 1)), sigma=pt.ones(()))


def test_code_on_the_disk_is_told_apart_by_the_kernels_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What PyTensor keeps compiled calls kernels by name: one that is gone ends the process."""
    outcomes = ClusteredOutcomes.build([0, 1], [0, 0], row=[0, 1], Z=np.ones((2, 1)), link="probit")
    _, key = make_call(outcomes)
    assert make_call(outcomes)[1] == key
    named = _kernel_call._named

    def renamed(kernel: Any, arguments: tuple[Any, ...]) -> Any:
        found = named(kernel, arguments)
        found.__name__ += "_of_another_release"
        return found

    monkeypatch.setattr(_kernel_call, "_named", renamed)
    assert make_call(outcomes)[1] != key
