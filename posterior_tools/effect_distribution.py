"""The distribution over clusters of a difference of two conditional means."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from popavg.errors import DataError, SpecificationError
from popavg.links import Link, get_link
from popavg.mixing import require_normal
from popavg.posterior_tools._common_effect import common_quantiles, common_share
from popavg.posterior_tools._joint_effect import Conditioned, joint_quantiles, joint_share
from popavg.posterior_tools.averages import population_average

__all__ = ["EffectDistribution"]

type Floats = NDArray[np.float64]

#: Two random effects whose difference has a variance below this part of theirs are one.
_SAME = 1e-12
_SMALLEST = 1e-6


@dataclass(frozen=True, eq=False)
class EffectDistribution:
    """m_1(eta_1 + t_1) - m_0(eta_0 + t_0) over clusters, (t_0, t_1) their random effects.

    These are bivariate normal; with :class:`popavg.bridge_logit.BridgeLogit` one intercept of the
    bridge distribution. m_k is g^-1, averaged over what varies within the clusters (``rest``). All
    arrays are numbers or have one shape: that of the cells (draws, rows).

    Attributes
    ----------
    eta_0, eta_1 : array_like
        Linear predictors of the two rows, random effects at zero.
    variance_0, variance_1, covariance : array_like
        Of the clusters' effects on the two rows: z_0'Σz_0, z_1'Σz_1, z_0'Σz_1.
    link : str or Link
        The link.
    rest_0, rest_1 : array_like
        Variances of the other random effects on the rows, averaged over; 0 by default.

    Examples
    --------
    >>> from popavg.posterior_tools.effect_distribution import EffectDistribution
    >>> same = EffectDistribution(-1.0, 0.0, variance_0=4, variance_1=4, covariance=4, link="logit")
    >>> print(same.quantiles([0.1, 0.5, 0.9]).round(4), same.share_above([0.1]).round(4))
    [0.0326 0.1597 0.2411] [0.6878]
    """

    eta_0: ArrayLike
    eta_1: ArrayLike
    variance_0: ArrayLike
    variance_1: ArrayLike
    covariance: ArrayLike
    link: str | Link
    rest_0: ArrayLike = 0.0
    rest_1: ArrayLike = 0.0

    def quantiles(self, q: ArrayLike) -> Floats:
        """Effects that a share ``q`` of the clusters stays below.

        Parameters
        ----------
        q : array_like, shape (levels,)
            Shares between 0 and 1, both excluded.

        Returns
        -------
        numpy.ndarray, shape (*cells, levels)
            On the response scale.

        Raises
        ------
        SpecificationError
            A level outside (0, 1).
        DataError
            Impossible variances.

        Notes
        -----
        Where both rows share one random effect, by root finding to 1e-10; else by inverting
        :meth:`share_above`, error below 1e-6.
        """
        levels = np.atleast_1d(np.asarray(q, dtype=np.float64))
        if not ((levels > 0.0) & (levels < 1.0)).all():
            raise SpecificationError("quantiles outside (0, 1)", "shares between 0 and 1")
        return self._each(levels, quantile=True)

    def share_above(self, threshold: ArrayLike) -> Floats:
        """Share of the clusters whose effect exceeds a threshold.

        Parameters
        ----------
        threshold : array_like, shape (thresholds,)
            On the response scale.

        Returns
        -------
        numpy.ndarray, shape (*cells, thresholds)
            Shares.

        Raises
        ------
        DataError
            Impossible variances.

        Notes
        -----
        Error below 1e-10 where both rows share one random effect. With a random slope one integral
        in one variable: error below 1e-6, unless the two random effects are almost the same; then
        up to 1e-2 at thresholds next to the largest or smallest effect of any cluster.
        """
        return self._each(np.atleast_1d(np.asarray(threshold, dtype=np.float64)), quantile=False)

    def _each(self, points: Floats, *, quantile: bool) -> Floats:
        link = get_link(self.link)
        names = [f.name for f in fields(self) if f.name != "link"]
        shaped = np.broadcast_arrays(*(getattr(self, name) for name in names))
        shape = (*shaped[0].shape, len(points))
        flat: dict[str, Floats] = {
            name: np.repeat(np.ravel(array).astype(np.float64), len(points))
            for name, array in zip(names, shaped, strict=True)
        }
        _check(flat)
        at = np.tile(points, shaped[0].size)
        return _solve(flat, at, link, quantile=quantile).reshape(shape)


def _check(cells: dict[str, Floats]) -> None:
    variances = ("variance_0", "variance_1", "rest_0", "rest_1")
    bad = [name for name in variances if (cells[name] < 0.0).any()]
    bad += [name for name, array in cells.items() if not np.isfinite(array).all()]
    bound = np.sqrt(np.maximum(cells["variance_0"], 0.0)) * np.sqrt(
        np.maximum(cells["variance_1"], 0.0)
    )
    if (np.abs(cells["covariance"]) > bound * (1.0 + 1e-9) + 1e-30).any():
        bad.append("covariance")
    if bad:
        raise DataError(
            f"impossible values of {', '.join(dict.fromkeys(bad))}",
            "finite numbers, variances from 0, |covariance| up to the product of both sds",
        )


def _solve(cells: dict[str, Floats], at: Floats, link: Link, *, quantile: bool) -> Floats:
    if link.name == "identity":
        return _normal(cells, at, quantile=quantile)
    v_0, v_1 = cells["variance_0"], cells["variance_1"]
    gap = v_0 + v_1 - 2.0 * cells["covariance"]
    largest = np.maximum(v_0, v_1)
    common = (gap <= _SAME * largest) & (
        np.abs(cells["rest_0"] - cells["rest_1"]) <= _SAME * cells["rest_0"]
    )
    fixed = largest == 0.0
    # Without a random effect every cluster has the same effect.
    difference = _mean(cells, link, 1) - _mean(cells, link, 0)
    result = difference if quantile else (difference > at).astype(np.float64)
    if (~common & ~fixed).any():
        require_normal(link.mixing, "effects of rows that don't share their random effect")
    for chosen, solve in ((common & ~fixed, _common), (~common & ~fixed, _joint)):
        if chosen.any():
            part = {name: array[chosen] for name, array in cells.items()}
            result[chosen] = solve(part, at[chosen], link, quantile)
    return result


def _mean(cells: dict[str, Floats], link: Link, row: int) -> Floats:
    sd = np.sqrt(cells[f"rest_{row}"])
    return np.array(population_average(cells[f"eta_{row}"], sd, link))


def _normal(cells: dict[str, Floats], at: Floats, *, quantile: bool) -> Floats:
    """Identity link: the effect is normal."""
    centre = cells["eta_1"] - cells["eta_0"]
    variance = cells["variance_0"] + cells["variance_1"] - 2.0 * cells["covariance"]
    sd = np.sqrt(np.maximum(variance, 0.0))
    if quantile:
        return centre + sd * special.ndtri(at)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (centre - at) / sd
    return np.where(sd > 0.0, special.ndtr(z), (centre > at).astype(np.float64))


def _common(cells: dict[str, Floats], at: Floats, link: Link, quantile: bool) -> Floats:
    """One random effect for both rows; a falling effect is a rising one with the sign changed."""
    eta_0, eta_1, rest = cells["eta_0"], cells["eta_1"], cells["rest_0"]
    sd = np.sqrt(0.5 * (cells["variance_0"] + cells["variance_1"]))
    result = np.zeros_like(at) if quantile else (at < 0.0).astype(np.float64)
    for sign in (1.0, -1.0):
        chosen = sign * (eta_1 - eta_0) > 0.0
        if not chosen.any():
            continue
        low, high = np.minimum(eta_0, eta_1)[chosen], np.maximum(eta_0, eta_1)[chosen]
        point = at[chosen] if sign > 0 else (1.0 - at[chosen] if quantile else -at[chosen])
        given = {"sd": sd[chosen], "rest": rest[chosen], "link": link}
        if quantile:
            found = sign * common_quantiles(low, high, q=point, **given)
        else:
            share = common_share(low, high, threshold=point, **given)
            found = share if sign > 0 else 1.0 - share
        result[chosen] = found
    return result


def _joint(cells: dict[str, Floats], at: Floats, link: Link, quantile: bool) -> Floats:
    """Two random effects: row a is the one that varies more; where it is row 0 signs change."""
    sd_0, sd_1 = np.sqrt(cells["variance_0"]), np.sqrt(cells["variance_1"])
    result = np.empty_like(at)
    for a, b, sign in ((1, 0, 1.0), (0, 1, -1.0)):
        chosen = (sd_1 >= sd_0) if a == 1 else (sd_1 < sd_0)
        if not chosen.any():
            continue
        part = {name: array[chosen] for name, array in cells.items()}
        point = at[chosen] if sign > 0 else (1.0 - at[chosen] if quantile else -at[chosen])
        effect = _conditioned(part, a, b)
        if quantile:
            found = sign * joint_quantiles(effect, point, link)
        else:
            share = joint_share(effect, point, link)
            found = share if sign > 0 else 1.0 - share
        result[chosen] = found
    return result


def _conditioned(cells: dict[str, Floats], a: int, b: int) -> Conditioned:
    v_a, v_b = cells[f"variance_{a}"], cells[f"variance_{b}"]
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(v_b > 0.0, cells["covariance"] / v_b, 0.0)
    r = np.sqrt(np.maximum(v_a - slope * cells["covariance"], 0.0))
    smallest = _SMALLEST * np.sqrt(v_a)
    return Conditioned(
        cells[f"eta_{a}"],
        cells[f"eta_{b}"],
        cells[f"rest_{a}"],
        cells[f"rest_{b}"],
        sd=np.maximum(np.sqrt(v_b), smallest),
        slope=slope,
        r=np.maximum(r, smallest),
    )
