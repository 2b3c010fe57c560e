"""Recipes: options of `fit train` in a TOML file, under their names on the command line. Standard library only."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fitcli.errors import FitError


def read_recipe(
    path: Path, options: Mapping[str, bool], check: Callable[[str, str | bool], None] = lambda name, value: None
) -> dict[str, str | bool]:
    """What a recipe says, by the names of parameters: numbers as texts, as they would stand on the command line.

    Args:
        path: Of the file: one line `name = value` per option, with or without dashes before the name, "_" or "-" in it.
        options: Names of the parameters that a recipe may set, and whether each is a switch: true or false.
        check: Given a parameter and its value, raises ValueError, with the reason, for one that it cannot have.

    Raises:
        FitError: It cannot be read, is no TOML, sets what there is not, or twice, or to a value that it cannot have.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FitError(f"--recipe {path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FitError(f"--recipe {path}: is no TOML ({error})") from None
    if unknown := sorted(name for name in document if _parameter(name) not in options):
        names = ", ".join(unknown)
        raise FitError(f"--recipe {path}: no such options of `fit train` in a recipe: {names}; see `fit train --help`")
    found: dict[str, str | bool] = {}
    for name, value in document.items():
        parameter = _parameter(name)
        if isinstance(value, bool) != options[parameter] or not isinstance(value, str | int | float):
            wanted = "true or false" if options[parameter] else "one number or text"
            raise FitError(f"--recipe {path}: {name} must be {wanted}, not {value!r}")
        if parameter in found:
            raise FitError(f"--recipe {path}: {name} is there twice, with - and with _; keep one")
        # As it would stand on the command line, which is read by the type of the option.
        found[parameter] = value if isinstance(value, bool) else str(value)
        try:
            check(parameter, found[parameter])
        except ValueError as error:
            raise FitError(f"--recipe {path}: {name} = {value!r}: {error}") from None
    return found


@contextmanager
def naming(path: Path | None, options: Collection[str]) -> Iterator[None]:
    """Name a recipe in errors about what it has set: those that begin with an option, and name one of its own.

    Args:
        path: Of the recipe; None where there is none.
        options: Names of the parameters that it has set.
    """
    try:
        yield
    except FitError as error:
        message = str(error)
        named = {_parameter(name) for name in re.findall(r"--[a-z][a-z-]*", message)}
        if path is None or not message.startswith("--") or not named & set(options):
            raise
        known = FitError(f"--recipe {path}: {message}")
        known.shared = error.shared
        raise known from error


def _parameter(name: str) -> str:
    return name.lstrip("-").replace("-", "_")
