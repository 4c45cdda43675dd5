"""Holds the docstrings of everything public against numpydoc's rules, examples included.

Public is what ``popavg`` and ``popavg.models`` list, and the public methods of the classes there.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from types import ModuleType

from numpydoc.docscrape import ClassDoc
from numpydoc.validate import validate

import popavg

OPTIONAL = {
    "ES01",  # extended summary
    "GL01",  # summary below the quotes
    "PR08",  # capital and full stop of descriptions
    "PR09",
    "RT04",
    "RT05",
    "SA01",  # See Also
    "SA03",
    "SA04",
    "SS05",  # infinitive
}
OPTIONAL_IN_METHODS = OPTIONAL | {"EX01", "RT01", "RT03"}


def public_names() -> Iterator[tuple[str, set[str]]]:
    """Dotted names, each with the rules that it may break."""
    for package in (popavg, popavg.models):
        for name in package.__all__:
            found = getattr(package, name)
            if isinstance(found, ModuleType) or not callable(found):
                continue
            yield f"{package.__name__}.{name}", OPTIONAL
            if inspect.isclass(found):
                for method, member in vars(found).items():
                    is_method = callable(member) or _is_wrapped(member)
                    if not method.startswith("_") and is_method and not inspect.isclass(member):
                        yield f"{package.__name__}.{name}.{method}", OPTIONAL_IN_METHODS


def has_documented_fields(name: str) -> bool:
    """Whether it is a dataclass whose fields all stand under Attributes."""
    package, _, found = name.rpartition(".")
    kind = getattr(popavg, found, None) if package == "popavg" else None
    if not (inspect.isclass(kind) and is_dataclass(kind)):
        return False
    documented = {parameter.name for parameter in ClassDoc(kind)["Attributes"]}
    return {field.name for field in fields(kind)} <= documented


def _is_wrapped(member: object) -> bool:
    return isinstance(member, (property, classmethod, staticmethod))


def main() -> int:
    """Print what is wrong; 1 where something is."""
    broken = checked = 0
    for name, optional in public_names():
        checked += 1
        allowed = optional | ({"PR01"} if has_documented_fields(name) else set())
        for code, message in validate(name)["errors"]:
            if code not in allowed:
                broken += 1
                print(f"{name}: {code} {message}")
    print(f"{checked} public docstrings checked, {broken} problems")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
