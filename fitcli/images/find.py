"""Finds the images in a folder: by suffix, and files of unusual suffix by their first bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fitcli.images.foreign import DISGUISED, SLIDE_DATA
from fitcli.images.formats import added_format
from fitcli.images.open import TIFF_MAGIC, ZARR_MARKERS

IMAGE_SUFFIXES = frozenset({
    ".tif", ".tiff", ".svs", ".ndpi", ".scn", ".bif", ".png", ".jpg", ".jpeg", ".jp2", ".bmp", ".gif", ".webp",
    ".avif", ".qoi", ".pcx", ".sgi", ".tga", ".dib", ".ppm", ".pgm", ".zarr"
})  # fmt: skip
"""Suffixes of files that are listed without a look at their content; opening them finds out whether they are images."""

OTHER_SUFFIXES = frozenset({
    ".txt", ".csv", ".tsv", ".md", ".rst", ".log", ".json", ".jsonl", ".geojson", ".xml", ".yaml", ".yml", ".toml",
    ".ini", ".cfg", ".html", ".htm", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx", ".odt", ".ods", ".rtf",
    ".py", ".ipynb", ".r", ".m", ".sh", ".bat", ".db", ".sqlite", ".npz", ".pt", ".pth", ".ckpt", ".pkl",
    ".safetensors", ".mat", ".zip", ".gz", ".bz2", ".xz", ".tar", ".7z", ".rar", ".md5", ".sha256",
    ".tmp", ".part", ".tfw", ".tifw", ".jgw", ".jpgw", ".pgw", ".wld", ".prj", ".rpb", ".rpc", ".imd", ".aux", ".ndpa",
    ".ovr", ".msk", ".thm"
})  # fmt: skip
"""Suffixes of files that are never opened: texts, documents, archives and files beside images.

Some hold pixels, but not those of an image of a data set: the overviews (.ovr) and masks (.msk) of GDAL, and the
thumbnails of cameras (.thm).
"""

FEATURE_SUFFIXES = frozenset({".h5", ".hdf5", ".npy"})
"""Suffixes of features. They are images where there are no others: features of slides often lie beside the slides."""

SYSTEM_NAMES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})
"""Files that Windows puts into folders. They count as hidden."""

STARTS = (*TIFF_MAGIC, b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"qoif",
          b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")  # fmt: skip
"""First bytes of images: TIFF, PNG, JPEG, GIF, QOI, JPEG 2000."""

BITMAP_HEADERS = tuple(size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124))
"""Sizes of the headers of BMP files, as they are stored."""

LONGEST_START = 32
"""Bytes that are read of a file of unusual suffix."""


@dataclass(frozen=True, slots=True)
class FoundImages:
    """The files of a folder.

    Attributes:
        images: Images: files and zarr folders.
        others: Files that are no images, without hidden ones.
    """

    images: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)


def find_images(folder: str | Path, deep: bool = True) -> FoundImages:
    """List the images in a folder, in the order of the names; zarr folders are images.

    Files of features are images if the folder holds no others. Hidden files and folders are left out. Of a file of
    unusual suffix the first bytes are read, of others nothing. A folder that links lead to again is listed once.

    Args:
        folder: The folder.
        deep: Whether to list subfolders, too.
    """
    root, found, features = Path(folder), FoundImages(), []
    visited: set[tuple[int, int]] = set()
    pending = list(_children(root, visited))
    while pending:
        entry = pending.pop()
        path = Path(entry.path)
        if not _is_folder(entry):
            if path.suffix.lower() in FEATURE_SUFFIXES:
                features.append(path)
            elif entry.name.lower() not in SYSTEM_NAMES:
                (found.images if _is_image(entry) else found.others).append(path)
        elif is_zarr(path):
            found.images.append(path)
        elif deep and not (path / SLIDE_DATA).is_file():
            pending += _children(path, visited)
    (found.others if found.images else found.images).extend(features)
    return found


def is_zarr(folder: Path) -> bool:
    """Return whether a folder is a zarr array or group."""
    return any((folder / marker).is_file() for marker in ZARR_MARKERS)


def _children(folder: Path, visited: set[tuple[int, int]]) -> Iterator[os.DirEntry[str]]:
    """Yield what is not hidden in a folder, the last name first; nothing for a folder that was visited before."""
    status = folder.stat()
    if (identity := (status.st_dev, status.st_ino)) in visited:
        return
    visited.add(identity)
    with os.scandir(folder) as entries:
        children = [entry for entry in entries if not entry.name.startswith(".")]
    yield from sorted(children, key=lambda entry: entry.name, reverse=True)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # An entry knows its type without a system call, but raises for links in circles.
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _is_image(entry: os.DirEntry[str]) -> bool:
    suffix = os.path.splitext(entry.name)[1].lower()
    if added_format(entry.name) is not None:
        return True
    if suffix in DISGUISED:
        return False
    if suffix in IMAGE_SUFFIXES or suffix in OTHER_SUFFIXES:
        return suffix in IMAGE_SUFFIXES
    try:
        # Opening a pipe would wait for a writer.
        if not entry.is_file():
            return False
        with open(entry.path, "rb", buffering=0) as file:
            return is_image_start(file.read(LONGEST_START))
    except OSError:
        return False


def is_image_start(start: bytes) -> bool:
    """Return whether a file begins as an image does. `open_image` reads more, and may still refuse it."""
    if start.startswith(STARTS):
        return True
    # Short marks also begin texts, so more bytes of the header are checked.
    return (
        (start[:4] == b"RIFF" and start[8:12] == b"WEBP")
        or (start[4:8] == b"ftyp" and start[8:12] in (b"avif", b"avis"))
        or (start[:2] == b"BM" and start[6:10] == bytes(4) and start[14:18] in BITMAP_HEADERS)
        or re.match(rb"P[1-6][ \t\r\n][0-9#]", start) is not None
        or re.match(rb"\n[\x00\x02-\x05]\x01[\x01\x02\x04\x08]", start) is not None  # PCX
        or re.match(rb"\x01\xda[\x00\x01][\x01\x02]", start) is not None  # SGI
    )
