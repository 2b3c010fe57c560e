"""Digests of the files of labels of a data set, which tell a resumed run that somebody has edited them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from fitcli.errors import DataError
from fitcli.files.path_choice import stored_path

PIECES, PIECE_BYTES = 16, 65_536
"""Of a larger file, so many pieces of so many bytes are read, evenly spaced. Most edits also change its size, since
large label images are compressed."""


def label_digests(files: Mapping[str, Path]) -> dict[str, str]:
    """Return a digest of the content of each file of labels, by its name within the data set.

    Copies of a file have the same digest. The digest of a large file depends on its size and on parts of its content.

    Raises:
        DataError: A file cannot be read.
    """
    digests: dict[str, str] = {}
    for name, path in files.items():
        try:
            digests[name] = _digest(stored_path(path))
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); check the file of labels") from None
    return digests


def _digest(path: Path) -> str:
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
    return digest.hexdigest()[:32]


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
