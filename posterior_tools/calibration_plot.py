"""Draw calibrations: for each quantity the ranks' distribution function, less what is expected."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from arviz_plots.visuals import fill_between_y, line
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.errors import SpecificationError
from popavg.posterior_tools._plotting import (
    COLOURS,
    add_legend,
    backend_module,
    figure_settings,
    visual_style,
)
from popavg.posterior_tools.calibration_result import Calibration, envelope
from popavg.posterior_tools.rank_uniformity import rank_band, rank_counts

__all__ = ["plot_calibration"]

type Floats = NDArray[np.float64]

#: Styles of the visuals, in the order in which they are drawn.
STYLES: dict[str, dict[str, Any]] = {
    "band": {"color": COLOURS["blue"], "alpha": 0.15},
    "zero": {"color": COLOURS["dark grey"], "width": 1.0, "linestyle": "C1"},
    "curve": {"width": 1.8},
}
#: Colours of the calibrations.
CURVES = (COLOURS["blue"], COLOURS["vermilion"], COLOURS["green"], COLOURS["black"])


def plot_calibration(
    found: Mapping[str, Calibration],
    *,
    envelope_prob: float | None = None,
    backend: str | None = None,
    visuals: Mapping[str, Mapping[str, Any] | bool] | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Draw calibrations of several routes on top of each other.

    Parameters
    ----------
    found : mapping of str to Calibration
        Up to four, by the name that the legend gives them; of the same quantities, ranked among
        equally many draws.
    envelope_prob : float, optional
        Probability with which the curves of all quantities stay within their bands, if the route
        is right; ``arviz.rcParams["stats.envelope_prob"]`` by default.
    backend : {"matplotlib", "bokeh", "plotly"}, optional
        By default ``arviz.rcParams["plot.backend"]``.
    visuals : mapping, optional
        Keywords for ``band``, ``zero``, ``curve``, or False to leave one out.
    **pc_kwargs
        For :meth:`arviz_plots.PlotCollection.wrap`: ``col_wrap``, ``figure_kwargs``, …

    Returns
    -------
    arviz_plots.PlotCollection
        One panel for each quantity. What was drawn is in ``viz``, under the names of the visuals;
        curves as ``curve_0``, ``curve_1``, …

    Raises
    ------
    SpecificationError
        Nothing to draw, other quantities or draws, an unknown backend or visual.

    Notes
    -----
    The envelope of ``arviz_plots.plot_ecdf_pit`` is simulated, for continuous ranks and for one
    quantity. Here the band is exact for ranks among a finite number of draws and holds for all
    quantities at once (:func:`popavg.posterior_tools.rank_uniformity.rank_band`): a curve leaves
    it where, and only where, the table's verdict is "not uniform". With different numbers of runs
    it is that of the fewest.

    Examples
    --------
    >>> import popavg as pa
    >>> from popavg.posterior_tools.calibration_plot import plot_calibration
    >>> from popavg.posterior_tools.calibration_result import Calibration, CalibrationRun
    >>> runs = tuple(CalibrationRun(i, "nuts", {"sd_g": 7 * i % 100}) for i in range(50))
    >>> made = Calibration(runs, 99, {"sd_g": "a standard deviation"}, {})
    >>> sorted(plot_calibration({"nuts": made}, backend="none").viz.children)
    ['band', 'curve_0', 'legend', 'zero']
    """
    name, module = backend_module(backend)
    styles = visual_style(STYLES, visuals)
    first = _checked(found)
    data = _dataset(found, envelope(envelope_prob))
    collection = _collection(data, name, pc_kwargs)
    common: dict[str, Any] = {"ignore_aes": "all"}
    if "band" in styles:
        bounds = {"x": data["x"], "y_bottom": data["lower"], "y_top": data["upper"]}
        collection.map(
            fill_between_y, "band", data=data[["zero"]], **bounds, **common, **styles["band"]
        )
    if "zero" in styles:
        collection.map(line, "zero", data=data[["zero"]], xname="x", **common, **styles["zero"])
    for i in range(len(found)) if "curve" in styles else ():
        style = {"color": CURVES[i], **styles["curve"]}
        curve = data[[f"curve_{i}"]]
        collection.map(line, f"curve_{i}", data=curve, xname="x", **common, **style)
    columns = int(collection.viz["col_index"].max()) + 1
    for i, quantity in enumerate(first.quantities):
        target = collection.get_target(None, {"panel": i})
        module.title(fill(quantity, 34), target)
        if i + columns >= len(first.quantities):
            module.xlabel("rank, as a share of the draws", target)
        if int(collection.viz["col_index"].isel(panel=i)) == 0:
            module.ylabel("share of the runs below it,\nless the expected one", target)
    add_legend(collection, _legend(found, styles, envelope(envelope_prob)))
    return collection


def _checked(found: Mapping[str, Calibration]) -> Calibration:
    if not 1 <= len(found) <= len(CURVES) or not all(one.fitted for one in found.values()):
        raise SpecificationError(
            f"{len(found)} calibrations ({listing(found)})",
            f"1 to {len(CURVES)} with at least one fitted run each",
        )
    first, *others = found.values()
    for one in others:
        if list(one.quantities) != list(first.quantities) or one.draws != first.draws:
            raise SpecificationError(
                f"calibrations of {listing(first.quantities)} and of {listing(one.quantities)}, "
                f"ranked among {first.draws} and {one.draws} draws",
                "the same quantities among equally many draws",
            )
    return first


def _dataset(found: Mapping[str, Calibration], prob: float) -> xr.Dataset:
    """Curves and bands, dims panel and x."""
    first = next(iter(found.values()))
    draws, quantities = first.draws, list(first.quantities)
    inner = np.arange(1, draws + 1) / (draws + 1)
    x = np.concatenate([[0.0], inner, [1.0]])
    level = 1.0 - (1.0 - prob) / len(quantities)
    columns: dict[str, list[Floats]] = {"lower": [], "upper": []}
    for quantity in quantities:
        fewest = min(len(one.ranks(quantity)) for one in found.values())
        ends = rank_band(fewest, draws, level) if fewest else (inner, inner)
        for end, counts in zip(("lower", "upper"), ends, strict=True):
            columns[end].append(_pinned(counts / max(fewest, 1) - inner))
    for i, one in enumerate(found.values()):
        curves = []
        for quantity in quantities:
            ranks = one.ranks(quantity)
            share = rank_counts(ranks, draws) / len(ranks) if len(ranks) else np.nan * inner
            curves.append(_pinned(share - inner))
        columns[f"curve_{i}"] = curves
    variables: dict[str, Any] = {
        name: (("panel", "x"), np.stack(values)) for name, values in columns.items()
    }
    variables["zero"] = (("panel", "x"), np.zeros((len(quantities), len(x))))
    return xr.Dataset(variables, coords={"panel": range(len(quantities)), "x": x})


def _pinned(inner: Floats) -> Floats:
    """With the two ends, where every distribution function is 0 and 1."""
    return np.concatenate([[0.0], inner, [0.0]])


def _collection(data: xr.Dataset, backend: str, pc_kwargs: dict[str, Any]) -> PlotCollection:
    n_panels = data.sizes["panel"]
    options: dict[str, Any] = {"cols": ["panel"], "col_wrap": 4, **pc_kwargs}
    n_cols = min(n_panels, options["col_wrap"])
    n_rows = -(-n_panels // n_cols)
    size = ((5.4 if n_cols == 1 else 3.4) * n_cols, 2.9 * n_rows + 0.5)
    given = {"sharex": True, "sharey": True, **options.pop("figure_kwargs", {})}
    figure = figure_settings(backend, size, **given)
    return PlotCollection.wrap(data, backend=backend, figure_kwargs=figure, **options)


def _legend(
    found: Mapping[str, Calibration], styles: Mapping[str, Mapping[str, Any]], prob: float
) -> list[tuple[str, dict[str, Any]]]:
    entries: list[tuple[str, dict[str, Any]]] = []
    for i, (name, one) in enumerate(found.items()) if "curve" in styles else ():
        label = f"{name}, {len(one.fitted)} runs" if name else f"{len(one.fitted)} runs"
        entries.append((label, {"color": CURVES[i], **styles["curve"]}))
    if "band" in styles:
        swatch = {**styles["band"], "width": 7, "color": COLOURS["light blue"]}
        entries.append((f"{100 * prob:g} % of right routes, all panels at once", swatch))
    return entries
