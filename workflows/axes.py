"""Which covariates a picture shows where the user doesn't say."""

from __future__ import annotations

from popavg._checks import listing, suggestion
from popavg.design import Design
from popavg.errors import SpecificationError

__all__ = ["choose_axes", "default_axes"]

#: A covariate with at most this many values may make separate curves.
MAX_CURVES = 4


def choose_axes(
    design: Design, over: str | None = None, by: str | None = None
) -> tuple[str | None, str | None]:
    """The covariates asked for, and defaults for what wasn't.

    Parameters
    ----------
    design : Design
        The model's.
    over, by : str, optional
        Covariate along the curve, and of separate curves. Where only ``over`` is given there are
        no separate curves.

    Returns
    -------
    over : str or None
        Along the curve.
    by : str or None
        Of separate curves. None and None for a model without covariates: there is nothing to draw.

    Raises
    ------
    SpecificationError
        One of them isn't a covariate of the model, or both are the same.
    """
    for argument, name in (("over", over), ("by", by)):
        if name is not None and name not in design.predictors:
            raise SpecificationError(
                f"{argument}={name!r} isn't a covariate of the model",
                listing(design.predictors) or "no covariate: the model has none",
                suggestion(name, design.predictors),
            )
    if over is not None and over == by:
        raise SpecificationError(f"over and by are both {over!r}", "two covariates")
    if over is not None:
        return over, by
    along, apart = default_axes(design, without=by)
    return (along, by or apart) if along else (by, None)


def default_axes(design: Design, *, without: str | None = None) -> tuple[str | None, str | None]:
    """The numeric covariate with most values, and the first category with few levels.

    Parameters
    ----------
    design : Design
        The model's.
    without : str, optional
        A covariate that has its place already.
    """
    names = [name for name in design.predictors if name != without]
    counts = {name: design.frame[name].nunique() for name in names}
    numeric = [name for name in names if design.frame[name].dtype.kind in "iuf"]
    others = [name for name in names if name not in numeric]
    along = max(numeric or others, key=lambda name: counts[name], default=None)
    few = [name for name in (*others, *numeric) if name != along and counts[name] <= MAX_CURVES]
    return along, next(iter(few), None)
