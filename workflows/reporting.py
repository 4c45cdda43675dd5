"""A self-contained HTML page of a fit: comparison, picture, parameters, priors, sampler."""

from __future__ import annotations

import base64
import os
from collections.abc import Hashable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jinja2 import Environment
from markupsafe import Markup

from popavg.errors import StorageError
from popavg.families import family_for
from popavg.links import get_link
from popavg.models.gee_result import GEEResult
from popavg.posterior_tools.comparison import Comparison
from popavg.posterior_tools.comparison_html import render_html
from popavg.posterior_tools.draws import Posterior, read_specification
from popavg.posterior_tools.summaries import summarise
from popavg.priors import Prior
from popavg.specification import Specification
from popavg.workflows.axes import choose_axes
from popavg.workflows.compare import compare_gee
from popavg.workflows.picture import plot_population_curve
from popavg.workflows.storage import as_path, replacing

__all__ = ["picture_png", "render_report", "report"]

#: Dots per inch of the picture; the page shows it at 100, so that it is sharp on fine screens.
DPI = 150

_STYLE = """
:root { color-scheme: light; }
body { margin: 2.5rem auto; max-width: 68rem; padding: 0 1.5rem; color: #1c1c1c; background: #fff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; padding-top: 1rem; border-top: 1px solid #ddd; }
img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
code { font-family: ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace;
  font-size: .9em; overflow-wrap: anywhere; }
body p { max-width: 52rem; }
body .popavg { max-width: none; line-height: 1.5; }
body .popavg table, .scroll { display: block; overflow-x: auto; }
body .popavg th, body .popavg td { padding: .35rem .7rem; }
body .popavg th:first-child, body .popavg td:first-child { padding-left: 0; max-width: 18rem;
  overflow-wrap: anywhere; }
.warning { background: #fff3cd; border-left: 4px solid #e0a800; padding: .6rem 1rem; }
.small { color: #555; font-size: .875rem; }
table.plain { border-collapse: collapse; font-size: .925rem; font-variant-numeric: tabular-nums; }
table.plain th, table.plain td { padding: .3rem .8rem; border-bottom: 1px solid #e4e4e4;
  text-align: right; vertical-align: top; }
table.plain th { border-bottom: 2px solid #444; font-weight: 600; white-space: nowrap; }
table.plain th:first-child, table.plain td:first-child { text-align: left; padding-left: 0;
  max-width: 26rem; overflow-wrap: anywhere; }
table.facts td { overflow-wrap: anywhere; }
table.facts th, table.facts td { text-align: left; border-bottom: 1px solid #eee; }
table.facts th { font-weight: 400; color: #555; border-bottom-width: 1px; }
"""

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ specification.formula }} – popavg</title>
<style>{{ style }}</style></head><body>
<h1>Population-averaged effects on {{ specification.response }}</h1>
{% for sentence in specification.sampler.get("verdict", []) %}
<p class="warning">{{ sentence }}</p>
{% endfor %}
{{ comparison }}
{% if picture %}
<h2>The population curve</h2>
<img width="{{ width }}"
 alt="Conditional curves of random clusters, the population average with its band, the GEE"
 src="data:image/png;base64,{{ picture }}">
{% endif %}
<h2>Conditional parameters</h2>
<p class="small">Of the mixed model, given the cluster's effects. {{ interval }}</p>
<div class="scroll"><table class="plain"><thead><tr>
{% for name in parameters.columns %}<th>{{ name }}</th>{% endfor %}</tr></thead><tbody>
{% for row in parameters.itertuples(index=False) %}
<tr>{% for value in row %}<td>{{ value }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% for title, facts in lists.items() if facts %}
<h2>{{ title }}</h2>
<table class="plain facts"><tbody>
{% for name, value in facts.items() %}
<tr><th scope="row">{{ name }}</th><td>{{ value }}</td></tr>
{% endfor %}
</tbody></table>
{% endfor %}
</body></html>
"""


def report(
    fit: xr.DataTree,
    path: str | os.PathLike[str],
    *,
    over: str | None = None,
    by: str | None = None,
    comparison: Comparison | None = None,
    groups: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one HTML page that needs no other file.

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit`.
    path : path-like
        The page.
    over, by : str, optional
        Covariates of the picture, by default the numeric one with most values and a category
        with few levels.
    comparison : Comparison, optional
        By default :func:`popavg.compare_gee` of the fit.
    groups : str, optional
        The GEE's clusters, where the model has crossed factors.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    pathlib.Path
        The page's path.

    Raises
    ------
    StorageError
        It doesn't end in ``.html``, exists, or can't be written; a file that was there is then
        unchanged.
    SpecificationError
        ``over`` or ``by`` isn't a covariate of the model.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import popavg as pa
    >>> page = pa.report(pa.load_example(), pathlib.Path(tempfile.mkdtemp()) / "report.html")
    >>> page.name
    'report.html'
    """
    target = as_path(path, (".html", ".htm"))
    if os.path.lexists(target) and not overwrite:
        raise StorageError(
            f"{str(target)!r} exists", "a new name", "say overwrite=True to replace it"
        )
    along, apart = choose_axes(Posterior.from_fit(fit).design, over, by)
    comparison = compare_gee(fit, groups=groups) if comparison is None else comparison
    png = picture_png(fit, along, by=apart, comparison=comparison) if along else None
    page = render_report(fit, comparison, png)
    with replacing(target) as scratch:
        scratch.write_text(page, "utf-8")
    return target


def picture_png(
    fit: xr.DataTree, over: str, *, by: str | None = None, comparison: Comparison | None = None
) -> bytes:
    """The population curve as PNG (matplotlib).

    Parameters
    ----------
    fit : xarray.DataTree
        From :func:`popavg.fit`.
    over, by : str
        Covariates along the curve and of separate curves.
    comparison : Comparison, optional
        Its GEE is the one that is drawn; an exchangeable one is fitted without.
    """
    from matplotlib import pyplot as plt

    gee = "exchangeable" if comparison is None else _gee(comparison)
    level = {} if comparison is None else {n: comparison.facts[n] for n in ("ci_prob", "ci_kind")}
    collection = plot_population_curve(fit, over, by=by, gee=gee, backend="matplotlib", **level)
    figure = collection.viz["figure"].item()
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight")
    plt.close(figure)
    return buffer.getvalue()


def render_report(fit: xr.DataTree, comparison: Comparison, png: bytes | None) -> str:
    """The page's text; every name of the data is escaped."""
    specification = read_specification(fit)
    prob, kind = comparison.facts["ci_prob"], comparison.facts["ci_kind"]
    priors = {n: str(Prior.from_dict(prior)) for n, prior in specification.priors.items()}
    template = Environment(autoescape=True, trim_blocks=True).from_string(_PAGE)
    return template.render(
        style=Markup(_STYLE),
        specification=specification,
        comparison=Markup(render_html(comparison)),
        width=_width(png) if png else None,
        picture=base64.b64encode(png).decode("ascii") if png else None,
        parameters=_parameters(fit, prob, kind),
        interval=f"{100 * prob:g} % credible intervals ({kind}).",
        lists={"Priors": priors, "How it was made": _made(specification)},
    )


def _width(png: bytes) -> int:
    """On the page, in pixels: a picture's own width stands in bytes 16 to 19 of a PNG."""
    return round(int.from_bytes(png[16:20], "big") * 100 / DPI)


def _gee(comparison: Comparison) -> GEEResult:
    """The comparison's GEE as far as a curve needs it: its covariances are left out (NaN)."""
    facts, table = comparison.facts, comparison.estimates
    rows = table[table["model"] == "GEE"]
    unknown = np.full((len(rows), len(rows)), np.nan)
    link = get_link(facts["link"])
    return GEEResult(
        terms=tuple(rows["term"]),
        coefficients=rows["estimate"].to_numpy(dtype=float),
        covariance=unknown,
        covariance_model=unknown,
        alpha=facts["alpha"],
        scale=facts["gee_scale"],
        working_correlation=facts["working_correlation"],
        link=link,
        family=family_for(link, trials=facts["family"] == "binomial"),
        n_rows=facts["n_rows"],
        n_clusters=facts["n_clusters"],
        groups=facts["groups"],
    )


def _parameters(fit: xr.DataTree, prob: float, kind: Any) -> pd.DataFrame:
    """Summary of every parameter that varies but the clusters' own effects, ready to be shown."""
    rows = []
    posterior = fit["posterior"].to_dataset()
    for name, array in sorted(posterior.data_vars.items(), key=_place):
        if str(name).startswith("u_") or array.dtype.kind != "f":
            continue
        values = array.transpose("chain", "draw", ...).to_numpy()
        flat = values.reshape(*values.shape[:2], -1)
        varies = np.ptp(flat, axis=(0, 1)) > 0
        if str(name).startswith("corr_"):
            varies &= np.triu(np.ones(values.shape[2:], dtype=bool), 1).ravel()
        if not varies.any():
            continue
        table = summarise(flat[..., varies], ci_prob=prob, ci_kind=kind)
        table.insert(0, "parameter", np.asarray(_labels(str(name), array), dtype=object)[varies])
        rows.append(table)
    return _shown(pd.concat(rows, ignore_index=True)) if rows else pd.DataFrame()


def _place(item: tuple[Hashable, xr.DataArray]) -> int:
    """Coefficients first, then standard deviations, correlations, and the rest."""
    starts = [str(item[0]).startswith(stem) for stem in ("beta", "sd_", "corr_")]
    return [*starts, True].index(True)


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers as text: three digits of the standard error decide on the decimals of a row."""
    spread = table["std_error"].to_numpy(dtype=float)
    decimals = np.clip(2 - np.floor(np.log10(spread)), 0, 12).astype(int)
    fixed = {"ess_bulk": 0, "ess_tail": 0, "r_hat": 3}
    texts = {
        name: [
            f"{value:.{fixed.get(str(name), digits)}f}"
            for value, digits in zip(table[name], decimals, strict=True)
        ]
        for name in table.columns[1:]
    }
    return table.assign(**texts).rename(columns=lambda name: str(name).replace("_", " "))


def _labels(name: str, array: xr.DataArray) -> list[str]:
    """``beta[time]``, ``sd_patient[Intercept]``, in C order of the parameter's own dims."""
    dims = [dim for dim in array.dims if dim not in ("chain", "draw")]
    if not dims:
        return [name]
    values = [[str(label) for label in array[dim].to_numpy()] for dim in dims]
    combinations = pd.MultiIndex.from_product(values).to_list()
    return [f"{name}[{', '.join(labels)}]" for labels in combinations]


def _made(specification: Specification) -> Mapping[str, str]:
    """Link, sampler and versions, with readable names."""
    model = {"formula": specification.formula, "link": specification.link}
    model |= {"family": specification.family, "random effects": specification.mixing}
    told = {
        name.replace("_", " "): str(value)
        for name, value in specification.sampler.items()
        if name != "verdict"
    }
    packages = ", ".join(f"{name} {version}" for name, version in specification.versions.items())
    return {**model, **told, "packages": packages}
