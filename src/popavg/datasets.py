"""The data sets that come with the package."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd

from popavg._checks import check_choice

__all__ = ["list_datasets", "load_dataset"]

_FOLDER = files("popavg") / "data"
_ATTRS = ("title", "source", "cluster", "time", "wave", "formula", "link", "variables")


@cache
def _catalogue() -> dict[str, dict[str, Any]]:
    return json.loads((_FOLDER / "datasets.json").read_text(encoding="utf-8"))


def load_dataset(name: str) -> pd.DataFrame:
    """Load a data set that comes with the package, one row per observation.

    Parameters
    ----------
    name : str
        One of the names that :func:`list_datasets` shows.

    Returns
    -------
    pandas.DataFrame
        A new frame at each call. Factors are categorical, their reference level first; 0/1
        covariates stay numbers. ``attrs`` holds ``name``, ``title``, ``source``, ``cluster`` (the
        column rows are repeats of), ``time`` and ``wave`` (the columns that order a cluster's rows:
        measured, and counted; None where there is no order), ``formula`` and ``link`` (a model
        published for these data) and ``variables`` (column -> meaning and unit).

    Raises
    ------
    SpecificationError
        No data set has this name.

    See Also
    --------
    list_datasets : all of them, with their size and source.

    Notes
    -----
    Factors are *ordered* categoricals because formulae sorts the levels of unordered ones by their
    name, which would make ``drug`` the reference of ``placebo``.

    Examples
    --------
    >>> import popavg as pa
    >>> data = pa.load_dataset("toenail")
    >>> data.shape
    (1908, 6)
    >>> data["treatment"].cat.categories.to_list()
    ['itraconazole', 'terbinafine']
    >>> data.attrs["variables"]["time"]
    'exact time of the visit, in months'
    """
    check_choice("name", name, list(_catalogue()))
    entry = _catalogue()[name]
    levels: dict[str, list[str]] = entry["levels"]
    with (_FOLDER / f"{name}.csv").open(encoding="utf-8") as stream:
        frame = pd.read_csv(stream, dtype=dict.fromkeys(levels, "str"), keep_default_na=False)
    kinds = {column: pd.CategoricalDtype(values, ordered=True) for column, values in levels.items()}
    frame = frame.astype(kinds)
    frame.attrs = {"name": name} | {key: _copy(entry[key]) for key in _ATTRS}
    return frame


def _copy(value: Any) -> Any:
    return dict(value) if isinstance(value, dict) else value


def list_datasets() -> pd.DataFrame:
    """List the data sets that come with the package.

    Returns
    -------
    pandas.DataFrame
        One row per data set: ``name``, ``title``, ``rows``, ``clusters`` (their number),
        ``cluster`` (the column), ``response``, ``formula``, ``link``, ``source``.

    See Also
    --------
    load_dataset : load one of them.

    Examples
    --------
    >>> import popavg as pa
    >>> pa.list_datasets()[["name", "rows", "clusters", "cluster", "link"]]
                name  rows  clusters   cluster   link
    0        toenail  1908       294   patient  logit
    1           ohio  2148       537        id  logit
    2    respiratory   444       111   subject  logit
    3       bacteria   220        50        ID  logit
    4  contraception  1934        60  district  logit
    5           cbpp    56        15      herd  logit
    6           epil   236        59   subject    log
    """
    return pd.DataFrame([_row(name) for name in _catalogue()])


def _row(name: str) -> dict[str, Any]:
    frame = load_dataset(name)
    about = frame.attrs
    return {
        "name": name,
        "title": about["title"],
        "rows": len(frame),
        "clusters": frame[about["cluster"]].nunique(),
        "cluster": about["cluster"],
        "response": about["formula"].split("~")[0].strip(),
        "formula": about["formula"],
        "link": about["link"],
        "source": about["source"],
    }
