"""Calls to the file system that Python has no function for: wait for the disk, exchange two names."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Constants of Linux, see renameat2(2)."""


def sync(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, would survive a power cut."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        # A folder may be writable but not readable, and some network file systems cannot sync folders.
        if not path.is_dir() or error.errno not in (errno.EACCES, errno.EINVAL, errno.ENOTSUP):
            raise


def sync_all(path: Path) -> None:
    """Wait until a file, or a folder with everything in it, would survive a power cut."""
    if not path.is_dir():
        sync(path)
        return
    for folder, _, names in os.walk(path, topdown=False):
        for name in names:
            sync(Path(folder, name))
        sync(Path(folder))


def exchange(one: Path, other: Path) -> bool:
    """Exchange what stands at two names, in one step.

    Returns:
        False if the system or the file system cannot: nothing has changed then.
    """
    function = _renameat2()
    if function is None:
        return False
    return bool(function(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0)


@cache
def _renameat2() -> Any:
    """Return the function of the C library, or None if there is none: macOS, an old or another C library."""
    if sys.platform != "linux":
        return None
    function = getattr(ctypes.CDLL(None), "renameat2", None)
    if function is not None:
        function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
        function.restype = ctypes.c_int
    return function
