"""The fixed effects' design by formulae, in a closed environment."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import formulae
import numpy as np
import pandas as pd
from formulae.environment import Environment
from formulae.matrices import DesignMatrices as FormulaeMatrices
from formulae.utils import flatten_list
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.errors import DataError, FormulaError, PopavgError
from popavg.formula_tokens import FUNCTIONS, NUMPY_FUNCTIONS, columns_of, matching, scan

__all__ = ["FixedEffects"]

#: All that a formula can reach.
ENVIRONMENT = Environment([{name: getattr(np, name) for name in NUMPY_FUNCTIONS}])


@dataclass(frozen=True)
class FixedEffects:
    """One formula without grouping terms, evaluated once and ready for new data.

    Attributes
    ----------
    text : str
        The terms as written, ``"x * z"``.
    terms : tuple of str
        Column names, without those of offsets.
    columns : tuple of str
        Columns of the data that it needs.
    """

    text: str
    terms: tuple[str, ...]
    columns: tuple[str, ...]
    spline_ranges: dict[str, tuple[float, float]]
    _matrices: FormulaeMatrices
    _offsets: NDArray[np.bool_]

    @classmethod
    def build(cls, text: str, frame: pd.DataFrame) -> FixedEffects:
        """Evaluate the formula on the training frame.

        Raises
        ------
        FormulaError
            It can't be evaluated, or gives no columns or the same column twice.
        """
        with _guarded(text):
            matrices = formulae.design_matrices(text, frame, na_action="error", env=ENVIRONMENT)
        if matrices.common is None:
            raise FormulaError(f"the fixed effects '{text}' give no columns", "an intercept or more")
        parts = matrices.common.terms.values()
        labels = list(flatten_list([part.labels for part in parts]))
        kinds = list(flatten_list([[part.kind] * _width(part.data) for part in parts]))
        offsets = np.array([kind == "offset" for kind in kinds])
        terms = tuple(str(t) for t, is_offset in zip(labels, offsets, strict=True) if not is_offset)
        if len(set(terms)) < len(terms) or not terms:
            twice = sorted({term for term in terms if terms.count(term) > 1})
            raise FormulaError(f"the terms {listing(twice)} of '{text}' have the same name")
        ranges = {n: (frame[n].min(), frame[n].max()) for n in _spline_columns(text)}
        return cls(text, terms, _columns(text), ranges, matrices, offsets)

    def evaluate(self, frame: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Design and offset of the rows of a frame.

        Returns
        -------
        X : numpy.ndarray, shape (rows, terms)
        offset : numpy.ndarray, shape (rows,)

        Raises
        ------
        DataError
            A level that the training frame hadn't, or values outside a spline's range.
        """
        self._check_ranges(frame)
        with _guarded(self.text):
            common = self._matrices.common.evaluate_new_data(frame)
        columns = np.asarray(common.design_matrix, dtype=float).reshape(len(frame), -1)
        return columns[:, ~self._offsets], columns[:, self._offsets].sum(axis=1)

    def _check_ranges(self, frame: pd.DataFrame) -> None:
        for name, (low, high) in self.spline_ranges.items():
            values = frame[name]
            if values.min() < low or values.max() > high:
                raise DataError(
                    f"the column {name!r} reaches from {values.min():g} to {values.max():g}, "
                    f"its spline bs() was built on [{low:g}, {high:g}] and doesn't extrapolate",
                    f"values in [{low:g}, {high:g}]",
                    "leave out the rows outside, or fit with data that cover them",
                )


@contextlib.contextmanager
def _guarded(text: str) -> Iterator[None]:
    """Formulae's errors in our words, and nothing printed on the way."""
    logger = logging.getLogger("formulae")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
            yield
    except PopavgError:
        raise
    except KeyError as error:
        name = str(error.args[0]) if error.args else ""
        if name not in FUNCTIONS:
            raise FormulaError(
                f"'{text}' names {name!r}, which is neither a column nor a function",
                f"the data's columns and the functions {listing(sorted(FUNCTIONS), limit=50)}",
            ) from error
        raise FormulaError(f"'{text}' can't be evaluated: {name!r} is missing") from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FormulaError(
            f"'{text}' can't be evaluated on these data: {reason}",
            "functions of the columns' types: numbers for log(), poly(), bs(), scale()",
            "check the columns' types and levels",
        ) from error
    finally:
        logger.setLevel(level)


def _columns(text: str) -> tuple[str, ...]:
    return columns_of(scan(f"y ~ {text}")[2:])


def _spline_columns(text: str) -> tuple[str, ...]:
    tokens = scan(f"y ~ {text}")[2:]
    inside = []
    for i, token in enumerate(tokens):
        if token.lexeme == "bs" and i + 1 < len(tokens) and tokens[i + 1].kind == "LEFT_PAREN":
            inside += tokens[i : matching(tokens, i + 1) + 1]
    return columns_of(inside)


def _width(data: object) -> int:
    array = np.asarray(data)
    return array.shape[1] if array.ndim == 2 else 1
