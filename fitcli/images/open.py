"""The one place that looks at a path and decides what stands there.

Decides by content, never by extension. Knows no pixels: the readers and writers behind it do.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo, ImageReader, ImageWriter

if TYPE_CHECKING:
    from fitcli.images.chunk_encoding import Compression
    from fitcli.images.pyramid import Resampling

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First four bytes of TIFF and BigTIFF, little and big endian."""

ZARR_MARKERS = ("zarr.json", ".zarray", ".zgroup", ".zattrs")
"""Files that make a folder a zarr array or group."""

WRITABLE = ".tif, .tiff, .ome.tif, .ome.tiff, .zarr, .ome.zarr, .png, .jpg or .jpeg"
"""Suffixes of what `create_image` writes."""


def open_image(path: str | Path) -> ImageReader:
    """Open an image for reading, whatever its format. Decodes no pixel.

    Args:
        path: A TIFF, OME-TIFF, SVS, NDPI, PNG, JPEG, ... file, or the folder of a zarr array or OME-Zarr image.

    Raises:
        ImageError: There is nothing at `path`, it is no image, or it is a damaged or unsupported one.
    """
    path = Path(path)
    mode = _file_mode(path)
    if stat.S_ISDIR(mode):
        return _open_folder(path)
    if not stat.S_ISREG(mode):
        raise ImageError(path, "is neither a file nor a folder; give a regular image file or a zarr folder")
    if path.name in ZARR_MARKERS:
        return _open_folder(path.parent)
    magic = _first_bytes(path, 4)
    if not magic:
        raise ImageError(path, "the file is empty; copy or export it again")
    if magic == b"PK\3\4":
        raise ImageError(path, "is a zip archive; unpack it and give the image or zarr folder inside")
    if magic in TIFF_MAGIC:
        from fitcli.images.tiff.reader import TiffReader

        return TiffReader(path)
    from fitcli.images.raster.reader import RasterReader

    return RasterReader(path)


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
) -> ImageWriter:
    """Begin an image. It replaces what stands at `path` when it is closed, and not before.

    Args:
        path: Its suffix is the format: `.tif` (BigTIFF pyramid), `.ome.tif` (OME-TIFF), `.zarr` (OME-Zarr 0.5), or
            `.png` and `.jpg` for images that fit in memory.
        info: `height`, `width`, `channels`, `dtype`, `color`, `mpp`, `nodata` and, in TIFFs, `geo` are what is
            written; the rest of it is ignored. The writer's own `info` is complete.
        chunk: Side of the chunks in pixels, a multiple of 16.
        compression: "jpeg", "deflate", "zstd", "lzw" or "none" for TIFF, "zstd" or "none" for zarr. By default JPEG for
            8-bit colour TIFFs, deflate for other TIFFs, zstd for zarr.
        quality: Of JPEG, 1 to 100.
        levels: Of the pyramid, each half the size of the one before; "auto" ends with the first that fits in a chunk.
        resampling: "mean" for images; "nearest" for label maps, which are then compressed without loss by default.
        memory_bytes: For chunks that are not complete yet; the writer takes about twice this in all.
        threads: That encode; None for as many as there are cores, at most 8.
        description: Text to be kept with the image: ImageDescription of a TIFF, Description in OME-XML, the attribute
            `description` of an OME-Zarr group, iTXt of a PNG, the comment of a JPEG.

    Raises:
        ImageError: No format of that suffix, an image that the format cannot hold, or a place that cannot be written.
        ValueError: A setting that makes no sense in any format.
    """
    from fitcli.images.write_options import Plan

    path = Path(path)
    plan = Plan(info, chunk, compression, quality, levels, resampling, memory_bytes, threads, description)
    name = path.name.lower()
    if name.endswith((".tif", ".tiff")):
        from fitcli.images.tiff.writer import create_tiff

        return create_tiff(path, plan, ome=name.endswith((".ome.tif", ".ome.tiff")))
    if name.endswith(".zarr"):
        from fitcli.images.zarr.writer import create_ome_zarr

        return create_ome_zarr(path, plan)
    if name.endswith((".png", ".jpg", ".jpeg")):
        from fitcli.images.raster.writer import create_raster

        return create_raster(path, plan, "PNG" if name.endswith(".png") else "JPEG")
    raise ImageError(path, f"no image format is written under this suffix; name it {WRITABLE}")


IMAGE_SUFFIXES = frozenset(
    {
        ".tif",
        ".tiff",
        ".svs",
        ".ndpi",
        ".scn",
        ".bif",
        ".png",
        ".jpg",
        ".jpeg",
        ".jp2",
        ".bmp",
        ".gif",
        ".webp",
        ".zarr",
    }
    | {".ppm", ".pgm"}
)
"""What `find_images` takes for an image. `open_image` itself looks at the content only."""


def find_images(folder: str | Path) -> list[Path]:
    """Images in a folder and its subfolders, sorted: files with the suffix of an image, and zarr folders.

    Hidden files and folders are left out; nothing is opened.
    """
    found: list[Path] = []
    for child in sorted(Path(folder).iterdir()):
        if child.name.startswith("."):
            continue
        if child.is_dir():
            is_zarr = any((child / marker).is_file() for marker in ZARR_MARKERS)
            found += [child] if is_zarr else find_images(child)
        elif child.suffix.lower() in IMAGE_SUFFIXES:
            found.append(child)
    return found


def matching_paths(patterns: Iterable[str]) -> list[Path]:
    """Paths as given; one that does not exist but holds `*`, `?`, `[...]` or `**` stands for all it matches, sorted."""
    paths: list[Path] = []
    for pattern in patterns:
        matches = [] if os.path.lexists(pattern) else sorted(glob.glob(pattern, recursive=True))
        paths += map(Path, matches or [pattern])
    return paths


def stored_bytes(path: str | Path) -> int:
    """Size on disk of an image file, or of all files of a zarr folder, in bytes. Links are not followed."""
    path = Path(path)
    if not path.is_dir():
        return path.stat().st_size
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)


def _open_folder(path: Path) -> ImageReader:
    if not any((path / marker).is_file() for marker in ZARR_MARKERS):
        raise ImageError(
            path,
            "is a folder without a zarr array or group; give an image file or a zarr folder, "
            f"or {path / '*'} for the files in it",
        )
    from fitcli.images.zarr.reader import ZarrReader

    return ZarrReader(path)


def _file_mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        raise ImageError(path, _why_missing(path)) from None
    except (OSError, ValueError) as error:
        raise ImageError(path, f"cannot be opened ({_why(error)}); check the path and its permissions") from error


def _why_missing(path: Path) -> str:
    if re.match(r"[a-z][a-z0-9]+:/", str(path)):
        return "is no file on this machine: addresses are not opened; download it, or mount it, and give the path"
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
