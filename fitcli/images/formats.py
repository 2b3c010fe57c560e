"""Formats of images that other packages add, by the suffix of their files; `open.py` knows those of fit by content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fitcli.errors import ImageError
from fitcli.images.base import ImageReader
from fitcli.plugins.registry import Registry

OpenFile = Callable[[Path], ImageReader]
"""Opens a file. A reader class is one. It raises `ImageError` for a file that it cannot read."""

FORMATS: Registry[OpenFile] = Registry("image format", "fit.formats", {})
"""Formats by the suffix of their files without its first dot: "raw" or "ome.raw". The case does not matter."""


def added_format(name: str) -> str | None:
    """Return the suffix in `FORMATS` with which the name of a file ends, the longest; None without one."""
    lower = name.lower()
    return max((each for each in FORMATS.added() if lower.endswith(f".{each.lower()}")), key=len, default=None)


def open_added(path: Path) -> ImageReader | None:
    """Open a file of a format in `FORMATS`; None for a file of another suffix.

    Raises:
        PluginError: The package that adds the format is broken.
        ImageError: The file cannot be read.
    """
    if (name := added_format(path.name)) is None:
        return None
    opened = FORMATS.find(name)
    try:
        reader = opened(path)
    except ImageError:
        raise
    except Exception as error:
        # A foreign reader may raise anything for a file that it does not expect.
        raise ImageError(path, f"cannot be read by the reader of .{name} ({type(error).__name__}: {error})") from error
    if not isinstance(reader, ImageReader):
        raise ImageError(path, f"the reader of .{name} gives no ImageReader, but {reader!r:.80}; correct that package")
    return reader
