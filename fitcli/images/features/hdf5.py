"""Reads files of features that TRIDENT and CLAM write: HDF5 with the datasets `features` and `coords`.

`features` is [n d] or [1 n d], `coords` [n 2] in level-0 pixels, (x, y). TRIDENT describes the patches in attributes of
`coords`: patch_size, patch_size_level0, overlap, level0_magnification, level0_width, level0_height. The files of
features of CLAM have none; where its coordinates are stated with features, patch_size, patch_level and downsample are.
"""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.chunks import MAX_CHUNK_BYTES
from fitcli.images.feature_grid import FeatureGrid
from fitcli.images.features.attributes import LARGEST_PATCH, read_numbers
from fitcli.images.features.place_index import FARTHEST, MOST_ROWS, BadCoordinates, PlaceIndex, index_places
from fitcli.images.features.reader import FeatureReader, check_values, stretches
from fitcli.images.window import Window

FEATURES, COORDINATES = "features", "coords"
"""Names of the datasets."""

CHUNK_CACHE_BYTES = 32 << 20
"""Bytes of decoded chunks that the library keeps per open file."""

KEPT_INDEX_BYTES = 64 << 20
"""Bytes of the indices of recent files that are kept: training opens each file once per epoch."""

FILTERS = ("gzip", "lzf", "szip")
"""Compressions that are read; others are plugins of the system."""

NAMED = 8
"""Number of members of a file to name."""

_indices: OrderedDict[tuple[str, int, int], PlaceIndex] = OrderedDict()
"""Indices by path, time of the last change, and size of the file."""

_lock = threading.Lock()
"""Guards the indices."""


class Hdf5Reader(FeatureReader):
    """Reads the features of a slide; places without a patch are NaN.

    Raises:
        ImageError: The file is damaged, no file of features, or its coordinates are no grid; or h5py is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock, self._file, self._process = threading.Lock(), None, 0
        try:
            self._index, self.info = self._describe(self._open())
        except ImageError:
            self.close()
            raise
        except Exception as error:  # h5py raises errors of many types on damaged files
            self.close()
            raise ImageError(path, _damaged(error)) from error

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._file is not None and self._process == os.getpid():
                self._file.close()
            self._file = None

    def _open(self) -> Any:
        """Return the open file of this process. Files of a process that forked belong to it."""
        try:
            import h5py
        except ImportError:
            raise ImageError(
                self.path, "is an HDF5 file, which takes h5py to read; pip install 'fitcli[features]'"
            ) from None
        if self._file is None or self._process != os.getpid():
            self._file = h5py.File(self.path, "r", rdcc_nbytes=CHUNK_CACHE_BYTES, locking=False)
            self._process = os.getpid()
        return self._file

    def _describe(self, file: Any) -> tuple[PlaceIndex, ImageInfo]:
        features, coordinates = (_dataset(self.path, file, name) for name in (FEATURES, COORDINATES))
        count, values = _table(self.path, features, FEATURES)
        pairs, two = _table(self.path, coordinates, COORDINATES)
        if two != 2:
            raise ImageError(self.path, f"has coords of shape {coordinates.shape}; they are [patches, 2], x and y")
        if count != pairs:
            raise ImageError(self.path, f"has {count:,} features for {pairs:,} coords; extract it again")
        if count > MOST_ROWS:
            raise ImageError(self.path, f"holds {count:,} patches; fit reads at most {MOST_ROWS:,}")
        dtype = check_values(self.path, values, features.dtype)
        numbers, others = (read_numbers(self.path, each, file[each].attrs) for each in (COORDINATES, FEATURES))
        patch, stated = _sizes(self.path, numbers, others)
        index = self._index_of(coordinates, stated)
        grid = _grid(index, patch, numbers)
        nominal = grid.nominal_mpp
        info = ImageInfo(
            height=index.height,
            width=index.width,
            channels=values,
            dtype=dtype,
            chunk=(1, 1),
            mpp=None if nominal is None else nominal * index.side,
            format="HDF5 features",
            features=grid,
        )
        return index, info

    def _index_of(self, coordinates: Any, stated: float | None) -> PlaceIndex:
        status = os.stat(self.path)
        key = (os.path.realpath(self.path), status.st_mtime_ns, status.st_size)
        with _lock:
            if (index := _indices.get(key)) is not None:
                _indices.move_to_end(key)
                return index
        try:
            index = index_places(_whole_numbers(self.path, coordinates[...].reshape(-1, 2)), stated)
        except BadCoordinates as error:
            raise ImageError(self.path, str(error)) from None
        with _lock:
            _indices[key] = index
            while len(_indices) > 1 and sum(each.nbytes for each in _indices.values()) > KEPT_INDEX_BYTES:
                _indices.popitem(last=False)
        return index

    def _read(self, window: Window) -> Pixels:
        places, rows = self._index.lookup(window)
        order = np.argsort(rows)
        places, rows = places[order], rows[order]
        pixels = np.full((window.area, self.info.channels), np.nan, self.info.dtype)
        try:
            with self._lock, np.errstate(over="ignore"):
                table = self._open()[FEATURES]
                for first, stop, part in stretches(rows):
                    values = table[0, first:stop] if table.ndim == 3 else table[first:stop]
                    pixels[places[part]] = values[rows[part] - first].astype(self.info.dtype, copy=False)
        except ImageError:
            raise
        except Exception as error:
            raise ImageError(self.path, _damaged(error)) from error
        return pixels.reshape(window.height, window.width, -1)


def _grid(index: PlaceIndex, patch: float | None, numbers: Mapping[str, float]) -> FeatureGrid:
    """Return where the places lie on the slide.

    Args:
        index: The places.
        patch: Side of a patch; None if it is not stated.
        numbers: Attributes of the coordinates.
    """
    width, height = (numbers.get(name, 0.0) for name in ("level0_width", "level0_height"))
    right, bottom = index.left + (index.width - 1) * index.side, index.top + (index.height - 1) * index.side
    return FeatureGrid(
        side=float(index.side),
        left=float(index.left),
        top=float(index.top),
        # A size that does not hold all patches is not that of the slide.
        slide=(int(height), int(width)) if right < width < FARTHEST and bottom < height < FARTHEST else None,
        mpp=numbers.get("level0_mpp", numbers.get("mpp")),
        magnification=numbers.get("level0_magnification"),
        patch=patch or float(index.side),
        states_patch=patch is not None,
        missing=index.height * index.width - len(index.keys),
        moved=index.moved,
        dropped=index.dropped,
    )


def _dataset(path: Path, file: Any, name: str) -> Any:
    """Return a dataset of a file, whose values lie in the file itself.

    Raises:
        ImageError: There is none, or it leads to other files, or its chunks are too large.
    """
    import h5py

    link = file.get(name, getlink=True) if name in file.keys() else None  # noqa: SIM118
    if link is None:
        raise ImageError(path, _no_features(list(file.keys())))
    if not isinstance(link, h5py.HardLink):
        raise ImageError(path, f"has a link in place of {name}; copy what it leads to into the file")
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise ImageError(path, f"has a group in place of the dataset {name}; extract features again")
    if found.is_virtual or found.external:
        raise ImageError(path, f"keeps {name} in other files; copy them into the file")
    if found.dtype.kind not in "fiu" or found.dtype.itemsize > 8:
        raise ImageError(path, f"has {name} of {found.dtype}; save numbers")
    if found.id.get_storage_size() == 0 and found.size:
        raise ImageError(path, f"has no values of {name}; it was not written to the end, so extract it again")
    if found.chunks is not None:
        if math.prod(found.chunks) * found.dtype.itemsize > MAX_CHUNK_BYTES:
            raise ImageError(path, f"stores {name} in chunks of {found.chunks}; write it again with smaller ones")
        if found.compression is not None and found.compression not in FILTERS:
            raise ImageError(path, f"compresses {name} in a way that fit does not read; write it again with gzip")
    return found


def _no_features(names: list[str]) -> str:
    if COORDINATES in names:
        return "holds coordinates of patches but no features; give the file that the encoder wrote"
    shown = ", ".join(repr(name[:40]) for name in sorted(names)[:NAMED]) or "nothing"
    return (
        f"is an HDF5 file without the datasets {FEATURES} and {COORDINATES} (it holds {shown}); give features as "
        "TRIDENT and CLAM write them"
    )


def _table(path: Path, dataset: Any, name: str) -> tuple[int, int]:
    """Return (rows, columns) of a dataset [n k] or [1 n k]."""
    shape = dataset.shape
    if shape is None or len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] != 1):
        raise ImageError(path, f"has {name} of shape {shape}; they are [patches, values]")
    return int(shape[-2]), int(shape[-1])


def _whole_numbers(path: Path, coordinates: Any) -> Any:
    if coordinates.dtype.kind == "f":
        whole = np.isfinite(coordinates) & (np.abs(coordinates) < 2**53)
        if not (whole & (np.where(whole, coordinates, 0) == np.rint(np.where(whole, coordinates, 0)))).all():
            raise ImageError(path, "has coordinates that are no whole pixels; give those of level 0")
    elif coordinates.dtype.itemsize == 8 and coordinates.size and coordinates.max() >= 2**62:
        raise ImageError(path, "has coordinates beyond any slide; extract it again")
    return coordinates.astype(np.int64)


def _sizes(path: Path, *attributes: Mapping[str, float]) -> tuple[float | None, float | None]:
    """Return the side of a patch, and the distance of two, in level-0 pixels; None for what the file does not state.

    Raises:
        ImageError: It states two patch sizes, or an overlap of whole patches.
    """
    known = [size for each in attributes if (size := _size(path, each)) is not None]
    if len({size[0] for size in known}) > 1:
        sizes = " and ".join(f"{size[0]:g}" for size in known)
        raise ImageError(path, f"states two patch sizes, {sizes} pixels; extract features with one")
    return known[0] if known else (None, None)


def _size(path: Path, numbers: Mapping[str, float]) -> tuple[float, float] | None:
    size, side = numbers.get("patch_size", 0.0), numbers.get("patch_size_level0", 0.0)
    overlap = numbers.get("overlap", 0.0)
    if 0 < size <= overlap:
        raise ImageError(
            path, f"states an overlap of {overlap:g} pixels of patches of {size:g}; correct or remove the attribute"
        )
    if side <= 0:
        scale = numbers.get("downsample", 0.0) * numbers.get("custom_downsample", 1.0)
        if scale <= 0 and numbers.get("patch_level") == 0:
            scale = numbers.get("custom_downsample", 1.0)
        source, target = (numbers.get(name, 0.0) for name in ("level0_magnification", "target_magnification"))
        if scale <= 0 and source > 0 and target > 0:
            scale = source / target
        side = size * scale
    if not 0 < side < LARGEST_PATCH:
        return None
    return side, side * (1 - overlap / size if size > 0 else 1)


def _damaged(error: Exception) -> str:
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return f"cannot be read as HDF5 ({reason}); it is damaged or incomplete, so copy or extract it again"
