"""Choices of planes at the end of a path: `a.ome.tif#series=1&z=3` is one image of a file.

A file or folder whose own name ends so comes first. Values are percent-encoded where they hold `#`, `&` or `%`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, unquote

from fitcli.errors import ImageError
from fitcli.files.spelling import existing_spelling

KEYS = ("series", "level", "mpp", "z", "t", "channels")
"""Names of the choices: of the options, of columns of a CSV file, and at the end of a path."""


def choice_text(choices: Mapping[str, str]) -> str:
    """Return choices as they stand at the end of a path, after the "#"."""
    return "&".join(f"{name}={quote(value, safe=' /,:.')}" for name, value in choices.items())


def split_choice(path: str | Path) -> tuple[Path, dict[str, str]]:
    """Return the file or folder that a path names, and the choices at its end by name.

    Raises:
        ImageError: The file exists, but not the choice.
    """
    path = Path(path)
    found, text = _found(path)
    return (path, {}) if found is None else (found, _parsed(found, text))


def split_pattern(pattern: str) -> tuple[str, str]:
    """Return a glob pattern without the choice at its end, and that choice with its "#"; "" without one."""
    for before, after in _splits(pattern):
        if all(pair.partition("=")[0] in KEYS for pair in after.split("&")):
            return before, f"#{after}"
    return pattern, ""


def _splits(text: str) -> Iterator[tuple[str, str]]:
    """Yield the text before and after each "#", the last first: the names of folders may hold others."""
    for match in reversed(list(re.finditer("#", text))):
        yield text[: match.start()], text[match.end() :]


def _parsed(path: Path, text: str) -> dict[str, str]:
    choices: dict[str, str] = {}
    for pair in text.split("&"):
        name, equals, value = pair.partition("=")
        if name not in KEYS or not equals or not value or name in choices:
            raise ImageError(
                path, f"#{text} is no choice of planes; write #{choice_text({'series': '1', 'z': '3'})}, of {_listed()}"
            )
        choices[name] = unquote(value)
    return choices


def _listed() -> str:
    return f"{', '.join(KEYS[:-1])} and {KEYS[-1]}"


def stored_path(path: Path) -> Path:
    """Return the file or folder that a path names, without a choice at its end, if there is such a file."""
    return _found(path)[0] or path


def output_stem(path: Path) -> str:
    """Return the name of a file without its suffix; with a choice at its end, that follows: `a-series1-z3`.

    `.ome.tif` and the like are suffixes of two parts: an output `a.ome.zarr` that is no OME-Zarr image would mislead.
    """
    stored, text = _found(path)
    if stored is None:
        return _stem(path)
    parts = (re.sub(r"[^\w.+-]+", "_", unquote(pair).replace("=", "")) for pair in text.split("&"))
    return "-".join((_stem(stored), *parts))


def _stem(path: Path) -> str:
    return re.sub(r"(?<=.)\.ome$", "", path.stem, flags=re.IGNORECASE)


def _found(path: Path) -> tuple[Path | None, str]:
    """Return the file or folder that a path with a choice names, and the text of the choice; None without a choice."""
    if "#" not in str(path) or os.path.lexists(path):
        return None, ""
    for before, after in _splits(str(path)):
        choice = "/" not in after or any(pair.partition("=")[0] in KEYS for pair in after.split("&"))
        if choice and (found := existing_spelling(Path(before))) is not None:
            return found, after
    return None, ""
