"""From a design to a PyMC model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from popavg._checks import check_choice
from popavg.bridge_logit import require_intercept
from popavg.design import Design, DesignMatrices
from popavg.errors import SpecificationError
from popavg.families import Family
from popavg.links import Link
from popavg.models._baseline_intercept import baseline_intercept
from popavg.models._integrated_response import observe_clusters
from popavg.models.baseline import baseline_of
from popavg.models.default_priors import resolve_priors
from popavg.models.likelihoods import observe
from popavg.models.parameters import prior_scalar, prior_vector
from popavg.models.random_effects import (
    Parametrization,
    add_random_effects,
    add_root,
    group_coords,
)
from popavg.models.record import LikelihoodForm, ModelRecord, note_record
from popavg.posterior_tools.integrated_design import (
    IntegratedDesign,
    only_group,
    require_integrable,
)
from popavg.priors import Prior

__all__ = ["build_model"]


def build_model(
    design: Design,
    *,
    link: Link,
    family: Family,
    priors: Mapping[str, object] | None = None,
    parametrization: Parametrization = "noncentered",
    likelihood: LikelihoodForm = "latent",
) -> pm.Model:
    """Build the model of a design; what :func:`glmm` and :func:`glm` do after reading the data.

    Parameters
    ----------
    design : popavg.design.Design
        The formula joined to the data.
    link : Link
        The link.
    family : Family
        The response's distribution.
    priors : mapping of str to Prior, optional
        Priors by parameter in place of the defaults.
    parametrization : {"noncentered", "centered"}
        What is sampled for the random effects.
    likelihood : {"latent", "integrated"}
        Whether the random effects are sampled or integrated out.

    Returns
    -------
    pymc.Model
        As :func:`glmm`.

    Raises
    ------
    SpecificationError
        A family that doesn't go with the link or the response, an unknown parametrization, a
        prior that doesn't fit its parameter, or random effects that can't be integrated out.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.design import Design, family_of
    >>> data, link = pa.load_dataset("ohio"), pa.get_link("logit")
    >>> family = family_of("resp ~ age", link)
    >>> model = build_model(Design.build("resp ~ age", data, family=family), link=link,
    ...                     family=family)
    >>> [variable.name for variable in model.observed_RVs]
    ['y']
    """
    check_choice("parametrization", parametrization, ("noncentered", "centered"))
    check_choice("likelihood", likelihood, ("latent", "integrated"))
    require_intercept(link, design.matrices.groups)
    if likelihood == "integrated":
        _check_integrable(design, link, parametrization)
    resolved = resolve_priors(design, family, link, priors)
    coords: dict[str, object] = {
        "term": design.matrices.terms,
        "obs": np.arange(design.matrices.n_rows),
    }
    for group in design.matrices.groups:
        coords |= group_coords(group)
    add = _add_integrated if likelihood == "integrated" else _add_latent
    with pm.Model(coords=coords) as model:
        known = _Known(design, link, family, resolved, parametrization)
        predictor = add(model, known)
    internal = tuple(name for name in model.named_vars if name.startswith("_"))
    built = tuple(model.named_vars)
    record = ModelRecord(
        design, link, family, resolved, parametrization, predictor, internal, built, likelihood
    )
    note_record(model, record)
    return model


def _check_integrable(design: Design, link: Link, parametrization: Parametrization) -> None:
    only_group(design.matrices)
    require_integrable(link)
    if parametrization != "noncentered":
        raise SpecificationError(
            f"parametrization={parametrization!r} with likelihood='integrated'",
            "a parametrization of the latent model: here no random effects are sampled",
            "leave parametrization out, or say likelihood='latent'",
        )


@dataclass(frozen=True)
class _Known:
    """What both kinds of model are made of."""

    design: Design
    link: Link
    family: Family
    priors: Mapping[str, Prior]
    parametrization: Parametrization

    def sigma(self) -> TensorVariable | None:
        """Adds the residual standard deviation."""
        return prior_scalar("sigma", self.priors["sigma"]) if self.family.has_scale else None


def _add_latent(model: pm.Model, known: _Known) -> TensorVariable:
    design = known.design
    predictor = _fixed_effects(model, known, design.matrices)
    for group in design.matrices.groups:
        predictor = predictor + add_random_effects(
            group, known.priors, known.parametrization, known.link.mixing
        )
    sigma = known.sigma()
    observe(design, predictor, link=known.link, family=known.family, sigma=sigma)
    return predictor


def _add_integrated(model: pm.Model, known: _Known) -> TensorVariable:
    design = known.design
    integrated = IntegratedDesign.build(design, known.link, known.family)
    eta = _fixed_effects(model, known, integrated.matrices)
    root = add_root(integrated.group, known.priors, known.link.mixing)
    observe_clusters(design, integrated, eta=eta, root=root, sigma=known.sigma())
    return eta[integrated.rows]


def _fixed_effects(model: pm.Model, known: _Known, rows: DesignMatrices) -> TensorVariable:
    """Xβ + offset at some rows; adds ``beta``. Products are sums: numba compiles these fast."""
    design, priors, matrices = known.design, known.priors, known.design.matrices
    baseline = baseline_of(design, known.link, priors)
    slopes = [term for term in matrices.terms if term != "Intercept"]
    chosen = np.array([term != "Intercept" for term in matrices.terms], dtype=bool)
    X = matrices.X[:, chosen]
    centred = len(slopes) < len(matrices.terms)
    means = X.mean(axis=0) if centred else np.zeros(len(slopes))
    predictor = pt.as_tensor(rows.offset)
    if baseline is not None:
        means = baseline.columns[chosen]
        intercept = baseline_intercept(design, baseline, priors)
        predictor = predictor + intercept
    elif centred:
        intercept = prior_scalar("_intercept", priors["Intercept"])
        predictor = predictor + intercept
    if not slopes:
        pm.Deterministic("beta", intercept[None], dims="term")
        return predictor
    model.add_coord("_slope", slopes)
    scale = np.abs(X - means).max(axis=0)
    b = prior_vector("_slopes", [priors[term] for term in slopes], dims="_slope", scale=scale)
    first = [(intercept - (b * means).sum())[None]] if centred else []
    pm.Deterministic("beta", pt.concatenate([*first, b]), dims="term")
    return predictor + ((rows.X[:, chosen] - means) * b).sum(axis=1)
