"""The comparison on a terminal."""

from __future__ import annotations

import textwrap
from io import StringIO

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from popavg.posterior_tools.comparison import MODELS, Comparison

__all__ = ["cell", "heading", "render_text"]

_HEADINGS = {
    "GLM": "GLM\nclusters ignored",
    "conditional": "GLMM\nconditional",
    "population-averaged": "GLMM\npop.-averaged",
    "GEE": "GEE\n{working_correlation}",
}

#: Wider than any table; long terms are folded at 32 characters.
_WIDE = 200


def render_text(comparison: Comparison, width: int = 110) -> str:
    """Table in its own width, then words wrapped at ``width`` characters."""
    console = Console(file=StringIO(), width=_WIDE, color_system=None, highlight=False)
    console.print(Text(heading(comparison)))
    console.print(_table(comparison))
    for line in footnotes(comparison):
        console.print(Text(line))
    stream = console.file
    assert isinstance(stream, StringIO)
    paragraphs = [textwrap.fill(words, width) for words in comparison.words]
    return "\n\n".join([stream.getvalue().rstrip(), *paragraphs])


def heading(comparison: Comparison) -> str:
    """What was compared, in one line."""
    facts = comparison.facts
    return (
        f"{facts['formula']}   link: {facts['link']}   {facts['n_rows']} rows, "
        f"{facts['n_clusters']} clusters of {facts['groups']!r}"
    )


def cell(row: pd.Series) -> str:
    """An estimate over its interval."""
    return f"{row['estimate']:.3f}\n[{row['lower']:.3f}, {row['upper']:.3f}]"


def footnotes(comparison: Comparison) -> list[str]:
    """What the columns are, under the table."""
    facts, prob = comparison.facts, 100 * comparison.facts["ci_prob"]
    lines = [
        f"Intervals: {prob:g} %; confidence for GLM and GEE (robust), credible for the GLMM.",
        f"Population-averaged: {facts['method']}.",
        f"Misfit of the marginal model: at most {comparison.misfit['largest']:.4f}, "
        f"root mean square {comparison.misfit['root mean square']:.4f} ({facts['scale']} scale).",
    ]
    if facts["alpha"] is not None:
        lines.append(f"GEE: α = {facts['alpha']:.3f}, scale φ = {facts['gee_scale']:.3f}.")
    return [*lines, *facts["random_effects"]]


def _table(comparison: Comparison) -> Table:
    table = Table(pad_edge=False, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    longest = max(len(str(term)) for term in comparison.terms)
    table.add_column("term", overflow="fold", min_width=min(longest, 32), max_width=32)
    headings = [_HEADINGS[model].format(**comparison.facts) for model in MODELS]
    for title in (*headings, "attenuation\nβ̃/β", "distance\nin GEE SE"):
        table.add_column(title, justify="right", no_wrap=True)
    rows = comparison.estimates.set_index(["term", "model"])
    for _, agreement in comparison.agreement.iterrows():
        term = agreement["term"]
        cells = [cell(rows.loc[(term, model)]) for model in MODELS]
        spread = f"[{agreement['attenuation_lower']:.2f}, {agreement['attenuation_upper']:.2f}]"
        attenuation = f"{agreement['attenuation']:.2f}\n{spread}"
        distance = f"{agreement['distance']:+.2f}"
        table.add_row(Text(str(term)), *map(Text, [*cells, attenuation, distance]))
    return table
