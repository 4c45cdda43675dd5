"""Draw from a PyMC model with nutpie: reproducible, interruptible, whole draws only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popavg.errors import ConvergenceError, SpecificationError

if TYPE_CHECKING:
    import pymc as pm

    from popavg.workflows.store import Store

__all__ = ["Drawing", "Sampler", "common", "compile_model", "sample", "sample_compiled", "start"]

#: What is kept of the sampler's statistics.
STATISTICS = (
    *("diverging", "depth", "maxdepth_reached", "n_steps", "step_size", "energy", "logp"),
    "mean_tree_accept",
)

#: The inverse mass matrix gets every direction whose variance isn't within 1 % of the diagonal's.
_CORRELATED: dict[str, Any] = {"adaptation": "low_rank", "mass_matrix_eigval_cutoff": 1.01}


@dataclass(frozen=True)
class Sampler:
    """How to draw.

    Attributes
    ----------
    draws, tune, chains : int
        Draws kept and tuning steps of every chain; number of chains.
    cores : int or None
        Chains drawn at the same time, all by default, also on fewer processor cores: so an
        interrupted run has draws of every chain. The draws don't depend on it.
    seed : int or None
        One is drawn and recorded where none is given.
    target_accept : float
        Mean acceptance rate that the step size is tuned to.
    max_treedepth : int
        Largest depth of a trajectory's tree.
    progress : bool
        Whether a progress bar is shown.
    store : Store or None
        Where draws are kept on the disk meanwhile.
    """

    draws: int = 1000
    tune: int = 1000
    chains: int = 4
    cores: int | None = None
    seed: int | None = None
    target_accept: float = 0.8
    max_treedepth: int = 10
    progress: bool = True
    store: Store | None = None

    def __post_init__(self) -> None:
        for name in ("draws", "tune", "chains", "max_treedepth"):
            value = getattr(self, name)
            if not _is_whole(value) or value < 1:
                raise SpecificationError(f"{name}={value!r}", "a whole number from 1")
        if self.cores is not None and not (_is_whole(self.cores) and self.cores >= 1):
            raise SpecificationError(f"cores={self.cores!r}", "a whole number from 1")
        if self.seed is not None and not (_is_whole(self.seed) and 0 <= self.seed < 2**63):
            raise SpecificationError(f"seed={self.seed!r}", "a whole number from 0 to 2⁶³")
        if not isinstance(self.target_accept, Real) or not 0 < self.target_accept < 1:
            raise SpecificationError(f"target_accept={self.target_accept!r}", "between 0 and 1")


@dataclass(frozen=True)
class Drawing:
    """Why and how the no-U-turn sampler draws.

    Attributes
    ----------
    method : str
        ``"nuts"`` or ``"latent"``.
    why : str
        The reason for the method, half a sentence.
    facts : mapping
        What else is worth keeping with the fit.
    """

    method: Literal["nuts", "latent"]
    why: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def sample(
    model: pm.Model, sampler: Sampler, seed: int, *, few: bool = False
) -> tuple[xr.DataTree, tuple[int, ...]]:
    """Draw from the posterior.

    Parameters
    ----------
    model : pymc.Model
        Any model with continuous parameters.
    sampler : Sampler
        How.
    seed : int
        The seed actually used.
    few : bool
        Whether there are few enough parameters that their correlations can be learnt: each draw
        then takes fewer steps.

    Returns
    -------
    tree : xarray.DataTree
        Groups ``posterior`` and ``sample_stats``. Where it was stopped (Ctrl-C), chains without a
        draw are left out, the others cut to the draws that all of them have.
    lengths : tuple of int
        Draws that each chain had.

    Raises
    ------
    ConvergenceError
        It was stopped before any draw.
    """
    tree = sample_compiled(compile_model(model), sampler, seed, few=few)
    statistics = tree["sample_stats"].to_dataset()
    kept = statistics[[name for name in STATISTICS if name in statistics]]
    lengths = whole_draws(statistics["logp"].transpose("chain", "draw").to_numpy())
    started, whole = common(lengths.tolist())
    groups = {"posterior": tree["posterior"].to_dataset(), "sample_stats": kept}
    cut = {n: group.isel(chain=started, draw=slice(whole)) for n, group in groups.items()}
    return xr.DataTree.from_dict(cut), tuple(lengths.tolist())


def common(lengths: Sequence[int]) -> tuple[list[int], int]:
    """The chains that have draws, and the number that all of these have.

    Parameters
    ----------
    lengths : sequence of int
        Draws of each chain.

    Returns
    -------
    chains : list of int
    draws : int

    Raises
    ------
    ConvergenceError
        No chain has any.
    """
    started = [chain for chain, length in enumerate(lengths) if length]
    if not started:
        raise ConvergenceError(
            "sampling was stopped before any chain had a draw",
            remedy="run it again, with fewer tune= steps for a quick look",
        )
    return started, min(lengths[chain] for chain in started)


def compile_model(model: pm.Model) -> Any:
    """The model's density, its gradient, and its results as machine code, for nutpie.

    Parameters
    ----------
    model : pymc.Model
        Any model with continuous parameters.

    Returns
    -------
    nutpie.CompiledModel

    Notes
    -----
    Fast-math is switched off while compiling: it reorders sums differently with a cold and a
    warm cache, and the same seed then gives different draws.
    """
    import nutpie
    import pytensor

    with pytensor.config.change_flags(numba__fastmath=False):
        return nutpie.compile_pymc_model(model, backend="numba")


def sample_compiled(compiled: Any, sampler: Sampler, seed: int, *, few: bool) -> xr.DataTree:
    """Draw with nutpie.

    Parameters
    ----------
    compiled : nutpie.CompiledModel
        From :func:`compile_model`.
    sampler : Sampler
        How.
    seed : int
        The seed.
    few : bool
        As for :func:`sample`.

    Returns
    -------
    xarray.DataTree
        What nutpie returns; chains that were interrupted are padded with NaN.
    """
    return start(compiled, sampler, seed, few=few)


def start(compiled: Any, sampler: Sampler, seed: int, *, few: bool, **options: Any) -> Any:
    """Call nutpie.

    Parameters
    ----------
    compiled : nutpie.CompiledModel
        From :func:`compile_model`.
    sampler : Sampler
        How.
    seed : int
        The seed.
    few : bool
        As for :func:`sample`.
    **options
        Further ones of :func:`nutpie.sample`.

    Returns
    -------
    object
        What nutpie returns.
    """
    import nutpie

    return nutpie.sample(
        compiled,
        draws=sampler.draws,
        tune=sampler.tune,
        chains=sampler.chains,
        cores=min(sampler.chains, sampler.cores or sampler.chains),
        seed=seed,
        save_warmup=False,
        progress_bar=sampler.progress,
        target_accept=sampler.target_accept,
        maxdepth=sampler.max_treedepth,
        **(_CORRELATED if few else {}),
        **options,
    )


def whole_draws(logp: NDArray[np.float64]) -> NDArray[np.intp]:
    """Draws that each chain has; an interrupted sampler pads with NaN.

    Parameters
    ----------
    logp : numpy.ndarray, shape (chains, draws)
        Log-density of every draw.

    Returns
    -------
    numpy.ndarray of int, shape (chains,)
    """
    beyond = np.ones((len(logp), 1), dtype=bool)
    return np.hstack([~np.isfinite(logp), beyond]).argmax(axis=1)
