"""Keeps files of annotations that were read, so that each epoch and each thread does not read them again."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from fitcli.errors import ImageError

T = TypeVar("T")

Key = tuple[str, int, int]


class FileCache(Generic[T]):
    """The contents of files by path. A file that has changed is read anew.

    Args:
        read: Reads a file.
        size: Returns the bytes of what was read.
        most_bytes: Bytes of files that are kept. A single file may be larger.
    """

    def __init__(self, read: Callable[[Path], T], size: Callable[[T], int], most_bytes: int) -> None:
        self._read, self._size, self.most_bytes = read, size, most_bytes
        self._files: OrderedDict[Key, T] = OrderedDict()
        self.renew_locks()
        _caches.add(self)

    def renew_locks(self) -> None:
        """Give a forked process locks that no thread of its parent holds."""
        self._lock, self._reading = threading.Lock(), threading.Lock()

    def get(self, path: Path) -> T:
        """Return the content of a file.

        Raises:
            ImageError: The file cannot be read.
        """
        try:
            state = os.stat(path)
        except OSError as error:
            raise ImageError(path, f"cannot be read ({error.strerror or error})") from None
        key = os.path.abspath(path), state.st_mtime_ns, state.st_size
        kept = self._kept(key)
        if kept is not None:
            return kept
        # Reading holds the interpreter: threads would read one after the other anyway.
        with self._reading:
            kept = self._kept(key)
            if kept is None:
                kept = self._read(path)
                self._keep(key, kept)
        return kept

    def _kept(self, key: Key) -> T | None:
        with self._lock:
            kept = self._files.get(key)
            if kept is not None:
                self._files.move_to_end(key)
            return kept

    def _keep(self, key: Key, content: T) -> None:
        with self._lock:
            self._files[key] = content
            total = sum(self._size(each) for each in self._files.values())
            while total > self.most_bytes and len(self._files) > 1:
                total -= self._size(self._files.popitem(last=False)[1])


_caches: WeakSet[FileCache[Any]] = WeakSet()


def _renew_all() -> None:
    for cache in list(_caches):
        cache.renew_locks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
