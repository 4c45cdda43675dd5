"""The exceptions popavg raises: each says what came, what is allowed, what to do next."""

from __future__ import annotations

__all__ = [
    "ConvergenceError",
    "DataError",
    "EstimandError",
    "FitWarning",
    "FormulaError",
    "PopavgError",
    "SeparationError",
    "SpecificationError",
    "StorageError",
]


class PopavgError(Exception):
    """Base of every error popavg raises on purpose.

    Parameters
    ----------
    came : str
        What came: the offending value, in the user's own names.
    allowed : str, optional
        What is allowed in its place.
    remedy : str, optional
        What to do next.

    Examples
    --------
    >>> import popavg as pa
    >>> str(pa.errors.DataError("column 'tim' is not in the data", remedy="check its spelling"))
    "column 'tim' is not in the data. Check its spelling."
    """

    def __init__(self, came: str, allowed: str = "", remedy: str = "") -> None:
        self.came = came
        self.allowed = allowed
        self.remedy = remedy
        parts = [came, f"Allowed: {allowed}" if allowed else "", _sentence(remedy)]
        super().__init__(" ".join(_ended(part) for part in parts if part))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _ended(text: str) -> str:
    return text if text.endswith(("?", "…")) else text.rstrip(". ") + "."


class FormulaError(PopavgError, ValueError):
    """The formula can't be read, or asks for something a formula may not do."""


class DataError(PopavgError, ValueError):
    """The data can't be used with this model as they are."""


class SpecificationError(PopavgError, ValueError):
    """An argument (link, prior, method, target, …) isn't one of the allowed ones."""


class EstimandError(PopavgError, ValueError):
    """This number doesn't exist for this fit."""


class SeparationError(PopavgError, ValueError):
    """A combination of the covariates predicts the outcome perfectly: no finite estimate exists."""


class ConvergenceError(PopavgError, RuntimeError):
    """An iterative computation didn't arrive."""


class StorageError(PopavgError, OSError):
    """A file can't be written or read as a fit."""


class FitWarning(UserWarning):
    """A fit's draws should not be used before something is done about them."""
