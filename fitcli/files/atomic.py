"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TextIO

PARTIAL = ".partial-"
"""In the names of what is not whole yet."""

SAFETENSORS_PARTIAL = ".tmp??????"
"""Names under which the safetensors library writes before it renames to the name that it was given."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; renamed to `path` on success, removed on failure."""
    temporary = path.with_name(_temporary_name(path))
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """The same for a folder of files: what was at `path` before is gone only when the new one is whole."""
    temporary = path.with_name(_temporary_name(path))
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in temporary.iterdir():
            _sync(file)
        _sync(temporary)
        remove_folder(path)
        os.rename(temporary, path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Remove a folder, if there is one: it is there whole or not at all, at any moment."""
    if not path.exists():
        return
    going = path.with_name(_temporary_name(path))
    os.rename(path, going)
    shutil.rmtree(going, ignore_errors=True)


def remove_leftovers(folder: Path, *within: str) -> None:
    """Remove what writing or removing left in a folder, and in some within it, when its process was killed.

    Nobody may be writing there.
    """
    for place in (folder, *(folder / name for name in within)):
        for left in (*place.glob(f".*{PARTIAL}*"), *place.glob(SAFETENSORS_PARTIAL)):
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _temporary_name(path: Path) -> str:
    return f".{path.name}{PARTIAL}{secrets.token_hex(4)}"


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, would survive a power cut."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        # A folder that may be written to but not read; network file systems that know no such thing for folders.
        if not path.is_dir() or error.errno not in (errno.EACCES, errno.EINVAL, errno.ENOTSUP):
            raise


@contextmanager
def filling(folder: Path) -> Iterator[None]:
    """While an absent or empty folder is made and filled: on failure it is absent or empty again."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    except BaseException:
        for left in missing[-1:] or folder.iterdir():
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            elif left.exists():
                left.unlink()
        raise


def check_writable(folder: Path) -> None:
    """Raise OSError where no file can be made in a folder, or in the nearest one above that is there already."""
    place = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    with TemporaryFile(dir=place):
        pass


def open_text(path: Path) -> TextIO:
    """Open a table for writing, as UTF-8. Names of files need not be text: their bytes are written as they are."""
    return path.open("w", newline="", encoding="utf-8", errors="surrogateescape")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
