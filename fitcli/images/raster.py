"""Reads PNG, JPEG and other files that can only be decoded whole; they are, on first use, and kept until closed.

Pillow recognises and describes them. PNG and JPEG are decoded by imagecodecs, into a third of the memory and with all
16 bits. EXIF orientation is ignored: pixels come as stored.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image, UnidentifiedImageError

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.chunks import ChunkedReader, ChunkGrid, ChunkKey
from fitcli.images.encoded_size import check_png, is_complete_jpeg

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF", "QOI", "PCX", "SGI", "TGA")
"""What Pillow may open. Not all it knows: some formats start other programs (EPS) or are hardly recognisable."""

MODES = {
    "1": (1, "?"), "L": (1, "u1"), "LA": (2, "u1"), "RGB": (3, "u1"), "RGBA": (4, "u1"),
    "I;16": (1, "u2"), "I;16L": (1, "u2"), "I;16B": (1, "u2"), "I": (1, "i4"), "F": (1, "f4"),
}  # fmt: skip
"""Mode of Pillow -> (channels, dtype) of what is read. Files of other modes are read as RGB, or RGBA with alpha."""

PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""Colour type in the header of a PNG file -> channels; a palette (3) is left to Pillow."""

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # its limit for errors is kept


class RasterReader(ChunkedReader):
    """A picture in one piece.

    Raises:
        ImageError: It is no picture, damaged, an animation, or larger than Pillow dares to decode (179 million pixels).
    """

    def __init__(self, path: Path) -> None:
        try:
            with _open(path) as image:
                grid = _grid(path, image)
                name = "JPEG" if image.format == "MPO" else str(image.format)
        except ImageError:
            raise
        except UnidentifiedImageError:
            raise ImageError(path, "is no image that fit reads; give a TIFF, PNG, JPEG or zarr image") from None
        except Image.DecompressionBombError:
            raise ImageError(path, "is too large for a format without chunks; convert it to TIFF or Zarr") from None
        except Exception as error:  # Pillow raises all kinds on damaged files
            raise ImageError(path, f"cannot be read ({error}); it is damaged, copy or export it again") from error
        info = ImageInfo(
            height=grid.height,
            width=grid.width,
            channels=grid.channels,
            dtype=grid.dtype,
            format=name,
            axes="YX" if grid.channels == 1 else "YXS",
            color=grid.channels >= 3,
        )
        super().__init__(path, info, [grid])


class RasterGrid(ChunkGrid):
    """The picture as a grid of one chunk. `codec` is "PNG" or "JPEG" where imagecodecs decodes it, else "" (Pillow)."""

    def __init__(self, path: Path, height: int, width: int, channels: int, dtype: str, codec: str) -> None:
        self.path, self.codec = path, codec
        self.height, self.width, self.channels = height, width, channels
        self.dtype = np.dtype(dtype)
        self.chunk = height, width
        self.plane_channels = channels

    def decode(self, key: ChunkKey) -> Pixels:
        pixels = self._with_imagecodecs() if self.codec else self._with_pillow()
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        if pixels.shape[:2] != (self.height, self.width) or pixels.shape[2] < self.channels:
            raise ValueError(f"its pixels are {pixels.shape} where its header says {(self.height, self.width)}")
        return pixels[:, :, : self.channels].astype(self.dtype, copy=False)  # one more is a transparent colour of a PNG

    def _with_imagecodecs(self) -> Pixels:
        data = self.path.read_bytes()
        if self.codec == "PNG":
            check_png(data)  # the decoder has less to say about damage, and says some of it on stderr
            return imagecodecs.png_decode(data)
        if not is_complete_jpeg(data):  # the decoder would fill up with grey
            raise ValueError("it ends early")
        return imagecodecs.jpeg8_decode(data)

    def _with_pillow(self) -> Pixels:
        with _open(self.path) as image:
            image.load()
            return np.asarray(image if image.mode in MODES else image.convert("RGB" if self.channels == 3 else "RGBA"))


def _open(path: Path) -> Image.Image:
    Image.init()
    return Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])


def _grid(path: Path, image: Any) -> RasterGrid:
    width, height = image.size
    if image.format not in ("MPO", "PNG") and getattr(image, "n_frames", 1) > 1:
        raise ImageError(path, f"holds {image.n_frames} frames; save the one you want to a file")
    if image.format == "PNG":
        bits, kind = _png_header(path)
        if bits in (8, 16) and kind in PNG_CHANNELS:
            return RasterGrid(path, height, width, PNG_CHANNELS[kind], f"u{bits // 8}", "PNG")
    if image.mode in MODES:
        channels, dtype = MODES[image.mode]
        jpeg = image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB")
        return RasterGrid(path, height, width, channels, dtype, "JPEG" if jpeg else "")
    return RasterGrid(path, height, width, 4 if image.has_transparency_data else 3, "u1", "")


def _png_header(path: Path) -> tuple[int, int]:
    """(bits per sample, colour type) from the first chunk of a PNG file, where Pillow shows 16 bits as 8."""
    with path.open("rb") as file:
        header = file.read(26)
    return header[24], header[25]
