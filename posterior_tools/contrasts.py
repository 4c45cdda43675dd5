"""How two means are compared: differences, ratios, odds ratios, or a function of one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from popavg._checks import listing, suggestion
from popavg.errors import EstimandError, SpecificationError
from popavg.links import Link
from popavg.posterior_tools.targets import Scale

__all__ = ["COMPARISONS", "ComparisonKind", "ComparisonName", "Paired", "read_comparison"]

Floats = NDArray[np.float64]
ComparisonName = Literal["difference", "ratio", "lnratio", "odds_ratio", "lnor", "nnt"]


@dataclass(frozen=True)
class ComparisonKind:
    """One way to compare.

    Attributes
    ----------
    name : str
        Its name.
    function : callable
        From means, each of shape (draws, estimands), to what is asked. The high and the low
        mean; and where ``complements``, one minus each of them after these.
    template : str
        How a contrast's label is written.
    title : str
        What the numbers are, ``{outcome}`` and ``{response}`` being filled in.
    complements : bool
        Whether it needs one minus the mean, each accurate in its own right.
    probability_only : bool
        Whether the mean must be a probability.
    response_only : bool
        Whether it has no meaning on the link scale.
    checked : bool
        Whether the function is the user's, so that its answer's shape is checked.
    """

    name: str
    function: Callable[..., Floats]
    template: str = "{high} - {low}"
    title: str = "{outcome}"
    complements: bool = False
    probability_only: bool = False
    response_only: bool = False
    checked: bool = False

    def __call__(self, *means: Floats) -> Floats:
        """Compare, draw by draw.

        Raises
        ------
        EstimandError
            A ratio of means that aren't positive; the user's function gives NaN or infinity.
        SpecificationError
            The user's function gives something of another shape.
        """
        if not self.checked:
            return self.function(*means)
        return _own(self.function, self.name, *means)


@dataclass(frozen=True)
class Paired:
    """Compares pairs of versions of the rows: a ``combine`` of row questions.

    Attributes
    ----------
    kind : ComparisonKind
        How.
    pairs : tuple of (int, int)
        Positions of the high and the low version among all versions.
    n_versions : int
        How many versions there are; with complements, these follow after them.
    """

    kind: ComparisonKind
    pairs: tuple[tuple[int, int], ...]
    n_versions: int

    def __call__(self, *means: Floats) -> Floats:
        """All pairs side by side, shape (draws, pairs × estimands)."""
        answers = []
        for high, low in self.pairs:
            taken = [means[high], means[low]]
            if self.kind.complements:
                taken += [means[self.n_versions + high], means[self.n_versions + low]]
            answers.append(self.kind(*taken))
        return np.concatenate(answers, axis=1)


def read_comparison(
    comparison: ComparisonName | Callable[[Floats, Floats], Floats], link: Link, scale: Scale
) -> ComparisonKind:
    """The comparison of that name, where a link and a scale allow it.

    Parameters
    ----------
    comparison : str or callable
        A name in :data:`COMPARISONS`, or a function of the high and the low mean, arrays of shape
        (draws, estimands), that returns one of the same shape. It must treat each draw by itself,
        since it sees them block by block.
    link : Link
        The model's link.
    scale : {"response", "link"}
        Of the means.

    Raises
    ------
    SpecificationError
        An unknown name.
    EstimandError
        An odds ratio or a number needed to treat of what isn't a probability; anything but a
        difference or a function on the link scale.

    Examples
    --------
    >>> import numpy as np
    >>> import popavg as pa
    >>> from popavg.posterior_tools.contrasts import read_comparison
    >>> ratio = read_comparison("ratio", pa.get_link("log"), "response")
    >>> ratio(np.array([[3.0]]), np.array([[2.0]])).tolist()
    [[1.5]]
    """
    if callable(comparison):
        name = getattr(comparison, "__name__", type(comparison).__name__)
        name = "custom" if name == "<lambda>" else name
        title = f"{name} of the {{outcome}}"
        return ComparisonKind(name, comparison, f"{name}({{high}}, {{low}})", title, checked=True)
    if not isinstance(comparison, str) or comparison not in COMPARISONS:
        raise SpecificationError(
            f"comparison={comparison!r} is unknown",
            f"{listing(COMPARISONS)}, or a function of two arrays",
            suggestion(comparison, COMPARISONS),
        )
    kind = COMPARISONS[comparison]
    if kind.probability_only and not link.is_probability:
        raise EstimandError(
            f"comparison={comparison!r} needs a probability, and the mean of the {link.name} link "
            "isn't one",
            "'difference', 'ratio', 'lnratio', or a function of two arrays",
        )
    if kind.response_only and scale == "link":
        raise EstimandError(
            f"comparison={comparison!r} of numbers on the link scale",
            "'difference', or a function of two arrays",
            f"leave scale='link' out: comparison={comparison!r} is of means on the response scale",
        )
    return kind


def _difference(high: Floats, low: Floats) -> Floats:
    return high - low


def _ratio(high: Floats, low: Floats) -> Floats:
    _check_positive(low, "the mean that is divided by")
    return high / low


def _lnratio(high: Floats, low: Floats) -> Floats:
    _check_positive(low, "the mean that is divided by")
    _check_positive(high, "the mean whose logarithm is taken")
    return np.log(high) - np.log(low)


def _odds_ratio(high: Floats, low: Floats, above: Floats, below: Floats) -> Floats:
    return np.exp(_lnor(high, low, above, below))


def _lnor(high: Floats, low: Floats, above: Floats, below: Floats) -> Floats:
    for mean in (high, low):
        _check_positive(mean, "the probability whose odds are taken")
    for complement in (above, below):
        _check_positive(complement, "one minus the probability whose odds are taken")
    return (np.log(high) - np.log(above)) - (np.log(low) - np.log(below))


def _check_positive(means: Floats, what: str) -> None:
    if (means <= 0.0).any():
        raise EstimandError(
            f"{what} is 0 or negative in some draws",
            "ratios of positive means",
            "use comparison='difference'",
        )


def _own(function: Callable[..., Floats], name: str, *means: Floats) -> Floats:
    """The answer of a user's function, which gets copies; what it divides by is checked here."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = np.asarray(function(*(mean.copy() for mean in means)))
    wanted = means[0].shape
    if found.shape != wanted or found.dtype.kind not in "biuf":
        raise SpecificationError(
            f"the comparison {name!r} turned two arrays of shape {wanted} into one of shape "
            f"{found.shape} and type {found.dtype}",
            "an array of numbers of the same shape (draws, estimands)",
            "compare element by element: lambda high, low: (high - low) / low",
        )
    bad = ~np.isfinite(found)
    if bad.any():
        raise EstimandError(
            f"the comparison {name!r} gives {found[bad][0]} in some draws",
            "a finite number for each pair of means",
            "check what the function does where a mean is 0 or 1 or where both are equal",
        )
    return found.astype(np.float64)


_KINDS = (
    ComparisonKind("difference", _difference, title="difference in the {outcome}"),
    ComparisonKind("ratio", _ratio, "{high} / {low}", "ratio of the {outcome}", response_only=True),
    ComparisonKind(
        "lnratio", _lnratio, "ln({high} / {low})", "log ratio of the {outcome}", response_only=True
    ),
    ComparisonKind(
        "odds_ratio",
        _odds_ratio,
        "odds({high}) / odds({low})",
        "odds ratio of {response}",
        complements=True,
        probability_only=True,
        response_only=True,
    ),
    ComparisonKind(
        "lnor",
        _lnor,
        "ln(odds({high}) / odds({low}))",
        "log odds ratio of {response}",
        complements=True,
        probability_only=True,
        response_only=True,
    ),
    ComparisonKind(
        "nnt",
        _difference,
        title="number needed to treat: 1 / difference in the {outcome}",
        probability_only=True,
        response_only=True,
    ),
)

#: All comparisons by name.
COMPARISONS: dict[str, ComparisonKind] = {kind.name: kind for kind in _KINDS}
