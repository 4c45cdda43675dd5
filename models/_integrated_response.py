"""The observed variable of a model whose random effects are integrated out."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.graph.basic import Constant
from pytensor.tensor.variable import TensorVariable

from popavg.design import Design
from popavg.errors import SpecificationError
from popavg.models.bridge import Bridge
from popavg.models.integrated import integrated_log_likelihood
from popavg.models.likelihoods import response_drawer
from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes
from popavg.posterior_tools.integrated_design import IntegratedDesign

__all__ = ["observe_clusters"]


def observe_clusters(
    design: Design,
    integrated: IntegratedDesign,
    *,
    eta: TensorVariable,
    root: TensorVariable,
    sigma: TensorVariable | None = None,
) -> TensorVariable:
    """Add the observed response ``y`` (dim ``obs``), whose log density is one number.

    Parameters
    ----------
    design : popavg.design.Design
        Holds the response and one grouping factor.
    integrated : IntegratedDesign
        Distinct rows and outcomes by cluster.
    eta : TensorVariable, shape (distinct rows,)
        Predictors without random effects.
    root : TensorVariable, shape (effects, effects)
        Lower triangular root of the effects' covariance.
    sigma : TensorVariable, optional
        Residual standard deviation; Gaussian only.

    Returns
    -------
    TensorVariable
        The observed random variable.

    Notes
    -----
    Predictive draws are those of new clusters with the same rows.
    """
    outcomes, family = integrated.outcomes, integrated.outcomes.family
    y = design.response.y if family.has_scale else design.response.y.astype(np.int64)
    parameters = (eta, root) if sigma is None else (eta, root, sigma)

    def logp(value: TensorVariable, *given: TensorVariable) -> TensorVariable:
        if not (isinstance(value, Constant) and np.array_equal(value.data, y)):
            raise SpecificationError(
                "the log density of other outcomes than the model's was asked for",
                "the outcomes that the model was built with",
                "build a model of the other data",
            )
        scale = given[2] if family.has_scale else None
        return integrated_log_likelihood(outcomes, given[0], given[1], sigma=scale)

    observed = pm.CustomDist(
        "y",
        *parameters,
        dist=_drawer(design, integrated),
        logp=logp,
        signature="(m),(q,q)->(n)" if sigma is None else "(m),(q,q),()->(n)",
        class_name=_class_name(outcomes),
        observed=y,
        dims="obs",
    )
    return cast(TensorVariable, observed)


def _class_name(outcomes: ClusteredOutcomes) -> str:
    words = ("Bridge" if outcomes.bridge else "", outcomes.family.name, outcomes.link.name)
    return f"Integrated{''.join(word.capitalize() for word in words)}"


def _drawer(design: Design, integrated: IntegratedDesign) -> Callable[..., TensorVariable]:
    """Effects of new clusters, then their outcomes."""
    group, outcomes = integrated.group, integrated.outcomes
    draw_response = response_drawer(design, link=outcomes.link, family=outcomes.family)
    size = len(group.effects)

    def draw(*given: TensorVariable) -> TensorVariable:
        eta, root = given[:2]
        if outcomes.bridge:
            u = Bridge.dist(sd=root[0, 0], size=len(group.levels))
            return draw_response(eta[integrated.rows] + u[group.index], None)
        z = pm.Normal.dist(0.0, 1.0, size=(len(group.levels), size))
        predictor = eta[integrated.rows]
        for i in range(size):
            u = sum((root[i, k] * z[:, k] for k in range(1, i + 1)), start=root[i, 0] * z[:, 0])
            predictor = predictor + pt.as_tensor(group.Z[:, i]) * u[group.index]
        return draw_response(predictor, given[2] if outcomes.family.has_scale else None)

    return draw
