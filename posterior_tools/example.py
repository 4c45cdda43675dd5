"""A small fit that comes with the package, for documentation and tests."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files

import pandas as pd
import xarray as xr

from popavg.datasets import load_dataset
from popavg.design import Design, family_of
from popavg.links import get_link
from popavg.posterior_tools.tree import fit_tree, specify

__all__ = ["load_example"]

_FORMULA = "y ~ treatment * time + (1 | patient)"
_SOURCE = "every 20th draw of a brms 2.18.0 fit (4 chains of 1000 draws)"


def load_example() -> xr.DataTree:
    """A fit of the toenail data with 200 draws, without draws of the patients' own effects.

    For documentation and tests; too few draws for conclusions.

    Returns
    -------
    xarray.DataTree
        As :func:`popavg.fit` returns it.

    Notes
    -----
    R 4.2.2, brms 2.18.0, rstan 2.21.7: ``brm(y ~ treatment * time + (1 | patient),
    family = bernoulli("logit"), chains = 4, iter = 2000, warmup = 1000, seed = 20240501)`` with
    priors normal(0, 2.5) for the slopes, student_t(3, 0, 2.5) for the centred intercept and its
    half for the standard deviation; every 20th draw.

    Examples
    --------
    >>> import popavg as pa
    >>> dict(pa.load_example()["posterior"].sizes)["draw"]
    50
    """
    table = pd.read_csv(str(files("popavg") / "data" / "example_draws.csv"))
    link = get_link("logit")
    family = family_of(_FORMULA, link)
    design = Design.build(_FORMULA, load_dataset("toenail"), family=family)
    n_chains, n_draws = table["chain"].nunique(), table["draw"].nunique()
    beta = table[list(design.matrices.terms)].to_numpy().reshape(n_chains, n_draws, -1)
    sd = table[["sd_patient"]].to_numpy().reshape(n_chains, n_draws, 1)
    posterior = xr.Dataset(
        {
            "beta": (("chain", "draw", "term"), beta),
            "sd_patient": (("chain", "draw", "effect_patient"), sd),
        },
        coords={
            "chain": range(n_chains),
            "draw": range(n_draws),
            "term": list(design.matrices.terms),
            "effect_patient": ["Intercept"],
        },
    )
    specification = replace(specify(design, link, family), sampler={"source": _SOURCE})
    return fit_tree(design, specification, {"posterior": posterior})
