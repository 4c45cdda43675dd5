"""The builder of logit models whose random intercept has the bridge distribution."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pymc as pm

from popavg.bridge_logit import BridgeLogit
from popavg.frames import MissingPolicy
from popavg.models.glmm import glmm
from popavg.models.random_effects import Parametrization
from popavg.models.record import LikelihoodForm

__all__ = ["bridge_logit_glmm"]


def bridge_logit_glmm(
    formula: str,
    data: pd.DataFrame,
    *,
    priors: Mapping[str, object] | None = None,
    parametrization: Parametrization = "noncentered",
    likelihood: LikelihoodForm = "latent",
    missing: MissingPolicy = "error",
) -> pm.Model:
    """Build a logit model for an event with a bridge-distributed random intercept.

    The population mean of such a model is logistic exactly: conditional and marginal model are
    both true, and every population-averaged coefficient is φ times the conditional one. Use it
    where that is wanted, or beside :func:`logit_glmm` to see what depends on the normal
    distribution. With random slopes or several factors the mean would not be logistic: use
    :func:`logit_glmm`.

    Parameters
    ----------
    formula : str
        ``"y ~ x + (1 | g)"``: one random intercept.
    data : pandas.DataFrame
        As in :func:`glmm`.
    priors : mapping of str to Prior or str, optional
        As in :func:`glmm`: that of the clusters is on the standard deviation, ``"sd_<group>"``, of
        which φ follows. ``"baseline"`` may stand in place of ``"Intercept"``.
    parametrization : {"noncentered", "centered"}
        What is sampled: standard normal variables at the percentiles of the effects, or the
        effects themselves.
    likelihood : {"latent", "integrated"}
        As in :func:`glmm`. ``"integrated"`` is several times as fast, and
        ``pa.fit(model, method="importance")`` then needs no Markov chain.
    missing : {"error", "drop"}
        As in :func:`glmm`.

    Returns
    -------
    pymc.Model
        As :func:`glmm`, with ``phi_<g>`` (dim ``effect_<g>``) beside ``sd_<g>``.

    Raises
    ------
    PopavgError
        As :func:`glmm`; other random effects than one intercept.

    See Also
    --------
    popavg.models.Bridge : The distribution, for models of your own.
    popavg.compare_gee : Sets it beside a model with normal effects.

    Notes
    -----
    u has the density sin(φπ)/(2π(cosh(φu) + cos(φπ))), φ = (1 + 3 sd²/π²)^(−1/2)
    (Wang & Louis 2003, Biometrika 90:765); sd has the same meaning and the same default prior as
    with normal effects. Its tails are heavier, and below an sd of 1 it is far from a bell:
    :class:`popavg.bridge.BridgeDistribution`.

    Examples
    --------
    >>> import popavg as pa
    >>> data = pa.load_dataset("ohio")
    >>> model = pa.models.bridge_logit_glmm("resp ~ age + (1 | id)", data)
    >>> [variable.name for variable in model.deterministics]
    ['beta', 'phi_id', 'u_id']

    Without the clusters' effects, and without a Markov chain:

    >>> model = pa.models.bridge_logit_glmm("resp ~ age + (1 | id)", data, likelihood="integrated")
    >>> fit = pa.fit(model, method="importance", seed=1, progress=False)
    >>> fit["posterior"]["phi_id"].dims
    ('chain', 'draw', 'effect_id')
    """
    return glmm(
        formula,
        data,
        link=BridgeLogit(),
        priors=priors,
        parametrization=parametrization,
        likelihood=likelihood,
        missing=missing,
    )
