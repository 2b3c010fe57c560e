"""One process per run folder. The system lets go of the lock when the process ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fitcli.errors import FitError

LOCK = "training/lock"
"""Says which process holds, or held, the run. It stays: removing it would let two processes lock two files."""


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Keep other processes from training into a run folder, which is made, while the context lasts.

    On a file system without locks there is none.

    Raises:
        FitError: Another process does.
    """
    path = run / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = " ".join(file.read(200).split())
            raise FitError(
                f"{run}: {holder or 'another process'} is training there; wait for it, or choose another --out"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield
