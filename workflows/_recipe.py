"""How a run is drawn, as it stands on the disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from popavg.workflows.further_groups import Wanted
from popavg.workflows.sampling import Sampler

if TYPE_CHECKING:
    from popavg.models.random_effects import Parametrization
    from popavg.workflows.methods import Method

__all__ = ["Recipe"]


@dataclass(frozen=True)
class Recipe:
    """All of a run that isn't its model and data.

    Attributes
    ----------
    sampler : Sampler
        How it is drawn, the seed included.
    method : str
        As asked for.
    wanted : Wanted
        Further groups that the fit should have.
    parametrization : str
        Of the latent model.
    added_by_user : tuple of str
        What the user added to the model: it can't be stored.
    """

    sampler: Sampler
    method: Method
    wanted: Wanted = field(default_factory=Wanted)
    parametrization: Parametrization = "noncentered"
    added_by_user: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        return asdict(replace(self, sampler=replace(self.sampler, store=None)))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Recipe:
        """Read what :meth:`to_dict` wrote."""
        sampler, wanted = Sampler(**fields["sampler"]), Wanted(**fields["wanted"])
        added = tuple(fields["added_by_user"])
        return cls(sampler, fields["method"], wanted, fields["parametrization"], added)
