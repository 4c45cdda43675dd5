"""A calibration in words, for a terminal and a notebook."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape

import numpy as np
from scipy.stats import norm

from popavg.posterior_tools.calibration_result import Calibration, CalibrationRun, envelope
from popavg.posterior_tools.comparison_html import STYLE

__all__ = ["calibration_words", "render_html", "render_text"]

#: R-hat from which on a run's chains are said to disagree.
LARGEST_R_HAT = 1.05
#: Runs that are named in a sentence, at most.
_MOST_NAMED = 10
#: Share of calibrations in which a bias as small as the one that is told is seen.
_POWER = 0.8
#: What a test of the whole curve needs, in shifts that a test of the mean alone would see.
_WHOLE_CURVE = 1.2


def calibration_words(found: Calibration) -> tuple[str, ...]:
    """The verdict, what it can't see, failures, and what else was odd."""
    return (*_verdict(found), *_oddities(found))


def _verdict(found: Calibration) -> Iterator[str]:
    table, runs, prob = found.to_frame(), len(found.fitted), envelope(None)
    interrupted = found.facts.get("interrupted", "")
    if interrupted:
        yield f"{interrupted}: {len(found.runs)} of {found.facts['asked']} runs are finished."
    outside = table[table["verdict"] == "not uniform"]
    if len(outside):
        named = ", ".join(
            f"{row['quantity']} (p = {_small(row['p_value'])}: {row['shape']})"
            for row in outside.to_dict("records")
        )
        some = f"{len(outside)} of {len(table)} quantities"
        yield f"Not calibrated: the ranks of {some} aren't uniform: {named}."
    else:
        yield f"The ranks of all {len(table)} quantities are uniform, as far as {runs} runs show."
    bias = _smallest_bias(runs, len(table), prob)
    yield (
        f"The bands hold for all quantities at once with {100 * prob:g} % probability. A posterior "
        f"that is off by {bias:.2g} of its standard deviation in one quantity, always to the same "
        f"side, is seen in about {100 * _POWER:.0f} % of such calibrations."
    )


def _oddities(found: Calibration) -> Iterator[str]:
    fitted = found.fitted
    failed = [run for run in found.runs if run.failure]
    if failed:
        reasons = "; ".join(f"run {run.run}: {run.failure}" for run in failed[:3])
        more = f"; {len(failed) - 3} more in .failures" if len(failed) > 3 else ""
        yield (
            f"{_runs(failed)} of {len(found.runs)} couldn't be fitted and have no ranks: {reasons}"
            f"{more}. As far as that depends on the outcomes alone, the other ranks stay uniform "
            "under a right route; of such outcomes nothing is known."
        )
    methods = Counter(run.method for run in fitted)
    refused = [run for run in fitted if run.refused]
    if refused:
        yield (
            f"Importance sampling was refused in {_runs(refused)} ({_named(refused)}), where NUTS "
            f"on the integrated likelihood drew instead: run {refused[0].run}, "
            f"{refused[0].refused.rstrip('.')}."
        )
    elif len(methods) > 1:
        yield f"Drawn by {', '.join(f'{name} ({n} runs)' for name, n in methods.items())}."
    if constant := [run for run in fitted if run.constant]:
        yield (
            f"In {_runs(constant)} ({_named(constant)}) all outcomes were the same; they count "
            "like the others, though pa.fit refuses such data."
        )
    if divergent := [run for run in fitted if run.divergences]:
        yield f"{_runs(divergent)} had divergent draws ({_named(divergent)})."
    if apart := [run for run in fitted if run.r_hat > LARGEST_R_HAT]:
        worst = max(run.r_hat for run in apart)
        yield f"In {_runs(apart)} ({_named(apart)}) the chains disagree: R-hat up to {worst:.2f}."
    if short := [run for run in fitted if run.ess < found.draws]:
        least = min(run.ess for run in short)
        yield (
            f"In {_runs(short)} ({_named(short)}) fewer than {found.draws} draws were independent "
            f"(the fewest: {least:.0f}): ranks of dependent draws are too often at the ends."
        )
    for name in dict.fromkeys(name for run in fitted for name in run.undefined):
        lacking = [run for run in fitted if name in run.undefined]
        why = lacking[0].undefined[name].rstrip(".")
        yield f"{name} isn't defined in {_runs(lacking)} ({_named(lacking)}): {why}."


def _smallest_bias(runs: int, quantities: int, prob: float) -> float:
    """The shift of a normal posterior, in its standard deviations, that is seen as a rule.

    A shift by δ moves the ranks' mean by about δ/(2√π), whose standard error is 1/√(12 runs); the
    test of the whole curve sees shifts 1.2 times as large as often as one of the mean (simulated).
    """
    level = (1.0 - prob) / max(quantities, 1)
    needed = norm.isf(level / 2) + norm.isf(1.0 - _POWER)
    return float(_WHOLE_CURVE * needed * 2 * np.sqrt(np.pi) / np.sqrt(12 * max(runs, 1)))


def _runs(some: Sequence[CalibrationRun]) -> str:
    return f"{len(some)} run{'s' * (len(some) != 1)}"


def _named(some: Sequence[CalibrationRun]) -> str:
    numbers = ", ".join(str(run.run) for run in some[:_MOST_NAMED])
    more = ", …" if len(some) > _MOST_NAMED else ""
    return f"number{'s' * (len(some) != 1)} {numbers}{more}"


def _small(p: float) -> str:
    return f"{p:.2g}" if p >= 1e-10 else "1e-10 or less"


def _caption(found: Calibration) -> tuple[str, str]:
    facts = found.facts
    return (
        f"Simulation-based calibration: {facts['formula']}",
        f"link: {facts['link']} ({facts['family']}), method: {facts['method']}, "
        f"{len(found.fitted)} runs fitted, ranks among {found.draws} draws, seed {facts['seed']}",
    )


def _cells(found: Calibration) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("quantity", "mean rank", "p-value", "verdict", "")]
    for row in found.to_frame().to_dict("records"):
        numbers = f"{row['mean_rank']:.3f}", _small(row["p_value"])
        rows.append((row["quantity"], *numbers, row["verdict"], row["shape"]))
    return rows


def render_text(found: Calibration, width: int = 100) -> str:
    """Caption, priors, a table, the words."""
    head, rest = _caption(found)
    rows = _cells(found)
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    lines = [
        f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  "
        f"{row[3]:<{widths[3]}}  {row[4]}".rstrip()
        for row in rows
    ]
    priors = [f"  {name}: {prior}" for name, prior in found.facts.get("priors", {}).items()]
    words = [textwrap.fill(sentence, width) for sentence in found.words]
    return "\n".join([textwrap.fill(head, width), rest, *priors, "", *lines, "", *words])


def render_html(found: Calibration) -> str:
    """The same as HTML, every name escaped."""
    head, rest = (escape(line) for line in _caption(found))
    top, *rows = ([escape(cell) for cell in row] for row in _cells(found))
    columns = "".join(f"<th>{cell}</th>" for cell in top)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    words = "".join(f"<p>{escape(sentence)}</p>" for sentence in found.words)
    return (
        f'<div class="popavg"><style>{STYLE}</style><p><code>{head}</code><br>{rest}</p>'
        f"<table><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table>{words}</div>"
    )
