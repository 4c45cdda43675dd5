"""A verb's estimates as curves: panels × levels × points along one covariate."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from popavg.posterior_tools.along import Along
from popavg.posterior_tools.estimates import Estimates
from popavg.posterior_tools.summaries import IntervalKind, intervals

__all__ = ["VerbCurves", "read_curves", "shown"]

#: Columns that say what is compared; they make panels where they vary.
_COMPARED = ("variable", "contrast")
_BOUNDS = ("estimate", "lower", "upper")
#: How far the levels of a colour stand apart at a category.
_APART = 0.16


@dataclass(frozen=True, eq=False)
class VerbCurves:
    """Summaries to draw, with the words beside them.

    Attributes
    ----------
    axis : Along
        The covariate along the x axis.
    data : xarray.Dataset
        ``estimate``, ``lower``, ``upper`` with dims (panel, level, x), and ``where`` each stands
        on the x axis, dims (level, x).
    levels, panels : list of str
        Names of the colours and headings of the panels; a single empty one where there are none.
    units : list of str
        For each panel the covariate in whose units its y axis is: panels of one covariate share
        their axis, others don't.
    titles : list of str
        For each panel what its y axis shows.
    subtitle : str
        Of which population, at which values of the other covariates.
    """

    axis: Along
    data: xr.Dataset
    levels: list[str]
    panels: list[str]
    units: list[str]
    titles: list[str]
    subtitle: str

    @property
    def shares_axis(self) -> bool:
        """Whether all panels are in the same units."""
        return len(set(self.units)) == 1

    @property
    def ticks(self) -> list[str] | None:
        """Labels of the positions of a category."""
        return [shown(value) for value in self.axis.values] if self.axis.is_category else None


def read_curves(
    estimates: Estimates,
    axis: Along,
    by: Sequence[str],
    *,
    compared: Collection[str] = (),
    titles: Mapping[str, str] | None = None,
    ci_prob: float | None = None,
    ci_kind: IntervalKind | None = None,
) -> VerbCurves:
    """The first of ``by`` makes colours, the others and what is compared make panels.

    ``compared`` are covariates that some contrast sets to values, so that those of the rows are
    held in the other contrasts only. ``titles`` says what is shown of each of several ``variable``.
    """
    drawn = estimates.draws.to_numpy().astype(float)
    table = intervals(
        drawn, ci_prob=ci_prob, ci_kind=ci_kind, point_estimate=estimates.point_estimate
    )
    labels = estimates.labels.reset_index(drop=True)
    several = [name for name in _COMPARED if name in labels and labels[name].nunique() > 1]
    headed = [name for name in _COMPARED if name in labels] if several else []
    apart = [*headed, *by[1:]]
    level_codes, levels = _codes(labels, list(by[:1]))
    panel_codes, panels = _codes(labels, apart)
    places = {value: i for i, value in enumerate(axis.values)}
    points = [places[value] for value in labels[axis.name]]
    values = {name: np.full((len(panels), len(levels), len(places)), np.nan) for name in _BOUNDS}
    for name, array in values.items():
        array[panel_codes, level_codes, points] = table[name].to_numpy(dtype=float)
    data = xr.Dataset({name: (("panel", "level", "x"), array) for name, array in values.items()})
    data["where"] = (("level", "x"), _places(axis, len(levels)))
    data = data.assign_coords(panel=range(len(panels)), level=range(len(levels)), x=axis.positions)
    variables = labels["variable"] if "variable" in headed else pd.Series("", labels.index)
    units = [str(variables.iloc[panel_codes.index(i)]) for i in range(len(panels))]
    title = _with_contrast(estimates, headed)
    return VerbCurves(
        axis=axis,
        data=data,
        levels=[f"{by[0]}: {shown(row[0])}" for row in levels] if by else [""],
        panels=[_heading(apart, row) for row in panels],
        units=units,
        titles=[(titles or {}).get(unit, title) for unit in units],
        subtitle=_subtitle(estimates, _held(labels, (axis.name, *by), compared)),
    )


def shown(value: Any) -> str:
    """A value as a label."""
    return f"{round(value, 10) + 0.0:.4g}" if isinstance(value, float) else str(value)


def _codes(labels: pd.DataFrame, columns: list[str]) -> tuple[list[int], list[tuple[Any, ...]]]:
    """Which combination of the columns each row has, and the combinations in order."""
    rows = (
        list(labels[columns].itertuples(index=False, name=None)) if columns else [()] * len(labels)
    )
    found = {row: i for i, row in enumerate(dict.fromkeys(rows))}
    return [found[row] for row in rows], list(found)


def _places(axis: Along, n_levels: int) -> NDArray[np.float64]:
    """On the x axis; levels of a category stand a little apart."""
    offsets = np.zeros(n_levels)
    if axis.is_category:
        step = min(_APART, 0.7 / n_levels)
        offsets = step * (np.arange(n_levels) - (n_levels - 1) / 2)
    return axis.positions + offsets[:, None]


def _heading(columns: Sequence[str], row: Sequence[Any]) -> str:
    pairs = dict(zip(columns, row, strict=True))
    what = ": ".join(str(pairs.pop(name)) for name in _COMPARED if name in pairs)
    others = [f"{name}: {shown(value)}" for name, value in pairs.items()]
    return ", ".join([what, *others] if what else others)


def _with_contrast(estimates: Estimates, headed: Sequence[str]) -> str:
    """The y axis' words, with the contrast where all panels have the same one."""
    if "contrast" not in estimates.labels or "contrast" in headed:
        return estimates.title
    variable, contrast = (estimates.labels[name].iloc[0] for name in _COMPARED)
    return f"{estimates.title}\n{variable}: {contrast}"


def _held(labels: pd.DataFrame, varying: Sequence[str], compared: Collection[str]) -> list[str]:
    """The other covariates' values; a covariate that all contrasts set has none."""
    known = {*varying, *_COMPARED, "slope", "target"}
    others = [name for name in labels.columns if name not in known]
    return [
        f"{name} = {shown(labels[name].iloc[0])}"
        + (" where it isn't compared" if name in compared else "")
        for name in others
    ]


def _subtitle(estimates: Estimates, held: Sequence[str]) -> str:
    said = [note for note in estimates.notes if note.startswith(("Averaged over", "Extrapolated"))]
    parts = [f"target: {estimates.target}"]
    if held:
        parts.append(f"at {', '.join(held)}")
    parts += [note[0].lower() + note[1:].rstrip(".") for note in said]
    return "; ".join(parts)
