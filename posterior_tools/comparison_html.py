"""The comparison as HTML, every name escaped."""

from __future__ import annotations

from jinja2 import Environment

from popavg.posterior_tools.comparison import MODELS, Comparison
from popavg.posterior_tools.comparison_text import cells, footnotes, heading

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
{% for term, cells in rows %}<tr><td>{{ term }}</td>
{% for number, interval in cells %}<td{% if loop.index == own %} class="own"{% endif %}>\
{{ number }}<small>{{ interval }}</small></td>
{% endfor %}</tr>
{% endfor %}</tbody></table>
<p class="notes">{% for line in footnotes %}{{ line }}<br>{% endfor %}</p>
{% for paragraph in words %}<p>{{ paragraph }}</p>
{% endfor %}</div>
"""


def render_html(comparison: Comparison) -> str:
    """A fragment with its own style, safe for any names in the data.

    Parameters
    ----------
    comparison : Comparison
        What to show.

    Returns
    -------
    str
        One ``div``; nothing in it comes from elsewhere.
    """
    template = Environment(autoescape=True, trim_blocks=True).from_string(_TEMPLATE)
    return template.render(
        style=STYLE,
        heading=heading(comparison),
        working_correlation=comparison.facts["working_correlation"],
        rows=list(cells(comparison)),
        own=1 + MODELS.index("population-averaged"),
        footnotes=footnotes(comparison),
        words=comparison.words,
    )
