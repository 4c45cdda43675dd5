"""The comparison on a terminal."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from rich.cells import cell_len

from popavg.posterior_tools.comparison import MODELS, Comparison
from popavg.posterior_tools.comparison_text import cell, cells, footnotes, heading, render_text


def test_every_term_number_and_sentence_is_there(comparison: Comparison) -> None:
    text = render_text(comparison)
    for term in comparison.terms:
        assert f" {term} " in text
    for _, row in comparison.estimates.iterrows():
        assert f" {row['estimate']:.3f} " in text
        assert f"[{row['lower']:.3f}, {row['upper']:.3f}]" in text
    for _, row in comparison.agreement.iterrows():
        assert f"{row['attenuation']:.2f}" in text
        assert f"{row['distance']:+.2f}" in text
    flat = " ".join(text.split())
    for sentence in comparison.words:
        assert sentence in flat


@pytest.mark.parametrize("width", [60, 110])
def test_lines_fit(comparison: Comparison, width: int) -> None:
    lines = render_text(comparison, width).splitlines()
    table = [line for line in lines if line.startswith(" ") or "─" in line]
    assert table
    assert all(len(line) <= width for line in lines if line not in table)
    assert all(len(line) <= 130 for line in table)
    assert all(line == line.rstrip() for line in lines)


def test_what_the_intervals_are(comparison: Comparison) -> None:
    notes = footnotes(comparison)
    assert (
        notes[0] == "Intervals: 90 %; confidence for GLM and GEE (robust), credible for the GLMM."
    )
    assert notes[1] == "Population-averaged: projection, exchangeable, α = 0.420."
    assert "at most 0.0123, root mean square 0.0040 (probability scale)" in notes[2]
    assert notes[3] == "GEE: α = 0.420, scale φ = 1.010."
    assert "rows, 12 clusters of 'g'" in heading(comparison)


def test_how_the_draws_came_is_told_where_it_is_known(comparison: Comparison) -> None:
    assert not any(note.startswith("GLMM: ") for note in footnotes(comparison))
    facts = {**comparison.facts, "drawn": ["GLMM: 4 chains of 5 draws, by hand, as asked for."]}
    notes = footnotes(replace(comparison, facts=facts))
    assert "GLMM: 4 chains of 5 draws, by hand, as asked for." in notes


def test_independence_has_no_alpha(comparison: Comparison) -> None:
    facts = {**comparison.facts, "alpha": None, "working_correlation": "independence"}
    assert not any("α" in note for note in footnotes(replace(comparison, facts=facts))[2:])


def test_long_wide_and_marked_up_names_are_kept(comparison: Comparison) -> None:
    names = ["[bold]x[/bold]", "größe[日本語]", "very " * 12 + "long"]
    mapping = dict(zip(comparison.terms, names, strict=True))
    renamed = replace(
        comparison,
        estimates=comparison.estimates.assign(term=comparison.estimates["term"].map(mapping)),
        agreement=comparison.agreement.assign(term=names),
    )
    text = render_text(renamed)
    assert "[bold]x[/bold]" in text
    assert "größe[日本語]" in text
    folded = [line[1:42] for line in text.splitlines() if line.startswith(" ")]
    assert "".join(part.strip() for part in folded).count("very") == 12
    table = [line for line in text.splitlines() if "─" in line]
    assert all(cell_len(line) == cell_len(table[0]) for line in table)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((1.5, 0.5, 0.5, 2.5), ("1.500", "[0.500, 2.500]")),
        ((0.00012, 0.00002, 0.00008, 0.00016), ("0.000120", "[0.000080, 0.000160]")),
        ((1234.5, 40.0, 1150.0, 1300.0), ("1234.500", "[1150.000, 1300.000]")),
    ],
)
def test_as_many_decimals_as_the_standard_error_deserves(
    values: tuple[float, ...], shown: tuple[str, str]
) -> None:
    row = pd.Series(dict(zip(("estimate", "std_error", "lower", "upper"), values, strict=True)))
    assert cell(row) == shown


def test_cells_are_in_the_order_of_the_columns(comparison: Comparison) -> None:
    table = comparison.estimates.set_index(["term", "model"])
    for term, row in cells(comparison):
        assert len(row) == len(MODELS) + 2
        for model, (number, _) in zip(MODELS, row, strict=False):
            assert float(number) == pytest.approx(table.loc[(term, model), "estimate"], abs=5e-4)
