"""Locates and decodes the chunks of one level of a TIFF: strips, or the rectangles that TIFF calls tiles.

It reads bytes itself and decodes with tifffile, except for the commonest kind of JPEG. `reader.py` chooses the pages.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Sequence
from typing import Any, TypeAlias

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from fitcli.errors import ImageError
from fitcli.images.base import Pixels
from fitcli.images.byte_source import SourceFile
from fitcli.images.chunks import MAX_CHUNK_BYTES, ChunkGrid, ChunkKey
from fitcli.images.colors import ycbcr_to_rgb
from fitcli.images.encoded_size import encoded_size
from fitcli.images.jpeg2000 import read_codestream
from fitcli.images.limited_decoding import decode_limited
from fitcli.images.missing import nodata_value
from fitcli.images.tiff.compressions import CODECS, DeclaredChunk, check_jpeg
from fitcli.images.tiff.lzw import valid_lzw
from fitcli.images.tiff.metadata import gdal_nodata
from fitcli.images.tiff.packed_bits import PackedBits, unpacking_cost
from fitcli.images.window import Window

JPEG = frozenset({6, 7, 33007, 34892})
"""Values of the Compression tag whose chunks share JPEG tables that are stored once per page."""

APERIO_YCBCR = 33003
"""Value of the Compression tag of JPEG 2000 in YCbCr. The decoder converts it to RGB only if it is subsampled."""

LZW = 5
"""Value of the Compression tag."""

PLAIN_JPEG, YCBCR = 7, 6
"""Values of the Compression and PhotometricInterpretation tags of nearly all JPEG in TIFF."""

START_OF_SCAN = b"\xff\xda"
"""Marker of a scan. A JPEG with one is not progressive."""

MAX_EXPANSION = 2
"""Largest plausible number of encoded bytes per decoded byte: no codec makes even noise that much larger."""

BAND_BYTES = 1 << 20
"""Rows of raw chunks are read this many bytes at a time: they stay in the cache of the processor until copied."""

NARROW = 4
"""Rows of a raw chunk are read one by one if a window needs less than 1/4 of each."""

NATIVE = "<" if sys.byteorder == "little" else ">"
"""Byte order of this machine."""

Integers: TypeAlias = Sequence[int] | NDArray[np.int64]


class Page:
    """The positions and sizes in bytes of the chunks of one page, and the JPEG tables that they share."""

    __slots__ = ("counts", "offsets", "tables")

    def __init__(
        self,
        offsets: Sequence[int] | NDArray[np.int64],
        counts: Sequence[int] | NDArray[np.int64],
        tables: bytes | None,
    ) -> None:
        self.offsets: NDArray[np.int64] = np.asarray(offsets, np.int64)
        self.counts: NDArray[np.int64] = np.asarray(counts, np.int64)
        self.tables = tables


class TiffGrid(ChunkGrid):
    """The chunks of one level. Planes are pages and, within each page, separately stored samples.

    Attributes:
        declared_chunk: (height, width) of a chunk according to the file. `chunk` may be larger: adjacent strips can be
            read as one chunk.

    Raises:
        ImageError: The file declares impossible or too large chunks.
    """

    def __init__(self, source: SourceFile, keyframe: Any, pages: Sequence[Page]) -> None:
        self.source = source
        self.pages = pages
        self.height, self.width = int(keyframe.imagelength), int(keyframe.imagewidth)
        separate = int(keyframe.planarconfig) == 2
        samples = int(keyframe.samplesperpixel)
        self.planes_per_page = samples if separate else 1
        self.plane_channels = 1 if separate else samples
        self.channels = samples * len(pages)
        self.interleaved = self.plane_channels == self.channels
        self.dtype = np.dtype(keyframe.dtype).newbyteorder("=")
        missing = nodata_value(gdal_nodata(keyframe), self.dtype)
        self.fill = np.zeros((), self.dtype) if missing is None else np.asarray(missing)
        if keyframe.is_tiled:
            self.chunk = int(keyframe.tilelength), int(keyframe.tilewidth)
        else:
            self.chunk = min(int(keyframe.rowsperstrip), self.height), self.width
        if min(self.chunk) < 1:
            raise ImageError(source.path, f"declares chunks of {self.chunk[0]} x {self.chunk[1]} pixels; it is damaged")
        self.declared_chunk = self.chunk
        self.codec = CODECS[int(keyframe.compression)]
        copied = int(keyframe.predictor) == 3 or (keyframe.parent.byteorder != NATIVE and self.dtype.itemsize > 1)
        self._cost = max(self.codec.cost, 2 if copied else 1, unpacking_cost(keyframe))
        self.rows, self.columns = -(-self.height // self.chunk[0]), -(-self.width // self.chunk[1])
        self._check()

    def _check(self) -> None:
        """Check the bounds of all chunks, so that a truncated or forged file is an error when it is opened."""
        path = self.source.path
        if not self.raw and self.chunk_bytes * self._cost > MAX_CHUNK_BYTES:
            mib = self.chunk_bytes >> 20
            raise ImageError(path, f"is stored in chunks of {mib} MiB; convert it to chunks of 512 x 512 pixels")
        for page in self.pages:
            expected = self.planes_per_page * self.rows * self.columns
            if len(page.offsets) != expected or len(page.counts) != expected:
                raise ImageError(
                    path, f"lists {len(page.offsets)} chunks, but its size needs {expected}; it is damaged or forged"
                )
            if min(page.offsets.min(), page.counts.min()) < 0:
                raise ImageError(path, "has a chunk at a negative position; it is damaged or forged")
            beyond = page.offsets > self.source.size - page.counts  # offset + count could overflow
            if beyond.any():
                end = max(map(sum, zip(page.offsets[beyond].tolist(), page.counts[beyond].tolist(), strict=True)))
                missing = end - self.source.size
                raise ImageError(path, f"ends {missing} bytes before its pixels do; copy or export it again")
            if not self.raw and page.counts.max() > max(MAX_EXPANSION * self.chunk_bytes, 1 << 20):
                raise ImageError(path, "has a chunk far larger than its pixels; it is damaged or forged")

    def locate(self, key: ChunkKey) -> tuple[Page | None, int]:
        """Return the page of a chunk (None if the chunk is not stored) and the index of the chunk in that page."""
        plane, row, column = key
        number, sample = divmod(plane, self.planes_per_page)
        index = (sample * self.rows + row) * self.columns + column
        page = self.pages[number]
        return (page if page.counts[index] and page.offsets[index] else None), index

    def fill_chunk(self, height: int, width: int) -> Pixels:
        """Return the pixels of a chunk that is not stored."""
        return np.broadcast_to(self.fill, (height, width, self.plane_channels))


class CompressedTiffGrid(TiffGrid):
    """Compressed chunks, which can only be decoded whole."""

    def __init__(self, source: SourceFile, keyframe: Any, pages: Sequence[Page]) -> None:
        super().__init__(source, keyframe, pages)
        self._decode = keyframe.decode
        self._declared = DeclaredChunk(*self.declared_chunk, self.plane_channels, self.dtype.itemsize)
        shape = (*self.declared_chunk, self.plane_channels)
        self._packed = PackedBits(keyframe, shape, self.dtype) if PackedBits.suits(keyframe) else None
        self._jpeg = int(keyframe.compression) in JPEG
        self._lzw, self._reversed = int(keyframe.compression) == LZW, int(keyframe.fillorder) == 2
        eight = self.dtype == np.uint8
        self._ycbcr = int(keyframe.compression) == APERIO_YCBCR and self.plane_channels == 3 and eight
        # tifffile expects the colours of a separate plane to be those of the image.
        self._one_plane = int(keyframe.compression) == PLAIN_JPEG and self.planes_per_page > 1 and eight
        self._header: bytes | None = keyframe.jpegheader if self._jpeg else None
        # Only this common kind is decoded here: its decoder needs no more than the bytes and the tables.
        self._plain_jpeg = (
            int(keyframe.compression) == PLAIN_JPEG
            and int(keyframe.photometric) == YCBCR
            and self.plane_channels == 3
            and self.dtype == np.uint8
            and not keyframe.extrasamples
            and self._header is None
        )
        self._buffers = threading.local()

    def decode(self, key: ChunkKey) -> Pixels:
        page, index = self.locate(key)
        if page is None:
            return self.fill_chunk(*self.chunk)
        data = self.source.read(int(page.offsets[index]), int(page.counts[index]))
        if self.codec.limited:
            return self._limited(data)
        if self._packed is not None:
            return self._packed.decode(data)
        if self._jpeg:
            check_jpeg(self._header or data, data, self._declared)
            if self._one_plane:
                plane: Pixels = imagecodecs.jpeg8_decode(data, tables=page.tables)
                return plane[:, :, None] if plane.ndim == 2 else plane
            decoded, _, _ = self._decode(data, index, jpegtables=page.tables, jpegheader=self._header)
        else:
            if self._lzw:
                data = self._valid_lzw(data)
            elif self.codec.check is not None:
                data = self.codec.check(data, self._declared)
            if self._ycbcr:
                pixels = imagecodecs.jpeg2k_decode(data)
                return ycbcr_to_rgb(pixels) if read_codestream(data).full else np.asarray(pixels)
            try:
                decoded, _, _ = self._decode(data, index)
            except Exception:
                if not self._is_last_strip(key):
                    raise
                # Some writers store rows below the image, as in the strip before.
                decoded, _, _ = self._decode(data, index - 1)
        return np.asarray(decoded[0])  # [depth, rows, columns, samples] of depth 1

    def _is_last_strip(self, key: ChunkKey) -> bool:
        """Return whether a chunk is a strip with fewer rows than the others of its plane."""
        return 0 < key[1] == self.rows - 1 and self.columns == 1 and self.height % self.chunk[0] != 0

    def _valid_lzw(self, data: bytes) -> bytes:
        if not self._reversed:
            return valid_lzw(data)
        turn = imagecodecs.bitorder_decode  # tifffile turns the bits back
        return bytes(turn(valid_lzw(bytes(turn(data)))))

    def _limited(self, data: bytes) -> Pixels:
        pixels = decode_limited(self.codec.limited, data, self.chunk_bytes)
        if pixels.dtype != self.dtype or pixels.ndim not in (2, 3):
            raise ValueError(f"its pixels are {pixels.shape} {pixels.dtype}, not the declared {self.dtype}")
        return pixels.reshape(*pixels.shape[:2], -1)

    def decode_transient(self, key: ChunkKey) -> Pixels:
        page, index = self.locate(key)
        if page is None or not self._plain_jpeg:
            return self.decode(key)
        data = self.source.read(int(page.offsets[index]), int(page.counts[index]))
        if encoded_size(data) != self.chunk or data.count(START_OF_SCAN) > 1:
            return self.decode(key)
        buffer: Pixels | None = getattr(self._buffers, "pixels", None)
        if buffer is None:
            buffer = self._buffers.pixels = np.empty((*self.chunk, 3), np.uint8)
        imagecodecs.jpeg8_decode(data, tables=page.tables, outcolorspace="rgb", out=buffer)
        return buffer


class RawTiffGrid(TiffGrid):
    """Chunks without compression, predictor or packed bits, of which only the needed rows or pixels are read."""

    raw = True

    def __init__(self, source: SourceFile, keyframe: Any, pages: Sequence[Page]) -> None:
        super().__init__(source, keyframe, pages)
        if not keyframe.is_tiled:
            self._join_strips()
        self._buffers = threading.local()
        self._stored = np.dtype(keyframe.dtype).newbyteorder(keyframe.parent.byteorder)

    def _join_strips(self) -> None:
        """Treat strips without gaps between them as one chunk: a window then costs one read, not one per strip."""
        row_bytes = self.width * self.plane_channels * self.dtype.itemsize
        starts = np.arange(self.rows) * (self.chunk[0] * row_bytes)
        joined: list[Page] = []
        for page in self.pages:
            offsets = page.offsets.reshape(self.planes_per_page, self.rows)
            if not (offsets == offsets[:, :1] + starts).all() or not page.counts.all():
                return
            joined.append(Page(offsets[:, 0], page.counts.reshape(offsets.shape).sum(axis=1), None))
        self.pages, self.rows = joined, 1
        self.chunk = self.height, self.width

    def decode(self, key: ChunkKey) -> Pixels:
        rows = min(self.chunk[0], self.height - key[1] * self.chunk[0])
        pixels = np.empty((rows, self.chunk[1], self.plane_channels), self.dtype)
        self.copy_part(key, Window(0, 0, *pixels.shape[:2]), pixels)
        return pixels

    def copy_part(self, key: ChunkKey, part: Window, target: Pixels) -> None:
        page, index = self.locate(key)
        if page is None:
            target[...] = self.fill
            return
        row_bytes = self.chunk[1] * self.plane_channels * self.dtype.itemsize
        if part.bottom * row_bytes > page.counts[index]:
            raise ValueError(f"it holds {page.counts[index]} bytes, but {part.bottom * row_bytes} are needed")
        start = int(page.offsets[index])
        if part.width * NARROW < self.chunk[1]:
            for row in range(part.height):
                at = start + (part.top + row) * row_bytes + part.left * (row_bytes // self.chunk[1])
                self._copy_rows(at, target[row : row + 1], slice(None), part.width)
            return
        columns = slice(part.left, part.right)
        step = max(BAND_BYTES // row_bytes, 1)
        for row in range(0, part.height, step):
            at = start + (part.top + row) * row_bytes
            self._copy_rows(at, target[row : row + step], columns, self.chunk[1])

    def _copy_rows(self, at: int, target: Pixels, columns: slice, width: int) -> None:
        """Read len(target) rows of `width` pixels, and copy `columns` of them to `target`."""
        shape = len(target), width, self.plane_channels
        size = math.prod(shape) * self.dtype.itemsize
        # One buffer per thread is reused: allocating fresh memory costs more than reading into it.
        buffer: NDArray[np.uint8] | None = getattr(self._buffers, "bytes", None)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers.bytes = np.empty(max(size, BAND_BYTES), np.uint8)
        self.source.read_into(buffer[:size].data, at)
        target[...] = buffer[:size].view(self._stored).reshape(shape)[:, columns]


def is_raw(keyframe: Any) -> bool:
    """Return whether the stored bytes are the pixels: no compression or predictor, whole bytes, usual bit order."""
    itemsize = np.dtype(keyframe.dtype).itemsize
    return bool(
        int(keyframe.compression) == 1
        and int(keyframe.predictor) == 1
        and int(keyframe.fillorder) == 1
        and keyframe.bitspersample == itemsize * 8
        and np.dtype(keyframe.dtype).kind in "uif"
        and not keyframe.is_subsampled
    )
