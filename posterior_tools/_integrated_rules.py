"""Which compiled rule integrates which outcomes."""

from __future__ import annotations

from collections.abc import Callable

from popavg.posterior_tools._bridge_lines import integrate_bridge_lines
from popavg.posterior_tools._integrated_kernels import integrate_lines
from popavg.posterior_tools._integrated_links import Cloglog, Log, Logit, Probit
from popavg.posterior_tools._integrated_plane import integrate_planes
from popavg.posterior_tools._logit_lines import integrate_bridge_logit_lines, integrate_logit_lines
from popavg.posterior_tools._logit_planes import integrate_logit_planes

__all__ = ["MARKERS", "kernels"]

type Kernel = Callable[..., None]

MARKERS = {"logit": Logit(), "probit": Probit(), "cloglog": Cloglog(), "log": Log()}
"""The types that tell the links apart to the general rules."""


def kernels(link: str, n_effects: int, *, bridge: bool = False) -> tuple[Kernel | None, Kernel]:
    """A fast rule that leaves some clusters out, where there is one, and the one for the others."""
    if bridge:
        return integrate_bridge_logit_lines, integrate_bridge_lines
    general = integrate_lines if n_effects == 1 else integrate_planes
    if link != "logit":
        return None, general
    return (integrate_logit_lines if n_effects == 1 else integrate_logit_planes), general
