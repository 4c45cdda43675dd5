"""The integrated likelihood of Gaussian outcomes in closed form, for up to two effects."""

# ruff: noqa: PLR0917  (numba has no keyword-only arguments, and calls cost in its loops)

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from popavg.posterior_tools._integrated_kernels import Data, Result, Setting, of_draw

__all__ = ["integrate_normals"]

type Floats = NDArray[np.float64]

_compiled = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


@njit(cache=True, nogil=True, error_model="numpy")
def integrate_normals(
    data: Data,
    parameters: tuple[Floats, Floats, Floats],
    setting: Setting,
    result: Result,
    spread: tuple[Floats, Floats],
) -> None:
    """Entries hold means y of n rows; ``parameters``: the draws' eta, 2 × 2 roots and sigma.

    ``spread``: the clusters' sum of squares within entries, and where the gradients in sigma go.

    Notes
    -----
    With W = Z L, z given y is normal with precision M = I + W'W/σ² and mean μ = M⁻¹ W'd/σ²,
    d = y − η, and −2 log p = N log(2πσ²) + log|M| + |d − Wμ|²/σ² + |μ|². Gradients are those of
    the log-density of y given z, averaged over z given y (Fisher's identity).
    """
    (etas, roots, sigmas), (within, by_sigmas) = parameters, spread
    for d in range(len(etas)):
        one = (etas[d], roots[d], sigmas[d])
        _one_draw(data, one, setting, of_draw(result, d), (within, by_sigmas[d]))


@_compiled
def _one_draw(
    data: Data,
    parameters: tuple[Floats, Floats, float],
    setting: Setting,
    result: Result,
    spread: tuple[Floats, Floats],
) -> None:
    eta, root, sigma = parameters
    within, by_sigma = spread
    variance = sigma * sigma
    for i in range(setting.first, setting.last):
        a, b, c, p, q, trials = 1.0, 0.0, 1.0, 0.0, 0.0, 0.0
        for j in range(data.starts[i], data.starts[i + 1]):
            n, d = data.n[j], data.y[j] - eta[data.row[j]]
            v = data.Z[j, 0] * root[0, 0] + data.Z[j, 1] * root[1, 0]
            w = data.Z[j, 1] * root[1, 1]
            a += n * v * v / variance
            b += n * v * w / variance
            c += n * w * w / variance
            p += n * v * d / variance
            q += n * w * d / variance
            trials += n
        determinant = a * c - b * b
        x, y = (c * p - b * q) / determinant, (a * q - b * p) / determinant
        squares, uncertain = within[i], 0.0
        gradient = np.zeros((2, 2))
        for j in range(data.starts[i], data.starts[i + 1]):
            n, d = data.n[j], data.y[j] - eta[data.row[j]]
            v = data.Z[j, 0] * root[0, 0] + data.Z[j, 1] * root[1, 0]
            w = data.Z[j, 1] * root[1, 1]
            rest = d - v * x - w * y
            squares += n * rest * rest
            f, g = (c * v - b * w) / determinant, (a * w - b * v) / determinant
            uncertain += n * (v * f + w * g)
            if setting.want:
                result.eta[j] = n * rest / variance
                for k in range(2):
                    gradient[k, 0] += data.Z[j, k] * n * (rest * x - f) / variance
                    gradient[k, 1] += data.Z[j, k] * n * (rest * y - g) / variance
        value = trials * math.log(2.0 * math.pi * variance) + math.log(determinant)
        result.value[i] = -0.5 * (value + squares / variance + x * x + y * y)
        result.error[i] = 0.0
        if setting.want:
            result.root[i] = gradient
            by_sigma[i] = ((squares + uncertain) / variance - trials) / sigma
