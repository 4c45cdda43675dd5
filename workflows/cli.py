"""The command line: ``popavg compare``, ``popavg demo``, ``popavg datasets``.

Each command imports what it needs itself, so that help is there at once and Ctrl-C is heard from
the first moment.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

import popavg
from popavg.errors import FitWarning, PopavgError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Population-averaged effects of Bayesian mixed models, beside a GEE.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

DEMO_FORMULA = "y ~ treatment * time + (1 | patient)"

INTERRUPTED = 130

#: Typer's, whether it brings its own click or uses the package.
_ClickException: Any = typer.BadParameter.__mro__[2]

Out = Annotated[Path, typer.Option(help="Folder for the results, made here.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results in the folder.")]
Draws = Annotated[int, typer.Option(help="Draws of every chain.")]
Tune = Annotated[int, typer.Option(help="Tuning steps of every chain.")]
Chains = Annotated[int, typer.Option(help="Chains.")]
Cores = Annotated[int | None, typer.Option(help="Chains drawn at the same time; all by default.")]
Seed = Annotated[int | None, typer.Option(help="Seed: same seed, same draws.")]
CiProb = Annotated[float | None, typer.Option(help="Level of all intervals; 0.89 by default.")]
Trace = Annotated[bool, typer.Option("--traceback", help="Show where an error comes from.")]
Parametrization = Annotated[
    str, typer.Option(help="Of the random effects: noncentered or centered.")
]
Method = Annotated[
    str, typer.Option(help="Of drawing: auto, importance, nuts or latent; see popavg.fit.")
]
Timed = Annotated[bool, typer.Option("--timings", help="Say where the time goes.")]
TargetAccept = Annotated[float, typer.Option(help="Of the sampler; higher is more careful.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print neither priors nor progress.")]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Population-averaged effects of Bayesian mixed models, beside a GEE."""
    if version:
        print(f"popavg {popavg.__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def compare(  # noqa: PLR0917 (typer reads a signature)
    data: Annotated[Path, typer.Argument(help="CSV, TSV or Parquet file.")],
    formula: Annotated[str, typer.Argument(help='The model, "y ~ x + (1 | g)".')],
    link: Annotated[str, typer.Option(help="logit, probit, cloglog, log or identity.")],
    out: Out,
    overwrite: Overwrite = False,
    working_correlation: Annotated[
        str, typer.Option(help="Of the GEE: independence, exchangeable or ar1.")
    ] = "exchangeable",
    groups: Annotated[str | None, typer.Option(help="Column of the GEE's clusters.")] = None,
    time: Annotated[str | None, typer.Option(help="Column of the times, for ar1.")] = None,
    missing: Annotated[str, typer.Option(help="Rows with missing values: error, drop.")] = "error",
    over: Annotated[str | None, typer.Option(help="Covariate along the curve.")] = None,
    by: Annotated[str | None, typer.Option(help="Covariate of separate curves.")] = None,
    draws: Draws = 1000,
    tune: Tune = 1000,
    chains: Chains = 4,
    cores: Cores = None,
    seed: Seed = None,
    method: Method = "auto",
    parametrization: Parametrization = "noncentered",
    target_accept: TargetAccept = 0.8,
    ci_prob: CiProb = None,
    timings: Timed = False,
    quiet: Quiet = False,
    traceback: Trace = False,
) -> None:
    """Fit a mixed model and compare it with a GEE."""
    from popavg.links import get_link
    from popavg.workflows.reading import read_table

    get_link(link)
    sampler = {"draws": draws, "tune": tune, "chains": chains, "cores": cores, "seed": seed}
    how = {
        "method": method,
        "parametrization": parametrization,
        "target_accept": target_accept,
    }
    fit_options = {"missing": missing, "progress": not quiet, **sampler, **how}
    gee_options = {
        "working_correlation": working_correlation,
        "groups": groups,
        "time": time,
        "ci_prob": ci_prob,
    }
    options = {
        "link": link,
        "over": over,
        "by": by,
        "fit_options": fit_options,
        "gee_options": gee_options,
    }
    _analyse(formula, lambda: read_table(data), options, out=out, overwrite=overwrite, tell=timings)


@app.command()
def demo(  # noqa: PLR0917
    out: Out = Path("popavg-demo"),
    overwrite: Overwrite = False,
    draws: Draws = 1000,
    tune: Tune = 1000,
    cores: Cores = None,
    seed: Seed = 1,
    method: Method = "auto",
    timings: Timed = False,
    quiet: Quiet = False,
    traceback: Trace = False,
) -> None:
    """Run the main job on the toenail trial."""
    from popavg.datasets import load_dataset

    sampler = {"draws": draws, "tune": tune, "cores": cores, "seed": seed, "method": method}
    options = {"link": "logit", "fit_options": {**sampler, "progress": not quiet}}
    read = partial(load_dataset, "toenail")
    _analyse(DEMO_FORMULA, read, options, out=out, overwrite=overwrite, tell=timings)


@app.command()
def datasets(
    name: Annotated[str | None, typer.Argument(help="A data set; all are listed without.")] = None,
    traceback: Trace = False,
) -> None:
    """List the data sets of the package, or describe one."""
    from popavg.datasets import list_datasets, load_dataset

    if name is None:
        for _, row in list_datasets().iterrows():
            size = f"{row['rows']} rows, {row['clusters']} clusters of {row['cluster']!r}"
            print(f"{row['name']:<14} {size:<40} {row['title']}")
        return
    frame = load_dataset(name)
    print(f"{frame.attrs['title']}\n{frame.attrs['source']}\n")
    print(f"{len(frame)} rows; clusters: {frame.attrs['cluster']}")
    print(f"model: {frame.attrs['formula']}, link {frame.attrs['link']}\n")
    for column, meaning in frame.attrs["variables"].items():
        print(f"  {column:<12} {meaning}")
    print(f"\n{frame.head().to_string(index=False)}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        ``sys.argv[1:]`` by default.

    Returns
    -------
    int
        0; 2 for bad input, 130 when interrupted, 1 for a fault of popavg: at most three lines
        then stand on standard error, unless ``--traceback`` is given.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    with warnings.catch_warnings():
        warnings.simplefilter("always", FitWarning)
        warnings.showwarning = _show_warning  # ty: ignore[invalid-assignment]
        return _run(arguments, whole="--traceback" in arguments)


def _run(arguments: list[str], *, whole: bool) -> int:
    try:
        code = app(arguments, prog_name="popavg", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        if whole:
            traceback.print_exc()
        return _explain(error)
    if code == INTERRUPTED:
        _say("interrupted")
    return code if isinstance(code, int) else 0


def _explain(error: Exception) -> int:
    """Say what was wrong, in one or two lines; the exit code."""
    notes = getattr(error, "__notes__", [])
    if isinstance(error, _ClickException):
        _say(f"error: {error.format_message()}", "Try 'popavg --help'.")
    elif isinstance(error, PopavgError):
        _say(f"error: {error}", *notes)
    else:
        fault = "This is a fault of popavg; --traceback shows where."
        _say(f"internal error: {type(error).__name__}: {error}", *notes, fault)
        return 1
    return 2


def _analyse(
    formula: str,
    read: Callable[[], Any],
    options: dict[str, Any],
    *,
    out: Path,
    overwrite: bool,
    tell: bool,
) -> None:
    """Check the folder, then read, fit, compare, write and say where."""
    os.environ.setdefault("MPLBACKEND", "agg")
    from popavg.workflows.timings import stage, timed

    with timed() as timings:
        with stage("reading the data"):
            data = read()
        with stage("importing"):
            from popavg.workflows import analysis
        with analysis.results_folder(out, overwrite=overwrite) as folder:
            result = analysis.analyse(formula, data, **options, folder=folder)
            with stage("table"):
                print(f"{result.comparison}\n")
            for path in analysis.write(result, folder):
                print(f"written: {path}")
    if tell:
        print(f"\n{timings}")


def _say(*lines: str) -> None:
    """Each in one line on standard error, the middle of very long ones left out."""
    print(*(_shortened(" ".join(line.split())) for line in lines), sep="\n", file=sys.stderr)


def _shortened(line: str, limit: int = 1000) -> str:
    return line if len(line) <= limit else f"{line[: limit // 2]} … {line[-limit // 2 :]}"


def _show_warning(  # noqa: PLR0917 (the signature of warnings.showwarning)
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, FitWarning):
        _say(f"warning: {message}")
