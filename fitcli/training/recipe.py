"""Recipes: options of `fit train` in a TOML file, under their names on the command line. Standard library only."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fitcli.errors import FitError


def read_recipe(path: Path, options: Mapping[str, bool]) -> dict[str, Any]:
    """What a recipe says, by the names of parameters.

    Args:
        path: Of the file: one line `name = value` per option, with or without dashes before the name, "_" or "-" in it.
        options: Names of the parameters that a recipe may set, and whether each is a switch: true or false.

    Raises:
        FitError: It cannot be read, is no TOML, or sets what there is not, or a switch to no truth value.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FitError(f"--recipe {path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FitError(f"--recipe {path}: is no TOML ({error})") from None
    found = {name.lstrip("-").replace("-", "_"): value for name, value in document.items()}
    if unknown := sorted(set(found) - set(options)):
        names = ", ".join(unknown)
        raise FitError(f"--recipe {path}: no such options of `fit train` in a recipe: {names}; see `fit train --help`")
    for name, value in found.items():
        if isinstance(value, bool) != options[name] or not isinstance(value, str | int | float):
            wanted = "true or false" if options[name] else "one number or text"
            raise FitError(f"--recipe {path}: {name} must be {wanted}, not {value!r}")
    return found
