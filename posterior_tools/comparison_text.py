"""The comparison on a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from io import StringIO

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from popavg.posterior_tools.comparison import Comparison, apart
from popavg.posterior_tools.summaries import decimals

__all__ = ["cell", "cells", "column_heading", "footnotes", "heading", "render_text"]

_HEADINGS = {
    "GLM": ("GLM", "clusters ignored"),
    "conditional": ("GLMM", "conditional"),
    "population-averaged": ("GLMM", "pop.-averaged"),
    "GEE": ("GEE", "{working_correlation}"),
}

#: Longer terms are folded.
_WIDEST = 40


def render_text(comparison: Comparison, width: int = 110) -> str:
    """Table and words for a terminal.

    Parameters
    ----------
    comparison : Comparison
        What to show.
    width : int
        Characters in a line of words. The table has its own width: numbers are never cut, terms
        are folded at 40 characters.

    Returns
    -------
    str
    """
    table = _table(comparison)
    probe = Console(width=10_000)
    console = Console(
        file=StringIO(),
        width=max(width, Measurement.get(probe, probe.options, table).maximum),
        color_system=None,
        highlight=False,
    )
    console.print(table)
    stream = console.file
    assert isinstance(stream, StringIO)
    drawn = "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())
    lines = [textwrap.fill(line, width) for line in footnotes(comparison)]
    paragraphs = [textwrap.fill(words, width) for words in comparison.words]
    title = textwrap.fill(heading(comparison), width)
    return "\n\n".join([f"{title}\n{drawn}\n" + "\n".join(lines), *paragraphs])


def heading(comparison: Comparison) -> str:
    """What was compared, in one line."""
    facts = comparison.facts
    return (
        f"{facts['formula']}   link: {facts['link']} ({facts['family']})   {facts['n_rows']} rows, "
        f"{facts['n_clusters']} clusters of {facts['groups']!r}"
    )


def column_heading(comparison: Comparison, model: str) -> tuple[str, str]:
    """The two lines above a model's column."""
    kind, name = apart(model)
    first, second = _HEADINGS[kind]
    second = second.replace("{working_correlation}", str(comparison.facts["working_correlation"]))
    return f"{first}, {name}" if name else first, second


def cell(row: pd.Series) -> tuple[str, str]:
    """An estimate and its interval, with as many decimals as its standard error deserves."""
    places = decimals(row["std_error"])
    estimate, lower, upper = (f"{row[name]:.{places}f}" for name in ("estimate", "lower", "upper"))
    return estimate, f"[{lower}, {upper}]"


def cells(comparison: Comparison) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Every term with its cells: the models', the attenuation and the distance."""
    rows = comparison.estimates.set_index(["term", "model"])
    for _, agreement in comparison.agreement.iterrows():
        term = str(agreement["term"])
        models = [cell(rows.loc[(term, model)]) for model in comparison.models]
        spread = f"[{agreement['attenuation_lower']:.2f}, {agreement['attenuation_upper']:.2f}]"
        attenuation = (f"{agreement['attenuation']:.2f}", spread)
        if pd.isna(agreement["attenuation"]):
            attenuation = ("–", "")
        yield term, [*models, attenuation, (f"{agreement['distance']:+.2f}", "")]


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
    if facts["family"] == "binomial":
        lines.append(
            "GEE: rows are proportions weighted by their trials (geepack's convention), so α is "
            "the correlation of proportions, not of single trials, and φ below 1 is no "
            "underdispersion."
        )
    lines += facts.get("drawn", ())
    notes = [f"GEE: {note.rstrip('.')}." for note in facts["gee_notes"]]
    return [*lines, *notes, *facts["random_effects"]]


def _table(comparison: Comparison) -> Table:
    rows = list(cells(comparison))
    titles = ["\n".join(column_heading(comparison, model)) for model in comparison.models]
    titles += ["attenuation\nβ̃/β", "distance\nin GEE SE"]
    longest = max(cell_len(term) for term, _ in rows)
    table = Table(pad_edge=False, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("term", overflow="fold", min_width=min(longest, _WIDEST), max_width=_WIDEST)
    for title in titles:
        table.add_column(Text(title), justify="right", no_wrap=True)
    for term, pairs in rows:
        table.add_row(Text(term), *(Text("\n".join(pair).rstrip()) for pair in pairs))
    return table
