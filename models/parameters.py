"""Priors as PyMC variables: one vector where the distributions agree, else scalars stacked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import ArrayLike, NDArray
from pymc.logprob.transforms import Transform
from pytensor.graph.basic import Variable
from pytensor.tensor.variable import TensorVariable

from popavg.priors import Prior

__all__ = ["Scaled", "prior_scalar", "prior_vector"]


class Scaled(Transform):
    """Samples ``scale`` times a parameter, so that a step of one means the same for all of them.

    Chains start within one unit of the prior's centre. A slope of a covariate in the hundreds must
    not start one unit off: its linear predictor would leave the floats under a cloglog or log link.

    Parameters
    ----------
    scale : array_like
        What each element is multiplied by.
    """

    name = "scaled"

    def __init__(self, scale: ArrayLike) -> None:
        self.scale = np.asarray(scale, dtype=np.float64)

    def forward(self, value: TensorVariable, *inputs: Variable) -> TensorVariable:
        """What is sampled, from the parameter."""
        return value * self.scale

    def backward(self, value: TensorVariable, *inputs: Variable) -> TensorVariable:
        """The parameter, from what is sampled."""
        return value / self.scale

    def log_jac_det(self, value: TensorVariable, *inputs: Variable) -> TensorVariable:
        """Logarithm of the derivative of `backward`."""
        return pt.zeros_like(value) - np.log(self.scale)


def prior_scalar(name: str, prior: Prior, scale: ArrayLike | None = None) -> TensorVariable:
    """One free variable.

    Parameters
    ----------
    name : str
        Its name in the model whose context is open.
    prior : Prior
        Checked before: see :func:`popavg.prior_checks.check_prior`.
    scale : float, optional
        See :class:`Scaled`; only for parameters on the whole line.

    Returns
    -------
    TensorVariable

    Notes
    -----
    Parameters go in as 64-bit numbers: from small integers PyTensor computes normalising
    constants in single precision.
    """
    params = {key: np.float64(value) for key, value in prior.params.items()}
    return getattr(pm, prior.name)(name, **params, **_transform(scale))


def prior_vector(
    name: str, priors: Sequence[Prior], *, dims: str, scale: NDArray[np.float64] | None = None
) -> TensorVariable:
    """A vector whose elements have priors of their own.

    Parameters
    ----------
    name : str
        Its name in the model whose context is open.
    priors : sequence of Prior
        One for each element.
    dims : str
        The vector's dim.
    scale : ndarray, optional
        One for each element, see :class:`Scaled`; only for parameters on the whole line.

    Returns
    -------
    TensorVariable
        A free variable where all priors are of one distribution; else a deterministic variable
        over free ones called ``_<name>_<position>``.
    """
    if len({(prior.name, tuple(prior.params)) for prior in priors}) == 1:
        keys = priors[0].params
        params = {key: _parameter([prior.params[key] for prior in priors]) for key in keys}
        return getattr(pm, priors[0].name)(name, **params, dims=dims, **_transform(scale))
    scales = [None] * len(priors) if scale is None else list(scale)
    parts = [
        prior_scalar(f"_{name.removeprefix('_')}_{position}", prior, scales[position])
        for position, prior in enumerate(priors)
    ]
    return pm.Deterministic(name, pt.stack(parts), dims=dims)


def _transform(scale: ArrayLike | None) -> dict[str, Scaled]:
    return {} if scale is None else {"default_transform": Scaled(scale)}


def _parameter(values: list[float]) -> float | np.ndarray:
    return np.float64(values[0]) if len(set(values)) == 1 else np.array(values, dtype=float)
