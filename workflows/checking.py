"""Whether the data can tell what the model asks, before the fit and after it, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popavg.design import Design, family_of, require_groups
from popavg.errors import PopavgError, SeparationError, SpecificationError
from popavg.families import Family
from popavg.formula import Formula
from popavg.frames import MissingPolicy
from popavg.links import Link, get_link
from popavg.models.separation import check_separation
from popavg.posterior_tools.check_result import Check, SDView
from popavg.posterior_tools.cluster_facts import ClusterFacts, cluster_facts
from popavg.posterior_tools.contraction import contraction
from popavg.posterior_tools.data_findings import (
    cluster_findings,
    separation_finding,
    slope_findings,
)
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.findings import Finding, lacking
from popavg.posterior_tools.fit_findings import (
    contraction_finding,
    draw_findings,
    profile_finding,
    sensitivity_findings,
)
from popavg.posterior_tools.integrated_design import IntegratedDesign
from popavg.posterior_tools.log_prior import fit_priors, sd_prior_names
from popavg.posterior_tools.sd_profile import Start, profile_grid, sd_profile
from popavg.posterior_tools.sensitivity import Sensitivity, integrable, sensitivity
from popavg.priors import Prior
from popavg.response import read_response

__all__ = ["check"]

#: How far the likelihood is looked at, in units of the link's tolerance distribution.
LOWEST, HIGHEST = 0.02, 30.0
#: Outcomes from which on the likelihood is looked at in half as many points; so it is where the
#: integrals have two dimensions.
MANY = 200_000


def check(
    model: str | xr.DataTree,
    data: pd.DataFrame | None = None,
    *,
    link: str | Link | None = None,
    missing: MissingPolicy = "error",
    progress: bool = True,
) -> Check:
    """Say what the data can tell and what the prior has to: before a fit, or of a fit.

    Parameters
    ----------
    model : str or xarray.DataTree
        A formula, ``"y ~ x + (1 | g)"``, before the fit; or a fit of :func:`popavg.fit`.
    data : pandas.DataFrame, optional
        With a formula: one row for each observation.
    link : str or Link, optional
        With a formula: ``logit``, ``probit``, ``cloglog``, ``log`` or ``identity``.
    missing : {"error", "drop"}
        With a formula: what to do with rows that have missing values.
    progress : bool
        Show a bar from two seconds on.

    Returns
    -------
    Check
        Prints as findings, each with a number, a verdict, what it means and what to do;
        ``to_frame()``, ``plot()``, HTML in notebooks.

    Raises
    ------
    SpecificationError
        A formula without link or data, or a fit with any; neither a formula nor a fit.
    FormulaError, DataError
        See :func:`popavg.fit`. One row per cluster or a single cluster is a finding here.

    See Also
    --------
    popavg.prior_check : What priors imply for the probability of the event.

    Notes
    -----
    Of the data: clusters, rows per cluster, clusters with one observation, clusters whose outcomes
    are all equal, random slopes of covariates whose 0 is far away, separation of the fixed effects
    by a linear programme (Konis 2007). Of a fit in addition: contraction of each standard
    deviation's prior, its profile likelihood with the random effects integrated out, and the
    power-scaling sensitivity of conditional and of population-averaged numbers (Kallioinen et al.
    2024), computed for one grouping factor with one or two effects. Thresholds: 40 clusters, 80 %
    concordant, sensitivity 0.05.

    Examples
    --------
    >>> import popavg as pa
    >>> formula = "p(incidence, size) ~ period + (1 | herd)"
    >>> found = pa.check(formula, pa.load_dataset("cbpp"), link="logit")
    >>> found.to_frame()[["finding", "number", "verdict"]].iloc[0].to_list()
    ["clusters of 'herd'", '15', 'look']
    """
    if isinstance(model, str):
        design, chosen, family = _read(model, data, link, missing)
        findings, facts = _before(design, chosen, family)
        return Check(tuple(findings), facts)
    if not isinstance(model, xr.DataTree):
        raise SpecificationError(
            f"an object of type {type(model).__name__} came",
            "a formula with data and link, or a fit of pa.fit",
        )
    given = [name for name, value in (("data", data), ("link", link)) if value is not None]
    if given:
        raise SpecificationError(
            f"{' and '.join(given)} given together with a fit", "the fit alone: it has its own"
        )
    posterior = Posterior.from_fit(model)
    findings, facts = _before(posterior.design, posterior.link, posterior.family)
    priors = _priors(posterior)
    known: Mapping[str, Prior] = {} if isinstance(priors, Finding) else priors
    found, views = _standard_deviations(posterior, known, progress=progress)
    moving, table = (
        ([priors], None) if isinstance(priors, Finding) else _sensitivity(model, progress)
    )
    verdict = posterior.specification.sampler.get("verdict", ())
    findings += [*draw_findings(verdict), *found, *moving]
    facts["standard_deviations"] = {view.name: _sd_facts(view) for view in views}
    return Check(tuple(findings), facts, table, tuple(views))


def _read(
    formula: str, data: pd.DataFrame | None, link: str | Link | None, missing: MissingPolicy
) -> tuple[Design, Link, Family]:
    """The formula joined to the data; one row per cluster or one cluster is allowed here."""
    if link is None or data is None:
        raise SpecificationError(
            f"a formula without {'data' if data is None else 'a link'}",
            "a formula, data and a link: logit, probit, cloglog, log or identity",
            "write pa.check(formula, data, link='logit')",
        )
    parsed, chosen = Formula.parse(formula), get_link(link)
    require_groups(parsed)
    family = family_of(parsed, chosen)
    right = Formula.parse("~" + parsed.text.partition("~")[2], one_sided=True)
    design = Design.build(
        right, data, family=family, missing=missing, extra=parsed.response_columns
    )
    response = read_response(parsed.response, design.frame, family.name)
    return replace(design, formula=parsed, response=response), chosen, family


def _before(design: Design, link: Link, family: Family) -> tuple[list[Finding], dict[str, Any]]:
    """Findings about the data, and the facts that they are made from."""
    facts: dict[str, Any] = {
        "formula": design.formula.text,
        "link": link.name,
        "family": family.name,
        "rows": design.matrices.n_rows,
        "clusters": {},
    }
    findings: list[Finding] = []
    if not design.response.is_given:
        findings.append(lacking("before", "the outcome", "the fit has no outcome"))
    for found in _clusters(design, link) if design.response.is_given else ():
        findings += cluster_findings(found, family=family.name)
        facts["clusters"][found.name] = asdict(found) | {"concordant_share": found.concordant_share}
    for group in design.matrices.groups:
        findings += slope_findings(group.name, group.effects, group.Z)
    if design.response.is_given and not family.has_scale:
        facts["separation"] = _separation(design, family)
        findings.append(separation_finding(facts["separation"], design.response.label))
    return findings, facts


def _clusters(design: Design, link: Link) -> list[ClusterFacts]:
    response = design.response
    return [
        cluster_facts(
            group.name, group.index, response.y, trials=response.trials, binary=link.is_probability
        )
        for group in design.matrices.groups
    ]


def _separation(design: Design, family: Family) -> str | None:
    response, matrices = design.response, design.matrices
    try:
        check_separation(
            matrices.X, response.y, response.trials, matrices.terms,
            counts=family.name == "poisson",
        )  # fmt: skip
    except SeparationError as error:
        return error.came
    return None


def _standard_deviations(
    posterior: Posterior, priors: Mapping[str, Prior], *, progress: bool
) -> tuple[list[Finding], list[SDView]]:
    """Contraction and profile of every standard deviation."""
    findings: list[Finding] = []
    integrated = _integrated(posterior)
    if isinstance(integrated, Finding):
        findings.append(integrated)
    views = []
    for group in posterior.design.matrices.groups:
        draws = posterior.standard_deviations(group.name)
        for k, name in enumerate(sd_prior_names(group)):
            view = SDView(name, draws[:, k], priors.get(name))
            if view.prior is not None:
                findings.append(contraction_finding(name, contraction(view.draws, view.prior)))
            if isinstance(integrated, IntegratedDesign):
                finding, view = _profiled(posterior, integrated, view, k, progress=progress)
                findings.append(finding)
            views.append(view)
    return findings, views


def _priors(posterior: Posterior) -> dict[str, Prior] | Finding:
    try:
        return fit_priors(posterior)
    except SpecificationError as error:
        name = "contraction and power-scaling sensitivity"
        return lacking("after", name, error.came, f"{_said(error.remedy)}.")


def _integrated(posterior: Posterior) -> IntegratedDesign | Finding:
    try:
        return integrable(posterior)
    except PopavgError as error:
        advice = "Compare fits with a wider and a narrower prior of each standard deviation."
        return lacking("after", "likelihood of the standard deviations", error.came, advice)


def _profiled(
    posterior: Posterior,
    integrated: IntegratedDesign,
    view: SDView,
    effect: int,
    *,
    progress: bool,
) -> tuple[Finding, SDView]:
    """The view with its profile, and what that says."""
    link, Z = posterior.link, integrated.group.Z[:, effect]
    grows = link.is_probability and bool((Z == 1.0).all())
    start, grid = _begin(posterior, integrated, view, effect)
    try:
        profile = sd_profile(
            integrated, start, grid, effect=effect, name=view.name, progress=progress
        )
    except PopavgError as error:
        return lacking("after", f"likelihood of {view.name}", error.came, error.remedy), view
    finding = profile_finding(profile, link.tolerance_sd if grows else None)
    return finding, replace(view, profile=profile)


def _begin(
    posterior: Posterior, integrated: IntegratedDesign, view: SDView, effect: int
) -> tuple[Start, NDArray[np.float64]]:
    """The posterior's means, and the standard deviations to look at."""
    group, link = integrated.group, posterior.link
    reach = max(float(np.abs(group.Z[:, effect]).max()), 1e-300)
    unit = (link.tolerance_sd if link.is_probability else 1.0) / reach
    if posterior.family.has_scale:
        unit = float(posterior.design.response.y.std()) / reach
    arrays, sds = posterior.arrays(), posterior.standard_deviations(group.name)
    correlation = arrays.get(f"corr_{group.name}")
    sigma = posterior.data["sigma"] if posterior.family.has_scale else None
    start = Start(
        posterior.beta.mean(axis=0),
        np.atleast_2d(np.cov(posterior.beta.T)),
        np.exp(np.log(np.maximum(sds, 1e-6)).mean(axis=0)),
        None if correlation is None else float(correlation[..., 0, 1].mean()),
        None if sigma is None else float(sigma.mean()),
    )
    grid = profile_grid(view.draws, LOWEST * unit, HIGHEST * unit)
    costly = len(integrated.outcomes.data.row) > MANY or len(group.effects) > 1
    return start, grid[::2] if costly else grid


def _sensitivity(fit: xr.DataTree, progress: bool) -> tuple[list[Finding], Sensitivity | None]:
    name = "power-scaling sensitivity"
    try:
        found = sensitivity(fit, progress=progress)
    except PopavgError as error:
        return [lacking("after", name, error.came, f"{_said(error.remedy)}.")], None
    notes = [lacking("after", name, note) for note in found.notes]
    return [*sensitivity_findings(found), *notes], found


def _sd_facts(view: SDView) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if view.prior is not None:
        facts |= asdict(contraction(view.draws, view.prior))
    if view.profile is not None:
        facts |= {"maximum": view.profile.best, "likelihood_interval": view.profile.interval}
    return facts


def _said(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".")
