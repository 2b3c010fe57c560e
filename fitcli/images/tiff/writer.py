"""Writes pyramidal BigTIFF and OME-TIFF from encoded chunks that arrive in any order.

tifffile first writes the headers of all levels, with empty chunks. Encoded chunks are then appended as they arrive (a
TIFF may store them in any order). At the end, their positions and sizes are written into the headers.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import numpy as np
import tifffile
from numpy.typing import NDArray

from fitcli.errors import ImageError
from fitcli.files.scratch import write_all
from fitcli.images.base import ImageInfo, Level, Pixels
from fitcli.images.chunk_encoding import Compression, tiff_encoder, tiff_predictor
from fitcli.images.georeference import GeoReference
from fitcli.images.numbers import number_text
from fitcli.images.publishing import ImagePublication, cannot_write
from fitcli.images.pyramid import pad_edges
from fitcli.images.pyramid_writer import ChunkSink, PyramidWriter
from fitcli.images.tiff.metadata import GDAL_METADATA_TAG, GEO_TAGS, SOFTWARE
from fitcli.images.write_options import WriteOptions

COMPRESSIONS: tuple[Compression, ...] = ("jpeg", "deflate", "zstd", "lzw", "none")

TIFFFILE_NAMES = {"deflate": "adobe_deflate", "none": None}
"""tifffile's names of compressions, where they differ."""

MAX_SAMPLES_BYTES, MIN_SIDE = 16 << 20, 64
"""Chunks of many samples are halved until they have at most so many bytes, or this side in pixels."""

NODATA_TAG = 42113
"""GDAL_NODATA, an ASCII tag."""


def create_tiff(path: Path, options: WriteOptions, ome: bool) -> PyramidWriter:
    """Create a TIFF or OME-TIFF. The default compression is JPEG for 8-bit colour resampled by "mean", else deflate.

    Raises:
        ImageError: The format or the compression cannot hold such pixels, or the file cannot be written.
    """
    if ome and options.info.dtype == np.float16:
        raise ImageError(path, "OME-TIFF cannot hold float16; write .tif or .zarr instead, or float32")
    if not ome:
        options = replace(options, chunk=chunk_side(options.chunk, options.info))
    info = options.complete("OME-TIFF" if ome else "TIFF", stored_axes(options.info, ome))
    photograph = info.dtype == np.uint8 and info.color and info.channels == 3 and options.resampling == "mean"
    compression = options.choose_compression(path, COMPRESSIONS, "jpeg" if photograph else "deflate")
    return options.create_writer(
        path, info, TiffSink(path, info, compression, options.quality, ome, options.description)
    )


class TiffSink(ChunkSink):
    """Stores encoded chunks in a TIFF.

    In a plain TIFF, smaller levels are pages of the main chain, marked as reduced, where OpenSlide and GDAL expect
    them, and the samples of a pixel are stored together, since libvips opens no tiles of separate planes. In an
    OME-TIFF, smaller levels are SubIFDs, where Bio-Formats and QuPath expect them, and images of several channels that
    are not in colour have one page per channel.

    Args:
        path: Path of the finished file.
        info: Complete description; `info.chunk` must be square and a multiple of 16.
        compression: Name of the compression.
        quality: JPEG quality, 1 to 100.
        ome: Whether to write OME-XML and SubIFDs.
        description: Text that is stored with the image.

    Raises:
        ImageError: The compression cannot hold such pixels, or the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        info: ImageInfo,
        compression: Compression,
        quality: int,
        ome: bool,
        description: str | None = None,
    ) -> None:
        assert info.chunk is not None
        self.planar = ome and not is_interleaved(info)
        self._path, self._info, self._chunk, self._ome = path, info, info.chunk[0], ome
        self._description = description
        self._compression = compression
        self._samples = 1 if self.planar else info.channels
        if compression == "jpeg" and (info.dtype != np.uint8 or self._samples not in (1, 3)):
            reason = f"JPEG cannot hold {info.channels} x {info.dtype}; use deflate or zstd"
            raise ImageError(path, reason)
        self._encode = tiff_encoder(compression, quality)
        self._where = [self._empty_index(level) for level in info.levels]
        self._lock = threading.Lock()
        self._file = ImagePublication(path)
        try:
            self._write_headers()
            self._size = self._file.path.stat().st_size
            self._descriptor = os.open(self._file.path, os.O_WRONLY)
        except BaseException as error:
            self._file.discard()
            raise cannot_write(path, error) if isinstance(error, OSError) else error from error

    def encode(self, pixels: Pixels) -> list[bytes]:
        pixels = pad_edges(pixels, self._chunk, self._chunk)
        if not self.planar:
            return [self._encode(pixels)]
        return [self._encode(pixels[:, :, channel, None]) for channel in range(self._info.channels)]

    def put(self, level: int, row: int, column: int, pieces: list[bytes]) -> None:
        for plane, piece in enumerate(pieces):
            self._where[level][plane, row, column] = self._append(piece), len(piece)

    def finish(self) -> None:
        for index in self._where:
            absent = index[..., 1] == 0
            if absent.any():
                # libvips refuses TIFFs with absent chunks, so all of these refer to one chunk of zeros.
                zeros = self._encode(np.zeros((self._chunk, self._chunk, self._samples), self._info.dtype))
                index[absent] = self._append(zeros), len(zeros)
        self._close()
        self._write_places()
        self._file.publish()

    def discard(self) -> None:
        self._close()
        self._file.discard()

    def _append(self, data: bytes) -> int:
        with self._lock:
            offset = self._size
            self._size += len(data)
        write_all(self._descriptor, data, offset)
        return offset

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _empty_index(self, level: Level) -> NDArray[np.uint64]:
        """Return an index [plane, row, column, (offset, size)] of chunks in the file, in bytes; size 0 means absent."""
        rows, columns = -(-level.height // self._chunk), -(-level.width // self._chunk)
        return np.zeros((self._info.channels if self.planar else 1, rows, columns, 2), dtype=np.uint64)

    def _write_headers(self) -> None:
        reduced = len(self._info.levels) - 1
        with tifffile.TiffWriter(self._file.path, bigtiff=True, byteorder="<", ome=self._ome) as tiff:
            for level, index in zip(self._info.levels, self._where, strict=True):
                options = self._tags(level)
                if level is not self._info.levels[0]:
                    options |= {"subfiletype": 1}
                elif not self._ome:
                    options |= {} if self._description is None else {"description": self._description.encode()}
                else:
                    options |= {"metadata": self._ome_metadata(), "subifds": reduced}
                tiff.write(
                    repeat(self._absent(index), index[..., 0].size),
                    shape=self._shape(level),
                    dtype=self._info.dtype,
                    **options,
                )

    def _absent(self, index: NDArray[np.uint64]) -> bytes:
        """Return the bytes that stand for an absent chunk: none, unless tifffile checks the bytes of a level."""
        if self._compression != "none" or index.shape[1:3] != (1, 1):
            return b""
        return bytes(self._chunk**2 * self._samples * self._info.dtype.itemsize)

    def _write_places(self) -> None:
        with tifffile.TiffFile(self._file.path, mode="r+") as tiff:
            for level, index in enumerate(self._where):
                pages = self._pages(tiff, level)
                for page, places in zip(pages, index.reshape(len(pages), -1, 2), strict=True):
                    page.tags["TileOffsets"].overwrite(places[:, 0].tolist())
                    page.tags["TileByteCounts"].overwrite(places[:, 1].tolist())

    def _pages(self, tiff: tifffile.TiffFile, level: int) -> list[Any]:
        """Return the pages of a level: one, or one per channel."""
        pages: Any = tiff.pages
        if not self._ome:
            return [pages[level]]
        return [page if level == 0 else page.pages[level - 1] for page in pages]

    def _shape(self, level: Level) -> tuple[int, ...]:
        if not self.planar:
            return (level.height, level.width, *((self._samples,) if self._samples > 1 else ()))
        return self._info.channels, level.height, level.width

    def _tags(self, level: Level) -> dict[str, Any]:
        tags: dict[str, Any] = {
            "tile": (self._chunk, self._chunk),
            "compression": TIFFFILE_NAMES.get(self._compression, self._compression),
            "photometric": "rgb" if self._info.color and self._samples >= 3 else "minisblack",
            "metadata": None,
            "software": SOFTWARE,
        }
        if self._compression == "jpeg" and self._samples == 3:
            # tifffile does not parse encoded chunks, so these tags must match what `jpeg_encoder` writes.
            tags |= {"photometric": "ycbcr", "subsampling": (2, 2)}
        if self._holds_indices:
            tags |= {"photometric": "palette", "colormap": color_map(self._info.palette)}
        if self._samples > 1:
            tags["planarconfig"] = "contig"
        extra_samples = self._samples - (3 if tags["photometric"] != "minisblack" else 1)
        if extra_samples > 0:
            # The fourth band of a map is one more wavelength, that of a picture says what is transparent.
            alpha = extra_samples == 1 and tags["photometric"] == "rgb" and self._info.geo is None
            tags["extrasamples"] = ("unassalpha",) if alpha else ("unspecified",) * extra_samples
        predictor = tiff_predictor(self._compression, self._info.dtype)
        if predictor > 1:
            tags["predictor"] = predictor
        if self._info.mpp is not None:
            per_centimetre = 1e4 / (self._info.mpp * level.downsample)
            tags |= {"resolution": (per_centimetre, per_centimetre), "resolutionunit": "CENTIMETER"}
        extra = [] if self._info.nodata is None else [_text_tag(NODATA_TAG, number_text(self._info.nodata))]
        if self._info.geo is not None and level is self._info.levels[0]:
            extra += geo_tags(self._info.geo)
        if self._info.channel_names and not self._ome and level is self._info.levels[0]:
            extra.append(_text_tag(GDAL_METADATA_TAG, band_names(self._info.channel_names)))
        if extra:
            tags["extratags"] = extra
        return tags

    @property
    def _holds_indices(self) -> bool:
        """Whether values are indices of a palette. Viewers of OME-TIFF colour channels by themselves."""
        one_byte = self._info.channels == 1 and self._info.dtype == np.uint8
        return bool(self._info.palette) and one_byte and not self._ome and self._compression != "jpeg"

    def _ome_metadata(self) -> dict[str, Any]:
        metadata: dict[str, Any] = {"axes": stored_axes(self._info, ome=True)}
        if self._description is not None:
            metadata["Description"] = self._description
        if self._info.channel_names and (self._info.channels == 1 or not is_interleaved(self._info)):
            metadata["Channel"] = {"Name": list(self._info.channel_names)}
        if self._info.mpp is not None:
            for axis in "XY":
                metadata |= {f"PhysicalSize{axis}": self._info.mpp, f"PhysicalSize{axis}Unit": "µm"}
        return metadata


ExtraTag = tuple[int, int, int, Any, bool]
"""A tag as tifffile accepts it: (code, type, number of values, values, only on the first page of a level)."""

ASCII, SHORT, DOUBLE = 2, 3, 12
"""Codes of tag types."""


def _text_tag(code: int, text: str) -> ExtraTag:
    return code, ASCII, 0, text, True


def band_names(names: Sequence[str]) -> str:
    """Return the XML from which GDAL reads the names of the bands. The tag holds ASCII alone."""
    root = ElementTree.Element("GDALMetadata")
    for number, name in enumerate(names):
        if not name:
            continue
        item = ElementTree.SubElement(root, "Item", name="DESCRIPTION", sample=str(number), role="description")
        # GDAL unescapes a value once more than the XML around it.
        item.text = escape(name)
    text: bytes = ElementTree.tostring(root, encoding="us-ascii")
    return text.decode("ascii")


def geo_tags(geo: GeoReference) -> list[ExtraTag]:
    """Return the tags of a GeoTIFF."""
    tags = []
    for field, code in GEO_TAGS.items():
        values = getattr(geo, field)
        if isinstance(values, str):
            tags += [_text_tag(code, values)] if values else []
        elif values:
            tags.append((code, SHORT if field == "keys" else DOUBLE, len(values), values, True))
    return tags


def color_map(palette: Sequence[tuple[int, int, int]]) -> NDArray[np.uint16]:
    """Return the ColorMap of a TIFF of 8 bits [3 256], in which 65535 is full; black beyond the given colours."""
    colors = np.zeros((256, 3), np.uint16)
    colors[: len(palette)] = np.array(palette, np.uint16) * 257
    return colors.T


def is_interleaved(info: ImageInfo) -> bool:
    """Return whether the samples of a pixel are stored together, as in grey and colour images."""
    return info.channels == 1 or (info.color and info.channels in (3, 4))


def stored_axes(info: ImageInfo, ome: bool) -> str:
    """Return the axes of level 0 in the letters of tifffile."""
    if info.channels == 1:
        return "YX"
    return "CYX" if ome and not is_interleaved(info) else "YXS"


def chunk_side(side: int, info: ImageInfo) -> int:
    """Return the side of chunks that hold all samples of their pixels, in at most `MAX_SAMPLES_BYTES`."""
    while side % 32 == 0 and side > MIN_SIDE and side**2 * info.channels * info.dtype.itemsize > MAX_SAMPLES_BYTES:
        side //= 2
    return side
