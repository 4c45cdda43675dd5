"""The result of simulation-based calibration: ranks, what they say, a figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popavg.errors import SpecificationError
from popavg.posterior_tools.rank_uniformity import uniformity_p_value

__all__ = ["Calibration", "CalibrationRun"]

#: Probability that ranks of a right route stay within all bands.
PROB = 0.95

#: What a shape of the ranks says of the posterior draws.
SHAPES = {
    ("place", True): "draws too low",
    ("place", False): "draws too high",
    ("width", True): "draws too narrow",
    ("width", False): "draws too wide",
}


@dataclass(frozen=True)
class CalibrationRun:
    """One data set drawn from the prior and fitted.

    Attributes
    ----------
    run : int
        Its number, from 0.
    method : str
        What drew from the posterior: ``"importance"``, ``"nuts"`` or ``"latent"``; empty where
        nothing could.
    ranks : mapping of str to int
        For each quantity the posterior draws below the true value.
    truth, mean, sd : mapping of str to float
        True values; means and standard deviations of the draws.
    seconds : float
        How long it took.
    ess, r_hat : float
        Smallest effective number of draws and largest R-hat of the parameters before thinning;
        NaN for independent draws.
    divergences : int
        Divergent draws.
    remarks : tuple of str
        What is odd about it, by the keys of :data:`popavg.posterior_tools.calibration_result.WORDS`
        or, behind a colon, in its own words.
    failure : str
        Why it couldn't be fitted; empty where it could.
    """

    run: int
    method: str = ""
    ranks: Mapping[str, int] = field(default_factory=dict)
    truth: Mapping[str, float] = field(default_factory=dict)
    mean: Mapping[str, float] = field(default_factory=dict)
    sd: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    ess: float = np.nan
    r_hat: float = np.nan
    divergences: int = 0
    remarks: tuple[str, ...] = ()
    failure: str = ""
