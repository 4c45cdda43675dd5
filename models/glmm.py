"""Builders of generalised linear (mixed) models in PyMC."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pymc as pm

from popavg.design import Design, family_of, require_groups
from popavg.errors import FormulaError, SpecificationError
from popavg.families import Family
from popavg.formula import Formula
from popavg.frames import MissingPolicy
from popavg.links import Link, get_link
from popavg.models.build import build_model
from popavg.models.random_effects import Parametrization
from popavg.models.record import LikelihoodForm

__all__ = [
    "glm",
    "glmm",
    "logit_glmm",
    "probit_glmm",
]


def glmm(
    formula: str,
    data: pd.DataFrame,
    *,
    link: str | Link,
    family: Family | None = None,
    priors: Mapping[str, object] | None = None,
    parametrization: Parametrization = "noncentered",
    likelihood: LikelihoodForm = "latent",
    missing: MissingPolicy = "error",
) -> pm.Model:
    """Build a mixed model with normal random effects.

    The result is an ordinary :class:`pymc.Model`: open its context, add to it, sample it, or hand
    it to ``popavg.fit``. For a model without random effects use :func:`glm`.

    Parameters
    ----------
    formula : str
        ``"y ~ x + (1 | g)"``: formulae's language with at least one grouping term.
    data : pandas.DataFrame
        One row for each observation; left unchanged.
    link : str or Link
        ``logit``, ``probit``, ``cloglog``, ``log`` or ``identity``; there is no default.
    family : Family, optional
        By default what the link and the response make it: Bernoulli, binomial, Poisson, Gaussian.
    priors : mapping of str to Prior or str, optional
        Priors by parameter in place of the defaults: ``"Intercept"`` (at the covariates' means),
        a term, ``"beta"`` (all slopes), ``"sd_<group>"``, ``"corr_<group>"``, ``"sigma"``; as text
        ``"Normal(0, 1)"`` or ``"P(sd > 3) = 0.05"``, as a :class:`popavg.Prior` or a PreliZ
        distribution. ``"baseline"`` in place of ``"Intercept"``: the population mean at the
        average row, for random intercepts and the probit, log or identity link.
    parametrization : {"noncentered", "centered"}
        What is sampled for the random effects; centred is faster where clusters are large.
    likelihood : {"latent", "integrated"}
        Whether the random effects are sampled, or integrated out of the likelihood: exact and
        many times faster, for one grouping factor with one or two effects. The parameters,
        priors and names are the same; there is no ``u_g``.
    missing : {"error", "drop"}
        What to do with rows that have missing values in a used column.

    Returns
    -------
    pymc.Model
        With ``beta`` (dim ``term``) on the data's own scale and for each grouping factor ``g``:
        ``sd_g`` (``effect_g``), ``corr_g`` (``effect_g``, ``effect_g_other``) where there are
        several effects, ``u_g`` (``g``, ``effect_g``); ``sigma`` for a Gaussian; the response
        ``y`` (``obs``).

    Raises
    ------
    FormulaError
        The formula can't be read, or has no grouping term.
    DataError
        The data don't fit it.
    SpecificationError
        An unknown link, family, parametrization, or a prior that doesn't fit its parameter;
        random effects that can't be integrated out.

    Notes
    -----
    g(E[y | u]) = Xβ + offset + Σ_g Z_g u_g, u_g ~ N(0, Σ_g). Where there
    is an intercept, the other columns of X are centred inside and β is what it would be without:
    β_0 = α − Σ_k x̄_k β_k; the sampler then meets an intercept and slopes that hardly depend on
    each other. Names that begin with ``_`` are the sampler's own.

    With ``likelihood="integrated"`` the log density of ``y`` is one number,
    Σ_i log ∫ ∏_j p(y_ij | η_ij + z_ij'u) dN(u; 0, Σ), an ordinary node with a gradient: add
    priors, potentials and deterministics as to any model. What it costs stands in
    :func:`popavg.models.integrated.integrated_log_likelihood`, which is also there for predictors
    that no formula gives. Draws of ``y`` (prior and posterior predictive) are of new clusters
    with the same rows; ``pm.compute_log_likelihood`` gives the total. There is no Hessian.

    Examples
    --------
    >>> import popavg as pa
    >>> model = pa.models.glmm("resp ~ age + (1 | id)", pa.load_dataset("ohio"), link="cloglog")
    >>> [variable.name for variable in model.deterministics]
    ['beta', 'u_id']
    """
    require_groups(Formula.parse(formula))
    return _build(
        formula, data, link=link, family=family, priors=priors, parametrization=parametrization,
        likelihood=likelihood, missing=missing,
    )  # fmt: skip


def logit_glmm(
    formula: str,
    data: pd.DataFrame,
    *,
    priors: Mapping[str, object] | None = None,
    parametrization: Parametrization = "noncentered",
    missing: MissingPolicy = "error",
) -> pm.Model:
    """Build a mixed model for an event with the logit link: :func:`glmm` with ``link="logit"``.

    Parameters
    ----------
    formula : str
        As in :func:`glmm`.
    data : pandas.DataFrame
        As in :func:`glmm`.
    priors : mapping of str to Prior, optional
        As in :func:`glmm`.
    parametrization : {"noncentered", "centered"}
        As in :func:`glmm`.
    missing : {"error", "drop"}
        As in :func:`glmm`.

    Returns
    -------
    pymc.Model
        As :func:`glmm`.

    Raises
    ------
    PopavgError
        As :func:`glmm`.

    Examples
    --------
    >>> import popavg as pa
    >>> model = pa.models.logit_glmm("resp ~ age + (1 | id)", pa.load_dataset("ohio"))
    >>> model.coords["term"]
    ('Intercept', 'age')
    """
    return glmm(
        formula, data, link="logit", priors=priors, parametrization=parametrization,
        missing=missing,
    )  # fmt: skip


def probit_glmm(
    formula: str,
    data: pd.DataFrame,
    *,
    priors: Mapping[str, object] | None = None,
    parametrization: Parametrization = "noncentered",
    missing: MissingPolicy = "error",
) -> pm.Model:
    """Build a mixed model for an event with the probit link: :func:`glmm` with ``link="probit"``.

    Parameters
    ----------
    formula : str
        As in :func:`glmm`.
    data : pandas.DataFrame
        As in :func:`glmm`.
    priors : mapping of str to Prior, optional
        As in :func:`glmm`.
    parametrization : {"noncentered", "centered"}
        As in :func:`glmm`.
    missing : {"error", "drop"}
        As in :func:`glmm`.

    Returns
    -------
    pymc.Model
        As :func:`glmm`.

    Raises
    ------
    PopavgError
        As :func:`glmm`.

    Examples
    --------
    >>> import popavg as pa
    >>> model = pa.models.probit_glmm("resp ~ age + (1 | id)", pa.load_dataset("ohio"))
    >>> model["u_id"].name
    'u_id'
    """
    return glmm(
        formula, data, link="probit", priors=priors, parametrization=parametrization,
        missing=missing,
    )  # fmt: skip


def glm(
    formula: str,
    data: pd.DataFrame,
    *,
    link: str | Link,
    family: Family | None = None,
    priors: Mapping[str, object] | None = None,
    missing: MissingPolicy = "error",
) -> pm.Model:
    """Build a model without random effects; for clustered data use :func:`glmm`.

    Parameters
    ----------
    formula : str
        As in :func:`glmm`, without grouping terms.
    data : pandas.DataFrame
        As in :func:`glmm`.
    link : str or Link
        As in :func:`glmm`.
    family : Family, optional
        As in :func:`glmm`.
    priors : mapping of str to Prior, optional
        As in :func:`glmm`.
    missing : {"error", "drop"}
        As in :func:`glmm`.

    Returns
    -------
    pymc.Model
        With ``beta`` (dim ``term``), ``sigma`` for a Gaussian, and the response ``y`` (``obs``).

    Raises
    ------
    FormulaError
        The formula can't be read, or has a grouping term.
    DataError
        The data don't fit it.
    SpecificationError
        An unknown link or family, or a prior that doesn't fit its parameter.

    Examples
    --------
    >>> import popavg as pa
    >>> model = pa.models.glm("resp ~ age", pa.load_dataset("ohio"), link="logit")
    >>> [variable.name for variable in model.free_RVs]
    ['_intercept', '_slopes']
    """
    parsed = Formula.parse(formula)
    if parsed.group_terms:
        raise FormulaError(
            f"the formula '{parsed.text}' has a grouping term",
            "fixed effects only",
            "use popavg.models.glmm for a mixed model",
        )
    return _build(
        formula, data, link=link, family=family, priors=priors, parametrization="noncentered",
        likelihood="latent", missing=missing,
    )  # fmt: skip


def _build(
    formula: str,
    data: pd.DataFrame,
    *,
    link: str | Link,
    family: Family | None,
    priors: Mapping[str, object] | None,
    parametrization: Parametrization,
    likelihood: LikelihoodForm,
    missing: MissingPolicy,
) -> pm.Model:
    found = get_link(link)
    implied = family_of(formula, found)
    if family is not None and family.name != implied.name:
        raise SpecificationError(
            f"family={family!r} doesn't go with link={found.name!r} and this response",
            repr(implied.name),
            "leave family out",
        )
    design = Design.build(formula, data, family=implied, missing=missing)
    return build_model(
        design, link=found, family=implied, priors=priors, parametrization=parametrization,
        likelihood=likelihood,
    )  # fmt: skip
