"""Compute exact_ml.json's estimates again: python tests/reference/make_exact_ml.py [DATASET ...].

Prints, for each link, the largest differences from the JSON of the coefficients, the standard
deviation of the random intercepts, the standard errors, the log-likelihood and the coefficients
of the population mean. popavg lends its data sets and the design matrix; the likelihood is here.

L(beta, tau) = prod_i of the integral of prod_j f(y_ij | x_ij'beta + tau z) phi(z) over z, by the
trapezoid rule on 801 nodes from -9 to 9; BFGS, then Newton's method until |gradient| < 1e-8. The
gradient is exact, the Hessian its central difference. The JSON was made with NumPy 2.4.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, gammaln, log_expit, log_ndtr, logit, ndtr, ndtri

import popavg as pa
from popavg.design import Design, family_of

Floats = NDArray[np.float64]
REFERENCE = Path(__file__).with_name("exact_ml.json")
Z = np.linspace(-9.0, 9.0, 801)
WEIGHT = np.exp(-0.5 * Z**2) / np.sqrt(2.0 * np.pi) * (Z[1] - Z[0])
KEYS = ("coef", "sd", "se", "sd_se", "logLik", "marginal_coef")


@dataclass(frozen=True)
class Data:
    """A link, and of each row: design, response, trials, cluster."""

    link: str
    X: Floats
    y: Floats
    n: Floats
    cluster: NDArray[np.intp]


def density(link: str, y: Floats, n: Floats, eta: Floats) -> tuple[Floats, Floats]:
    """log f(y | eta) and its derivative in eta, for y of n trials (for the log link: a count)."""
    if link == "log":
        return y * eta - np.exp(eta) - gammaln(y + 1), y - np.exp(eta)
    constant = gammaln(n + 1) - gammaln(y + 1) - gammaln(n - y + 1)
    if link == "logit":
        log_p, log_q, d_p, d_q = log_expit(eta), log_expit(-eta), expit(-eta), -expit(eta)
    elif link == "probit":
        log_p, log_q = log_ndtr(eta), log_ndtr(-eta)
        log_phi = -0.5 * eta**2 - 0.5 * np.log(2.0 * np.pi)
        d_p, d_q = np.exp(log_phi - log_p), -np.exp(log_phi - log_q)
    else:  # cloglog
        log_q = -np.exp(eta)
        log_p = np.log(-np.expm1(log_q))
        d_p, d_q = np.exp(eta + log_q - log_p), log_q
    return constant + y * log_p + (n - y) * log_q, y * d_p + (n - y) * d_q


def log_likelihood(theta: Floats, data: Data) -> tuple[float, Floats]:
    """Log-likelihood and its gradient in theta = (beta, tau)."""
    eta = (data.X @ theta[:-1])[:, None] + theta[-1] * Z
    row, slope = density(data.link, data.y[:, None], data.n[:, None], eta)
    joint = np.zeros((data.cluster.max() + 1, len(Z)))
    np.add.at(joint, data.cluster, row)
    top = joint.max(axis=1, keepdims=True)
    integrand = np.exp(joint - top) * WEIGHT
    total = integrand.sum(axis=1, keepdims=True)
    posterior = (integrand / total)[data.cluster] * slope
    gradient = np.append(data.X.T @ posterior.sum(axis=1), (posterior @ Z).sum())
    return float((np.log(total) + top).sum()), gradient


def hessian(theta: Floats, data: Data) -> Floats:
    h = 1e-5
    steps = h * np.eye(len(theta))
    columns = [
        (log_likelihood(theta + s, data)[1] - log_likelihood(theta - s, data)[1]) / (2.0 * h)
        for s in steps
    ]
    return 0.5 * (np.array(columns) + np.array(columns).T)


def maximise(data: Data) -> tuple[Floats, float, Floats]:
    """The estimate theta, its log-likelihood and covariance."""

    def negative(theta: Floats) -> tuple[float, Floats]:
        value, gradient = log_likelihood(theta, data)
        return -value, -gradient

    start = np.append(np.zeros(data.X.shape[1]), 1.0)
    theta = minimize(negative, start, jac=True, method="BFGS").x
    for _ in range(20):
        value, gradient = log_likelihood(theta, data)
        if np.linalg.norm(gradient) < 1e-8:
            return theta, value, np.linalg.inv(-hessian(theta, data))
        theta = theta - np.linalg.solve(hessian(theta, data), gradient)
    raise RuntimeError(f"|gradient| = {np.linalg.norm(gradient):.2g}")


def population_coefficients(theta: Floats, data: Data) -> Floats:
    """(X'X)^{-1} X' g(mean), each observed row counting once."""
    eta = (data.X @ theta[:-1])[:, None] + theta[-1] * Z
    inverse = {"logit": expit, "probit": ndtr, "cloglog": lambda e: -np.expm1(-np.exp(e))}
    mean = inverse.get(data.link, np.exp)(eta) @ WEIGHT
    to_link = {"logit": logit, "probit": ndtri, "cloglog": lambda p: np.log(-np.log1p(-p))}
    return np.linalg.lstsq(data.X, to_link.get(data.link, np.log)(mean), rcond=None)[0]


def compute(name: str, formula: str, link: str) -> dict[str, Any]:
    """The estimates of one data set and link, by KEYS."""
    chosen = pa.get_link(link)
    family = family_of(formula, chosen)
    design = Design.build(formula, pa.load_dataset(name), family=family)
    X, response = design.matrices.X, design.response
    n = np.ones(len(X)) if response.trials is None else response.trials
    data = Data(link, X, response.y, n, design.matrices.groups[0].index)
    theta, value, covariance = maximise(data)
    if theta[-1] < 0:  # the likelihood is even in tau
        raise RuntimeError("the standard deviation came out negative")
    se = np.sqrt(np.diag(covariance))
    averaged = population_coefficients(theta, data)
    values = (theta[:-1], theta[-1], se[:-1], se[-1], value, averaged)
    return dict(zip(KEYS, values, strict=True))


if __name__ == "__main__":
    reference = json.loads(REFERENCE.read_text(encoding="utf-8"))["datasets"]
    for name in sys.argv[1:] or list(reference):
        for link, stored in reference[name]["links"].items():
            found = compute(name, reference[name]["formula"], link)
            gaps = {key: np.abs(found[key] - np.array(stored[key])).max() for key in KEYS}
            words = ", ".join(f"{key} {gap:.1e}" for key, gap in gaps.items())
            print(f"{name} {link}: coef {np.round(found['coef'], 6)}, sd {found['sd']:.6f}")
            print(f"  logLik {found['logLik']:.6f}; largest differences: {words}")
