"""The toenail trial, from a CSV file to the comparison of GLM, GLMM and GEE.

python toenail.py [FOLDER]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "agg")

import pandas as pd

import popavg as pa


def main(folder: Path) -> None:
    """Fit, compare, and write table, page, picture and fit to the folder."""
    folder.mkdir(parents=True, exist_ok=True)

    # A file as it comes from a study: one row for each visit of each patient.
    pa.load_dataset("toenail").to_csv(folder / "toenail.csv", index=False)
    data = pd.read_csv(folder / "toenail.csv")

    # The mixed model: four chains of 1000 draws. What is wrong with them, if anything, is said.
    fit = pa.fit("y ~ treatment * time + (1 | patient)", data, link="logit", seed=1, progress=False)
    pa.save(fit, folder / "fit.nc", overwrite=True)

    # GLM, GLMM (conditional and population-averaged) and GEE, with what they mean.
    comparison = pa.compare_gee(fit)
    print(comparison)
    comparison.to_frame().to_csv(folder / "comparison.csv", index=False)

    # The population's risk at the start, after half a year and after a year, in each arm.
    risk = pa.predictions(fit, over={"time": [0, 6, 12]}, by="treatment", target="population")
    print(risk.to_frame().round(3).to_string(index=False))

    # Twenty patients in grey, the population average in bold, the GEE dashed.
    picture = pa.plot_population_curve(fit, "time", by="treatment", backend="matplotlib")
    picture.savefig(folder / "population_curve.png")

    # One page with all of it.
    pa.report(fit, folder / "report.html", comparison=comparison, overwrite=True)
    for path in sorted(folder.iterdir()):
        print(f"written: {path}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("toenail-results"))
