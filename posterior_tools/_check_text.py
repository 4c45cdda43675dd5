"""A check for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import groupby

import numpy as np
import pandas as pd

from popavg.posterior_tools.check_result import Check
from popavg.posterior_tools.sensitivity import CONDITIONAL, POPULATION, THRESHOLD, Sensitivity

__all__ = ["TITLES", "beside", "heading", "render_text", "summary"]

TITLES = {"before": "The data", "after": "The fit"}

_INDENT = 15
_WIDEST = 44


def render_text(check: Check, width: int = 100) -> str:
    """All findings, those of the data before those of the fit, and the table of sensitivity."""
    blocks = [f"{textwrap.fill(check.facts['formula'], width)}\n{heading(check)}"]
    for part, findings in groupby(check.findings, key=lambda finding: finding.part):
        lines = [TITLES[part]]
        for finding in findings:
            head = f"{finding.name}: {finding.number}" if finding.number else finding.name
            lines.append(_filled(f"{finding.verdict:<{_INDENT - 2}}", head, width))
            lines.append(_filled("", f"{finding.meaning} {finding.advice}", width))
        blocks.append("\n".join(lines))
    if check.sensitivity is not None:
        blocks.append(_table(check.sensitivity, width))
    return "\n\n".join(blocks)


def heading(check: Check) -> str:
    """What was checked, and how many findings ask for something."""
    facts = check.facts
    what = f"link: {facts['link']} ({facts['family']}), {facts['rows']} rows"
    return f"{what}: {summary(check)}"


def summary(check: Check) -> str:
    """How many findings ask for something."""
    counts = check.to_frame()["verdict"].value_counts()
    names = {"problem": "problem", "look": "to look at", "fine": "fine"}
    parts = [f"{counts[key]} {word}" for key, word in names.items() if key in counts]
    if counts.get("problem", 0) > 1:
        parts[0] += "s"
    if "not computed" in counts:
        parts.append(f"{counts['not computed']} not computed")
    return ", ".join(parts) + "."


def beside(found: Sensitivity) -> Iterator[tuple[str, list[float]]]:
    """Each quantity with its four numbers: conditional prior, likelihood, population-averaged."""
    table = found.table
    for name in dict.fromkeys(table["quantity"]):
        cells = []
        for kind in (CONDITIONAL, POPULATION):
            row = table[(table["quantity"] == name) & (table["kind"] == kind)]
            cells += [
                float(row[c].iloc[0]) if len(row) else np.nan for c in ("prior", "likelihood")
            ]
        yield str(name), cells


def cell(value: float) -> str:
    """A number of the table; a star where it moves."""
    return "–" if pd.isna(value) else f"{value:.2f}"


def footnote(found: Sensitivity) -> str:
    """What the table's numbers are."""
    return (
        f"How far a number's posterior moves, for each doubling, where priors (likelihood) count a "
        f"little more or less; * the priors move it (from {THRESHOLD:g} on). psense of ArviZ, "
        f"{found.n_draws} draws."
    )


def _filled(mark: str, text: str, width: int) -> str:
    lead = f"  {mark}" if mark else " " * _INDENT
    return textwrap.fill(text, width, initial_indent=lead, subsequent_indent=" " * _INDENT)


def _table(found: Sensitivity, width: int) -> str:
    rows = list(beside(found))
    first = min(max(len(name) for name, _ in rows), _WIDEST)
    first = max(first, len("power-scaling sensitivity"))
    kinds = f"{CONDITIONAL:^19}  {POPULATION:^19}"
    lines = [
        f"  {'power-scaling sensitivity':<{first}}  {kinds}",
        f"  {'':<{first}}  {'prior':>7}{'likelihood':>12}  {'prior':>7}{'likelihood':>12}",
    ]
    for name, cells in rows:
        parts = textwrap.wrap(name, first)
        shown = [
            f"{cell(value)}{'*' if i % 2 == 0 and value >= THRESHOLD else ' '}"
            for i, value in enumerate(cells)
        ]
        numbers = f"{shown[0]:>8}{shown[1]:>11}  {shown[2]:>8}{shown[3]:>11}"
        lines.append(f"  {parts[0]:<{first}}  {numbers}".rstrip())
        lines += [f"    {part}" for part in parts[1:]]
    note = textwrap.fill(footnote(found), width, initial_indent="  ", subsequent_indent="  ")
    return "\n".join([*lines, note])
