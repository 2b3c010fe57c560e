"""Writes OME-Zarr 0.5: a zarr 3 group with one sharded [c, y, x] array per level, and metadata for viewers.

It uses no zarr library; the layout follows the zarr 3 core, sharding and NGFF 0.5 specifications.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fitcli.images.base import ImageInfo, Level, Pixels
from fitcli.images.chunk_encoding import Compression, zarr_encoder
from fitcli.images.ngff_transform import NgffTransform
from fitcli.images.publishing import ImagePublication, cannot_write
from fitcli.images.pyramid import Resampling, pad_edges
from fitcli.images.pyramid_writer import ChunkSink, PyramidWriter
from fitcli.images.write_options import WriteOptions
from fitcli.images.zarr.image_labels import described_values
from fitcli.images.zarr.shards import ShardedArray

COMPRESSIONS: tuple[Compression, ...] = ("zstd", "none")

MARKERS = ("zarr.json", ".zarray", ".zgroup", ".zattrs")
"""A folder with one of these files is zarr, and may be replaced."""

SHARD_SIDE = 8
"""Chunks along the side of a shard. With smaller shards, creating files takes longer than encoding chunks."""

MAX_CHANNELS_TOGETHER = 4
"""Images with more channels have one chunk per channel: viewers then read only the channels that they show."""

COLORS = ("FFFFFF", "00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")
"""Colours of the channels of images that are not in colour, in turn."""

RED_GREEN_BLUE = ("FF0000", "00FF00", "0000FF")
"""Colours of the channels of colour images."""


def create_ome_zarr(path: Path, options: WriteOptions) -> PyramidWriter:
    """Create an OME-Zarr image.

    Raises:
        ImageError: The compression is not supported, or the folder cannot be written.
    """
    info = options.complete("OME-Zarr 0.5", "CYX")
    compression = options.choose_compression(path, COMPRESSIONS, "zstd")
    sink = OmeZarrSink(path, info, compression, options.resampling, options.description, options.classes)
    return options.create_writer(path, info, sink)


class OmeZarrSink(ChunkSink):
    """Stores encoded chunks in the shards of an OME-Zarr image. Chunks that are never put stay absent (0).

    Args:
        path: Path of the finished folder.
        info: Complete description; `info.chunk` must be square.
        compression: "zstd" or "none".
        resampling: Method by which levels were computed; recorded in the metadata.
        description: Text that is stored with the image.
        classes: Names of the values of a label image; empty for another image.

    Raises:
        ImageError: The folder cannot be written.
    """

    planar = True

    def __init__(
        self,
        path: Path,
        info: ImageInfo,
        compression: Compression,
        resampling: Resampling,
        description: str | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        assert info.chunk is not None
        self._path, self._info, self._chunk = path, info, info.chunk[0]
        self._compression, self._resampling, self._description = compression, resampling, description
        self._classes = classes
        self._planes = 1 if info.channels <= MAX_CHANNELS_TOGETHER else info.channels
        self._encode = zarr_encoder(compression)
        self._folder = ImagePublication(path, MARKERS)
        self._arrays = [self._array(number, level) for number, level in enumerate(info.levels)]

    def encode(self, pixels: Pixels) -> list[bytes]:
        planar = np.ascontiguousarray(pad_edges(pixels, self._chunk, self._chunk).transpose(2, 0, 1))
        return [self._encode(part) for part in np.split(planar, self._planes)]

    def put(self, level: int, row: int, column: int, pieces: list[bytes]) -> None:
        self._arrays[level].put(row, column, pieces)

    def finish(self) -> None:
        try:
            for number, (array, level) in enumerate(zip(self._arrays, self._info.levels, strict=True)):
                array.finish()
                self._write_json(str(number), self._array_metadata(level))
            self._write_json(".", self._group_metadata())
            self._folder.publish()
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def discard(self) -> None:
        self._folder.discard()

    def _array(self, number: int, level: Level) -> ShardedArray:
        grid = -(-level.height // self._chunk), -(-level.width // self._chunk)
        return ShardedArray(self._folder.path / str(number), grid, self._planes, SHARD_SIDE)

    def _write_json(self, folder: str, document: dict[str, Any]) -> None:
        path = self._folder.path / folder / "zarr.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False), encoding="utf-8")

    def _group_metadata(self) -> dict[str, Any]:
        metadata = group_metadata(self._info, self._path.name, self._resampling)
        if self._description is not None:
            metadata["attributes"]["description"] = self._description
        if self._classes:
            ome = metadata["attributes"]["ome"]
            # Contrast and colours of channels are for images; viewers refuse them for labels.
            del ome["omero"]
            ome["image-label"] = described_values(self._classes, self._info.palette, self._info.nodata)
        return metadata

    def _array_metadata(self, level: Level) -> dict[str, Any]:
        """Return `zarr.json` of an array (zarr 3 core specification)."""
        channels, side = self._info.channels, self._chunk
        little = {"name": "bytes", "configuration": {"endian": "little"}}
        codecs: list[dict[str, Any]] = [little]
        if self._compression == "zstd":
            codecs.append({"name": "zstd", "configuration": {"level": 1, "checksum": True}})
        sharding = {
            "chunk_shape": [channels // self._planes, side, side],
            "codecs": codecs,
            "index_codecs": [little, {"name": "crc32c"}],
            "index_location": "end",
        }
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [channels, level.height, level.width],
            "data_type": self._info.dtype.name,
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": [channels, SHARD_SIDE * side, SHARD_SIDE * side]},
            },
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0.0 if self._info.dtype.kind == "f" else 0,
            "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
            "attributes": {} if self._info.nodata is None else {"_FillValue": _json_number(self._info.nodata)},
            "dimension_names": ["c", "y", "x"],
        }


def group_metadata(info: ImageInfo, name: str, resampling: Resampling) -> dict[str, Any]:
    """Return `zarr.json` of the group (NGFF 0.5)."""
    transform = info.ngff_transform or default_transform(info)
    unit = {"unit": transform.unit} if transform.unit else {}
    multiscale = {
        "name": name,
        "axes": [
            {"name": "c", "type": "channel"},
            {"name": "y", "type": "space", **unit},
            {"name": "x", "type": "space", **unit},
        ],
        "datasets": [
            {"path": str(number), "coordinateTransformations": _transformations(level.downsample, transform)}
            for number, level in enumerate(info.levels)
        ],
        "type": resampling,
    }
    ome = {"version": "0.5", "multiscales": [multiscale], "omero": {"channels": _channels(info)}}
    return {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}


def default_transform(info: ImageInfo) -> NgffTransform:
    """Return the transform of an image whose file has none: in microns, or in level-0 pixels if the scale is unknown.

    A layer over a slide of unknown scale has that of the slide's pixels.
    """
    pixel = info.mpp or (info.features.side if info.features is not None else 1.0)
    return NgffTransform(scale=(pixel, pixel), unit="" if info.mpp is None else "micrometer")


def _transformations(downsample: float, transform: NgffTransform) -> list[dict[str, Any]]:
    scales = [pixel * downsample for pixel in transform.scale]
    # The centre of a level's first pixel is the centre of the level-0 pixels that it covers.
    centres = [at + pixel * (downsample - 1) / 2 for at, pixel in zip(transform.origin, transform.scale, strict=True)]
    return [{"type": "scale", "scale": [1.0, *scales]}, {"type": "translation", "translation": [0.0, *centres]}]


def _channels(info: ImageInfo) -> list[dict[str, Any]]:
    """Return names, colours and contrast of the channels. Without them, viewers show colour images in false colours."""
    if info.color and info.channels >= 3:
        names = ["red", "green", "blue", *(f"channel {n}" for n in range(4, info.channels + 1))]
        colors = [*RED_GREEN_BLUE, *("FFFFFF" for _ in names[3:])]
    else:
        names = [f"channel {n}" for n in range(1, info.channels + 1)]
        colors = [COLORS[n % len(COLORS)] for n in range(info.channels)]
    names = [own or name for own, name in zip(info.channel_names or names, names, strict=True)]
    low, high = (0.0, 1.0) if info.dtype.kind == "f" else (np.iinfo(info.dtype).min, np.iinfo(info.dtype).max)
    low, high = info.shown or (low, high)
    window = {"start": low, "end": high, "min": low, "max": high}
    return [
        {"label": name, "color": color, "active": True, "window": window}
        for name, color in zip(names, colors, strict=True)
    ]


def _json_number(value: float) -> float | int | str:
    if not np.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(float(value))]
    return value if isinstance(value, int) else int(value) if float(value).is_integer() else float(value)
