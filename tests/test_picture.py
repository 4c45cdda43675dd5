"""The picture of a fit with its GEE."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from arviz_plots import PlotCollection

from popavg.datasets import load_dataset
from popavg.design import Design, family_of
from popavg.errors import SpecificationError
from popavg.links import get_link
from popavg.models.gee import GEEResult, gee
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.example import load_example
from popavg.posterior_tools.population_curve import population_curve
from popavg.posterior_tools.tree import fit_tree, specify
from popavg.workflows.picture import gee_curve, plot_population_curve

FORMULA = "y ~ treatment * time"


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def fit() -> xr.DataTree:
    return load_example()


@pytest.fixture(scope="module")
def reference() -> GEEResult:
    return gee(FORMULA, load_dataset("toenail"), groups="patient", link="logit")


def gee_line(collection: PlotCollection, panel: int) -> np.ndarray:
    line = collection.viz["reference"]["average"].sel(panel=panel).item()
    return np.asarray(line.get_xydata())


def labels(collection: PlotCollection) -> list[str]:
    texts = collection.viz["figure"].item().legends[0].get_texts()
    return [text.get_text() for text in texts]


def test_the_gee_is_fitted_to_the_rows_of_the_fit(fit: xr.DataTree, reference: GEEResult) -> None:
    collection = plot_population_curve(fit, "time", by="treatment", backend="matplotlib")
    intercept, terbinafine, time, interaction = reference.coefficients
    for panel, drug in enumerate([0, 1]):
        x, mean = gee_line(collection, panel).T
        eta = intercept + drug * terbinafine + (time + drug * interaction) * x
        np.testing.assert_allclose(mean, 1 / (1 + np.exp(-eta)), rtol=1e-6)
    assert labels(collection)[-1] == "GEE (exchangeable)"


def test_a_gee_can_be_given(fit: xr.DataTree, reference: GEEResult) -> None:
    other = replace(reference, coefficients=0 * reference.coefficients, working_correlation="ar1")
    collection = plot_population_curve(fit, "time", gee=other, backend="matplotlib")
    np.testing.assert_allclose(gee_line(collection, 0)[:, 1], 0.5)
    assert labels(collection)[-1] == "GEE (ar1)"


def test_no_gee(fit: xr.DataTree) -> None:
    collection = plot_population_curve(fit, "time", gee=None, backend="matplotlib")
    assert "reference" not in collection.viz.children
    assert labels(collection) == ["20 random clusters", "population average", "89 % credible band"]


def test_options_arrive(fit: xr.DataTree) -> None:
    collection = plot_population_curve(
        fit, {"time": [0, 3, 6]}, by="treatment", gee="independence", n_curves=4, seed=3,
        ci_prob=0.5, slopes=True, backend="matplotlib", col_wrap=1,
    )  # fmt: skip
    assert labels(collection) == [
        "4 random clusters", "typical cluster", "population average", "50 % credible band",
        "GEE (independence)",
    ]  # fmt: skip
    curve = population_curve(fit, {"time": [0, 3, 6]}, by="treatment", n_curves=4, seed=3)
    lines = collection.viz["clusters"]["conditional"].sel(panel=1).item().get_segments()
    np.testing.assert_allclose([line[:, 1] for line in lines], curve.conditional[1])
    assert collection.get_target(None, {"panel": 0}).get_gridspec().nrows == 2


def test_the_order_of_the_terms_does_not_matter(fit: xr.DataTree, reference: GEEResult) -> None:
    posterior, curve = Posterior.from_fit(fit), population_curve(fit, "time", by="treatment")
    backwards = replace(
        reference, terms=reference.terms[::-1], coefficients=reference.coefficients[::-1]
    )
    first, second = (gee_curve(curve, posterior, g)["mean"] for g in (reference, backwards))
    np.testing.assert_allclose(first, second, rtol=1e-12)


def test_a_gee_of_another_model(fit: xr.DataTree, reference: GEEResult) -> None:
    other = gee("y ~ time", load_dataset("toenail"), groups="patient", link="logit")
    with pytest.raises(SpecificationError, match="the GEE has the terms 'Intercept', 'time'"):
        plot_population_curve(fit, "time", gee=other)
    with pytest.raises(SpecificationError, match="the GEE has the probit link"):
        plot_population_curve(fit, "time", gee=replace(reference, link=get_link("probit")))
    assert not plt.get_fignums()


def test_crossed_factors_need_the_name_of_the_clusters() -> None:
    rng = np.random.default_rng(1)
    data = pd.DataFrame(
        {
            "rater": np.repeat(list("abcdefgh"), 8),
            "item": np.tile(list("stuvwxyz"), 8),
            "x": rng.normal(size=64),
            "y": rng.integers(0, 2, 64),
        }
    )
    formula, link = "y ~ x + (1 | rater) + (1 | item)", get_link("logit")
    family = family_of(formula, link)
    design = Design.build(formula, data, family=family)
    draws = {"beta": (("chain", "draw", "term"), rng.normal(size=(2, 10, 2)))}
    coords = {"term": list(design.matrices.terms)}
    for name in ("rater", "item"):
        draws[f"sd_{name}"] = (("chain", "draw", f"effect_{name}"), rng.uniform(1, 2, (2, 10, 1)))
        coords[f"effect_{name}"] = ["Intercept"]
    crossed = fit_tree(
        design, specify(design, link, family), {"posterior": xr.Dataset(draws, coords=coords)}
    )
    with pytest.raises(SpecificationError, match="groups="):
        plot_population_curve(crossed, "x")
    collection = plot_population_curve(crossed, "x", groups="item", backend="matplotlib")
    assert gee_line(collection, 0).shape == (50, 2)


def test_an_unknown_working_correlation(fit: xr.DataTree) -> None:
    with pytest.raises(SpecificationError, match="toeplitz"):
        plot_population_curve(fit, "time", gee="toeplitz")
