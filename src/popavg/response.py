"""The response of a model: what counts as an event, out of how many trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from formulae.token import Token
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.errors import DataError, EstimandError, FormulaError
from popavg.formula_tokens import scan_part, shortened, text_of
from popavg.labels import label_values, labels, written

__all__ = [
    "Response",
    "ResponseForm",
    "has_trials",
    "no_response",
    "read_form",
    "read_response",
    "require_outcome",
]

_PROPORTION = ("p", "prop", "proportion")


@dataclass(frozen=True, eq=False)
class Response:
    """The outcome of every row.

    Attributes
    ----------
    name : str
        The response as the formula writes it.
    label : str
        What is counted or measured, in words: ``"outcome = 'severe'"``.
    y : numpy.ndarray, shape (rows,)
        0 or 1, successes, counts or values; NaN where there is no outcome.
    trials : numpy.ndarray of shape (rows,) or None
        Trials of ``p(successes, trials)``.
    event : str or None
        The level counted as 1 where the column holds booleans or text.
    """

    name: str
    label: str
    y: NDArray[np.float64]
    trials: NDArray[np.float64] | None = None
    event: str | None = None

    @property
    def is_given(self) -> bool:
        """Whether there is an outcome: not where only a posterior came, without its data."""
        return bool(self.name)

    def take(self, rows: NDArray[np.intp]) -> Response:
        """The same response for some rows, in the given order."""
        trials = None if self.trials is None else self.trials[rows]
        return Response(self.name, self.label, self.y[rows], trials, self.event)


@dataclass(frozen=True)
class ResponseForm:
    """The left side of a formula, read.

    Attributes
    ----------
    text : str
        As the formula writes it, evenly spaced.
    column : str
        The column of the outcome or of the successes.
    level : str or None
        The event of ``column['level']``.
    trials : str, int or None
        Column or number of trials of ``p(successes, trials)``.
    """

    text: str
    column: str
    level: str | None = None
    trials: str | int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The data's columns that the response names."""
        return (self.column, self.trials) if isinstance(self.trials, str) else (self.column,)


def read_form(part: str | Sequence[Token]) -> ResponseForm:
    """Read ``y``, ``y['level']`` or ``p(successes, trials)``.

    Raises
    ------
    FormulaError
        The response is written in another way.

    Examples
    --------
    >>> from popavg.response import read_form
    >>> read_form("p(sick, 10)").trials
    10
    """
    tokens = scan_part(part) if isinstance(part, str) else part
    words = [token.lexeme.strip("`") for token in tokens]
    kinds = ["NAME" if t.kind in ("IDENTIFIER", "BQNAME") else t.kind for t in tokens]
    match kinds:
        case ["NAME"]:
            return ResponseForm(text_of(tokens), words[0])
        case ["NAME", "LEFT_BRACKET", "NAME" | "STRING" | "NUMBER", "RIGHT_BRACKET"]:
            level = words[2][1:-1] if kinds[2] == "STRING" else words[2]
            return ResponseForm(text_of(tokens), words[0], level=level)
        case ["NAME", "LEFT_PAREN", "NAME", "COMMA", "NAME" | "NUMBER" as kind, "RIGHT_PAREN"] if (
            words[0] in _PROPORTION
        ):
            trials = words[4] if kind == "NAME" else _number_of_trials(tokens[4])
            return ResponseForm(text_of(tokens), words[2], trials=trials)
    raise FormulaError(
        f"the response {shortened(text_of(tokens))} is an expression",
        "a column, column['level'] or p(successes, trials)",
        "compute it as a column of the data first",
    )


def has_trials(text: str) -> bool:
    """Whether a response is written ``p(successes, trials)``."""
    return bool(text) and read_form(text).trials is not None


def no_response(n_rows: int) -> Response:
    """The response of a formula without a left side: a posterior's rows without their outcome."""
    return Response("", "the outcome", np.full(n_rows, np.nan))


def require_outcome(response: Response) -> None:
    """There is an outcome to fit something to.

    Raises
    ------
    EstimandError
        There is none.
    """
    if not response.is_given:
        raise EstimandError(
            "the fit has no outcome: it was made from arrays without y",
            "verbs that need the posterior only, such as predictions",
            "give the outcome to pa.from_arrays(…, y=…)",
        )


def read_response(text: str, frame: pd.DataFrame, family: str) -> Response:
    """Read the left side of a formula from the data.

    Parameters
    ----------
    text : str
        ``y``, ``y['level']`` or ``p(successes, trials)``; for counts and values a column.
    frame : pandas.DataFrame
        Complete rows.
    family : {"bernoulli", "binomial", "poisson", "gaussian"}
        What the response must be.

    Returns
    -------
    Response

    Raises
    ------
    DataError
        Values that the family doesn't allow; the message says which and how many.
    FormulaError
        A response that can't be read, or isn't of the family's form.
    """
    form = read_form(text)
    _check_form(form, family)
    column = frame[form.column]
    if form.trials is not None:
        response = _proportion(form, frame)
    elif form.level is not None:
        response = _event(column, form.level)
    elif family == "bernoulli":
        response = _binary(column)
    else:
        values = _whole(column, "counts") if family == "poisson" else _numbers(column)
        response = Response(form.column, form.column, values)
    _check_varies(response)
    return response


def _number_of_trials(token: Token) -> int:
    if not isinstance(token.literal, int) or token.literal < 1:
        raise FormulaError(
            f"the number of trials is {token.lexeme}",
            "a column, or a whole number from 1",
            "write p(successes, trials)",
        )
    return token.literal


def _check_form(form: ResponseForm, family: str) -> None:
    if (form.trials is not None) != (family == "binomial"):
        raise FormulaError(
            f"the response '{form.text}' doesn't go with the {family} family",
            "p(successes, trials) with the binomial family and only with it",
            "write the response as the family needs it",
        )
    if form.level is not None and family != "bernoulli":
        raise FormulaError(
            f"the response '{form.text}' names a level, which the {family} family can't use",
            "a column of numbers",
            "choose link='logit', 'probit' or 'cloglog' for an event",
        )


def _check_varies(response: Response) -> None:
    with_trials = response.trials is not None
    rate = response.y / response.trials if with_trials else response.y
    if (rate == rate[0]).all() and (rate[0] in (0, 1) or not with_trials):
        raise DataError(
            f'the response "{response.label}" is {rate[0]:g} in every row'
            + (" and trial" if with_trials else ""),
            "a response that varies",
            "check the column and how its event is coded",
        )


def _binary(column: pd.Series) -> Response:
    name = str(column.name)
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = label_values(column.cat.categories)
        if pd.api.types.is_numeric_dtype(column.cat.categories) and set(levels) <= {"0", "1"}:
            return Response(name, name, labels(column).astype(float))
    elif pd.api.types.is_bool_dtype(column):
        levels = ["False", "True"]
    elif pd.api.types.is_numeric_dtype(column):
        return _zero_one(column)
    else:
        levels = sorted(set(column))
    if len(levels) != 2:
        raise DataError(
            f"the response {name!r} has {len(levels)} level{'s' * (len(levels) != 1)}: "
            f"{listing(levels)}",
            "two levels, 0/1 or booleans",
            f"name the event: {written(name)}['{levels[-1]}'] ~ …"
            if len(levels) > 2
            else "check the column and how its event is coded",
        )
    return _event(column, levels[1])


def _zero_one(column: pd.Series) -> Response:
    values = column.to_numpy(dtype=float)
    other = np.unique(values[(values != 0) & (values != 1)])
    if len(other):
        raise DataError(
            f"the response {column.name!r} holds {listing([f'{v:g}' for v in other[:99]], 5)}",
            "0 and 1 (or booleans, or text with two levels)",
            f"recode it, name the event: {written(str(column.name))}['{other[-1]:g}'] ~ …, "
            "or write 'p(successes, trials)' for counts out of trials",
        )
    return Response(str(column.name), str(column.name), values)


def _event(column: pd.Series, level: str) -> Response:
    name = str(column.name)
    is_event = labels(column) == level
    if not is_event.any():
        raise DataError(
            f"the response {name!r} is never {level!r}",
            listing(sorted(set(labels(column)))),
            "name one of these levels",
        )
    shown = level if pd.api.types.is_bool_dtype(column) else repr(level)
    return Response(name, f"{name} = {shown}", is_event.astype(float), event=level)


def _proportion(form: ResponseForm, frame: pd.DataFrame) -> Response:
    y = _whole(frame[form.column], "successes")
    if isinstance(form.trials, str):
        trials = _whole(frame[form.trials], "trials")
    else:
        trials = np.full(len(frame), float(form.trials or 1))
    wrong = np.flatnonzero((y > trials) | (trials < 1))
    if len(wrong):
        row, more = wrong[0], len(wrong) - 1
        raise DataError(
            f"{form.column!r} is {y[row]:g} out of {trials[row]:g} trials in row {row}"
            + (f" (and {more} more such rows)" if more else ""),
            "0 ≤ successes ≤ trials, at least one trial",
            "check which column holds the trials, or remove rows without trials",
        )
    return Response(form.text, f"{form.column} out of {form.trials}", y, trials)


def _whole(column: pd.Series, what: str) -> NDArray[np.float64]:
    values = _numbers(column)
    wrong = values[(values < 0) | (values != np.floor(values))]
    if len(wrong):
        raise DataError(
            f"the {what} {column.name!r} hold "
            f"{listing([f'{v:g}' for v in np.unique(wrong)[:99]], 5)}",
            "whole numbers from 0",
            "check the column, or choose link='identity' for values that aren't counts",
        )
    return values


def _numbers(column: pd.Series) -> NDArray[np.float64]:
    if isinstance(column.dtype, pd.CategoricalDtype) or not pd.api.types.is_numeric_dtype(column):
        raise DataError(
            f"the response {column.name!r} holds text: {listing(sorted(set(labels(column))), 5)}",
            "numbers",
            "choose link='logit' (or another link of a probability) for an event",
        )
    return column.to_numpy(dtype=float)
