"""The fixed effects' design by formulae, in a closed environment."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pandas as pd
from formulae.categorical import CategoricalBox
from formulae.environment import Environment
from formulae.matrices import CommonEffectsMatrix
from formulae.matrices import DesignMatrices as FormulaeMatrices
from formulae.terms.call_resolver import LazyCall
from formulae.terms.terms import Model
from numpy.typing import NDArray

from popavg._checks import listing
from popavg.call_derivatives import obstacle, term_derivative
from popavg.errors import DataError, FormulaError, PopavgError
from popavg.formula_calls import NUMPY_FUNCTIONS
from popavg.formula_terms import check_names_differ, read_terms

__all__ = ["FixedEffects"]

MAX_COLUMNS = 1000
#: Numbers that a design may hold: 2 GB.
MAX_NUMBERS = 2**28
#: All that a formula can reach.
ENVIRONMENT = Environment([{name: getattr(np, name) for name in NUMPY_FUNCTIONS}])


@dataclass(frozen=True, eq=False)
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
    offset_columns : tuple of str
        Those that stand in offsets only.
    """

    text: str
    terms: tuple[str, ...]
    columns: tuple[str, ...]
    offset_columns: tuple[str, ...]
    _kinds: dict[str, Any]
    _common: CommonEffectsMatrix
    _is_offset: NDArray[np.bool_]
    _every_level: pd.DataFrame

    @classmethod
    def build(cls, text: str, frame: pd.DataFrame) -> FixedEffects:
        """Evaluate the formula on the training frame.

        Raises
        ------
        FormulaError
            It can't be evaluated, gives no columns, more columns than rows, or the same name
            twice.
        """
        read = read_terms(text)
        model = read.model()
        kinds = _kinds(frame.loc[:, list(read.columns)], read.encoded)
        data = frame.loc[:, list(read.columns)].astype(kinds)
        remedy = _remedy(data)
        with _guarded(text, FormulaError, remedy):
            model.set_types(data, ENVIRONMENT)
        _check_width(model, data)
        with _guarded(text, FormulaError, remedy):
            common = FormulaeMatrices(model, data, ENVIRONMENT).common
        check_names_differ(model)
        if common is None:
            raise _no_columns(text)
        terms, is_offset = _labels(text, common)
        every_level = _every_level(data)
        return cls(text, terms, read.columns, read.constant, kinds, common, is_offset, every_level)

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

        Notes
        -----
        Rows with every level are evaluated along and cut off: formulae's ``C()`` refuses ordered
        categories of which a frame has only some.
        """
        data = self._with_every_level(frame)
        with _guarded(self.text, DataError, "check the columns' types and levels"):
            self._check_splines(data.iloc[: len(frame)])
            common = self._common.evaluate_new_data(data)
        columns = np.asarray(common.design_matrix, dtype=float).reshape(len(data), -1)
        return self._parted(columns[: len(frame)])

    def obstacle(self, variable: str) -> str | None:
        """Why there is no derivative in a numeric column, in words; None where there is one."""
        found = (obstacle(term, variable) for term in self._common.terms.values())
        return next((words for words in found if words), None)

    def derivative(
        self, frame: pd.DataFrame, variable: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Derivatives of design and offset in a numeric column without an :meth:`obstacle`.

        Returns
        -------
        X : numpy.ndarray, shape (rows, terms)
        offset : numpy.ndarray, shape (rows,)
            Not finite where there is no derivative.
        """
        data = self._with_every_level(frame)
        with _guarded(self.text, DataError, "check the columns' types and levels"):
            terms = self._common.terms.values()
            columns = np.column_stack([term_derivative(term, data, variable) for term in terms])
        return self._parted(columns[: len(frame)])

    def _with_every_level(self, frame: pd.DataFrame) -> pd.DataFrame:
        data = frame.loc[:, list(self.columns)].astype(self._kinds)
        if len(self._every_level):
            data = pd.concat([data, self._every_level], ignore_index=True)
        return data

    def _parted(
        self, columns: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The terms' columns, and the sum of the offsets'."""
        return columns[:, ~self._is_offset], columns[:, self._is_offset].sum(axis=1)

    def _check_splines(self, data: pd.DataFrame) -> None:
        for component in _components(self._common.terms.values()):
            for spline in _splines(getattr(component, "call", None)):
                low, high = _bounds(spline)
                values = np.asarray(spline.args[0].eval(data, component.env), dtype=float)
                if values.min() < low or values.max() > high:
                    raise DataError(
                        f"{str(spline.args[0])!r} reaches from {values.min():g} to "
                        f"{values.max():g}, but its spline '{spline}' was built on "
                        f"[{low:g}, {high:g}] and doesn't extrapolate",
                        f"values in [{low:g}, {high:g}]",
                        "leave out the rows outside, or fit with data that cover them",
                    )


def _remedy(frame: pd.DataFrame) -> str:
    texts = [name for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)]
    note = f" ({listing(texts)}: text or categories)" if texts else ""
    return f"check the columns' types and levels{note}"


def _kinds(frame: pd.DataFrame, encoded: Sequence[str]) -> dict[str, Any]:
    """Types that formulae gets: whole numbers and booleans as float, text as categories.

    So x**9 doesn't overflow, True + True is 2, and text is compared by code. What becomes
    categories in ``C()`` stays as it is, since its values are the levels' names.
    """
    kinds: dict[str, Any] = {}
    for name, column in frame.items():
        if column.dtype.kind in "iub" and name not in encoded:
            kinds[str(name)] = np.float64
        elif not isinstance(column.dtype, pd.CategoricalDtype) and column.dtype.kind not in "iufb":
            kinds[str(name)] = pd.CategoricalDtype(sorted(column.unique()), ordered=True)
    return kinds


def _every_level(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows that hold every level of every category; none where there are no categories."""
    categories = {
        name: column.cat.categories
        for name, column in frame.items()
        if isinstance(column.dtype, pd.CategoricalDtype)
    }
    n_rows = max(map(len, categories.values()), default=0)
    rows = frame.iloc[np.zeros(n_rows, dtype=int)].reset_index(drop=True)
    for name, levels in categories.items():
        codes = np.arange(n_rows) % len(levels)
        rows[name] = pd.Categorical.from_codes(codes, dtype=frame[name].dtype)
    return rows


def _labels(text: str, common: CommonEffectsMatrix) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """Names of the columns without offsets, and which columns are offsets."""
    parts = list(common.terms.values())
    labels = [(str(label), part.kind == "offset") for part in parts for label in part.labels]
    terms = tuple(label for label, is_offset in labels if not is_offset)
    if not terms:
        raise _no_columns(text)
    twice = sorted({term for term in terms if terms.count(term) > 1})
    if twice:
        raise FormulaError(
            f"'{text}' makes several columns called {listing(twice)}",
            "columns with names of their own",
            "rename the levels or columns that lead to the same name",
        )
    return terms, np.array([is_offset for _, is_offset in labels])


def _no_columns(text: str) -> FormulaError:
    return FormulaError(
        f"the terms '{text}' give no columns", "an intercept or more", "leave the intercept in"
    )


def _check_width(model: Model, frame: pd.DataFrame) -> None:
    """Fewer columns than rows, found before the columns are made."""
    n_rows, n_columns = len(frame), sum(_width(term) for term in model.common_terms)
    if n_columns > min(n_rows, MAX_COLUMNS) or n_columns * n_rows > MAX_NUMBERS:
        widest = max(model.common_terms, key=_width)
        raise FormulaError(
            f"the formula makes at least {n_columns:,} columns from {n_rows:,} rows, "
            f"{_width(widest):,} of them for the term {widest.name!r}",
            f"no more columns than rows, at most {MAX_COLUMNS:,} columns and 2 GB",
            "use fewer levels, or make a factor with many levels a grouping term '(1 | factor)'",
        )


def _width(term: Any) -> int:
    """Columns that a term makes at least."""
    return prod(_component_width(component) for component in getattr(term, "components", ()))


def _component_width(component: Any) -> int:
    data = component._intermediate_data
    if component.kind == "categoric":
        data = getattr(data, "data", data) if isinstance(data, CategoricalBox) else data
        return max(pd.Series(data).nunique() - 1, 1)
    return data.shape[1] if getattr(data, "ndim", 1) == 2 else 1


def _components(terms: Iterable[Any]) -> Iterator[Any]:
    for term in terms:
        yield from getattr(term, "components", ())


def _bounds(spline: LazyCall) -> tuple[float, float]:
    basis: Any = spline.stateful_transform
    return float(basis._knots[0]), float(basis._knots[-1])


def _splines(node: Any) -> Iterator[LazyCall]:
    """The calls of ``bs()`` in a call, however deep."""
    if isinstance(node, LazyCall) and node.callee == "bs":
        yield node
    for inner in getattr(node, "args", ()):
        yield from _splines(inner)


@contextlib.contextmanager
def _guarded(text: str, kind: type[FormulaError | DataError], remedy: str) -> Generator[None]:
    """Formulae's errors in our words, and nothing printed on the way."""
    logger = logging.getLogger("formulae")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
            yield
    except PopavgError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise kind(
            f"'{text}' can't be evaluated on these data: {reason}",
            "the levels and types of the data of the fit"
            if kind is DataError
            else "functions of the columns' types: numbers for log(), poly(), bs(), scale()",
            remedy,
        ) from error
    finally:
        logger.setLevel(level)
