"""What a calibration does, and one run of it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popavg.errors import PopavgError
from popavg.posterior_tools.calibration_result import CalibrationRun
from popavg.workflows._calibration_quantities import Quantities
from popavg.workflows._calibration_routes import Drawer, Draws
from popavg.workflows._calibration_simulation import Simulated, simulate
from popavg.workflows.methods import Method
from popavg.workflows.problem import Problem
from popavg.workflows.sampling import Sampler

__all__ = ["OwnQuantity", "Plan", "Worker"]

type Floats = NDArray[np.float64]
#: From a fit to draws of numbers, one after the other.
type OwnQuantity = Callable[[xr.DataTree], xr.DataArray]


@dataclass(frozen=True, eq=False)
class Plan:
    """All that the runs are made of; can be sent to another process.

    Attributes
    ----------
    problem : Problem
        The model; its outcomes aren't used.
    method : str
        As asked for.
    sampler : Sampler
        Draws to rank among, seed, and the settings of NUTS.
    names : tuple of str
        Kinds of quantities.
    own : mapping of str to callable
        The user's quantities.
    """

    problem: Problem
    method: Method
    sampler: Sampler
    names: tuple[str, ...]
    own: Mapping[str, OwnQuantity] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """The seed of all runs."""
        assert self.sampler.seed is not None
        return self.sampler.seed

    def facts(self) -> dict[str, Any]:
        """What runs must have in common to be put together; JSON can hold it."""
        problem, sampler = self.problem, self.sampler
        return {
            "formula": problem.design.formula.text,
            "link": problem.link.name,
            "family": problem.family.name,
            "random_effects": problem.link.mixing.name,
            "method": self.method,
            "seed": self.seed,
            "draws": sampler.draws,
            "tune": sampler.tune,
            "chains": sampler.chains,
            "target_accept": sampler.target_accept,
            "max_treedepth": sampler.max_treedepth,
            "parametrization": problem.parametrization,
            "priors": {name: str(prior) for name, prior in problem.priors.items()},
            "quantities": [*self.names, *self.own],
            "design": _digest(problem),
            "version": importlib.metadata.version("popavg"),
        }


def _digest(problem: Problem) -> str:
    """The design in a few letters; not the outcomes."""
    matrices, trials = problem.design.matrices, problem.design.response.trials
    arrays: list[NDArray[Any]] = [
        matrices.X,
        matrices.offset,
        np.zeros(0) if trials is None else trials,
    ]
    arrays += [part for group in matrices.groups for part in (group.Z, group.index)]
    found = hashlib.sha256()
    for array in arrays:
        found.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


class Worker:
    """Does runs of a plan, one after the other, and compiles what they need once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.drawer = Drawer(plan.problem, plan.method, plan.sampler)
        self.quantities = Quantities(plan.problem, plan.names, plan.own)

    def run(self, number: int) -> CalibrationRun:
        """One run, which depends on the plan and its own number alone."""
        begin = time.perf_counter()
        seeds = np.random.SeedSequence(self.plan.seed, spawn_key=(number,)).spawn(4)
        try:
            made = simulate(self.plan.problem, np.random.default_rng(seeds[0]))
            drawn = self.drawer.draw(made.problem, int(seeds[1].generate_state(1)[0]))
        except (PopavgError, ArithmeticError, ValueError, RuntimeError) as error:
            failure = f"{type(error).__name__}: {' '.join(str(error).split())}"
            return CalibrationRun(number, failure=failure, seconds=_since(begin))
        return self._ranked(number, made, drawn, seeds[2:], begin=begin)

    def _ranked(
        self,
        number: int,
        made: Simulated,
        drawn: Draws,
        seeds: list[np.random.SeedSequence],
        *,
        begin: float,
    ) -> CalibrationRun:
        joined = _joined(made.truth, drawn.posterior)
        values, undefined = self.quantities.compute(made.problem, joined, seeds[0])
        rng = np.random.default_rng(seeds[1])
        y = made.problem.design.response
        share = y.y if y.trials is None else y.y / y.trials
        return CalibrationRun(
            run=number,
            method=drawn.method,
            ranks={name: _rank(value, rng) for name, value in values.items()},
            truth={name: float(value[0]) for name, value in values.items()},
            mean={name: float(value[1:].mean()) for name, value in values.items()},
            sd={name: float(value[1:].std(ddof=1)) for name, value in values.items()},
            seconds=_since(begin),
            ess=drawn.ess,
            r_hat=drawn.r_hat,
            divergences=drawn.divergences,
            refused=drawn.refused,
            constant=bool(
                self.plan.problem.link.is_probability
                and (share == share[0]).all()
                and share[0] in (0, 1)
            ),
            undefined=undefined,
        )


def _joined(truth: xr.Dataset, posterior: xr.Dataset) -> xr.Dataset:
    """The truth, then the draws; NaN for what wasn't drawn."""
    count = posterior.sizes["draw"]
    variables: dict[str, Any] = {}
    for name, value in truth.data_vars.items():
        dims = value.dims
        first = value.to_numpy()
        if name in posterior:
            rest = posterior[name].transpose(*dims).to_numpy()
        else:
            rest = np.full((1, count, *first.shape[2:]), np.nan)
        variables[str(name)] = (dims, np.concatenate([first, rest], axis=1))
    coords = {name: value for name, value in truth.coords.items() if name != "draw"}
    return xr.Dataset(variables, coords=coords | {"draw": range(count + 1)})


def _since(begin: float) -> float:
    return round(time.perf_counter() - begin, 3)


def _rank(values: Floats, rng: np.random.Generator) -> int:
    """Draws below the true value, which comes first; of the draws equal to it a random number."""
    truth, draws = values[0], values[1:]
    return int((draws < truth).sum() + rng.integers(0, int((draws == truth).sum()) + 1))
