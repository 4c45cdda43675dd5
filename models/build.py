"""From a design to a PyMC model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from popavg._checks import check_choice
from popavg.design import Design
from popavg.families import Family
from popavg.links import Link
from popavg.models.default_priors import resolve_priors
from popavg.models.likelihoods import observe
from popavg.models.parameters import prior_scalar, prior_vector
from popavg.models.random_effects import Parametrization, add_random_effects, group_coords
from popavg.models.record import ModelRecord, note_record
from popavg.priors import Prior

__all__ = ["build_model"]


def build_model(
    design: Design,
    *,
    link: Link,
    family: Family,
    priors: Mapping[str, object] | None = None,
    parametrization: Parametrization = "noncentered",
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

    Returns
    -------
    pymc.Model
        As :func:`glmm`.

    Raises
    ------
    SpecificationError
        A family that doesn't go with the link or the response, an unknown parametrization, a
        prior that doesn't fit its parameter.

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
    resolved = resolve_priors(design, family, link, priors)
    matrices = design.matrices
    coords: dict[str, object] = {"term": matrices.terms, "obs": np.arange(matrices.n_rows)}
    for group in matrices.groups:
        coords |= group_coords(group)
    with pm.Model(coords=coords) as model:
        predictor = _fixed_effects(model, design, resolved)
        for group in matrices.groups:
            predictor = predictor + add_random_effects(group, resolved, parametrization)
        sigma = prior_scalar("sigma", resolved["sigma"]) if family.has_scale else None
        observe(design, predictor, link=link, family=family, sigma=sigma)
    internal = tuple(name for name in model.named_vars if name.startswith("_"))
    built = tuple(model.named_vars)
    record = ModelRecord(
        design, link, family, resolved, parametrization, predictor, internal, built
    )
    note_record(model, record)
    return model


def _fixed_effects(model: pm.Model, design: Design, priors: Mapping[str, Prior]) -> TensorVariable:
    """Xβ + offset; adds ``beta``. Products are written as sums: numba compiles these fast."""
    matrices = design.matrices
    slopes = [term for term in matrices.terms if term != "Intercept"]
    X = matrices.X[:, [term != "Intercept" for term in matrices.terms]]
    centred = len(slopes) < len(matrices.terms)
    means = X.mean(axis=0) if centred else np.zeros(len(slopes))
    predictor = pt.as_tensor(matrices.offset)
    if centred:
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
    return predictor + ((X - means) * b).sum(axis=1)
