"""Reads OME-Zarr 0.4 and 0.5 images and plain zarr arrays (formats 2 and 3, sharded or not), alone or in collections.

zarr-python opens and validates the arrays. `chunks.py` then reads chunks directly, with limits that zarr does not have.
`ngff.py` interprets the metadata.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.chunks import MAX_CHANNELS, MAX_CHUNK_BYTES, ChunkedReader, ChunkGrid, levels_of
from fitcli.images.contents import Contents
from fitcli.images.feature_grid import FeatureGrid
from fitcli.images.numbers import exact_number
from fitcli.images.plane_axes import ChosenPlanes, choose_planes, chosen_channels, picked_names
from fitcli.images.plane_choice import EVERYTHING, PlaneChoice
from fitcli.images.plane_grids import Picked, ProjectedGrid, subset_of
from fitcli.images.unsupported import advice_for
from fitcli.images.zarr.chunks import (
    MAX_INDEX_BYTES,
    ChunkFiles,
    Coordinates,
    ShardFiles,
    StoreFiles,
    ZarrGrid,
    ZarrStack,
)
from fitcli.images.zarr.codecs import decoder_v2, decoder_v3, shard_codecs
from fitcli.images.zarr.collection import chosen_number, find_images
from fitcli.images.zarr.documents import group_attributes, read_document
from fitcli.images.zarr.embeddings import StoredArray, embedded_patches
from fitcli.images.zarr.ngff import Multiscale, array_axes, check_axes, multiscale, names_features

READABLE = "zstd, blosc, gzip, zlib, bz2, lzma, lz4 or no compression, and at most one level of shards"
"""Supported encodings, for messages."""


class ZarrReader(ChunkedReader):
    """Reads a zarr array, the first image of a group with OME-Zarr `multiscales`, or the features of `fit embed`.

    Args:
        path: Folder of an array, of an image, or of a collection of images, see `collection.py`.
        choice: Image and planes that are read.
        lenient: Whether to take the first plane where nothing was chosen.

    Raises:
        ImageError: The folder is damaged, has no image metadata, or is not supported.
    """

    def __init__(self, path: Path, choice: PlaneChoice = EVERYTHING, lenient: bool = False) -> None:
        self._arguments = choice, lenient
        try:
            images = find_images(path)
            number = chosen_number(images, choice, path, lenient)
            folder = images[number].folder
            info, grids, finish = _parse(folder, choice, lenient)
        except ImageError:
            raise
        except Exception as error:  # zarr raises errors of many types on damaged metadata
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            advice = advice_for(error, "copy or export it again")
            raise ImageError(path, f"cannot be read as zarr ({reason}); {advice}") from error
        super().__init__(path, info, grids, finish)
        self.choice, self._images, self._number = choice, images, number

    def describe_contents(self) -> Contents:
        text = group_attributes(self._images[self._number].folder).get("description")
        described = tuple(each.describe() for each in self._images)
        several = sum(each.is_there for each in self._images) > 1
        return Contents(
            described,
            self._number,
            text if isinstance(text, str) else "",
            undecided=several and self.choice.series is None,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, *self._arguments)


def _parse(
    path: Path, choice: PlaneChoice, lenient: bool
) -> tuple[ImageInfo, Sequence[ChunkGrid], Callable[[Pixels], Pixels] | None]:
    StoreFiles(path, path).check_metadata()
    document, features = read_document(path), None
    if (path / ".zarray").is_file() or document.get("node_type") == "array":
        image, array, features = _single_array(path, document)
        arrays = [array]
    else:
        attributes = group_attributes(path)
        described = multiscale(attributes, path)
        embedded = None if described else embedded_patches(path, attributes, lambda name: _member(path, name))
        if embedded is not None:
            return embedded[0], [embedded[1]], None
        if described is None:
            raise ImageError(path, _no_image(path))
        image = described
        arrays = [_level(path, name) for name in image.paths]
    check_axes(image.axes, tuple(arrays[0][2].shape), path)
    planes = choose_planes(image.axes.upper(), tuple(arrays[0][2].shape), choice, path, lenient)
    grids = [_grid(*array, planes) for array in arrays]
    base = grids[0]
    smaller = [grid for grid in grids[1:] if (grid.channels, grid.dtype) == (base.channels, base.dtype)]
    smaller = sorted((grid for grid in smaller if grid.width < base.width), key=lambda grid: -grid.width)
    three_bytes = base.channels == 3 and base.dtype == "uint8"
    color = three_bytes if image.color is None else image.color
    nodata = _nodata(path / image.paths[0] if image.paths else path)
    shown: Sequence[ChunkGrid] = [base, *smaller]
    if planes.projection is not None:
        kind = planes.projection
        shown = [ProjectedGrid(ZarrStack(grid), kind, nodata, path) for grid in (base, *smaller)]
    finish = None
    channels = base.channels
    names = picked_names(image.channel_names, range(base.channels)) if base.channels <= MAX_CHANNELS else ()
    if (numbers := chosen_channels(base.channels, names, choice, path)) is not None:
        subsets = [subset_of(grid, numbers) for grid in shown]
        shown, finish = [grid for grid, _ in subsets], Picked(tuple(subsets[0][1]))
        color, channels = color and numbers[:3] == [0, 1, 2], len(numbers)
        names = picked_names(names, numbers)
    info = ImageInfo(
        height=base.height,
        width=base.width,
        channels=channels,
        dtype=base.dtype,
        levels=levels_of([base, *smaller]),
        chunk=base.chunk,
        mpp=image.mpp,
        format=f"OME-Zarr {image.version}" if image.version else "Zarr",
        axes=image.axes.upper(),
        color=color,
        nodata=nodata,
        ngff_transform=image.ngff_transform,
        channel_names=names,
        features=features,
    )
    return info, shown, finish


def _single_array(
    path: Path, document: dict[str, Any]
) -> tuple[Multiscale, tuple[StoreFiles, Path, Any], FeatureGrid | None]:
    """Return an array that is no part of a group as an image of one level, and what it says of features."""
    node: Any = zarr.open_array(LocalStore(path, read_only=True), mode="r")
    names = document.get("dimension_names") or dict(node.attrs).get("_ARRAY_DIMENSIONS")
    try:
        axes = array_axes(tuple(node.shape), names)
    except ValueError as error:
        raise ImageError(path, str(error)) from None
    features = FeatureGrid() if node.dtype.kind == "f" and names_features(names) else None
    image = Multiscale(version=None, axes=axes, mpp=None, color=None, paths=())
    return image, (StoreFiles(path, path), path, node), features


def _nodata(array: Path) -> float | None:
    """Return the nodata value of an array, its attribute `_FillValue`; None without one. "NaN" is a number, too."""
    value = group_attributes(array).get("_FillValue")
    return None if isinstance(value, bool) or not isinstance(value, int | float | str) else exact_number(value)


def _level(path: Path, name: str) -> tuple[StoreFiles, Path, Any]:
    files = StoreFiles(path, path / name)
    files.check_metadata()
    read_document(path / name)
    try:
        array: Any = zarr.open_array(LocalStore(path / name, read_only=True), mode="r")
    except Exception as error:
        raise ImageError(path, f"has no array {name!r} that its metadata lists; copy or export it again") from error
    return files, path / name, array


def _member(path: Path, name: str) -> StoredArray:
    """Return an array of a group that is no image by itself."""
    files, folder = StoreFiles(path, path / name), path / name
    files.check_metadata()
    document = read_document(folder)
    array: Any = zarr.open_array(LocalStore(folder, read_only=True), mode="r")
    fetcher = _fetcher(files, document, array, tuple(array.shards or array.chunks))
    if fetcher is None or min(fetcher[0], default=0) < 1 or fetcher[2] > MAX_CHUNK_BYTES:
        raise ImageError(folder, "is encoded in a way that fit does not write; embed the image again")
    return StoredArray(tuple(array.shape), array.dtype, fetcher[0], fetcher[1])


def _no_image(path: Path) -> str:
    names = sorted(folder.name for folder in path.iterdir() if folder.is_dir())
    if not names:
        return "is an empty zarr group; give a zarr array or OME-Zarr image"
    return f"is a zarr group without OME-Zarr metadata; give one of its members: {', '.join(names[:20])}"


def _grid(files: StoreFiles, folder: Path, array: Any, planes: ChosenPlanes) -> ZarrGrid:
    """Return the chunks of one array.

    Raises:
        ImageError: The array is empty, lacks a chosen plane, holds values other than numbers, or needs codecs whose
            output has no limit.
    """
    axes = planes.axes.lower()
    shape, stored = tuple(array.shape), tuple(array.shards or array.chunks)
    check_axes(axes, shape, folder)
    if min(shape) < 1:
        raise ImageError(folder, "holds no pixels; copy or export it again")
    if array.dtype.kind not in "buif":
        raise ImageError(folder, f"holds {array.dtype} values; convert them to integers or floats")
    fetcher = _fetcher(files, read_document(folder), array, stored)
    if fetcher is None:
        raise ImageError(folder, f"is encoded in a way that fit does not read; write it again with {READABLE}")
    chunk, fetch, memory = fetcher
    if min(chunk) < 1:
        raise ImageError(folder, f"declares chunks of {chunk}; it is damaged")
    if memory > MAX_CHUNK_BYTES:
        raise ImageError(folder, f"is stored in chunks of {memory >> 20} MiB; convert it to chunks of 512 x 512 pixels")
    lengths = dict(zip(axes, shape, strict=True))
    depth = lengths.get("z", 1)
    if any(place >= lengths[axis.lower()] for axis, place in planes.places.items()) or (
        planes.projection is not None and depth != planes.focal_planes
    ):
        raise ImageError(folder, "has other numbers of planes than the largest level; export the image again")
    places = {axis.lower(): place for axis, place in planes.places.items()}
    return ZarrGrid(axes, shape, chunk, array.dtype, array.fill_value, fetch, places)


def _fetcher(
    files: StoreFiles, document: dict[str, Any], array: Any, stored: Coordinates
) -> tuple[Coordinates, Callable[[Coordinates], Any], int] | None:
    """Return (chunk shape, function that fetches a chunk, memory for it); None for codecs that are not supported."""
    name = _chunk_names(document)
    if document.get("zarr_format") == 2:
        decoder = decoder_v2(document, array.dtype.newbyteorder(document["dtype"][0]))
        if decoder is None or decoder.shape != stored:
            return None
        return stored, ChunkFiles(files, name, decoder), decoder.memory
    codecs = document["codecs"]
    decoder = decoder_v3(codecs, stored, array.dtype)
    if decoder is not None:
        return stored, ChunkFiles(files, name, decoder), decoder.memory
    shard = shard_codecs(codecs, stored)
    if shard is None:
        return None
    index, inner, inner_codecs = shard
    if index.size > MAX_INDEX_BYTES:
        raise ImageError(files.array, f"has shards of {math.prod(index.chunks):,} chunks; write it again with fewer")
    decoder = decoder_v3(inner_codecs, inner, array.dtype)
    return None if decoder is None else (inner, ShardFiles(files, name, decoder, index), decoder.memory)


def _chunk_names(document: dict[str, Any]) -> Callable[[Coordinates], str]:
    """Return a function that names chunk files, with numbers and separators only, whatever the metadata contains."""
    if document.get("zarr_format") == 2:
        prefix, separator = "", document.get("dimension_separator", ".")
    else:
        encoding = document["chunk_key_encoding"]
        default = encoding["name"] == "default"
        if not default and encoding["name"] != "v2":
            raise ValueError(f"unknown chunk key encoding {encoding['name']!r}")
        separator = (encoding.get("configuration") or {}).get("separator", "/" if default else ".")
        prefix = f"c{separator}" if default else ""
    if separator not in (".", "/"):
        raise ValueError(f"unknown chunk separator {separator!r}")
    return lambda place: prefix + separator.join(map(str, place))
