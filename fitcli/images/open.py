"""Opens and creates images: the only module that looks at a path and chooses a reader or writer.

`open_image` recognises a file by its content.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fitcli.errors import ImageError
from fitcli.files.path_choice import split_pattern, stored_path
from fitcli.files.spelling import existing_spelling
from fitcli.images.base import ImageInfo, ImageReader, ImageWriter
from fitcli.images.chosen_channels import ChosenChannels
from fitcli.images.foreign import disguised, foreign_by_name
from fitcli.images.formats import open_added
from fitcli.images.plane_choice import EVERYTHING, PlaneChoice

if TYPE_CHECKING:
    from fitcli.images.chunk_encoding import Compression
    from fitcli.images.pyramid import Resampling

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First four bytes of TIFF and BigTIFF, little and big endian."""

NPY_MAGIC, HDF5_MAGIC = b"\x93NUMPY", b"\x89HDF\r\n\x1a\n"
"""First bytes of the array files of numpy, and of HDF5."""

ZARR_MARKERS = ("zarr.json", ".zarray", ".zgroup", ".zattrs")
"""A folder with one of these files is a zarr array or group."""

WRITABLE = ".tif, .tiff, .ome.tif, .ome.tiff, .zarr, .ome.zarr, .png, .jpg or .jpeg"
"""Suffixes that `create_image` writes, for messages."""


def open_image(
    path: str | Path, *, indices: bool = False, choice: PlaneChoice = EVERYTHING, lenient: bool = False
) -> ImageReader:
    """Open an image of any format for reading, without decoding a pixel.

    Args:
        path: A TIFF, OME-TIFF, SVS, NDPI, PNG, JPEG, ... file, the folder of a zarr array or OME-Zarr image, or
            features (.h5, .npy, or what `fit embed --patches` writes), or a file of a format in `formats.py`.
        indices: Whether to return the numbers that the file stores instead of the colours and brightnesses that they
            stand for: indices of a palette, grey of fewer than 8 bits without scaling, and 0 where it means white.
        choice: Image and planes that are read of a file that holds several.
        lenient: Whether to take the first plane where several lie along an axis and none is chosen, to describe a file.

    Raises:
        UnreadableAs: The file does not have what is chosen, or several planes without a choice.
        PluginError: The package that adds the format of the file is broken.
        ImageError: `path` does not exist, is not an image, or is a damaged or unsupported image.
    """
    path = Path(path)
    mode = _file_mode(path)
    if stat.S_ISDIR(mode):
        return _open_folder(path, choice, lenient)
    if not stat.S_ISREG(mode):
        raise ImageError(path, "is neither a file nor a folder; give a regular image file or a zarr folder")
    if (added := open_added(path)) is not None:
        return ChosenChannels(added, choice) if choice else added
    if (foreign := disguised(path)) is not None:
        raise ImageError(path, foreign.advice(path))
    if path.name in ZARR_MARKERS:
        return _open_folder(path.parent, choice, lenient)
    start = _first_bytes(path, 9)
    magic = start[:4]
    if not magic:
        raise ImageError(path, "the file is empty; copy or export it again")
    if (features := _open_features(path, start)) is not None:
        return ChosenChannels(features, choice) if choice else features
    if magic == b"PK\3\4":
        raise ImageError(path, "is a zip archive; unpack it and give the image or zarr folder inside")
    if magic in TIFF_MAGIC:
        from fitcli.images.tiff.reader import TiffReader

        return TiffReader(path, indices, choice, lenient)
    from fitcli.images.raster.reader import RasterReader

    return ChosenChannels(RasterReader(path, indices), choice) if choice else RasterReader(path, indices)


def create_image(
    path: str | Path,
    info: ImageInfo,
    *,
    chunk: int = 512,
    compression: Compression | None = None,
    quality: int = 90,
    levels: int | Literal["auto"] = "auto",
    resampling: Resampling = "mean",
    memory_bytes: int = 96 * 2**20,
    threads: int | None = None,
    description: str | None = None,
    classes: Sequence[str] = (),
) -> ImageWriter:
    """Create an image. It replaces an existing image at `path` when the writer is closed, not before.

    Args:
        path: Path of the image. Its suffix chooses the format: `.tif` (BigTIFF pyramid), `.ome.tif` (OME-TIFF),
            `.zarr` (OME-Zarr 0.5), or `.png` and `.jpg` for images that fit in memory.
        info: Description of the image. Only `height`, `width`, `channels`, `dtype`, `color`, `mpp`, `nodata`, in TIFFs
            and OME-Zarr `channel_names`, in OME-Zarr `shown`, in TIFFs `geo`, and of one 8-bit channel in a PNG or of a
            `.tif`, or of a zarr with `classes`, the `palette` are written; the writer completes the rest.
        chunk: Side of the chunks in pixels, a multiple of 16.
        compression: "jpeg", "deflate", "zstd", "lzw" or "none" for TIFF, "zstd" or "none" for zarr. By default JPEG for
            8-bit colour TIFFs, deflate for other TIFFs, zstd for zarr.
        quality: JPEG quality, 1 to 100.
        levels: Number of pyramid levels, each half the size of the one before; "auto" ends with the first level that
            fits in a chunk.
        resampling: "mean" for images; "nearest" for label images, which are then compressed without loss by default.
        memory_bytes: Memory for incomplete chunks; the writer takes about twice this in all.
        threads: Number of encoding threads; None: one per core, at most 8.
        description: Text that is stored with the image: ImageDescription of a TIFF, Description in OME-XML, the
            attribute `description` of an OME-Zarr group, iTXt of a PNG, the comment of a JPEG.
        classes: Names of the values 0, 1, ... of a label image. An OME-Zarr then has the metadata `image-label`, by
            which viewers show labels. Other formats have no place for them.

    Raises:
        ImageError: The suffix names no format, the format cannot hold the image, or `path` cannot be written.
        ValueError: An option is invalid in every format.
    """
    from fitcli.images.write_options import WriteOptions

    path = Path(path)
    options = WriteOptions(
        info, chunk, compression, quality, levels, resampling, memory_bytes, threads, description, classes
    )
    name = path.name.lower()
    if name.endswith((".tif", ".tiff")):
        from fitcli.images.tiff.writer import create_tiff

        return create_tiff(path, options, ome=name.endswith((".ome.tif", ".ome.tiff")))
    if name.endswith(".zarr"):
        from fitcli.images.zarr.writer import create_ome_zarr

        return create_ome_zarr(path, options)
    if name.endswith((".png", ".jpg", ".jpeg")):
        from fitcli.images.raster.writer import create_raster

        return create_raster(path, options, "PNG" if name.endswith(".png") else "JPEG")
    raise ImageError(path, f"no image format is written under this suffix; name it {WRITABLE}")


def matching_paths(patterns: Iterable[str]) -> list[Path]:
    """Return the paths that patterns mean: a path that exists; its other Unicode form; the sorted matches of a glob.

    A choice of planes at the end of a pattern holds for all its matches.
    """
    paths: list[Path] = []
    for text in patterns:
        pattern, choice = (text, "") if os.path.lexists(text) else split_pattern(text)
        if choice:
            paths += [Path(f"{path}{choice}") for path in matching_paths([pattern])]
        elif os.path.lexists(pattern):
            paths.append(Path(pattern))
        elif (path := existing_spelling(Path(pattern))) is not None:
            paths.append(path)
        else:
            paths += map(Path, sorted(glob.glob(pattern, recursive=True)) or [pattern])
    return paths


def stored_bytes(path: str | Path) -> int:
    """Return the size in bytes of an image file, or of all files of a zarr folder. Links are not followed."""
    path = stored_path(Path(path))
    if not path.is_dir():
        return path.stat().st_size
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)


def _open_folder(path: Path, choice: PlaneChoice, lenient: bool) -> ImageReader:
    if not any((path / marker).is_file() for marker in ZARR_MARKERS):
        raise ImageError(
            path,
            "is a folder without a zarr array or group; give an image file or a zarr folder, "
            f"or {path / '*'} for the files in it",
        )
    from fitcli.images.zarr.reader import ZarrReader

    return ZarrReader(path, choice, lenient)


def _open_features(path: Path, start: bytes) -> ImageReader | None:
    """Open a file of features by its first bytes; None for other files."""
    if start.startswith(NPY_MAGIC):
        from fitcli.images.features.npy import NpyReader

        return NpyReader(path)
    if start.startswith(HDF5_MAGIC) and foreign_by_name(path) is None:
        from fitcli.images.features.hdf5 import Hdf5Reader

        return Hdf5Reader(path)
    # Its first bytes are the length of the header.
    if path.suffix.lower() == ".safetensors" and start[8:9] == b"{":
        from fitcli.images.features.safetensors import SafetensorsReader

        return SafetensorsReader(path)
    return None


def _file_mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        raise ImageError(path, _why_missing(path)) from None
    except (OSError, ValueError) as error:
        raise ImageError(path, f"cannot be opened ({_why(error)}); check the path and its permissions") from error


def _why_missing(path: Path) -> str:
    if re.match(r"[a-z][a-z0-9]+:/", str(path)):
        address = re.sub(":/+", "://", str(path), count=1)
        return f"is an address, not a file ({address}); download or mount it, and give its path"
    if glob.has_magic(str(path)):
        return "no file matches this pattern; check it and its folder"
    return "no such file or folder; check the path"


def _first_bytes(path: Path, count: int) -> bytes:
    try:
        with path.open("rb", buffering=0) as file:
            return file.read(count)
    except OSError as error:
        raise ImageError(path, f"cannot be read ({_why(error)}); check its permissions") from error


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
