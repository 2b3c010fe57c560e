"""Refuses images that are too large for free memory, before anything of their size is allocated."""

from __future__ import annotations

from fitcli.errors import ImageError
from fitcli.images.base import ImageReader
from fitcli.memory.budget import size_text
from fitcli.memory.machine import available_bytes
from fitcli.patches.grid import PatchGrid

UNCHECKED_BYTES = 1 << 20
"""Sizes that are never refused. To ask the system for its free memory takes half the time of reading a small image."""

GROUP_BYTES = 200
"""Bytes per group in a list of positions: a tuple of two integers, with its entries in arrays."""


def check_pixels(image: ImageReader, size: tuple[int, int], advice: str) -> None:
    """Raise ImageError if (height, width) pixels of an image take more than `UNCHECKED_BYTES` and than free memory."""
    needed = size[0] * size[1] * image.info.channels * image.info.dtype.itemsize
    _check(image, f"its {size[1]} x {size[0]} pixels", needed, advice)


def check_groups(image: ImageReader, grid: PatchGrid, advice: str) -> None:
    """Raise ImageError if the list of the groups of an image takes more than `UNCHECKED_BYTES` and than free memory."""
    _check(image, f"its {grid.count} groups", grid.count * GROUP_BYTES, advice)


def _check(image: ImageReader, what: str, needed: int, advice: str) -> None:
    if needed > UNCHECKED_BYTES and needed > (free := available_bytes()):
        text = f"{what} take {size_text(needed)} of memory, but only {size_text(free)} are free; {advice}"
        raise ImageError(image.path, text)
