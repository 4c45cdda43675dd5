r"""The trapezoid rule along one line of the integrated likelihood, and where its nodes lie.

The integrand f(z) = exp(-z²/2) ∏_j p(y_j | v_j + t_j z) is log-concave for every link, and
more concentrated than a normal density. Its mode is found by Newton's method inside a bracket,
which is halved where the steps go to and fro;
the nodes lie beside it and are summed outward until the terms vanish.

Notes
-----
The error of the trapezoid rule with step h is exp(-2 pi a / h) times the size of the integrand on
the line Im z = a (Trefethen & Weideman 2014, SIAM Review 56:385), for any a up to the strip where
the integrand is analytic. There the Gaussian grows by exp(a²/2). With θ = t a, the logistic factor
of a trial with probability p grows by (1 - 4 p q sin²(θ/2))^(-1/2) <= cos(θ/2)^(-4 p q), its pole
being at θ = pi, and exp(-exp(v)) by exp(Λ (1 - cos θ)), over its whole length by
cos(θ)^(-Λ), Λ being the hazard at the mode. Normal tails are entire and taken as Gaussian. `step`
takes the largest h that makes the error exp(-`DIGITS`) for one of some a. Away from the mode the
rows may be steeper than at it: part of what the number of trials allows is added.

That is a forecast, not a proof. F being the Fourier transform of the integrand, the error is
2 |F(2 pi / h)| / F(0), and the sums over the nodes k of f_k exp(2 pi i k m / 32) are F(2 pi / h
m / 32) but for terms like the error: with m = 15 and 8 their sizes tell what |F| is at nearly half
and at a quarter of the frequency, whatever its phase. F decreases at least exponentially, so that
what log |F| does between the two, or from 0 to the first, tells the error, mostly far too large.
The caller shortens h where it isn't small enough. The forecast aims below that: it has the growth
one and a half times.
"""

# ruff: noqa: PLR0917  (numba has no keyword-only arguments, and calls cost in its loops)

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from popavg.posterior_tools._integrated_links import Rows, Work, score
from popavg.posterior_tools._integrated_links import block as density_block
from popavg.posterior_tools._integrated_math import exp

__all__ = [
    "ALIAS",
    "CUT",
    "DIGITS",
    "LOWER",
    "WIDTH",
    "alias_error",
    "find_mode",
    "make_tables",
    "step",
    "sum_line",
]

WIDTH = 32
"""Nodes computed together."""

DIGITS = 25.0
"""Error of the rule aimed at: exp(-25) of a cluster's likelihood."""

CUT = 26.0
"""Terms below exp(-26) of the largest end the sum."""

_ANGLES = (3.05, 2.89, 2.67, 2.36, 1.98, 1.57, 1.19)
_LOGISTIC = tuple(-math.log(math.cos(angle / 2)) for angle in _ANGLES)
_HAZARD_ANGLES = tuple(angle / 2 for angle in _ANGLES)
_HAZARD = tuple(-math.log(math.cos(angle)) for angle in _HAZARD_ANGLES)
_LARGEST_PANELS = 1_000_000
_TWICE = 1.5
ALIAS = 15
LOWER = 8
_COSINES = np.cos(2 * np.pi * ALIAS / WIDTH * np.arange(WIDTH))
_SINES = np.sin(2 * np.pi * ALIAS / WIDTH * np.arange(WIDTH))
_LOWER_COSINES = np.cos(2 * np.pi * LOWER / WIDTH * np.arange(WIDTH))
_LOWER_SINES = np.sin(2 * np.pi * LOWER / WIDTH * np.arange(WIDTH))
_compiled = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


@_compiled
def slope_and_curvature(rows: Rows, work: Work) -> tuple[float, float]:
    """Σ t_j r_j and Σ t_j² κ_j of what `score` left in the work arrays."""
    slope, at, edge = rows.slope, work.at, work.edge
    d0, d1, c0, c1 = 0.0, 0.0, 0.0, 0.0
    for j in range(0, slope.size, 2):
        d0 += slope[j] * at[j]
        d1 += slope[j + 1] * at[j + 1]
        c0 += slope[j] * slope[j] * edge[j]
        c1 += slope[j + 1] * slope[j + 1] * edge[j + 1]
    return d0 + d1, c0 + c1


@_compiled
def find_mode(link: Any, rows: Rows, work: Work, start: float) -> tuple[float, float, float]:
    """A point within a quarter of the integrand's width of its mode.

    Returns it, the slope and the curvature (of the logarithm, its sign changed) there; the rows'
    scores and curvatures stay in ``work``. NaN where it isn't found.
    """
    z, low, high, boost, before = start, -math.inf, math.inf, 1.0, 0.0
    for _ in range(2000):
        score(link, rows, work, z)
        d, c = slope_and_curvature(rows, work)
        d -= z
        c += 1.0
        if d * d < 0.0625 * c:
            return z, d, c
        if d > 0.0:
            low = z
        else:
            high = z
        boost = 2.0 * boost if d * before > 0.0 else 1.0
        cycles = d * before < 0.0 and abs(d) > 0.5 * abs(before)
        before = d
        new = z + boost * d / c
        if cycles or not low < new < high:
            new = 0.5 * (low + high)
            boost = 1.0
        if new == z or not math.isfinite(new):
            break
        z = new
    return math.nan, math.nan, math.nan


@_compiled
def step(link: Any, slope: float, curvature: float, trials: float) -> float:
    """Step h of the rule; ``slope`` is the largest |t|, ``trials`` the sum of n.

    ``curvature`` is that of the integrand's logarithm at the mode, at least 1.
    """
    spread = 1.0 / (slope * slope) if slope > 1e-8 else 1e16
    rows = (curvature - 1.0) * spread  # Σ κ, at least
    hazard = link.code >= 2
    if link.code == 0:
        rows *= 4.0
    more = max(trials - rows, 0.0) if not hazard else trials
    reserve = 10.0 if link.code == 0 else 3.0
    rows += more * reserve / (reserve + more)
    curvature = 1.0 + (0.25 if link.code == 0 else 1.0) * rows / spread
    gauss = math.sqrt(DIGITS / curvature)  # the best a, if f were Gaussian
    if link.code == 1 or gauss * slope <= (0.5 if hazard else 1.0):
        return math.pi / math.sqrt(DIGITS * curvature)
    h = 0.0
    for i in range(len(_ANGLES)):
        angle = _HAZARD_ANGLES[i] if hazard else _ANGLES[i]
        growth = rows * (_HAZARD[i] if hazard else _LOGISTIC[i])
        growth += 0.5 * angle * angle * spread
        h = max(h, 2.0 * math.pi * angle / slope / (DIGITS + _TWICE * growth))
    return h


@_compiled
def alias_error(total: float, harmonic: float, lower: float) -> float:
    """Estimate of the rule's relative error from what `sum_line` adds up."""
    from_zero = math.log(harmonic / total) * (WIDTH / ALIAS)
    steeper = math.log(harmonic / lower) * ((WIDTH - ALIAS) / (ALIAS - LOWER))
    return 2.0 * math.exp(min(from_zero, math.log(harmonic / total) + steeper))


@_compiled
def make_tables(rows: Rows, work: Work, h: float) -> None:
    """exp(t_j t) and its reciprocal at the nodes t = h (k - width / 2), once per slope."""
    place = -1
    half = work.logs.size // 2
    for j in range(rows.size):
        t = rows.slope[j]
        if j == 0 or t != rows.slope[j - 1]:
            place += 1
            up, down = work.tables[0, place], work.tables[1, place]
            for k in range(2 * half):
                up[k] = exp(t * h * (k - half))
            for k in range(2 * half):
                down[k] = 1.0 / up[k]
        work.which[j] = place


@_compiled
def _gather(rows: Rows, work: Work, place: tuple[float, float]) -> None:
    """Add a panel's rows to their lanes, and its moments to ``work.sums[2:]``."""
    middle, h = place
    logs, product = work.logs, work.product
    width, effects = logs.size, work.columns.shape[0]
    for a in range(effects):
        column = work.columns[a]
        for k in range(width):
            column[k] = 0.0
    for j in range(rows.size):
        row, lane = work.score[j], work.lanes[j]
        for k in range(width):
            lane[k] += logs[k] * row[k]
        for a in range(effects):
            column, factor = work.columns[a], rows.Z[j, a]
            for k in range(width):
                column[k] += factor * row[k]
    for a in range(effects):
        column = work.columns[a]
        for k in range(width):
            product[k] = logs[k] * column[k]
        first, second = 0.0, 0.0
        for k in range(width):
            first += product[k]
            second += product[k] * (h * (k - width // 2))
        work.sums[2 + a] += first
        work.sums[2 + effects + a] += second + first * middle


@_compiled
def _add_harmonics(work: Work) -> None:
    """The line's sum and the sizes of its harmonics."""
    tally, sums = work.tally, work.sums
    total, real, imaginary, lower, lower_imaginary = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(tally.size):
        total += tally[k]
        real += tally[k] * _COSINES[k]
        imaginary += tally[k] * _SINES[k]
        lower += tally[k] * _LOWER_COSINES[k]
        lower_imaginary += tally[k] * _LOWER_SINES[k]
    sums[0] += total
    sums[1] += math.sqrt(real * real + imaginary * imaginary)
    sums[sums.size - 1] += math.sqrt(lower * lower + lower_imaginary * lower_imaginary)


@_compiled
def sum_line(
    link: Any, rows: Rows, work: Work, place: tuple[float, float, float, float], want: bool
) -> float:
    """Add to ``work.sums`` the integrand at the nodes, and the sizes of two harmonics of it.

    ``place`` is where the nodes start, their step, the logarithm that they are divided by (NaN:
    the one at the start, which is returned), and the cut. With ``want`` the rows' scores are
    added to ``work.lanes``, and Σ f Z'r and Σ f z Z'r to ``work.sums``. NaN if it has no end.
    """
    centre, h, reference, cut = place
    logs, tally = work.logs, work.tally
    width = logs.size
    for k in range(width):
        tally[k] = 0.0
    left, panels = 0.0, 0
    for direction in (1, -1):
        number = 0 if direction == 1 else -1
        while direction == 1 or left >= reference - cut:
            middle = centre + h * (width * number)
            density_block(link, rows, work, (middle, h), want)
            for k in range(width):
                z = middle + h * (k - width // 2)
                logs[k] -= 0.5 * z * z
            if math.isnan(reference):
                reference = logs[width // 2]
            if number <= 0:
                left = logs[0]
            right = logs[width - 1]
            for k in range(width):
                logs[k] = exp(logs[k] - reference)
            for k in range(width):
                tally[k] += logs[k]
            if want:
                _gather(rows, work, (middle, h))
            panels += 1
            if panels > _LARGEST_PANELS or math.isnan(right):
                return math.nan
            if direction == 1 and right < reference - cut:
                break
            number += direction
    _add_harmonics(work)
    return reference
