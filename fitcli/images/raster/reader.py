"""Reads large PNG and Netpbm row by row, and JPEG and other pictures whole: these are decoded on first use, and kept.

PNG, JPEG and Netpbm headers are parsed here; Pillow recognises and describes the other formats. imagecodecs decodes
JPEG, WebP, PNG and QOI, in less memory than Pillow and with all bits. What Pillow decodes without a known bound, it
decodes in another process, under limits. EXIF orientation is ignored: pixels are returned as stored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from PIL import Image, UnidentifiedImageError

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.byte_source import SourceFile
from fitcli.images.chunks import ChunkedReader, ChunkGrid, ChunkKey
from fitcli.images.colors import Conversion, grey_to_samples
from fitcli.images.encoded_size import check_scans, essential_png, is_complete_jpeg, jpeg_frame, read_jpeg_frame
from fitcli.images.foreign import foreign_by_content
from fitcli.images.jpeg2000 import read_codestream
from fitcli.images.limited_decoding import (
    MEMORY_BYTES,
    SECONDS,
    decode_file_limited,
    decode_limited,
    describe_file_limited,
)
from fitcli.images.pillow_decoding import Description, describe, rows
from fitcli.images.png_header import PALETTE, SIGNATURE, PngHeader, read_header
from fitcli.images.raster.avif import avif_bits
from fitcli.images.raster.jp2 import JP2_STARTS, Jp2Grid, Jp2Header, colors_of, read_jp2_header
from fitcli.images.raster.png import PngGrid, channels_of, palette_of
from fitcli.images.raster.pnm import COLOR, GREY, MASK, PnmGrid
from fitcli.images.unsupported import advice_for

JPEG_START = b"\xff\xd8\xff"
"""First bytes of every JPEG file."""

MAX_BYTES = 1_500_000_000
"""Largest memory in bytes for decoding a picture whole: enough for a colour JPEG of 20,000 x 20,000 pixels."""

AT_ONCE_BYTES = 16 << 20
"""PNG files of up to this many bytes of pixels are decoded whole, which takes half the time per pixel."""

MORE_BYTES = {"WEBP": 7, "JPEG2000": 17, "AVIF": 8, "QOI": 1}
"""Bytes per pixel that decoding takes beside the pixels, measured with 8 bits of red, green and blue."""

OTHER_BYTES = 5
"""The same for all other formats: Pillow keeps 4 bytes per pixel, and a few rows."""

SMALL_BYTES, SMALL_PIXELS = 1 << 20, 1 << 22
"""Files and pictures of up to this size are described and decoded with Pillow in this process: even its decoders that
are written in Python take at most some seconds for them."""

DEEP_AVIF = "AVIF of more than 8 bits"
"""Such pictures are decoded by imagecodecs, since Pillow keeps 8 bits."""

PIXEL_SECONDS = {"JPEG2000": 4e-7, "AVIF": 1e-7, DEEP_AVIF: 2e-7}
"""CPU time per pixel that another process may take beyond its seconds for any picture, by format; 0 for others."""

_NO_HDF5 = "is no HDF5 file, although its name says so; copy or extract it again"
FEATURES = {".h5": _NO_HDF5, ".hdf5": _NO_HDF5, ".npy": _NO_HDF5.replace("HDF5", "NumPy")}
"""What is wrong with a file that has the suffix of features, but no content that is known."""

OVERHEAD_BYTES = 1 << 28
"""Memory that the decoder of a JPEG 2000 file may take beside twice its pixels, for parts that its header names."""


class RasterReader(ChunkedReader):
    """Reads a picture whose chunks cannot be found without decoding everything before them.

    Args:
        path: Path of the file.
        indices: Whether to return samples as stored, see `open_image`.

    Raises:
        ImageError: The file is not a picture, is damaged, an animation, or too large to decode whole.
    """

    def __init__(self, path: Path, indices: bool = False) -> None:
        self._indices = indices
        try:
            picture = _describe(path, indices)
        except ImageError:
            raise
        except UnidentifiedImageError:
            foreign = foreign_by_content(path)
            what = FEATURES.get(
                path.suffix.lower(), "is not an image that fit can read; give a TIFF, PNG, JPEG or zarr image"
            )
            raise ImageError(path, what if foreign is None else foreign.advice(path)) from None
        except Image.DecompressionBombError:
            raise _too_large(path, "more pixels", lossless=True) from None
        except Exception as error:  # Pillow raises errors of many types on damaged files
            advice = advice_for(error, "it is damaged, copy or export it again")
            raise ImageError(path, f"cannot be read ({error}); {advice}") from error
        grid = picture.grid
        channels = picture.channels or grid.channels
        info = ImageInfo(
            height=grid.height,
            width=grid.width,
            channels=channels,
            dtype=grid.dtype,
            chunk=grid.band if isinstance(grid, PnmGrid) else None if grid.single_chunk else grid.chunk,
            format=picture.format,
            axes="YX" if channels == 1 else "YXS",
            color=channels >= 3 if picture.color is None else picture.color,
            alpha=channels in (2, 4),
            palette=picture.palette,
        )
        super().__init__(path, info, [grid], picture.finish)
        if isinstance(grid, RasterGrid | Jp2Grid):
            self.decoding_bytes = grid.decoding_bytes

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self._indices)


class RasterGrid(ChunkGrid):
    """A picture as a grid of one chunk.

    Args:
        path: Path of the file.
        size: (height, width) in pixels.
        channels: Number of channels that are read.
        dtype: Dtype that is read.
        codec: "PNG", "JPEG", "WEBP" or "QOI" for imagecodecs, another format for Pillow.
        extra_bytes: Bytes per pixel that decoding takes beside the pixels.

    Attributes:
        decoding_bytes: Bytes that decoding takes in all.

    Raises:
        ImageError: Decoding takes more than `MAX_BYTES`.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], channels: int, dtype: str, codec: str, extra_bytes: float = 0
    ) -> None:
        self.path, self.codec = path, codec
        self.height, self.width = self.chunk = size
        self.channels = self.plane_channels = channels
        self.dtype = np.dtype(dtype)
        # A PNG is copied without its texts. Pillow reads the file piece by piece.
        encoded = path.stat().st_size * {"PNG": 3, "JPEG": 1, "WEBP": 1, "QOI": 1}.get(codec, 0)
        self.decoding_bytes = encoded + self.chunk_bytes + int(extra_bytes * self.height * self.width)
        if self.decoding_bytes > MAX_BYTES:
            lossy = codec in ("JPEG", "WEBP") and self.dtype == np.uint8 and channels == 3
            raise _too_large(path, _size(self), lossless=not lossy)

    def decode(self, key: ChunkKey) -> Pixels:
        if self.codec not in ("PNG", "JPEG", "WEBP", "QOI", DEEP_AVIF):
            return self._with_pillow()
        pixels = self._with_imagecodecs()
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
        if self.codec == "QOI":
            return imagecodecs.qoi_decode(data)
        if self.codec == DEEP_AVIF:
            seconds = SECONDS + round(PIXEL_SECONDS[DEEP_AVIF] * self.height * self.width)
            memory = MEMORY_BYTES + self.decoding_bytes
            return decode_limited("avif", data, self.chunk_bytes, memory=memory, seconds=seconds)
        _check_jpeg(data)
        return imagecodecs.jpeg8_decode(data)

    def _with_pillow(self) -> Pixels:
        pixels = np.empty((self.height, self.width, self.channels), self.dtype)
        if self.codec == "JPEG2000":
            overhead = read_codestream(self.path.read_bytes()).overhead_bytes
            if overhead > OVERHEAD_BYTES + self.chunk_bytes:
                raise ValueError(f"its header makes the decoder take {overhead >> 20} MiB beside the pixels")
        if self.codec == "CMYK":
            _check_jpeg(self.path.read_bytes())
        elif self.codec == "AVIF" or self.height * self.width > SMALL_PIXELS or not _is_small(self.path):
            decode_file_limited(self.path, pixels, self.decoding_bytes, PIXEL_SECONDS.get(self.codec, 0))
            return pixels
        top = 0
        for band in rows(self.path, self.channels):
            pixels[top : top + len(band)] = band
            top += len(band)
        return pixels


def _check_jpeg(data: bytes) -> None:
    if not is_complete_jpeg(data):  # the decoder would fill missing pixels with grey
        raise ValueError("it ends early")
    frame = jpeg_frame(data)
    if frame is not None:
        check_scans(data, frame)


def _is_small(path: Path) -> bool:
    return path.stat().st_size <= SMALL_BYTES


class _Picture(NamedTuple):
    """A picture that is not decoded yet.

    Attributes:
        format: Name of the format.
        grid: Its pixels.
        palette: As in `ImageInfo`.
        finish: Converts what the grid decodes; None if nothing is to be done.
        channels: Channels after that; 0 if they are those of the grid.
        color: As in `ImageInfo`; None: a picture of three channels and more is in colour.
    """

    format: str
    grid: ChunkGrid
    palette: tuple[tuple[int, int, int], ...] = ()
    finish: Conversion | None = None
    channels: int = 0
    color: bool | None = None


def _describe(path: Path, indices: bool) -> _Picture:
    with path.open("rb") as file:
        start = file.read(12)
        if start[:8] == SIGNATURE:
            file.seek(8)
            header = read_header(file)
            # A grid that decodes interlaced files scales grey.
            scaled = indices and header.interlaced and header.bits in (2, 4) and header.kind != PALETTE
            finish = grey_to_samples(header.bits) if scaled else None
            grid = _png_grid(path, header, indices)
            return _Picture("PNG", grid, palette_of(header) if indices else (), finish)
    if start[:2] in (MASK, GREY, COLOR):
        return _Picture("PPM", PnmGrid(path))
    if start.startswith(JPEG_START):
        frame = read_jpeg_frame(path)
        kept = 2 * frame.coefficients if frame.progressive else 0  # 16 bits each
        size = frame.height, frame.width
        if frame.components in (1, 3):
            dtype = "u1" if frame.bits <= 8 else "u2"
            return _Picture("JPEG", RasterGrid(path, size, frame.components, dtype, "JPEG", kept))
        ink = describe(path)
        return _Picture("JPEG", RasterGrid(path, size, ink.channels, ink.dtype, "CMYK", OTHER_BYTES + kept))
    if start.startswith(JP2_STARTS):
        jp2 = read_jp2_header(SourceFile(path))
        if not jp2.palette:
            return _jp2(path, jp2)
    described = _described(path, indices)
    return _Picture(described.format, _pillow_grid(path, described), described.palette)


def _jp2(path: Path, header: Jp2Header) -> _Picture:
    grid = Jp2Grid(path, header)
    if grid.decoding_bytes > MAX_BYTES or not grid.is_affordable:
        raise _too_large(path, _size(grid), lossless=True)
    finish, channels, color = colors_of(header)
    return _Picture("JPEG2000", grid, (), finish, channels, color)


def _described(path: Path, indices: bool) -> Description:
    return describe(path, indices) if _is_small(path) else describe_file_limited(path, indices)


def _png_grid(path: Path, header: PngHeader, indices: bool) -> ChunkGrid:
    """Return a grid that decodes the file whole if that is faster or the file is interlaced, else strip by strip."""
    channels, plain = channels_of(header, indices), header.bits >= 8 and header.kind != PALETTE
    if plain and (header.interlaced or header.row_bytes * header.height <= AT_ONCE_BYTES):
        return RasterGrid(path, (header.height, header.width), channels, f"u{header.bits // 8}", "PNG")
    if header.interlaced:
        return _pillow_grid(path, _described(path, indices))
    strips = PngGrid(path, header, indices)
    if not strips.is_affordable:
        raise _too_large(path, _size(strips), lossless=True)
    return strips


def _pillow_grid(path: Path, described: Description) -> RasterGrid:
    if described.frames > 1:
        raise ImageError(path, f"holds {described.frames} frames; save the one you want to a file")
    codec = "interlaced" if described.format == "PNG" else described.format
    size, extra = (described.height, described.width), MORE_BYTES.get(codec, OTHER_BYTES)
    dtype = described.dtype
    if codec == "AVIF" and avif_bits(path) > 8:
        codec, dtype, extra = DEEP_AVIF, "u2", 2 * extra
    return RasterGrid(path, size, described.channels, dtype, codec, extra)


def _size(grid: ChunkGrid) -> str:
    return f"{grid.width} x {grid.height} pixels, more"


def _too_large(path: Path, what: str, lossless: bool) -> ImageError:
    # JPEG holds 8 bits: of anything deeper, vips would keep the upper ones without a word.
    compression = "deflate" if lossless else "jpeg"
    return ImageError(
        path,
        f"has {what} than can be decoded whole; convert it to a tiled TIFF, for example with "
        f"`vips tiffsave {path.name} {path.stem}.tif --tile --pyramid --bigtiff --compression {compression}`",
    )
