"""How the posterior is drawn from, and why so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import xarray as xr

from popavg._checks import check_choice
from popavg.errors import ConvergenceError, SpecificationError
from popavg.models.baseline import baseline_of
from popavg.posterior_tools.integrated_design import only_group, require_integrable
from popavg.workflows._method_words import WORDS
from popavg.workflows.problem import Problem
from popavg.workflows.sampling import Drawing, Sampler, sample

__all__ = [
    "METHODS",
    "Drawn",
    "Method",
    "check_method",
    "draw",
    "drawn_by",
    "why_not_integrated",
]

Method = Literal["auto", "importance", "nuts", "latent"]

METHODS: tuple[Method, ...] = ("auto", "importance", "nuts", "latent")

_ASKED = "as asked for"
_NO_BASELINE = "importance sampling has no prior on the baseline"


@dataclass(frozen=True, eq=False)
class Drawn:
    """Draws, and how they were got.

    Attributes
    ----------
    posterior, sample_stats : xarray.Dataset
        The draws and the sampler's statistics.
    method : str
        ``"importance"``, ``"nuts"`` or ``"latent"``.
    why : str
        The reason for the method, half a sentence.
    interrupted : bool
        Whether there are fewer draws than were asked for.
    facts : mapping
        What else is worth keeping with the fit, for this method.
    """

    posterior: xr.Dataset
    sample_stats: xr.Dataset
    method: Method
    why: str
    interrupted: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"Method: {self.method} ({WORDS[self.method]}), {self.why}."


def why_not_integrated(problem: Problem) -> str | None:
    """Why a model's random effects can't be integrated out; None where they can.

    Parameters
    ----------
    problem : Problem
        The model and its data.

    Returns
    -------
    str or None
        Half a sentence: ``"the model has 2 grouping factors ('g', 'h')"``.
    """
    try:
        only_group(problem.design.matrices)
        require_integrable(problem.link)
    except SpecificationError as error:
        return error.came
    return None


def draw(problem: Problem, sampler: Sampler, seed: int, *, method: Method) -> Drawn:
    """Draw from the posterior by a method, or by the best that can be used.

    Parameters
    ----------
    problem : Problem
        The model and its data.
    sampler : Sampler
        How many draws, and the settings of NUTS.
    seed : int
        The seed.
    method : {"auto", "importance", "nuts", "latent"}
        ``auto``: importance sampling where the effects can be integrated out, NUTS on the
        integrated likelihood where its diagnostic refuses, the latent model otherwise.

    Returns
    -------
    Drawn

    Raises
    ------
    SpecificationError
        A method that this model can't be fitted by, or to which ``parametrization`` is nothing.
    ConvergenceError
        ``method="importance"`` and its diagnostic refuses the draws; or sampling was stopped
        before there were any.
    """
    check_method(problem, method)
    if problem.model is not None:
        return _draw_model(problem, sampler, seed, method)
    obstacle = why_not_integrated(problem)
    if method == "latent" or obstacle is not None:
        why = _ASKED if method == "latent" else f"because {obstacle}"
        return _draw_latent(problem, sampler, seed, why)
    if method == "nuts":
        return _draw_nuts(problem, sampler, seed, _ASKED)
    if method == "auto" and _has_baseline(problem):
        return _draw_nuts(problem, sampler, seed, f"because {_NO_BASELINE}")
    return _draw_importance(problem, sampler, seed, method)


def check_method(problem: Problem, method: Method) -> None:
    """Refuse a method that a model can't be drawn by, before anything is drawn or printed.

    Parameters
    ----------
    problem : Problem
        The model and its data.
    method : {"auto", "importance", "nuts", "latent"}
        The method.

    Raises
    ------
    SpecificationError
        As :func:`draw`.
    """
    check_choice("method", method, METHODS)
    if problem.model is not None:
        _check_model(problem, method)
        return
    if method in ("importance", "nuts"):
        only_group(problem.design.matrices)
        require_integrable(problem.link)
    if method == "importance":
        _refuse_baseline(problem)
    integrated = method != "latent" and why_not_integrated(problem) is None
    if integrated and problem.parametrization != "noncentered":
        raise SpecificationError(
            f"parametrization={problem.parametrization!r} with method={method!r}, by which the "
            "clusters' effects are integrated out",
            "parametrization='noncentered', which is the default and means nothing there",
            "leave it out, or say method='latent'",
        )


def _has_baseline(problem: Problem) -> bool:
    return baseline_of(problem.design, problem.link, problem.priors) is not None


def _refuse_baseline(problem: Problem) -> None:
    if _has_baseline(problem):
        raise SpecificationError(
            _NO_BASELINE, "a prior on 'Intercept'", "say method='nuts' or 'auto'"
        )


def _check_model(problem: Problem, method: Method) -> None:
    from popavg.models.record import additions, model_record

    assert problem.model is not None
    integrated = model_record(problem.model).likelihood == "integrated"
    if method == "importance" and integrated:
        _refuse_baseline(problem)
        if added := additions(problem.model):
            raise SpecificationError(
                f"method='importance' with a model that was added to ({', '.join(added)})",
                "a model as popavg.models built it: importance sampling knows no other",
                "say method='nuts'",
            )
    elif method not in ("auto", "nuts" if integrated else "latent"):
        likelihood, other = "integrated", "latent"
        allowed = "'auto', 'nuts' or 'importance'"
        if not integrated:
            likelihood, other, allowed = other, likelihood, "'auto' or 'latent'"
        raise SpecificationError(
            f"method={method!r} with a model that was built with likelihood={likelihood!r}",
            allowed,
            f"build the model with likelihood={other!r}",
        )


def _draw_model(problem: Problem, sampler: Sampler, seed: int, method: Method) -> Drawn:
    """A user's model is drawn from as it was built; one without additions by importance too."""
    from popavg.models.record import model_record

    assert problem.model is not None
    if method == "importance":
        return _draw_importance(problem, sampler, seed, method)
    integrated = model_record(problem.model).likelihood == "integrated"
    why = "which is how the model was built"
    return (_draw_nuts if integrated else _draw_latent)(problem, sampler, seed, why)


def _draw_importance(problem: Problem, sampler: Sampler, seed: int, method: Method) -> Drawn:
    """Importance sampling; NUTS where it is refused and another method may be used."""
    from popavg.workflows.importance import importance_sample

    found = importance_sample(
        problem.design,
        problem.link,
        problem.family,
        problem.priors,
        draws=sampler.draws,
        chains=sampler.chains,
        seed=seed,
        progress=sampler.progress,
    )
    if found.accepted:
        told = found.why.rstrip(". ")
        why = f"{_ASKED if method == 'importance' else 'whose check accepts them'}: {told}"
        facts = {"pareto_k": round(float(found.khat), 3)}
        return Drawn(found.posterior, found.sample_stats, "importance", why, facts=facts)
    if method == "importance":
        raise ConvergenceError(
            f"importance sampling was refused: {found.why}", "", "say method='nuts' or 'auto'"
        )
    return _draw_nuts(
        problem, sampler, seed, f"because importance sampling was refused: {found.why}"
    )


def _draw_nuts(problem: Problem, sampler: Sampler, seed: int, why: str) -> Drawn:
    return _by_nuts(problem.build("integrated"), sampler, seed, Drawing("nuts", why))


def _draw_latent(problem: Problem, sampler: Sampler, seed: int, why: str) -> Drawn:
    facts = {"parametrization": problem.parametrization}
    return _by_nuts(problem.build("latent"), sampler, seed, Drawing("latent", why, facts))


def _by_nuts(model: Any, sampler: Sampler, seed: int, drawing: Drawing) -> Drawn:
    names = ("tune", "target_accept", "max_treedepth")
    facts = {**drawing.facts, **{name: getattr(sampler, name) for name in names}}
    drawing = replace(drawing, facts=facts)
    few = drawing.method == "nuts"
    if sampler.store is None:
        tree, lengths = sample(model, sampler, seed, few=few)
    else:
        from popavg.workflows.streaming import sample_into

        drawing = sampler.store.choose(drawing)
        tree, lengths = sample_into(sampler.store, model, sampler, seed, few=few)
    return drawn_by(drawing, tree, lengths, sampler.draws)


def drawn_by(drawing: Drawing, tree: xr.DataTree, lengths: tuple[int, ...], asked: int) -> Drawn:
    """Draws together with how they were got.

    Parameters
    ----------
    drawing : Drawing
        How.
    tree : xarray.DataTree
        Groups ``posterior`` and ``sample_stats``; its attributes are further facts.
    lengths : tuple of int
        Draws that each chain had.
    asked : int
        Draws of each that were asked for.

    Returns
    -------
    Drawn
    """
    posterior, statistics = (tree[name].to_dataset() for name in ("posterior", "sample_stats"))
    interrupted = min(lengths) < asked
    facts: dict[str, Any] = {**drawing.facts, **{str(k): v for k, v in tree.attrs.items()}}
    if interrupted:
        facts |= {"draws_by_chain": list(lengths), "draws_asked": asked}
    return Drawn(posterior, statistics, drawing.method, drawing.why, interrupted, facts)
