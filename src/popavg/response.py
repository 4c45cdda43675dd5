"""The response of a model: what counts as an event, out of how many trials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from formulae.token import Token
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.errors import DataError, FormulaError
from popavg.formula_tokens import scan

__all__ = ["Response", "read_response"]

_PROPORTION = ("p", "prop", "proportion")


@dataclass(frozen=True)
class Response:
    """The outcome of every row.

    Attributes
    ----------
    name : str
        The response as the formula writes it.
    label : str
        What is counted or measured, in words: ``"outcome = 'severe'"``.
    y : numpy.ndarray, shape (rows,)
        0 or 1, successes, counts or values.
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

    def take(self, rows: NDArray[np.intp]) -> Response:
        """The same response for some rows, in the given order."""
        trials = None if self.trials is None else self.trials[rows]
        return Response(self.name, self.label, self.y[rows], trials, self.event)


def has_trials(text: str) -> bool:
    """Whether a response is written ``p(successes, trials)``."""
    tokens = _tokens(text)
    return tokens[0].lexeme in _PROPORTION and len(tokens) > 1 and tokens[1].kind == "LEFT_PAREN"


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
        A response that can't be read.
    """
    tokens = _tokens(text)
    if has_trials(text):
        return _proportion(tokens, frame)
    name = tokens[0].lexeme.strip("`")
    if len(tokens) == 4 and tokens[1].kind == "LEFT_BRACKET":
        _check_family_counts_events(name, family)
        return _event(frame[name], tokens[2].lexeme.strip("'\""))
    if len(tokens) != 1:
        raise FormulaError(
            f"the response '{text}' is an expression",
            "a column, column['level'] or p(successes, trials)",
            "compute it as a column of the data first",
        )
    if family == "bernoulli":
        return _binary(frame[name])
    return _counts(frame[name]) if family == "poisson" else _values(frame[name])


def _tokens(text: str) -> list[Token]:
    return scan(f"{text} ~ 1")[:-2]


def _check_family_counts_events(name: str, family: str) -> None:
    if family != "bernoulli":
        raise FormulaError(
            f"the response {name!r} is written with a level, which the {family} family can't use",
            "a column of numbers",
        )


def _binary(column: pd.Series) -> Response:
    name = str(column.name)
    if pd.api.types.is_bool_dtype(column):
        return Response(name, f"{name} = True", column.to_numpy(dtype=float), event="True")
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = [str(level) for level in column.cat.categories]
        if set(column.cat.categories) <= {0, 1}:
            return Response(name, name, column.astype(float).to_numpy())
    elif pd.api.types.is_numeric_dtype(column):
        return _zero_one(column)
    else:
        levels = sorted(set(column))
    if len(levels) != 2:
        raise DataError(
            f"the response {name!r} has {len(levels)} levels: {listing(levels)}",
            "two levels, 0/1 or booleans",
            f"name the event: \"{name}['{levels[-1]}'] ~ …\"",
        )
    return _event(column, levels[1])


def _zero_one(column: pd.Series) -> Response:
    values = column.to_numpy(dtype=float)
    other = sorted(set(values) - {0.0, 1.0})
    if other:
        raise DataError(
            f"the response {column.name!r} holds {listing([f'{v:g}' for v in other], 5)}",
            "0 and 1 (or booleans, or text with two levels)",
            "recode it, or write 'p(successes, trials)' for counts out of trials",
        )
    return Response(str(column.name), str(column.name), values)


def _event(column: pd.Series, level: str) -> Response:
    name = str(column.name)
    labels = column.astype(str)
    if not (labels == level).any():
        raise DataError(
            f"the response {name!r} is never {level!r}", listing(sorted(set(labels)))
        )
    y = (labels == level).to_numpy(dtype=float)
    return Response(name, f"{name} = {level!r}", y, event=level)


def _proportion(tokens: list[Token], frame: pd.DataFrame) -> Response:
    arguments = [token for token in tokens[2:-1] if token.kind != "COMMA"]
    kinds = [token.kind for token in arguments]
    if len(arguments) != 2 or kinds[0] not in ("IDENTIFIER", "BQNAME"):
        raise FormulaError("the response isn't of the form p(successes, trials)")
    first, second = (token.lexeme.strip("`") for token in arguments)
    y = _whole(frame[first], "successes")
    if kinds[1] == "NUMBER":
        trials = np.full(len(frame), float(second))
    else:
        trials = _whole(frame[second], "trials")
    above = int((y > trials).sum())
    if above or (trials < 1).any():
        row = int(np.flatnonzero((y > trials) | (trials < 1))[0])
        raise DataError(
            f"{first!r} is {y[row]:g} out of {trials[row]:g} trials in row {row}"
            + (f" ({above} rows have more successes than trials)" if above else ""),
            "0 ≤ successes ≤ trials, at least one trial",
            "check which column holds the trials, or remove rows without trials",
        )
    return Response(f"p({first}, {second})", f"{first} out of {second}", y, trials)


def _whole(column: pd.Series, what: str) -> NDArray[np.float64]:
    values = _numbers(column)
    wrong = values[(values < 0) | (values != np.floor(values))]
    if len(wrong):
        raise DataError(
            f"the {what} {column.name!r} hold {listing([f'{v:g}' for v in wrong], 5)}",
            "whole numbers from 0",
        )
    return values


def _counts(column: pd.Series) -> Response:
    return Response(str(column.name), str(column.name), _whole(column, "counts"))


def _values(column: pd.Series) -> Response:
    values = _numbers(column)
    if len(set(values)) == 1:
        raise DataError(f"the response {column.name!r} is {values[0]:g} in every row")
    return Response(str(column.name), str(column.name), values)


def _numbers(column: pd.Series) -> NDArray[np.float64]:
    if isinstance(column.dtype, pd.CategoricalDtype) or not pd.api.types.is_numeric_dtype(column):
        raise DataError(
            f"the response {column.name!r} holds text: {listing(sorted(set(column.astype(str))))}",
            "numbers",
            "choose link='logit' (or another link of a probability) for an event",
        )
    return column.to_numpy(dtype=float)
