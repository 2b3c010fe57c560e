"""Publishes a file or a folder whole or not at all: at its name stands the old one or the new one, at any moment.

Everything is written to a staging folder beside the destination (see `staging.py`), synced, and put into place by one
call to the system: a rename, or an exchange if a folder is replaced. Where folders cannot be exchanged, two renames do
it, and what stood at the destination is put back if anything comes in between: at once, or the next time after a kill.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from fitcli.errors import FitError
from fitcli.files.csv_cells import safe_cell
from fitcli.files.disk import exchange, sync, sync_all
from fitcli.files.staging import STAGING, StagingFolder, put_back, removed_path

_together: ContextVar[dict[Path, Publication | None] | None] = ContextVar("together", default=None)
"""Destinations of `published_together`, with the publications that are complete and wait; None for those to come."""


class Publication:
    """A file or folder that is being written. Leaving the context publishes it, or discards it after an error.

    Args:
        destination: Path of the finished file or folder. A link there is replaced, not followed.
        folder: Write a folder, which is there already, instead of a file.
        token: See `StagingFolder`: after an error, what was written stays.
        continues: Start from what was written with the same token before.

    Raises:
        OSError: It cannot be written; the error names `destination`.
        FitError: Another process continues the work with this token.
    """

    def __init__(
        self, destination: Path, folder: bool = False, token: str | None = None, continues: bool = False
    ) -> None:
        self.destination, self._folder, self._keep = destination, folder, token is not None
        self._waits = False
        with naming(self.destination):
            self._staging = StagingFolder(destination, token)
            try:
                if not continues:
                    self._staging.clear()
                if folder:
                    self.path.mkdir(exist_ok=continues)
            except BaseException:
                self.close() if continues else self.discard()
                raise

    @property
    def path(self) -> Path:
        """Where to write."""
        return self._staging.new

    def sync(self) -> None:
        """Wait until what was written so far would survive a power cut, for a process that continues it.

        Raises:
            OSError: An error of the system; it names `destination`.
        """
        with naming(self.destination):
            sync_all(self.path)
            sync(self._staging.path)
            sync(self.destination.parent)

    def publish(self) -> None:
        """Make it durable and put it in place of what stands at the destination; see also `published_together`.

        Raises:
            OSError: That is not possible; the error names `destination`.
        """
        with naming(self.destination):
            sync_all(self.path)
        together = _together.get()
        if together is not None and self.destination in together:
            together[self.destination] = self
            self._waits = True
        else:
            self._put_in_place()

    def _put_in_place(self) -> None:
        self._waits = False
        with naming(self.destination):
            if self._keep:
                self._leave_token()
            if self._folder and os.path.lexists(self.destination):
                self._replace_folder()
            else:
                os.replace(self.path, self.destination)
            sync(self.destination.parent)
        self.discard()

    def discard(self) -> None:
        """Remove what was not published. Idempotent; nothing happens to what waits for others to be complete."""
        if not self._waits:
            self._staging.remove()

    def close(self) -> None:
        """Leave what was written to another process with the same token; discard it without one. Idempotent."""
        if self._keep and not self._waits:
            self._staging.close()
        else:
            self.discard()

    def _leave_token(self) -> None:
        """Go on in a slot: what is exchanged with the destination must not be taken for work to be continued."""
        slot = StagingFolder(self.destination)
        try:
            os.rename(self.path, slot.new)
        except BaseException:
            with suppress(OSError):
                os.rename(slot.new, self.path)
            slot.remove()
            raise
        self._staging, kept, self._keep = slot, self._staging, False
        kept.remove()

    def _replace_folder(self) -> None:
        if exchange(self.path, self.destination):
            return
        old = self._staging.old
        old.parent.mkdir(exist_ok=True)
        sync(self._staging.path)
        try:
            os.rename(self.destination, old)
            os.rename(self.path, self.destination)
        finally:
            put_back(self._staging.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.close()
            return
        try:
            self.publish()
        except BaseException:
            self.close()
            raise


@contextmanager
def published_together(paths: Iterable[Path]) -> Iterator[None]:
    """Put files and folders in place at the end of this context, and none of them after an error.

    Writers complete their files one after the other. Without this, the first ones stand there when a later one fails.

    Args:
        paths: Outputs that wait for each other, as their writers name them. All others are published at once.

    Raises:
        OSError: Something cannot be put in place; the error names it.
    """
    together: dict[Path, Publication | None] = dict.fromkeys(map(followed, paths))
    token = _together.set(together)
    try:
        try:
            yield
        finally:
            _together.reset(token)
        for publication in filter(None, together.values()):
            publication._put_in_place()
    finally:
        for publication in filter(None, together.values()):
            publication._waits = False
            publication.close()


def followed(path: Path) -> Path:
    """Return where an output of a command goes: the end of the links at `path`, which stay.

    Files within a run folder are no outputs of this kind: a link there is replaced, and nothing outside is touched.
    """
    return Path(os.path.realpath(path))


@contextmanager
def naming(destination: Path) -> Iterator[None]:
    """Make an `OSError` in this context name the destination if it names no file, or one in a staging folder."""
    try:
        yield
    except FitError:
        raise
    except OSError as error:
        name = error.filename
        is_other = isinstance(name, str | os.PathLike) and not any(map(STAGING.fullmatch, Path(name).parts))
        if error.errno is None or is_other:
            raise
        raise OSError(error.errno, error.strerror, str(destination)) from error


@contextmanager
def publish_file(path: Path) -> Iterator[Path]:
    """Give a name to write a file to, which becomes `path` if the context ends without an error.

    Raises:
        OSError: The file cannot be written; the error names it.
    """
    with Publication(path) as publication, naming(path):
        yield publication.path


@contextmanager
def publish_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to write to, which becomes `path` if the context ends without an error.

    Raises:
        OSError: The folder cannot be written; the error names it.
    """
    with Publication(path, folder=True) as publication, naming(path):
        yield publication.path


class CsvTable:
    """A CSV file that is being written.

    Args:
        file: The open file.
    """

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(file)

    def write_rows(self, rows: Iterable[Iterable[object]]) -> None:
        """Write rows. No text becomes a formula in a spreadsheet, see `csv_cells.safe_cell`."""
        self._writer.writerows(map(safe_cell, row) for row in rows)


@contextmanager
def publish_csv(path: Path) -> Iterator[CsvTable]:
    """Give a table to write, which becomes the file `path` if the context ends without an error.

    A link at `path` is followed. The file is UTF-8. Names of files need not be valid text: their bytes are written as
    they are.

    Raises:
        OSError: The file cannot be written; the error names it.
    """
    with (
        publish_file(followed(path)) as new,
        new.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        yield CsvTable(file)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        OSError: The file cannot be written; the error names it.
    """
    with publish_file(path) as new:
        new.write_text(text, encoding="utf-8")


def remove_folder(path: Path) -> None:
    """Remove a folder that no other process writes to, if it exists: it is there whole or not at all, at any moment.

    This takes no space, so it works on a full disk.

    Raises:
        OSError: It cannot be removed; it is still there then.
    """
    if not os.path.lexists(path):
        return
    with naming(path):
        removed = removed_path(path)
        shutil.rmtree(removed, ignore_errors=True)
        os.rename(path, removed)
    shutil.rmtree(removed, ignore_errors=True)


@contextmanager
def undo_on_failure(folder: Path) -> Iterator[None]:
    """Make and fill a folder that is absent or empty: if the context fails, it is absent or empty again."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    except BaseException:
        for left in missing[-1:] or folder.iterdir():
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                # A folder within a file is no folder, and cannot be removed either: what failed says so.
                with suppress(NotADirectoryError):
                    left.unlink(missing_ok=True)
        raise
