"""Make integral_points.json and the thinned logistic_normal.json.

    python tests/reference/make_integral_points.py                       # integral_points.json
    python tests/reference/make_integral_points.py LOGISTIC_NORMAL.json  # thin a full table

Method: mpmath with 30 digits, Gauss-Legendre over short pieces of the window mode +- 13. The
integrand is g^-1(eta + sd z) phi(z) (or its complement), log-concave and at least as concentrated
as a normal density about its mode, so that what lies outside is below 1e-36 of it. The numbers are
logarithms, since most of the means themselves are too small for a float. Mean and complement are
integrated apart and checked to sum to 1; then the larger is given its digits by the smaller.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath

mp: Any = mpmath.mp
HERE = Path(__file__).parent
ETA = ("-40", "-17.3", "-5", "-0.7", "0", "0.3", "3", "11", "40")
SD = ("0.05", "0.3", "0.95", "1.05", "3.7", "9", "20")
FAR = (("-700", "1"), ("700", "1"), ("-700", "100"), ("700", "100"), ("-200", "50"), ("6", "1e-4"))
LOG_MEAN: dict[str, Callable] = {
    "logit": lambda x: -mp.log1p(mp.exp(-x)),
    "cloglog": lambda x: mp.log(-mp.expm1(-mp.exp(x))),
}
LOG_COMPLEMENT: dict[str, Callable] = {
    "logit": lambda x: -mp.log1p(mp.exp(x)),
    "cloglog": lambda x: -mp.exp(x),
}


def log_integral(log_g: Callable, eta: Any, sd: Any) -> Any:
    """log of the integral of exp(log_g(eta + sd z)) phi(z)."""

    def log_integrand(z: Any) -> Any:
        return log_g(eta + sd * z) - z * z / 2

    low, high = mp.mpf(-1000), mp.mpf(1000)
    for _ in range(160):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if log_integrand(left) < log_integrand(right):
            low = left
        else:
            high = right
    peak = log_integrand(low)
    pieces = int(max(13, 26 * sd / 3))
    edges = [low + mp.mpf(26 * k) / pieces - 13 for k in range(pieces + 1)]
    total, error = mp.quad(
        lambda z: mp.exp(log_integrand(z) - peak), edges, method="gauss-legendre", error=True
    )
    assert error < mp.mpf(10) ** -20, (eta, sd, error)
    return peak + mp.log(total / mp.sqrt(2 * mp.pi))


def points(link: str) -> list[list[str]]:
    """Rows of eta, sd, log mean, log complement."""
    rows = []
    for eta, sd in [(eta, sd) for eta in ETA for sd in SD] + list(FAR):
        at = mp.mpf(float(eta)), mp.mpf(float(sd))
        logs = [log_integral(side[link], *at) for side in (LOG_MEAN, LOG_COMPLEMENT)]
        assert abs(mp.exp(logs[0]) + mp.exp(logs[1]) - 1) < mp.mpf(10) ** -20, (eta, sd)
        larger = int(logs[1] > logs[0])
        logs[larger] = mp.log1p(-mp.exp(logs[1 - larger]))
        rows.append([eta, sd, *(mp.nstr(value, 20) for value in logs)])
    return rows


def make_points() -> None:
    """Write integral_points.json."""
    mp.dps = 30
    write(
        "integral_points.json",
        {
            "description": "log E g^-1(eta + sd Z) and log(1 - E g^-1(eta + sd Z)), Z ~ N(0, 1)",
            "source": f"tests/reference/make_integral_points.py, mpmath {mpmath.__version__}",
            "columns": ["eta", "sd", "log_mean", "log_complement"],
            "points": {link: points(link) for link in LOG_MEAN},
        },
    )


def thin(path: Path) -> None:
    """Write logistic_normal.json: p, q and g(p) of every second point of a full table."""
    full = json.loads(path.read_text())
    columns = ("eta", "tau", "p", "q", "link_p")
    write(
        "logistic_normal.json",
        {
            "description": "E g^-1(eta + tau Z) = p, 1 - p = q and g(p), Z ~ N(0, 1)",
            "source": f"mpmath {full['mpmath']}, {full['dps']} digits, trapezoid rule in z with "
            "step halving; every second eta of a table of 25 digits, cut to 17",
            "columns": ["eta", "sd", "p", "q", "link"],
            "points": {
                link: [
                    [mp.nstr(mp.mpf(row[c]), 17) for c in columns]
                    for row in full[link]["grid"]
                    if float(row["eta"]) % 2 == 0
                ]
                for link in ("logit", "cloglog", "probit")
            },
        },
    )


def write(name: str, content: dict) -> None:
    """JSON with one point in each line."""
    text = json.dumps(content, indent=1)
    for gap in (",\n    ", "[\n    "):
        text = text.replace(gap, gap.rstrip() + ("" if gap[0] == "[" else " "))
    (HERE / name).write_text(text.replace("\n   ]", "]") + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        thin(Path(sys.argv[1]))
    else:
        make_points()
