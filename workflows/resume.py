"""Read a run that was stopped, and go on with it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import xarray as xr

from popavg.bridge_logit import mixed_link
from popavg.design import Design, family_of
from popavg.errors import SpecificationError, StorageError
from popavg.formula import Formula
from popavg.posterior_tools.tree import design_groups, read_training_frame
from popavg.priors import Prior
from popavg.workflows._runs import additions_of, pack, run
from popavg.workflows.further_groups import Wanted
from popavg.workflows.methods import drawn_by
from popavg.workflows.problem import Problem, problem_of_model
from popavg.workflows.storage import PathLike, load
from popavg.workflows.store import Store, is_whole, locked, open_store

if TYPE_CHECKING:
    import pymc as pm

__all__ = ["problem_of_store", "resume"]


def resume(
    path: PathLike,
    *,
    draw: bool = False,
    model: pm.Model | None = None,
    cores: int | None = None,
    progress: bool = True,
) -> xr.DataTree:
    """Read a run that was stopped as a fit, or draw the rest of it.

    A run is what :func:`popavg.fit` with ``store=`` puts on the disk while it draws. It can be read
    as it grows, from another process. A whole one is a fit, which :func:`popavg.load` reads too.

    Parameters
    ----------
    path : path-like
        The Zarr directory.
    draw : bool
        Whether to draw what is missing. By default nothing is drawn or written.
    model : pymc.Model, optional
        The model, built again, where you had added to it: that can't be stored. Needed with
        ``draw=True``, and for predictive draws and the log-likelihood of such a fit.
    cores : int, optional
        Chains drawn at the same time, all by default.
    progress : bool
        Whether it is printed how far the run is, and a progress bar is shown.

    Returns
    -------
    xarray.DataTree
        As from :func:`popavg.fit`. Where draws are missing, chains are cut to the draws that all
        have, and the specification's ``sampler`` says in ``draws_by_chain`` and ``draws_asked``
        how many there are of how many; nothing is cut on the disk.

    Raises
    ------
    StorageError
        There is no run, it can't be read, another process draws into it, or the disk is full.
    ConvergenceError
        No chain has a draw yet.
    SpecificationError
        ``model`` is missing, or is another one.

    Warns
    -----
    FitWarning
        As :func:`popavg.fit`; and that draws are missing.

    Notes
    -----
    Draws that are on the disk are kept. What is drawn in a later go is a Markov chain of its own:
    it starts from the last draw of one of the chains, but a step size and a mass matrix can't be
    handed to the sampler, so each chain warms up anew, with all its ``tune`` steps, and these are
    discarded. Its seed is another one, made from the run's; the same goes, stopped at the same
    draws, give the same fit. A warm-up that was stopped is done again. The fit's specification
    says in ``goes`` which draws come from where. Importance sampling has no part that is finished
    before the end: it is done again, with the run's seed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import popavg as pa
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.zarr"
    >>> fit = pa.fit("p(incidence, size) ~ period + (1 | herd)", pa.load_dataset("cbpp"),
    ...              link="logit", method="importance", seed=1, store=path, progress=False)
    >>> pa.resume(path, progress=False)["posterior"].sizes["draw"]
    1000
    """
    if is_whole(path):
        if progress:
            print(f"Run {str(path)!r}: whole.")
        return load(path)
    store = open_store(path)
    if progress:
        asked, lengths = store.recipe.sampler.draws, store.snapshot().lengths
        print(f"Run {str(path)!r}: {', '.join(map(str, lengths))} of {asked} draws a chain.")
    if not draw:
        return _finished_part(store, model)
    with locked(store.path):
        return _rest(store, model, cores, progress=progress)


def _finished_part(store: Store, model: pm.Model | None) -> xr.DataTree:
    """A fit from the draws that there are."""
    tree, lengths = store.draws()
    drawing, recipe = store.drawing, store.recipe
    assert drawing is not None
    drawn = drawn_by(drawing, tree, lengths, recipe.sampler.draws)
    more: dict[str, object] = {"seed": recipe.sampler.seed}
    wanted = recipe.wanted
    if recipe.added_by_user and model is None:
        more["added_by_user"] = list(recipe.added_by_user)
        if wanted != Wanted():
            wanted = Wanted()
            more["note"] = "Further groups need the model: pa.resume(path, model=model)."
    problem = problem_of_store(store, model)
    return pack(problem, drawn, wanted, more=more, remedy=store.remedy)


def _rest(
    store: Store, model: pm.Model | None, cores: int | None, *, progress: bool
) -> xr.DataTree:
    """Draw what is missing."""
    recipe = store.recipe
    if recipe.added_by_user and model is None:
        raise SpecificationError(
            f"the run is of a model with additions ({', '.join(recipe.added_by_user)}), which "
            "can't be stored",
            "the model, built again",
            "say pa.resume(path, draw=True, model=model)",
        )
    problem = problem_of_store(store, model)
    sampler = replace(recipe.sampler, store=store, progress=progress, cores=cores)
    noted = store.drawing
    return run(problem, sampler, recipe.method if noted is None else noted.method, recipe.wanted)


def problem_of_store(store: Store, model: pm.Model | None = None) -> Problem:
    """The model and its data, from the disk.

    Parameters
    ----------
    store : Store
        A run.
    model : pymc.Model, optional
        The one that was fitted, where the user had added to it.

    Returns
    -------
    Problem

    Raises
    ------
    SpecificationError
        It is another model.
    StorageError
        The design built from the stored data isn't the one that was fitted.
    """
    specification, tree = store.specification, store.data()
    link = mixed_link(specification.link, specification.mixing)
    formula = Formula.parse(specification.formula)
    family = family_of(formula, link)
    frame = read_training_frame(tree, specification)
    design = Design.build(formula, frame, family=family, extra=tuple(frame.columns))
    design = replace(design, missing=specification.missing)
    priors = {name: Prior.from_dict(prior) for name, prior in specification.priors.items()}
    problem = Problem(design, link, family, priors, store.recipe.parametrization)
    if not _same_numbers(design, tree):
        raise StorageError(
            f"the design built from the data in {str(store.path)!r} isn't the one fitted",
            remedy=f"use the versions that made it: {specification.versions}",
        )
    if model is None:
        return problem
    given, added = problem_of_model(model), store.recipe.added_by_user
    links = [(one.name, one.mixing.name) for one in (given.link, link)]
    same = _same_numbers(given.design, tree) and links[0] == links[1]
    if not same or given.priors != priors or tuple(additions_of(given)) != added:
        raise SpecificationError(
            f"the model isn't the one of the run in {str(store.path)!r}",
            f"a model of {specification.formula!r} with its data, link and priors, and "
            f"{', '.join(added) or 'nothing'} added",
            "build it as it was built for the run",
        )
    return given


def _same_numbers(design: Design, tree: xr.DataTree) -> bool:
    made = design_groups(design)
    groups = ("constant_data", "observed_data")
    return all(made[name].equals(tree[name].to_dataset()) for name in groups)
