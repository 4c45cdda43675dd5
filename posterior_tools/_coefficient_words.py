"""What population-averaged coefficients are worth, in sentences."""

from __future__ import annotations

from numbers import Real

import numpy as np
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.projection_design import ProjectionDesign

__all__ = ["attenuation_words", "misfit_words"]

Floats = NDArray[np.float64]

#: Misfit above which coefficients don't describe the curve: the largest difference of
#: probabilities; of other means this difference as a share of the mean.
NOTICEABLE_MISFIT = 0.02
NOTICEABLE_SHARE = 0.05
#: Differences that are rounding.
_ROUNDING = 1e-8
#: Terms whose attenuation is named.
_MOST = 8


def attenuation_words(posterior: Posterior, ratio: Floats) -> tuple[str, ...]:
    """The ratios β̃/β of the terms, (draws, terms), by their medians.

    Nothing of a model without random effects, whose ratios are 1, nor of terms without a ratio.
    """
    if not posterior.specification.groups:
        return ()
    terms = posterior.design.matrices.terms
    known = np.flatnonzero(np.isfinite(ratio).all(axis=0))
    if not known.size:
        return ()
    middle = np.median(ratio[:, known], axis=0)
    if np.abs(ratio[:, known] - 1.0).max() < _ROUNDING:
        return ("Attenuation β̃/β: 1 for every term, the coefficients are the conditional ones.",)
    named = [f"{terms[i]} {value:.3g}" for i, value in zip(known, middle, strict=True)]
    more = f" and {len(named) - _MOST} more" if len(named) > _MOST else ""
    return (
        f"Attenuation β̃/β (posterior median): {', '.join(named[:_MOST])}{more}; see .attenuation.",
    )


def misfit_words(posterior: Posterior, rows: ProjectionDesign, misfit: Floats) -> tuple[str, ...]:
    """How far the population's means are from the marginal model, and where, and why.

    Parameters
    ----------
    posterior : Posterior
        The fit.
    rows : ProjectionDesign
        Where they were compared.
    misfit : numpy.ndarray, shape (draws, 4)
        As :data:`popavg.posterior_tools._coefficient_question.MISFIT`.
    """
    if not posterior.specification.groups:
        return ()
    largest, square, row, mean = misfit.T
    size, shares = float(largest.mean()), np.zeros_like(largest)
    np.divide(largest, np.abs(mean), out=shares, where=mean != 0.0)
    share, model = float(shares.mean()), f"{posterior.link.name}⁻¹(x'β̃)"
    if max(size, share) < _ROUNDING:
        return (f"Misfit: none, the population curve is exactly {model} over these rows.",)
    if posterior.link.is_probability:
        noticeable, words = size >= NOTICEABLE_MISFIT, f"{size:.2g} (probability)"
    else:
        noticeable, words = share >= NOTICEABLE_SHARE, f"{size:.2g} ({share:.1%} of the mean there)"
    place = _place(rows, row)
    if not noticeable:
        return (
            f"Misfit: the population curve is at most {words} away from {model}{place}, in root "
            f"mean square {square.mean():.2g}; see .misfit.",
        )
    return (
        f"Misfit: no marginal coefficients describe the population curve, which is up to {words} "
        f"away from {model}{place}{_slopes(posterior)}. Describe it by pa.predictions rather than "
        "by coefficients.",
    )


def _place(rows: ProjectionDesign, row: Floats) -> str:
    worst = rows.covariates.iloc[int(np.bincount(row.astype(int)).argmax())]
    place = ", ".join(f"{name} = {_short(value)}" for name, value in worst.items())
    return f", most often at {place}" if place else ""


def _slopes(posterior: Posterior) -> str:
    """Why: random slopes, where there are any."""
    slopes = [
        f"{effect} | {group.name}"
        for group in posterior.specification.groups
        for effect in group.effects
        if effect != "Intercept"
    ]
    if not slopes:
        return ""
    several = len(slopes) > 1
    return (
        f": with the random slope{'s' * several} {listing(slopes, 4)} the spread of the clusters, "
        "and with it the attenuation, changes along the curve"
    )


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, Real) else repr(value)
