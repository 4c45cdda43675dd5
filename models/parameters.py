"""Priors as PyMC variables: one vector where the distributions agree, else scalars stacked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from popavg.priors import Prior

__all__ = ["prior_scalar", "prior_vector"]


def prior_scalar(name: str, prior: Prior) -> TensorVariable:
    """One free variable.

    Parameters
    ----------
    name : str
        Its name in the model whose context is open.
    prior : Prior
        Checked before: see :func:`popavg.models.default_priors.check_prior`.

    Returns
    -------
    TensorVariable

    Notes
    -----
    Parameters go in as 64-bit numbers: from small integers PyTensor computes normalising
    constants in single precision.
    """
    params = {key: np.float64(value) for key, value in prior.params.items()}
    return getattr(pm, prior.name)(name, **params)


def prior_vector(name: str, priors: Sequence[Prior], *, dims: str) -> TensorVariable:
    """A vector whose elements have priors of their own.

    Parameters
    ----------
    name : str
        Its name in the model whose context is open.
    priors : sequence of Prior
        One for each element.
    dims : str
        The vector's dim.

    Returns
    -------
    TensorVariable
        A free variable where all priors are of one distribution; else a deterministic variable
        over free ones called ``_<name>_<position>``.
    """
    if len({(prior.name, tuple(prior.params)) for prior in priors}) == 1:
        keys = priors[0].params
        params = {key: _parameter([prior.params[key] for prior in priors]) for key in keys}
        return getattr(pm, priors[0].name)(name, **params, dims=dims)
    parts = [
        prior_scalar(f"_{name.removeprefix('_')}_{position}", prior)
        for position, prior in enumerate(priors)
    ]
    return pm.Deterministic(name, pt.stack(parts), dims=dims)


def _parameter(values: list[float]) -> float | np.ndarray:
    return np.float64(values[0]) if len(set(values)) == 1 else np.array(values, dtype=float)
