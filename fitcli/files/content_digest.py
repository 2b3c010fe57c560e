"""Digests of what files hold, to find out whether two are the same or one was edited. No pixel is decoded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

PIECES, PIECE_BYTES = 16, 65_536
"""Of a larger file, so many pieces of so many bytes are read, evenly spaced. Most edits also change its size, since
large images are compressed."""

DIGITS = 32
"""Length of a digest: 128 bits in hexadecimal."""


def content_digest(path: Path) -> str:
    """Return a digest of the content of a file or of a zarr folder. That of a large file depends on its size and on
    parts of its content. Copies have the same digest.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    for file, name in _files(path):
        size = os.stat(file).st_size
        digest.update(f"{name} {size} ".encode("utf-8", "surrogateescape"))
        with open(file, "rb") as content:
            if size <= PIECES * PIECE_BYTES:
                digest.update(content.read())
                continue
            for number in range(PIECES):
                content.seek(number * (size - PIECE_BYTES) // (PIECES - 1))
                digest.update(content.read(PIECE_BYTES))
    return digest.hexdigest()[:DIGITS]


def _files(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield a file, or the files of a zarr folder, each with its name within the folder."""
    if not path.is_dir():
        yield path, ""
        return
    for folder, subfolders, names in os.walk(path):
        subfolders.sort()
        for name in sorted(names):
            file = Path(folder, name)
            yield file, file.relative_to(path).as_posix()
