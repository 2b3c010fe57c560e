"""What an image is to the rest of the project: something with an `info` that reads windows, or takes them.

Knows nothing of formats and paths; `open.py` is where those begin.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fitcli.images.georeference import GeoReference
from fitcli.images.window import Window

Pixels = NDArray[Any]
"""[height, width, channels], channels last, in the dtype of the file."""


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a pyramid. `downsample` is level-0 pixels per pixel of this level, 1.0 for level 0."""

    height: int
    width: int
    downsample: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageInfo:
    """What is known of an image without decoding a pixel.

    Attributes:
        height, width: Of level 0, in pixels.
        channels: Of what `read` returns: 3 for every colour file without alpha, 1 for grey ones.
        dtype: Of what `read` returns, in native byte order.
        levels: Largest first; level 0 is full resolution. Left out when describing an image to be written.
        chunk: (height, width) of the storage unit of level 0; None where the format has none.
        mpp: Microns per pixel at level 0, if the file says.
        format: Short name: "TIFF", "OME-TIFF", "SVS", "OME-Zarr 0.5", "Zarr", "PNG", ...
        axes: As stored, in the letters of the format ("YXS", "CYX", "TCZYX"); what `read` returns is always YXC.
        color: True where the first three channels are red, green and blue.
        nodata: Value that marks missing pixels, if the file says.
        geo: Where on the Earth level 0 lies, if the file says.
    """

    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    levels: tuple[Level, ...] = ()
    chunk: tuple[int, int] | None = None
    mpp: float | None = None
    format: str = ""
    axes: str = "YXC"
    color: bool = field(default=False)
    nodata: float | None = None
    geo: GeoReference | None = None

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.channels) < 1:
            raise ValueError(f"an image cannot be {self.height} x {self.width} x {self.channels}")
        object.__setattr__(self, "dtype", np.dtype(self.dtype).newbyteorder("="))
        if not self.levels:
            object.__setattr__(self, "levels", (Level(self.height, self.width, 1.0),))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of level 0 in pixels."""
        return self.height, self.width


class ImageReader(ABC):
    """An open image. Thread-safe; survives fork and pickling, because file handles are opened per process on first use.

    Attributes:
        path: Where it was opened.
        info: What is known without decoding a pixel.
        decoding_bytes: Memory that decoding a picture in one piece takes, its pixels included; 0 for all others.
    """

    path: Path
    info: ImageInfo
    decoding_bytes: int = 0

    @abstractmethod
    def read(self, window: Window, level: int = 0) -> Pixels:
        """Decode the pixels of a window.

        Args:
            window: In pixels of `level`. Clipped to the level: what lies outside is not returned.
            level: Index into `info.levels`.

        Returns:
            [height, width, channels] of the clipped window, dtype `info.dtype`. The caller owns it.

        Raises:
            ImageError: The level does not exist, or the pixels cannot be read.
        """

    @abstractmethod
    def close(self) -> None:
        """Release file handles and cached chunks. Reading after closing raises `ImageError`. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ImageWriter(ABC):
    """An image being written (a canvas), under a temporary name until it is closed.

    Used as a context manager: leaving it normally finalises the file (pyramid included) and moves it into place;
    leaving it with an exception removes everything that was written.

    Attributes:
        path: Where the finished image will be.
        info: What is being written.
    """

    path: Path
    info: ImageInfo

    @abstractmethod
    def write(self, window: Window, pixels: Pixels) -> None:
        """Put pixels on the canvas. Windows come in any order and must not overlap; what is never written is 0.

        Args:
            window: In level-0 pixels; must lie on the image.
            pixels: [height, width, channels] of the window, dtype `info.dtype`.

        Raises:
            ValueError: Window, shape or dtype don't fit the image.
            ImageError: It cannot be written (disk full, ...).
        """

    @abstractmethod
    def close(self) -> None:
        """Finalise: remaining chunks, pyramid, metadata; then rename into place. Idempotent."""

    @abstractmethod
    def discard(self) -> None:
        """Give up: remove everything that was written. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()
