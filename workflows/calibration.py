"""Simulation-based calibration: whether what a route draws from is the posterior."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import Any

import pandas as pd

from popavg._checks import brief, check_choice, listing
from popavg.errors import ConvergenceError, FitWarning, SpecificationError
from popavg.frames import MissingPolicy
from popavg.links import Link
from popavg.models.random_effects import Parametrization
from popavg.posterior_tools.calibration_result import Calibration, CalibrationRun
from popavg.posterior_tools.progress import track
from popavg.posterior_tools.quadrature import cpus
from popavg.workflows._calibration_jobs import ProcessEnded, here, in_processes
from popavg.workflows._calibration_plan import OwnQuantity, Plan
from popavg.workflows._calibration_quantities import DEFAULT_QUANTITIES, QUANTITIES, Quantities
from popavg.workflows._calibration_routes import first_route
from popavg.workflows._calibration_store import RunFolder
from popavg.workflows.methods import Method
from popavg.workflows.problem import problem_of_formula
from popavg.workflows.sampling import Sampler

__all__ = ["calibrate"]


def calibrate(
    formula: str,
    data: pd.DataFrame,
    *,
    link: str | Link,
    method: Method = "auto",
    runs: int = 100,
    priors: Mapping[str, object] | None = None,
    quantities: str | Sequence[str] | Mapping[str, OwnQuantity] | None = None,
    draws: int = 99,
    tune: int = 1000,
    chains: int = 2,
    target_accept: float = 0.8,
    max_treedepth: int = 10,
    parametrization: Parametrization = "noncentered",
    missing: MissingPolicy = "error",
    seed: int = 0,
    jobs: int | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Calibration:
    """Find out whether a route to the posterior is calibrated for this model, prior and design.

    Parameters are drawn from the prior, outcomes from the model on the rows of the data, and the
    model is fitted to them. If the route is right, a true value is equally likely to have any rank
    among the draws of its posterior. Where the ranks of many such runs aren't uniform, it is wrong:
    draws from elsewhere, a forgotten prior, a chain that doesn't reach everything. It says nothing
    about whether the *model* is right for the data; their outcomes aren't used.

    Parameters
    ----------
    formula : str
        ``"y ~ x + (1 | g)"``.
    data : pandas.DataFrame
        One row for each observation; left unchanged. Outcomes only scale default priors, as in
        :func:`popavg.fit`.
    link : str or Link
        ``logit``, ``probit``, ``cloglog``, ``log`` or ``identity``.
    method : {"auto", "importance", "nuts", "latent"}
        The route, as in :func:`popavg.fit`. Where importance sampling is refused, NUTS on the
        integrated likelihood draws instead, also by ``"importance"``: the result says how often.
    runs : int
        How many; 20 show gross errors, 100 a bias of about half a posterior standard deviation in
        one of ten quantities, 1,000 one of a sixth.
    priors : mapping of str to Prior or str, optional
        Priors in place of the defaults, as in :func:`popavg.fit`; all are proper, improper ones
        are refused there too.
    quantities : str, sequence of str or mapping, optional
        Kinds of quantities. By default ``"parameters"``; ``"coefficients"``, population-averaged by
        least squares; ``"mean"``, the population mean at the average row; ``"difference"``, that of
        a covariate of two values, averaged over the rows; ``"effects"`` of the first cluster;
        ``"log_likelihood"``; ``"log_prior"`` density. Also ``"projection"``, the coefficients that
        a GEE would converge to. Or, beside the default ones, functions of a fit by name that return
        draws with dims ``chain`` and ``draw``, and one more at most; each draw on its own, since
        one of them is the truth. Where all outcomes are the same, which is no fit that they could
        read, they have no rank.
    draws : int
        Posterior draws, as good as independent, that each true value is ranked among; at least 9.
    tune, chains, target_accept, max_treedepth : int, int, float, int
        Of the no-U-turn sampler. Its chains are as long as it takes to have ``draws`` effective
        draws of every parameter, up to 64 times as many, and are thinned.
    parametrization : {"noncentered", "centered"}
        Of the latent model.
    missing : {"error", "drop"}
        What to do with rows that have missing values in a used column.
    seed : int
        Same seed, same runs, whatever ``jobs``; a larger number of ``runs`` adds to them. Other
        routes with the same seed get the same data sets.
    jobs : int, optional
        Processes that share the runs; as many as there are processors by default. Each compiles
        the model once.
    store : path-like, optional
        A directory with one small file for each finished run. The same call goes on from there
        after a kill or Ctrl-C, and with more ``runs``.
    progress : bool
        Show a bar from two seconds on.

    Returns
    -------
    Calibration
        Prints itself: the verdict in words, failures; ``.plot()``, ``.to_frame()``,
        ``.run_table``. After Ctrl-C, that of the finished runs.

    Raises
    ------
    FormulaError, DataError
        What :func:`popavg.fit` raises for this formula and these data.
    SpecificationError
        An unknown link or quantity, a method that this model can't be fitted by, an improper prior,
        or numbers that aren't whole or too small.
    ConvergenceError
        No run was finished, or none could be fitted.
    StorageError
        The store holds another calibration, or can't be written; what is in it stays.

    Warns
    -----
    FitWarning
        It was interrupted, or one of the processes was killed.

    See Also
    --------
    popavg.prior_check : What the priors imply, before calibrating with them.
    popavg.check : What one fit's diagnostics say.

    Notes
    -----
    Talts et al. (2018, arXiv:1804.06788). Ranks of parameters alone can't see a route that ignores
    the outcomes, or a part of them; those of the log-likelihood can. Nor can ranks of coefficients
    see that their prior was forgotten, since intervals under a flat prior cover as often as they
    say whatever the true value is; those of the prior density can (Modrák et al. 2023, Bayesian
    Analysis, doi 10.1214/23-BA1404). For bands and p-values see
    :func:`popavg.posterior_tools.rank_uniformity.uniformity_p_value`.

    The population mean is ranked on the link scale and equal values in random order. Runs that
    can't be simulated (counts that no computer holds) or fitted have no ranks, and are told; as
    far as that depends on the outcomes alone the others' ranks stay uniform. Outcomes that are all
    the same, or separated by a covariate, are fitted like others: with proper priors their
    posterior is proper.

    Examples
    --------
    >>> import popavg as pa
    >>> found = pa.calibrate("p(incidence, size) ~ period + (1 | herd)", pa.load_dataset("cbpp"),
    ...                      link="logit", runs=4, jobs=1, progress=False)
    >>> found.to_frame()["quantity"].to_list()[3:7]
    ['beta[period[4]]', 'sd_herd', 'population[Intercept]', 'population[period[2]]']

    With a quantity of one's own:

    >>> own = {"odds ratio": lambda fit: pa.avg_comparisons(
    ...     fit, {"period": [1, 4]}, comparison="lnor", progress=False).draws}
    >>> found = pa.calibrate("p(incidence, size) ~ period + (1 | herd)", pa.load_dataset("cbpp"),
    ...                      link="logit", quantities=own, runs=2, jobs=1, progress=False)
    >>> list(found.quantities)[-1]
    'odds ratio'
    """
    least = {"runs": (runs, 1), "draws": (draws, 9), "seed": (seed, 0)}
    _check_numbers(**least, jobs=(1 if jobs is None else jobs, 1))
    kinds, own = _read_quantities(quantities)
    problem = problem_of_formula(
        formula, data, link, priors=priors, parametrization=parametrization, missing=missing,
        keep=(),
    )  # fmt: skip
    first_route(problem, method)
    jobs = min(cpus() if jobs is None else jobs, runs)
    cores = max(1, cpus() // jobs)
    sampler = Sampler(
        draws, tune, chains, cores, seed, target_accept, max_treedepth, progress=False
    )
    plan = Plan(problem, method, sampler, kinds, own)
    with _folder(store, plan) as folder:
        interrupted = _work(plan, folder, runs, jobs=jobs, progress=progress)
        done = [folder.read(number) for number in folder.done() if number < runs]
    return _result(plan, done, runs, interrupted)


def _check_numbers(**given: tuple[object, int]) -> None:
    for name, (value, least) in given.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
            raise SpecificationError(f"{name}={value!r}", f"a whole number from {least}")


def _read_quantities(
    given: str | Sequence[str] | Mapping[str, OwnQuantity] | None,
) -> tuple[tuple[str, ...], dict[str, OwnQuantity]]:
    """Kinds of quantities, and the user's functions."""
    if given is None:
        return DEFAULT_QUANTITIES, {}
    if isinstance(given, Mapping):
        wrong = [name for name, own in given.items() if not callable(own) or name in QUANTITIES]
        if wrong:
            raise SpecificationError(
                f"quantities={{{wrong[0]!r}: {brief(given[wrong[0]])}}}",
                f"functions of a fit, under other names than {listing(QUANTITIES)}",
            )
        return DEFAULT_QUANTITIES, dict(given)
    names = (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        check_choice("quantities", name, QUANTITIES)
    if not names:
        raise SpecificationError("quantities is empty", listing(QUANTITIES))
    return tuple(dict.fromkeys(names)), {}


@contextmanager
def _folder(store: str | os.PathLike[str] | None, plan: Plan) -> Generator[RunFolder]:
    """Where finished runs are kept: for good, or while it lasts."""
    if store is not None:
        folder = RunFolder(Path(store))
        folder.open(plan.facts())
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="popavg-calibration-") as scratch:
        yield RunFolder(Path(scratch))


def _work(plan: Plan, folder: RunFolder, runs: int, *, jobs: int, progress: bool) -> str:
    """Do the runs that aren't done; says what interrupted that, if anything."""
    done = set(folder.done())
    numbers = [number for number in range(runs) if number not in done]
    if not numbers:
        return ""
    if jobs == 1:
        finished = here(plan, folder, numbers)
    else:
        finished = in_processes(plan, folder, numbers, min(jobs, len(numbers)))
    try:
        for _ in track(finished, len(numbers), "Calibrating", progress=progress):
            pass
    except KeyboardInterrupt:
        return "Interrupted"
    except ProcessEnded as error:
        return f"Interrupted, since {error}"
    finally:
        finished.close()
    return ""


def _result(
    plan: Plan, done: Sequence[CalibrationRun], asked: int, interrupted: str
) -> Calibration:
    if not done:
        raise ConvergenceError(
            f"no run was finished ({interrupted or 'none was asked for'})",
            remedy="make the same call again",
        )
    fitted = [run for run in done if not run.failure]
    if not fitted:
        raise ConvergenceError(
            f"none of {len(done)} runs could be fitted (run {done[0].run}: {done[0].failure})",
            remedy="look at the priors with pa.prior_check",
        )
    meanings = Quantities(plan.problem, plan.names, {}).meanings
    own = dict.fromkeys((name for run in fitted for name in run.ranks), "the caller's")
    never = [n for n in plan.own if not any(q == n or q.startswith(f"{n}[") for q in own)]
    names = dict.fromkeys((*meanings, *own, *never), "the caller's") | meanings
    facts: dict[str, Any] = plan.facts() | {"asked": asked, "interrupted": interrupted}
    result = Calibration(tuple(done), plan.sampler.draws, names, facts)
    if interrupted:
        here = (str(Path(__file__).parent),)
        warnings.warn(result.words[0], FitWarning, skip_file_prefixes=here)
    return result
