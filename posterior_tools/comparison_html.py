"""The comparison as HTML, every name escaped."""

from __future__ import annotations

from jinja2 import Environment

from popavg.posterior_tools.comparison import Comparison, apart
from popavg.posterior_tools.comparison_text import cells, column_heading, footnotes, heading

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
{% for first, second in headings %}<th{% if loop.index in own %} class="own"{% endif %}>\
{{ first }}<small>{{ second }}</small></th>
{% endfor %}
<th>attenuation<small>β̃/β</small></th><th>distance<small>in GEE SE</small></th></tr></thead>
<tbody>
{% for term, cells in rows %}<tr><td>{{ term }}</td>
{% for number, interval in cells %}<td{% if loop.index in own %} class="own"{% endif %}>\
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
    headings = [column_heading(comparison, model) for model in comparison.models]
    kinds = [apart(model)[0] for model in comparison.models]
    template = Environment(autoescape=True, trim_blocks=True).from_string(_TEMPLATE)
    return template.render(
        style=STYLE,
        heading=heading(comparison),
        headings=[(first, second.replace("pop.", "population")) for first, second in headings],
        rows=list(cells(comparison)),
        own=[i for i, kind in enumerate(kinds, start=1) if kind == "population-averaged"],
        footnotes=footnotes(comparison),
        words=comparison.words,
    )
