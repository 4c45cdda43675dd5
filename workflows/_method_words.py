"""How a fit was drawn, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["WORDS", "drawn_words"]

WORDS = {
    "importance": "independent draws by importance sampling",
    "nuts": "NUTS on the integrated likelihood",
    "latent": "NUTS with every cluster's effects",
}


def drawn_words(sampler: Mapping[str, Any]) -> str | None:
    """How a fit was drawn, in a line; None where it was drawn elsewhere.

    Parameters
    ----------
    sampler : mapping
        What its specification says about the sampler.

    Returns
    -------
    str or None
    """
    if sampler.get("method") not in WORDS:
        return None
    words = WORDS[sampler["method"]]
    return f"{sampler['chains']} chains of {sampler['draws']} draws, {words}, {sampler['why']}"
