"""Images may claim any size: what they would take is told by arithmetic, before anything of that size is made."""

from __future__ import annotations

from fitcli.errors import ImageError
from fitcli.images.base import ImageReader
from fitcli.memory.budget import size_text
from fitcli.memory.machine import available_bytes
from fitcli.patches.grid import PatchGrid

LISTED_BYTES = 200
"""Of a group in a list of places: two numbers in a tuple, beside what is said of it in arrays."""


def check_pixels(image: ImageReader, size: tuple[int, int], advice: str) -> None:
    """Raise ImageError where (height, width) pixels of an image are more than free memory holds."""
    wanted = size[0] * size[1] * image.info.channels * image.info.dtype.itemsize
    _check(image, f"its {size[1]} x {size[0]} pixels", wanted, advice)


def check_groups(image: ImageReader, grid: PatchGrid, advice: str) -> None:
    """Raise ImageError where a list of the groups of an image is more than free memory holds."""
    _check(image, f"its {grid.count} groups", grid.count * LISTED_BYTES, advice)


def _check(image: ImageReader, what: str, wanted: int, advice: str) -> None:
    if wanted > (free := available_bytes()):
        raise ImageError(image.path, f"{what} take {size_text(wanted)} of memory, {size_text(free)} are free; {advice}")
