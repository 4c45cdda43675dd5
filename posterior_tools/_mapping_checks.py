"""Checks of the names that a user declares for another program's draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popavg._checks import listing, suggestion
from popavg.design import Design
from popavg.errors import DataError, SpecificationError
from popavg.grouping import GroupDesign

__all__ = [
    "SCALES",
    "check_declared",
    "check_diagonal",
    "check_keys",
    "check_names",
    "check_not_correlations",
    "check_triangular",
]

type Floats = NDArray[np.float64]

#: How near to 1 the diagonal of correlations is: single precision, or a text with six digits.
_ROUNDING = 1e-5

#: What can say how much a factor's effects vary, with its meaning; exactly one is declared.
SCALES = {
    "sd": "standard deviations",
    "var": "variances",
    "cov": "covariance matrices",
    "chol": "lower Cholesky factors of covariance matrices",
}
_BESIDE = {
    "corr": "correlation matrices, beside sd or var",
    "chol_corr": "lower Cholesky factors of correlation matrices, beside sd or var",
    "u": "the clusters' own effects",
    "z": "the same in units of Σ's root (non-centred models)",
}


def check_names(names: Mapping[str, Any], design: Design) -> None:
    """Every entry is known, and each factor's spread is declared once."""
    groups = [group.name for group in design.matrices.groups]
    kinds = {**SCALES, **_BESIDE}
    allowed = ["beta", "sigma", *(f"{kind}_{group}" for group in groups for kind in kinds)]
    allowed += [f"levels_{group}" for group in groups]
    unknown = [str(name) for name in names if name not in allowed]
    if unknown:
        raise SpecificationError(
            f"names has {listing(unknown)}",
            listing(allowed, 30),
            suggestion(unknown[0], allowed) or "name the grouping factor as the formula does",
        )
    if "beta" not in names:
        raise SpecificationError(
            "names has no 'beta'", "the conditional coefficients", "add 'beta': 'b'"
        )
    for group in groups:
        given = [f"{kind}_{group}" for kind in SCALES if f"{kind}_{group}" in names]
        if len(given) != 1:
            raise SpecificationError(
                f"names has {listing(given) or 'nothing'} for the spread of the effects of "
                f"{group!r}",
                "exactly one of "
                + ", ".join(f"'{kind}_{group}' ({words})" for kind, words in SCALES.items()),
                "say which of them the draws are",
            )
        both = [f"{kind}_{group}" for kind in _BESIDE if f"{kind}_{group}" in names]
        matrices = [name for name in both if "corr_" in name]
        if len(matrices) == 2 or (matrices and given[0].startswith(("cov_", "chol_"))):
            raise SpecificationError(
                f"names has {listing([given[0], *matrices])}",
                "correlations once, and only beside sd or var",
                "leave one out",
            )


def check_keys(names: Mapping[str, str], wanted: tuple[str, ...], what: str) -> None:
    """The mapping names each of the wanted labels and no other."""
    lacking = [label for label in wanted if label not in names]
    unknown = [str(label) for label in names if label not in wanted]
    if lacking or unknown:
        raise SpecificationError(
            f"names[{what!r}] "
            + " and ".join(
                part
                for part in (
                    f"lacks {listing(lacking)}" if lacking else "",
                    f"has {listing(unknown)}" if unknown else "",
                )
                if part
            ),
            listing(wanted, 30),
            (suggestion(unknown[0], lacking or wanted) if unknown else "")
            or "name them as the design does",
        )


def check_declared(group: GroupDesign, labels: tuple[str, ...]) -> None:
    """The declared clusters are those of the data, each once."""
    if sorted(labels) != sorted(group.levels):
        raise SpecificationError(
            f"names['levels_{group.name}'] lists {len(labels)} clusters: {listing(labels, 6)}",
            f"the {len(group.levels)} of the data, each once: {listing(group.levels, 6)}",
            "list them in the order of the draws",
        )


def check_triangular(name: str, matrix: Floats) -> None:
    """Matrices are lower triangular."""
    if np.abs(np.triu(matrix, 1)).max(initial=0.0) > 0.0:
        raise DataError(
            f"{name!r} has numbers above its diagonal",
            "lower Cholesky factors L, Σ = LL'",
            "transpose upper factors, or name whole matrices cov_ or corr_",
        )


def check_not_correlations(name: str, covariance: Floats, remedy: str) -> None:
    """Covariance matrices of several effects aren't correlation matrices.

    A sampler draws no variance of exactly 1 again and again: a diagonal of ones in every draw
    comes from correlations, or from variances that the model fixes, which can be said otherwise.
    """
    variances = np.einsum("cdqq->cdq", covariance)
    several = variances.shape[0] * variances.shape[1] > 1 and variances.shape[2] > 1
    if several and np.abs(variances - 1.0).max() < _ROUNDING:
        raise DataError(
            f"{name!r} has 1 on the diagonal in every draw, as correlations have",
            "covariances, with variances on the diagonal",
            remedy,
        )


def check_diagonal(name: str, correlation: Floats) -> None:
    """Correlations are zero, as the formula's uncorrelated effects ask for."""
    off = correlation - np.eye(correlation.shape[-1])
    if np.abs(off).max() > 0.0:
        raise DataError(
            f"{name!r} has covariances, but the formula's effects are uncorrelated",
            "the formula of the model that was fitted",
            "write '(1 + x | g)' for correlated effects",
        )
