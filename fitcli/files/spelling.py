"""Unicode forms of names: one for comparing them, and the file of a name that is stored in another form."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

MOST_FOLDERS = 16
"""Most folders that are followed at once: there are several only if two forms of a name lie side by side."""


def composed(name: str) -> str:
    """Return a name in Unicode form NFC.

    File systems and spreadsheets store an accented letter as one code point or as a letter with a combining mark. Both
    look the same, so they have to be the same class.
    """
    return unicodedata.normalize("NFC", name)


def existing_spelling(path: Path) -> Path | None:
    """Return the path of a file or folder that exists: as written, else in Unicode form NFC, else in NFD; else None.

    macOS and some archives store names in NFD, other systems as they are typed, which is mostly NFC. Each folder on the
    way may have a form of its own.
    """
    if _exists(path):
        return path
    if str(path).isascii():
        return None
    folders = [Path(path.anchor)]
    for part in path.parts[1:] if path.anchor else path.parts:
        found = (folder / spelling for folder in folders for spelling in _spellings(part))
        folders = [candidate for candidate in found if _exists(candidate)][:MOST_FOLDERS]
    return folders[0] if folders else None


def _exists(path: Path) -> bool:
    # os.path: `Path.exists` raises for a name that is too long for the file system.
    return os.path.exists(path)


def _spellings(name: str) -> Iterator[str]:
    yield from dict.fromkeys((name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)))
