"""The comparison as HTML, every name escaped."""

from __future__ import annotations

from jinja2 import Environment

from popavg.posterior_tools.comparison import MODELS, Comparison
from popavg.posterior_tools.comparison_text import footnotes, heading

__all__ = ["STYLE", "render_html"]

STYLE = """
.popavg { font-family: system-ui, sans-serif; max-width: 62rem; line-height: 1.45; }
.popavg table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.popavg th, .popavg td { padding: .35rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }
.popavg th:first-child, .popavg td:first-child { text-align: left; }
.popavg th { border-bottom: 2px solid #444; font-weight: 600; }
.popavg .own { background: #eef4fb; font-weight: 600; }
.popavg small { display: block; color: #555; font-weight: 400; white-space: nowrap; }
.popavg .notes { color: #444; font-size: .9rem; }
"""

_TEMPLATE = """
<div class="popavg"><style>{{ style }}</style>
<p><code>{{ heading }}</code></p>
<table><thead><tr><th>term</th>
<th>GLM<small>clusters ignored</small></th><th>GLMM<small>conditional</small></th>
<th class="own">GLMM<small>population-averaged</small></th>
<th>GEE<small>{{ working_correlation }}</small></th>
<th>attenuation<small>β̃/β</small></th><th>distance<small>in GEE SE</small></th></tr></thead>
<tbody>
{% for row in rows %}<tr><td>{{ row.term }}</td>
{% for cell in row.cells %}<td{% if cell.own %} class="own"{% endif %}>{{ cell.estimate }}
<small>[{{ cell.lower }}, {{ cell.upper }}]</small></td>{% endfor %}
<td>{{ row.attenuation }}<small>[{{ row.attenuation_lower }}, {{ row.attenuation_upper }}]</small></td>
<td>{{ row.distance }}</td></tr>
{% endfor %}</tbody></table>
<p class="notes">{% for line in footnotes %}{{ line }}<br>{% endfor %}</p>
{% for paragraph in words %}<p>{{ paragraph }}</p>
{% endfor %}</div>
"""


def render_html(comparison: Comparison) -> str:
    """A fragment with its own style, safe for any names in the data."""
    template = Environment(autoescape=True, trim_blocks=True).from_string(_TEMPLATE)
    return template.render(
        style=STYLE,
        heading=heading(comparison),
        working_correlation=comparison.facts["working_correlation"],
        rows=_rows(comparison),
        footnotes=footnotes(comparison),
        words=comparison.words,
    )


def _rows(comparison: Comparison) -> list[dict[str, object]]:
    table = comparison.estimates.set_index(["term", "model"])
    rows = []
    for _, agreement in comparison.agreement.iterrows():
        cells = [
            {
                "own": model == "population-averaged",
                **{
                    name: f"{table.loc[(agreement['term'], model), name]:.3f}"
                    for name in ("estimate", "lower", "upper")
                },
            }
            for model in MODELS
        ]
        numbers = {
            name: f"{agreement[name]:.2f}"
            for name in ("attenuation", "attenuation_lower", "attenuation_upper")
        }
        distance = f"{agreement['distance']:+.2f}"
        rows.append({"term": agreement["term"], "cells": cells, "distance": distance, **numbers})
    return rows
