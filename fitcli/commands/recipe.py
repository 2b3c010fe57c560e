"""Reads recipes: TOML files with options of `fit train`, under their names on the command line. No torch."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fitcli.errors import FitError
from fitcli.runs.option import OFF, USUAL

LARGEST = 1 << 20
"""Largest recipe in bytes: one that names all options has a few thousand."""

SHOWN = 10
"""Number of unknown options that an error names."""


def read_recipe(
    path: Path,
    options: Mapping[str, bool | None],
    check: Callable[[str, str | bool], None] = lambda name, value: None,
    tables: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> dict[str, str | bool]:
    """Read a recipe.

    Args:
        path: File with one line `name = value` per option. Dashes before the name are optional, "_" stands for "-".
        options: Names of the parameters that a recipe may set, and whether each is a switch; None for one that takes
            the values of a switch, or a text.
        check: Called with a parameter and its value; raises ValueError with the reason if the value is impossible.
        tables: Names of the parameters that may stand in a table, by the name of the table.

    Returns:
        Values by parameter: True or False for a switch, otherwise the text as on the command line; for one that takes
        both, `OFF` or `USUAL` in place of False or True.

    Raises:
        FitError: The file cannot be read or is no TOML; or it has an unknown option, one twice, or an impossible value.
    """
    document = _without_tables(path, _document(path), tables)
    if unknown := sorted(name for name in document if _parameter(name) not in options):
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        names = ", ".join(f"{name:.80}" for name in unknown[:SHOWN]) + more
        raise FitError(f"--recipe {path}: no such options of `fit train` in a recipe: {names}; see `fit train --help`")
    values: dict[str, str | bool] = {}
    for name, value in document.items():
        parameter = _parameter(name)
        switch = options[parameter]
        fits = isinstance(value, bool | str) if switch is None else isinstance(value, bool) == switch
        if not fits or not isinstance(value, str | int | float):
            wanted = {None: "true, false or a text", True: "true or false", False: "one number or text"}[switch]
            raise FitError(f"--recipe {path}: {name} must be {wanted}, not {_shown(value)}")
        if parameter in values:
            raise FitError(f"--recipe {path}: {name} is there twice, with - and with _; keep one")
        # As text, which typer converts to the type of the option, as on the command line.
        try:
            values[parameter] = value if isinstance(value, bool) and switch else _text(value)
            check(parameter, values[parameter])
        except ValueError as error:
            raise FitError(f"--recipe {path}: {name} = {_shown(value)}: {_fault(str(error), value)}") from None
    return values


def _without_tables(path: Path, document: dict[str, Any], tables: Mapping[str, Collection[str]]) -> dict[str, Any]:
    """Return the values of a document beside those of its tables."""
    plain = {name: value for name, value in document.items() if name not in tables or not isinstance(value, dict)}
    for name, allowed in tables.items():
        for key, value in document[name].items() if isinstance(document.get(name), dict) else ():
            if _parameter(key) not in allowed:
                raise FitError(f"--recipe {path}: [{name}] has no {key:.80}; it may have {', '.join(allowed)}")
            if key in plain:
                raise FitError(f"--recipe {path}: {key} is there twice, in [{name}] and before it; keep one")
            plain[key] = value
    return plain


def _document(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise FitError(f"--recipe {path}: is no recipe: it has more than {LARGEST} bytes")
        # TOML wants \n or \r\n, but files with \r alone were always read.
        return tomllib.loads(content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n"))
    except OSError as error:
        raise FitError(f"--recipe {path}: cannot be read ({error.strerror})") from None
    # A ValueError is text that is no UTF-8, no TOML, or has a number of thousands of digits.
    except (ValueError, RecursionError) as error:
        reason = "its values are nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise FitError(f"--recipe {path}: is no TOML ({reason})") from None


def _text(value: str | float) -> str:
    return (OFF, USUAL)[value] if isinstance(value, bool) else str(value)


def _fault(reason: str, value: Any) -> str:
    """Return the fault of a value that the message names already: "'x' is no size" becomes "is no size"."""
    text = value if isinstance(value, str) else _shown(value)
    return reason.removeprefix(f"{text!r} ")


def _shown(value: Any) -> str:
    """Return a value as text of at most 80 characters."""
    try:
        return f"{value!r:.80}"
    except (ValueError, RecursionError):
        # An integer of thousands of digits, from hexadecimal ones; or values nested in each other.
        return f"this {type(value).__name__}"


@contextmanager
def naming(path: Path | None, options: Collection[str]) -> Iterator[None]:
    """Name the recipe in errors about options that it sets: errors that begin with an option, and name one of them.

    Args:
        path: File of the recipe; None without a recipe.
        options: Names of the parameters that the recipe sets.
    """
    try:
        yield
    except FitError as error:
        message = str(error)
        named = {_parameter(name) for name in re.findall(r"--[a-z][a-z-]*", message)}
        if path is None or not message.startswith("--") or not named & set(options):
            raise
        located = FitError(f"--recipe {path}: {message}")
        located.shared = error.shared
        raise located from error


def _parameter(name: str) -> str:
    return name.lstrip("-").replace("-", "_")
