"""Reads a label image as class numbers at the pixels of an image."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from fitcli.annotations.class_table import ClassTable
from fitcli.annotations.label_values import UNKNOWN, ValueLookup, count_values, values_text
from fitcli.annotations.stored_labels import StoredLabels
from fitcli.errors import ImageError
from fitcli.images.base import ImageReader, Pixels
from fitcli.images.window import Window


class LabelImage(ImageReader):
    """Presents a label image as a uint8 image of class numbers, in the pixels of its image.

    Values that are missing (nodata, NaN) are `IGNORED`, and so is 255 unless a class has it.

    Args:
        path: The label image.
        image: The open image, as `open_as` returns it. It is not needed later.
        table: The classes.

    Raises:
        ImageError: The label image cannot be read, is a colour image, or is of another size or place.
    """

    def __init__(self, path: Path, image: ImageReader, table: ClassTable) -> None:
        self.path = path
        self._stored, self._lookup = StoredLabels(path, image), ValueLookup(table)
        self.decoding_bytes = self._stored.decoding_bytes
        self.info = dataclasses.replace(self._stored.info, dtype=np.dtype(np.uint8), nodata=None, palette=())

    def read(self, window: Window, level: int = 0) -> Pixels:
        """Return the class numbers [height width 1] of a window.

        Raises:
            ImageError: A value belongs to no class, or the pixels cannot be read.
        """
        values = self._stored.read(window, level)
        nodata = self._stored.info.nodata
        numbers = self._lookup.numbers(values, nodata)
        unknown = numbers == UNKNOWN
        if unknown.any():
            counts = count_values(values[unknown], None).pixels
            raise ImageError(
                self.path,
                f"holds values that no class has: {values_text(counts.most_common())}; correct "
                "the values, or train with --classes that name them",
            )
        return numbers.astype(np.uint8)

    def close(self) -> None:
        self._stored.close()
