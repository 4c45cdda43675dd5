"""Small named checkers used at the border of public functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from itertools import islice

from popavg.errors import SpecificationError

__all__ = ["brief", "check_choice", "listing", "suggestion"]


def brief(value: object, limit: int = 80) -> str:
    """A value as Python writes it where that is short, else its type: trees fill screens."""
    text = repr(value)
    return text if len(text) <= limit and "\n" not in text else f"<{type(value).__name__}>"


def listing(items: Iterable[object], limit: int = 12) -> str:
    """Names in quotes, joined by commas, cut after ``limit``."""
    known = items if isinstance(items, Collection) else list(items)
    names = [repr(str(item)) for item in islice(known, limit)]
    more = f" and {len(known) - limit} more" if len(known) > limit else ""
    return ", ".join(names) + more


def suggestion(value: object, choices: Iterable[object]) -> str:
    """A ``did you mean`` half-sentence, or nothing."""
    names = {str(choice).lower(): str(choice) for choice in choices}
    close = get_close_matches(str(value).lower(), names, n=1, cutoff=0.65)
    return f"did you mean {names[close[0]]!r}?" if close else ""


def check_choice[T](argument: str, value: T, choices: Sequence[T]) -> T:
    """Return ``value`` where it is one of ``choices``.

    Raises
    ------
    SpecificationError
        ``value`` isn't one of them; the message lists them.
    """
    if value not in choices:
        raise SpecificationError(
            f"{argument}={value!r} is unknown", listing(choices), suggestion(value, choices)
        )
    return value
