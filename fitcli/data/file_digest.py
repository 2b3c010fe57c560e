"""Digests of the files of images, so that an image is known again under another name. No pixel is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fitcli.data.dataset import Sample
from fitcli.files.content_digest import content_digest

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
    """Return the digest of the content of a file; "" for a folder or a file that cannot be read."""
    try:
        return "" if path.is_dir() else content_digest(path)
    except OSError:
        return ""
