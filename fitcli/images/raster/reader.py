"""Reads large PNG row by row, and JPEG and other pictures whole: these are decoded on first use, and kept.

PNG and JPEG headers are parsed here; Pillow recognises and describes the other formats. imagecodecs decodes JPEG, WebP
and PNG, in less memory than Pillow and with all bits. EXIF orientation is ignored: pixels are returned as stored.
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
from fitcli.images.encoded_size import essential_png, is_complete_jpeg, read_jpeg_frame
from fitcli.images.raster.png import PngGrid, channels_of
from fitcli.images.raster.png_header import PALETTE, SIGNATURE, PngHeader, read_header

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF", "QOI", "PCX", "SGI", "TGA")
"""Formats that Pillow may open. Others start programs (EPS) or cannot be recognised reliably."""

MODES = {
    "1": (1, "?"), "L": (1, "u1"), "LA": (2, "u1"), "RGB": (3, "u1"), "RGBA": (4, "u1"),
    "I;16": (1, "u2"), "I;16L": (1, "u2"), "I;16B": (1, "u2"), "I": (1, "i4"), "F": (1, "f4"),
}  # fmt: skip
"""(channels, dtype) of the pixels per mode of Pillow. Other modes are read as RGB, or as RGBA with alpha."""

JPEG_START = b"\xff\xd8\xff"
"""First bytes of every JPEG file."""

MAX_BYTES = 1_500_000_000
"""Largest memory in bytes for decoding a picture whole: enough for a colour JPEG of 20,000 x 20,000 pixels."""

AT_ONCE_BYTES = 16 << 20
"""PNG files of up to this many bytes of pixels are decoded whole, which takes half the time per pixel."""

MORE_BYTES = {"WEBP": 7, "JPEG2000": 17, "AVIF": 8}
"""Bytes per pixel that decoding takes beside the pixels, measured with 8 bits of red, green and blue."""

OTHER_BYTES = 5
"""The same for all other formats: Pillow keeps 4 bytes per pixel, and a few rows."""

CONVERTED_ROWS = 256
"""Rows that are converted from Pillow to numpy at once, because the conversion makes two copies."""

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # Pillow's limit for errors stays in force


class RasterReader(ChunkedReader):
    """Reads a picture whose chunks cannot be found without decoding everything before them.

    Raises:
        ImageError: The file is not a picture, is damaged, an animation, or too large to decode whole.
    """

    def __init__(self, path: Path) -> None:
        try:
            name, grid = _describe(path)
        except ImageError:
            raise
        except UnidentifiedImageError:
            raise ImageError(path, "is not an image that fit can read; give a TIFF, PNG, JPEG or zarr image") from None
        except Image.DecompressionBombError:
            raise _too_large(path, "more pixels") from None
        except Exception as error:  # Pillow raises errors of many types on damaged files
            raise ImageError(path, f"cannot be read ({error}); it is damaged, copy or export it again") from error
        info = ImageInfo(
            height=grid.height,
            width=grid.width,
            channels=grid.channels,
            dtype=grid.dtype,
            chunk=None if grid.single_chunk else grid.chunk,
            format=name,
            axes="YX" if grid.channels == 1 else "YXS",
            color=grid.channels >= 3,
        )
        super().__init__(path, info, [grid])
        if isinstance(grid, RasterGrid):
            self.decoding_bytes = grid.decoding_bytes


class RasterGrid(ChunkGrid):
    """A picture as a grid of one chunk.

    Args:
        path: Path of the file.
        size: (height, width) in pixels.
        channels: Number of channels that are read.
        dtype: Dtype that is read.
        codec: "PNG", "JPEG" or "WEBP" for imagecodecs, "" for Pillow.
        extra_bytes: Bytes per pixel that decoding takes beside the pixels.

    Attributes:
        decoding_bytes: Bytes that decoding takes in all.

    Raises:
        ImageError: Decoding takes more than `MAX_BYTES`.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], channels: int, dtype: str, codec: str = "", extra_bytes: float = 0
    ) -> None:
        self.path, self.codec = path, codec
        self.height, self.width = self.chunk = size
        self.channels = self.plane_channels = channels
        self.dtype = np.dtype(dtype)
        # A PNG is copied without its texts. Pillow reads the file piece by piece.
        encoded = path.stat().st_size * {"": 0, "PNG": 3}.get(codec, 1)
        self.decoding_bytes = encoded + self.chunk_bytes + int(extra_bytes * self.height * self.width)
        if self.decoding_bytes > MAX_BYTES:
            raise _too_large(path, _size(self))

    def decode(self, key: ChunkKey) -> Pixels:
        pixels = self._with_imagecodecs() if self.codec else self._with_pillow()
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        if pixels.shape[:2] != (self.height, self.width) or pixels.shape[2] < self.channels:
            raise ValueError(f"its pixels are {pixels.shape}, but its header claims {(self.height, self.width)}")
        return pixels[:, :, : self.channels].astype(self.dtype, copy=False)

    def _with_imagecodecs(self) -> Pixels:
        data = self.path.read_bytes()
        if self.codec == "PNG":
            # The decoder itself reports damage poorly, and partly on stderr.
            return imagecodecs.png_decode(essential_png(data))
        if self.codec == "WEBP":
            return imagecodecs.webp_decode(data)
        if not is_complete_jpeg(data):  # the decoder would fill missing pixels with grey
            raise ValueError("it ends early")
        return imagecodecs.jpeg8_decode(data)

    def _with_pillow(self) -> Pixels:
        pixels = np.empty((self.height, self.width, self.channels), self.dtype)
        with _open(self.path) as image:
            image.load()
            for top in range(0, self.height, CONVERTED_ROWS):
                band = image.crop((0, top, self.width, min(top + CONVERTED_ROWS, self.height)))
                if band.mode not in MODES:
                    band = band.convert("RGB" if self.channels == 3 else "RGBA")
                pixels[top : top + CONVERTED_ROWS] = np.asarray(band).reshape(band.height, band.width, -1)
        return pixels


def _describe(path: Path) -> tuple[str, ChunkGrid]:
    """Return the name of the format and the grid of the picture."""
    with path.open("rb") as file:
        start = file.read(8)
        if start == SIGNATURE:
            return "PNG", _png_grid(path, read_header(file))
    if start.startswith(JPEG_START):
        frame = read_jpeg_frame(path)
        if frame.components in (1, 3):
            size, dtype = (frame.height, frame.width), "u1" if frame.bits <= 8 else "u2"
            kept = 2 * frame.coefficients if frame.progressive else 0  # 16 bits each
            return "JPEG", RasterGrid(path, size, frame.components, dtype, "JPEG", kept)
    with _open(path) as image:
        return "JPEG" if image.format == "MPO" else str(image.format), _pillow_grid(path, image)


def _png_grid(path: Path, header: PngHeader) -> ChunkGrid:
    """Return a grid that decodes the file whole if that is faster or the file is interlaced, else strip by strip."""
    channels, plain = channels_of(header), header.bits >= 8 and header.kind != PALETTE
    if plain and (header.interlaced or header.row_bytes * header.height <= AT_ONCE_BYTES):
        return RasterGrid(path, (header.height, header.width), channels, f"u{header.bits // 8}", "PNG")
    if header.interlaced:
        with _open(path) as image:
            return _pillow_grid(path, image)
    strips = PngGrid(path, header)
    if not strips.is_affordable:
        raise _too_large(path, _size(strips))
    return strips


def _pillow_grid(path: Path, image: Any) -> RasterGrid:
    width, height = image.size
    if image.format not in ("MPO", "PNG") and getattr(image, "n_frames", 1) > 1:
        raise ImageError(path, f"holds {image.n_frames} frames; save the one you want to a file")
    channels, dtype = MODES.get(image.mode, (4 if image.has_transparency_data else 3, "u1"))
    codec = "WEBP" if image.format == "WEBP" else ""
    return RasterGrid(path, (height, width), channels, dtype, codec, MORE_BYTES.get(image.format, OTHER_BYTES))


def _size(grid: ChunkGrid) -> str:
    return f"{grid.width} x {grid.height} pixels, more"


def _too_large(path: Path, what: str) -> ImageError:
    return ImageError(
        path,
        f"has {what} than can be decoded whole; convert it to a tiled TIFF, for example with "
        f"`vips tiffsave {path.name} {path.stem}.tif --tile --pyramid --bigtiff --compression jpeg`",
    )


def _open(path: Path) -> Image.Image:
    Image.init()
    return Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])
