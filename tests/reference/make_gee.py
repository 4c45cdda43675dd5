"""Extract gee.json from the R runs: python tests/reference/make_gee.py FOLDER_OF_THE_RUNS.

Every NAME.json there was written by R 4.2.2 with geepack 1.3.9; the calls stand beside the numbers
(``call`` for geeglm; the GLMs are ``glm(formula, family=binomial(link), data=d)``, with
``cbind(incidence, size - incidence)`` as cbpp's response and ``poisson`` for epil). ``waves`` are
the columns named in test_gee.py; for contraception the order of the rows within a district.
"""

import json
import sys
from pathlib import Path

NAMES = ("toenail", "ohio", "respiratory", "bacteria", "contraception", "cbpp", "epil")
KEYS = ("coef", "robust_se", "naive_se")


def structure(run: dict) -> dict:
    kept = {key: list(run[key].values()) for key in KEYS}
    return {"call": run["call"], **kept, "alpha": run.get("alpha"), "scale": run["scale_phi"]}


def extract(run: dict) -> dict:
    links = {
        link: {
            "glm": {key: list(run["glm"][link][key].values()) for key in ("coef", "se")},
            **{name: structure(found) for name, found in structures.items()},
        }
        for link, structures in run["gee"].items()
    }
    return {"terms": run["meta"]["columns"], "versions": run["versions"], "links": links}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    found = {name: extract(json.loads((folder / f"{name}.json").read_text())) for name in NAMES}
    target = Path(__file__).with_name("gee.json")
    target.write_text(json.dumps(found) + "\n")
