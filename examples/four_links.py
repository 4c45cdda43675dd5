"""Twenty grey curves and their average, for four links side by side.

Every grey curve is one cluster; all have the same slope. The blue curve is the average over the
whole population of clusters. Below each picture stand the conditional and the population-averaged
coefficients: with the logit the average is flatter and no longer exactly logistic, with the probit
it is exactly a flatter probit curve, with the log it is shifted, with the identity it is the same.

    python four_links.py [FOLDER]
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

import popavg as pa
from popavg.design import Design, family_of
from popavg.posterior_tools.tree import fit_tree, specify

GREY, BLUE = "#b5b5b5", "#0072b2"
N_CURVES = 20


@dataclass(frozen=True)
class Case:
    """A mixed model with known parameters: y ~ x + (1 | cluster)."""

    link: str
    slope: float
    sd: float
    reach: float  # x goes from -reach to reach
    outcome: tuple[float, float]  # two values that such a response can have
    verdict: str
    y_axis: str


CASES = (
    Case("logit", 1.0, 2.5, 6.0, (0, 1), "flatter", "probability"),
    Case("probit", 1.0, 1.5, 4.0, (0, 1), "exactly flatter", "probability"),
    Case("log", 0.5, 1.0, 3.0, (0, 3), "shifted", "mean count"),
    Case("identity", 1.0, 1.5, 3.0, (-1.5, 1.5), "the same", "mean"),
)


def known_fit(case: Case) -> xr.DataTree:
    """A "fit" with a single draw: the parameters themselves."""
    n_clusters, visits = 10, np.linspace(-case.reach, case.reach, 21)
    data = pd.DataFrame(
        {
            "y": np.resize(case.outcome, n_clusters * len(visits)),
            "x": np.tile(visits, n_clusters),
            "cluster": np.repeat(np.arange(n_clusters), len(visits)),
        }
    )
    formula, link = "y ~ x + (1 | cluster)", pa.get_link(case.link)
    family = family_of(formula, link)
    design = Design.build(formula, data, family=family)
    draw = {
        "beta": (("chain", "draw", "term"), [[[0.0, case.slope]]]),
        "sd_cluster": (("chain", "draw", "effect_cluster"), [[[case.sd]]]),
    }
    if case.link == "identity":
        draw["sigma"] = (("chain", "draw"), [[1.0]])
    coords = {"term": ["Intercept", "x"], "effect_cluster": ["Intercept"]}
    posterior = xr.Dataset(draw, coords={"chain": [0], "draw": [0], **coords})
    return fit_tree(design, specify(design, link, family), {"posterior": posterior})


def draw_case(axes: Axes, case: Case) -> None:
    """Grey curves of clusters, the average in bold."""
    link = pa.get_link(case.link)
    x = np.linspace(-case.reach, case.reach, 200)
    eta = case.slope * x
    effects = case.sd * np.random.default_rng(4).standard_normal(N_CURVES)
    for effect in effects:
        axes.plot(x, link.inverse(eta + effect), color=GREY, linewidth=1)
    average = pa.marginal_mean(eta, case.sd, case.link)
    axes.plot(x, average, color=BLUE, linewidth=3.5)
    axes.set(title=f"{case.link}: {case.verdict}", xlabel="x", ylabel=case.y_axis)
    axes.set_xlim(-case.reach, case.reach)
    if link.is_probability:
        axes.set_ylim(-0.02, 1.02)
    elif case.link == "log":
        axes.set_ylim(0, 2.5 * float(average[-1]))
    axes.spines[["top", "right"]].set_visible(False)


def coefficients(case: Case) -> pd.DataFrame:
    """Conditional and population-averaged coefficients, one row each."""
    population = pa.population_coefficients(known_fit(case)).draws.to_numpy().ravel()
    rows = {"conditional": [0.0, case.slope], "population-averaged": population}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["intercept", "slope"])


def write_under(axes: Axes, table: pd.DataFrame) -> None:
    """The coefficients as a small table below the picture."""
    numbers = [[f"{round(value, 3) + 0.0:.3f}" for value in row] for row in table.to_numpy()]
    lines = [
        ["", *table.columns],
        *([name, *row] for name, row in zip(table.index, numbers, strict=True)),
    ]
    for y, line, colour in zip((-0.28, -0.36, -0.44), lines, ("0.35", "0.2", BLUE), strict=True):
        for x, text, side in zip((0, 0.78, 1), line, ("left", "right", "right"), strict=True):
            axes.text(x, y, text, ha=side, color=colour, transform=axes.transAxes, fontsize=11)


def main(folder: Path) -> Path:
    """Draw the four pictures, print the coefficients, and save the figure."""
    figure, panels = plt.subplots(1, len(CASES), figsize=(16, 5.2))
    for axes, case in zip(panels, CASES, strict=True):
        table = coefficients(case)
        draw_case(axes, case)
        write_under(axes, table)
        print(f"{case.link} (standard deviation {case.sd:g}): {case.verdict}")
        print(f"{table.round(3) + 0.0}\n")
    figure.subplots_adjust(left=0.045, right=0.99, top=0.92, bottom=0.33, wspace=0.24)
    path = folder / "four_links.png"
    figure.savefig(path, dpi=130)
    plt.close(figure)
    print(f"written: {path}")
    return path


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path())
