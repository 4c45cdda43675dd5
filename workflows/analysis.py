"""The main job: data in; fit, comparison, picture and report in a folder."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import xarray as xr

from popavg.errors import StorageError
from popavg.formula import Formula
from popavg.models.gee import gee_from_design
from popavg.posterior_tools.comparison import Comparison
from popavg.posterior_tools.summaries import interval_settings
from popavg.workflows.axes import choose_axes
from popavg.workflows.compare import compare_gee
from popavg.workflows.fitting import fit as fit_model
from popavg.workflows.fitting import read_design
from popavg.workflows.reporting import picture_png, render_report
from popavg.workflows.storage import replacing, save
from popavg.workflows.timings import stage

__all__ = ["Analysis", "analyse", "rehearse", "results_folder", "write"]

#: What :func:`write` writes, in its order.
FILES = ("fit.nc", "comparison.csv", "comparison.html", "population_curve.png")


@dataclass(frozen=True)
class Analysis:
    """A fit, its comparison, and which covariates the picture shows (none: no picture)."""

    fit: xr.DataTree
    comparison: Comparison
    over: str | None
    by: str | None


class Rehearsal(NamedTuple):
    """What is known before the fit: the picture's covariates and the GEE's clusters."""

    over: str | None
    by: str | None
    groups: str


def analyse(
    formula: str,
    data: pd.DataFrame,
    *,
    link: str,
    over: str | None = None,
    by: str | None = None,
    fit_options: dict[str, Any] | None = None,
    gee_options: dict[str, Any] | None = None,
    folder: Path | None = None,
) -> Analysis:
    """Fit the model and compare it with the GEE.

    Parameters
    ----------
    formula, data, link
        As for :func:`popavg.fit`.
    over, by : str, optional
        Covariates of the picture, by default the numeric one with most values and a category
        with few levels.
    fit_options, gee_options : dict, optional
        Keywords for :func:`popavg.fit` and :func:`popavg.compare_gee`.
    folder : pathlib.Path, optional
        Where the fit is kept (``fit.nc``) if the comparison fails after it.

    Raises
    ------
    PopavgError
        What :func:`popavg.fit` and :func:`popavg.compare_gee` raise. What can be known without
        the fit is raised before it: see :func:`rehearse`.
    """
    fit_options, gee_options = fit_options or {}, gee_options or {}
    columns = {name: gee_options.get(name) for name in ("groups", "time")}
    keep = [*fit_options.get("keep", ()), *_to_keep(formula, columns)]
    fit_options = {**fit_options, "keep": keep}
    with stage("checks and a first GEE"):
        known = rehearse(
            formula,
            data,
            link=link,
            axes=(over, by),
            fit_options=fit_options,
            gee_options=gee_options,
        )
    options: dict[str, Any] = {**gee_options, "groups": known.groups}
    with stage("fit"):
        fit = fit_model(formula, data, link=link, **fit_options)
    try:
        with stage("comparison"):
            comparison = compare_gee(fit, **options)
    except Exception as error:
        if folder is not None:
            kept = save(fit, folder / FILES[0], overwrite=True)
            error.add_note(f"the fit is kept: {kept}")
        raise
    return Analysis(fit, comparison, known.over, known.by)


def rehearse(
    formula: str,
    data: pd.DataFrame,
    *,
    link: str,
    axes: tuple[str | None, str | None] = (None, None),
    fit_options: dict[str, Any],
    gee_options: dict[str, Any],
) -> Rehearsal:
    """All that can go wrong without a single draw, in seconds instead of after the sampling.

    Reads the formula, builds the design, checks the picture's covariates and the intervals' level,
    and fits the GEE.

    Raises
    ------
    PopavgError
        What the fit would raise for this formula, data and link; what the GEE raises (separation,
        no convergence, clusters that aren't); a covariate or a level that isn't one.
    """
    missing, keep = fit_options.get("missing", "error"), fit_options.get("keep", ())
    design, chosen, family = read_design(formula, data, link, missing=missing, keep=keep)
    over, by = choose_axes(design, *axes)
    interval_settings(gee_options.get("ci_prob"), gee_options.get("ci_kind"))
    names = ("groups", "working_correlation", "time", "alpha")
    options = {name: gee_options[name] for name in names if gee_options.get(name) is not None}
    gee = gee_from_design(design, link=chosen, family=family, **options)
    return Rehearsal(over, by, gee.groups)


@contextmanager
def results_folder(folder: str | os.PathLike[str], *, overwrite: bool) -> Generator[Path]:
    """Make the folder for the results, before anything is computed.

    If what follows fails, the folders that were made here are removed again as far as they are
    empty; what was there before stays.

    Raises
    ------
    StorageError
        It exists and ``overwrite`` is False, or it can't be made.
    """
    path = Path(folder)
    _check_free(path, overwrite=overwrite)
    made = [part for part in (path, *path.parents) if not os.path.lexists(part)]
    try:
        _make(path)
        yield path
    except BaseException:
        for part in made:
            if os.path.isdir(part) and not os.listdir(part):
                part.rmdir()
        raise


def write(analysis: Analysis, folder: Path) -> list[Path]:
    """Write fit, table, page and picture, each under a temporary name first.

    Returns
    -------
    list of pathlib.Path
        The files, in the order of :data:`FILES`.

    Raises
    ------
    StorageError
        A file couldn't be written; the one that was there is unchanged.
    """
    over, comparison = analysis.over, analysis.comparison
    with stage("saving the fit"):
        save(analysis.fit, folder / FILES[0], overwrite=True)
    _put(folder / FILES[1], comparison.to_frame().to_csv(index=False).encode("utf-8"))
    fit, by = analysis.fit, analysis.by
    with stage("picture"):
        png = picture_png(fit, over, by=by, comparison=comparison) if over else None
    with stage("page"):
        _put(folder / FILES[2], render_report(fit, comparison, png).encode("utf-8"))
    if png is None:
        (folder / FILES[3]).unlink(missing_ok=True)
    else:
        _put(folder / FILES[3], png)
    return [folder / name for name in FILES if png or name != FILES[3]]


def _put(target: Path, content: bytes) -> None:
    with replacing(target) as scratch:
        scratch.write_bytes(content)


def _to_keep(formula: str, columns: dict[str, str | None]) -> list[str]:
    """Columns that the GEE alone needs: not those that are a grouping factor's name."""
    factors = {term.name for term in Formula.parse(formula).group_terms}
    return [name for name in columns.values() if name is not None and name not in factors]


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"the folder {str(path)!r} can't be made ({error.strerror or error})",
            remedy="name another one",
        ) from error


def _check_free(path: Path, *, overwrite: bool) -> None:
    if os.path.isdir(path) and overwrite:
        return
    if os.path.isdir(path):
        raise StorageError(
            f"the folder {str(path)!r} exists",
            "a new folder",
            "say --overwrite to replace the results in it, other files stay",
        )
    if os.path.lexists(path):
        raise StorageError(f"{str(path)!r} is a file", "a folder")
