"""Reads the masks that a TIFF holds beside its image, as GDAL writes them: what they hide is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.byte_source import SourceFile
from fitcli.images.chunks import ChunkedReader, levels_of
from fitcli.images.tiff.chunks import CompressedTiffGrid, Page, RawTiffGrid, TiffGrid, is_raw
from fitcli.images.tiff.unread import check_form
from fitcli.images.window import Window

MASK_FLAG = 4
"""Bit of the NewSubfileType tag of a mask."""

MAX_PAGES = 64
"""Files of more pages are stacks, not an image with its levels and masks."""


class Masks(ChunkedReader):
    """The masks of an image, one per level. 0 hides a pixel.

    Attributes:
        nodata: Value of hidden pixels.
    """

    def __init__(self, path: Path, grids: Sequence[TiffGrid], nodata: float) -> None:
        base = grids[0]
        info = ImageInfo(
            height=base.height, width=base.width, channels=1, dtype=base.dtype, levels=levels_of(grids), axes="YX"
        )
        super().__init__(path, info, grids)
        self.nodata = nodata

    def hide(self, pixels: Pixels, window: Window, level: int) -> Pixels:
        """Return the pixels of a window, with the nodata value where they are hidden. It writes into `pixels`."""
        hidden = self.read(window, level)[:, :, 0] == 0
        if hidden.any():
            pixels[hidden] = self.nodata
        return pixels


def mask_grids(file: Any, source: SourceFile, sizes: Sequence[tuple[int, int]]) -> list[TiffGrid | None]:
    """Return the mask of each level; None for a level without one.

    Args:
        file: The file, parsed by tifffile.
        source: The same file.
        sizes: (height, width) of the levels.
    """
    found: dict[tuple[int, int], Any] = {}
    if 1 < len(file.pages) <= MAX_PAGES:
        for page in file.pages:
            if isinstance(page, tifffile.TiffPage) and page.subfiletype & MASK_FLAG and page.samplesperpixel == 1:
                found.setdefault((int(page.imagelength), int(page.imagewidth)), page)
    return [_grid(found[size], source) if size in found else None for size in sizes]


def hidden_value(nodata: float | None, dtype: np.dtype[Any], indices: bool) -> float | None:
    """Return the value of hidden pixels of an image; None if its dtype has none to spare.

    It is the nodata value of the file, else NaN, the smallest value of signed integers, the largest of indices, and 0
    of other unsigned integers: hidden parts of photographs are stored as black.
    """
    if nodata is not None or dtype.kind == "b":
        return nodata
    if dtype.kind == "f":
        return float("nan")
    limits = np.iinfo(dtype)
    return int(limits.max if indices and dtype.kind == "u" else limits.min)


def _grid(page: Any, source: SourceFile) -> TiffGrid:
    check_form(page, source)
    kind = RawTiffGrid if is_raw(page) else CompressedTiffGrid
    return kind(source, page, [Page(page.dataoffsets, page.databytecounts, None)])
