"""Digests of the files of images, so that an image is known again under another name. No pixel is decoded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fitcli.data.dataset import Sample

PART_BYTES = 1 << 16
"""Bytes that are read at the beginning, in the middle and at the end of a file."""

MOST_FILES = 20_000
"""Largest number of images to read for this: on a slow disk, each takes as long as opening it."""


def file_digests(samples: Sequence[Sample]) -> dict[str, str]:
    """Return a short digest of each image by its name: "" for a folder, for a file that cannot be read, and for all
    images of a very large data set.
    """
    if len(samples) > MOST_FILES:
        return {}
    with ThreadPoolExecutor(8, "digests") as pool:
        return dict(zip([each.key for each in samples], pool.map(file_digest, [s.path for s in samples]), strict=True))


def file_digest(path: Path) -> str:
    """Return a short digest of the size and of parts of a file; "" for a folder or a file that cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            result = hashlib.sha256(f"{size}\n".encode())
            for start in sorted({0, max(0, (size - PART_BYTES) // 2), max(0, size - PART_BYTES)}):
                file.seek(start)
                result.update(file.read(PART_BYTES))
            return result.hexdigest()[:16]
    except OSError:
        return ""
