"""A fit from draws that brms, rstanarm, Stan, NumPyro, plain PyMC or another program made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike

from popavg._checks import check_choice
from popavg.design import Design, family_of
from popavg.errors import SpecificationError
from popavg.formula import Formula
from popavg.frames import MissingPolicy
from popavg.links import Link, get_link
from popavg.mixing import NORMAL
from popavg.posterior_tools.agreement import check_agreement, given_values
from popavg.posterior_tools.brms_names import read_brms
from popavg.posterior_tools.draw_mapping import read_mapping
from popavg.posterior_tools.draw_table import DrawTable, read_table
from popavg.posterior_tools.effect_scale import check_effect_scales
from popavg.posterior_tools.foreign import ForeignParameters, foreign_fit
from popavg.posterior_tools.rstanarm_names import read_rstanarm

__all__ = ["PROGRAMS", "from_draws"]

#: Programs whose names are known.
PROGRAMS = ("brms", "rstanarm")


def from_draws(
    draws: Any,
    formula: str,
    data: pd.DataFrame,
    *,
    link: str | Link,
    names: Literal["brms", "rstanarm"] | Mapping[str, Any],
    centred: bool = False,
    chains: int | None = None,
    missing: MissingPolicy = "error",
    eta: str | ArrayLike | None = None,
    log_likelihood: str | ArrayLike | None = None,
    tolerance: float = 1e-4,
) -> xr.DataTree:
    r"""Make a fit from another program's posterior draws: every verb then works on it.

    For Bambi use :func:`popavg.from_bambi`; for coefficients and design matrices without a formula
    :func:`popavg.from_arrays`.

    Parameters
    ----------
    draws : path, DataFrame, list of them, Dataset, DataTree or mapping
        A CSV file (comments ``#``, as CmdStan writes them), or frame with one row for each draw,
        chains told apart by a column ``.chain``; a list with one of them for each chain; a dataset
        or tree with the dims ``chain`` and ``draw``; or a dict of arrays of shape (chains, draws,
        …), as NumPyro's ``mcmc.get_samples(group_by_chain=True)``.
    formula : str
        The model in popavg's formula language, ``"y ~ treatment * time + (1 | patient)"``.
    data : pandas.DataFrame
        The rows that the model was fitted to. The first category of a column is its reference
        level, as in R; text is sorted.
    link : {"logit", "probit", "cloglog", "log", "identity"} or Link
        The model's link; it has no default.
    names : {"brms", "rstanarm"} or mapping
        How the parameters are called; see Notes.
    centred : bool
        The intercept in the draws belongs to centred columns; it is shifted by their means over
        ``data``.
    chains : int, optional
        Chains that are stacked in a frame without a column for them (rstanarm's
        ``as.data.frame``); by default one.
    missing : {"error", "drop"}
        What to do about rows with missing values.
    eta : str or array_like, optional
        The linear predictor with the clusters' effects that the other program computed, shape
        (draws, rows) or (chains, draws, rows), or its name in the draws. The draws must reproduce
        it. Worth giving: it finds every convention of coefficients and clusters' effects that
        names can't tell. The standard deviations don't enter it; see Notes.
    log_likelihood : str or array_like, optional
        The same for the log-likelihood of each row.
    tolerance : float
        Largest difference from them, relative to 1 + \|value\|.

    Returns
    -------
    xarray.DataTree
        As :func:`popavg.fit` returns it, for all verbs and :func:`popavg.save`.

    Raises
    ------
    SpecificationError
        Unknown ``names`` or ``link``, or entries of the mapping that contradict each other.
    FormulaError
        The formula can't be read.
    DataError
        Draws that are NaN or infinite, chains of different length, variables without chains and
        draws, standard deviations that are negative or zero, covariances that aren't positive
        definite or are correlations; terms without draws and draws without a term (both sides are
        named), another reference level, other clusters; a linear predictor that isn't reproduced;
        standard deviations that the draws of the clusters' effects contradict.

    Notes
    -----
    ``names="brms"``: ``b_Intercept``, ``b_x``, ``sd_g__Intercept``, ``cor_g__Intercept__x``,
    ``r_g[1,Intercept]``, ``sigma``; ``Intercept``, which belongs to centred columns, is never
    taken for the intercept. ``names="rstanarm"``: ``(Intercept)``, ``x``,
    ``Sigma[g:(Intercept),(Intercept)]`` (a variance), ``b[(Intercept) g:1]``. R's ``scale()``
    divides by the standard deviation with n - 1, formulae's by that with n: coefficients are
    converted.

    A mapping names variables: ``"beta"`` (one variable in the order of the design's terms, a list,
    or a mapping of terms to names), ``"sigma"``, and for each grouping factor ``g`` one of
    ``"sd_g"``, ``"var_g"``, ``"cov_g"``, ``"chol_g"`` (Σ = LL'); beside ``sd`` or ``var``
    ``"corr_g"`` or ``"chol_corr_g"``; and ``"u_g"`` or, of a non-centred model, ``"z_g"``.
    Labelled axes are put in order by their labels; others are taken in the design's order,
    clusters sorted by value. Where the rows bring them in another order, ``"levels_g"`` (or
    ``eta``) must say which one the draws have.

    Draws u of ten or more clusters' effects are held against their standard deviations: in every
    posterior the mean of (u / sd)² is near 1. Gross contradictions are refused, which finds most
    variances, logarithms or precisions in their place, but not those near 1 nor those that few
    clusters or rows tell little of, see
    :func:`popavg.posterior_tools.effect_scale.check_effect_scales`; without draws of u, with
    ``"z_g"`` alone, with fewer clusters or a fixed standard deviation nothing tells them apart.

    Without draws of the clusters' effects the target ``"sampled"`` isn't available.

    Examples
    --------
    >>> import numpy as np
    >>> import popavg as pa
    >>> rng = np.random.default_rng(1)
    >>> data = pa.load_dataset("toenail")
    >>> draws = {"b": rng.normal(size=(4, 50, 4)) / 9, "tau": 4 + rng.random((4, 50))}
    >>> fit = pa.from_draws(
    ...     draws, "y ~ treatment * time + (1 | patient)", data, link="logit",
    ...     names={"beta": "b", "sd_patient": "tau"},
    ... )
    >>> fit["posterior"]["beta"].dims
    ('chain', 'draw', 'term')
    """
    if not isinstance(names, Mapping):
        check_choice("names", names, PROGRAMS)
    if centred and names == "rstanarm":
        raise SpecificationError(
            "centred=True with names='rstanarm'",
            "rstanarm's '(Intercept)', which it has shifted back already",
            "leave out centred=",
        )
    chosen, parsed = get_link(link), Formula.parse(formula)
    family = family_of(parsed, chosen)
    design = Design.build(parsed, data, family=family, missing=missing)
    table = read_table(draws, chains=chains)
    checked = eta is not None or log_likelihood is not None
    parameters = _parameters(table, design, names, centred=centred, checked=checked)
    source = f"draws of {names}" if isinstance(names, str) else "draws of another program"
    fit = foreign_fit(design, parameters, link=chosen, family=family, source=source)
    if chosen.mixing.name == NORMAL.name:
        check_effect_scales(parameters, design)
    check_agreement(
        parameters,
        design,
        link=chosen,
        family=family,
        eta=given_values(eta, table, design, what="eta"),
        log_likelihood=given_values(log_likelihood, table, design, what="log_likelihood"),
        tolerance=tolerance,
    )
    return fit


def _parameters(
    table: DrawTable,
    design: Design,
    names: str | Mapping[str, Any],
    *,
    centred: bool,
    checked: bool,
) -> ForeignParameters:
    if isinstance(names, Mapping):
        return read_mapping(table, design, names, centred=centred, checked=checked)
    if names == "brms":
        return read_brms(table, design, centred=centred)
    return read_rstanarm(table, design)
