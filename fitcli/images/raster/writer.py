"""Writes PNG and JPEG: the whole canvas is in memory, and encoded when it is closed.

These files have no pyramid. Their scale is written as their resolution.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Literal

import imagecodecs
import numpy as np

from fitcli.errors import ImageError
from fitcli.files.scratch import write_all
from fitcli.images.base import ImageInfo, ImageWriter, Pixels
from fitcli.images.chunk_encoding import Compression, jpeg_encoder
from fitcli.images.publishing import ImagePublication, cannot_write
from fitcli.images.pyramid_writer import check_write_arguments
from fitcli.images.raster.comments import (
    jpeg_with_comment,
    jpeg_with_scale,
    png_with_palette,
    png_with_scale,
    png_with_text,
)
from fitcli.images.window import Window
from fitcli.images.write_options import WriteOptions

MAX_PIXELS = 178_956_970
"""Largest number of pixels: by default, Pillow opens no larger image."""

MAX_JPEG_SIDE = 65_500
"""Largest height and width in pixels that libjpeg encodes."""

PNG_LEVEL = 3
"""Effort of compression, 0 to 9."""


def create_raster(path: Path, options: WriteOptions, file_format: Literal["PNG", "JPEG"]) -> RasterWriter:
    """Create a PNG or JPEG file. Of the options, only `quality` and `description` have an effect.

    Raises:
        ImageError: The format cannot hold such an image, or the file cannot be written.
    """
    compression: tuple[Compression, ...] = ("jpeg",) if file_format == "JPEG" else ("deflate",)
    options.choose_compression(path, compression, compression[0])
    axes = "YX" if options.info.channels == 1 else "YXS"
    color = options.info.channels >= 3
    info = replace(options.info, levels=(), chunk=None, format=file_format, axes=axes, color=color)
    return RasterWriter(path, info, file_format, options.quality, options.description)


class RasterWriter(ImageWriter):
    """Writes a PNG or JPEG file. It takes memory for the canvas and, while closing, for the encoded file.

    Args:
        path: Path of the finished file.
        info: Complete description.
        file_format: "PNG" or "JPEG".
        quality: JPEG quality, 1 to 100.
        description: Text that is stored with the image.

    Raises:
        ImageError: The format cannot hold such an image, or the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        info: ImageInfo,
        file_format: Literal["PNG", "JPEG"],
        quality: int,
        description: str | None = None,
    ) -> None:
        _check(path, info, file_format)
        self.path, self.info = path, info
        self._format, self._quality, self._description = file_format, quality, description
        self._canvas: Pixels | None = np.zeros((*info.size, info.channels), info.dtype)
        self._file = ImagePublication(path)
        self._lock = threading.Lock()

    def write(self, window: Window, pixels: Pixels) -> None:
        """Put pixels on the canvas, see `ImageWriter.write`. Thread-safe; where windows overlap, the last one stays."""
        with self._lock:
            if self._canvas is None:
                raise ImageError(self.path, "is closed; create it again to write to it")
            check_write_arguments(self.info, window, pixels)
            if window.area:
                self._canvas[window.slices()] = pixels

    def close(self) -> None:
        with self._lock:
            canvas, self._canvas = self._canvas, None
        if canvas is None:
            return
        size: int | None = None
        try:
            data = self._encode(canvas)
            size = len(data)
            with self._file.path.open("xb", buffering=0) as file:
                write_all(file.fileno(), data, 0)
            self._file.publish()
        except OSError as error:
            self._file.discard()
            raise cannot_write(self.path, error, size) from error
        except BaseException:
            self._file.discard()
            raise

    def discard(self) -> None:
        with self._lock:
            self._canvas = None
        self._file.discard()

    def _encode(self, canvas: Pixels) -> bytes:
        if self._format == "JPEG":
            data = jpeg_encoder(self._quality)(canvas)
            if self.info.mpp is not None:
                data = jpeg_with_scale(data, self.info.mpp)
            return data if self._description is None else jpeg_with_comment(data, self._description)
        data = bytes(imagecodecs.png_encode(canvas[:, :, 0] if canvas.shape[2] == 1 else canvas, level=PNG_LEVEL))
        if self.info.palette:
            data = png_with_palette(data, self.info.palette)
        if self.info.mpp is not None:
            data = png_with_scale(data, self.info.mpp)
        return data if self._description is None else png_with_text(data, self._description)


def _check(path: Path, info: ImageInfo, file_format: str) -> None:
    holds = "uint8 with 1 or 3 channels" if file_format == "JPEG" else "uint8 or uint16 with 1 to 4 channels"
    dtypes, channels = (("uint8",), (1, 3)) if file_format == "JPEG" else (("uint8", "uint16"), (1, 2, 3, 4))
    if info.dtype.name not in dtypes or info.channels not in channels:
        given = f"{info.dtype} with {info.channels} channels"
        raise ImageError(path, f"{file_format} holds {holds}, not {given}; write .tif or .zarr instead")
    too_long = file_format == "JPEG" and max(info.size) > MAX_JPEG_SIDE
    if info.height * info.width > MAX_PIXELS or too_long:
        reason = f"{info.height} x {info.width} pixels are too many for {file_format}; write .tif or .zarr instead"
        raise ImageError(path, reason)
