"""What is to be fitted: the model and its data, before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from popavg.design import Design, family_of, require_groups
from popavg.errors import SpecificationError
from popavg.families import Family
from popavg.formula import Formula
from popavg.frames import MissingPolicy
from popavg.links import Link, get_link
from popavg.models.default_priors import resolve_priors
from popavg.priors import Prior

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import pymc as pm

    from popavg.models.random_effects import Parametrization
    from popavg.models.record import LikelihoodForm

__all__ = ["Problem", "problem_of_formula", "problem_of_model", "read_design"]


@dataclass(frozen=True, eq=False)
class Problem:
    """A model and its data.

    Attributes
    ----------
    design : popavg.design.Design
        The formula joined to the data.
    link : popavg.links.Link
        The link.
    family : popavg.families.Family
        The response's distribution.
    priors : mapping of str to Prior
        Every parameter's prior, defaults included.
    parametrization : str
        What the latent model samples.
    model : pymc.Model or None
        The user's, with additions; None where a formula came.
    """

    design: Design
    link: Link
    family: Family
    priors: Mapping[str, Prior]
    parametrization: Parametrization = "noncentered"
    model: pm.Model | None = None

    def build(self, likelihood: LikelihoodForm) -> pm.Model:
        """The PyMC model: the user's where there is one."""
        from popavg.models.build import build_model

        if self.model is not None:
            return self.model
        latent = likelihood == "latent"
        return build_model(
            self.design,
            link=self.link,
            family=self.family,
            priors=self.priors,
            parametrization=self.parametrization if latent else "noncentered",
            likelihood=likelihood,
        )


def problem_of_model(model: Any) -> Problem:
    """What a builder noted about its model.

    Parameters
    ----------
    model : pymc.Model
        From :mod:`popavg.models.glmm`.

    Raises
    ------
    SpecificationError
        It isn't a model, or one from somewhere else.
    """
    from popavg.models.record import model_record

    record = model_record(model)
    return Problem(
        record.design, record.link, record.family, record.priors, record.parametrization, model
    )  # fmt: skip


def problem_of_formula(
    formula: str,
    data: pd.DataFrame | None,
    link: str | Link | None,
    *,
    priors: Mapping[str, object] | None,
    parametrization: Parametrization,
    missing: MissingPolicy,
    keep: Sequence[str],
) -> Problem:
    """The formula joined to the data, and every parameter's prior.

    Raises
    ------
    FormulaError, DataError, SpecificationError
        What :func:`popavg.fit` raises for this formula, data, link and priors.
    """
    design, chosen, family = read_design(formula, data, link, missing=missing, keep=keep)
    resolved = resolve_priors(design, family, chosen, priors)
    return Problem(design, chosen, family, resolved, parametrization)


def read_design(
    formula: str,
    data: pd.DataFrame | None,
    link: str | Link | None,
    *,
    missing: MissingPolicy,
    keep: Sequence[str],
) -> tuple[Design, Link, Family]:
    """All of a fit that needs no draws: the formula joined to the data, link and family.

    Raises
    ------
    FormulaError, DataError, SpecificationError
        What :func:`popavg.fit` raises for this formula, data and link.
    """
    if link is None:
        raise SpecificationError(
            "no link was given",
            "logit, probit, cloglog (an event), log (a count), identity (a value)",
            "say link='logit' for odds, link='probit' for a normal tolerance",
        )
    chosen = get_link(link)
    parsed = Formula.parse(formula)
    require_groups(parsed)
    if data is None:
        raise SpecificationError("no data were given", "a DataFrame", "write pa.fit(formula, data)")
    family = family_of(parsed, chosen)
    return Design.build(parsed, data, family=family, missing=missing, extra=keep), chosen, family
