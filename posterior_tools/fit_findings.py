"""What can be said about identification after a fit, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from popavg._checks import listing
from popavg.posterior_tools.contraction import Contraction
from popavg.posterior_tools.data_findings import NOTHING
from popavg.posterior_tools.findings import Finding, Verdict
from popavg.posterior_tools.sd_profile import SDProfile
from popavg.posterior_tools.sensitivity import CONDITIONAL, POPULATION, THRESHOLD, Sensitivity

__all__ = ["contraction_finding", "draw_findings", "profile_finding", "sensitivity_findings"]

#: Contraction below which the prior still shows, and below which there is little else.
LITTLE_CONTRACTION, NO_CONTRACTION = 0.5, 0.1
#: Mean percentile of the prior above which the posterior lies in its tail.
FAR_OUT = 0.95
#: Ratio of conditional coefficients over a likelihood interval that is called large; of its ends
#: where coefficients don't depend on the standard deviation.
STRETCH, WIDE = 1.5, 4.0


def draw_findings(verdict: Sequence[str]) -> list[Finding]:
    """What the sampler's diagnostics said: all that follows is computed from its draws.

    Parameters
    ----------
    verdict : sequence of str
        Sentences of :func:`popavg.workflows.verdict.judge`.

    Returns
    -------
    list of Finding
        None where there is nothing to say.

    Examples
    --------
    >>> from popavg.posterior_tools.fit_findings import draw_findings
    >>> draw_findings([])
    []
    """
    if not verdict:
        return []
    meaning, number = " ".join(verdict), f"{len(verdict)} warnings" if len(verdict) > 1 else ""
    advice = "Repair the draws first: what follows is computed from them."
    return [Finding("after", "the draws", len(verdict), number, "problem", meaning, advice)]


def contraction_finding(name: str, found: Contraction) -> Finding:
    """How much the data narrowed a standard deviation.

    Parameters
    ----------
    name : str
        The parameter: ``"sd_patient"``.
    found : Contraction
        Before and after.

    Returns
    -------
    Finding

    Examples
    --------
    >>> from popavg.posterior_tools.contraction import Contraction
    >>> from popavg.posterior_tools.fit_findings import contraction_finding
    >>> contraction_finding("sd_g", Contraction(0.05, 0.5, (0.1, 4.0), (0.2, 3.9), 0.9)).verdict
    'problem'
    """
    prior, posterior = (f"{a:.3g} to {b:.3g}" for a, b in (found.prior, found.posterior))
    change = f"from {prior} (prior) to {posterior} (posterior), both {100 * found.prob:g} %"
    verdict: Verdict = "fine"
    meaning, advice = f"The data moved {name} {change}.", NOTHING
    if found.value < NO_CONTRACTION:
        verdict = "problem"
        meaning = f"The posterior of {name} is little else than its prior: {change}."
        advice = (
            f"Say that {name} was assumed, not estimated; report population-averaged numbers, and "
            "fit again with another prior to see which of them stay."
        )
    elif found.value < LITTLE_CONTRACTION:
        verdict = "look"
        meaning = f"The prior of {name} still shows: {change}."
        advice = f"Choose the prior of {name} with reasons, and try a second one."
    elif found.place > FAR_OUT:
        verdict = "look"
        meaning = f"The data pull {name} into the upper tail of its prior: {change}."
        advice = f"Ask whether so large a {name} is credible before you widen its prior."
    return Finding("after", f"contraction of {name}", found.value, f"{found.value:.2f}", verdict,
                   meaning, advice)  # fmt: skip


def profile_finding(profile: SDProfile, tolerance: float | None = None) -> Finding:
    """What the likelihood alone says about a standard deviation.

    Parameters
    ----------
    profile : SDProfile
        All other parameters at their conditional maximum.
    tolerance : float, optional
        Standard deviation of the link's tolerance distribution, where conditional coefficients
        grow with the standard deviation: of random intercepts under links of probabilities.

    Returns
    -------
    Finding

    Notes
    -----
    With t the tolerance, conditional coefficients with the same population-averaged ones grow
    about as √(t² + sd²), exactly so under the probit.

    Examples
    --------
    >>> import numpy as np
    >>> from popavg.posterior_tools.fit_findings import profile_finding
    >>> from popavg.posterior_tools.sd_profile import SDProfile
    >>> x = np.linspace(-3, 3, 31)
    >>> profile_finding(SDProfile("sd_g", np.exp(x), -x / 100, 0 * x - 0.01, -0.01)).verdict
    'problem'
    """
    (lower, upper), name, last = profile.interval, profile.name, profile.sd[-1]
    ends = f"{lower:.3g} to {upper:.3g}" if np.isfinite(upper) else f"{lower:.3g} to ∞"
    at = f"maximum at {profile.best:.3g}" if profile.best < last else f"rising up to {last:.3g}"
    number = f"{at}, 95 % likelihood interval {ends}"
    verdict: Verdict = "fine"
    meaning = f"The data alone bound {name} on both sides."
    advice = NOTHING
    if not np.isfinite(upper):
        verdict = "problem"
        meaning = (
            f"Up to {last:.3g}, as far as was looked, the data don't bound {name} from above: "
            "maximum likelihood runs away or stops with 'Hessian is not positive definite'."
        )
        advice = (
            f"The prior alone bounds {name}: choose it with reasons, and report "
            "population-averaged numbers first."
        )
    elif lower == 0.0:
        verdict = "look"
        meaning = (
            f"{name} = 0 fits about as well: maximum likelihood may end on this boundary, where "
            "its Hessian isn't positive definite."
        )
        advice = (
            f"The posterior is valid there: report the interval of {name}, not that it 'is zero'."
        )
    elif tolerance is not None and _stretch(lower, upper, tolerance) > STRETCH:
        verdict = "look"
        meaning = (
            f"The data bound {name}, but between the two ends conditional coefficients grow by a "
            f"factor of {_stretch(lower, upper, tolerance):.2g} for the same population averages."
        )
        advice = f"Try a second prior for {name}, and report population-averaged numbers first."
    elif tolerance is None and upper / lower > WIDE:
        verdict = "look"
        meaning = f"The data bound {name}, but within a factor of {upper / lower:.2g}."
        advice = f"Try a second prior for {name}."
    return Finding("after", f"likelihood of {name}", profile.best, number, verdict, meaning, advice)


def _stretch(lower: float, upper: float, tolerance: float) -> float:
    return float(np.sqrt((tolerance**2 + upper**2) / (tolerance**2 + lower**2)))


def sensitivity_findings(found: Sensitivity) -> list[Finding]:
    """Which numbers move when the priors count a little more or less.

    Parameters
    ----------
    found : Sensitivity
        Of conditional and population-averaged numbers.

    Returns
    -------
    list of Finding
        Of random effects, conditional coefficients, population-averaged coefficients, averages
        and differences, as far as they were computed.

    Examples
    --------
    >>> import pandas as pd
    >>> from popavg.posterior_tools.fit_findings import sensitivity_findings
    >>> from popavg.posterior_tools.sensitivity import Sensitivity
    >>> row = {"quantity": "x", "kind": "conditional", "what": "coefficient", "prior": 0.3}
    >>> row |= {"sd_prior": 0.2, "beta_prior": 0.1, "likelihood": 0.02}
    >>> sensitivity_findings(Sensitivity(pd.DataFrame([row]), 400))[0].number
    'at most 0.30 (x)'
    """
    conditional = found.rows(CONDITIONAL, "coefficient")
    moving = None
    if (conditional["prior"] >= THRESHOLD).any():
        effects = found.rows(CONDITIONAL, "random effects")["quantity"]
        moving = ", ".join(effects) or "the random effects"
    groups = (
        ("the random effects", found.rows(CONDITIONAL, "random effects", "residual"), None),
        ("conditional coefficients", conditional, None),
        ("population-averaged coefficients", found.rows(POPULATION, "coefficient"), moving),
        ("population averages and differences",
         found.rows(POPULATION, "average", "difference"), moving),
    )  # fmt: skip
    return [_sensitivity(name, rows, beside=beside) for name, rows, beside in groups if len(rows)]


def _sensitivity(name: str, rows: pd.DataFrame, *, beside: str | None) -> Finding:
    """Of one sort of numbers; ``beside`` names the standard deviations where others move."""
    prior = rows["prior"].to_numpy(dtype=float)
    worst = int(np.argmax(prior))
    number = f"at most {prior[worst]:.2f} ({rows['quantity'].iloc[worst]})"
    moves = rows[rows["prior"] >= THRESHOLD]
    title = f"sensitivity of {name} to the priors"
    if not len(moves):
        meaning = f"Priors that count a little more or less don't move {name}."
        if beside is not None:
            meaning = (
                f"{name[:1].upper()}{name[1:]} stay put where the conditional coefficients move: "
                f"the data say more about them than about {beside}."
            )
        advice = "Report these first." if beside is not None else NOTHING
        return Finding("after", title, prior[worst], number, "fine", meaning, advice)
    weak = bool((moves["likelihood"] < THRESHOLD).any())
    who, verb = listing(moves["quantity"], 4), "moves" if len(moves) == 1 else "move"
    count = f"All {len(rows)}" if len(moves) == len(rows) else f"{len(moves)} of the {len(rows)}"
    of_all = f"{count}, {who}, {verb}" if len(rows) > 1 else f"{who} moves"
    data = " and hardly with the data" if weak else ", and with the data too"
    if moves["likelihood"].isna().all():
        data = ""
    meaning = f"{of_all} with the priors{data}."
    advice = (
        f"Choose the priors{_which(moves)} with reasons, fit again with wider and narrower ones, "
        "and show both."
    )
    verdict: Verdict = "problem" if weak else "look"
    return Finding("after", title, prior[worst], number, verdict, meaning, advice)


def _which(moves: pd.DataFrame) -> str:
    """Whose priors move them most, where that is clear."""
    spread, slopes = (float(moves[name].max()) for name in ("sd_prior", "beta_prior"))
    if spread > 1.5 * slopes:
        return ", above all of the random effects,"
    return ", above all of the coefficients," if slopes > 1.5 * spread else ""
