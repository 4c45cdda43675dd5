"""Draws of the clusters' effects have the spread that the drawn standard deviations say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from popavg.design import Design
from popavg.errors import DataError
from popavg.posterior_tools.foreign import ForeignParameters

__all__ = ["check_effect_scales"]

type Floats = NDArray[np.float64]

#: Fewest clusters, and the largest factor between mean squares that passes.
_FEWEST, _FACTOR = 10, 2.5
#: Mean squares of one draw above this count as this: in a posterior there are none, of ten clusters
#: or more (chi squared); of other numbers they'd make the mean over the draws too uncertain.
_CAP = 5.0
#: What a prior may do to a sum of J squares, and simulation errors of the mean over the draws.
_PRIOR, _ERRORS = 6.0, 4.0
#: A reading whose mean square is within this factor of 1 is named in the message.
_FITS = 1.6
_REMEDY = "name variances 'var_…', standardised effects 'z_…'; transform logarithms first"


def check_effect_scales(
    parameters: ForeignParameters, design: Design, *, remedy: str = _REMEDY
) -> None:
    """Standard deviations aren't grossly other numbers than those the clusters' effects have.

    Finds variances, logarithms or precisions in the place of standard deviations, which no linear
    predictor shows: it has the effects in it, but not their scale.

    Parameters
    ----------
    parameters : ForeignParameters
        Draws in the design's order; factors without draws of their effects are passed over.
    design : Design
        Formula and data.
    remedy : str
        How the caller's arguments say which numbers the draws are, for the message.

    Raises
    ------
    DataError
        The mean over draws and clusters of (u / sd)² is below 0.4 or above 2.5, by more than few
        clusters, few draws and the prior explain.

    Notes
    -----
    With π the prior density of log sd and J clusters, integration by parts over the posterior gives

        E Σ_j (u_j / sd)² = J - E[d log π / d log sd],

    whatever the data, their number in a cluster and the shrinkage, for sd is drawn together with u.
    The last term is at most 1 for half-normal, half-t, exponential and uniform priors, a for a
    gamma prior of shape a, and large only where a narrow prior contradicts the data. So the mean
    square is 1 to about 1 / J (with correlated effects the same holds of the matrix). Refused are
    factors beyond 2.5 that 6 / J and four simulation errors don't cover: a standard deviation
    between 0.63 and 1.6 is too near its square to be told from it. Nothing is checked with fewer
    than 10 clusters, where sd is the same in all draws (then the identity doesn't hold) or all u
    are 0, and where u = z sd was computed from standardised effects (then it always holds).

    A passed check is no proof. In simulated exact posteriors (half-normal prior of scale 2, one
    normal observation of each u) none of 3,200 right ones was refused; of variances named sd
    nearly all were at an sd of 0.3, and at an sd of 2, with noise of a tenth of sd, 21 of 40 with
    10 clusters and 39 of 40 with 50; with noise of twice sd 1 and 8 of 40.

    Examples
    --------
    >>> import numpy as np
    >>> import popavg as pa
    >>> from popavg.posterior_tools.draws import Posterior
    >>> from popavg.posterior_tools.effect_scale import check_effect_scales
    >>> from popavg.posterior_tools.foreign import ForeignParameters
    >>> rng = np.random.default_rng(1)
    >>> sd = 4 + 0.2 * rng.normal(size=(4, 50, 1))
    >>> u = sd[:, :, None] * rng.normal(size=(4, 50, 294, 1))
    >>> design = Posterior.from_fit(pa.load_example()).design
    >>> drawn = ForeignParameters(np.zeros((4, 50, 4)), {"patient": sd}, {}, {"patient": u})
    >>> check_effect_scales(drawn, design)
    """
    for group in design.matrices.groups:
        effects = parameters.effects.get(group.name)
        if effects is None or effects.shape[2] < _FEWEST:
            continue
        squares = np.einsum("cdjk,cdjk->cdk", effects, effects) / effects.shape[2]
        for k, effect in enumerate(group.effects):
            sd = parameters.sd[group.name][..., k]
            if np.ptp(sd) == 0.0 or not squares[..., k].any():
                continue
            ratio = squares[..., k] / sd**2
            if _is_off(ratio, effects.shape[2]):
                raise _refused(f"{effect!r} | {group.name!r}", squares[..., k], sd, remedy)


def _is_off(ratio: Floats, clusters: int) -> bool:
    """Whether its mean is beyond what chance and priors explain; ``ratio`` is (chains, draws)."""
    capped = np.minimum(ratio, _CAP)
    mean = float(capped.mean())
    room = _PRIOR / clusters + _ERRORS * _error(capped)
    return (mean < 1.0 / _FACTOR and mean < 1.0 - room) or (mean > _FACTOR and mean > 1.0 + room)


def _error(ratio: Floats) -> float:
    """Simulation error of the mean, from halves of the chains where draws are dependent."""
    half = max(ratio.shape[1] // 2, 1)
    parts = [part.mean(axis=1) for part in (ratio[:, :half], ratio[:, half:]) if part.size]
    means = np.concatenate(parts)
    independent = float(ratio.std()) / ratio.size**0.5
    return max(independent, float(means.std()) / len(means) ** 0.5)


def _refused(name: str, square: Floats, sd: Floats, remedy: str) -> DataError:
    with np.errstate(over="ignore", under="ignore"):
        readings = {
            "variances": sd,
            "logarithms of standard deviations": np.exp(2.0 * sd),
            "precisions": 1.0 / sd,
            "square roots of standard deviations (SDs named as variances)": sd**4,
            "right, but the effects standardised": np.ones_like(sd),
        }
        found = {reading: float((square / v).mean()) for reading, v in readings.items()}
    sizes = {r: abs(np.log(m)) for r, m in found.items() if np.isfinite(m) and m > 0.0}
    best = min(sizes, key=sizes.__getitem__, default="")
    fits = bool(sizes) and sizes[best] < np.log(_FITS)
    told = (
        f"they would fit if they were {best} (then it is {found[best]:.2g})"
        if fits
        else "nor are they variances, logarithms or precisions; the effects may not be normal "
        "with mean 0, or be those of another factor"
    )
    return DataError(
        f"the standard deviations of {name} don't fit the draws of its clusters' effects u: the "
        f"mean of (u / sd)² is {float((square / sd**2).mean()):.2g}, {told}",
        "a mean near 1, as in every posterior of normal effects whatever the shrinkage",
        remedy,
    )
