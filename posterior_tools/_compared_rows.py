"""The rows that contrasts are taken of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd
from numpy.typing import ArrayLike

from popavg._checks import listing
from popavg.design import Design, DesignMatrices
from popavg.errors import DataError, SpecificationError
from popavg.posterior_tools._asked_rows import AskedRows, averaged_rows, choose_rows
from popavg.posterior_tools._changes import Contrast
from popavg.posterior_tools.draws import Posterior
from popavg.posterior_tools.grid import Varying, names_of
from popavg.posterior_tools.newdata import NewData

__all__ = ["RowRequest", "compared_rows", "stepped", "versions"]


@dataclass(frozen=True)
class RowRequest:
    """A verb's arguments about rows."""

    newdata: NewData
    over: Varying
    by: Varying
    weights: str | ArrayLike | None
    average: bool


def compared_rows(
    posterior: Posterior, contrasts: Sequence[Contrast], asked: RowRequest
) -> AskedRows:
    """The rows of a verb, in which each contrast then sets its covariates.

    Rows of a grid that differ in nothing but the covariates that every contrast sets are one row.

    Raises
    ------
    SpecificationError
        A covariate in ``variables`` and in ``over``; what
        :func:`popavg.posterior_tools._asked_rows.choose_rows` refuses.
    """
    compared = {change.variable for contrast in contrasts for change in contrast.changes}
    both = sorted(compared & set(names_of(asked.over)))
    if both:
        raise SpecificationError(
            f"{listing(both)} is in 'over' and in 'variables'",
            "each covariate in one of them: 'variables' are compared, 'over' are set",
        )
    chosen = averaged_rows if asked.average else choose_rows
    rows = chosen(posterior, asked.newdata, over=asked.over, by=asked.by, weights=asked.weights)
    in_grid = (
        asked.newdata in ("mean", "balanced")
        if isinstance(asked.newdata, str)
        else (asked.newdata is None and asked.over is not None)
    )
    return _without_repeats(rows, contrasts, asked.by) if in_grid else rows


def _without_repeats(rows: AskedRows, contrasts: Sequence[Contrast], by: Varying) -> AskedRows:
    if rows.averaging is not None:
        return rows
    own = [{c.variable for c in contrast.changes if not c.is_step} for contrast in contrasts]
    hidden = set.intersection(*own) - set(names_of(by))
    shown = [name for name in rows.labels.columns if name not in hidden]
    labels = rows.labels.loc[:, shown]
    kept = ~labels.duplicated() if shown else labels.index == labels.index[0]
    labels, frame = (part[kept].reset_index(drop=True) for part in (labels, rows.frame))
    return replace(rows, frame=frame, labels=labels)


def versions(
    design: Design, contrasts: Sequence[Contrast], frame: pd.DataFrame
) -> tuple[list[DesignMatrices], tuple[tuple[int, int], ...]]:
    """The rows at every end of a contrast, each once; of each contrast the high and the low end.

    Raises
    ------
    DataError
        Rows that don't fit the model; where steps are to blame, it says so.
    """
    ends = dict.fromkeys(end for contrast in contrasts for end in (contrast.high, contrast.low))
    position = {end: i for i, end in enumerate(ends)}
    try:
        designs = [design.evaluate(Contrast.rows(frame, end)) for end in ends]
    except DataError as error:
        names = stepped(contrasts)
        if not names or not _fits(design, frame):
            raise
        came = f"{error.came}, half a step of {listing(names)} away from its own value"
        instead = f"compare chosen values: variables={{{names[0]!r}: [low, high]}}"
        raise DataError(came, error.allowed, instead) from error
    return designs, tuple((position[c.high], position[c.low]) for c in contrasts)


def stepped(contrasts: Sequence[Contrast]) -> list[str]:
    """Covariates that change by a step from each row's own value."""
    changes = [change for contrast in contrasts for change in contrast.changes]
    return list(dict.fromkeys(change.variable for change in changes if change.is_step))


def _fits(design: Design, frame: pd.DataFrame) -> bool:
    try:
        design.evaluate(frame)
    except DataError:
        return False
    return True
