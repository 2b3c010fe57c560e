"""Names that are derived from names of other files, within the limit of file systems."""

from __future__ import annotations

import os
from hashlib import sha256

LONGEST_NAME = 255
"""Bytes in the name of a file or folder, at most."""


def short_enough(name: str) -> str:
    """Return a name as it is, or a hidden name made of its hash if it is too long for a file system."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= LONGEST_NAME else f".fit-{sha256(encoded).hexdigest()[:32]}"
