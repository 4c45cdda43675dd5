"""The comparison as HTML: whole, and safe for any name."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from popavg.posterior_tools.comparison import Comparison
from popavg.posterior_tools.comparison_html import render_html

NASTY = "<script>alert('1')</script> & \"quoted\" 'too' </td> {{ 7 * 7 }} 日本"
TAGS = {"div", "style", "p", "code", "table", "thead", "tbody", "tr", "th", "td", "small", "br"}


class Reader(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


def renamed(comparison: Comparison, name: str) -> Comparison:
    terms = {term: f"{name}{i}" for i, term in enumerate(comparison.terms)}
    facts = {**comparison.facts, "formula": name, "groups": name, "random_effects": [name]}
    return replace(
        comparison,
        estimates=comparison.estimates.assign(term=comparison.estimates["term"].map(terms)),
        agreement=comparison.agreement.assign(term=list(terms.values())),
        facts=facts,
        words=(name,),
    )


def test_every_number_and_word_is_there(comparison: Comparison) -> None:
    reader = read(render_html(comparison))
    text = " ".join(" ".join(reader.text).split())
    for _, row in comparison.estimates.iterrows():
        assert f"{row['estimate']:.3f} [{row['lower']:.3f}, {row['upper']:.3f}]" in text
    for sentence in comparison.words:
        assert sentence in text
    assert reader.tags.count("tr") == 1 + len(comparison.terms)
    assert reader.tags.count("td") == 7 * len(comparison.terms)
    assert reader.tags.count("th") == 7


def test_the_own_column_is_marked(comparison: Comparison) -> None:
    html = render_html(comparison)
    assert html.count('<td class="own">') == len(comparison.terms)
    own = comparison.estimates.query("model == 'population-averaged'")["estimate"]
    for value in own:
        assert f'<td class="own">{value:.3f}<small>' in html


def test_it_is_self_contained(comparison: Comparison) -> None:
    html = render_html(comparison)
    assert "http" not in html
    assert "src=" not in html


def test_hostile_names_are_text(comparison: Comparison) -> None:
    html = render_html(renamed(comparison, NASTY))
    reader = read(html)
    assert set(reader.tags) <= TAGS
    assert "<script" not in html
    assert "{{ 7 * 7 }}" in html
    text = "".join(reader.text)
    assert text.count(NASTY) >= 3 + len(comparison.terms)


@given(name=st.text(min_size=1, max_size=30))
def test_no_name_adds_a_tag_or_attribute(comparison: Comparison, name: str) -> None:
    reader = read(render_html(renamed(comparison, name)))
    assert set(reader.tags) <= TAGS
    assert reader.attributes <= {"class"}
