"""A check as HTML, every name escaped."""

from __future__ import annotations

from itertools import groupby

from jinja2 import Environment

from popavg.posterior_tools._check_text import TITLES, beside, cell, footnote, heading
from popavg.posterior_tools.check_result import Check
from popavg.posterior_tools.comparison_html import STYLE
from popavg.posterior_tools.sensitivity import THRESHOLD

__all__ = ["render_html"]

_OWN = """
.popavg td.words { text-align: left; }
.popavg .problem { color: #a3242b; font-weight: 600; }
.popavg .look { color: #8a5a00; font-weight: 600; }
.popavg .fine, .popavg .not { color: #2c6e49; }
.popavg .not { color: #555; }
"""

_TEMPLATE = """
<div class="popavg"><style>{{ style }}</style>
<p><code>{{ formula }}</code><br>{{ heading }}</p>
{% for title, findings in parts %}<table><thead><tr><th>{{ title }}</th><th></th><th></th></tr>\
</thead><tbody>
{% for f in findings %}<tr><td>{{ f.name }}<small>{{ f.number }}</small></td>\
<td class="{{ f.verdict.split()[0] }}">{{ f.verdict }}</td>\
<td class="words">{{ f.meaning }} {{ f.advice }}</td></tr>
{% endfor %}</tbody></table>
{% endfor %}{% if rows %}<table><thead><tr><th>power-scaling sensitivity</th>
<th>conditional<small>prior</small></th><th>conditional<small>likelihood</small></th>
<th class="own">population-averaged<small>prior</small></th>
<th class="own">population-averaged<small>likelihood</small></th></tr></thead><tbody>
{% for name, cells in rows %}<tr><td>{{ name }}</td>{% for text, moves in cells %}\
<td class="{{ 'look' if moves else '' }}">{{ text }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table>
<p class="notes">{{ footnote }}</p>{% endif %}</div>
"""


def render_html(check: Check) -> str:
    """A fragment with its own style, safe for any names in the data."""
    found = check.sensitivity
    rows = []
    for name, values in beside(found) if found is not None else ():
        moves = [i % 2 == 0 and value >= THRESHOLD for i, value in enumerate(values)]
        texts = [f"{cell(v)}{' *' if m else ''}" for v, m in zip(values, moves, strict=True)]
        rows.append((name, list(zip(texts, moves, strict=True))))
    parts = [
        (TITLES[part], list(findings))
        for part, findings in groupby(check.findings, key=lambda finding: finding.part)
    ]
    template = Environment(autoescape=True, trim_blocks=True).from_string(_TEMPLATE)
    return template.render(
        style=STYLE + _OWN,
        formula=check.facts["formula"],
        heading=heading(check),
        parts=parts,
        rows=rows,
        footnote=footnote(found) if found is not None else "",
    )
