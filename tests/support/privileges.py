"""Drops the rights of root, so that tests of missing rights work when root runs them."""

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
    """Run as nobody within the context if root runs the tests. Import all modules before."""
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
    """Make a temporary folder that nobody owns if root runs the tests; those of pytest are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid() == 0:
            os.chown(name, NOBODY, NOBODY)
        try:
            yield Path(name)
        finally:
            os.chmod(name, 0o700)
            for path in Path(name).iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
