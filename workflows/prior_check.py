"""What the priors of a model imply for the probability of the event, before any data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.design import Design, DesignMatrices
from popavg.errors import SpecificationError
from popavg.families import Family
from popavg.links import Link
from popavg.models.baseline import BASELINE, baseline_of
from popavg.models.default_priors import default_priors, resolve_priors
from popavg.models.prior_draws import prior_draws
from popavg.posterior_tools.along import Along, along
from popavg.posterior_tools.averages import population_average
from popavg.posterior_tools.draw_block import DrawBlock
from popavg.posterior_tools.draws import Need, Posterior
from popavg.posterior_tools.estimates import Estimates
from popavg.posterior_tools.evaluation import evaluate
from popavg.posterior_tools.grid import Varying, cells, names_of, varying_values
from popavg.posterior_tools.newdata import read_rows
from popavg.posterior_tools.outcome import outcome_words
from popavg.posterior_tools.predictions import predictions
from popavg.posterior_tools.prior_check_result import PriorCheck
from popavg.posterior_tools.prior_shape import PriorShape, prior_shape, shape_of
from popavg.posterior_tools.targets import Scale
from popavg.posterior_tools.tree import fit_tree, specify
from popavg.posterior_tools.unique_rows import stacked_rows
from popavg.prior_checks import TOO_WIDE
from popavg.priors import Prior
from popavg.workflows.axes import default_axes
from popavg.workflows.problem import read_design

__all__ = ["prior_check"]

type Floats = NDArray[np.float64]

NOTE = "From draws of the priors: no outcome was used but to scale default priors."


def prior_check(
    formula: str,
    data: pd.DataFrame,
    *,
    link: str | Link,
    priors: Mapping[str, object] | None = None,
    over: str | Mapping[str, Any] | None = None,
    by: Varying = None,
    draws: int = 500,
    seed: int | np.random.Generator = 0,
) -> PriorCheck:
    """Say and show what the priors imply for the population mean, without fitting anything.

    Wide priors on the logit are no modest priors on the probability: Normal(0, σ) with σ² > 2
    favours probabilities near 0 and 1. Look at this before :func:`popavg.fit`.

    Parameters
    ----------
    formula : str
        ``"y ~ x + (1 | g)"``.
    data : pandas.DataFrame
        One row for each observation; left unchanged.
    link : str or Link
        ``logit``, ``probit``, ``cloglog``, ``log`` or ``identity``.
    priors : mapping of str to Prior or str, optional
        Priors in place of the defaults, as :func:`popavg.fit` takes them.
    over : str or mapping, optional
        The covariate along the curves, ``"time"``, or with its values; by default the number with
        most values.
    by : str, sequence of str or mapping, optional
        Covariates that make curves of their own.
    draws : int
        How many draws of the priors; at least 10.
    seed : int or numpy.random.Generator
        Same seed, same draws.

    Returns
    -------
    PriorCheck
        Prints itself; ``.words``, ``.curves`` (draws of the population mean), ``.to_frame()``,
        ``.plot()``, and ``.tree``, the draws as a fit that every other function takes.

    Raises
    ------
    FormulaError, DataError
        What :func:`popavg.fit` raises for this formula and these data.
    SpecificationError
        An unknown link, a prior that doesn't fit its parameter, too few draws, or ``over`` and
        ``by`` that aren't covariates.

    See Also
    --------
    popavg.Prior : How a prior is written.

    Notes
    -----
    Parameters are drawn from their priors one by one; each draw's population mean is integrated
    over the random effects' distribution as for a fit (:func:`popavg.predictions`). Draws of
    standard deviations above 400 times the default prior's scale (1,000 on the logit), where every
    cluster has only events or none, are set to that.

    Examples
    --------
    >>> import popavg as pa
    >>> data = pa.load_dataset("ohio")
    >>> check = pa.prior_check("resp ~ age + (1 | id)", data, link="logit",
    ...                        priors={"Intercept": "Normal(0, 10)"})
    >>> check.words[1].partition(":")[0]
    'The density of that probability is bimodal'
    """
    if not isinstance(draws, int) or draws < 10:
        raise SpecificationError(f"draws={draws!r}", "a whole number from 10 on")
    design, chosen, family = read_design(formula, data, link, missing="error", keep=())
    resolved = resolve_priors(design, family, chosen, priors)
    tree = _prior_tree(design, chosen, family, resolved, draws=draws, seed=seed)
    posterior = Posterior.from_fit(tree)
    axis, apart = _axes(design, over, by)
    scale: Scale = "link" if chosen.name == "log" else "response"
    across = {axis.name: axis.values} if axis is not None else None
    curves = predictions(
        tree, newdata="mean", over=across, by=apart or None, scale=scale, progress=False
    )
    average = predictions(tree, newdata="mean", scale=scale, progress=False)
    row = read_rows(posterior, "mean")
    return PriorCheck(
        curves=_marked(curves),
        average=_marked(average),
        spread=_marked(_spread(posterior, scale)),
        deviations=_marked(_deviations(posterior)),
        shape=_shape(posterior, resolved, design.evaluate(row.frame)),
        priors=resolved,
        row=dict(row.frame.iloc[0].items()),
        axis=axis,
        panels=_panels(apart),
        tree=tree,
    )


def _prior_tree(
    design: Design,
    link: Link,
    family: Family,
    priors: Mapping[str, Prior],
    *,
    draws: int,
    seed: int | np.random.Generator,
) -> xr.DataTree:
    """Draws of the priors in the form of a fit."""
    largest = {
        name: TOO_WIDE * prior.density.scale
        for name, prior in default_priors(design, family, link).items()
        if name.startswith("sd_")
    }
    found = prior_draws(design, link, priors, draws=draws, seed=seed, largest=largest)
    specification = replace(
        specify(design, link, family),
        priors={name: prior.to_dict() for name, prior in priors.items()},
        sampler={
            "method": "prior",
            "seed": seed if isinstance(seed, int) else None,
            "chains": 1,
            "draws": draws,
            "verdict": [NOTE],
        },
    )
    return fit_tree(design, specification, {"posterior": found})


def _axes(
    design: Design, over: str | Mapping[str, Any] | None, by: Varying
) -> tuple[Along | None, dict[str, list[Any]]]:
    apart = varying_values(design, None, by)
    if over is None:
        free = [name for name in names_of(by) if name in design.predictors]
        if len(free) == len(design.predictors):
            if apart:
                raise SpecificationError(
                    f"by names all covariates: {listing(apart)}", "one covariate left for over"
                )
            return None, {}
        over = next(name for name in _candidates(design) if name not in apart)
    axis = along(design, over)
    if axis.name in apart:
        raise SpecificationError(f"over and by are both {axis.name!r}", "two covariates")
    return axis, apart


def _candidates(design: Design) -> Sequence[str]:
    """Covariates, the best for an x axis first."""
    first, _ = default_axes(design)
    return tuple(dict.fromkeys((str(first), *design.predictors)))


def _panels(apart: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
    if not apart:
        return ("",)
    rows = cells(apart).to_dict("records")
    return tuple(", ".join(f"{name}: {_label(value)}" for name, value in r.items()) for r in rows)


def _label(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _marked(estimates: Estimates) -> Estimates:
    """With the note that these are prior draws."""
    return replace(estimates, notes=(*estimates.notes, NOTE))


def _deviations(posterior: Posterior) -> Estimates:
    names, columns = [], []
    for group in posterior.specification.groups:
        sd = posterior.standard_deviations(group.name)
        several = len(group.effects) > 1
        for effect, column in zip(group.effects, sd.T, strict=True):
            names.append(f"sd_{group.name}[{effect}]" if several else f"sd_{group.name}")
            columns.append(column)
    draws = xr.DataArray(np.stack(columns, axis=1)[None], dims=("chain", "draw", "parameter"))
    labels = pd.DataFrame({"parameter": names})
    return Estimates(draws, labels, "standard deviations of the random effects")


def _spread(posterior: Posterior, scale: Scale) -> Estimates:
    matrices, _, _ = stacked_rows([posterior.design.matrices])
    draws = evaluate(posterior, _Spread(matrices, scale), name="range", progress=False)
    words = outcome_words(posterior, scale)
    return Estimates(draws, pd.DataFrame(index=range(1)), f"range over the rows of the {words}")


@dataclass(frozen=True, eq=False)
class _Spread:
    """Largest minus smallest population mean of some rows."""

    matrices: DesignMatrices
    scale: Scale
    needs: tuple[Need, ...] = ()
    n_estimands: int = 1

    @property
    def cells(self) -> int:
        """Numbers that a draw needs."""
        return self.matrices.n_rows

    def __call__(self, block: DrawBlock) -> Floats:
        """Shape (draws, 1). With one variance for all rows the mean rises with the predictor."""
        eta, variance = block.predictor(self.matrices), block.variance(self.matrices)
        if variance.shape[1] == 1:
            eta = np.stack([eta.min(axis=1), eta.max(axis=1)], axis=1)
        what = "link" if self.scale == "link" else "mean"
        means = population_average(eta, np.sqrt(variance), block.link, what)
        return np.ptp(means, axis=1)[:, None]


def _shape(
    posterior: Posterior, priors: Mapping[str, Prior], row: DesignMatrices
) -> PriorShape | None:
    """The density of the probability at a row: one coefficient integrated, the others drawn."""
    link = posterior.link
    if not link.is_probability:
        return None
    if baseline_of(posterior.design, link, priors) is not None:
        return shape_of(priors[BASELINE].log_density)
    block, terms = posterior.block(), row.terms
    eta, variance = block.predictor(row)[:, 0], block.variance(row)[:, 0]
    if "Intercept" in terms:
        means = posterior.design.matrices.X.mean(axis=0)
        prior, weight, drawn = priors["Intercept"], 1.0, block.beta @ means
    else:
        widths = [float(np.ptp(priors[term].quantile([0.25, 0.75]))) for term in terms]
        at = int(np.argmax(np.abs(row.X[0]) * widths))
        prior, weight = priors[terms[at]], float(row.X[0, at])
        if weight == 0:
            return None
        drawn = weight * block.beta[:, at]

    def log_density(values: Floats) -> Floats:
        return prior.log_density(values / weight) - np.log(abs(weight))

    return prior_shape(log_density, eta - drawn, variance, link)
