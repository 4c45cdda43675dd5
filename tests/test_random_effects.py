"""The prior of the random effects against densities that can be checked by eye."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pymc as pm
import pytest
from numpy.typing import NDArray
from pytensor.compile.mode import Mode
from scipy import stats

from popavg.models.random_effects import add_random_effects, group_coords
from popavg.priors import Prior

Floats = NDArray[np.float64]
PYTHON = Mode(linker="py", optimizer="merge")
NAME = "herd:cow"
CLUSTERS = 4
STRUCTURES = {
    "intercept": ((0,),),
    "slope": ((0, 1),),
    "uncorrelated": ((0,), (1,)),
    "three": ((0, 1, 2),),
    "blocks": ((0, 2), (1,)),
}


def group_of(structure: str) -> Any:
    rng = np.random.default_rng(11)
    blocks = STRUCTURES[structure]
    size = sum(map(len, blocks))
    return SimpleNamespace(
        name=NAME,
        effects=tuple(f"e{k}" for k in range(size)),
        levels=tuple(map(str, range(CLUSTERS))),
        index=rng.integers(0, CLUSTERS, 12),
        Z=np.column_stack([np.ones(12), rng.normal(size=(12, size - 1))]),
        blocks=blocks,
    )


def build(group: Any, parametrization: Any, eta: float = 3.0) -> pm.Model:
    """A model of the random effects alone; what they add to the rows is ``rows``."""
    effects = group.effects
    keys = [f"sd_{NAME}[{e}]" for e in effects] if len(effects) > 1 else [f"sd_{NAME}"]
    priors = {key: Prior("HalfNormal", sigma=1.0 + k) for k, key in enumerate(keys)}
    priors[f"corr_{NAME}"] = Prior("LKJ", eta=eta)
    with pm.Model(coords=group_coords(group)) as model:
        pm.Deterministic("rows", add_random_effects(group, priors, parametrization))
    return model


def random_values(model: pm.Model, seed: int = 5) -> dict[str, Floats]:
    """Values of the free variables on their own scale."""
    rng = np.random.default_rng(seed)
    values = {}
    for name, value in model.initial_point(0).items():
        if name.startswith("_partial"):
            values[name.removesuffix("_logodds__")] = rng.uniform(0.2, 0.8, value.shape)
        elif name.startswith("sd_"):
            values[name.removesuffix("_log__")] = rng.uniform(0.5, 2.0, value.shape)
        else:
            values[name] = rng.normal(size=value.shape)
    return values


def evaluate(model: pm.Model, values: dict[str, Floats]) -> dict[str, Floats]:
    """Log density of the free variables (on their own scale), and the deterministic variables."""
    point = {
        value.name: np.log(values[rv.name])
        if value.name.endswith("_log__")
        else np.log(values[rv.name] / (1 - values[rv.name]))
        if value.name.endswith("_logodds__")
        else values[rv.name]
        for rv, value in model.rvs_to_values.items()
    }
    outputs = [model.logp(jacobian=False), *model.replace_rvs_by_values(model.deterministics)]
    found = model.compile_fn(outputs, inputs=model.value_vars, mode=PYTHON)(point)
    names = ["logp", *(variable.name for variable in model.deterministics)]
    return dict(zip(names, found, strict=True))


def covariance(found: dict[str, Floats]) -> Floats:
    correlation = found.get(f"corr_{NAME}", np.eye(1))
    return np.outer(found["sd"], found["sd"]) * correlation


def hyper_logp(values: dict[str, Floats], group: Any) -> float:
    """Priors of the standard deviations and of the partial correlations, eta = 3."""
    sd = values[f"sd_{NAME}"]
    total = stats.halfnorm(scale=1.0 + np.arange(len(sd))).logpdf(sd).sum()
    for number, block in enumerate(group.blocks):
        pairs = [(i, j) for i in range(1, len(block)) for j in range(i)]
        for position, (_, j) in enumerate(pairs):
            a = 3.0 + (len(block) - 2 - j) / 2
            total += stats.beta(a, a).logpdf(values[f"_partial_{NAME}_{number}"][position])
    return total


@pytest.mark.parametrize("parametrization", ["noncentered", "centered"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_joint_density_is_the_multivariate_normal(structure: str, parametrization: str) -> None:
    """Both parametrizations: p(sd, partial correlations) Π_i N(u_i; 0, Σ)."""
    group = group_of(structure)
    model = build(group, parametrization)
    values = random_values(model)
    found = evaluate(model, values) | {"sd": values[f"sd_{NAME}"]}
    sigma, u = covariance(found), found[f"u_{NAME}"]
    expected = hyper_logp(values, group)
    for cluster in range(CLUSTERS):
        expected += stats.multivariate_normal(np.zeros(len(sigma)), sigma).logpdf(u[cluster])
    if parametrization == "noncentered":
        expected += CLUSTERS * 0.5 * np.linalg.slogdet(sigma)[1]  # |du/dz|
    assert found["logp"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_rows_and_correlations(structure: str) -> None:
    group = group_of(structure)
    model = build(group, "noncentered")
    found = evaluate(model, random_values(model))
    u = found[f"u_{NAME}"]
    for row, cluster in enumerate(group.index):
        expected = sum(group.Z[row, k] * u[cluster, k] for k in range(len(group.effects)))
        assert found["rows"][row] == pytest.approx(expected, rel=1e-12)
    if len(group.effects) == 1:
        assert f"corr_{NAME}" not in found
        return
    R = found[f"corr_{NAME}"]
    np.testing.assert_allclose(np.diag(R), 1.0, rtol=1e-14)
    np.testing.assert_array_equal(R, R.T)
    assert np.linalg.eigvalsh(R).min() > 0
    together = {(i, j) for block in group.blocks for i in block for j in block}
    for i, j in np.ndindex(R.shape):
        assert (R[i, j] != 0) == ((i, j) in together)


@pytest.mark.parametrize("eta", [0.7, 2.0])
def test_three_correlations_have_the_lkj_density(eta: float) -> None:
    """Against LKJ's density, det(R)^(η − 1) up to a constant, by a numerical Jacobian."""
    group = group_of("three")
    model = build(group, "noncentered", eta)
    key, sd = f"_partial_{NAME}_0", f"sd_{NAME}"
    outputs = [model.logp(vars=[model[key]], jacobian=False), model[f"corr_{NAME}"]]
    fn = model.compile_fn(
        model.replace_rvs_by_values(outputs),
        inputs=model.value_vars,
        mode=PYTHON,
        on_unused_input="ignore",
    )
    start = {f"{sd}_log__": np.zeros(3), f"_z_{NAME}": np.zeros((CLUSTERS, 3))}

    def at(x: Floats) -> tuple[float, Floats, Floats]:
        logp, R = fn(start | {f"{key}_logodds__": np.log(x / (1 - x))})
        return float(logp), R[np.tril_indices(3, -1)], R

    constants = []
    for seed in range(4):
        x = np.random.default_rng(seed).uniform(0.15, 0.85, 3)
        step = 1e-6
        jacobian = [(at(x + step * e)[1] - at(x - step * e)[1]) / (2 * step) for e in np.eye(3)]
        logp, _, R = at(x)
        log_density = logp - np.linalg.slogdet(np.array(jacobian))[1]
        constants.append(log_density - (eta - 1) * np.linalg.slogdet(R)[1])
    assert np.ptp(constants) < 1e-7


def test_effects_may_have_different_distributions() -> None:
    group = group_of("slope")
    priors = {
        f"sd_{NAME}[e0]": Prior("Exponential", lam=1),
        f"sd_{NAME}[e1]": Prior("HalfNormal", sigma=2),
        f"corr_{NAME}": Prior("LKJ", eta=2),
    }
    with pm.Model(coords=group_coords(group)) as model:
        add_random_effects(group, priors, "noncentered")
    assert f"sd_{NAME}" in [variable.name for variable in model.deterministics]
    assert {f"_sd_{NAME}_0", f"_sd_{NAME}_1"} < {rv.name for rv in model.free_RVs}
