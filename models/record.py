"""What a builder knows about its model, kept beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pymc as pm
from pytensor.tensor.variable import TensorVariable

from popavg.design import Design
from popavg.errors import SpecificationError
from popavg.families import Family
from popavg.links import Link
from popavg.priors import Prior

if TYPE_CHECKING:
    from popavg.models.random_effects import Parametrization

__all__ = ["LikelihoodForm", "ModelRecord", "additions", "model_record", "note_record"]

LikelihoodForm = Literal["latent", "integrated"]

_ATTRIBUTE = "popavg"


@dataclass(frozen=True)
class ModelRecord:
    """What a builder knows about its model and a :class:`pymc.Model` doesn't.

    Attributes
    ----------
    design : popavg.design.Design
        The formula joined to the data.
    link : popavg.links.Link
        The link.
    family : popavg.families.Family
        The response's distribution.
    priors : dict of str to Prior
        Every parameter's prior, defaults included.
    parametrization : str
        ``"noncentered"`` or ``"centered"``.
    predictor : TensorVariable, shape (obs,)
        The linear predictor, for those who add to the model; without the random effects where
        these are integrated out.
    internal : tuple of str
        Variables that exist for the sampler's sake and aren't results.
    built : tuple of str
        All variables that the builder made; others are the user's.
    likelihood : str
        ``"latent"`` or ``"integrated"``.
    """

    design: Design
    link: Link
    family: Family
    priors: dict[str, Prior]
    parametrization: Parametrization
    predictor: TensorVariable
    internal: tuple[str, ...]
    built: tuple[str, ...]
    likelihood: LikelihoodForm = "latent"


def note_record(model: pm.Model, record: ModelRecord) -> None:
    """Keep a record beside its model.

    Parameters
    ----------
    model : pymc.Model
        A builder's model.
    record : ModelRecord
        What the builder knows.
    """
    vars(model)[_ATTRIBUTE] = record


def additions(model: pm.Model) -> tuple[str, ...]:
    """Names of the variables and potentials that the user added to a builder's model.

    Examples
    --------
    >>> import popavg as pa, pymc as pm
    >>> from popavg.models.record import additions
    >>> with pa.models.logit_glmm("resp ~ age + (1 | id)", pa.load_dataset("ohio")) as model:
    ...     _ = pm.Normal("extra")
    >>> additions(model)
    ('extra',)
    """
    known = set(model_record(model).built)
    return tuple(name for name in model.named_vars if name not in known)


def model_record(model: pm.Model) -> ModelRecord:
    """What the builder noted about a model.

    Parameters
    ----------
    model : pymc.Model
        A model of :mod:`popavg.models.glmm`, added to or not.

    Returns
    -------
    ModelRecord
        Design, link, family, priors, predictor, internal names.

    Raises
    ------
    SpecificationError
        The model comes from somewhere else.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.models.record import model_record
    >>> model = pa.models.logit_glmm("resp ~ age + (1 | id)", pa.load_dataset("ohio"))
    >>> model_record(model).internal
    ('_intercept', '_slopes', '_z_id')
    """
    record = vars(model).get(_ATTRIBUTE)
    if not isinstance(record, ModelRecord):
        raise SpecificationError(
            "the PyMC model wasn't built by popavg, so that its design isn't known",
            "a model of popavg.models.glmm, logit_glmm, probit_glmm or glm, added to or not",
            "build it there and add to it inside 'with model:'",
        )
    return record
