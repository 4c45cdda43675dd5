"""The intercept as a function of the population mean at the average row, in PyMC."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from popavg.design import Design
from popavg.models.baseline import BASELINE, BRIDGE_RATE, Baseline
from popavg.models.parameters import prior_scalar
from popavg.models.random_effects import add_deviations
from popavg.priors import Prior

__all__ = ["baseline_intercept"]


def baseline_intercept(
    design: Design, baseline: Baseline, priors: Mapping[str, Prior]
) -> TensorVariable:
    """x'β at the average row; adds ``_baseline`` and each ``sd_<g>`` to the open model."""
    variance = pt.as_tensor(0.0, dtype="float64")
    for group in design.matrices.groups:
        variance = variance + add_deviations(group, priors)[0] ** 2
    mean = prior_scalar(f"_{BASELINE}", priors[BASELINE])
    name = baseline.link.name
    if name == "probit":
        # Φ⁻¹(p) = −√2 erfc⁻¹(2p), accurate where p is small; pm.math.probit is in single precision.
        predictor = -np.sqrt(2.0) * pt.erfcinv(2.0 * mean) * pt.sqrt(1.0 + variance)
    elif name == "logit":  # with the bridge distribution
        predictor = (pt.log(mean) - pt.log1p(-mean)) * pt.sqrt(1.0 + BRIDGE_RATE * variance)
    elif name == "log":
        predictor = pt.log(mean) - variance / 2
    else:
        predictor = mean
    return predictor - baseline.offset
