"""Formats of images that other packages add, by the suffix of their files; `open.py` knows those of fit by content."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fitcli.errors import ImageError, is_out_of_memory
from fitcli.images.base import ImageInfo, ImageReader, Pixels
from fitcli.images.contents import Contents
from fitcli.images.window import Window
from fitcli.plugins.registry import Registry

OpenFile = Callable[[Path], ImageReader]
"""Opens a file. A reader class is one. It raises `ImageError` for a file that it cannot read."""

FORMATS: Registry[OpenFile] = Registry("image format", "fit.formats", {})
"""Formats by the suffix of their files without its first dot: "raw" or "ome.raw". The case does not matter."""


class AddedImage(ImageReader):
    """An image that the reader of another package has opened. Whatever that does wrong is an error of the file.

    Args:
        reader: The reader, which is closed with this one.
        name: Suffix of its files.
    """

    def __init__(self, reader: ImageReader, name: str) -> None:
        self.path, self.info = reader.path, reader.info
        self.decoding_bytes, self.choice = reader.decoding_bytes, reader.choice
        self._reader, self._name = reader, name

    def read(self, window: Window, level: int = 0) -> Pixels:
        if not 0 <= level < len(self.info.levels):
            raise ImageError(self.path, f"has no level {level}, only {len(self.info.levels)} of them")
        stored = self.info.levels[level]
        window = window.clip(stored.height, stored.width)
        with _named(self.path, self._name):
            pixels = self._reader.read(window, level)
        wanted = _described((window.height, window.width, self.info.channels), self.info.dtype)
        got = _described(pixels.shape, pixels.dtype) if isinstance(pixels, np.ndarray) else repr(pixels)
        if got != wanted:
            raise ImageError(
                self.path, f"the reader of .{self._name} returns {got:.80} in place of {wanted}; correct that package"
            )
        return pixels

    def describe_contents(self) -> Contents:
        with _named(self.path, self._name):
            return self._reader.describe_contents()

    def close(self) -> None:
        with _named(self.path, self._name):
            self._reader.close()


def _described(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    return f"{' x '.join(map(str, shape))} values of {dtype}"


@contextmanager
def _named(path: Path, name: str) -> Iterator[None]:
    """Turn what a foreign reader raises, which may be anything, into an error of the file."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise ImageError(path, f"cannot be read by the reader of .{name} ({type(error).__name__}: {error})") from error


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
    with _named(path, name):
        reader = opened(path)
    if not isinstance(reader, ImageReader):
        raise ImageError(path, f"the reader of .{name} gives no ImageReader, but {reader!r:.80}; correct that package")
    if not isinstance(getattr(reader, "info", None), ImageInfo) or not isinstance(getattr(reader, "path", None), Path):
        raise ImageError(path, f"the reader of .{name} lacks its path or its ImageInfo; correct that package")
    return AddedImage(reader, name)
