"""What a fit is: the specification that travels in its file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from popavg.errors import StorageError
from popavg.frames import Missing

__all__ = ["ATTRIBUTE", "GroupSpecification", "Specification"]

#: Attribute of the fit's root that holds the specification.
ATTRIBUTE = "popavg"


@dataclass(frozen=True)
class GroupSpecification:
    """One grouping factor: name, effects, number of clusters, correlated blocks, distribution."""

    name: str
    effects: tuple[str, ...]
    n_clusters: int
    blocks: tuple[tuple[int, ...], ...]
    distribution: str = "normal"


@dataclass(frozen=True)
class Specification:
    """All that is needed to read a fit's draws without the script that made it.

    Attributes
    ----------
    formula, link, family : str
        The model.
    response : str
        What is counted, in words.
    event : str or None
        The level counted as event.
    terms : tuple of str
        Coefficients in the order of the design matrix.
    groups : tuple of GroupSpecification
        Grouping factors.
    columns : dict
        Types and levels of the training frame's columns.
    missing : Missing
        What was done about missing values.
    priors : dict of str to dict
        Every parameter's prior as ``Prior.to_dict()`` gives it, at full precision.
    sampler : dict
        Seed, chains, draws, tuning steps, method, verdict, whether it was interrupted.
    versions : dict of str to str
        Packages and their versions.
    """

    formula: str
    link: str
    family: str
    response: str
    event: str | None
    terms: tuple[str, ...]
    groups: tuple[GroupSpecification, ...]
    columns: dict[str, dict[str, Any]]
    missing: Missing = field(default_factory=Missing)
    priors: dict[str, dict[str, Any]] = field(default_factory=dict)
    sampler: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """The specification as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, default=_plain)

    @classmethod
    def from_json(cls, text: str) -> Specification:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        StorageError
            It isn't a specification.
        """
        try:
            fields = json.loads(text)
            fields["terms"] = tuple(fields["terms"])
            fields["groups"] = tuple(_group(group) for group in fields["groups"])
            fields["missing"] = Missing(**fields["missing"])
            return cls(**fields)
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(
                f"the fit's specification can't be read ({type(error).__name__}: {error})",
                "a fit made by popavg",
                "fit again, or use the version of popavg that made it",
            ) from error

    @property
    def group_names(self) -> tuple[str, ...]:
        """Names of the grouping factors."""
        return tuple(group.name for group in self.groups)

    @property
    def mixing(self) -> str:
        """Distribution of the random effects: ``"normal"`` or ``"bridge"``."""
        return next((group.distribution for group in self.groups), "normal")


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's own."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a specification can't hold a {type(value).__name__}")


def _group(fields: Mapping[str, Any]) -> GroupSpecification:
    return GroupSpecification(
        name=fields["name"],
        effects=tuple(fields["effects"]),
        n_clusters=fields["n_clusters"],
        blocks=tuple(tuple(block) for block in fields["blocks"]),
        distribution=fields.get("distribution", "normal"),
    )
