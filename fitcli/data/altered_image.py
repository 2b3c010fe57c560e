"""Presents an image with changed colours, sharpness and noise as an image of its own, read window by window."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.data.blur import blurred, reach
from fitcli.data.color_change import Planes, hue_matrix, mixed, rebalanced
from fitcli.data.image_change import Change
from fitcli.data.pixel_noise import SQUARE, pixel_noise
from fitcli.data.stain_change import restained
from fitcli.errors import ImageError
from fitcli.images.base import ImageReader, Pixels
from fitcli.images.missing import avoid_nodata, missing_mark
from fitcli.images.rescaled import as_dtype
from fitcli.images.window import Window
from fitcli.patches.preprocessing import Preprocessing

SHORT = ("bool", "uint8", "int8", "uint16", "int16", "float16", "float32")
"""Dtypes whose values float32 holds."""

PIECE = 4 * SQUARE
"""Side of the pieces that are changed at a time, in pixels: a piece of three channels fits into a processor's cache."""


class AlteredImage(ImageReader):
    """Reads level 0 of another image, converted for a model and changed.

    Each pixel follows from its place in the image alone, so windows fit together without a seam: what is blurred is
    read with a margin, and noise is drawn by place. Missing pixels stay missing and do not change others.

    Args:
        image: The image to read. It belongs to the caller: closing this reader does not close it.
        change: How it is changed; its size stays.
        preprocessing: Pixels that the model expects.
    """

    def __init__(self, image: ImageReader, change: Change, preprocessing: Preprocessing) -> None:
        self.path, self.decoding_bytes = image.path, image.decoding_bytes
        self.choice = image.choice
        self._image, self._change, self._preprocessing = image, change, preprocessing
        self.info = dataclasses.replace(
            image.info,
            channels=preprocessing.channels,
            dtype=np.dtype(preprocessing.dtype),
            levels=(),
            nodata=preprocessing.kept_nodata(image.info),
            palette=(),
        )
        self._work = np.dtype(np.float32 if preprocessing.dtype in SHORT else np.float64)
        self._mean, self._std = (np.array(values) for values in (preprocessing.mean, preprocessing.std))
        self._hue = hue_matrix(change.hue, change.saturation) if change.recolors else None

    def read(self, window: Window, level: int = 0) -> Pixels:
        if level != 0:
            raise ImageError(self.path, f"has no level {level} while it is changed; its only level is 0")
        window = window.clip(*self.info.size)
        pixels = np.empty((window.height, window.width, self.info.channels), self.info.dtype)
        if window.area == 0:
            return pixels
        margin = reach(self._change.blur)
        around = _grown(window, margin).clip(*self.info.size)
        source, missing = self._preprocessing.convert_filled(self._image.read(around), self._image.info)
        for piece in _pieces(window):
            beyond = _grown(piece, margin)
            rows, columns = (
                np.clip(np.arange(first, last), start, end - 1) - start
                for first, last, start, end in (
                    (beyond.top, beyond.bottom, around.top, around.bottom),
                    (beyond.left, beyond.right, around.left, around.right),
                )
            )
            gone = None if missing is None else missing[rows][:, columns]
            changed = self._changed(source[rows][:, columns], gone, piece, margin)
            pixels[piece.shift(-window.top, -window.left).slices()] = changed
        return pixels

    def close(self) -> None:
        pass

    def _changed(self, pixels: Pixels, missing: NDArray[np.bool_] | None, piece: Window, margin: int) -> Pixels:
        """Return the changed pixels of a piece, given those with a margin [height width channels]."""
        planes = np.moveaxis(pixels, -1, 0).astype(self._work, order="C")
        with np.errstate(over="ignore", invalid="ignore"):
            if margin:
                marks = None if missing is None else np.moveaxis(missing, -1, 0)
                planes = blurred(planes, marks, self._change.blur)
            planes = self._with_noise(self._recolored(planes), piece)
        for channel in self._change.dropped:
            planes[channel] = self._mean[channel]
        stored = avoid_nodata(_as_stored(np.moveaxis(planes, 0, -1), self.info.dtype), self.info.nodata)
        if missing is None:
            return stored
        inner = missing[margin : margin + piece.height, margin : margin + piece.width]
        return np.where(inner, missing_mark(self.info.nodata, self.info.dtype), stored)

    def _recolored(self, planes: Planes) -> Planes:
        change = self._change
        if change.stain_gains:
            gains, shifts = np.array(change.stain_gains), np.array(change.stain_shifts)
            planes = restained(planes, gains, shifts, self._preprocessing.range)
        if self._hue is not None:
            planes = mixed(planes, self._hue)
        if change.gains:
            shifts = np.array(change.shifts) * self._std
            planes = rebalanced(planes, np.array(change.gains), shifts, self._mean)
        return planes

    def _with_noise(self, planes: Planes, piece: Window) -> Planes:
        if not self._change.noise:
            return planes
        noise = pixel_noise(self._change.seed, piece, len(planes))
        return planes + noise * (self._change.noise * self._std).astype(planes.dtype)[:, None, None]


def _pieces(window: Window) -> Iterator[Window]:
    """Yield the parts of a window that are changed at a time; squares of noise belong to one piece."""
    for row, column in window.chunks(PIECE, PIECE):
        yield Window(row * PIECE, column * PIECE, PIECE, PIECE).intersection(window)


def _grown(window: Window, margin: int) -> Window:
    return Window(
        window.top - margin, window.left - margin, window.height + 2 * margin, window.width + 2 * margin
    )  # fmt: skip


def _as_stored(values: NDArray[np.floating[Any]], dtype: np.dtype[Any]) -> Pixels:
    """Round to a dtype."""
    if dtype in (np.uint8, np.uint16, np.int8, np.int16):
        limits = np.iinfo(dtype)
        rounded = np.clip(values, limits.min, limits.max)
        return np.asarray(np.rint(rounded, out=rounded).astype(dtype))
    return as_dtype(values.astype(np.float64), dtype)
