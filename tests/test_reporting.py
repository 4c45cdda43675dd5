"""The page needs no other file, escapes every name, and shows what the comparison holds."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import popavg as pa
from popavg.design import Design, family_of
from popavg.errors import SpecificationError, StorageError
from popavg.posterior_tools.comparison import Comparison
from popavg.posterior_tools.draws import read_specification
from popavg.posterior_tools.tree import fit_tree, specify
from popavg.specification import ATTRIBUTE
from popavg.workflows import reporting
from popavg.workflows.reporting import picture_png, render_report, report

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def fit() -> xr.DataTree:
    return pa.load_example()


@pytest.fixture(scope="module")
def comparison(fit: xr.DataTree) -> Comparison:
    return pa.compare_gee(fit)


def hostile_fit() -> xr.DataTree:
    """Columns, levels, priors and a verdict that are pieces of HTML."""
    rng = np.random.default_rng(1)
    rows = 200
    arm = rng.choice(["<script>alert(1)</script>", "a & 'b'"], rows)
    data = {"<b>y": rng.integers(0, 2, rows), "<i onload=x>": rng.normal(size=rows), "arm": arm}
    frame = pd.DataFrame({**data, "<g>": rng.integers(0, 25, rows)})
    formula, link = "`<b>y` ~ `<i onload=x>` * arm + (1 | `<g>`)", pa.get_link("logit")
    family = family_of(formula, link)
    design = Design.build(formula, frame, family=family)
    terms = design.matrices.terms
    posterior = xr.Dataset(
        {
            "beta": (("chain", "draw", "term"), rng.normal(0, 0.2, (2, 50, len(terms)))),
            "sd_<g>": (("chain", "draw", "effect_<g>"), rng.uniform(0.4, 0.8, (2, 50, 1))),
        },
        coords={"term": list(terms), "effect_<g>": ["Intercept"]},
    )
    specification = replace(
        specify(design, link, family),
        priors={"sd_<g>": {"name": "HalfNormal", "params": {"<sigma>": 2}}},
        sampler={"verdict": ["R-hat is 1.2 for '<u>'."], "seed": 1},
    )
    return fit_tree(design, specification, {"posterior": posterior})


class _Page(HTMLParser):
    """Tags and what they point to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.targets: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.targets += [str(value) for name, value in attrs if name in ("src", "href", "data")]


def test_page_is_self_contained(fit: xr.DataTree, comparison: Comparison, tmp_path: Path) -> None:
    path = report(fit, tmp_path / "page.html", comparison=comparison)
    text = path.read_text("utf-8")
    page = _Page(text)
    assert [target[:22] for target in page.targets] == ["data:image/png;base64,"]
    assert "http" not in re.sub(r"base64,[^\"]*", "", text)
    assert "@import" not in text
    assert "url(" not in text
    assert not {"script", "link", "iframe"} & set(page.tags)
    picture = base64.b64decode(page.targets[0].partition(",")[2])
    assert picture.startswith(PNG)
    pixels = int.from_bytes(picture[16:20], "big")
    assert f'<img width="{round(pixels / 1.5)}"' in text
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_page_shows_the_comparison(fit: xr.DataTree, comparison: Comparison) -> None:
    text = render_report(fit, comparison, None)
    assert "<img" not in text
    for term in comparison.terms:
        assert f">{term}<" in text
    for value in comparison.estimates["estimate"]:
        assert f"{value:.3f}" in text or f"{value:.2f}" in text
    for sentence in comparison.words:
        assert sentence.split("'")[0] in text
    assert "sd_patient[Intercept]" in text
    assert "89 % credible intervals (eti)" in text


def test_the_picture_has_the_level_of_the_comparison(
    fit: xr.DataTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}
    plot = reporting.plot_population_curve

    def noted(*arguments: Any, **options: Any) -> Any:
        asked.update(options)
        return plot(*arguments, **options)

    monkeypatch.setattr(reporting, "plot_population_curve", noted)
    picture_png(fit, "time", comparison=pa.compare_gee(fit, ci_prob=0.5, ci_kind="hdi"))
    assert (asked["ci_prob"], asked["ci_kind"]) == (0.5, "hdi")


def test_intervals_have_the_level_of_the_comparison(fit: xr.DataTree) -> None:
    text = render_report(fit, pa.compare_gee(fit, ci_prob=0.5), None)
    assert "50 % credible intervals (eti)" in text
    lower = fit["posterior"]["sd_patient"].quantile(0.25).item()
    assert f"<td>{lower:.3f}</td>" in text


def test_names_are_escaped(tmp_path: Path) -> None:
    text = report(hostile_fit(), tmp_path / "page.html").read_text("utf-8")
    assert not {"script", "i", "b", "g", "u"} & set(_Page(text).tags)
    for piece in ("&lt;script&gt;alert(1)", "&lt;i onload=x&gt;", "&lt;b&gt;y", "&lt;g&gt;"):
        assert piece in text
    assert "HalfNormal(&lt;sigma&gt;=2)" in text
    assert '<p class="warning">R-hat is 1.2 for &#39;&lt;u&gt;&#39;.</p>' in text


def test_a_good_fit_has_no_warning(fit: xr.DataTree, comparison: Comparison) -> None:
    assert 'class="warning"' not in render_report(fit, comparison, None)


def test_clusters_own_effects_and_constants_are_not_listed(comparison: Comparison) -> None:
    fit = pa.load_example()
    data = fit["posterior"].to_dataset()
    shape = (data.sizes["chain"], data.sizes["draw"], 1, 1)
    data["corr_patient"] = (("chain", "draw", "effect_patient", "other"), np.ones(shape))
    data["u_patient"] = (("chain", "draw", "patient"), np.zeros((*shape[:2], 2)))
    groups = {name: group.to_dataset() for name, group in fit.children.items()}
    tree = xr.DataTree.from_dict({**groups, "posterior": data})
    tree.attrs[ATTRIBUTE] = read_specification(fit).to_json()
    text = render_report(tree, comparison, None)
    assert "corr_patient" not in text
    assert "u_patient" not in text


def test_parameters_are_in_order_and_correlations_once(comparison: Comparison) -> None:
    fit = pa.load_example()
    data = fit["posterior"].to_dataset()
    shape = (data.sizes["chain"], data.sizes["draw"])
    off = np.random.default_rng(1).uniform(-0.5, 0.5, shape)
    ones = np.ones(shape)
    corr = np.moveaxis(np.array([[ones, off], [off, ones]]), (0, 1), (2, 3))
    labels = {"effect": ["Intercept", "time"], "other": ["Intercept", "time"]}
    corr_first = xr.Dataset({"corr_x": (("chain", "draw", "effect", "other"), corr)}, labels)
    groups = {name: group.to_dataset() for name, group in fit.children.items()}
    groups["posterior"] = corr_first.merge(data)
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = fit.attrs
    page = render_report(tree, comparison, None).partition("Conditional parameters</h2>")[2]
    found = re.findall(r"<tr><td>(\w+\[.*?\])</td>", page)
    terms = [f"beta[{term}]" for term in comparison.terms]
    assert found == [*terms, "sd_patient[Intercept]", "corr_x[Intercept, time]"]


def test_model_without_covariates_has_no_picture(tmp_path: Path) -> None:
    formula, link = "y ~ 1 + (1 | patient)", pa.get_link("logit")
    family = family_of(formula, link)
    design = Design.build(formula, pa.load_dataset("toenail"), family=family)
    example = pa.load_example()["posterior"].to_dataset()
    posterior = example.isel(term=[0])
    fit = fit_tree(design, specify(design, link, family), {"posterior": posterior})
    text = report(fit, tmp_path / "page.html").read_text("utf-8")
    assert "<img" not in text
    assert "The population curve" not in text


def test_picture_shows_the_gee_of_the_comparison(
    fit: xr.DataTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = {}

    def note(fit: xr.DataTree, over: str, **options: object) -> object:
        drawn.update(options)
        raise InterruptedError

    monkeypatch.setattr(reporting, "plot_population_curve", note)
    with pytest.raises(InterruptedError):
        picture_png(fit, "time", comparison=pa.compare_gee(fit, working_correlation="independence"))
    data = pa.load_dataset("toenail")
    gee = pa.gee(
        "y ~ treatment * time", data, "patient", link="logit", working_correlation="independence"
    )
    assert drawn["gee"].working_correlation == "independence"
    X = np.array([[1.0, 1.0, 6.0, 6.0], [1.0, 0.0, 0.0, 0.0]])
    np.testing.assert_allclose(drawn["gee"].predict(X), gee.predict(X), rtol=1e-10)


def test_refusals(fit: xr.DataTree, comparison: Comparison, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("mine")
    with pytest.raises(StorageError, match=r"exists.*overwrite=True"):
        report(fit, path, comparison=comparison)
    with pytest.raises(SpecificationError, match="over='tim' isn't a covariate"):
        report(fit, path, over="tim", comparison=comparison, overwrite=True)
    with pytest.raises(StorageError, match=r"folder .* doesn't exist\. Make it first"):
        report(fit, tmp_path / "no" / "page.html", comparison=comparison)
    assert path.read_text() == "mine"
    report(fit, path, over="time", comparison=comparison, overwrite=True)
    assert path.read_text("utf-8").startswith("<!DOCTYPE html>")
