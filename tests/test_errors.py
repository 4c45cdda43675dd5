"""Messages say what came, what is allowed, what to do next."""

from __future__ import annotations

import pickle

import pytest

from popavg import errors
from popavg.errors import DataError, PopavgError

TREE = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]


def test_all_three_parts_make_sentences() -> None:
    error = DataError("the column 'tim' is not in the data", "'time', 'y'", "check the spelling")
    assert str(error) == (
        "the column 'tim' is not in the data. Allowed: 'time', 'y'. Check the spelling."
    )
    assert (error.came, error.allowed, error.remedy) == (
        "the column 'tim' is not in the data",
        "'time', 'y'",
        "check the spelling",
    )


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (("it broke",), "it broke."),
        (("it broke.",), "it broke."),
        (("it broke", "", "mend it"), "it broke. Mend it."),
        (("it broke", "a, b"), "it broke. Allowed: a, b."),
        (("it broke", "", "did you mean 'a'?"), "it broke. Did you mean 'a'?"),
        (("it broke", "", "write 'y ~ …"), "it broke. Write 'y ~ …"),
    ],
)
def test_one_full_stop_ends_every_sentence(parts: tuple[str, ...], text: str) -> None:
    assert str(PopavgError(*parts)) == text


@pytest.mark.parametrize("kind", TREE)
def test_every_error_is_ours_and_a_standard_one(kind: type[PopavgError]) -> None:
    assert issubclass(kind, PopavgError)
    assert kind is PopavgError or issubclass(kind, (ValueError, RuntimeError, OSError))


@pytest.mark.parametrize("kind", TREE)
def test_an_error_survives_pickling(kind: type[PopavgError]) -> None:
    error = kind("it broke", "a, b", "mend it")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert (again.came, again.allowed, again.remedy) == ("it broke", "a, b", "mend it")


def test_the_warning_is_a_user_warning() -> None:
    assert issubclass(errors.FitWarning, UserWarning)
