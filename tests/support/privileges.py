"""What a user without rights may do, tested also where the tests are run by root."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def no_privileges() -> Iterator[None]:
    """Root is nobody for a while; others stay who they are. What is imported has to be imported before."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def public_folder() -> Iterator[Path]:
    """A temporary folder that belongs to nobody, where root is; those of pytest are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid() == 0:
            os.chown(name, NOBODY, NOBODY)
        try:
            yield Path(name)
        finally:
            os.chmod(name, 0o700)
            for path in Path(name).iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
